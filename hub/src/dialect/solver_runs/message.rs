//! Words of the solver-runs dialect: events of a run as typed messages, under a run's id and under a study's. Knows no
//! session.

use std::borrow::Cow;
use std::collections::BTreeMap;

use rigwire_shared::time::Timestamp;
use rigwire_shared::value::Value;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

use crate::describe::Object;
use crate::dialect::{Rendered, rfc3339};
use crate::event::{
    Event, EventKind, Finished, Iteration, Progress, RunEvent, RunEventBody, RunSnapshot, RunStatus, SummaryMetric,
};

/// Which of the two endpoints a message is for; it decides the name of the id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Endpoint {
    Run,
    Optimization,
}

impl Endpoint {
    pub(super) const fn topic(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Optimization => "optimization",
        }
    }
}

/// Topic of the messages that both endpoints get.
pub(super) const BOTH: &str = "both";

pub fn render(event: &Event) -> Vec<Rendered> {
    match &event.kind {
        EventKind::Run(event_of_run) => render_run(event_of_run, event.at),
        EventKind::Device(_) | EventKind::Agent(_) | EventKind::Chat(_) => Vec::new(),
    }
}

fn render_run(event: &RunEvent, at: Timestamp) -> Vec<Rendered> {
    let id = event.run.id.to_string();
    let for_each = |render: &dyn Fn(Subject) -> Rendered| {
        [Endpoint::Run, Endpoint::Optimization].map(|endpoint| render(Subject { endpoint, id: &id })).into()
    };
    match &event.body {
        RunEventBody::Progress(now) => for_each(&|subject| progress(subject, now, at)),
        RunEventBody::Finished(finished) => for_each(&|subject| ending(subject, finished, at)),
        RunEventBody::Metric(metric) => {
            let message = metric.good_number().map(|value| MetricUpdate {
                kind: "metric_update",
                run_id: &id,
                metric_name: metric.name.as_str(),
                value,
                unit: metric.unit.as_str(),
                timestamp: rfc3339(at),
            });
            message.map(|message| Rendered::new(Endpoint::Run.topic(), &message)).into_iter().collect()
        }
        RunEventBody::Iteration(iteration) => vec![optimization_iteration(&id, iteration, at)],
        RunEventBody::Created
        | RunEventBody::CancelRequested { .. }
        | RunEventBody::Status { .. }
        | RunEventBody::Bound { .. }
        | RunEventBody::Point(_)
        | RunEventBody::Child(_)
        | RunEventBody::Log(_)
        | RunEventBody::Step(_)
        | RunEventBody::Verdict(_)
        | RunEventBody::DeviceLost { .. }
        | RunEventBody::Test(_)
        | RunEventBody::Tool { .. }
        | RunEventBody::Custom(_)
        | RunEventBody::Wells { .. }
        | RunEventBody::Artifact { .. } => Vec::new(),
    }
}

/// Where a run stands, for a client that joins now: its last progress, or how it ended.
pub(super) fn greeting(endpoint: Endpoint, snapshot: &RunSnapshot, at: Timestamp) -> Rendered {
    let id = snapshot.header.id.to_string();
    let subject = Subject { endpoint, id: &id };
    match &snapshot.finished {
        Some(finished) => ending(subject, finished, snapshot.finished_at.unwrap_or(at)),
        None => progress(subject, &snapshot.progress, at),
    }
}

pub(super) fn error(endpoint: Endpoint, id: &str, error: &str, at: Timestamp) -> Rendered {
    let message = Error {
        kind: "error",
        subject: Subject { endpoint, id },
        error,
        solver_log_tail: None,
        timestamp: rfc3339(at),
    };
    Rendered::new(endpoint.topic(), &message)
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Pong {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
}

fn progress(subject: Subject<'_>, progress: &Progress, at: Timestamp) -> Rendered {
    let message = ProgressUpdate {
        kind: "progress",
        subject,
        percent: progress.percent,
        phase: phase(&progress.phase),
        message: &progress.message,
        elapsed_s: progress.elapsed_s,
        timestamp: rfc3339(at),
    };
    Rendered::new(subject.endpoint.topic(), &message)
}

/// The hub's and procedures' usual words as the protocol's four phases. Its clients know no other: a word of a procedure's own is
/// work under way.
fn phase(own: &str) -> &'static str {
    match own {
        "" | "prepare" | "preparing" | "setup" | "initializing" => "preparing",
        "acquire-grid" | "grid" | "mesh" | "meshing" => "meshing",
        "analyse" | "analyze" | "postprocess" | "postprocessing" | "finally" => "postprocessing",
        _ => "solving",
    }
}

