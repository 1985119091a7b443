//! Runs as executions of workflows. Part of the shell.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use rigwire_shared::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::workflows::{Done, Workflow};
use crate::api::neighbours::{self, PAGE_MAX, Query};
use crate::api::runs;
use crate::app::App;
use crate::dialect::{Wish, rfc3339};
use crate::error::ApiError;
use crate::event::{RunSnapshot, RunStatus, StepState};
use crate::model::StartRun;
use crate::store::{Listed, Listing};
use crate::workflow::plain_name;

const LIST_DEFAULT: usize = 100;

/// Newest runs of one procedure among which that of a workflow is looked for.
const NAMESAKES: usize = 20;

const STATUSES: [(&str, &[RunStatus]); 6] = [
    ("idle", &[RunStatus::Pending]),
    ("running", &[RunStatus::Running]),
    ("paused", &[RunStatus::Paused]),
    ("completed", &[RunStatus::Completed]),
    ("error", &[RunStatus::Failed]),
    ("cancelled", &[RunStatus::Cancelled]),
];

#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum WorkflowStatus {
    Idle,
    Running,
    Paused,
    Completed,
    Error,
    Cancelled,
}

impl From<RunStatus> for WorkflowStatus {
    fn from(status: RunStatus) -> Self {
        match status {
            RunStatus::Pending => Self::Idle,
            RunStatus::Running => Self::Running,
            RunStatus::Paused => Self::Paused,
            RunStatus::Completed => Self::Completed,
            RunStatus::Failed => Self::Error,
            RunStatus::Cancelled => Self::Cancelled,
        }
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Health {
    status: &'static str,
    version: &'static str,
    timestamp: String,
}

pub(super) async fn health() -> Json<Health> {
    let timestamp = rfc3339(Timestamp::now());
    Json(Health { status: "healthy", version: env!("CARGO_PKG_VERSION"), timestamp })
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct ExecutedWorkflow {
    success: bool,
    /// As it was sent.
    workflow_id: String,
    /// The run.
    execution_id: Uuid,
    message: String,
    /// Seconds that its last execution took, if it was executed before.
    estimated_duration: Option<f64>,
}

pub(super) async fn execute(State(app): State<App>, body: Bytes) -> Result<Json<ExecutedWorkflow>, ApiError> {
    let workflow: Workflow = neighbours::body(&body, Workflow::FORM)?;
    let start = match workflow.wish()? {
        Wish::Start(start) => *start,
        Wish::StartSaved { procedure, params } => {
            let start = neighbours::start_saved(&app, &procedure, params, None).await?;
            StartRun { workflow: Some(procedure), ..start }
        }
        Wish::Plan { .. } | Wish::Say { .. } | Wish::Control { .. } => {
            return Err(ApiError::unprocessable("INVALID_WORKFLOW", "No nodes in workflow"));
        }
    };
    let before = Listing {
        procedure: Some(start.procedure.name.clone()),
        statuses: vec![RunStatus::Completed],
        limit: 1,
        ..Listing::default()
    };
    let (before, _) = neighbours::page(&app, before).await?;
    let run = runs::begin(&app, start).await?;
    Ok(Json(ExecutedWorkflow {
        success: true,
        workflow_id: workflow.workflow_id,
        execution_id: run.header.id.0,
        message: format!("run {} was started", run.header.number),
        estimated_duration: before.first().and_then(|run| Some(run.row.result.as_ref()?.duration_s)),
    }))
}

/// The run that an id means: an execution, or the newest one of a workflow.
pub(super) async fn find(app: &App, id: &str) -> Result<RunSnapshot, ApiError> {
    if id.parse::<crate::dialect::RunReference>().is_ok() {
        match runs::snapshot(app, id).await {
            Err(error) if error.code() == "UNKNOWN_RUN" => {}
            found => return found,
        }
    }
    // What goes on is at hand with the name that its client gave it, whatever procedure was made of it.
    let named = id.to_owned();
    let active = app.hub.ask(move |core, _| {
        let mut active = core.model.active_snapshots();
        active.retain(|run| run.header.workflow.as_deref() == Some(named.as_str()));
        active.into_iter().max_by_key(|run| run.header.number)
    });
    if let Some(run) = active.await? {
        return Ok(run);
    }
    let procedure = plain_name(id);
    let listing = Listing { procedure: Some(procedure.clone()), limit: NAMESAKES, ..Listing::default() };
    for listed in neighbours::page(app, listing).await?.0 {
        let run = runs::snapshot(app, &listed.row.id.to_string()).await?;
        // Several ids of clients come to one name of a procedure: that of another client's is not meant.
        if run.header.workflow.as_deref().is_none_or(|workflow| workflow == id) {
            return Ok(run);
        }
    }
    let detail = format!("Workflow {id:.100} not found: there is no run of this id, nor one of a workflow of it");
    Err(ApiError::not_found("UNKNOWN_WORKFLOW", detail))
}

/// Which execution.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct CancelExecution {
    execution_id: Option<String>,
}

pub(super) async fn cancel(
    State(app): State<App>,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Json<Done>, ApiError> {
    let request = if body.is_empty() {
        CancelExecution { execution_id: None }
    } else {
        neighbours::body(&body, "{\"executionId\"}")?
    };
    let run = find(&app, request.execution_id.as_deref().unwrap_or(&id)).await?;
    let run = neighbours::cancel(&app, &run.header.id.to_string()).await?;
    Ok(Json(Done { success: true, message: format!("run {} is being cancelled", run.header.number) }))
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct WorkflowExecution {
    /// As its client gave it; otherwise the procedure's name, or what the program that reports it calls itself.
    pub(super) workflow_id: String,
    pub(super) execution_id: Uuid,
    pub(super) status: WorkflowStatus,
    /// Percent, rounded down: 100 means done.
    pub(super) progress: u8,
    pub(super) current_node: Option<String>,
    pub(super) completed_nodes: Vec<String>,
    pub(super) errored_nodes: Vec<String>,
    pub(super) start_time: String,
    pub(super) end_time: Option<String>,
    pub(super) error: Option<String>,
}

/// Rounded down.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=100 first")]
fn whole(percent: f64) -> u8 {
    if percent.is_nan() { 0 } else { percent.clamp(0.0, 100.0) as u8 }
}

impl From<&RunSnapshot> for WorkflowExecution {
    fn from(run: &RunSnapshot) -> Self {
        let in_state = |state: StepState| {
            run.steps.iter().filter(move |step| step.state == state).map(|step| step.step.as_str().to_owned())
        };
        Self {
            workflow_id: run.header.workflow.clone().unwrap_or_else(|| run.header.agent_name.clone()),
            execution_id: run.header.id.0,
            status: run.status.into(),
            progress: whole(run.progress.percent),
            current_node: in_state(StepState::Running).next(),
            completed_nodes: in_state(StepState::Completed).collect(),
            errored_nodes: in_state(StepState::Failed).collect(),
            start_time: rfc3339(run.started_at.unwrap_or(run.header.created_at)),
            end_time: run.finished_at.map(rfc3339),
            error: run
                .finished
                .as_ref()
                .and_then(|finished| finished.error.as_ref())
                .map(|error| error.message.clone()),
        }
    }
}

pub(super) async fn status(
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Json<WorkflowExecution>, ApiError> {
    Ok(Json(WorkflowExecution::from(&find(&app, &id).await?)))
}

/// Which executions.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct ListWorkflows {
    /// `idle`, `running`, `paused`, `completed`, `error` or `cancelled`.
    state: Option<String>,
    limit: Option<usize>,
    offset: Option<usize>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct WorkflowList {
    workflows: Vec<ListedWorkflow>,
    total: u64,
    limit: usize,
    offset: usize,
    has_more: bool,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ListedWorkflow {
    workflow_id: String,
    execution_id: Uuid,
    status: WorkflowStatus,
    progress: u8,
    start_time: String,
    end_time: Option<String>,
    metadata: WorkflowMetadata,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct WorkflowMetadata {
    pub(super) name: String,
    pub(super) description: String,
    pub(super) version: String,
    /// Null for one that was not executed yet.
    pub(super) created_at: Option<String>,
}

impl From<Listed> for ListedWorkflow {
    fn from(run: Listed) -> Self {
        let row = run.row;
        Self {
            workflow_id: run.procedure,
            execution_id: row.id.0,
            status: row.status.into(),
            progress: whole(row.progress),
            start_time: row.started_at.unwrap_or_else(|| row.created_at.clone()),
            end_time: row.finished_at,
            metadata: metadata(row.name, String::new(), Some(row.created_at)),
        }
    }
}

/// Workflows have no versions of their own.
pub(super) fn metadata(name: String, description: String, created_at: Option<String>) -> WorkflowMetadata {
    WorkflowMetadata { name, description, version: "1.0.0".to_owned(), created_at }
}

pub(super) async fn list(State(app): State<App>, query: Query<ListWorkflows>) -> Result<Json<WorkflowList>, ApiError> {
    let query = neighbours::query(query)?;
    let limit = query.limit.unwrap_or(LIST_DEFAULT).clamp(1, PAGE_MAX);
    let offset = query.offset.unwrap_or_default();
    let statuses = neighbours::statuses(query.state.as_deref(), &STATUSES)?;
    let (found, total) = neighbours::page(&app, Listing { statuses, limit, offset, ..Listing::default() }).await?;
    let has_more = u64::try_from(offset.saturating_add(limit)).is_ok_and(|end| end < total);
    let workflows = found.into_iter().map(ListedWorkflow::from).collect();
    Ok(Json(WorkflowList { workflows, total, limit, offset, has_more }))
}
