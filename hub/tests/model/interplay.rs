//! Parts of the engine that meet: shared devices with whole ones, reservations with `finally`, pauses with limits, parents with
//! their children, and long runs with everybody else.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::support::World;
use rigwire::dialect::{Dialect, RunReference};
use rigwire::event::{Event, EventKind, RunEvent, RunEventBody, RunStatus, StepChange, TestEvent};
use rigwire::fanout::Published;
use rigwire::lease::Claim;
use rigwire::model::StartRun;
use rigwire::procedure::Procedure;
use rigwire_shared::ids::RunId;
use rigwire_shared::time::Timestamp;
use serde_json::{Value, json};

use crate::support::device;

/// Keeps one device for itself and shares the other.
fn keeps_and_shares(keeps: &str, shares: &str) -> String {
    format!(
        r#"
name = "keeps-{keeps}"
[roles]
own = {{ class = "{keeps}" }}
common = {{ class = "{shares}", hold = "step" }}
[[steps]]
id = "settle"
use = "delay"
with = {{ duration = "1s" }}
[[steps]]
id = "both"
use = "instrument.read"
on = "common"
[[steps]]
id = "own"
use = "instrument.read"
on = "own"
"#
    )
}

#[test]
fn two_runs_that_each_keep_what_the_other_shares_come_one_after_the_other() {
    let mut world = World::new();
    let first = world.start(&keeps_and_shares("psu", "dmm"));
    let second = world.start(&keeps_and_shares("dmm", "psu"));
    for _ in 0..20 {
        world.advance(1000);
        let open = world.asked_all().last().map(|asked| asked.attempt);
        if open.is_some() {
            world.completes(Vec::new());
        }
    }
    assert_eq!(world.run(first).status, RunStatus::Completed);
    assert_eq!(world.run(second).status, RunStatus::Completed);
}

fn reserve(world: &mut World, id: &str, minutes: i64) {
    let until = Timestamp(world.now.0 + minutes * 60_000_000);
    let claim = Claim { holder: "alice".to_owned(), reason: None, until, next: true };
    world.model.reserve(&device(id), claim, world.now).unwrap();
    world.settle();
}

#[test]
fn a_finally_step_does_not_wait_for_ever_for_a_device_that_somebody_took_between_the_steps() {
    let mut world = World::new();
    let run = world.start(
        r#"
name = "tidy"
[roles]
psu = { class = "psu" }
meter = { class = "dmm", hold = "step" }
[[steps]]
id = "settle"
use = "delay"
with = { duration = "1s" }
[[steps]]
id = "set"
use = "instrument.read"
on = "psu"
[[finally]]
id = "off"
use = "instrument.action"
on = "meter"
with = { action = "off" }
[[finally]]
id = "safe"
use = "instrument.safe_state"
on = "psu"
"#,
    );
    reserve(&mut world, "dmm-1", 60);
    world.model.cancel_run(run, "by a test", world.now).unwrap();
    world.settle();
    world.advance(599_999);
    assert_eq!(world.asked_all().count(), 0);
    world.advance(1);
    assert_eq!(world.asked().step.as_str(), "safe", "the next one has its turn: {:#?}", world.story());
    world.completes(Vec::new());
    assert_eq!(world.run(run).status, RunStatus::Cancelled);
    let told = world.story().join("\n");
    assert!(told.contains("off #1 failed DEVICES_UNAVAILABLE: dmm-1 was not free within 10m"), "{told}");
}

const BOARD: &str = r#"
name = "board"
[roles]
meter = { class = "dmm", hold = "step" }
[[steps]]
id = "before"
use = "instrument.read"
on = "meter"
[[steps]]
id = "long"
use = "delay"
with = { duration = "1h" }
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

#[test]
fn a_turn_that_a_paused_run_does_not_take_goes_to_whoever_waits_for_the_whole_device() {
    let mut world = World::new();
    world.start(BOARD);
    let second = world.start(BOARD);
    world.advance(10);
    let whole = world.start(WHOLE);
    world.model.pause_run(second, true, world.now).unwrap();
    world.completes(Vec::new());
    assert_eq!(world.asked().run, whole, "{:#?}", world.story());
}

#[test]
fn a_run_that_waits_for_something_else_lets_nobody_in_before_a_step_that_waited_longer() {
    let mut world = World::new();
    world.start(&WHOLE.replace("class = \"dmm\"", "class = \"scope\""));
    world.advance(10);
    world.start(BOARD);
    let second = world.start(BOARD);
    world.advance(10);
    world.start(WHOLE);
    world.completes(Vec::new());
    assert_eq!(world.asked().run, second, "{:#?}", world.story());
}

