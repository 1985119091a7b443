//! A run of each kind, watched from its beginning through all five protocols at once by outside clients: every transcript is
//! complete, in order, and tells what the record tells.

use anyhow::{Context, Result};
use rigwire_hil_tests::dialects::{
    self, AGENT_EVENTS, DEVICE_FARM, PROTOCOL_RUNS, SOLVER_RUNS, TEST_DASHBOARD, messages_of, of_type,
};
use rigwire_hil_tests::procedures;
use rigwire_hil_tests::rig::{Choice, METER, Rig};
use rigwire_hil_tests::told::{Story, in_sequence};
use rigwire_hil_tests::wait::PATIENCE;
use serde_json::{Value, json};

const FINAL: [&str; 3] = ["completed", "failed", "cancelled"];

#[test]
#[ignore = "needs mosquitto and python3-websockets: run ./hil-tests/run"]
fn a_protocol_is_one_story_in_five_languages() -> Result<()> {
    let mut rig = rig()?;
    let (run, _) = watched(&mut rig, &procedures::ramp())?;
    assert_eq!((&run["kind"], &run["status"]), (&json!("protocol"), &json!("completed")), "{run}");
    Ok(())
}

#[test]
#[ignore = "needs mosquitto and python3-websockets: run ./hil-tests/run"]
fn an_execution_with_failures_and_retries_is_one_story_in_five_languages() -> Result<()> {
    let mut rig = rig()?;
    let read = |id: &str, max: f64| {
        json!({
            "id": id, "use": "instrument.read", "on": "meter", "with": { "reading": "value", "samples": 2, "every": "50ms" },
            "expect": { "voltage": { "max": max } }, "retry": { "times": 2, "backoff": "100ms" },
        })
    };
    let mut hopeless = read("hopeless", 1.0);
    hopeless["continue_on_failure"] = json!(true);
    let execution = json!({
        "name": "execution", "kind": "execution",
        "roles": { "psu": { "class": "psu" }, "meter": { "device": METER } },
        "steps": [
            { "id": "set", "use": "instrument.action", "on": "psu", "with": { "action": "set_voltage", "v": 3.3 } },
            hopeless, read("good", 9.0), read("fatal", 1.0),
            { "id": "never", "use": "log", "with": { "message": "never" } },
        ],
        "finally": [{ "id": "off", "use": "instrument.safe_state", "on": "psu" }],
    });
    let (run, transcripts) = watched(&mut rig, &execution)?;
    assert_eq!((&run["kind"], &run["status"]), (&json!("execution"), &json!("failed")), "{run}");
    let farm = of_type(&transcripts[1], "step_failed");
    let attempts: Vec<(&Value, &Value)> =
        farm.iter().map(|message| (&message["retry_attempt"], &message["will_retry"])).collect();
    assert_eq!(attempts.len(), 6, "two steps were tried three times: {attempts:?}");
    let again: Vec<bool> = attempts.iter().filter_map(|(_, again)| again.as_bool()).collect();
    assert_eq!(again, [true, true, false, true, true, false]);
    Ok(())
}

#[test]
#[ignore = "needs mosquitto and python3-websockets: run ./hil-tests/run"]
fn a_workflow_is_one_story_in_five_languages() -> Result<()> {
    let mut rig = rig()?;
    let workflow = json!({
        "kind": "workflow", "name": "drawn",
        "nodes": [
            { "id": "set", "type": "instrument.action",
              "data": { "on": { "class": "psu" }, "action": "set_voltage", "v": 2.5 } },
            { "id": "left", "type": "instrument.read", "data": { "on": METER, "reading": "value", "samples": 3, "every": "50ms" } },
            { "id": "right", "type": "delay", "data": { "duration": "200ms" } },
            { "id": "note", "type": "log", "data": { "message": "read {{ steps.left.voltage.mean }}" } },
            { "id": "off", "type": "instrument.safe_state", "data": { "on": { "class": "psu" } } },
        ],
        "edges": [
            { "source": "set", "target": "left" }, { "source": "set", "target": "right" },
            { "source": "left", "target": "note" }, { "source": "right", "target": "note" }, { "source": "note", "target": "off" },
        ],
    });
    let (run, transcripts) = watched(&mut rig, &workflow)?;
    assert_eq!((&run["kind"], &run["status"]), (&json!("workflow"), &json!("completed")), "{run}");
    let start = &transcripts[2][0]["payload"];
    assert_eq!(start["nodes"].as_array().map(Vec::len), Some(5));
    assert_eq!(start["edges"].as_array().map(Vec::len), Some(5));
    Ok(())
}

