//! What a camera answers, taken apart: a stream of pictures or a single one, as its content type says. Pure; judges no picture.

use crate::protocol::http::{Head, HttpError, Response};
use crate::protocol::mjpeg::{self, Part, Parts};

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum FeedError {
    /// Somebody must act: another address, user or password.
    #[error("{0}")]
    Wrong(String),
    #[error("{0}")]
    Broken(String),
}

impl From<HttpError> for FeedError {
    fn from(error: HttpError) -> Self {
        match error {
            HttpError::NotHttp(_) | HttpError::HeadTooLong => Self::Wrong(error.to_string()),
            HttpError::BadChunk(_) | HttpError::CutOff => Self::Broken(error.to_string()),
        }
    }
}

#[derive(Debug)]
enum Kind {
    /// The head has not come yet.
    Unknown,
    Stream(Box<Parts>),
    /// So many bytes of it were too many to be kept.
    Snapshot {
        dropped: u64,
        taken: bool,
    },
}

#[derive(Debug)]
pub(super) struct Feed {
    response: Response,
    body: Vec<u8>,
    kind: Kind,
    limit: usize,
    ended: bool,
}

impl Feed {
    /// Pictures of more than `limit` bytes are counted and not kept.
    pub(super) fn new(limit: usize) -> Self {
        Self { response: Response::default(), body: Vec::new(), kind: Kind::Unknown, limit, ended: false }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), FeedError> {
        self.response.push(bytes, &mut self.body)?;
        if let (Kind::Unknown, Some(head)) = (&self.kind, self.response.head()) {
            self.kind = kind(head, self.limit)?;
        }
        match &mut self.kind {
            Kind::Unknown => {}
            Kind::Stream(parts) => {
                parts.push(&self.body);
                self.body.clear();
            }
            Kind::Snapshot { dropped, .. } => {
                if self.body.len() > self.limit || *dropped > 0 {
                    *dropped += self.body.len() as u64;
                    self.body.clear();
                }
            }
        }
        Ok(())
    }

    /// The connection ended. A snapshot may be whole by that.
    pub(super) fn end(&mut self) -> Result<(), FeedError> {
        self.response.end()?;
        self.ended = true;
        match self.kind {
            Kind::Snapshot { .. } => Ok(()),
            Kind::Stream(_) | Kind::Unknown => Err(FeedError::Broken("the camera ended its stream".to_owned())),
        }
    }

    /// The next picture, as far as its bytes go. To be asked until there is none.
    pub(super) fn next_part(&mut self) -> Option<Part> {
        match &mut self.kind {
            Kind::Unknown => None,
            Kind::Stream(parts) => parts.next_part(),
            Kind::Snapshot { dropped, taken } => {
                if *taken || !(self.ended || self.response.is_complete()) {
                    return None;
                }
                *taken = true;
                let body = std::mem::take(&mut self.body);
                Some(if *dropped > 0 { Part::TooLarge(*dropped) } else { Part::Whole(body) })
            }
        }
    }

    /// All pictures were taken, and no other will come.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.kind, Kind::Snapshot { taken: true, .. })
    }

    pub(super) fn is_stream(&self) -> bool {
        matches!(self.kind, Kind::Stream(_))
    }

    /// The name that the server gives itself.
    pub(super) fn server(&self) -> Option<&str> {
        self.response.head()?.header("server")
    }
}

fn kind(head: &Head, limit: usize) -> Result<Kind, FeedError> {
    let wrong = |text: String| Err(FeedError::Wrong(text));
    match head.status {
        200 => {}
        401 | 403 => return wrong(format!("the camera wants another user or password (HTTP {})", head.status)),
        404 => return wrong("the camera has nothing under this path (HTTP 404)".to_owned()),
        300..=399 => return wrong(format!("the camera's pictures are at another address (HTTP {})", head.status)),
        500..=599 => {
            return Err(FeedError::Broken(format!("the camera has a fault or is busy (HTTP {})", head.status)));
        }
        other => return wrong(format!("the camera answers HTTP {other}, expected 200")),
    }
    let content_type = head.header("content-type").unwrap_or("image/jpeg");
    let name = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if let Some(boundary) = mjpeg::boundary(content_type) {
        return Ok(Kind::Stream(Box::new(Parts::new(&boundary, limit))));
    }
    match name.as_str() {
        "image/jpeg" | "image/jpg" => Ok(Kind::Snapshot { dropped: 0, taken: false }),
        name if name.starts_with("multipart/") => wrong(format!("the camera's {name} names no boundary")),
        name => wrong(format!("it answers with {name}, expected multipart/x-mixed-replace or image/jpeg")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(text: &str) -> Result<(Vec<Part>, bool), FeedError> {
        let mut feed = Feed::new(5);
        let mut parts = Vec::new();
        for piece in text.as_bytes().chunks(3) {
            feed.push(piece)?;
            parts.extend(std::iter::from_fn(|| feed.next_part()));
        }
        if !feed.is_stream() && !feed.is_over() {
            feed.end()?;
            parts.extend(std::iter::from_fn(|| feed.next_part()));
        }
        Ok((parts, feed.is_over()))
    }

    fn whole(text: &str) -> Part {
        Part::Whole(text.as_bytes().to_vec())
    }

    #[test]
    fn streams_and_snapshots_are_told_apart_and_read() {
        let ok = "HTTP/1.1 200 OK\r\n";
        for (text, expected) in [
            (format!("{ok}Content-Type: image/jpeg\r\nContent-Length: 3\r\n\r\nabc"), (vec![whole("abc")], true)),
            (format!("{ok}\r\nabc"), (vec![whole("abc")], true)),
            (format!("{ok}Content-Type: image/jpeg\r\n\r\nabcdefgh"), (vec![Part::TooLarge(8)], true)),
            (
                format!(
                    "{ok}Content-Type: multipart/x-mixed-replace; boundary=f\r\n\r\n--f\r\n\r\nabc\r\n--f\r\nContent-Length: 2\r\n\r\nde"
                ),
                (vec![whole("abc"), whole("de")], false),
            ),
        ] {
            assert_eq!(feed(&text), Ok(expected), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_camera_is_named() {
        let wrong = |text: &str| Err(FeedError::Wrong(text.to_owned()));
        let broken = |text: &str| Err(FeedError::Broken(text.to_owned()));
        for (text, expected) in [
            ("HTTP/1.1 401 Unauthorized\r\n\r\n", wrong("the camera wants another user or password (HTTP 401)")),
            ("HTTP/1.1 404 Not Found\r\n\r\n", wrong("the camera has nothing under this path (HTTP 404)")),
            (
                "HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\n",
                wrong("the camera's pictures are at another address (HTTP 302)"),
            ),
            ("HTTP/1.1 503 Busy\r\n\r\n", broken("the camera has a fault or is busy (HTTP 503)")),
            (
                "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n",
                wrong("it answers with text/html, expected multipart/x-mixed-replace or image/jpeg"),
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace\r\n\r\n",
                wrong("the camera's multipart/x-mixed-replace names no boundary"),
            ),
            ("220 smtp\r\n", wrong("the answer is not HTTP, it begins with \"220\"")),
            ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", broken("the connection ended before the answer did")),
        ] {
            assert_eq!(feed(text), expected, "{text:?}");
        }
    }
}
