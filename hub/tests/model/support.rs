//! A hub's model with a scripted agent at its door: every effect is a value that a test can look at.

use std::sync::Arc;

use rigwire::dialect::RunReference;
use rigwire::event::{EventKind, RunEventBody, RunHeader, RunSnapshot, StepChange};
use rigwire::model::{Effect, Model, Output, Record, Restored, StartRun};
use rigwire::procedure::Procedure;
use rigwire::run::Run;
use rigwire_shared::agent::{AgentState, DeviceCard, DeviceKind, DeviceState, Inventory};
use rigwire_shared::command::{Ack, Command, CommandBody, StartStep};
use rigwire_shared::event::{AgentEvent, EventBody, Started, StepError, StepFinished, StepOutcome};
use rigwire_shared::ids::{AgentId, AttemptId, DeviceId, Epoch, Position, RunId};
use rigwire_shared::time::Timestamp;
use rigwire_shared::value::{Fields, Value};
use rigwire_shared::wire::Batch;
use uuid::Uuid;

pub(crate) struct World {
    pub(crate) model: Model,
    pub(crate) now: Timestamp,
    pub(crate) agent: AgentId,
    pub(crate) epoch: Epoch,
    next_batch: u64,
    previous: Option<Position>,
    /// Everything told of runs, in order.
    pub(crate) told: Vec<(u64, RunEventBody, Timestamp)>,
    /// The same, with whose it is.
    pub(crate) heard: Vec<(RunId, RunEventBody, Timestamp)>,
    /// Every run that was made, in order.
    pub(crate) created: Vec<(Arc<RunHeader>, Option<Arc<Procedure>>)>,
    /// Names and contents of files that were kept.
    pub(crate) kept: Vec<(String, Vec<u8>)>,
    pub(crate) commands: Vec<Command>,
    pub(crate) acks: Vec<Ack>,
}

impl World {
    /// A hub that has just met an agent with a supply and a meter, both online.
    pub(crate) fn new() -> Self {
        let mut world = Self::bare();
        world.agent_comes();
        world
    }

    pub(crate) fn bare() -> Self {
        let mut next = 0;
        let uuids = move || {
            next += 1;
            Uuid::from_u128(next)
        };
        let now = Timestamp::from_millis(1_000_000);
        Self {
            model: Model::new(Restored::default(), Box::new(uuids), now),
            now,
            agent: AgentId::new("bench").unwrap(),
            epoch: Epoch(1),
            next_batch: 1,
            previous: None,
            told: Vec::new(),
            heard: Vec::new(),
            created: Vec::new(),
            kept: Vec::new(),
            commands: Vec::new(),
            acks: Vec::new(),
        }
    }

    pub(crate) fn agent_comes(&mut self) {
        let state = self.state(true);
        self.model.agent_state(&self.agent, &state, self.now);
        let inventory = self.inventory(DeviceState::Online);
        self.model.inventory(&self.agent, &inventory, self.now);
        let started =
            Started { epoch: self.epoch, previous: None, version: "0.1.0".to_owned(), host: "host".to_owned() };
        self.report(vec![EventBody::Started(started)]);
    }

    pub(crate) fn agent_restarts(&mut self) {
        self.epoch = Epoch(self.epoch.0 + 1);
        self.next_batch = 1;
        self.agent_comes();
    }

    /// The hub is killed and comes back after so long with what its record holds; the agent knows nothing of it.
    pub(crate) fn hub_restarts(&mut self, away_millis: i64, run: RunId, procedure: &str) {
        let procedure = Procedure::from_toml(procedure, "test.toml").unwrap();
        let mut replayed = Run::new(self.run(run).header, Some(Arc::new(procedure)));
        for (_, body, at) in &self.told {
            replayed.apply(body, *at);
        }
        let restored = Restored {
            next_sequence: 1000,
            next_number: 1000,
            agents: self.model.agents().cloned().collect(),
            devices: self.model.devices().map(|(card, device)| (device.agent, card.clone())).collect(),
            runs: vec![replayed],
            ..Restored::default()
        };
        self.now = Timestamp(self.now.0 + away_millis * 1000);
        let mut next = 1_000_000;
        let uuids = move || {
            next += 1;
            Uuid::from_u128(next)
        };
        self.model = Model::new(restored, Box::new(uuids), self.now);
        self.settle();
    }

