//! One run on real hardware paths, watched through all five protocols at once: each transcript is complete, in order, and ends
//! as its document says.

use anyhow::{Context, Result};
use rigwire_hil_tests::dialects::{
    self, AGENT_EVENTS, DEVICE_FARM, PROTOCOL_RUNS, SOLVER_RUNS, TEST_DASHBOARD, messages_of, never_falls, of_type,
};
use rigwire_hil_tests::procedures::{self, READINGS};
use rigwire_hil_tests::rig::{Choice, METER, Rig, SUPPLY};
use rigwire_hil_tests::wait::PATIENCE;
use rigwire_hil_tests::watcher::Frame;
use serde_json::{Value, json};

#[test]
#[ignore = "needs mosquitto and python3-websockets: run ./hil-tests/run"]
fn one_run_is_told_whole_in_five_dialects_over_mosquitto() -> Result<()> {
    one_run_is_told_whole(Choice::Mosquitto)
}

#[test]
#[ignore = "needs python3-websockets: run ./hil-tests/run"]
fn one_run_is_told_whole_in_five_dialects_over_the_embedded_broker() -> Result<()> {
    one_run_is_told_whole(Choice::Embedded)
}

fn one_run_is_told_whole(choice: Choice) -> Result<()> {
    let mut rig = Rig::start(choice)?;
    dialects::open_shared(&mut rig.watcher, &rig.hub)?;

    // The supply is taken: the run waits in the queue, and every socket sees it from before its start.
    let holder = rig.hub.start_run(&procedures::holding(), &json!({}))?;
    rig.hub.wait_run(&holder, &["running"])?;
    let id = rig.hub.start_run(&procedures::ramp(), &json!({"volts": 3.3}))?;
    assert_eq!(rig.hub.run(&id)?["status"], "pending");
    dialects::open_for_run(&mut rig.watcher, &rig.hub, &id)?;
    rig.hub.rest.expect(202, rig.hub.rest.post(&format!("/api/v1/runs/{holder}/cancel"), &json!({})))?;

    let run = rig.hub.wait_run(&id, &["completed", "failed", "cancelled"])?;
    assert_eq!(run["status"], "completed", "{run}");
    let endings = dialects::wait_endings(&rig.watcher, &run)?;

    check_protocol_runs(&rig, &run, &endings[0])?;
    check_device_farm(&rig, &run, &endings[1])?;
    check_agent_events(&rig, &run, &endings[2])?;
    check_solver_runs(&mut rig, &run, &endings[3])?;
    check_test_dashboard(&rig, &run, &endings[4])?;
    check_record(&rig, &id)?;
    assert_eq!(rig.hub.run(&holder)?["status"], "cancelled");
    assert!((rig.supply.get("vset")? - 3.3).abs() < 0.01);
    assert_eq!(rig.supply.get("out")?, 0.0, "the finally step left the output on");
    Ok(())
}

fn check_protocol_runs(rig: &Rig, run: &Value, ending: &Value) -> Result<()> {
    let messages = messages_of(&rig.watcher, PROTOCOL_RUNS, run)?;
    for message in &messages {
        assert!(message["timestamp"].is_string(), "{message}");
    }
    assert_eq!(messages[0]["type"], "status");
    let mut statuses: Vec<&str> =
        of_type(&messages, "status").iter().filter_map(|message| message["payload"]["status"].as_str()).collect();
    statuses.dedup();
    assert_eq!(statuses, ["PENDING", "RUNNING", "COMPLETED"]);
    let progress = numbers(&of_type(&messages, "progress"), "/payload/progress");
    assert!(never_falls(&progress), "{progress:?}");
    assert_eq!((progress.first(), progress.last()), (Some(&0.0), Some(&100.0)));
    assert_eq!(of_type(&messages, "telemetry").len(), READINGS);
    for message in of_type(&messages, "telemetry") {
        let payload = &message["payload"];
        assert_eq!((&payload["metric"], &payload["unit"]), (&json!("voltage"), &json!("V")));
        assert!(is_near(&payload["value"]) && payload["voltage"] == payload["value"], "{payload}");
    }
    let notes = of_type(&messages, "log");
    let note = notes.iter().find(|message| message["payload"]["message"] == "supply is at 3.3 V");
    assert_eq!(note.with_context(|| format!("no such log among {notes:?}"))?["payload"]["level"], "INFO");
    assert_eq!(ending["type"], "complete");
    assert!(ending.get("payload").is_none(), "{ending}");
    assert!(matches!(rig.watcher.transcript(PROTOCOL_RUNS).last(), Some(Frame::Closed { code: 1000, .. })));
    Ok(())
}

