//! Files of runs: each content once, in a file named by its hash, and a row for each name that it goes by. A file is whole
//! and durable before the commit that names it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use rigwire_shared::ids::RunId;
use rigwire_shared::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};
use sha2::{Digest, Sha256};

use crate::artifact::{File, path};

pub(super) const TABLE: &str = "
CREATE TABLE IF NOT EXISTS artifacts (
    id INTEGER PRIMARY KEY,
    path TEXT NOT NULL UNIQUE,
    run TEXT NOT NULL,
    name TEXT NOT NULL,
    media_type TEXT NOT NULL,
    size INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    at INTEGER NOT NULL,
    step TEXT,
    state TEXT NOT NULL,
    received INTEGER NOT NULL,
    agent TEXT,
    announced TEXT,
    cause TEXT
) STRICT;
CREATE INDEX IF NOT EXISTS artifacts_by_run ON artifacts (run, id);
CREATE INDEX IF NOT EXISTS artifacts_arriving ON artifacts (agent, sha256) WHERE state = 'arriving';
";

/// A file of a run as the record names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArtifactRow {
    /// Counts on over all runs.
    pub id: u64,
    pub run: String,
    pub name: String,
    pub path: String,
    pub media_type: String,
    pub size: u64,
    /// 64 hexadecimal digits.
    pub sha256: String,
    pub at: Timestamp,
    pub step: Option<String>,
    /// `complete`, or `arriving`, or `refused`: only what is complete can be read.
    pub state: String,
    pub received: u64,
    /// Why it is not complete and never will be.
    pub cause: Option<String>,
}

impl ArtifactRow {
    pub fn is_complete(&self) -> bool {
        self.state == "complete"
    }
}

/// The directory that the contents lie in, as the writer sees it.
pub(super) struct Files {
    root: PathBuf,
}

impl Files {
    pub(super) fn open(root: PathBuf) -> anyhow::Result<Self> {
        fs::create_dir_all(root.join("partial")).with_context(|| format!("creating {}", root.display()))?;
        Ok(Self { root })
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Keeps a content, once; its hash.
    fn keep(&mut self, bytes: &[u8]) -> anyhow::Result<String> {
        let hash = hex(&Sha256::digest(bytes));
        let place = place(&self.root, &hash);
        if is_there(&place, bytes.len() as u64)? {
            return Ok(hash);
        }
        let draft = self.root.join("partial").join(format!("{hash}.whole"));
        let mut file = fs::File::create(&draft).with_context(|| format!("creating {}", draft.display()))?;
        file.write_all(bytes).with_context(|| format!("writing {}", draft.display()))?;
        file.sync_all().with_context(|| format!("writing {}", draft.display()))?;
        self.move_in(&draft, &place)?;
        Ok(hash)
    }

    /// Gives a durable file its final name, durably.
    fn move_in(&self, draft: &Path, place: &Path) -> anyhow::Result<()> {
        let folder = place.parent().unwrap_or(&self.root);
        if !folder.exists() {
            fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
            sync(&self.root)?;
        }
        fs::rename(draft, place).with_context(|| format!("moving a file to {}", place.display()))?;
        sync(folder)
    }
}

fn sync(folder: &Path) -> anyhow::Result<()> {
    let synced = fs::File::open(folder).and_then(|folder| folder.sync_all());
    synced.with_context(|| format!("writing {}", folder.display()))
}

/// Whether a content is there already. One of another length is what a broken disk left, and is replaced.
fn is_there(place: &Path, size: u64) -> anyhow::Result<bool> {
    match fs::metadata(place) {
        Ok(found) => Ok(found.is_file() && found.len() == size),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).with_context(|| format!("looking at {}", place.display())),
    }
}

/// Where the content with a hash lies. `hash` is hexadecimal.
fn place(root: &Path, hash: &str) -> PathBuf {
    root.join(hash.get(..2).unwrap_or("00")).join(hash)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn keep(connection: &Connection, files: &mut Files, file: &File) -> anyhow::Result<()> {
    let sha256 = files.keep(&file.bytes)?;
    let size = i64::try_from(file.bytes.len()).unwrap_or(i64::MAX);
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO artifacts (path, run, name, media_type, size, sha256, at, step, state, received)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 'complete', ?5)",
        )?
        .execute(params![
            path(file.run, &file.name),
            file.run.to_string(),
            file.name,
            file.media_type,
            size,
            sha256,
            file.at.0,
            file.step.as_ref().map(rigwire_shared::ids::StepId::as_str)
        ])?;
    Ok(())
}

const COLUMNS: &str = "id, run, name, path, media_type, size, sha256, at, step, state, received, cause";

fn row(row: &Row<'_>) -> rusqlite::Result<ArtifactRow> {
    let unsigned = |index: usize| row.get::<_, i64>(index).map(|number| u64::try_from(number).unwrap_or_default());
    Ok(ArtifactRow {
        id: unsigned(0)?,
        run: row.get(1)?,
        name: row.get(2)?,
        path: row.get(3)?,
        media_type: row.get(4)?,
        size: unsigned(5)?,
        sha256: row.get(6)?,
        at: Timestamp(row.get(7)?),
        step: row.get(8)?,
        state: row.get(9)?,
        received: unsigned(10)?,
        cause: row.get(11)?,
    })
}

impl super::Store {
    /// The file of a run that has this path in the record.
    pub async fn artifact(&self, path: String) -> anyhow::Result<Option<ArtifactRow>> {
        self.barrier().await?;
        self.query(move |connection| {
            let query = format!("SELECT {COLUMNS} FROM artifacts WHERE path = ?1");
            Ok(connection.prepare_cached(&query)?.query_row(params![path], row).optional()?)
        })
        .await
    }

    /// Files of a run after one of them, in the order they came.
    pub async fn run_artifacts(&self, run: RunId, after: u64, limit: usize) -> anyhow::Result<Vec<ArtifactRow>> {
        self.barrier().await?;
        self.query(move |connection| {
            let query = format!("SELECT {COLUMNS} FROM artifacts WHERE run = ?1 AND id > ?2 ORDER BY id LIMIT ?3");
            let (after, limit) = (i64::try_from(after).unwrap_or(i64::MAX), i64::try_from(limit).unwrap_or(i64::MAX));
            let mut statement = connection.prepare_cached(&query)?;
            let rows = statement.query_map(params![run.to_string(), after, limit], row)?;
            Ok(rows.collect::<Result<Vec<ArtifactRow>, _>>()?)
        })
        .await
    }

    /// Where the content of a file lies: in the directory of contents, under its hash and nowhere else.
    pub fn artifact_place(&self, row: &ArtifactRow) -> anyhow::Result<PathBuf> {
        let is_hash = row.sha256.len() == 64 && row.sha256.bytes().all(|byte| byte.is_ascii_hexdigit());
        anyhow::ensure!(is_hash, "artifact {} has no hash in the record", row.path);
        Ok(place(&self.artifacts, &row.sha256))
    }
}
