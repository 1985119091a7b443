//! A program outside reports its run: by REST and over the broker, watched through every dialect.

use std::time::Duration;

use crate::support::{Hub, within};
use rigwire_shared::ids::RunId;
use rigwire_shared::topic::Topic;
use rumqttc::{AsyncClient, Event, Incoming, MqttOptions, QoS};
use serde_json::{Value, json};

async fn start(hub: &Hub, body: Value) -> (String, u64) {
    let answer = hub.request("POST", "/api/v1/runs", &body.to_string()).await;
    assert_eq!((answer.status, answer.body["status"].as_str()), (201, Some("running")), "{}", answer.body);
    (answer.body["id"].as_str().unwrap().to_owned(), answer.body["number"].as_u64().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_reports_its_suite() {
    let hub = Hub::start().await;
    let (id, number) = start(
        &hub,
        json!({"external": true, "kind": "suite", "name": "nightly", "agent_name": "pytest",
            "tests": [{"id": "t1", "name": "Boots", "runs": 2}], "deadline_s": 60}),
    )
    .await;
    let mut updates = hub.socket("/api/ws/updates").await;
    let mut protocol = hub.socket(&format!("/api/v1/ws/execution/{number}")).await;
    let mut farm = hub.socket(&format!("/ws/executions/{id}")).await;
    let mut solver = hub.socket(&format!("/api/v2/ws/runs/{id}")).await;
    let mut agent = hub.socket("/ws/events").await;
    let path = format!("/api/v1/runs/{number}/events");
    let events = json!([
        {"id": "1", "type": "test", "test": "t1", "status": "running", "current_run": 1},
        {"id": "2", "type": "metric", "name": "rms", "value": 0.5, "unit": "V"},
        {"id": "3", "type": "test", "test": "t1", "status": "completed", "score": 1},
        {"id": "4", "type": "status", "status": "completed"},
    ]);
    let answer = hub.request("POST", &path, &events.to_string()).await;
    assert_eq!((answer.status, &answer.body["accepted"]), (202, &json!(4)), "{}", answer.body);
    let again = hub.request("POST", &path, &events.to_string()).await;
    assert_eq!((again.status, again.body), (202, json!({"accepted": 0, "seq": answer.body["seq"]})));
    let late = hub.request("POST", &path, "[{\"type\": \"progress\", \"percent\": 1}]").await;
    assert_eq!((late.status, late.body["code"].as_str()), (409, Some("RUN_ENDED")));

    let (texts, code, _) = protocol.until_closed().await;
    assert_eq!((texts.last().unwrap()["type"].as_str(), code), (Some("complete"), 1000), "{texts:?}");
    for (socket, kind) in [(&mut farm, "execution_completed"), (&mut solver, "completed")] {
        while socket.next().await["type"] != kind {}
    }
    while !agent.next().await["type"].as_str().is_some_and(|kind| kind.starts_with("workflow")) {}
    drop(updates.next().await);

    let run = hub.get(&format!("/api/v1/runs/{id}")).await.body;
    assert_eq!((run["status"].as_str(), run["progress"].as_f64()), (Some("completed"), Some(100.0)), "{run}");
    let recorded = hub.get(&path).await.body;
    let kinds: Vec<&str> =
        recorded["events"].as_array().unwrap().iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["created", "status", "child", "test", "progress", "metric", "test", "progress", "finished"]);
    let child = recorded["events"].as_array().unwrap().iter().find(|event| event["type"] == "child").unwrap();
    let part = hub.get(&format!("/api/v1/runs/{}", child["number"])).await.body;
    assert_eq!((&part["parent"], &part["kind"], &part["name"]), (&json!(id), &json!("execution"), &json!("Boots")));
    assert_eq!((&part["status"], &part["id"], &part["progress"]), (&json!("completed"), &child["run"], &json!(100.0)));
    hub.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_says_why_and_takes_nothing() {
    let hub = Hub::start().await;
    let (id, _) = start(&hub, json!({"external": true, "kind": "solve", "name": "beam"})).await;
    let path = format!("/api/v1/runs/{id}/events");
    let procedure = hub.run(&crate::support::says("x")).await.0;
    let many = format!("[{}]", vec!["{}"; 1001].join(","));
    let long = " ".repeat(1024 * 1024 + 1);
    for (path, body, status, code, detail) in [
        (path.as_str(), "{", 400, "INVALID_JSON", "the batch is not JSON"),
        (&path, "{}", 422, "INVALID_EVENT", "not an array"),
        (&path, many.as_str(), 422, "TOO_MANY_EVENTS", "1001 events"),
        (&path, &long, 413, "BODY_TOO_LARGE", "expected at most 1048576 bytes"),
        (
            &path,
            "[{\"type\": \"progress\", \"percent\": 140}]",
            422,
            "INVALID_EVENT",
            "events[0].percent: 140 is out of",
        ),
        (
            &path,
            "[{\"type\": \"progress\", \"percent\": 9}, {\"type\": \"progress\", \"percent\": 8}]",
            409,
            "CONTRADICTION",
            "events[1].percent: 8 is less than 9",
        ),
        (&format!("/api/v1/runs/{procedure}/events"), "[]", 409, "NOT_EXTERNAL", "is carried out by the hub"),
        (&format!("/api/v1/runs/{id}/pause"), "", 409, "EXTERNAL_RUN", "cannot be paused from here"),
        ("/api/v1/runs/999999/events", "[]", 404, "UNKNOWN_RUN", "there is no run 999999"),
        ("/api/v1/runs", "{\"external\": true}", 422, "INVALID_REQUEST", "kind: is missing"),
        ("/api/v1/runs", "{\"external\": 1}", 422, "INVALID_REQUEST", "external: 1 is not true or false"),
    ] {
        let answer = hub.request("POST", path, body).await;
        assert_eq!((answer.status, answer.body["code"].as_str()), (status, Some(code)), "{body:.60}: {}", answer.body);
        assert!(answer.body["detail"].as_str().is_some_and(|told| told.contains(detail)), "{}", answer.body);
    }
    let recorded = hub.get(&path).await.body;
    assert_eq!(recorded["events"].as_array().map(Vec::len), Some(2), "{recorded}");
    let cancelled = hub.request("POST", &format!("/api/v1/runs/{id}/cancel"), "").await;
    assert_eq!((cancelled.status, cancelled.body["status"].as_str()), (202, Some("cancelled")));
    hub.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_reports_over_the_broker() {
    let hub = Hub::start().await;
    hub.ready().await;
    let (id, _) = start(&hub, json!({"external": true, "kind": "solve", "name": "beam"})).await;
    let broker = &hub.server.broker;
    let mut options = MqttOptions::new("program", broker.host(), broker.port());
    options.set_keep_alive(Duration::from_secs(30));
    let (client, mut events) = AsyncClient::new(options, 10);
    let topic = Topic::Ingest(RunId(id.parse().unwrap())).text();
    let batch = json!([{"type": "progress", "percent": 42, "phase": "meshing"}]).to_string();
    client.publish(topic, QoS::AtLeastOnce, false, batch).await.unwrap();
    within("the broker's confirmation", async {
        while !matches!(events.poll().await.unwrap(), Event::Incoming(Incoming::PubAck(_))) {}
    })
    .await;
    let topic = Topic::Ingest(RunId(id.parse().unwrap())).text();
    let file = json!([{"type": "artifact", "name": "x.csv", "media_type": "text/csv", "data": "YSxiCg=="}]);
    client.publish(topic, QoS::AtLeastOnce, false, file.to_string()).await.unwrap();
    within("the broker's confirmation", async {
        while !matches!(events.poll().await.unwrap(), Event::Incoming(Incoming::PubAck(_))) {}
    })
    .await;
    let url = format!("/api/v1/artifacts/{id}/x.csv");
    hub.until("the file", &url, |answer| answer.status == 200).await;
    assert_eq!(hub.get(&url).await.body, "a,b\n");
    let again = hub.request("POST", &format!("/api/v1/runs/{id}/events"), &file.to_string()).await;
    assert_eq!(again.status, 202, "{}", again.body);
    assert_eq!(hub.get(&format!("/api/v1/artifacts/{id}/x-2.csv")).await.body, "a,b\n");
    hub.until("the progress", &format!("/api/v1/runs/{id}"), |answer| answer.body["progress"] == 42.0).await;
    hub.server.stop().await;
}
