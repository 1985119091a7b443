//! Whether the hub lives, and whether all its parts serve.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::app::App;
use crate::error::ApiError;

pub async fn live() -> Json<serde_json::Value> {
    Json(json!({"status": "ok"}))
}

pub async fn ready(State(app): State<App>) -> Result<Response, ApiError> {
    let connected = app.hub.ask(|core, _| core.broker_connected).await?;
    app.hub.store().barrier().await?;
    if connected {
        return Ok(Json(json!({"status": "ready"})).into_response());
    }
    let body = json!({"detail": "no connection to the MQTT broker", "code": "NOT_READY"});
    Ok((StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response())
}
