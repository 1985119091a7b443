//! Stories of runs: what the engine tells and asks, told message by message.

use crate::support::{World, device, finished, measured};
use rigwire::event::{RunEventBody, RunStatus};
use rigwire_shared::agent::DeviceState;
use rigwire_shared::command::CommandBody;
use rigwire_shared::event::{DeviceChange, EventBody, SafeOutcome, StepOutcome};
use rigwire_shared::ids::{Epoch, Position};
use rigwire_shared::wire::Batch;

const TWO_STEPS: &str = r#"
name = "two"
[roles]
psu = { class = "psu" }
meter = { device = "dmm-1" }
[[steps]]
id = "set"
use = "instrument.action"
on = "psu"
with = { action = "set_voltage", v = 3.3 }
timeout = "5s"
retry = { times = 1, backoff = "500ms" }
[[steps]]
id = "read"
use = "instrument.read"
on = "meter"
expect = { voltage = { min = 3.2, max = 3.4 } }
[[finally]]
use = "instrument.safe_state"
on = "psu"
"#;

#[test]
fn a_run_goes_step_by_step_to_its_end() {
    let mut world = World::new();
    let id = world.start(TWO_STEPS);
    assert_eq!(world.asked().module, "instrument.action");
    world.begins();
    world.completes(Vec::new());
    world.begins();
    world.completes(measured("voltage", 3.29, 3.31, 0));
    world.completes(Vec::new());
    assert_eq!(
        world.story(),
        [
            "running",
            "set #1 dispatched",
            "set #1 running",
            "set #1 completed",
            "read #1 dispatched",
            "read #1 running",
            "voltage passed",
            "read #1 completed",
            "finally-1 #1 dispatched",
            "finally-1 #1 completed",
            "finished completed: 3 of 3 steps completed",
        ]
    );
    let numbers: Vec<u64> = world.told.iter().map(|(number, _, _)| *number).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
    assert!((world.run(id).progress.percent - 100.0).abs() < 1e-9);
    assert!(world.model.devices().all(|(_, device)| device.held_by.is_none()));
}

#[test]
fn a_failed_step_is_tried_again_after_its_backoff_and_then_finally_runs() {
    let mut world = World::new();
    world.start(TWO_STEPS);
    world.fails("REFUSED", "the supply says no");
    assert_eq!(world.asked_all().count(), 1);
    world.advance(499);
    assert_eq!(world.asked_all().count(), 1, "before the backoff is over");
    world.advance(1);
    assert_eq!(world.asked_all().count(), 2);
    let attempts: Vec<_> = world.asked_all().map(|asked| asked.attempt).collect();
    assert_ne!(attempts[0], attempts[1]);
    world.fails("REFUSED", "the supply says no");
    assert_eq!(world.asked().module, "instrument.safe_state");
    world.completes(Vec::new());
    let story = world.story();
    assert_eq!(
        story[2..],
        [
            "set #1 failed REFUSED: the supply says no (again)",
            "set #2 dispatched",
            "set #2 failed REFUSED: the supply says no",
            "read #1 skipped: step set failed",
            "finally-1 #1 dispatched",
            "finally-1 #1 completed",
            "finished failed: the supply says no",
        ]
    );
}

#[test]
fn a_value_outside_its_limits_fails_the_step() {
    for (outputs, message) in [
        (measured("voltage", 3.0, 3.3, 0), "voltage is 3, expected 3.2 to 3.4"),
        (measured("voltage", 3.3, 3.5, 0), "voltage is 3.5, expected 3.2 to 3.4"),
        (measured("voltage", 3.3, 3.3, 1), "voltage is 3.3, expected 3.2 to 3.4"),
        (measured("current", 3.3, 3.3, 0), "voltage has no good value, expected 3.2 to 3.4"),
    ] {
        let mut world = World::new();
        world.start(TWO_STEPS);
        world.completes(Vec::new());
        world.completes(outputs);
        let failed = format!("read #1 failed EXPECTATION_FAILED: {message}");
        assert!(world.story().contains(&failed), "{failed} is not in {:#?}", world.story());
        assert!(world.story().contains(&"voltage failed".to_owned()));
    }
}

