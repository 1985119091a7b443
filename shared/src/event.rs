//! Everything that an agent can tell the hub. Postcard numbers variants by position: append only.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::agent::{DeviceState, Identity};
use crate::ids::{AttemptId, CommandId, DeviceId, Epoch, Fence, MetricName, RunId};
use crate::quality::Quality;
use crate::time::Timestamp;
use crate::unit::Unit;
use crate::value::{Fields, Value};

/// One thing that happened, with the time the agent saw it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgentEvent {
    pub at: Timestamp,
    pub body: EventBody,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum EventBody {
    /// First event of every epoch.
    Started(Started),
    Sample(Sample),
    Log(Log),
    Device(DeviceChange),
    /// A step attempt began: recorded before the device is touched.
    StepStarted {
        attempt: AttemptId,
        run: RunId,
        device: Option<DeviceId>,
    },
    StepProgress {
        attempt: AttemptId,
        percent: f32,
        message: String,
    },
    StepFinished(StepFinished),
    CommandAnswered {
        command: CommandId,
        answer: Answer,
    },
    /// A limit of a reading changed state.
    Limit(LimitChange),
    /// An interlock acted without the hub.
    Interlock {
        device: DeviceId,
        rule: String,
        action: String,
        safe: SafeOutcome,
    },
    /// The safe state was applied.
    Safe {
        device: DeviceId,
        cause: String,
        outcome: SafeOutcome,
    },
    /// One entry of an instrument's own error queue.
    InstrumentError {
        device: DeviceId,
        code: String,
        text: String,
    },
    Lease {
        device: DeviceId,
        fence: Fence,
        held: bool,
        cause: String,
    },
    /// Announces a file; its bytes follow as `ArtifactChunk`s.
    Artifact(Artifact),
    ArtifactChunk {
        sha256: [u8; 32],
        offset: u64,
        data: Vec<u8>,
    },
    /// What a program started by `process.run`, or a module with more to tell, reported about its run.
    Report {
        attempt: AttemptId,
        run: RunId,
        report: RunReport,
    },
    /// Samples that will never arrive, and why.
    Gap {
        device: Option<DeviceId>,
        samples: u64,
        cause: GapCause,
    },
    /// Bytes seen on a port, from the flight recorder.
    Wire {
        device: DeviceId,
        sent: bool,
        bytes: Vec<u8>,
    },
    /// Offset of the agent's clock against the hub's, and half the round trip it was measured with.
    Clock {
        offset_us: i64,
        uncertainty_us: u32,
    },
}

