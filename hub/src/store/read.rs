//! Records and events from rows.

use std::sync::Arc;

use anyhow::Context;
use rigwire_shared::ids::{AgentId, RunId};
use rigwire_shared::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::describe::Object;
use crate::dialect::{RunReference, rfc3339};
use crate::event::{Finished, RunError, RunEventBody, RunHeader, RunKind, RunSnapshot, RunStatus};
use crate::model::Restored;
use crate::procedure::Procedure;
use crate::run::Run;

/// A run as lists show it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct RunRow {
    pub id: RunId,
    pub number: u64,
    pub parent: Option<RunId>,
    pub kind: RunKind,
    pub name: String,
    pub status: RunStatus,
    pub step: Option<String>,
    pub progress: f64,
    pub phase: String,
    pub created_at: String,
    pub started_at: Option<String>,
    pub finished_at: Option<String>,
    #[schemars(with = "Option<RunError>")]
    pub error: Option<serde_json::Value>,
    #[schemars(with = "Object")]
    pub params: serde_json::Value,
    pub result: Option<Finished>,
}

impl From<&RunSnapshot> for RunRow {
    fn from(run: &RunSnapshot) -> Self {
        let finished = run.finished.as_ref();
        Self {
            id: run.header.id,
            number: run.header.number,
            parent: run.header.parent,
            kind: run.header.kind,
            name: run.header.name.clone(),
            status: run.status,
            step: run.progress.step.as_ref().map(|step| step.as_str().to_owned()),
            progress: run.progress.percent,
            phase: run.progress.phase.clone(),
            created_at: rfc3339(run.header.created_at),
            started_at: run.started_at.map(rfc3339),
            finished_at: run.finished_at.map(rfc3339),
            error: finished
                .and_then(|finished| finished.error.as_ref())
                .and_then(|error| serde_json::to_value(error).ok()),
            params: serde_json::to_value(rigwire_shared::value::Value::Map(run.header.params.clone()))
                .unwrap_or(serde_json::Value::Null),
            result: finished.cloned(),
        }
    }
}

/// One event of a run as the interface shows it.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct EventRow {
    /// Number within the run.
    pub seq: u64,
    /// Number within the whole record.
    pub sequence: u64,
    pub at: String,
    /// Holds `type` and the fields that belong to it.
    #[serde(flatten)]
    #[schemars(with = "RunEventBody")]
    pub body: serde_json::Value,
}

#[derive(Debug, Clone, Default)]
pub struct RunFilter {
    pub status: Option<RunStatus>,
    pub kind: Option<RunKind>,
    /// Only runs that were started for this one.
    pub parent: Option<RunId>,
    /// Only runs with a smaller number: the newest come first.
    pub before: Option<u64>,
    pub limit: usize,
}

pub(super) fn runs(connection: &Connection, filter: &RunFilter) -> anyhow::Result<Vec<RunRow>> {
    let mut statement = connection.prepare_cached(
        "SELECT row FROM runs
         WHERE (?1 IS NULL OR status = ?1) AND (?2 IS NULL OR kind = ?2) AND (?3 IS NULL OR number < ?3)
           AND (?5 IS NULL OR json_extract(row, '$.parent') = ?5)
         ORDER BY number DESC LIMIT ?4",
    )?;
    let rows = statement.query_map(
        params![
            filter.status.map(RunStatus::as_str),
            filter.kind.map(RunKind::as_str),
            filter.before.map(|before| i64::try_from(before).unwrap_or(i64::MAX)),
            i64::try_from(filter.limit).unwrap_or(i64::MAX),
            filter.parent.map(|parent| parent.to_string())
        ],
        |row| row.get::<_, String>(0),
    )?;
    rows.map(|row| serde_json::from_str(&row?).context("reading a run's row")).collect()
}

/// A run's UUID or its number, as columns hold them.
pub(super) fn whose_number(reference: RunReference) -> (Option<String>, Option<i64>) {
    match reference {
        RunReference::Id(id) => (Some(id.to_string()), None),
        RunReference::Number(number) => (None, Some(i64::try_from(number).unwrap_or(i64::MAX))),
    }
}

pub(super) fn run(connection: &Connection, reference: RunReference) -> anyhow::Result<Option<RunSnapshot>> {
    let (id, number) = whose_number(reference);
    let found = connection
        .prepare_cached("SELECT header, procedure FROM runs WHERE id = ?1 OR number = ?2")?
        .query_row(params![id, number], header_and_procedure)
        .optional()?;
    let Some(found) = found else { return Ok(None) };
    Ok(Some(replay(connection, found)?.snapshot(|_| None)))
}

