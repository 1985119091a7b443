//! The connection to the broker. Alone names rumqttc; knows nothing of devices or of the disk.
//!
//! Each connection has a new client: one that is used again after an error can stay mute for ever. Nothing is kept here that
//! the spool does not keep too.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rigwire_shared::agent::{AgentState, Inventory};
use rigwire_shared::command::{Ack, Command};
use rigwire_shared::ids::{AgentId, Epoch};
use rigwire_shared::time::Timestamp;
use rigwire_shared::topic::{Channel, Topic};
use rigwire_shared::wire::{self, MESSAGE_MAX};
use rumqttc::{
    AsyncClient, ClientError, ConnectReturnCode, ConnectionError, Event, EventLoop, LastWill, MqttOptions,
    NetworkOptions, Outgoing, Packet, QoS, SubscribeFilter, SubscribeReasonCode, Transport,
};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock::HubClock;
use crate::config::BrokerAddress;
use crate::device::HubLink;
use crate::live::LiveSlots;
use crate::recorder::Link;
use crate::spool::SpooledBatch;

mod backoff;

use backoff::Backoff;

const KEEP_ALIVE: Duration = Duration::from_secs(30);
const CONNECT_WITHIN_SECONDS: u64 = 5;
/// Topic, packet id and lengths around the largest message.
const PACKET_MAX: usize = MESSAGE_MAX + 1024;
/// More than the outbox's window, so that a batch never waits behind another packet's acknowledgement.
const IN_FLIGHT: u16 = 100;
/// A device that comes and goes does not flood the retained topic.
const INVENTORY_EVERY: Duration = Duration::from_millis(200);
/// How long the last message may take to be confirmed by the broker.
const GOODBYE: Duration = Duration::from_millis(500);
/// A connection that lasted this long was a good one: the next is tried at once.
const GOOD_CONNECTION: Duration = Duration::from_secs(5);

pub(crate) struct Mqtt {
    pub(crate) agent: AgentId,
    pub(crate) epoch: Epoch,
    pub(crate) host: String,
    pub(crate) hub: BrokerAddress,
    pub(crate) transport: Transport,
    pub(crate) recorder: mpsc::Sender<Link>,
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) live: LiveSlots,
    pub(crate) inventory: watch::Receiver<Inventory>,
    /// Changes when the hub wants state and inventory again.
    pub(crate) announcements: watch::Receiver<u64>,
    pub(crate) link: watch::Sender<HubLink>,
    pub(crate) clock: HubClock,
}

/// Runs until shutdown. No fault of the network ends it.
pub(crate) async fn run(mut mqtt: Mqtt, shutdown: CancellationToken) -> anyhow::Result<()> {
    let mut backoff = Backoff::new(seed(&mqtt.agent));
    loop {
        let began = Instant::now();
        let error = match mqtt.connection(&shutdown).await {
            Ended::Stopped => return Ok(()),
            Ended::Failed(_) if shutdown.is_cancelled() => return Ok(()),
            Ended::Failed(error) => error,
        };
        let was_connected = mqtt.link.send_if_modified(|link| {
            let was = link.connected;
            if was {
                link.connected = false;
                link.since = Instant::now();
            }
            was
        });
        // Nobody is left to tell when the agent stops.
        mqtt.recorder.send(Link::Down).await.ok();
        if was_connected && began.elapsed() >= GOOD_CONNECTION {
            backoff.reset();
        }
        let wait = backoff.next();
        if backoff.is_first() {
            tracing::warn!(hub = %mqtt.hub, error, "no connection to the hub's broker; trying again");
        } else {
            tracing::debug!(hub = %mqtt.hub, error, wait_ms = wait.as_millis(), "still no connection");
        }
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = tokio::time::sleep(wait) => {}
        }
    }
}

enum Ended {
    Stopped,
    Failed(String),
}

