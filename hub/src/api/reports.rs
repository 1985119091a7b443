//! A run's report: everything about it in one document.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use serde::Deserialize;
use serde_json::json;

use super::runs;
use crate::app::App;
use crate::error::ApiError;
use crate::store::RunRow;

#[derive(Debug, Deserialize)]
pub struct ReportQuery {
    format: Option<String>,
}

pub async fn get(
    State(app): State<App>,
    Path(id): Path<String>,
    query: Result<Query<ReportQuery>, QueryRejection>,
) -> Result<Json<serde_json::Value>, ApiError> {
    let Query(query) = query.map_err(|error| ApiError::bad_request("INVALID_QUERY", error.body_text()))?;
    let format = query.format.unwrap_or_else(|| "json".to_owned());
    if format != "json" {
        let detail = format!("this version makes no report of format {format}; formats: json");
        return Err(ApiError::unprocessable("UNSUPPORTED_FORMAT", detail));
    }
    let run = runs::snapshot(&app, &id).await?;
    let (events, last) = app.hub.store().count_events(run.header.id).await?;
    // No number is there twice, so as many events as the last one's number are all of them. A run that goes on may have
    // told more since it was looked at.
    let complete = events == last && last >= run.last_event;
    Ok(Json(json!({
        "run": RunRow::from(&run),
        "steps": runs::step_rows(&run),
        "completeness": {"events": events, "last": last, "complete": complete},
    })))
}