impl EventBody {
    /// Samples may be dropped when the spool is full, and are counted; everything else is kept.
    pub fn may_be_dropped(&self) -> bool {
        matches!(self, Self::Sample(_) | Self::Wire { .. })
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Started {
    pub epoch: Epoch,
    pub previous: Option<Epoch>,
    pub version: String,
    pub host: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    pub device: DeviceId,
    pub metric: MetricName,
    /// `Null` unless the quality says that there is a value to show.
    pub value: Value,
    pub unit: Unit,
    pub quality: Quality,
    /// The step attempt that asked for it, if one did.
    pub attempt: Option<AttemptId>,
    /// Request to reply, for polled instruments.
    pub round_trip_us: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Debug,
    Info,
    Warning,
    Error,
}

impl Level {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Log {
    pub level: Level,
    pub message: String,
    pub device: Option<DeviceId>,
    pub run: Option<RunId>,
    pub attempt: Option<AttemptId>,
    /// Module or part that speaks, such as `instrument.read`.
    pub source: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeviceChange {
    pub device: DeviceId,
    pub state: DeviceState,
    pub cause: String,
    pub identity: Option<Identity>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepFinished {
    pub attempt: AttemptId,
    pub run: RunId,
    pub outcome: StepOutcome,
    pub duration_us: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum StepOutcome {
    Completed { outputs: Fields },
    Failed { error: StepError },
    Cancelled { safe: Option<SafeOutcome> },
}

/// Why a step failed. `code` is a stable word in capitals, `message` is for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepError {
    pub code: String,
    pub message: String,
}

/// Error codes that clients know by name.
pub mod code {
    pub const ADB_TIMEOUT: &str = "ADB_TIMEOUT";
    pub const AGENT_RESTARTED: &str = "AGENT_RESTARTED";
    pub const AGENT_STOPPED: &str = "AGENT_STOPPED";
    pub const COMMAND_EXPIRED: &str = "COMMAND_EXPIRED";
    pub const DEVICES_UNAVAILABLE: &str = "DEVICES_UNAVAILABLE";
    pub const DEVICE_BUSY: &str = "DEVICE_BUSY";
    pub const DEVICE_DISCONNECTED: &str = "DEVICE_DISCONNECTED";
    pub const DEVICE_NOT_ONLINE: &str = "DEVICE_NOT_ONLINE";
    pub const DEVICE_UNKNOWN: &str = "DEVICE_UNKNOWN";
    pub const EXPECTATION_FAILED: &str = "EXPECTATION_FAILED";
    pub const INVALID_PARAMETER: &str = "INVALID_PARAMETER";
    pub const LEASE_LOST: &str = "LEASE_LOST";
    pub const MODULE_EXECUTION_ERROR: &str = "MODULE_EXECUTION_ERROR";
    pub const MODULE_TIMEOUT: &str = "MODULE_TIMEOUT";
    pub const MODULE_UNKNOWN: &str = "MODULE_UNKNOWN";
    pub const OUTPUT_LIMIT: &str = "OUTPUT_LIMIT";
    pub const PROCESS_FAILED: &str = "PROCESS_FAILED";
}

/// What became of the safe state, honestly.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SafeOutcome {
    /// Read back and found safe.
    Verified,
    /// Sent, but the profile gives no way to read it back.
    Unverified,
    /// Read back and found not safe.
    Refused { detail: String },
    /// Could not be sent: the hardware stays as it was. An alarm.
    Unreachable { detail: String },
    /// The device has no safe state to apply.
    NotNeeded,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    Done,
    Refused { error: StepError },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LimitState {
    Ok,
    Pending,
    Active,
    Clearing,
    Stale,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LimitChange {
    pub device: DeviceId,
    pub metric: MetricName,
    pub state: LimitState,
    pub value: Option<f64>,
    pub threshold: Option<f64>,
    pub sampled_at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    pub run: Option<RunId>,
    pub attempt: Option<AttemptId>,
    pub name: String,
    pub media_type: String,
    pub sha256: [u8; 32],
    pub size: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum RunReport {
    Progress {
        percent: f32,
        phase: Option<String>,
        message: Option<String>,
    },
    Metric {
        name: MetricName,
        value: f64,
        unit: Unit,
    },
    Test {
        test: String,
        name: String,
        passed: bool,
        score: Option<f64>,
        message: Option<String>,
    },
    Event {
        event_type: String,
        payload: Value,
    },
    Wells {
        wells: Fields,
    },
    /// The run is in another phase; how far it is was not said.
    Phase {
        phase: String,
        message: Option<String>,
    },
    /// Like `Test`, for results that have more to tell.
    Tested {
        test: String,
        name: String,
        outcome: TestOutcome,
        duration_s: Option<f64>,
        score: Option<f64>,
        message: Option<String>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TestOutcome {
    Passed,
    Failed,
    Skipped,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GapCause {
    SpoolFull,
    SpoolDamaged,
    PollSkipped,
    SensorFault,
    PortOverrun,
    QueueFull,
}

impl GapCause {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SpoolFull => "spool-full",
            Self::SpoolDamaged => "spool-damaged",
            Self::PollSkipped => "poll-skipped",
            Self::SensorFault => "sensor-fault",
            Self::PortOverrun => "port-overrun",
            Self::QueueFull => "queue-full",
        }
    }
}
