//! A hub that is told to stop does so within seconds, whatever its neighbours do.

use std::time::{Duration, Instant};

use crate::support::{Hub, read_answer, says, waits};
use rigwire_shared::broker::BrokerAddress;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;

const SECONDS: Duration = Duration::from_millis(3500);

async fn stops(hub: Hub, while_: &str) {
    let began = Instant::now();
    hub.server.stop().await;
    assert!(began.elapsed() < SECONDS, "{while_}: took {:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_run_is_under_way_and_clients_are_half_way_through_a_request() {
    let hub = Hub::start().await;
    hub.run(&waits("1h")).await;
    let idle = TcpStream::connect(hub.server.address).await.unwrap();
    let mut half = TcpStream::connect(hub.server.address).await.unwrap();
    half.write_all(b"POST /api/v1/runs HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{").await.unwrap();
    let mut kept = TcpStream::connect(hub.server.address).await.unwrap();
    kept.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert_eq!(read_answer(&mut kept).await.status, 200);
    let silent = TcpStream::connect((hub.server.broker.host(), hub.server.broker.port())).await.unwrap();
    stops(hub, "idle neighbours").await;
    drop((idle, half, kept, silent));
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_client_takes_nothing() {
    let hub = Hub::start().await;
    let mut board = hub.socket("/api/ws/updates").await;
    board.send(Message::text(json!({"type": "subscribe", "payload": {"topic": "*"}}).to_string())).await;
    // More than the sockets' buffers hold, and less than what closes a slow client.
    for _ in 0..100 {
        hub.run(&says(&"x".repeat(100_000))).await;
    }
    stops(hub, "a client that does not read").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_there_is_no_broker_or_a_silent_one() {
    let absent = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap().port()
    };
    let hub = Hub::with_outside_broker(BrokerAddress::new("127.0.0.1", absent)).await;
    let answer = hub.get("/readyz").await;
    assert_eq!((answer.status, answer.body["code"].as_str()), (503, Some("NOT_READY")));
    // What needs no agent goes on.
    hub.run(&says("x")).await;
    stops(hub, "no broker").await;

    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hub = Hub::with_outside_broker(BrokerAddress::new("127.0.0.1", silent.local_addr().unwrap().port())).await;
    let taken = silent.accept().await.unwrap();
    stops(hub, "a broker that says nothing").await;
    drop(taken);
}
