//! Words of the protocol-runs dialect: events of a run as typed messages. Knows no session.

use std::borrow::Cow;

use rigwire_shared::event::Level;
use rigwire_shared::ids::MetricName;
use rigwire_shared::time::Timestamp;
use rigwire_shared::unit::Unit;
use rigwire_shared::value::Value;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Serialize, Serializer};

use crate::describe::Object;
use crate::dialect::{Rendered, rfc3339};
use crate::event::{
    Event, EventKind, Finished, Metric, Progress, RunEvent, RunEventBody, RunLog, RunSnapshot, RunStatus, StepChange,
    StepEvent,
};

/// Shown while nothing says what a run is doing.
const FIRST_STEP: &str = "Initializing";

/// Shown when a run failed without saying why.
const FAILED: &str = "Protocol execution failed";

pub fn render(event: &Event) -> Vec<Rendered> {
    match &event.kind {
        EventKind::Run(event_of_run) => render_run(event_of_run, event.at),
        EventKind::Device(_) | EventKind::Agent(_) | EventKind::Chat(_) => Vec::new(),
    }
}

fn render_run(event: &RunEvent, at: Timestamp) -> Vec<Rendered> {
    match &event.body {
        RunEventBody::Created => vec![status(RunStatus::Pending, None).rendered(at)],
        RunEventBody::Status { status: to, step, .. } => vec![status(*to, step.as_deref()).rendered(at)],
        RunEventBody::Progress(now) => vec![progress(now).rendered(at)],
        RunEventBody::Log(line) => vec![log(line).rendered(at)],
        RunEventBody::Metric(metric) => telemetry(metric).map(|body| body.rendered(at)).into_iter().collect(),
        // The protocol has no word for a step: what goes wrong with one is a line of the run's log.
        RunEventBody::Step(step) => {
            trouble(step).map(|(level, text)| said(level, &text).rendered(at)).into_iter().collect()
        }
        RunEventBody::DeviceLost { device, cause } => {
            vec![said(Level::Error, &format!("device {device} was lost: {cause}")).rendered(at)]
        }
        RunEventBody::Wells { wells } => vec![Body::WellStateUpdate { payload: Map(wells) }.rendered(at)],
        RunEventBody::Finished(finished) => {
            let step = finished.error.as_ref().and_then(|error| error.step.as_ref());
            let step = step.map_or(finished.message.as_str(), |step| step.as_str());
            let ending = ending(finished).map(|body| body.rendered(at));
            std::iter::once(status(finished.status, Some(step)).rendered(at)).chain(ending).collect()
        }
        RunEventBody::CancelRequested { .. }
        | RunEventBody::Bound { .. }
        | RunEventBody::Point(_)
        | RunEventBody::Child(_)
        | RunEventBody::Verdict(_)
        | RunEventBody::Iteration(_)
        | RunEventBody::Test(_)
        | RunEventBody::Tool { .. }
        | RunEventBody::Custom(_)
        | RunEventBody::Artifact { .. } => Vec::new(),
    }
}

/// One full round for a client that joins now: where the run stands, what was measured and said last, and how it ended if it
/// did.
pub(super) fn greeting(snapshot: &RunSnapshot, at: Timestamp) -> Vec<Rendered> {
    let recent = &snapshot.recent;
    let bodies = [status(snapshot.status, Some(&snapshot.step)), progress(&snapshot.progress)];
    let measured = recent.metrics.iter().map(|metric| measured(&metric.name, metric.value, &metric.unit));
    let wells = (!recent.wells.is_empty()).then_some(Body::WellStateUpdate { payload: Map(&recent.wells) });
    let lines = recent.logs.iter().map(|(level, line)| said(*level, line));
    let ending = snapshot.finished.as_ref().and_then(ending);
    bodies.into_iter().chain(measured).chain(wells).chain(lines).chain(ending).map(|body| body.rendered(at)).collect()
}

pub(super) fn error(text: &str, at: Timestamp) -> Rendered {
    Body::Error { payload: ErrorPayload { error: text } }.rendered(at)
}

fn status(status: RunStatus, step: Option<&str>) -> Body<'_> {
    let status = match status {
        RunStatus::Pending => "PENDING",
        RunStatus::Running => "RUNNING",
        RunStatus::Paused => "PAUSED",
        RunStatus::Completed => "COMPLETED",
        RunStatus::Failed => "FAILED",
        RunStatus::Cancelled => "CANCELLED",
    };
    Body::Status { payload: StatusPayload { status, step: step.filter(|step| !step.is_empty()).unwrap_or(FIRST_STEP) } }
}