fn suite(rules: &str) -> String {
    format!(
        r#"
name = "regression"
kind = "suite"
{rules}
[[tests]]
id = "a"
[tests.procedure]
name = "one"
wait = "30s"
[tests.procedure.roles]
psu = {{ class = "psu" }}
[[tests.procedure.steps]]
id = "set"
use = "instrument.read"
on = "psu"
"#
    )
}

fn children(world: &World, parent: RunId) -> Vec<RunId> {
    let children = world.created.iter().filter(|(header, _)| header.parent == Some(parent));
    children.map(|(header, _)| header.id).collect()
}

#[test]
fn a_test_does_not_run_out_of_patience_while_its_suite_is_paused() {
    let mut world = World::new();
    reserve(&mut world, "psu-1", 5);
    let run = world.start(&suite(""));
    let test = children(&world, run)[0];
    world.advance(20_000);
    world.model.pause_run(run, true, world.now).unwrap();
    world.settle();
    world.advance(100_000);
    assert_eq!(world.run(test).status, RunStatus::Pending);
    world.model.pause_run(run, false, world.now).unwrap();
    world.settle();
    world.advance(29_999);
    assert_eq!(world.run(test).status, RunStatus::Pending, "it has its time again");
    world.advance(1);
    assert_eq!(world.run(test).status, RunStatus::Failed);
}

#[test]
fn how_long_a_run_waits_is_counted_by_time_that_passed() {
    let text = WHOLE.replacen("name = \"whole\"", "name = \"whole\"\nwait = \"30s\"", 1);
    // A clock that was set.
    let mut world = World::bare();
    let run = world.start(&text);
    world.now = Timestamp(world.now.0 + 3_600_000_000);
    world.model.clock_set(3_600_000_000, world.now);
    world.settle();
    world.advance(29_999);
    assert_eq!(world.run(run).status, RunStatus::Pending);
    world.advance(1);
    assert_eq!(world.run(run).status, RunStatus::Failed);
    // A hub that was away: agents have not been heard of yet when it starts.
    let mut world = World::new();
    reserve(&mut world, "dmm-1", 60);
    let run = world.start(&text);
    world.hub_returns(60_000);
    assert_eq!(world.asked().run, run, "{:#?}", world.story());
}

fn tests_of(world: &World, run: RunId) -> Vec<TestEvent> {
    let tests =
        world.of(run).filter_map(|body| if let RunEventBody::Test(test) = body { Some(test.clone()) } else { None });
    tests.collect()
}

#[test]
fn a_test_that_begins_is_told_before_it_gets_anywhere() {
    let mut world = World::new();
    let run = world.start(&suite(""));
    let told: Vec<(String, f64, u32)> =
        tests_of(&world, run).into_iter().map(|test| (test.status, test.percent, test.current_run)).collect();
    assert_eq!(told, [("running".to_owned(), 0.0, 1)]);
    assert_eq!(world.run(run).progress.message, "0/1 tests: a");
}

#[test]
fn a_long_run_that_needs_no_device_lets_others_have_their_say() {
    let mut world = World::new();
    let run = world.start(
        r#"
name = "many"
[sweep]
[[sweep.axes]]
name = "x"
from = 0
to = 1999
step = 1
[[steps]]
id = "say"
use = "log"
with = { message = "{{ x }}" }
"#,
    );
    let most = |before: usize, world: &World| world.heard.len() - before;
    assert!(most(0, &world) < 4000, "{} events before anybody else was asked", most(0, &world));
    while world.run(run).finished.is_none() {
        let before = world.heard.len();
        assert!(world.model.next_wake().is_some_and(|at| at <= world.now), "it is to be called again at once");
        world.advance(0);
        assert!(most(before, &world) < 4000);
    }
    assert_eq!(world.run(run).finished.unwrap().counts.successful, 2000);
}

#[test]
fn a_parameter_that_is_swept_has_its_points_value_by_either_name() {
    let mut world = World::new();
    let run = world.start(
        r#"
name = "either"
[params]
volts = { type = "float", default = 1.0 }
[sweep]
[[sweep.axes]]
name = "volts"
values = [2.0, 3.0]
[[steps]]
id = "same"
use = "assert"
with = { that = "params.volts == volts and volts > 1.5" }
"#,
    );
    let end = world.run(run).finished.unwrap();
    assert_eq!(end.status, RunStatus::Completed, "{}", end.message);
}

