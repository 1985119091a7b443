//! Runs a page at a time with their number, and many runs in few numbers, for interfaces that count and skip.

use anyhow::Context;
use rigwire_shared::ids::RunId;
use rigwire_shared::time::Timestamp;
use rigwire_shared::value::Value;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::RunRow;
use crate::event::{Purpose, RunEventBody, RunHeader, RunKind, RunSnapshot, RunStatus};

/// A partial index: a run is given its devices once, among thousands of other events.
pub(super) const INDEX: &str = "CREATE INDEX IF NOT EXISTS events_of_bounds ON events (run) WHERE type = 'bound';";

/// Which runs are listed: those that are no part of another.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// One of these; none: any.
    pub statuses: Vec<RunStatus>,
    pub kind: Option<RunKind>,
    /// Of the procedure of this name, or of the program that calls itself so.
    pub procedure: Option<String>,
    pub name: Option<String>,
    /// Made at this time or later, and before that one.
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
    pub offset: usize,
    pub limit: usize,
}

/// A run of a list.
#[derive(Debug, Clone)]
pub struct Listed {
    pub row: RunRow,
    /// The procedure's name, or what the program that reports it calls itself.
    pub procedure: String,
    pub devices: Vec<String>,
}

impl Listed {
    /// When its status last changed.
    pub fn changed_at(&self) -> &str {
        let RunRow { created_at, started_at, finished_at, .. } = &self.row;
        finished_at.as_ref().or(started_at.as_ref()).unwrap_or(created_at)
    }
}

impl From<&RunSnapshot> for Listed {
    fn from(run: &RunSnapshot) -> Self {
        let mut devices: Vec<String> = run.devices.iter().map(|device| device.device.as_str().to_owned()).collect();
        let of_steps =
            run.steps.iter().filter_map(|step| step.device.as_ref()).map(|device| device.as_str().to_owned());
        for device in of_steps.chain(self::devices(&run.header, None)) {
            if !devices.contains(&device) {
                devices.push(device);
            }
        }
        Self { row: RunRow::from(run), procedure: run.header.agent_name.clone(), devices }
    }
}

/// Many runs in few numbers.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tally {
    pub pending: u64,
    pub running: u64,
    pub paused: u64,
    pub completed: u64,
    pub failed: u64,
    pub cancelled: u64,
    /// Of those that have ended.
    pub mean_duration_s: Option<f64>,
    pub last: Option<Timestamp>,
    /// Different devices that were held or reported on.
    pub devices: u64,
}

impl Tally {
    pub const fn total(&self) -> u64 {
        self.pending + self.running + self.paused + self.ended()
    }

    pub const fn ended(&self) -> u64 {
        self.completed + self.failed + self.cancelled
    }

    /// Percent of those that have ended.
    #[expect(clippy::cast_precision_loss, reason = "numbers of runs")]
    pub fn success_rate(&self) -> f64 {
        if self.ended() == 0 { 0.0 } else { 100.0 * self.completed as f64 / self.ended() as f64 }
    }
}

impl super::Store {
    /// Runs, newest first, and how many there are in all.
    pub async fn listed(&self, listing: Listing) -> anyhow::Result<(Vec<Listed>, u64)> {
        self.barrier().await?;
        self.query(move |connection| Ok((page(connection, &listing)?, count(connection, &listing)?))).await
    }

    pub async fn tally(&self, listing: Listing) -> anyhow::Result<Tally> {
        self.barrier().await?;
        self.query(move |connection| tally(connection, &listing)).await
    }

    /// Which part of its parent a run is, if the parent said so.
    pub async fn purpose(&self, parent: RunId, child: RunId) -> anyhow::Result<Option<Purpose>> {
        self.barrier().await?;
        self.query(move |connection| {
            let body: Option<String> = connection
                .prepare_cached(
                    "SELECT body FROM events WHERE run = ?1 AND type = 'child' AND json_extract(body, '$.run') = ?2",
                )?
                .query_row(params![parent.to_string(), child.to_string()], |row| row.get(0))
                .optional()?;
            let body: Option<RunEventBody> = body
                .map(|body| serde_json::from_str(&body))
                .transpose()
                .with_context(|| format!("reading a part of run {parent}"))?;
            Ok(match body {
                Some(RunEventBody::Child(child)) => Some(child.purpose),
                Some(_) | None => None,
            })
        })
        .await
    }
}

const WHERE: &str = "json_extract(row, '$.parent') IS NULL
    AND (?1 = '' OR instr(?1, status) > 0) AND (?2 IS NULL OR kind = ?2)
    AND (?3 IS NULL OR json_extract(header, '$.agent_name') = ?3) AND (?4 IS NULL OR json_extract(header, '$.name') = ?4)
    AND (?5 IS NULL OR json_extract(header, '$.created_at') >= ?5) AND (?6 IS NULL OR json_extract(header, '$.created_at') < ?6)";

