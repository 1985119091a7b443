//! The one file of a form that a browser sends (RFC 7578), out of a body that is whole and bounded. Pure.

/// A file in a form.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FormFile<'a> {
    pub(crate) name: String,
    pub(crate) media_type: Option<&'a str>,
    pub(crate) bytes: &'a [u8],
}

/// Why a body holds no file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FormError {
    #[error("the content type is not multipart/form-data with a boundary")]
    ContentType,
    #[error("the form breaks off, expected parts between its boundaries")]
    Broken,
    #[error("the form has no file, expected a part with a filename")]
    NoFile,
}

/// The first file of a form.
pub(crate) fn file<'a>(content_type: &str, body: &'a [u8]) -> Result<FormFile<'a>, FormError> {
    let boundary = boundary(content_type).ok_or(FormError::ContentType)?;
    let open = format!("--{boundary}");
    let close = format!("\r\n--{boundary}");
    let mut rest = after(body, open.as_bytes()).ok_or(FormError::Broken)?;
    loop {
        if rest.starts_with(b"--") {
            return Err(FormError::NoFile);
        }
        let part = rest.strip_prefix(b"\r\n").ok_or(FormError::Broken)?;
        let (head, content) = split(part, b"\r\n\r\n").ok_or(FormError::Broken)?;
        let (bytes, next) = split(content, close.as_bytes()).ok_or(FormError::Broken)?;
        let head = std::str::from_utf8(head).map_err(|_| FormError::Broken)?;
        if let Some(name) = header(head, "content-disposition").and_then(|value| parameter(value, "filename")) {
            return Ok(FormFile { name, media_type: header(head, "content-type"), bytes });
        }
        rest = next;
    }
}

fn boundary(content_type: &str) -> Option<String> {
    let (kind, _) = content_type.split_once(';')?;
    let is_form = kind.trim().eq_ignore_ascii_case("multipart/form-data");
    parameter(content_type, "boundary").filter(|boundary| is_form && (1..=70).contains(&boundary.len()))
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let lines = head.split("\r\n").filter_map(|line| line.split_once(':'));
    lines.into_iter().find(|(key, _)| key.trim().eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

/// The value of a parameter, without its quotes.
fn parameter(value: &str, name: &str) -> Option<String> {
    let mut rest = value;
    loop {
        rest = rest.split_once(';')?.1.trim_start();
        let (key, text) = rest.split_once('=')?;
        let (found, next) = match text.strip_prefix('"') {
            Some(quoted) => {
                let mut text = String::new();
                let mut chars = quoted.char_indices();
                let end = loop {
                    match chars.next()? {
                        (at, '"') => break at,
                        (_, '\\') => text.push(chars.next()?.1),
                        (_, c) => text.push(c),
                    }
                };
                (text, quoted.get(end + 1..).unwrap_or_default())
            }
            None => {
                let end = text.find(';').unwrap_or(text.len());
                (text[..end].trim().to_owned(), &text[end..])
            }
        };
        if key.trim().eq_ignore_ascii_case(name) {
            return Some(found);
        }
        rest = next;
    }
}

fn after<'a>(bytes: &'a [u8], mark: &[u8]) -> Option<&'a [u8]> {
    split(bytes, mark).map(|(_, after)| after)
}

fn split<'a>(bytes: &'a [u8], mark: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = bytes.windows(mark.len()).position(|window| window == mark)?;
    Some((&bytes[..at], &bytes[at + mark.len()..]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TYPE: &str = "multipart/form-data; boundary=\"x y\"";

    #[test]
    fn the_file_is_found_among_fields() {
        let body = b"--x y\r\nContent-Disposition: form-data; name=\"directory\"\r\n\r\nuploads\r\n--x y\r\n\
            content-disposition: form-data; name=\"file\"; filename=\"a \\\"b\\\"; c.csv\"\r\nContent-Type: text/csv\r\n\r\n\
            1\r\n--x\r\n2\r\n--x y--\r\n";
        let found = file(TYPE, body).unwrap();
        assert_eq!((found.name.as_str(), found.media_type), ("a \"b\"; c.csv", Some("text/csv")));
        assert_eq!(found.bytes, b"1\r\n--x\r\n2");
    }

    #[test]
    fn what_is_no_form_is_said() {
        for (kind, body, expected) in [
            ("application/json", "", FormError::ContentType),
            ("multipart/form-data", "", FormError::ContentType),
            ("multipart/form-data; boundary=", "--", FormError::ContentType),
            (TYPE, "", FormError::Broken),
            (TYPE, "--x y\r\nContent-Disposition: form-data\r\n\r\n1", FormError::Broken),
            (TYPE, "--x y\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--x y--", FormError::NoFile),
            (TYPE, "--x y--", FormError::NoFile),
        ] {
            assert_eq!(file(kind, body.as_bytes()), Err(expected), "{kind} {body:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_a_panic(kind in ".{0,40}", body in proptest::collection::vec(any::<u8>(), 0..200)) {
            drop(file(&format!("multipart/form-data; {kind}"), &body));
            let mut form = b"--b\r\n".to_vec();
            form.extend(body);
            drop(file("multipart/form-data; boundary=b", &form));
        }
    }
}
