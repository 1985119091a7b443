//! The embedded MQTT broker. The only file that names its crate, so that another can take its place.
//!
//! It keeps nothing on disk: agents hold their events until the hub has them in its record, and announce themselves again.

use std::net::SocketAddr;

use anyhow::Context;
use mqtt5::broker::config::{AuthConfig, BrokerConfig, StorageBackend, StorageConfig};
use mqtt5::broker::{BrokerShutdownHandle, MqttBroker};
use rigwire_shared::wire::MESSAGE_MAX;

/// Above the largest message, for topic and header.
pub const PACKET_MAX: usize = MESSAGE_MAX + 1024;

/// Messages that one slow client may leave queued. Agents send again what a full queue drops.
const QUEUE_PER_CLIENT: usize = 10_000;

pub struct Broker {
    broker: MqttBroker,
    address: SocketAddr,
}

/// Ends a running broker.
pub struct Stop(BrokerShutdownHandle);

impl Broker {
    pub async fn bind(address: SocketAddr) -> anyhow::Result<Self> {
        let storage =
            StorageConfig { backend: StorageBackend::Memory, enable_persistence: false, ..StorageConfig::default() };
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
        let broker = MqttBroker::with_config(config).await.with_context(|| {
            format!(
                "starting the embedded MQTT broker on {address} (is the port taken? choose another with --mqtt-listen)"
            )
        })?;
        let address = broker.local_addr().unwrap_or(address);
        Ok(Self { broker, address })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn stop_handle(&self) -> Stop {
        Stop(self.broker.shutdown_handle())
    }

    /// Serves until stopped.
    pub async fn run(mut self) -> anyhow::Result<()> {
        self.broker.run().await.context("the embedded MQTT broker ended")
    }
}

impl Stop {
    pub fn stop(&self) {
        self.0.shutdown();
    }
}
