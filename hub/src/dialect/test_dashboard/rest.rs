//! The REST neighbours of the protocol: runs as executions of suites, and who is connected. Each is a view of the one record
//! and the one model. Shell.

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use rigwire_shared::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::access::Role::{Admin, Viewer};
use crate::api::runs::host;
use crate::app::App;
use crate::describe::Operation;
use crate::dialect::{BadReference, RunReference, rfc3339};
use crate::error::ApiError;
use crate::event::{RunSnapshot, StepCounts};
use crate::routes::Routes;
use crate::store::{Execution, ExecutionFilter, TestExecution};

use super::login;

const LIMIT_DEFAULT: usize = 50;
const LIMIT_MAX: usize = 100;

/// Suites whose tests are looked through when no suite is named.
const SUITES_LOOKED_THROUGH: usize = 50;

/// Executions that the summary shows and its averages are of.
const RECENT: usize = 10;

/// What clients of the published protocol count on, as its document has it.
const PING_INTERVAL_S: u32 = 30;
const PING_TIMEOUT_S: u32 = 10;

const TOPICS: [&str; 15] = [
    "test:progress",
    "test:completed",
    "suite:progress",
    "suite:completed",
    "events:*",
    "events:tool_call",
    "events:llm_request",
    "logs",
    "delta",
    "device:*",
    "sample:*",
    "run:*",
    "alarm:*",
    "ledger",
    "*",
];

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .get(
            "/api/ws/info",
            Viewer,
            info,
            Operation::new("How to connect for live updates").json::<Info>(200, "The socket"),
        )
        .get(
            "/api/ws/clients",
            Admin,
            clients,
            Operation::new("Clients that are connected for live updates").json::<Clients>(200, "Who is connected"),
        )
        .get(
            "/api/suites",
            Viewer,
            suites,
            Operation::new("Executions of suites, newest first")
                .detail("Every run is one: of a suite, or of a procedure whose steps are its tests.")
                .query::<SuitesQuery>()
                .json::<SuitePage>(200, "A page of them")
                .refuses(&[422]),
        )
        .get(
            "/api/suites/names/list",
            Viewer,
            names,
            Operation::new("Names of suites that were executed").json::<Vec<String>>(200, "At most 1000, sorted"),
        )
        .get(
            "/api/suites/{id}",
            Viewer,
            suite,
            Operation::new("An execution of a suite with its tests")
                .path::<RunReference>("id")
                .json::<SuiteDetail>(200, "The execution")
                .refuses(&[404, 422]),
        )
        .get(
            "/api/executions/{id}",
            Viewer,
            execution,
            Operation::new("All that a client needs after a gap in its sequence")
                .detail("The id is that of an execution of a suite, or of a test, whose suite is then answered.")
                .path::<RunReference>("id")
                .json::<SuiteDetail>(200, "The execution")
                .refuses(&[404, 422]),
        )
        .get(
            "/api/tests",
            Viewer,
            tests,
            Operation::new("Executions of tests")
                .detail("Of the suite that is named, or of the newest 50.")
                .query::<TestsQuery>()
                .json::<TestPage>(200, "A page of them")
                .refuses(&[404, 422]),
        )
        .get(
            "/api/dashboard/summary",
            Viewer,
            summary,
            Operation::new("Everything in a few numbers").json::<Summary>(200, "The numbers"),
        )
        .with(login::routes)
}

#[derive(Debug, Serialize, JsonSchema)]
struct Info {
    url: String,
    /// Seconds.
    ping_interval: u32,
    /// Seconds.
    ping_timeout: u32,
    status: &'static str,
    connected_clients: usize,
    active_subscriptions: usize,
    /// Number of the newest event in the record.
    current_sequence: u64,
    available_topics: Vec<&'static str>,
}

