//! The hub's one event model. The model makes events, the record keeps them, each dialect puts them into its own words.
//! Knows no socket, no store and no dialect.

use std::sync::Arc;

use rigwire_shared::event::{Level, SafeOutcome};
use rigwire_shared::ids::{AgentId, AttemptId, DeviceId, MetricName, RunId, StepId};
use rigwire_shared::quality::Quality;
use rigwire_shared::time::Timestamp;
use rigwire_shared::unit::Unit;
use rigwire_shared::value::{Fields, Value};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::describe::Object;

mod chat;
mod class;
mod device;
mod snapshot;

pub use chat::{ChatMessage, ChatRole};
pub use class::{Class, LatestKey};
pub use device::{DeviceEvent, DeviceSample, DeviceSnapshot, Frame, LeaseChange};
pub use snapshot::{Recent, RunSnapshot, StepSnapshot, StepState};

/// One thing that happened, as everyone is told of it.
#[derive(Debug, Clone)]
pub struct Event {
    /// Number in the hub's record, without holes. 0 for preview frames, which are not recorded, and for samples and the
    /// chat, which have places of their own in it.
    pub sequence: u64,
    pub at: Timestamp,
    pub kind: EventKind,
}

#[derive(Debug, Clone)]
pub enum EventKind {
    Run(RunEvent),
    Device(DeviceEvent),
    Agent(AgentChange),
    Chat(ChatMessage),
}

/// One thing that happened in a run.
#[derive(Debug, Clone)]
pub struct RunEvent {
    pub run: Arc<RunHeader>,
    /// Number within the run, from 1, without holes.
    pub number: u64,
    pub body: RunEventBody,
}

/// What is fixed about a run when it is made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunHeader {
    pub id: RunId,
    /// Small integer for clients that want one. Never used again for anything else.
    pub number: u64,
    pub parent: Option<RunId>,
    pub kind: RunKind,
    pub name: String,
    /// Who runs it, for clients that show an agent: the procedure's name, or what an external producer calls itself.
    pub agent_name: String,
    #[serde(with = "rigwire_shared::value::fields")]
    pub params: Fields,
    /// What the client that drew or named it calls the workflow, which is carried out by this run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow: Option<String>,
    pub external: bool,
    /// Person on whose devices it may be, besides free ones.
    #[serde(default)]
    pub holder: Option<String>,
    pub created_at: Timestamp,
    /// In the order written; `finally` steps last. For external runs the announced nodes, or none.
    pub steps: Vec<StepCard>,
    /// Announced tests of a suite. Empty for others: there each step counts as a test.
    pub tests: Vec<TestCard>,
}