/// What a client of the test-dashboard dialect is sent of a run, as (type, payload).
fn dashboard(world: &World, run: RunId) -> Vec<(String, Value)> {
    let header = world.run(run).header;
    let events = world.heard.iter().filter(|(id, _, _)| *id == run).enumerate();
    let published = events.map(|(number, (_, body, at))| {
        let event = RunEvent { run: Arc::clone(&header), number: number as u64 + 1, body: body.clone() };
        Published::new(Event { sequence: 1, at: *at, kind: EventKind::Run(event) })
    });
    let texts = published.flat_map(|event| {
        let messages = event.rendered(Dialect::TestDashboard).iter();
        let numbered = |text: &str| text.replace('\0', "1").replace('\u{1}', "null");
        messages.map(|message| numbered(message.text.as_str())).collect::<Vec<_>>()
    });
    let read = texts.map(|text| serde_json::from_str::<Value>(&text).unwrap());
    read.map(|message| (message["type"].as_str().unwrap().to_owned(), message["payload"].clone())).collect()
}

#[test]
fn each_point_of_a_sweep_counts_as_tests_of_its_own_with_lasting_numbers() {
    let mut world = World::new();
    let run = world.start(
        r#"
name = "three"
[sweep]
[[sweep.axes]]
name = "x"
values = [1, 2, 3]
[[steps]]
id = "say"
use = "log"
with = { message = "{{ x }}" }
[[steps]]
id = "check"
use = "assert"
with = { that = "x > 0" }
[[finally]]
id = "end"
use = "log"
with = { message = "end" }
"#,
    );
    let told = dashboard(&world, run);
    let ended: Vec<u64> = told
        .iter()
        .filter(|(kind, _)| kind == "test_completed")
        .map(|(_, payload)| payload["test_execution_id"].as_u64().unwrap())
        .collect();
    let different: BTreeSet<u64> = ended.iter().copied().collect();
    assert_eq!(different.len(), ended.len(), "one end for each number: {ended:?}");
    let (_, end) = told.iter().find(|(kind, _)| kind == "suite_completed").unwrap();
    assert_eq!((end["total_tests"].as_u64(), ended.len()), (Some(7), 7), "{end}");
    let next = world.start("name = \"next\"\nsteps = [{ id = \"s\", use = \"log\", with = { message = \"x\" } }]");
    assert!(ended.iter().all(|number| *number < world.run(next).header.number), "no number is used twice");
}

#[test]
fn a_suites_test_ends_once_for_a_dashboard_however_often_it_is_tried() {
    let mut world = World::new();
    let run = world.start(&suite("").replace("id = \"a\"", "id = \"a\"\nruns = 3\npasses = 2"));
    world.completes(Vec::new());
    world.fails("FAILED", "no answer");
    world.hub_returns(1000);
    world.completes(Vec::new());
    let told = dashboard(&world, run);
    let of =
        |wanted: &str| told.iter().filter(|(kind, _)| kind == wanted).map(|(_, payload)| payload).collect::<Vec<_>>();
    let number = world.run(run).header.tests[0].number;
    let ended = of("test_completed");
    assert_eq!((ended.len(), ended[0]["test_execution_id"].as_u64()), (1, Some(number)));
    assert_eq!(ended[0]["success"], json!(true));
    let attempts: Vec<u64> =
        of("test_progress").iter().map(|payload| payload["current_run"].as_u64().unwrap()).collect();
    assert!(attempts.is_sorted() && attempts.first() == Some(&1) && attempts.last() == Some(&3), "{attempts:?}");
    let end = of("suite_completed")[0];
    assert_eq!((end["total_tests"].as_u64(), end["passed_tests"].as_u64()), (Some(1), Some(1)), "{end}");
}

#[test]
fn suites_that_name_each_other_do_not_grow_without_end() {
    let many = |name: &str| {
        let tests: String =
            (0..200).map(|index| format!("[[tests]]\nid = \"t{index}\"\nprocedure = \"inner\"\n")).collect();
        format!("name = \"{name}\"\nkind = \"suite\"\n{tests}")
    };
    let inner = Procedure::from_toml(&many("inner"), "inner.toml").unwrap();
    let mut procedure = Procedure::from_toml(&many("outer"), "outer.toml").unwrap();
    let error = procedure.resolve("outer.toml", &|_| Ok(inner.clone())).unwrap_err();
    assert_eq!(error.mistakes.len(), 1, "{}", error.mistakes.len());
    let error = error.to_string();
    assert!(error.contains("procedures within each other"), "{error}");
    assert!(error.len() < 500, "{error}");
}