#[test]
fn a_cancelled_run_stops_its_step_and_makes_safe() {
    let mut world = World::new();
    let id = world.start(TWO_STEPS);
    world.begins();
    world.model.cancel_run(id, "by a test", world.now).unwrap();
    world.settle();
    assert!(matches!(world.commands.last().unwrap().body, CommandBody::CancelStep { .. }));
    assert!(world.model.cancel_run(id, "again", world.now).is_err());
    world.ends(StepOutcome::Cancelled { safe: Some(SafeOutcome::Verified) });
    world.completes(Vec::new());
    let story = world.story();
    assert_eq!(
        story[story.len() - 5..],
        [
            "read #1 skipped: run cancelled: by a test",
            "set #1 cancelled verified",
            "finally-1 #1 dispatched",
            "finally-1 #1 completed",
            "finished cancelled: cancelled: by a test",
        ]
    );
}

#[test]
fn an_agent_that_does_not_confirm_a_stop_does_not_hold_the_run() {
    let mut world = World::new();
    let id = world.start(TWO_STEPS);
    world.begins();
    world.model.cancel_run(id, "by a test", world.now).unwrap();
    world.advance(9_999);
    assert!(!world.story().iter().any(|line| line.starts_with("set #1 cancelled")));
    world.advance(1);
    assert!(world.story().contains(&"set #1 cancelled unreachable".to_owned()));
}

#[test]
fn a_step_without_a_result_is_overdue() {
    let mut world = World::new();
    world.start(TWO_STEPS.replace("retry = { times = 1, backoff = \"500ms\" }\n", "").as_str());
    world.begins();
    world.advance(19_999);
    assert_eq!(world.asked_all().count(), 1);
    world.advance(1);
    let overdue = "set #1 failed MODULE_TIMEOUT: instrument.action: no result from agent bench within 20 s";
    assert!(world.story().contains(&overdue.to_owned()), "{:#?}", world.story());
    // The result that comes after all changes nothing.
    let first = world.asked_all().next().unwrap().clone();
    world.report(vec![finished(first.attempt, first.run, StepOutcome::Completed { outputs: Vec::new() })]);
    assert_eq!(world.story().iter().filter(|line| line.starts_with("set #1")).count(), 3);
}

#[test]
fn a_run_waits_for_its_devices_and_says_why() {
    let mut world = World::new();
    let first = world.start(TWO_STEPS);
    let second = world.start(TWO_STEPS);
    assert_eq!(world.run(second).status, RunStatus::Pending);
    let waiting = format!("pending: waiting for role meter (device dmm-1): dmm-1 is held by run {first}");
    assert!(world.story().contains(&waiting), "{:#?}", world.story());
    world.model.cancel_run(first, "by a test", world.now).unwrap();
    world.settle();
    world.ends(StepOutcome::Cancelled { safe: None });
    world.completes(Vec::new());
    assert_eq!(world.run(first).status, RunStatus::Cancelled);
    assert_eq!(world.run(second).status, RunStatus::Running);
    let fences: Vec<_> = world.asked_all().map(|asked| asked.fence.unwrap()).collect();
    assert!(fences.last() > fences.first(), "each lease has a higher number: {fences:?}");
}

#[test]
fn a_waiting_run_can_be_cancelled() {
    let mut world = World::bare();
    let id = world.start(TWO_STEPS);
    world.model.cancel_run(id, "by a test", world.now).unwrap();
    world.settle();
    assert_eq!(
        world.story(),
        [
            "pending: waiting for role meter (device dmm-1): no agent has such a device",
            "cancel: by a test",
            "finished cancelled: cancelled: by a test",
        ]
    );
}

