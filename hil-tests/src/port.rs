//! Free loopback ports. They lie below the range that the kernel hands to clients, so that an outgoing connection of a test
//! never takes a port that a server is about to listen on, or to come back to.

use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use anyhow::{Result, bail};

const LOWEST: u16 = 20_000;
const ANSWER: Duration = Duration::from_secs(1);

static NEXT: AtomicU16 = AtomicU16::new(0);

pub fn free() -> Result<u16> {
    let highest = ephemeral_start().unwrap_or(32_768).max(LOWEST + 1000);
    let span = highest - LOWEST;
    for _ in 0..span {
        // Test programs that run at the same time start at different places.
        let start = u64::from(std::process::id()) * 37;
        let place = (start + u64::from(NEXT.fetch_add(1, Ordering::Relaxed))) % u64::from(span);
        let port = LOWEST + u16::try_from(place)?;
        // Asked by connecting: a socket bound here to try would be inherited by a program that another thread is just
        // starting, and for a moment hold the port.
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpStream::connect_timeout(&address, ANSWER).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
        {
            return Ok(port);
        }
    }
    bail!("no free port between {LOWEST} and {highest} on 127.0.0.1")
}

fn ephemeral_start() -> Option<u16> {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    range.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_port_that_is_listened_on_is_never_given() {
        let listeners: Vec<TcpListener> =
            (0..20).filter_map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, free().unwrap())).ok()).collect();
        assert!(!listeners.is_empty());
        NEXT.store(0, Ordering::Relaxed);
        let taken: Vec<u16> = listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect();
        for _ in 0..40 {
            let port = free().unwrap();
            assert!(!taken.contains(&port), "{port} is taken");
        }
    }
}
