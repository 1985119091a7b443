//! What the hub knows of each protocol as a whole, and how it lets clients in. Knows no protocol by name.

use crate::describe::talk::Talk;
use crate::event::{Event, RunHeader};
use crate::routes::Routes;

use super::{Limits, Rendered};

/// WebSocket close code for what a rule of the server's forbids.
const POLICY: u16 = 1008;

/// One protocol: everything that the rest of the hub asks of it.
#[derive(Debug)]
pub struct Room {
    /// As in URLs of a run, in logs and in figures.
    pub name: &'static str,
    pub render: fn(&Event) -> Vec<Rendered>,
    /// Path on which a run is watched.
    pub path: fn(&RunHeader) -> String,
    /// The same for people, with the run's id left open.
    pub shown: &'static str,
    pub admission: fn(&Limits) -> Admission,
    /// Its sockets and REST neighbours.
    pub routes: fn(Routes) -> Routes,
    /// Its messages and manners, for the descriptions of the interface.
    pub talk: fn() -> Talk,
}

/// How many sockets of a protocol may be open at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    Unlimited,
    /// Of one client: of one token, or without one of one address.
    PerClient(usize),
    Total(usize),
}

/// Why a client is not let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// No token, or one that is not good; why.
    #[error("{0}")]
    Unauthorized(String),
    /// All places are taken.
    #[error("Maximum connections reached")]
    Full { limit: usize },
}

impl Denial {
    /// For protocols whose errors have codes.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unauthorized(_) => "UNAUTHORIZED",
            Self::Full { .. } => "TOO_MANY_CONNECTIONS",
        }
    }

    pub const fn close_code(&self) -> u16 {
        POLICY
    }

    /// What the close says.
    pub fn reason(&self) -> String {
        match self {
            Self::Unauthorized(_) => self.code().to_owned(),
            Self::Full { .. } => self.to_string(),
        }
    }

    /// What the message before it says.
    pub fn explanation(&self) -> String {
        match self {
            Self::Unauthorized(why) => why.clone(),
            Self::Full { limit } => format!("Maximum connections reached: {limit} are open, the most there may be"),
        }
    }
}
