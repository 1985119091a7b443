//! Files that agents send in parts: rows that say how much of each is there, and the parts themselves. An acknowledgement
//! follows the commit, so what an agent forgets is on the disk.

use anyhow::Context;
use rigwire_shared::ids::{AgentId, RunId, StepId};
use rigwire_shared::time::Timestamp;
use rusqlite::{Connection, params};
use uuid::Uuid;

use super::artifact::Files;
use crate::artifact::{Announced, Arrival, Hash, Incoming, hex, path};

/// The name of a part: of the same content, each agent sends its own.
fn part(agent: &AgentId, hash: &str) -> String {
    format!("{hash}.{agent}")
}

pub(super) fn take(connection: &Connection, files: &mut Files, arrival: &Arrival) -> anyhow::Result<()> {
    match arrival {
        Arrival::Announced { agent, sha256, size, file } => announced(connection, agent, sha256, *size, file),
        Arrival::Chunk { agent, sha256, offset, data } => {
            let hash = hex(sha256);
            let received = offset.saturating_add(data.len() as u64);
            files.add(&part(agent, &hash), &hash, size_of(connection, agent, &hash)?, *offset, data)?;
            connection
                .prepare_cached(
                    "UPDATE artifacts SET received = ?3 WHERE agent = ?1 AND sha256 = ?2 AND state = 'arriving'",
                )?
                .execute(params![agent.as_str(), hash, signed(received)])?;
            Ok(())
        }
        Arrival::Whole { agent, sha256, size } => {
            let hash = hex(sha256);
            if files.finish(&part(agent, &hash), &hash, *size)? {
                return ended(connection, agent, &hash, "complete", None);
            }
            tracing::error!(%agent, "the parts of file {hash} are no longer on the disk");
            ended(connection, agent, &hash, "refused", Some("its bytes were lost on the hub's disk"))
        }
        Arrival::Refused { agent, sha256, cause } => {
            let hash = hex(sha256);
            files.drop_part(&part(agent, &hash))?;
            ended(connection, agent, &hash, "refused", Some(cause))
        }
    }
}

fn announced(
    connection: &Connection,
    agent: &AgentId,
    sha256: &Hash,
    size: u64,
    file: &Announced,
) -> anyhow::Result<()> {
    let hash = hex(sha256);
    // Of a content that another name announced before, some may be there.
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO artifacts
                 (path, run, name, media_type, size, sha256, at, step, state, agent, announced, received)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 'arriving', ?9, ?10, coalesce(
                 (SELECT max(received) FROM artifacts WHERE agent = ?9 AND sha256 = ?6 AND state = 'arriving'), 0))",
        )?
        .execute(params![
            path(file.run, &file.name),
            file.run.to_string(),
            file.name,
            file.media_type,
            signed(size),
            hash,
            file.at.0,
            file.step.as_ref().map(StepId::as_str),
            agent.as_str(),
            file.announced
        ])?;
    Ok(())
}

fn size_of(connection: &Connection, agent: &AgentId, hash: &str) -> anyhow::Result<u64> {
    let size: Option<i64> = connection
        .prepare_cached("SELECT max(size) FROM artifacts WHERE agent = ?1 AND sha256 = ?2 AND state = 'arriving'")?
        .query_row(params![agent.as_str(), hash], |row| row.get(0))?;
    Ok(size.and_then(|size| u64::try_from(size).ok()).unwrap_or_default())
}

fn ended(connection: &Connection, agent: &AgentId, hash: &str, state: &str, cause: Option<&str>) -> anyhow::Result<()> {
    connection
        .prepare_cached(
            "UPDATE artifacts SET state = ?3, cause = ?4, received = CASE ?3 WHEN 'complete' THEN size ELSE received END
             WHERE agent = ?1 AND sha256 = ?2 AND state = 'arriving'",
        )?
        .execute(params![agent.as_str(), hash, state, cause])?;
    Ok(())
}

/// Files that were on their way when the hub ended, each as far as its bytes are there.
pub(super) fn restore(connection: &Connection, files: &mut Files) -> anyhow::Result<Vec<Incoming>> {
    let mut statement = connection.prepare(
        "SELECT agent, sha256, size, received, run, step, announced, name, media_type, at FROM artifacts
         WHERE state = 'arriving' ORDER BY id",
    )?;
    let mut rows = statement.query([])?;
    let mut found: Vec<(Incoming, u64)> = Vec::new();
    while let Some(row) = rows.next()? {
        let text = |index: usize| row.get::<_, String>(index);
        let agent = AgentId::new(&text(0)?).context("the agent of a file on its way")?;
        let sha256 = parse_hash(&text(1)?).context("a file on its way has no hash")?;
        let unsigned = |index: usize| row.get::<_, i64>(index).map(|number| u64::try_from(number).unwrap_or_default());
        let step = row.get::<_, Option<String>>(5)?;
        let name = Announced {
            run: RunId(Uuid::parse_str(&text(4)?).context("the run of a file on its way")?),
            step: step.and_then(|step| StepId::new(&step).ok()),
            announced: text(6)?,
            name: text(7)?,
            media_type: text(8)?,
            at: Timestamp(row.get(9)?),
        };
        match found.iter_mut().find(|(file, _)| file.agent == agent && file.sha256 == sha256) {
            Some((file, _)) => file.names.push(name),
            None => {
                let mut file = Incoming::new(&agent, sha256, unsigned(2)?);
                file.names.push(name);
                found.push((file, unsigned(3)?));
            }
        }
    }
    let mut parts = Vec::new();
    let mut restored = Vec::new();
    for (mut file, received) in found {
        use sha2::Digest;
        let hash = hex(&file.sha256);
        let name = part(&file.agent, &hash);
        let digest = &mut file.digest;
        file.received = files.read_part(&name, &hash, received, |bytes| digest.update(bytes))?;
        parts.push(name);
        restored.push(file);
    }
    files.keep_only(&parts)?;
    Ok(restored)
}

fn parse_hash(text: &str) -> Option<Hash> {
    let mut hash = [0; 32];
    if text.len() != 64 {
        return None;
    }
    for (index, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(hash)
}

/// SQLite's integers are signed; ours never reach the last bit.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
