//! The hub: aggregates all agents, runs plans on the fleet, keeps the record and serves five published protocols.

pub mod dialect;
pub mod event;
pub mod fanout;
pub mod fleet;
pub mod model;
pub mod module;
pub mod procedure;
pub mod run;
pub mod template;
