//! Runs as a test dashboard lists them: executions of suites, and the tests in each, with their times. Knows no protocol.

use anyhow::Context;
use rigwire_shared::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::RunRow;
use super::read::whose_number;
use crate::dialect::RunReference;
use crate::event::{RunEventBody, RunHeader, StepChange, StepEvent, TestEvent};
use crate::procedure::Procedure;

/// Who ran what: the number of an agent is that of the first run that it had.
pub(super) const INDEX: &str =
    "CREATE INDEX IF NOT EXISTS runs_by_agent ON runs (json_extract(header, '$.agent_name'), number);";

/// Events of one run that are looked at.
const EVENTS_MAX: i64 = 100_000;

/// Names that one answer lists.
const NAMES_MAX: i64 = 1000;

const ALL: &str = "
SELECT row, json_extract(header, '$.agent_name'),
    (SELECT min(first.number) FROM runs AS first
     WHERE json_extract(first.header, '$.agent_name') = json_extract(runs.header, '$.agent_name')),
    max(json_array_length(header, '$.tests'), iif(json_array_length(header, '$.tests') = 0, json_array_length(header, '$.steps'), 0)),
    coalesce((SELECT max(json_extract(value, '$.runs')) FROM json_each(runs.header, '$.tests')), 1)
FROM runs";

const WANTED: &str = "
WHERE row <> 'null' AND (?1 IS NULL OR json_extract(row, '$.name') = ?1)
    AND (?2 IS NULL OR json_extract(header, '$.agent_name') =
        (SELECT json_extract(known.header, '$.agent_name') FROM runs AS known WHERE known.number = ?2))";

#[derive(Debug, Clone, Default)]
pub struct ExecutionFilter {
    pub name: Option<String>,
    pub agent: Option<u64>,
    pub limit: usize,
    pub offset: usize,
}

/// A run, and what its row does not say.
#[derive(Debug, Clone)]
pub struct Execution {
    pub row: RunRow,
    pub agent_name: String,
    pub agent: u64,
    pub tests: u32,
    pub runs_per_test: u32,
}

/// One test of a run, or one step where a run has no tests.
#[derive(Debug, Clone, PartialEq)]
pub struct TestExecution {
    pub suite: u64,
    pub number: u64,
    pub id: String,
    pub name: String,
    pub tags: Vec<String>,
    /// `pending`, `running`, `completed`, `failed`, `cancelled` or `skipped`.
    pub status: String,
    pub percent: f64,
    pub started_at: Option<Timestamp>,
    pub completed_at: Option<Timestamp>,
    pub duration_s: Option<f64>,
    pub total_runs: u32,
    pub successful_runs: u32,
    pub success: Option<bool>,
    pub score: Option<f64>,
    pub error: Option<String>,
}

/// How much there is of everything.
#[derive(Debug, Clone, Copy, Default)]
pub struct Totals {
    pub agents: u64,
    pub names: u64,
    pub runs: u64,
}

impl super::Store {
    /// Executions, newest first, and how many there are in all.
    pub async fn executions(&self, filter: ExecutionFilter) -> anyhow::Result<(u64, Vec<Execution>)> {
        self.barrier().await?;
        self.query(move |connection| executions(connection, &filter)).await
    }

    pub async fn execution(&self, reference: RunReference) -> anyhow::Result<Option<Execution>> {
        self.barrier().await?;
        self.query(move |connection| {
            let (id, number) = whose_number(reference);
            connection
                .prepare_cached(&format!("{ALL} WHERE row <> 'null' AND (id = ?1 OR number = ?2)"))?
                .query_row(params![id, number], execution_columns)
                .optional()?
                .map(execution)
                .transpose()
        })
        .await
    }

    /// Tests of these runs, in the order of the runs.
    pub async fn test_executions(&self, runs: Vec<u64>) -> anyhow::Result<Vec<TestExecution>> {
        self.barrier().await?;
        self.query(move |connection| {
            let mut found = Vec::new();
            for run in runs {
                found.extend(tests(connection, run)?);
            }
            Ok(found)
        })
        .await
    }