pub(super) fn run_events(
    connection: &Connection,
    run: RunId,
    after: u64,
    limit: usize,
) -> anyhow::Result<Vec<EventRow>> {
    let mut statement = connection.prepare_cached(
        "SELECT number, sequence, at, body FROM events WHERE run = ?1 AND number > ?2 ORDER BY number LIMIT ?3",
    )?;
    let rows = statement.query_map(
        params![run.to_string(), i64::try_from(after).unwrap_or(i64::MAX), i64::try_from(limit).unwrap_or(i64::MAX)],
        |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?, row.get::<_, String>(3)?)),
    )?;
    rows.map(|row| {
        let (number, sequence, at, body) = row?;
        Ok(EventRow {
            seq: u64::try_from(number).unwrap_or_default(),
            sequence: u64::try_from(sequence).unwrap_or_default(),
            at: rfc3339(Timestamp(at)),
            body: serde_json::from_str(&body).context("reading an event's body")?,
        })
    })
    .collect()
}

impl super::Store {
    /// Number, time and content of a run's events after one of them, in order.
    pub async fn run_event_bodies(
        &self,
        run: RunId,
        after: u64,
        limit: usize,
    ) -> anyhow::Result<Vec<(u64, Timestamp, RunEventBody)>> {
        self.barrier().await?;
        self.query(move |connection| run_event_bodies(connection, run, after, limit)).await
    }
}

fn run_event_bodies(
    connection: &Connection,
    run: RunId,
    after: u64,
    limit: usize,
) -> anyhow::Result<Vec<(u64, Timestamp, RunEventBody)>> {
    let mut statement = connection.prepare_cached(
        "SELECT number, at, body FROM events WHERE run = ?1 AND number > ?2 ORDER BY number LIMIT ?3",
    )?;
    let rows = statement.query_map(
        params![run.to_string(), i64::try_from(after).unwrap_or(i64::MAX), i64::try_from(limit).unwrap_or(i64::MAX)],
        |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, String>(2)?)),
    )?;
    rows.map(|row| {
        let (number, at, body) = row?;
        let body = serde_json::from_str(&body).with_context(|| format!("reading event {number} of run {run}"))?;
        Ok((u64::try_from(number).unwrap_or_default(), Timestamp(at), body))
    })
    .collect()
}

pub(super) fn restore(connection: &Connection) -> anyhow::Result<Restored> {
    let next = |query: &str| -> anyhow::Result<u64> {
        let value: Option<i64> = connection.query_row(query, [], |row| row.get(0)).optional()?.flatten();
        Ok(value.and_then(|value| u64::try_from(value).ok()).unwrap_or_default())
    };
    let next_sequence = next("SELECT max(sequence) FROM events")? + 1;
    let next_number = next("SELECT max(value) FROM meta WHERE key = 'next_number'")?;
    let mut agents = Vec::new();
    let mut statement = connection.prepare("SELECT state FROM agents")?;
    for state in statement.query_map([], |row| row.get::<_, String>(0))? {
        agents.push(serde_json::from_str(&state?).context("reading an agent")?);
    }
    let mut devices = Vec::new();
    let mut statement = connection.prepare("SELECT agent, card FROM devices")?;
    for device in statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))? {
        let (agent, card) = device?;
        let agent = AgentId::new(&agent).with_context(|| format!("agent {agent:?} of a device"))?;
        devices.push((agent, serde_json::from_str(&card).context("reading a device")?));
    }
    let mut open = Vec::new();
    let mut statement = connection.prepare(
        "SELECT header, procedure FROM runs WHERE status IN ('pending', 'running', 'paused') ORDER BY number",
    )?;
    for found in statement.query_map([], header_and_procedure)? {
        open.push(found?);
    }
    let runs = open.into_iter().map(|found| replay(connection, found)).collect::<anyhow::Result<Vec<Run>>>()?;
    let reservations = super::lease::read(connection)?;
    let chat = super::chat::restore(connection)?;
    Ok(Restored { next_sequence, next_number, agents, devices, runs, reservations, chat, ..Restored::default() })
}

fn header_and_procedure(row: &Row<'_>) -> rusqlite::Result<(String, Option<String>)> {
    Ok((row.get(0)?, row.get(1)?))
}

/// A run as its events add up to it.
fn replay(connection: &Connection, (header, procedure): (String, Option<String>)) -> anyhow::Result<Run> {
    let header: RunHeader = serde_json::from_str(&header).context("reading a run's header")?;
    let procedure: Option<Procedure> =
        procedure.map(|text| serde_json::from_str(&text)).transpose().context("reading a run's procedure")?;
    let id = header.id;
    let mut run = Run::new(Arc::new(header), procedure.map(Arc::new));
    let mut statement = connection.prepare_cached("SELECT at, body FROM events WHERE run = ?1 ORDER BY number")?;
    for event in
        statement.query_map(params![id.to_string()], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)))?
    {
        let (at, body) = event?;
        let body: RunEventBody =
            serde_json::from_str(&body).with_context(|| format!("reading an event of run {id}"))?;
        run.apply(&body, Timestamp(at));
    }
    if run.header.external {
        for reported in super::reported::read(connection, id)? {
            run.remember(&reported);
        }
    }
    Ok(run)
}
