//! A cable is pulled in the middle of a run: every protocol says so, and after it is plugged in again all goes on by itself.

use anyhow::{Context, Result};
use rigwire_hil_tests::dialects::{
    self, AGENT_EVENTS, DEVICE_FARM, PROTOCOL_RUNS, SOLVER_RUNS, TEST_DASHBOARD, messages_of, of_type,
};
use rigwire_hil_tests::procedures;
use rigwire_hil_tests::rig::{Choice, METER, Rig};
use rigwire_hil_tests::wait::PATIENCE;
use serde_json::{Value, json};

#[test]
#[ignore = "needs mosquitto and python3-websockets: run ./hil-tests/run"]
fn a_meter_unplugged_in_a_run_is_told_in_five_dialects_and_returns_by_itself() -> Result<()> {
    let mut rig = Rig::start(Choice::Mosquitto)?;
    let agent = rig.agent.process()?.id();
    dialects::open_shared(&mut rig.watcher, &rig.hub)?;
    let id = rig.hub.start_run(&procedures::long_reading(3000), &json!({}))?;
    dialects::open_for_run(&mut rig.watcher, &rig.hub, &id)?;
    rig.watcher.wait_for_kind(PROTOCOL_RUNS, "telemetry", PATIENCE)?;

    rig.meter.unplug()?;
    let run = rig.hub.wait_run(&id, &["completed", "failed", "cancelled"])?;
    assert_eq!(run["status"], "failed", "{run}");
    assert!(run["error"].to_string().contains("DEVICE_DISCONNECTED"), "{run}");
    let endings = dialects::wait_endings(&rig.watcher, &run)?;
    check_transcripts(&rig, &run, &endings)?;

    // A client that comes now hears that the device is gone, and why.
    let gone = rig.hub.wait_device(METER, &["gone", "absent"])?;
    assert!(gone["cause"].as_str().is_some_and(|cause| !cause.is_empty()), "{gone}");

    rig.meter.replug()?;
    rig.hub.wait_device(METER, &["online"])?;
    assert_eq!(rig.agent.process()?.id(), agent, "the agent was not restarted");
    let again = rig.hub.start_run(&procedures::long_reading(3), &json!({}))?;
    let run = rig.hub.wait_run(&again, &["completed", "failed", "cancelled"])?;
    assert_eq!(run["status"], "completed", "{run}");
    assert_eq!(of_type(&rig.hub.run_events(&again)?, "metric").len(), 3);
    Ok(())
}

fn check_transcripts(rig: &Rig, run: &Value, endings: &[Value; 5]) -> Result<()> {
    let says = |message: &Value, pointer: &str| {
        let text = message.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        assert!(text.contains(METER) && text.contains("disconnected"), "{pointer} of {message}");
    };
    let of = |name: &str| messages_of(&rig.watcher, name, run);

    assert_eq!(endings[0]["type"], "error");
    says(&endings[0], "/payload/error");
    let protocol = of(PROTOCOL_RUNS)?;
    assert_eq!(of_type(&protocol, "status").last().context("no status")?["payload"]["status"], "FAILED");

    let farm = of(DEVICE_FARM)?;
    let failed = of_type(&farm, "step_failed");
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert_eq!((&failed[0]["error_code"], &failed[0]["device_id"]), (&json!("DEVICE_DISCONNECTED"), &json!(METER)));
    assert_eq!(failed[0]["will_retry"], false);
    says(failed[0], "/error_message");
    let error = of_type(&farm, "error");
    assert_eq!(error.len(), 1, "{error:?}");
    assert_eq!((&error[0]["code"], &error[0]["device_id"]), (&json!("DEVICE_DISCONNECTED"), &json!(METER)));
    assert_eq!((&endings[1]["status"], &endings[1]["failed_steps"]), (&json!("failed"), &json!(1)));

    assert_eq!((&endings[2]["type"], &endings[2]["payload"]["nodeId"]), (&json!("workflowError"), &json!("read")));
    says(&endings[2], "/payload/error");
    let node = of(AGENT_EVENTS)?;
    assert_eq!(of_type(&node, "nodeStatusUpdate").last().context("no node")?["payload"]["status"], "error");

    assert_eq!(endings[3]["type"], "error");
    says(&endings[3], "/error");
    assert!(of_type(&of(SOLVER_RUNS)?, "completed").is_empty());

    let dashboard = of(TEST_DASHBOARD)?;
    let test = of_type(&dashboard, "test_completed");
    assert_eq!(test.len(), 1, "{test:?}");
    assert_eq!(test[0]["payload"]["success"], false);
    says(test[0], "/payload/error");
    assert_eq!(
        (&endings[4]["payload"]["success_rate"], &endings[4]["payload"]["failed_tests"]),
        (&json!(0.0), &json!(1))
    );
    Ok(())
}
