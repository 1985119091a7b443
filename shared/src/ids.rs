//! Ids as types. A bare string or number never travels: each id checks its own spelling when it is made or read.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// Longest name of an agent, device or metric, in bytes.
pub const NAME_MAX: usize = 64;

/// Why a text is not an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameError {
    Empty,
    TooLong,
    /// The first character that the id does not allow.
    Character(char),
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("it is empty"),
            Self::TooLong => write!(f, "it is longer than {NAME_MAX} bytes"),
            Self::Character(c) => write!(f, "{c:?} is not allowed in it"),
        }
    }
}

impl core::error::Error for NameError {}

macro_rules! name_id {
    ($(#[$doc:meta])* $name:ident, $allowed:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(heapless::String<NAME_MAX>);

        impl $name {
            pub fn new(text: &str) -> Result<Self, NameError> {
                if text.is_empty() {
                    return Err(NameError::Empty);
                }
                let allowed: fn(char) -> bool = $allowed;
                if let Some(c) = text.chars().find(|c| !allowed(*c)) {
                    return Err(NameError::Character(c));
                }
                heapless::String::try_from(text).map(Self).map_err(|_| NameError::TooLong)
            }

            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl serde::de::Visitor<'_> for Text {
                    type Value = $name;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("a name")
                    }
                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$name, E> {
                        $name::new(text)
                            .map_err(|error| E::custom(format_args!("{text:?} is not a valid name: {error}")))
                    }
                }
                deserializer.deserialize_str(Text)
            }
        }
    };
}

name_id! {
    /// One edge agent. Part of a topic, so the spelling is what every broker accepts: `[a-z0-9_-]{1,64}`.
    AgentId, |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-'
}
name_id! {
    /// One device: a configured name or an adb serial such as `emulator-5554` or `192.168.1.7:5555`.
    DeviceId, |c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ':')
}
name_id! {
    /// One measured quantity of a device.
    MetricName, |c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')
}
name_id! {
    /// One step of a procedure, unique within it.
    StepId, |c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

uuid_id! {
    /// One run of a procedure, or one external run.
    RunId
}
uuid_id! {
    /// One attempt at one step. An agent performs an attempt at most once, however often it is asked.
    AttemptId
}
uuid_id! {
    /// One command from the hub to an agent.
    CommandId
}

/// One start of an agent. Later starts have larger numbers; a message of an older epoch never wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Epoch(pub u64);

/// Where a batch stands in all that an agent ever reported. Ordered by epoch, then by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Position {
    pub epoch: Epoch,
    /// Counts from 1 within an epoch, without holes.
    pub number: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.epoch.0, self.number)
    }
}

/// Fencing number of a lease: an agent refuses a command whose number is below the highest it has seen for that device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Fence(pub u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_to_their_alphabet() {
        for (text, expected) in [
            ("bench-1", Ok(())),
            ("", Err(NameError::Empty)),
            ("Bench", Err(NameError::Character('B'))),
            ("a/b", Err(NameError::Character('/'))),
        ] {
            assert_eq!(AgentId::new(text).map(|_| ()), expected, "{text:?}");
        }
        assert_eq!(DeviceId::new("192.168.1.7:5555").map(|_| ()), Ok(()));
        assert_eq!(DeviceId::new(&"x".repeat(65)).map(|_| ()), Err(NameError::TooLong));
    }

    #[test]
    fn positions_are_ordered_by_epoch_first() {
        let position = |epoch, number| Position { epoch: Epoch(epoch), number };
        assert!(position(1, 900) < position(2, 1));
    }
}
