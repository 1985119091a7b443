//! The paths that lead to this protocol. Part of the shell: the only file here, beside `rest.rs`, that knows of requests.

use axum::extract::Path;
use axum::response::Response;

use crate::dialect::Dialect;
use crate::routes::{Door, Routes};
use crate::websocket::upgrade;

use super::rest;
use super::session::Session;

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .socket("/api/v2/ws/runs/{id}", Dialect::SolverRuns, run)
        .socket("/api/v2/ws/optimizations/{id}", Dialect::SolverRuns, optimization)
        .with(rest::routes)
}

async fn run(door: Door, Path(id): Path<String>) -> Response {
    upgrade(door, Session::run(id.parse()))
}

async fn optimization(door: Door, Path(id): Path<String>) -> Response {
    upgrade(door, Session::optimization(id.parse()))
}
