//! Stories of what goes wrong between a hub and its agents: wrong clocks, restarts at bad moments, late and stale messages.

use crate::support::{World, device, finished};
use rigwire::event::{RunStatus, StepState};
use rigwire_shared::agent::{AgentState, DeviceState, Inventory};
use rigwire_shared::command::CommandBody;
use rigwire_shared::event::{
    AgentEvent, Answer, DeviceChange, EventBody, SafeOutcome, Sample, StepError, StepFinished, StepOutcome, code,
};
use rigwire_shared::ids::{AgentId, Epoch, MetricName};
use rigwire_shared::quality::Quality;
use rigwire_shared::time::Timestamp;
use rigwire_shared::unit::Unit;
use rigwire_shared::value::Value;
use rigwire_shared::wire::Batch;

const STEP: &str = r#"
name = "step"
[roles]
psu = { class = "psu" }
[[steps]]
id = "set"
use = "instrument.action"
on = "psu"
with = { action = "on" }
timeout = "5s"
retry = { times = 1, backoff = "500ms" }
[[finally]]
use = "instrument.safe_state"
on = "psu"
"#;

const HOUR_MS: i64 = 3_600_000;

/// A batch whose events bear the time of an agent's clock that is wrong by so much.
fn skewed(world: &mut World, by_millis: i64, body: EventBody) -> Batch {
    let at = Timestamp(world.now.0 + by_millis * 1000);
    let batch = world.batch(Vec::new());
    Batch { events: vec![AgentEvent { at, body }], ..batch }
}

#[test]
fn an_agent_with_a_wrong_clock_gets_its_time_all_the_same() {
    for skew in [-HOUR_MS, HOUR_MS] {
        let mut world = World::new();
        world.start(STEP);
        let asked = world.asked().clone();
        let begun = EventBody::StepStarted { attempt: asked.attempt, run: asked.run, device: asked.device.clone() };
        let batch = skewed(&mut world, skew, begun);
        world.model.batch(&world.agent.clone(), batch, world.now);
        world.settle();
        assert!(!world.story().iter().any(|line| line.contains("failed")), "{skew}: {:#?}", world.story());
        world.advance(19_999);
        assert_eq!(world.asked_all().count(), 1, "{skew}");
        world.advance(1);
        assert!(world.story().iter().any(|line| line.contains("MODULE_TIMEOUT")), "{skew}: {:#?}", world.story());

        let mut world = World::new();
        world.start(STEP);
        let asked = world.asked().clone();
        let error = StepError { code: "REFUSED".to_owned(), message: "no".to_owned() };
        let failed = finished(asked.attempt, asked.run, StepOutcome::Failed { error });
        let batch = skewed(&mut world, skew, failed);
        world.model.batch(&world.agent.clone(), batch, world.now);
        world.settle();
        assert_eq!(world.asked_all().count(), 1, "{skew}: before the backoff is over");
        world.advance(500);
        assert_eq!(world.asked_all().count(), 2, "{skew}");
    }
}

#[test]
fn what_ended_while_the_hub_was_away_is_not_overdue() {
    let mut world = World::new();
    let run = world.start(STEP);
    world.begins();
    let asked = world.asked().clone();
    world.hub_restarts(10 * 60_000, run, STEP);
    assert!(!world.story().iter().any(|line| line.contains("MODULE_TIMEOUT")), "{:#?}", world.story());
    world.report(vec![finished(asked.attempt, run, StepOutcome::Completed { outputs: Vec::new() })]);
    assert!(world.story().contains(&"set #1 completed".to_owned()), "{:#?}", world.story());
    assert_eq!(world.asked().module, "instrument.safe_state");
    world.completes(Vec::new());
    assert_eq!(world.run(run).status, RunStatus::Completed);
}

#[test]
fn an_agent_that_never_comes_back_ends_the_step_after_a_restart_of_the_hub() {
    let mut world = World::new();
    let run = world.start(&STEP.replace("times = 1", "times = 0"));
    world.begins();
    world.hub_restarts(HOUR_MS, run, STEP);
    world.advance(20_000);
    assert!(world.story().iter().any(|line| line.contains("MODULE_TIMEOUT")), "{:#?}", world.story());
}