#[test]
fn runs_that_a_run_starts_at_once_are_bounded_through_all_levels() {
    let suite = |name: &str, parallel: usize, procedure: &Value| {
        let tests: Vec<Value> =
            (0..50).map(|index| json!({"id": format!("t{index}"), "procedure": procedure})).collect();
        json!({"name": name, "kind": "suite", "suite": {"parallel": parallel}, "tests": tests})
    };
    let log = json!({"name": "p", "steps": [{"id": "s", "use": "log", "with": {"message": "x"}}]});
    let resolve = |parallel| {
        let outer = suite("outer", parallel, &suite("inner", 100, &log));
        let mut procedure = Procedure::from_json(&outer, "outer").unwrap();
        procedure.resolve("outer", &|name| Err(name.to_owned())).map_err(|error| error.to_string())
    };
    assert_eq!(resolve(20), Ok(()));
    let error = resolve(100).unwrap_err();
    assert!(
        error.contains("suite.parallel: up to 2500 runs at once with those within, expected at most 1000"),
        "{error}"
    );
}

#[test]
fn a_cancelled_parent_ends_whatever_state_its_children_are_in() {
    // Waiting for a device, paused by itself, paused with its suite, being cancelled already; each also after a restart.
    for restart in [false, true] {
        for state in ["waiting", "child paused", "suite paused", "child cancelling"] {
            let mut world = World::new();
            if state == "waiting" {
                reserve(&mut world, "psu-1", 600);
            }
            let nested = suite("").replace("wait = \"30s\"\n", "");
            let run = world.start(&nested);
            let test = children(&world, run)[0];
            match state {
                "child paused" => world.model.pause_run(test, true, world.now).unwrap(),
                "suite paused" => world.model.pause_run(run, true, world.now).unwrap(),
                "child cancelling" => world.model.cancel_run(test, "by a test", world.now).unwrap(),
                _ => {}
            }
            world.settle();
            if restart && state != "waiting" {
                world.hub_returns(1000);
            }
            world.model.cancel_run(run, "by a test", world.now).unwrap();
            world.settle();
            for _ in 0..5 {
                world.advance(15_000);
            }
            for id in [run, test] {
                let status = world.model.run(RunReference::Id(id)).map(|run| run.status);
                assert_eq!(status, Some(RunStatus::Cancelled), "{state}, restart {restart}: {:#?}", world.story());
            }
            assert!(world.model.devices().all(|(_, device)| device.held_by.is_none()), "{state}, restart {restart}");
        }
    }
}

#[test]
fn a_suite_that_is_paused_while_the_hub_sees_to_others_begins_nothing_more() {
    let log = json!({"name": "p", "steps": [{"id": "s", "use": "log", "with": {"message": "x"}}]});
    let tests: Vec<Value> = (0..400).map(|index| json!({"id": format!("t{index}"), "procedure": log})).collect();
    for parallel in (1..=100).step_by(9) {
        let mut world = World::new();
        let suite = json!({"name": "many", "kind": "suite", "suite": {"parallel": parallel}, "tests": tests});
        let procedure = Procedure::from_json(&suite, "many").unwrap();
        let run = world.model.start_run(StartRun::new(Arc::new(procedure), Vec::new()), world.now);
        world.settle();
        let begun = |world: &World| {
            let steps = world
                .heard
                .iter()
                .filter(|(_, body, _)| matches!(body, RunEventBody::Step(step) if step.change == StepChange::Running));
            steps.count()
        };
        let before = begun(&world);
        world.model.pause_run(run, true, world.now).unwrap();
        world.settle();
        for _ in 0..20 {
            world.advance(1);
        }
        assert_eq!(begun(&world), before, "no step of a test begins, {parallel} at once");
        world.model.pause_run(run, false, world.now).unwrap();
        world.settle();
        while world.run(run).finished.is_none() {
            assert!(world.model.next_wake().is_some(), "{:?}", world.run(run).progress);
            world.advance(1);
        }
        assert_eq!(world.run(run).finished.unwrap().counts.successful, 400);
    }
}

