//! One run, its devices, and events written as short lines. Knows no dialect.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rigwire::command_line::{self, Known, Meaning, Refusal};
use rigwire::dialect::{Answer, Meant, Moment, Outcome, View};
use rigwire::event::{
    AgentChange, ChatMessage, ChatRole, DeviceEvent, DeviceSample, DeviceSnapshot, Event, EventKind, Finished, Frame,
    LeaseChange, Metric, Progress, Recent, RunError, RunEvent, RunEventBody, RunHeader, RunKind, RunLog, RunSnapshot,
    RunStatus, SafeState, StepCard, StepChange, StepCounts, StepEvent, SummaryMetric, TestCard,
};
use rigwire::fanout::{Published, Whose};
use rigwire_shared::agent::{DeviceCard, DeviceKind, DeviceState, ReadingCard};
use rigwire_shared::event::{GapCause, Level, LimitChange};
use rigwire_shared::ids::{AgentId, DeviceId, MetricName, RunId, StepId};
use rigwire_shared::quality::Quality;
use rigwire_shared::time::Timestamp;
use rigwire_shared::unit::Unit;
use rigwire_shared::value::Value;
use uuid::Uuid;

pub(crate) const RUN: &str = "550e8400-e29b-41d4-a716-446655440000";
const PHONE: &str = "emulator-5554";

/// 2026-03-01T10:30:00Z.
const START: Timestamp = Timestamp(1_772_361_000_000_000);

/// Both clocks of a test, and the numbers given out so far.
#[derive(Debug)]
pub(crate) struct World {
    began: Instant,
    elapsed: Duration,
    pub(crate) number: u64,
    pub(crate) run: Arc<RunHeader>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), elapsed: Duration::ZERO, number: 0, run: Arc::new(run()) }
    }

    pub(crate) fn now(&self) -> Moment {
        let micros = i64::try_from(self.elapsed.as_micros()).unwrap();
        Moment { instant: self.began + self.elapsed, at: Timestamp(START.0 + micros) }
    }

    pub(crate) fn advance_to(&mut self, instant: Instant) {
        self.elapsed = self.elapsed.max(instant.saturating_duration_since(self.began));
    }

    /// The event that a line such as `step read running` describes.
    pub(crate) fn event(&mut self, line: &str) -> Event {
        let kind = match (agent_event(line), chat(line), device_event(line)) {
            (Some(change), _, _) => EventKind::Agent(change),
            (None, Some(message), _) => EventKind::Chat(message),
            (None, None, Some(event)) => EventKind::Device(event),
            (None, None, None) => EventKind::Run(self.run_event(line)),
        };
        Event { sequence: self.number, at: self.now().at, kind }
    }

    /// The same on its way to watchers: devices are phones of bench-1.
    pub(crate) fn published(&mut self, line: &str) -> Arc<Published> {
        let whose = Whose { agent: AgentId::new("bench-1").unwrap(), class: "phone".to_owned() };
        Published::about(self.event(line), Some(whose))
    }

    /// The same with a number that was given out already.
    pub(crate) fn old_event(&mut self, line: &str) -> Event {
        let number = self.number;
        self.number = number.saturating_sub(1);
        let event = self.event(line);
        self.number = number;
        event
    }

    fn run_event(&mut self, line: &str) -> RunEvent {
        self.number += 1;
        let run = Arc::clone(&self.run);
        let body = body(&run, line).unwrap_or_else(|| panic!("{line:?} is not an event that the tests know"));
        RunEvent { run, number: self.number, body }
    }

    /// The view that a line such as `run running` describes.
    pub(crate) fn view(&self, line: &str) -> View {
        if let Some(answer) = answer(line) {
            return View::Answered(Box::new(answer));
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["run", status] => View::Run(Box::new(self.snapshot(status))),
            ["unknown-run", reference] => View::UnknownRun(reference.parse().unwrap()),
            ["device", id, state] => View::Device(Box::new(device(id, state, None))),
            ["unknown-device", id] => View::UnknownDevice(DeviceId::new(id).unwrap()),
            ["everything"] => View::Wide,
            ["ledger", json] => View::Ledger(Box::new(serde_json::from_str(json).unwrap())),
            _ => panic!("{line:?} is not a view that the tests know"),
        }
    }

    fn snapshot(&self, status: &str) -> RunSnapshot {
        let status: RunStatus = from_word(status);
        let at = self.now().at;
        let (progress, step) = match status {
            RunStatus::Pending => ("progress 0 - -", "Initializing"),
            RunStatus::Running | RunStatus::Paused | RunStatus::Failed | RunStatus::Cancelled => {
                ("progress 45 solving read Harmonic response sweep: 9/21 frequencies", "read")
            }
            RunStatus::Completed => ("progress 100 postprocessing off Done", "off"),
        };
        let Some(RunEventBody::Progress(progress)) = body(&self.run, progress) else { panic!("no progress") };
        RunSnapshot {
            header: Arc::clone(&self.run),
            status,
            started_at: Some(at),
            finished_at: status.is_final().then_some(at),
            step: step.to_owned(),
            progress,
            steps: Vec::new(),
            devices: vec![device("psu-1", "online", Some(run_id())), device(PHONE, "busy", Some(run_id()))],
            finished: status.is_final().then(|| finished(status)),
            parts: None,
            recent: recent(status),
            last_event: self.number,
        }
    }
}

