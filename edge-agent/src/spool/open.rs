//! Opening a spool: reads every segment, cuts a torn end, mends a damaged middle, and begins the next epoch.

use std::collections::VecDeque;
use std::fs::{self, OpenOptions};
use std::path::Path;

use anyhow::Context as _;
use rigwire_shared::ids::{Epoch, Position};
use rigwire_shared::time::Timestamp;
use rustix::fs::FlockOperation;

use super::record::{self, Header, Kind, Piece, Walk};
use super::{Damage, Lock, Segment, Spool, replace_file_for_good, segment_path};

pub(super) fn open(
    directory: &Path,
    limit: u64,
    segment_bytes: u64,
    now: Timestamp,
) -> anyhow::Result<(Spool, Damage)> {
    fs::create_dir_all(directory).context("creating the directory")?;
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(directory.join("lock"))
        .context("opening its file lock")?;
    if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
        anyhow::bail!("another agent is using it");
    }
    let acked = read_text(&directory.join("acked"))?.as_deref().and_then(parse_position);
    let mut mending = Mending { directory, last: None, damage: Damage::default() };
    let mut segments = VecDeque::new();
    let ids = segment_ids(directory)?;
    for (index, id) in ids.iter().enumerate() {
        let is_last = index + 1 == ids.len();
        let segment = mending.segment(*id, is_last).with_context(|| format!("reading segment {id}"))?;
        let done = segment.span.is_none_or(|(_, last)| Some(last) <= acked);
        if done && !is_last {
            fs::remove_file(segment_path(directory, *id))?;
        } else {
            segments.push_back(segment);
        }
    }
    let Mending { last: written, damage, .. } = mending;
    if segments.is_empty() {
        segments.push_back(Segment { id: ids.last().map_or(1, |id| id + 1), bytes: 0, span: None, droppable: false });
    }
    let active_id = segments.back().map_or(1, |segment| segment.id);
    let active = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(segment_path(directory, active_id))
        .context("opening the newest segment")?;
    let written = written.max(acked);
    let (epoch, previous_epoch) = begin_epoch(directory, written, now).context("beginning a new epoch")?;
    let spool = Spool {
        directory: directory.to_path_buf(),
        _lock: Lock(lock),
        limit,
        segment_bytes,
        epoch,
        previous_epoch,
        next_number: 1,
        segments,
        active,
        written,
        acked,
        acked_saved: acked,
        cursor: None,
        read: acked,
        // What an earlier agent left may not be on the disk yet.
        unsynced: true,
        unsynced_full: Vec::new(),
    };
    Ok((spool, damage))
}

/// The new epoch is on disk before any message carries it, so that no two starts ever share one.
fn begin_epoch(directory: &Path, written: Option<Position>, now: Timestamp) -> anyhow::Result<(Epoch, Option<Epoch>)> {
    let path = directory.join("epoch");
    let stored = read_text(&path)?.and_then(|text| text.trim().parse().ok());
    let previous = stored.max(written.map(|position| position.epoch.0));
    let epoch = u64::try_from(now.as_millis()).unwrap_or(0).max(previous.map_or(1, |previous| previous + 1));
    replace_file_for_good(&path, epoch.to_string().as_bytes())?;
    Ok((Epoch(epoch), previous.map(Epoch)))
}

fn read_text(path: &Path) -> std::io::Result<Option<String>> {
    match fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8(bytes).ok()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn parse_position(text: &str) -> Option<Position> {
    let (epoch, number) = text.trim().split_once('/')?;
    Some(Position { epoch: Epoch(epoch.parse().ok()?), number: number.parse().ok()? })
}

fn segment_ids(directory: &Path) -> std::io::Result<Vec<u64>> {
    let mut ids = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        if let Some(id) = name.to_str().and_then(|name| name.strip_suffix(".batches")).and_then(|id| id.parse().ok()) {
            ids.push(id);
        }
    }
    ids.sort_unstable();
    Ok(ids)
}

struct Mending<'a> {
    directory: &'a Path,
    last: Option<Position>,
    damage: Damage,
}

impl Mending<'_> {
    /// Reads one segment. What is broken is rewritten so that only sound records remain and no number is missing.
    fn segment(&mut self, id: u64, is_last: bool) -> anyhow::Result<Segment> {
        let path = segment_path(self.directory, id);
        let bytes = fs::read(&path)?;
        let mut sound = Segment { id, bytes: 0, span: None, droppable: false };
        let mut mended = Vec::new();
        let mut broken = false;
        let mut torn = 0;
        let before = (self.damage.bytes, self.damage.batches);
        for piece in Walk::new(&bytes) {
            let start = mended.len();
            match piece {
                Piece::Garbage(size) => {
                    torn = size as u64;
                    self.damage.bytes += torn;
                    broken = true;
                }
                // A rewrite that was interrupted leaves records twice.
                Piece::Record(record) if Some(record.header.position) <= self.last => broken = true,
                Piece::Record(record) => {
                    torn = 0;
                    if let Some(missing) = self.missing_before(record.header.position) {
                        record::write(&missing, &[], &mut mended);
                        sound.note(&missing, (mended.len() - start) as u64);
                        self.damage.batches += missing.count();
                        broken = true;
                    }
                    let start = mended.len();
                    record::write(&record.header, record.body, &mut mended);
                    sound.note(&record.header, (mended.len() - start) as u64);
                    self.last = Some(record.header.last());
                }
            }
        }
        if broken {
            if is_last && torn > 0 {
                // The process was killed while it wrote: that batch was never sent, so nothing is lost.
                self.damage.bytes -= torn;
            }
            replace_file_for_good(&path, &mended)?;
        }
        if before != (self.damage.bytes, self.damage.batches) {
            self.damage.files.push(path.display().to_string());
        }
        Ok(sound)
    }

    fn missing_before(&self, position: Position) -> Option<Header> {
        let last = self.last.filter(|last| last.epoch == position.epoch)?;
        let count = position.number.checked_sub(last.number + 1).filter(|count| *count > 0)?;
        let first = Position { epoch: position.epoch, number: last.number + 1 };
        Some(Header { kind: Kind::Damaged { count }, position: first, samples: 0 })
    }
}
