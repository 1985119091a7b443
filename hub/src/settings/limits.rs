//! The table `[limits]` of the hub's file: how much a client may take. Each key has its unit in its name, or a duration such as
//! "90s" as its value, and may be left out.

use std::num::NonZeroU32;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{dialect, websocket};

const fn number(number: u32) -> NonZeroU32 {
    match NonZeroU32::new(number) {
        Some(number) => number,
        None => NonZeroU32::MIN,
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Limits {
    /// Connections to the HTTP server, sockets among them.
    pub connections: NonZeroU32,
    /// Of one address; of one network of 64 bits with IPv6, which is what one host has.
    pub connections_per_address: NonZeroU32,
    /// Connections to the broker over TLS.
    pub mqtt_connections: NonZeroU32,
    pub mqtt_connections_per_address: NonZeroU32,
    /// The first line of a request and its headers.
    pub request_head_kib: NonZeroU32,
    pub request_headers: NonZeroU32,
    /// From the connection, or from the first byte on a connection that is kept, to the end of the head.
    pub request_head_seconds: NonZeroU32,
    pub tls_handshake_seconds: NonZeroU32,
    /// How long a connection without a request is kept.
    pub keep_alive_seconds: NonZeroU32,
    /// How long nothing may come of a body that is on its way, or nothing of an answer be taken.
    pub stall_seconds: NonZeroU32,
    pub sockets: websocket::Limits,
    pub protocols: dialect::Limits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: number(16_000),
            connections_per_address: number(8_000),
            mqtt_connections: number(10_000),
            mqtt_connections_per_address: number(500),
            request_head_kib: number(32),
            request_headers: number(100),
            request_head_seconds: number(10),
            tls_handshake_seconds: number(10),
            keep_alive_seconds: number(75),
            stall_seconds: number(30),
            sockets: websocket::Limits::default(),
            protocols: dialect::Limits::default(),
        }
    }
}

/// The part for whoever accepts connections.
#[derive(Debug, Clone, Copy)]
pub struct Connections {
    pub total: usize,
    pub per_address: usize,
    pub handshake: Duration,
}

/// The part for HTTP.
#[derive(Debug, Clone, Copy)]
pub struct Requests {
    pub head_bytes: usize,
    pub headers: usize,
    pub head: Duration,
    pub keep_alive: Duration,
    pub stall: Duration,
}

impl Limits {
    pub fn connections(&self) -> Connections {
        Connections {
            total: count(self.connections),
            per_address: count(self.connections_per_address),
            handshake: seconds(self.tls_handshake_seconds),
        }
    }

    pub fn mqtt_connections(&self) -> Connections {
        Connections {
            total: count(self.mqtt_connections),
            per_address: count(self.mqtt_connections_per_address),
            handshake: seconds(self.tls_handshake_seconds),
        }
    }

    pub fn requests(&self) -> Requests {
        Requests {
            head_bytes: count(self.request_head_kib).saturating_mul(1024),
            headers: count(self.request_headers),
            head: seconds(self.request_head_seconds),
            keep_alive: seconds(self.keep_alive_seconds),
            stall: seconds(self.stall_seconds),
        }
    }
}

fn count(number: NonZeroU32) -> usize {
    usize::try_from(number.get()).unwrap_or(usize::MAX)
}

fn seconds(number: NonZeroU32) -> Duration {
    Duration::from_secs(u64::from(number.get()))
}
