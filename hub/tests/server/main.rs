//! A whole hub in this process, talked to from outside: HTTP, sockets and the broker.
#![expect(clippy::unwrap_used, reason = "a test says what it looks for and panics otherwise")]

mod access;
mod artifacts;
mod broker;
mod campaigns;
mod chat;
mod commands;
mod connections;
mod credentials;
mod dashboard;
mod durable;
mod external;
mod leases;
mod limits;
mod neighbours;
mod pages;
mod reports;
mod rest;
mod sockets;
mod stats;
mod stop;
mod support;
mod tls;
mod told;
