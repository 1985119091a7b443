//! External runs: what a program may report, what contradicts it, and what ends a run whose program says nothing.

use std::sync::Arc;

use proptest::prelude::*;
use rigwire::dialect::RunReference;
use rigwire::event::{EventKind, Finished, RunEvent, RunEventBody, RunHeader, RunKind, RunSnapshot, RunStatus};
use rigwire::external::{BadBatch, StartExternal, parse_batch};
use rigwire::fanout::Published;
use rigwire::ingest;
use rigwire::model::{Model, Output, Receipt, ReportError, Restored};
use rigwire::store::{self, Store};
use rigwire_shared::ids::RunId;
use rigwire_shared::time::Timestamp;
use rigwire_shared::topic::Topic;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use uuid::Uuid;

mod record;

const NOW: i64 = 1_900_000_000_000_000;

struct World {
    model: Model,
    now: Timestamp,
    told: Vec<Arc<Published>>,
}

impl World {
    fn new() -> Self {
        let now = Timestamp(NOW);
        Self { model: Model::new(Restored::default(), Box::new(Uuid::new_v4), now), now, told: Vec::new() }
    }

    fn start(&mut self, body: Value) -> RunId {
        let id = self.model.start_external(announced(body).unwrap(), self.now);
        self.settle();
        id
    }

    fn report(&mut self, run: RunId, events: Value) -> Result<Receipt, ReportError> {
        let batch = parse_batch(events.to_string().as_bytes()).unwrap();
        let outcome = self.model.report_external(run, &batch, self.now);
        self.settle();
        outcome
    }

    fn settle(&mut self) {
        for output in self.model.take_outputs() {
            if let Output::Event(published) = output {
                self.told.push(published);
            }
        }
    }

    fn passes(&mut self, seconds: i64) {
        self.now = Timestamp(self.now.0 + seconds * 1_000_000);
        self.model.tick(self.now);
        self.settle();
    }

    fn run(&self, run: RunId) -> RunSnapshot {
        self.model.run(RunReference::Id(run)).unwrap()
    }

    /// What was told of runs that are not part of another.
    fn bodies(&self) -> Vec<&RunEventBody> {
        self.events().filter(|event| event.run.parent.is_none()).map(|event| &event.body).collect()
    }

    fn events(&self) -> impl Iterator<Item = &RunEvent> {
        self.told.iter().filter_map(|published| match &published.event.kind {
            EventKind::Run(event) => Some(event),
            _ => None,
        })
    }

    /// Runs of the parts of others, in the order in which they began, and what was told of each.
    fn parts(&self) -> Vec<(Arc<RunHeader>, Vec<&RunEventBody>)> {
        let mut parts: Vec<(Arc<RunHeader>, Vec<&RunEventBody>)> = Vec::new();
        for event in self.events().filter(|event| event.run.parent.is_some()) {
            match parts.iter_mut().find(|(header, _)| header.id == event.run.id) {
                Some((_, bodies)) => bodies.push(&event.body),
                None => parts.push((Arc::clone(&event.run), vec![&event.body])),
            }
        }
        parts
    }

    fn finished(&self) -> Vec<&Finished> {
        let bodies = self.bodies().into_iter();
        bodies
            .filter_map(|body| if let RunEventBody::Finished(finished) = body { Some(finished) } else { None })
            .collect()
    }
}

fn announced(mut body: Value) -> Result<StartExternal, String> {
    body["external"] = json!(true);
    StartExternal::from_json(body).map_err(|mistake| mistake.to_string())
}

fn suite() -> Value {
    json!({"kind": "suite", "name": "nightly", "agent_name": "pytest",
        "tests": [{"id": "t1", "name": "Boots", "runs": 3}, {"id": "t2", "name": "Charges"}]})
}

fn workflow() -> Value {
    json!({"kind": "workflow", "name": "flow",
        "nodes": [{"id": "c", "type": "report"}, {"id": "a", "type": "load", "data": {"file": "x"}}, {"id": "b"}],
        "edges": [{"source": "a", "target": "b"}, {"source": "b", "target": "c"}]})
}

fn solve() -> Value {
    json!({"kind": "solve", "name": "beam"})
}

