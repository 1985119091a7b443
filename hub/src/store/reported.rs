//! Ids of the events that external runs reported, so that one that is sent again after a restart is known.

use anyhow::Context;
use rigwire_shared::ids::RunId;
use rusqlite::{Connection, params};

use crate::external::IDS_REMEMBERED;

pub(super) const TABLE: &str = "
CREATE TABLE IF NOT EXISTS reported (run TEXT NOT NULL, id TEXT NOT NULL, UNIQUE (run, id)) STRICT;
";

pub(super) fn write(connection: &Connection, run: RunId, ids: &[String]) -> anyhow::Result<()> {
    let mut statement = connection.prepare_cached("INSERT OR IGNORE INTO reported (run, id) VALUES (?1, ?2)")?;
    for id in ids {
        statement.execute(params![run.to_string(), id])?;
    }
    Ok(())
}

/// The newest ids of a run, oldest first.
pub(super) fn read(connection: &Connection, run: RunId) -> anyhow::Result<Vec<String>> {
    let mut statement =
        connection.prepare_cached("SELECT id FROM reported WHERE run = ?1 ORDER BY rowid DESC LIMIT ?2")?;
    let limit = i64::try_from(IDS_REMEMBERED).unwrap_or(i64::MAX);
    let mut ids = statement
        .query_map(params![run.to_string(), limit], |row| row.get::<_, String>(0))?
        .collect::<Result<Vec<String>, _>>()
        .with_context(|| format!("reading ids of events of run {run}"))?;
    ids.reverse();
    Ok(ids)
}

impl super::Store {
    /// Whether a run's producer reported all of these before.
    pub async fn has_reported(&self, run: RunId, ids: Vec<String>) -> anyhow::Result<bool> {
        self.barrier().await?;
        self.query(move |connection| {
            let mut statement =
                connection.prepare_cached("SELECT EXISTS (SELECT 1 FROM reported WHERE run = ?1 AND id = ?2)")?;
            for id in ids {
                if !statement.query_row(params![run.to_string(), id], |row| row.get::<_, bool>(0))? {
                    return Ok(false);
                }
            }
            Ok(true)
        })
        .await
    }
}
