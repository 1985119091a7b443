//! The body of a camera's stream to its parts: `multipart/x-mixed-replace`, with or without lengths. Bounded, and knows no JPEG:
//! what is in a part is for others to judge.

use super::http::header_line;

/// Of one line between two parts.
const LINE_MAX: usize = 4 * 1024;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    Whole(Vec<u8>),
    /// It has so many bytes, more than was asked for, and was not kept.
    TooLarge(u64),
}

/// The delimiter of a multipart body, from its content type. `None` when the body is something else.
pub fn boundary(content_type: &str) -> Option<String> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().to_ascii_lowercase().starts_with("multipart/") {
        return None;
    }
    let value = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("boundary").then(|| value.trim().trim_matches('"'))
    })?;
    // Some servers count the two dashes before a delimiter as part of it, some do not.
    let bare = value.trim_matches('-');
    (!bare.is_empty()).then(|| bare.to_owned())
}

#[derive(Debug)]
enum Place {
    /// Before the delimiter of a part. What comes there belongs to nothing.
    Between,
    Headers {
        length: Option<u64>,
    },
    Counted {
        left: u64,
        kept: Vec<u8>,
    },
    /// Skipped, as it is too large.
    Skipped {
        left: u64,
    },
    /// Without a length: until the delimiter comes again. `dropped` were too many to be kept.
    Delimited {
        dropped: u64,
    },
}

/// Takes a stream apart.
#[derive(Debug)]
pub struct Parts {
    boundary: String,
    limit: usize,
    place: Place,
    buffer: Vec<u8>,
    /// Of the buffer: taken already.
    taken: usize,
    /// Of the buffer: searched for the delimiter already.
    searched: usize,
    /// The line that is being read is too long to be kept.
    overlong: bool,
    /// Line feed and delimiter, as the server wrote it the last time.
    delimiter: Vec<u8>,
}

impl Parts {
    /// Parts of more than `limit` bytes are counted and not kept.
    pub fn new(boundary: &str, limit: usize) -> Self {
        Self {
            boundary: boundary.trim_matches('-').to_owned(),
            limit,
            place: Place::Between,
            buffer: Vec::new(),
            taken: 0,
            searched: 0,
            overlong: false,
            delimiter: Vec::new(),
        }
    }

    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.taken);
        self.searched = self.searched.saturating_sub(self.taken);
        self.taken = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next part that is complete. To be asked until there is none, after each push.
    pub fn next_part(&mut self) -> Option<Part> {
        loop {
            match &mut self.place {
                Place::Between => {
                    let line = self.line()?;
                    if self.is_delimiter(&line) {
                        self.delimiter = [b"\n", trimmed(&line)].concat();
                        self.place = Place::Headers { length: None };
                    }
                }
                Place::Headers { length } => {
                    let known = *length;
                    let line = self.line()?;
                    if trimmed(&line).is_empty() {
                        self.searched = self.taken;
                        self.place = match known {
                            None => Place::Delimited { dropped: 0 },
                            Some(length) if length > self.limit as u64 => Place::Skipped { left: length },
                            Some(length) => Place::Counted { left: length, kept: Vec::new() },
                        };
                        if let Place::Skipped { left } = self.place {
                            return Some(Part::TooLarge(left));
                        }
                    } else if let Some((name, value)) = header_line(&String::from_utf8_lossy(&line))
                        && name.eq_ignore_ascii_case("content-length")
                    {
                        self.place = Place::Headers { length: value.parse().ok() };
                    }
                }
                Place::Counted { left, kept } => {
                    let rest = &self.buffer[self.taken..];
                    let count = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                    kept.extend_from_slice(&rest[..count]);
                    *left -= count as u64;
                    self.taken += count;
                    if *left > 0 {
                        return None;
                    }
                    let whole = std::mem::take(kept);
                    self.place = Place::Between;
                    return Some(Part::Whole(whole));
                }
                Place::Skipped { left } => {
                    let count = usize::try_from(*left).unwrap_or(usize::MAX).min(self.buffer.len() - self.taken);
                    *left -= count as u64;
                    self.taken += count;
                    if *left > 0 {
                        return None;
                    }
                    self.place = Place::Between;
                }
                Place::Delimited { dropped } => {
                    let dropped = *dropped;
                    return self.delimited(dropped);
                }
            }
        }
    }

    fn delimited(&mut self, dropped: u64) -> Option<Part> {
        let from = self.searched.max(self.taken);
        let Some(found) = find(&self.buffer[from..], &self.delimiter) else {
            // The delimiter may have begun at the very end, and a carriage return before it.
            let keep = self.delimiter.len();
            self.searched = self.buffer.len().saturating_sub(keep).max(self.taken);
            if self.buffer.len() - self.taken > self.limit + keep {
                self.place = Place::Delimited { dropped: dropped + (self.searched - self.taken) as u64 };
                self.taken = self.searched;
            }
            return None;
        };
        let end = from + found;
        let content = &self.buffer[self.taken..end];
        let content = content.strip_suffix(b"\r").unwrap_or(content);
        let length = dropped + content.len() as u64;
        let part = if length > self.limit as u64 { Part::TooLarge(length) } else { Part::Whole(content.to_vec()) };
        self.taken = end + 1;
        self.place = Place::Between;
        Some(part)
    }

    /// The next line, without its end. One that is too long counts as empty, and belongs to nothing.
    fn line(&mut self) -> Option<Vec<u8>> {
        let rest = &self.buffer[self.taken..];
        let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
            if rest.len() > LINE_MAX {
                self.taken = self.buffer.len();
                self.overlong = true;
            }
            return None;
        };
        let overlong = std::mem::take(&mut self.overlong) || end > LINE_MAX;
        // A single dash is neither a delimiter nor a header nor the end of headers.
        let line = if overlong { b"-".to_vec() } else { rest[..end].to_vec() };
        self.taken += end + 1;
        Some(line)
    }

    fn is_delimiter(&self, line: &[u8]) -> bool {
        let line = String::from_utf8_lossy(trimmed(line));
        line.starts_with("--") && line.trim_matches('-') == self.boundary
    }
}

