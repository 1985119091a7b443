//! The paths that lead to this protocol. Part of the shell: the only file here, beside `rest.rs`, that knows of requests.

use std::sync::Arc;

use axum::extract::Path;
use axum::response::Response;

use crate::dialect::Dialect;
use crate::routes::{Door, Routes};
use crate::websocket::upgrade;

use super::rest;
use super::session::Session;

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        // The document's path, and two that its clients dial.
        .socket("/ws/executions/{id}", Dialect::DeviceFarm, execution)
        .socket("/api/v1/ws/executions/{id}", Dialect::DeviceFarm, execution)
        .socket("/api/v1/ws/devices", Dialect::DeviceFarm, devices)
        .with(rest::routes)
}

async fn execution(door: Door, Path(id): Path<String>) -> Response {
    let limits = door.app.limits.device_farm;
    let visits = Arc::clone(&door.app.visits);
    let session = Session::with_limits(Some(id.parse()), limits).of_client(door.caller.client(), visits);
    upgrade(door, session)
}

async fn devices(door: Door) -> Response {
    let limits = door.app.limits.device_farm;
    upgrade(door, Session::with_limits(None, limits))
}
