//! Words of the device-farm dialect: flat messages about an execution and about devices. Knows no session.

use rigwire_shared::event::{Level, code};
use rigwire_shared::ids::DeviceId;
use rigwire_shared::time::Timestamp;
use rigwire_shared::value::Value;
use schemars::JsonSchema;
use serde::Serialize;

use crate::dialect::{Rendered, rfc3339};
use crate::event::{
    DeviceEvent, DeviceSnapshot, Event, EventKind, Finished, Frame, Progress, RunEvent, RunEventBody, RunHeader,
    RunLog, RunStatus, StepChange, StepEvent,
};
use crate::run::INITIALIZING;

use base64::Engine;

/// Field of the messages that wait for an acknowledgement.
pub(super) const MESSAGE_ID: &str = "message_id";

mod topic {
    pub(super) const PROGRESS: &str = "execution_progress";
    pub(super) const STATUS: &str = "device_status";
    pub(super) const LOG: &str = "log_entry";
    pub(super) const PREVIEW: &str = "preview_frame";
    pub(super) const STEP_COMPLETED: &str = "step_completed";
    pub(super) const STEP_FAILED: &str = "step_failed";
    pub(super) const COMPLETED: &str = "execution_completed";
    pub(super) const ERROR: &str = "error";
}

pub fn render(event: &Event) -> Vec<Rendered> {
    match &event.kind {
        EventKind::Run(event_of_run) => render_run(event_of_run, event.at),
        EventKind::Device(DeviceEvent::State(snapshot)) => vec![device_status(snapshot)],
        EventKind::Device(DeviceEvent::Frame(frame)) => vec![preview_frame(frame, event.at)],
        EventKind::Device(
            // Only those who asked for the preview are told; each gets its own numbered error.
            DeviceEvent::PreviewUnavailable { .. }
            | DeviceEvent::Sample(_)
            | DeviceEvent::Limit(_)
            | DeviceEvent::Interlock { .. }
            | DeviceEvent::Safe { .. }
            | DeviceEvent::Gap { .. }
            | DeviceEvent::Lease(_),
        )
        | EventKind::Agent(_)
        | EventKind::Chat(_) => Vec::new(),
    }
}

fn render_run(event: &RunEvent, at: Timestamp) -> Vec<Rendered> {
    let run = &*event.run;
    match &event.body {
        RunEventBody::Progress(now) => vec![progress(run, now, RunStatus::Running, at)],
        RunEventBody::Log(line) => vec![log_entry(run, line, at)],
        RunEventBody::Step(step) => render_step(event, step, at),
        RunEventBody::DeviceLost { device, .. } => vec![error(&Fault {
            code: code::DEVICE_DISCONNECTED,
            message: &format!("Device {device} disconnected during execution"),
            execution: Some(&run.id.to_string()),
            device: Some(device),
            message_id: &message_id(run, event.number, "lost"),
            at,
        })],
        RunEventBody::Finished(finished) => vec![execution_completed(run, event.number, finished, at)],
        RunEventBody::Created
        | RunEventBody::CancelRequested { .. }
        | RunEventBody::Status { .. }
        | RunEventBody::Bound { .. }
        | RunEventBody::Point(_)
        | RunEventBody::Child(_)
        | RunEventBody::Metric(_)
        | RunEventBody::Verdict(_)
        | RunEventBody::Iteration(_)
        | RunEventBody::Test(_)
        | RunEventBody::Tool { .. }
        | RunEventBody::Custom(_)
        | RunEventBody::Wells { .. }
        | RunEventBody::Artifact { .. } => Vec::new(),
    }
}

