//! Every URL on one screen.

use std::sync::LazyLock;

use axum::Router;
use axum::extract::{DefaultBodyLimit, OriginalUri};
use axum::http::{Method, StatusCode, header};
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::IntoResponse;

use crate::access::Role::{Operator, Viewer};
use crate::access::gate;
use crate::api::{
    agents, artifacts, chat, commands, completeness, devices, external, health, ledger, logs, metrics,
    operations as say, parts, procedures, prometheus, reports, reservations, runs,
};
use crate::app::App;
use crate::describe::{asyncapi, openapi};
use crate::dialect::Dialect;
use crate::error::{ApiError, in_json};
use crate::pages;
use crate::routes::Routes;

pub(crate) const BODY_MAX: usize = 1024 * 1024;

pub fn router(app: App) -> Router {
    routes()
        .into_router()
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(from_fn_with_state(app.clone(), gate::pass))
        .layer(map_response(in_json))
        .with_state(app)
}

/// The hub's own interface, then each protocol's sockets and neighbours.
pub fn routes() -> Routes {
    Dialect::ALL.into_iter().fold(native(Routes::default()), Routes::room)
}

fn native(routes: Routes) -> Routes {
    routes
        .open("/", pages::dashboard, say::page())
        .open("/static/v2/js/{file}", pages::library, say::library())
        .open("/docs", pages::docs, say::docs())
        .open("/openapi.json", openapi, say::openapi())
        .open("/asyncapi.json", asyncapi, say::asyncapi())
        .open("/healthz", health::live, say::health())
        .open("/readyz", health::ready, say::ready())
        .get("/metrics", Viewer, prometheus::get, say::figures())
        .get("/api/v1/runs", Viewer, runs::list, say::runs())
        .post("/api/v1/runs", Operator, runs::start, say::start_run())
        .get("/api/v1/runs/{id}", Viewer, runs::get, say::run())
        .post("/api/v1/runs/{id}/cancel", Operator, runs::cancel, say::cancel_run())
        .post("/api/v1/runs/{id}/pause", Operator, runs::pause, say::pause_run())
        .post("/api/v1/runs/{id}/resume", Operator, runs::resume, say::resume_run())
        .get("/api/v1/runs/{id}/events", Viewer, runs::events, say::run_events())
        .post("/api/v1/runs/{id}/events", Operator, external::events, say::report_events())
        .get("/api/v1/runs/{id}/steps", Viewer, runs::steps, say::run_steps())
        .get("/api/v1/runs/{id}/tests", Viewer, parts::tests, say::run_tests())
        .get("/api/v1/runs/{id}/iterations", Viewer, parts::iterations, say::run_iterations())
        .post("/api/v1/runs/{id}/ask", Operator, parts::ask, say::ask())
        .post("/api/v1/runs/{id}/tell", Operator, parts::tell, say::tell())
        .get("/api/v1/runs/{id}/artifacts", Viewer, artifacts::list, say::run_artifacts())
        .get("/api/v1/runs/{id}/logs", Viewer, logs::get, say::run_logs())
        .get("/api/v1/runs/{id}/metrics", Viewer, metrics::get, say::run_metrics())
        .get("/api/v1/runs/{id}/completeness", Viewer, completeness::get, say::run_completeness())
        .get("/api/v1/ledger", Viewer, ledger::get, say::ledger())
        .get("/api/v1/artifacts/{*path}", Viewer, artifacts::get, say::artifact())
        .post("/api/v1/commands", Operator, commands::post, say::command())
        .get("/api/v1/chat", Viewer, chat::list, say::chat())
        .post("/api/v1/chat", Operator, chat::post, say::chat_message())
        .get("/api/v1/reports/{id}", Viewer, reports::get, say::report())
        .get("/api/v1/devices", Viewer, devices::list, say::devices())
        .get("/api/v1/devices/{id}", Viewer, devices::get, say::device())
        .post("/api/v1/devices/{id}/lease", Operator, reservations::reserve, say::reserve())
        .delete("/api/v1/devices/{id}/lease", Operator, reservations::give_back, say::give_back())
        .get("/api/v1/leases", Viewer, reservations::list, say::leases())
        .get("/api/v1/agents", Viewer, agents::list, say::agents())
        .get("/api/v1/procedures", Viewer, procedures::list, say::procedures())
        .get("/api/v1/procedures/schema.json", Viewer, procedures::schema, say::procedure_schema())
        .get("/api/v1/procedures/{name}", Viewer, procedures::get, say::procedure())
        .put("/api/v1/procedures/{name}", Operator, procedures::put, say::put_procedure())
        .delete("/api/v1/procedures/{name}", Operator, procedures::delete, say::delete_procedure())
}

/// Made when it is first asked for.
static OPENAPI: LazyLock<String> = LazyLock::new(|| openapi::document(routes().entries()).to_string());

async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI.as_str())
}

static ASYNCAPI: LazyLock<String> = LazyLock::new(|| asyncapi::document(routes().entries()).to_string());

async fn asyncapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], ASYNCAPI.as_str())
}

async fn unknown(OriginalUri(uri): OriginalUri) -> ApiError {
    ApiError::not_found("NOT_FOUND", format!("there is no {}", uri.path()))
}

async fn wrong_method(method: Method, OriginalUri(uri): OriginalUri) -> ApiError {
    let detail = format!("{} does not take {method}", uri.path());
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", detail)
}
