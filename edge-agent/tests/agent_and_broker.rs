//! A whole agent against a real broker and a hub of a few lines. Left out, aloud, where there is no mosquitto.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rigwire_agent::config::{Config, HubAddress, InstrumentConfig, Mode};
use rigwire_agent::port::PortAddress;
use rigwire_agent::profile::Profile;
use rigwire_shared::agent::{AgentState, DeviceState, Inventory};
use rigwire_shared::command::{Ack, CommandBody, StartStep};
use rigwire_shared::event::{EventBody, StepOutcome};
use rigwire_shared::ids::{AgentId, AttemptId, CommandId, DeviceId, Position, RunId, StepId};
use rigwire_shared::time::Timestamp;
use rigwire_shared::topic::{Channel, Topic};
use rigwire_shared::wire::{self, Batch};
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, QoS};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const WITHIN: Duration = Duration::from_secs(20);

struct Broker {
    child: Child,
    port: u16,
    directory: tempfile::TempDir,
}

impl Broker {
    fn start() -> Option<Self> {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let directory = tempfile::tempdir().unwrap();
        let config = format!("listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n");
        std::fs::write(directory.path().join("mosquitto.conf"), config).unwrap();
        let child = Self::spawn(directory.path())?;
        Some(Self { child, port, directory })
    }

