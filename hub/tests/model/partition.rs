//! At no time do two holders act on a device: the hub's model and the agent's own lease, with everything between them that a
//! network and two restarts can do. The far side here decides by `rigwire_agent::lease::Lease` alone, as the device task does.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;

use proptest::prelude::*;
use rigwire::dialect::RunReference;
use rigwire::event::{EventKind, RunEventBody};
use rigwire::lease::{Claim, Reservation};
use rigwire::model::{Effect, Model, Output, Record, Restored, StartRun};
use rigwire::procedure::Procedure;
use rigwire::run::Run;
use rigwire_agent::lease::{Held, Lease};
use rigwire_shared::agent::{AgentState, DeviceCard, DeviceKind, DeviceState, Inventory};
use rigwire_shared::command::{Command, CommandBody};
use rigwire_shared::event::{AgentEvent, Answer, EventBody, Started, StepError, StepFinished, StepOutcome, code};
use rigwire_shared::ids::{AgentId, AttemptId, DeviceId, Epoch, Fence, Position, RunId};
use rigwire_shared::time::Timestamp;
use rigwire_shared::wire::Batch;
use uuid::Uuid;

use crate::support::device;

const TWO_STEPS: &str = r#"
name = "two-steps"
[roles]
psu = { class = "psu", hold = "HOLD" }
[[steps]]
id = "one"
use = "instrument.action"
on = "psu"
timeout = "20s"
with = { action = "on" }
[[steps]]
id = "two"
use = "instrument.action"
on = "psu"
timeout = "20s"
with = { action = "off" }
"#;

#[derive(Debug, Clone)]
enum Happening {
    Start {
        holder: Option<bool>,
        shared: bool,
    },
    Cancel,
    Reserve {
        alice: bool,
        seconds: u16,
        next: bool,
    },
    Return {
        alice: bool,
        force: bool,
    },
    /// So many commands arrive at the agent.
    Arrive(u8),
    /// So many commands never arrive.
    Lose(u8),
    /// The next step is kept by the network, and what was kept arrives long after.
    Keep,
    ArriveLate,
    /// The device is worked on, and perhaps the step is done.
    Work {
        done: bool,
    },
    /// What the agent has to say arrives.
    Report,
    Wait(u16),
    Reconnect,
    AgentRestarts,
    HubRestarts,
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => (prop::option::of(any::<bool>()), any::<bool>())
            .prop_map(|(holder, shared)| Happening::Start { holder, shared }),
        4 => Just(Happening::Cancel),
        3 => (any::<bool>(), 1..200_u16, any::<bool>())
            .prop_map(|(alice, seconds, next)| Happening::Reserve { alice, seconds, next }),
        2 => (any::<bool>(), any::<bool>()).prop_map(|(alice, force)| Happening::Return { alice, force }),
        8 => (1..4_u8).prop_map(Happening::Arrive),
        2 => (1..4_u8).prop_map(Happening::Lose),
        4 => Just(Happening::Keep),
        3 => Just(Happening::ArriveLate),
        6 => any::<bool>().prop_map(|done| Happening::Work { done }),
        6 => Just(Happening::Report),
        3 => (1..15_000_u16).prop_map(Happening::Wait),
        2 => Just(Happening::Reconnect),
        1 => Just(Happening::AgentRestarts),
        1 => Just(Happening::HubRestarts),
    ]
}

/// The device as its task would keep it.
#[derive(Default)]
struct FarSide {
    epoch: u64,
    lease: Lease,
    acting: Option<(Fence, AttemptId, RunId)>,
    seen: HashSet<AttemptId>,
    says: VecDeque<EventBody>,
    /// Highest number under which the device was ever worked on or granted, over all starts of the agent.
    highest: Option<Fence>,
}

