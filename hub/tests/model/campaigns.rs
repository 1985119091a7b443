//! Runs that are made of others, or of one procedure many times: sweeps, suites and studies.

use std::collections::BTreeMap;

use crate::support::{World, measured};
use proptest::prelude::*;
use rigwire::event::{PointEvent, RunEventBody, RunStatus, TestEvent};
use rigwire::model::{StartRun, Told};
use rigwire::procedure::Procedure;
use rigwire::run::{Asked, Parts, StudyError, StudyView};
use rigwire_shared::event::EventBody;
use rigwire_shared::ids::{MetricName, RunId};
use rigwire_shared::value::Value;

const SWEEP: &str = r#"
name = "response"
[params]
volts = { type = "float", unit = "V", min = 0.0, max = 5.0, default = 1.0 }
[roles]
psu = { class = "psu" }
[sweep]
label = "Harmonic response sweep"
of = "frequencies"
[[sweep.axes]]
name = "frequency"
from = 100.0
to = 300.0
points = 3
unit = "Hz"
[[steps]]
id = "set"
use = "instrument.action"
on = "psu"
with = { action = "set", hertz = "{{ frequency }}", label = "point {{ point }} at {{ volts }} V" }
[[finally]]
use = "instrument.safe_state"
on = "psu"
"#;

/// What was told of progress, in words.
fn messages(world: &World, run: RunId) -> Vec<String> {
    let mut messages: Vec<String> = world
        .of(run)
        .filter_map(
            |body| if let RunEventBody::Progress(progress) = body { Some(progress.message.clone()) } else { None },
        )
        .collect();
    messages.dedup();
    messages
}

fn metric(world: &World, name: &str, value: f64) -> EventBody {
    let asked = world.asked();
    EventBody::Sample(rigwire_shared::event::Sample {
        device: asked.device.clone().unwrap(),
        metric: MetricName::new(name).unwrap(),
        value: Value::Float(value),
        unit: rigwire_shared::unit::Unit::Volt,
        quality: rigwire_shared::quality::Quality::Good,
        attempt: Some(asked.attempt),
        round_trip_us: None,
    })
}

#[test]
fn a_sweep_repeats_its_steps_and_ends_once() {
    let mut world = World::new();
    let run = world.start(SWEEP);
    for value in [1.0, 2.0, 3.0] {
        let sample = metric(&world, "amplitude", value);
        world.report(vec![sample]);
        world.completes(Vec::new());
    }
    assert_eq!(world.asked().module, "instrument.safe_state");
    world.completes(Vec::new());
    let asked: Vec<String> = world
        .asked_all()
        .filter_map(|asked| {
            let named = |name: &str| asked.with.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
            Some(format!("{:?} {}", named("hertz")?.as_f64()?, named("label")?.as_str()?))
        })
        .collect();
    assert_eq!(asked, ["100.0 point 1 at 1.0 V", "200.0 point 2 at 1.0 V", "300.0 point 3 at 1.0 V"]);
    let points: Vec<u32> = world
        .of(run)
        .filter_map(|body| if let RunEventBody::Point(PointEvent { point, .. }) = body { Some(*point) } else { None })
        .collect();
    assert_eq!(points, [1, 2, 3]);
    let messages = messages(&world, run);
    for done in 0..=3 {
        let wanted = format!("Harmonic response sweep: {done}/3 frequencies");
        assert!(messages.contains(&wanted), "{wanted} is not among {messages:?}");
    }
    let end = world.run(run).finished.unwrap();
    assert_eq!((end.status, end.counts.total, end.counts.successful), (RunStatus::Completed, 4, 4));
    let (name, bytes) = world.kept.first().unwrap();
    let table = String::from_utf8(bytes.clone()).unwrap();
    assert_eq!(name, "sweep.csv");
    assert_eq!(table, "frequency [Hz],amplitude [V]\r\n100.0,1.0\r\n200.0,2.0\r\n300.0,3.0\r\n");
    let percents: Vec<f64> = world
        .of(run)
        .filter_map(|body| if let RunEventBody::Progress(progress) = body { Some(progress.percent) } else { None })
        .collect();
    assert!(percents.is_sorted() && percents.last() == Some(&100.0), "{percents:?}");
}