fn progress(progress: &Progress) -> Body<'static> {
    Body::Progress { payload: ProgressPayload { progress: progress.percent } }
}

fn log(line: &RunLog) -> Body<'_> {
    said(line.level, &line.message)
}

fn trouble(event: &StepEvent) -> Option<(Level, String)> {
    match &event.change {
        StepChange::Failed { error, will_retry, .. } => {
            let (level, again) = if *will_retry { (Level::Warning, " and is repeated") } else { (Level::Error, "") };
            Some((level, format!("attempt {} of step {} failed{again}: {error}", event.attempt, event.step)))
        }
        StepChange::Dispatched { .. }
        | StepChange::Running
        | StepChange::Progress { .. }
        | StepChange::Completed { .. }
        | StepChange::Cancelled { .. }
        | StepChange::Skipped { .. } => None,
    }
}

fn said(level: Level, message: &str) -> Body<'_> {
    let level = match level {
        Level::Debug => "DEBUG",
        Level::Info => "INFO",
        Level::Warning => "WARNING",
        Level::Error => "ERROR",
    };
    Body::Log { payload: LogPayload { message, level } }
}

fn telemetry(metric: &Metric) -> Option<Body<'_>> {
    metric.good_number().map(|value| measured(&metric.name, value, &metric.unit))
}

fn measured<'a>(name: &'a MetricName, value: f64, unit: &'a Unit) -> Body<'a> {
    let unit = if *unit == Unit::Celsius { "C" } else { unit.as_str() };
    Body::Telemetry { payload: TelemetryPayload { metric: name.as_str(), value, unit } }
}

fn ending(finished: &Finished) -> Option<Body<'_>> {
    match finished.status {
        RunStatus::Completed => Some(Body::Complete {}),
        RunStatus::Failed => {
            let error = finished.error.as_ref().map_or(FAILED, |error| &error.message);
            Some(Body::Error { payload: ErrorPayload { error } })
        }
        RunStatus::Pending | RunStatus::Running | RunStatus::Paused | RunStatus::Cancelled => None,
    }
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Message<'a> {
    #[serde(flatten)]
    body: Body<'a>,
    timestamp: String,
}

#[derive(Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Body<'a> {
    Status { payload: StatusPayload<'a> },
    Progress { payload: ProgressPayload },
    Log { payload: LogPayload<'a> },
    Telemetry { payload: TelemetryPayload<'a> },
    WellStateUpdate { payload: Map<'a> },
    Complete {},
    Error { payload: ErrorPayload<'a> },
}

impl Body<'_> {
    const fn topic(&self) -> &'static str {
        match self {
            Self::Status { .. } => "status",
            Self::Progress { .. } => "progress",
            Self::Log { .. } => "log",
            Self::Telemetry { .. } => "telemetry",
            Self::WellStateUpdate { .. } => "well_state_update",
            Self::Complete {} => "complete",
            Self::Error { .. } => "error",
        }
    }

    fn rendered(self, at: Timestamp) -> Rendered {
        Rendered::new(self.topic(), &Message { body: self, timestamp: rfc3339(at) })
    }
}

#[derive(Serialize, JsonSchema)]
pub(super) struct StatusPayload<'a> {
    status: &'static str,
    step: &'a str,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct ProgressPayload {
    progress: f64,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct LogPayload<'a> {
    message: &'a str,
    level: &'static str,
}

/// The published shape, and the value once more under the metric's own name: clients in the field read either.
#[derive(JsonSchema)]
pub(super) struct TelemetryPayload<'a> {
    metric: &'a str,
    value: f64,
    unit: &'a str,
}

impl Serialize for TelemetryPayload<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let published = [
            ("metric", Scalar::Text(self.metric)),
            ("value", Scalar::Number(self.value)),
            ("unit", Scalar::Text(self.unit)),
        ];
        let taken = published.iter().any(|(name, _)| *name == self.metric);
        let own = (!taken).then_some((self.metric, Scalar::Number(self.value)));
        serializer.collect_map(published.into_iter().chain(own))
    }
}

#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum Scalar<'a> {
    Text(&'a str),
    Number(f64),
}

#[derive(Serialize, JsonSchema)]
pub(super) struct ErrorPayload<'a> {
    error: &'a str,
}

/// Named values as one JSON object.
pub(super) struct Map<'a>(&'a [(String, Value)]);

impl Serialize for Map<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl JsonSchema for Map<'_> {
    fn schema_name() -> Cow<'static, str> {
        Object::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Object::json_schema(generator)
    }
}