#[test]
fn every_kind_of_event_is_taken() {
    for event in [
        json!({"type": "status", "status": "running", "step": "warm-up", "message": "begun"}),
        json!({"type": "status", "status": "paused"}),
        json!({"type": "status", "status": "failed", "error": "it broke", "log_tail": "a\nb", "metrics": {"rms": 1}}),
        json!({"type": "progress", "percent": 0}),
        json!({"type": "progress", "percent": 100.0, "phase": "meshing", "message": "m", "step": "s"}),
        json!({"type": "log", "level": "warning", "message": "", "device": "d", "module": "m", "source": "s"}),
        json!({"type": "metric", "name": "rms", "value": -1.5e-3, "unit": "V", "device": "d"}),
        json!({"type": "step", "step": "s", "module": "m", "device": "d", "status": "running", "progress": 1, "attempt": 2}),
        json!({"type": "step", "step": "s", "status": "failed", "will_retry": true, "error_code": "E", "error": "e"}),
        json!({"type": "step", "step": "s", "status": "completed", "duration_s": 1, "screenshot": "shots/a.png"}),
        json!({"type": "iteration", "iteration": 0, "parameters": {"x": 1}, "metrics": {"y": 2}, "feasible": true,
            "pareto_updated": true, "run": "550e8400-e29b-41d4-a716-446655440000"}),
        json!({"type": "test", "test": "t", "name": "T", "status": "running", "progress": 5, "current_run": 1, "total_runs": 2}),
        json!({"type": "test", "test": "t", "status": "completed", "success": false, "score": 0.5, "duration_s": 2}),
        json!({"type": "tool", "name": "grep", "status": "completed", "result": [1], "error": null}),
        json!({"type": "artifact", "name": "a.csv", "media_type": "text/csv; header=present", "data": "YSxiCg=="}),
        json!({"type": "event", "event_type": "llm_request", "payload": {"m": 1}, "sequence": 1, "duration_ms": 2.5}),
        json!({"type": "wells", "wells": {"plate": {"liquid_mask": "0x3", "volumes": [1, 2.5]}, "tips": {"tip_mask": "0xff"}}}),
        json!({"type": "log", "level": "info", "message": "m", "id": "1", "at": "2030-01-31T12:00:00.25+02:00"}),
    ] {
        let parsed = parse_batch(json!([event]).to_string().as_bytes());
        assert!(parsed.is_ok(), "{event}: {parsed:?}");
    }
    let at = parse_batch(br#"[{"type":"progress","percent":1,"at":"1970-01-01T02:00:01.5+01:30"}]"#).unwrap()[0].at;
    assert_eq!(at, Some(Timestamp(1_801_500_000)));
}

#[test]
fn every_mistake_is_named() {
    for (event, expected) in [
        (json!(7), "events[1]: 7 is not an object"),
        (json!({}), "events[1].type: is missing, expected status, progress, log"),
        (json!({"type": "dance"}), "events[1].type: is \"dance\", expected status, progress"),
        (json!({"type": "progress", "percent": 140}), "events[1].percent: 140 is out of range, expected 0 to 100"),
        (json!({"type": "progress", "percent": -1}), "events[1].percent: -1 is out of range"),
        (json!({"type": "progress", "percent": "5"}), "events[1].percent: \"5\" is not a number"),
        (json!({"type": "progress"}), "events[1].percent: is missing, expected 0 to 100"),
        (json!({"type": "progress", "percnt": 1}), "events[1].percnt: an event of type progress has no such field"),
        (json!({"type": "progress", "percent": 1, "id": ""}), "events[1].id: is empty"),
        (json!({"type": "progress", "percent": 1, "id": 5}), "events[1].id: 5 is not a text"),
        (json!({"type": "progress", "percent": 1, "at": "noon"}), "events[1].at: \"noon\" is no time"),
        (json!({"type": "progress", "percent": 1, "at": "2030-01-31T12:00:00"}), "events[1].at:"),
        (json!({"type": "progress", "percent": 1, "at": "2030-01-31T12:00:00+99:00"}), "events[1].at:"),
        (json!({"type": "progress", "percent": 1, "step": "a b"}), "events[1].step: \"a b\" is no id: ' ' is not"),
        (json!({"type": "status", "status": "pending"}), "events[1].status: is \"pending\", but"),
        (json!({"type": "status", "status": "done"}), "events[1].status: is \"done\", expected pending, running"),
        (json!({"type": "status", "status": "completed", "error": "e"}), "events[1].error: belongs to status failed"),
        (json!({"type": "status", "status": "running", "metrics": {}}), "events[1].metrics: is the summary"),
        (json!({"type": "status", "status": "failed", "metrics": {"a": "b"}}), "events[1].metrics.a: is not a number"),
        (json!({"type": "log", "level": "fatal", "message": "m"}), "events[1].level: is \"fatal\", expected debug"),
        (json!({"type": "log", "level": "info"}), "events[1].message: is missing"),
        (json!({"type": "metric", "name": "a", "value": "x"}), "events[1].value: \"x\" is not a number"),
        (json!({"type": "metric", "name": "a", "value": 1, "unit": "parts per million"}), "events[1].unit: "),
        (json!({"type": "step", "step": "s"}), "events[1].status: is missing, expected running, completed"),
        (
            json!({"type": "step", "step": "s", "status": "running", "attempt": 0}),
            "events[1].attempt: 0 is out of range",
        ),
        (
            json!({"type": "step", "step": "s", "status": "running", "will_retry": true}),
            "events[1].will_retry: belongs",
        ),
        (json!({"type": "step", "step": "s", "status": "completed", "screenshot": "../x"}), "events[1].screenshot: "),
        (json!({"type": "test", "test": " ", "status": "running"}), "events[1].test: is empty"),
        (json!({"type": "test", "test": "t", "status": "failed", "success": true}), "events[1].success: is true, but"),
        (json!({"type": "iteration", "iteration": 1.5}), "events[1].iteration: 1.5 is not a whole number"),
        (json!({"type": "iteration", "iteration": 1, "parameters": []}), "events[1].parameters: [] is not an object"),
        (json!({"type": "event", "event_type": "x"}), "events[1].payload: is missing"),
        (json!({"type": "wells", "wells": {"p": {"liquid_mask": "3"}}}), "events[1].wells.p.liquid_mask: is no mask"),
        (
            json!({"type": "wells", "wells": {"p": {"volumes": [1, "x"]}}}),
            "events[1].wells.p.volumes[1]: is not a number",
        ),
        (json!({"type": "wells", "wells": {"p": {"colour": 1}}}), "events[1].wells.p.colour: wells have no such field"),
        (
            json!({"type": "artifact", "name": "../a", "media_type": "text/csv", "data": ""}),
            "events[1].name: '/' may not be in the name of a file",
        ),
        (
            json!({"type": "artifact", "name": "a", "media_type": "csv", "data": ""}),
            "events[1].media_type: \"csv\" is no media type, expected a form such as text/csv",
        ),
        (json!({"type": "artifact", "name": "a", "media_type": "text/csv"}), "events[1].data: is missing, expected"),
        (
            json!({"type": "artifact", "name": "a", "media_type": "text/csv", "data": "YQ=?"}),
            "events[1].data: is not base64: ",
        ),
    ] {
        let batch = json!([{"type": "progress", "percent": 1}, event]).to_string();
        let told = parse_batch(batch.as_bytes()).expect_err(&batch).to_string();
        assert!(told.starts_with(expected), "{event}: {told}");
    }
    let many = format!("[{}]", vec!["{}"; 1001].join(","));
    for (batch, expected) in [
        ("", BadBatch::NotJson("EOF while parsing a value at line 1 column 0".to_owned())),
        ("{}", BadBatch::NotArray),
        (many.as_str(), BadBatch::TooMany(1001)),
        (&" ".repeat(1024 * 1024 + 1), BadBatch::TooLarge(1024 * 1024 + 1)),
    ] {
        assert_eq!(parse_batch(batch.as_bytes()), Err(expected));
    }
    let deep =
        format!("[{{\"type\":\"event\",\"event_type\":\"x\",\"payload\":{}1{}}}]", "[".repeat(60), "]".repeat(60));
    let told = parse_batch(deep.as_bytes()).unwrap_err().to_string();
    assert!(told.starts_with("events[0].payload: holds a value nested"), "{told}");
}

#[test]
fn a_wrong_announcement_is_told() {
    for (body, expected) in [
        (json!({"kind": "solve"}), "name: is missing"),
        (json!({"kind": "dance", "name": "x"}), "kind: is \"dance\", expected protocol, execution"),
        (json!({"kind": "solve", "name": "x", "colour": 1}), "colour: an external run has no such field"),
        (json!({"kind": "solve", "name": "x", "deadline_s": 0}), "deadline_s: 0 is out of range"),
        (json!({"kind": "solve", "name": "x", "devices": ["a b"]}), "devices[0]: is no device id"),
        (json!({"kind": "solve", "name": "x", "devices": "a"}), "devices: \"a\" is not a list"),
        (
            json!({"kind": "suite", "name": "x", "tests": [{"id": "a"}, {"id": "a"}]}),
            "tests[1].id: a is announced twice",
        ),
        (json!({"kind": "suite", "name": "x", "tests": [{"id": "a", "runs": 0}]}), "tests[0].runs: 0 is out of range"),
        (
            json!({"kind": "workflow", "name": "x", "nodes": [{"id": "a"}, {"id": "a"}]}),
            "nodes[1].id: a is the id of nodes[0]",
        ),
        (
            json!({"kind": "workflow", "name": "x", "nodes": [{"id": "a"}], "edges": [{"source": "a", "target": "z"}]}),
            "edges[0].target: there is no node z",
        ),
        (
            json!({"kind": "workflow", "name": "x", "nodes": [{"id": "a"}, {"id": "b"}],
                "edges": [{"source": "a", "target": "b"}, {"source": "b", "target": "a"}]}),
            "edges: there is a cycle among a, b",
        ),
    ] {
        let told = announced(body.clone()).expect_err(&body.to_string());
        assert!(told.starts_with(expected), "{body}: {told}");
    }
}

#[test]
fn what_contradicts_earlier_events_is_refused_and_nothing_of_its_batch_is_taken() {
    let step = |status: &str| json!({"type": "step", "step": "a", "status": status});
    let test = |fields: Value| {
        let mut event = json!({"type": "test", "test": "t1", "status": "running"});
        event.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        event
    };
    for (body, events, expected) in [
        (
            solve(),
            json!([{"type": "progress", "percent": 50}, {"type": "progress", "percent": 49}]),
            "events[1].percent: 49 is less than 50, reported before",
        ),
        (
            solve(),
            json!([{"type": "status", "status": "completed"}, {"type": "progress", "percent": 99}]),
            "events[1]: the run is completed already",
        ),
        (
            solve(),
            json!([{"type": "status", "status": "failed"}, {"type": "status", "status": "completed"}]),
            "events[1]: the run is failed already",
        ),
        (
            solve(),
            json!([{"type": "progress", "percent": 1, "at": "2099-01-01T00:00:00Z"}]),
            "events[0].at: is more than an hour ahead",
        ),
        (
            workflow(),
            json!([{"type": "step", "step": "z", "status": "running"}]),
            "events[0].step: step z was not announced",
        ),
        (
            workflow(),
            json!([{"type": "progress", "percent": 1, "step": "z"}]),
            "events[0].step: step z was not announced",
        ),
        (
            workflow(),
            json!([step("running"), step("completed"), step("completed")]),
            "events[2].status: step a is completed already",
        ),
        (workflow(), json!([step("running"), step("skipped")]), "events[1].status: step a is running and cannot"),
        (
            workflow(),
            json!([{"type": "step", "step": "a", "status": "failed", "will_retry": true},
            {"type": "step", "step": "a", "status": "running", "attempt": 1}]),
            "events[1].attempt: attempt 1 of step a has ended already",
        ),
        (
            workflow(),
            json!([{"type": "step", "step": "a", "status": "running", "progress": 9},
            {"type": "step", "step": "a", "status": "running", "progress": 8}]),
            "events[1].progress: 8 is less than 9",
        ),
        (suite(), json!([test(json!({"test": "t9"}))]), "events[0].test: test t9 was not announced"),
        (
            suite(),
            json!([test(json!({"current_run": 4}))]),
            "events[0].current_run: 4 is beyond total_runs, which is 3",
        ),
        (suite(), json!([test(json!({"total_runs": 4}))]), "events[0].total_runs: 4 contradicts 3"),
        (
            suite(),
            json!([test(json!({"current_run": 2})), test(json!({"current_run": 1}))]),
            "events[1].current_run: 1 is less than 2",
        ),
        (
            suite(),
            json!([test(json!({"progress": 9})), test(json!({"progress": 8}))]),
            "events[1].progress: 8 is less than 9",
        ),
        (
            suite(),
            json!([test(json!({"status": "completed"})), test(json!({"status": "failed"}))]),
            "events[1].status: test t1 is completed already",
        ),
        (
            suite(),
            json!([{"type": "event", "event_type": "x", "payload": 1, "test": "t9"}]),
            "events[0].test: test t9 was",
        ),
    ] {
        let mut world = World::new();
        let run = world.start(body);
        let before = world.told.len();
        let told = world.report(run, events.clone()).expect_err(&events.to_string()).to_string();
        assert!(told.starts_with(expected), "{events}: {told}");
        assert_eq!(world.told.len(), before, "{events}");
        assert_eq!(world.run(run).status, RunStatus::Running, "{events}");
    }
}

#[test]
fn an_event_that_is_sent_again_counts_once() {
    let mut world = World::new();
    let run = world.start(solve());
    let batch = json!([
        {"id": "1", "type": "progress", "percent": 10},
        {"id": "2", "type": "progress", "percent": 20},
        {"id": "2", "type": "progress", "percent": 20},
        {"type": "log", "level": "info", "message": "no id"},
    ]);
    assert_eq!(world.report(run, batch.clone()), Ok(Receipt { accepted: 3, seq: 5 }));
    assert_eq!(world.report(run, batch), Ok(Receipt { accepted: 1, seq: 6 }));
    let end =
        json!([{"id": "2", "type": "progress", "percent": 20}, {"id": "3", "type": "status", "status": "completed"}]);
    assert_eq!(world.report(run, end.clone()), Ok(Receipt { accepted: 1, seq: 7 }));
    assert_eq!(world.report(run, end), Ok(Receipt { accepted: 0, seq: 7 }));
    let late = world.report(run, json!([{"id": "4", "type": "progress", "percent": 30}]));
    assert_eq!(late, Err(ReportError::Ended(run, RunStatus::Completed)));
    assert_eq!(world.finished().len(), 1);
}

#[test]
fn a_suite_tells_its_tests_under_their_numbers() {
    let mut world = World::new();
    let run = world.start(suite());
    let cards = world.run(run).header.tests.clone();
    world
        .report(
            run,
            json!([
                {"type": "test", "test": "t1", "status": "running", "current_run": 2, "progress": 40},
                {"type": "test", "test": "t1", "status": "completed", "score": 0.9, "current_run": 3},
                {"type": "test", "test": "t2", "status": "failed", "error": "flat"},
                {"type": "status", "status": "failed", "error": "1 of 2 failed", "metrics": {"score": 0.45}},
            ]),
        )
        .unwrap();
    let numbers: Vec<u64> = world
        .bodies()
        .into_iter()
        .filter_map(|body| if let RunEventBody::Test(test) = body { Some(test.number) } else { None })
        .collect();
    assert_eq!(numbers, [cards[0].number, cards[0].number, cards[1].number]);
    let finished = world.finished();
    let [end] = finished.as_slice() else { panic!("{finished:?}") };
    assert_eq!((end.counts.total, end.counts.successful, end.counts.failed, end.counts.skipped), (2, 1, 1, 0));
    assert_eq!(end.error.as_ref().map(|error| error.message.as_str()), Some("1 of 2 failed"));
    assert_eq!(end.metrics.iter().map(|metric| metric.value).collect::<Vec<_>>(), [0.45]);
    assert_eq!(world.run(run).progress.percent, 100.0);
}

#[test]
fn a_workflow_knows_what_its_nodes_need_and_closes_them_at_its_end() {
    let mut world = World::new();
    let run = world.start(workflow());
    let header = world.run(run).header;
    let order: Vec<(&str, &str, usize)> =
        header.steps.iter().map(|card| (card.id.as_str(), card.module.as_str(), card.needs.len())).collect();
    assert_eq!(order, [("a", "load", 0), ("b", "b", 1), ("c", "report", 1)]);
    world
        .report(
            run,
            json!([
                {"type": "step", "step": "a", "status": "running"},
                {"type": "step", "step": "a", "status": "failed", "will_retry": true, "error": "flaky"},
                {"type": "step", "step": "a", "status": "running"},
                {"type": "step", "step": "a", "status": "completed"},
                {"type": "step", "step": "b", "status": "running", "progress": 30},
            ]),
        )
        .unwrap();
    assert_eq!(world.run(run).progress.step.as_ref().map(|step| step.as_str()), Some("b"));
    world.model.cancel_run(run, "enough", world.now).unwrap();
    world.settle();
    let states: Vec<&str> = world.run(run).steps.iter().map(|step| step.state.as_str()).collect();
    assert_eq!(states, ["completed", "cancelled", "skipped"]);
    let finished = world.finished();
    let [end] = finished.as_slice() else { panic!("{finished:?}") };
    assert_eq!((end.status, end.message.as_str()), (RunStatus::Cancelled, "cancelled: enough"));
    assert_eq!((end.counts.total, end.counts.successful, end.counts.skipped), (3, 1, 2));
}

#[test]
fn each_kind_of_run_is_told_from_its_start_to_its_end() {
    for kind in ["protocol", "execution", "workflow", "solve", "optimization", "suite"] {
        let mut world = World::new();
        let run = world.start(json!({"kind": kind, "name": "any"}));
        assert_eq!(world.run(run).status, RunStatus::Running, "{kind}");
        let events = json!([
            {"type": "progress", "percent": 5, "phase": "meshing"},
            {"type": "step", "step": "s", "module": "m", "status": "running"},
            {"type": "step", "step": "s", "status": "completed"},
            {"type": "metric", "name": "rms", "value": 2, "unit": "V"},
            {"type": "iteration", "iteration": 1, "parameters": {"x": 1}, "metrics": {"y": 2}, "feasible": true},
            {"type": "test", "test": "new", "status": "completed"},
            {"type": "status", "status": "completed", "metrics": {"rms": 3}},
        ]);
        world.report(run, events).unwrap();
        let finished = world.finished();
        let [end] = finished.as_slice() else { panic!("{kind}: {finished:?}") };
        assert_eq!((end.status, end.metrics[0].value, end.metrics[0].unit.as_str()), (RunStatus::Completed, 3.0, "V"));
        assert!(matches!(world.bodies().last(), Some(RunEventBody::Finished(_))), "{kind}");
    }
}

#[test]
fn a_silent_producer_fails_its_run() {
    let mut world = World::new();
    let run = world.start(json!({"kind": "solve", "name": "beam", "deadline_s": 10}));
    world.passes(9);
    // An empty batch is a sign of life.
    assert_eq!(world.report(run, json!([])), Ok(Receipt { accepted: 0, seq: 2 }));
    world.passes(9);
    assert_eq!(world.run(run).status, RunStatus::Running);
    assert_eq!(world.model.next_wake(), Some(Timestamp(world.now.0 + 1_000_000)));
    world.model.clock_set(3_600_000_000, Timestamp(world.now.0 + 3_600_000_000));
    world.now = Timestamp(world.now.0 + 3_600_000_000);
    world.settle();
    assert_eq!(world.run(run).status, RunStatus::Running, "a clock that is set is no silence");
    world.passes(1);
    let finished = world.finished();
    let [end] = finished.as_slice() else { panic!("{finished:?}") };
    let error = end.error.as_ref().unwrap();
    assert_eq!((end.status, error.code.as_str()), (RunStatus::Failed, "PRODUCER_SILENT"));
    assert_eq!(error.message, "its producer was silent for more than 10 s");
    assert_eq!(world.model.next_wake(), None);
}

#[test]
fn the_broker_brings_batches_and_what_is_refused_is_counted() {
    let mut world = World::new();
    let run = world.start(solve());
    let topic = Topic::Ingest(run).text();
    ingest::take(&mut world.model, &topic, br#"[{"type": "progress", "percent": 7}]"#, world.now);
    assert_eq!(world.run(run).progress.percent, 7.0);
    for refused in [&b"nonsense"[..], br#"[{"type": "progress", "percent": 6}]"#] {
        ingest::take(&mut world.model, &topic, refused, world.now);
    }
    ingest::take(&mut world.model, &Topic::Ingest(RunId(Uuid::nil())).text(), b"[]", world.now);
    assert_eq!(world.model.reports_refused(), 3);
    assert_eq!(world.run(run).progress.percent, 7.0);
}

fn end_of(bodies: &[&RunEventBody]) -> (RunStatus, String, f64) {
    match bodies.last() {
        Some(RunEventBody::Finished(end)) => (end.status, end.message.clone(), end.duration_s),
        other => panic!("{other:?}"),
    }
}

/// One event of a small world, so that batches agree and contradict each other often.
fn any_event() -> impl Strategy<Value = Value> {
    let step = prop::sample::select(vec!["a", "b", "c", "z"]);
    let step_word = prop::sample::select(vec!["running", "completed", "failed", "skipped"]);
    let test = prop::sample::select(vec!["t1", "t2"]);
    let test_word = prop::sample::select(vec!["running", "completed", "failed"]);
    let word = prop::sample::select(vec!["running", "paused", "completed", "failed", "cancelled"]);
    prop_oneof![
        4 => (0..=100_u32).prop_map(|percent| json!({"type": "progress", "percent": percent})),
        6 => (step, step_word).prop_map(|(step, status)| json!({"type": "step", "step": step, "status": status})),
        6 => (test, test_word).prop_map(|(test, status)| json!({"type": "test", "test": test, "status": status})),
        1 => word.prop_map(|status| json!({"type": "status", "status": status})),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn whatever_is_reported_a_run_is_consistent(
        batches in prop::collection::vec((prop::collection::vec(any_event(), 0..4), 0..20_i64), 0..30)
    ) {
        let mut world = World::new();
        let mut body = workflow();
        body["deadline_s"] = json!(15);
        let run = world.start(body);
        for (events, seconds) in batches {
            let before = world.told.len();
            let events = events.into_iter().enumerate();
            let events: Vec<Value> = events.map(|(index, mut event)| {
                event["id"] = json!(format!("{before}-{index}"));
                event
            }).collect();
            match world.report(run, json!(events)) {
                Ok(_) => {
                    let told = world.told.len();
                    prop_assert_eq!(world.report(run, json!(events)).map(|receipt| receipt.accepted), Ok(0));
                    prop_assert_eq!(world.told.len(), told, "a batch that is sent again changes nothing");
                }
                Err(_) => prop_assert_eq!(world.told.len(), before, "a refused batch changes nothing"),
            }
            world.passes(seconds);
        }
        world.passes(16);
        let bodies = world.bodies();
        prop_assert_eq!(world.finished().len(), 1);
        let parts = world.parts();
        prop_assert!(parts.len() <= 2, "a test has one run");
        for (header, told) in &parts {
            let ends = told.iter().filter(|body| matches!(body, RunEventBody::Finished(_))).count();
            prop_assert_eq!((ends, header.parent), (1, Some(run)));
            prop_assert!(matches!(told.last(), Some(RunEventBody::Finished(_))));
        }
        prop_assert!(matches!(bodies.last(), Some(RunEventBody::Finished(_))));
        let percents = bodies.iter().filter_map(|body| match body {
            RunEventBody::Progress(progress) => Some(progress.percent),
            _ => None,
        });
        prop_assert!(percents.is_sorted());
        let snapshot = world.run(run);
        prop_assert!(snapshot.steps.iter().all(|step| step.state.is_final()));
        let counts = world.finished()[0].counts;
        prop_assert_eq!(counts.successful + counts.failed + counts.skipped, counts.total);
    }

    #[test]
    fn no_text_from_outside_panics(text in ".*", key in "[a-z_]{1,12}", value in "[\\[\\]{}\",:0-9a-z.-]{0,20}") {
        drop(parse_batch(text.as_bytes()));
        drop(parse_batch(format!("[{{\"type\":\"log\",\"{key}\":{value}}}]").as_bytes()));
        drop(parse_batch(format!("[{{\"type\":\"progress\",\"percent\":1,\"at\":{}}}]", json!(text)).as_bytes()));
    }
}