async fn info(State(app): State<App>, headers: HeaderMap) -> Result<Json<Info>, ApiError> {
    let present = app.continuity.present();
    let current_sequence = app.hub.ask(|core, _| core.model.last_sequence()).await?;
    let (scheme, host) = (app.scheme.of_sockets(), host(&headers, app.address));
    Ok(Json(Info {
        url: format!("{scheme}://{host}/api/ws/updates"),
        ping_interval: PING_INTERVAL_S,
        ping_timeout: PING_TIMEOUT_S,
        status: "active",
        connected_clients: present.len(),
        active_subscriptions: present.iter().map(|client| client.kept.subscriptions().len()).sum(),
        current_sequence,
        available_topics: TOPICS.to_vec(),
    }))
}

#[derive(Debug, Serialize, JsonSchema)]
struct Clients {
    clients: Vec<ClientRow>,
    total: usize,
}

#[derive(Debug, Serialize, JsonSchema)]
struct ClientRow {
    client_id: String,
    connected_at: String,
    subscriptions: Vec<String>,
    /// When something was sent either way.
    last_activity: String,
    user_agent: Option<String>,
}

async fn clients(State(app): State<App>) -> Json<Clients> {
    let present = app.continuity.present();
    let row = |client: crate::continuity::Present| ClientRow {
        connected_at: rfc3339(client.guest.connected_at),
        subscriptions: client.kept.subscriptions(),
        last_activity: rfc3339(client.kept.active_at().max(client.guest.connected_at)),
        client_id: client.client,
        user_agent: client.guest.user_agent,
    };
    let clients: Vec<ClientRow> = present.into_iter().map(row).collect();
    Json(Clients { total: clients.len(), clients })
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SuitesQuery {
    suite_name: Option<String>,
    agent_id: Option<u64>,
    #[schemars(range(min = 1, max = 100))]
    limit: Option<usize>,
    offset: Option<usize>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct SuitePage {
    total: u64,
    items: Vec<Suite>,
    limit: usize,
    offset: usize,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Suite {
    id: u64,
    suite_name: String,
    /// Number of the first run of this agent.
    agent_id: u64,
    agent_name: String,
    started_at: Option<String>,
    completed_at: Option<String>,
    duration_seconds: Option<f64>,
    runs_per_test: u32,
    total_tests: u32,
    passed_tests: u32,
    failed_tests: u32,
    /// From 0 to 1, of all tests.
    success_rate: f64,
    status: &'static str,
    error: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct SuiteDetail {
    #[serde(flatten)]
    suite: Suite,
    progress_percent: f64,
    tests: Vec<Test>,
}

async fn suites(
    State(app): State<App>,
    query: Result<Query<SuitesQuery>, QueryRejection>,
) -> Result<Json<SuitePage>, ApiError> {
    let Query(query) = query.map_err(invalid)?;
    let (limit, offset) = page(query.limit, query.offset)?;
    let filter = ExecutionFilter { name: query.suite_name, agent: query.agent_id, limit, offset };
    let (total, items) = listed(&app, filter).await?;
    Ok(Json(SuitePage { total, items: items.into_iter().map(|(suite, _)| suite).collect(), limit, offset }))
}

/// Executions as they stand now, each with its progress.
async fn listed(app: &App, filter: ExecutionFilter) -> Result<(u64, Vec<(Suite, f64)>), ApiError> {
    let (total, found) = app.hub.store().executions(filter).await?;
    Ok((total, as_they_stand(app, found).await?))
}

async fn as_they_stand(app: &App, found: Vec<Execution>) -> Result<Vec<(Suite, f64)>, ApiError> {
    // A row in the record is as of its last change of status; what moves is at hand in the model.
    let moving: Vec<u64> = found.iter().filter(|run| !run.row.status.is_final()).map(|run| run.row.number).collect();
    let moving: Vec<RunSnapshot> = app
        .hub
        .ask(move |core, _| moving.into_iter().filter_map(|run| core.model.run(RunReference::Number(run))).collect())
        .await?;
    let row = |run: Execution| {
        let fresh = moving.iter().find(|fresh| fresh.header.number == run.row.number);
        (row(&run, fresh), fresh.map_or(run.row.progress, |fresh| fresh.progress.percent))
    };
    Ok(found.into_iter().map(row).collect())
}

fn row(run: &Execution, fresh: Option<&RunSnapshot>) -> Suite {
    let status = fresh.map_or(run.row.status, |fresh| fresh.status);
    let finished = fresh.map_or(run.row.result.as_ref(), |fresh| fresh.finished.as_ref());
    let counts = match (finished, fresh) {
        (Some(finished), _) => finished.counts,
        (None, Some(fresh)) => fresh.progress.counts,
        (None, None) => StepCounts::default(),
    };
    let total = if counts.total == 0 { run.tests } else { counts.total };
    let success_rate = match total {
        0 => f64::from(u8::from(status == crate::event::RunStatus::Completed)),
        total => f64::from(counts.successful) / f64::from(total),
    };
    Suite {
        id: run.row.number,
        suite_name: run.row.name.clone(),
        agent_id: run.agent,
        agent_name: run.agent_name.clone(),
        started_at: fresh.map_or(run.row.started_at.clone(), |fresh| fresh.started_at.map(rfc3339)),
        completed_at: fresh.map_or(run.row.finished_at.clone(), |fresh| fresh.finished_at.map(rfc3339)),
        duration_seconds: finished.map(|finished| finished.duration_s),
        runs_per_test: run.runs_per_test,
        total_tests: total,
        passed_tests: counts.successful,
        failed_tests: counts.failed,
        success_rate,
        status: status.as_str(),
        error: finished.and_then(|finished| finished.error.as_ref()).map(|error| error.message.clone()),
    }
}

async fn names(State(app): State<App>) -> Result<Json<Vec<String>>, ApiError> {
    Ok(Json(app.hub.store().execution_names().await?))
}

async fn suite(State(app): State<App>, id: Id) -> Result<Json<SuiteDetail>, ApiError> {
    let reference = reference(id)?;
    let found = detail(&app, reference).await?;
    found.map(Json).ok_or_else(|| unknown("suite", reference))
}

async fn execution(State(app): State<App>, id: Id) -> Result<Json<SuiteDetail>, ApiError> {
    let reference = reference(id)?;
    if let Some(found) = detail(&app, reference).await? {
        return Ok(Json(found));
    }
    let RunReference::Number(number) = reference else { return Err(unknown("execution", reference)) };
    let Some(run) = app.hub.store().run_of_test(number).await? else { return Err(unknown("execution", reference)) };
    let found = detail(&app, RunReference::Number(run)).await?;
    found.map(Json).ok_or_else(|| unknown("execution", reference))
}

async fn detail(app: &App, reference: RunReference) -> Result<Option<SuiteDetail>, ApiError> {
    let Some(found) = app.hub.store().execution(reference).await? else { return Ok(None) };
    let run = found.row.number;
    let Some((suite, progress_percent)) = as_they_stand(app, vec![found]).await?.pop() else { return Ok(None) };
    let tests = app.hub.store().test_executions(vec![run]).await?;
    Ok(Some(SuiteDetail { suite, progress_percent, tests: tests.into_iter().map(Test::from).collect() }))
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct TestsQuery {
    suite_execution_id: Option<u64>,
    test_id: Option<String>,
    success: Option<bool>,
    #[schemars(range(min = 1, max = 100))]
    limit: Option<usize>,
    offset: Option<usize>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct TestPage {
    total: usize,
    items: Vec<Test>,
    limit: usize,
    offset: usize,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Test {
    id: u64,
    suite_execution_id: u64,
    test_id: String,
    test_name: String,
    tags: Vec<String>,
    started_at: Option<String>,
    completed_at: Option<String>,
    duration_seconds: Option<f64>,
    total_runs: u32,
    successful_runs: u32,
    /// Null until it ended, and where it was cancelled or skipped.
    success: Option<bool>,
    score: Option<f64>,
    status: String,
    progress_percent: f64,
    error: Option<String>,
}

impl From<TestExecution> for Test {
    fn from(test: TestExecution) -> Self {
        let written = |at: Option<Timestamp>| at.map(rfc3339);
        Self {
            id: test.number,
            suite_execution_id: test.suite,
            test_id: test.id,
            test_name: test.name,
            tags: test.tags,
            started_at: written(test.started_at),
            completed_at: written(test.completed_at),
            duration_seconds: test.duration_s,
            total_runs: test.total_runs,
            successful_runs: test.successful_runs,
            success: test.success,
            score: test.score,
            status: test.status,
            progress_percent: test.percent,
            error: test.error,
        }
    }
}

async fn tests(
    State(app): State<App>,
    query: Result<Query<TestsQuery>, QueryRejection>,
) -> Result<Json<TestPage>, ApiError> {
    let Query(query) = query.map_err(invalid)?;
    let (limit, offset) = page(query.limit, query.offset)?;
    let suites = match query.suite_execution_id {
        Some(number) => {
            let reference = RunReference::Number(number);
            let found = app.hub.store().execution(reference).await?;
            vec![found.ok_or_else(|| unknown("suite", reference))?.row.number]
        }
        None => {
            let filter = ExecutionFilter { limit: SUITES_LOOKED_THROUGH, ..ExecutionFilter::default() };
            app.hub.store().executions(filter).await?.1.into_iter().map(|run| run.row.number).collect()
        }
    };
    let mut found = app.hub.store().test_executions(suites).await?;
    found.retain(|test| {
        query.test_id.as_ref().is_none_or(|wanted| *wanted == test.id)
            && query.success.is_none_or(|wanted| test.success == Some(wanted))
    });
    let total = found.len();
    let items = found.into_iter().skip(offset).take(limit).map(Test::from).collect();
    Ok(Json(TestPage { total, items, limit, offset }))
}

#[derive(Debug, Serialize, JsonSchema)]
struct Summary {
    total_agents: u64,
    total_suites: u64,
    total_executions: u64,
    /// Of the recent executions that ended; null where none did.
    recent_success_rate: Option<f64>,
    /// Of the tests in the recent executions that have a score.
    recent_avg_score: Option<f64>,
    recent_executions: Vec<Suite>,
}

async fn summary(State(app): State<App>) -> Result<Json<Summary>, ApiError> {
    let totals = app.hub.store().totals().await?;
    let (_, recent) = listed(&app, ExecutionFilter { limit: RECENT, ..ExecutionFilter::default() }).await?;
    let recent: Vec<Suite> = recent.into_iter().map(|(suite, _)| suite).collect();
    let tests = app.hub.store().test_executions(recent.iter().map(|suite| suite.id).collect()).await?;
    Ok(Json(Summary {
        total_agents: totals.agents,
        total_suites: totals.names,
        total_executions: totals.runs,
        recent_success_rate: mean(
            recent.iter().filter(|suite| suite.completed_at.is_some()).map(|suite| suite.success_rate),
        ),
        recent_avg_score: mean(tests.iter().filter_map(|test| test.score)),
        recent_executions: recent,
    }))
}

fn mean(numbers: impl Iterator<Item = f64>) -> Option<f64> {
    let (count, sum) = numbers.fold((0_u32, 0.0), |(count, sum), number| (count + 1, sum + number));
    (count > 0).then(|| sum / f64::from(count))
}

fn page(limit: Option<usize>, offset: Option<usize>) -> Result<(usize, usize), ApiError> {
    let limit = limit.unwrap_or(LIMIT_DEFAULT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        let detail = format!("limit is {limit}, expected 1 to {LIMIT_MAX}");
        return Err(ApiError::unprocessable("INVALID_QUERY", detail));
    }
    Ok((limit, offset.unwrap_or(0)))
}

/// Clients of this protocol know 422 for what others answer with 400.
fn invalid(error: QueryRejection) -> ApiError {
    ApiError::unprocessable("INVALID_QUERY", error.body_text())
}

type Id = Result<Path<String>, PathRejection>;

fn reference(id: Id) -> Result<RunReference, ApiError> {
    let Path(id) = id.map_err(|error| ApiError::unprocessable("INVALID_ID", error.body_text()))?;
    id.parse().map_err(|error: BadReference| ApiError::unprocessable("INVALID_ID", error.to_string()))
}

fn unknown(what: &str, reference: RunReference) -> ApiError {
    ApiError::not_found("UNKNOWN_EXECUTION", format!("there is no {what} {reference}"))
}
