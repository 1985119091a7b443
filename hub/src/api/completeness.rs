//! How much of a run is in the record, and what was lost on the way, with its cause.

use axum::Json;
use axum::extract::{Path, State};
use serde_json::json;

use super::artifacts::missing;
use super::runs::snapshot;
use crate::app::App;
use crate::dialect::rfc3339;
use crate::error::ApiError;
use crate::store::Gap;

/// Files looked at for those that did not arrive; no run has more.
const FILES: usize = crate::artifact::FILES_MAX * 2;

pub async fn get(State(app): State<App>, Path(id): Path<String>) -> Result<Json<serde_json::Value>, ApiError> {
    let run = snapshot(&app, &id).await?;
    let store = app.hub.store();
    let accounts = store.run_accounts(run.header.id, run.last_event, !run.status.is_final()).await?;
    let files = store.run_artifacts(run.header.id, 0, FILES).await?;
    let incomplete: Vec<serde_json::Value> = files
        .iter()
        .filter(|file| !file.is_complete())
        .map(|file| {
            let cause = missing(file, run.status.is_final());
            json!({"name": file.name, "size": file.size, "received": file.received, "cause": cause})
        })
        .collect();
    let events = &accounts.events;
    let holes: Vec<serde_json::Value> = events.holes.iter().map(|(from, to)| json!({"from": from, "to": to})).collect();
    let measured: u64 = accounts.values.iter().map(|(_, count)| count).sum();
    let qualities: serde_json::Map<String, serde_json::Value> =
        accounts.values.iter().map(|(quality, count)| (quality.clone(), (*count).into())).collect();
    let complete = events.is_complete() && accounts.samples_lost == 0 && incomplete.is_empty();
    let mut line = events.to_string();
    for (count, what) in [(accounts.samples_lost, "samples lost"), (incomplete.len() as u64, "files incomplete")] {
        if count > 0 {
            line.push_str(&format!("; {count} {what}"));
        }
    }
    Ok(Json(json!({
        "run": run.header.id, "complete": complete, "goes_on": events.goes_on, "line": line,
        "events": {
            "found": events.found, "last": events.last, "holes": holes, "holes_left_out": events.holes_left_out,
        },
        "samples": {
            "recorded": measured, "by_quality": qualities, "lost": accounts.samples_lost,
            "gaps": accounts.gaps.iter().map(gap).collect::<Vec<_>>(), "gaps_left_out": accounts.gaps_left_out,
        },
        "artifacts": {"complete": files.len() - incomplete.len(), "incomplete": incomplete},
    })))
}

fn gap(gap: &Gap) -> serde_json::Value {
    json!({
        "at": rfc3339(gap.at), "agent": gap.agent, "device": gap.device, "samples": gap.samples, "cause": gap.cause,
    })
}