type Arguments<'a> = (String, Option<&'static str>, Option<&'a str>, Option<&'a str>, Option<i64>, Option<i64>);

fn arguments(listing: &Listing) -> Arguments<'_> {
    let statuses: Vec<&str> = listing.statuses.iter().map(|status| status.as_str()).collect();
    (
        statuses.join(" "),
        listing.kind.map(RunKind::as_str),
        listing.procedure.as_deref(),
        listing.name.as_deref(),
        listing.from.map(|at| at.0),
        listing.to.map(|at| at.0),
    )
}

fn page(connection: &Connection, listing: &Listing) -> anyhow::Result<Vec<Listed>> {
    let (statuses, kind, procedure, name, from, to) = arguments(listing);
    let query = format!(
        "SELECT row, header, (SELECT body FROM events WHERE run = runs.id AND type = 'bound' LIMIT 1)
         FROM runs WHERE {WHERE} ORDER BY number DESC LIMIT ?7 OFFSET ?8"
    );
    let signed = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    let mut statement = connection.prepare_cached(&query)?;
    let rows = statement.query_map(
        params![statuses, kind, procedure, name, from, to, signed(listing.limit), signed(listing.offset)],
        |row: &Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, Option<String>>(2)?)),
    )?;
    rows.map(|found| {
        let (row, header, bound) = found?;
        let header: RunHeader = serde_json::from_str(&header).context("reading a run's header")?;
        let bound: Option<RunEventBody> =
            bound.map(|body| serde_json::from_str(&body)).transpose().context("reading a run's devices")?;
        Ok(Listed {
            row: serde_json::from_str(&row).context("reading a run's row")?,
            devices: devices(&header, bound),
            procedure: header.agent_name,
        })
    })
    .collect()
}

/// What the run holds or held, or was announced to be about.
fn devices(header: &RunHeader, bound: Option<RunEventBody>) -> Vec<String> {
    if let Some(RunEventBody::Bound { devices, .. }) = bound {
        return devices.into_iter().map(|bound| bound.device.as_str().to_owned()).collect();
    }
    let announced = header.params.iter().find(|(name, _)| header.external && name == "devices");
    match announced {
        Some((_, Value::List(devices))) => devices.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        Some(_) | None => Vec::new(),
    }
}

fn count(connection: &Connection, listing: &Listing) -> anyhow::Result<u64> {
    let (statuses, kind, procedure, name, from, to) = arguments(listing);
    let query = format!("SELECT count(*) FROM runs WHERE {WHERE}");
    let count: i64 = connection
        .prepare_cached(&query)?
        .query_row(params![statuses, kind, procedure, name, from, to], |row| row.get(0))?;
    Ok(u64::try_from(count).unwrap_or_default())
}

fn tally(connection: &Connection, listing: &Listing) -> anyhow::Result<Tally> {
    let (statuses, kind, procedure, name, from, to) = arguments(listing);
    let query = format!(
        "SELECT status, count(*), total(json_extract(row, '$.result.duration_s')), max(json_extract(header, '$.created_at'))
         FROM runs WHERE {WHERE} GROUP BY status"
    );
    let mut statement = connection.prepare_cached(&query)?;
    let rows = statement.query_map(params![statuses, kind, procedure, name, from, to], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?, row.get::<_, f64>(2)?, row.get::<_, Option<i64>>(3)?))
    })?;
    let mut tally = Tally::default();
    let mut seconds = 0.0;
    for row in rows {
        let (status, count, total, last) = row?;
        let count = u64::try_from(count).unwrap_or_default();
        let place = match status.as_str() {
            "pending" => &mut tally.pending,
            "running" => &mut tally.running,
            "paused" => &mut tally.paused,
            "completed" => &mut tally.completed,
            "failed" => &mut tally.failed,
            _ => &mut tally.cancelled,
        };
        *place = count;
        seconds += total;
        tally.last = tally.last.max(last.map(Timestamp));
    }
    #[expect(clippy::cast_precision_loss, reason = "a number of runs")]
    let ended = tally.ended() as f64;
    tally.mean_duration_s = (ended > 0.0).then(|| seconds / ended);
    let query = format!(
        "SELECT count(DISTINCT device) FROM (
           SELECT json_extract(bound.value, '$.device') AS device
           FROM runs JOIN events ON events.run = runs.id AND events.type = 'bound', json_each(events.body, '$.devices') AS bound
           WHERE {WHERE}
           UNION
           SELECT about.value FROM runs, json_each(header, '$.params.devices') AS about
           WHERE json_extract(header, '$.external') AND {WHERE})"
    );
    let devices: i64 = connection
        .prepare_cached(&query)?
        .query_row(params![statuses, kind, procedure, name, from, to], |row| row.get(0))?;
    tally.devices = u64::try_from(devices).unwrap_or_default();
    Ok(tally)
}
