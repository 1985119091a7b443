//! Bytes of the agent-to-hub messages: one version byte, then postcard.

use alloc::vec::Vec;
use core::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::event::AgentEvent;
use crate::ids::Position;

/// First byte of every message, and part of every topic.
pub const WIRE_VERSION: u8 = 1;

/// Largest message that either side sends or reads. Brokers and clients are set to the same number.
pub const MESSAGE_MAX: usize = 256 * 1024;

/// Largest batch body that a spool builds, leaving room for what MQTT and the header add.
pub const BATCH_MAX: usize = 128 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WireError {
    Empty,
    Version(u8),
    TooLong(usize),
    Malformed,
    /// The message ended before its bytes did.
    Trailing(usize),
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the message is empty"),
            Self::Version(found) => write!(f, "the message has wire version {found}, expected {WIRE_VERSION}"),
            Self::TooLong(length) => write!(f, "the message has {length} bytes, at most {MESSAGE_MAX} are allowed"),
            Self::Malformed => f.write_str("the message is not of the form its topic promises"),
            Self::Trailing(count) => write!(f, "the message is followed by {count} bytes that belong to nothing"),
        }
    }
}

impl core::error::Error for WireError {}

pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, WireError> {
    let mut start = Vec::with_capacity(64);
    start.push(WIRE_VERSION);
    let bytes = postcard::to_extend(message, start).map_err(|_| WireError::Malformed)?;
    if bytes.len() > MESSAGE_MAX {
        return Err(WireError::TooLong(bytes.len()));
    }
    Ok(bytes)
}

pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, WireError> {
    if bytes.len() > MESSAGE_MAX {
        return Err(WireError::TooLong(bytes.len()));
    }
    let (version, body) = bytes.split_first().ok_or(WireError::Empty)?;
    if *version != WIRE_VERSION {
        return Err(WireError::Version(*version));
    }
    let (message, rest) = postcard::take_from_bytes(body).map_err(|_| WireError::Malformed)?;
    if rest.is_empty() { Ok(message) } else { Err(WireError::Trailing(rest.len())) }
}

/// One numbered message on `up`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Batch {
    pub position: Position,
    /// The batch before this one, while the agent still keeps it. `None`: everything earlier was acknowledged.
    pub previous: Option<Position>,
    pub events: Vec<AgentEvent>,
}

/// Encodes a batch around events that the spool already keeps as bytes (see `encode_events`).
pub fn encode_batch(position: Position, previous: Option<Position>, events: &[u8]) -> Result<Vec<u8>, WireError> {
    let mut message = encode(&(position, previous))?;
    message.extend_from_slice(events);
    if message.len() > MESSAGE_MAX {
        return Err(WireError::TooLong(message.len()));
    }
    Ok(message)
}

/// The events of a batch as the spool keeps them: no version byte, no header.
pub fn encode_events(events: &[AgentEvent]) -> Result<Vec<u8>, WireError> {
    postcard::to_allocvec(events).map_err(|_| WireError::Malformed)
}