fn check_device_farm(rig: &Rig, run: &Value, ending: &Value) -> Result<()> {
    let messages = messages_of(&rig.watcher, DEVICE_FARM, run)?;
    assert_eq!(messages[0]["type"], "execution_progress");
    let progress = numbers(&of_type(&messages, "execution_progress"), "/progress_percentage");
    assert!(never_falls(&progress), "{progress:?}");
    assert_eq!((progress.first(), progress.last()), (Some(&0.0), Some(&100.0)));
    let steps: Vec<(&str, &Value)> = of_type(&messages, "step_completed")
        .iter()
        .filter_map(|message| Some((message["module_id"].as_str()?, &message["device_id"])))
        .collect();
    let (psu, meter) = (json!(SUPPLY), json!(METER));
    assert_eq!(
        steps,
        [
            ("instrument.action", &psu),
            ("instrument.action", &psu),
            ("log", &Value::Null),
            ("instrument.read", &meter),
            ("instrument.safe_state", &psu),
        ]
    );
    for message in of_type(&messages, "step_completed") {
        assert_eq!(message["status"], "completed");
        assert!(message["duration_seconds"].is_number() && message["step_id"].is_string(), "{message}");
        assert!(message.get("screenshot_url").is_some(), "{message}");
    }
    let mut ids: Vec<&str> =
        of_type(&messages, "step_completed").iter().filter_map(|message| message["step_id"].as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 5, "each step has its own id");
    assert!(of_type(&messages, "step_failed").is_empty() && of_type(&messages, "error").is_empty());
    for (key, expected) in [
        ("status", json!("completed")),
        ("total_steps", json!(5)),
        ("successful_steps", json!(5)),
        ("failed_steps", json!(0)),
        ("report_url", json!(format!("/api/v1/reports/{}?format=pdf", run["id"].as_str().unwrap_or_default()))),
    ] {
        assert_eq!(ending[key], expected, "{key}");
    }
    assert_eq!(messages.last(), Some(ending), "nothing follows the end");
    Ok(())
}

fn check_agent_events(rig: &Rig, run: &Value, ending: &Value) -> Result<()> {
    let messages = messages_of(&rig.watcher, AGENT_EVENTS, run)?;
    let greeting = rig.watcher.transcript(AGENT_EVENTS).iter().find_map(Frame::json).cloned();
    assert_eq!(greeting.context("no greeting")?["payload"]["sender"], "system");
    for message in &messages {
        assert!(message["id"].is_string() && message["timestamp"].is_string(), "{message}");
    }
    let start = &messages[0];
    assert_eq!(start["type"], "workflowStart");
    assert_eq!(start["payload"]["nodes"].as_array().map(Vec::len), Some(5));
    assert!(start["payload"]["edges"].is_array());
    let updates: Vec<(&str, &str)> = of_type(&messages, "nodeStatusUpdate")
        .iter()
        .filter_map(|message| Some((message["payload"]["nodeId"].as_str()?, message["payload"]["status"].as_str()?)))
        .collect();
    let expected: Vec<(&str, &str)> =
        ["set", "on", "note", "read", "off"].iter().flat_map(|node| [(*node, "running"), (*node, "success")]).collect();
    assert_eq!(updates, expected);
    let progress = numbers(&of_type(&messages, "workflowProgress"), "/payload/progress");
    assert!(never_falls(&progress) && progress.last() == Some(&100.0), "{progress:?}");
    assert!(of_type(&messages, "workflowLog").iter().any(|m| m["payload"]["message"] == "supply is at 3.3 V"));
    assert_eq!(ending["type"], "workflowComplete");
    assert!(is_near(&ending["payload"]["results"]["voltage"]), "{ending}");
    assert!(ending["payload"]["duration"].as_f64().is_some_and(|seconds| seconds > 0.0));
    assert_eq!(messages.last(), Some(ending), "nothing follows the end");
    Ok(())
}

