//! Who may do what: roles, and who asks. Knows no request and no file.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use rigwire_shared::ids::AgentId;
use rigwire_shared::time::Timestamp;
use serde::{Deserialize, Serialize};

pub mod book;
pub mod doorman;
pub mod gate;
pub mod keeper;
pub mod origin;
pub mod token;

/// What a person or program may do. Each may do what the ones before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Looks at everything.
    Viewer,
    /// Runs, reserves and changes what may be changed.
    Operator,
    /// Sees who is connected.
    Admin,
}

impl Role {
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Operator, Self::Admin];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whom a token is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bearer {
    /// A person or program, with a role.
    Role(Role),
    /// An agent: its way into the broker, and no more than that.
    Agent(AgentId),
}

/// Someone who is let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// Of the token; for logs and for people.
    pub name: Arc<str>,
    pub role: Role,
    /// `None` where no token is needed.
    pub token: Option<Arc<str>>,
    pub expires_at: Option<Timestamp>,
}

impl Principal {
    /// Whoever reaches a hub that asks for no token.
    pub fn anyone() -> Self {
        Self { name: Arc::from("anyone"), role: Role::Admin, token: None, expires_at: None }
    }
}

/// Who makes a request, or why nobody that is known.
#[derive(Debug, Clone)]
pub struct Caller {
    pub who: Result<Principal, Refused>,
    pub address: IpAddr,
}

/// Why a token is not taken. Never holds the token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("a token is needed: as ?token= in the URL or in the header Authorization: Bearer")]
    Missing,
    #[error("the token is not valid")]
    Invalid,
    #[error("the token ran out at {}", crate::dialect::rfc3339(*.0))]
    Expired(Timestamp),
    #[error("the token was revoked")]
    Revoked,
    #[error("the token of agent {0} lets an agent into the broker and nobody in here")]
    OfAnAgent(AgentId),
    /// The hub cannot tell.
    #[error("tokens cannot be checked at the moment")]
    Unreadable,
}

impl Caller {
    /// One client for limits: whoever has the same token, or without one the same address.
    pub fn client(&self) -> Client {
        match &self.who {
            Ok(Principal { token: Some(token), .. }) => Client::Token(Arc::clone(token)),
            Ok(_) | Err(_) => Client::Address(self.address),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Client {
    Token(Arc<str>),
    Address(IpAddr),
}