#[test]
fn a_clock_that_is_set_moves_no_deadline() {
    for by_millis in [HOUR_MS, -HOUR_MS] {
        let mut world = World::new();
        world.start(STEP);
        world.begins();
        world.now = Timestamp(world.now.0 + by_millis * 1000);
        world.model.clock_set(by_millis * 1000, world.now);
        world.advance(19_999);
        assert!(!world.story().iter().any(|line| line.contains("MODULE_TIMEOUT")), "{by_millis}: {:#?}", world.story());
        assert!(world.model.next_wake().is_some_and(|at| at.0 - world.now.0 == 1000), "{by_millis}");
        world.advance(1);
        assert!(world.story().iter().any(|line| line.contains("MODULE_TIMEOUT")), "{by_millis}: {:#?}", world.story());
    }
}

#[test]
fn a_cancelled_step_that_never_began_is_not_sent_to_an_agent_that_restarted() {
    let mut world = World::new();
    let run = world.start(STEP);
    world.model.cancel_run(run, "by a test", world.now).unwrap();
    world.settle();
    world.agent_restarts();
    let sent: Vec<&str> = world.asked_all().map(|asked| asked.module.as_str()).collect();
    assert_eq!(sent, ["instrument.action", "instrument.safe_state"]);
    assert!(world.story().contains(&"set #1 cancelled -".to_owned()), "{:#?}", world.story());
}

#[test]
fn a_stop_of_what_never_began_is_over_when_the_agent_has_taken_it() {
    for begins in [false, true] {
        let mut world = World::new();
        let run = world.start(STEP);
        if begins {
            world.begins();
        }
        world.model.cancel_run(run, "by a test", world.now).unwrap();
        world.settle();
        let command = world.commands.last().unwrap().id;
        world.report(vec![EventBody::CommandAnswered { command, answer: Answer::Done }]);
        let over = world.story().contains(&"set #1 cancelled -".to_owned());
        assert_eq!(over, !begins, "{:#?}", world.story());
    }
}

#[test]
fn a_connection_that_comes_back_cancels_no_safe_state() {
    let mut world = World::new();
    let run = world.start(STEP);
    world.begins();
    world.model.cancel_run(run, "by a test", world.now).unwrap();
    world.settle();
    world.ends(StepOutcome::Cancelled { safe: Some(SafeOutcome::Verified) });
    let safe = world.asked().clone();
    assert_eq!(safe.module, "instrument.safe_state");
    world.commands.clear();
    let agent = world.agent.clone();
    for online in [false, true] {
        let state = world.state(online);
        world.model.agent_state(&agent, &state, world.now);
    }
    world.settle();
    assert!(!world.commands.iter().any(|command| matches!(command.body, CommandBody::CancelStep { .. })));
    assert_eq!(world.asked().attempt, safe.attempt, "it may have been lost on the way");
    // An agent that is stopped in the midst of it did not do what it was asked.
    world.ends(StepOutcome::Cancelled { safe: None });
    let stopped = "finally-1 #1 failed AGENT_STOPPED: agent bench was stopped while the step was running";
    assert!(world.story().contains(&stopped.to_owned()), "{:#?}", world.story());
}

#[test]
fn the_refusal_of_a_command_to_an_earlier_start_ends_nothing() {
    let mut world = World::new();
    let run = world.start(STEP);
    let asked = world.asked().clone();
    world.agent_restarts();
    assert_eq!(world.asked_all().count(), 2, "sent to the new start, too");
    let error = StepError { code: code::COMMAND_EXPIRED.to_owned(), message: "for epoch 1".to_owned() };
    let refused = StepFinished { attempt: asked.attempt, run, outcome: StepOutcome::Failed { error }, duration_us: 0 };
    world.report(vec![EventBody::StepFinished(refused.clone())]);
    assert_eq!(world.run(run).steps[0].state, StepState::Running);
    world.begins();
    world.completes(Vec::new());
    assert!(world.story().contains(&"set #1 completed".to_owned()), "{:#?}", world.story());

    // The only one that was sent: it is over.
    let mut world = World::new();
    world.start(STEP);
    world.fails(code::COMMAND_EXPIRED, "too late");
    assert!(world.story().contains(&"set #1 failed COMMAND_EXPIRED: too late (again)".to_owned()));
}

