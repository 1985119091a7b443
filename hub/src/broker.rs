//! The embedded MQTT broker. Nothing but this module names its crate, so that another can take its place.
//!
//! It keeps nothing on disk: agents hold their events until the hub has them in its record, and announce themselves again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use mqtt5::broker::auth::AuthProvider;
use mqtt5::broker::config::{AuthConfig, BrokerConfig, StorageBackend, StorageConfig};
use mqtt5::broker::{BrokerShutdownHandle, MqttBroker};
use rigwire_shared::time::Timestamp;
use rigwire_shared::wire::MESSAGE_MAX;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

mod guard;
mod rules;

pub use guard::Guard;

/// Above the largest message, for topic and header.
pub const PACKET_MAX: usize = MESSAGE_MAX + 1024;

/// Messages that one slow client may leave queued. Agents send again what a full queue drops.
const QUEUE_PER_CLIENT: usize = 10_000;

/// How long connections may take to end. One that never said who it is would hold the broker for five seconds.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);

/// How often it is looked whose token is no longer good.
const LOOK_EVERY: Duration = Duration::from_secs(1);

pub struct Broker {
    broker: MqttBroker,
    guard: Option<Arc<Guard>>,
    address: SocketAddr,
    stopping: CancellationToken,
}

/// Ends a running broker.
pub struct Stop {
    handle: BrokerShutdownHandle,
    stopping: CancellationToken,
}

impl Broker {
    /// Without a guard everyone may do everything.
    pub async fn bind(address: SocketAddr, guard: Option<Arc<Guard>>) -> anyhow::Result<Self> {
        let storage =
            StorageConfig { backend: StorageBackend::Memory, enable_persistence: false, ..StorageConfig::default() };
        // A guard takes the place of what this would make, and lets nobody in without a name.
        let mut auth = AuthConfig::default().with_allow_anonymous(true);
        auth.rate_limit.enabled = false;
        let config = BrokerConfig::default()
            .with_bind_address(address)
            .with_max_packet_size(PACKET_MAX)
            .with_maximum_qos(1)
            .with_client_channel_capacity(QUEUE_PER_CLIENT)
            .with_storage(storage)
            .with_auth(auth)
            .with_sys_topics_enabled(false);
        let starting = || {
            format!(
                "starting the embedded MQTT broker on {address} (is the port taken? choose another with --mqtt-listen)"
            )
        };
        // The broker's own words about a port that is taken fill five lines.
        drop(TcpListener::bind(address).await.with_context(starting)?);
        let mut broker = MqttBroker::with_config(config).await.with_context(starting)?;
        if let Some(guard) = &guard {
            broker = broker.with_auth_provider(Arc::clone(guard) as Arc<dyn AuthProvider>);
        }
        let address = broker.local_addr().unwrap_or(address);
        Ok(Self { broker, guard, address, stopping: CancellationToken::new() })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn stop_handle(&self) -> Stop {
        Stop { handle: self.broker.shutdown_handle(), stopping: self.stopping.clone() }
    }

    /// Serves until stopped.
    pub async fn run(mut self) -> anyhow::Result<()> {
        let stopping = self.stopping;
        let too_slow = async {
            stopping.cancelled().await;
            tokio::time::sleep(STOP_TIMEOUT).await;
        };
        let router = self.broker.router();
        let put_out = async {
            let Some(guard) = self.guard else { return std::future::pending().await };
            let mut look = tokio::time::interval(LOOK_EVERY);
            loop {
                look.tick().await;
                for client_id in guard.to_put_out(Timestamp::now()) {
                    tracing::info!("{client_id} is put out of the broker: its token is no longer good");
                    router.disconnect_client(&client_id).await;
                }
            }
        };
        tokio::select! {
            () = put_out => Ok(()),
            ended = self.broker.run() => ended.context("the embedded MQTT broker ended"),
            () = too_slow => Ok(()),
        }
    }
}

impl Stop {
    pub fn stop(&self) {
        self.stopping.cancel();
        self.handle.shutdown();
    }
}