fn render_step(event: &RunEvent, step: &StepEvent, at: Timestamp) -> Vec<Rendered> {
    let run = &*event.run;
    let execution_id = run.id.to_string();
    let step_id = run.step(&step.step).map_or_else(|| step.step.to_string(), |card| card.uuid.to_string());
    match &step.change {
        StepChange::Completed { duration_s, screenshot, .. } => {
            let message = StepCompleted {
                kind: topic::STEP_COMPLETED,
                execution_id: &execution_id,
                device_id: step.device.as_ref(),
                step_id: &step_id,
                module_id: &step.module,
                status: "completed",
                duration_seconds: *duration_s,
                screenshot_url: screenshot
                    .as_ref()
                    .map(|path| format!("/api/v1/artifacts/{}", path.trim_start_matches('/'))),
                timestamp: rfc3339(at),
                receipt: Receipt::new(message_id(run, event.number, "step")),
            };
            vec![receipted(topic::STEP_COMPLETED, &message, &message.receipt)]
        }
        StepChange::Failed { error_code, error: text, will_retry, .. } => {
            let message = StepFailed {
                kind: topic::STEP_FAILED,
                execution_id: &execution_id,
                device_id: step.device.as_ref(),
                step_id: &step_id,
                module_id: &step.module,
                error_code,
                error_message: text,
                retry_attempt: step.attempt,
                will_retry: *will_retry,
                timestamp: rfc3339(at),
                receipt: Receipt::new(message_id(run, event.number, "step")),
            };
            let mut messages = vec![receipted(topic::STEP_FAILED, &message, &message.receipt)];
            if error_code == code::MODULE_TIMEOUT {
                messages.push(error(&Fault {
                    code: code::MODULE_TIMEOUT,
                    message: &format!("Module {} exceeded its timeout: {text}", step.module),
                    execution: Some(&execution_id),
                    device: step.device.as_ref(),
                    message_id: &message_id(run, event.number, "timeout"),
                    at,
                }));
            }
            messages
        }
        StepChange::Dispatched { .. }
        | StepChange::Running
        | StepChange::Progress { .. }
        | StepChange::Cancelled { .. }
        | StepChange::Skipped { .. } => Vec::new(),
    }
}

/// The same for everyone who gets the event, so that any client can acknowledge it.
fn message_id(run: &RunHeader, number: u64, part: &str) -> String {
    format!("{}-{number}-{part}", run.id)
}

/// The last progress of a run, with its final status. Only what completed is whole.
pub(super) fn final_progress(run: &RunHeader, status: RunStatus, percent: f64, at: Timestamp) -> Rendered {
    let (progress_percentage, current_step) = match status {
        RunStatus::Failed => (whole_percent(percent), "Execution failed"),
        RunStatus::Cancelled => (whole_percent(percent), "Execution cancelled"),
        RunStatus::Completed | RunStatus::Pending | RunStatus::Running | RunStatus::Paused => {
            (100, "Execution completed")
        }
    };
    let message = ExecutionProgress {
        kind: topic::PROGRESS,
        execution_id: run.id.to_string(),
        status: status.as_str(),
        progress_percentage,
        current_step,
        timestamp: rfc3339(at),
    };
    Rendered::new(topic::PROGRESS, &message)
}

/// Progress of a run that is under way.
pub(super) fn progress(run: &RunHeader, progress: &Progress, status: RunStatus, at: Timestamp) -> Rendered {
    let module = progress.step.as_ref().and_then(|id| run.step(id)).map(|card| card.module.as_str());
    let said = Some(progress.message.as_str()).filter(|said| !said.is_empty() && *said != INITIALIZING);
    let message = ExecutionProgress {
        kind: topic::PROGRESS,
        execution_id: run.id.to_string(),
        status: status.as_str(),
        progress_percentage: whole_percent(progress.percent),
        current_step: module.or(said).unwrap_or("Starting execution"),
        timestamp: rfc3339(at),
    };
    Rendered::new(topic::PROGRESS, &message)
}

/// Rounded down: 100 means done.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=100 first")]
pub(super) fn whole_percent(percent: f64) -> u8 {
    if percent.is_nan() { 0 } else { percent.clamp(0.0, 100.0) as u8 }
}

pub(super) fn device_status(snapshot: &DeviceSnapshot) -> Rendered {
    let message = DeviceStatus {
        kind: topic::STATUS,
        device_id: &snapshot.device,
        status: snapshot.in_short(),
        last_seen: rfc3339(snapshot.last_seen),
    };
    Rendered::new(topic::STATUS, &message)
}

fn log_entry(run: &RunHeader, line: &RunLog, at: Timestamp) -> Rendered {
    let message = LogEntry {
        kind: topic::LOG,
        execution_id: run.id.to_string(),
        device_id: line.device.as_ref(),
        level: match line.level {
            Level::Debug => "DEBUG",
            Level::Info => "INFO",
            Level::Warning => "WARNING",
            Level::Error => "ERROR",
        },
        message: &line.message,
        module_id: line.module.as_deref(),
        timestamp: rfc3339(at),
    };
    Rendered::new(topic::LOG, &message)
}

