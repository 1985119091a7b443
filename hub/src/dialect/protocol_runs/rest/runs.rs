//! Runs of procedures as protocol runs. Part of the shell.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{Done, QUIETLY};
use crate::api::neighbours::{self, Query};
use crate::api::runs;
use crate::app::App;
use crate::error::ApiError;
use crate::event::RunStatus;
use crate::fleet::fits;
use crate::model::StartRun;
use crate::procedure::{Procedure, Role, Source};
use crate::stable_id;
use crate::store::{Listed, Listing};

const LIST_DEFAULT: usize = 100;

/// Tag of devices that are no hardware.
const SIMULATED: &str = "simulated";

/// A run to start.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct StartProtocolRun {
    /// Name of a procedure, or the `accession_id` of it in `/protocols/definitions`.
    protocol_definition_accession_id: String,
    name: Option<String>,
    /// Values of the procedure's parameters; those left out have their defaults.
    parameters: Option<Map<String, Value>>,
    /// `false` to act on real devices. Else only on devices tagged `simulated`.
    #[serde(default = "yes")]
    simulation_mode: bool,
}

const fn yes() -> bool {
    true
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct StartedProtocolRun {
    run_id: Uuid,
}

pub(super) async fn start(
    State(app): State<App>,
    body: Bytes,
) -> Result<(StatusCode, Json<StartedProtocolRun>), ApiError> {
    let request: StartProtocolRun = neighbours::body(
        &body,
        "{\"protocol_definition_accession_id\", \"name\"?, \"parameters\"?, \"simulation_mode\"?}",
    )?;
    let params = neighbours::fields("parameters", request.parameters)?;
    let mut start =
        neighbours::start_saved(&app, &request.protocol_definition_accession_id, params, request.name).await?;
    if request.simulation_mode {
        start = simulated(&app, start).await?;
    }
    let run = runs::begin(&app, start).await?;
    Ok((StatusCode::CREATED, Json(StartedProtocolRun { run_id: run.header.id.0 })))
}

/// The same on devices that are no hardware: a client that asks for a simulation must not move a real one.
async fn simulated(app: &App, mut start: StartRun) -> Result<StartRun, ApiError> {
    let mut roles = Vec::new();
    each_used_role(Arc::make_mut(&mut start.procedure), &mut |name, role| {
        role.tags.push(SIMULATED.to_owned());
        roles.push((name.to_owned(), role.clone()));
    });
    let lacking = app.hub.ask(move |core, _| {
        roles.into_iter().find(|(_, role)| !core.model.devices().any(|(card, _)| fits(card, role)))
    });
    if let Some((name, role)) = lacking.await? {
        let detail = format!(
            "simulation_mode: there is no device for role {name} with {role}; expected one that is tagged {SIMULATED}, or simulation_mode false to act on real devices"
        );
        return Err(ApiError::unprocessable("NOT_SIMULATED", detail));
    }
    Ok(start)
}

fn each_used_role(procedure: &mut Procedure, visit: &mut impl FnMut(&str, &mut Role)) {
    let used: Vec<String> = procedure.used_roles().into_iter().map(str::to_owned).collect();
    for (name, role) in procedure.roles.iter_mut().filter(|(name, _)| used.contains(name)) {
        visit(name, role);
    }
    let of_tests = procedure.tests.iter_mut().map(|test| &mut test.procedure);
    for source in of_tests.chain(&mut procedure.procedure) {
        if let Source::Inline(inner) = source {
            each_used_role(inner, visit);
        }
    }
}

#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
enum ProtocolRunStatus {
    Pending,
    Running,
    Paused,
    Completed,
    Failed,
    Cancelled,
}

impl From<RunStatus> for ProtocolRunStatus {
    fn from(status: RunStatus) -> Self {
        match status {
            RunStatus::Pending => Self::Pending,
            RunStatus::Running => Self::Running,
            RunStatus::Paused => Self::Paused,
            RunStatus::Completed => Self::Completed,
            RunStatus::Failed => Self::Failed,
            RunStatus::Cancelled => Self::Cancelled,
        }
    }
}

/// A run of any kind, whoever started it.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ProtocolRun {
    accession_id: Uuid,
    name: String,
    status: ProtocolRunStatus,
    created_at: String,
    updated_at: String,
    start_time: Option<String>,
    end_time: Option<String>,
    /// Once it has ended.
    duration_ms: Option<f64>,
    protocol_name: String,
    top_level_protocol_definition_accession_id: Uuid,
    /// Always null: files of a run are at `/data-outputs/outputs`, and no path leads to them.
    data_directory_path: Option<String>,
    input_parameters_json: Map<String, Value>,
    /// Ids of the devices.
    resolved_assets_json: Option<Map<String, Value>>,
    /// The last good value of each metric, once the run has ended.
    output_data_json: Option<Map<String, Value>>,
    error_message: Option<String>,
}

