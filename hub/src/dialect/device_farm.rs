//! Runs on a farm of phones and devices: `/ws/executions/{execution_id}` and `/ws/devices`. Knows no other dialect, no
//! socket and no clock.
//!
//! `message.rs` puts every event into the protocol's words, `client.rs` reads what clients send, `limits.rs`,
//! `progress.rs` and `ack.rs` decide how often and how many times one client is told, `session.rs` implements `Session`.
//! `door.rs` has the paths that lead to it.

use super::{Admission, Room};

mod ack;
mod client;
pub mod described;
mod door;
mod limits;
pub mod message;
mod progress;
mod rest;
pub mod session;

pub use limits::Limits;

pub(super) const ROOM: Room = Room {
    name: "device_farm",
    render: message::render,
    path: |run| format!("/ws/executions/{}", run.id),
    shown: "/ws/executions/{run}",
    admission: |limits| Admission::PerClient(limits.device_farm.connections),
    routes: door::routes,
    talk: described::talk,
};
