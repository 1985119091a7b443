//! A run's log, a page at a time as JSON or to its end as plain text.

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use rigwire_shared::event::Level;
use rigwire_shared::ids::{DeviceId, RunId, StepId};
use rigwire_shared::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::answer::Time;
use super::runs::snapshot;
use crate::app::App;
use crate::dialect::rfc3339;
use crate::error::ApiError;
use crate::event::RunLog;

const PAGE_MAX: usize = 5000;

/// Lines read at a time when all are asked for.
const TEXT_PAGE: usize = 1000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "LogFormat")]
enum Format {
    Json,
    Text,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LogsQuery {
    /// `next` of the page before.
    #[serde(default)]
    after: u64,
    /// At most 5,000 lines, 1,000 if left out; as text all of them if left out.
    limit: Option<usize>,
    /// The least that a line must matter.
    level: Option<Level>,
    format: Option<Format>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Logs {
    logs: Vec<LogRow>,
    next: u64,
}

#[derive(Debug, Serialize, JsonSchema)]
struct LogRow {
    /// Number of the event within the run.
    seq: u64,
    at: Time,
    level: Level,
    message: String,
    device: Option<DeviceId>,
    module: Option<String>,
    step: Option<StepId>,
    source: String,
}

pub async fn get(
    State(app): State<App>,
    Path(id): Path<String>,
    query: Result<Query<LogsQuery>, QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(query) = query.map_err(|error| ApiError::bad_request("INVALID_QUERY", error.body_text()))?;
    let run = snapshot(&app, &id).await?;
    let levels: Vec<&'static str> = [Level::Debug, Level::Info, Level::Warning, Level::Error]
        .into_iter()
        .filter(|level| query.level.is_none_or(|least| *level >= least))
        .map(Level::as_str)
        .collect();
    if query.format == Some(Format::Text) {
        return Ok(text(app, run.header.id, query.after, levels, query.limit));
    }
    let limit = query.limit.unwrap_or(1000).clamp(1, PAGE_MAX);
    let lines = app.hub.store().run_logs(run.header.id, query.after, levels, limit).await?;
    let next = lines.last().map_or(query.after, |(number, ..)| *number);
    let logs = lines.into_iter().map(|(number, at, log)| row(number, at, log)).collect();
    Ok(Json(Logs { logs, next }).into_response())
}

fn row(seq: u64, at: Timestamp, log: RunLog) -> LogRow {
    let RunLog { level, message, device, module, step, source } = log;
    LogRow { seq, at: Time(at), level, message, device, module, step, source }
}

/// The log as a text, read from the record while it is sent.
fn text(app: App, run: RunId, after: u64, levels: Vec<&'static str>, limit: Option<usize>) -> Response {
    let left = limit.unwrap_or(usize::MAX);
    let pages = stream::try_unfold((after, left), move |(after, left)| {
        let (app, levels) = (app.clone(), levels.clone());
        async move {
            let lines = app.hub.store().run_logs(run, after, levels, left.min(TEXT_PAGE)).await?;
            let Some((last, ..)) = lines.last() else { return Ok(None) };
            let next = (*last, left.saturating_sub(lines.len()));
            let page: String = lines.iter().map(|(_, at, log)| line(*at, log)).collect();
            Ok::<_, anyhow::Error>(Some((page, next)))
        }
    });
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, Body::from_stream(pages)).into_response()
}

/// One line of text, whatever a program wrote: lines of its own are indented.
fn line(at: Timestamp, log: &RunLog) -> String {
    let device = log.device.as_ref().map(|device| format!(" [{device}]")).unwrap_or_default();
    let message = log.message.trim_end().lines().map(shown).collect::<Vec<_>>().join("\n    ");
    let source = shown(&log.source);
    format!("{} {:<7} {source}{device}: {message}\n", rfc3339(at), log.level.as_str().to_uppercase())
}

/// Without what would move a terminal's cursor, colour it, or turn the direction of a text.
fn shown(text: &str) -> String {
    let moves = |c: char| c.is_control() && c != '\t';
    let turns = |c: char| matches!(c, '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if moves(c) || turns(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_message_holds_it_is_one_entry() {
        let shown = |message: &str, source: &str| {
            let (message, source) = (message.to_owned(), source.to_owned());
            line(Timestamp(0), &RunLog { level: Level::Info, message, device: None, module: None, step: None, source })
        };
        for (message, expected) in [
            ("two\nlines\r\nor three\n", "two\n    lines\n    or three"),
            ("a\tb", "a\tb"),
            ("good\rbad", "good\u{fffd}bad"),
            ("\u{1b}[31mred\u{202e}", "\u{fffd}[31mred\u{fffd}"),
        ] {
            let expected = format!("1970-01-01T00:00:00.000Z INFO    a\u{fffd}b: {expected}\n");
            assert_eq!(shown(message, "a\nb"), expected, "{message:?}");
        }
    }
}
