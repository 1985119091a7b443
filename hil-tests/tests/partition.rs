//! The network between agent and broker fails without a word in the middle of a run. No two holders ever both act on a device:
//! what reached the instrument, by the instrument's own account, is the proof.

use anyhow::{Context, Result};
use rigwire_hil_tests::agent::{Agent, Instrument};
use rigwire_hil_tests::broker::Broker;
use rigwire_hil_tests::hub::{Hub, Mqtt};
use rigwire_hil_tests::proxy::Proxy;
use rigwire_hil_tests::publisher::Publisher;
use rigwire_hil_tests::rig::SUPPLY;
use rigwire_hil_tests::simulator::Simulator;
use rigwire_hil_tests::wait::{self, PATIENCE};
use rigwire_shared::command::{Command, CommandBody, StartStep};
use rigwire_shared::event::{EventBody, StepOutcome};
use rigwire_shared::ids::{AgentId, AttemptId, CommandId, DeviceId, Epoch, Fence, RunId, StepId};
use rigwire_shared::time::Timestamp;
use rigwire_shared::topic::{Channel, Topic};
use rigwire_shared::value::Value as Parameter;
use rigwire_shared::wire::{self, Batch};
use serde_json::{Value, json};
use tempfile::TempDir;

const AGENT: &str = "bench-1";

/// Dropped in this order: who talks before who listens.
struct Bench {
    agent: Agent,
    hub: Hub,
    proxy: Proxy,
    broker: Broker,
    supply: Simulator,
    _folder: TempDir,
}

impl Bench {
    /// A supply behind an agent whose way to the broker can be broken.
    fn start(lease_life: &str) -> Result<Self> {
        let folder = TempDir::new()?;
        let supply = Simulator::start("korad.ka3005p", &folder.path().join("supply"), &[])?;
        let broker = Broker::start()?;
        let proxy = Proxy::start(broker.port())?;
        let hub = Hub::start_with(Mqtt::Url(broker.url()), &["--lease-life", lease_life])?;
        let instruments = [Instrument::new(SUPPLY, "korad.ka3005p", supply.link())];
        let agent = Agent::start(AGENT, &proxy.url(), &instruments)?;
        hub.wait_device(SUPPLY, &["online"])?;
        Ok(Self { agent, hub, proxy, broker, supply, _folder: folder })
    }

    /// A run that switched the supply on and is in the middle of a step at the agent.
    fn run_in_a_step(&mut self) -> Result<String> {
        let id = self.hub.start_run(&holds_on(), &json!({}))?;
        self.wait_output(1.0)?;
        wait::until("readings of the step", PATIENCE, || {
            let events = self.hub.run_events(&id).map_err(|error| format!("{error:#}"))?;
            let found = events.iter().filter(|event| event["type"] == "metric").count();
            if found >= 3 { Ok(()) } else { Err(format!("{found} so far")) }
        })?;
        Ok(id)
    }

    fn wait_output(&mut self, wanted: f64) -> Result<()> {
        let supply = &mut self.supply;
        wait::until(&format!("the output to be {wanted}"), PATIENCE, || match supply.get("out") {
            Ok(found) if (found - wanted).abs() < 0.5 => Ok(()),
            other => Err(format!("it is {other:?}")),
        })
    }

    fn cancel(&self, id: &str) -> Result<()> {
        self.hub.rest.expect(202, self.hub.rest.post(&format!("/api/v1/runs/{id}/cancel"), &json!({}))).map(drop)
    }

    fn reserve(&self, status: u16, body: &Value) -> Result<Value> {
        let path = format!("/api/v1/devices/{SUPPLY}/lease");
        self.hub.rest.expect(status, self.hub.rest.post(&path, body))
    }

    /// The number under which a run held its devices.
    fn fence(&self, id: &str) -> Result<u64> {
        let events = self.hub.run_events(id)?;
        let bound = events.iter().find(|event| event["type"] == "bound").context("the run was never bound")?;
        bound["fence"].as_u64().with_context(|| format!("{bound} has no fencing number"))
    }
}

/// Sets five volts, switches on, and reads the current limit ten times a second, which nobody else does so often.
fn holds_on() -> Value {
    json!({
        "name": "holds-on",
        "roles": { "psu": { "device": SUPPLY } },
        "steps": [
            { "id": "set", "use": "instrument.action", "on": "psu", "with": { "action": "set_voltage", "v": 5.0 } },
            { "id": "on", "use": "instrument.action", "on": "psu", "with": { "action": "output", "on": true } },
            {
                "id": "read", "use": "instrument.read", "on": "psu", "timeout": "10m",
                "with": { "reading": "current_limit", "samples": 5000, "every": "100ms" }
            }
        ]
    })
}

