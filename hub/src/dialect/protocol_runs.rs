//! Progress of one lab protocol run, pushed to whoever watches it: `/api/v1/ws/execution/{run_id}`.
//! Knows no other dialect, no socket and no clock.
//!
//! A sixth dialect is a folder like this one: `message.rs` puts every event into the protocol's words, or says with an
//! explicit arm that it has none; `session.rs` implements `Session`. Add it to `Dialect` and follow the compiler, route its
//! URL, and give it golden files and transcripts under `tests/golden/`.

pub mod message;
pub mod session;
