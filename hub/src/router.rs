//! Every URL on one screen.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{DefaultBodyLimit, OriginalUri, Path, Query, State, WebSocketUpgrade};
use axum::http::{Method, StatusCode};
use axum::response::{Html, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use uuid::Uuid;

use crate::api::{
    agents, artifacts, commands, completeness, devices, external, health, ledger, logs, metrics, parts, procedures,
    reports, reservations, runs,
};
use crate::app::App;
use crate::dialect::{Session, agent_events, device_farm, protocol_runs, solver_runs, test_dashboard};
use crate::error::{ApiError, in_json};
use crate::websocket::{upgrade, upgrade_then};

pub(crate) const BODY_MAX: usize = 1024 * 1024;

pub fn router(app: App) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/healthz", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/api/v1/runs", get(runs::list).post(runs::start))
        .route("/api/v1/runs/{id}", get(runs::get))
        .route("/api/v1/runs/{id}/cancel", post(runs::cancel))
        .route("/api/v1/runs/{id}/pause", post(runs::pause))
        .route("/api/v1/runs/{id}/resume", post(runs::resume))
        .route("/api/v1/runs/{id}/events", get(runs::events).post(external::events))
        .route("/api/v1/runs/{id}/steps", get(runs::steps))
        .route("/api/v1/runs/{id}/tests", get(parts::tests))
        .route("/api/v1/runs/{id}/iterations", get(parts::iterations))
        .route("/api/v1/runs/{id}/ask", post(parts::ask))
        .route("/api/v1/runs/{id}/tell", post(parts::tell))
        .route("/api/v1/runs/{id}/artifacts", get(artifacts::list))
        .route("/api/v1/runs/{id}/logs", get(logs::get))
        .route("/api/v1/runs/{id}/metrics", get(metrics::get))
        .route("/api/v1/runs/{id}/completeness", get(completeness::get))
        .route("/api/v1/ledger", get(ledger::get))
        .route("/api/v1/artifacts/{*path}", get(artifacts::get))
        .route("/api/v1/commands", post(commands::post))
        .route("/api/v1/reports/{id}", get(reports::get))
        .route("/api/v1/devices", get(devices::list))
        .route("/api/v1/devices/{id}", get(devices::get))
        .route("/api/v1/devices/{id}/lease", post(reservations::reserve).delete(reservations::give_back))
        .route("/api/v1/leases", get(reservations::list))
        .route("/api/v1/agents", get(agents::list))
        .route("/api/v1/procedures", get(procedures::list))
        .route("/api/v1/procedures/schema.json", get(procedures::schema))
        .route("/api/v1/procedures/{name}", get(procedures::get).put(procedures::put).delete(procedures::delete))
        // protocol_runs: the document's path, and two that its clients dial.
        .route("/api/v1/ws/execution/{id}", get(protocol_run))
        .route("/api/v1/ws/runs/{id}", get(protocol_run))
        .route("/api/v1/ws/ws/runs/{id}", get(protocol_run))
        // device_farm: the document's path, and two that its clients dial.
        .route("/ws/executions/{id}", get(execution))
        .route("/api/v1/ws/executions/{id}", get(execution))
        .route("/api/v1/ws/devices", get(farm_devices))
        // agent_events
        .route("/ws/events", get(agent_event_stream))
        .route("/ws/workflow", get(agent_event_stream))
        // solver_runs
        .route("/api/v2/ws/runs/{id}", get(solver_run))
        .route("/api/v2/ws/optimizations/{id}", get(optimization))
        // test_dashboard
        .route("/api/ws/updates", get(updates))
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(axum::middleware::map_response(in_json))
        .with_state(app)
}

async fn page() -> Html<&'static str> {
    Html(include_str!("../web/index.html"))
}

async fn protocol_run(socket: WebSocketUpgrade, State(app): State<App>, Path(id): Path<String>) -> Response {
    upgrade(socket, &app, protocol_runs::session::Session::new(id.parse()))
}

async fn execution(socket: WebSocketUpgrade, State(app): State<App>, Path(id): Path<String>) -> Response {
    upgrade(socket, &app, device_farm::session::Session::execution(id.parse()))
}

async fn farm_devices(socket: WebSocketUpgrade, State(app): State<App>) -> Response {
    upgrade(socket, &app, device_farm::session::Session::devices())
}

async fn agent_event_stream(socket: WebSocketUpgrade, State(app): State<App>) -> Response {
    upgrade(socket, &app, agent_events::session::Session::new())
}

async fn solver_run(socket: WebSocketUpgrade, State(app): State<App>, Path(id): Path<String>) -> Response {
    upgrade(socket, &app, solver_runs::session::Session::run(id.parse()))
}

async fn optimization(socket: WebSocketUpgrade, State(app): State<App>, Path(id): Path<String>) -> Response {
    upgrade(socket, &app, solver_runs::session::Session::optimization(id.parse()))
}

#[derive(Debug, Deserialize)]
struct UpdatesQuery {
    client_id: Option<String>,
}

async fn updates(socket: WebSocketUpgrade, State(app): State<App>, Query(query): Query<UpdatesQuery>) -> Response {
    let client = test_dashboard::session::client_id(query.client_id.as_deref(), Uuid::new_v4());
    let resumed = app.continuity.last(&client, Instant::now());
    let session = test_dashboard::session::Session::new(client.clone(), resumed);
    let continuity = Arc::clone(&app.continuity);
    upgrade_then(socket, &app, session, move |session| {
        continuity.keep(client, session.last_sequence().unwrap_or(resumed), Instant::now());
    })
}

async fn unknown(OriginalUri(uri): OriginalUri) -> ApiError {
    ApiError::not_found("NOT_FOUND", format!("there is no {}", uri.path()))
}

async fn wrong_method(method: Method, OriginalUri(uri): OriginalUri) -> ApiError {
    let detail = format!("{} does not take {method}", uri.path());
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", detail)
}
