//! Words of the agent-events dialect: any run as a workflow, in the protocol's envelope. Knows no session.

use rigwire_shared::event::Level;
use rigwire_shared::time::Timestamp;
use rigwire_shared::value::{Fields, Value};
use schemars::JsonSchema;
use serde::Serialize;

use crate::dialect::{Rendered, rfc3339};
use crate::event::{
    self, ChatRole, Event, EventKind, Finished, Progress, RunError, RunEvent, RunEventBody, RunLog, RunStatus,
    StepChange, StepEvent,
};

use super::graph::{self, Edge, Node};
use super::vocabulary as topic;

const ENGINE: &str = "engine";

pub fn render(event: &Event) -> Vec<Rendered> {
    match &event.kind {
        EventKind::Run(event_of_run) => Words::new(event, event_of_run).render(),
        EventKind::Chat(message) => vec![chat(event.at, message)],
        EventKind::Device(_) | EventKind::Agent(_) => Vec::new(),
    }
}

/// Without the correlation id, which is the name of one client's question: another has the same for another.
fn chat(at: Timestamp, message: &event::ChatMessage) -> Rendered {
    let (id, timestamp) = (format!("chat-{}", message.number), rfc3339(at));
    let payload = ChatMessage::from(message);
    let envelope = Envelope { kind: "chatMessage", payload, id, timestamp: &timestamp, correlation_id: None };
    Rendered::new(topic::CHAT, &envelope)
}

/// The messages of one event of one run, under construction.
struct Words<'a> {
    event: &'a RunEvent,
    at: String,
    sequence: u64,
    workflow: String,
    execution: String,
    rendered: Vec<Rendered>,
}

impl<'a> Words<'a> {
    fn new(event: &Event, event_of_run: &'a RunEvent) -> Self {
        let execution = event_of_run.run.id.to_string();
        // As the client that started it named it; else the run is its own workflow.
        let workflow = event_of_run.run.workflow.clone().unwrap_or_else(|| execution.clone());
        let (at, sequence) = (rfc3339(event.at), event.sequence);
        Self { event: event_of_run, at, sequence, workflow, execution, rendered: Vec::new() }
    }

    fn render(mut self) -> Vec<Rendered> {
        match &self.event.body {
            RunEventBody::Created => self.start(),
            RunEventBody::CancelRequested { cause } => {
                self.log(Level::Info, &format!("cancel requested: {cause}"), None)
            }
            RunEventBody::Status { status, message, .. } => {
                let text = message.clone().unwrap_or_else(|| format!("workflow is {}", status.as_str()));
                self.log(Level::Info, &text, None);
            }
            RunEventBody::Progress(progress) => self.progress(progress),
            RunEventBody::Log(line) => self.log_line(line),
            RunEventBody::Step(step) => self.step(step),
            RunEventBody::DeviceLost { device, cause } => {
                self.log(Level::Error, &format!("device {device} was lost: {cause}"), None);
            }
            RunEventBody::Tool { name, status, result, error } => {
                let failed = error.is_some();
                self.tool_result(
                    ToolResult {
                        tool_name: name,
                        status,
                        result: result.clone().unwrap_or(Value::Null),
                        error: error.as_deref(),
                    },
                    failed,
                );
            }
            RunEventBody::Metric(metric) => {
                if let Some(value) = metric.good_number() {
                    let name = Value::Text(metric.name.as_str().to_owned());
                    let unit = Value::Text(metric.unit.as_str().to_owned());
                    self.stream("metric", fields([("name", name), ("value", Value::Float(value)), ("unit", unit)]));
                }
            }
            RunEventBody::Iteration(iteration) => {
                let number = Value::Int(i64::try_from(iteration.iteration).unwrap_or(i64::MAX));
                let parameters = Value::Map(iteration.parameters.clone());
                let metrics = Value::Map(iteration.metrics.clone());
                let feasible = Value::Bool(iteration.feasible);
                self.stream(
                    "iteration",
                    fields([
                        ("iteration", number),
                        ("parameters", parameters),
                        ("metrics", metrics),
                        ("feasible", feasible),
                    ]),
                );
            }
            RunEventBody::Custom(custom) => self.stream(&custom.event_type, custom.payload.clone()),
            RunEventBody::Wells { wells } => self.stream("wells", Value::Map(wells.clone())),
            RunEventBody::Finished(finished) => self.end(finished),
            RunEventBody::Bound { .. }
            | RunEventBody::Point(_)
            | RunEventBody::Child(_)
            | RunEventBody::Verdict(_)
            | RunEventBody::Test(_)
            | RunEventBody::Artifact { .. } => {}
        }
        self.rendered
    }

