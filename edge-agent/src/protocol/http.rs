//! Enough of HTTP/1.1 to look at a camera: one request, the head of the answer, and how its body is coded. No socket, no clock.

use base64::Engine as _;

/// Of a response's head, and of one line within a chunked body.
const HEAD_MAX: usize = 16 * 1024;
const CHUNK_LINE_MAX: usize = 256;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    #[error("the answer is not HTTP, it begins with {0:?}")]
    NotHttp(String),
    #[error("the head of the answer has more than {HEAD_MAX} bytes")]
    HeadTooLong,
    #[error("a chunk of the answer has no length, but {0:?}")]
    BadChunk(String),
    #[error("the connection ended before the answer did")]
    CutOff,
}

/// A `GET`. The far end closes after it answered.
pub fn request(host: &str, target: &str, credentials: Option<(&str, &str)>) -> Vec<u8> {
    let agent = concat!("rigwire-agent/", env!("CARGO_PKG_VERSION"));
    let mut text = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {agent}\r\nAccept: */*\r\n");
    if let Some((user, password)) = credentials {
        let pair = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        text.push_str(&format!("Authorization: Basic {pair}\r\n"));
    }
    text.push_str("Connection: close\r\n\r\n");
    text.into_bytes()
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    pub status: u16,
    headers: Vec<(String, String)>,
}

impl Head {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    fn parse(bytes: &[u8]) -> Result<Self, HttpError> {
        let text = String::from_utf8_lossy(bytes);
        let mut lines = text.lines();
        let first = lines.next().unwrap_or_default();
        let status = first.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1)?.parse().ok());
        let status = status.ok_or_else(|| not_http(bytes))?;
        let headers = lines.filter_map(header_line).collect();
        Ok(Self { status, headers })
    }
}

/// Name and value of one header.
pub(super) fn header_line(line: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once(':')?;
    Some((name.trim().to_owned(), value.trim().to_owned()))
}

#[derive(Debug)]
enum Body {
    Counted(u64),
    Chunked(Chunk),
    /// Until the connection ends.
    Open,
}

#[derive(Debug)]
enum Chunk {
    Length(Vec<u8>),
    Content(u64),
    LineEnd,
    Last,
}

/// Takes one response apart.
#[derive(Debug)]
pub struct Response {
    buffer: Vec<u8>,
    head: Option<Head>,
    body: Body,
}

impl Default for Response {
    fn default() -> Self {
        Self { buffer: Vec::new(), head: None, body: Body::Open }
    }
}

impl Response {
    pub fn head(&self) -> Option<&Head> {
        self.head.as_ref()
    }

    /// Takes what arrived, and adds what of it belongs to the body.
    pub fn push(&mut self, bytes: &[u8], body: &mut Vec<u8>) -> Result<(), HttpError> {
        if self.head.is_some() {
            return self.push_body(bytes, body);
        }
        // The end of the head may have begun in what came before.
        let from = self.buffer.len().saturating_sub(3);
        self.buffer.extend_from_slice(bytes);
        let sound = self.buffer.len().min(7);
        if self.buffer[..sound] != b"HTTP/1."[..sound] {
            return Err(not_http(&self.buffer));
        }
        let Some(end) = head_end(&self.buffer, from) else {
            return if self.buffer.len() > HEAD_MAX { Err(HttpError::HeadTooLong) } else { Ok(()) };
        };
        if end > HEAD_MAX {
            return Err(HttpError::HeadTooLong);
        }
        let received = std::mem::take(&mut self.buffer);
        let head = Head::parse(&received[..end])?;
        let chunked = head.header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"));
        self.body = match head.header("content-length").and_then(|length| length.parse().ok()) {
            _ if chunked => Body::Chunked(Chunk::Length(Vec::new())),
            Some(length) => Body::Counted(length),
            None => Body::Open,
        };
        self.head = Some(head);
        self.push_body(&received[end..], body)
    }

    /// Whether all of the body is here. One without a length ends with the connection.
    pub fn is_complete(&self) -> bool {
        self.head.is_some() && matches!(self.body, Body::Counted(0) | Body::Chunked(Chunk::Last))
    }

    /// The connection ended.
    pub fn end(&self) -> Result<(), HttpError> {
        let open = self.head.is_some() && matches!(self.body, Body::Open);
        if open || self.is_complete() { Ok(()) } else { Err(HttpError::CutOff) }
    }

    fn push_body(&mut self, mut bytes: &[u8], body: &mut Vec<u8>) -> Result<(), HttpError> {
        while let Some(first) = bytes.first() {
            match &mut self.body {
                Body::Open => {
                    body.extend_from_slice(bytes);
                    break;
                }
                Body::Counted(left) => {
                    body.extend_from_slice(taken(&mut bytes, left));
                    // Nothing was asked for that could follow.
                    break;
                }
                Body::Chunked(Chunk::Last) => break,
                Body::Chunked(Chunk::Content(left)) => {
                    body.extend_from_slice(taken(&mut bytes, left));
                    if *left == 0 {
                        self.body = Body::Chunked(Chunk::LineEnd);
                    }
                }
                Body::Chunked(Chunk::LineEnd) => {
                    if *first == b'\n' {
                        self.body = Body::Chunked(Chunk::Length(Vec::new()));
                    } else if *first != b'\r' {
                        return Err(HttpError::BadChunk(shown(bytes)));
                    }
                    bytes = &bytes[1..];
                }
                Body::Chunked(Chunk::Length(line)) => {
                    bytes = &bytes[1..];
                    if *first != b'\n' {
                        line.push(*first);
                        if line.len() > CHUNK_LINE_MAX {
                            return Err(HttpError::BadChunk(shown(line)));
                        }
                        continue;
                    }
                    let length = chunk_length(line).ok_or_else(|| HttpError::BadChunk(shown(line)))?;
                    self.body = Body::Chunked(if length == 0 { Chunk::Last } else { Chunk::Content(length) });
                }
            }
        }
        Ok(())
    }
}

fn taken<'a>(bytes: &mut &'a [u8], left: &mut u64) -> &'a [u8] {
    let count = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
    let (content, rest) = bytes.split_at(count);
    *bytes = rest;
    *left -= count as u64;
    content
}

/// What comes after a semicolon is the chunk's own affair.
fn chunk_length(line: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(line).ok()?;
    u64::from_str_radix(text.split(';').next()?.trim(), 16).ok()
}

/// Where the body begins. Small servers end lines with a line feed alone.
fn head_end(bytes: &[u8], from: usize) -> Option<usize> {
    let breaks = (from..bytes.len()).filter(|at| bytes[*at] == b'\n');
    for at in breaks {
        let before = &bytes[..at];
        if before.ends_with(b"\n") || before.ends_with(b"\n\r") {
            return Some(at + 1);
        }
    }
    None
}

fn not_http(bytes: &[u8]) -> HttpError {
    HttpError::NotHttp(shown(bytes))
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(24)]).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Read = Result<(u16, Vec<u8>, bool), HttpError>;

    fn read(pieces: &[&[u8]]) -> Read {
        let (mut response, mut body) = (Response::default(), Vec::new());
        for piece in pieces {
            response.push(piece, &mut body)?;
        }
        let complete = response.is_complete();
        response.end()?;
        Ok((response.head().map_or(0, |head| head.status), body, complete))
    }

    #[test]
    fn a_request_asks_for_one_thing_and_says_who_asks() {
        let text = String::from_utf8(request("cam:8080", "/stream?x=1", Some(("bench", "p@ss")))).unwrap();
        assert!(text.starts_with("GET /stream?x=1 HTTP/1.1\r\nHost: cam:8080\r\n"), "{text}");
        assert!(text.contains("\r\nAuthorization: Basic YmVuY2g6cEBzcw==\r\n"), "{text}");
        assert!(text.ends_with("\r\nConnection: close\r\n\r\n"), "{text}");
        assert!(!String::from_utf8(request("cam", "/", None)).unwrap().contains("Authorization"));
    }

    #[test]
    fn bodies_are_read_as_they_are_coded() {
        for (text, expected) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcd", Ok((200, "abc", true))),
            ("HTTP/1.0 200 OK\n\nabc", Ok((200, "abc", false))),
            ("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", Ok((404, "", true))),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n",
                Ok((200, "abcde", true)),
            ),
            ("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc", Err(HttpError::CutOff)),
            ("HTTP/1.1 200 OK\r\nContent-Len", Err(HttpError::CutOff)),
            ("", Err(HttpError::CutOff)),
            ("SSH-2.0-OpenSSH\r\n", Err(HttpError::NotHttp("SSH-2.0-OpenSSH\r\n".into()))),
            ("HTTP/1.1 ok\r\n\r\n", Err(HttpError::NotHttp("HTTP/1.1 ok\r\n\r\n".into()))),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", Err(HttpError::BadChunk("xyz\r".into()))),
        ] {
            let expected = expected.map(|(status, body, complete)| (status, body.as_bytes().to_vec(), complete));
            assert_eq!(read(&[text.as_bytes()]), expected, "{text:?}");
        }
        assert_eq!(read(&[b"HTTP/1.1 ", &[b'x'; HEAD_MAX]]), Err(HttpError::HeadTooLong));
    }

    #[test]
    fn headers_are_found_whatever_their_case() {
        let (mut response, mut body) = (Response::default(), Vec::new());
        response.push(b"HTTP/1.1 200 OK\r\nCONTENT-type:  image/jpeg \r\n\r\n", &mut body).unwrap();
        assert_eq!(response.head().and_then(|head| head.header("Content-Type")), Some("image/jpeg"));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), head in any::<bool>()) {
            let start: &[u8] = if head { b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" } else { b"" };
            // What comes of them does not matter here.
            drop(read(&[start, &bytes]));
        }

        #[test]
        fn chunking_changes_nothing(cuts in proptest::collection::vec(0_usize..120, 0..8), which in 0_usize..3) {
            let text: &[u8] = [
                &b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n3\r\nfgh\r\n0\r\n\r\n"[..],
                b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nabcdefgh",
                b"HTTP/1.0 200 OK\nServer: x\n\nabcdefgh",
            ][which];
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
            prop_assert_eq!(read(&pieces), read(&[text]));
        }
    }
}
