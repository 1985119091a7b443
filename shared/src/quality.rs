//! How far a value may be trusted. A value that is not `Good` is never shown as one.

use core::fmt;

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Quality {
    Good,
    Overrange,
    Underrange,
    NoData,
    Fault,
    Suspect,
    Stale,
}

impl Quality {
    pub const ALL: [Self; 7] =
        [Self::Good, Self::Overrange, Self::Underrange, Self::NoData, Self::Fault, Self::Suspect, Self::Stale];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Overrange => "overrange",
            Self::Underrange => "underrange",
            Self::NoData => "no-data",
            Self::Fault => "fault",
            Self::Suspect => "suspect",
            Self::Stale => "stale",
        }
    }
}

impl fmt::Display for Quality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