impl RunHeader {
    pub fn step(&self, id: &StepId) -> Option<&StepCard> {
        self.steps.iter().find(|step| step.id == *id)
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RunKind {
    #[default]
    Protocol,
    Execution,
    Workflow,
    Solve,
    Optimization,
    Suite,
}

impl RunKind {
    pub const ALL: [Self; 6] =
        [Self::Protocol, Self::Execution, Self::Workflow, Self::Solve, Self::Optimization, Self::Suite];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Protocol => "protocol",
            Self::Execution => "execution",
            Self::Workflow => "workflow",
            Self::Solve => "solve",
            Self::Optimization => "optimization",
            Self::Suite => "suite",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepCard {
    pub id: StepId,
    /// For clients that know steps by UUID. The same over all attempts.
    pub uuid: Uuid,
    /// For clients that know test executions by integer. From the same sequence as run numbers.
    pub number: u64,
    /// Module id, such as `instrument.read`.
    pub module: String,
    /// `with` as written, before templates.
    #[serde(with = "rigwire_shared::value::fields")]
    pub data: Fields,
    pub needs: Vec<StepId>,
    pub finally: bool,
    pub phase: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TestCard {
    pub id: String,
    pub name: String,
    pub number: u64,
    pub runs: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RunStatus {
    Pending,
    Running,
    Paused,
    Completed,
    Failed,
    Cancelled,
}

impl RunStatus {
    pub const ALL: [Self; 6] =
        [Self::Pending, Self::Running, Self::Paused, Self::Completed, Self::Failed, Self::Cancelled];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    pub const fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum RunEventBody {
    /// First event of every run.
    Created,
    /// Someone asked for the run to end early. What runs is stopped, `finally` steps follow.
    CancelRequested {
        cause: String,
    },
    /// A change to a status that is not final.
    Status {
        status: RunStatus,
        step: Option<String>,
        message: Option<String>,
    },
    /// The devices that the run now holds, by role, and the fencing number under which it holds them.
    Bound {
        devices: Vec<BoundDevice>,
        fence: u64,
    },
    /// A sweep begins one of its points: its steps are done anew.
    Point(PointEvent),
    /// A run of its own was started for this one.
    Child(ChildEvent),
    Progress(Progress),
    Log(RunLog),
    Metric(Metric),
    Step(StepEvent),
    /// A measured value was compared with its limits.
    Verdict(Verdict),
    /// A device that the run holds went away.
    DeviceLost {
        device: DeviceId,
        cause: String,
    },
    Iteration(Iteration),
    Test(TestEvent),
    Tool {
        name: String,
        status: String,
        result: Option<Value>,
        error: Option<String>,
    },
    /// A free event of a program, such as `tool_call` or `llm_request`.
    #[serde(rename = "event")]
    Custom(CustomEvent),
    /// State of wells, by resource name.
    Wells {
        #[serde(with = "rigwire_shared::value::fields")]
        #[schemars(with = "Object")]
        wells: Fields,
    },
    Artifact {
        name: String,
        media_type: String,
        path: String,
        size: u64,
    },
    /// Last event of every run: exactly one.
    Finished(Finished),
}

impl RunEventBody {
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::CancelRequested { .. } => "cancel_requested",
            Self::Status { .. } => "status",
            Self::Bound { .. } => "bound",
            Self::Point(_) => "point",
            Self::Child(_) => "child",
            Self::Progress(_) => "progress",
            Self::Log(_) => "log",
            Self::Metric(_) => "metric",
            Self::Step(_) => "step",
            Self::Verdict(_) => "verdict",
            Self::DeviceLost { .. } => "device_lost",
            Self::Iteration(_) => "iteration",
            Self::Test(_) => "test",
            Self::Tool { .. } => "tool",
            Self::Custom(_) => "event",
            Self::Wells { .. } => "wells",
            Self::Artifact { .. } => "artifact",
            Self::Finished(_) => "finished",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BoundDevice {
    pub role: String,
    pub device: DeviceId,
    pub agent: AgentId,
    #[serde(default, skip_serializing_if = "Hold::is_for_the_run")]
    pub hold: Hold,
}

/// For how long a run keeps a device to itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Hold {
    #[default]
    Run,
    /// While a step acts on it: other runs act on it between the steps.
    Step,
    /// Never: a host carries out programs of many runs at once.
    Never,
}

impl Hold {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde asks for")]
    fn is_for_the_run(&self) -> bool {
        *self == Self::Run
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PointEvent {
    /// From 1.
    pub point: u32,
    pub total: u32,
    /// Integer id of the first step's execution at this point; the others follow. 0 where the steps' own are meant.
    #[serde(default)]
    pub numbers_from: u64,
    /// Value of each axis.
    #[serde(with = "rigwire_shared::value::fields")]
    #[schemars(with = "Object")]
    pub values: Fields,
}

/// Which part of its parent a run is carried out for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ChildEvent {
    /// `None` for an iteration that somebody outside carries out.
    pub run: Option<RunId>,
    pub number: Option<u64>,
    pub purpose: Purpose,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// One of a suite's tests, for the so many'th time, from 1.
    Test { test: String, attempt: u32 },
    /// One iteration of a study, from 1.
    Iteration {
        iteration: u64,
        #[serde(with = "rigwire_shared::value::fields")]
        #[schemars(with = "Object")]
        parameters: Fields,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Progress {
    /// 0 to 100, never falling within a run.
    pub percent: f64,
    /// `preparing`, `meshing`, `solving`, `postprocessing` or the procedure's own word.
    pub phase: String,
    pub message: String,
    pub step: Option<StepId>,
    /// Since the run started.
    pub elapsed_s: f64,
    /// Steps that have ended so far, of `total`; in a suite its tests.
    #[serde(default)]
    pub counts: StepCounts,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunLog {
    pub level: Level,
    pub message: String,
    pub device: Option<DeviceId>,
    pub module: Option<String>,
    pub step: Option<StepId>,
    /// Part that speaks: `engine`, `agent`, or what a program called itself.
    pub source: String,
}

/// A measured value. Only good ones reach clients whose protocol has no word for quality.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Metric {
    pub name: MetricName,
    pub value: Value,
    pub unit: Unit,
    pub quality: Quality,
    pub device: Option<DeviceId>,
    pub step: Option<StepId>,
}

impl Metric {
    /// The value, if it may be shown as a number without a word about its quality.
    pub fn good_number(&self) -> Option<f64> {
        match self.quality {
            Quality::Good => self.value.as_f64().filter(|number| number.is_finite()),
            Quality::Overrange
            | Quality::Underrange
            | Quality::NoData
            | Quality::Fault
            | Quality::Suspect
            | Quality::Stale => None,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StepEvent {
    pub step: StepId,
    pub module: String,
    pub device: Option<DeviceId>,
    pub attempt_id: Option<AttemptId>,
    /// Counts from 1.
    pub attempt: u32,
    /// Integer id of this execution of the step, where a sweep repeats it: each point has its own. Elsewhere the card's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
    pub change: StepChange,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum StepChange {
    /// Sent to the agent. Durable before the agent hears of it.
    Dispatched {
        /// Fencing number under which this attempt alone holds its device, where the run shares it with others.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fence: Option<u64>,
    },
    Running,
    Progress {
        percent: f64,
        message: String,
        /// As the step itself names it, if it does: then `message` is its own, too.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        phase: Option<String>,
    },
    Completed {
        duration_s: f64,
        #[serde(with = "rigwire_shared::value::fields")]
        #[schemars(with = "Object")]
        outputs: Fields,
        screenshot: Option<String>,
    },
    Failed {
        duration_s: f64,
        error_code: String,
        error: String,
        will_retry: bool,
    },
    Cancelled {
        duration_s: f64,
        safe: Option<SafeState>,
    },
    Skipped {
        cause: String,
    },
}

/// How a device was left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SafeState {
    /// `verified`, `unverified`, `refused`, `unreachable` or `not-needed`.
    pub outcome: String,
    pub detail: Option<String>,
}

impl From<SafeOutcome> for SafeState {
    fn from(outcome: SafeOutcome) -> Self {
        let (outcome, detail) = match outcome {
            SafeOutcome::Verified => ("verified", None),
            SafeOutcome::Unverified => ("unverified", None),
            SafeOutcome::Refused { detail } => ("refused", Some(detail)),
            SafeOutcome::Unreachable { detail } => ("unreachable", Some(detail)),
            SafeOutcome::NotNeeded => ("not-needed", None),
        };
        Self { outcome: outcome.to_owned(), detail }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Verdict {
    pub step: StepId,
    pub metric: String,
    /// `None` when there was no good value to compare.
    pub value: Option<f64>,
    pub min: Option<f64>,
    pub max: Option<f64>,
    pub passed: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Iteration {
    pub iteration: u64,
    pub run: Option<RunId>,
    #[serde(with = "rigwire_shared::value::fields")]
    #[schemars(with = "Object")]
    pub parameters: Fields,
    #[serde(with = "rigwire_shared::value::fields")]
    #[schemars(with = "Object")]
    pub metrics: Fields,
    pub feasible: bool,
    pub pareto_updated: bool,
    /// Why there is no result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TestEvent {
    pub test: String,
    pub name: String,
    /// Integer id of this test execution.
    pub number: u64,
    pub status: String,
    pub percent: f64,
    pub current_run: u32,
    pub total_runs: u32,
    pub success: Option<bool>,
    pub score: Option<f64>,
    pub duration_s: Option<f64>,
    pub message: Option<String>,
    pub error: Option<String>,
    /// It passed at one time and failed at another.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub flaky: bool,
    /// How the attempt went that this event tells the end of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<TestAttempt>,
}

/// One attempt at a test.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TestAttempt {
    /// From 1.
    pub attempt: u32,
    pub run: Option<RunId>,
    pub passed: bool,
    pub score: Option<f64>,
    pub duration_s: f64,
    pub error: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CustomEvent {
    pub event_type: String,
    pub payload: Value,
    pub sequence: Option<u64>,
    pub duration_ms: Option<f64>,
    pub test: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Finished {
    /// `completed`, `failed` or `cancelled`.
    pub status: RunStatus,
    pub error: Option<RunError>,
    /// Last lines of the run's log, for a failed run.
    pub log_tail: Option<String>,
    pub message: String,
    pub duration_s: f64,
    pub counts: StepCounts,
    /// Last good value of each metric.
    pub metrics: Vec<SummaryMetric>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RunError {
    pub code: String,
    pub message: String,
    pub step: Option<StepId>,
    pub device: Option<DeviceId>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StepCounts {
    pub total: u32,
    pub successful: u32,
    pub failed: u32,
    pub skipped: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SummaryMetric {
    pub name: MetricName,
    pub value: f64,
    pub unit: Unit,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentChange {
    pub agent: AgentId,
    pub online: bool,
    pub cause: String,
}