#[test]
#[ignore = "needs mosquitto and python3-websockets: run ./hil-tests/run"]
fn a_solver_run_of_a_program_outside_is_one_story_in_five_languages() -> Result<()> {
    let mut rig = rig()?;
    let announce = json!({ "external": true, "kind": "solve", "name": "harmonic", "deadline_s": 600 });
    let started = rig.hub.rest.expect(201, rig.hub.rest.post("/api/v1/runs", &announce))?;
    let id = started["id"].as_str().context("a run without an id")?.to_owned();
    dialects::open_for_run(&mut rig.watcher, &rig.hub, &id)?;
    let phases = [("preparing", 0), ("meshing", 10), ("solving", 30), ("solving", 60), ("postprocessing", 90)];
    let report = |rig: &Rig, events: Value| {
        rig.hub.rest.expect(202, rig.hub.rest.post(&format!("/api/v1/runs/{id}/events"), &events))
    };
    report(&rig, json!([{ "type": "status", "status": "running", "step": "solve" }]))?;
    for (number, (phase, percent)) in phases.iter().enumerate() {
        let message = format!("{number}/5");
        report(
            &rig,
            json!([
                { "type": "progress", "percent": percent, "phase": phase, "message": message },
                { "type": "log", "level": "info", "message": format!("phase {number}: {phase}") },
                { "type": "metric", "name": "residual", "value": 1.0 / f64::from(1 + percent), "unit": "" },
            ]),
        )?;
        // Of progress only the newest counts: what is to be seen is waited for.
        rig.watcher.wait_for(SOLVER_RUNS, &message, PATIENCE, |frame| {
            frame.json().filter(|told| told["message"] == message.as_str()).map(drop)
        })?;
    }
    report(&rig, json!([{ "type": "status", "status": "completed", "metrics": { "frequency": 19850.3 } }]))?;
    let (run, transcripts) = compared(&mut rig, &id)?;
    assert_eq!((&run["kind"], &run["status"]), (&json!("solve"), &json!("completed")), "{run}");
    let completed = of_type(&transcripts[3], "completed");
    assert_eq!(completed[0]["metrics_summary"]["frequency"], 19850.3, "{completed:?}");
    let told: Vec<&str> =
        of_type(&transcripts[3], "progress").iter().filter_map(|message| message["phase"].as_str()).collect();
    for phase in ["preparing", "meshing", "solving", "postprocessing"] {
        assert!(told.contains(&phase), "{phase} is not among {told:?}");
    }
    Ok(())
}

#[test]
#[ignore = "needs mosquitto and python3-websockets: run ./hil-tests/run"]
fn an_optimisation_is_one_story_in_five_languages() -> Result<()> {
    let mut rig = rig()?;
    let study = json!({
        "name": "study", "kind": "optimization",
        "variables": { "volts": { "type": "float", "min": 1.0, "max": 5.0, "unit": "V" } },
        "objectives": { "low": { "metric": "voltage", "direction": "minimize" } },
        "constraints": { "voltage": { "max": 4.0 } },
        "strategy": { "name": "grid", "points": 5 },
        "roles": { "psu": { "class": "psu" } },
        "steps": [
            { "id": "set", "use": "instrument.action", "on": "psu", "with": { "action": "set_voltage", "v": "{{ volts }}" } },
            { "id": "on", "use": "instrument.action", "on": "psu", "with": { "action": "output", "on": true } },
            { "id": "read", "use": "instrument.read", "on": "psu", "with": { "reading": "voltage" } },
        ],
        "finally": [{ "id": "off", "use": "instrument.safe_state", "on": "psu" }],
    });
    let (run, transcripts) = watched(&mut rig, &study)?;
    assert_eq!((&run["kind"], &run["status"]), (&json!("optimization"), &json!("completed")), "{run}");
    let iterations = of_type(&transcripts[3], "optimization_iteration");
    assert_eq!(iterations.len(), 5);
    assert!(iterations.iter().any(|message| message["feasible"] == false), "4 V is the most that is allowed");
    for message in iterations {
        assert_eq!(message["optimization_id"], run["id"]);
        assert!(message["parameters"]["volts"].is_number() && message["run_id"].is_string(), "{message}");
    }
    Ok(())
}