impl FarSide {
    fn hear(&mut self, command: Command, now: Timestamp) {
        let is_late = command.epoch != Epoch(self.epoch) || command.expires_at <= now;
        match command.body {
            CommandBody::StartStep(start) => {
                if self.seen.contains(&start.attempt) {
                    return;
                }
                if is_late {
                    return self.fail(start.attempt, start.run, code::COMMAND_EXPIRED);
                }
                self.seen.insert(start.attempt);
                let fence = start.fence.expect("every step of a run has one");
                match self.lease.admit(Some(fence)) {
                    Err(_) => self.fail(start.attempt, start.run, code::LEASE_LOST),
                    Ok(_) => {
                        self.overtake(fence);
                        if self.acting.is_some() {
                            return self.fail(start.attempt, start.run, code::DEVICE_BUSY);
                        }
                        let device = start.device;
                        self.says.push_back(EventBody::StepStarted { attempt: start.attempt, run: start.run, device });
                        self.acting = Some((fence, start.attempt, start.run));
                        self.work(now);
                    }
                }
            }
            CommandBody::CancelStep { attempt, .. } if !is_late => {
                self.says.push_back(EventBody::CommandAnswered { command: command.id, answer: Answer::Done });
                if let Some((_, attempt, run)) = self.acting.take_if(|(_, acting, _)| *acting == attempt) {
                    self.finish(attempt, run, StepOutcome::Cancelled { safe: None });
                }
            }
            CommandBody::GrantLease { fence, until, holder, .. } if !is_late => {
                let answer = match self.lease.grant(Held { fence, until, holder }) {
                    Ok(_) => {
                        self.overtake(fence);
                        self.highest = self.highest.max(Some(fence));
                        Answer::Done
                    }
                    Err(error) => Answer::Refused { error },
                };
                self.says.push_back(EventBody::CommandAnswered { command: command.id, answer });
            }
            CommandBody::ReleaseLease { fence, device } if !is_late => {
                let released = self.lease.release(fence);
                if released.is_ok() {
                    self.overtake(Fence(fence.0 + 1));
                    self.says.push_back(EventBody::Lease { device, fence, held: false, cause: "released".to_owned() });
                }
            }
            _ => {}
        }
    }

    /// Who acts under an older number is stopped.
    fn overtake(&mut self, fence: Fence) {
        if let Some((_, attempt, run)) = self.acting.take_if(|(acting, _, _)| *acting < fence) {
            self.fail(attempt, run, code::LEASE_LOST);
        }
    }

    fn passes(&mut self, now: Timestamp) {
        if let Some(held) = self.lease.expire(now) {
            if let Some((_, attempt, run)) = self.acting.take() {
                self.fail(attempt, run, code::LEASE_LOST);
            }
            let cause = "expired".to_owned();
            self.says.push_back(EventBody::Lease { device: device("psu-1"), fence: held.fence, held: false, cause });
        }
    }

    /// The device is touched: the one thing that must never happen under an older number.
    fn work(&mut self, now: Timestamp) {
        let Some((fence, _, _)) = self.acting else { return };
        assert!(Some(fence) >= self.highest, "{fence:?} acts after {:?}", self.highest);
        assert!(self.lease.until().is_none_or(|until| until > now), "acts under a lease that is over");
        self.highest = Some(fence);
    }

    fn fail(&mut self, attempt: AttemptId, run: RunId, code: &str) {
        let error = StepError { code: code.to_owned(), message: code.to_owned() };
        self.finish(attempt, run, StepOutcome::Failed { error });
    }

    fn finish(&mut self, attempt: AttemptId, run: RunId, outcome: StepOutcome) {
        self.says.push_back(EventBody::StepFinished(StepFinished { attempt, run, outcome, duration_us: 1 }));
    }
}

/// What the record holds.
#[derive(Default)]
struct Kept {
    next_sequence: u64,
    next_number: u64,
    events: BTreeMap<RunId, Vec<(RunEventBody, Timestamp)>>,
    procedures: BTreeMap<RunId, Arc<Procedure>>,
    reservations: BTreeMap<DeviceId, Reservation>,
}

struct Lab {
    model: Model,
    now: Timestamp,
    far: FarSide,
    under_way: VecDeque<Command>,
    kept_back: VecDeque<Command>,
    kept: Kept,
    started: Vec<RunId>,
    next_batch: u64,
    previous: Option<Position>,
    restarts: u128,
    /// Number of the newest lease that the hub ever gave out.
    newest: Option<Fence>,
}

fn uuids(start: u128) -> Box<dyn FnMut() -> Uuid + Send> {
    let mut next = start << 64;
    Box::new(move || {
        next += 1;
        Uuid::from_u128(next)
    })
}

fn agent() -> AgentId {
    AgentId::new("bench").unwrap()
}

impl Lab {
    fn new() -> Self {
        let now = Timestamp::from_millis(1_000_000);
        let mut lab = Self {
            model: Model::new(Restored::default(), uuids(0), now),
            now,
            far: FarSide::default(),
            under_way: VecDeque::new(),
            kept_back: VecDeque::new(),
            kept: Kept { next_sequence: 1, next_number: 1, ..Kept::default() },
            started: Vec::new(),
            next_batch: 1,
            previous: None,
            restarts: 0,
            newest: None,
        };
        lab.agent_starts();
        lab
    }

