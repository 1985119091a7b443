//! Words of the test-dashboard dialect: any run as a suite execution, its tests or steps as test executions. Knows no
//! session.

use std::borrow::Cow;

use rigwire_shared::ids::StepId;
use rigwire_shared::time::Timestamp;
use rigwire_shared::value::{Fields, Value};
use schemars::JsonSchema;
use serde::Serialize;

use crate::dialect::{Rendered, rfc3339};
use crate::event::{
    CustomEvent, Event, EventKind, Finished, Progress, RunEvent, RunEventBody, RunHeader, RunLog, RunStatus, StepCard,
    StepChange, StepEvent, TestEvent,
};

use super::envelope::{self, OpenPrevious, OpenSequence};

const ENGINE: &str = "engine";

/// Scores of a step, which either passes or does not.
const PASSED: f64 = 1.0;
const FAILED: f64 = 0.0;

pub fn render(event: &Event) -> Vec<Rendered> {
    match &event.kind {
        EventKind::Run(event_of_run) => render_run(event_of_run, event.at),
        EventKind::Device(_) | EventKind::Agent(_) | EventKind::Chat(_) => Vec::new(),
    }
}

fn render_run(event: &RunEvent, at: Timestamp) -> Vec<Rendered> {
    let run = &*event.run;
    match &event.body {
        RunEventBody::Created => vec![suite_delta(run, [("status", text(RunStatus::Pending.as_str()))], at)],
        RunEventBody::Status { status, .. } => vec![suite_delta(run, [("status", text(status.as_str()))], at)],
        RunEventBody::Progress(progress) => vec![suite_progress(run, progress, at)],
        RunEventBody::Log(line) => vec![log_entry(run, line, at)],
        RunEventBody::Step(step) => render_step(event, step, at),
        RunEventBody::Test(test) => render_test(run, test, at),
        RunEventBody::Tool { name, status, result, error } => {
            let mut payload = vec![named("tool", text(name)), named("status", text(status))];
            payload.extend(result.clone().map(|result| named("result", result)));
            payload.extend(error.as_deref().map(|error| named("error", text(error))));
            vec![engine_event(event, "tool_call", payload, None, None, at)]
        }
        RunEventBody::Custom(custom) => vec![custom_event(event, custom, at)],
        RunEventBody::DeviceLost { device, cause } => {
            let payload = vec![named("device", text(device.as_str())), named("message", text(cause))];
            vec![engine_event(event, "error", payload, None, None, at)]
        }
        RunEventBody::Iteration(iteration) => {
            let payload = vec![
                named("iteration", integer(iteration.iteration)),
                named("parameters", Value::Map(iteration.parameters.clone())),
                named("metrics", Value::Map(iteration.metrics.clone())),
                named("feasible", Value::Bool(iteration.feasible)),
            ];
            vec![engine_event(event, "progress", payload, None, None, at)]
        }
        RunEventBody::Finished(finished) => {
            let mut changes = vec![named("status", text(finished.status.as_str()))];
            changes.extend(finished.error.as_ref().map(|error| named("error", text(&error.message))));
            vec![delta("suite_execution", run.number, changes, at), suite_completed(run, finished, at)]
        }
        RunEventBody::CancelRequested { .. }
        | RunEventBody::Bound { .. }
        | RunEventBody::Point(_)
        | RunEventBody::Child(_)
        | RunEventBody::Metric(_)
        | RunEventBody::Verdict(_)
        | RunEventBody::Wells { .. }
        | RunEventBody::Artifact { .. } => Vec::new(),
    }
}

fn render_step(event: &RunEvent, step: &StepEvent, at: Timestamp) -> Vec<Rendered> {
    let run = &*event.run;
    let card = run.step(&step.step);
    let number = step.number.or(card.map(|card| card.number));
    let tool_call = |status: &str, outcome: Option<(String, Value)>, duration_s: Option<f64>| {
        let arguments = card.map(|card| card.data.clone()).unwrap_or_default();
        let mut payload = vec![named("tool", text(&step.module)), named("arguments", Value::Map(arguments))];
        payload.push(named("status", text(status)));
        payload.extend(outcome);
        engine_event(event, "tool_call", payload, duration_s.map(|seconds| seconds * 1000.0), number, at)
    };
    let mut messages = Vec::new();
    match &step.change {
        StepChange::Dispatched { .. } => {}
        StepChange::Running => messages.push(tool_call("started", None, None)),
        StepChange::Progress { .. } => {}
        StepChange::Completed { duration_s, outputs, .. } => {
            let result = named("result", Value::Map(outputs.clone()));
            messages.push(tool_call("completed", Some(result), Some(*duration_s)));
        }
        StepChange::Failed { duration_s, error, .. } => {
            messages.push(tool_call("failed", Some(named("error", text(error))), Some(*duration_s)));
        }
        StepChange::Cancelled { duration_s, .. } => messages.push(tool_call("cancelled", None, Some(*duration_s))),
        StepChange::Skipped { .. } => {}
    }
    // The announced tests of a suite are its tests; everywhere else each step is one.
    if let (Some(card), true) = (card, run.tests.is_empty()) {
        messages.extend(step_as_test(run, card, step, at));
    }
    messages
}

