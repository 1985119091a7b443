//! Runs: start, list, look at, cancel, and read their events.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rigwire_shared::ids::{DeviceId, RunId, StepId};
use rigwire_shared::value::{Fields, Value};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::answer::Time;
use super::commands::PlanRow;
use super::{external, json_object, reference, reservations};
use crate::app::{App, Scheme};
use crate::describe::Object;
use crate::dialect::{Dialect, RunReference};
use crate::error::ApiError;
use crate::event::{RunKind, RunSnapshot, RunStatus, StepSnapshot, StepState};
use crate::external::StartExternal;
use crate::model::{CancelError, PauseError, StartRun};
use crate::procedure::Procedure;
use crate::procedures::ProcedureError;
use crate::store::{EventRow, RunFilter, RunRow};

const LIST_DEFAULT: usize = 50;
const LIST_MAX: usize = 500;
const EVENTS_MAX: usize = 5000;

/// Characters of a run's own name: many messages repeat it.
const NAME_MAX: usize = 200;

/// Runs that may be under way or wait for devices.
const ACTIVE_MAX: usize = 1000;

/// A run of a procedure, or of a program outside.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub enum StartBody {
    Procedure(Start),
    External(crate::external::Announcement),
}

/// By name, or written out.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub enum Source {
    Name(String),
    Procedure(Box<Procedure>),
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "StartRun")]
pub struct Start {
    #[schemars(with = "Source")]
    procedure: serde_json::Value,
    #[serde(default)]
    #[schemars(with = "Option<Object>")]
    params: Option<Value>,
    /// At most 200 characters.
    #[serde(default)]
    name: Option<String>,
    /// Person on whose reserved devices it may be.
    #[serde(default)]
    holder: Option<String>,
    /// Of a suite: only tests with one of these.
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default, rename = "external")]
    #[schemars(extend("const" = false))]
    _external: bool,
}

/// A run of either sort, checked.
enum Request {
    Procedure(StartRun),
    External(StartExternal),
}

