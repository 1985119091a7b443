//! What was measured in a run: each series in few numbers, and its values a page at a time.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use rigwire_shared::time::Timestamp;
use serde::Deserialize;
use serde_json::json;

use super::runs::snapshot;
use crate::app::App;
use crate::dialect::rfc3339;
use crate::error::ApiError;
use crate::event::Metric;
use crate::store::Summary;

const PAGE_MAX: usize = 5000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricsQuery {
    #[serde(default)]
    after: u64,
    limit: Option<usize>,
    name: Option<String>,
}

pub async fn get(
    State(app): State<App>,
    Path(id): Path<String>,
    query: Result<Query<MetricsQuery>, QueryRejection>,
) -> Result<Json<serde_json::Value>, ApiError> {
    let Query(query) = query.map_err(|error| ApiError::bad_request("INVALID_QUERY", error.body_text()))?;
    let run = snapshot(&app, &id).await?;
    let limit = query.limit.unwrap_or(1000).clamp(1, PAGE_MAX);
    let store = app.hub.store();
    let (summaries, more) = store.run_summaries(run.header.id, query.name.clone()).await?;
    let values = store.run_metrics(run.header.id, query.after, query.name, limit).await?;
    let next = values.last().map_or(query.after, |(number, ..)| *number);
    let series: Vec<serde_json::Value> = summaries.iter().map(|summary| series(summary, &values)).collect();
    Ok(Json(json!({"series": series, "more_series": more, "next": next})))
}

/// A series: its summary over the whole run, and those of its values that are on this page.
fn series(summary: &Summary, page: &[(u64, Timestamp, Metric)]) -> serde_json::Value {
    let is_of = |metric: &Metric| {
        metric.name.as_str() == summary.name
            && metric.unit.as_str() == summary.unit
            && metric.device.as_ref().map(rigwire_shared::ids::DeviceId::as_str) == summary.device.as_deref()
    };
    let values: Vec<serde_json::Value> = page
        .iter()
        .filter(|(_, _, metric)| is_of(metric))
        .map(|(number, at, metric)| {
            json!({
                "seq": number, "at": rfc3339(*at), "value": metric.value, "quality": metric.quality, "step": metric.step,
            })
        })
        .collect();
    json!({
        "name": summary.name, "unit": summary.unit, "device": summary.device,
        "summary": {
            "count": summary.count, "good": summary.good, "min": summary.min, "max": summary.max,
            "mean": summary.mean, "last": summary.last, "last_at": summary.last_at.map(rfc3339),
        },
        "values": values,
    })
}
