//! The edge agent: drives the devices of one host and reports what happens. Works on when the network is away.

pub mod agent;
mod clock;
pub mod commands;
pub mod config;
mod device;
mod dispatch;
pub mod driver;
mod events;
mod inventory;
pub mod lease;
mod live;
mod mqtt;
mod outbox;
pub mod port;
mod preview;
pub mod profile;
mod program;
pub mod protocol;
mod recorder;
pub mod simulator;
mod spool;
mod step;
mod supervise;
pub mod transport;