    /// The run in which a test or step has this number.
    pub async fn run_of_test(&self, number: u64) -> anyhow::Result<Option<u64>> {
        self.barrier().await?;
        self.query(move |connection| {
            // Numbers of steps and tests come from one sequence with those of runs, after that of their run.
            let found = connection
                .prepare_cached(
                    "SELECT number FROM (SELECT number, header FROM runs WHERE number <= ?1 ORDER BY number DESC LIMIT 50)
                     WHERE EXISTS (SELECT 1 FROM json_each(header, '$.tests') WHERE json_extract(value, '$.number') = ?1)
                        OR EXISTS (SELECT 1 FROM json_each(header, '$.steps') WHERE json_extract(value, '$.number') = ?1)",
                )?
                .query_row(params![signed(number)], |row| row.get::<_, i64>(0))
                .optional()?;
            Ok(found.and_then(|number| u64::try_from(number).ok()))
        })
        .await
    }

    pub async fn execution_names(&self) -> anyhow::Result<Vec<String>> {
        self.barrier().await?;
        self.query(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT DISTINCT json_extract(row, '$.name') AS name FROM runs WHERE row <> 'null' ORDER BY name LIMIT ?1",
            )?;
            let names = statement.query_map(params![NAMES_MAX], |row| row.get(0))?;
            Ok(names.collect::<Result<_, _>>()?)
        })
        .await
    }

    pub async fn totals(&self) -> anyhow::Result<Totals> {
        self.barrier().await?;
        self.query(|connection| {
            let totals = connection.query_row(
                "SELECT count(DISTINCT json_extract(header, '$.agent_name')), count(DISTINCT json_extract(row, '$.name')),
                        count(*) FROM runs WHERE row <> 'null'",
                [],
                |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?)),
            )?;
            let unsigned = |number: i64| u64::try_from(number).unwrap_or_default();
            Ok(Totals { agents: unsigned(totals.0), names: unsigned(totals.1), runs: unsigned(totals.2) })
        })
        .await
    }
}

fn executions(connection: &Connection, filter: &ExecutionFilter) -> anyhow::Result<(u64, Vec<Execution>)> {
    let agent = filter.agent.map(signed);
    let total: i64 = connection
        .prepare_cached(&format!("SELECT count(*) FROM runs {WANTED}"))?
        .query_row(params![filter.name, agent], |row| row.get(0))?;
    let mut statement =
        connection.prepare_cached(&format!("{ALL} {WANTED} ORDER BY number DESC LIMIT ?3 OFFSET ?4"))?;
    let rows = statement.query_map(
        params![filter.name, agent, signed(filter.limit as u64), signed(filter.offset as u64)],
        execution_columns,
    )?;
    let found = rows.map(|row| execution(row?)).collect::<anyhow::Result<_>>()?;
    Ok((u64::try_from(total).unwrap_or_default(), found))
}

type Columns = (String, String, i64, i64, i64);

fn execution_columns(row: &rusqlite::Row<'_>) -> rusqlite::Result<Columns> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
}

fn execution((row, agent_name, agent, tests, runs_per_test): Columns) -> anyhow::Result<Execution> {
    Ok(Execution {
        row: serde_json::from_str(&row).context("reading a run's row")?,
        agent_name,
        agent: u64::try_from(agent).unwrap_or_default(),
        tests: u32::try_from(tests).unwrap_or_default(),
        runs_per_test: u32::try_from(runs_per_test).unwrap_or(1),
    })
}

fn tests(connection: &Connection, run: u64) -> anyhow::Result<Vec<TestExecution>> {
    let found = connection
        .prepare_cached("SELECT id, header, procedure FROM runs WHERE number = ?1")?
        .query_row(params![signed(run)], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, Option<String>>(2)?))
        })
        .optional()?;
    let Some((id, header, procedure)) = found else { return Ok(Vec::new()) };
    let header: RunHeader = serde_json::from_str(&header).context("reading a run's header")?;
    let mut tests = announced(&header, procedure.as_deref())?;
    let mut statement = connection.prepare_cached(
        "SELECT at, body FROM events WHERE run = ?1 AND type IN ('step', 'test') ORDER BY number LIMIT ?2",
    )?;
    let mut rows = statement.query(params![id, EVENTS_MAX])?;
    while let Some(row) = rows.next()? {
        let at = Timestamp(row.get(0)?);
        let body: RunEventBody =
            serde_json::from_str(&row.get::<_, String>(1)?).context("reading an event of a test")?;
        if let RunEventBody::Test(event) = &body {
            of_test(&mut tests, header.number, event, at);
        } else if let RunEventBody::Step(event) = &body
            && header.tests.is_empty()
        {
            of_step(&mut tests, &header, event, at);
        }
    }
    Ok(tests)
}

