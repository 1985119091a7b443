//! A batch of events as a program reports it, checked field by field. Whether it fits what was reported before is not
//! asked here.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use rigwire_shared::event::Level;
use rigwire_shared::ids::{DeviceId, MetricName, RunId, StepId};
use rigwire_shared::time::Timestamp;
use rigwire_shared::unit::{UNIT_MAX, Unit};
use rigwire_shared::value::{Fields, Value};
use serde_json::Value as Json;
use uuid::Uuid;

use super::fields::{Mistake, Object, quoted};
use super::{BATCH_BYTES_MAX, EVENTS_MAX, NAME_MAX, TEXT_MAX, wells};
use crate::artifact::{check_media_type, check_name};
use crate::event::{CustomEvent, Iteration, RunStatus};

const LOG_TAIL_MAX: usize = 64 * 1024;
const SECONDS_MAX: f64 = 1e9;
/// The largest whole number that every JSON reader keeps exact.
const WHOLE_MAX: u64 = 1 << 53;
const COMMON: [&str; 3] = ["type", "id", "at"];

/// Why a batch as a whole cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadBatch {
    #[error("the batch has {0} bytes, expected at most {BATCH_BYTES_MAX}")]
    TooLarge(usize),
    #[error("the batch is not JSON: {0}")]
    NotJson(String),
    #[error("the batch is not an array of events")]
    NotArray,
    #[error("the batch has {0} events, expected at most {EVENTS_MAX}")]
    TooMany(usize),
    #[error(transparent)]
    Mistake(#[from] Mistake),
}

