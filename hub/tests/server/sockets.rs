//! Sockets as clients see them: what a message gives rise to, and how a connection ends.

use crate::support::{Hub, says, waits};
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

#[tokio::test(flavor = "multi_thread")]
async fn every_end_has_its_code() {
    let hub = Hub::start().await;
    let absent = "00000000-0000-4000-8000-000000000000";
    for (path, code) in [
        ("/api/v1/ws/execution/run-1".to_owned(), 1003),
        (format!("/api/v1/ws/execution/{absent}"), 4404),
        (format!("/api/v1/ws/runs/{absent}"), 4404),
        (format!("/api/v1/ws/ws/runs/{absent}"), 4404),
        (format!("/ws/executions/{absent}"), 1008),
        ("/ws/executions/run-1".to_owned(), 1008),
        ("/api/v2/ws/runs/run-1".to_owned(), 4404),
        (format!("/api/v2/ws/optimizations/{absent}"), 4404),
    ] {
        assert_eq!(hub.socket(&path).await.until_closed().await.1, code, "{path}");
    }
    for path in ["/ws/events", "/ws/workflow", "/api/ws/updates", "/api/v1/ws/devices"] {
        let mut socket = hub.socket(path).await;
        socket.send(Message::binary(vec![1, 2, 3])).await;
        assert_eq!(socket.until_closed().await.1, 1003, "{path}");
        for length in [1024 * 1024 + 1, 3 * 1024 * 1024] {
            let mut socket = hub.socket(path).await;
            socket.send(Message::text(" ".repeat(length))).await;
            let (_, code, reason) = socket.until_closed().await;
            assert_eq!((code, reason.as_str()), (1009, "message longer than 1024 KiB"), "{path}");
        }
    }
    hub.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pings_are_answered_and_a_stop_is_told() {
    let hub = Hub::start().await;
    let mut sockets = Vec::new();
    for path in ["/ws/events", "/api/ws/updates", "/api/v1/ws/devices"] {
        let mut socket = hub.socket(path).await;
        if path != "/api/v1/ws/devices" {
            socket.next().await;
        }
        socket.send(Message::Ping(bytes::Bytes::from_static(b"here"))).await;
        assert_eq!(socket.frame().await, Message::Pong(bytes::Bytes::from_static(b"here")), "{path}");
        sockets.push(socket);
    }
    let ends = async {
        for socket in &mut sockets {
            let (_, code, reason) = socket.until_closed().await;
            assert_eq!((code, reason.as_str()), (1001, "the hub is stopping"));
        }
    };
    tokio::join!(hub.server.stop(), ends);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_run_is_told_in_every_dialect() {
    let hub = Hub::start().await;
    let mut stream = hub.socket("/ws/events").await;
    assert_eq!(stream.next().await["type"], "chatMessage");
    let mut board = hub.socket("/api/ws/updates?client_id=me").await;
    assert_eq!(board.next().await["payload"]["client_id"], "me");
    board.send(Message::text(json!({"type": "subscribe", "payload": {"topic": "*"}}).to_string())).await;
    assert_eq!(board.next().await["type"], "subscribed");

    let (id, number) = hub.run(&waits("300ms")).await;
    let mut protocol = hub.socket(&format!("/api/v1/ws/execution/{id}")).await;
    let mut farm = hub.socket(&format!("/ws/executions/{id}")).await;
    let mut solver = hub.socket(&format!("/api/v2/ws/runs/{number}")).await;
    let (texts, code, _) = protocol.until_closed().await;
    assert_eq!((texts.last().unwrap()["type"].as_str(), code), (Some("complete"), 1000));
    loop {
        if stream.next().await["type"] == "workflowComplete" {
            break;
        }
    }
    loop {
        if farm.next().await["type"] == "execution_completed" {
            break;
        }
    }
    loop {
        if solver.next().await["type"] == "completed" {
            break;
        }
    }
    let mut expected = 1;
    loop {
        let message = board.next().await;
        assert_eq!(message["sequence"], expected, "{message}");
        expected += 1;
        if message["type"] == "suite_completed" {
            assert_eq!(message["payload"]["suite_execution_id"], number);
            break;
        }
    }
    // The same client counts on after it was away.
    board.leave().await;
    let mut board = hub.socket("/api/ws/updates?client_id=me").await;
    board.next().await;
    board.send(Message::text(json!({"type": "subscribe", "payload": {"topic": "*"}}).to_string())).await;
    board.next().await;
    hub.run(&says("x")).await;
    assert_eq!(board.next().await["sequence"], expected);
    hub.server.stop().await;
}
