//! What is known of agents and their devices. Pure: told of messages, asked for answers.

use std::collections::BTreeMap;

use rigwire_shared::agent::{AgentState, DeviceCard, DeviceState, Inventory};
use rigwire_shared::event::{DeviceChange, GapCause};
use rigwire_shared::ids::{AgentId, DeviceId, Epoch, Position};
use rigwire_shared::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::event::DeviceSnapshot;
use crate::lease::Hold;
use crate::procedure::Role;

/// What the hub knows of one agent. The part that must survive a restart is what the record keeps of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Agent {
    pub agent: AgentId,
    pub epoch: Epoch,
    pub online: bool,
    pub cause: String,
    pub version: String,
    pub host: String,
    pub last_seen: Timestamp,
    /// Last batch taken into the model; everything before it was, too.
    pub received: Option<Position>,
    /// Newest epoch whose first event was seen: everything of earlier epochs has arrived.
    pub begun: Option<Epoch>,
    pub counters: Counters,
    /// When it was last asked to send again from a gap, and to say that it is there.
    #[serde(skip)]
    asked: Asked,
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Asked {
    /// The last batch before the gap, and when.
    again: Option<(Option<Position>, Timestamp)>,
    announce: Option<Timestamp>,
}

/// A question that may have been lost is asked again after so long.
const ASK_AGAIN_US: i64 = 2_000_000;

fn is_recent(asked: Timestamp, now: Timestamp) -> bool {
    (0..ASK_AGAIN_US).contains(&now.0.saturating_sub(asked.0))
}

impl Agent {
    /// Whether to ask for what is missing after the last batch that was taken. If so, it counts as asked.
    pub fn asks_again(&mut self, now: Timestamp) -> bool {
        let asked = self.asked.again.is_some_and(|(after, at)| after == self.received && is_recent(at, now));
        if !asked {
            self.asked.again = Some((self.received, now));
        }
        !asked
    }

    /// Whether to ask the agent to announce itself. If so, it counts as asked.
    pub fn announces_again(&mut self, now: Timestamp) -> bool {
        let asked = self.asked.announce.is_some_and(|at| is_recent(at, now));
        if !asked {
            self.asked.announce = Some(now);
        }
        !asked
    }
}

/// What arrived, what arrived twice, and what never will.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Counters {
    pub batches: u64,
    pub events: u64,
    pub duplicates: u64,
    pub gaps: u64,
    pub samples_lost: u64,
    pub malformed: u64,
    /// `samples_lost` by cause, as far as it was told since causes are counted.
    #[serde(default)]
    pub lost: Lost,
    #[serde(default)]
    pub commands: u64,
}

/// Samples lost, by cause.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct Lost {
    spool_full: u64,
    spool_damaged: u64,
    poll_skipped: u64,
    sensor_fault: u64,
    port_overrun: u64,
    queue_full: u64,
}

impl Lost {
    pub fn by_cause(&self) -> impl Iterator<Item = (GapCause, u64)> {
        [
            (GapCause::SpoolFull, self.spool_full),
            (GapCause::SpoolDamaged, self.spool_damaged),
            (GapCause::PollSkipped, self.poll_skipped),
            (GapCause::SensorFault, self.sensor_fault),
            (GapCause::PortOverrun, self.port_overrun),
            (GapCause::QueueFull, self.queue_full),
        ]
        .into_iter()
        .filter(|(_, samples)| *samples > 0)
    }

    pub fn sum(&self) -> u64 {
        self.by_cause().map(|(_, samples)| samples).sum()
    }

    fn of(&mut self, cause: GapCause) -> &mut u64 {
        match cause {
            GapCause::SpoolFull => &mut self.spool_full,
            GapCause::SpoolDamaged => &mut self.spool_damaged,
            GapCause::PollSkipped => &mut self.poll_skipped,
            GapCause::SensorFault => &mut self.sensor_fault,
            GapCause::PortOverrun => &mut self.port_overrun,
            GapCause::QueueFull => &mut self.queue_full,
        }
    }
}

impl Counters {
    pub fn note_lost(&mut self, cause: GapCause, samples: u64) {
        self.samples_lost = self.samples_lost.saturating_add(samples);
        let lost = self.lost.of(cause);
        *lost = lost.saturating_add(samples);
    }
}