#[test]
fn a_pulled_cable_is_told_to_the_run() {
    let mut world = World::new();
    world.start(TWO_STEPS);
    world.begins();
    let asked = world.asked().clone();
    world.report(vec![
        EventBody::Device(DeviceChange {
            device: device("psu-1"),
            state: DeviceState::Gone,
            cause: "port closed".to_owned(),
            identity: None,
        }),
        finished(
            asked.attempt,
            asked.run,
            StepOutcome::Failed {
                error: rigwire_shared::event::StepError {
                    code: "DEVICE_DISCONNECTED".to_owned(),
                    message: "device psu-1 disconnected during instrument.action: port closed".to_owned(),
                },
            },
        ),
    ]);
    assert!(world.story().contains(&"lost psu-1: port closed".to_owned()));
}

#[test]
fn an_agent_that_restarts_fails_what_ran_and_gets_again_what_had_not_begun() {
    let mut world = World::new();
    world.start(TWO_STEPS.replace("times = 1", "times = 0").as_str());
    let asked = world.asked().clone();
    world.agent_restarts();
    assert_eq!(world.asked().attempt, asked.attempt, "not begun: the same attempt is sent again");
    assert_eq!(world.commands.last().unwrap().epoch, Epoch(2));
    world.begins();
    world.agent_restarts();
    let restarted = "set #1 failed AGENT_RESTARTED: agent bench restarted while the step was running";
    assert!(world.story().contains(&restarted.to_owned()), "{:#?}", world.story());
}

#[test]
fn a_batch_counts_once_and_a_gap_is_asked_for() {
    let mut world = World::new();
    world.start(TWO_STEPS);
    let asked = world.asked().clone();
    let started = EventBody::StepStarted { attempt: asked.attempt, run: asked.run, device: asked.device.clone() };
    let first = world.batch(vec![started]);
    let second = world.batch(vec![finished(asked.attempt, asked.run, StepOutcome::Completed { outputs: Vec::new() })]);
    let agent = world.agent.clone();
    let before = world.acks.last().unwrap().durable;
    let send = |world: &mut World, batch: &Batch| {
        world.model.batch(&agent, batch.clone(), world.now);
        world.settle();
        *world.acks.last().unwrap()
    };
    // The second arrives alone: refused, and what is missing is asked for.
    let ack = send(&mut world, &second);
    assert!(ack.resend);
    assert_eq!(ack.durable, before);
    for _ in 0..2 {
        let ack = send(&mut world, &first);
        assert_eq!(ack.durable, Some(first.position));
    }
    let ack = send(&mut world, &second);
    assert_eq!((ack.durable, ack.resend), (Some(Position { epoch: Epoch(1), number: 3 }), false));
    let story = world.story();
    assert_eq!(story.iter().filter(|line| *line == "set #1 running").count(), 1);
    assert_eq!(story.iter().filter(|line| *line == "set #1 completed").count(), 1);
    let counters = world.model.agents().next().unwrap().counters;
    assert_eq!((counters.gaps, counters.duplicates), (1, 1));
}

#[test]
fn an_older_epoch_never_wins() {
    let mut world = World::new();
    let old = world.state(false);
    world.agent_restarts();
    world.model.agent_state(&world.agent.clone(), &old, world.now);
    assert!(world.model.agents().all(|agent| agent.online), "the late will of the old start was believed");
}

#[test]
fn steps_of_the_hub_itself_run_on_its_clock() {
    let mut world = World::new();
    world.start(
        r#"
name = "own"
[params]
volts = { type = "float", default = 3.3 }
[[steps]]
id = "wait"
use = "delay"
with = { duration = "2s" }
[[steps]]
id = "say"
use = "log"
with = { message = "set to {{ volts }} V", level = "warning" }
[[steps]]
id = "check"
use = "assert"
with = { that = "volts > 5", message = "volts is only {{ volts }}" }
"#,
    );
    world.advance(1_999);
    assert!(!world.story().contains(&"wait #1 completed".to_owned()));
    world.advance(1);
    let story = world.story();
    assert_eq!(
        story[story.len() - 2..],
        ["check #1 failed EXPECTATION_FAILED: volts is only 3.3", "finished failed: volts is only 3.3"]
    );
    let logged =
        world.told.iter().any(|(_, body, _)| matches!(body, RunEventBody::Log(log) if log.message == "set to 3.3 V"));
    assert!(logged);
}

