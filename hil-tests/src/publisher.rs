//! An MQTT client that publishes whatever a test wants, garbage too, and waits until the broker has it.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use rumqttc::{Client, Connection, Event, MqttOptions, Outgoing, Packet, QoS};

use crate::wait;

pub struct Publisher {
    client: Client,
    connection: Connection,
}

impl Publisher {
    pub fn connect(name: &str, port: u16) -> Result<Self> {
        let mut options = MqttOptions::new(name, "127.0.0.1", port);
        options.set_keep_alive(Duration::from_secs(30));
        options.set_max_packet_size(4 << 20, 4 << 20);
        // Nobody else takes from the queue, and one message is in it at a time.
        let (client, connection) = Client::new(options, 8);
        let mut publisher = Self { client, connection };
        publisher.drive("the broker's welcome", |event| matches!(event, Event::Incoming(Packet::ConnAck(_))))?;
        Ok(publisher)
    }

    /// At QoS 1; returns when the broker has taken it.
    pub fn publish(&mut self, topic: &str, retain: bool, payload: &[u8]) -> Result<()> {
        self.client.publish(topic, QoS::AtLeastOnce, retain, payload).context("queueing a message")?;
        self.drive("the broker's acknowledgement", |event| matches!(event, Event::Incoming(Packet::PubAck(_))))
    }

    /// What is retained on a topic. Waits for it to arrive.
    pub fn retained(&mut self, topic: &str) -> Result<Vec<u8>> {
        self.client.subscribe(topic, QoS::AtLeastOnce).context("queueing a subscription")?;
        let mut payload = None;
        self.drive("a retained message", |event| {
            if let Event::Incoming(Packet::Publish(publish)) = event {
                payload = Some(publish.payload.to_vec());
            }
            payload.is_some()
        })?;
        payload.context("a message without a payload")
    }

    fn drive(&mut self, what: &str, mut done: impl FnMut(&Event) -> bool) -> Result<()> {
        loop {
            match self.connection.recv_timeout(wait::PATIENCE) {
                Ok(Ok(event)) if done(&event) => return Ok(()),
                Ok(Ok(Event::Outgoing(Outgoing::Disconnect))) => bail!("disconnected while waiting for {what}"),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(error).with_context(|| format!("waiting for {what}")),
                Err(error) => bail!("waited {:?} for {what}: {error:?}", wait::PATIENCE),
            }
        }
    }
}
