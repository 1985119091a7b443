//! Runs as runs of a solver. Part of the shell.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use rigwire_shared::event::Level;
use rigwire_shared::ids::RunId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::api::neighbours::{self, PAGE_MAX, Query};
use crate::api::{artifacts, runs};
use crate::app::App;
use crate::artifact::url;
use crate::dialect::rfc3339;
use crate::error::ApiError;
use crate::event::{Purpose, RunKind, RunSnapshot, RunStatus};
use crate::stable_id::{self, Counted};
use crate::store::{ArtifactRow, Listed, Listing};

/// This protocol's clients ask for no pages: what they missed is read whole.
const LIST_DEFAULT: usize = PAGE_MAX;

/// Parameter that a simulation has if it wants to know the geometry.
const GEOMETRY: &str = "geometry_version_id";

/// Events at the end of a run whose log is shown with it.
const LOG_EVENTS: u64 = 5000;

/// Files that are shown with a run.
const FILES: usize = 1000;

#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum SolverStatus {
    Queued,
    Running,
    Completed,
    Failed,
    Cancelled,
}

impl From<RunStatus> for SolverStatus {
    fn from(status: RunStatus) -> Self {
        match status {
            RunStatus::Pending => Self::Queued,
            // The protocol has no word for one that is held.
            RunStatus::Running | RunStatus::Paused => Self::Running,
            RunStatus::Completed => Self::Completed,
            RunStatus::Failed => Self::Failed,
            RunStatus::Cancelled => Self::Cancelled,
        }
    }
}

/// A run of any kind, whoever started it.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct SolverRun {
    id: Uuid,
    /// Stands for the procedure's name.
    simulation_case_id: Uuid,
    /// The parameter of this name, if the simulation has it.
    geometry_version_id: Option<String>,
    /// The study that it is an iteration of.
    optimization_study_id: Option<Uuid>,
    iteration_number: Option<u64>,
    status: SolverStatus,
    started_at: Option<String>,
    completed_at: Option<String>,
    /// Once it has ended.
    compute_time_s: Option<f64>,
    error_message: Option<String>,
    created_at: String,
}

impl From<&Listed> for SolverRun {
    fn from(run: &Listed) -> Self {
        let row = &run.row;
        let result = row.result.as_ref();
        Self {
            id: row.id.0,
            simulation_case_id: stable_id::of_procedure(&run.procedure),
            geometry_version_id: row.params.get(GEOMETRY).and_then(Value::as_str).map(str::to_owned),
            optimization_study_id: None,
            iteration_number: None,
            status: row.status.into(),
            started_at: row.started_at.clone(),
            completed_at: row.finished_at.clone(),
            compute_time_s: result.map(|finished| finished.duration_s),
            error_message: result.and_then(|finished| finished.error.as_ref()).map(|error| error.message.clone()),
            created_at: row.created_at.clone(),
        }
    }
}

