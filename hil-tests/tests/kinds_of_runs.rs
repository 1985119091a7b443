//! One story for each kind of run that does its own work: a procedure with all that a procedure may have, a workflow, a run that a
//! program outside reports. Each to its end, and stopped in the middle with the hardware left safe.

use anyhow::{Context, Result};
use rigwire_hil_tests::dialects::{self, AGENT_EVENTS, SOLVER_RUNS, messages_of, of_type};
use rigwire_hil_tests::rig::{Choice, METER, Rig, SUPPLY};
use rigwire_hil_tests::soak::check::microseconds;
use rigwire_hil_tests::wait::{self, PATIENCE};
use serde_json::{Value, json};

const FINAL: [&str; 3] = ["completed", "failed", "cancelled"];

/// Two branches: one on the supply, one that reads the meter until it shows what it should.
fn branches() -> Value {
    json!({
        "name": "branches",
        "params": { "volts": { "type": "float", "unit": "V", "max": 12.0, "default": 3.3 } },
        "roles": { "psu": { "class": "psu" }, "meter": { "device": METER } },
        "steps": [
            { "id": "set", "use": "instrument.action", "on": "psu", "with": { "action": "set_voltage", "v": "{{ volts }}" } },
            { "id": "on", "use": "instrument.action", "on": "psu", "with": { "action": "output", "on": true } },
            { "id": "settle", "use": "instrument.read", "on": "psu", "needs": ["on"],
              "with": { "reading": "voltage", "samples": 6, "every": "200ms" } },
            { "id": "read", "use": "instrument.read", "on": "meter", "needs": [],
              "with": { "reading": "value", "samples": 2, "every": "50ms" },
              "expect": { "voltage": { "min": 3.2, "max": 3.4 } }, "retry": { "times": 20, "backoff": "300ms" } },
            { "id": "high", "use": "log", "with": { "message": "high" }, "when": "volts > 5", "needs": ["read"] },
            { "id": "both", "use": "assert", "needs": ["settle", "high"],
              "with": { "that": "steps.read.voltage.mean > 3.2 and steps.settle.voltage.mean > 3.2" } },
        ],
        "finally": [
            { "id": "off", "use": "instrument.safe_state", "on": "psu" },
            { "id": "bye", "use": "log", "with": { "message": "left safe" } },
        ],
    })
}

#[test]
#[ignore = "needs mosquitto and python3-websockets: run ./hil-tests/run"]
fn a_procedure_runs_its_branches_side_by_side_and_repeats_what_failed() -> Result<()> {
    let mut rig = Rig::start(Choice::Mosquitto)?;
    rig.meter.set("v", 5.0)?;
    let id = rig.hub.start_run(&branches(), &json!({}))?;
    let failed = |event: &Value| changed(event, "read", "failed");
    wait_event(&rig, &id, "a reading out of its limits", failed)?;
    // The other branch is under way, and this one tries again.
    wait_event(&rig, &id, "the other branch", |event| changed(event, "settle", "running"))?;
    rig.meter.set("v", 3.3)?;
    let run = rig.hub.wait_run(&id, &FINAL)?;
    assert_eq!(run["status"], "completed", "{run}");

    let events = rig.hub.run_events(&id)?;
    let place = |step: &str, status: &str| {
        let found = events.iter().position(|event| changed(event, step, status));
        found.with_context(|| format!("step {step} was never {status}: {events:#?}"))
    };
    assert!(place("settle", "running")? < place("read", "completed")?, "the branches ran one after the other");
    assert!(place("both", "running")? > place("settle", "completed")?.max(place("high", "skipped")?));
    assert!(place("off", "completed")? < place("bye", "completed")?);
    let skipped = &events[place("high", "skipped")?];
    assert_eq!(skipped["change"]["cause"], "when volts > 5 does not hold");
    let verdicts = of_type(&events, "verdict");
    assert_eq!((&verdicts[0]["passed"], &verdicts[0]["value"]), (&json!(false), &json!(5.0)));
    let last = verdicts.last().context("no verdict")?;
    assert_eq!((&last["passed"], &last["min"], &last["max"]), (&json!(true), &json!(3.2), &json!(3.4)));
    let attempts: Vec<u64> = events
        .iter()
        .filter(|event| changed(event, "read", "dispatched"))
        .filter_map(|event| event["attempt"].as_u64())
        .collect();
    assert!(attempts.len() > 1 && attempts.iter().copied().eq(1..=attempts.len() as u64), "{attempts:?}");
    assert_eq!(rig.supply.get("out")?, 0.0);
    Ok(())
}

