//! Everything the hub knows and decides: fleet and runs behind one door. Told of messages and requests, it answers with
//! outputs in the order they must take effect. No I/O, no clock, no lock: one task owns it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use rigwire_shared::agent::DeviceCard;
use rigwire_shared::command::{Ack, Command};
use rigwire_shared::ids::{AgentId, AttemptId, CommandId, DeviceId, Fence, RunId};
use rigwire_shared::time::Timestamp;
use rigwire_shared::value::Fields;
use uuid::Uuid;

use crate::dialect::{Interest, RunReference, View};
use crate::event::{ChatMessage, DeviceSample, DeviceSnapshot, Event, EventKind, Hold, RunHeader, RunSnapshot};
use crate::fanout::{Published, Whose};
use crate::fleet::{Agent, Fleet};
use crate::lease::{self, Reservation};
use crate::preview::Previews;
use crate::procedure::Procedure;
use crate::run::Run;

mod agents;
mod artifacts;
pub mod chat;
mod children;
mod external;
mod leases;
mod parts;
mod programs;
mod queue;
mod runs;
mod turns;

pub use children::Told;
pub use external::{Receipt, ReportError};
pub use leases::{LeaseRow, ReserveError, Reserved, Waiting};
pub use runs::{CancelError, PauseError};

/// Finished runs that stay at hand; older ones are read from the record.
const FINISHED_KEPT: usize = 256;

/// What takes effect, in order. An `Effect` waits until every record before it is durable.
#[derive(Debug)]
pub enum Output {
    /// Told to watchers at once; recorded if it has a number.
    Event(Arc<Published>),
    Record(Record),
    Effect(Effect),
}

#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    Command {
        agent: AgentId,
        command: Box<Command>,
    },
    Ack {
        agent: AgentId,
        ack: Ack,
    },
    /// For whoever answers in the chat.
    Question(Box<chat::Question>),
}

/// What the record keeps besides events.
#[derive(Debug, Clone)]
pub enum Record {
    RunCreated {
        header: Arc<RunHeader>,
        procedure: Option<Arc<Procedure>>,
    },
    /// The run's row for lists: status, times and the end of it.
    RunChanged {
        snapshot: Box<RunSnapshot>,
    },
    Sample {
        at: Timestamp,
        sample: DeviceSample,
    },
    Agent(Box<Agent>),
    Device {
        agent: AgentId,
        card: Box<DeviceCard>,
    },
    DeviceRemoved(DeviceId),
    /// A person's claim on a device, or that there is none any more.
    Reservation {
        device: DeviceId,
        reservation: Option<Box<Reservation>>,
    },
    /// Ids of events that an external run's producer gave, with the events.
    Reported {
        run: RunId,
        ids: Vec<String>,
    },
    /// A file of a run, kept by its content.
    Artifact(Box<crate::artifact::File>),
    /// A file of an agent on its way.
    Arrival(Box<crate::artifact::Arrival>),
    Chat {
        at: Timestamp,
        message: Box<ChatMessage>,
    },
    /// A message of the chat was put to the responder.
    ChatAsked(u64),
    /// Next unused number of runs, steps and tests.
    NextNumber(u64),
}

/// What a hub starts with: nothing, or what its record holds.
#[derive(Debug, Default)]
pub struct Restored {
    pub next_sequence: u64,
    pub next_number: u64,
    pub agents: Vec<Agent>,
    pub devices: Vec<(AgentId, DeviceCard)>,
    pub runs: Vec<Run>,
    pub artifact_limits: crate::artifact::Limits,
    pub arriving: Vec<crate::artifact::Incoming>,
    pub reservations: Vec<(DeviceId, Reservation)>,
    pub chat: chat::Restored,
}

pub struct Model {
    fleet: Fleet,
    runs: BTreeMap<RunId, Run>,
    numbers: HashMap<u64, RunId>,
    /// Runs that wait for devices, first come first served.
    queue: VecDeque<RunId>,
    /// Why each of them waits, as last told.
    waiting: HashMap<RunId, queue::Wait>,
    attempts: HashMap<AttemptId, (RunId, usize)>,
    wakes: HashMap<RunId, Timestamp>,
    /// Commands to stop an attempt that are not answered.
    stops: HashMap<CommandId, AttemptId>,
    finished: VecDeque<RunId>,
    turns: turns::Turns,
    /// Devices that became free, and runs that have something to do: looked at one after the other, never from within.
    freed: VecDeque<DeviceId>,
    due: VecDeque<RunId>,
    draining: bool,
    /// Devices are being given out; whether they must be once more.
    assigning: bool,
    assign_again: bool,
    /// How long agents let a run act without hearing from the hub, and when the earliest lease is to be looked at.
    lease_life: Duration,
    leases_due: Option<Timestamp>,
    previews: Previews,
    chat: chat::Chat,
    next_sequence: u64,
    next_number: u64,
    reports_refused: u64,
    artifact_limits: crate::artifact::Limits,
    arriving: crate::artifact::Arriving,
    new_uuid: Box<dyn FnMut() -> Uuid + Send>,
    outputs: Vec<Output>,
}