/// What the polling future tells the talking one.
#[derive(Default)]
struct Progress {
    connected: AtomicBool,
    /// Messages at QoS 1 that were handed over, and that the broker confirmed.
    sent: AtomicU64,
    confirmed: AtomicU64,
    /// Messages at QoS 0 that were handed over, and that the network took.
    shown: AtomicU64,
    written: AtomicU64,
    changed: Notify,
}

/// The talking end of one connection.
struct Talk<'a> {
    client: &'a AsyncClient,
    progress: &'a Progress,
}

impl Talk<'_> {
    /// Waits while the client's queue is full: the polling future runs beside this one and empties it.
    async fn publish(&self, topic: &str, retain: bool, bytes: Vec<u8>) -> Result<(), ClientError> {
        self.progress.sent.fetch_add(1, Ordering::Relaxed);
        self.client.publish(topic, QoS::AtLeastOnce, retain, bytes).await
    }

    /// The newest frame of each device waits until the network took the one before: a slow network makes fewer of them, not
    /// older ones.
    fn may_show(&self) -> bool {
        self.progress.shown.load(Ordering::Relaxed) <= self.progress.written.load(Ordering::Relaxed)
    }

    fn show(&self, topic: &str, bytes: Option<Vec<u8>>) {
        let Some(bytes) = bytes else { return };
        // One that finds no room is dropped: batches come first, and the next frame is newer.
        if self.client.try_publish(topic, QoS::AtMostOnce, false, bytes).is_ok() {
            self.progress.shown.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Mqtt {
    /// One connection. Two futures share it: one polls and never waits for the other's queue, one talks.
    async fn connection(&mut self, shutdown: &CancellationToken) -> Ended {
        let (client, event_loop) = AsyncClient::new(self.options(), usize::from(IN_FLIGHT));
        let progress = Progress::default();
        let mut incoming = Incoming {
            recorder: self.recorder.clone(),
            commands: self.commands.clone(),
            link: self.link.clone(),
            clock: std::mem::take(&mut self.clock),
            down: self.topic(Channel::Down),
            ack: self.topic(Channel::Ack),
        };
        let talk = Talk { client: &client, progress: &progress };
        let ended = tokio::select! {
            error = poll(event_loop, &mut incoming, &progress) => Ended::Failed(error),
            ended = self.talk(&talk, shutdown) => ended,
        };
        self.clock = incoming.clock;
        ended
    }

    async fn talk(&mut self, talk: &Talk<'_>, shutdown: &CancellationToken) -> Ended {
        while !talk.progress.connected.load(Ordering::Relaxed) {
            tokio::select! {
                () = shutdown.cancelled() => return Ended::Stopped,
                () = talk.progress.changed.notified() => {}
            }
        }
        match self.serve(talk, shutdown).await {
            Ok(()) => self.say_goodbye(talk).await,
            Err(error) => Ended::Failed(error.to_string()),
        }
    }

    /// Announces the agent and then sends what there is to send, until shutdown.
    async fn serve(&mut self, talk: &Talk<'_>, shutdown: &CancellationToken) -> Result<(), ClientError> {
        tracing::info!(hub = %self.hub, "connected to the hub's broker");
        let filters =
            [Channel::Down, Channel::Ack].map(|channel| SubscribeFilter::new(self.topic(channel), QoS::AtLeastOnce));
        talk.client.subscribe_many(filters).await?;
        self.publish_state(talk, true, "connected").await?;
        self.publish_inventory(talk).await?;
        self.link.send_modify(|link| {
            link.connected = true;
            link.since = Instant::now();
        });
        // Small: the window of the outbox bounds what is on its way. When full, the recorder keeps the next batch.
        let (sender, mut batches) = mpsc::channel(8);
        self.recorder.send(Link::Up(sender)).await.ok();
        let up = self.topic(Channel::Up);
        let live = self.topic(Channel::Live);
        self.live.clear();
        let mut inventory_at: Option<Instant> = None;
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                Some(batch) = batches.recv() => self.publish_batch(talk, &up, &batch).await?,
                Ok(()) = self.inventory.changed() => {
                    inventory_at.get_or_insert_with(|| Instant::now() + INVENTORY_EVERY);
                }
                Ok(()) = self.announcements.changed() => {
                    self.publish_state(talk, true, "connected").await?;
                    self.publish_inventory(talk).await?;
                }
                () = at(inventory_at) => {
                    inventory_at = None;
                    self.publish_inventory(talk).await?;
                }
                frame = self.live.next(), if talk.may_show() => talk.show(&live, encoded(&frame)),
                () = talk.progress.changed.notified() => {}
            }
        }
        // What the recorder had handed over before it ended.
        while let Ok(batch) = batches.try_recv() {
            self.publish_batch(talk, &up, &batch).await?;
        }
        Ok(())
    }

    /// A clean end suppresses the last will, so the agent says itself that it leaves.
    async fn say_goodbye(&mut self, talk: &Talk<'_>) -> Ended {
        let goodbye = async {
            self.publish_state(talk, false, "the agent was stopped").await.ok()?;
            while talk.progress.confirmed.load(Ordering::Relaxed) < talk.progress.sent.load(Ordering::Relaxed) {
                talk.progress.changed.notified().await;
            }
            talk.client.disconnect().await.ok()?;
            // The broker closes the connection: the polling future ends, and with it this one.
            std::future::pending::<Option<Infallible>>().await
        };
        tokio::time::timeout(GOODBYE, goodbye).await.ok();
        Ended::Stopped
    }

    async fn publish_batch(&self, talk: &Talk<'_>, topic: &str, batch: &SpooledBatch) -> Result<(), ClientError> {
        match wire::encode_batch(batch.position, batch.previous, &batch.events) {
            Ok(bytes) => talk.publish(topic, false, bytes).await,
            Err(error) => {
                tracing::error!(position = %batch.position, %error, "a batch cannot be sent");
                Ok(())
            }
        }
    }

    async fn publish_state(&self, talk: &Talk<'_>, online: bool, cause: &str) -> Result<(), ClientError> {
        let Some(bytes) = encoded(&self.state(online, cause)) else { return Ok(()) };
        talk.publish(&self.topic(Channel::State), true, bytes).await
    }

    async fn publish_inventory(&mut self, talk: &Talk<'_>) -> Result<(), ClientError> {
        let Some(bytes) = encoded(&*self.inventory.borrow_and_update()) else { return Ok(()) };
        talk.publish(&self.topic(Channel::Inventory), true, bytes).await
    }

    fn state(&self, online: bool, cause: &str) -> AgentState {
        AgentState {
            epoch: self.epoch,
            online,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            host: self.host.clone(),
            cause: cause.to_owned(),
        }
    }

    fn topic(&self, channel: Channel) -> String {
        Topic::Agent(self.agent.clone(), channel).text()
    }

    fn options(&self) -> MqttOptions {
        let mut options = MqttOptions::new(format!("rigwire-agent-{}", self.agent), self.hub.host(), self.hub.port());
        options
            .set_keep_alive(KEEP_ALIVE)
            .set_clean_session(false)
            .set_max_packet_size(PACKET_MAX, PACKET_MAX)
            .set_inflight(IN_FLIGHT)
            .set_transport(self.transport.clone());
        if let Some((user, password)) = self.hub.credentials() {
            options.set_credentials(user, password);
        }
        if let Some(bytes) = encoded(&self.state(false, "connection lost")) {
            options.set_last_will(LastWill::new(self.topic(Channel::State), bytes, QoS::AtLeastOnce, true));
        }
        options
    }
}

