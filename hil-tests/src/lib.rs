//! Whole-system tests: the parts of Rigwire as separate programs, a real broker, simulated instruments on real ptys and a
//! client that shares no code with the hub. No other crate uses this one.

pub mod agent;
pub mod broker;
pub mod browser;
pub mod camera;
pub mod dialects;
pub mod examples;
pub mod hub;
pub mod node;
pub mod port;
pub mod procedures;
pub mod process;
pub mod proxy;
pub mod publisher;
pub mod rest;
pub mod rig;
pub mod simulator;
pub mod soak;
pub mod told;
pub mod user;
pub mod wait;
pub mod watcher;