fn step_as_test(run: &RunHeader, card: &StepCard, step: &StepEvent, at: Timestamp) -> Vec<Rendered> {
    let number = step.number.unwrap_or(card.number);
    let test = TestOf { number, id: card.id.as_str(), name: &card.module };
    let running = |percent, message: Option<&str>| test_progress(run, test, "running", percent, (1, 1), message, at);
    let ended = |score: Option<f64>, error: Option<&str>, duration_s| {
        test_completed(run, test, &Ending { success: score == Some(PASSED), score, duration_s, error }, at)
    };
    match &step.change {
        StepChange::Dispatched { .. } => Vec::new(),
        StepChange::Running => {
            let changes = vec![named("status", text("running"))];
            vec![delta("test_execution", number, changes, at), running(0.0, None)]
        }
        StepChange::Progress { percent, message, .. } => vec![running(*percent, Some(message))],
        StepChange::Completed { duration_s, .. } => {
            let changes = vec![named("status", text("completed")), named("score", Value::Float(PASSED))];
            vec![delta("test_execution", number, changes, at), ended(Some(PASSED), None, *duration_s)]
        }
        StepChange::Failed { error, will_retry: true, .. } => {
            let message = format!("attempt {} failed and is repeated: {error}", step.attempt);
            vec![running(0.0, Some(&message))]
        }
        StepChange::Failed { duration_s, error, will_retry: false, .. } => {
            let changes = vec![named("status", text("failed")), named("score", Value::Float(FAILED))];
            vec![delta("test_execution", number, changes, at), ended(Some(FAILED), Some(error), *duration_s)]
        }
        StepChange::Cancelled { duration_s, .. } => {
            let changes = vec![named("status", text("cancelled"))];
            vec![delta("test_execution", number, changes, at), ended(None, Some("cancelled"), *duration_s)]
        }
        StepChange::Skipped { .. } => {
            vec![delta("test_execution", number, vec![named("status", text("skipped"))], at)]
        }
    }
}

fn render_test(run: &RunHeader, event: &TestEvent, at: Timestamp) -> Vec<Rendered> {
    let test = TestOf { number: event.number, id: &event.test, name: &event.name };
    let mut changes = vec![named("status", text(&event.status))];
    changes.extend(event.score.map(|score| named("score", Value::Float(score))));
    let changed = delta("test_execution", event.number, changes, at);
    let success = match event.status.as_str() {
        "completed" => event.success.unwrap_or(true),
        "failed" => false,
        "skipped" => return vec![changed],
        "cancelled" => {
            let ending = Ending {
                success: false,
                score: event.score,
                duration_s: event.duration_s.unwrap_or_default(),
                error: Some("cancelled"),
            };
            return vec![changed, test_completed(run, test, &ending, at)];
        }
        _ => {
            let runs = (event.current_run, event.total_runs);
            let message = event.message.as_deref();
            let progress = test_progress(run, test, &event.status, event.percent, runs, message, at);
            // Progress of a test that has begun changes no status.
            return if event.percent > 0.0 { vec![progress] } else { vec![changed, progress] };
        }
    };
    let duration_s = event.duration_s.unwrap_or_default();
    let error = event.error.as_deref();
    vec![changed, test_completed(run, test, &Ending { success, score: event.score, duration_s, error }, at)]
}

/// Which test a message is about.
#[derive(Debug, Clone, Copy)]
struct TestOf<'a> {
    number: u64,
    id: &'a str,
    name: &'a str,
}

struct Ending<'a> {
    success: bool,
    score: Option<f64>,
    duration_s: f64,
    error: Option<&'a str>,
}

fn test_progress(
    run: &RunHeader,
    test: TestOf<'_>,
    status: &str,
    percent: f64,
    (current_run, total_runs): (u32, u32),
    message: Option<&str>,
    at: Timestamp,
) -> Rendered {
    let payload = TestProgress {
        suite_execution_id: run.number,
        test_execution_id: test.number,
        test_id: test.id,
        test_name: test.name,
        status,
        progress_percent: percent,
        current_run,
        total_runs,
        message,
    };
    let status = ("status", text(status));
    rendered("test:progress", "test_progress", &payload, about_test(run, test, [status]), at)
}

