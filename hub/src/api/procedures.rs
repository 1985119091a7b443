//! Procedures by name: list, read, keep, delete.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use schemars::JsonSchema;
use serde::Serialize;

use crate::app::App;
use crate::error::ApiError;
use crate::procedure::{self, Procedure};
use crate::procedures::{Format, Listed, ProcedureError, Procedures};

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Procedures")]
pub struct Known {
    procedures: Vec<Listed>,
}

/// How a procedure is called, for descriptions.
#[derive(JsonSchema)]
#[schemars(inline)]
pub struct Name(#[schemars(regex(pattern = "^[A-Za-z0-9_.-]{1,64}$"))] pub String);

/// Runs file work off the async threads.
async fn with<T: Send + 'static>(
    app: &App,
    work: impl FnOnce(&Procedures) -> Result<T, ProcedureError> + Send + 'static,
) -> Result<T, ApiError> {
    let procedures = Arc::clone(&app.procedures);
    let done = tokio::task::spawn_blocking(move || work(&procedures)).await;
    Ok(done.map_err(anyhow::Error::from)??)
}

pub async fn list(State(app): State<App>) -> Result<Json<Known>, ApiError> {
    let procedures = with(&app, |procedures| Ok(procedures.list()?)).await?;
    Ok(Json(Known { procedures }))
}

pub async fn get(State(app): State<App>, Path(name): Path<String>) -> Result<Json<Procedure>, ApiError> {
    Ok(Json(with(&app, move |procedures| procedures.get(&name)).await?))
}

/// What a procedure looks like, for editors: `#:schema http://HUB/api/v1/procedures/schema.json`.
pub async fn schema() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/schema+json")], procedure::schema::schema().to_string())
}

/// The body is TOML, or JSON when the content type says so or it can be nothing else: no TOML begins with a brace.
pub async fn put(
    State(app): State<App>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Procedure>, ApiError> {
    let text = String::from_utf8(body.to_vec())
        .map_err(|_| ApiError::bad_request("INVALID_PROCEDURE", "the body is not UTF-8 text"))?;
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_json =
        content_type.to_ascii_lowercase().starts_with("application/json") || text.trim_start().starts_with('{');
    let format = if is_json { Format::Json } else { Format::Toml };
    Ok(Json(with(&app, move |procedures| procedures.put(&name, &text, format)).await?))
}

pub async fn delete(State(app): State<App>, Path(name): Path<String>) -> Result<StatusCode, ApiError> {
    with(&app, move |procedures| procedures.delete(&name)).await?;
    Ok(StatusCode::NO_CONTENT)
}