    /// The same for a hub with any runs: everything that it knows of them is what the record says.
    pub(crate) fn hub_returns(&mut self, away_millis: i64) {
        let runs = self.created.iter().map(|(header, procedure)| {
            let mut run = Run::new(Arc::clone(header), procedure.clone());
            for (_, body, at) in self.heard.iter().filter(|(id, _, _)| *id == header.id) {
                let json = serde_json::to_string(body).unwrap();
                run.apply(&serde_json::from_str(&json).unwrap(), *at);
            }
            run
        });
        let restored = Restored {
            next_sequence: 100_000 + self.heard.len() as u64,
            next_number: 100_000,
            agents: self.model.agents().cloned().collect(),
            devices: self.model.devices().map(|(card, device)| (device.agent, card.clone())).collect(),
            runs: runs.filter(|run| run.finished().is_none()).collect(),
            ..Restored::default()
        };
        self.now = Timestamp(self.now.0 + away_millis * 1000);
        let mut next = 1_000_000 + u128::from(self.now.0.unsigned_abs());
        let uuids = move || {
            next += 1;
            Uuid::from_u128(next)
        };
        self.model = Model::new(restored, Box::new(uuids), self.now);
        // What the broker keeps of the agent comes at once.
        let (state, inventory) = (self.state(true), self.inventory(DeviceState::Online));
        self.model.agent_state(&self.agent, &state, self.now);
        self.model.inventory(&self.agent, &inventory, self.now);
        self.settle();
    }

    /// Bodies of one run's events.
    pub(crate) fn of(&self, run: RunId) -> impl Iterator<Item = &RunEventBody> {
        self.heard.iter().filter(move |(id, _, _)| *id == run).map(|(_, body, _)| body)
    }

    pub(crate) fn state(&self, online: bool) -> AgentState {
        AgentState {
            epoch: self.epoch,
            online,
            version: "0.1.0".to_owned(),
            host: "host".to_owned(),
            cause: if online { "connected" } else { "connection lost" }.to_owned(),
        }
    }

    pub(crate) fn inventory(&self, state: DeviceState) -> Inventory {
        let devices = [("psu-1", "psu"), ("dmm-1", "dmm")].map(|(id, class)| DeviceCard {
            device: device(id),
            kind: DeviceKind::Instrument,
            class: class.to_owned(),
            profile: "test".to_owned(),
            tags: Vec::new(),
            state,
            cause: "idle".to_owned(),
            identity: None,
            readings: Vec::new(),
            actions: Vec::new(),
            sdk: None,
        });
        Inventory { epoch: self.epoch, devices: devices.into() }
    }

    /// The agent's next batch, and what the hub makes of it.
    pub(crate) fn report(&mut self, bodies: Vec<EventBody>) {
        let batch = self.batch(bodies);
        self.model.batch(&self.agent.clone(), batch, self.now);
        self.settle();
    }

    /// Numbers a batch without sending it.
    pub(crate) fn batch(&mut self, bodies: Vec<EventBody>) -> Batch {
        let position = Position { epoch: self.epoch, number: self.next_batch };
        self.next_batch += 1;
        let events = bodies.into_iter().map(|body| AgentEvent { at: self.now, body }).collect();
        let batch = Batch { position, previous: self.previous, events };
        self.previous = Some(position);
        batch
    }

    pub(crate) fn settle(&mut self) {
        for output in self.model.take_outputs() {
            match output {
                Output::Event(published) => {
                    if let EventKind::Run(event) = &published.event.kind {
                        self.told.push((event.number, event.body.clone(), published.event.at));
                        self.heard.push((event.run.id, event.body.clone(), published.event.at));
                    }
                }
                Output::Effect(Effect::Command { command, .. }) => self.commands.push(*command),
                Output::Effect(Effect::Ack { ack, .. }) => self.acks.push(ack),
                Output::Effect(Effect::Question(question)) => panic!("nobody chats here: {question:?}"),
                Output::Record(Record::RunCreated { header, procedure }) => self.created.push((header, procedure)),
                Output::Record(Record::Artifact(artifact)) => {
                    self.kept.push((artifact.name.clone(), artifact.bytes.clone()))
                }
                Output::Record(_) => {}
            }
        }
    }

