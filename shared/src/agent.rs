//! What an agent says about itself and its devices: retained messages and live frames.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::{DeviceId, Epoch, MetricName};
use crate::time::Timestamp;
use crate::unit::Unit;

/// Retained on `state`; the same message with `online: false` is the last will.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentState {
    pub epoch: Epoch,
    pub online: bool,
    pub version: String,
    pub host: String,
    pub cause: String,
}

/// Retained on `inventory`: every configured or found device, present or not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Inventory {
    pub epoch: Epoch,
    pub devices: Vec<DeviceCard>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeviceCard {
    pub device: DeviceId,
    pub kind: DeviceKind,
    /// What it is for, such as `psu`, `dmm` or `phone`.
    pub class: String,
    /// Profile id, or model for what has no profile.
    pub profile: String,
    pub tags: Vec<String>,
    pub state: DeviceState,
    pub cause: String,
    pub identity: Option<Identity>,
    pub readings: Vec<ReadingCard>,
    pub actions: Vec<ActionCard>,
    /// Android API level; procedures may ask for a minimum.
    pub sdk: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum DeviceKind {
    Instrument,
    Thermal,
    Android,
    Board,
    /// The agent's own computer, which runs programs.
    Host,
    /// Gives previews and nothing else.
    Camera,
}

impl DeviceKind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Instrument => "instrument",
            Self::Thermal => "thermal",
            Self::Android => "android",
            Self::Board => "board",
            Self::Host => "host",
            Self::Camera => "camera",
        }
    }
}

/// Where a device stands. `Absent` is normal for what is configured and not plugged in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum DeviceState {
    Absent,
    Opening,
    Identifying,
    Online,
    Busy,
    Gone,
    /// Present and not usable until someone acts: wrong instrument, held port, not authorised.
    Error,
    Quarantined,
}

impl DeviceState {
    pub const ALL: [Self; 8] = [
        Self::Absent,
        Self::Opening,
        Self::Identifying,
        Self::Online,
        Self::Busy,
        Self::Gone,
        Self::Error,
        Self::Quarantined,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Opening => "opening",
            Self::Identifying => "identifying",
            Self::Online => "online",
            Self::Busy => "busy",
            Self::Gone => "gone",
            Self::Error => "error",
            Self::Quarantined => "quarantined",
        }
    }

    /// Whether a step may be sent to it, now or after the step it is busy with.
    pub const fn is_present(self) -> bool {
        matches!(self, Self::Online | Self::Busy)
    }
}

impl fmt::Display for DeviceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What the device said it is, and where it is plugged in.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Identity {
    pub vendor: String,
    pub model: String,
    pub serial: String,
    pub firmware: String,
    /// Port path, network address or USB topology path.
    pub location: String,
    /// Further properties, such as udev's, in the order found.
    pub properties: Vec<(String, String)>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ReadingCard {
    pub id: String,
    pub metrics: Vec<MetricName>,
    pub unit: Unit,
    pub interval_ms: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ActionCard {
    pub id: String,
    pub about: String,
    pub hazard: Option<String>,
    pub parameters: Vec<ParameterCard>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ParameterCard {
    pub name: String,
    /// `float`, `int`, `bool`, `text` or `enum`.
    pub kind: String,
    pub unit: Unit,
    pub min: Option<f64>,
    pub max: Option<f64>,
    pub values: Vec<String>,
}

/// On `live`, at QoS 0 and unnumbered: the newest one wins and none is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Live {
    Frame {
        device: DeviceId,
        at: Timestamp,
        width: u16,
        height: u16,
        media_type: String,
        #[serde(with = "crate::bytes")]
        data: Vec<u8>,
    },
    PreviewUnavailable {
        device: DeviceId,
        cause: String,
    },
}