impl Model {
    pub fn new(restored: Restored, new_uuid: Box<dyn FnMut() -> Uuid + Send>, now: Timestamp) -> Self {
        let mut model = Self {
            fleet: Fleet::restore(restored.agents, restored.devices),
            runs: BTreeMap::new(),
            numbers: HashMap::new(),
            queue: VecDeque::new(),
            waiting: HashMap::new(),
            attempts: HashMap::new(),
            wakes: HashMap::new(),
            stops: HashMap::new(),
            finished: VecDeque::new(),
            turns: turns::Turns::default(),
            freed: VecDeque::new(),
            due: VecDeque::new(),
            draining: false,
            assigning: false,
            assign_again: false,
            lease_life: lease::LIFE_DEFAULT,
            leases_due: None,
            previews: Previews::default(),
            chat: chat::Chat::new(restored.chat.next, restored.chat.recent),
            next_sequence: restored.next_sequence.max(1),
            next_number: restored.next_number.max(1),
            reports_refused: 0,
            artifact_limits: restored.artifact_limits,
            arriving: crate::artifact::Arriving::restore(restored.arriving),
            new_uuid,
            outputs: Vec::new(),
        };
        model.restore_reservations(restored.reservations);
        for mut run in restored.runs {
            run.resume(now);
            let id = run.header.id;
            model.numbers.insert(run.header.number, id);
            for (index, attempt) in run.outstanding() {
                model.attempts.insert(attempt, (id, index));
            }
            let shared = run.outstanding().filter_map(|(index, _)| Some((run.device_of(index)?, run.fence_of(index))));
            let shared = shared.filter(|(bound, _)| bound.hold == Hold::Step);
            let whole = run.bound().iter().filter(|bound| bound.hold == Hold::Run);
            for (bound, fence) in whole.map(|bound| (bound, run.fence())).chain(shared) {
                if let Some(device) = model.fleet.device_mut(&bound.device) {
                    device.hold.take(id, fence, now);
                }
            }
            if run.wants_devices() {
                model.queue.push_back(id);
            }
            model.runs.insert(id, run);
        }
        let ids: Vec<RunId> = model.runs.keys().copied().collect();
        for id in ids {
            model.advance(id, now);
        }
        model.restore_leases();
        model.restore_chat(restored.chat.unanswered, now);
        model.assign_devices(now);
        model
    }

