//! The hub: aggregates all agents, runs plans on the fleet, keeps the record and serves five published protocols.

pub mod api;
pub mod app;
pub mod broker;
pub mod commands;
pub mod continuity;
pub mod demo;
pub mod dialect;
pub mod error;
pub mod event;
pub mod fanout;
pub mod fleet;
pub mod hub;
pub mod ingest;
pub mod model;
pub mod module;
pub mod mqtt;
pub mod preview;
pub mod procedure;
pub mod procedures;
pub mod router;
pub mod run;
pub mod server;
pub mod settings;
pub mod store;
pub mod template;
pub mod websocket;
