//! The paths that lead to this protocol. Part of the shell: the only file here, beside `rest.rs`, that knows of requests.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::Query;
use axum::response::Response;
use schemars::JsonSchema;
use serde::Deserialize;
use uuid::Uuid;

use crate::dialect::{Dialect, Session as _};
use crate::routes::{Door, Routes};
use crate::websocket::upgrade_then;

use super::session::{Session, client_id};

pub(super) fn routes(routes: Routes) -> Routes {
    routes.socket("/api/ws/updates", Dialect::TestDashboard, updates)
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct UpdatesQuery {
    /// Whose numbers go on; 1 to 64 of a-z A-Z 0-9 - _ . :
    client_id: Option<String>,
}

async fn updates(door: Door, Query(query): Query<UpdatesQuery>) -> Response {
    let client = client_id(query.client_id.as_deref(), Uuid::new_v4());
    let continuity = Arc::clone(&door.app.continuity);
    let resumed = continuity.last(&client, Instant::now());
    let session = Session::new(client.clone(), resumed);
    upgrade_then(door, session, move |session| {
        continuity.keep(client, session.last_sequence().unwrap_or(resumed), Instant::now());
    })
}
