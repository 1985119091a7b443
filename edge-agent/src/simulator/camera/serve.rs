//! One connection to the simulated camera: reads a request and answers it, rightly or as the faults say.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context;
use base64::Engine as _;
use rigwire_shared::time::Timestamp;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::MissedTickBehavior;

use super::{CameraFault, Shared};
use crate::simulator::picture;

const REQUEST_MAX: usize = 8 * 1024;
const BOUNDARY: &str = "rigwireframe";
const SLOW: Duration = Duration::from_secs(2);
const HUGE: usize = 300 * 1024;
/// Of a segment of application data, which makes a picture huge.
const SEGMENT: usize = 60_000;
const DROP_EVERY: u64 = 10;
const PAGE: &str =
    "<p>A simulated camera: <a href=\"/stream\">stream</a>, <a href=\"/snapshot.jpg\">snapshot</a></p>\n";

pub(super) async fn connection(shared: Arc<Shared>, mut stream: TcpStream) {
    // Whoever looked has gone, or never asked: both are daily life of a camera.
    if let Err(error) = answer(&shared, &mut stream).await {
        tracing::debug!("a connection to the camera ended: {error:#}");
    }
}

async fn answer(shared: &Shared, stream: &mut TcpStream) -> anyhow::Result<()> {
    let Some(request) = read_request(stream).await? else { return Ok(()) };
    shared.counts.requests.fetch_add(1, Ordering::Relaxed);
    let mut words = request.lines().next().unwrap_or_default().split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let path = target.split('?').next().unwrap_or_default();
    if shared.has(CameraFault::Silent) {
        return until_closed(stream).await;
    }
    if !is_allowed(shared, &request) {
        let more = "WWW-Authenticate: Basic realm=\"camera\"\r\n";
        return respond(stream, "401 Unauthorized", more, "text/plain", b"who are you?\n").await;
    }
    match (method, path) {
        ("GET", "/stream") => show(shared, stream).await,
        ("GET", "/snapshot.jpg") => {
            let picture = next_picture(shared)?;
            respond(stream, "200 OK", "", "image/jpeg", &picture).await
        }
        ("GET", "/") => respond(stream, "200 OK", "", "text/html; charset=utf-8", PAGE.as_bytes()).await,
        _ => respond(stream, "404 Not Found", "", "text/plain", b"there is nothing here\n").await,
    }
}

/// The head of a request; `None` when whoever connected asked for nothing.
async fn read_request(stream: &mut TcpStream) -> anyhow::Result<Option<String>> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        anyhow::ensure!(bytes.len() < REQUEST_MAX, "a request of more than {REQUEST_MAX} bytes");
        if stream.read_buf(&mut bytes).await.context("reading a request")? == 0 {
            return Ok(None);
        }
    }
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

fn is_allowed(shared: &Shared, request: &str) -> bool {
    let Some((user, password)) = &shared.options.credentials else { return true };
    let pair = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    request.lines().any(|line| line == format!("Authorization: Basic {pair}"))
}

async fn until_closed(stream: &mut TcpStream) -> anyhow::Result<()> {
    let mut bytes = [0; 256];
    while stream.read(&mut bytes).await.context("waiting for the end")? > 0 {}
    Ok(())
}

async fn respond(
    stream: &mut TcpStream,
    status: &str,
    more: &str,
    content_type: &str,
    body: &[u8],
) -> anyhow::Result<()> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nServer: rigwire-camera\r\n{more}Content-Type: {content_type}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body).await?;
    stream.shutdown().await?;
    Ok(())
}

/// Counts an open stream for as long as it lives.
struct Open<'a>(&'a Shared);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.counts.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn show(shared: &Shared, stream: &mut TcpStream) -> anyhow::Result<()> {
    shared.counts.streams.fetch_add(1, Ordering::Relaxed);
    let _open = Open(shared);
    let chunked = shared.has(CameraFault::Chunked);
    let coding = if chunked { "Transfer-Encoding: chunked\r\n" } else { "" };
    let head = format!(
        "HTTP/1.1 200 OK\r\nServer: rigwire-camera\r\n{coding}Content-Type: multipart/x-mixed-replace; boundary={BOUNDARY}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n--{BOUNDARY}\r\n"
    );
    let (head, first) = head.split_at(head.len() - BOUNDARY.len() - 4);
    let (mut reader, mut writer) = stream.split();
    writer.write_all(head.as_bytes()).await?;
    writer.write_all(&coded(chunked, first.as_bytes())).await?;
    let rate = u32::from(shared.options.frames_per_second.max(1));
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut ignored = [0; 256];
    for count in 1.. {
        tokio::select! {
            read = reader.read(&mut ignored) => match read {
                Ok(0) | Err(_) => return Ok(()),
                Ok(_) => continue,
            },
            _ = ticks.tick() => {}
        }
        if shared.has(CameraFault::Slow) {
            tokio::time::sleep(SLOW).await;
        }
        let picture = next_picture(shared)?;
        let length = picture.len();
        let mut part = if shared.has(CameraFault::Unsized) {
            b"Content-Type: image/jpeg\r\n\r\n".to_vec()
        } else {
            format!("Content-Type: image/jpeg\r\nContent-Length: {length}\r\n\r\n").into_bytes()
        };
        part.extend_from_slice(&picture);
        if shared.has(CameraFault::Drop) && count % DROP_EVERY == 0 {
            writer.write_all(&coded(chunked, &part[..part.len() / 2])).await?;
            return Ok(());
        }
        part.extend_from_slice(format!("\r\n--{BOUNDARY}\r\n").as_bytes());
        writer.write_all(&coded(chunked, &part)).await?;
    }
    Ok(())
}

fn coded(chunked: bool, bytes: &[u8]) -> Vec<u8> {
    if !chunked {
        return bytes.to_vec();
    }
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

fn next_picture(shared: &Shared) -> anyhow::Result<Vec<u8>> {
    let frame = shared.counts.frames.fetch_add(1, Ordering::Relaxed) + 1;
    let (width, height) = (shared.options.width, shared.options.height);
    let mut picture = picture::draw(width, height, frame, Timestamp::now())?;
    if shared.has(CameraFault::Huge) {
        // Application data that nobody knows, after the start of the picture.
        let length = u16::try_from(SEGMENT + 2).unwrap_or(u16::MAX).to_be_bytes();
        let segment = [&[0xFF, 0xEF, length[0], length[1]][..], &[b'.'; SEGMENT]].concat();
        picture.splice(2..2, segment.repeat(HUGE / SEGMENT));
    }
    if shared.has(CameraFault::Garbage) {
        let noise =
            (0..picture.len()).map(|at| (at as u64).wrapping_mul(frame).wrapping_mul(0x9E37_79B9).to_le_bytes()[3]);
        picture = noise.collect();
    }
    if shared.has(CameraFault::Truncated) {
        picture.truncate(picture.len() / 2);
    }
    Ok(picture)
}
