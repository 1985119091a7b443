//! Progress of solver runs and optimisation studies: `/api/v2/ws/runs/{run_id}` and
//! `/api/v2/ws/optimizations/{optimization_id}`. Knows no other dialect, no socket and no clock.
//!
//! `message.rs` puts every event into the protocol's words, or says with an explicit arm that it has none; `session.rs`
//! implements `Session`. A sixth dialect is a folder of the same shape beside this one, listed in `Dialect`.

pub mod message;
pub mod session;