/// One event as reported.
#[derive(Debug, Clone, PartialEq)]
pub struct Reported {
    pub id: Option<String>,
    pub at: Option<Timestamp>,
    pub report: Report,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Report {
    Status {
        status: RunStatus,
        step: Option<String>,
        error: Option<String>,
        log_tail: Option<String>,
        message: Option<String>,
        metrics: Vec<(MetricName, f64)>,
    },
    Progress {
        percent: f64,
        phase: Option<String>,
        message: Option<String>,
        step: Option<StepId>,
    },
    Log {
        level: Level,
        message: String,
        device: Option<DeviceId>,
        module: Option<String>,
        source: Option<String>,
    },
    Metric {
        name: MetricName,
        value: Value,
        unit: Unit,
        device: Option<DeviceId>,
    },
    Step(StepReport),
    Iteration(Iteration),
    Test(TestReport),
    Tool {
        name: String,
        status: String,
        result: Option<Value>,
        error: Option<String>,
    },
    Event(CustomEvent),
    Wells(Fields),
    Artifact {
        name: String,
        media_type: String,
        data: Vec<u8>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepWord {
    Running,
    Completed,
    Failed,
    Skipped,
}

#[derive(Debug, Clone, PartialEq)]
pub struct StepReport {
    pub step: StepId,
    pub module: Option<String>,
    pub device: Option<DeviceId>,
    pub status: StepWord,
    pub progress: Option<f64>,
    pub attempt: Option<u32>,
    pub will_retry: bool,
    pub error_code: Option<String>,
    pub error: Option<String>,
    pub duration_s: Option<f64>,
    pub screenshot: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct TestReport {
    pub test: String,
    pub name: Option<String>,
    pub status: &'static str,
    pub progress: Option<f64>,
    pub current_run: Option<u32>,
    pub total_runs: Option<u32>,
    pub success: Option<bool>,
    pub score: Option<f64>,
    pub duration_s: Option<f64>,
    pub message: Option<String>,
    pub error: Option<String>,
}

pub fn parse_batch(bytes: &[u8]) -> Result<Vec<Reported>, BadBatch> {
    if bytes.len() > BATCH_BYTES_MAX {
        return Err(BadBatch::TooLarge(bytes.len()));
    }
    let batch: Json = serde_json::from_slice(bytes).map_err(|error| BadBatch::NotJson(error.to_string()))?;
    let Json::Array(events) = batch else { return Err(BadBatch::NotArray) };
    if events.len() > EVENTS_MAX {
        return Err(BadBatch::TooMany(events.len()));
    }
    let events = events.into_iter().enumerate();
    Ok(events.map(|(index, event)| parse(&format!("events[{index}]"), event)).collect::<Result<_, Mistake>>()?)
}

type Parse = fn(&mut Object) -> Result<Report, Mistake>;

pub(super) const KINDS: [(&str, &[&str], Parse); 11] = [
    ("status", &["status", "step", "error", "log_tail", "message", "metrics"], status),
    ("progress", &["percent", "phase", "message", "step"], progress),
    ("log", &["level", "message", "device", "module", "source"], log),
    ("metric", &["name", "value", "unit", "device"], metric),
    ("step", &STEP, step),
    ("iteration", &["iteration", "parameters", "metrics", "feasible", "pareto_updated", "run"], iteration),
    ("test", &TEST, test),
    ("tool", &["name", "status", "result", "error"], tool),
    ("event", &["event_type", "payload", "sequence", "duration_ms", "test"], event),
    ("wells", &["wells"], state_of_wells),
    ("artifact", &["name", "media_type", "data"], artifact),
];

const STEP: [&str; 11] = [
    "step",
    "module",
    "device",
    "status",
    "progress",
    "attempt",
    "will_retry",
    "error_code",
    "error",
    "duration_s",
    "screenshot",
];

const TEST: [&str; 11] = [
    "test",
    "name",
    "status",
    "progress",
    "current_run",
    "total_runs",
    "success",
    "score",
    "duration_s",
    "message",
    "error",
];

fn parse(path: &str, value: Json) -> Result<Reported, Mistake> {
    let mut object = Object::new(path, value)?;
    let (what, fields, parse) = object.required_word("type", &KINDS.map(|kind| (kind.0, kind)))?;
    object.only(&format!("an event of type {what}"), &[&COMMON, fields])?;
    let id = object.text("id", NAME_MAX)?;
    if id.as_deref().is_some_and(str::is_empty) {
        return Err(object.wrong("id", "is empty, expected a text or none"));
    }
    let at = match object.text("at", NAME_MAX)? {
        Some(text) => Some(instant(&text).ok_or_else(|| {
            let shown = quoted(&Json::String(text.clone()));
            object.wrong("at", format!("{shown} is no time, expected a form such as 2030-01-31T12:00:00.5Z"))
        })?),
        None => None,
    };
    Ok(Reported { id, at, report: parse(&mut object)? })
}

/// RFC 3339, with `Z` or an offset.
fn instant(text: &str) -> Option<Timestamp> {
    let (plain, offset_s) = match text.strip_suffix(['Z', 'z']) {
        Some(plain) => (plain, 0),
        None => {
            let split = text.len().checked_sub(6)?;
            let (plain, offset) = (text.get(..split)?, text.get(split..)?);
            let sign = if offset.starts_with('+') {
                1
            } else if offset.starts_with('-') {
                -1
            } else {
                return None;
            };
            let (hours, minutes) = offset.get(1..)?.split_once(':')?;
            let both = |text: &str, max| {
                text.bytes().all(|c| c.is_ascii_digit()).then(|| text.parse::<i64>().ok())?.filter(|n| *n <= max)
            };
            (plain, sign * (both(hours, 23)? * 3600 + both(minutes, 59)? * 60))
        }
    };
    let time = humantime::parse_rfc3339(&format!("{}Z", plain.replace('t', "T"))).ok()?;
    let micros = time.duration_since(std::time::UNIX_EPOCH).ok()?.as_micros();
    Some(Timestamp(i64::try_from(micros).ok()?.checked_sub(offset_s * 1_000_000)?))
}

fn status(object: &mut Object) -> Result<Report, Mistake> {
    let words = RunStatus::ALL.map(|status| (status.as_str(), status));
    let status = object.required_word("status", &words)?;
    if status == RunStatus::Pending {
        return Err(object.wrong("status", "is \"pending\", but an external run is running from its start"));
    }
    let error = object.text("error", TEXT_MAX)?;
    let log_tail = object.text("log_tail", LOG_TAIL_MAX)?;
    for (name, given) in [("error", error.is_some()), ("log_tail", log_tail.is_some())] {
        if given && status != RunStatus::Failed {
            return Err(object.wrong(name, format!("belongs to status failed, not to {}", status.as_str())));
        }
    }
    let summary = object.map("metrics")?;
    if summary.is_some() && !status.is_final() {
        return Err(
            object.wrong("metrics", "is the summary of a run that ends; events of type metric tell of one under way")
        );
    }
    let path = object.at("metrics");
    let metrics = summary.unwrap_or_default().into_iter().map(|(name, value)| {
        let at = format!("{path}.{name}");
        let number = value.as_f64().ok_or_else(|| Mistake::new(&at, "is not a number"))?;
        let name = MetricName::new(&name).map_err(|error| Mistake::new(&at, format!("is no name: {error}")))?;
        Ok((name, number))
    });
    let metrics = metrics.collect::<Result<_, Mistake>>()?;
    let step = object.text("step", NAME_MAX)?;
    Ok(Report::Status { status, step, error, log_tail, message: object.text("message", TEXT_MAX)?, metrics })
}

fn progress(object: &mut Object) -> Result<Report, Mistake> {
    let percent = object.number("percent", 0.0, 100.0)?;
    Ok(Report::Progress {
        percent: object.required("percent", percent, "0 to 100")?,
        phase: object.text("phase", NAME_MAX)?,
        message: object.text("message", TEXT_MAX)?,
        step: object.id("step")?,
    })
}

fn log(object: &mut Object) -> Result<Report, Mistake> {
    let levels = [Level::Debug, Level::Info, Level::Warning, Level::Error].map(|level| (level.as_str(), level));
    let message = object.text("message", TEXT_MAX)?;
    Ok(Report::Log {
        level: object.required_word("level", &levels)?,
        message: object.required("message", message, "a text")?,
        device: object.id("device")?,
        module: object.text("module", NAME_MAX)?,
        source: object.text("source", NAME_MAX)?,
    })
}

fn metric(object: &mut Object) -> Result<Report, Mistake> {
    let name = object.id("name")?;
    let value = object.number("value", f64::NEG_INFINITY, f64::INFINITY)?;
    let unit = object.text("unit", NAME_MAX)?.unwrap_or_default();
    let unit =
        Unit::parse(&unit).ok_or_else(|| object.wrong("unit", format!("{unit:?} is longer than {UNIT_MAX} bytes")))?;
    Ok(Report::Metric {
        name: object.required("name", name, "the name of a metric")?,
        value: Value::Float(object.required("value", value, "a number")?),
        unit,
        device: object.id("device")?,
    })
}

fn step(object: &mut Object) -> Result<Report, Mistake> {
    let words = [
        ("running", StepWord::Running),
        ("completed", StepWord::Completed),
        ("failed", StepWord::Failed),
        ("skipped", StepWord::Skipped),
    ];
    let step = object.id("step")?;
    let report = StepReport {
        step: object.required("step", step, "the id of a step")?,
        module: object.text("module", NAME_MAX)?,
        device: object.id("device")?,
        status: object.required_word("status", &words)?,
        progress: object.number("progress", 0.0, 100.0)?,
        attempt: object.small("attempt", 1)?,
        will_retry: object.boolean("will_retry")?.unwrap_or(false),
        error_code: object.text("error_code", NAME_MAX)?,
        error: object.text("error", TEXT_MAX)?,
        duration_s: object.number("duration_s", 0.0, SECONDS_MAX)?,
        screenshot: object.text("screenshot", NAME_MAX)?,
    };
    let failed = report.status == StepWord::Failed;
    for (name, given) in [("will_retry", report.will_retry), ("error_code", report.error_code.is_some())] {
        if given && !failed {
            return Err(object.wrong(name, "belongs to a step that failed"));
        }
    }
    if report
        .screenshot
        .as_deref()
        .is_some_and(|path| path.starts_with('/') || path.split('/').any(|part| part == ".."))
    {
        return Err(object.wrong("screenshot", "is not the path of an artifact"));
    }
    Ok(Report::Step(report))
}

fn iteration(object: &mut Object) -> Result<Report, Mistake> {
    let number = object.integer("iteration", 0, WHOLE_MAX)?;
    let parameters = object.map("parameters")?;
    let metrics = object.map("metrics")?;
    let feasible = object.boolean("feasible")?;
    let run: Option<Uuid> = object.id("run")?;
    Ok(Report::Iteration(Iteration {
        iteration: object.required("iteration", number, "a whole number")?,
        run: run.map(RunId),
        parameters: object.required("parameters", parameters, "an object of names and values")?,
        metrics: object.required("metrics", metrics, "an object of names and values")?,
        feasible: object.required("feasible", feasible, "true or false")?,
        pareto_updated: object.boolean("pareto_updated")?.unwrap_or(false),
        error: None,
    }))
}

fn test(object: &mut Object) -> Result<Report, Mistake> {
    let words = ["running", "completed", "failed"].map(|word| (word, word));
    let report = TestReport {
        test: object.name("test", NAME_MAX)?,
        name: object.text("name", NAME_MAX)?,
        status: object.required_word("status", &words)?,
        progress: object.number("progress", 0.0, 100.0)?,
        current_run: object.small("current_run", 1)?,
        total_runs: object.small("total_runs", 1)?,
        success: object.boolean("success")?,
        score: object.number("score", f64::NEG_INFINITY, f64::INFINITY)?,
        duration_s: object.number("duration_s", 0.0, SECONDS_MAX)?,
        message: object.text("message", TEXT_MAX)?,
        error: object.text("error", TEXT_MAX)?,
    };
    match (report.status, report.success) {
        ("failed", Some(true)) => Err(object.wrong("success", "is true, but the test's status is failed")),
        ("running", Some(_)) => Err(object.wrong("success", "is told of a test that is still running")),
        _ => Ok(Report::Test(report)),
    }
}

fn tool(object: &mut Object) -> Result<Report, Mistake> {
    Ok(Report::Tool {
        name: object.name("name", NAME_MAX)?,
        status: object.name("status", NAME_MAX)?,
        result: object.value("result")?,
        error: object.text("error", TEXT_MAX)?,
    })
}

fn event(object: &mut Object) -> Result<Report, Mistake> {
    let payload = object.value("payload")?;
    Ok(Report::Event(CustomEvent {
        event_type: object.name("event_type", NAME_MAX)?,
        payload: object.required("payload", payload, "a value")?,
        sequence: object.integer("sequence", 0, WHOLE_MAX)?,
        duration_ms: object.number("duration_ms", 0.0, SECONDS_MAX * 1000.0)?,
        test: object.text("test", NAME_MAX)?,
    }))
}

fn state_of_wells(object: &mut Object) -> Result<Report, Mistake> {
    let found = object.map("wells")?;
    let found = object.required("wells", found, "an object of resources")?;
    wells::check(&object.at("wells"), &found)?;
    Ok(Report::Wells(found))
}

fn artifact(object: &mut Object) -> Result<Report, Mistake> {
    let name = object.name("name", NAME_MAX)?;
    check_name(&name).map_err(|problem| object.wrong("name", problem))?;
    let media_type = object.name("media_type", NAME_MAX)?;
    check_media_type(&media_type).map_err(|problem| object.wrong("media_type", problem))?;
    let text = object.text("data", BATCH_BYTES_MAX)?;
    let text = object.required("data", text, "the file's bytes in base64")?;
    let data = BASE64.decode(text).map_err(|error| object.wrong("data", format!("is not base64: {error}")))?;
    Ok(Report::Artifact { name, media_type, data })
}