    fn spawn(directory: &Path) -> Option<Child> {
        let program = ["mosquitto", "/usr/sbin/mosquitto"].into_iter().find_map(|program| {
            Command::new(program)
                .arg("-c")
                .arg(directory.join("mosquitto.conf"))
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .ok()
        });
        if program.is_none() {
            eprintln!("left out: there is no mosquitto on this machine");
        }
        program
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn restart(&mut self) {
        self.kill();
        self.child = Self::spawn(self.directory.path()).unwrap();
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Reads what one agent says, and acknowledges when told to.
struct Hub {
    agent: AgentId,
    client: AsyncClient,
    event_loop: EventLoop,
    acknowledges: bool,
    batches: Vec<Batch>,
    states: Vec<AgentState>,
    inventory: Option<Inventory>,
}

impl Hub {
    fn new(agent: &AgentId, port: u16) -> Self {
        let mut options = MqttOptions::new("hub", "127.0.0.1", port);
        options.set_max_packet_size(wire::MESSAGE_MAX + 1024, wire::MESSAGE_MAX + 1024);
        let (client, event_loop) = AsyncClient::new(options, 100);
        let (batches, states) = (Vec::new(), Vec::new());
        Self { agent: agent.clone(), client, event_loop, acknowledges: true, batches, states, inventory: None }
    }

    async fn until(&mut self, missing: &str, done: impl Fn(&Self) -> bool) {
        let deadline = tokio::time::Instant::now() + WITHIN;
        while !done(self) {
            match tokio::time::timeout_at(deadline, self.event_loop.poll()).await {
                Ok(Ok(Event::Incoming(Packet::ConnAck(_)))) => {
                    for channel in [Channel::State, Channel::Inventory, Channel::Up] {
                        self.client.try_subscribe(Topic::every_agent(channel), QoS::AtLeastOnce).unwrap();
                    }
                }
                Ok(Ok(Event::Incoming(Packet::Publish(message)))) => self.take(&message.topic, &message.payload),
                Ok(Ok(_)) => {}
                // The broker is being restarted.
                Ok(Err(_)) => tokio::time::sleep(Duration::from_millis(50)).await,
                Err(_) => panic!("within {WITHIN:?} there was no {missing}; states {:?}", self.states),
            }
        }
    }

    fn take(&mut self, topic: &str, payload: &[u8]) {
        match Topic::parse(topic) {
            Some(Topic::Agent(_, Channel::State)) => self.states.push(wire::decode(payload).unwrap()),
            Some(Topic::Agent(_, Channel::Inventory)) => self.inventory = Some(wire::decode(payload).unwrap()),
            Some(Topic::Agent(_, Channel::Up)) => {
                let batch: Batch = wire::decode(payload).unwrap();
                let position = batch.position;
                self.batches.push(batch);
                if self.acknowledges {
                    let ack = Ack { durable: Some(position), resend: false, hub_time: Timestamp::now() };
                    self.publish(Channel::Ack, &ack);
                }
            }
            other => panic!("{other:?} from an agent"),
        }
    }

    fn publish<T: serde::Serialize>(&self, channel: Channel, message: &T) {
        let topic = Topic::Agent(self.agent.clone(), channel).text();
        self.client.try_publish(topic, QoS::AtLeastOnce, false, wire::encode(message).unwrap()).unwrap();
    }

    fn events(&self) -> impl Iterator<Item = &EventBody> {
        self.batches.iter().flat_map(|batch| &batch.events).map(|event| &event.body)
    }

    fn is_online(&self) -> bool {
        self.states.last().is_some_and(|state| state.online)
    }
}

struct Agent {
    shutdown: CancellationToken,
    tasks: JoinSet<anyhow::Result<()>>,
}

impl Agent {
    fn start(config: Config) -> Self {
        let (shutdown, mut tasks) = (CancellationToken::new(), JoinSet::new());
        tasks.spawn(rigwire_agent::agent::run(config, shutdown.clone()));
        Self { shutdown, tasks }
    }

    async fn stop(mut self) {
        self.shutdown.cancel();
        tokio::time::timeout(Duration::from_secs(2), self.tasks.join_next()).await.unwrap().unwrap().unwrap().unwrap();
    }
}

fn agent_id() -> AgentId {
    AgentId::new("bench-1").unwrap()
}

fn config(broker: &Broker, spool: &Path) -> Config {
    Config::new(agent_id(), HubAddress::new("127.0.0.1", broker.port), spool.to_path_buf())
}

fn numbers(batches: &[Batch]) -> Vec<Position> {
    let mut positions: Vec<_> = batches.iter().map(|batch| batch.position).collect();
    positions.sort_unstable();
    positions.dedup();
    positions
}

#[tokio::test]
async fn an_agent_announces_itself_and_leaves_with_one_word() {
    let Some(broker) = Broker::start() else { return };
    let spool = tempfile::tempdir().unwrap();
    let mut hub = Hub::new(&agent_id(), broker.port);
    let agent = Agent::start(config(&broker, spool.path()));
    hub.until("first batch", |hub| hub.is_online() && hub.inventory.is_some() && !hub.batches.is_empty()).await;
    assert!(matches!(hub.events().next(), Some(EventBody::Started(_))));
    let stopped = tokio::time::Instant::now();
    agent.stop().await;
    assert!(stopped.elapsed() < Duration::from_millis(500), "nothing holds up an idle agent: {:?}", stopped.elapsed());
    hub.until("goodbye", |hub| !hub.is_online()).await;
    let goodbyes: Vec<_> = hub.states.iter().filter(|state| !state.online).map(|state| state.cause.as_str()).collect();
    assert_eq!(goodbyes, ["the agent was stopped"]);
}

#[tokio::test]
async fn what_the_hub_did_not_acknowledge_survives_the_agent_and_the_broker() {
    let Some(mut broker) = Broker::start() else { return };
    let spool = tempfile::tempdir().unwrap();
    let mut hub = Hub::new(&agent_id(), broker.port);
    hub.acknowledges = false;
    let agent = Agent::start(config(&broker, spool.path()));
    hub.until("first batch", |hub| !hub.batches.is_empty()).await;
    let first = hub.batches[0].position;
    broker.restart();
    hub.batches.clear();
    hub.until("batch after the restart of the broker", |hub| !hub.batches.is_empty()).await;
    assert_eq!(hub.batches[0].position, first);
    agent.stop().await;
    hub.acknowledges = true;
    hub.batches.clear();
    let agent = Agent::start(config(&broker, spool.path()));
    hub.until("batches of both epochs", |hub| numbers(&hub.batches).len() >= 2).await;
    let second = hub.batches.last().unwrap();
    assert_eq!((numbers(&hub.batches)[0], second.previous), (first, Some(first)));
    assert!(second.position.epoch > first.epoch);
    agent.stop().await;
    hub.batches.clear();
    let agent = Agent::start(config(&broker, spool.path()));
    hub.until("batch of the third epoch", |hub| !hub.batches.is_empty()).await;
    assert!(hub.batches[0].position > first, "what was acknowledged is gone");
    agent.stop().await;
}

#[tokio::test]
async fn a_command_reaches_an_absent_instrument_and_is_answered() {
    let Some(broker) = Broker::start() else { return };
    let spool = tempfile::tempdir().unwrap();
    let mut config = config(&broker, spool.path());
    let profile = Profile::find("korad.ka3005p", &[]).unwrap();
    let device = DeviceId::new("psu-1").unwrap();
    let port = PortAddress::Serial(spool.path().join("nothing-here"));
    let mut instrument = InstrumentConfig::new(device.clone(), profile, port);
    instrument.mode = Mode::Own;
    config.instruments.push(instrument);
    let mut hub = Hub::new(&agent_id(), broker.port);
    let agent = Agent::start(config);
    hub.until("absent device", |hub| {
        let absent = |card: &rigwire_shared::agent::DeviceCard| {
            card.state == DeviceState::Absent && card.cause.contains("does not exist")
        };
        hub.is_online() && hub.inventory.as_ref().is_some_and(|inventory| inventory.devices.iter().any(absent))
    })
    .await;
    let attempt = AttemptId(Uuid::from_u128(7));
    let start = StartStep {
        run: RunId(Uuid::nil()),
        step: StepId::new("read").unwrap(),
        attempt,
        device: Some(device),
        fence: None,
        module: "instrument.read".into(),
        with: Vec::new(),
        timeout_ms: 1000,
    };
    let command = rigwire_shared::command::Command {
        id: CommandId(Uuid::from_u128(1)),
        epoch: hub.states.last().unwrap().epoch,
        expires_at: Timestamp(Timestamp::now().0 + 10_000_000),
        body: CommandBody::StartStep(start),
    };
    hub.publish(Channel::Down, &command);
    let failed = |body: &EventBody| {
        matches!(body, EventBody::StepFinished(finished) if finished.attempt == attempt
        && matches!(&finished.outcome, StepOutcome::Failed { error } if error.code == "DEVICE_NOT_ONLINE"))
    };
    hub.until("answer", |hub| hub.events().any(failed)).await;
    agent.stop().await;
}
