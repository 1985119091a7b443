//! The chat in the record.

use anyhow::Context;
use rigwire_shared::time::Timestamp;
use rusqlite::{Connection, Row, params};

use crate::event::{ChatMessage, ChatRole};
use crate::model::chat::{HISTORY, Restored};

pub(super) const TABLE: &str = "
CREATE TABLE IF NOT EXISTS chat (
    number INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    author TEXT NOT NULL,
    role TEXT NOT NULL,
    content TEXT NOT NULL,
    correlation_id TEXT,
    answers INTEGER,
    asked INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX IF NOT EXISTS chat_of_questions ON chat (number) WHERE asked = 1;
";

const COLUMNS: &str = "number, at, author, role, content, correlation_id, answers";

/// A question is asked for as long as nothing answers it.
pub(super) fn write(connection: &Connection, at: Timestamp, message: &ChatMessage) -> anyhow::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO chat (number, at, author, role, content, correlation_id, answers)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            signed(message.number),
            at.0,
            message.author,
            message.role.as_str(),
            message.content,
            message.correlation_id,
            message.answers.map(signed)
        ])?;
    if let Some(answered) = message.answers {
        connection
            .prepare_cached("UPDATE chat SET asked = 0 WHERE number = ?1 AND asked = 1")?
            .execute(params![signed(answered)])?;
    }
    Ok(())
}

pub(super) fn asked(connection: &Connection, number: u64) -> anyhow::Result<()> {
    connection.prepare_cached("UPDATE chat SET asked = 1 WHERE number = ?1")?.execute(params![signed(number)])?;
    Ok(())
}

pub(super) fn restore(connection: &Connection) -> anyhow::Result<Restored> {
    let recent = newest(connection, HISTORY + 1)?;
    let mut statement = connection.prepare("SELECT number FROM chat WHERE asked = 1 ORDER BY number")?;
    let unanswered = statement.query_map([], |row| row.get::<_, i64>(0))?;
    let unanswered = unanswered.map(|number| number.map(unsigned)).collect::<Result<_, _>>()?;
    let next = recent.last().map_or(1, |(_, message)| message.number + 1);
    Ok(Restored { next, recent, unanswered })
}

impl super::Store {
    /// Messages after one of them, in order; without one, the newest.
    pub async fn chat(&self, after: Option<u64>, limit: usize) -> anyhow::Result<Vec<(Timestamp, ChatMessage)>> {
        self.barrier().await?;
        self.query(move |connection| match after {
            Some(after) => following(connection, after, limit),
            None => newest(connection, limit),
        })
        .await
    }
}

fn following(connection: &Connection, after: u64, limit: usize) -> anyhow::Result<Vec<(Timestamp, ChatMessage)>> {
    let query = format!("SELECT {COLUMNS} FROM chat WHERE number > ?1 ORDER BY number LIMIT ?2");
    let mut statement = connection.prepare_cached(&query)?;
    let rows = statement.query_map(params![signed(after), signed(limit as u64)], columns)?;
    rows.map(|row| message(row?)).collect()
}

/// The last so many, oldest first.
fn newest(connection: &Connection, limit: usize) -> anyhow::Result<Vec<(Timestamp, ChatMessage)>> {
    let query = format!("SELECT {COLUMNS} FROM chat ORDER BY number DESC LIMIT ?1");
    let mut statement = connection.prepare_cached(&query)?;
    let rows = statement.query_map(params![signed(limit as u64)], columns)?;
    let mut found = rows.map(|row| message(row?)).collect::<anyhow::Result<Vec<_>>>()?;
    found.reverse();
    Ok(found)
}

type Columns = (i64, i64, String, String, String, Option<String>, Option<i64>);

fn columns(row: &Row<'_>) -> rusqlite::Result<Columns> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?, row.get(6)?))
}

fn message(columns: Columns) -> anyhow::Result<(Timestamp, ChatMessage)> {
    let (number, at, author, role, content, correlation_id, answers) = columns;
    let role = ChatRole::ALL.into_iter().find(|known| known.as_str() == role);
    let role = role.with_context(|| format!("reading message {number} of the chat"))?;
    let (number, answers) = (unsigned(number), answers.map(unsigned));
    Ok((Timestamp(at), ChatMessage { number, author, role, content, correlation_id, answers }))
}

/// SQLite's integers are signed; ours never reach the last bit.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}
