//! Parts of runs that have runs of their own: tests of a suite, iterations of a study; and studies that are driven from
//! outside.

use std::collections::BTreeMap;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use rigwire_shared::ids::{MetricName, RunId};
use rigwire_shared::value::{Fields, Value};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::json_object;
use super::runs::snapshot;
use crate::app::App;
use crate::describe::Object;
use crate::error::ApiError;
use crate::event::{Iteration, RunSnapshot, RunStatus, TestAttempt};
use crate::model::Told;
use crate::run::{Asked, IterationView, Parts, StudyError, StudyView, TestView};
use crate::study::StrategyName;

#[derive(Debug, Serialize, JsonSchema)]
pub struct Tests {
    run: RunId,
    number: u64,
    status: RunStatus,
    tests: Vec<TestRow>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct TestRow {
    /// The test's execution in this suite, for ever.
    number: u64,
    id: String,
    name: String,
    tags: Vec<String>,
    /// `pending`, `running`, `passed`, `failed` or `skipped`.
    status: &'static str,
    runs: u32,
    flaky: bool,
    score: Option<f64>,
    attempts: Vec<TestAttempt>,
    /// The run of the attempt that is under way.
    running: Option<RunId>,
}

pub async fn tests(State(app): State<App>, Path(id): Path<String>) -> Result<Json<Tests>, ApiError> {
    let run = snapshot(&app, &id).await?;
    let Some(Parts::Suite(tests)) = &run.parts else {
        return Err(has_no(&run, "NOT_A_SUITE", "tests: it is no suite that the hub carries out"));
    };
    let row = |test: &TestView| TestRow {
        number: test.number,
        id: test.id.clone(),
        name: test.name.clone(),
        tags: test.tags.clone(),
        status: test.status,
        runs: test.runs,
        flaky: test.flaky,
        score: test.score,
        attempts: test.attempts.clone(),
        running: test.running,
    };
    let tests = tests.iter().map(row).collect();
    Ok(Json(Tests { run: run.header.id, number: run.header.number, status: run.status, tests }))
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Iterations {
    run: RunId,
    number: u64,
    status: RunStatus,
    budget: usize,
    strategy: StrategyName,
    driven_from_outside: bool,
    /// Iterations that no other beats.
    front: Vec<u64>,
    best: Option<u64>,
    iterations: Vec<IterationRow>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct IterationRow {
    iteration: u64,
    run: Option<RunId>,
    /// `running` until there is a result; then `completed` or `failed`.
    status: &'static str,
    #[serde(serialize_with = "rigwire_shared::value::fields::serialize")]
    #[schemars(with = "Object")]
    parameters: Fields,
    #[schemars(with = "Option<Object>")]
    metrics: Option<Value>,
    feasible: Option<bool>,
    /// No other iteration beats it.
    front: bool,
    error: Option<String>,
}

fn iteration_row(view: &IterationView) -> IterationRow {
    let result = view.result.as_ref();
    let status = match result {
        None => "running",
        Some(Iteration { error: None, .. }) => "completed",
        Some(Iteration { error: Some(_), .. }) => "failed",
    };
    IterationRow {
        iteration: view.iteration,
        run: result.and_then(|result| result.run),
        status,
        parameters: view.parameters.clone(),
        metrics: result.map(|result| Value::Map(result.metrics.clone())),
        feasible: result.map(|result| result.feasible),
        front: view.front,
        error: result.and_then(|result| result.error.clone()),
    }
}

pub async fn iterations(State(app): State<App>, Path(id): Path<String>) -> Result<Json<Iterations>, ApiError> {
    let run = snapshot(&app, &id).await?;
    let study = study(&run)?;
    Ok(Json(Iterations {
        run: run.header.id,
        number: run.header.number,
        status: run.status,
        budget: study.budget,
        strategy: study.study.strategy.name,
        driven_from_outside: study.driven_from_outside,
        front: study.front.clone(),
        best: study.best,
        iterations: study.iterations.iter().map(iteration_row).collect(),
    }))
}

fn study(run: &RunSnapshot) -> Result<&StudyView, ApiError> {
    match &run.parts {
        Some(Parts::Study(study)) => Ok(study),
        Some(Parts::Suite(_) | Parts::Sweep(_)) | None => {
            Err(has_no(run, "NOT_A_STUDY", "iterations: it is no study of the hub's"))
        }
    }
}

fn has_no(run: &RunSnapshot, code: &'static str, what: &str) -> ApiError {
    ApiError::conflict(code, format!("{} run {} has no {what}", run.header.kind.as_str(), run.header.number))
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Trial {
    iteration: u64,
    #[serde(serialize_with = "rigwire_shared::value::fields::serialize")]
    #[schemars(with = "Object")]
    parameters: Fields,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Later {
    #[schemars(with = "()")]
    iteration: Option<u64>,
    detail: &'static str,
}

/// The next trial: 200 with it, 202 when others must be told first, 410 when there is none left.
pub async fn ask(State(app): State<App>, Path(id): Path<String>) -> Result<Response, ApiError> {
    let run = snapshot(&app, &id).await?;
    let id = run.header.id;
    let asked = app.hub.ask(move |core, now| core.model.ask_study(id, now)).await?;
    let asked = asked.map_err(|error| refused(error, &run))?;
    // Answered once it is in the record: a question that was answered is never asked again.
    app.hub.store().barrier().await?;
    Ok(match asked {
        Asked::Try { iteration, parameters } => Json(Trial { iteration, parameters }).into_response(),
        Asked::Wait => {
            let detail = "outstanding iterations must be told first";
            (StatusCode::ACCEPTED, Json(Later { iteration: None, detail })).into_response()
        }
        Asked::Done(reason) => return Err(ApiError::new(StatusCode::GONE, "STUDY_DONE", reason)),
    })
}

const RESULT: &str = r#"{"iteration", "metrics": {name: number}} or {"iteration", "failed": why}"#;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tell {
    iteration: u64,
    /// By name; or `failed` says why there are none.
    #[serde(default)]
    metrics: Option<BTreeMap<String, f64>>,
    /// Why there are none.
    #[serde(default)]
    failed: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum ToldOf {
    News {
        iteration: u64,
        #[schemars(extend("const" = true))]
        accepted: bool,
        feasible: bool,
        pareto_updated: bool,
        error: Option<String>,
    },
    Known {
        iteration: u64,
        #[schemars(extend("const" = false))]
        accepted: bool,
        detail: &'static str,
    },
}

pub async fn tell(State(app): State<App>, Path(id): Path<String>, body: Bytes) -> Result<Response, ApiError> {
    let body: Tell = serde_json::from_value(json_object(&body, RESULT)?)
        .map_err(|error| ApiError::unprocessable("INVALID_REQUEST", format!("{error}; expected {RESULT}")))?;
    let told = match (body.metrics, body.failed) {
        (Some(metrics), None) => Told::Metrics(metrics),
        (None, Some(why)) => Told::Failed(why),
        (Some(_), Some(_)) | (None, None) => {
            return Err(ApiError::unprocessable("INVALID_REQUEST", "expected either metrics or failed"));
        }
    };
    if let Told::Metrics(metrics) = &told {
        for name in metrics.keys() {
            MetricName::new(name).map_err(|error| {
                ApiError::unprocessable("INVALID_REQUEST", format!("metrics: {name:?} is no name of a metric: {error}"))
            })?;
        }
    }
    let run = snapshot(&app, &id).await?;
    let (id, iteration) = (run.header.id, body.iteration);
    let news = app.hub.ask(move |core, now| core.model.tell_study(id, iteration, &told, now)).await?;
    let news = news.map_err(|error| refused(error, &run))?;
    app.hub.store().barrier().await?;
    let body = match news {
        Some(news) => ToldOf::News {
            iteration,
            accepted: true,
            feasible: news.feasible,
            pareto_updated: news.pareto_updated,
            error: news.error,
        },
        None => ToldOf::Known { iteration, accepted: false, detail: "told before" },
    };
    Ok((StatusCode::ACCEPTED, Json(body)).into_response())
}

fn refused(error: StudyError, run: &RunSnapshot) -> ApiError {
    let code = match &error {
        // It is in the record: it ended so long ago that it is nowhere else.
        StudyError::Unknown => {
            return match study(run) {
                Ok(_) => refused(StudyError::Ended(run.status), run),
                Err(error) => error,
            };
        }
        StudyError::NotAsked { .. } => return ApiError::unprocessable("UNKNOWN_ITERATION", error.to_string()),
        StudyError::NotOutside(_) => "NOT_DRIVEN_FROM_OUTSIDE",
        StudyError::Ended(_) => "RUN_ENDED",
        StudyError::NotRunning(_) => "RUN_NOT_RUNNING",
        StudyError::ToldOtherwise(_) => "TOLD_OTHERWISE",
    };
    ApiError::conflict(code, error.to_string())
}