    fn start(&mut self) {
        let run = &self.event.run;
        let payload = WorkflowStart {
            workflow_id: &self.workflow,
            execution_id: &self.execution,
            nodes: graph::nodes(&run.steps),
            edges: graph::edges(&run.steps),
            metadata: Metadata { name: &run.name },
            start_time: &self.at,
        };
        let message = self.message("workflowStart", topic::STARTED, &payload);
        self.rendered.push(message);
    }

    fn progress(&mut self, progress: &Progress) {
        let payload = WorkflowProgress {
            workflow_id: &self.workflow,
            execution_id: &self.execution,
            node_id: progress.step.as_ref().map(|step| step.as_str()),
            status: "running",
            progress: progress.percent,
            message: &progress.message,
            timestamp: &self.at,
        };
        let message = self.message("workflowProgress", topic::PROGRESS, &payload);
        self.rendered.push(message);
    }

    fn log_line(&mut self, line: &RunLog) {
        let payload = WorkflowLog {
            workflow_id: &self.workflow,
            level: line.level.as_str(),
            message: &line.message,
            source: &line.source,
            node_id: line.step.as_ref().map(|step| step.as_str()),
        };
        let message = self.message("workflowLog", topic::LOG, &payload);
        self.rendered.push(message);
    }

    fn log(&mut self, level: Level, text: &str, node: Option<&str>) {
        let payload = WorkflowLog {
            workflow_id: &self.workflow,
            level: level.as_str(),
            message: text,
            source: ENGINE,
            node_id: node,
        };
        let message = self.message("workflowLog", topic::LOG, &payload);
        self.rendered.push(message);
    }

    fn step(&mut self, event: &StepEvent) {
        let node = event.step.as_str();
        let result = |status, result, error| ToolResult { tool_name: &event.module, status, result, error };
        match &event.change {
            StepChange::Dispatched { .. } | StepChange::Progress { .. } => {}
            StepChange::Running => self.node(node, "running"),
            StepChange::Completed { outputs, .. } => {
                self.node(node, "success");
                self.tool_result(result("completed", Value::Map(outputs.clone()), None), false);
            }
            StepChange::Failed { error, will_retry: true, .. } => {
                self.tool_result(result("failed", Value::Null, Some(error)), true);
                let text = format!("attempt {} of node {node} failed and is repeated: {error}", event.attempt);
                self.log(Level::Warning, &text, Some(node));
            }
            StepChange::Failed { error, will_retry: false, .. } => {
                self.node(node, "error");
                self.tool_result(result("failed", Value::Null, Some(error)), true);
            }
            StepChange::Cancelled { .. } => {
                self.node(node, "idle");
                self.tool_result(result("cancelled", Value::Null, None), true);
            }
            StepChange::Skipped { .. } => self.node(node, "idle"),
        }
    }

    fn node(&mut self, node: &str, status: &'static str) {
        let payload = NodeStatusUpdate { workflow_id: &self.workflow, node_id: node, status, timestamp: &self.at };
        let message = self.message("nodeStatusUpdate", topic::NODE_STATUS, &payload);
        self.rendered.push(message);
    }

    fn tool_result(&mut self, payload: ToolResult<'_>, failed: bool) {
        let topic = if failed { topic::TOOL_FAILED } else { topic::TOOL_EXECUTED };
        let message = self.message("tool_result", topic, &payload);
        self.rendered.push(message);
    }

    fn stream(&mut self, event_type: &str, data: Value) {
        let payload = EventStream { event_type, workflow_id: &self.workflow, data };
        let message = self.message("eventStream", topic::STREAM, &payload);
        self.rendered.push(message);
    }

