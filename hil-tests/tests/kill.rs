//! Programs that end without warning in the middle of a run: nothing that was reported is lost or told twice, and the run ends
//! in a state that is true.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use rigwire_hil_tests::dialects::of_type;
use rigwire_hil_tests::procedures;
use rigwire_hil_tests::publisher::Publisher;
use rigwire_hil_tests::rig::{Choice, METER, Rig};
use rigwire_hil_tests::wait::{self, PATIENCE};
use rigwire_shared::event::EventBody;
use rigwire_shared::ids::AgentId;
use rigwire_shared::topic::{Channel, Topic};
use rigwire_shared::wire::{self, Batch};
use serde_json::{Value, json};

/// Six seconds of readings.
const SAMPLES: usize = 60;

#[test]
#[ignore = "needs mosquitto and python3-websockets: run ./hil-tests/run"]
fn an_agent_killed_in_a_run_fails_its_step_and_loses_nothing_it_reported() -> Result<()> {
    let mut rig = Rig::start(Choice::Mosquitto)?;
    let id = rig.hub.start_run(&procedures::long_reading(3000), &json!({}))?;
    let before = wait_readings(&rig, &id, 5)?;
    rig.agent.kill()?;
    rig.agent.start_again()?;

    let run = rig.hub.wait_run(&id, &["completed", "failed", "cancelled"])?;
    assert_eq!(run["status"], "failed", "{run}");
    assert!(run["error"].to_string().contains("AGENT_RESTARTED"), "{run}");
    let events = rig.hub.run_events(&id)?;
    check_numbers(&events)?;
    check_each_reading_once(&events)?;
    assert!(of_type(&events, "metric").len() >= before, "readings that were in the record are still in it");

    rig.hub.wait_device(METER, &["online"])?;
    check_new_run(&rig)
}

#[test]
#[ignore = "needs mosquitto and python3-websockets: run ./hil-tests/run"]
fn a_hub_killed_in_a_run_goes_on_with_it_and_misses_no_reading() -> Result<()> {
    hub_killed(Choice::Mosquitto)
}

#[test]
#[ignore = "needs python3-websockets: run ./hil-tests/run"]
fn a_hub_killed_together_with_its_own_broker_misses_no_reading() -> Result<()> {
    hub_killed(Choice::Embedded)
}

fn hub_killed(choice: Choice) -> Result<()> {
    let mut rig = Rig::start(choice)?;
    let id = rig.hub.start_run(&procedures::long_reading(SAMPLES), &json!({}))?;
    let before = wait_readings(&rig, &id, 5)?;
    rig.hub.kill()?;
    rig.hub.start_again()?;
    check_completed(&rig, &id, before)
}

#[test]
#[ignore = "needs mosquitto and python3-websockets: run ./hil-tests/run"]
fn a_broker_killed_in_a_run_costs_nothing() -> Result<()> {
    let mut rig = Rig::start(Choice::Mosquitto)?;
    let id = rig.hub.start_run(&procedures::long_reading(SAMPLES), &json!({}))?;
    let before = wait_readings(&rig, &id, 5)?;
    let broker = rig.broker.as_mut().context("a rig without a broker")?;
    broker.kill()?;
    broker.start_again()?;
    check_completed(&rig, &id, before)
}

#[test]
#[ignore = "needs mosquitto and python3-websockets: run ./hil-tests/run"]
fn a_run_that_ends_while_the_hub_is_away_is_in_the_record_when_it_returns() -> Result<()> {
    let mut rig = Rig::start(Choice::Mosquitto)?;
    let id = rig.hub.start_run(&procedures::long_reading(20), &json!({}))?;
    let before = wait_readings(&rig, &id, 3)?;
    let broker = rig.broker.as_ref().context("a rig without a broker")?;
    let mut listener = Publisher::connect("listener", broker.port())?;
    listener.subscribe(&Topic::Agent(AgentId::new(rig.agent.id())?, Channel::Up).text())?;
    rig.hub.kill()?;
    // The meter is asked until the step is done, hub or no hub.
    listener.wait_message("the end of the step", |payload| {
        let batch: Batch = wire::decode(payload).ok()?;
        let ended = batch.events.iter().any(|event| matches!(event.body, EventBody::StepFinished(_)));
        ended.then_some(())
    })?;
    rig.hub.start_again()?;
    let run = rig.hub.wait_run(&id, &["completed", "failed", "cancelled"])?;
    assert_eq!(run["status"], "completed", "{run}");
    let events = rig.hub.run_events(&id)?;
    check_numbers(&events)?;
    check_each_reading_once(&events)?;
    assert!(before <= 20);
    assert_eq!(of_type(&events, "metric").len(), 20);
    Ok(())
}

fn check_completed(rig: &Rig, id: &str, before: usize) -> Result<()> {
    let run = rig.hub.wait_run(id, &["completed", "failed", "cancelled"])?;
    assert_eq!(run["status"], "completed", "{run}");
    let events = rig.hub.run_events(id)?;
    check_numbers(&events)?;
    check_each_reading_once(&events)?;
    let readings = of_type(&events, "metric").len();
    assert_eq!(readings, SAMPLES, "readings in the record ({before} of them before the kill)");
    rig.wait_online()?;
    check_new_run(rig)
}

/// Waits until the record holds so many readings; how many it then held.
fn wait_readings(rig: &Rig, id: &str, count: usize) -> Result<usize> {
    wait::until(&format!("{count} readings in the record"), PATIENCE, || {
        let events = rig.hub.run_events(id).map_err(|error| format!("{error:#}"))?;
        let found = of_type(&events, "metric").len();
        if found >= count { Ok(found) } else { Err(format!("{found} so far")) }
    })
}

/// One beginning, one end, and every number once.
fn check_numbers(events: &[Value]) -> Result<()> {
    let numbers: Vec<u64> = events.iter().filter_map(|event| event["seq"].as_u64()).collect();
    assert_eq!(numbers, (1..=events.len() as u64).collect::<Vec<_>>());
    assert_eq!(of_type(events, "created").len(), 1);
    assert_eq!(of_type(events, "finished").len(), 1);
    assert_eq!(events.last().context("no events")?["type"], "finished");
    Ok(())
}

/// Two readings of one instrument never carry the same time; the same reading stored twice does.
fn check_each_reading_once(events: &[Value]) -> Result<()> {
    let readings = of_type(events, "metric");
    let times: BTreeSet<String> = readings.iter().map(|event| event["at"].to_string()).collect();
    assert_eq!(times.len(), readings.len(), "a reading is in the record twice");
    Ok(())
}

fn check_new_run(rig: &Rig) -> Result<()> {
    let id = rig.hub.start_run(&procedures::long_reading(3), &json!({}))?;
    let run = rig.hub.wait_run(&id, &["completed", "failed", "cancelled"])?;
    assert_eq!(run["status"], "completed", "{run}");
    Ok(())
}
