//! Numbers that the hub's file may change, as clients meet them: at the limit and one past it.

use rigwire::access::{Bearer, Role, book};
use rigwire::settings::{Options, Settings};
use rigwire_shared::time::Timestamp;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::support::{Hub, waits};

/// A hub whose file has these tables.
async fn with_file(text: &str) -> Hub {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("hub.toml");
    std::fs::write(&file, text).unwrap();
    let of_file = Settings::load(Options { config: Some(file), ..Options::default() }).unwrap();
    Hub::with(|settings| settings.limits = of_file.limits).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_file_says_counts_for_sockets() {
    let text = r#"
        [limits.sockets]
        message-kib = 1
        [limits.protocols.device-farm]
        connections = 2
        inactivity = "1s"
        [limits.protocols.agent-events]
        connections = 1
    "#;
    let hub = with_file(text).await;
    let stream = hub.socket("/ws/events").await;
    let (texts, code, _) = hub.socket("/ws/workflow").await.until_closed().await;
    assert_eq!(code, 1008);
    assert_eq!(texts[0]["payload"]["message"], "Maximum connections reached: 1 are open, the most there may be");
    stream.leave().await;

    let mut board = hub.socket("/api/ws/updates").await;
    assert_eq!(board.next().await["type"], "connected");
    board.send(Message::text(" ".repeat(1024))).await;
    assert_eq!(board.next().await["type"], "error");
    board.send(Message::text(" ".repeat(1025))).await;
    let (_, code, reason) = board.until_closed().await;
    assert_eq!((code, reason.as_str()), (1009, "message longer than 1 KiB"));

    let mut farm = [hub.socket("/api/v1/ws/devices").await, hub.socket("/api/v1/ws/devices").await];
    let (texts, code, _) = hub.socket("/api/v1/ws/devices").await.until_closed().await;
    assert_eq!((&texts[0]["code"], code), (&json!("TOO_MANY_CONNECTIONS"), 1008));
    for socket in &mut farm {
        let (texts, code, reason) = socket.until_closed().await;
        assert_eq!((texts.len(), code, reason.as_str()), (0, 1000, "nothing was sent or received for too long"));
    }
    hub.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_client_is_pinged_as_soon_as_the_file_says() {
    let hub = with_file("[limits.sockets]\nping-after = \"1s\"\n").await;
    let mut socket = hub.socket("/api/v1/ws/devices").await;
    assert_eq!(socket.frame().await, Message::Ping(bytes::Bytes::new()));
    hub.server.stop().await;
}

/// Two people at one computer: only the one who followed the execution is told how it ended.
#[tokio::test(flavor = "multi_thread")]
async fn who_followed_an_execution_may_come_back_to_it() {
    let hub = Hub::with_tokens().await;
    let [operator, eve, mallory] =
        [("olaf", Role::Operator), ("eve", Role::Viewer), ("mallory", Role::Viewer)].map(|(name, role)| {
            let added = book::change(&hub.data(), |book| book.add(name, Bearer::Role(role), Timestamp::now(), None));
            added.unwrap().1
        });
    let body = json!({"procedure": waits("30s")}).to_string();
    let started = hub.request("POST", &format!("/api/v1/runs?token={operator}"), &body).await;
    let (id, number) = (started.body["id"].as_str().unwrap(), &started.body["number"]);

    let mut socket = hub.socket(&format!("/ws/executions/{id}?token={eve}")).await;
    let first = socket.next().await;
    assert_eq!((&first["type"], &first["progress_percentage"]), (&json!("execution_progress"), &json!(0)));
    assert!(["Starting execution", "delay"].contains(&first["current_step"].as_str().unwrap()), "{first}");
    socket.leave().await;
    let cancelled = hub.request("POST", &format!("/api/v1/runs/{id}/cancel?token={operator}"), "").await;
    assert_eq!(cancelled.status, 202, "{}", cancelled.body);
    let path = format!("/api/v1/runs/{id}?token={operator}");
    hub.until("the run to end", &path, |row| !row.body["finished_at"].is_null()).await;

    for path in [format!("/ws/executions/{id}"), format!("/api/v1/ws/executions/{number}")] {
        let mut socket = hub.socket(&format!("{path}?token={eve}")).await;
        let last = socket.next().await;
        assert_eq!((&last["type"], &last["status"]), (&json!("execution_progress"), &json!("cancelled")));
        assert_eq!(last["current_step"], "Execution cancelled");
        let end = socket.next().await;
        assert_eq!((&end["type"], &end["status"]), (&json!("execution_completed"), &json!("cancelled")));
        socket.send(Message::Ping(bytes::Bytes::new())).await;
        assert!(matches!(socket.frame().await, Message::Pong(_)), "nothing more is told, and the socket stays open");
        socket.leave().await;
        let (texts, code, reason) = hub.socket(&format!("{path}?token={mallory}")).await.until_closed().await;
        assert_eq!((texts.len(), code, reason.as_str()), (1, 1008, "EXECUTION_NOT_ACTIVE"));
    }
    hub.server.stop().await;
}
