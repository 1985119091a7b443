//! An MQTT client of a test: publishes whatever it wants, garbage too, waits until the broker has it, and listens in.

use std::time::{Duration, Instant};

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
        self.wait_message("a retained message", |payload| Some(payload.to_vec()))
    }

    /// Returns when the broker has taken the subscription.
    pub fn subscribe(&mut self, topic: &str) -> Result<()> {
        self.client.subscribe(topic, QoS::AtLeastOnce).context("queueing a subscription")?;
        self.drive("the broker's acknowledgement", |event| matches!(event, Event::Incoming(Packet::SubAck(_))))
    }

    /// Waits for a message on a subscribed topic of which `pick` makes a value.
    pub fn wait_message<T>(&mut self, what: &str, mut pick: impl FnMut(&[u8]) -> Option<T>) -> Result<T> {
        let mut found = None;
        self.drive(what, |event| {
            if let Event::Incoming(Packet::Publish(publish)) = event {
                found = pick(&publish.payload);
            }
            found.is_some()
        })?;
        found.with_context(|| format!("no message for {what}"))
    }

    fn drive(&mut self, what: &str, mut done: impl FnMut(&Event) -> bool) -> Result<()> {
        let deadline = Instant::now() + wait::PATIENCE;
        loop {
            match self.connection.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(Ok(event)) if done(&event) => return Ok(()),
                Ok(Ok(Event::Outgoing(Outgoing::Disconnect))) => bail!("disconnected while waiting for {what}"),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(error).with_context(|| format!("waiting for {what}")),
                Err(error) => bail!("waited {:?} for {what}: {error:?}", wait::PATIENCE),
            }
        }
    }
}
