//! What the whole system adds to the devices' own time: many runs of many steps with the real hub, agent and simulators, and
//! four boards that share one meter. Needs `rigwire` and `rigwire-agent` built with the same profile.
//!
//! `cargo build --release --workspace && cargo run --release -p rigwire-hil-tests --bin bench-runs -- [RUNS] [STEPS] [DEVICES]`

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rigwire_hil_tests::agent::{Agent, Instrument};
use rigwire_hil_tests::hub::{Hub, Mqtt};
use rigwire_hil_tests::port;
use rigwire_hil_tests::simulator::Simulator;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Runs that are started and not ended at any time: the hub takes a thousand.
const AT_ONCE: usize = 200;

/// Repetitions of the comparison on the shared meter.
const ROUNDS: usize = 3;

fn main() -> Result<()> {
    let mut numbers = std::env::args().skip(1).filter_map(|argument| argument.parse::<usize>().ok());
    let runs = numbers.next().unwrap_or(1000);
    let steps = numbers.next().unwrap_or(50);
    let devices = numbers.next().unwrap_or(4);
    many_runs(runs, steps, devices)?;
    four_boards()
}

/// A hub, an agent and simulators that do nothing but what they are asked.
struct Lab {
    hub: Hub,
    agent: Agent,
    _simulators: Vec<Simulator>,
    _folder: TempDir,
}

impl Lab {
    fn start(devices: &[(&str, String)]) -> Result<Self> {
        let folder = TempDir::new()?;
        let mqtt = Mqtt::Embedded(port::free()?);
        let url = mqtt.url();
        let hub = Hub::start(mqtt)?;
        let mut simulators = Vec::new();
        let mut instruments = Vec::new();
        for (profile, id) in devices {
            let simulator = Simulator::start(profile, &folder.path().join(id), &[])?;
            instruments.push(Instrument::new(id, profile, simulator.link()));
            simulators.push(simulator);
        }
        let agent = Agent::start("bench-1", &url, &instruments)?;
        for (_, id) in devices {
            hub.wait_device(id, &["online"])?;
        }
        Ok(Self { hub, agent, _simulators: simulators, _folder: folder })
    }
}

fn many_runs(runs: usize, steps: usize, devices: usize) -> Result<()> {
    let devices: Vec<(&str, String)> = (1..=devices).map(|index| ("hp.34401a", format!("dmm-{index}"))).collect();
    let lab = Lab::start(&devices)?;
    let step = |index: usize| json!({"id": format!("s{index}"), "use": "instrument.read", "on": "meter", "with": {"reading": "value"}});
    let procedure = json!({
        "name": "bench", "roles": {"meter": {"class": "dmm"}}, "steps": (0..steps).map(step).collect::<Vec<_>>(),
    });
    let at_rest = lab.memory()?;
    let began = Instant::now();
    let mut open: Vec<String> = Vec::new();
    let mut started = 0;
    let mut peak = at_rest;
    let mut times = Times::default();
    while started < runs || !open.is_empty() {
        while started < runs && open.len() < AT_ONCE {
            open.push(lab.hub.start_run(&procedure, &json!({}))?);
            started += 1;
        }
        let first = open.remove(0);
        wait_long(&lab.hub, &first)?;
        peak = (peak.0.max(lab.memory()?.0), peak.1.max(lab.memory()?.1));
        times.take(&lab.hub.run_events(&first)?)?;
    }
    let took = began.elapsed();
    let total = runs * steps;
    #[expect(clippy::cast_precision_loss, reason = "a count to be shown")]
    let rate = total as f64 / took.as_secs_f64();
    println!(
        "{runs} runs of {steps} steps on {} meters: {:.1} s, {rate:.0} steps/s",
        devices.len(),
        took.as_secs_f64()
    );
    times.print();
    println!(
        "resident memory, at rest and at most: hub {:.1} and {:.1} MiB, agent {:.1} and {:.1} MiB",
        at_rest.0, peak.0, at_rest.1, peak.1
    );
    Ok(())
}

/// Where the time between the dispatches of consecutive steps goes, in milliseconds. Hub and agent have one clock here.
#[derive(Default)]
struct Times {
    /// What is not the device's own time.
    overhead: Vec<f64>,
    /// From the hub's decision to the step's begin at the agent: a commit, and the way down.
    down: Vec<f64>,
    /// As the agent measured it.
    own: Vec<f64>,
    /// From the end at the agent to the hub's next decision: the way up.
    up: Vec<f64>,
}

