//! Files that agents send in parts, with the record on a disk: whole, wrong, too large, sent again, and with the hub killed
//! in between.

use rigwire::artifact::Limits;
use rigwire::event::RunEventBody;
use rigwire::external::StartExternal;
use rigwire::model::{Model, StartRun};
use rigwire::procedure::Procedure;
use rigwire::store::{self, ArtifactRow, Store};
use rigwire_shared::agent::{AgentState, DeviceCard, DeviceKind, DeviceState, Inventory};
use rigwire_shared::event::{AgentEvent, Artifact, EventBody, Started};
use rigwire_shared::ids::{AgentId, DeviceId, Epoch, Position, RunId};
use rigwire_shared::time::Timestamp;
use rigwire_shared::wire::Batch;
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use uuid::Uuid;

struct Rig {
    directory: tempfile::TempDir,
    model: Model,
    store: Store,
    writer: store::Writer,
    previous: Option<Position>,
    epoch: u64,
}

impl Rig {
    fn new() -> Self {
        Self::open(tempfile::tempdir().unwrap(), None, 1)
    }

    fn open(directory: tempfile::TempDir, previous: Option<Position>, epoch: u64) -> Self {
        let (sender, _effects) = mpsc::channel(64);
        let (store, writer, mut restored) = store::open(directory.path(), sender).unwrap();
        restored.artifact_limits = Limits { file: 1000, run: 1500 };
        let mut model = Model::new(restored, Box::new(Uuid::new_v4), Timestamp::now());
        let (version, host, cause) = ("0.1.0".to_owned(), "host".to_owned(), "connected".to_owned());
        model.agent_state(
            &agent(),
            &AgentState { epoch: Epoch(epoch), online: true, version, host, cause },
            Timestamp(1),
        );
        Self { directory, model, store, writer, previous, epoch }
    }

    /// The hub is gone, and only what was committed is there when it comes back.
    async fn killed(mut self) -> Self {
        self.settle().await;
        self.store.stop().await;
        tokio::task::spawn_blocking(move || self.writer.join()).await.unwrap();
        Self::open(self.directory, self.previous, self.epoch)
    }

    fn run(&mut self) -> RunId {
        let body = json!({"external": true, "kind": "solve", "name": "beam"});
        self.model.start_external(StartExternal::from_json(body).unwrap(), Timestamp::now())
    }

    async fn settle(&mut self) {
        let outputs = self.model.take_outputs();
        self.store.write(outputs).await.unwrap();
        self.store.barrier().await.unwrap();
    }

    async fn send(&mut self, bodies: Vec<EventBody>) {
        let number = self.previous.filter(|last| last.epoch.0 == self.epoch).map_or(1, |last| last.number + 1);
        let position = Position { epoch: Epoch(self.epoch), number };
        let events = bodies.into_iter().map(|body| AgentEvent { at: Timestamp::now(), body }).collect();
        self.model.batch(&agent(), Batch { position, previous: self.previous, events }, Timestamp::now());
        self.previous = Some(position);
        self.settle().await;
    }

    async fn restart_of_agent(&mut self) {
        let previous = Some(Epoch(self.epoch));
        self.epoch += 1;
        let (version, host) = ("0.1.0".to_owned(), "host".to_owned());
        self.send(vec![EventBody::Started(Started { epoch: Epoch(self.epoch), previous, version, host })]).await;
    }

    async fn listed(&self, run: RunId) -> Vec<ArtifactRow> {
        self.store.run_artifacts(run, 0, 100).await.unwrap()
    }

    /// Name and state of each file.
    async fn states(&self, run: RunId) -> Vec<(String, String)> {
        self.listed(run).await.into_iter().map(|row| (row.name, row.state)).collect()
    }

    async fn content(&self, run: RunId, name: &str) -> Vec<u8> {
        let row = self.store.artifact(format!("{run}/{name}")).await.unwrap().expect("it is not in the record");
        std::fs::read(self.store.artifact_place(&row).unwrap()).unwrap()
    }

    /// Events of files and lines about them, in order.
    async fn told(&self, run: RunId) -> Vec<String> {
        let events = self.store.run_event_bodies(run, 0, 1000).await.unwrap();
        let lines = events.into_iter().filter_map(|(_, _, body)| match body {
            RunEventBody::Artifact { name, size, .. } => Some(format!("{name}: {size}")),
            RunEventBody::Log(log) => Some(format!("{}: {}", log.level.as_str(), log.message)),
            _ => None,
        });
        lines.collect()
    }

    fn parts(&self) -> usize {
        std::fs::read_dir(self.directory.path().join("artifacts/partial")).unwrap().count()
    }
}

fn agent() -> AgentId {
    AgentId::new("bench").unwrap()
}

fn content(size: usize) -> Vec<u8> {
    (0..size).map(|index| u8::try_from(index % 251).unwrap()).collect()
}

fn announce(run: RunId, name: &str, bytes: &[u8]) -> EventBody {
    EventBody::Artifact(Artifact {
        run: Some(run),
        attempt: None,
        name: name.to_owned(),
        media_type: "text/plain".to_owned(),
        sha256: Sha256::digest(bytes).into(),
        size: bytes.len() as u64,
    })
}