    /// Takes what must take effect since the last call.
    pub fn take_outputs(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.outputs)
    }

    /// When `tick` should be called at the latest.
    pub fn next_wake(&self) -> Option<Timestamp> {
        if !self.due.is_empty() || !self.freed.is_empty() {
            return Some(Timestamp(0));
        }
        let wakes = self.wakes.values().copied().chain(self.leases_due);
        wakes.chain(self.previews.next_repeat()).chain(self.chat.next_wake()).min()
    }

    pub fn tick(&mut self, now: Timestamp) {
        let mut due: Vec<(Timestamp, RunId)> =
            self.wakes.iter().filter(|(_, at)| **at <= now).map(|(run, at)| (*at, *run)).collect();
        due.sort_unstable();
        for (_, run) in due {
            self.advance(run, now);
        }
        self.tend_leases(now);
        self.repeat_previews(now);
        self.tend_chat(now);
        self.drain(now);
    }

    /// The clock was set by so much: deadlines stay as far away as they were.
    pub fn clock_set(&mut self, by_us: i64, now: Timestamp) {
        for run in self.runs.values_mut() {
            run.shift(by_us);
        }
        self.chat.shift(by_us);
        let waiting: Vec<RunId> = self.wakes.keys().copied().collect();
        for run in waiting {
            self.advance(run, now);
        }
        self.renew_leases(now);
        self.previews.clock_set(now);
    }

    pub fn agents(&self) -> impl Iterator<Item = &Agent> {
        self.fleet.agents()
    }

    pub fn devices(&self) -> impl Iterator<Item = (&DeviceCard, DeviceSnapshot)> {
        self.fleet.devices().map(|device| (&device.card, device.snapshot()))
    }

    pub fn device(&self, device: &DeviceId) -> Option<(&DeviceCard, DeviceSnapshot)> {
        self.fleet.device(device).map(|device| (&device.card, device.snapshot()))
    }

    /// A run that is at hand. `None`: it may still be in the record.
    pub fn run(&self, reference: RunReference) -> Option<RunSnapshot> {
        let id = match reference {
            RunReference::Id(id) => id,
            RunReference::Number(number) => *self.numbers.get(&number)?,
        };
        self.runs.get(&id).map(|run| self.snapshot_of(run))
    }

    pub fn active_runs(&self) -> usize {
        // What a program does costs the hub nothing, however many parts it has.
        let is_part = |run: &&Run| run.header.external && run.header.parent.is_some();
        self.runs.values().filter(|run| run.finished().is_none()).filter(|run| !is_part(run)).count()
    }

    /// Runs that have not ended, newest first.
    pub fn active_snapshots(&self) -> Vec<RunSnapshot> {
        let active = self.runs.values().filter(|run| run.finished().is_none());
        let mut active: Vec<RunSnapshot> = active.map(|run| self.snapshot_of(run)).collect();
        active.sort_by_key(|run| std::cmp::Reverse(run.header.number));
        active
    }

    fn snapshot_of(&self, run: &Run) -> RunSnapshot {
        run.snapshot(|device| self.fleet.device(device).map(crate::fleet::Device::snapshot))
    }

    pub fn view(&self, interest: &Interest) -> View {
        match interest {
            Interest::Run(reference) => {
                self.run(*reference).map_or(View::UnknownRun(*reference), |run| View::Run(Box::new(run)))
            }
            Interest::Device(device) => match self.fleet.device(device) {
                Some(known) => View::Device(Box::new(known.snapshot())),
                None => View::UnknownDevice(device.clone()),
            },
            Interest::Runs | Interest::Devices | Interest::Samples | Interest::Chat => View::Wide,
        }
    }

    /// A run is watched by its UUID, whichever id a client named.
    pub fn canonical(&self, interest: &Interest) -> Interest {
        match interest {
            Interest::Run(RunReference::Number(number)) => match self.numbers.get(number) {
                Some(id) => Interest::Run(RunReference::Id(*id)),
                None => interest.clone(),
            },
            Interest::Run(RunReference::Id(_))
            | Interest::Device(_)
            | Interest::Runs
            | Interest::Devices
            | Interest::Samples
            | Interest::Chat => interest.clone(),
        }
    }

    /// Number of the newest event.
    pub const fn last_sequence(&self) -> u64 {
        self.next_sequence.saturating_sub(1)
    }

    fn uuid(&mut self) -> Uuid {
        (self.new_uuid)()
    }

    fn number(&mut self) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        number
    }

    /// A number that no earlier lease of any device had: the number of the event that grants it.
    fn fence(&self) -> Fence {
        Fence(self.next_sequence)
    }

    /// Publishes an event under the next number of the record.
    fn publish(&mut self, at: Timestamp, kind: EventKind) {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        self.put_out(Event { sequence, at, kind });
    }

    /// Publishes what the record does not number: frames, and samples, which have a place of their own.
    fn publish_unnumbered(&mut self, at: Timestamp, kind: EventKind) {
        self.put_out(Event { sequence: 0, at, kind });
    }

    fn put_out(&mut self, event: Event) {
        let whose = match &event.kind {
            EventKind::Device(device) => device.device().and_then(|device| self.fleet.device(device)),
            EventKind::Run(_) | EventKind::Agent(_) | EventKind::Chat(_) => None,
        };
        let whose = whose.map(|known| Whose { agent: known.agent.clone(), class: known.card.class.clone() });
        self.outputs.push(Output::Event(Published::about(event, whose)));
    }

    fn record(&mut self, record: Record) {
        self.outputs.push(Output::Record(record));
    }

    fn effect(&mut self, effect: Effect) {
        self.outputs.push(Output::Effect(effect));
    }
}

/// A request to start a run, already checked.
#[derive(Debug, Clone, PartialEq)]
pub struct StartRun {
    pub procedure: Arc<Procedure>,
    pub params: Fields,
    pub name: Option<String>,
    /// What the client calls the workflow that this is a run of.
    pub workflow: Option<String>,
    /// Person on whose reserved devices it may be.
    pub holder: Option<String>,
    /// Of a suite: only tests with one of these. None: all.
    pub tags: Vec<String>,
}

impl StartRun {
    pub fn new(procedure: Arc<Procedure>, params: Fields) -> Self {
        Self { procedure, params, name: None, workflow: None, holder: None, tags: Vec::new() }
    }
}