struct Incoming {
    recorder: mpsc::Sender<Link>,
    commands: mpsc::Sender<Command>,
    link: watch::Sender<HubLink>,
    clock: HubClock,
    down: String,
    ack: String,
}

/// Polls until the connection fails, and says why. Waits only for tasks that never wait for this one.
async fn poll(mut event_loop: EventLoop, incoming: &mut Incoming, progress: &Progress) -> String {
    let mut network = NetworkOptions::new();
    network.set_connection_timeout(CONNECT_WITHIN_SECONDS);
    network.set_tcp_nodelay(true);
    event_loop.set_network_options(network);
    loop {
        match event_loop.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(_))) => {
                progress.connected.store(true, Ordering::Relaxed);
                progress.changed.notify_one();
            }
            Ok(Event::Incoming(Packet::PubAck(_))) => {
                progress.confirmed.fetch_add(1, Ordering::Relaxed);
                progress.changed.notify_one();
            }
            Ok(Event::Incoming(Packet::SubAck(answer))) => {
                if answer.return_codes.contains(&SubscribeReasonCode::Failure) {
                    return format!("the broker does not let this agent read {} and {}", incoming.down, incoming.ack);
                }
            }
            // Only what is sent at QoS 0 has no number.
            Ok(Event::Outgoing(Outgoing::Publish(0))) => {
                progress.written.fetch_add(1, Ordering::Relaxed);
                progress.changed.notify_one();
            }
            Ok(Event::Incoming(Packet::Publish(message))) => incoming.take(&message.topic, &message.payload).await,
            Ok(Event::Incoming(_) | Event::Outgoing(_)) => {}
            Err(error) => return describe(&error),
        }
    }
}

