//! Reservations by REST: what is asked for wrongly gets a sentence, and what is held is shown to everyone and survives.

use rigwire_shared::agent::{DeviceCard, DeviceKind, DeviceState};
use rigwire_shared::ids::DeviceId;
use serde_json::{Value, json};

use crate::support::{Answer, Hub};

const LEASE: &str = "/api/v1/devices/psu-1/lease";

/// Lets an agent with a supply appear.
async fn agent_comes(hub: &Hub) {
    let card = DeviceCard {
        device: DeviceId::new("psu-1").unwrap(),
        kind: DeviceKind::Instrument,
        class: "psu".to_owned(),
        profile: "test".to_owned(),
        tags: Vec::new(),
        state: DeviceState::Online,
        cause: "idle".to_owned(),
        identity: None,
        readings: Vec::new(),
        actions: Vec::new(),
        sdk: None,
    };
    hub.agent_comes(vec![card]).await;
    hub.until("the device", "/api/v1/devices/psu-1", |answer| answer.status == 200).await;
}

async fn post(hub: &Hub, body: Value) -> Answer {
    hub.request("POST", LEASE, &body.to_string()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reservation_that_cannot_be_is_refused_with_a_sentence() {
    let hub = Hub::start().await;
    for (path, body, status, code, detail) in [
        (LEASE, "{", 400, "INVALID_JSON", "the body is not JSON"),
        (LEASE, "{}", 422, "INVALID_REQUEST", "missing field `holder`; expected {\"holder\""),
        (LEASE, r#"{"holder": "alice"}"#, 422, "INVALID_REQUEST", "until and for are both missing"),
        (
            LEASE,
            r#"{"holder": " ", "for": "2h"}"#,
            422,
            "INVALID_REQUEST",
            "holder has 0 characters, expected 1 to 100",
        ),
        (LEASE, r#"{"holder": "a\nb", "for": "2h"}"#, 422, "INVALID_REQUEST", "holder holds a control character"),
        (LEASE, r#"{"holder": "a", "for": "soon"}"#, 422, "INVALID_REQUEST", "for is \"soon\", expected a duration"),
        (LEASE, r#"{"holder": "a", "for": "31d"}"#, 422, "INVALID_REQUEST", "for is 31d, expected at most 30 days"),
        (LEASE, r#"{"holder": "a", "for": "0s"}"#, 422, "INVALID_REQUEST", "for is 0s, which is over"),
        (
            LEASE,
            r#"{"holder": "a", "until": "noon"}"#,
            422,
            "INVALID_REQUEST",
            "until is \"noon\", expected a time in UTC",
        ),
        (LEASE, r#"{"holder": "a", "until": "1999-01-01T00:00:00Z"}"#, 422, "INVALID_REQUEST", "which is over: it is "),
        (LEASE, r#"{"holder": "a", "until": "x", "for": "x"}"#, 422, "INVALID_REQUEST", "until and for are both given"),
        (LEASE, r#"{"holder": "a", "for": "2h", "why": "x"}"#, 422, "INVALID_REQUEST", "unknown field `why`"),
        (LEASE, r#"{"holder": "a", "for": "2h"}"#, 404, "UNKNOWN_DEVICE", "no agent has a device psu-1"),
        (
            "/api/v1/devices/a%20b/lease",
            r#"{"holder": "a", "for": "2h"}"#,
            400,
            "INVALID_DEVICE_ID",
            "is not a device id",
        ),
    ] {
        let answer = hub.request("POST", path, body).await;
        let what = format!("{path} {body}: {} {}", answer.status, answer.body);
        assert_eq!((answer.status, answer.body["code"].as_str()), (status, Some(code)), "{what}");
        assert!(answer.body["detail"].as_str().is_some_and(|told| told.contains(detail)), "{what}");
    }
    let answer = hub.request("DELETE", LEASE, "").await;
    assert_eq!((answer.status, answer.body["code"].as_str()), (400, Some("INVALID_QUERY")), "{}", answer.body);
    let answer = hub.request("DELETE", &format!("{LEASE}?holder=alice"), "").await;
    assert_eq!((answer.status, answer.body["code"].as_str()), (404, Some("UNKNOWN_DEVICE")), "{}", answer.body);
    let body = json!({"procedure": crate::support::says("x"), "holder": ""}).to_string();
    let answer = hub.request("POST", "/api/v1/runs", &body).await;
    assert_eq!((answer.status, answer.body["code"].as_str()), (422, Some("INVALID_REQUEST")), "{}", answer.body);
    hub.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reservation_is_shown_prolonged_kept_and_given_back() {
    let hub = Hub::start().await;
    hub.ready().await;
    agent_comes(&hub).await;
    let taken = post(&hub, json!({"holder": "alice", "for": "2h", "reason": "soldering"})).await;
    assert_eq!(taken.status, 201, "{}", taken.body);
    for (key, expected) in [("device", "psu-1"), ("kind", "person"), ("holder", "alice"), ("reason", "soldering")] {
        assert_eq!(taken.body[key], expected, "{}", taken.body);
    }
    assert!(taken.body["fence"].as_u64().is_some_and(|fence| fence > 0), "{}", taken.body);
    let device = hub.get("/api/v1/devices/psu-1").await.body;
    assert_eq!((&device["lease"], &device["next"]), (&taken.body, &Value::Null));

    let longer = post(&hub, json!({"holder": "alice", "for": "3h"})).await;
    assert_eq!((longer.status, &longer.body["fence"]), (200, &taken.body["fence"]), "{}", longer.body);
    assert_eq!(longer.body["reason"], "soldering", "what was not said again stays");
    assert!(longer.body["until"].as_str() > taken.body["until"].as_str(), "{}", longer.body);
    let refused = post(&hub, json!({"holder": "bob", "for": "1h"})).await;
    assert_eq!((refused.status, refused.body["code"].as_str()), (409, Some("DEVICE_HELD")), "{}", refused.body);
    let detail = refused.body["detail"].as_str().unwrap();
    assert!(
        detail.starts_with("psu-1 is reserved by alice until ") && detail.ends_with(" UTC (soldering)"),
        "{detail}"
    );

    let hub = hub.restart().await;
    assert_eq!(hub.get("/api/v1/leases").await.body, json!({"leases": [longer.body]}));
    let refused = hub.request("DELETE", &format!("{LEASE}?holder=bob"), "").await;
    assert_eq!((refused.status, refused.body["code"].as_str()), (409, Some("DEVICE_HELD")), "{}", refused.body);
    let given = hub.request("DELETE", &format!("{LEASE}?holder=bob&force=true"), "").await;
    assert_eq!((given.status, &given.body["returned"]["holder"]), (200, &json!("alice")), "{}", given.body);
    assert_eq!(hub.get("/api/v1/leases").await.body, json!({"leases": []}));
    let again = hub.request("DELETE", &format!("{LEASE}?holder=alice"), "").await;
    assert_eq!((again.status, again.body["code"].as_str()), (404, Some("NOT_RESERVED")), "{}", again.body);
    hub.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_readmes_reservation_is_one() {
    let readme = include_str!("../../../README.md");
    let block = readme.split("```sh\n").find(|block| block.contains("/lease -d")).unwrap();
    let body = block.split("-d '").nth(1).unwrap().split('\'').next().unwrap();
    let path = block.split("-X DELETE '127.0.0.1:8000").nth(1).unwrap().split('\'').next().unwrap();
    let hub = Hub::start().await;
    hub.ready().await;
    agent_comes(&hub).await;
    let taken = hub.request("POST", LEASE, body).await;
    assert_eq!(taken.status, 201, "{}", taken.body);
    let given = hub.request("DELETE", path, "").await;
    assert_eq!(given.status, 200, "{}", given.body);
    hub.server.stop().await;
}
