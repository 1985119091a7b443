//! A report as JSON: all of it, with every sample.

use rigwire_shared::agent::Identity;
use rigwire_shared::value::Value;
use serde::Serialize;

use super::{Attempt, Judged, LogLine, Report, Sample, Series, Step, words};
use crate::artifact::url;
use crate::dialect::rfc3339;
use crate::event::{DeviceSnapshot, RunLog, SafeState, Verdict};
use crate::store::RunRow;

mod parts;

#[derive(Serialize)]
struct Message<'a> {
    run: RunRow,
    cancelled_because: Option<&'a str>,
    steps: Vec<StepMessage<'a>>,
    series: Vec<SeriesMessage<'a>>,
    samples_left_out: u64,
    devices: Vec<DeviceMessage<'a>>,
    tests: Vec<parts::TestMessage<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sweep: Option<parts::SweepMessage<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    study: Option<parts::StudyMessage>,
    iterations: Vec<parts::IterationMessage<'a>>,
    iterations_left_out: u64,
    artifacts: Vec<ArtifactMessage<'a>>,
    artifacts_left_out: u64,
    log: Vec<LogMessage<'a>>,
    log_left_out: u64,
    completeness: CompletenessMessage,
    generated_at: String,
    software: &'static str,
}

#[derive(Serialize)]
struct StepMessage<'a> {
    id: &'a str,
    uuid: Option<String>,
    number: Option<u64>,
    module: &'a str,
    device: Option<&'a str>,
    status: &'static str,
    attempt: u32,
    duration_s: Option<f64>,
    error: Option<&'a str>,
    error_code: Option<&'a str>,
    outputs: Value,
    screenshot: Option<&'a str>,
    finally: bool,
    attempts: Vec<AttemptMessage<'a>>,
}

#[derive(Serialize)]
struct AttemptMessage<'a> {
    number: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    point: Option<u32>,
    status: &'static str,
    began_at: String,
    ended_at: Option<String>,
    duration_s: Option<f64>,
    error: Option<&'a str>,
    error_code: Option<&'a str>,
    will_retry: bool,
    safe: Option<&'a SafeState>,
    limits: Vec<LimitMessage<'a>>,
}

#[derive(Serialize)]
struct LimitMessage<'a> {
    metric: &'a str,
    value: Option<f64>,
    min: Option<f64>,
    max: Option<f64>,
    unit: &'a str,
    passed: bool,
}

#[derive(Serialize)]
struct SeriesMessage<'a> {
    metric: &'a str,
    unit: &'a str,
    device: Option<&'a str>,
    samples: Vec<SampleMessage<'a>>,
}

#[derive(Serialize)]
struct SampleMessage<'a> {
    at: String,
    value: &'a Value,
    quality: &'static str,
    step: Option<&'a str>,
    attempt: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    point: Option<u32>,
}

#[derive(Serialize)]
struct DeviceMessage<'a> {
    role: &'a str,
    device: &'a str,
    agent: &'a str,
    /// As of `generated_at`; null when the device is not known any more.
    known: Option<KnownMessage<'a>>,
}

#[derive(Serialize)]
struct KnownMessage<'a> {
    kind: &'static str,
    class: &'a str,
    profile: &'a str,
    tags: &'a [String],
    state: &'static str,
    cause: &'a str,
    identity: Option<&'a Identity>,
    last_seen: String,
}

#[derive(Serialize)]
struct ArtifactMessage<'a> {
    name: &'a str,
    media_type: &'a str,
    path: &'a str,
    url: String,
    size: u64,
}

#[derive(Serialize)]
struct LogMessage<'a> {
    at: String,
    #[serde(flatten)]
    log: &'a RunLog,
}

#[derive(Serialize)]
struct CompletenessMessage {
    events: u64,
    last: u64,
    complete: bool,
    /// First and last number of each hole.
    missing: Vec<(u64, u64)>,
    holes_left_out: u64,
    goes_on: bool,
    line: String,
}

