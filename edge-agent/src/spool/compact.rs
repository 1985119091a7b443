//! Making room: the oldest samples give way to a count of what was there. Events stay.

use std::fs;
use std::io;

use super::record::{self, Header, Kind, Piece, Walk};
use super::{Segment, Spool, replace_file_for_good};

impl Spool {
    /// More bytes than allowed, and samples that can give way.
    pub(crate) fn is_over_limit(&self) -> bool {
        self.bytes() > self.limit && self.oldest_droppable().is_some()
    }

    /// Rewrites segments, oldest first, until the spool fits. Answers how many samples were given up.
    /// Reads and writes whole files: meant for a thread that may block.
    pub(crate) fn make_room(&mut self) -> io::Result<u64> {
        let mut samples = 0;
        while self.bytes() > self.limit {
            let Some(index) = self.oldest_droppable() else { break };
            samples += self.compact(index)?;
        }
        Ok(samples)
    }

    fn oldest_droppable(&self) -> Option<usize> {
        let sealed = self.segments.len() - 1;
        self.segments.iter().take(sealed).position(|segment| segment.droppable)
    }

    fn compact(&mut self, index: usize) -> io::Result<u64> {
        let id = self.segments[index].id;
        let mut compacted = Compacted::default();
        // A small neighbour is taken along, or years of outage would leave a file for each megabyte that was.
        let neighbour = index.checked_sub(1).map(|at| &self.segments[at]);
        let neighbour = neighbour.filter(|segment| segment.bytes < self.segment_bytes / 2).map(|segment| segment.id);
        if let Some(neighbour) = neighbour {
            compacted.add(&fs::read(self.path(neighbour))?, self.acked);
        }
        compacted.add(&fs::read(self.path(id))?, self.acked);
        let (segment, bytes) = compacted.finish(id);
        replace_file_for_good(&self.path(id), &bytes)?;
        if let Some(neighbour) = neighbour {
            fs::remove_file(self.path(neighbour))?;
            self.segments.retain(|segment| segment.id != neighbour);
        }
        if let Some(place) = self.segments.iter_mut().find(|place| place.id == id) {
            *place = segment;
        }
        if self.cursor.as_ref().is_some_and(|cursor| cursor.segment == id || Some(cursor.segment) == neighbour) {
            self.cursor = None;
        }
        Ok(compacted.given_up)
    }
}

/// The records of a segment in the making. Neighbouring runs become one.
#[derive(Default)]
struct Compacted {
    kept: Vec<(Header, Vec<u8>)>,
    given_up: u64,
}

impl Compacted {
    fn add(&mut self, bytes: &[u8], acked: Option<rigwire_shared::ids::Position>) {
        for piece in Walk::new(bytes) {
            let Piece::Record(record) = piece else { continue };
            if Some(record.header.last()) <= acked {
                continue;
            }
            match record.header.kind {
                Kind::Events | Kind::Damaged { .. } => self.kept.push((record.header, record.body.to_vec())),
                Kind::Samples => {
                    self.given_up += record.header.samples;
                    self.drop_run(Header { kind: Kind::Dropped { count: 1 }, ..record.header });
                }
                Kind::Dropped { .. } => self.drop_run(record.header),
            }
        }
    }

    fn drop_run(&mut self, run: Header) {
        if let Some((before, _)) = self.kept.last_mut()
            && let Kind::Dropped { count } = before.kind
            && before.position.epoch == run.position.epoch
            && before.position.number + count == run.position.number
        {
            before.kind = Kind::Dropped { count: count + run.count() };
            before.samples += run.samples;
        } else {
            self.kept.push((run, Vec::new()));
        }
    }

    fn finish(&self, id: u64) -> (Segment, Vec<u8>) {
        let mut bytes = Vec::new();
        let mut segment = Segment { id, bytes: 0, span: None, droppable: false };
        for (header, body) in &self.kept {
            let start = bytes.len();
            record::write(header, body, &mut bytes);
            segment.note(header, (bytes.len() - start) as u64);
        }
        (segment, bytes)
    }
}