#[test]
#[ignore = "needs mosquitto and python3-websockets: run ./hil-tests/run"]
fn a_suite_is_one_story_in_five_languages() -> Result<()> {
    let mut rig = rig()?;
    let check = |highest: f64| {
        json!({
            "name": "check", "roles": { "psu": { "class": "psu" } },
            "steps": [
                { "id": "set", "use": "instrument.action", "on": "psu", "with": { "action": "set_voltage", "v": 3.0 } },
                { "id": "on", "use": "instrument.action", "on": "psu", "with": { "action": "output", "on": true } },
                { "id": "read", "use": "instrument.read", "on": "psu", "with": { "reading": "voltage" },
                  "expect": { "voltage": { "max": highest } } },
            ],
        })
    };
    let suite = json!({
        "name": "regression", "kind": "suite",
        "tests": [
            { "id": "fits", "name": "Fits", "procedure": check(4.0), "runs": 2 },
            { "id": "fails", "name": "Fails", "procedure": check(2.0) },
        ],
    });
    let (run, transcripts) = watched(&mut rig, &suite)?;
    assert_eq!(run["kind"], "suite", "{run}");
    let ending = of_type(&transcripts[4], "suite_completed");
    let payload = &ending[0]["payload"];
    assert_eq!((&payload["total_tests"], &payload["passed_tests"]), (&json!(2), &json!(1)), "{payload}");
    Ok(())
}

/// A rig whose two shared sockets hear of everything.
fn rig() -> Result<Rig> {
    let mut rig = Rig::start(Choice::Mosquitto)?;
    rig.watcher.open(AGENT_EVENTS, &rig.hub.socket("/ws/events"), &[])?;
    rig.watcher.wait_for_kind(AGENT_EVENTS, "chatMessage", PATIENCE)?;
    let everything = [json!({ "type": "subscribe", "payload": { "topic": "*" } })];
    rig.watcher.open_and_send_after(TEST_DASHBOARD, &rig.hub.socket("/api/ws/updates"), &everything, 1)?;
    rig.watcher.wait_for_kind(TEST_DASHBOARD, "subscribed", PATIENCE)?;
    Ok(rig)
}

/// Starts a run that cannot begin before all five watch it, and compares what they were told with the record.
fn watched(rig: &mut Rig, procedure: &Value) -> Result<(Value, [Vec<Value>; 5])> {
    let holder = rig.hub.start_run(&procedures::holding(), &json!({}))?;
    rig.hub.wait_run(&holder, &["running"])?;
    let id = rig.hub.start_run(procedure, &json!({}))?;
    dialects::open_for_run(&mut rig.watcher, &rig.hub, &id)?;
    if procedure["kind"] == "optimization" {
        // Under another name, in place of the one that shows a single run.
        rig.watcher.open("study", &rig.hub.socket(&format!("/api/v2/ws/optimizations/{id}")), &[])?;
        rig.watcher.wait_for("study", "where the study stands", PATIENCE, |frame| frame.json().map(drop))?;
    }
    rig.hub.rest.expect(202, rig.hub.rest.post(&format!("/api/v1/runs/{holder}/cancel"), &json!({})))?;
    compared(rig, &id)
}

fn compared(rig: &mut Rig, id: &str) -> Result<(Value, [Vec<Value>; 5])> {
    let run = rig.hub.wait_run(id, &FINAL)?;
    dialects::wait_endings(&rig.watcher, &run)?;
    let events = rig.hub.run_events(id)?;
    let story = Story { run: &run, events: &events };
    let mut transcripts: [Vec<Value>; 5] = Default::default();
    for (transcript, protocol) in
        transcripts.iter_mut().zip([PROTOCOL_RUNS, DEVICE_FARM, AGENT_EVENTS, SOLVER_RUNS, TEST_DASHBOARD])
    {
        *transcript = messages_of(&rig.watcher, protocol, &run)?;
        if protocol == SOLVER_RUNS && run["kind"] == "optimization" {
            rig.watcher.wait_for_kind("study", "completed", PATIENCE)?;
            let seen = rig.watcher.transcript("study");
            *transcript = seen.iter().filter_map(|frame| frame.json()).cloned().collect();
        }
        story.check(protocol, transcript)?;
    }
    let all = rig.watcher.transcript(TEST_DASHBOARD);
    in_sequence(&all.iter().filter_map(|frame| frame.json()).cloned().collect::<Vec<_>>())?;
    Ok((run, transcripts))
}
