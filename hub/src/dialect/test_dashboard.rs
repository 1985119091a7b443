//! Runs as suite executions for test dashboards: `/api/ws/updates`. Knows no other dialect, no socket and no clock.
//!
//! `message.rs` puts every event into the protocol's words, `envelope.rs` numbers them for one client, `client.rs` reads
//! what clients send, `subscription.rs` decides what they get, `count.rs` is a client's count over all its sockets,
//! `session.rs` implements `Session`, `door.rs` has the paths that lead to it, `rest.rs` its REST neighbours and `login.rs`
//! their log-in. `beyond.rs` has words for the hub's own page, which the published document does not know, and `samples.rs`
//! how often it may be told of samples.

use serde::{Deserialize, Serialize};

use super::{Admission, Room};

pub mod beyond;
mod client;
mod count;
pub mod described;
mod door;
mod envelope;
mod login;
pub mod message;
mod rest;
mod samples;
pub mod session;
mod subscription;

pub(super) const ROOM: Room = Room {
    name: "test_dashboard",
    render: message::render,
    path: |_| "/api/ws/updates".to_owned(),
    shown: "/api/ws/updates",
    admission: |_| Admission::Unlimited,
    routes: door::routes,
    talk: described::talk,
};

/// This protocol sets no numbers that a user could change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {}
