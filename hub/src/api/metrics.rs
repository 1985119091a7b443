//! What was measured in a run: each series in few numbers, and its values a page at a time.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use rigwire_shared::ids::StepId;
use rigwire_shared::quality::Quality;
use rigwire_shared::time::Timestamp;
use rigwire_shared::value::Value;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::answer::Time;
use super::runs::snapshot;
use crate::app::App;
use crate::error::ApiError;
use crate::event::Metric;
use crate::store::Summary;

const PAGE_MAX: usize = 5000;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MetricsQuery {
    /// `next` of the page before.
    #[serde(default)]
    after: u64,
    /// At most 5,000 values; 1,000 if left out.
    limit: Option<usize>,
    /// Only this metric.
    name: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Metrics {
    series: Vec<Series>,
    /// There are more series than an answer names.
    more_series: bool,
    next: u64,
}

/// A metric of one device: its summary over the whole run, and those of its values that are on this page.
#[derive(Debug, Serialize, JsonSchema)]
struct Series {
    name: String,
    unit: String,
    device: Option<String>,
    summary: SummaryRow,
    values: Vec<ValueRow>,
}

/// Of the good values.
#[derive(Debug, Serialize, JsonSchema)]
struct SummaryRow {
    count: u64,
    /// How many of them are good.
    good: u64,
    min: Option<f64>,
    max: Option<f64>,
    mean: Option<f64>,
    last: Option<f64>,
    last_at: Option<Time>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct ValueRow {
    /// Number of the event within the run.
    seq: u64,
    at: Time,
    value: Value,
    quality: Quality,
    step: Option<StepId>,
}

pub async fn get(
    State(app): State<App>,
    Path(id): Path<String>,
    query: Result<Query<MetricsQuery>, QueryRejection>,
) -> Result<Json<Metrics>, ApiError> {
    let Query(query) = query.map_err(|error| ApiError::bad_request("INVALID_QUERY", error.body_text()))?;
    let run = snapshot(&app, &id).await?;
    let limit = query.limit.unwrap_or(1000).clamp(1, PAGE_MAX);
    let store = app.hub.store();
    let (summaries, more) = store.run_summaries(run.header.id, query.name.clone()).await?;
    let values = store.run_metrics(run.header.id, query.after, query.name, limit).await?;
    let next = values.last().map_or(query.after, |(number, ..)| *number);
    let series = summaries.iter().map(|summary| series(summary, &values)).collect();
    Ok(Json(Metrics { series, more_series: more, next }))
}

fn series(summary: &Summary, page: &[(u64, Timestamp, Metric)]) -> Series {
    let is_of = |metric: &Metric| {
        metric.name.as_str() == summary.name
            && metric.unit.as_str() == summary.unit
            && metric.device.as_ref().map(rigwire_shared::ids::DeviceId::as_str) == summary.device.as_deref()
    };
    let values = page
        .iter()
        .filter(|(_, _, metric)| is_of(metric))
        .map(|(number, at, metric)| ValueRow {
            seq: *number,
            at: Time(*at),
            value: metric.value.clone(),
            quality: metric.quality,
            step: metric.step.clone(),
        })
        .collect();
    Series {
        name: summary.name.clone(),
        unit: summary.unit.clone(),
        device: summary.device.clone(),
        summary: SummaryRow {
            count: summary.count,
            good: summary.good,
            min: summary.min,
            max: summary.max,
            mean: summary.mean,
            last: summary.last,
            last_at: summary.last_at.map(Time),
        },
        values,
    }
}