fn chunk(bytes: &[u8], from: usize, to: usize) -> EventBody {
    let sha256 = Sha256::digest(bytes).into();
    EventBody::ArtifactChunk { sha256, offset: from as u64, data: bytes[from..to].to_vec() }
}

#[tokio::test]
async fn a_file_in_parts_is_whole_after_kills_and_repetitions() {
    let mut rig = Rig::new();
    let run = rig.run();
    let bytes = content(900);
    rig.send(vec![announce(run, "wave.csv", &bytes), chunk(&bytes, 0, 300)]).await;
    assert_eq!(rig.listed(run).await[0].received, 300);
    rig = rig.killed().await;
    // The agent is told what is durable and sends the rest; a chunk in part known, one known, and one known from before.
    rig.send(vec![chunk(&bytes, 200, 500), chunk(&bytes, 200, 500), announce(run, "wave.csv", &bytes)]).await;
    rig = rig.killed().await;
    assert_eq!(rig.states(run).await, [("wave.csv".to_owned(), "arriving".to_owned())]);
    assert_eq!(rig.told(run).await, [""; 0]);
    rig.send(vec![chunk(&bytes, 0, 300), chunk(&bytes, 500, 900), chunk(&bytes, 500, 900)]).await;
    assert_eq!(rig.states(run).await, [("wave.csv".to_owned(), "complete".to_owned())]);
    assert_eq!((rig.content(run, "wave.csv").await, rig.told(run).await), (bytes, vec!["wave.csv: 900".to_owned()]));
    assert_eq!(rig.parts(), 0);
}

#[tokio::test]
async fn a_kill_between_disk_and_commit_does_no_harm() {
    let mut rig = Rig::new();
    let run = rig.run();
    let bytes = content(900);
    rig.send(vec![announce(run, "a", &bytes), chunk(&bytes, 0, 300)]).await;
    let part =
        std::fs::read_dir(rig.directory.path().join("artifacts/partial")).unwrap().next().unwrap().unwrap().path();
    // More was written than committed, and then some: as after a kill in the middle of the next chunk.
    rig = rig.killed().await;
    let mut more = bytes[..300].to_vec();
    more.extend([7; 1000]);
    std::fs::write(&part, more).unwrap();
    std::fs::write(part.with_file_name("0000.whole"), b"a draft that nobody will finish").unwrap();
    rig = rig.killed().await;
    assert_eq!(rig.parts(), 1, "only what is expected is left");
    rig.send(vec![chunk(&bytes, 300, 600)]).await;
    // Moved to its place, but the commit that says so is missing.
    rig = rig.killed().await;
    let hash = rig.listed(run).await[0].sha256.clone();
    let folder = rig.directory.path().join("artifacts").join(&hash[..2]);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(&hash), &bytes).unwrap();
    std::fs::remove_file(&part).unwrap();
    rig = rig.killed().await;
    rig.send(vec![chunk(&bytes, 600, 900)]).await;
    assert_eq!((rig.content(run, "a").await, rig.told(run).await), (bytes, vec!["a: 900".to_owned()]));
    assert_eq!(rig.parts(), 0);
}

#[tokio::test]
async fn what_is_wrong_or_too_large_is_told_and_not_served() {
    let mut rig = Rig::new();
    let run = rig.run();
    let (good, large) = (content(900), content(1001));
    let mut bad = good.clone();
    bad[899] = 0;
    let wrong = EventBody::ArtifactChunk { sha256: Sha256::digest(&good).into(), offset: 0, data: bad };
    rig.send(vec![announce(run, "bad", &good), wrong]).await;
    rig.send(vec![announce(run, "large", &large), chunk(&large, 0, 1001)]).await;
    rig.send(vec![announce(run, "x", &good), announce(run, "y", &content(700)), announce(run, "empty", b"")]).await;
    rig.send(vec![chunk(&good, 100, 200), chunk(&good, 200, 300), chunk(&content(700), 0, 700)]).await;
    let told = rig.told(run).await;
    let expected = [
        "error: file bad is not kept: its content has the hash ",
        "warning: file large is not kept: it has 1001 bytes, a file may have 1000",
        "warning: file y is not kept: it has 700 bytes, the run's files have 900 already and may have 1500 together",
        "empty: 0",
        "warning: file x is not kept: its bytes 0 to 100 did not arrive",
    ];
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    for (line, expected) in told.iter().zip(expected) {
        assert!(line.starts_with(expected), "{line}");
    }
    let states = [("bad", "refused"), ("x", "arriving"), ("empty", "complete")];
    assert_eq!(rig.states(run).await, states.map(|(name, state)| (name.to_owned(), state.to_owned())));
    assert!(rig.listed(run).await[0].cause.as_deref().is_some_and(|cause| cause.contains("was announced")));
    assert_eq!(rig.content(run, "empty").await, b"");
}