fn preview_frame(frame: &Frame, at: Timestamp) -> Rendered {
    let mut frame_data = format!("data:{};base64,", frame.media_type);
    base64::engine::general_purpose::STANDARD.encode_string(&frame.data, &mut frame_data);
    let message = PreviewFrame {
        kind: topic::PREVIEW,
        device_id: &frame.device,
        frame_data,
        width: frame.width,
        height: frame.height,
        timestamp: rfc3339(at),
    };
    Rendered::new(topic::PREVIEW, &message)
}

pub(super) fn execution_completed(run: &RunHeader, number: u64, finished: &Finished, at: Timestamp) -> Rendered {
    let execution_id = run.id.to_string();
    let message = ExecutionCompleted {
        kind: topic::COMPLETED,
        execution_id: &execution_id,
        status: finished.status.as_str(),
        duration_seconds: finished.duration_s,
        total_steps: finished.counts.total,
        successful_steps: finished.counts.successful,
        failed_steps: finished.counts.failed,
        report_url: format!("/api/v1/reports/{execution_id}?format=pdf"),
        timestamp: rfc3339(at),
        receipt: Receipt::new(message_id(run, number, "end")),
    };
    receipted(topic::COMPLETED, &message, &message.receipt)
}

/// An error message before it is put into words.
#[derive(Debug)]
pub(super) struct Fault<'a> {
    pub(super) code: &'a str,
    pub(super) message: &'a str,
    pub(super) execution: Option<&'a str>,
    pub(super) device: Option<&'a DeviceId>,
    pub(super) message_id: &'a str,
    pub(super) at: Timestamp,
}

pub(super) fn error(fault: &Fault<'_>) -> Rendered {
    let message = ErrorMessage {
        kind: topic::ERROR,
        code: fault.code,
        message: fault.message,
        execution_id: fault.execution,
        device_id: fault.device,
        timestamp: rfc3339(fault.at),
        receipt: Receipt::new(fault.message_id.to_owned()),
    };
    receipted(topic::ERROR, &message, &message.receipt)
}

/// Keeps the id beside the text, so that a session need not read its own messages.
fn receipted<T: Serialize>(topic: &'static str, message: &T, receipt: &Receipt) -> Rendered {
    let mut rendered = Rendered::new(topic, message);
    rendered.fields.push((MESSAGE_ID, Value::Text(receipt.message_id.clone())));
    rendered
}

/// What clients acknowledge by, if they do.
#[derive(Serialize, JsonSchema)]
pub(super) struct Receipt {
    message_id: String,
    ack_required: bool,
}

impl Receipt {
    const fn new(message_id: String) -> Self {
        Self { message_id, ack_required: true }
    }
}

#[derive(Serialize, JsonSchema)]
pub(super) struct ExecutionProgress<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    execution_id: String,
    status: &'static str,
    progress_percentage: u8,
    current_step: &'a str,
    timestamp: String,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct DeviceStatus<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    device_id: &'a DeviceId,
    status: &'static str,
    last_seen: String,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct StepCompleted<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    execution_id: &'a str,
    device_id: Option<&'a DeviceId>,
    step_id: &'a str,
    module_id: &'a str,
    status: &'static str,
    duration_seconds: f64,
    screenshot_url: Option<String>,
    timestamp: String,
    #[serde(flatten)]
    receipt: Receipt,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct StepFailed<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    execution_id: &'a str,
    device_id: Option<&'a DeviceId>,
    step_id: &'a str,
    module_id: &'a str,
    error_code: &'a str,
    error_message: &'a str,
    retry_attempt: u32,
    will_retry: bool,
    timestamp: String,
    #[serde(flatten)]
    receipt: Receipt,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct LogEntry<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    execution_id: String,
    device_id: Option<&'a DeviceId>,
    level: &'static str,
    message: &'a str,
    module_id: Option<&'a str>,
    timestamp: String,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct PreviewFrame<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    device_id: &'a DeviceId,
    frame_data: String,
    width: u16,
    height: u16,
    timestamp: String,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct ExecutionCompleted<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    execution_id: &'a str,
    status: &'static str,
    duration_seconds: f64,
    total_steps: u32,
    successful_steps: u32,
    failed_steps: u32,
    report_url: String,
    timestamp: String,
    #[serde(flatten)]
    receipt: Receipt,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct ErrorMessage<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    code: &'a str,
    message: &'a str,
    execution_id: Option<&'a str>,
    device_id: Option<&'a DeviceId>,
    timestamp: String,
    #[serde(flatten)]
    receipt: Receipt,
}