#[derive(Debug, Default)]
pub struct Fleet {
    agents: BTreeMap<AgentId, Agent>,
    devices: BTreeMap<DeviceId, Device>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Device {
    pub agent: AgentId,
    pub card: DeviceCard,
    pub last_seen: Timestamp,
    /// Who may use it now, and who comes next.
    pub hold: Hold,
}

impl Device {
    pub fn snapshot(&self) -> DeviceSnapshot {
        DeviceSnapshot {
            device: self.card.device.clone(),
            agent: self.agent.clone(),
            kind: self.card.kind,
            class: self.card.class.clone(),
            profile: self.card.profile.clone(),
            tags: self.card.tags.clone(),
            state: self.card.state,
            cause: self.card.cause.clone(),
            identity: self.card.identity.clone(),
            last_seen: self.last_seen,
            held_by: self.hold.run(),
        }
    }

    pub fn matches(&self, role: &Role) -> bool {
        fits(&self.card, role)
    }
}

/// Whether a device may play a role.
pub fn fits(card: &DeviceCard, role: &Role) -> bool {
    role.device.as_ref().is_none_or(|wanted| *wanted == card.device)
        && role.class.as_ref().is_none_or(|wanted| *wanted == card.class)
        && role.kind.is_none_or(|wanted| wanted == card.kind)
        && role.tags.iter().all(|tag| card.tags.contains(tag))
        && role.min_sdk.is_none_or(|wanted| card.sdk.is_some_and(|sdk| sdk >= wanted))
}

/// Where a batch stands relative to what was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    Next,
    Duplicate,
    /// Something before it is missing.
    Gap,
}

impl Fleet {
    pub fn restore(agents: Vec<Agent>, devices: Vec<(AgentId, DeviceCard)>) -> Self {
        let agents = agents
            .into_iter()
            .map(|agent| {
                (
                    agent.agent.clone(),
                    Agent { online: false, cause: "not heard of since the hub started".to_owned(), ..agent },
                )
            })
            .collect();
        let devices = devices
            .into_iter()
            .map(|(agent, card)| {
                let cause = format!("agent {agent} was not heard of since the hub started");
                let card = DeviceCard { state: DeviceState::Gone, cause, ..card };
                (card.device.clone(), Device { agent, card, last_seen: Timestamp(0), hold: Hold::default() })
            })
            .collect();
        Self { agents, devices }
    }

    pub fn agents(&self) -> impl Iterator<Item = &Agent> {
        self.agents.values()
    }

    pub fn agent(&self, agent: &AgentId) -> Option<&Agent> {
        self.agents.get(agent)
    }

    pub fn agent_mut(&mut self, agent: &AgentId, now: Timestamp) -> &mut Agent {
        self.agents.entry(agent.clone()).or_insert_with(|| Agent {
            agent: agent.clone(),
            epoch: Epoch(0),
            online: false,
            cause: String::new(),
            version: String::new(),
            host: String::new(),
            last_seen: now,
            received: None,
            begun: None,
            counters: Counters::default(),
            asked: Asked::default(),
        })
    }

    pub fn note_command(&mut self, agent: &AgentId) {
        if let Some(agent) = self.agents.get_mut(agent) {
            agent.counters.commands += 1;
        }
    }

    pub fn devices(&self) -> impl Iterator<Item = &Device> {
        self.devices.values()
    }

    pub fn device(&self, device: &DeviceId) -> Option<&Device> {
        self.devices.get(device)
    }

    pub fn device_mut(&mut self, device: &DeviceId) -> Option<&mut Device> {
        self.devices.get_mut(device)
    }

    /// Takes a state message. `None` when it is of an epoch that a newer one has replaced.
    pub fn agent_state(&mut self, id: &AgentId, state: &AgentState, now: Timestamp) -> Option<AgentStateNews> {
        let agent = self.agent_mut(id, now);
        if state.epoch < agent.epoch {
            return None;
        }
        let news = AgentStateNews {
            changed: agent.online != state.online || agent.epoch != state.epoch,
            begun: agent.begun == Some(state.epoch),
        };
        agent.epoch = state.epoch;
        agent.online = state.online;
        agent.cause.clone_from(&state.cause);
        agent.version.clone_from(&state.version);
        agent.host.clone_from(&state.host);
        agent.last_seen = now;
        Some(news)
    }

    /// Devices of an agent that went away are gone too, whatever they last said. Returns those that changed.
    pub fn devices_lost_with(&mut self, agent: &AgentId, cause: &str) -> Vec<DeviceId> {
        self.devices
            .values_mut()
            .filter(|device| device.agent == *agent && device.card.state != DeviceState::Gone)
            .map(|device| {
                device.card.state = DeviceState::Gone;
                device.card.cause = offline(agent, cause);
                device.card.device.clone()
            })
            .collect()
    }