impl Incoming {
    async fn take(&mut self, topic: &str, payload: &[u8]) {
        if topic == self.ack {
            match wire::decode::<Ack>(payload) {
                Ok(ack) => {
                    let time = self.clock.heard(ack.hub_time, Instant::now());
                    self.link.send_if_modified(|link| {
                        link.time = Some(time);
                        // Nobody needs to wake for a clock.
                        false
                    });
                    self.recorder.send(Link::Acknowledged(ack)).await.ok();
                }
                Err(error) => tracing::warn!(%error, topic, "an acknowledgement of the hub cannot be read"),
            }
        } else if topic == self.down {
            match wire::decode::<Command>(payload) {
                Ok(command) => {
                    self.commands.send(command).await.ok();
                }
                Err(error) => tracing::warn!(%error, topic, "a command of the hub cannot be read"),
            }
        } else {
            tracing::debug!(topic, "a message on a topic that nobody asked for");
        }
    }
}

fn encoded<T: serde::Serialize>(message: &T) -> Option<Vec<u8>> {
    match wire::encode(message) {
        Ok(bytes) => Some(bytes),
        Err(error) => {
            tracing::error!(%error, "a message cannot be encoded");
            None
        }
    }
}

fn describe(error: &ConnectionError) -> String {
    match error {
        ConnectionError::ConnectionRefused(ConnectReturnCode::BadUserNamePassword | ConnectReturnCode::NotAuthorized) => {
            "the broker refuses user and password: expected hub = \"mqtt://AGENT:TOKEN@host\" with this agent's id and a \
             token of `rigwire token create --agent AGENT` that was not revoked"
                .to_owned()
        }
        ConnectionError::ConnectionRefused(code) => format!("the broker refused the connection: {code:?}"),
        ConnectionError::NetworkTimeout => "the broker did not answer in time".to_owned(),
        ConnectionError::FlushTimeout => "the broker took nothing more".to_owned(),
        ConnectionError::Io(error) => error.to_string(),
        ConnectionError::MqttState(error) => error.to_string(),
        #[cfg(feature = "tls")]
        ConnectionError::Tls(error) => format!("no TLS connection: {error}"),
        ConnectionError::NotConnAck(_) => "what answered is no MQTT broker".to_owned(),
        ConnectionError::RequestsDone => "the client ended".to_owned(),
    }
}

/// Agents that lost the same broker must not return in step.
fn seed(agent: &AgentId) -> u64 {
    agent.as_str().bytes().fold(u64::try_from(Timestamp::now().0).unwrap_or(1), |seed, byte| {
        seed.rotate_left(5).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ u64::from(byte)
    })
}

async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
