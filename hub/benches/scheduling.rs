//! What the engine alone costs: runs of many steps on a scripted agent, without network, disk or devices. Prints the time and
//! the events that one step takes, and the memory that stays.
//!
//! `cargo bench -p rigwire --bench scheduling -- [RUNS] [STEPS] [DEVICES]`

use std::collections::VecDeque;
use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rigwire::model::{Effect, Model, Output, Restored, StartRun};
use rigwire::procedure::Procedure;
use rigwire_shared::agent::{AgentState, DeviceCard, DeviceKind, DeviceState, Inventory};
use rigwire_shared::command::{CommandBody, StartStep};
use rigwire_shared::event::{AgentEvent, EventBody, Started, StepFinished, StepOutcome};
use rigwire_shared::ids::{AgentId, DeviceId, Epoch, Position};
use rigwire_shared::time::Timestamp;
use rigwire_shared::wire::Batch;
use uuid::Uuid;

fn main() -> Result<(), Box<dyn Error>> {
    let mut numbers = std::env::args().skip(1).filter_map(|argument| argument.parse::<usize>().ok());
    let (runs, steps, devices) =
        (numbers.next().unwrap_or(1000), numbers.next().unwrap_or(50), numbers.next().unwrap_or(20));
    println!("{runs} runs of {steps} steps on {devices} devices");
    for (name, hold) in [("a device for each run", "run"), ("devices shared step by step", "step")] {
        let before = resident();
        let mut bench = Bench::new(devices)?;
        let took = bench.carry_out(runs, steps, hold)?;
        let steps = runs * steps;
        #[expect(clippy::cast_precision_loss, reason = "counts to be shown")]
        let (per_step, events) = (took.as_secs_f64() * 1e6 / steps as f64, bench.events as f64 / steps as f64);
        bench.starts.sort_unstable();
        let start = bench.starts.get(bench.starts.len() / 2).copied().unwrap_or_default();
        println!(
            "{name}: {per_step:.1} µs and {events:.1} events a step, {:.1} s in all; start of a run {:.0} µs (median); memory {} → {} MiB",
            took.as_secs_f64(),
            start.as_secs_f64() * 1e6,
            before >> 10,
            resident() >> 10,
        );
    }
    Ok(())
}

/// A model with one agent, whose every step succeeds at once.
struct Bench {
    model: Model,
    agent: AgentId,
    devices: usize,
    next_batch: u64,
    previous: Option<Position>,
    asked: VecDeque<StartStep>,
    now: Timestamp,
    events: u64,
    starts: Vec<Duration>,
}

impl Bench {
    fn new(devices: usize) -> Result<Self, Box<dyn Error>> {
        let now = Timestamp::from_millis(1_000_000);
        let mut next = 0;
        let uuids = move || {
            next += 1;
            Uuid::from_u128(next)
        };
        let agent = AgentId::new("bench")?;
        let mut model = Model::new(Restored::default(), Box::new(uuids), now);
        let epoch = Epoch(1);
        let state = AgentState {
            epoch,
            online: true,
            version: String::new(),
            host: "host".to_owned(),
            cause: "connected".to_owned(),
        };
        model.agent_state(&agent, &state, now);
        let card = |index: usize| -> Result<DeviceCard, Box<dyn Error>> {
            Ok(DeviceCard {
                device: DeviceId::new(&format!("dmm-{index}"))?,
                kind: DeviceKind::Instrument,
                class: "dmm".to_owned(),
                profile: "bench".to_owned(),
                tags: Vec::new(),
                state: DeviceState::Online,
                cause: "idle".to_owned(),
                identity: None,
                readings: Vec::new(),
                actions: Vec::new(),
                sdk: None,
            })
        };
        let cards = (0..devices).map(card).collect::<Result<Vec<_>, _>>()?;
        model.inventory(&agent, &Inventory { epoch, devices: cards }, now);
        let mut bench = Self {
            model,
            agent,
            devices,
            next_batch: 1,
            previous: None,
            asked: VecDeque::new(),
            now,
            events: 0,
            starts: Vec::new(),
        };
        let started = Started { epoch, previous: None, version: String::new(), host: String::new() };
        bench.report(vec![EventBody::Started(started)]);
        Ok(bench)
    }

    fn report(&mut self, bodies: Vec<EventBody>) {
        let position = Position { epoch: Epoch(1), number: self.next_batch };
        self.next_batch += 1;
        self.now = Timestamp(self.now.0 + 1000);
        let events = bodies.into_iter().map(|body| AgentEvent { at: self.now, body }).collect();
        self.model.batch(&self.agent, Batch { position, previous: self.previous, events }, self.now);
        self.previous = Some(position);
        self.settle();
    }

    fn settle(&mut self) {
        for output in self.model.take_outputs() {
            match output {
                Output::Event(_) => self.events += 1,
                Output::Effect(Effect::Command { command, .. }) => {
                    if let CommandBody::StartStep(start) = command.body {
                        self.asked.push_back(start);
                    }
                }
                Output::Effect(Effect::Ack { .. } | Effect::Question(_)) | Output::Record(_) => {}
            }
        }
    }

    fn carry_out(&mut self, runs: usize, steps: usize, hold: &str) -> Result<Duration, Box<dyn Error>> {
        use std::fmt::Write;
        let mut text = format!("name = \"bench\"\n[roles]\nmeter = {{ class = \"dmm\", hold = \"{hold}\" }}\n");
        for step in 0..steps {
            write!(text, "[[steps]]\nid = \"s{step}\"\nuse = \"instrument.read\"\non = \"meter\"\n")?;
        }
        let procedure = Arc::new(Procedure::from_toml(&text, "bench.toml")?);
        let began = Instant::now();
        for _ in 0..runs {
            let starting = Instant::now();
            self.model.start_run(StartRun::new(Arc::clone(&procedure), Vec::new()), self.now);
            self.settle();
            self.starts.push(starting.elapsed());
        }
        let mut done = 0;
        while let Some(asked) = self.asked.pop_front() {
            let started = EventBody::StepStarted { attempt: asked.attempt, run: asked.run, device: asked.device };
            let outcome = StepOutcome::Completed { outputs: Vec::new() };
            let finished = StepFinished { attempt: asked.attempt, run: asked.run, outcome, duration_us: 1000 };
            self.report(vec![started, EventBody::StepFinished(finished)]);
            done += 1;
        }
        let wanted = runs * steps;
        if done != wanted {
            return Err(format!("{done} of {wanted} steps were carried out on {} devices", self.devices).into());
        }
        Ok(began.elapsed())
    }
}

/// Resident memory in KiB, where the system says.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}