/// A suite of suites over the supply.
fn nested() -> String {
    let inner = suite("").replace("wait = \"30s\"\n", "").replace("name = \"regression\"\nkind = \"suite\"\n", "");
    let inner = inner.replace("[tests.", "[tests.procedure.tests.").replace("[[tests]]", "[[tests.procedure.tests]]");
    format!(
        "name = \"outer\"\nkind = \"suite\"\n[[tests]]\nid = \"inner\"\n[tests.procedure]\nname = \"inner\"\nkind = \"suite\"\n{inner}"
    )
}

#[test]
fn a_suite_of_suites_is_paused_resumed_and_cancelled_through_all_levels() {
    for (restart, cancel) in [(false, false), (true, false), (false, true), (true, true)] {
        let mut world = World::new();
        let run = world.start(&nested());
        let middle = children(&world, run)[0];
        let leaf = children(&world, middle)[0];
        world.model.pause_run(run, true, world.now).unwrap();
        world.settle();
        if restart {
            world.hub_returns(1000);
        }
        for id in [run, middle, leaf] {
            assert_eq!(world.run(id).status, RunStatus::Paused);
        }
        if cancel {
            world.begins();
            world.model.cancel_run(run, "by a test", world.now).unwrap();
            world.settle();
            assert_eq!(world.run(leaf).finished, None, "its device is being made safe");
            world.ends(rigwire_shared::event::StepOutcome::Cancelled { safe: None });
        } else {
            world.model.pause_run(run, false, world.now).unwrap();
            world.settle();
            world.completes(Vec::new());
        }
        let expected = if cancel { RunStatus::Cancelled } else { RunStatus::Completed };
        for id in [run, middle, leaf] {
            let ends = world.of(id).filter(|body| matches!(body, RunEventBody::Finished(_))).count();
            assert_eq!((world.run(id).status, ends), (expected, 1), "restart {restart}, cancel {cancel}");
        }
        assert!(world.model.devices().all(|(_, device)| device.held_by.is_none()));
    }
}

#[test]
fn tests_of_a_suite_use_what_its_starter_reserved_and_no_other() {
    let mut world = World::new();
    reserve(&mut world, "psu-1", 60);
    let procedure = Arc::new(Procedure::from_toml(&suite(""), "s.toml").unwrap());
    let start = |world: &mut World, holder: &str| {
        let request = StartRun { holder: Some(holder.to_owned()), ..StartRun::new(Arc::clone(&procedure), Vec::new()) };
        let run = world.model.start_run(request, world.now);
        world.settle();
        run
    };
    let others = start(&mut world, "bob");
    let own = start(&mut world, "alice");
    assert_eq!(world.asked().run, children(&world, own)[0]);
    world.completes(Vec::new());
    assert_eq!(world.run(own).status, RunStatus::Completed);
    assert_eq!(world.run(others).status, RunStatus::Running);
    world.advance(30_000);
    let end = world.run(others).finished.unwrap();
    assert_eq!(end.message, "1 of 1 tests failed: a");
    let told = tests_of(&world, others).pop().unwrap().error.unwrap();
    assert!(told.contains("no devices within 30s") && told.contains("psu-1 is reserved by alice until"), "{told}");
}

#[test]
fn a_study_over_a_suite_counts_what_its_tests_gave() {
    let mut world = World::new();
    let inner = suite("")
        .replace("wait = \"30s\"\n", "")
        .replace("[tests.", "[procedure.tests.")
        .replace("[[tests", "[[procedure.tests");
    let inner = inner.replace(
        "name = \"regression\"\nkind = \"suite\"\n",
        "[procedure]\nname = \"inner\"\nkind = \"suite\"\n[procedure.params]\nvolts = { type = \"float\" }\n",
    );
    let run = world.start(&format!(
        "name = \"tune\"\nkind = \"optimization\"\n[variables]\nvolts = {{ type = \"float\", min = 0.0, max = 4.0 }}\n\
         [objectives.score]\ndirection = \"maximize\"\n[strategy]\nname = \"random\"\nbudget = 3\n{inner}"
    ));
    for iteration in 0..3 {
        if iteration == 1 { world.fails("FAILED", "no answer") } else { world.completes(Vec::new()) }
    }
    let end = world.run(run).finished.unwrap();
    assert_eq!((end.status, end.counts.successful, end.counts.failed), (RunStatus::Completed, 2, 1), "{}", end.message);
}