fn test_completed(run: &RunHeader, test: TestOf<'_>, ending: &Ending<'_>, at: Timestamp) -> Rendered {
    let payload = TestCompleted {
        suite_execution_id: run.number,
        test_execution_id: test.number,
        test_id: test.id,
        test_name: test.name,
        success: ending.success,
        score: ending.score,
        duration_seconds: ending.duration_s,
        error: ending.error,
    };
    let success = ("success", Value::Bool(ending.success));
    rendered("test:completed", "test_completed", &payload, about_test(run, test, [success]), at)
}

fn suite_progress(run: &RunHeader, progress: &Progress, at: Timestamp) -> Rendered {
    let counts = progress.counts;
    let payload = SuiteProgress {
        suite_execution_id: run.number,
        suite_name: &run.name,
        agent_name: &run.agent_name,
        status: RunStatus::Running.as_str(),
        progress_percent: progress.percent,
        completed_tests: counts.successful.saturating_add(counts.failed).saturating_add(counts.skipped),
        total_tests: counts.total,
        passed_tests: counts.successful,
        failed_tests: counts.failed,
    };
    rendered("suite:progress", "suite_progress", &payload, about_suite(run), at)
}

fn suite_completed(run: &RunHeader, finished: &Finished, at: Timestamp) -> Rendered {
    let counts = finished.counts;
    let success_rate = if counts.total == 0 {
        f64::from(u8::from(finished.status == RunStatus::Completed))
    } else {
        f64::from(counts.successful) / f64::from(counts.total)
    };
    let payload = SuiteCompleted {
        suite_execution_id: run.number,
        suite_name: &run.name,
        agent_name: &run.agent_name,
        success_rate,
        total_tests: counts.total,
        passed_tests: counts.successful,
        failed_tests: counts.failed,
        duration_seconds: finished.duration_s,
        error: finished.error.as_ref().map(|error| error.message.as_str()),
    };
    rendered("suite:completed", "suite_completed", &payload, about_suite(run), at)
}

fn log_entry(run: &RunHeader, line: &RunLog, at: Timestamp) -> Rendered {
    let test_execution_id = line.step.as_ref().and_then(|id| test_of_step(run, id));
    let payload = LogEntry {
        suite_execution_id: run.number,
        test_execution_id,
        run_id: run.number,
        level: line.level.as_str(),
        message: &line.message,
        timestamp: rfc3339(at),
        source: if line.source.is_empty() { ENGINE } else { &line.source },
        details: LogDetails {
            device: line.device.as_ref().map(|device| device.as_str()),
            module: line.module.as_deref(),
            step: line.step.as_ref().map(StepId::as_str),
        },
    };
    let mut fields = about_suite(run);
    fields.push(("level", text(payload.level)));
    fields.push(("source", text(payload.source)));
    fields.extend(test_execution_id.map(|number| ("test_execution_id", integer(number))));
    rendered("logs", "log_entry", &payload, fields, at)
}

fn test_of_step(run: &RunHeader, id: &StepId) -> Option<u64> {
    run.step(id).map(|card| card.number)
}

fn custom_event(event: &RunEvent, custom: &CustomEvent, at: Timestamp) -> Rendered {
    let run = &*event.run;
    let test = custom.test.as_deref().and_then(|id| {
        let announced = run.tests.iter().find(|test| test.id == id).map(|test| test.number);
        announced.or_else(|| run.steps.iter().find(|step| step.id.as_str() == id).map(|step| step.number))
    });
    let payload = AtpEvent {
        suite_execution_id: run.number,
        test_execution_id: test,
        run_id: run.number,
        sequence: envelope::own_number(custom.sequence.unwrap_or(event.number)),
        event_type: &custom.event_type,
        timestamp: rfc3339(at),
        payload: &custom.payload,
        duration_ms: custom.duration_ms,
    };
    event_message(run, &payload, at)
}

fn engine_event(
    event: &RunEvent,
    event_type: &str,
    payload: Fields,
    duration_ms: Option<f64>,
    test: Option<u64>,
    at: Timestamp,
) -> Rendered {
    let payload = AtpEvent {
        suite_execution_id: event.run.number,
        test_execution_id: test,
        run_id: event.run.number,
        sequence: envelope::own_number(event.number),
        event_type,
        timestamp: rfc3339(at),
        payload: &Value::Map(payload),
        duration_ms,
    };
    event_message(&event.run, &payload, at)
}

