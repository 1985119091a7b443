//! What happens to devices outside of any run, and a device as it stands. Knows no run but its id.

use std::sync::Arc;

use rigwire_shared::agent::{DeviceKind, DeviceState, Identity};
use rigwire_shared::event::{GapCause, LimitChange};
use rigwire_shared::ids::{AgentId, DeviceId, Fence, MetricName, RunId};
use rigwire_shared::quality::Quality;
use rigwire_shared::time::Timestamp;
use rigwire_shared::unit::Unit;
use rigwire_shared::value::Value;
use serde::{Deserialize, Serialize};

use super::SafeState;

/// One thing that happened to a device outside of any run.
#[derive(Debug, Clone)]
pub enum DeviceEvent {
    State(DeviceSnapshot),
    Sample(DeviceSample),
    Frame(Arc<Frame>),
    PreviewUnavailable {
        device: DeviceId,
        cause: String,
    },
    Limit(LimitChange),
    Interlock {
        device: DeviceId,
        rule: String,
        action: String,
        safe: SafeState,
    },
    Safe {
        device: DeviceId,
        cause: String,
        safe: SafeState,
    },
    Gap {
        device: Option<DeviceId>,
        agent: AgentId,
        samples: u64,
        cause: GapCause,
    },
    /// A person's hold on it changed, or its agent let go of what it should hold.
    Lease(LeaseChange),
}

impl DeviceEvent {
    /// The device that it is about; none for what concerns an agent as a whole.
    pub fn device(&self) -> Option<&DeviceId> {
        match self {
            Self::State(snapshot) => Some(&snapshot.device),
            Self::Sample(sample) => Some(&sample.device),
            Self::Frame(frame) => Some(&frame.device),
            Self::Limit(change) => Some(&change.device),
            Self::Lease(change) => Some(&change.device),
            Self::PreviewUnavailable { device, .. } | Self::Interlock { device, .. } | Self::Safe { device, .. } => {
                Some(device)
            }
            Self::Gap { device, .. } => device.as_ref(),
        }
    }
}

/// `granted`, `prolonged`, `waiting`, `returned`, `expired` or `lost`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseChange {
    pub device: DeviceId,
    pub change: String,
    pub holder: String,
    pub fence: Option<Fence>,
    pub reason: Option<String>,
    pub until: Option<Timestamp>,
    /// Who or what changed it.
    pub cause: String,
}

#[derive(Debug, Clone, PartialEq)]
pub struct DeviceSample {
    pub device: DeviceId,
    pub metric: MetricName,
    pub value: Value,
    pub unit: Unit,
    pub quality: Quality,
}

/// A preview picture. The newest wins; none is recorded.
#[derive(Debug)]
pub struct Frame {
    pub device: DeviceId,
    pub width: u16,
    pub height: u16,
    pub media_type: String,
    pub data: Vec<u8>,
}

/// A device as it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeviceSnapshot {
    pub device: DeviceId,
    pub agent: AgentId,
    pub kind: DeviceKind,
    pub class: String,
    pub profile: String,
    pub tags: Vec<String>,
    /// As the agent last reported it; `Gone` while the agent itself is away.
    pub state: DeviceState,
    pub cause: String,
    pub identity: Option<Identity>,
    pub last_seen: Timestamp,
    /// The run that holds it.
    pub held_by: Option<RunId>,
}

impl DeviceSnapshot {
    /// How it stands in few words. A device that a run holds is busy for everyone else, also between two steps.
    pub const fn in_short(&self) -> &'static str {
        match self.state {
            DeviceState::Online if self.held_by.is_some() => "busy",
            DeviceState::Online => "connected",
            DeviceState::Busy => "busy",
            DeviceState::Absent | DeviceState::Opening | DeviceState::Identifying | DeviceState::Gone => "disconnected",
            DeviceState::Error | DeviceState::Quarantined => "error",
        }
    }
}
