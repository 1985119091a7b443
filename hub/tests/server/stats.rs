//! The hub in numbers: statistics of the agent_events sockets, and figures for Prometheus.

use std::collections::BTreeMap;

use crate::support::{Hub, says};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

/// A hub that two agent_events clients and one of another protocol met, one run and one faulty message later; what the
/// first client was sent, and how many events the run has. It is still there, and so is the third.
async fn eventful(hub: &Hub) -> (crate::support::Socket, crate::support::Socket, u64, u64) {
    hub.ready().await;
    let mut stays = hub.socket("/ws/events").await;
    let mut sent = 0;
    for (text, expected) in [(r#"{"type":"PING"}"#, "PONG"), ("{", "error")] {
        stays.send(Message::text(text)).await;
        while stays.next().await["type"] != expected {
            sent += 1;
        }
        sent += 1;
    }
    let mut leaves = hub.socket("/ws/workflow").await;
    leaves.next().await;
    leaves.leave().await;
    let mut board = hub.socket("/api/ws/updates").await;
    board.next().await;
    let (run, _) = hub.run(&says("hello")).await;
    while stays.next().await["type"] != "workflowComplete" {
        sent += 1;
    }
    sent += 1;
    let events = hub.get(&format!("/api/v1/runs/{run}/events?limit=1000")).await.body;
    (stays, board, sent, events["events"].as_array().unwrap().len() as u64)
}

#[tokio::test(flavor = "multi_thread")]
async fn statistics_say_what_happened() {
    let hub = Hub::start().await;
    let (stays, _board, sent, events) = eventful(&hub).await;
    let settled = |answer: &crate::support::Answer| answer.body["messages_sent"] == sent + 1;
    let stats = hub.until("both sockets to be counted", "/stats", settled).await.body;
    // Each event once, but for those that a newer one replaced before the client took them.
    let ledger = hub.get("/api/v1/ledger").await.body;
    let mut connected = ledger["watchers"]["connected"].as_array().unwrap().iter();
    let row = connected.find(|row| row["dialect"] == "agent_events").unwrap();
    let passed = row["passed"].as_u64().unwrap();
    assert_eq!(passed + row["coalesced"].as_u64().unwrap(), events);
    let expected = json!({
        "total_connections": 2, "active_connections": 1, "messages_sent": sent + 1, "messages_received": 2,
        "broadcast_count": passed, "errors": 1,
        "connection_states": {"connecting": 0, "connected": 1, "disconnecting": 0, "disconnected": 1, "error": 0},
    });
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(&stats[key], value, "{key}: {stats}");
        assert_eq!(&stats["websocket_manager"][key], value, "{key} of the manager: {stats}");
    }
    assert_eq!(stats["websocket_manager"]["total_errors"], 1);
    let average = stats["websocket_manager"]["average_messages_per_connection"].as_f64().unwrap();
    assert!((average * 2.0 - (sent + 1) as f64).abs() < 1e-9, "{stats}");
    assert_eq!(stats["event_bus"]["running"], true);
    assert_eq!(stats["event_bus"]["websocket_connections"], 1, "the board watches nothing: {stats}");
    assert_eq!(stats["event_bus"]["events_recorded"], events);
    assert_eq!(stats["server"]["running"], true);
    assert_eq!(stats["server"]["config"]["max_connections"], 100);
    assert_eq!(stats["server"]["config"]["port"], hub.server.address.port());
    assert_eq!(stats["api_gateway"]["active_runs"], 0);
    stays.leave().await;
    hub.until("nobody to be there", "/stats", |answer| {
        answer.body["active_connections"] == 0 && answer.body["connection_states"]["disconnected"] == 2
    })
    .await;
    hub.server.stop().await;
}

/// Every sample by its name and labels, after a look at the form of the page.
fn parse(page: &str) -> BTreeMap<String, f64> {
    let mut kinds = BTreeMap::new();
    let mut samples = BTreeMap::new();
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            assert!(rest.split_once(' ').is_some_and(|(_, help)| !help.is_empty()), "{line}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(["counter", "gauge"].contains(&kind), "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            assert!(kinds.insert(name, kind).is_none(), "{name} is there twice");
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let name = series.split('{').next().unwrap();
            assert!(kinds.contains_key(name), "{line}: without a type before it");
            assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{line}");
            if let Some(labels) = series.strip_prefix(name).filter(|labels| !labels.is_empty()) {
                let labels = labels.strip_prefix('{').and_then(|labels| labels.strip_suffix('}')).unwrap();
                for label in labels.split(',') {
                    let (_, value) = label.split_once('=').unwrap();
                    assert!(value.len() > 2 && value.starts_with('"') && value.ends_with('"'), "{line}");
                }
            }
            assert!(samples.insert(series.to_owned(), value.parse().unwrap()).is_none(), "{series} is there twice");
        }
    }
    samples
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_for_prometheus_are_true() {
    let hub = Hub::start().await;
    let (_stays, _board, sent, events) = eventful(&hub).await;
    hub.until("both sockets to be counted", "/stats", |answer| answer.body["messages_sent"] == sent + 1).await;
    let answer = hub.get("/metrics").await;
    assert!(answer.head.contains("content-type: text/plain; version=0.0.4"), "{}", answer.head);
    let Value::String(page) = answer.body else { panic!("{}", answer.body) };
    let samples = parse(&page);
    for (series, expected) in [
        (r#"rigwire_connections{dialect="agent_events"}"#, 1.0),
        (r#"rigwire_connections{dialect="test_dashboard"}"#, 1.0),
        (r#"rigwire_connections{dialect="solver_runs"}"#, 0.0),
        (r#"rigwire_connections_total{dialect="agent_events"}"#, 2.0),
        (r#"rigwire_messages_sent_total{dialect="agent_events"}"#, (sent + 1) as f64),
        (r#"rigwire_messages_sent_total{dialect="test_dashboard"}"#, 1.0),
        (r#"rigwire_messages_received_total{dialect="agent_events"}"#, 2.0),
        (r#"rigwire_drops_total{dialect="agent_events",reason="slow_client"}"#, 0.0),
        (r#"rigwire_drops_total{dialect="device_farm",reason="rate_limit"}"#, 0.0),
        (r#"rigwire_runs{status="completed"}"#, 1.0),
        (r#"rigwire_runs{status="failed"}"#, 0.0),
        ("rigwire_record_events_total", events as f64),
        ("rigwire_events_total", events as f64),
        ("rigwire_agents_online", 0.0),
        ("rigwire_record_queue", 0.0),
        ("rigwire_broker_connected", 1.0),
        ("rigwire_chat_questions_waiting", 0.0),
    ] {
        assert_eq!(samples.get(series), Some(&expected), "{series}\n{page}");
    }
    hub.server.stop().await;
}