fn event_message(run: &RunHeader, payload: &AtpEvent<'_>, at: Timestamp) -> Rendered {
    let mut fields = about_suite(run);
    fields.push(("event_type", text(payload.event_type)));
    fields.extend(payload.test_execution_id.map(|number| ("test_execution_id", integer(number))));
    let topic = format!("events:{}", payload.event_type.to_lowercase());
    rendered(topic, "event", payload, fields, at)
}

fn suite_delta<const N: usize>(run: &RunHeader, changes: [(&str, Value); N], at: Timestamp) -> Rendered {
    delta("suite_execution", run.number, changes.map(|(name, value)| named(name, value)).into(), at)
}

fn delta(resource_type: &'static str, resource_id: u64, changes: Fields, at: Timestamp) -> Rendered {
    let payload = DeltaUpdate {
        resource_type,
        resource_id,
        sequence: OpenSequence,
        previous_sequence: OpenPrevious,
        changes: Value::Map(changes),
    };
    let fields = vec![("resource_type", text(resource_type)), ("resource_id", integer(resource_id))];
    rendered("delta", "delta_update", &payload, fields, at)
}

fn rendered<T: Serialize>(
    topic: impl Into<Cow<'static, str>>,
    kind: &'static str,
    payload: &T,
    fields: Vec<(&'static str, Value)>,
    at: Timestamp,
) -> Rendered {
    Rendered { text: envelope::open(kind, payload, at), topic: topic.into(), fields }
}

fn about_suite(run: &RunHeader) -> Vec<(&'static str, Value)> {
    vec![
        ("suite_execution_id", integer(run.number)),
        ("suite_name", text(&run.name)),
        ("agent_name", text(&run.agent_name)),
    ]
}

fn about_test<const N: usize>(
    run: &RunHeader,
    test: TestOf<'_>,
    more: [(&'static str, Value); N],
) -> Vec<(&'static str, Value)> {
    let mut fields = vec![
        ("suite_execution_id", integer(run.number)),
        ("test_execution_id", integer(test.number)),
        ("test_id", text(test.id)),
        ("test_name", text(test.name)),
    ];
    fields.extend(more);
    fields
}

fn named(name: &str, value: Value) -> (String, Value) {
    (name.to_owned(), value)
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn integer(number: u64) -> Value {
    Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Connected<'a> {
    pub(super) client_id: &'a str,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct TopicOf<'a> {
    pub(super) topic: &'a str,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct ErrorText<'a> {
    pub(super) error: &'a str,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Nothing {}

#[derive(Serialize, JsonSchema)]
pub(super) struct TestProgress<'a> {
    suite_execution_id: u64,
    test_execution_id: u64,
    test_id: &'a str,
    test_name: &'a str,
    status: &'a str,
    progress_percent: f64,
    current_run: u32,
    total_runs: u32,
    message: Option<&'a str>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct TestCompleted<'a> {
    suite_execution_id: u64,
    test_execution_id: u64,
    test_id: &'a str,
    test_name: &'a str,
    success: bool,
    score: Option<f64>,
    duration_seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct SuiteProgress<'a> {
    suite_execution_id: u64,
    suite_name: &'a str,
    agent_name: &'a str,
    status: &'static str,
    progress_percent: f64,
    completed_tests: u32,
    total_tests: u32,
    passed_tests: u32,
    failed_tests: u32,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct SuiteCompleted<'a> {
    suite_execution_id: u64,
    suite_name: &'a str,
    agent_name: &'a str,
    success_rate: f64,
    total_tests: u32,
    passed_tests: u32,
    failed_tests: u32,
    duration_seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct LogEntry<'a> {
    suite_execution_id: u64,
    test_execution_id: Option<u64>,
    run_id: u64,
    level: &'static str,
    message: &'a str,
    timestamp: String,
    source: &'a str,
    details: LogDetails<'a>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct LogDetails<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    module: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<&'a str>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct AtpEvent<'a> {
    suite_execution_id: u64,
    test_execution_id: Option<u64>,
    run_id: u64,
    /// The event's own number, whatever number its envelope has.
    sequence: u64,
    event_type: &'a str,
    timestamp: String,
    payload: &'a Value,
    duration_ms: Option<f64>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct DeltaUpdate {
    resource_type: &'static str,
    resource_id: u64,
    sequence: OpenSequence,
    previous_sequence: OpenPrevious,
    changes: Value,
}
