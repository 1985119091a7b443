//! Everything that the hub can ask of an agent. Postcard numbers variants by position: append only.

use alloc::string::String;

use serde::{Deserialize, Serialize};

use crate::ids::{AttemptId, CommandId, DeviceId, Epoch, Fence, Position, RunId, StepId};
use crate::time::Timestamp;
use crate::value::Fields;

/// On `down`, at QoS 1. An agent refuses one that is late or meant for another of its epochs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Command {
    pub id: CommandId,
    pub epoch: Epoch,
    pub expires_at: Timestamp,
    pub body: CommandBody,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum CommandBody {
    StartStep(StartStep),
    CancelStep {
        attempt: AttemptId,
        cause: String,
    },
    GrantLease {
        device: DeviceId,
        fence: Fence,
        until: Timestamp,
        holder: String,
    },
    ReleaseLease {
        device: DeviceId,
        fence: Fence,
    },
    MakeSafe {
        device: DeviceId,
        cause: String,
    },
    StartPreview {
        device: DeviceId,
        quality: PreviewQuality,
        frames_per_second: u8,
    },
    StopPreview {
        device: DeviceId,
    },
    /// Send the bytes of a port as `Wire` events, or stop.
    TailWire {
        device: DeviceId,
        on: bool,
    },
    /// Send inventory and state again.
    Announce,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StartStep {
    pub run: RunId,
    pub step: StepId,
    pub attempt: AttemptId,
    pub device: Option<DeviceId>,
    /// Fencing number of the lease that the run holds on the device.
    pub fence: Option<Fence>,
    /// Module id, such as `instrument.read`.
    pub module: String,
    pub with: Fields,
    pub timeout_ms: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PreviewQuality {
    Low,
    Medium,
    High,
}

/// On `ack`: everything up to and including `durable` is in the hub's record and may leave the spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// `None` when the hub has nothing of this agent.
    pub durable: Option<Position>,
    /// The hub lacks what follows `durable`: send it again from there.
    pub resend: bool,
    pub hub_time: Timestamp,
}
