//! Runs written as their events, and the reports of them. Knows no format.

use std::sync::Arc;

use rigwire::event::{DeviceSnapshot, RunEventBody, RunHeader};
use rigwire::procedure::Procedure;
use rigwire::report::{Builder, Report};
use rigwire::run::Run;
use rigwire_shared::time::Timestamp;
use serde_json::{Value, json};

/// 2026-03-01T10:30:00Z.
const START: i64 = 1_772_361_000_000_000;

pub(crate) fn at(millis: i64) -> Timestamp {
    Timestamp(START + millis * 1000)
}

/// The report of a run with these events, numbered from 1. A null is an event that is not in the record.
pub(crate) fn report(header: Value, events: &[(i64, Value)]) -> Report {
    report_of(None, header, events)
}

/// The same of a run that carries out a procedure.
pub(crate) fn report_of(procedure: Option<&str>, header: Value, events: &[(i64, Value)]) -> Report {
    let header: RunHeader = serde_json::from_value(header).unwrap_or_else(|error| panic!("header: {error}"));
    let procedure = procedure.map(|text| Arc::new(Procedure::from_toml(text, "test.toml").unwrap()));
    let mut run = Run::new(Arc::new(header), procedure);
    let bodies: Vec<Option<RunEventBody>> = events
        .iter()
        .map(|(_, event)| {
            let body = (!event.is_null()).then(|| event.clone());
            body.map(|body| serde_json::from_value(body).unwrap_or_else(|error| panic!("{event}: {error}")))
        })
        .collect();
    for ((millis, _), body) in events.iter().zip(&bodies) {
        run.apply(body.as_ref().unwrap_or(&RunEventBody::Created), at(*millis));
    }
    let mut builder = Builder::new(run.snapshot(|_| None));
    for (number, ((millis, _), body)) in (1..).zip(events.iter().zip(bodies)) {
        if let Some(body) = body {
            builder.take(number, at(*millis), body);
        }
    }
    builder.finish(&[supply()], at(60_000))
}

fn supply() -> DeviceSnapshot {
    let device = json!({
        "device": "psu-1", "agent": "bench-1", "kind": "instrument", "class": "psu", "profile": "korad.ka3005p",
        "tags": [], "state": "online", "cause": "", "held_by": null, "last_seen": START,
        "identity": {"vendor": "Korad", "model": "KA3005P", "serial": "30057214", "firmware": "V2.0",
            "location": "/dev/serial/by-path/pci-0000:00:14.0-usb-0:2:1.0", "properties": []},
    });
    serde_json::from_value(device).unwrap()
}

pub(crate) fn header(steps: &[(&str, &str, bool)]) -> Value {
    let steps: Vec<Value> = (1..)
        .zip(steps)
        .map(|(number, (id, module, finally))| {
            json!({
                "id": id, "uuid": format!("550e8400-e29b-41d4-a716-{number:012}"), "number": 12 + number,
                "module": module, "data": {}, "needs": [], "finally": finally, "phase": null,
            })
        })
        .collect();
    json!({
        "id": "550e8400-e29b-41d4-a716-446655440000", "number": 12, "parent": null, "kind": "execution",
        "name": "psu-ramp", "agent_name": "psu-ramp", "params": {"volts": 3.3}, "external": false,
        "created_at": START, "steps": steps, "tests": [],
    })
}

pub(crate) fn step(id: &str, attempt: u32, change: &Value) -> Value {
    let mut event = json!({
        "type": "step", "step": id, "module": "instrument.read", "device": if id == "off" { "psu-1" } else { "dmm-1" },
        "attempt_id": null, "attempt": attempt, "change": change,
    });
    if id == "set" {
        event["device"] = json!("psu-1");
        event["module"] = json!("instrument.action");
    }
    event
}

pub(crate) fn metric(name: &str, value: &Value, quality: &str, step: &str) -> Value {
    json!({
        "type": "metric", "name": name, "value": value, "unit": "V", "quality": quality, "device": "dmm-1",
        "step": step,
    })
}

pub(crate) fn log(level: &str, message: &str) -> Value {
    json!({"type": "log", "level": level, "message": message, "device": null, "module": null, "step": null, "source": "engine"})
}

pub(crate) fn verdict(step: &str, value: f64, passed: bool) -> Value {
    json!({"type": "verdict", "step": step, "metric": "voltage", "value": value, "min": 3.2, "max": 3.4, "passed": passed})
}

