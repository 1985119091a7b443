//! Runs as workflows for interactive clients: `/ws/events` and `/ws/workflow`. Knows no other dialect, no socket and no
//! clock.
//!
//! `message.rs` puts every event into the protocol's words, `graph.rs` draws a run's steps as nodes and edges,
//! `vocabulary.rs` knows the names that a subscription may use, `order.rs` reads what clients want done, `dsl.rs` says what
//! came of it, `session.rs` implements `Session`, `door.rs` has the paths, `rest.rs` the REST
//! neighbours.

use super::{Admission, Room};

pub mod described;
mod door;
mod dsl;
mod graph;
pub mod message;
mod order;
mod rest;
pub mod session;
mod vocabulary;

pub use session::Limits;

pub(super) const ROOM: Room = Room {
    name: "agent_events",
    render: message::render,
    path: |_| "/ws/events".to_owned(),
    shown: "/ws/events",
    admission: |limits| Admission::Total(limits.agent_events.connections),
    routes: door::routes,
    talk: described::talk,
};
