//! A broker, a hub of a few lines, and an agent in this process. Left out, aloud, where there is no mosquitto.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rigwire_agent::config::{BrokerAddress, Config};
use rigwire_shared::agent::{AgentState, DeviceState, Inventory};
use rigwire_shared::command::{Ack, Command as HubCommand, CommandBody, StartStep};
use rigwire_shared::event::{EventBody, StepOutcome};
use rigwire_shared::ids::{AgentId, AttemptId, CommandId, DeviceId, Position, RunId, StepId};
use rigwire_shared::time::Timestamp;
use rigwire_shared::topic::{Channel, Topic};
use rigwire_shared::value::Fields;
use rigwire_shared::wire::{self, Batch};
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, QoS};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub(crate) const WITHIN: Duration = Duration::from_secs(20);

pub(crate) struct Broker {
    child: Child,
    pub(crate) port: u16,
    directory: tempfile::TempDir,
}

impl Broker {
    pub(crate) fn start() -> Option<Self> {
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

    pub(crate) fn restart(&mut self) {
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
pub(crate) struct Hub {
    agent: AgentId,
    port: u16,
    client: AsyncClient,
    event_loop: EventLoop,
    pub(crate) acknowledges: bool,
    /// Topics that the broker agreed to, of three.
    subscribed: usize,
    durable: Option<Position>,
    pub(crate) batches: Vec<Batch>,
    pub(crate) states: Vec<AgentState>,
    pub(crate) inventory: Option<Inventory>,
}

impl Hub {
    pub(crate) fn new(agent: &AgentId, port: u16) -> Self {
        let (client, event_loop) = Self::connection(port);
        let (batches, states) = (Vec::new(), Vec::new());
        Self {
            agent: agent.clone(),
            port,
            client,
            event_loop,
            acknowledges: true,
            subscribed: 0,
            durable: None,
            batches,
            states,
            inventory: None,
        }
    }

    fn connection(port: u16) -> (AsyncClient, EventLoop) {
        let mut options = MqttOptions::new("hub", "127.0.0.1", port);
        options.set_max_packet_size(wire::MESSAGE_MAX + 1024, wire::MESSAGE_MAX + 1024);
        AsyncClient::new(options, 100)
    }

    /// Forgets what was received, also what waits in the client unread: what comes from now on was sent from now on.
    pub(crate) fn start_anew(&mut self) {
        (self.client, self.event_loop) = Self::connection(self.port);
        self.batches.clear();
    }

    pub(crate) async fn until(&mut self, missing: &str, done: impl Fn(&Self) -> bool) {
        let deadline = tokio::time::Instant::now() + WITHIN;
        while !done(self) {
            match tokio::time::timeout_at(deadline, self.event_loop.poll()).await {
                Ok(Ok(Event::Incoming(Packet::ConnAck(_)))) => {
                    self.subscribed = 0;
                    for channel in [Channel::State, Channel::Inventory, Channel::Up] {
                        self.client.try_subscribe(Topic::every_agent(channel), QoS::AtLeastOnce).unwrap();
                    }
                }
                // What came while nobody was subscribed is asked for again.
                Ok(Ok(Event::Incoming(Packet::SubAck(_)))) => {
                    self.subscribed += 1;
                    if self.subscribed == 3 {
                        self.acknowledge(true);
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
                if self.acknowledges {
                    self.durable = self.durable.max(Some(batch.position));
                    self.acknowledge(false);
                }
                self.batches.push(batch);
            }
            other => panic!("{other:?} from an agent"),
        }
    }

    fn acknowledge(&self, resend: bool) {
        self.publish(Channel::Ack, &Ack { durable: self.durable, resend, hub_time: Timestamp::now() });
    }

    fn publish<T: serde::Serialize>(&self, channel: Channel, message: &T) {
        let topic = Topic::Agent(self.agent.clone(), channel).text();
        self.client.try_publish(topic, QoS::AtLeastOnce, false, wire::encode(message).unwrap()).unwrap();
    }

    pub(crate) fn command(&self, body: CommandBody) {
        let epoch = self.states.last().unwrap().epoch;
        let expires_at = Timestamp(Timestamp::now().0 + 10_000_000);
        self.publish(Channel::Down, &HubCommand { id: CommandId(Uuid::new_v4()), epoch, expires_at, body });
    }

    /// Performs one step and answers how it ended.
    pub(crate) async fn step(&mut self, device: &DeviceId, module: &str, with: Fields) -> StepOutcome {
        let attempt = AttemptId(Uuid::new_v4());
        self.command(CommandBody::StartStep(StartStep {
            run: RunId(Uuid::nil()),
            step: StepId::new("step").unwrap(),
            attempt,
            device: Some(device.clone()),
            fence: None,
            module: module.into(),
            with,
            timeout_ms: 5000,
        }));
        let outcome = |hub: &Self| {
            hub.events().find_map(|body| match body {
                EventBody::StepFinished(finished) if finished.attempt == attempt => Some(finished.outcome.clone()),
                _ => None,
            })
        };
        self.until("end of the step", |hub| outcome(hub).is_some()).await;
        outcome(self).unwrap()
    }

    pub(crate) fn state_of(&self, device: &DeviceId) -> Option<(DeviceState, &str)> {
        let cards = &self.inventory.as_ref()?.devices;
        cards.iter().find(|card| card.device == *device).map(|card| (card.state, card.cause.as_str()))
    }

    pub(crate) fn events(&self) -> impl Iterator<Item = &EventBody> {
        self.batches.iter().flat_map(|batch| &batch.events).map(|event| &event.body)
    }

    pub(crate) fn is_online(&self) -> bool {
        self.states.last().is_some_and(|state| state.online)
    }
}

pub(crate) struct Agent {
    shutdown: CancellationToken,
    tasks: JoinSet<anyhow::Result<()>>,
}

impl Agent {
    pub(crate) fn start(config: Config) -> Self {
        let (shutdown, mut tasks) = (CancellationToken::new(), JoinSet::new());
        let agent = rigwire_agent::agent::run(config, shutdown.clone());
        tasks.spawn(async move {
            // A test that waits for the hub to hear something would not say why nothing came.
            agent.await.inspect_err(|error| eprintln!("the agent failed: {error:#}"))
        });
        Self { shutdown, tasks }
    }

    pub(crate) async fn stop(mut self) {
        self.shutdown.cancel();
        tokio::time::timeout(Duration::from_secs(2), self.tasks.join_next()).await.unwrap().unwrap().unwrap().unwrap();
    }
}

pub(crate) fn agent_id() -> AgentId {
    AgentId::new("bench-1").unwrap()
}

pub(crate) fn config(broker: &Broker, spool: &Path) -> Config {
    Config::new(agent_id(), BrokerAddress::new("127.0.0.1", broker.port), spool.to_path_buf())
}

pub(crate) fn numbers(batches: &[Batch]) -> Vec<Position> {
    let mut positions: Vec<_> = batches.iter().map(|batch| batch.position).collect();
    positions.sort_unstable();
    positions.dedup();
    positions
}