#[test]
fn a_run_that_ends_at_once_passes_its_devices_on_cleanly() {
    let mut world = World::new();
    let first = world.start(STEP);
    // It gets its device and fails before anything is sent: its template names what is not there.
    let second = world.start(
        r#"
name = "broken"
[roles]
psu = { class = "psu" }
[[steps]]
id = "set"
use = "instrument.action"
on = "psu"
with = { action = "{{ steps.none.at.all }}" }
"#,
    );
    let third = world.start(STEP);
    world.completes(Vec::new());
    world.completes(Vec::new());
    assert_eq!(world.run(first).status, RunStatus::Completed);
    assert_eq!(world.run(second).status, RunStatus::Failed);
    assert_eq!(world.run(third).status, RunStatus::Running, "{:#?}", world.story());
    let held: Vec<_> = world.model.devices().filter_map(|(_, device)| device.held_by).collect();
    assert_eq!(held, [third]);
    let waits_for_itself = format!("held by run {third}");
    assert!(!world.story().iter().any(|line| line.contains(&waits_for_itself)), "{:#?}", world.story());
    world.completes(Vec::new());
    world.completes(Vec::new());
    assert!(world.model.devices().all(|(_, device)| device.held_by.is_none()));
}

#[test]
fn roles_are_cast_so_that_all_find_a_device() {
    let mut world = World::new();
    let mut inventory = world.inventory(DeviceState::Online);
    for (card, tags) in inventory.devices.iter_mut().zip([&["a"][..], &["a", "b"]]) {
        card.tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
    }
    let mut absent = inventory.devices[0].clone();
    (absent.device, absent.state, absent.tags) = (device("absent"), DeviceState::Absent, vec!["b".to_owned()]);
    inventory.devices.push(absent);
    world.model.inventory(&world.agent.clone(), &inventory, world.now);
    // Both devices may play the first role, only one of them the second.
    let run = world.start(
        r#"
name = "cast"
[roles]
one = { tags = ["a"] }
two = { tags = ["b"] }
[[steps]]
id = "x"
use = "instrument.safe_state"
on = "one"
[[steps]]
id = "y"
use = "instrument.safe_state"
on = "two"
"#,
    );
    assert_eq!(world.run(run).status, RunStatus::Running, "{:#?}", world.story());
    assert_eq!(world.asked().device, Some(device("psu-1")));
}

#[test]
fn what_a_broker_kept_of_an_agent_that_left_is_not_there() {
    let mut world = World::bare();
    let agent = world.agent.clone();
    let gone: AgentState = world.state(false);
    world.model.agent_state(&agent, &gone, world.now);
    let kept: Inventory = world.inventory(DeviceState::Online);
    world.model.inventory(&agent, &kept, world.now);
    let run = world.start(STEP);
    assert_eq!(world.run(run).status, RunStatus::Pending);
    assert!(world.model.devices().all(|(card, _)| card.state == DeviceState::Gone));
    let (_, snapshot) = world.model.device(&device("psu-1")).unwrap();
    assert_eq!(snapshot.cause, "agent bench is offline: connection lost");
    world.agent_comes();
    assert_eq!(world.run(run).status, RunStatus::Running);
}

#[test]
fn a_device_state_from_before_the_agent_started_anew_is_old_news() {
    let mut world = World::new();
    let gone = EventBody::Device(DeviceChange {
        device: device("psu-1"),
        state: DeviceState::Gone,
        cause: "port closed".to_owned(),
        identity: None,
    });
    let kept = world.batch(vec![gone]);
    // State and inventory of the new start come before what its spool still holds.
    world.epoch = Epoch(2);
    let (state, inventory) = (world.state(true), world.inventory(DeviceState::Online));
    let agent = world.agent.clone();
    world.model.agent_state(&agent, &state, world.now);
    world.model.inventory(&agent, &inventory, world.now);
    world.model.batch(&agent, kept, world.now);
    let (card, _) = world.model.device(&device("psu-1")).unwrap();
    assert_eq!(card.state, DeviceState::Online);
}

