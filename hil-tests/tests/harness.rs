//! The harness itself: a broker that comes back, and a client that reports all that happens on its sockets.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};

use anyhow::Result;
use rigwire_hil_tests::broker::Broker;
use rigwire_hil_tests::publisher::Publisher;
use rigwire_hil_tests::wait::PATIENCE;
use rigwire_hil_tests::watcher::{Frame, Watcher};

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