    /// Takes an inventory. Returns the devices whose entry changed, and those that are no longer listed.
    pub fn inventory(&mut self, id: &AgentId, inventory: &Inventory, now: Timestamp) -> Option<InventoryNews> {
        let agent = self.agent_mut(id, now);
        if inventory.epoch < agent.epoch {
            return None;
        }
        // Brokers keep the inventory of an agent that is away: what it lists is not there.
        let away = (!agent.online).then(|| offline(id, &agent.cause));
        if away.is_none() {
            agent.last_seen = now;
        }
        let mut news = InventoryNews::default();
        for card in &inventory.devices {
            let mut card = card.clone();
            if let Some(cause) = &away {
                card.state = DeviceState::Gone;
                card.cause.clone_from(cause);
            }
            match self.devices.get_mut(&card.device) {
                Some(device)
                    if device.agent != *id
                        && (away.is_some() || self.agents.get(&device.agent).is_some_and(|other| other.online)) =>
                {
                    news.contested.push((card.device.clone(), device.agent.clone()));
                }
                Some(device) => {
                    let changed = device.card != card || device.agent != *id;
                    if changed {
                        news.changed.push(card.device.clone());
                    }
                    device.card = card;
                    device.agent = id.clone();
                    if away.is_none() {
                        device.last_seen = device.last_seen.max(now);
                    }
                }
                None => {
                    news.changed.push(card.device.clone());
                    let device = Device { agent: id.clone(), last_seen: now, hold: Hold::default(), card };
                    self.devices.insert(device.card.device.clone(), device);
                }
            }
        }
        self.take_off_list(id, inventory, &mut news);
        Some(news)
    }

    /// What the agent no longer lists is forgotten, or gone if somebody still holds it.
    fn take_off_list(&mut self, id: &AgentId, inventory: &Inventory, news: &mut InventoryNews) {
        let cause = format!("agent {id} no longer lists it");
        let mut removed = Vec::new();
        for device in self.devices.values_mut() {
            let listed = inventory.devices.iter().any(|card| card.device == device.card.device);
            if listed || device.agent != *id {
                continue;
            }
            let changed = device.card.state != DeviceState::Gone;
            device.card.state = DeviceState::Gone;
            device.card.cause.clone_from(&cause);
            if device.hold.is_free() {
                removed.push(device.card.device.clone());
            } else if changed {
                news.changed.push(device.card.device.clone());
            }
        }
        news.removed = removed.iter().filter_map(|device| self.devices.remove(device)).collect();
    }

    /// Takes a change of one device. False when it says nothing new or the device is not the agent's.
    pub fn device_change(&mut self, agent: &AgentId, change: &DeviceChange, now: Timestamp) -> bool {
        let Some(device) = self.devices.get_mut(&change.device).filter(|device| device.agent == *agent) else {
            return false;
        };
        let news = device.card.state != change.state || device.card.cause != change.cause;
        device.card.state = change.state;
        device.card.cause.clone_from(&change.cause);
        if change.identity.is_some() {
            device.card.identity.clone_from(&change.identity);
        }
        // By the hub's clock: with an agent's own, a later word could look older than an earlier one.
        device.last_seen = device.last_seen.max(now);
        news
    }

    pub fn arrival(&self, agent: &AgentId, position: Position, previous: Option<Position>) -> Arrival {
        let received = self.agents.get(agent).and_then(|agent| agent.received);
        match (received, previous) {
            (Some(received), _) if position <= received => Arrival::Duplicate,
            (Some(received), Some(previous)) if previous > received => Arrival::Gap,
            (None, Some(_)) => Arrival::Gap,
            (Some(_), Some(_)) | (_, None) => Arrival::Next,
        }
    }
}

fn offline(agent: &AgentId, cause: &str) -> String {
    format!("agent {agent} is offline: {cause}")
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AgentStateNews {
    pub changed: bool,
    /// Everything of the agent's earlier epochs has been taken.
    pub begun: bool,
}

#[derive(Debug, Default, PartialEq)]
pub struct InventoryNews {
    pub changed: Vec<DeviceId>,
    pub removed: Vec<Device>,
    /// Devices that another agent, which is online, also lists.
    pub contested: Vec<(DeviceId, AgentId)>,
}
