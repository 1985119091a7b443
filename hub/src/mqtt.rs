//! The hub as an ordinary MQTT client of whatever broker there is. The only file that names rumqttc.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rigwire_shared::broker::BrokerAddress;
use rigwire_shared::command::Ack;
use rigwire_shared::ids::AgentId;
use rigwire_shared::topic::{Channel, Topic};
use rigwire_shared::wire;
use rumqttc::{
    AsyncClient, Event, EventLoop, Incoming, MqttOptions, NetworkOptions, Publish, QoS, SubscribeReasonCode, Transport,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::broker::PACKET_MAX;
use crate::ingest::Message;
use crate::model::Effect;

const KEEP_ALIVE: Duration = Duration::from_secs(30);
const BACKOFF_MAX: Duration = Duration::from_secs(10);
const BACKOFF_MIN: Duration = Duration::from_millis(100);

/// A broker that takes nothing for so long is reconnected, so that the record does not wait for it.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(5);

/// Requests that wait inside the client. When full, the publisher waits; the polling task never publishes.
const REQUESTS: usize = 256;

/// The broker, and what the hub is there.
pub struct Link {
    pub address: BrokerAddress,
    pub transport: Transport,
    pub client_id: String,
    /// Answers to questions of the chat come this way.
    pub takes_chat_answers: bool,
}

/// Keeps connected until told to stop; every message goes to `messages`, in order. Effects are published as they come.
pub async fn run(
    link: Link,
    messages: mpsc::Sender<Message>,
    mut effects: mpsc::Receiver<Vec<Effect>>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let Link { address, transport, client_id, takes_chat_answers } = link;
    let answers = takes_chat_answers.then(|| Topic::ChatAnswer.text());
    let mut backoff = BACKOFF_MIN;
    let mut told = false;
    while !shutdown.is_cancelled() {
        let (client, mut events) = connect(&address, &transport, &client_id);
        let outcome = serve(&client, &mut events, &messages, &mut effects, &shutdown, answers.as_deref(), || {
            backoff = BACKOFF_MIN;
            told = false;
            tracing::info!("connected to the broker at {address}");
        })
        .await;
        match outcome {
            Ended::Stopped => break,
            Ended::Failed(error) => {
                if !told {
                    tracing::warn!("no connection to the broker at {address}, trying again: {error}");
                    told = true;
                }
                // The hub may be waiting for the record, and that for room among the effects.
                tokio::select! {
                    sent = messages.send(Message::Disconnected) => if sent.is_err() { break },
                    () = discard(&mut effects) => break,
                    () = shutdown.cancelled() => break,
                }
                tokio::select! {
                    () = tokio::time::sleep(backoff) => backoff = (backoff * 2).min(BACKOFF_MAX),
                    () = discard(&mut effects) => break,
                    () = shutdown.cancelled() => break,
                }
            }
        }
    }
    Ok(())
}

/// While there is no connection effects have nowhere to go. Agents ask again for an acknowledgement, and commands are sent
/// again when their agent returns. Ends when the store does.
async fn discard(effects: &mut mpsc::Receiver<Vec<Effect>>) {
    while let Some(lost) = effects.recv().await {
        tracing::debug!(count = lost.len(), "effects dropped without a connection");
    }
}

enum Ended {
    Stopped,
    Failed(String),
}

fn connect(address: &BrokerAddress, transport: &Transport, client_id: &str) -> (AsyncClient, EventLoop) {
    let mut options = MqttOptions::new(client_id, address.host(), address.port());
    options.set_keep_alive(KEEP_ALIVE);
    // What is lost with a session is asked for again by number; a session of its own would only deliver it twice.
    options.set_clean_session(true);
    options.set_max_packet_size(PACKET_MAX, PACKET_MAX);
    options.set_inflight(200);
    options.set_transport(transport.clone());
    if let Some((user, password)) = address.credentials() {
        options.set_credentials(user, password);
    }
    let (client, mut events) = AsyncClient::new(options, REQUESTS);
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    network.set_connection_timeout(5);
    events.set_network_options(network);
    (client, events)
}

async fn serve(
    client: &AsyncClient,
    events: &mut EventLoop,
    messages: &mpsc::Sender<Message>,
    effects: &mut mpsc::Receiver<Vec<Effect>>,
    shutdown: &CancellationToken,
    answers: Option<&str>,
    mut connected: impl FnMut(),
) -> Ended {
    let is_connected = AtomicBool::new(false);
    // Publishing waits for room inside the client, and room is made by polling: the two run side by side.
    let publish = async {
        while let Some(group) = effects.recv().await {
            // Before the broker has answered, effects have nowhere to go; see `discard`.
            if !is_connected.load(Ordering::Relaxed) {
                continue;
            }
            for (topic, payload) in encode(group) {
                let publish = client.publish(topic, QoS::AtLeastOnce, false, payload);
                match tokio::time::timeout(PUBLISH_TIMEOUT, publish).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => return Ended::Failed(error.to_string()),
                    Err(_) => return Ended::Failed("the broker takes no messages".to_owned()),
                }
            }
        }
        Ended::Stopped
    };
    let poll = async {
        loop {
            match events.poll().await {
                Ok(Event::Incoming(Incoming::ConnAck(_))) => {
                    connected();
                    is_connected.store(true, Ordering::Relaxed);
                    if let Err(error) = client.try_subscribe(Topic::every_ingest(), QoS::AtLeastOnce) {
                        return error.to_string();
                    }
                    if let Some(answers) = answers
                        && let Err(error) = client.try_subscribe(answers, QoS::AtLeastOnce)
                    {
                        return error.to_string();
                    }
                    let filters = [Channel::State, Channel::Inventory, Channel::Up, Channel::Live]
                        .map(|channel| (Topic::every_agent(channel), channel))
                        .into_iter();
                    for (filter, channel) in filters {
                        let qos = if channel == Channel::Live { QoS::AtMostOnce } else { QoS::AtLeastOnce };
                        if let Err(error) = client.try_subscribe(filter, qos) {
                            return error.to_string();
                        }
                    }
                    if messages.send(Message::Connected).await.is_err() {
                        return "the hub has stopped".to_owned();
                    }
                }
                Ok(Event::Incoming(Incoming::SubAck(answer))) => {
                    if answer.return_codes.contains(&SubscribeReasonCode::Failure) {
                        return "it does not let the hub read the topics of agents".to_owned();
                    }
                }
                Ok(Event::Incoming(Incoming::Publish(publish))) => {
                    if messages.send(message(publish)).await.is_err() {
                        return "the hub has stopped".to_owned();
                    }
                }
                Ok(_) => {}
                Err(error) => return error.to_string(),
            }
        }
    };
    tokio::select! {
        error = poll => Ended::Failed(error),
        ended = publish => ended,
        () = shutdown.cancelled() => Ended::Stopped,
    }
}