fn trimmed(line: &[u8]) -> &[u8] {
    line.trim_ascii_end()
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMIT: usize = 12;

    fn parts(pieces: &[&[u8]]) -> Vec<Part> {
        let mut parts = Parts::new("frame", LIMIT);
        let mut found = Vec::new();
        for piece in pieces {
            parts.push(piece);
            while let Some(part) = parts.next_part() {
                found.push(part);
            }
        }
        assert!(parts.buffer.len() <= LIMIT + 2 * LINE_MAX + pieces.iter().map(|piece| piece.len()).sum::<usize>());
        found
    }

    fn whole(text: &str) -> Part {
        Part::Whole(text.as_bytes().to_vec())
    }

    #[test]
    fn the_boundary_is_found_as_servers_write_it() {
        for (text, expected) in [
            ("multipart/x-mixed-replace;boundary=boundarydonotcross", Some("boundarydonotcross")),
            ("multipart/x-mixed-replace; boundary=\"--myboundary\"", Some("myboundary")),
            ("Multipart/X-Mixed-Replace; charset=utf-8; Boundary=12 ", Some("12")),
            ("multipart/x-mixed-replace; boundary=--", None),
            ("multipart/x-mixed-replace", None),
            ("image/jpeg; boundary=x", None),
        ] {
            assert_eq!(boundary(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn parts_are_found_with_and_without_a_length() {
        for (text, expected) in [
            ("--frame\r\nContent-Length: 3\r\n\r\nabc\r\n--frame\r\n", vec![whole("abc")]),
            ("junk\r\n--frame\r\n\r\nabc\r\n--frame\r\n\r\nde\n--frame--\r\n", vec![whole("abc"), whole("de")]),
            ("----frame\nContent-Type: image/jpeg\n\na\nb\n----frame\n", vec![whole("a\nb")]),
            // A length that is too small leaves a rest that belongs to nothing.
            (
                "--frame\r\ncontent-length:2\r\n\r\nabcd\r\n--frame\r\nContent-Length: 1\r\n\r\nz\r\n",
                vec![whole("ab"), whole("z")],
            ),
            (
                "--frame\r\nContent-Length: 20\r\n\r\n12345678901234567890\r\n--frame\r\nContent-Length: 1\r\n\r\nz",
                vec![Part::TooLarge(20), whole("z")],
            ),
            (
                "--frame\r\n\r\n1234567890123456789\r\n--frame\r\n\r\nz\r\n--frame\r\n",
                vec![Part::TooLarge(19), whole("z")],
            ),
            ("--other\r\n\r\nabc\r\n--other\r\n", vec![]),
            ("--frame\r\nContent-Length: none\r\n\r\nabc\r\n--frame\r\n", vec![whole("abc")]),
        ] {
            assert_eq!(parts(&[text.as_bytes()]), expected, "{text:?}");
        }
    }

    #[test]
    fn what_never_ends_is_counted_and_not_kept() {
        let mut parts = Parts::new("frame", LIMIT);
        parts.push(b"--frame\r\n\r\n");
        for _ in 0..1000 {
            parts.push(&[b'x'; 1000]);
            assert_eq!(parts.next_part(), None);
            assert!(parts.buffer.len() < 3000, "{}", parts.buffer.len());
        }
        parts.push(b"\r\n--frame\r\n");
        assert_eq!(parts.next_part(), Some(Part::TooLarge(1_000_000)));
        let mut lines = Parts::new("frame", LIMIT);
        for _ in 0..1000 {
            lines.push(&[b'x'; 1000]);
            assert_eq!(lines.next_part(), None);
            assert!(lines.buffer.len() <= LINE_MAX + 2000, "{}", lines.buffer.len());
        }
    }

    fn piece() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            Just(b"--frame\r\n".to_vec()),
            Just(b"\r\n--frame\r\n".to_vec()),
            Just(b"Content-Length: 5\r\n\r\n".to_vec()),
            Just(b"\r\n\r\n".to_vec()),
            Just(b"\n".to_vec()),
            Just(b"-".to_vec()),
            proptest::collection::vec(any::<u8>(), 0..20),
        ]
    }

    proptest! {
        #[test]
        fn chunking_changes_nothing_and_arbitrary_bytes_never_panic(
            pieces in proptest::collection::vec(piece(), 0..20),
            cuts in proptest::collection::vec(0_usize..300, 0..12),
        ) {
            let bytes = pieces.concat();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let cut: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            prop_assert_eq!(parts(&cut), parts(&[&bytes]));
        }
    }
}
