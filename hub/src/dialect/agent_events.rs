//! Runs as workflows for interactive clients: `/ws/events` and `/ws/workflow`. Knows no other dialect, no socket and no
//! clock.
//!
//! `message.rs` puts every event into the protocol's words, `graph.rs` draws a run's steps as nodes and edges,
//! `vocabulary.rs` knows the names that a subscription may use, `order.rs` reads what clients want done, `dsl.rs` says what
//! came of it, `session.rs` implements `Session`. A sixth dialect is a
//! folder of the same shape beside this one, listed in `Dialect`.

mod dsl;
mod graph;
pub mod message;
mod order;
pub mod session;
mod vocabulary;
