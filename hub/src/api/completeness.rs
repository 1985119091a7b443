//! How much of a run is in the record, and what was lost on the way, with its cause.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use rigwire_shared::ids::RunId;
use schemars::JsonSchema;
use serde::Serialize;

use super::answer::Time;
use super::artifacts::missing;
use super::runs::snapshot;
use crate::app::App;
use crate::error::ApiError;
use crate::store::Gap;

/// Files looked at for those that did not arrive; no run has more.
const FILES: usize = crate::artifact::FILES_MAX * 2;

#[derive(Debug, Serialize, JsonSchema)]
pub struct Completeness {
    run: RunId,
    /// Nothing is missing so far.
    complete: bool,
    /// The run has not ended: more will follow.
    goes_on: bool,
    /// The same for people.
    line: String,
    events: EventsFound,
    samples: SamplesFound,
    artifacts: FilesFound,
}

#[derive(Debug, Serialize, JsonSchema)]
struct EventsFound {
    found: u64,
    /// Number of the last event that there must be.
    last: u64,
    holes: Vec<Hole>,
    holes_left_out: u64,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Hole {
    from: u64,
    to: u64,
}

#[derive(Debug, Serialize, JsonSchema)]
struct SamplesFound {
    recorded: u64,
    by_quality: BTreeMap<String, u64>,
    lost: u64,
    gaps: Vec<GapRow>,
    gaps_left_out: u64,
}

#[derive(Debug, Serialize, JsonSchema)]
struct GapRow {
    at: Time,
    agent: String,
    /// Null for what concerns the agent as a whole.
    device: Option<String>,
    samples: u64,
    cause: String,
}

#[derive(Debug, Serialize, JsonSchema)]
struct FilesFound {
    complete: usize,
    incomplete: Vec<Incomplete>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Incomplete {
    name: String,
    size: u64,
    received: u64,
    cause: Option<String>,
}

pub async fn get(State(app): State<App>, Path(id): Path<String>) -> Result<Json<Completeness>, ApiError> {
    let run = snapshot(&app, &id).await?;
    let store = app.hub.store();
    let accounts = store.run_accounts(run.header.id, run.last_event, !run.status.is_final()).await?;
    let files = store.run_artifacts(run.header.id, 0, FILES).await?;
    let incomplete: Vec<Incomplete> = files
        .iter()
        .filter(|file| !file.is_complete())
        .map(|file| Incomplete {
            name: file.name.clone(),
            size: file.size,
            received: file.received,
            cause: missing(file, run.status.is_final()),
        })
        .collect();
    let events = &accounts.events;
    let complete = events.is_complete() && accounts.samples_lost == 0 && incomplete.is_empty();
    let mut line = events.to_string();
    for (count, what) in [(accounts.samples_lost, "samples lost"), (incomplete.len() as u64, "files incomplete")] {
        if count > 0 {
            line.push_str(&format!("; {count} {what}"));
        }
    }
    Ok(Json(Completeness {
        run: run.header.id,
        complete,
        goes_on: events.goes_on,
        line,
        events: EventsFound {
            found: events.found,
            last: events.last,
            holes: events.holes.iter().map(|(from, to)| Hole { from: *from, to: *to }).collect(),
            holes_left_out: events.holes_left_out,
        },
        samples: SamplesFound {
            recorded: accounts.values.iter().map(|(_, count)| count).sum(),
            by_quality: accounts.values.iter().cloned().collect(),
            lost: accounts.samples_lost,
            gaps: accounts.gaps.iter().map(gap).collect(),
            gaps_left_out: accounts.gaps_left_out,
        },
        artifacts: FilesFound { complete: files.len() - incomplete.len(), incomplete },
    }))
}

fn gap(gap: &Gap) -> GapRow {
    GapRow {
        at: Time(gap.at),
        agent: gap.agent.clone(),
        device: gap.device.clone(),
        samples: gap.samples,
        cause: gap.cause.clone(),
    }
}
