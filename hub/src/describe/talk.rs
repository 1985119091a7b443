//! What a protocol says of its sockets: its messages in both directions, with their shapes taken from the types that are
//! written, and its manners. Knows no server and no protocol.

use schemars::JsonSchema;

use super::{SchemaOf, schema_of};

#[derive(Debug, Clone)]
pub struct Talk {
    pub summary: &'static str,
    /// Greeting, limits and closes.
    pub manners: &'static str,
    /// Type whose fields are parameters of the URL's query.
    pub query: Option<SchemaOf>,
    pub messages: Vec<Spoken>,
}

#[derive(Debug, Clone)]
pub struct Spoken {
    pub side: Side,
    /// The message's `type`.
    pub name: &'static str,
    pub summary: &'static str,
    pub schema: SchemaOf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    Hub,
    Client,
}

impl Side {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hub => "hub",
            Self::Client => "client",
        }
    }
}

/// A message that the hub sends.
pub const fn told<T: JsonSchema>(name: &'static str, summary: &'static str) -> Spoken {
    Spoken { side: Side::Hub, name, summary, schema: schema_of::<T>() }
}

/// A message that a client sends.
pub const fn heard<T: JsonSchema>(name: &'static str, summary: &'static str) -> Spoken {
    Spoken { side: Side::Client, name, summary, schema: schema_of::<T>() }
}
