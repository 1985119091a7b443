//! What of a run can be read by kind, also of one that ended long ago: log, measured values, completeness; and the ledger.

use crate::support::{Answer, Hub, says};
use rigwire_shared::agent::{AgentState, DeviceCard, DeviceKind, DeviceState, Inventory};
use rigwire_shared::event::{AgentEvent, EventBody, GapCause};
use rigwire_shared::ids::{AgentId, DeviceId, Epoch, Position};
use rigwire_shared::time::Timestamp;
use rigwire_shared::wire::Batch;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

async fn reported(hub: &Hub, events: &Value) -> String {
    let start = json!({"external": true, "kind": "solve", "name": "beam"}).to_string();
    let id = hub.request("POST", "/api/v1/runs", &start).await.body["id"].as_str().unwrap().to_owned();
    let answer = hub.request("POST", &format!("/api/v1/runs/{id}/events"), &events.to_string()).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    id
}

fn log(level: &str, message: &str) -> Value {
    json!({"type": "log", "level": level, "message": message, "source": "pytest", "at": "2026-01-31T12:00:00Z"})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_read_in_pages_by_level_and_as_text() {
    let hub = Hub::start().await;
    let events = json!([
        log("debug", "one"), log("info", "two"), log("warning", "three\nlines\n"), log("error", "four"),
        {"type": "status", "status": "failed", "error": "it broke"},
    ]);
    let id = reported(&hub, &events).await;
    let hub = hub.restart().await;
    let path = format!("/api/v1/runs/{id}/logs");
    let messages = |answer: &Value| -> Vec<String> {
        answer["logs"].as_array().unwrap().iter().map(|line| line["message"].as_str().unwrap().to_owned()).collect()
    };
    let all = hub.get(&path).await.body;
    assert_eq!(messages(&all), ["one", "two", "three\nlines\n", "four"]);
    let line = &all["logs"][2];
    assert_eq!((&line["level"], &line["source"], &line["seq"]), (&json!("warning"), &json!("pytest"), &json!(5)));
    for (query, expected) in [
        ("?level=warning", &["three\nlines\n", "four"][..]),
        ("?level=debug&limit=2", &["one", "two"]),
        ("?after=4&limit=1", &["three\nlines\n"]),
        ("?after=99", &[]),
    ] {
        assert_eq!(messages(&hub.get(&format!("{path}{query}")).await.body), expected, "{query}");
    }
    assert_eq!(hub.get(&format!("{path}?level=warning&limit=1")).await.body["next"], 5);
    let text = hub.get(&format!("{path}?format=text&level=warning")).await;
    assert!(text.head.contains("content-type: text/plain; charset=utf-8"), "{}", text.head);
    let text = text.body.as_str().unwrap().to_owned();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    for (line, (begin, end)) in lines.iter().zip([
        ("2026-01-31T12:00:00", " WARNING pytest: three"),
        ("    lines", ""),
        ("2026-01-31T12:00:00", " ERROR   pytest: four"),
    ]) {
        assert!(line.starts_with(begin) && line.ends_with(end), "{line}");
    }
    for (query, code) in
        [("?level=fatal", "INVALID_QUERY"), ("?format=xml", "INVALID_QUERY"), ("?x=1", "INVALID_QUERY")]
    {
        let answer = hub.get(&format!("{path}{query}")).await;
        assert_eq!((answer.status, answer.body["code"].as_str()), (400, Some(code)), "{query}");
    }
    hub.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn measured_values_come_in_series_with_a_summary() {
    let hub = Hub::start().await;
    let metric =
        |name: &str, value: f64, unit: &str| json!({"type": "metric", "name": name, "value": value, "unit": unit});
    let events = json!([
        metric("rms", 1.0, "V"), metric("rms", 4.0, "V"), metric("gain", -3.5, "dB"), metric("rms", 2.5, "V"),
        {"type": "metric", "name": "rms", "value": 9, "unit": "V", "device": "dmm-1"},
    ]);
    let id = reported(&hub, &events).await;
    let path = format!("/api/v1/runs/{id}/metrics");
    let all = hub.get(&path).await.body;
    let series = all["series"].as_array().unwrap();
    let names: Vec<(&str, Option<&str>)> =
        series.iter().map(|row| (row["name"].as_str().unwrap(), row["device"].as_str())).collect();
    assert_eq!(names, [("gain", None), ("rms", None), ("rms", Some("dmm-1"))]);
    let rms = &series[1];
    let summary = &rms["summary"];
    assert_eq!((&summary["count"], &summary["good"], &rms["unit"]), (&json!(3), &json!(3), &json!("V")));
    let numbers = ["min", "max", "mean", "last"].map(|key| summary[key].as_f64().unwrap());
    assert_eq!(numbers, [1.0, 4.0, 2.5, 2.5]);
    let values: Vec<f64> = rms["values"].as_array().unwrap().iter().map(|row| row["value"].as_f64().unwrap()).collect();
    assert_eq!((values, &rms["values"][0]["quality"]), (vec![1.0, 4.0, 2.5], &json!("good")));
    // A page holds some values; a summary is always of the whole run.
    let page = hub.get(&format!("{path}?name=rms&limit=2")).await.body;
    assert_eq!((page["series"].as_array().unwrap().len(), &page["next"]), (2, &json!(4)));
    assert_eq!(page["series"][0]["values"].as_array().unwrap().len(), 2);
    assert_eq!(page["series"][0]["summary"]["count"], 3);
    let rest = hub.get(&format!("{path}?name=rms&after=4")).await.body;
    assert_eq!(rest["series"][0]["values"][0]["value"], 2.5);
    assert_eq!(hub.get(&format!("{path}?name=none")).await.body["series"], json!([]));
    assert_eq!(hub.get("/api/v1/runs/99999/metrics").await.status, 404);
    hub.server.stop().await;
}

fn batch(number: u64, bodies: Vec<EventBody>) -> Batch {
    let previous = (number > 1).then(|| Position { epoch: Epoch(1), number: number - 1 });
    let events = bodies.into_iter().map(|body| AgentEvent { at: Timestamp::now(), body }).collect();
    Batch { position: Position { epoch: Epoch(1), number }, previous, events }
}

fn gap(device: Option<&str>, samples: u64, cause: GapCause) -> EventBody {
    EventBody::Gap { device: device.map(|device| DeviceId::new(device).unwrap()), samples, cause }
}

/// An agent with one meter comes, and sends what it must send again and again.
async fn agent_reports(hub: &Hub) {
    let asked = hub.server.app.hub.ask(|core, now| {
        let agent = AgentId::new("bench").unwrap();
        let (version, host, cause) = ("0.1.0".to_owned(), "host".to_owned(), "connected".to_owned());
        core.model.agent_state(&agent, &AgentState { epoch: Epoch(1), online: true, version, host, cause }, now);
        let card = DeviceCard {
            device: DeviceId::new("dmm-1").unwrap(),
            kind: DeviceKind::Instrument,
            class: "dmm".to_owned(),
            profile: "test".to_owned(),
            tags: Vec::new(),
            state: DeviceState::Online,
            cause: "idle".to_owned(),
            identity: None,
            readings: Vec::new(),
            actions: Vec::new(),
            sdk: None,
        };
        core.model.inventory(&agent, &Inventory { epoch: Epoch(1), devices: vec![card] }, now);
    });
    asked.await.unwrap();
    hub.run(&json!({"name": "reads", "roles": {"meter": {"class": "dmm"}},
        "steps": [{"id": "read", "use": "instrument.read", "on": "meter", "timeout": "1h"}]}))
        .await;
    let asked = hub.server.app.hub.ask(|core, now| {
        let agent = AgentId::new("bench").unwrap();
        let losses = vec![
            gap(Some("dmm-1"), 5, GapCause::PollSkipped),
            gap(Some("other"), 100, GapCause::PortOverrun),
            gap(None, 7, GapCause::SpoolFull),
        ];
        for (number, bodies) in [(1, losses), (1, Vec::new()), (3, Vec::new()), (2, Vec::new()), (3, Vec::new())] {
            core.model.batch(&agent, batch(number, bodies), now);
        }
    });
    asked.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn completeness_counts_what_was_lost_and_says_why() {
    let hub = Hub::start().await;
    let (id, _) = hub.run(&says("x")).await;
    let completed = |answer: &Answer| answer.body["status"] == "completed";
    hub.until("the end", &format!("/api/v1/runs/{id}"), completed).await;
    agent_reports(&hub).await;
    let whole = hub.get(&format!("/api/v1/runs/{id}/completeness")).await.body;
    assert_eq!((&whole["complete"], &whole["goes_on"]), (&json!(true), &json!(false)), "{whole}");
    let last = whole["events"]["last"].as_u64().unwrap();
    assert_eq!(whole["line"], format!("{last} of {last} events in the record"));
    let runs = hub.get("/api/v1/runs").await.body;
    let reads = runs["runs"].as_array().unwrap().iter().find(|run| run["name"] == "reads").unwrap()["id"].clone();
    let lossy = hub.get(&format!("/api/v1/runs/{}/completeness", reads.as_str().unwrap())).await.body;
    assert_eq!((&lossy["complete"], &lossy["samples"]["lost"]), (&json!(false), &json!(12)), "{lossy}");
    let gaps: Vec<(Option<&str>, u64, &str)> = lossy["samples"]["gaps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|gap| (gap["device"].as_str(), gap["samples"].as_u64().unwrap(), gap["cause"].as_str().unwrap()))
        .collect();
    assert_eq!(gaps, [(Some("dmm-1"), 5, "poll-skipped"), (None, 7, "spool-full")]);
    assert!(lossy["line"].as_str().unwrap().ends_with("; the run goes on; 12 samples lost"), "{lossy}");
    hub.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sums_of_the_ledger_add_up() {
    let hub = Hub::start().await;
    agent_reports(&hub).await;
    let ledger = hub.get("/api/v1/ledger").await.body;
    let agent = &ledger["agents"][0];
    let batches = ["arrived", "taken", "duplicates", "after_a_gap"].map(|key| agent["batches"][key].as_u64().unwrap());
    assert_eq!((agent["agent"].as_str(), batches), (Some("bench"), [5, 3, 1, 1]), "{agent}");
    let causes = json!({"poll-skipped": 5, "port-overrun": 100, "spool-full": 7});
    assert_eq!((&agent["samples"]["lost"], &agent["samples"]["by_cause"]), (&json!(112), &causes));
    assert!(agent["commands_sent"].as_u64().is_some_and(|sent| sent >= 1), "{agent}");

    let mut leaves = hub.socket("/ws/events").await;
    let mut stays = hub.socket("/ws/events").await;
    // Whose ping is answered is watching: a run that is over before would show it nothing.
    for socket in [&mut leaves, &mut stays] {
        socket.send(Message::text(r#"{"type": "PING", "payload": {}}"#)).await;
        while socket.next().await["type"] != "PONG" {}
    }
    let (id, _) = hub.run(&says("x")).await;
    while !leaves.next().await["type"].as_str().is_some_and(|kind| kind.starts_with("workflow")) {}
    leaves.leave().await;
    let settled = |answer: &Answer| {
        let watchers = &answer.body["watchers"];
        let open = &watchers["connected"];
        open.as_array().unwrap().len() == 1 && open[0]["waiting"] == 0 && watchers["gone"][0]["watchers"] == 1
    };
    let watchers = hub.until("one watcher to be gone", "/api/v1/ledger", settled).await.body["watchers"].take();
    for (row, left) in [(&watchers["connected"][0], "waiting"), (&watchers["gone"][0], "unsent")] {
        let number = |value: &Value| value.as_u64().unwrap();
        let sum = number(&row["passed"]) + number(&row["coalesced"]) + number(&row["dropped"]["slow_client"]);
        assert_eq!(number(&row["received"]), sum + number(&row[left]), "{row}");
        assert!(number(&row["received"]) > 0 && number(&row["messages_sent"]) > 0, "{row}");
        assert_eq!(row["dialect"], "agent_events");
    }
    drop((stays, id));
    hub.server.stop().await;
}
