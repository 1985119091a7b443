//! A run as it stands, for a client that joins now. Knows no engine.

use std::sync::Arc;

use rigwire_shared::event::Level;
use rigwire_shared::ids::{DeviceId, StepId};
use rigwire_shared::time::Timestamp;
use rigwire_shared::value::Fields;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DeviceSnapshot, Finished, Progress, RunHeader, RunStatus, SummaryMetric};

/// A run as it stands, for a client that joins now.
#[derive(Debug, Clone)]
pub struct RunSnapshot {
    pub header: Arc<RunHeader>,
    pub status: RunStatus,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    /// What is being done, for people: `Initializing` until the first step.
    pub step: String,
    pub progress: Progress,
    pub steps: Vec<StepSnapshot>,
    pub devices: Vec<DeviceSnapshot>,
    pub finished: Option<Finished>,
    /// Tests or iterations that have runs of their own.
    pub parts: Option<crate::run::Parts>,
    /// What was told last, for clients that expect it at once.
    pub recent: Recent,
    /// Number of the last event of this run that the snapshot includes.
    pub last_event: u64,
}

#[derive(Debug, Clone, Default)]
pub struct Recent {
    /// Last good value of each metric.
    pub metrics: Vec<SummaryMetric>,
    /// Last state of each resource with wells.
    pub wells: Fields,
    /// Last lines of the log that matter, oldest first.
    pub logs: Vec<(Level, String)>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct StepSnapshot {
    pub step: StepId,
    pub device: Option<DeviceId>,
    pub state: StepState,
    pub attempt: u32,
    pub percent: f64,
    pub error: Option<String>,
    pub duration_s: Option<f64>,
    pub outputs: Fields,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum StepState {
    Pending,
    Running,
    Completed,
    Failed,
    Cancelled,
    Skipped,
}

impl StepState {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Skipped => "skipped",
        }
    }

    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Pending | Self::Running)
    }
}
