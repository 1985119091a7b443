//! Batches kept on disk until the hub says that its record has them. Knows no network, no clock and no task.
//!
//! A batch is written at once, so that it survives the end of the process; `take_unsynced` hands out what must still be
//! forced to the disk. What the hub acknowledges before that never costs a flash cell.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rigwire_shared::event::{AgentEvent, EventBody, GapCause};
use rigwire_shared::ids::{Epoch, Position};
use rigwire_shared::time::Timestamp;
use rigwire_shared::wire;
use rustix::fs::FlockOperation;

mod compact;
mod open;
mod record;

use record::{Header, Kind, Piece, Walk};

/// A file of this size is followed by a new one. Small enough to rewrite in a moment, large enough to be few.
const SEGMENT_BYTES: u64 = 1024 * 1024;
/// An acknowledged file of at least this size is emptied; below, the call costs more than the space.
const EMPTY_FROM: u64 = 64 * 1024;
/// Most records are shorter: one read fetches them whole.
const READ_FIRST: usize = 4096;

/// One batch as it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SpooledBatch {
    pub(crate) position: Position,
    /// The batch before it, while the spool still keeps that one.
    pub(crate) previous: Option<Position>,
    /// `rigwire_shared::wire::encode_events`.
    pub(crate) events: Vec<u8>,
}

/// Whether a batch may give way when the spool is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    Events,
    Samples(u64),
}

/// What opening the spool found broken.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Damage {
    /// Bytes that were no record. A torn last record, left by a killed process, is not counted.
    pub(crate) bytes: u64,
    pub(crate) batches: u64,
    pub(crate) files: Vec<String>,
}

#[derive(Debug)]
struct Segment {
    id: u64,
    bytes: u64,
    /// First and last position; `None` while it is empty.
    span: Option<(Position, Position)>,
    /// Has batches that may give way.
    droppable: bool,
}

impl Segment {
    fn note(&mut self, header: &Header, size: u64) {
        self.bytes += size;
        self.span = Some((self.span.map_or(header.position, |(first, _)| first), header.last()));
        self.droppable |= matches!(header.kind, Kind::Samples);
    }
}

/// Where reading goes on.
#[derive(Debug)]
struct Cursor {
    segment: u64,
    file: File,
    offset: u64,
    /// How many batches of the run at `offset` were read.
    within_run: u64,
}

/// The spool belongs to this process while it is held.
#[derive(Debug)]
struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing alone is not enough: a child process that was started a moment ago may still have a copy of the descriptor,
        // and the next agent would find the spool in use.
        if let Err(error) = rustix::fs::flock(&self.0, FlockOperation::Unlock) {
            tracing::warn!(%error, "the spool's lock was not released");
        }
    }
}

#[derive(Debug)]
pub(crate) struct Spool {
    directory: PathBuf,
    _lock: Lock,
    limit: u64,
    segment_bytes: u64,
    epoch: Epoch,
    previous_epoch: Option<Epoch>,
    next_number: u64,
    /// Never empty; the last one is written to.
    segments: VecDeque<Segment>,
    active: File,
    written: Option<Position>,
    acked: Option<Position>,
    acked_saved: Option<Position>,
    cursor: Option<Cursor>,
    /// The batch before the next one that is read.
    read: Option<Position>,
    unsynced: bool,
    unsynced_full: Vec<File>,
}