#[test]
fn a_sweep_goes_on_where_it_was_and_stops_at_a_failure() {
    let mut world = World::new();
    let run = world.start(SWEEP);
    world.completes(Vec::new());
    world.hub_returns(5000);
    world.fails("MODULE_EXECUTION_ERROR", "no answer");
    assert_eq!(world.asked().module, "instrument.safe_state", "no third point");
    world.completes(Vec::new());
    let end = world.run(run).finished.unwrap();
    assert_eq!((end.status, end.message.as_str()), (RunStatus::Failed, "no answer"));
    assert_eq!(
        messages(&world, run).last().unwrap(),
        "Harmonic response sweep: 1/3 frequencies",
        "the second is not done"
    );
    let table = String::from_utf8(world.kept.first().unwrap().1.clone()).unwrap();
    assert_eq!(table.lines().count(), 3, "what was measured is kept: {table}");
}

#[test]
fn a_sweep_that_is_paused_between_points_does_not_end() {
    let mut world = World::new();
    let run = world.start(SWEEP);
    world.model.pause_run(run, true, world.now).unwrap();
    world.completes(Vec::new());
    assert_eq!(world.asked_all().count(), 1, "neither the next point nor what comes after the last");
    world.model.pause_run(run, false, world.now).unwrap();
    world.settle();
    assert_eq!(world.asked_all().count(), 2);
    assert_eq!(world.asked().module, "instrument.action");
}