fn sets(volts: f64) -> Value {
    json!({
        "name": "sets",
        "roles": { "psu": { "device": SUPPLY } },
        "steps": [
            { "id": "set", "use": "instrument.action", "on": "psu", "with": { "action": "set_voltage", "v": volts } }
        ]
    })
}

/// Checks the instrument's account: after the last word of the older holder it was switched off, only then came the first
/// word of the newer one, and nothing of the older one after that.
fn check_account(supply: &Simulator, newer: &str) -> Result<()> {
    let received = supply.received()?;
    let account = || received.iter().map(|(at, bytes)| format!("{at} {bytes}")).collect::<Vec<_>>().join("\n");
    let place = |bytes: &str| received.iter().position(|(_, found)| found == bytes);
    let on = place("OUT1").context("never switched on")?;
    let off = place("OUT0").with_context(|| format!("never switched off:\n{}", account()))?;
    let begins = place(newer).with_context(|| format!("{newer} never came:\n{}", account()))?;
    assert!(on < off && off < begins, "not made safe between the two:\n{}", account());
    let (off_at, _) = received[off];
    let (last_at, _) = received[received.len() - 1];
    let late = received[off..].iter().filter(|(_, bytes)| bytes == "OUT1" || bytes == "VSET1:05.00").count();
    assert_eq!(late, 0, "the older holder acted after it was stopped:\n{}", account());
    // The agent itself asks every ten seconds.
    let asked = received[off..].iter().filter(|(_, bytes)| bytes == "ISET1?").count();
    let allowed = usize::try_from((last_at - off_at) / 10_000_000)? + 1;
    assert!(asked <= allowed, "the older holder's step went on after it was stopped:\n{}", account());
    Ok(())
}

#[test]
#[ignore = "needs mosquitto: run ./hil-tests/run"]
fn a_run_cut_off_from_its_device_loses_it_and_its_late_words_are_refused() -> Result<()> {
    let mut bench = Bench::start("4s")?;
    let older = bench.run_in_a_step()?;
    bench.proxy.hold();
    // The hub believes that all is well and the agent hears nothing: it stops the step by itself.
    bench.wait_output(0.0)?;
    bench.cancel(&older)?;
    let newer = bench.hub.start_run(&sets(2.0), &json!({}))?;
    let ended = bench.hub.wait_run(&older, &["completed", "failed", "cancelled"])?;
    assert_eq!(ended["status"], "cancelled", "{ended}");
    // Nobody told the hub that the agent is away, so the next run has the device, and its words wait behind the old ones.
    let running = bench.hub.wait_run(&newer, &["running", "completed", "failed"])?;
    assert_eq!(running["status"], "running", "{running}");
    bench.proxy.let_go();
    let done = bench.hub.wait_run(&newer, &["completed", "failed", "cancelled"])?;
    assert_eq!(done["status"], "completed", "{done}");
    check_account(&bench.supply, "VSET1:02.00")?;

    // A step of the older run that a network kept for very long.
    let third = bench.hub.start_run(&holds_on(), &json!({}))?;
    bench.wait_output(1.0)?;
    let refused = late_step(&bench, &older)?;
    let reason = format!("fencing number {} was overtaken by {}", bench.fence(&older)?, bench.fence(&third)?);
    assert_eq!(refused, ("LEASE_LOST".to_owned(), reason));
    assert!(bench.supply.received()?.iter().all(|(_, bytes)| bytes != "VSET1:09.00"));
    assert_eq!(bench.hub.run(&third)?["status"], "running", "and hinders nobody");
    bench.cancel(&third)?;
    bench.wait_output(0.0)
}

/// Sends a step under the number that a run once had; the code and message of its failure.
fn late_step(bench: &Bench, run: &str) -> Result<(String, String)> {
    let agents = bench.hub.rest.expect(200, bench.hub.rest.get("/api/v1/agents"))?;
    let epoch = agents["agents"][0]["epoch"].as_u64().with_context(|| format!("no epoch in {agents}"))?;
    let run: RunId = serde_json::from_value(json!(run))?;
    let attempt: AttemptId = serde_json::from_value(json!("00000000-0000-4000-8000-000000000001"))?;
    let with =
        vec![("action".to_owned(), Parameter::Text("set_voltage".to_owned())), ("v".to_owned(), Parameter::Float(9.0))];
    let body = CommandBody::StartStep(StartStep {
        run,
        step: StepId::new("late")?,
        attempt,
        device: Some(DeviceId::new(SUPPLY)?),
        fence: Some(Fence(bench.fence(&run.to_string())?)),
        module: "instrument.action".to_owned(),
        with,
        timeout_ms: 5000,
    });
    let id: CommandId = serde_json::from_value(json!("00000000-0000-4000-8000-000000000002"))?;
    let expires_at = Timestamp(Timestamp::now().0 + 60_000_000);
    let command = wire::encode(&Command { id, epoch: Epoch(epoch), expires_at, body })?;
    let agent = AgentId::new(AGENT)?;
    let mut publisher = Publisher::connect("late", bench.broker.port())?;
    publisher.subscribe(&Topic::Agent(agent.clone(), Channel::Up).text())?;
    publisher.publish(&Topic::Agent(agent, Channel::Down).text(), false, &command)?;
    publisher.wait_message("the end of the late step", |payload| {
        let batch: Batch = wire::decode(payload).ok()?;
        batch.events.into_iter().find_map(|event| {
            let EventBody::StepFinished(finished) = event.body else { return None };
            if finished.attempt != attempt {
                return None;
            }
            Some(match finished.outcome {
                StepOutcome::Failed { error } => (error.code, error.message),
                outcome @ (StepOutcome::Completed { .. } | StepOutcome::Cancelled { .. }) => {
                    (format!("{outcome:?}"), String::new())
                }
            })
        })
    })
}

