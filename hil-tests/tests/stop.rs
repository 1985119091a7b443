//! Orderly ends: the hardware is left safe, all is told, and the next start goes on with the same record.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use rigwire_hil_tests::process::{Process, binary};
use rigwire_hil_tests::rest::Rest;
use rigwire_hil_tests::rig::{Choice, Rig, SUPPLY};
use rigwire_hil_tests::wait::{self, PATIENCE};
use rigwire_hil_tests::{port, procedures};
use rustix::process::Signal;
use serde_json::json;
use tempfile::TempDir;

#[test]
#[ignore = "needs mosquitto and python3-websockets: run ./hil-tests/run"]
fn an_agent_that_is_stopped_leaves_the_supply_off_within_two_seconds() -> Result<()> {
    let mut rig = Rig::start(Choice::Mosquitto)?;
    let id = rig.hub.start_run(&procedures::left_on(), &json!({}))?;
    wait::until("the supply's output to be on", PATIENCE, || match rig.supply.get("out") {
        Ok(1.0) => Ok(()),
        other => Err(format!("it is {other:?}")),
    })?;
    let (status, took) = rig.agent.stop()?;
    assert!(status.success(), "{status}");
    assert!(took < Duration::from_secs(2), "it took {took:?}");
    assert_eq!(rig.supply.get("out")?, 0.0, "the output was left on");

    // The hub has been told, and shows the device as away with the reason, not as online.
    let device = rig.hub.wait_device(SUPPLY, &["gone"])?;
    assert!(device["cause"].as_str().is_some_and(|cause| !cause.is_empty()), "{device}");
    rig.hub.rest.expect(202, rig.hub.rest.post(&format!("/api/v1/runs/{id}/cancel"), &json!({})))?;
    let (status, took) = rig.hub.stop()?;
    assert!(status.success(), "{status}");
    assert!(took < Duration::from_secs(5), "it took {took:?}");
    Ok(())
}

#[test]
#[ignore = "minutes of demo are part of the whole-system tests: run ./hil-tests/run"]
fn the_demo_ends_cleanly_and_its_next_start_goes_on_with_the_same_record() -> Result<()> {
    let folder = TempDir::new()?;
    let (listen, mqtt) = (port::free()?, port::free()?);
    let rest = Rest::new(listen);
    let mut demo = start_demo(&folder, listen, mqtt)?;
    let first = wait_completed_run(&rest, &demo)?;
    let events = rest.expect(200, rest.get(&format!("/api/v1/runs/{first}/events?after=0&limit=1000")))?;
    let (status, took) = demo.end(Signal::INT, PATIENCE)?;
    assert!(status.success(), "{status}\n{}", demo.tail());
    assert!(took < Duration::from_secs(5), "it took {took:?}");

    let mut demo = start_demo(&folder, listen, mqtt)?;
    let again = rest.expect(200, rest.get(&format!("/api/v1/runs/{first}/events?after=0&limit=1000")))?;
    assert_eq!(again["events"], events["events"], "the first start's run is unchanged in the record");
    let second = wait_completed_run_after(&rest, &demo, &first)?;
    assert_ne!(first, second);
    let (status, _) = demo.end(Signal::INT, PATIENCE)?;
    assert!(status.success(), "{status}\n{}", demo.tail());
    Ok(())
}

fn start_demo(folder: &TempDir, listen: u16, mqtt: u16) -> Result<Process> {
    let mut command = Command::new(binary("rigwire")?);
    command
        .args(["up", "--demo", "--listen", &format!("127.0.0.1:{listen}")])
        .args(["--mqtt-listen", &format!("127.0.0.1:{mqtt}"), "--data"])
        .arg(folder.path())
        .current_dir(folder.path());
    let mut process = Process::start("rigwire up --demo", &mut command)?;
    let rest = Rest::new(listen);
    wait::until("the demo to be ready", PATIENCE, || {
        process.check_running().map_err(|error| error.to_string())?;
        match rest.get_text("/readyz") {
            Ok((200, _)) => Ok(()),
            other => Err(format!("/readyz: {other:?}\n{}", process.tail())),
        }
    })?;
    process.wait_for_text(&format!("http://127.0.0.1:{listen}"), PATIENCE)?;
    Ok(process)
}

fn wait_completed_run(rest: &Rest, demo: &Process) -> Result<String> {
    wait_completed_run_after(rest, demo, "")
}

/// Waits for a completed run other than this one; its id.
fn wait_completed_run_after(rest: &Rest, demo: &Process, other: &str) -> Result<String> {
    wait::until("a completed run of the demo", PATIENCE * 2, || {
        let runs = rest.expect(200, rest.get("/api/v1/runs?status=completed"));
        let runs = runs.map_err(|error| format!("{error:#}\n{}", demo.tail()))?;
        let found = runs["runs"].as_array().into_iter().flatten().filter_map(|run| run["id"].as_str());
        found.filter(|id| *id != other).map(str::to_owned).next().ok_or_else(|| format!("{runs}\n{}", demo.tail()))
    })
    .context("the demo runs its plan in a loop")
}
