//! Tables of the record, and the one number that says which version they are.

use rusqlite::{Connection, Result};

const VERSION: i64 = 1;

const TABLES: &str = "
CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
CREATE TABLE agents (agent TEXT PRIMARY KEY, state TEXT NOT NULL) STRICT;
CREATE TABLE devices (device TEXT PRIMARY KEY, agent TEXT NOT NULL, card TEXT NOT NULL) STRICT;
CREATE TABLE runs (
    id TEXT PRIMARY KEY,
    number INTEGER NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    status TEXT NOT NULL,
    header TEXT NOT NULL,
    procedure TEXT,
    row TEXT NOT NULL
) STRICT;
CREATE INDEX runs_by_status ON runs (status, number);
CREATE TABLE events (
    sequence INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    type TEXT NOT NULL,
    run TEXT,
    number INTEGER,
    body TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX events_by_run ON events (run, number) WHERE run IS NOT NULL;
CREATE TABLE series (
    id INTEGER PRIMARY KEY,
    device TEXT NOT NULL,
    metric TEXT NOT NULL,
    unit TEXT NOT NULL,
    UNIQUE (device, metric, unit)
) STRICT;
CREATE TABLE samples (series INTEGER NOT NULL, at INTEGER NOT NULL, quality TEXT NOT NULL, number REAL, other TEXT) STRICT;
CREATE INDEX samples_by_time ON samples (series, at);
";

pub(super) fn prepare(connection: &mut Connection) -> anyhow::Result<()> {
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // An acknowledged event must survive a power cut: agents forget it.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    match version {
        0 => create(connection)?,
        VERSION => {}
        other => anyhow::bail!("the record has schema version {other}, this hub knows {VERSION}"),
    }
    // Added without changing what was there, so that an older record only lacks it.
    connection.execute_batch("CREATE INDEX IF NOT EXISTS runs_by_parent ON runs (json_extract(row, '$.parent'))")?;
    connection.execute_batch(super::reported::TABLE)?;
    connection.execute_batch(super::artifact::TABLE)?;
    connection.execute_batch(super::told::INDEX)?;
    connection.execute_batch(super::executions::INDEX)?;
    connection.execute_batch(super::listing::INDEX)?;
    connection.execute_batch(super::lease::TABLE)?;
    connection.execute_batch(super::chat::TABLE)?;
    Ok(())
}

fn create(connection: &mut Connection) -> Result<()> {
    let transaction = connection.transaction()?;
    transaction.execute_batch(TABLES)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()
}