fn ending(subject: Subject<'_>, finished: &Finished, at: Timestamp) -> Rendered {
    let topic = subject.endpoint.topic();
    let timestamp = rfc3339(at);
    match finished.status {
        RunStatus::Failed => {
            let error = finished.error.as_ref().map_or(finished.message.as_str(), |error| &error.message);
            let solver_log_tail = finished.log_tail.as_deref();
            Rendered::new(topic, &Error { kind: "error", subject, error, solver_log_tail, timestamp })
        }
        RunStatus::Cancelled => Rendered::new(topic, &Cancelled { kind: "cancelled", subject, timestamp }),
        RunStatus::Completed | RunStatus::Pending | RunStatus::Running | RunStatus::Paused => {
            let message = Completed {
                kind: "completed",
                subject,
                status: finished.status.as_str(),
                compute_time_s: finished.duration_s,
                metrics_summary: Summary(&finished.metrics),
                timestamp,
            };
            Rendered::new(topic, &message)
        }
    }
}

fn optimization_iteration(id: &str, iteration: &Iteration, at: Timestamp) -> Rendered {
    let message = OptimizationIteration {
        kind: "optimization_iteration",
        optimization_id: id,
        iteration: iteration.iteration,
        run_id: iteration.run.map(|run| run.to_string()),
        parameters: Map(&iteration.parameters),
        metrics: Map(&iteration.metrics),
        feasible: iteration.feasible,
        pareto_updated: iteration.pareto_updated,
        timestamp: rfc3339(at),
    };
    Rendered::new(BOTH, &message)
}

/// Whom a message is about: `run_id` or `optimization_id`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subject<'a> {
    endpoint: Endpoint,
    id: &'a str,
}

impl Serialize for Subject<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let name = match self.endpoint {
            Endpoint::Run => "run_id",
            Endpoint::Optimization => "optimization_id",
        };
        serializer.collect_map([(name, self.id)])
    }
}

impl JsonSchema for Subject<'_> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Subject".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "properties": {"run_id": {"type": "string"}, "optimization_id": {"type": "string"}},
        })
    }
}

#[derive(Serialize, JsonSchema)]
pub(super) struct ProgressUpdate<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(flatten)]
    subject: Subject<'a>,
    percent: f64,
    phase: &'a str,
    message: &'a str,
    elapsed_s: f64,
    timestamp: String,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct MetricUpdate<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    run_id: &'a str,
    metric_name: &'a str,
    value: f64,
    unit: &'a str,
    timestamp: String,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Completed<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(flatten)]
    subject: Subject<'a>,
    status: &'static str,
    compute_time_s: f64,
    metrics_summary: Summary<'a>,
    timestamp: String,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Error<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(flatten)]
    subject: Subject<'a>,
    error: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    solver_log_tail: Option<&'a str>,
    timestamp: String,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Cancelled<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(flatten)]
    subject: Subject<'a>,
    timestamp: String,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct OptimizationIteration<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    optimization_id: &'a str,
    iteration: u64,
    run_id: Option<String>,
    parameters: Map<'a>,
    metrics: Map<'a>,
    feasible: bool,
    pareto_updated: bool,
    timestamp: String,
}

pub(super) struct Summary<'a>(&'a [SummaryMetric]);

impl Serialize for Summary<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|metric| (metric.name.as_str(), metric.value)))
    }
}

impl JsonSchema for Summary<'_> {
    fn schema_name() -> Cow<'static, str> {
        Object::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        BTreeMap::<String, f64>::json_schema(generator)
    }
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