#[test]
fn a_device_that_is_no_longer_listed_is_gone_for_the_run_that_holds_it() {
    let mut world = World::new();
    world.start(STEP);
    let mut inventory = world.inventory(DeviceState::Online);
    inventory.devices.retain(|card| card.device != device("psu-1"));
    world.model.inventory(&world.agent.clone(), &inventory, world.now);
    world.settle();
    let lost = "lost psu-1: agent bench no longer lists it";
    assert!(world.story().contains(&lost.to_owned()), "{:#?}", world.story());
}

#[test]
fn a_gap_is_asked_for_once_and_again_after_a_while() {
    let mut world = World::new();
    let missing = world.batch(Vec::new());
    let behind: Vec<_> = (0..50).map(|_| world.batch(Vec::new())).collect();
    let agent = world.agent.clone();
    world.acks.clear();
    for batch in &behind {
        world.model.batch(&agent, batch.clone(), world.now);
    }
    world.settle();
    assert_eq!(world.acks.iter().filter(|ack| ack.resend).count(), 1);
    world.advance(2_000);
    world.model.batch(&agent, behind[0].clone(), world.now);
    world.settle();
    assert_eq!(world.acks.iter().filter(|ack| ack.resend).count(), 2);
    for batch in [&missing].into_iter().chain(&behind) {
        world.model.batch(&agent, batch.clone(), world.now);
    }
    world.settle();
    assert_eq!(world.acks.last().unwrap().durable, Some(behind[49].position));
}

#[test]
fn an_agent_that_reports_after_its_own_last_will_is_asked_to_announce_itself() {
    let mut world = World::new();
    let late_will = world.state(false);
    world.model.agent_state(&world.agent.clone(), &late_will, world.now);
    world.report(Vec::new());
    world.report(Vec::new());
    let asked = world.commands.iter().filter(|command| command.body == CommandBody::Announce).count();
    assert_eq!(asked, 1);
}

#[test]
fn a_number_that_is_none_is_in_no_summary() {
    let mut world = World::new();
    let run = world.start(STEP);
    world.begins();
    let attempt = Some(world.asked().attempt);
    let sample = |metric: &str, value: f64| {
        EventBody::Sample(Sample {
            device: device("psu-1"),
            metric: MetricName::new(metric).unwrap(),
            value: Value::Float(value),
            unit: Unit::Volt,
            quality: Quality::Good,
            attempt,
            round_trip_us: None,
        })
    };
    world.report(vec![sample("good", 1.5), sample("infinite", f64::INFINITY), sample("none", f64::NAN)]);
    world.completes(Vec::new());
    world.completes(Vec::new());
    let finished = world.run(run).finished.unwrap();
    let names: Vec<_> = finished.metrics.iter().map(|metric| metric.name.as_str()).collect();
    assert_eq!(names, ["good"]);
    let read = serde_json::from_str(&serde_json::to_string(&finished).unwrap()).unwrap();
    assert_eq!(finished, read, "what is recorded can be read again");
}

#[test]
fn the_last_percent_of_a_step_is_not_the_end_of_its_news() {
    let mut world = World::new();
    let run = world.start(STEP);
    world.begins();
    let attempt = world.asked().attempt;
    world.report(vec![EventBody::StepProgress { attempt, percent: 100.0, message: "all read".to_owned() }]);
    assert_eq!(world.run(run).progress.counts.successful, 0);
    world.completes(Vec::new());
    assert_eq!(world.run(run).progress.counts.successful, 1, "told with the step's end");
}

#[test]
fn an_unknown_agent_may_report_nothing_for_another() {
    let mut world = World::new();
    let run = world.start(STEP);
    let stranger = AgentId::new("stranger").unwrap();
    let change = EventBody::Device(DeviceChange {
        device: device("psu-1"),
        state: DeviceState::Gone,
        cause: "says a stranger".to_owned(),
        identity: None,
    });
    let batch = Batch { previous: None, ..world.batch(vec![change]) };
    world.model.batch(&stranger, batch, world.now);
    assert_eq!(world.model.device(&device("psu-1")).unwrap().0.state, DeviceState::Online);
    assert_eq!(world.run(run).status, RunStatus::Running);
}
