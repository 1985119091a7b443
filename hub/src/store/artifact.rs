//! Files of runs: each content once, in a file named by its hash, and a row for each name that it goes by. A file is whole
//! and durable before the commit that names it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use rigwire_shared::ids::RunId;
use rigwire_shared::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};
use sha2::{Digest, Sha256};

use crate::artifact::{File, hex, path};

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
    /// Parts of files written since the last commit.
    unsynced: BTreeMap<PathBuf, fs::File>,
}

impl Files {
    pub(super) fn open(root: PathBuf) -> anyhow::Result<Self> {
        fs::create_dir_all(root.join("partial")).with_context(|| format!("creating {}", root.display()))?;
        Ok(Self { root, unsynced: BTreeMap::new() })
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

    /// Adds to a file of which only a part is there. All parts are synced at once, by `sync`.
    pub(super) fn add(&mut self, part: &str, hash: &str, size: u64, offset: u64, data: &[u8]) -> anyhow::Result<()> {
        // Whole already: the group that said so is being written again, or another agent was first.
        if is_there(&place(&self.root, hash), size)? {
            return Ok(());
        }
        let path = self.part(part);
        let write = || format!("writing {}", path.display());
        if !self.unsynced.contains_key(&path) {
            let is_new = !path.exists();
            let file = fs::OpenOptions::new().create(true).truncate(false).write(true).open(&path);
            self.unsynced.insert(path.clone(), file.with_context(write)?);
            if is_new {
                sync(&self.root.join("partial"))?;
            }
        }
        let Some(file) = self.unsynced.get_mut(&path) else { return Ok(()) };
        file.seek(SeekFrom::Start(offset)).with_context(write)?;
        file.write_all(data).with_context(write)
    }

    /// Makes a part whole. False when its bytes are not there, whoever took them.
    pub(super) fn finish(&mut self, part: &str, hash: &str, size: u64) -> anyhow::Result<bool> {
        let (path, place) = (self.part(part), place(&self.root, hash));
        self.unsynced.remove(&path);
        if is_there(&place, size)? {
            remove(&path)?;
            return Ok(true);
        }
        if size == 0 {
            self.keep(&[])?;
            return Ok(true);
        }
        let Ok(file) = fs::OpenOptions::new().write(true).open(&path) else { return Ok(false) };
        let write = || format!("writing {}", path.display());
        if file.metadata().with_context(write)?.len() < size {
            return Ok(false);
        }
        // A part that was written again after a crash may have been longer.
        file.set_len(size).with_context(write)?;
        file.sync_all().with_context(write)?;
        self.move_in(&path, &place)?;
        Ok(true)
    }

    pub(super) fn drop_part(&mut self, part: &str) -> anyhow::Result<()> {
        let path = self.part(part);
        self.unsynced.remove(&path);
        remove(&path)
    }

    /// Makes durable what was added since the last time.
    pub(super) fn sync(&mut self) -> anyhow::Result<()> {
        for (path, file) in &self.unsynced {
            file.sync_data().with_context(|| format!("writing {}", path.display()))?;
        }
        self.unsynced.clear();
        Ok(())
    }

    /// The first bytes of a part, or of the whole if it became one just before the hub ended.
    pub(super) fn read_part(
        &self,
        part: &str,
        hash: &str,
        count: u64,
        mut take: impl FnMut(&[u8]),
    ) -> anyhow::Result<u64> {
        let path = self.part(part);
        let opened = match fs::File::open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => fs::File::open(place(&self.root, hash)),
            opened => opened,
        };
        let file = match opened {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(error).with_context(|| format!("opening {}", path.display())),
        };
        let mut rest = file.take(count);
        let mut buffer = vec![0; 64 * 1024];
        let mut found = 0;
        loop {
            let read = rest.read(&mut buffer).with_context(|| format!("reading {}", path.display()))?;
            if read == 0 {
                return Ok(found);
            }
            take(buffer.get(..read).unwrap_or_default());
            found += read as u64;
        }
    }

    /// Removes what nobody will finish.
    pub(super) fn keep_only(&self, parts: &[String]) -> anyhow::Result<()> {
        let folder = self.root.join("partial");
        let reading = || format!("reading {}", folder.display());
        for entry in fs::read_dir(&folder).with_context(reading)? {
            let entry = entry.with_context(reading)?;
            if !entry.file_name().to_str().is_some_and(|name| parts.iter().any(|part| part == name)) {
                remove(&entry.path())?;
            }
        }
        Ok(())
    }

    fn part(&self, part: &str) -> PathBuf {
        self.root.join("partial").join(part)
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

fn remove(path: &Path) -> anyhow::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", path.display()))
        }
        Ok(()) | Err(_) => Ok(()),
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
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).with_context(|| format!("looking at {}", place.display())),
    }
}

/// Where the content with a hash lies. `hash` is hexadecimal.
fn place(root: &Path, hash: &str) -> PathBuf {
    root.join(hash.get(..2).unwrap_or("00")).join(hash)
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

    /// The file with this number.
    pub async fn artifact_numbered(&self, id: u64) -> anyhow::Result<Option<ArtifactRow>> {
        self.barrier().await?;
        self.query(move |connection| {
            let query = format!("SELECT {COLUMNS} FROM artifacts WHERE id = ?1");
            let id = i64::try_from(id).unwrap_or(i64::MAX);
            Ok(connection.prepare_cached(&query)?.query_row(params![id], row).optional()?)
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