    fn agent_starts(&mut self) {
        let previous = (self.far.epoch > 0).then_some(Epoch(self.far.epoch));
        // What it had to say is on its disk and still comes.
        let says = std::mem::take(&mut self.far.says);
        self.far = FarSide { epoch: self.far.epoch + 1, says, highest: self.far.highest, ..FarSide::default() };
        self.report();
        self.next_batch = 1;
        self.connects();
        let epoch = Epoch(self.far.epoch);
        let (version, host) = (String::new(), String::new());
        self.far.says.push_back(EventBody::Started(Started { epoch, previous, version, host }));
        self.report();
    }

    fn connects(&mut self) {
        let epoch = Epoch(self.far.epoch);
        let state =
            AgentState { epoch, online: true, version: String::new(), host: String::new(), cause: String::new() };
        self.model.agent_state(&agent(), &state, self.now);
        let card = DeviceCard {
            device: device("psu-1"),
            kind: DeviceKind::Instrument,
            class: "psu".to_owned(),
            profile: "test".to_owned(),
            tags: Vec::new(),
            state: DeviceState::Online,
            cause: String::new(),
            identity: None,
            readings: Vec::new(),
            actions: Vec::new(),
            sdk: None,
        };
        self.model.inventory(&agent(), &Inventory { epoch, devices: vec![card] }, self.now);
        self.settle();
    }

    fn report(&mut self) {
        let events: Vec<AgentEvent> = self.far.says.drain(..).map(|body| AgentEvent { at: self.now, body }).collect();
        if events.is_empty() {
            return;
        }
        let epoch = match &events[0].body {
            EventBody::Started(started) => started.epoch,
            _ => self.previous.map_or(Epoch(1), |position| position.epoch),
        };
        let position = Position { epoch, number: self.next_batch };
        self.next_batch += 1;
        let batch = Batch { position, previous: self.previous, events };
        self.previous = Some(position);
        self.model.batch(&agent(), batch, self.now);
        self.settle();
    }

    fn settle(&mut self) {
        self.model.tick(self.now);
        for output in self.model.take_outputs() {
            match output {
                Output::Event(published) => {
                    let event = &published.event;
                    self.kept.next_sequence = self.kept.next_sequence.max(event.sequence + 1);
                    if let EventKind::Run(of_run) = &event.kind {
                        let events = self.kept.events.entry(of_run.run.id).or_default();
                        events.push((of_run.body.clone(), event.at));
                    }
                }
                Output::Record(Record::Reservation { device, reservation: Some(reservation) }) => {
                    self.kept.reservations.insert(device, *reservation);
                }
                Output::Record(Record::Reservation { device, reservation: None }) => {
                    self.kept.reservations.remove(&device);
                }
                Output::Record(Record::NextNumber(next)) => self.kept.next_number = next,
                Output::Record(_) => {}
                Output::Effect(Effect::Command { command, .. }) => self.under_way.push_back(*command),
                Output::Effect(Effect::Ack { .. } | Effect::Question(_)) => {}
            }
        }
        let held: Vec<Fence> = self.model.leases().iter().filter_map(|lease| lease.fence).collect();
        assert!(held.len() <= 1, "two holders: {:?}", self.model.leases());
        if let Some(fence) = held.first() {
            assert!(self.newest.is_none_or(|newest| newest <= *fence), "{fence:?} after {:?}", self.newest);
            self.newest = Some(*fence);
        }
    }

    fn hub_restarts(&mut self) {
        let mut runs = Vec::new();
        for id in &self.started {
            let Some(known) = self.model.run(RunReference::Id(*id)) else { continue };
            if known.finished.is_some() {
                continue;
            }
            let mut run = Run::new(known.header, self.kept.procedures.get(id).cloned());
            for (body, at) in self.kept.events.get(id).into_iter().flatten() {
                run.apply(body, *at);
            }
            runs.push(run);
        }
        let restored = Restored {
            next_sequence: self.kept.next_sequence,
            next_number: self.kept.next_number,
            agents: self.model.agents().cloned().collect(),
            devices: self.model.devices().map(|(card, device)| (device.agent, card.clone())).collect(),
            runs,
            reservations: self.kept.reservations.clone().into_iter().collect(),
            ..Restored::default()
        };
        self.restarts += 1;
        self.model = Model::new(restored, uuids(self.restarts), self.now);
        self.settle();
        self.connects();
    }