/// What a run under way, or one that failed, has told so far.
fn recent(status: RunStatus) -> Recent {
    let is_telling = matches!(status, RunStatus::Running | RunStatus::Failed);
    if !is_telling {
        return Recent::default();
    }
    let metric = SummaryMetric { name: MetricName::new("temperature").unwrap(), value: 37.0, unit: Unit::Celsius };
    let wells = Value::Map(vec![("liquid_mask".to_owned(), Value::Text("0x3".to_owned()))]);
    Recent {
        metrics: vec![metric],
        wells: vec![("source_plate".to_owned(), wells)],
        logs: vec![(Level::Info, "Aspirating 100uL from Source Plate A1".to_owned())],
    }
}

/// The hub's answer that a line such as `planned c-1 wait 2s` describes; `c-1` is what it answers, `-` something
/// without id, `c-1#7` what was said as message 7 of the chat.
fn answer(line: &str) -> Option<Answer> {
    let (kind, rest) = line.split_once(' ')?;
    let (named, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    let (correlation_id, question) = match named.split_once('#') {
        Some((correlation_id, number)) => (correlation_id, Some(number.parse().unwrap())),
        None => (named, None),
    };
    let outcome = match kind {
        "planned" => Outcome::Planned { line: rest.to_owned(), workflow: None, took_ms: 1.5, meant: planned(rest) },
        "started" => Outcome::Started { run: run_id(), number: 123, name: rest.to_owned() },
        "said" => Outcome::Said(rest.to_owned()),
        "passed-on" => Outcome::PassedOn,
        "refused" => Outcome::Refused { code: "TOO_MANY_RUNS", message: rest.to_owned() },
        _ => return None,
    };
    Some(Answer { correlation_id: dash(correlation_id).map(str::to_owned), question, outcome })
}

/// What a line comes to on a bench with one meter.
fn planned(line: &str) -> Result<Meant, Refusal> {
    let metrics = vec![MetricName::new("voltage").unwrap()];
    let reading = ReadingCard { id: "value".to_owned(), metrics, unit: Unit::Volt, interval_ms: 200 };
    let meter = DeviceCard {
        device: DeviceId::new("dmm-1").unwrap(),
        kind: DeviceKind::Instrument,
        class: "dmm".to_owned(),
        profile: "hp.34401a".to_owned(),
        tags: Vec::new(),
        state: DeviceState::Online,
        cause: "idle".to_owned(),
        identity: None,
        readings: vec![reading],
        actions: Vec::new(),
        sdk: None,
    };
    let known = Known { devices: vec![meter], ..Known::default() };
    Ok(match command_line::compile(&command_line::parse(line)?, &known)? {
        Meaning::Plan(plan) => Meant::Plan(plan),
        Meaning::Control { control, run } => Meant::Control { control, run },
        Meaning::Help(text) => Meant::Said { text, data: serde_json::Value::Null },
        Meaning::Devices | Meaning::Status(_) => {
            Meant::Said { text: "nothing runs".to_owned(), data: serde_json::Value::Null }
        }
    })
}

fn run_id() -> RunId {
    RunId(RUN.parse().unwrap())
}

fn run() -> RunHeader {
    let card = |id: &str, number: u64, module: &str, data: &str, needs: &[&str], finally| StepCard {
        id: StepId::new(id).unwrap(),
        uuid: Uuid::from_u128(0x550e_8400_e29b_41d4_a716_4466_5544_0000 + u128::from(number)),
        number,
        module: module.to_owned(),
        data: fields(data),
        needs: needs.iter().map(|need| StepId::new(need).unwrap()).collect(),
        finally,
        phase: None,
    };
    RunHeader {
        id: run_id(),
        number: 123,
        parent: None,
        kind: RunKind::Execution,
        name: "Auth Tests".to_owned(),
        workflow: None,
        agent_name: "psu-ramp".to_owned(),
        params: Vec::new(),
        external: false,
        holder: None,
        created_at: START,
        steps: vec![
            card("set", 455, "instrument.action", r#"{"action":"set_voltage","v":3.3}"#, &[], false),
            card("read", 456, "instrument.read", r#"{"reading":"value"}"#, &["set"], false),
            card("off", 457, "instrument.safe_state", "{}", &[], true),
        ],
        tests: Vec::new(),
    }
}

/// The same run as a suite that announced its tests.
pub(crate) fn suite() -> RunHeader {
    let test = TestCard { id: "test-001".to_owned(), name: "Login Test".to_owned(), number: 456, runs: 5 };
    RunHeader { kind: RunKind::Suite, tests: vec![test], ..run() }
}

fn agent_event(line: &str) -> Option<AgentChange> {
    let (agent, state) = line.strip_prefix("agent ")?.split_once(' ')?;
    let online = state == "there";
    Some(AgentChange { agent: AgentId::new(agent).unwrap(), online, cause: "connection".to_owned() })
}

/// `chat 7 user alice - hello` is message 7; the fourth word is the number of what it answers.
fn chat(line: &str) -> Option<ChatMessage> {
    let [_, number, role, author, answers, content] = line.splitn(6, ' ').collect::<Vec<_>>()[..] else { return None };
    line.starts_with("chat ").then(|| ChatMessage {
        number: number.parse().unwrap(),
        author: author.to_owned(),
        role: from_word::<ChatRole>(role),
        content: content.to_owned(),
        correlation_id: None,
        answers: dash(answers).map(|number| number.parse().unwrap()),
    })
}

fn device_event(line: &str) -> Option<DeviceEvent> {
    if let Some(event) = reported_event(line) {
        return Some(event);
    }
    let words: Vec<&str> = line.splitn(3, ' ').collect();
    Some(match words[..] {
        ["device", id, state] => DeviceEvent::State(match state.strip_suffix(" held") {
            Some(state) => device(id, state, Some(run_id())),
            None => device(id, state, None),
        }),
        ["frame", id, size] => {
            let (width, height) = size.split_once('x').unwrap();
            DeviceEvent::Frame(Arc::new(Frame {
                device: DeviceId::new(id).unwrap(),
                width: width.parse().unwrap(),
                height: height.parse().unwrap(),
                media_type: "image/jpeg".to_owned(),
                data: vec![0xff, 0xd8, 0xff, 0xe0, 0x00, 0x10],
            }))
        }
        ["no-preview", id, cause] => {
            DeviceEvent::PreviewUnavailable { device: DeviceId::new(id).unwrap(), cause: cause.to_owned() }
        }
        _ => return None,
    })
}

/// What an agent reports of a device: `sample`, `limit`, `safe`, `interlock`, `gap`; and `lease`.
fn reported_event(line: &str) -> Option<DeviceEvent> {
    let words: Vec<&str> = line.split(' ').collect();
    let [kind, device, ref rest @ ..] = words[..] else { return None };
    let device = DeviceId::new(device).ok()?;
    Some(match (kind, rest) {
        ("sample", [metric, value, unit, quality]) => DeviceEvent::Sample(DeviceSample {
            device,
            metric: MetricName::new(metric).unwrap(),
            value: serde_json::from_str(value).unwrap(),
            unit: Unit::parse(unit).unwrap(),
            quality: from_word(quality),
        }),
        ("limit", [metric, state, value, threshold]) => DeviceEvent::Limit(LimitChange {
            device,
            metric: MetricName::new(metric).unwrap(),
            state: from_word(state),
            value: value.parse().ok(),
            threshold: threshold.parse().ok(),
            sampled_at: START,
        }),
        ("safe", [outcome, cause @ ..]) => {
            DeviceEvent::Safe { device, cause: cause.join(" "), safe: safe_state(outcome) }
        }
        ("interlock", [outcome, rule]) => DeviceEvent::Interlock {
            device,
            rule: (*rule).to_owned(),
            action: "safe-state".to_owned(),
            safe: safe_state(outcome),
        },
        ("gap", [samples]) => DeviceEvent::Gap {
            device: Some(device),
            agent: AgentId::new("bench-1").unwrap(),
            samples: samples.parse().unwrap(),
            cause: GapCause::SpoolFull,
        },
        ("lease", [change, holder]) => DeviceEvent::Lease(LeaseChange {
            device,
            change: (*change).to_owned(),
            holder: (*holder).to_owned(),
            fence: None,
            reason: Some("soldering".to_owned()),
            until: Some(START),
            cause: "asked for".to_owned(),
        }),
        _ => return None,
    })
}

fn safe_state(outcome: &str) -> SafeState {
    SafeState { outcome: outcome.to_owned(), detail: (outcome == "unreachable").then(|| "no answer".to_owned()) }
}

fn device(id: &str, state: &str, held_by: Option<RunId>) -> DeviceSnapshot {
    DeviceSnapshot {
        device: DeviceId::new(id).unwrap(),
        agent: AgentId::new("bench-1").unwrap(),
        kind: DeviceKind::Android,
        class: "phone".to_owned(),
        profile: "android".to_owned(),
        tags: Vec::new(),
        state: from_word::<DeviceState>(state),
        cause: "unplugged".to_owned(),
        identity: None,
        last_seen: START,
        held_by,
    }
}

/// Lines that are JSON are the event's own recorded form.
fn body(run: &RunHeader, line: &str) -> Option<RunEventBody> {
    if line.starts_with('{') {
        return Some(serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}")));
    }
    let words: Vec<&str> = line.split(' ').collect();
    Some(match words[..] {
        ["created"] => RunEventBody::Created,
        ["status", status] => RunEventBody::Status { status: from_word(status), step: None, message: None },
        ["progress", percent, phase, step, ref message @ ..] => RunEventBody::Progress(Progress {
            percent: percent.parse().unwrap(),
            phase: dash(phase).unwrap_or_default().to_owned(),
            message: message.join(" "),
            step: step_id(step),
            elapsed_s: 12.3,
            counts: StepCounts { total: 3, successful: 1, failed: 1, skipped: 0 },
        }),
        ["log", level, device, step, ref message @ ..] => RunEventBody::Log(RunLog {
            level: from_word::<Level>(level),
            message: message.join(" "),
            device: dash(device).map(|device| DeviceId::new(device).unwrap()),
            module: step_id(step).and_then(|id| run.step(&id)).map(|card| card.module.clone()),
            step: step_id(step),
            source: "runner".to_owned(),
        }),
        ["metric", name, value, unit, quality] => RunEventBody::Metric(Metric {
            name: MetricName::new(name).unwrap(),
            value: serde_json::from_str::<Value>(value).unwrap(),
            unit: Unit::parse(dash(unit).unwrap_or_default()).unwrap(),
            quality: from_word::<Quality>(quality),
            device: None,
            step: None,
        }),
        ["step", id, ref change @ ..] => step(run, id, change)?,
        ["lost", device, ref cause @ ..] => {
            RunEventBody::DeviceLost { device: DeviceId::new(device).unwrap(), cause: cause.join(" ") }
        }
        ["finished", status] => RunEventBody::Finished(finished(from_word(status))),
        _ => return None,
    })
}

fn step(run: &RunHeader, id: &str, change: &[&str]) -> Option<RunEventBody> {
    let mut attempt = 1;
    let change = match *change {
        ["dispatched"] => StepChange::Dispatched { fence: None },
        ["running"] => StepChange::Running,
        ["running", "again"] => {
            attempt = 2;
            StepChange::Running
        }
        ["progress", percent, ref message @ ..] => {
            StepChange::Progress { percent: percent.parse().unwrap(), message: message.join(" "), phase: None }
        }
        ["completed", duration, ref screenshot @ ..] => StepChange::Completed {
            duration_s: duration.parse().unwrap(),
            outputs: fields(r#"{"voltage":3.31}"#),
            screenshot: screenshot.first().map(|path| (*path).to_owned()),
        },
        ["failed", duration, code, then, ref error @ ..] => StepChange::Failed {
            duration_s: duration.parse().unwrap(),
            error_code: code.to_owned(),
            error: error.join(" "),
            will_retry: then == "retry",
        },
        ["cancelled", duration] => StepChange::Cancelled { duration_s: duration.parse().unwrap(), safe: None },
        ["skipped", ref cause @ ..] => StepChange::Skipped { cause: cause.join(" ") },
        _ => return None,
    };
    let card = run.step(&StepId::new(id).unwrap()).unwrap();
    let device = DeviceId::new(if id == "read" { PHONE } else { "psu-1" }).unwrap();
    Some(RunEventBody::Step(StepEvent {
        step: card.id.clone(),
        module: card.module.clone(),
        device: Some(device),
        attempt_id: None,
        attempt,
        number: None,
        change,
    }))
}

fn finished(status: RunStatus) -> Finished {
    let failed = status == RunStatus::Failed;
    let metric = |name, value, unit| SummaryMetric {
        name: MetricName::new(name).unwrap(),
        value,
        unit: Unit::parse(unit).unwrap(),
    };
    Finished {
        status,
        error: failed.then(|| RunError {
            code: "ADB_TIMEOUT".to_owned(),
            message: "Solver failed to converge after 500 iterations".to_owned(),
            step: Some(StepId::new("read").unwrap()),
            device: None,
        }),
        log_tail: failed.then(|| "... last 10 lines of solver log ...".to_owned()),
        message: format!("psu-ramp {}", status.as_str()),
        duration_s: 45.2,
        counts: match status {
            RunStatus::Completed => StepCounts { total: 3, successful: 3, failed: 0, skipped: 0 },
            RunStatus::Pending | RunStatus::Running | RunStatus::Paused | RunStatus::Failed | RunStatus::Cancelled => {
                StepCounts { total: 3, successful: 1, failed: 1, skipped: 1 }
            }
        },
        metrics: vec![metric("natural_frequency_hz", 19850.3, "Hz"), metric("stress_safety_factor", 2.82, "")],
    }
}

fn fields(json: &str) -> Vec<(String, Value)> {
    let Value::Map(fields) = serde_json::from_str(json).unwrap() else { panic!("{json} is not an object") };
    fields
}

fn step_id(word: &str) -> Option<StepId> {
    dash(word).map(|id| StepId::new(id).unwrap())
}

/// `-` stands for nothing.
fn dash(word: &str) -> Option<&str> {
    (word != "-").then_some(word)
}

fn from_word<T: serde::de::DeserializeOwned>(word: &str) -> T {
    serde_json::from_value(serde_json::Value::String(word.to_owned())).unwrap()
}
