//! What a run told, by kind: its log, what was measured, and how much of all that is in the record.

use std::collections::BTreeMap;

use anyhow::Context;
use rigwire_shared::ids::RunId;
use rigwire_shared::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};
use serde::Deserialize;

use crate::event::{BoundDevice, Metric, RunEventBody, RunLog};
use crate::report::Completeness;

/// A partial index: gaps are few among millions of events.
pub(super) const INDEX: &str = "CREATE INDEX IF NOT EXISTS events_of_gaps ON events (sequence) WHERE type = 'gap';";

/// Series that one answer names.
pub const SERIES_MAX: usize = 1000;

/// Gaps that one answer lists; all are counted.
const GAPS_MAX: usize = 1000;

/// One metric of one device in a run: its good values in few numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    pub name: String,
    pub unit: String,
    pub device: Option<String>,
    pub count: u64,
    /// How many of them are good numbers; the rest of the summary is of those.
    pub good: u64,
    pub min: Option<f64>,
    pub max: Option<f64>,
    pub mean: Option<f64>,
    pub last: Option<f64>,
    pub last_at: Option<Timestamp>,
    /// Place of its first value in the record.
    pub first: u64,
}

/// What of a run is in the record, and what was lost on the way.
#[derive(Debug, Clone, Default)]
pub struct Accounts {
    pub events: Completeness,
    /// Measured values by quality.
    pub values: Vec<(String, u64)>,
    pub gaps: Vec<Gap>,
    pub gaps_left_out: u64,
    pub samples_lost: u64,
}

/// Samples of a device of the run, or of an agent as a whole, that never arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    pub at: Timestamp,
    pub agent: String,
    pub device: Option<String>,
    pub samples: u64,
    pub cause: String,
}

