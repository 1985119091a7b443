//! A file on its way from an agent while the hub is killed again and again: it arrives once, whole and unchanged.

use anyhow::{Context, Result};
use rigwire_hil_tests::broker::Broker;
use rigwire_hil_tests::hub::{Hub, Mqtt};
use rigwire_hil_tests::publisher::Publisher;
use rigwire_hil_tests::wait::{self, PATIENCE};
use rigwire_shared::agent::AgentState;
use rigwire_shared::command::Ack;
use rigwire_shared::event::{AgentEvent, Artifact, EventBody};
use rigwire_shared::ids::{AgentId, Epoch, Position, RunId};
use rigwire_shared::time::Timestamp;
use rigwire_shared::topic::{Channel, Topic};
use rigwire_shared::wire::{self, Batch};
use serde_json::json;
use sha2::{Digest, Sha256};

const EPOCH: Epoch = Epoch(7);

/// Bytes of each chunk, and how many there are.
const CHUNK: usize = 10_007;
const CHUNKS: usize = 40;

/// An agent of a test's own, which keeps what it sent until the hub has it.
struct Agent {
    id: AgentId,
    publisher: Publisher,
    batches: Vec<Vec<EventBody>>,
    /// Batches that the hub has.
    durable: usize,
}

impl Agent {
    fn topic(&self, channel: Channel) -> String {
        Topic::Agent(self.id.clone(), channel).text()
    }

    fn connect(port: u16, batches: Vec<Vec<EventBody>>) -> Result<Self> {
        let publisher = Publisher::connect("rigwire-agent-scripted", port)?;
        let mut agent = Self { id: AgentId::new("scripted")?, publisher, batches, durable: 0 };
        let (version, host, cause) = ("0.1.0".to_owned(), "host".to_owned(), "connected".to_owned());
        let state = AgentState { epoch: EPOCH, online: true, version, host, cause };
        agent.publisher.subscribe(&agent.topic(Channel::Ack))?;
        agent.publisher.publish(&agent.topic(Channel::State), true, &wire::encode(&state)?)?;
        Ok(agent)
    }

    /// Sends the next so many batches that the hub is not known to have.
    fn send(&mut self, count: usize) -> Result<()> {
        let position = |index: usize| Position { epoch: EPOCH, number: index as u64 + 1 };
        for index in (self.durable..self.batches.len()).take(count) {
            // The first that is still kept names none before it, as agents do.
            let previous = index.checked_sub(1).filter(|_| index > self.durable).map(position);
            let events = self.batches[index].iter().map(|body| AgentEvent { at: Timestamp::now(), body: body.clone() });
            let batch = Batch { position: position(index), previous, events: events.collect() };
            self.publisher.publish(&self.topic(Channel::Up), false, &wire::encode(&batch)?)?;
        }
        Ok(())
    }

    /// Waits until the hub says that it has this many, or asks for what comes after what it has.
    fn hear(&mut self, all: Option<usize>) -> Result<()> {
        self.durable = self.publisher.wait_message("an acknowledgement", |payload| {
            let ack: Ack = wire::decode(payload).ok()?;
            let durable = ack.durable.map_or(0, |durable| usize::try_from(durable.number).unwrap_or(usize::MAX));
            all.map_or(ack.resend, |all| durable >= all).then_some(durable)
        })?;
        Ok(())
    }
}

#[test]
#[ignore = "needs mosquitto: run ./hil-tests/run"]
fn a_file_arrives_whole_though_the_hub_is_killed_again_and_again() -> Result<()> {
    let broker = Broker::start()?;
    let mut hub = Hub::start(Mqtt::Url(broker.url()))?;
    let body = json!({"external": true, "kind": "solve", "name": "beam"});
    let run = hub.rest.expect(201, hub.rest.post("/api/v1/runs", &body))?;
    let id = run["id"].as_str().context("a run without an id")?;
    // Lines that are all different, so that one in the wrong place shows.
    let mut content: String = (0_u32..).take(60_000).map(|line| format!("{line:06}\n")).collect();
    content.truncate(CHUNK * CHUNKS);
    let sha256: [u8; 32] = Sha256::digest(&content).into();
    let announced = EventBody::Artifact(Artifact {
        run: Some(RunId(id.parse()?)),
        attempt: None,
        name: "wave.csv".to_owned(),
        media_type: "text/csv".to_owned(),
        sha256,
        size: content.len() as u64,
    });
    let chunks = content.as_bytes().chunks(CHUNK).enumerate();
    let chunks = chunks.map(|(index, data)| {
        vec![EventBody::ArtifactChunk { sha256, offset: (index * CHUNK) as u64, data: data.to_vec() }]
    });
    let batches: Vec<Vec<EventBody>> = std::iter::once(vec![announced]).chain(chunks).collect();
    let all = batches.len();
    let mut agent = Agent::connect(broker.port(), batches)?;
    agent.hear(None)?;
    // Killed at once after a few batches, when some are taken, some written and some on their way.
    for count in [1, 6, 2, 9, 5] {
        agent.send(count)?;
        hub.kill()?;
        hub.start_again()?;
        agent.hear(None)?;
    }
    assert!(agent.durable < all, "the kills came too late to be of any use");
    agent.send(all)?;
    agent.hear(Some(all))?;
    hub.kill()?;
    hub.start_again()?;

    let listed = hub.rest.expect(200, hub.rest.get(&format!("/api/v1/runs/{id}/artifacts")))?;
    let files = listed["artifacts"].as_array().context("no list")?;
    assert_eq!((files.len(), &files[0]["state"]), (1, &json!("complete")), "{listed}");
    let url = files[0]["url"].as_str().context("a file without an address")?;
    let (status, found) = hub.rest.get_text(url)?;
    assert!(status == 200 && found == content, "{status}, {} bytes of {}", found.len(), content.len());
    let told = hub.run_events(id)?;
    let told: Vec<&str> =
        told.iter().filter_map(|event| event["type"].as_str()).filter(|kind| *kind != "status").collect();
    assert_eq!(told, ["created", "artifact"], "it is told once, and nothing was wrong with it");
    wait::until("nothing half done to be left", PATIENCE, || {
        let left = std::fs::read_dir(hub.data().join("artifacts/partial")).map_err(|error| error.to_string())?.count();
        if left == 0 { Ok(()) } else { Err(format!("{left} files")) }
    })
}
