//! Runs on a farm of phones and devices: `/ws/executions/{execution_id}` and `/ws/devices`. Knows no other dialect, no
//! socket and no clock.
//!
//! `message.rs` puts every event into the protocol's words, `client.rs` reads what clients send, `limits.rs`,
//! `progress.rs` and `ack.rs` decide how often and how many times one client is told, `session.rs` implements `Session`.
//! A sixth dialect is a folder of the same shape beside this one, listed in `Dialect`.

mod ack;
mod client;
mod limits;
pub mod message;
mod progress;
pub mod session;

pub use limits::Limits;
