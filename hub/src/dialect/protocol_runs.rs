//! Progress of one lab protocol run, pushed to whoever watches it: `/api/v1/ws/execution/{run_id}`.
//! Knows no other dialect, no socket and no clock.
//!
//! A sixth dialect is a folder like this one: `message.rs` puts every event into the protocol's words, or says with an
//! explicit arm that it has none; `session.rs` implements `Session`; `door.rs` has the paths that lead to it. Enter it in the
//! list in `dialect.rs`, and give it golden files and transcripts under `tests/golden/`.

use serde::{Deserialize, Serialize};

use super::{Admission, Room};

pub mod described;
mod door;
pub mod message;
mod rest;
pub mod session;

pub(super) const ROOM: Room = Room {
    name: "protocol_runs",
    render: message::render,
    path: |run| format!("/api/v1/ws/execution/{}", run.id),
    shown: "/api/v1/ws/execution/{run}",
    admission: |_| Admission::Unlimited,
    routes: door::routes,
    talk: described::talk,
};

/// This protocol sets no numbers that a user could change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {}