impl Spool {
    /// Opens or creates the spool, mends what is broken, and begins a new epoch that is on disk before this returns.
    pub(crate) fn open(directory: &Path, limit: u64, now: Timestamp) -> anyhow::Result<(Self, Damage)> {
        open::open(directory, limit, SEGMENT_BYTES.min(limit / 8).max(1), now)
            .with_context(|| format!("opening the spool {}", directory.display()))
    }

    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch
    }

    pub(crate) fn previous_epoch(&self) -> Option<Epoch> {
        self.previous_epoch
    }

    /// The newest batch that was ever written, and the newest that the hub has.
    pub(crate) fn ends(&self) -> (Option<Position>, Option<Position>) {
        (self.written, self.acked)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    pub(crate) fn has_unacknowledged(&self) -> bool {
        self.written > self.acked
    }

    /// Writes one batch. After an error nothing was written and the number is free again.
    pub(crate) fn append(&mut self, content: Content, events: &[u8]) -> io::Result<Position> {
        if self.last().bytes >= self.segment_bytes {
            self.roll()?;
        }
        let position = Position { epoch: self.epoch, number: self.next_number };
        let (kind, samples) = match content {
            Content::Events => (Kind::Events, 0),
            Content::Samples(samples) => (Kind::Samples, samples),
        };
        let header = Header { kind, position, samples };
        let mut bytes = Vec::with_capacity(record::OVERHEAD + events.len());
        record::write(&header, events, &mut bytes);
        let end = self.last().bytes;
        if let Err(error) = self.active.write_all_at(&bytes, end) {
            // A part may be on disk: what follows must not be written behind it.
            self.active.set_len(end)?;
            return Err(error);
        }
        self.last_mut().note(&header, bytes.len() as u64);
        self.unsynced = true;
        self.next_number += 1;
        self.written = Some(position);
        Ok(position)
    }

    /// Trims what the hub has. Answers `false` for a position that was never written here, which changes nothing.
    pub(crate) fn acknowledge(&mut self, position: Position) -> io::Result<bool> {
        if Some(position) > self.written {
            return Ok(false);
        }
        if Some(position) <= self.acked {
            return Ok(true);
        }
        self.acked = Some(position);
        let mut deleted = false;
        while self.segments.len() > 1 {
            let Some(first) = self.segments.front() else { break };
            if first.span.is_some_and(|(_, last)| last > position) {
                break;
            }
            fs::remove_file(self.path(first.id))?;
            self.segments.pop_front();
            deleted = true;
        }
        if self.written == self.acked && self.last().bytes >= EMPTY_FROM {
            self.active.set_len(0)?;
            let last = self.last_mut();
            *last = Segment { id: last.id, bytes: 0, span: None, droppable: false };
            self.cursor = None;
        }
        if deleted {
            self.unsynced_full.clear();
            self.save_acknowledged()?;
        }
        Ok(true)
    }

    /// Remembers over a restart how far the hub is. Losing it costs a resend, so this is not forced to the disk.
    pub(crate) fn save_acknowledged(&mut self) -> io::Result<()> {
        if let Some(position) = self.acked.filter(|_| self.acked != self.acked_saved) {
            replace_file(&self.directory.join("acked"), position.to_string().as_bytes())?;
            self.acked_saved = self.acked;
        }
        Ok(())
    }

    /// Files with bytes that a power cut would lose, if the hub does not have them already.
    pub(crate) fn take_unsynced(&mut self) -> io::Result<Vec<File>> {
        if !self.has_unacknowledged() {
            return Ok(Vec::new());
        }
        let mut files = std::mem::take(&mut self.unsynced_full);
        if self.unsynced {
            files.push(self.active.try_clone()?);
            self.unsynced = false;
        }
        Ok(files)
    }

    /// The next batch after the one read last. `now` dates what the spool itself has to say.
    pub(crate) fn next_unsent(&mut self, now: Timestamp) -> io::Result<Option<SpooledBatch>> {
        loop {
            if self.cursor.is_none() && !self.locate()? {
                return Ok(None);
            }
            let Some(cursor) = &mut self.cursor else { return Ok(None) };
            let Some(index) = self.segments.iter().position(|segment| segment.id == cursor.segment) else {
                self.cursor = None;
                continue;
            };
            if cursor.offset >= self.segments[index].bytes {
                let Some(next) = self.segments.get(index + 1) else { return Ok(None) };
                let id = next.id;
                self.cursor = Some(self.cursor_at(id, 0)?);
                continue;
            }
            let bytes = read_record_bytes(&cursor.file, cursor.offset)?;
            let Some(record) = record::read(&bytes) else {
                tracing::error!(
                    segment = cursor.segment,
                    offset = cursor.offset,
                    "a spool file became unreadable; the rest of it is lost"
                );
                cursor.offset = self.segments[index].bytes;
                continue;
            };
            let header = record.header;
            let position =
                Position { epoch: header.position.epoch, number: header.position.number + cursor.within_run };
            let events = match header.kind {
                Kind::Events | Kind::Samples => record.body.to_vec(),
                // The first batch of a run speaks for all; the others hold their numbers and nothing else.
                Kind::Dropped { .. } if cursor.within_run == 0 => gap(header.samples, GapCause::SpoolFull, now)?,
                Kind::Damaged { .. } if cursor.within_run == 0 => gap(header.samples, GapCause::SpoolDamaged, now)?,
                Kind::Dropped { .. } | Kind::Damaged { .. } => encode(&[])?,
            };
            cursor.within_run += 1;
            if cursor.within_run >= header.count() {
                cursor.within_run = 0;
                cursor.offset += record.size as u64;
            }
            let previous = self.read.replace(position);
            return Ok(Some(SpooledBatch { position, previous, events }));
        }
    }

    /// Reads again from just after this batch, or from the oldest one kept.
    pub(crate) fn rewind(&mut self, after: Option<Position>) {
        self.cursor = None;
        self.read = after;
    }

    /// Finds the first batch after the one read last, and what stands before it. Answers `false` when there is none.
    fn locate(&mut self) -> io::Result<bool> {
        let after = self.read;
        let Some(index) =
            self.segments.iter().position(|segment| segment.span.is_some_and(|(_, last)| Some(last) > after))
        else {
            return Ok(false);
        };
        let id = self.segments[index].id;
        let mut previous =
            self.segments.iter().take(index).rev().find_map(|segment| segment.span).map(|(_, last)| last);
        let mut cursor = self.cursor_at(id, 0)?;
        let bytes = fs::read(self.path(id))?;
        for piece in Walk::new(&bytes) {
            match piece {
                Piece::Record(record) if Some(record.header.last()) <= after => {
                    previous = Some(record.header.last());
                    cursor.offset += record.size as u64;
                }
                Piece::Record(record) => {
                    let first = record.header.position;
                    if let Some(after) = after.filter(|after| *after >= first) {
                        cursor.within_run = after.number - first.number + 1;
                        previous = Some(after);
                    }
                    break;
                }
                Piece::Garbage(size) => cursor.offset += size as u64,
            }
        }
        self.cursor = Some(cursor);
        self.read = previous;
        Ok(true)
    }

    /// From now on the newest segment cannot be written.
    #[cfg(test)]
    pub(crate) fn break_disk(&mut self) {
        self.active = File::open(&self.directory).expect("the spool's directory");
    }

    fn cursor_at(&self, segment: u64, offset: u64) -> io::Result<Cursor> {
        Ok(Cursor { segment, file: File::open(self.path(segment))?, offset, within_run: 0 })
    }

    fn roll(&mut self) -> io::Result<()> {
        let id = self.last().id + 1;
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(self.path(id))?;
        let full = std::mem::replace(&mut self.active, file);
        if std::mem::replace(&mut self.unsynced, true) {
            self.unsynced_full.push(full);
        }
        self.segments.push_back(Segment { id, bytes: 0, span: None, droppable: false });
        Ok(())
    }

    #[expect(clippy::expect_used, reason = "segments is never empty: the last one is never removed")]
    fn last(&self) -> &Segment {
        self.segments.back().expect("a spool has a segment")
    }

    #[expect(clippy::expect_used, reason = "segments is never empty: the last one is never removed")]
    fn last_mut(&mut self) -> &mut Segment {
        self.segments.back_mut().expect("a spool has a segment")
    }

    fn path(&self, id: u64) -> PathBuf {
        segment_path(&self.directory, id)
    }
}

