//! The hub: aggregates all agents, runs plans on the fleet, keeps the record and serves five published protocols.

pub mod dialect;
pub mod event;
pub mod fanout;
