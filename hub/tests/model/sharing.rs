//! Runs that share a device: each holds it while its step acts, and the steps of all come in turn.

use std::collections::BTreeSet;

use crate::support::{World, finished};
use proptest::prelude::*;
use rigwire::event::RunStatus;
use rigwire_shared::event::StepOutcome;
use rigwire_shared::ids::RunId;

/// Measures, does something of its own, and measures again.
const BOARD: &str = r#"
name = "board"
[roles]
meter = { class = "dmm", hold = "step" }
[[steps]]
id = "before"
use = "instrument.read"
on = "meter"
[[steps]]
id = "settle"
use = "delay"
with = { duration = "1s" }
[[steps]]
id = "after"
use = "instrument.read"
on = "meter"
"#;

const WHOLE: &str = r#"
name = "whole"
[roles]
meter = { class = "dmm" }
[[steps]]
id = "read"
use = "instrument.read"
on = "meter"
"#;

/// Steps in the order in which the agent was asked, as (run, step).
fn order(world: &World, runs: &[RunId]) -> Vec<String> {
    let name = |run: RunId| runs.iter().position(|known| *known == run).map_or(0, |place| place + 1);
    world.asked_all().map(|asked| format!("{} {}", name(asked.run), asked.step)).collect()
}

#[test]
fn steps_of_four_runs_take_turns_on_one_meter() {
    let mut world = World::new();
    let runs = [(); 4].map(|()| world.start(BOARD));
    assert!(runs.iter().all(|run| world.run(*run).status == RunStatus::Running), "none waits for the whole meter");
    for _ in 0..4 {
        world.completes(Vec::new());
    }
    world.advance(1000);
    for _ in 0..4 {
        world.completes(Vec::new());
    }
    let expected = ["1 before", "2 before", "3 before", "4 before", "1 after", "2 after", "3 after", "4 after"];
    assert_eq!(order(&world, &runs), expected);
    let fences: Vec<u64> = world.asked_all().map(|asked| asked.fence.unwrap().0).collect();
    assert!(fences.is_sorted_by(|one, next| one < next), "each step holds the meter under a newer number: {fences:?}");
    assert!(runs.iter().all(|run| world.run(*run).status == RunStatus::Completed));
    assert!(world.model.devices().all(|(_, device)| device.held_by.is_none()));
}

#[test]
fn a_run_that_wants_the_whole_device_has_its_turn_too() {
    let mut world = World::new();
    let first = world.start(BOARD);
    let second = world.start(BOARD);
    world.advance(10);
    let whole = world.start(WHOLE);
    world.advance(10);
    let late = world.start(BOARD);
    let runs = [first, second, whole, late];
    for _ in 0..4 {
        world.completes(Vec::new());
    }
    assert_eq!(order(&world, &runs), ["1 before", "2 before", "3 read", "4 before"]);
}

#[test]
fn one_that_waits_for_its_turn_can_be_cancelled() {
    let mut world = World::new();
    let runs = [(); 3].map(|()| world.start(BOARD));
    world.model.cancel_run(runs[1], "by a test", world.now).unwrap();
    world.settle();
    assert_eq!(world.run(runs[1]).status, RunStatus::Cancelled);
    world.completes(Vec::new());
    assert_eq!(order(&world, &runs), ["1 before", "3 before"]);
}

#[test]
fn a_paused_run_lets_others_have_its_turn() {
    let mut world = World::new();
    let runs = [(); 3].map(|()| world.start(BOARD));
    world.model.pause_run(runs[1], true, world.now).unwrap();
    world.completes(Vec::new());
    assert_eq!(order(&world, &runs), ["1 before", "3 before"]);
    world.completes(Vec::new());
    world.model.pause_run(runs[1], false, world.now).unwrap();
    world.settle();
    assert_eq!(order(&world, &runs), ["1 before", "3 before", "2 before"]);
}

proptest! {
    /// Whatever ends when, with the hub killed in between: at no time are two runs' steps on the device.
    #[test]
    fn a_shared_device_has_one_step_at_a_time(happenings in proptest::collection::vec(0..6_u8, 0..60)) {
        let mut world = World::new();
        let runs = [BOARD, BOARD, WHOLE, BOARD].map(|procedure| world.start(procedure));
        let mut ended = BTreeSet::new();
        for happening in happenings {
            let open: Vec<_> = world.asked_all().filter(|asked| !ended.contains(&asked.attempt.to_string())).cloned().collect();
            let on_meter: BTreeSet<String> = open.iter().map(|asked| asked.attempt.to_string()).collect();
            prop_assert!(on_meter.len() <= 1, "{on_meter:?}");
            match (happening, open.first()) {
                (0..=2, Some(asked)) => {
                    ended.insert(asked.attempt.to_string());
                    let outcome = StepOutcome::Completed { outputs: Vec::new() };
                    world.report(vec![finished(asked.attempt, asked.run, outcome)]);
                }
                (3, _) => world.advance(700),
                (4, _) => world.hub_returns(100),
                (5, Some(asked)) => {
                    ended.insert(asked.attempt.to_string());
                    let error = rigwire_shared::event::StepError { code: "FAILED".to_owned(), message: "failed".to_owned() };
                    world.report(vec![finished(asked.attempt, asked.run, StepOutcome::Failed { error })]);
                }
                (_, _) => {}
            }
        }
        for _ in 0..20 {
            world.advance(60_000);
            world.agent_restarts();
        }
        let ends = |run: RunId| world.of(run).filter(|body| matches!(body, rigwire::event::RunEventBody::Finished(_))).count();
        prop_assert!(runs.iter().all(|run| ends(*run) == 1), "{:#?}", world.story());
    }
}