fn segment_path(directory: &Path, id: u64) -> PathBuf {
    directory.join(format!("{id:016}.batches"))
}

fn encode(events: &[AgentEvent]) -> io::Result<Vec<u8>> {
    wire::encode_events(events).map_err(|error| io::Error::other(error.to_string()))
}

fn gap(samples: u64, cause: GapCause, now: Timestamp) -> io::Result<Vec<u8>> {
    encode(&[AgentEvent { at: now, body: EventBody::Gap { device: None, samples, cause } }])
}

fn read_record_bytes(file: &File, offset: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; READ_FIRST];
    let mut filled = fill(file, &mut bytes, 0, offset)?;
    bytes.truncate(filled);
    if let Some(length) = bytes.first_chunk::<4>() {
        let whole = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX).saturating_add(8);
        if whole > filled && whole <= record::OVERHEAD + record::BODY_MAX {
            bytes.resize(whole, 0);
            filled = fill(file, &mut bytes, filled, offset)?;
            bytes.truncate(filled);
        }
    }
    Ok(bytes)
}

fn fill(file: &File, bytes: &mut [u8], mut filled: usize, offset: u64) -> io::Result<usize> {
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Puts a whole file in the place of another, so that a reader sees one or the other.
fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    File::create(&new)?.write_all(bytes)?;
    fs::rename(&new, path)
}

/// As `replace_file`, and a power cut leaves one or the other too.
fn replace_file_for_good(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(bytes)?;
    // Before the rename: an old name must never lead to a new file whose bytes are not there yet.
    file.sync_all()?;
    fs::rename(&new, path)?;
    path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}

#[cfg(test)]
mod tests;
