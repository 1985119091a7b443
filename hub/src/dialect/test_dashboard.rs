//! Runs as suite executions for test dashboards: `/api/ws/updates`. Knows no other dialect, no socket and no clock.
//!
//! `message.rs` puts every event into the protocol's words, `envelope.rs` numbers them for one client, `client.rs` reads
//! what clients send, `subscription.rs` decides what they get, `session.rs` implements `Session`. A sixth dialect is a
//! folder of the same shape beside this one, listed in `Dialect`.

mod client;
mod envelope;
pub mod message;
pub mod session;
mod subscription;