#[test]
#[ignore = "needs mosquitto and python3-websockets: run ./hil-tests/run"]
fn a_procedure_that_is_paused_begins_nothing_and_one_that_is_cancelled_is_left_safe_within_a_second() -> Result<()> {
    let mut rig = Rig::start(Choice::Mosquitto)?;
    let read = |id: &str, samples: usize| {
        json!({
            "id": id, "use": "instrument.read", "on": "psu", "timeout": "5m",
            "with": { "reading": "voltage", "samples": samples, "every": "100ms" },
        })
    };
    let mut procedure = branches();
    let steps = procedure["steps"].as_array_mut().context("steps")?;
    steps.truncate(2);
    steps.extend([read("short", 8), read("long", 3000)]);
    let id = rig.hub.start_run(&procedure, &json!({}))?;
    wait_event(&rig, &id, "the short reading", |event| changed(event, "short", "running"))?;
    command(&rig, &id, "pause", 202)?;
    assert_eq!(rig.hub.run(&id)?["status"], "paused");
    // What had begun goes on to its end; what comes next does not begin.
    wait_event(&rig, &id, "the end of the short reading", |event| changed(event, "short", "completed"))?;
    command(&rig, &id, "pause", 409)?;
    assert!(!rig.hub.run_events(&id)?.iter().any(|event| event["step"] == "long"), "a paused run began a step");
    command(&rig, &id, "resume", 202)?;
    wait_event(&rig, &id, "the long reading", |event| changed(event, "long", "running"))?;
    assert_eq!(rig.supply.get("out")?, 1.0, "the output is on while it is read");

    command(&rig, &id, "cancel", 202)?;
    let run = rig.hub.wait_run(&id, &FINAL)?;
    assert_eq!(run["status"], "cancelled", "{run}");
    assert_eq!(rig.supply.get("out")?, 0.0, "the supply itself says that its output is off");
    let events = rig.hub.run_events(&id)?;
    let asked = of_type(&events, "cancel_requested");
    let asked = asked.first().and_then(|event| microseconds(&event["at"])).context("no time of the cancel")?;
    let ended = events.iter().find(|event| changed(event, "long", "cancelled")).context("the reading did not end")?;
    let took = microseconds(&ended["at"]).context("no time")? - asked;
    assert!(took < 1_000_000, "the step ended {took} µs after the cancel");
    assert_eq!(ended["change"]["safe"]["outcome"], "verified", "{ended}");
    for step in ["off", "bye"] {
        assert!(events.iter().any(|event| changed(event, step, "completed")), "finally step {step} did not run");
    }
    command(&rig, &id, "cancel", 409)
}

