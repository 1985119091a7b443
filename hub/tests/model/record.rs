//! The record: durable before it is acted on, the same after a restart, and closed to a second hub.

use std::sync::Arc;

use crate::support::measured;
use rigwire::dialect::RunReference;
use rigwire::event::RunStatus;
use rigwire::model::{Effect, Model, StartRun};
use rigwire::procedure::Procedure;
use rigwire::store::{self, RunFilter, Store};
use rigwire_shared::agent::{AgentState, DeviceCard, DeviceKind, DeviceState, Inventory};
use rigwire_shared::command::CommandBody;
use rigwire_shared::event::{AgentEvent, EventBody, Sample, StepFinished, StepOutcome};
use rigwire_shared::ids::{AgentId, AttemptId, DeviceId, Epoch, MetricName, Position, RunId};
use rigwire_shared::quality::Quality;
use rigwire_shared::time::Timestamp;
use rigwire_shared::unit::Unit;
use rigwire_shared::value::Value;
use rigwire_shared::wire::Batch;
use tokio::sync::mpsc;
use uuid::Uuid;

const PROCEDURE: &str = r#"
name = "one"
[roles]
meter = { class = "dmm" }
[[steps]]
id = "read"
use = "instrument.read"
on = "meter"
expect = { voltage = { min = 1.0, max = 2.0 } }
"#;

struct Rig {
    model: Model,
    store: Store,
    writer: store::Writer,
    effects: mpsc::Receiver<Vec<Effect>>,
}

impl Rig {
    fn open(directory: &std::path::Path) -> Self {
        let (sender, effects) = mpsc::channel(64);
        let (store, writer, restored) = store::open(directory, sender).unwrap();
        let model = Model::new(restored, Box::new(Uuid::new_v4), Timestamp::now());
        Self { model, store, writer, effects }
    }

    async fn settle(&mut self) {
        let outputs = self.model.take_outputs();
        self.store.write(outputs).await.unwrap();
    }

    async fn close(self) {
        self.store.stop().await;
        tokio::task::spawn_blocking(move || self.writer.join()).await.unwrap();
    }

    /// The attempt that an agent is asked to perform, once it may be.
    async fn attempt(&mut self) -> (AttemptId, RunId) {
        loop {
            for effect in self.effects.recv().await.expect("the store ended") {
                if let Effect::Command { command, .. } = effect
                    && let CommandBody::StartStep(start) = command.body
                {
                    return (start.attempt, start.run);
                }
            }
        }
    }
}

fn agent() -> AgentId {
    AgentId::new("bench").unwrap()
}

fn meter() -> DeviceId {
    DeviceId::new("dmm-1").unwrap()
}

fn agent_comes(model: &mut Model) {
    let now = Timestamp::now();
    let state = AgentState {
        epoch: Epoch(1),
        online: true,
        version: "0.1.0".to_owned(),
        host: "host".to_owned(),
        cause: "connected".to_owned(),
    };
    model.agent_state(&agent(), &state, now);
    let card = DeviceCard {
        device: meter(),
        kind: DeviceKind::Instrument,
        class: "dmm".to_owned(),
        profile: "test".to_owned(),
        tags: Vec::new(),
        state: DeviceState::Online,
        cause: "idle".to_owned(),
        identity: None,
        readings: Vec::new(),
        actions: Vec::new(),
        sdk: None,
    };
    model.inventory(&agent(), &Inventory { epoch: Epoch(1), devices: vec![card] }, now);
}

fn batch(number: u64, bodies: Vec<EventBody>) -> Batch {
    let previous = (number > 1).then(|| Position { epoch: Epoch(1), number: number - 1 });
    let events = bodies.into_iter().map(|body| AgentEvent { at: Timestamp::now(), body }).collect();
    Batch { position: Position { epoch: Epoch(1), number }, previous, events }
}

fn start(model: &mut Model) -> RunId {
    let procedure = Procedure::from_toml(PROCEDURE, "one.toml").unwrap();
    model.start_run(StartRun::new(Arc::new(procedure), Vec::new()), Timestamp::now())
}