impl super::Store {
    /// Lines of a run's log after one of its events, of these levels.
    pub async fn run_logs(
        &self,
        run: RunId,
        after: u64,
        levels: Vec<&'static str>,
        limit: usize,
    ) -> anyhow::Result<Vec<(u64, Timestamp, RunLog)>> {
        self.barrier().await?;
        self.query(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT number, at, body FROM events WHERE run = ?1 AND number > ?2 AND type = 'log'
                 AND instr(?3, json_extract(body, '$.level')) > 0 ORDER BY number LIMIT ?4",
            )?;
            let rows = statement.query_map(
                params![run.to_string(), signed(after), levels.join(" "), signed(limit as u64)],
                numbered_body,
            )?;
            let mut found = Vec::new();
            for row in rows {
                if let (number, at, RunEventBody::Log(log)) = parse(run, row?)? {
                    found.push((number, at, log));
                }
            }
            Ok(found)
        })
        .await
    }

    /// Runs in the record, by status.
    pub async fn run_counts(&self) -> anyhow::Result<BTreeMap<String, u64>> {
        self.query(|connection| {
            let mut statement = connection.prepare_cached("SELECT status, count(*) FROM runs GROUP BY status")?;
            let rows = statement.query_map([], |row| Ok((row.get(0)?, unsigned(row.get(1)?))))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Values measured in a run after one of its events.
    pub async fn run_metrics(
        &self,
        run: RunId,
        after: u64,
        name: Option<String>,
        limit: usize,
    ) -> anyhow::Result<Vec<(u64, Timestamp, Metric)>> {
        self.barrier().await?;
        self.query(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT number, at, body FROM events WHERE run = ?1 AND number > ?2 AND type = 'metric'
                 AND (?3 IS NULL OR json_extract(body, '$.name') = ?3) ORDER BY number LIMIT ?4",
            )?;
            let rows = statement
                .query_map(params![run.to_string(), signed(after), name, signed(limit as u64)], numbered_body)?;
            let mut found = Vec::new();
            for row in rows {
                if let (number, at, RunEventBody::Metric(metric)) = parse(run, row?)? {
                    found.push((number, at, metric));
                }
            }
            Ok(found)
        })
        .await
    }

    /// A summary of each series of a run, the first so many, and whether there are more.
    pub async fn run_summaries(&self, run: RunId, name: Option<String>) -> anyhow::Result<(Vec<Summary>, bool)> {
        self.barrier().await?;
        self.query(move |connection| summaries(connection, run, name.as_deref())).await
    }

    /// The series whose first value is at this place in the record, and its run.
    pub async fn series(&self, first: u64) -> anyhow::Result<Option<(RunId, Summary)>> {
        self.barrier().await?;
        self.query(move |connection| {
            let found: Option<(String, String)> = connection
                .prepare_cached(
                    "SELECT run, json_extract(body, '$.name') FROM events
                     WHERE sequence = ?1 AND type = 'metric' AND run IS NOT NULL",
                )?
                .query_row(params![signed(first)], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            let Some((run, name)) = found else { return Ok(None) };
            let run = RunId(run.parse().with_context(|| format!("reading the run of event {first}"))?);
            let (summaries, _) = summaries(connection, run, Some(&name))?;
            Ok(summaries.into_iter().find(|summary| summary.first == first).map(|summary| (run, summary)))
        })
        .await
    }

    /// How complete the record of a run is up to its event `last`.
    pub async fn run_accounts(&self, run: RunId, last: u64, goes_on: bool) -> anyhow::Result<Accounts> {
        self.barrier().await?;
        self.query(move |connection| accounts(connection, run, last, goes_on)).await
    }
}

pub(super) type NumberedBody = (i64, i64, String);

pub(super) fn numbered_body(row: &rusqlite::Row<'_>) -> rusqlite::Result<NumberedBody> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
}

pub(super) fn parse(run: RunId, (number, at, body): NumberedBody) -> anyhow::Result<(u64, Timestamp, RunEventBody)> {
    let body = serde_json::from_str(&body).with_context(|| format!("reading event {number} of run {run}"))?;
    Ok((unsigned(number), Timestamp(at), body))
}

fn summaries(connection: &Connection, run: RunId, name: Option<&str>) -> anyhow::Result<(Vec<Summary>, bool)> {
    let mut statement = connection.prepare_cached(
        "SELECT name, unit, device, count(*), count(good), min(good), max(good), avg(good),
                max(CASE WHEN good IS NOT NULL THEN number END), min(sequence)
         FROM (SELECT number, sequence, json_extract(body, '$.name') AS name, json_extract(body, '$.unit') AS unit,
                      json_extract(body, '$.device') AS device,
                      CASE WHEN json_extract(body, '$.quality') = 'good'
                           AND json_type(body, '$.value') IN ('integer', 'real')
                      THEN CAST(json_extract(body, '$.value') AS REAL) END AS good
               FROM events WHERE run = ?1 AND type = 'metric')
         WHERE ?2 IS NULL OR name = ?2
         GROUP BY name, unit, device ORDER BY name, unit, device LIMIT ?3",
    )?;
    let most = signed(SERIES_MAX as u64);
    let rows = statement.query_map(params![run.to_string(), name, most + 1], |row| {
        let summary = Summary {
            name: row.get(0)?,
            unit: row.get(1)?,
            device: row.get(2)?,
            count: unsigned(row.get(3)?),
            good: unsigned(row.get(4)?),
            min: row.get(5)?,
            max: row.get(6)?,
            mean: row.get(7)?,
            last: None,
            last_at: None,
            first: unsigned(row.get(9)?),
        };
        Ok((summary, row.get::<_, Option<i64>>(8)?))
    })?;
    let mut found = rows.collect::<Result<Vec<_>, _>>()?;
    let more = found.len() > SERIES_MAX;
    found.truncate(SERIES_MAX);
    let mut last = connection
        .prepare_cached("SELECT json_extract(body, '$.value'), at FROM events WHERE run = ?1 AND number = ?2")?;
    let mut filled = Vec::with_capacity(found.len());
    for (mut summary, number) in found {
        if let Some((value, at)) = last
            .query_row(params![run.to_string(), number], |row| Ok((row.get::<_, f64>(0)?, row.get::<_, i64>(1)?)))
            .optional()?
        {
            summary.last = Some(value);
            summary.last_at = Some(Timestamp(at));
        }
        filled.push(summary);
    }
    Ok((filled, more))
}

fn accounts(connection: &Connection, run: RunId, last: u64, goes_on: bool) -> anyhow::Result<Accounts> {
    let id = run.to_string();
    let mut accounts = Accounts::default();
    let mut statement = connection
        .prepare_cached("SELECT number, sequence FROM events WHERE run = ?1 AND number <= ?2 ORDER BY number")?;
    let mut rows = statement.query(params![id, signed(last)])?;
    let (mut first_sequence, mut last_sequence) = (None, 0_i64);
    while let Some(row) = rows.next()? {
        accounts.events.take(unsigned(row.get(0)?));
        last_sequence = row.get(1)?;
        first_sequence.get_or_insert(last_sequence);
    }
    accounts.events.close(last, goes_on);
    let mut statement = connection.prepare_cached(
        "SELECT json_extract(body, '$.quality'), count(*) FROM events
         WHERE run = ?1 AND number <= ?2 AND type = 'metric' GROUP BY 1 ORDER BY 1",
    )?;
    let rows =
        statement.query_map(params![id, signed(last)], |row| Ok((row.get::<_, String>(0)?, unsigned(row.get(1)?))))?;
    accounts.values = rows.collect::<Result<_, _>>()?;
    let Some(first_sequence) = first_sequence else { return Ok(accounts) };
    // What an agent lost it reports in its turn, so between the first and the last of what it reported to this run.
    let bound = bound_devices(connection, run)?;
    let mut statement = connection.prepare_cached(
        "SELECT at, body FROM events WHERE type = 'gap' AND sequence BETWEEN ?1 AND ?2 ORDER BY sequence",
    )?;
    let until = if goes_on { i64::MAX } else { last_sequence };
    let mut rows = statement.query(params![first_sequence, until])?;
    while let Some(row) = rows.next()? {
        let gap: GapBody = serde_json::from_str(&row.get::<_, String>(1)?).context("reading a gap")?;
        let concerns = |bound: &BoundDevice| {
            bound.agent.as_str() == gap.agent
                && gap.device.as_deref().is_none_or(|device| device == bound.device.as_str())
        };
        if !bound.iter().any(concerns) {
            continue;
        }
        accounts.samples_lost = accounts.samples_lost.saturating_add(gap.samples);
        if accounts.gaps.len() < GAPS_MAX {
            let GapBody { agent, device, samples, cause } = gap;
            accounts.gaps.push(Gap { at: Timestamp(row.get(0)?), agent, device, samples, cause });
        } else {
            accounts.gaps_left_out += 1;
        }
    }
    Ok(accounts)
}

#[derive(Deserialize)]
struct GapBody {
    agent: String,
    device: Option<String>,
    samples: u64,
    cause: String,
}

fn bound_devices(connection: &Connection, run: RunId) -> anyhow::Result<Vec<BoundDevice>> {
    let mut statement =
        connection.prepare_cached("SELECT number, at, body FROM events WHERE run = ?1 AND type = 'bound'")?;
    let mut bound = Vec::new();
    for row in statement.query_map(params![run.to_string()], numbered_body)? {
        if let (_, _, RunEventBody::Bound { devices, .. }) = parse(run, row?)? {
            bound.extend(devices);
        }
    }
    Ok(bound)
}

/// SQLite's integers are signed; ours never reach the last bit.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}