#[test]
#[ignore = "needs mosquitto and python3-websockets: run ./hil-tests/run"]
fn a_workflow_of_nodes_and_edges_is_carried_out_and_its_nodes_are_told_of() -> Result<()> {
    let mut rig = Rig::start(Choice::Mosquitto)?;
    dialects::open_shared(&mut rig.watcher, &rig.hub)?;
    let mut workflow = json!({
        "kind": "workflow", "name": "drawn",
        "nodes": [
            { "id": "set", "type": "instrument.action", "position": { "x": 0, "y": 0 },
              "data": { "label": "Set", "on": { "class": "psu" }, "action": "set_voltage", "v": 2.5 } },
            { "id": "read", "type": "instrument.read", "data": { "on": METER, "reading": "value", "samples": 3, "every": "50ms" } },
            { "id": "note", "type": "log", "data": { "message": "read {{ steps.read.voltage.mean }}" } },
            { "id": "off", "type": "instrument.safe_state", "data": { "on": { "class": "psu" } } },
        ],
        "edges": [
            { "id": "e1", "source": "set", "target": "read" },
            { "id": "e2", "source": "read", "target": "note" },
            { "id": "e3", "source": "read", "target": "off" },
        ],
    });
    let id = rig.hub.start_run(&workflow, &json!({}))?;
    let run = rig.hub.wait_run(&id, &FINAL)?;
    assert_eq!((&run["status"], &run["kind"]), (&json!("completed"), &json!("workflow")), "{run}");
    rig.watcher.wait_for(AGENT_EVENTS, "the workflow's end", PATIENCE, |frame| {
        let message = frame.json()?;
        (message["type"] == "workflowComplete" && message["payload"]["workflowId"] == id).then_some(())
    })?;
    let messages = messages_of(&rig.watcher, AGENT_EVENTS, &run)?;
    assert_eq!(messages[0]["payload"]["edges"].as_array().map(Vec::len), Some(3), "{}", messages[0]);
    let mut updates: Vec<(String, String)> = of_type(&messages, "nodeStatusUpdate")
        .iter()
        .filter_map(|message| {
            let payload = &message["payload"];
            Some((payload["nodeId"].as_str()?.to_owned(), payload["status"].as_str()?.to_owned()))
        })
        .collect();
    assert_eq!(updates.first(), Some(&("set".to_owned(), "running".to_owned())));
    updates.sort();
    let expected: Vec<(String, String)> = ["note", "off", "read", "set"]
        .iter()
        .flat_map(|node| ["running", "success"].map(|status| ((*node).to_owned(), status.to_owned())))
        .collect();
    assert_eq!(updates, expected);
    assert!((rig.supply.get("vset")? - 2.5).abs() < 0.01);

    // Cancelled in the middle.
    workflow["nodes"][1]["data"]["samples"] = json!(3000);
    workflow["nodes"][1]["data"]["timeout"] = json!("5m");
    let id = rig.hub.start_run(&workflow, &json!({}))?;
    wait_event(&rig, &id, "the reading", |event| changed(event, "read", "running"))?;
    command(&rig, &id, "cancel", 202)?;
    assert_eq!(rig.hub.wait_run(&id, &FINAL)?["status"], "cancelled");
    rig.hub.wait_device(SUPPLY, &["online"])?;

    // A circle, and a node of a type that there is not, are refused by name.
    workflow["edges"][2] = json!({ "source": "note", "target": "set" });
    let (status, answer) = rig.hub.rest.post("/api/v1/runs", &json!({ "procedure": workflow }))?;
    assert_eq!(status, 422);
    assert!(answer["detail"].to_string().contains("set → read → note → set"), "{answer}");
    workflow["nodes"][3]["type"] = json!("instrument.raed");
    let (_, answer) = rig.hub.rest.post("/api/v1/runs", &json!({ "procedure": workflow }))?;
    assert!(answer["detail"].to_string().contains("did you mean instrument.read?"), "{answer}");
    Ok(())
}

