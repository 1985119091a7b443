//! Statistics of this protocol's sockets, and of the hub behind them.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use crate::app::App;
use crate::dialect::Dialect;
use crate::error::ApiError;

/// The sockets of this protocol, as its manager; and the same again on top, where the document's own reader looks.
pub(super) async fn get(State(app): State<App>) -> Result<Json<Value>, ApiError> {
    let hub = app.hub.figures().await?;
    let limits = app.limits.agent_events;
    let ledger = app.ledger.of(Dialect::AgentEvents);
    let open = app.ledger.stages(Dialect::AgentEvents);
    let average = if ledger.watchers == 0 { 0.0 } else { ledger.messages as f64 / ledger.watchers as f64 };
    let mut all = json!({
        "total_connections": ledger.watchers, "active_connections": open.connected,
        "messages_sent": ledger.messages, "messages_received": ledger.heard,
        "broadcast_count": app.ledger.broadcasts(Dialect::AgentEvents), "errors": ledger.errors,
        "connection_states": {
            "connecting": open.connecting, "connected": open.connected, "disconnecting": open.disconnecting,
            "disconnected": ledger.watchers - open.sum(), "error": 0,
        },
    });
    let mut manager = all.clone();
    manager["total_errors"] = ledger.errors.into();
    manager["average_messages_per_connection"] = average.into();
    all["api_gateway"] = json!({
        "running": true, "active_runs": hub.active_runs, "agents": hub.agents, "agents_online": hub.agents_online,
        "devices": hub.devices,
    });
    all["websocket_manager"] = manager;
    all["event_bus"] = json!({
        "running": hub.broker_connected, "websocket_connections": hub.watchers, "events_published": hub.events,
        "events_recorded": hub.recorded, "record_queue": app.hub.store().waiting(),
    });
    all["server"] = json!({
        "running": true,
        "config": {
            "host": app.address.ip().to_string(), "port": app.address.port(),
            "max_connections": limits.connections, "heartbeat_interval": limits.heartbeat_interval.as_secs_f64(),
            "max_errors": limits.errors, "sweep_interval": limits.sweep_interval.as_secs_f64(),
            "open_to_all": !app.keeper.needs_tokens(),
        },
    });
    Ok(Json(all))
}
