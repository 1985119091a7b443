//! Every URL on one screen.

use axum::Router;
use axum::extract::{DefaultBodyLimit, OriginalUri};
use axum::http::{Method, StatusCode};
use axum::middleware::{from_fn_with_state, map_response};

use crate::access::Role::{Operator, Viewer};
use crate::access::gate;
use crate::api::{
    agents, artifacts, commands, completeness, devices, external, health, ledger, logs, metrics, parts, procedures,
    reports, reservations, runs,
};
use crate::app::App;
use crate::describe::Operation;
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
    Dialect::ALL.into_iter().fold(native(Routes::default()), |routes, dialect| routes.with(dialect.room().routes))
}

fn native(routes: Routes) -> Routes {
    routes
        .open("/", pages::dashboard, Operation::new("The page for people"))
        .open("/static/v2/js/{file}", pages::library, Operation::new("The client library of test_dashboard"))
        .open("/healthz", health::live, Operation::new("Whether the hub lives"))
        .open("/readyz", health::ready, Operation::new("Whether all its parts serve"))
        .get("/api/v1/runs", Viewer, runs::list, Operation::new("Runs, newest first"))
        .post("/api/v1/runs", Operator, runs::start, Operation::new("Start a run"))
        .get("/api/v1/runs/{id}", Viewer, runs::get, Operation::new("A run as it stands"))
        .post("/api/v1/runs/{id}/cancel", Operator, runs::cancel, Operation::new("Cancel a run"))
        .post("/api/v1/runs/{id}/pause", Operator, runs::pause, Operation::new("Pause a run before its next step"))
        .post("/api/v1/runs/{id}/resume", Operator, runs::resume, Operation::new("Let a paused run go on"))
        .get("/api/v1/runs/{id}/events", Viewer, runs::events, Operation::new("Events of a run, in order"))
        .post(
            "/api/v1/runs/{id}/events",
            Operator,
            external::events,
            Operation::new("Report what happens in a run of a program outside"),
        )
        .get("/api/v1/runs/{id}/steps", Viewer, runs::steps, Operation::new("Steps of a run"))
        .get("/api/v1/runs/{id}/tests", Viewer, parts::tests, Operation::new("Tests of a suite, with their attempts"))
        .get("/api/v1/runs/{id}/iterations", Viewer, parts::iterations, Operation::new("Iterations of a study"))
        .post("/api/v1/runs/{id}/ask", Operator, parts::ask, Operation::new("What a study wants tried next"))
        .post("/api/v1/runs/{id}/tell", Operator, parts::tell, Operation::new("What came of a trial"))
        .get("/api/v1/runs/{id}/artifacts", Viewer, artifacts::list, Operation::new("Files of a run"))
        .get("/api/v1/runs/{id}/logs", Viewer, logs::get, Operation::new("Log of a run"))
        .get("/api/v1/runs/{id}/metrics", Viewer, metrics::get, Operation::new("Measured values of a run"))
        .get(
            "/api/v1/runs/{id}/completeness",
            Viewer,
            completeness::get,
            Operation::new("Whether all of a run is in the record"),
        )
        .get(
            "/api/v1/ledger",
            Viewer,
            ledger::get,
            Operation::new("What arrived, what was passed on, and what was not"),
        )
        .get("/api/v1/artifacts/{*path}", Viewer, artifacts::get, Operation::new("A file of a run"))
        .post("/api/v1/commands", Operator, commands::post, Operation::new("Carry out a typed line, or show its plan"))
        .get("/api/v1/reports/{id}", Viewer, reports::get, Operation::new("A run as a document"))
        .get("/api/v1/devices", Viewer, devices::list, Operation::new("Devices of all agents"))
        .get("/api/v1/devices/{id}", Viewer, devices::get, Operation::new("A device as it stands"))
        .post(
            "/api/v1/devices/{id}/lease",
            Operator,
            reservations::reserve,
            Operation::new("Reserve a device for a person"),
        )
        .delete(
            "/api/v1/devices/{id}/lease",
            Operator,
            reservations::give_back,
            Operation::new("Give a reserved device back"),
        )
        .get("/api/v1/leases", Viewer, reservations::list, Operation::new("Who holds which device"))
        .get("/api/v1/agents", Viewer, agents::list, Operation::new("Agents"))
        .get("/api/v1/procedures", Viewer, procedures::list, Operation::new("Procedures by name"))
        .get(
            "/api/v1/procedures/schema.json",
            Viewer,
            procedures::schema,
            Operation::new("What a procedure may say, as JSON Schema"),
        )
        .get("/api/v1/procedures/{name}", Viewer, procedures::get, Operation::new("A procedure"))
        .put("/api/v1/procedures/{name}", Operator, procedures::put, Operation::new("Store a procedure"))
        .delete("/api/v1/procedures/{name}", Operator, procedures::delete, Operation::new("Remove a procedure"))
}

async fn unknown(OriginalUri(uri): OriginalUri) -> ApiError {
    ApiError::not_found("NOT_FOUND", format!("there is no {}", uri.path()))
}

async fn wrong_method(method: Method, OriginalUri(uri): OriginalUri) -> ApiError {
    let detail = format!("{} does not take {method}", uri.path());
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", detail)
}
