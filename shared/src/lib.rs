//! What crosses a process boundary: ids, units, events, commands, topics and their bytes.
//! Knows no other crate of this workspace, no clock, no I/O and, without `alloc`, no heap.
#![cfg_attr(not(feature = "std"), no_std)]

#[cfg(feature = "alloc")]
extern crate alloc;

pub mod firmware;
pub mod frame;
pub mod ids;
pub mod quality;
pub mod time;
pub mod unit;

#[cfg(feature = "alloc")]
pub mod agent;
#[cfg(feature = "alloc")]
pub mod broker;
#[cfg(feature = "alloc")]
mod bytes;
#[cfg(feature = "alloc")]
pub mod command;
#[cfg(feature = "alloc")]
pub mod event;
#[cfg(feature = "schema")]
mod schema;
#[cfg(feature = "alloc")]
pub mod topic;
#[cfg(feature = "alloc")]
pub mod value;
#[cfg(feature = "alloc")]
pub mod wire;
