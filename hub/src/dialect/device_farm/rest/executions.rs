//! Runs as executions on a farm. Part of the shell.

use axum::Json;
use axum::extract::{Path, State};
use rigwire_shared::event::Level;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::super::message::whole_percent;
use crate::api::neighbours::{self, PAGE_MAX, Query};
use crate::api::runs;
use crate::app::App;
use crate::artifact::url;
use crate::dialect::rfc3339;
use crate::error::ApiError;
use crate::event::{RunSnapshot, RunStatus, StepState};
use crate::stable_id;
use crate::store::{Listed, Listing, StepTimes};

const LIST_DEFAULT: usize = 50;
const LOGS_DEFAULT: usize = 100;
const LOGS_MAX: usize = 5000;

/// Lines looked at for those of one device.
const LOGS_READ: usize = 20_000;

const FILES: usize = 1000;

/// Words of the protocol for a status, in queries. It has none for a run that is held.
const STATUSES: [(&str, &[RunStatus]); 5] = [
    ("pending", &[RunStatus::Pending]),
    ("running", &[RunStatus::Running, RunStatus::Paused]),
    ("completed", &[RunStatus::Completed]),
    ("failed", &[RunStatus::Failed]),
    ("cancelled", &[RunStatus::Cancelled]),
];

#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum ExecutionStatus {
    Pending,
    Running,
    Completed,
    Failed,
    Cancelled,
}

