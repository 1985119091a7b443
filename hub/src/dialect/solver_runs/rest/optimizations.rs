//! Studies, whoever carries them out. Part of the shell.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::runs::{ListSolverRuns, is_study};
use super::study::{self, CreateOptimization, DesignConstraint, DesignObjective, DesignVariable, strategy_word};
use crate::api::neighbours::{self, Query};
use crate::api::runs;
use crate::app::App;
use crate::error::ApiError;
use crate::event::{Iteration, RunSnapshot, RunStatus};
use crate::model::StartRun;
use crate::run::{Parts, StudyView};
use crate::stable_id;
use crate::store::Listed;

/// Iterations that are read to find the front.
const ALL: usize = 100_000;

#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum StudyStatus {
    Pending,
    Running,
    Paused,
    Completed,
    Failed,
    Cancelled,
}

impl From<RunStatus> for StudyStatus {
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

/// A study of the hub's, or one that a program reports: what only its program knows is then empty.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct OptimizationStudy {
    id: Uuid,
    simulation_case_id: Uuid,
    name: String,
    strategy: Option<String>,
    design_variables: Vec<DesignVariable>,
    constraints: Vec<DesignConstraint>,
    objectives: Vec<DesignObjective>,
    status: StudyStatus,
    total_iterations: Option<usize>,
    completed_iterations: usize,
    best_run_id: Option<Uuid>,
    pareto_front_run_ids: Vec<Uuid>,
    created_at: String,
    updated_at: String,
}

async fn view(app: &App, run: &RunSnapshot) -> Result<OptimizationStudy, ApiError> {
    let listed = Listed::from(run);
    let updated_at = listed.changed_at().to_owned();
    let study = study_of(run);
    let (design_variables, constraints, objectives) = study.map(|view| study::shown(&view.study)).unwrap_or_default();
    let run_of = |iteration: u64| {
        let found = study?.iterations.iter().find(|view| view.iteration == iteration)?;
        found.result.as_ref()?.run.map(|run| run.0)
    };
    let completed_iterations = match study {
        Some(view) => view.iterations.iter().filter(|iteration| iteration.result.is_some()).count(),
        None => app.hub.store().iterations(run.header.id, 0, ALL).await?.len(),
    };
    Ok(OptimizationStudy {
        id: run.header.id.0,
        simulation_case_id: stable_id::of_procedure(&run.header.agent_name),
        name: run.header.name.clone(),
        strategy: study.map(|view| strategy_word(view.study.strategy.name).to_owned()),
        design_variables,
        constraints,
        objectives,
        status: run.status.into(),
        total_iterations: study.map(|view| view.budget),
        completed_iterations,
        best_run_id: study.and_then(|view| view.best).and_then(run_of),
        pareto_front_run_ids: study.iter().flat_map(|view| &view.front).filter_map(|front| run_of(*front)).collect(),
        created_at: listed.row.created_at,
        updated_at,
    })
}

fn study_of(run: &RunSnapshot) -> Option<&StudyView> {
    match &run.parts {
        Some(Parts::Study(study)) => Some(study),
        Some(Parts::Suite(_) | Parts::Sweep(_)) | None => None,
    }
}

async fn find(app: &App, id: &str) -> Result<RunSnapshot, ApiError> {
    let run = runs::snapshot(app, id).await?;
    if !is_study(&run) {
        let detail = format!("run {} is a {}, not a study", run.header.id, run.header.kind.as_str());
        return Err(ApiError::not_found("NOT_A_STUDY", detail));
    }
    Ok(run)
}

pub(super) async fn create(
    State(app): State<App>,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<(StatusCode, Json<OptimizationStudy>), ApiError> {
    let request: CreateOptimization = neighbours::body(
        &body,
        "{\"name\", \"strategy\"?, \"design_variables\", \"constraints\"?, \"objectives\", \"max_iterations\"?}",
    )?;
    let simulation = neighbours::procedure_name(&app, &id).await?;
    // A simulation that there is none of is not a mistake in the study.
    let wanted = simulation.clone();
    neighbours::procedures(&app, move |procedures| procedures.get(&wanted)).await?;
    let procedure =
        study::procedure(&request, &simulation).map_err(|problem| ApiError::unprocessable("INVALID_STUDY", problem))?;
    let procedure = runs::find(&app, procedure).await?;
    let params = procedure.bind_params(&[]).map_err(|problem| ApiError::unprocessable("INVALID_PARAMETER", problem))?;
    let name = runs::run_name(Some(request.name))?;
    let run = runs::begin(&app, StartRun { name, ..StartRun::new(Arc::new(procedure), params) }).await?;
    Ok((StatusCode::CREATED, Json(view(&app, &run).await?)))
}

pub(super) async fn get(State(app): State<App>, Path(id): Path<String>) -> Result<Json<OptimizationStudy>, ApiError> {
    let run = find(&app, &id).await?;
    Ok(Json(view(&app, &run).await?))
}

/// One that has ended.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct SolverIteration {
    iteration: u64,
    /// Null for one that somebody outside carried out.
    run_id: Option<Uuid>,
    parameters: Map<String, Value>,
    metrics: Map<String, Value>,
    feasible: bool,
}

impl From<Iteration> for SolverIteration {
    fn from(iteration: Iteration) -> Self {
        Self {
            iteration: iteration.iteration,
            run_id: iteration.run.map(|run| run.0),
            parameters: neighbours::object(&iteration.parameters),
            metrics: neighbours::object(&iteration.metrics),
            feasible: iteration.feasible,
        }
    }
}

pub(super) async fn iterations(
    State(app): State<App>,
    Path(id): Path<String>,
    query: Query<ListSolverRuns>,
) -> Result<Json<Vec<SolverIteration>>, ApiError> {
    let (offset, limit) = neighbours::query(query)?.place();
    let run = find(&app, &id).await?;
    let found = app.hub.store().iterations(run.header.id, offset, limit).await?;
    Ok(Json(found.into_iter().map(SolverIteration::from).collect()))
}

pub(super) async fn pareto(
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Json<Vec<SolverIteration>>, ApiError> {
    let run = find(&app, &id).await?;
    let front = study_of(&run).into_iter().flat_map(|view| view.iterations.iter().filter(|iteration| iteration.front));
    let results = front.filter_map(|iteration| iteration.result.clone());
    Ok(Json(results.map(SolverIteration::from).collect()))
}

pub(super) async fn pause(State(app): State<App>, Path(id): Path<String>) -> Result<Json<OptimizationStudy>, ApiError> {
    find(&app, &id).await?;
    let run = neighbours::hold(&app, &id, true).await?;
    Ok(Json(view(&app, &run).await?))
}

pub(super) async fn resume(
    State(app): State<App>,
    Path(id): Path<String>,
) -> Result<Json<OptimizationStudy>, ApiError> {
    find(&app, &id).await?;
    let run = neighbours::hold(&app, &id, false).await?;
    Ok(Json(view(&app, &run).await?))
}
