//! REST neighbours of the protocols: what each answers in the words of its clients, and how each refuses.

mod agent_events;
mod device_farm;
mod protocol_runs;
mod solver_runs;

use rigwire_shared::agent::{DeviceCard, DeviceKind, DeviceState, Identity};
use rigwire_shared::ids::DeviceId;
use serde_json::{Value, json};

use crate::support::{Answer, Hub};

pub(crate) const ABSENT: &str = "00000000-0000-4000-8000-000000000000";

/// Compares an object with a table of `key type`, comma separated: `text`, `number`, `whole`, `flag`, `list`, `object`,
/// `uuid`, `time`, and any of these with `?` where it may be null. Neither more keys nor less.
#[track_caller]
pub(crate) fn is_of(value: &Value, table: &str) {
    let fields = value.as_object().unwrap_or_else(|| panic!("{value} is no object"));
    let mut expected = Vec::new();
    for entry in table.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
        let (key, kind) = entry.split_once(' ').unwrap();
        expected.push(key);
        let found = fields.get(key).unwrap_or_else(|| panic!("{key} is missing in {value}"));
        let (kind, nullable) = kind.strip_suffix('?').map_or((kind, false), |kind| (kind, true));
        let text = found.as_str();
        let fits = match kind {
            "text" => text.is_some(),
            "number" => found.is_number(),
            "whole" => found.as_u64().is_some(),
            "flag" => found.is_boolean(),
            "list" => found.is_array(),
            "object" => found.is_object(),
            "uuid" => text.is_some_and(|text| uuid::Uuid::try_parse(text).is_ok()),
            "time" => text.is_some_and(|text| humantime::parse_rfc3339(text).is_ok()),
            other => panic!("{other} is no type of a table"),
        };
        assert!(fits || (nullable && found.is_null()), "{key} is {found}, expected {entry}, in {value}");
    }
    let more: Vec<&String> = fields.keys().filter(|key| !expected.contains(&key.as_str())).collect();
    assert!(more.is_empty(), "{more:?} are not in the table: {value}");
}

/// One request that is refused: method, path, body, status, code, part of the sentence.
pub(crate) type Refusal<'a> = (&'a str, &'a str, &'a str, u16, &'a str, &'a str);

pub(crate) async fn are_refused(hub: &Hub, refusals: &[Refusal<'_>]) {
    for (method, path, body, status, code, detail) in refusals {
        let answer = hub.request(method, path, body).await;
        let what = format!("{method} {path} {body:.60}: {} {}", answer.status, answer.body);
        assert_eq!((answer.status, answer.body["code"].as_str()), (*status, Some(*code)), "{what}");
        assert!(answer.body["detail"].as_str().is_some_and(|told| told.contains(detail)), "{what}");
    }
}

pub(crate) async fn post(hub: &Hub, path: &str, body: &Value) -> Answer {
    let text = if body.is_null() { String::new() } else { body.to_string() };
    hub.request("POST", path, &text).await
}

pub(crate) async fn keep(hub: &Hub, procedure: &Value) {
    let name = procedure["name"].as_str().unwrap();
    let answer = hub.request("PUT", &format!("/api/v1/procedures/{name}"), &procedure.to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
}

/// An ended run of a program outside: two steps of which one failed, a metric, a line and a file. Its UUID and number.
pub(crate) async fn reported(hub: &Hub, kind: &str) -> (String, u64) {
    let announced = json!({
        "external": true, "kind": kind, "name": "beam", "agent_name": "solver", "devices": ["psu-1"],
        "nodes": [{"id": "mesh", "type": "mesher"}, {"id": "solve", "type": "solver"}],
        "edges": [{"source": "mesh", "target": "solve"}],
    });
    let answer = post(hub, "/api/v1/runs", &announced).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    let (id, number) = (answer.body["id"].as_str().unwrap().to_owned(), answer.body["number"].as_u64().unwrap());
    let events = json!([
        {"type": "step", "step": "mesh", "status": "running"},
        {"type": "step", "step": "mesh", "status": "completed", "duration_s": 0.5},
        {"type": "log", "level": "warning", "message": "coarse"},
        {"type": "metric", "name": "stress", "value": 312.5, "unit": "MPa"},
        {"type": "artifact", "name": "field.csv", "media_type": "text/csv", "data": "YSxiCg=="},
        {"type": "step", "step": "solve", "status": "running"},
        {"type": "step", "step": "solve", "status": "failed", "error_code": "DIVERGED", "error": "did not converge"},
        {"type": "status", "status": "failed", "error": "did not converge"},
    ]);
    let answer = post(hub, &format!("/api/v1/runs/{id}/events"), &events).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    (id, number)
}

/// Lets an agent appear with a supply on a serial port, tagged `simulated`, and a phone on USB.
pub(crate) async fn agent_comes(hub: &Hub) {
    let card = |device: &str, kind, class: &str, location: &str, tags: &[&str]| DeviceCard {
        device: DeviceId::new(device).unwrap(),
        kind,
        class: class.to_owned(),
        profile: "test".to_owned(),
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        state: DeviceState::Online,
        cause: "idle".to_owned(),
        identity: Some(Identity {
            vendor: "KORAD".to_owned(),
            model: "KA3005P".to_owned(),
            serial: "S1".to_owned(),
            firmware: "V5.9".to_owned(),
            location: location.to_owned(),
            properties: Vec::new(),
        }),
        readings: Vec::new(),
        actions: Vec::new(),
        sdk: None,
    };
    let devices = vec![
        card("psu-1", DeviceKind::Instrument, "psu", "/dev/ttyUSB0", &["simulated"]),
        card("emulator-5554", DeviceKind::Android, "phone", "usb:1-4", &[]),
    ];
    hub.agent_comes(devices).await;
    hub.until("the devices", "/api/v1/devices/emulator-5554", |answer| answer.status == 200).await;
}