impl From<RunStatus> for ExecutionStatus {
    fn from(status: RunStatus) -> Self {
        match status {
            RunStatus::Pending => Self::Pending,
            RunStatus::Running | RunStatus::Paused => Self::Running,
            RunStatus::Completed => Self::Completed,
            RunStatus::Failed => Self::Failed,
            RunStatus::Cancelled => Self::Cancelled,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum ExecutionDeviceStatus {
    Assigned,
    Running,
    Completed,
    Failed,
}

#[derive(Debug, Serialize, JsonSchema)]
struct ExecutionDevice {
    device_id: String,
    status: ExecutionDeviceStatus,
    start_time: Option<String>,
    end_time: Option<String>,
    error_message: Option<String>,
}

/// A run of any kind, whoever started it.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Execution {
    id: Uuid,
    /// Stands for the procedure's name.
    flow_id: Uuid,
    name: String,
    status: ExecutionStatus,
    start_time: Option<String>,
    end_time: Option<String>,
    duration_seconds: Option<f64>,
    /// Rounded down: 100 means done.
    progress_percentage: u8,
    current_step: Option<String>,
    error_message: Option<String>,
    /// Address below which its files are.
    artifacts_path: String,
    report_generated: bool,
    device_count: usize,
    devices: Vec<ExecutionDevice>,
    created_at: String,
    updated_at: String,
}

impl From<&Listed> for Execution {
    fn from(run: &Listed) -> Self {
        let row = &run.row;
        let result = row.result.as_ref();
        let error = result.and_then(|finished| finished.error.as_ref()).map(|error| error.message.clone());
        let status = match row.status {
            RunStatus::Pending => ExecutionDeviceStatus::Assigned,
            RunStatus::Running | RunStatus::Paused => ExecutionDeviceStatus::Running,
            RunStatus::Completed => ExecutionDeviceStatus::Completed,
            RunStatus::Failed | RunStatus::Cancelled => ExecutionDeviceStatus::Failed,
        };
        let devices = run.devices.iter().map(|device| ExecutionDevice {
            device_id: device.clone(),
            status,
            start_time: row.started_at.clone(),
            end_time: row.finished_at.clone(),
            error_message: error.clone(),
        });
        Self {
            id: row.id.0,
            flow_id: stable_id::of_procedure(&run.procedure),
            name: row.name.clone(),
            status: row.status.into(),
            start_time: row.started_at.clone(),
            end_time: row.finished_at.clone(),
            duration_seconds: result.map(|finished| finished.duration_s),
            progress_percentage: whole_percent(row.progress),
            current_step: row.step.clone(),
            error_message: error.clone(),
            artifacts_path: url(&row.id.to_string()),
            report_generated: row.status.is_final(),
            device_count: run.devices.len(),
            devices: devices.collect(),
            created_at: row.created_at.clone(),
            updated_at: run.changed_at().to_owned(),
        }
    }
}

/// With what the steps say of each device.
pub(super) fn view(run: &RunSnapshot) -> Execution {
    let mut view = Execution::from(&Listed::from(run));
    for device in &mut view.devices {
        let is_of =
            |step: &&crate::event::StepSnapshot| step.device.as_ref().is_some_and(|id| id.as_str() == device.device_id);
        let steps: Vec<_> = run.steps.iter().filter(is_of).collect();
        let failed = steps.iter().find(|step| step.state == StepState::Failed);
        let all = |wanted: fn(StepState) -> bool| !steps.is_empty() && steps.iter().all(|step| wanted(step.state));
        if let Some(failed) = failed {
            device.status = ExecutionDeviceStatus::Failed;
            device.error_message.clone_from(&failed.error);
        } else if all(|state| matches!(state, StepState::Completed | StepState::Skipped)) {
            device.status = ExecutionDeviceStatus::Completed;
            device.error_message = None;
        } else if all(|state| state == StepState::Pending) && !run.status.is_final() {
            device.status = ExecutionDeviceStatus::Assigned;
        }
    }
    view
}

#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum ExecutionStepStatus {
    Pending,
    Running,
    Completed,
    Failed,
    Skipped,
}

#[derive(Debug, Serialize, JsonSchema)]
struct ExecutionStep {
    id: Uuid,
    /// As the procedure names it.
    name: String,
    module_id: String,
    device_id: Option<String>,
    step_index: usize,
    status: ExecutionStepStatus,
    start_time: Option<String>,
    end_time: Option<String>,
    duration_seconds: Option<f64>,
    output_data: Option<Map<String, Value>>,
    error_code: Option<String>,
    error_message: Option<String>,
    /// Address of the picture.
    screenshot_path: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ExecutionDetail {
    #[serde(flatten)]
    execution: Execution,
    steps: Vec<ExecutionStep>,
}

pub(super) async fn get(State(app): State<App>, Path(id): Path<String>) -> Result<Json<ExecutionDetail>, ApiError> {
    let run = runs::snapshot(&app, &id).await?;
    let mut times = app.hub.store().step_times(run.header.id).await?;
    let steps = run.steps.iter().enumerate().filter_map(|(step_index, step)| {
        let card = run.header.step(&step.step)?;
        let StepTimes { began, ended, error_code, screenshot } = times.remove(&step.step).unwrap_or_default();
        Some(ExecutionStep {
            id: card.uuid,
            name: card.id.as_str().to_owned(),
            module_id: card.module.clone(),
            device_id: step.device.as_ref().map(|device| device.as_str().to_owned()),
            step_index,
            status: match step.state {
                StepState::Pending => ExecutionStepStatus::Pending,
                StepState::Running => ExecutionStepStatus::Running,
                StepState::Completed => ExecutionStepStatus::Completed,
                StepState::Failed => ExecutionStepStatus::Failed,
                StepState::Cancelled | StepState::Skipped => ExecutionStepStatus::Skipped,
            },
            start_time: began.map(rfc3339),
            end_time: ended.map(rfc3339),
            duration_seconds: step.duration_s,
            output_data: (!step.outputs.is_empty()).then(|| neighbours::object(&step.outputs)),
            error_code,
            error_message: step.error.clone(),
            screenshot_path: screenshot.map(|path| url(path.trim_start_matches('/'))),
        })
    });
    Ok(Json(ExecutionDetail { steps: steps.collect(), execution: view(&run) }))
}

/// Which executions.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct ListExecutions {
    status: Option<String>,
    /// Executions of this flow: its id or name.
    flow_id: Option<String>,
    limit: Option<usize>,
    offset: Option<usize>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Executions {
    executions: Vec<Execution>,
    total: u64,
    limit: usize,
    offset: usize,
}

/// A list, or for who asks for a place in it a page.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum ListedExecutions {
    All(Vec<Execution>),
    Page(Executions),
}

pub(super) async fn list(
    State(app): State<App>,
    query: Query<ListExecutions>,
) -> Result<Json<ListedExecutions>, ApiError> {
    let query = neighbours::query(query)?;
    let procedure = match query.flow_id {
        Some(id) => Some(neighbours::procedure_name(&app, &id).await?),
        None => None,
    };
    let limit = query.limit.unwrap_or(LIST_DEFAULT).clamp(1, PAGE_MAX);
    let is_page = query.offset.is_some();
    let offset = query.offset.unwrap_or_default();
    let statuses = neighbours::statuses(query.status.as_deref(), &STATUSES)?;
    let (found, total) =
        neighbours::page(&app, Listing { statuses, procedure, limit, offset, ..Listing::default() }).await?;
    let executions: Vec<Execution> = found.iter().map(Execution::from).collect();
    Ok(Json(if is_page {
        ListedExecutions::Page(Executions { executions, total, limit, offset })
    } else {
        ListedExecutions::All(executions)
    }))
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ExecutionState {
    execution_id: Uuid,
    status: ExecutionStatus,
    progress_percentage: u8,
    current_step: Option<String>,
    start_time: Option<String>,
    end_time: Option<String>,
    error_message: Option<String>,
}

pub(super) async fn status(State(app): State<App>, Path(id): Path<String>) -> Result<Json<ExecutionState>, ApiError> {
    let Execution { id, status, progress_percentage, current_step, start_time, end_time, error_message, .. } =
        view(&runs::snapshot(&app, &id).await?);
    Ok(Json(ExecutionState {
        execution_id: id,
        status,
        progress_percentage,
        current_step,
        start_time,
        end_time,
        error_message,
    }))
}

pub(super) async fn cancel(State(app): State<App>, Path(id): Path<String>) -> Result<Json<Execution>, ApiError> {
    Ok(Json(view(&neighbours::cancel(&app, &id).await?)))
}

/// Which lines.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct ListLogs {
    device_id: Option<String>,
    limit: Option<usize>,
    /// `next` of the page before.
    after: Option<u64>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ExecutionLogs {
    logs: Vec<ExecutionLog>,
    /// `after` of the next page.
    next: u64,
}

#[derive(Debug, Serialize, JsonSchema)]
struct ExecutionLog {
    id: String,
    timestamp: String,
    level: String,
    message: String,
    /// Part that speaks.
    component: String,
    execution_id: Uuid,
    device_id: Option<String>,
    module_id: Option<String>,
}

pub(super) async fn logs(
    State(app): State<App>,
    Path(id): Path<String>,
    query: Query<ListLogs>,
) -> Result<Json<ExecutionLogs>, ApiError> {
    let query = neighbours::query(query)?;
    let run = runs::snapshot(&app, &id).await?.header.id;
    let limit = query.limit.unwrap_or(LOGS_DEFAULT).clamp(1, LOGS_MAX);
    let levels = [Level::Debug, Level::Info, Level::Warning, Level::Error].map(Level::as_str).to_vec();
    let after = query.after.unwrap_or_default();
    let read = if query.device_id.is_some() { LOGS_READ } else { limit };
    let lines = app.hub.store().run_logs(run, after, levels, read).await?;
    let mut next = after;
    let mut logs = Vec::new();
    for (number, at, line) in lines {
        if logs.len() == limit {
            break;
        }
        next = number;
        let device_id = line.device.as_ref().map(|device| device.as_str().to_owned());
        if query.device_id.is_some() && query.device_id != device_id {
            continue;
        }
        logs.push(ExecutionLog {
            id: format!("{run}-{number}"),
            timestamp: rfc3339(at),
            level: line.level.as_str().to_uppercase(),
            message: line.message,
            component: line.source,
            execution_id: run.0,
            device_id,
            module_id: line.module,
        });
    }
    Ok(Json(ExecutionLogs { logs, next }))
}

#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum ExecutionArtifactType {
    Screenshot,
    Log,
    Other,
}

#[derive(Debug, Serialize, JsonSchema)]
struct ExecutionArtifact {
    name: String,
    /// Address of its content.
    path: String,
    size: u64,
    modified: String,
    #[serde(rename = "type")]
    kind: ExecutionArtifactType,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ExecutionArtifacts {
    execution_id: Uuid,
    artifacts_path: String,
    artifact_count: usize,
    artifacts: Vec<ExecutionArtifact>,
}

pub(super) async fn artifacts(
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Json<ExecutionArtifacts>, ApiError> {
    let run = runs::snapshot(&app, &id).await?.header.id;
    let files = app.hub.store().run_artifacts(run, 0, FILES).await?;
    let artifacts = files.iter().filter(|row| row.is_complete()).map(|row| ExecutionArtifact {
        name: row.name.clone(),
        path: url(&row.path),
        size: row.size,
        modified: rfc3339(row.at),
        kind: if row.media_type.starts_with("image/") {
            ExecutionArtifactType::Screenshot
        } else if row.media_type.starts_with("text/plain") || row.name.ends_with(".log") {
            ExecutionArtifactType::Log
        } else {
            ExecutionArtifactType::Other
        },
    });
    let artifacts: Vec<ExecutionArtifact> = artifacts.collect();
    Ok(Json(ExecutionArtifacts {
        execution_id: run.0,
        artifacts_path: url(&run.to_string()),
        artifact_count: artifacts.len(),
        artifacts,
    }))
}