fn check_solver_runs(rig: &mut Rig, run: &Value, ending: &Value) -> Result<()> {
    let messages = messages_of(&rig.watcher, SOLVER_RUNS, run)?;
    assert_eq!((&messages[0]["type"], &messages[0]["percent"]), (&json!("progress"), &json!(0.0)));
    let progress = of_type(&messages, "progress");
    let percent = numbers(&progress, "/percent");
    assert!(never_falls(&percent) && percent.last() == Some(&100.0), "{percent:?}");
    let elapsed = numbers(&progress, "/elapsed_s");
    assert!(never_falls(&elapsed), "{elapsed:?}");
    assert!(progress.iter().any(|message| message["phase"] == "solving"));
    let metrics = of_type(&messages, "metric_update");
    assert_eq!(metrics.len(), READINGS);
    for metric in metrics {
        assert_eq!((&metric["metric_name"], &metric["unit"]), (&json!("voltage"), &json!("V")));
        assert!(is_near(&metric["value"]), "{metric}");
    }
    assert_eq!((&ending["type"], &ending["status"]), (&json!("completed"), &json!("completed")));
    assert!(is_near(&ending["metrics_summary"]["voltage"]), "{ending}");
    assert!(ending["compute_time_s"].as_f64().is_some_and(|seconds| seconds > 0.0));
    assert_eq!(messages.last(), Some(ending), "nothing follows the end");
    // It stays open for later runs, and answers.
    rig.watcher.send(SOLVER_RUNS, &json!({"type": "ping"}))?;
    assert_eq!(rig.watcher.wait_for_kind(SOLVER_RUNS, "pong", PATIENCE)?, json!({"type": "pong"}));
    Ok(())
}

fn check_test_dashboard(rig: &Rig, run: &Value, ending: &Value) -> Result<()> {
    let all = rig.watcher.transcript(TEST_DASHBOARD);
    let all: Vec<&Value> = all.iter().filter_map(Frame::json).collect();
    assert_eq!(all[0]["type"], "connected");
    assert!(all[0]["payload"]["client_id"].is_string());
    let sequence: Vec<u64> = all.iter().filter_map(|message| message["sequence"].as_u64()).collect();
    assert!(!sequence.is_empty());
    assert!(sequence.windows(2).all(|pair| pair[1] == pair[0] + 1), "{sequence:?}");

    let messages = messages_of(&rig.watcher, TEST_DASHBOARD, run)?;
    let tests = of_type(&messages, "test_completed");
    assert!(!tests.is_empty());
    for test in &tests {
        assert_eq!(test["payload"]["success"], true, "{test}");
        assert!(test["payload"]["test_execution_id"].is_u64() && test["payload"]["duration_seconds"].is_number());
    }
    for kind in ["test_progress", "suite_progress"] {
        let percent = numbers(&of_type(&messages, kind), "/payload/progress_percent");
        assert!(!percent.is_empty() && percent.iter().all(|percent| (0.0..=100.0).contains(percent)), "{kind}");
    }
    assert!(never_falls(&numbers(&of_type(&messages, "suite_progress"), "/payload/progress_percent")));
    let log = of_type(&messages, "log_entry");
    assert!(log.iter().any(|message| message["payload"]["message"] == "supply is at 3.3 V"), "{log:?}");
    let payload = &ending["payload"];
    assert_eq!(payload["success_rate"], 1.0);
    assert_eq!(payload["total_tests"], json!(tests.len()));
    assert_eq!((&payload["passed_tests"], &payload["failed_tests"]), (&json!(tests.len()), &json!(0)));
    Ok(())
}

/// The record has the same run, numbered without holes, with one beginning and one end.
fn check_record(rig: &Rig, id: &str) -> Result<()> {
    let events = rig.hub.run_events(id)?;
    let numbers: Vec<u64> = events.iter().filter_map(|event| event["seq"].as_u64()).collect();
    assert_eq!(numbers, (1..=events.len() as u64).collect::<Vec<_>>());
    let count = |kind: &str| of_type(&events, kind).len();
    assert_eq!((count("created"), count("finished"), count("metric")), (1, 1, READINGS));
    Ok(())
}

fn numbers(messages: &[&Value], pointer: &str) -> Vec<f64> {
    messages.iter().filter_map(|message| message.pointer(pointer)?.as_f64()).collect()
}

fn is_near(value: &Value) -> bool {
    value.as_f64().is_some_and(|volts| (volts - 3.3).abs() < 0.05)
}
