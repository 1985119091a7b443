//! Whether the hub lives, and whether all its parts serve.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;

use crate::app::App;
use crate::error::ApiError;

/// A record that takes longer is not being written.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug, Serialize, JsonSchema)]
pub struct Health {
    /// `ok` or `ready`.
    status: &'static str,
}

pub async fn live() -> Json<Health> {
    Json(Health { status: "ok" })
}

pub async fn ready(State(app): State<App>) -> Result<Response, ApiError> {
    let asked = async {
        let connected = app.hub.ask(|core, _| core.broker_connected).await?;
        app.hub.store().barrier().await?;
        Ok::<bool, ApiError>(connected)
    };
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(true)) => Ok(Json(Health { status: "ready" }).into_response()),
        Ok(Ok(false)) => Err(not_ready("no connection to the MQTT broker")),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(not_ready("the record cannot be written")),
    }
}

fn not_ready(detail: &'static str) -> ApiError {
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "NOT_READY", detail)
}