#[test]
#[ignore = "needs mosquitto: run ./hil-tests/run"]
fn a_step_whose_lease_ran_out_is_reported_when_the_agent_is_back() -> Result<()> {
    let mut bench = Bench::start("4s")?;
    let run = bench.run_in_a_step()?;
    bench.proxy.hold();
    bench.wait_output(0.0)?;
    bench.proxy.let_go();
    let ended = bench.hub.wait_run(&run, &["completed", "failed", "cancelled"])?;
    assert_eq!(ended["status"], "failed", "{ended}");
    assert_eq!(ended["error"]["code"], "LEASE_LOST", "{ended}");
    // Nothing of it is left behind.
    let next = bench.hub.start_run(&sets(2.0), &json!({}))?;
    let done = bench.hub.wait_run(&next, &["completed", "failed", "cancelled"])?;
    assert_eq!(done["status"], "completed", "{done}");
    check_account(&bench.supply, "VSET1:02.00")
}

#[test]
#[ignore = "needs mosquitto: run ./hil-tests/run"]
fn a_step_that_nobody_could_stop_is_stopped_before_the_next_holder_acts() -> Result<()> {
    let mut bench = Bench::start("10m")?;
    let older = bench.run_in_a_step()?;
    bench.proxy.hold();
    bench.cancel(&older)?;
    let ended = bench.hub.wait_run(&older, &["completed", "failed", "cancelled"])?;
    assert_eq!(ended["status"], "cancelled", "{ended}");
    bench.reserve(201, &json!({ "holder": "alice", "for": "2h", "reason": "soldering" }))?;
    let device = bench.hub.wait_device(SUPPLY, &["online", "busy"])?;
    assert_eq!((&device["lease"]["kind"], &device["lease"]["holder"]), (&json!("person"), &json!("alice")), "{device}");
    // With the broker go all words that were under way: the one to stop, the one to let go, and the grant to alice.
    bench.broker.kill()?;
    bench.proxy.drop_connections();
    bench.broker.start_again()?;
    assert!(bench.supply.get("out")? > 0.5, "the step goes on at the agent");
    bench.proxy.let_go();
    bench.wait_output(0.0)?;

    let other = bench.hub.start_run(&sets(3.0), &json!({}))?;
    let waiting = bench.hub.wait_run(&other, &["pending"])?;
    assert_eq!(waiting["waiting"]["position"], 1, "{waiting}");
    let reason = waiting["waiting"]["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("psu-1 is reserved by alice until") && reason.ends_with("(soldering)"), "{waiting}");
    assert_eq!(waiting["waiting"]["expected"], device["lease"]["until"], "{waiting}");
    let body = json!({ "procedure": sets(2.0), "holder": "alice" });
    let own = bench.hub.rest.expect(201, bench.hub.rest.post("/api/v1/runs", &body))?;
    let own = own["id"].as_str().context("a run without an id")?.to_owned();
    let done = bench.hub.wait_run(&own, &["completed", "failed", "cancelled"])?;
    assert_eq!(done["status"], "completed", "{done}");
    check_account(&bench.supply, "VSET1:02.00")?;

    // What alice has survives the hub.
    bench.hub.kill()?;
    bench.hub.start_again()?;
    let leases = bench.hub.rest.expect(200, bench.hub.rest.get("/api/v1/leases"))?;
    assert_eq!(leases["leases"][0]["holder"], "alice", "{leases}");
    bench.hub.wait_device(SUPPLY, &["online"])?;
    assert_eq!(bench.hub.run(&other)?["status"], "pending");
    let path = format!("/api/v1/devices/{SUPPLY}/lease?holder=alice");
    bench.hub.rest.expect(200, bench.hub.rest.delete(&path))?;
    let done = bench.hub.wait_run(&other, &["completed", "failed", "cancelled"])?;
    assert_eq!(done["status"], "completed", "{done}");
    let (status, _) = bench.agent.stop()?;
    assert!(status.success(), "{status}");
    Ok(())
}
