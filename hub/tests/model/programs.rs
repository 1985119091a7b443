//! What a program that a step started reports: its words become the run's, its tests keep their numbers.

use rigwire::event::{RunEventBody, StepChange, TestEvent};
use rigwire_shared::agent::{DeviceCard, DeviceKind, DeviceState};
use rigwire_shared::event::{EventBody, Level, Log, RunReport, TestOutcome};
use rigwire_shared::ids::MetricName;
use rigwire_shared::unit::Unit;
use rigwire_shared::value::Value;

use crate::support::{World, device};

const PROCEDURE: &str = r#"
name = "solve"
[[steps]]
id = "mesh"
use = "process.run"
phase = "preparing"
with = { program = "solver" }
retry = { times = 1 }
"#;

/// An agent with a host that runs a solver, and a run whose step it has begun.
fn begun() -> World {
    let mut world = World::new();
    let mut inventory = world.inventory(DeviceState::Online);
    let card = inventory.devices[0].clone();
    inventory.devices.push(DeviceCard {
        device: device("host-1"),
        kind: DeviceKind::Host,
        class: "host".to_owned(),
        tags: vec!["solver".to_owned()],
        ..card
    });
    world.model.inventory(&world.agent.clone(), &inventory, world.now);
    world.start(PROCEDURE);
    world.begins();
    world
}

#[test]
fn a_program_that_no_agent_lists_is_waited_for_with_what_to_do() {
    let mut world = World::new();
    world.start(PROCEDURE);
    let expected = "pending: waiting for role host of solver (kind host and tags solver): there is no such host; \
                    an agent runs what its configuration lists as [[program]]";
    assert_eq!(world.story().last().map(String::as_str), Some(expected));
}

fn report(world: &mut World, report: RunReport) {
    let asked = world.asked().clone();
    world.advance(10);
    world.report(vec![EventBody::Report { attempt: asked.attempt, run: asked.run, report }]);
}

fn told(percent: f32, phase: Option<&str>, message: Option<&str>) -> RunReport {
    RunReport::Progress { percent, phase: phase.map(str::to_owned), message: message.map(str::to_owned) }
}

/// Phase, message and percent as last told of the run.
fn progress(world: &World) -> (String, String, f64) {
    let last = world.told.iter().rev().find_map(|(_, body, _)| match body {
        RunEventBody::Progress(progress) => Some(progress.clone()),
        _ => None,
    });
    let last = last.unwrap();
    (last.phase, last.message, last.percent)
}

fn now(phase: &str, message: &str, percent: f64) -> (String, String, f64) {
    (phase.to_owned(), message.to_owned(), percent)
}

#[test]
fn a_programs_phase_and_words_are_the_runs() {
    let mut world = begun();
    assert_eq!(progress(&world), now("preparing", "mesh: process.run (1 of 1)", 0.0));
    report(&mut world, RunReport::Phase { phase: "meshing".to_owned(), message: Some("Coarse grid".to_owned()) });
    assert_eq!(progress(&world), now("meshing", "Coarse grid", 0.0));
    report(&mut world, told(40.0, None, None));
    assert_eq!(progress(&world), now("meshing", "Coarse grid", 40.0));
    report(&mut world, told(50.0, Some("solving"), Some("Harmonic sweep: 9/21")));
    assert_eq!(progress(&world), now("solving", "Harmonic sweep: 9/21", 50.0));
    report(&mut world, told(10.0, None, Some("again from the start")));
    assert_eq!(progress(&world), now("solving", "again from the start", 50.0), "a run's progress never falls");
    report(&mut world, told(f32::NAN, None, None));
    assert_eq!(progress(&world).2, 50.0);
    world.fails("PROCESS_FAILED", "program solver exited with code 1");
    world.advance(1);
    world.begins();
    assert_eq!(progress(&world).1, "mesh: process.run (1 of 1)", "a new attempt has said nothing yet");
}

#[test]
fn a_phase_without_progress_before_it_is_the_steps_own() {
    let mut world = begun();
    report(&mut world, told(5.0, None, Some("reading")));
    assert_eq!(progress(&world), now("preparing", "reading", 5.0));
    let step = world.told.iter().rev().find_map(|(_, body, _)| match body {
        RunEventBody::Step(event) => Some(event.change.clone()),
        _ => None,
    });
    let (message, phase) = ("reading".to_owned(), Some("preparing".to_owned()));
    assert_eq!(step, Some(StepChange::Progress { percent: 5.0, message, phase }));
}

fn tests(world: &World) -> Vec<TestEvent> {
    let tests = world.told.iter().filter_map(|(_, body, _)| match body {
        RunEventBody::Test(test) => Some(test.clone()),
        _ => None,
    });
    tests.collect()
}

fn tested(test: &str, outcome: TestOutcome) -> RunReport {
    let (test, name, message) = (test.to_owned(), format!("does {test}"), Some("said".to_owned()));
    RunReport::Tested { test, name, outcome, duration_s: Some(0.5), score: None, message }
}

#[test]
fn a_test_has_one_number_over_attempts_and_restarts() {
    let mut world = begun();
    let run = world.asked().run;
    report(&mut world, tested("boots", TestOutcome::Failed));
    report(&mut world, tested("halts", TestOutcome::Skipped));
    report(&mut world, tested("boots", TestOutcome::Passed));
    let seen = tests(&world);
    let [failed, skipped, passed] = seen.as_slice() else { panic!("{seen:?}") };
    assert_eq!(
        (failed.status.as_str(), failed.success, failed.error.as_deref()),
        ("failed", Some(false), Some("said"))
    );
    assert_eq!((skipped.status.as_str(), skipped.success, skipped.error.as_deref()), ("skipped", None, None));
    assert_eq!((passed.status.as_str(), passed.success, passed.duration_s), ("completed", Some(true), Some(0.5)));
    assert!(failed.number > 0 && failed.number == passed.number && failed.number != skipped.number);
    let header = world.run(run).header;
    assert!(header.number != failed.number && header.steps.iter().all(|step| step.number != failed.number));

    world.hub_restarts(1000, run, PROCEDURE);
    report(&mut world, tested("halts", TestOutcome::Passed));
    assert_eq!(tests(&world).last().map(|test| test.number), Some(skipped.number));
}

#[test]
fn what_is_no_number_is_no_metric_and_a_log_knows_its_step() {
    let mut world = begun();
    let metric = |value| RunReport::Metric { name: MetricName::new("x").unwrap(), value, unit: Unit::Volt };
    for value in [f64::NAN, f64::INFINITY, 1.5] {
        report(&mut world, metric(value));
    }
    let metrics: Vec<_> = world
        .told
        .iter()
        .filter_map(|(_, body, _)| match body {
            RunEventBody::Metric(metric) => Some((metric.value.clone(), metric.device.clone(), metric.step.clone())),
            _ => None,
        })
        .collect();
    let step = world.asked().step.clone();
    assert_eq!(metrics, [(Value::Float(1.5), Some(device("host-1")), Some(step.clone()))]);

    let asked = world.asked().clone();
    let log = Log {
        level: Level::Info,
        message: "hello".to_owned(),
        device: asked.device,
        run: Some(asked.run),
        attempt: Some(asked.attempt),
        source: "solver".to_owned(),
    };
    world.report(vec![EventBody::Log(log)]);
    let Some((_, RunEventBody::Log(log), _)) = world.told.last() else { panic!("no log") };
    assert_eq!(
        (log.step.as_ref(), log.module.as_deref(), log.source.as_str()),
        (Some(&step), Some("process.run"), "solver")
    );
}
