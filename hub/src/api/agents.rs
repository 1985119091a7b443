//! Agents: whether they are there, and what arrived from them.

use axum::Json;
use axum::extract::State;
use serde_json::json;

use crate::app::App;
use crate::dialect::rfc3339;
use crate::error::ApiError;
use crate::fleet::Agent;

pub async fn list(State(app): State<App>) -> Result<Json<serde_json::Value>, ApiError> {
    let agents: Vec<serde_json::Value> = app.hub.ask(|core, _| core.model.agents().map(row).collect()).await?;
    Ok(Json(json!({"agents": agents})))
}

fn row(agent: &Agent) -> serde_json::Value {
    json!({
        "id": agent.agent.as_str(), "online": agent.online, "cause": agent.cause, "epoch": agent.epoch,
        "version": agent.version, "host": agent.host, "last_seen": rfc3339(agent.last_seen),
        "received": agent.received.map(|position| json!({"epoch": position.epoch, "number": position.number})),
        "counters": agent.counters,
    })
}