/// A ramp whose second reading fails once, is tried again and passes; one sample of it is no good.
pub(crate) fn ramp() -> Report {
    let steps = [
        ("set", "instrument.action", false),
        ("read", "instrument.read", false),
        ("off", "instrument.safe_state", true),
    ];
    let running = json!({"status": "running"});
    let mut events = vec![
        (0, json!({"type": "created"})),
        (5, json!({"type": "status", "status": "running", "step": null, "message": null})),
        (
            6,
            json!({"type": "bound", "fence": 7, "devices": [
            {"role": "psu", "device": "psu-1", "agent": "bench-1"},
            {"role": "meter", "device": "dmm-1", "agent": "bench-2"}]}),
        ),
        (8, log("info", "devices: psu-1, dmm-1")),
        (10, step("set", 1, &json!({"status": "dispatched"}))),
        (15, step("set", 1, &running)),
        (90, step("set", 1, &json!({"status": "completed", "duration_s": 0.075, "outputs": {}, "screenshot": null}))),
        (100, step("read", 1, &running)),
        (200, metric("voltage", &json!(3.31), "good", "read")),
        (400, metric("voltage", &json!(3.52), "good", "read")),
        (600, metric("voltage", &Value::Null, "overrange", "read")),
        (610, verdict("read", 3.52, false)),
        (
            620,
            step(
                "read",
                1,
                &json!({"status": "failed", "duration_s": 0.52, "error_code": "EXPECTATION_FAILED",
            "error": "voltage is 3.52, expected 3.2 to 3.4", "will_retry": true}),
            ),
        ),
        (630, log("warning", "step read failed and is tried again in 500 ms: \"voltage\" <3.52> & more")),
        (1130, step("read", 2, &running)),
    ];
    for index in 0..10 {
        let value = json!(3.29 + f64::from(index) * 0.003);
        events.push((1200 + i64::from(index) * 150, metric("voltage", &value, "good", "read")));
    }
    let outputs = json!({"voltage": {"mean": 3.3035, "min": 3.29, "max": 3.317, "count": 10, "bad": 0}});
    events.extend([
        (2700, verdict("read", 3.3035, true)),
        (
            2710,
            step(
                "read",
                2,
                &json!({"status": "completed", "duration_s": 1.58, "outputs": outputs, "screenshot": null}),
            ),
        ),
        (2720, step("off", 1, &running)),
        (
            2800,
            step(
                "off",
                1,
                &json!({"status": "completed", "duration_s": 0.08, "outputs": {"verified": true}, "screenshot": null}),
            ),
        ),
        (
            2805,
            json!({"type": "finished", "status": "completed", "error": null, "log_tail": null,
            "message": "3 of 3 steps completed", "duration_s": 2.8,
            "counts": {"total": 3, "successful": 3, "failed": 0, "skipped": 0},
            "metrics": [{"name": "voltage", "value": 3.317, "unit": "V"}]}),
        ),
    ]);
    report(header(&steps), &events)
}

/// A run that failed, whose record has a hole, with a program's own step, a test, an iteration and an artifact.
pub(crate) fn broken() -> Report {
    let steps = [("set", "instrument.action", false), ("read", "instrument.read", false)];
    let mut header = header(&steps);
    header["name"] = json!("=2+3 <b>Prüfung</b> 温度");
    header["kind"] = json!("suite");
    let events = [
        (0, json!({"type": "created"})),
        (5, json!({"type": "status", "status": "running", "step": null, "message": null})),
        (15, step("set", 1, &json!({"status": "running"}))),
        (20, Value::Null),
        (
            30,
            step(
                "set",
                1,
                &json!({"status": "failed", "duration_s": 0.01, "error_code": "DEVICE_GONE",
            "error": "psu-1 is gone:\n\"cable\" <pulled> & \u{7} so", "will_retry": false}),
            ),
        ),
        (40, step("read", 1, &json!({"status": "skipped", "cause": "set failed"}))),
        (
            45,
            step(
                "own",
                1,
                &json!({"status": "completed", "duration_s": 1.0, "outputs": {}, "screenshot": "own/1.png"}),
            ),
        ),
        (
            50,
            json!({"type": "test", "test": "login", "name": "Log in", "number": 44, "status": "completed",
            "percent": 100.0, "current_run": 2, "total_runs": 2, "success": false, "score": 0.5, "duration_s": 3.25,
            "message": null, "error": "no such user"}),
        ),
        (
            51,
            json!({"type": "iteration", "iteration": 1, "run": null, "parameters": {"t": 2.5}, "metrics": {"m": 1},
            "feasible": true, "pareto_updated": false}),
        ),
        (
            52,
            json!({"type": "artifact", "name": "trace.bin", "media_type": "application/octet-stream",
            "path": "ab/cd", "size": 2048}),
        ),
        (
            53,
            json!({"type": "metric", "name": "-odd", "value": "=cmd()", "unit": "degC", "quality": "good",
            "device": null, "step": null}),
        ),
        (
            54,
            json!({"type": "metric", "name": "-odd", "value": -4.5, "unit": "degC", "quality": "suspect",
            "device": null, "step": null}),
        ),
        (
            60,
            json!({"type": "finished", "status": "failed", "error": {"code": "DEVICE_GONE",
            "message": "psu-1 is gone", "step": "set", "device": "psu-1"}, "log_tail": null,
            "message": "psu-1 is gone", "duration_s": 0.055,
            "counts": {"total": 2, "successful": 0, "failed": 1, "skipped": 1}, "metrics": []}),
        ),
    ];
    report(header, &events)
}