pub(super) fn render(report: &Report) -> Vec<u8> {
    let completeness = &report.completeness;
    let message = Message {
        run: RunRow::from(&report.run),
        cancelled_because: report.cancelled_because.as_deref(),
        steps: report.steps.iter().map(|step| step_message(report, step)).collect(),
        series: report.series.iter().map(|series| series_message(report, series)).collect(),
        samples_left_out: report.samples_left_out,
        devices: report
            .devices
            .iter()
            .map(|device| DeviceMessage {
                role: &device.bound.role,
                device: device.bound.device.as_str(),
                agent: device.bound.agent.as_str(),
                known: device.known.as_ref().map(known_message),
            })
            .collect(),
        tests: parts::tests(report),
        sweep: parts::sweep(report),
        study: parts::study(report),
        iterations: parts::iterations(report),
        iterations_left_out: report.iterations.left_out,
        artifacts: report
            .artifacts
            .items
            .iter()
            .map(|artifact| ArtifactMessage {
                name: &artifact.name,
                media_type: &artifact.media_type,
                path: &artifact.path,
                url: url(&artifact.path),
                size: artifact.size,
            })
            .collect(),
        artifacts_left_out: report.artifacts.left_out,
        log: report.log.iter().map(|LogLine { at, log }| LogMessage { at: rfc3339(*at), log }).collect(),
        log_left_out: report.log_left_out,
        completeness: CompletenessMessage {
            events: completeness.found,
            last: completeness.last,
            complete: completeness.is_complete(),
            missing: completeness.holes.clone(),
            holes_left_out: completeness.holes_left_out,
            goes_on: completeness.goes_on,
            line: completeness.to_string(),
        },
        generated_at: rfc3339(report.generated_at),
        software: super::SOFTWARE,
    };
    // Structs of plain fields, so encoding cannot fail; a non-finite number becomes null.
    serde_json::to_vec(&message).unwrap_or_else(|_| b"null".to_vec())
}

fn known_message(device: &DeviceSnapshot) -> KnownMessage<'_> {
    KnownMessage {
        kind: device.kind.as_str(),
        class: &device.class,
        profile: &device.profile,
        tags: &device.tags,
        state: device.state.as_str(),
        cause: &device.cause,
        identity: device.identity.as_ref(),
        last_seen: rfc3339(device.last_seen),
    }
}

fn step_message<'a>(report: &'a Report, step: &'a Step) -> StepMessage<'a> {
    let card = report.run.header.step(&step.id);
    StepMessage {
        id: step.id.as_str(),
        uuid: card.map(|card| card.uuid.to_string()),
        number: card.map(|card| card.number),
        module: &step.module,
        device: step.device.as_deref(),
        status: step.state.as_str(),
        attempt: step.attempts.last().map_or(0, |last| last.number),
        duration_s: step.duration_s,
        error: step.error.as_deref(),
        error_code: step.error_code.as_deref(),
        outputs: Value::Map(step.outputs.clone()),
        screenshot: step.screenshot.as_deref(),
        finally: step.finally,
        attempts: step.attempts.iter().map(attempt_message).collect(),
    }
}

fn attempt_message(attempt: &Attempt) -> AttemptMessage<'_> {
    AttemptMessage {
        number: attempt.number,
        point: Some(attempt.point).filter(|point| *point > 0),
        status: attempt.state.as_str(),
        began_at: rfc3339(attempt.began),
        ended_at: attempt.ended.map(rfc3339),
        duration_s: attempt.duration_s,
        error: attempt.error.as_deref(),
        error_code: attempt.error_code.as_deref(),
        will_retry: attempt.will_retry,
        safe: attempt.safe.as_ref(),
        limits: attempt.verdicts.iter().map(limit_message).collect(),
    }
}

fn limit_message(judged: &Judged) -> LimitMessage<'_> {
    let Verdict { metric, value, min, max, passed, .. } = &judged.verdict;
    LimitMessage { metric, value: *value, min: *min, max: *max, unit: judged.unit.as_str(), passed: *passed }
}

fn series_message<'a>(report: &'a Report, series: &'a Series) -> SeriesMessage<'a> {
    let sample = |sample: &'a Sample| {
        let step = sample.step.and_then(|(index, attempt)| Some((report.steps.get(index)?, attempt)));
        SampleMessage {
            at: words::exact_time(sample.at),
            value: &sample.value,
            quality: sample.quality.as_str(),
            step: step.map(|(step, _)| step.id.as_str()),
            attempt: step.map(|(_, attempt)| attempt),
            point: Some(sample.point).filter(|point| *point > 0),
        }
    };
    SeriesMessage {
        metric: &series.metric,
        unit: series.unit.as_str(),
        device: series.device.as_deref(),
        samples: series.samples.iter().map(sample).collect(),
    }
}
