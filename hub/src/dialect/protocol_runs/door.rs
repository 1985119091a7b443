//! The paths that lead to this protocol. Part of the shell: the only file here, beside `rest.rs`, that knows of requests.

use axum::extract::Path;
use axum::response::Response;

use crate::dialect::Dialect;
use crate::routes::{Door, Routes};
use crate::websocket::upgrade;

use super::rest;
use super::session::Session;

pub(super) fn routes(routes: Routes) -> Routes {
    // The document's path, and two that its clients dial.
    ["/api/v1/ws/execution/{id}", "/api/v1/ws/runs/{id}", "/api/v1/ws/ws/runs/{id}"]
        .into_iter()
        .fold(routes, |routes, path| routes.socket(path, Dialect::ProtocolRuns, run))
        .with(rest::routes)
}

async fn run(door: Door, Path(id): Path<String>) -> Response {
    upgrade(door, Session::new(id.parse()))
}