#[tokio::test]
async fn a_content_goes_by_several_names_and_names_are_unique() {
    let mut rig = Rig::new();
    let (one, other) = (rig.run(), rig.run());
    let bytes = content(10);
    rig.send(vec![announce(one, "x.csv", &bytes), announce(other, "x.csv", &bytes), chunk(&bytes, 0, 4)]).await;
    rig = rig.killed().await;
    rig.send(vec![announce(one, "y.csv", &bytes), announce(one, "../x.csv", &content(11))]).await;
    assert_eq!(rig.listed(one).await.iter().map(|row| row.received).collect::<Vec<_>>(), [4, 4, 0]);
    rig.send(vec![chunk(&content(11), 0, 11), chunk(&bytes, 4, 10)]).await;
    let complete = |name: &str| (name.to_owned(), "complete".to_owned());
    assert_eq!(rig.states(one).await, [complete("x.csv"), complete("y.csv"), complete("..-x.csv")]);
    assert_eq!(rig.states(other).await, [complete("x.csv")]);
    // The same again, from an agent that forgot: another name, the same content.
    rig.send(vec![announce(one, "x.csv", &bytes), chunk(&bytes, 0, 10)]).await;
    assert_eq!(rig.states(one).await[3], complete("x-2.csv"));
    assert_eq!(rig.content(one, "x-2.csv").await, bytes);
}

#[tokio::test]
async fn what_never_came_whole_is_listed_as_such() {
    let mut rig = Rig::new();
    let (run, ended) = (rig.run(), rig.run());
    let (bytes, other) = (content(10), content(20));
    rig.send(vec![announce(run, "a", &bytes), announce(ended, "b", &other), announce(ended, "late", &bytes)]).await;
    rig.send(vec![chunk(&other, 0, 7)]).await;
    rig.model.cancel_run(ended, "enough", Timestamp::now()).unwrap();
    rig.settle().await;
    let unknown = announce(RunId(Uuid::nil()), "c", &bytes);
    rig.send(vec![
        unknown,
        announce(ended, "d", &bytes),
        EventBody::Artifact(Artifact {
            run: None,
            attempt: None,
            name: String::new(),
            media_type: String::new(),
            sha256: [0; 32],
            size: 1,
        }),
    ])
    .await;
    rig.restart_of_agent().await;
    let arriving = |name: &str| (name.to_owned(), "arriving".to_owned());
    assert_eq!(rig.states(run).await, [arriving("a")]);
    let listed = rig.listed(ended).await;
    assert_eq!((listed[0].state.as_str(), listed[0].received), ("refused", 7));
    assert_eq!(listed[0].cause.as_deref(), Some("agent bench started anew before all of it arrived"));
    assert_eq!((listed.len(), rig.parts()), (2, 0));
    // The run that goes on gets its file, and the one that ended a row, but nothing is told after its end.
    let last = rig.model.run(rigwire::dialect::RunReference::Id(ended)).unwrap().last_event;
    rig.send(vec![chunk(&bytes, 0, 10)]).await;
    assert_eq!((rig.told(run).await, rig.content(ended, "late").await), (vec!["a: 10".to_owned()], bytes));
    assert_eq!(rig.model.run(rigwire::dialect::RunReference::Id(ended)).unwrap().last_event, last);
}

#[tokio::test]
async fn a_file_whose_run_fails_because_its_agent_started_anew_is_given_up_with_it() {
    let mut rig = Rig::new();
    let host = DeviceCard {
        device: DeviceId::new("host-bench").unwrap(),
        kind: DeviceKind::Host,
        class: "host".to_owned(),
        profile: "host".to_owned(),
        tags: vec!["solver".to_owned()],
        state: DeviceState::Online,
        cause: "no program runs".to_owned(),
        identity: None,
        readings: Vec::new(),
        actions: Vec::new(),
        sdk: None,
    };
    rig.model.inventory(&agent(), &Inventory { epoch: Epoch(1), devices: vec![host] }, Timestamp::now());
    let step = json!({"id": "solve", "use": "process.run", "with": {"program": "solver"}});
    let procedure = Procedure::from_json(&json!({"name": "beam", "steps": [step]}), "beam").unwrap();
    let run = rig.model.start_run(StartRun::new(procedure.into(), Vec::new()), Timestamp::now());
    rig.settle().await;
    let events = rig.store.run_event_bodies(run, 0, 1000).await.unwrap();
    let attempt = events.into_iter().find_map(|(_, _, body)| match body {
        RunEventBody::Step(step) => step.attempt_id,
        _ => None,
    });
    let bytes = content(20);
    let started = EventBody::StepStarted { attempt: attempt.unwrap(), run, device: None };
    rig.send(vec![started, announce(run, "a", &bytes), chunk(&bytes, 0, 7)]).await;
    assert_eq!((rig.states(run).await, rig.parts()), (vec![("a".to_owned(), "arriving".to_owned())], 1));
    rig.restart_of_agent().await;
    assert_eq!((rig.states(run).await, rig.parts()), (vec![("a".to_owned(), "refused".to_owned())], 0));
}
