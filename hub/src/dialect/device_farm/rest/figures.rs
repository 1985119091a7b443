//! Executions in few numbers. Part of the shell.

use axum::Json;
use axum::extract::State;
use rigwire_shared::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::neighbours::{self, Query};
use crate::app::App;
use crate::dialect::rfc3339;
use crate::error::ApiError;
use crate::store::{Listing, Tally};

const DAY_US: i64 = 86_400_000_000;

async fn tally(app: &App, from: Option<Timestamp>, to: Option<Timestamp>) -> Result<Tally, ApiError> {
    Ok(app.hub.store().tally(Listing { from, to, ..Listing::default() }).await?)
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ExecutionStats {
    total_executions: u64,
    successful: u64,
    failed: u64,
    running: u64,
    /// Percent of those that have ended.
    success_rate: f64,
    /// Seconds, of those that have ended.
    avg_duration: f64,
    /// Since midnight, UTC.
    executions_today: u64,
    /// In the last seven days.
    executions_this_week: u64,
}

pub(super) async fn stats(State(app): State<App>) -> Result<Json<ExecutionStats>, ApiError> {
    let now = Timestamp::now();
    let all = tally(&app, None, None).await?;
    let today = tally(&app, Some(Timestamp(now.0 - now.0.rem_euclid(DAY_US))), None).await?;
    let week = tally(&app, Some(Timestamp(now.0 - 7 * DAY_US)), None).await?;
    Ok(Json(ExecutionStats {
        total_executions: all.total(),
        successful: all.completed,
        failed: all.failed,
        running: all.running + all.paused,
        success_rate: all.success_rate(),
        avg_duration: all.mean_duration_s.unwrap_or_default(),
        executions_today: today.total(),
        executions_this_week: week.total(),
    }))
}

/// Of which time; both as a day or as a time in RFC 3339.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct SummaryPeriod {
    date_from: Option<String>,
    /// A day is included.
    date_to: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ReportSummary {
    total_executions: u64,
    /// Percent of those that have ended.
    success_rate: f64,
    average_duration_seconds: Option<f64>,
    /// Different devices.
    device_coverage: u64,
    executions_last_7_days: u64,
    last_execution_at: Option<String>,
    status_breakdown: StatusBreakdown,
}

#[derive(Debug, Serialize, JsonSchema)]
struct StatusBreakdown {
    pending: u64,
    running: u64,
    completed: u64,
    failed: u64,
    cancelled: u64,
}

pub(super) async fn summary(
    State(app): State<App>,
    query: Query<SummaryPeriod>,
) -> Result<Json<ReportSummary>, ApiError> {
    let period = neighbours::query(query)?;
    let from = period.date_from.as_deref().map(|text| moment("date_from", text, false)).transpose()?;
    let to = period.date_to.as_deref().map(|text| moment("date_to", text, true)).transpose()?;
    let of_period = tally(&app, from, to).await?;
    let week = tally(&app, Some(Timestamp(Timestamp::now().0 - 7 * DAY_US)), None).await?;
    Ok(Json(ReportSummary {
        total_executions: of_period.total(),
        success_rate: of_period.success_rate(),
        average_duration_seconds: of_period.mean_duration_s,
        device_coverage: of_period.devices,
        executions_last_7_days: week.total(),
        last_execution_at: of_period.last.map(rfc3339),
        status_breakdown: StatusBreakdown {
            pending: of_period.pending,
            running: of_period.running + of_period.paused,
            completed: of_period.completed,
            failed: of_period.failed,
            cancelled: of_period.cancelled,
        },
    }))
}

/// A day's beginning, or its end; or a moment.
fn moment(key: &str, text: &str, is_end: bool) -> Result<Timestamp, ApiError> {
    let text = text.trim();
    let is_day = text.len() == 10;
    let whole = if is_day { format!("{text}T00:00:00Z") } else { text.to_owned() };
    let at = humantime::parse_rfc3339_weak(&whole).map_err(|_| {
        let detail = format!("{key} is {text:.40}, expected a form such as 2026-01-31 or 2026-01-31T08:00:00Z");
        ApiError::unprocessable("INVALID_DATE", detail)
    })?;
    let since = at.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let micros = i64::try_from(since.as_micros()).unwrap_or(i64::MAX);
    Ok(Timestamp(if is_day && is_end { micros.saturating_add(DAY_US) } else { micros }))
}