pub async fn start(State(app): State<App>, headers: HeaderMap, body: Bytes) -> Result<Response, ApiError> {
    let body = json_object(&body, r#"{"procedure", "params"?, "name"?} or {"external": true, "kind", "name"}"#)?;
    let request = if body.get("external").is_some_and(|external| *external != json!(false)) {
        Request::External(external::request(body)?)
    } else {
        Request::Procedure(procedure_request(&app, body).await?)
    };
    let run = make(&app, request).await?;
    Ok(created(&app, &headers, &run, None))
}

/// Starts a run of a procedure. Answered once it is in the record: from then on no crash can lose it.
pub(crate) async fn begin(app: &App, start: StartRun) -> Result<RunSnapshot, ApiError> {
    make(app, Request::Procedure(start)).await
}

/// A run of a procedure that is there by name.
pub(crate) async fn saved(app: &App, name: String, params: Fields) -> Result<StartRun, ApiError> {
    let procedure = find(app, serde_json::Value::String(name)).await?;
    let params =
        procedure.bind_params(&params).map_err(|message| ApiError::unprocessable("INVALID_PARAMETER", message))?;
    Ok(StartRun::new(Arc::new(procedure), params))
}

async fn make(app: &App, request: Request) -> Result<RunSnapshot, ApiError> {
    let run = app.hub.ask(move |core, now| {
        let active = core.model.active_runs();
        if active >= ACTIVE_MAX {
            let detail = format!("{active} runs are under way or wait for devices, the most there may be");
            return Err(ApiError::new(StatusCode::TOO_MANY_REQUESTS, "TOO_MANY_RUNS", detail));
        }
        let id = match request {
            Request::Procedure(start) => core.model.start_run(start, now),
            Request::External(start) => core.model.start_external(start, now),
        };
        core.model
            .run(RunReference::Id(id))
            .ok_or_else(|| anyhow::anyhow!("the run that was just made is not there").into())
    });
    let run = run.await??;
    app.hub.store().barrier().await?;
    Ok(run)
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Started {
    id: RunId,
    number: u64,
    kind: RunKind,
    status: RunStatus,
    /// Where to watch it, by protocol, and where its `report` is.
    urls: BTreeMap<&'static str, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    plan: Option<PlanRow>,
}

/// The answer to whoever started a run; with the plan, where one was made of what they typed.
pub(super) fn created(app: &App, headers: &HeaderMap, run: &RunSnapshot, plan: Option<PlanRow>) -> Response {
    let body = Started {
        id: run.header.id,
        number: run.header.number,
        kind: run.header.kind,
        status: run.status,
        urls: urls(app.scheme, &host(headers, app.address), run),
        plan,
    };
    (StatusCode::CREATED, Json(body)).into_response()
}

async fn procedure_request(app: &App, body: serde_json::Value) -> Result<StartRun, ApiError> {
    let request: Start = serde_json::from_value(body).map_err(|error| {
        let detail = format!(
            "the body is not a request to start a run: {error}; expected {{\"procedure\", \"params\"?, \"name\"?}}"
        );
        ApiError::unprocessable("INVALID_REQUEST", detail)
    })?;
    let procedure = find(app, request.procedure).await?;
    let given = match request.params {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Map(fields)) => fields,
        Some(_) => {
            return Err(ApiError::unprocessable("INVALID_PARAMETER", "params is not an object of names and values"));
        }
    };
    let params =
        procedure.bind_params(&given).map_err(|message| ApiError::unprocessable("INVALID_PARAMETER", message))?;
    let name = run_name(request.name)?;
    let tags = request.tags;
    if !tags.is_empty() && !procedure.tests.iter().any(|test| test.is_wanted(&tags)) {
        let mut known: Vec<&str> = procedure.tests.iter().flat_map(|test| &test.tags).map(String::as_str).collect();
        known.sort_unstable();
        known.dedup();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        let detail = format!("tags {} choose no test of {}; its tags: {known}", tags.join(", "), procedure.name);
        return Err(ApiError::unprocessable("INVALID_REQUEST", detail));
    }
    let holder = request.holder.map(|holder| reservations::holder(&holder)).transpose()?;
    Ok(StartRun { name, holder, tags, ..StartRun::new(Arc::new(procedure), params) })
}

/// What a client calls its run, if it does.
pub(crate) fn run_name(name: Option<String>) -> Result<Option<String>, ApiError> {
    let name = name.filter(|name| !name.trim().is_empty());
    if let Some(length) = name.as_deref().map(|name| name.chars().count()).filter(|length| *length > NAME_MAX) {
        let detail = format!("name has {length} characters, expected at most {NAME_MAX}");
        return Err(ApiError::unprocessable("INVALID_REQUEST", detail));
    }
    Ok(name)
}

/// A procedure by name, or the one in the request, with every procedure that it names.
pub(crate) async fn find(app: &App, wanted: serde_json::Value) -> Result<Procedure, ApiError> {
    let procedures = Arc::clone(&app.procedures);
    match wanted {
        serde_json::Value::String(name) => {
            let found = tokio::task::spawn_blocking(move || procedures.get_whole(&name)).await;
            Ok(found.map_err(anyhow::Error::from)??)
        }
        serde_json::Value::Object(_) => {
            let procedure = Procedure::from_json(&wanted, "procedure")
                .map_err(|invalid| ApiError::unprocessable("INVALID_PROCEDURE", invalid.to_string()))?;
            let whole = tokio::task::spawn_blocking(move || procedures.whole(procedure, "procedure")).await;
            Ok(whole.map_err(anyhow::Error::from)??)
        }
        serde_json::Value::Null
        | serde_json::Value::Bool(_)
        | serde_json::Value::Number(_)
        | serde_json::Value::Array(_) => {
            Err(ApiError::unprocessable("INVALID_REQUEST", "procedure is neither a name nor an object"))
        }
    }
}

/// The host under which the client reached this server, if it says one that can be part of a URL.
pub(crate) fn host(headers: &HeaderMap, address: SocketAddr) -> String {
    let said = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    match said.and_then(|host| Authority::try_from(host).ok()) {
        Some(host) if !host.as_str().contains('@') => host.to_string(),
        Some(_) | None => address.to_string(),
    }
}

/// Where to watch a run, one entry per dialect, and where its report is.
fn urls(scheme: Scheme, host: &str, run: &RunSnapshot) -> BTreeMap<&'static str, String> {
    let id = run.header.id;
    let (http, ws) = (scheme.of_requests(), scheme.of_sockets());
    let mut urls = BTreeMap::new();
    for dialect in Dialect::ALL {
        let path = (dialect.room().path)(&run.header);
        urls.insert(dialect.as_str(), format!("{ws}://{host}{path}"));
    }
    urls.insert("report", format!("{http}://{host}/api/v1/reports/{id}?format=html"));
    urls
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "RunsQuery")]
pub struct ListQuery {
    status: Option<RunStatus>,
    kind: Option<RunKind>,
    /// Only runs that were started for this one.
    #[schemars(with = "Option<RunReference>")]
    parent: Option<String>,
    /// At most 500; 50 if left out.
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<u64>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Runs {
    runs: Vec<RunRow>,
    /// Null at the end.
    next_cursor: Option<u64>,
}

pub async fn list(
    State(app): State<App>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<Runs>, ApiError> {
    let Query(query) = query.map_err(|error| ApiError::bad_request("INVALID_QUERY", error.body_text()))?;
    let parent = match query.parent.as_deref() {
        Some(parent) => Some(snapshot(&app, parent).await?.header.id),
        None => None,
    };
    let limit = query.limit.unwrap_or(LIST_DEFAULT).clamp(1, LIST_MAX);
    let filter = RunFilter { status: query.status, kind: query.kind, parent, before: query.cursor, limit };
    let status = query.status;
    let mut rows = app.hub.store().runs(filter).await?;
    let next_cursor = (rows.len() == limit).then(|| rows.last().map(|row| row.number)).flatten();
    // A row in the record is as of its last change of status; what moves is at hand in the model.
    let ids: Vec<_> = rows.iter().filter(|row| !row.status.is_final()).map(|row| row.id).collect();
    let moving: Vec<RunRow> = app
        .hub
        .ask(move |core, _| {
            ids.into_iter()
                .filter_map(|id| core.model.run(RunReference::Id(id)))
                .map(|run| RunRow::from(&run))
                .collect()
        })
        .await?;
    for row in &mut rows {
        if let Some(fresh) = moving.iter().find(|fresh| fresh.id == row.id) {
            row.clone_from(fresh);
        }
    }
    // One that went on since its row was written may no longer be what was asked for.
    rows.retain(|row| status.is_none_or(|status| row.status == status));
    Ok(Json(Runs { runs: rows, next_cursor }))
}

/// A run at hand or in the record.
pub(crate) async fn snapshot(app: &App, id: &str) -> Result<RunSnapshot, ApiError> {
    let reference = reference(id)?;
    if let Some(run) = app.hub.ask(move |core, _| core.model.run(reference)).await? {
        return Ok(run);
    }
    let found = app.hub.store().run(reference).await?;
    found.ok_or_else(|| ApiError::not_found("UNKNOWN_RUN", format!("there is no run {reference}")))
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct RunNow {
    #[serde(flatten)]
    run: RunRow,
    /// Person on whose reserved devices it may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    holder: Option<String>,
    /// Of a run that is pending: what it waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting: Option<Option<Waiting>>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Waiting {
    /// In the queue, from 1.
    position: usize,
    reason: String,
    /// When that will be over, if it is known.
    expected: Option<Time>,
}

pub async fn get(State(app): State<App>, Path(id): Path<String>) -> Result<Json<RunNow>, ApiError> {
    let run = snapshot(&app, &id).await?;
    let mut waiting = None;
    if run.status == RunStatus::Pending {
        let id = run.header.id;
        let found = app.hub.ask(move |core, _| core.model.waiting(id)).await?;
        waiting = Some(found.map(|found| Waiting {
            position: found.position,
            reason: found.reason,
            expected: found.expected.map(Time),
        }));
    }
    Ok(Json(RunNow { run: RunRow::from(&run), holder: run.header.holder.clone(), waiting }))
}

/// What became of a request to cancel, pause or resume.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Changed {
    id: RunId,
    status: RunStatus,
}

pub async fn cancel(State(app): State<App>, Path(id): Path<String>) -> Result<Response, ApiError> {
    let run = snapshot(&app, &id).await?;
    let id = run.header.id;
    let outcome = app.hub.ask(move |core, now| core.model.cancel_run(id, "requested by a user", now)).await?;
    let ended = |status: RunStatus| {
        ApiError::conflict("RUN_ENDED", format!("run {id} is {} and cannot be cancelled", status.as_str()))
    };
    match outcome {
        Ok(()) => {
            app.hub.store().barrier().await?;
            let status = app.hub.ask(move |core, _| core.model.run(RunReference::Id(id)).map(|run| run.status)).await?;
            let body = Changed { id, status: status.unwrap_or(run.status) };
            Ok((StatusCode::ACCEPTED, Json(body)).into_response())
        }
        Err(CancelError::Already) => {
            Err(ApiError::conflict("ALREADY_CANCELLING", format!("run {id} is being cancelled already")))
        }
        Err(CancelError::Ended(status)) => Err(ended(status)),
        Err(CancelError::Unknown) => Err(ended(run.status)),
    }
}

pub async fn pause(State(app): State<App>, Path(id): Path<String>) -> Result<Response, ApiError> {
    hold(&app, &id, true).await
}

pub async fn resume(State(app): State<App>, Path(id): Path<String>) -> Result<Response, ApiError> {
    hold(&app, &id, false).await
}

async fn hold(app: &App, id: &str, pause: bool) -> Result<Response, ApiError> {
    let run = snapshot(app, id).await?;
    let id = run.header.id;
    let verb = if pause { "paused" } else { "resumed" };
    if run.header.external {
        let detail = format!("run {id} is reported from outside and cannot be {verb} from here");
        return Err(ApiError::conflict("EXTERNAL_RUN", detail));
    }
    let outcome = app.hub.ask(move |core, now| core.model.pause_run(id, pause, now)).await?;
    let refused = |status: RunStatus, cancelling: bool| {
        let state = if cancelling { "being cancelled" } else { status.as_str() };
        ApiError::conflict("WRONG_STATE", format!("run {id} is {state} and cannot be {verb}"))
    };
    match outcome {
        Ok(()) => {
            app.hub.store().barrier().await?;
            let status = if pause { RunStatus::Paused } else { RunStatus::Running };
            Ok((StatusCode::ACCEPTED, Json(Changed { id, status })).into_response())
        }
        Err(PauseError::Not { status, cancelling }) => Err(refused(status, cancelling)),
        Err(PauseError::Unknown) => Err(refused(run.status, false)),
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventsQuery {
    /// `next` of the page before.
    #[serde(default)]
    after: u64,
    /// At most 5,000; 1,000 if left out.
    limit: Option<usize>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Events {
    events: Vec<EventRow>,
    next: u64,
}

pub async fn events(
    State(app): State<App>,
    Path(id): Path<String>,
    query: Result<Query<EventsQuery>, QueryRejection>,
) -> Result<Json<Events>, ApiError> {
    let Query(query) = query.map_err(|error| ApiError::bad_request("INVALID_QUERY", error.body_text()))?;
    let run = snapshot(&app, &id).await?;
    let limit = query.limit.unwrap_or(1000).clamp(1, EVENTS_MAX);
    let events = app.hub.store().run_events(run.header.id, query.after, limit).await?;
    let next = events.last().map_or(query.after, |event| event.seq);
    Ok(Json(Events { events, next }))
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Steps {
    steps: Vec<StepRow>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct StepRow {
    id: StepId,
    uuid: Uuid,
    number: u64,
    module: String,
    device: Option<DeviceId>,
    status: StepState,
    /// Counts from 1; 0 before the first.
    attempt: u32,
    progress: f64,
    duration_s: Option<f64>,
    error: Option<String>,
    #[schemars(with = "Object")]
    outputs: Value,
    finally: bool,
}

pub(super) fn step_rows(run: &RunSnapshot) -> Vec<StepRow> {
    let row = |step: &StepSnapshot| {
        let card = run.header.step(&step.step)?;
        Some(StepRow {
            id: card.id.clone(),
            uuid: card.uuid,
            number: card.number,
            module: card.module.clone(),
            device: step.device.clone(),
            status: step.state,
            attempt: step.attempt,
            progress: step.percent,
            duration_s: step.duration_s,
            error: step.error.clone(),
            outputs: Value::Map(step.outputs.clone()),
            finally: card.finally,
        })
    };
    run.steps.iter().filter_map(row).collect()
}

pub async fn steps(State(app): State<App>, Path(id): Path<String>) -> Result<Json<Steps>, ApiError> {
    let run = snapshot(&app, &id).await?;
    Ok(Json(Steps { steps: step_rows(&run) }))
}

impl From<ProcedureError> for ApiError {
    fn from(error: ProcedureError) -> Self {
        let detail = error.to_string();
        match error {
            ProcedureError::Unknown { .. } => Self::not_found("UNKNOWN_PROCEDURE", detail),
            ProcedureError::Name { .. } => Self::bad_request("INVALID_PROCEDURE_NAME", detail),
            ProcedureError::Invalid(_) => Self::unprocessable("INVALID_PROCEDURE", detail),
            ProcedureError::Other(error) => error.into(),
        }
    }
}
