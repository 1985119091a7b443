//! What holds for every run, whatever its agent, its devices and its users do.

use std::sync::Arc;

use crate::support::{World, finished, measured};
use proptest::prelude::*;
use rigwire::event::{RunEventBody, StepChange};
use rigwire::procedure::Procedure;
use rigwire::run::Run;
use rigwire_shared::event::{EventBody, SafeOutcome, StepError, StepOutcome};

/// Two branches that join, a step that may fail, retries, limits and two ways to make safe.
const GRAPH: &str = r#"
name = "graph"
[roles]
psu = { class = "psu" }
meter = { class = "dmm" }
[[steps]]
id = "a"
use = "instrument.action"
on = "psu"
with = { action = "on" }
retry = { times = 2, backoff = "1s" }
timeout = "10s"
[[steps]]
id = "b"
needs = []
use = "instrument.read"
on = "meter"
continue_on_failure = true
[[steps]]
id = "c"
needs = ["a", "b"]
use = "instrument.read"
on = "meter"
expect = { voltage = { min = 1.0, max = 2.0 } }
[[steps]]
id = "d"
use = "delay"
with = { duration = "1s" }
[[finally]]
use = "instrument.safe_state"
on = "psu"
[[finally]]
use = "instrument.safe_state"
on = "meter"
"#;

#[derive(Debug, Clone)]
enum Happening {
    Begins,
    Completes { good: bool },
    Fails,
    Stopped,
    Repeated,
    Cancel,
    Wait(u16),
    AgentRestarts,
    AgentLost,
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => Just(Happening::Begins),
        6 => any::<bool>().prop_map(|good| Happening::Completes { good }),
        3 => Just(Happening::Fails),
        1 => Just(Happening::Stopped),
        1 => Just(Happening::Repeated),
        1 => Just(Happening::Cancel),
        3 => (1..20_000_u16).prop_map(Happening::Wait),
        1 => Just(Happening::AgentRestarts),
        1 => Just(Happening::AgentLost),
    ]
}

fn happen(world: &mut World, happening: &Happening, run: rigwire_shared::ids::RunId) {
    match happening {
        Happening::Begins if world.asked_all().next().is_some() => world.begins(),
        Happening::Completes { good } if world.asked_all().next().is_some() => {
            let high = if *good { 1.5 } else { 7.0 };
            world.completes(measured("voltage", 1.5, high, 0));
        }
        Happening::Fails if world.asked_all().next().is_some() => world.fails("FAILED", "it failed"),
        Happening::Stopped if world.asked_all().next().is_some() => {
            world.ends(StepOutcome::Cancelled { safe: Some(SafeOutcome::Verified) });
        }
        // An old attempt's result comes again.
        Happening::Repeated => {
            let Some(first) = world.asked_all().next().cloned() else { return };
            let error = StepError { code: "LATE".to_owned(), message: "late".to_owned() };
            world.report(vec![finished(first.attempt, first.run, StepOutcome::Failed { error })]);
        }
        Happening::Cancel => {
            drop(world.model.cancel_run(run, "by a test", world.now));
            world.settle();
        }
        Happening::Wait(millis) => world.advance(i64::from(*millis)),
        Happening::AgentRestarts => world.agent_restarts(),
        Happening::AgentLost => {
            let state = world.state(false);
            world.model.agent_state(&world.agent.clone(), &state, world.now);
            world.settle();
        }
        Happening::Begins | Happening::Completes { .. } | Happening::Fails | Happening::Stopped => {}
    }
}

proptest! {
    #[test]
    fn every_run_keeps_its_promises(happenings in proptest::collection::vec(happening(), 0..40)) {
        let mut world = World::new();
        let run = world.start(GRAPH);
        for happening in &happenings {
            happen(&mut world, happening, run);
        }
        // Whatever happened, time alone ends the run: nothing waits for ever.
        for _ in 0..40 {
            world.advance(30_000);
        }
        let snapshot = world.run(run);
        prop_assert!(snapshot.finished.is_some(), "the run never ended: {:#?}", world.story());

        // Numbers have no holes, and the one terminal event is the last.
        let numbers: Vec<u64> = world.told.iter().map(|(number, _, _)| *number).collect();
        prop_assert_eq!(&numbers, &(1..=numbers.len() as u64).collect::<Vec<_>>());
        let ends = world.told.iter().filter(|(_, body, _)| matches!(body, RunEventBody::Finished(_))).count();
        prop_assert_eq!(ends, 1);
        prop_assert!(matches!(world.told.last().unwrap().1, RunEventBody::Finished(_)));

        // No step before its needs, each attempt sent under one id only, every finally tried.
        let began = |step: &str| world.told.iter().position(|(_, body, _)| is_change(body, step, |change| matches!(change, StepChange::Dispatched { .. } | StepChange::Running)));
        let ended = |step: &str| world.told.iter().position(|(_, body, _)| is_change(body, step, |change| matches!(change, StepChange::Completed { .. } | StepChange::Failed { will_retry: false, .. })));
        if let Some(began) = began("c") {
            for need in ["a", "b"] {
                prop_assert!(ended(need).is_some_and(|ended| ended < began), "c began before {} ended", need);
            }
        }
        for step in ["finally-1", "finally-2"] {
            prop_assert!(began(step).is_some(), "{} did not run: {:#?}", step, world.story());
        }

        // Nothing stays held, and the record alone gives the same run again.
        prop_assert!(world.model.devices().all(|(_, device)| device.held_by.is_none()));
        let procedure = Procedure::from_toml(GRAPH, "graph.toml").unwrap();
        let mut replayed = Run::new(Arc::clone(&snapshot.header), Some(Arc::new(procedure)));
        for (_, body, at) in &world.told {
            let json = serde_json::to_string(body).unwrap();
            replayed.apply(&serde_json::from_str(&json).unwrap(), *at);
        }
        let replayed = replayed.snapshot(|_| None);
        prop_assert_eq!(replayed.status, snapshot.status);
        prop_assert_eq!(&replayed.steps, &snapshot.steps);
        prop_assert_eq!(&replayed.finished, &snapshot.finished);
        prop_assert_eq!(&replayed.progress, &snapshot.progress);
    }

    #[test]
    fn batches_in_any_order_and_number_count_once(order in proptest::collection::vec(0..6_usize, 0..60)) {
        let mut world = World::new();
        let batches: Vec<_> = (0..6)
            .map(|index| {
                world.batch(vec![EventBody::Gap {
                    device: None,
                    samples: 1 << index,
                    cause: rigwire_shared::event::GapCause::SpoolFull,
                }])
            })
            .collect();
        let agent = world.agent.clone();
        for index in order {
            world.model.batch(&agent, batches[index].clone(), world.now);
        }
        // What was lost on the way is sent again, in order.
        for batch in &batches {
            world.model.batch(&agent, batch.clone(), world.now);
        }
        prop_assert_eq!(world.model.agents().next().unwrap().counters.samples_lost, 63);
    }
}

fn is_change(body: &RunEventBody, step: &str, wanted: impl Fn(&StepChange) -> bool) -> bool {
    matches!(body, RunEventBody::Step(event) if event.step.as_str() == step && wanted(&event.change))
}