fn message(publish: Publish) -> Message {
    Message::Published { topic: publish.topic, payload: publish.payload }
}

/// Of several acknowledgements of one agent only the newest is sent; one that asks to send again is not forgotten.
fn encode(group: Vec<Effect>) -> Vec<(String, Vec<u8>)> {
    let mut acks: Vec<(AgentId, Ack)> = Vec::new();
    let mut messages = Vec::new();
    for effect in group {
        match effect {
            Effect::Ack { agent, ack } => match acks.iter_mut().find(|(known, _)| *known == agent) {
                Some((_, newest)) => *newest = Ack { resend: newest.resend || ack.resend, ..ack },
                None => acks.push((agent, ack)),
            },
            Effect::Question(question) => match serde_json::to_vec(&question) {
                Ok(payload) => messages.push((Topic::ChatAsk.text(), payload)),
                Err(error) => tracing::error!("a question of the chat could not be encoded: {error}"),
            },
            Effect::Command { agent, command } => match wire::encode(&command) {
                Ok(payload) => messages.push((Topic::Agent(agent, Channel::Down).text(), payload)),
                Err(error) => tracing::error!(%agent, "a command could not be encoded: {error}"),
            },
        }
    }
    for (agent, ack) in acks {
        match wire::encode(&ack) {
            Ok(payload) => messages.push((Topic::Agent(agent, Channel::Ack).text(), payload)),
            Err(error) => tracing::error!(%agent, "an acknowledgement could not be encoded: {error}"),
        }
    }
    messages
}