#[tokio::test]
async fn a_run_goes_on_after_the_hub_was_killed() {
    let directory = tempfile::tempdir().unwrap();
    let mut rig = Rig::open(directory.path());
    agent_comes(&mut rig.model);
    let run = start(&mut rig.model);
    rig.settle().await;
    let (attempt, asked_by) = rig.attempt().await;
    assert_eq!(asked_by, run);
    let began = EventBody::StepStarted { attempt, run, device: Some(meter()) };
    rig.model.batch(&agent(), batch(1, vec![began]), Timestamp::now());
    rig.settle().await;
    rig.store.barrier().await.unwrap();
    let before = rig.model.run(RunReference::Id(run)).unwrap();
    // Nothing is said to the store: as after a kill, only what was committed is there.
    rig.close().await;

    let mut rig = Rig::open(directory.path());
    let after = rig.model.run(RunReference::Number(before.header.number)).unwrap();
    assert_eq!(after.header, before.header);
    assert_eq!(after.steps, before.steps);
    assert_eq!(after.last_event, before.last_event);
    // The agent, which knows of no restart, sends the end; what was taken before is not taken again.
    let end = EventBody::StepFinished(StepFinished {
        attempt,
        run,
        outcome: StepOutcome::Completed { outputs: measured("voltage", 1.4, 1.6, 0) },
        duration_us: 10,
    });
    for number in [1, 2] {
        let bodies = if number == 1 { Vec::new() } else { vec![end.clone()] };
        rig.model.batch(&agent(), batch(number, bodies), Timestamp::now());
    }
    rig.settle().await;
    assert_eq!(rig.model.run(RunReference::Id(run)).unwrap().status, RunStatus::Completed);
    let events = rig.store.run_events(run, 0, 1000).await.unwrap();
    let numbers: Vec<u64> = events.iter().map(|event| event.seq).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
    let rows = rig.store.runs(RunFilter { limit: 10, ..RunFilter::default() }).await.unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].status, RunStatus::Completed);

    // A later run never gets the number of an earlier run or step.
    agent_comes(&mut rig.model);
    let next = start(&mut rig.model);
    let next = rig.model.run(RunReference::Id(next)).unwrap();
    assert!(next.header.number > before.header.steps.last().unwrap().number);
    rig.close().await;
}

#[tokio::test]
async fn an_acknowledgement_waits_for_the_commit() {
    let directory = tempfile::tempdir().unwrap();
    let mut rig = Rig::open(directory.path());
    agent_comes(&mut rig.model);
    rig.settle().await;
    let sample = EventBody::Sample(Sample {
        device: meter(),
        metric: MetricName::new("voltage").unwrap(),
        value: Value::Float(1.5),
        unit: Unit::Volt,
        quality: Quality::Good,
        attempt: None,
        round_trip_us: None,
    });
    rig.model.batch(&agent(), batch(1, vec![sample]), Timestamp::now());
    rig.settle().await;
    let durable = loop {
        let group = rig.effects.recv().await.unwrap();
        let acked = group.into_iter().find_map(|effect| match effect {
            Effect::Ack { ack, .. } => ack.durable,
            Effect::Command { .. } | Effect::Question(_) => None,
        });
        if let Some(durable) = acked {
            break durable;
        }
    };
    assert_eq!(durable.number, 1);
    // What was acknowledged is there for a reader of the file itself.
    let reader = rusqlite::Connection::open(directory.path().join("rigwire.db")).unwrap();
    let row: (f64, String) =
        reader.query_row("SELECT number, quality FROM samples", [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    assert_eq!(row, (1.5, "good".to_owned()));
    rig.close().await;
}

#[tokio::test]
async fn a_second_hub_is_kept_out() {
    let directory = tempfile::tempdir().unwrap();
    let rig = Rig::open(directory.path());
    let error = store::open(directory.path(), mpsc::channel(1).0).err().expect("a second hub got in");
    assert_eq!(error.to_string(), format!("data directory {} is in use by another hub", directory.path().display()));
    rig.close().await;
}

#[tokio::test]
async fn a_record_of_another_version_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    Rig::open(directory.path()).close().await;
    let file = rusqlite::Connection::open(directory.path().join("rigwire.db")).unwrap();
    file.pragma_update(None, "user_version", 99).unwrap();
    drop(file);
    let error = store::open(directory.path(), mpsc::channel(1).0).err().expect("a newer record was opened");
    assert!(format!("{error:#}").ends_with("the record has schema version 99, this hub knows 1"), "{error:#}");
}