    fn end(&mut self, finished: &Finished) {
        match finished.status {
            RunStatus::Failed => {
                let why = finished.error.as_ref().map_or(finished.message.as_str(), |error| &error.message);
                self.error(finished.error.as_ref(), or(why, "Workflow failed"));
            }
            RunStatus::Cancelled => self.error(finished.error.as_ref(), "Workflow cancelled by user"),
            RunStatus::Completed | RunStatus::Pending | RunStatus::Running | RunStatus::Paused => {
                let results = finished.metrics.iter();
                let results = results.map(|metric| (metric.name.as_str().to_owned(), Value::Float(metric.value)));
                let payload = WorkflowComplete {
                    workflow_id: &self.workflow,
                    execution_id: &self.execution,
                    message: or(&finished.message, "Workflow completed"),
                    results: Value::Map(results.collect()),
                    duration: finished.duration_s,
                    timestamp: &self.at,
                };
                let message = self.message("workflowComplete", topic::COMPLETED, &payload);
                self.rendered.push(message);
            }
        }
    }

    fn error(&mut self, error: Option<&RunError>, text: &str) {
        let payload = WorkflowError {
            workflow_id: &self.workflow,
            execution_id: &self.execution,
            node_id: error.and_then(|error| error.step.as_ref()).map(|step| step.as_str()),
            error: text,
            message: text,
            timestamp: &self.at,
        };
        let message = self.message("workflowError", topic::FAILED, &payload);
        self.rendered.push(message);
    }

    fn message<T: Serialize>(&self, kind: &'static str, topic: &'static str, payload: &T) -> Rendered {
        let id = format!("event-{}-{}", self.sequence, self.rendered.len());
        Rendered::new(topic, &Envelope { kind, payload, id, timestamp: &self.at, correlation_id: None })
    }
}

fn or<'a>(text: &'a str, otherwise: &'a str) -> &'a str {
    if text.is_empty() { otherwise } else { text }
}

fn fields<const N: usize>(named: [(&str, Value); N]) -> Value {
    Value::Map(named.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Fields>())
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Envelope<'a, T> {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) payload: T,
    pub(super) id: String,
    pub(super) timestamp: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) correlation_id: Option<&'a str>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct ChatMessage<'a> {
    pub(super) content: &'a str,
    pub(super) sender: &'a str,
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
}

impl<'a> From<&'a event::ChatMessage> for ChatMessage<'a> {
    fn from(message: &'a event::ChatMessage) -> Self {
        let kind = match message.role {
            ChatRole::User | ChatRole::Assistant => "text",
            ChatRole::System => "system",
        };
        Self { content: &message.content, sender: &message.author, kind }
    }
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Pong<'a> {
    pub(super) timestamp: &'a str,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Error<'a> {
    pub(super) message: &'a str,
    pub(super) code: &'static str,
    pub(super) timestamp: &'a str,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct WorkflowStart<'a> {
    workflow_id: &'a str,
    execution_id: &'a str,
    nodes: Vec<Node<'a>>,
    edges: Vec<Edge<'a>>,
    metadata: Metadata<'a>,
    start_time: &'a str,
}

#[derive(Serialize, JsonSchema)]
struct Metadata<'a> {
    name: &'a str,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct WorkflowProgress<'a> {
    workflow_id: &'a str,
    execution_id: &'a str,
    node_id: Option<&'a str>,
    status: &'static str,
    progress: f64,
    message: &'a str,
    timestamp: &'a str,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct WorkflowComplete<'a> {
    workflow_id: &'a str,
    execution_id: &'a str,
    message: &'a str,
    results: Value,
    /// Seconds.
    duration: f64,
    timestamp: &'a str,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct WorkflowError<'a> {
    workflow_id: &'a str,
    execution_id: &'a str,
    node_id: Option<&'a str>,
    /// The same text twice: clients in the field read one or the other.
    error: &'a str,
    message: &'a str,
    timestamp: &'a str,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct WorkflowLog<'a> {
    workflow_id: &'a str,
    level: &'static str,
    message: &'a str,
    source: &'a str,
    node_id: Option<&'a str>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct NodeStatusUpdate<'a> {
    workflow_id: &'a str,
    node_id: &'a str,
    status: &'static str,
    timestamp: &'a str,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ToolResult<'a> {
    tool_name: &'a str,
    status: &'a str,
    result: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct EventStream<'a> {
    event_type: &'a str,
    #[serde(rename = "workflowId")]
    workflow_id: &'a str,
    data: Value,
}
