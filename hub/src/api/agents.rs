//! Agents: whether they are there, and what arrived from them.

use axum::Json;
use axum::extract::State;
use rigwire_shared::ids::{AgentId, Epoch, Position};
use schemars::JsonSchema;
use serde::Serialize;

use super::answer::Time;
use crate::app::App;
use crate::error::ApiError;
use crate::fleet::{Agent, Counters};

#[derive(Debug, Serialize, JsonSchema)]
pub struct Agents {
    agents: Vec<AgentRow>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct AgentRow {
    id: AgentId,
    online: bool,
    /// Why it is so.
    cause: String,
    /// Counts its starts.
    epoch: Epoch,
    version: String,
    host: String,
    last_seen: Time,
    /// Last batch of its events that was taken.
    received: Option<Position>,
    counters: Counters,
}

pub async fn list(State(app): State<App>) -> Result<Json<Agents>, ApiError> {
    let agents = app.hub.ask(|core, _| core.model.agents().map(row).collect()).await?;
    Ok(Json(Agents { agents }))
}

fn row(agent: &Agent) -> AgentRow {
    AgentRow {
        id: agent.agent.clone(),
        online: agent.online,
        cause: agent.cause.clone(),
        epoch: agent.epoch,
        version: agent.version.clone(),
        host: agent.host.clone(),
        last_seen: Time(agent.last_seen),
        received: agent.received,
        counters: agent.counters,
    }
}