    pub(crate) fn start(&mut self, procedure: &str) -> RunId {
        let procedure = Procedure::from_toml(procedure, "test.toml").unwrap();
        let params = procedure.bind_params(&[]).unwrap();
        let id = self.model.start_run(StartRun::new(Arc::new(procedure), params), self.now);
        self.settle();
        id
    }

    pub(crate) fn advance(&mut self, millis: i64) {
        self.now = Timestamp(self.now.0 + millis * 1000);
        self.model.tick(self.now);
        self.settle();
    }

    /// The newest step that the agent was asked to start.
    pub(crate) fn asked(&self) -> &StartStep {
        self.asked_all().last().expect("no step was sent")
    }

    pub(crate) fn asked_all(&self) -> impl DoubleEndedIterator<Item = &StartStep> {
        self.commands.iter().filter_map(|command| match &command.body {
            CommandBody::StartStep(start) => Some(start),
            _ => None,
        })
    }

    pub(crate) fn begins(&mut self) {
        let asked = self.asked().clone();
        self.report(vec![EventBody::StepStarted { attempt: asked.attempt, run: asked.run, device: asked.device }]);
    }

    pub(crate) fn completes(&mut self, outputs: Fields) {
        self.ends(StepOutcome::Completed { outputs });
    }

    pub(crate) fn fails(&mut self, code: &str, message: &str) {
        self.ends(StepOutcome::Failed { error: StepError { code: code.to_owned(), message: message.to_owned() } });
    }

    /// Ends the step last asked for.
    pub(crate) fn ends(&mut self, outcome: StepOutcome) {
        let asked = self.asked().clone();
        self.report(vec![finished(asked.attempt, asked.run, outcome)]);
    }

    pub(crate) fn run(&self, id: RunId) -> RunSnapshot {
        self.model.run(RunReference::Id(id)).expect("the run is at hand")
    }

    /// What was told, a line per event, for comparing stories.
    pub(crate) fn story(&self) -> Vec<String> {
        self.told.iter().filter_map(|(_, body, _)| line(body)).collect()
    }
}

pub(crate) fn finished(attempt: AttemptId, run: RunId, outcome: StepOutcome) -> EventBody {
    EventBody::StepFinished(StepFinished { attempt, run, outcome, duration_us: 1_000_000 })
}

pub(crate) fn device(id: &str) -> DeviceId {
    DeviceId::new(id).unwrap()
}

/// Outputs of a reading, as an agent gives them.
pub(crate) fn measured(metric: &str, min: f64, max: f64, bad: i64) -> Fields {
    let numbers = [("mean", (min + max) / 2.0), ("min", min), ("max", max)];
    let mut fields: Fields = numbers.map(|(name, value)| (name.to_owned(), Value::Float(value))).into();
    fields.push(("bad".to_owned(), Value::Int(bad)));
    vec![(metric.to_owned(), Value::Map(fields))]
}

fn line(body: &RunEventBody) -> Option<String> {
    Some(match body {
        RunEventBody::Step(event) => {
            let change = match &event.change {
                StepChange::Dispatched { .. } => "dispatched".to_owned(),
                StepChange::Running => "running".to_owned(),
                StepChange::Progress { percent, .. } => format!("at {percent} %"),
                StepChange::Completed { .. } => "completed".to_owned(),
                StepChange::Failed { error_code, error, will_retry, .. } => {
                    format!("failed {error_code}: {error}{}", if *will_retry { " (again)" } else { "" })
                }
                StepChange::Cancelled { safe, .. } => {
                    format!("cancelled {}", safe.as_ref().map_or("-", |safe| &safe.outcome))
                }
                StepChange::Skipped { cause } => format!("skipped: {cause}"),
            };
            format!("{} #{} {change}", event.step, event.attempt)
        }
        RunEventBody::Status { status, message, .. } => match message {
            Some(message) => format!("{}: {message}", status.as_str()),
            None => status.as_str().to_owned(),
        },
        RunEventBody::Verdict(verdict) => {
            format!("{} {}", verdict.metric, if verdict.passed { "passed" } else { "failed" })
        }
        RunEventBody::DeviceLost { device, cause } => format!("lost {device}: {cause}"),
        RunEventBody::CancelRequested { cause } => format!("cancel: {cause}"),
        RunEventBody::Finished(end) => format!("finished {}: {}", end.status.as_str(), end.message),
        _ => return None,
    })
}
