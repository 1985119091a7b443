//! Progress of solver runs and optimisation studies: `/api/v2/ws/runs/{run_id}` and
//! `/api/v2/ws/optimizations/{optimization_id}`. Knows no other dialect, no socket and no clock.
//!
//! `message.rs` puts every event into the protocol's words, or says with an explicit arm that it has none; `session.rs`
//! implements `Session`; `door.rs` has the paths that lead to it.

use serde::{Deserialize, Serialize};

use super::{Admission, Room};

pub mod described;
mod door;
pub mod message;
mod rest;
pub mod session;

pub(super) const ROOM: Room = Room {
    name: "solver_runs",
    render: message::render,
    path: |run| format!("/api/v2/ws/runs/{}", run.id),
    shown: "/api/v2/ws/runs/{run}",
    admission: |_| Admission::Unlimited,
    routes: door::routes,
    talk: described::talk,
};

/// This protocol sets no numbers that a user could change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {}