/// With the study that it belongs to, if it does.
async fn view(app: &App, run: &RunSnapshot) -> Result<SolverRun, ApiError> {
    let mut view = SolverRun::from(&Listed::from(run));
    if let Some(parent) = run.header.parent {
        let purpose = app.hub.store().purpose(parent, run.header.id).await?;
        if let Some(Purpose::Iteration { iteration, .. }) = purpose {
            view.optimization_study_id = Some(parent.0);
            view.iteration_number = Some(iteration);
        }
    }
    Ok(view)
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct SolverRunDetail {
    #[serde(flatten)]
    run: SolverRun,
    /// The end of it.
    solver_log: String,
    /// Parameters.
    input_snapshot: Map<String, Value>,
    metrics: Vec<SolverMetric>,
    artifacts: Vec<SolverArtifact>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct SolverMetric {
    id: Uuid,
    run_id: Uuid,
    metric_name: String,
    value: f64,
    unit: String,
    /// Device and a summary of all good values.
    metadata_json: Map<String, Value>,
}

#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum SolverArtifactType {
    ResultVtu,
    Screenshot,
    ReportPdf,
    ReportExcel,
    Other,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct SolverArtifact {
    id: Uuid,
    run_id: Uuid,
    artifact_type: SolverArtifactType,
    /// Address of its content.
    file_path: String,
    file_size_bytes: u64,
    mime_type: String,
    description: String,
    created_at: String,
}

fn artifact(run: RunId, row: &ArtifactRow) -> SolverArtifact {
    let media_type = row.media_type.as_str();
    let artifact_type = if row.name.ends_with(".vtu") {
        SolverArtifactType::ResultVtu
    } else if media_type.starts_with("image/") {
        SolverArtifactType::Screenshot
    } else if media_type.starts_with("application/pdf") {
        SolverArtifactType::ReportPdf
    } else if row.name.ends_with(".xlsx") {
        SolverArtifactType::ReportExcel
    } else {
        SolverArtifactType::Other
    };
    SolverArtifact {
        id: stable_id::of_number(Counted::Artifact, row.id),
        run_id: run.0,
        artifact_type,
        file_path: url(&row.path),
        file_size_bytes: row.size,
        mime_type: row.media_type.clone(),
        description: row.name.clone(),
        created_at: rfc3339(row.at),
    }
}

/// A run to start.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct CreateSolverRun {
    /// Becomes the parameter of this name if the simulation has one; the hub keeps no geometries.
    geometry_version_id: Option<String>,
    /// Values of the procedure's parameters; those left out have their defaults.
    parameters_override: Option<Map<String, Value>>,
}

pub(super) async fn create(
    State(app): State<App>,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<(StatusCode, Json<SolverRun>), ApiError> {
    let request: CreateSolverRun = neighbours::body(&body, "{\"geometry_version_id\"?, \"parameters_override\"?}")?;
    let name = neighbours::procedure_name(&app, &id).await?;
    let mut given = request.parameters_override.unwrap_or_default();
    if let Some(geometry) = request.geometry_version_id {
        let wanted = name.clone();
        let procedure = neighbours::procedures(&app, move |procedures| procedures.get(&wanted)).await?;
        if procedure.params.contains_key(GEOMETRY) {
            given.entry(GEOMETRY).or_insert_with(|| json!(geometry));
        }
    }
    let params = neighbours::fields("parameters_override", Some(given))?;
    let start = neighbours::start_saved(&app, &name, params, None).await?;
    let run = runs::begin(&app, start).await?;
    Ok((StatusCode::CREATED, Json(view(&app, &run).await?)))
}

/// A page.
#[derive(Debug, Default, Deserialize, JsonSchema)]
pub(super) struct ListSolverRuns {
    skip: Option<usize>,
    limit: Option<usize>,
}

impl ListSolverRuns {
    pub(super) fn place(&self) -> (usize, usize) {
        (self.skip.unwrap_or_default(), self.limit.unwrap_or(LIST_DEFAULT).clamp(1, PAGE_MAX))
    }
}

pub(super) async fn list(
    State(app): State<App>,
    Path(id): Path<String>,
    query: Query<ListSolverRuns>,
) -> Result<Json<Vec<SolverRun>>, ApiError> {
    let (offset, limit) = neighbours::query(query)?.place();
    let name = neighbours::procedure_name(&app, &id).await?;
    let listing = Listing { procedure: Some(name), offset, limit, ..Listing::default() };
    let (found, _) = neighbours::page(&app, listing).await?;
    Ok(Json(found.iter().map(SolverRun::from).collect()))
}

pub(super) async fn get(State(app): State<App>, Path(id): Path<String>) -> Result<Json<SolverRunDetail>, ApiError> {
    let run = runs::snapshot(&app, &id).await?;
    let store = app.hub.store();
    let levels = [Level::Debug, Level::Info, Level::Warning, Level::Error].map(Level::as_str).to_vec();
    let after = run.last_event.saturating_sub(LOG_EVENTS);
    let limit = usize::try_from(LOG_EVENTS).unwrap_or(usize::MAX);
    let lines = store.run_logs(run.header.id, after, levels, limit).await?;
    let lines: Vec<String> = lines
        .iter()
        .map(|(_, at, log)| format!("{} {} {}", rfc3339(*at), log.level.as_str().to_uppercase(), log.message))
        .collect();
    let files = store.run_artifacts(run.header.id, 0, FILES).await?;
    Ok(Json(SolverRunDetail {
        solver_log: lines.join("\n"),
        input_snapshot: neighbours::object(&run.header.params),
        metrics: metrics_of(&app, &run).await?,
        artifacts: files.iter().filter(|row| row.is_complete()).map(|row| artifact(run.header.id, row)).collect(),
        run: view(&app, &run).await?,
    }))
}

pub(super) async fn cancel(State(app): State<App>, Path(id): Path<String>) -> Result<Json<SolverRun>, ApiError> {
    let run = neighbours::cancel(&app, &id).await?;
    Ok(Json(view(&app, &run).await?))
}

/// What was measured, then what is only in the summary with which a program closed its run.
async fn metrics_of(app: &App, run: &RunSnapshot) -> Result<Vec<SolverMetric>, ApiError> {
    let id = run.header.id.0;
    let (summaries, _) = app.hub.store().run_summaries(run.header.id, None).await?;
    let mut metrics: Vec<SolverMetric> = summaries
        .iter()
        .filter_map(|summary| {
            let metadata = json!({
                "device": summary.device, "count": summary.good, "min": summary.min, "max": summary.max,
                "mean": summary.mean,
            });
            Some(SolverMetric {
                id: stable_id::of_metric(id, &summary.name, summary.device.as_deref()),
                run_id: id,
                metric_name: summary.name.clone(),
                value: summary.last?,
                unit: summary.unit.clone(),
                metadata_json: if let Value::Object(metadata) = metadata { metadata } else { Map::new() },
            })
        })
        .collect();
    for metric in run.finished.iter().flat_map(|finished| &finished.metrics) {
        if metrics.iter().all(|known| known.metric_name != metric.name.as_str()) {
            metrics.push(SolverMetric {
                id: stable_id::of_metric(id, metric.name.as_str(), None),
                run_id: id,
                metric_name: metric.name.as_str().to_owned(),
                value: metric.value,
                unit: metric.unit.as_str().to_owned(),
                metadata_json: Map::new(),
            });
        }
    }
    Ok(metrics)
}

pub(super) async fn metrics(
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Json<Vec<SolverMetric>>, ApiError> {
    let run = runs::snapshot(&app, &id).await?;
    Ok(Json(metrics_of(&app, &run).await?))
}

pub(super) async fn artifacts(
    State(app): State<App>,
    Path(id): Path<String>,
    query: Query<ListSolverRuns>,
) -> Result<Json<Vec<SolverArtifact>>, ApiError> {
    let (offset, limit) = neighbours::query(query)?.place();
    let run = runs::snapshot(&app, &id).await?.header.id;
    let files = app.hub.store().run_artifacts(run, 0, offset.saturating_add(limit)).await?;
    let complete = files.iter().skip(offset).filter(|row| row.is_complete());
    Ok(Json(complete.map(|row| artifact(run, row)).collect()))
}

pub(super) async fn download(
    State(app): State<App>,
    Path((id, file)): Path<(String, String)>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let run = runs::snapshot(&app, &id).await?.header.id;
    let number = stable_id::number(Counted::Artifact, &file);
    let found = match number {
        Some(number) => app.hub.store().artifact_numbered(number).await?,
        None => None,
    };
    let Some(row) = found.filter(|row| row.run == run.to_string()) else {
        let detail = format!("run {run} has no artifact {file:.80}");
        return Err(ApiError::not_found("UNKNOWN_ARTIFACT", detail));
    };
    artifacts::get(State(app), Path(row.path), method, headers).await
}

/// Whether a run is a study.
pub(super) fn is_study(run: &RunSnapshot) -> bool {
    run.header.kind == RunKind::Optimization
}