#[test]
fn a_sweep_over_a_parameter_keeps_its_limits() {
    for (axis, expected) in [
        ("name = \"volts\"\nvalues = [1.0, 6.0]", "sweep.axes[0]: parameter volts: 6.0 V is out of range"),
        ("name = \"steps\"\nvalues = [1.0]", "sweep.axes[0]: steps has a meaning of its own"),
    ] {
        let text = SWEEP.replace("name = \"frequency\"\nfrom = 100.0\nto = 300.0\npoints = 3\nunit = \"Hz\"", axis);
        let error = Procedure::from_toml(&text, "test.toml").unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

/// A suite over the supply; `runs` and `rest` are put into its first test.
fn suite(rules: &str, first: &str) -> String {
    format!(
        r#"
name = "regression"
kind = "suite"
{rules}
[[tests]]
id = "a"
name = "First"
tags = ["smoke"]
{first}
[tests.procedure]
name = "one"
[tests.procedure.params]
volts = {{ type = "float", default = 1.0, max = 5.0 }}
[tests.procedure.roles]
psu = {{ class = "psu" }}
[[tests.procedure.steps]]
id = "set"
use = "instrument.action"
on = "psu"
with = {{ action = "set", v = "{{{{ volts }}}}" }}
[[tests]]
id = "b"
procedure = {{ name = "two", steps = [{{ id = "say", use = "log", with = {{ message = "done" }} }}] }}
"#
    )
}

fn tests_of(world: &World, run: RunId) -> Vec<TestEvent> {
    let tests =
        world.of(run).filter_map(|body| if let RunEventBody::Test(test) = body { Some(test.clone()) } else { None });
    tests.collect()
}

fn statuses(world: &World, run: RunId) -> Vec<String> {
    match world.run(run).parts {
        Some(Parts::Suite(tests)) => tests.iter().map(|test| format!("{} {}", test.id, test.status)).collect(),
        other => panic!("no suite: {other:?}"),
    }
}

#[test]
fn a_suite_runs_its_tests_each_as_a_run_of_its_own() {
    let mut world = World::new();
    let run = world.start(&suite("", ""));
    assert_eq!(statuses(&world, run), ["a running", "b pending"]);
    world.completes(Vec::new());
    assert_eq!(statuses(&world, run), ["a passed", "b passed"]);
    let end = world.run(run).finished.unwrap();
    assert_eq!((end.status, end.message.as_str()), (RunStatus::Completed, "2 of 2 tests passed"));
    let header = world.run(run).header;
    let numbers: Vec<u64> = header.tests.iter().map(|test| test.number).collect();
    let told: Vec<u64> =
        tests_of(&world, run).iter().filter(|test| test.status == "completed").map(|test| test.number).collect();
    assert_eq!(told, numbers);
    let child =
        world.created.iter().find(|(child, _)| child.parent == Some(run)).map(|(child, _)| child.clone()).unwrap();
    assert_eq!((child.name.as_str(), child.number > header.number), ("regression: First", true));
}

#[test]
fn a_test_that_passes_and_fails_is_flaky() {
    for (first, outcomes, expected) in [
        ("runs = 3", "PFP", "failed, flaky, 2 of 3 attempts"),
        ("runs = 3\npasses = 2", "PFP", "passed, flaky, 2 of 3 attempts"),
        ("runs = 3", "PPP", "passed, 3 of 3 attempts"),
        ("runs = 3\nrepeat = \"until-passed\"", "FP", "passed, flaky, 1 of 2 attempts"),
        ("runs = 3\nrepeat = \"until-failed\"", "PF", "failed, flaky, 1 of 2 attempts"),
        ("runs = 5\npasses = 2\nrepeat = \"until-decided\"", "PP", "passed, 2 of 2 attempts"),
        ("runs = 5\npasses = 4\nrepeat = \"until-decided\"", "FF", "failed, 0 of 2 attempts"),
    ] {
        let mut world = World::new();
        let run = world.start(&suite("", first));
        for outcome in outcomes.chars() {
            match outcome {
                'P' => world.completes(Vec::new()),
                _ => world.fails("FAILED", "no answer"),
            }
        }
        let Some(Parts::Suite(tests)) = world.run(run).parts else { panic!("no suite") };
        let test = tests.first().unwrap();
        let passed = test.attempts.iter().filter(|attempt| attempt.passed).count();
        let flaky = if test.flaky { ", flaky" } else { "" };
        let found = format!("{}{flaky}, {passed} of {} attempts", test.status, test.attempts.len());
        assert_eq!(found, expected, "{first} {outcomes}");
        assert!(world.run(run).finished.is_some(), "{first}");
    }
}

#[test]
fn a_suite_stops_by_its_rules_and_says_so() {
    for (rules, first) in [("[suite]\nstop_after_failures = 1", ""), ("", "critical = true")] {
        let mut world = World::new();
        let run = world.start(&suite(rules, first));
        world.fails("FAILED", "no answer");
        assert_eq!(statuses(&world, run), ["a failed", "b skipped"]);
        let end = world.run(run).finished.unwrap();
        assert_eq!(end.error.unwrap().code, "TESTS_FAILED");
        assert_eq!((end.counts.failed, end.counts.skipped), (1, 1));
        assert_eq!(end.message, "1 of 2 tests failed: a");
    }
}

#[test]
fn tests_are_scored_by_what_they_measured() {
    let mut world = World::new();
    let run = world.start(&suite("", "runs = 2\nscore = \"steps.set.gain.mean / 10\""));
    world.completes(measured("gain", 4.0, 6.0, 0));
    world.completes(measured("gain", 8.0, 10.0, 0));
    let Some(Parts::Suite(tests)) = world.run(run).parts else { panic!("no suite") };
    assert_eq!(tests.first().unwrap().score, Some(0.7));
    let mut world = World::new();
    let run = world.start(&suite("", "score = \"steps.set.nothing\""));
    world.completes(Vec::new());
    assert_eq!(statuses(&world, run), ["a failed", "b passed"], "a score that cannot be had is no pass");
}

#[test]
fn cancelling_a_suite_stops_what_runs_and_skips_the_rest() {
    let mut world = World::new();
    let run = world.start(&suite("", ""));
    world.begins();
    world.model.cancel_run(run, "by a test", world.now).unwrap();
    world.settle();
    assert_eq!(world.run(run).status, RunStatus::Running, "the device is being made safe");
    world.ends(rigwire_shared::event::StepOutcome::Cancelled { safe: None });
    let end = world.run(run).finished.unwrap();
    assert_eq!((end.status, end.counts.skipped), (RunStatus::Cancelled, 2));
    assert!(world.model.devices().all(|(_, device)| device.held_by.is_none()));
}

#[test]
fn pausing_a_suite_pauses_its_tests() {
    let mut world = World::new();
    let run = world.start(&suite("", "runs = 2"));
    world.model.pause_run(run, true, world.now).unwrap();
    world.completes(Vec::new());
    let asked = world.asked_all().count();
    assert_eq!(asked, 1, "no second attempt while it is paused");
    world.model.pause_run(run, false, world.now).unwrap();
    world.settle();
    assert_eq!(world.asked_all().count(), 2);
}

#[test]
fn only_the_tests_with_a_wanted_tag_are_run() {
    let mut world = World::new();
    let procedure = Procedure::from_toml(&suite("", ""), "test.toml").unwrap();
    let request =
        StartRun { tags: vec!["smoke".to_owned()], ..StartRun::new(std::sync::Arc::new(procedure), Vec::new()) };
    let run = world.model.start_run(request, world.now);
    world.settle();
    world.completes(Vec::new());
    assert_eq!(statuses(&world, run), ["a passed"]);
}

#[test]
fn thousands_of_tests_that_end_at_once_do_not_nest() {
    let mut world = World::new();
    let tests: String = (0..2000)
        .map(|index| format!("[[tests]]\nid = \"t{index}\"\nprocedure = {{ name = \"p\", steps = [{{ id = \"s\", use = \"log\", with = {{ message = \"x\" }} }}] }}\n"))
        .collect();
    let run = world.start(&format!("name = \"many\"\nkind = \"suite\"\n{tests}"));
    while world.model.next_wake().is_some() {
        world.advance(1);
    }
    assert_eq!(world.run(run).finished.unwrap().counts.successful, 2000);
}

#[test]
fn what_a_suite_names_must_be_there_and_fit() {
    let text = r#"
name = "s"
kind = "suite"
[[tests]]
id = "a"
procedure = "gone"
[[tests]]
id = "b"
procedure = "known"
params = { volts = 9.0 }
[[tests]]
id = "c"
procedure = "known"
params = { volts = "{{ level }}", amps = 1 }
"#;
    let mut procedure = Procedure::from_toml(text, "s.toml").unwrap();
    let known = "name = \"known\"\n[params]\nvolts = { type = \"float\", max = 5.0 }\n[[steps]]\nid = \"s\"\nuse = \"log\"\nwith = { message = \"x\" }";
    let find = |name: &str| match name {
        "known" => Ok(Procedure::from_toml(known, "known.toml").unwrap()),
        other => Err(format!("there is no procedure {other}")),
    };
    let error = procedure.resolve("s.toml", &find).unwrap_err().to_string();
    for expected in [
        "tests[0].procedure: there is no procedure gone",
        "tests[1].params: parameter volts of procedure known: 9.0 is out of range",
        "tests[2].params: procedure known has no parameter amps",
    ] {
        assert!(error.contains(expected), "{expected:?} is not in {error}");
    }
}

const STUDY: &str = r#"
name = "tune"
kind = "optimization"
[roles]
psu = { class = "psu" }
[variables]
volts = { type = "float", min = 0.0, max = 4.0 }
[objectives.error]
metric = "set.error.mean"
direction = "minimize"
[strategy]
name = "nelder-mead"
budget = 12
seed = 7
[[steps]]
id = "set"
use = "instrument.action"
on = "psu"
with = { action = "set", v = "{{ volts }}" }
"#;

fn view(world: &World, run: RunId) -> StudyView {
    match world.run(run).parts {
        Some(Parts::Study(study)) => study,
        other => panic!("no study: {other:?}"),
    }
}

fn asked_volts(world: &World) -> f64 {
    world.asked().with.iter().find(|(name, _)| name == "v").and_then(|(_, value)| value.as_f64()).unwrap()
}

fn answer(world: &mut World) {
    let error = (asked_volts(world) - 2.5).powi(2);
    world.completes(measured("error", error, error, 0));
}

#[test]
fn a_study_carries_out_a_run_for_each_iteration() {
    let mut world = World::new();
    let run = world.start(STUDY);
    for iteration in 0..12 {
        if iteration == 5 {
            world.hub_returns(1000);
        }
        if iteration == 3 {
            world.fails("FAILED", "no answer");
        } else {
            answer(&mut world);
        }
    }
    let end = world.run(run).finished.unwrap();
    assert_eq!(end.status, RunStatus::Completed, "{}", end.message);
    let study = view(&world, run);
    assert_eq!((study.iterations.len(), study.front.len()), (12, 1));
    assert_eq!(study.iterations[3].result.as_ref().unwrap().error.as_deref(), Some("no answer"));
    let children = world.created.iter().filter(|(header, _)| header.parent == Some(run)).count();
    assert_eq!(children, 12);
    let best = study.best.unwrap();
    let best = study.iterations.iter().find(|iteration| iteration.iteration == best).unwrap();
    let volts = best.parameters[0].1.as_f64().unwrap();
    assert!((volts - 2.5).abs() < 0.5, "best at {volts}: {}", end.message);
    assert!(world.kept.iter().any(|(name, _)| name == "iterations.csv"));
    let updates: Vec<bool> = world
        .of(run)
        .filter_map(|body| if let RunEventBody::Iteration(done) = body { Some(done.pareto_updated) } else { None })
        .collect();
    assert!(updates[0] && !updates[3], "{updates:?}");
}

#[test]
fn a_study_may_be_driven_from_outside() {
    let mut world = World::new();
    let text = STUDY.split("[[steps]]").next().unwrap().replace("[roles]\npsu = { class = \"psu\" }\n", "");
    let run = world.start(&text.replace("metric = \"set.error.mean\"\n", "").replace("budget = 12", "budget = 3"));
    let error = |value: f64| Told::Metrics(BTreeMap::from([("error".to_owned(), value)]));
    for iteration in 1..=3 {
        let asked = world.model.ask_study(run, world.now).unwrap();
        let Asked::Try { iteration: number, .. } = asked else { panic!("nothing to try: {asked:?}") };
        assert_eq!(number, iteration);
        world.settle();
        world.hub_returns(10);
        let told = world.model.tell_study(run, iteration, &error(1.0 / iteration as f64), world.now).unwrap();
        assert!(told.unwrap().feasible);
        if iteration == 1 {
            assert_eq!(world.model.tell_study(run, 1, &error(1.0), world.now), Ok(None), "told twice the same");
            let otherwise = world.model.tell_study(run, 1, &error(2.0), world.now);
            assert_eq!(otherwise, Err(StudyError::ToldOtherwise(1)));
            let early = world.model.tell_study(run, 9, &error(2.0), world.now);
            assert_eq!(early, Err(StudyError::NotAsked { iteration: 9, asked: 1 }));
        }
        world.settle();
    }
    assert_eq!(world.run(run).status, RunStatus::Completed);
    assert_eq!(view(&world, run).best, Some(3));
    assert!(world.model.ask_study(run, world.now).is_err());
}

proptest! {
    /// Whatever passes, fails, is cancelled or interrupted by the hub's end: a suite ends once, with every test accounted for.
    #[test]
    fn suites_add_up(happenings in proptest::collection::vec(0..8_u8, 0..40)) {
        let mut world = World::new();
        let run = world.start(&suite("[suite]\nparallel = 2", "runs = 3\npasses = 2"));
        for happening in happenings {
            let ended = world.of(run).any(|body| matches!(body, RunEventBody::Finished(_)));
            let open = !ended && world.asked_all().next().is_some();
            match happening {
                0..=2 if open => world.completes(Vec::new()),
                3 | 4 if open => world.fails("FAILED", "no answer"),
                5 => world.hub_returns(1000),
                6 => world.agent_restarts(),
                7 if world.now.0 % 3 == 0 => {
                    drop(world.model.cancel_run(run, "by a test", world.now));
                    world.settle();
                }
                _ => world.advance(900),
            }
        }
        for _ in 0..40 {
            if world.heard.iter().any(|(id, body, _)| *id == run && matches!(body, RunEventBody::Finished(_))) {
                break;
            }
            world.advance(90_000);
            world.agent_restarts();
        }
        let ends: Vec<_> = world.of(run).filter_map(|body| if let RunEventBody::Finished(end) = body { Some(end.clone()) } else { None }).collect();
        prop_assert_eq!(ends.len(), 1);
        let counts = ends[0].counts;
        prop_assert_eq!(counts.total, 2);
        prop_assert_eq!(counts.successful + counts.failed + counts.skipped, 2, "{:?}", ends);
        // Every run that was started for it has ended, and each was told of once.
        let children: Vec<RunId> = world.created.iter().filter(|(header, _)| header.parent == Some(run)).map(|(header, _)| header.id).collect();
        for child in children {
            let ended = world.of(child).filter(|body| matches!(body, RunEventBody::Finished(_))).count();
            prop_assert_eq!(ended, 1, "child {}", child);
            let told = tests_of(&world, run).iter().filter(|test| test.attempt.as_ref().is_some_and(|attempt| attempt.run == Some(child))).count();
            prop_assert_eq!(told, 1);
        }
    }
}
