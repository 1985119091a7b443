//! The paths that lead to this protocol. Part of the shell: the only file here, beside `rest.rs`, that knows of requests.

use axum::response::Response;

use crate::dialect::Dialect;
use crate::routes::{Door, Routes};
use crate::websocket::upgrade;

use super::rest;
use super::session::Session;

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .socket("/ws/events", Dialect::AgentEvents, stream)
        // The document's older path.
        .socket("/ws/workflow", Dialect::AgentEvents, stream)
        .with(rest::routes)
}

async fn stream(door: Door) -> Response {
    let limits = door.app.limits.agent_events;
    upgrade(door, Session::with_limits(limits))
}
