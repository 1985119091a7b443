//! Messages between a microcontroller and its agent. Heapless: firmware links this without an allocator.

use heapless::{String, Vec};
use serde::{Deserialize, Serialize};

use crate::quality::Quality;

/// First field of every message. A reader refuses a larger number instead of guessing.
pub const FIRMWARE_VERSION: u8 = 1;

pub const TEXT_MAX: usize = 64;
pub const SHORT_MAX: usize = 16;
pub const VALUES_MAX: usize = 8;
pub const PARAMETERS_MAX: usize = 4;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    pub version: u8,
    /// Counts up by one per message and direction; a jump is a loss.
    pub sequence: u32,
    /// The microcontroller's own clock at the event, in microseconds. The agent maps it to real time.
    pub mcu_us: u64,
    pub body: Body,
}

/// Postcard numbers variants by position: append only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Body {
    /// Sent at boot and in answer to `Command::Hello`.
    Hello {
        model: String<TEXT_MAX>,
        serial: String<SHORT_MAX>,
        firmware: String<SHORT_MAX>,
        boots: u32,
    },
    /// One channel, sent once per channel in answer to `Command::Describe`.
    Describe {
        channel: u8,
        name: String<SHORT_MAX>,
        unit: String<SHORT_MAX>,
        interval_ms: u32,
    },
    Sample(Vec<ChannelValue, VALUES_MAX>),
    Log {
        level: LogLevel,
        text: String<TEXT_MAX>,
    },
    Command {
        id: u16,
        command: Command,
    },
    Reply {
        id: u16,
        result: Result<Option<f32>, Refusal>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ChannelValue {
    pub channel: u8,
    pub value: f32,
    pub quality: Quality,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogLevel {
    Debug,
    Info,
    Warning,
    Error,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Command {
    Hello,
    Describe,
    SetInterval {
        channel: u8,
        interval_ms: u32,
    },
    Act {
        action: String<SHORT_MAX>,
        parameters: Vec<f32, PARAMETERS_MAX>,
    },
    MakeSafe,
    /// Echoed in the reply, so that the agent can map clocks.
    Ping,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    UnknownChannel,
    UnknownAction,
    OutOfRange,
    Busy,
    Failed { text: String<TEXT_MAX> },
}
