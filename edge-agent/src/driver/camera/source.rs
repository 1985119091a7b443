//! One connection to a camera: asks, reads, and hands out what came. What it means is `feed.rs`'s to say.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::feed::{Feed, FeedError};
use super::url::CameraUrl;
use crate::driver::DriverError;
use crate::protocol::http;
use crate::protocol::mjpeg::Part;

const CONNECT_WITHIN: Duration = Duration::from_secs(3);
/// Read at once: small enough for many cameras, large enough for a picture in a few reads.
const READ_MAX: usize = 32 * 1024;

#[derive(Debug)]
pub(super) struct Source {
    stream: TcpStream,
    feed: Feed,
    bytes: Vec<u8>,
}

/// `Disconnected` when nobody answers there.
pub(crate) async fn connect(url: &CameraUrl) -> Result<TcpStream, DriverError> {
    match tokio::time::timeout(CONNECT_WITHIN, TcpStream::connect(url.address())).await {
        Ok(Ok(stream)) => {
            // Only a hint: without it, a request is a little later.
            stream.set_nodelay(true).ok();
            Ok(stream)
        }
        Ok(Err(error)) => Err(DriverError::Disconnected(format!("camera {url} cannot be reached: {error}"))),
        Err(_) => {
            let within = CONNECT_WITHIN.as_secs();
            Err(DriverError::Disconnected(format!("camera {url} did not answer within {within} s")))
        }
    }
}

impl Source {
    /// Asks for the pictures. Those of more than `limit` bytes are only counted.
    pub(super) async fn ask(mut stream: TcpStream, url: &CameraUrl, limit: usize) -> Result<Self, DriverError> {
        let request = http::request(&url.host(), url.target(), url.credentials());
        // Smaller than any socket's buffer, so this does not wait.
        stream.write_all(&request).await.map_err(|error| lost(url, &error.to_string()))?;
        Ok(Self { stream, feed: Feed::new(limit), bytes: vec![0; READ_MAX] })
    }

    /// The next picture as it came; `None` after a snapshot. Cancel-safe: what was read is kept.
    pub(super) async fn next_part(&mut self, url: &CameraUrl) -> Result<Option<Part>, DriverError> {
        loop {
            if let Some(part) = self.feed.next_part() {
                return Ok(Some(part));
            }
            if self.feed.is_over() {
                return Ok(None);
            }
            let count = self.stream.read(&mut self.bytes).await.map_err(|error| lost(url, &error.to_string()))?;
            let taken = match count {
                0 => self.feed.end(),
                count => self.feed.push(&self.bytes[..count]),
            };
            taken.map_err(|error| match error {
                FeedError::Wrong(cause) => DriverError::WrongDevice(format!("{url}: {cause}")),
                FeedError::Broken(cause) => DriverError::Silent(format!("{url}: {cause}")),
            })?;
        }
    }

    pub(super) fn is_stream(&self) -> bool {
        self.feed.is_stream()
    }

    pub(super) fn server(&self) -> Option<&str> {
        self.feed.server()
    }
}

fn lost(url: &CameraUrl, cause: &str) -> DriverError {
    DriverError::Silent(format!("{url}: the connection broke: {cause}"))
}
