//! Connections to the HTTP server: how long they may do nothing, how many there may be, and what else they may not be.

use std::num::NonZeroU32;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rigwire::settings::limits::Limits;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::Message;

use crate::support::{Hub, read_answer, until, within};

const SECOND: NonZeroU32 = NonZeroU32::MIN;
const GET: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";

async fn with_limits(change: impl FnOnce(&mut Limits)) -> Hub {
    Hub::with(|settings| change(&mut settings.limits)).await
}

async fn connect(hub: &Hub) -> TcpStream {
    TcpStream::connect(hub.server.address).await.unwrap()
}

/// From another address of this host.
async fn connect_from(hub: &Hub, address: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{address}:0").parse().unwrap()).unwrap();
    socket.connect(hub.server.address).await.unwrap()
}

async fn status(stream: &mut TcpStream) -> u16 {
    stream.write_all(GET).await.unwrap();
    within("an answer", read_answer(stream)).await.status
}

/// Waits for the far end's close, and says after how long.
async fn closed(stream: &mut TcpStream) -> Duration {
    let began = Instant::now();
    let mut bytes = Vec::new();
    let read = within("the close", stream.read_to_end(&mut bytes)).await;
    assert!(bytes.is_empty() || read.is_err(), "{:?}", String::from_utf8_lossy(&bytes));
    began.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_come_ends_the_connection() {
    let hub = with_limits(|limits| limits.stall_seconds = SECOND).await;
    for path in ["/api/auth/token", "/api/v1/runs"] {
        let mut stream = connect(&hub).await;
        let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{{");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // What is said on the way out, if anything, is no answer to a whole request.
        within("the close", stream.read_to_end(&mut answer)).await.ok();
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{path}: {answer}");
    }
    // One that comes slowly, and comes, is served.
    let mut slow = connect(&hub).await;
    slow.write_all(b"POST /api/v1/runs HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n").await.unwrap();
    let mut pause = tokio::time::interval(Duration::from_millis(600));
    for byte in b"null" {
        pause.tick().await;
        slow.write_all(&[*byte]).await.unwrap();
    }
    assert_eq!(within("an answer", read_answer(&mut slow)).await.status, 422);
    hub.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_nobody_reads_ends_the_connection() {
    let hub = with_limits(|limits| limits.stall_seconds = SECOND).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(hub.server.address).await.unwrap();
    let ask = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n";
    // More than all buffers on the way hold; then nothing is taken any more.
    let flood = async { while stream.write_all(ask).await.is_ok() {} };
    within("the end of a connection whose answers nobody reads", flood).await;
    hub.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_comes_too_slowly_ends_the_connection() {
    let hub = with_limits(|limits| limits.request_head_seconds = SECOND).await;
    let mut silent = connect(&hub).await;
    let (mut read, mut write) = connect(&hub).await.into_split();
    write.write_all(b"GET /healthz HTTP/1.1\r\n").await.unwrap();
    let began = Instant::now();
    let trickle = async {
        let mut tick = tokio::time::interval(Duration::from_millis(100));
        loop {
            tick.tick().await;
            if write.write_all(b"a: b\r\n").await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    let mut bytes = Vec::new();
    let end = within("the end of a slow request", async {
        tokio::select! { end = read.read_to_end(&mut bytes) => end, () = trickle => Ok(0) }
    })
    .await;
    assert!(end.is_err() || bytes.is_empty(), "{:?}", String::from_utf8_lossy(&bytes));
    let took = began.elapsed();
    assert!((Duration::from_millis(900)..Duration::from_secs(5)).contains(&took), "{took:?}");
    closed(&mut silent).await;
    hub.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_is_too_large_is_refused() {
    let hub = with_limits(|limits| {
        limits.request_head_kib = NonZeroU32::new(8).unwrap();
        limits.request_headers = NonZeroU32::new(10).unwrap();
    })
    .await;
    let request = |headers: &str| format!("GET /healthz HTTP/1.1\r\nHost: x\r\n{headers}\r\n");
    assert_eq!(hub.raw(request(&format!("a: {}\r\n", "x".repeat(7000))).as_bytes()).await.status, 200);
    assert_eq!(hub.raw(request(&format!("a: {}\r\n", "x".repeat(9000))).as_bytes()).await.status, 431);
    assert_eq!(hub.raw(request(&"a: b\r\n".repeat(9)).as_bytes()).await.status, 200);
    assert_eq!(hub.raw(request(&"a: b\r\n".repeat(10)).as_bytes()).await.status, 431);
    hub.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_has_no_more_connections_than_its_share() {
    let hub = with_limits(|limits| limits.connections_per_address = NonZeroU32::new(2).unwrap()).await;
    // A socket is a connection, too.
    let socket = hub.socket("/ws/events").await;
    let mut kept = connect(&hub).await;
    assert_eq!(status(&mut kept).await, 200);
    let refused = hub.get("/healthz").await;
    let expected = json!({
        "detail": "there are 2 connections of this address, the most there may be of one",
        "code": "TOO_MANY_CONNECTIONS_OF_ADDRESS",
    });
    assert_eq!((refused.status, &refused.body), (429, &expected), "{}", refused.head);
    assert_eq!(status(&mut connect_from(&hub, "127.0.0.2").await).await, 200);
    assert_eq!(status(&mut kept).await, 200);
    drop(kept);
    hub.until("the place to be free", "/healthz", |answer| answer.status == 200).await;
    socket.leave().await;
    hub.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn there_are_no_more_connections_than_may_be() {
    let hub = with_limits(|limits| limits.connections = NonZeroU32::new(2).unwrap()).await;
    let mut kept = [connect_from(&hub, "127.0.0.1").await, connect_from(&hub, "127.0.0.2").await];
    for stream in &mut kept {
        assert_eq!(status(stream).await, 200);
    }
    let mut third = connect_from(&hub, "127.0.0.3").await;
    third.write_all(GET).await.unwrap();
    let refused = within("a refusal", read_answer(&mut third)).await;
    assert_eq!((refused.status, &refused.body["code"]), (503, &json!("TOO_MANY_CONNECTIONS")));
    drop(kept);
    hub.until("a place to be free", "/healthz", |answer| answer.status == 200).await;
    hub.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_without_a_request_is_closed_and_no_other() {
    let hub = with_limits(|limits| {
        limits.keep_alive_seconds = SECOND;
        limits.request_head_seconds = SECOND;
    })
    .await;
    let mut socket = hub.socket("/ws/events").await;
    let first = socket.next().await;
    assert!(first.is_object(), "{first}");
    // The head is complete; the body takes its time.
    let mut slow = connect(&hub).await;
    let body = json!({"command": "help"}).to_string();
    let head = format!("POST /api/v1/commands HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", body.len());
    slow.write_all(head.as_bytes()).await.unwrap();
    for _ in 0..2 {
        let mut idle = connect(&hub).await;
        assert_eq!(status(&mut idle).await, 200);
        assert_eq!(status(&mut idle).await, 200, "kept for the next request");
        let took = closed(&mut idle).await;
        assert!((Duration::from_millis(900)..Duration::from_secs(5)).contains(&took), "{took:?}");
    }
    slow.write_all(body.as_bytes()).await.unwrap();
    assert_eq!(within("an answer", read_answer(&mut slow)).await.status, 200);
    socket.send(Message::Ping(b"still there"[..].into())).await;
    while !matches!(socket.frame().await, Message::Pong(_)) {}
    hub.server.stop().await;
}

/// Without file descriptors nobody can be let in; when there are some again, the hub goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_shortage_of_file_descriptors_passes() {
    let directory = tempfile::tempdir().unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let child = Command::new("sh")
        .args(["-c", "ulimit -n 64; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_rigwire"), "serve", "--data"])
        .arg(directory.path())
        .args(["--listen", &format!("127.0.0.1:{port}"), "--mqtt-listen", "127.0.0.1:0"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut child = Ending(child);
    let healthy = || async {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)).await else { return false };
        stream.write_all(GET).await.is_ok()
            && tokio::time::timeout(Duration::from_millis(300), stream.read_u8()).await.is_ok_and(|read| read.is_ok())
    };
    let until = async |what: &str, wanted: bool| until(what, async || healthy().await == wanted).await;
    until("the hub to listen", true).await;
    let mut held = Vec::new();
    for _ in 0..100 {
        held.push(TcpStream::connect(("127.0.0.1", port)).await.unwrap());
    }
    until("the shortage", false).await;
    drop(held);
    until("the shortage to pass", true).await;
    assert!(child.0.try_wait().unwrap().is_none(), "the hub ended");
}

/// A process that ends with its test.
struct Ending(Child);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}