impl From<Listed> for ProtocolRun {
    fn from(run: Listed) -> Self {
        let updated_at = run.changed_at().to_owned();
        let row = run.row;
        let params = if let Value::Object(params) = row.params { params } else { Map::new() };
        let result = row.result.as_ref();
        let metrics = |finished: &crate::event::Finished| {
            finished.metrics.iter().map(|metric| (metric.name.as_str().to_owned(), json!(metric.value))).collect()
        };
        let assets = || Map::from_iter([("devices".to_owned(), json!(run.devices))]);
        Self {
            accession_id: row.id.0,
            name: row.name,
            status: row.status.into(),
            updated_at,
            created_at: row.created_at,
            start_time: row.started_at,
            end_time: row.finished_at,
            duration_ms: result.map(|finished| (finished.duration_s * 1000.0).round()),
            top_level_protocol_definition_accession_id: stable_id::of_procedure(&run.procedure),
            data_directory_path: None,
            input_parameters_json: params,
            resolved_assets_json: (!run.devices.is_empty()).then(assets),
            output_data_json: result.map(metrics),
            error_message: result.and_then(|finished| finished.error.as_ref()).map(|error| error.message.clone()),
            protocol_name: run.procedure,
        }
    }
}

/// Which runs.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct ListProtocolRuns {
    status: Option<String>,
    /// Runs of this protocol: its id or name.
    protocol_definition_accession_id: Option<String>,
    limit: Option<usize>,
    offset: Option<usize>,
    /// The same as `offset`.
    skip: Option<usize>,
}

pub(super) async fn list(
    State(app): State<App>,
    query: Query<ListProtocolRuns>,
) -> Result<Json<Vec<ProtocolRun>>, ApiError> {
    let query = neighbours::query(query)?;
    let words: Vec<(&str, &[RunStatus])> =
        RunStatus::ALL.iter().map(|status| (status.as_str(), std::slice::from_ref(status))).collect();
    let words: Vec<(&str, &[RunStatus])> =
        words.into_iter().chain([("QUEUED", [RunStatus::Pending].as_slice())]).collect();
    let procedure = match query.protocol_definition_accession_id {
        Some(id) => Some(neighbours::procedure_name(&app, &id).await?),
        None => None,
    };
    let listing = Listing {
        statuses: neighbours::statuses(query.status.as_deref(), &words)?,
        procedure,
        limit: query.limit.unwrap_or(LIST_DEFAULT),
        offset: query.offset.or(query.skip).unwrap_or_default(),
        ..Listing::default()
    };
    let (runs, _) = neighbours::page(&app, listing).await?;
    Ok(Json(runs.into_iter().map(ProtocolRun::from).collect()))
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct QueuedProtocolRun {
    accession_id: Uuid,
    name: String,
    status: ProtocolRunStatus,
    created_at: String,
    protocol_name: String,
}

pub(super) async fn queue(State(app): State<App>) -> Result<Json<Vec<QueuedProtocolRun>>, ApiError> {
    let active = app.hub.ask(|core, _| core.model.active_snapshots()).await?;
    let queued = active.iter().filter(|run| run.header.parent.is_none()).map(|run| QueuedProtocolRun {
        accession_id: run.header.id.0,
        name: run.header.name.clone(),
        status: run.status.into(),
        created_at: crate::dialect::rfc3339(run.header.created_at),
        protocol_name: run.header.agent_name.clone(),
    });
    Ok(Json(queued.collect()))
}

pub(super) async fn get(State(app): State<App>, Path(id): Path<String>) -> Result<Json<ProtocolRun>, ApiError> {
    let run = runs::snapshot(&app, &id).await?;
    Ok(Json(Listed::from(&run).into()))
}

pub(super) async fn cancel(State(app): State<App>, Path(id): Path<String>) -> Result<Json<Done>, ApiError> {
    let run = neighbours::cancel(&app, &id).await?;
    done(format!("run {} is being cancelled", run.header.id))
}

pub(super) async fn pause(State(app): State<App>, Path(id): Path<String>) -> Result<Json<Done>, ApiError> {
    let run = neighbours::hold(&app, &id, true).await?;
    done(format!("run {} pauses before its next step", run.header.id))
}

pub(super) async fn resume(State(app): State<App>, Path(id): Path<String>) -> Result<Json<Done>, ApiError> {
    let run = neighbours::hold(&app, &id, false).await?;
    done(format!("run {} goes on", run.header.id))
}

pub(super) async fn cancel_quietly(State(app): State<App>, Path(id): Path<String>) -> Result<StatusCode, ApiError> {
    neighbours::cancel(&app, &id).await.map(|_| QUIETLY)
}

pub(super) async fn pause_quietly(State(app): State<App>, Path(id): Path<String>) -> Result<StatusCode, ApiError> {
    neighbours::hold(&app, &id, true).await.map(|_| QUIETLY)
}

pub(super) async fn resume_quietly(State(app): State<App>, Path(id): Path<String>) -> Result<StatusCode, ApiError> {
    neighbours::hold(&app, &id, false).await.map(|_| QUIETLY)
}

fn done(message: String) -> Result<Json<Done>, ApiError> {
    Ok(Json(Done { success: true, message }))
}
