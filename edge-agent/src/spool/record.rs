//! One record of a segment file: `length · crc32 · kind · position · samples · body`. Bytes only, no file, no clock.

use rigwire_shared::ids::{Epoch, Position};

const CRC: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISCSI);

/// Length and checksum, before what they cover.
const PREFIX: usize = 8;
/// Kind, epoch, number and samples, at the start of what the checksum covers.
const HEADER: usize = 1 + 8 + 8 + 8;
/// Bytes that a record needs besides its body.
pub(super) const OVERHEAD: usize = PREFIX + HEADER;
/// Longest body that is believed when a file is read. A batch body is never longer than one message.
pub(super) const BODY_MAX: usize = rigwire_shared::wire::MESSAGE_MAX;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Kept whatever happens.
    Events,
    /// Only samples: may give way when the spool is full.
    Samples,
    /// Samples that gave way: `count` batches from the position on, with `samples` samples in all.
    Dropped { count: u64 },
    /// Batches that could not be read back.
    Damaged { count: u64 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: Kind,
    /// Of the batch, or of the first of a run.
    pub(super) position: Position,
    pub(super) samples: u64,
}

impl Header {
    /// How many numbers the record stands for.
    pub(super) fn count(&self) -> u64 {
        match self.kind {
            Kind::Events | Kind::Samples => 1,
            Kind::Dropped { count } | Kind::Damaged { count } => count,
        }
    }

    pub(super) fn last(&self) -> Position {
        Position { epoch: self.position.epoch, number: self.position.number.saturating_add(self.count() - 1) }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Record<'a> {
    pub(super) header: Header,
    pub(super) body: &'a [u8],
    /// Bytes of the whole record in the file.
    pub(super) size: usize,
}

/// Appends one record. A run carries its count in place of a body.
pub(super) fn write(header: &Header, body: &[u8], out: &mut Vec<u8>) {
    let (kind, count) = match header.kind {
        Kind::Events => (0_u8, None),
        Kind::Samples => (1, None),
        Kind::Dropped { count } => (2, Some(count.to_le_bytes())),
        Kind::Damaged { count } => (3, Some(count.to_le_bytes())),
    };
    let body = count.as_ref().map_or(body, |count| count.as_slice());
    let start = out.len();
    let length = u32::try_from(HEADER + body.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.push(kind);
    out.extend_from_slice(&header.position.epoch.0.to_le_bytes());
    out.extend_from_slice(&header.position.number.to_le_bytes());
    out.extend_from_slice(&header.samples.to_le_bytes());
    out.extend_from_slice(body);
    let checksum = CRC.checksum(&out[start + PREFIX..]).to_le_bytes();
    out[start + 4..start + PREFIX].copy_from_slice(&checksum);
}

/// The record at the start of `bytes`; `None` when there is none that can be believed.
pub(super) fn read(bytes: &[u8]) -> Option<Record<'_>> {
    let length = usize::try_from(u32_at(bytes, 0)?).ok()?;
    if !(HEADER..=HEADER + BODY_MAX).contains(&length) {
        return None;
    }
    let covered = bytes.get(PREFIX..PREFIX + length)?;
    if CRC.checksum(covered) != u32_at(bytes, 4)? {
        return None;
    }
    let (kind, rest) = covered.split_first()?;
    let position = Position { epoch: Epoch(u64_at(rest, 0)?), number: u64_at(rest, 8)? };
    let samples = u64_at(rest, 16)?;
    let body = rest.get(24..)?;
    let count = || u64_at(body, 0).filter(|count| *count > 0);
    let kind = match kind {
        0 => Kind::Events,
        1 => Kind::Samples,
        2 => Kind::Dropped { count: count()? },
        3 => Kind::Damaged { count: count()? },
        _ => return None,
    };
    Some(Record { header: Header { kind, position, samples }, body, size: PREFIX + length })
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// What lies between two ends of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    Record(Record<'a>),
    /// Bytes that are no record, up to the next one or the end.
    Garbage(usize),
}

/// Walks over the bytes of a whole segment and finds the next record after a damaged one.
pub(super) struct Walk<'a> {
    bytes: &'a [u8],
}

impl<'a> Walk<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Piece<'a>> {
        if self.bytes.is_empty() {
            return None;
        }
        if let Some(record) = read(self.bytes) {
            self.bytes = &self.bytes[record.size..];
            return Some(Piece::Record(record));
        }
        let garbage = (1..self.bytes.len()).find(|at| read(&self.bytes[*at..]).is_some()).unwrap_or(self.bytes.len());
        self.bytes = &self.bytes[garbage..];
        Some(Piece::Garbage(garbage))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(kind: Kind) -> Header {
        Header { kind, position: Position { epoch: Epoch(7), number: 3 }, samples: 5 }
    }

    #[test]
    fn records_read_back_as_written() {
        for kind in [Kind::Events, Kind::Samples, Kind::Dropped { count: 4 }, Kind::Damaged { count: 1 }] {
            let mut bytes = Vec::new();
            write(&header(kind), b"body", &mut bytes);
            let record = read(&bytes).unwrap();
            assert_eq!((record.header, record.size), (header(kind), bytes.len()));
        }
        assert_eq!(header(Kind::Dropped { count: 4 }).last().number, 6);
    }

    #[test]
    fn a_changed_bit_is_no_record() {
        let mut bytes = Vec::new();
        write(&header(Kind::Events), b"body", &mut bytes);
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(read(&changed), None, "bit {bit}");
        }
    }

    #[test]
    fn a_walk_finds_the_record_after_garbage() {
        let mut bytes = Vec::new();
        write(&header(Kind::Events), b"one", &mut bytes);
        bytes.extend_from_slice(&[0xAA; 50]);
        write(&header(Kind::Samples), b"two", &mut bytes);
        bytes.extend_from_slice(&[1, 2, 3]);
        let found: Vec<_> = Walk::new(&bytes)
            .map(|piece| match piece {
                Piece::Record(record) => Ok(record.body.to_vec()),
                Piece::Garbage(size) => Err(size),
            })
            .collect();
        assert_eq!(found, [Ok(b"one".to_vec()), Err(50), Ok(b"two".to_vec()), Err(3)]);
    }
}
