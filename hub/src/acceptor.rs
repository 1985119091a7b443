//! Takes connections and gives each a task of its own, so that no peer waits for another one. Knows no protocol.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::settings::limits::Connections;

pub mod forward;
pub mod http;
mod line;
mod places;
pub mod tls;

pub use places::{Full, Place, Places};

/// Connections that are told at once why they are refused; more than these are closed without a word.
const REFUSALS: usize = 64;

/// Without free file descriptors a connection can be taken only after another one has ended.
const BACKOFF_MIN: Duration = Duration::from_millis(10);
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// How long connections may take to end by themselves once the hub stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);

/// A connection, and whether there is a place for it.
pub struct Arrival {
    pub stream: TcpStream,
    pub peer: SocketAddr,
    pub place: Result<Place, Refusal>,
}

/// A connection for which there is no place, to be told so.
pub struct Refusal {
    pub full: Full,
    _permit: OwnedSemaphorePermit,
}

/// Serves until told to stop; `serve` gets each connection and is told to stop by the same token.
pub async fn run<Served>(
    listener: TcpListener,
    name: &'static str,
    limits: Connections,
    stop: CancellationToken,
    serve: impl Fn(Arrival) -> Served,
) where
    Served: Future<Output = ()> + Send + 'static,
{
    let places = Places::new(limits.total, limits.per_address);
    let refusals = Arc::new(Semaphore::new(REFUSALS));
    let mut refused: u64 = 0;
    let mut backoff = BACKOFF_MIN;
    let mut short_of_files = false;
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
            Some(ended) = connections.join_next() => {
                report(name, ended);
                continue;
            }
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if of_the_peer(&error) => {
                tracing::debug!("a connection to {name} was gone before it was taken: {error}");
                continue;
            }
            Err(error) => {
                if !short_of_files {
                    short_of_files = true;
                    tracing::warn!("{name} takes no connections for the moment: {error}");
                }
                tokio::select! {
                    () = stop.cancelled() => break,
                    () = tokio::time::sleep(backoff) => {}
                }
                backoff = (backoff * 2).min(BACKOFF_MAX);
                continue;
            }
        };
        if short_of_files {
            short_of_files = false;
            backoff = BACKOFF_MIN;
            tracing::info!("{name} takes connections again");
        }
        let place = match places.enter(of_one_host(peer.ip())) {
            Ok(place) => Ok(place),
            Err(full) => {
                refused += 1;
                if refused == 1 {
                    tracing::warn!(%peer, "{name} refuses connections: {full}; further ones are told at level debug");
                } else {
                    tracing::debug!(%peer, refused, "{name} refuses a connection: {full}");
                }
                let Ok(permit) = Arc::clone(&refusals).try_acquire_owned() else { continue };
                Err(Refusal { full, _permit: permit })
            }
        };
        // What is written is meant to be seen at once. A connection that is broken already shows that soon enough.
        stream.set_nodelay(true).ok();
        connections.spawn(serve(Arrival { stream, peer, place }));
    }
    drop(listener);
    let ended = tokio::time::timeout(STOP_TIMEOUT, async {
        while let Some(ended) = connections.join_next().await {
            report(name, ended);
        }
    });
    if ended.await.is_err() {
        connections.shutdown().await;
    }
}

fn report(name: &str, ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!("a connection to {name} panicked: {error}");
    }
}

/// Faults that concern one connection, after which the next one can be taken at once.
fn of_the_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

/// A host with IPv6 has as many addresses as it likes, all in one network.
pub(crate) fn of_one_host(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_host_are_one() {
        for (address, expected) in [
            ("10.0.0.2", "10.0.0.2"),
            ("::ffff:10.0.0.2", "10.0.0.2"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("::1", "::"),
        ] {
            assert_eq!(of_one_host(address.parse().unwrap()), expected.parse::<IpAddr>().unwrap(), "{address}");
        }
    }
}