impl Times {
    fn take(&mut self, events: &[Value]) -> Result<()> {
        let (mut dispatched, mut completed): (Option<f64>, Option<f64>) = (None, None);
        let mut duration = 0.0;
        for event in events.iter().filter(|event| event["type"] == "step") {
            let change = &event["change"];
            let at = seconds(&event["at"])?;
            match change["status"].as_str() {
                Some("dispatched") => {
                    if let (Some(dispatched), Some(completed)) = (dispatched, completed) {
                        self.overhead.push((at - dispatched - duration) * 1e3);
                        self.up.push((at - completed) * 1e3);
                    }
                    dispatched = Some(at);
                }
                Some("running") => self.down.extend(dispatched.map(|dispatched| (at - dispatched) * 1e3)),
                Some("completed") => {
                    duration = change["duration_s"].as_f64().context("a step without a duration")?;
                    self.own.push(duration * 1e3);
                    completed = Some(at);
                }
                Some("failed") => bail!("a step failed: {event}"),
                Some(_) | None => {}
            }
        }
        Ok(())
    }

    fn print(&mut self) {
        for (what, times) in [
            ("from one step's dispatch to the next, less the device's own time", &mut self.overhead),
            ("  from the hub's decision to the step's begin", &mut self.down),
            ("  from the step's end to the hub's next decision", &mut self.up),
            ("the device's own time, as the agent measured it", &mut self.own),
        ] {
            let (median, p90, p99) = (percentile(times, 50), percentile(times, 90), percentile(times, 99));
            println!("{what}: median {median:.2} ms, p90 {p90:.2} ms, p99 {p99:.2} ms ({})", times.len());
        }
    }
}

/// Seconds of the day of a time such as `2026-01-02T03:04:05.678901Z`: runs that pass midnight are not measured here.
fn seconds(at: &Value) -> Result<f64> {
    let text = at.as_str().context("an event without a time")?;
    let clock = text.split('T').nth(1).and_then(|clock| clock.strip_suffix('Z')).context("a time without a clock")?;
    let mut seconds = 0.0;
    for part in clock.split(':') {
        seconds = seconds * 60.0 + part.parse::<f64>().with_context(|| format!("reading the time {text}"))?;
    }
    Ok(seconds)
}

fn percentile(values: &mut [f64], percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) * percent / 100).copied().unwrap_or(f64::NAN)
}

/// Four boards are tried one after the other on the meter, and then interleaved: each holds it while it measures.
fn four_boards() -> Result<()> {
    let mut devices: Vec<(&str, String)> = (1..=4).map(|board| ("korad.ka3005p", format!("board-{board}"))).collect();
    devices.push(("hp.34401a", "dmm-1".to_owned()));
    let lab = Lab::start(&devices)?;
    let (mut serial, mut interleaved) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        serial.push(boards(&lab.hub, "run")?.as_secs_f64());
        interleaved.push(boards(&lab.hub, "step")?.as_secs_f64());
    }
    let (serial, interleaved) = (percentile(&mut serial, 50), percentile(&mut interleaved, 50));
    println!(
        "four boards and one meter, medians of {ROUNDS}: {serial:.2} s one after the other, {interleaved:.2} s step by step: {:.2} times as fast",
        serial / interleaved
    );
    Ok(())
}

fn boards(hub: &Hub, hold: &str) -> Result<Duration> {
    let began = Instant::now();
    let mut runs = Vec::new();
    for board in 1..=4 {
        let mut steps = Vec::new();
        for level in 1..=5 {
            let set = json!({"action": "set_voltage", "v": level});
            steps.push(json!({"id": format!("set-{level}"), "use": "instrument.action", "on": "board", "with": set}));
            steps.push(json!({"id": format!("settle-{level}"), "use": "delay", "with": {"duration": "200ms"}}));
            let read = json!({"reading": "value", "samples": 3, "every": "20ms"});
            steps.push(json!({"id": format!("read-{level}"), "use": "instrument.read", "on": "meter", "with": read}));
        }
        let procedure = json!({
            "name": "board", "steps": steps,
            "roles": {"board": {"device": format!("board-{board}")}, "meter": {"device": "dmm-1", "hold": hold}},
        });
        runs.push(hub.start_run(&procedure, &json!({}))?);
    }
    for run in &runs {
        wait_long(hub, run)?;
    }
    Ok(began.elapsed())
}

fn wait_long(hub: &Hub, run: &str) -> Result<()> {
    rigwire_hil_tests::wait::until("a run to end", Duration::from_secs(600), || {
        let row = hub.run(run).map_err(|error| format!("{error:#}"))?;
        match row["status"].as_str() {
            Some("completed") => Ok(Ok(())),
            Some("failed" | "cancelled") => Ok(Err(anyhow::anyhow!("run {run} did not complete: {row}"))),
            Some(_) | None => Err(format!("it is at {row}")),
        }
    })?
}

impl Lab {
    /// Resident memory of hub and agent in MiB.
    fn memory(&self) -> Result<(f64, f64)> {
        Ok((resident(self.hub.process()?.id())?, resident(self.agent.process()?.id())?))
    }
}

fn resident(process: u32) -> Result<f64> {
    let path = format!("/proc/{process}/status");
    let status = std::fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: f64 = line.split_whitespace().next().context("no number")?.parse()?;
    Ok(kib / 1024.0)
}
