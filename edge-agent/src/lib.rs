//! The edge agent: drives the devices of one host and reports what happens. Works on when the network is away.

pub mod driver;
mod spool;