/// Tests of a suite as they were announced; elsewhere its steps.
fn announced(header: &RunHeader, procedure: Option<&str>) -> anyhow::Result<Vec<TestExecution>> {
    if header.tests.is_empty() {
        let step = |card: &crate::event::StepCard| {
            TestExecution::new(header.number, card.number, card.id.as_str(), &card.module, 1)
        };
        return Ok(header.steps.iter().map(step).collect());
    }
    let procedure: Option<Procedure> =
        procedure.map(serde_json::from_str).transpose().context("reading a run's procedure")?;
    let test = |card: &crate::event::TestCard| {
        let planned = procedure.as_ref().and_then(|known| known.tests.iter().find(|test| test.id == card.id));
        let tags = planned.map(|test| test.tags.clone()).unwrap_or_default();
        TestExecution { tags, ..TestExecution::new(header.number, card.number, &card.id, &card.name, card.runs) }
    };
    Ok(header.tests.iter().map(test).collect())
}

impl TestExecution {
    fn new(suite: u64, number: u64, id: &str, name: &str, total_runs: u32) -> Self {
        Self {
            suite,
            number,
            id: id.to_owned(),
            name: name.to_owned(),
            tags: Vec::new(),
            status: "pending".to_owned(),
            percent: 0.0,
            started_at: None,
            completed_at: None,
            duration_s: None,
            total_runs,
            successful_runs: 0,
            success: None,
            score: None,
            error: None,
        }
    }

    fn end(&mut self, status: &str, success: Option<bool>, at: Timestamp) {
        status.clone_into(&mut self.status);
        self.success = success;
        self.completed_at = Some(at);
        self.percent = if success.is_some() { 100.0 } else { self.percent };
    }
}

/// The one with this number, as it was announced or as it shows up now.
fn entry(
    tests: &mut Vec<TestExecution>,
    number: u64,
    fresh: impl FnOnce() -> TestExecution,
) -> Option<&mut TestExecution> {
    if !tests.iter().any(|test| test.number == number) {
        tests.push(fresh());
    }
    tests.iter_mut().find(|test| test.number == number)
}

fn of_test(tests: &mut Vec<TestExecution>, suite: u64, event: &TestEvent, at: Timestamp) {
    let fresh = || TestExecution::new(suite, event.number, &event.test, &event.name, event.total_runs);
    let Some(test) = entry(tests, event.number, fresh) else { return };
    test.started_at.get_or_insert(at);
    test.total_runs = test.total_runs.max(event.total_runs);
    test.percent = event.percent;
    let passed = event.attempt.as_ref().is_some_and(|attempt| attempt.passed);
    test.successful_runs += u32::from(passed);
    match event.status.as_str() {
        "completed" | "failed" => {
            let success = event.status == "completed" && event.success.unwrap_or(true);
            test.end(&event.status, Some(success), at);
            test.successful_runs = test.successful_runs.max(u32::from(success));
            test.score = event.score;
            test.duration_s = event.duration_s;
            test.error.clone_from(&event.error);
        }
        "cancelled" | "skipped" => test.end(&event.status, None, at),
        status => status.clone_into(&mut test.status),
    }
}

fn of_step(tests: &mut Vec<TestExecution>, header: &RunHeader, event: &StepEvent, at: Timestamp) {
    let Some(number) = event.number.or_else(|| header.step(&event.step).map(|card| card.number)) else { return };
    let fresh = || TestExecution::new(header.number, number, event.step.as_str(), &event.module, 1);
    let Some(test) = entry(tests, number, fresh) else { return };
    match &event.change {
        StepChange::Dispatched { .. } => {}
        StepChange::Running => {
            test.started_at.get_or_insert(at);
            "running".clone_into(&mut test.status);
        }
        StepChange::Progress { percent, .. } => test.percent = *percent,
        StepChange::Completed { duration_s, .. } => {
            test.end("completed", Some(true), at);
            (test.successful_runs, test.score, test.duration_s) = (1, Some(1.0), Some(*duration_s));
        }
        StepChange::Failed { will_retry: true, .. } => {}
        StepChange::Failed { duration_s, error, will_retry: false, .. } => {
            test.end("failed", Some(false), at);
            (test.score, test.duration_s, test.error) = (Some(0.0), Some(*duration_s), Some(error.clone()));
        }
        StepChange::Cancelled { duration_s, .. } => {
            test.end("cancelled", None, at);
            test.duration_s = Some(*duration_s);
        }
        StepChange::Skipped { cause } => {
            test.end("skipped", None, at);
            test.error = Some(cause.clone());
        }
    }
}

/// SQLite's integers are signed; ours never reach the last bit.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