#[test]
#[ignore = "needs mosquitto and python3-websockets: run ./hil-tests/run"]
fn a_program_outside_reports_a_run_and_is_held_to_its_word() -> Result<()> {
    let mut rig = Rig::start(Choice::Mosquitto)?;
    let started = announce(&rig, "solver", 600)?;
    let path = format!("/api/v1/runs/{started}/events");
    rig.watcher.open(SOLVER_RUNS, &rig.hub.socket(&format!("/api/v2/ws/runs/{started}")), &[])?;
    rig.watcher.wait_for(SOLVER_RUNS, "where the run stands", PATIENCE, |frame| frame.json().map(drop))?;
    let first = json!([
        { "id": "1", "type": "status", "status": "running" },
        { "id": "2", "type": "progress", "percent": 40, "phase": "meshing", "message": "Meshing" },
        { "id": "3", "type": "metric", "name": "residual", "value": 0.25, "unit": "" },
    ]);
    let answer = rig.hub.rest.expect(202, rig.hub.rest.post(&path, &first));
    let answer = answer.context("the first batch")?;
    assert_eq!(answer["accepted"], 3, "{answer}");
    // The hub is killed, and the program cannot know whether its batch arrived: it sends it again.
    rig.hub.kill()?;
    rig.hub.start_again()?;
    let answer = rig.hub.rest.expect(202, rig.hub.rest.post(&path, &first))?;
    assert_eq!(answer["accepted"], 0, "{answer}");
    // One event of a batch that contradicts what was said refuses all of it.
    let before = rig.hub.run_events(&started)?.len();
    let bad = json!([
        { "id": "4", "type": "log", "level": "info", "message": "never" },
        { "id": "5", "type": "progress", "percent": 20, "message": "backwards" },
        { "id": "6", "type": "dance" },
    ]);
    let (status, answer) = rig.hub.rest.post(&path, &bad)?;
    assert!((400..500).contains(&status), "{status} {answer}");
    assert_eq!(rig.hub.run_events(&started)?.len(), before, "part of a refused batch was kept");
    let end = json!([{ "id": "7", "type": "status", "status": "completed" }]);
    rig.hub.rest.expect(202, rig.hub.rest.post(&path, &end))?;
    let late = json!([{ "id": "8", "type": "progress", "percent": 90, "message": "late" }]);
    let answer = rig.hub.rest.expect(409, rig.hub.rest.post(&path, &late))?;
    assert!(answer["detail"].to_string().contains("completed"), "{answer}");
    let run = rig.hub.run(&started)?;
    assert_eq!(run["status"], "completed", "{run}");
    let events = rig.hub.run_events(&started)?;
    assert_eq!((of_type(&events, "metric").len(), of_type(&events, "finished").len()), (1, 1));
    assert!(!events.iter().any(|event| event["message"] == "never"));

    // One that is cancelled takes nothing any more; one that falls silent has failed.
    let cancelled = announce(&rig, "cancelled", 600)?;
    command(&rig, &cancelled, "pause", 409)?;
    command(&rig, &cancelled, "cancel", 202)?;
    assert_eq!(rig.hub.wait_run(&cancelled, &FINAL)?["status"], "cancelled");
    rig.hub.rest.expect(409, rig.hub.rest.post(&format!("/api/v1/runs/{cancelled}/events"), &first))?;
    let silent = announce(&rig, "silent", 1)?;
    let run = rig.hub.wait_run(&silent, &FINAL)?;
    assert_eq!(run["status"], "failed");
    assert!(
        run["error"]["message"].to_string().contains("silent") || run["error"]["code"].to_string().contains("SILENT"),
        "{run}"
    );
    Ok(())
}

fn announce(rig: &Rig, name: &str, deadline_s: u64) -> Result<String> {
    let body = json!({ "external": true, "kind": "solve", "name": name, "deadline_s": deadline_s });
    let run = rig.hub.rest.expect(201, rig.hub.rest.post("/api/v1/runs", &body))?;
    Ok(run["id"].as_str().context("a run without an id")?.to_owned())
}

fn changed(event: &Value, step: &str, status: &str) -> bool {
    event["type"] == "step" && event["step"] == step && event["change"]["status"] == status
}

fn wait_event(rig: &Rig, id: &str, what: &str, is: impl Fn(&Value) -> bool) -> Result<Value> {
    wait::until(what, PATIENCE, || {
        let events = rig.hub.run_events(id).map_err(|error| format!("{error:#}"))?;
        events.iter().find(|event| is(event)).cloned().ok_or_else(|| format!("not among {} events", events.len()))
    })
}

fn command(rig: &Rig, id: &str, verb: &str, status: u16) -> Result<()> {
    let answer = rig.hub.rest.post(&format!("/api/v1/runs/{id}/{verb}"), &json!({}));
    rig.hub.rest.expect(status, answer).with_context(|| format!("{verb} of run {id}")).map(drop)
}
