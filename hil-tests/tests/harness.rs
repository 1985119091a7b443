//! The harness itself: a broker that comes back, and a client that reports all that happens on its sockets.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use rigwire_hil_tests::broker::Broker;
use rigwire_hil_tests::process::Process;
use rigwire_hil_tests::publisher::Publisher;
use rigwire_hil_tests::wait::PATIENCE;
use rigwire_hil_tests::watcher::{Frame, Watcher};
use serde_json::json;

#[test]
#[ignore = "needs mosquitto: run ./hil-tests/run"]
fn a_broker_comes_back_on_its_port_with_nothing_remembered() -> Result<()> {
    let mut broker = Broker::start()?;
    let mut publisher = Publisher::connect("first", broker.port())?;
    publisher.publish("note", true, b"kept")?;
    assert_eq!(publisher.retained("note")?, b"kept");
    broker.kill()?;
    assert!(publisher.publish("note", true, b"lost").is_err());
    broker.start_again()?;
    let mut publisher = Publisher::connect("second", broker.port())?;
    publisher.publish("note", true, b"new")?;
    assert_eq!(publisher.retained("note")?, b"new");
    broker.stop()?;
    assert!(TcpStream::connect(("127.0.0.1", broker.port())).is_err());
    Ok(())
}

#[test]
#[ignore = "needs python3-websockets: run ./hil-tests/run"]
fn the_watcher_reports_a_refused_handshake_and_a_missing_server() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    let refusing = std::thread::spawn(move || -> Result<()> {
        let (mut socket, _) = listener.accept()?;
        let mut request = [0; 1024];
        let length = socket.read(&mut request)?;
        assert!(request[..length].starts_with(b"GET /here HTTP/1.1"));
        socket.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")?;
        socket.shutdown(Shutdown::Both)?;
        Ok(())
    });
    let mut watcher = Watcher::start()?;
    watcher.open("refused", &format!("ws://127.0.0.1:{port}/here"), &[])?;
    let status = watcher.wait_for("refused", "a refusal", PATIENCE, |frame| match frame {
        Frame::Failed { status, .. } => Some(*status),
        Frame::Open | Frame::Json(_) | Frame::Other(_) | Frame::Closed { .. } => None,
    })?;
    assert_eq!(status, Some(403));
    assert!(refusing.join().is_ok_and(|result| result.is_ok()));

    watcher.open("missing", &format!("ws://127.0.0.1:{port}/there"), &[])?;
    let cause = watcher.wait_for("missing", "a failure", PATIENCE, |frame| match frame {
        Frame::Failed { status: None, cause } => Some(cause.clone()),
        Frame::Failed { .. } | Frame::Open | Frame::Json(_) | Frame::Other(_) | Frame::Closed { .. } => None,
    })?;
    assert!(cause.contains("ConnectionRefusedError"), "{cause}");
    assert_eq!(watcher.transcript("refused").len(), 1);
    Ok(())
}

/// Greets, repeats what it hears, closes with a code of its own on "bye".
const REPEATING_SERVER: &str = r#"
import asyncio, websockets
async def serve(socket, path):
    await socket.send('{"type": "greeting", "path": "%s"}' % path)
    async for text in socket:
        if text == '"bye"':
            await socket.close(4404, "no such run")
        await socket.send(text)
async def main():
    async with websockets.serve(serve, "127.0.0.1", 0) as server:
        print("port", server.sockets[0].getsockname()[1], flush=True)
        await asyncio.Future()
asyncio.run(main())
"#;

#[test]
#[ignore = "needs python3-websockets: run ./hil-tests/run"]
fn the_watcher_keeps_the_transcripts_of_many_sockets_apart() -> Result<()> {
    let server = Process::start("a server", Command::new("/usr/bin/python3").args(["-I", "-c", REPEATING_SERVER]))?;
    let line = server.wait_for_text("port ", PATIENCE)?;
    let base = format!("ws://127.0.0.1:{}", line.trim_start_matches("port "));

    let mut watcher = Watcher::start()?;
    watcher.open("a", &format!("{base}/a"), &[json!({"type": "early"})])?;
    watcher.open_and_send_after("b", &format!("{base}/b"), &[json!({"type": "late"}), json!("bye")], 1)?;
    let greeting = watcher.wait_for_kind("a", "greeting", PATIENCE)?;
    assert_eq!(greeting["path"], "/a");
    watcher.wait_for_kind("a", "early", PATIENCE)?;
    watcher.send_text("a", "no JSON {")?;
    watcher.wait_for("a", "what is no JSON", PATIENCE, |frame| {
        (*frame == Frame::Other("no JSON {".into())).then_some(())
    })?;
    assert_eq!(watcher.wait_closed("b", PATIENCE)?, (4404, "no such run".to_owned()));
    let expected = [
        Frame::Open,
        Frame::Json(json!({"type": "greeting", "path": "/b"})),
        Frame::Json(json!({"type": "late"})),
        Frame::Closed { code: 4404, reason: "no such run".into() },
    ];
    assert_eq!(watcher.transcript("b"), expected);
    watcher.close("a")?;
    assert_eq!(watcher.wait_closed("a", PATIENCE)?.0, 1000);

    let error = watcher.wait_for_kind("a", "answer", Duration::from_millis(200)).unwrap_err();
    let error = format!("{error:#}");
    assert!(error.contains("waited for a message of type answer on a: not seen within 200ms"), "{error}");
    assert!(error.contains(r#""type":"early""#), "{error}");
    Ok(())
}