#[test]
fn a_paused_run_ends_what_it_began_and_begins_nothing() {
    let mut world = World::new();
    let id = world.start(TWO_STEPS);
    assert!(world.model.pause_run(id, false, world.now).is_err(), "a run that is not paused cannot be resumed");
    world.begins();
    world.model.pause_run(id, true, world.now).unwrap();
    world.settle();
    assert!(world.model.pause_run(id, true, world.now).is_err(), "twice");
    world.completes(Vec::new());
    world.advance(60_000);
    assert_eq!(world.asked_all().count(), 1, "the next step began while the run was paused");
    assert_eq!(world.run(id).status, RunStatus::Paused);
    world.model.pause_run(id, false, world.now).unwrap();
    world.settle();
    assert_eq!(world.asked().module, "instrument.read");
    assert_eq!(world.story().iter().filter(|line| *line == "running" || *line == "paused").count(), 3);
}

#[test]
fn a_paused_run_can_be_cancelled_and_still_makes_safe() {
    let mut world = World::new();
    let id = world.start(TWO_STEPS);
    world.completes(Vec::new());
    world.model.pause_run(id, true, world.now).unwrap();
    world.model.cancel_run(id, "by a test", world.now).unwrap();
    world.settle();
    world.ends(StepOutcome::Cancelled { safe: Some(SafeOutcome::Verified) });
    assert_eq!(world.asked().module, "instrument.safe_state");
    world.completes(Vec::new());
    assert_eq!(world.run(id).status, RunStatus::Cancelled);
}

#[test]
fn a_step_whose_condition_is_false_is_skipped_and_what_needs_it_goes_on() {
    let mut world = World::new();
    let id = world.start(
        r#"
name = "conditions"
[params]
volts = { type = "float", default = 3.3 }
[[steps]]
id = "high"
use = "log"
when = "volts > 5"
with = { message = "high" }
[[steps]]
id = "low"
use = "log"
when = "volts <= 5"
with = { message = "low" }
[[steps]]
id = "both"
use = "log"
when = "steps.high is undefined and steps.low is defined"
with = { message = "one of two" }
"#,
    );
    assert_eq!(
        world.story()[1..],
        [
            "high #1 skipped: when volts > 5 does not hold",
            "low #1 running",
            "low #1 completed",
            "both #1 running",
            "both #1 completed",
            "finished completed: 2 of 3 steps completed"
        ]
    );
    assert_eq!(world.run(id).finished.unwrap().counts.skipped, 1);
}

#[test]
fn branches_run_side_by_side_where_their_devices_allow() {
    let mut world = World::new();
    world.start(
        r#"
name = "branches"
[roles]
psu = { class = "psu" }
meter = { class = "dmm" }
[[steps]]
id = "a"
use = "instrument.read"
on = "psu"
[[steps]]
id = "b"
needs = []
use = "instrument.read"
on = "meter"
[[steps]]
id = "c"
needs = []
use = "instrument.read"
on = "meter"
"#,
    );
    let asked: Vec<_> = world.asked_all().map(|asked| asked.step.as_str().to_owned()).collect();
    assert_eq!(asked, ["a", "b"], "c waits for the meter");
    world.completes(Vec::new());
    assert_eq!(world.asked().step.as_str(), "c");
}

#[test]
fn a_run_that_waits_too_long_fails_and_says_for_what() {
    let mut world = World::bare();
    let id = world.start(&TWO_STEPS.replacen("name = \"two\"", "name = \"two\"\nwait = \"30s\"", 1));
    world.advance(29_999);
    assert_eq!(world.run(id).status, RunStatus::Pending);
    world.advance(1);
    let finished = world.run(id).finished.unwrap();
    let error = finished.error.unwrap();
    assert_eq!(error.code, "DEVICES_UNAVAILABLE");
    assert_eq!(
        error.message,
        "no devices within 30s: waiting for role meter (device dmm-1): no agent has such a device"
    );
    // Devices that come now find nobody waiting.
    world.agent_comes();
    assert_eq!(world.asked_all().count(), 0);
}
