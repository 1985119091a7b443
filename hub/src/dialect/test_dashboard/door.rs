//! The paths that lead to this protocol. Part of the shell: the only file here, beside `rest.rs`, that knows of requests.

use std::time::Instant;

use axum::extract::Query;
use axum::http::{HeaderMap, header};
use axum::response::Response;
use rigwire_shared::time::Timestamp;
use schemars::JsonSchema;
use serde::Deserialize;
use uuid::Uuid;

use crate::continuity::{Guest, Name};
use crate::dialect::Dialect;
use crate::routes::{Door, Routes};
use crate::websocket::{upgrade, upgrade_as};

use super::rest;
use super::session::{Count, Session, Turn, client_id};

/// Characters of what a client says it is that are kept.
const USER_AGENT_MAX: usize = 200;

pub(super) fn routes(routes: Routes) -> Routes {
    routes.socket("/api/ws/updates", Dialect::TestDashboard, updates).with(rest::routes)
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct UpdatesQuery {
    /// Whose numbers go on; 1 to 64 of a-z A-Z 0-9 - _ . :
    client_id: Option<String>,
}

async fn updates(door: Door, headers: HeaderMap, Query(query): Query<UpdatesQuery>) -> Response {
    let client = client_id(query.client_id.as_deref(), Uuid::new_v4());
    let Ok(who) = &door.caller.who else {
        // Nobody's count: the session says why and closes.
        return upgrade(door, Session::new(client, Turn::new(Count::after(0), 0)));
    };
    let name = Name { token: who.token.clone(), client: client.clone() };
    let guest = Guest { connected_at: Timestamp::now(), user_agent: user_agent(&headers) };
    let (visit, count) = door.app.continuity.enter(name, guest, Instant::now(), || Count::after(0));
    let session = Session::new(client, Turn::new(count, visit.turn));
    upgrade_as(door, session, Some(visit))
}

fn user_agent(headers: &HeaderMap) -> Option<String> {
    let said = headers.get(header::USER_AGENT)?.to_str().ok()?;
    Some(said.chars().take(USER_AGENT_MAX).collect())
}