    fn start(&mut self, holder: Option<bool>, shared: bool) -> RunId {
        let text = TWO_STEPS.replace("HOLD", if shared { "step" } else { "run" });
        let procedure = Arc::new(Procedure::from_toml(&text, "test.toml").unwrap());
        let holder = holder.map(name);
        let start = StartRun { holder, ..StartRun::new(Arc::clone(&procedure), Vec::new()) };
        let id = self.model.start_run(start, self.now);
        self.kept.procedures.insert(id, procedure);
        self.started.push(id);
        self.settle();
        id
    }

    fn hear(&mut self, command: Option<Command>) {
        self.far.passes(self.now);
        if let Some(command) = command {
            self.far.hear(command, self.now);
        }
    }

    fn wait(&mut self, millis: i64) {
        self.now = Timestamp(self.now.0 + millis * 1000);
        self.far.passes(self.now);
        self.settle();
    }

    fn happen(&mut self, happening: &Happening) {
        match happening {
            Happening::Start { holder, shared } => drop(self.start(*holder, *shared)),
            Happening::Cancel => {
                let open = self
                    .started
                    .iter()
                    .find(|id| self.model.run(RunReference::Id(**id)).is_some_and(|run| run.finished.is_none()));
                if let Some(id) = open.copied() {
                    drop(self.model.cancel_run(id, "by a test", self.now));
                }
            }
            Happening::Reserve { alice, seconds, next } => {
                let until = Timestamp(self.now.0 + i64::from(*seconds) * 1_000_000);
                let claim = Claim { holder: name(*alice), reason: None, until, next: *next };
                drop(self.model.reserve(&device("psu-1"), claim, self.now));
            }
            Happening::Return { alice, force } => {
                drop(self.model.return_device(&device("psu-1"), &name(*alice), *force, self.now));
            }
            Happening::Arrive(count) => {
                for _ in 0..*count {
                    let command = self.under_way.pop_front();
                    self.hear(command);
                }
            }
            Happening::Lose(count) => {
                let count = usize::from(*count).min(self.under_way.len());
                self.under_way.drain(..count);
            }
            Happening::Keep => {
                let is_step = |command: &Command| matches!(command.body, CommandBody::StartStep(_));
                let place = self.under_way.iter().position(is_step).unwrap_or_default();
                self.kept_back.extend(self.under_way.remove(place));
            }
            Happening::ArriveLate => {
                let command = self.kept_back.pop_front();
                self.hear(command);
            }
            Happening::Work { done } => {
                self.far.passes(self.now);
                self.far.work(self.now);
                if *done && let Some((_, attempt, run)) = self.far.acting.take() {
                    self.far.finish(attempt, run, StepOutcome::Completed { outputs: Vec::new() });
                }
            }
            Happening::Report => self.report(),
            Happening::Wait(millis) => self.wait(i64::from(*millis)),
            Happening::Reconnect => self.connects(),
            Happening::AgentRestarts => self.agent_starts(),
            Happening::HubRestarts => self.hub_restarts(),
        }
        self.settle();
    }

    /// Everything gets through again, for long enough.
    fn calm(&mut self) {
        for _ in 0..60 {
            self.connects();
            while let Some(command) = self.under_way.pop_front() {
                self.hear(Some(command));
            }
            self.happen(&Happening::Work { done: true });
            self.report();
            self.wait(10_000);
            if self.model.leases().is_empty() && self.model.active_runs() == 0 {
                break;
            }
        }
    }
}

fn name(alice: bool) -> String {
    if alice { "alice" } else { "bob" }.to_owned()
}

proptest! {
    #[test]
    fn no_two_holders_ever_act_and_no_device_stays_held(
        happenings in proptest::collection::vec(happening(), 0..120)
    ) {
        let mut lab = Lab::new();
        for happening in &happenings {
            lab.happen(happening);
        }
        lab.calm();
        prop_assert!(lab.model.leases().is_empty(), "still held: {:?}", lab.model.leases());
        let after = lab.start(None, false);
        lab.calm();
        let status = lab.model.run(RunReference::Id(after)).unwrap().status;
        prop_assert_eq!(status, rigwire::event::RunStatus::Completed, "the device is not usable any more");
    }
}
