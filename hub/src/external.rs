//! Runs that a program outside reports: how one is announced, what it may report, and what contradicts what it reported
//! before. Pure: knows no socket, no store and no clock.

mod described;
mod fields;
mod report;
mod start;
mod state;
mod wells;

pub use described::{Announcement, Batch};
pub use fields::Mistake;
pub use report::{BadBatch, Report, Reported, StepReport, StepWord, TestReport, parse_batch};
pub use start::{DEADLINE, StartExternal};
pub(crate) use state::{State, devices};

/// Events in one batch, and its length in bytes.
pub const EVENTS_MAX: usize = 1000;
pub const BATCH_BYTES_MAX: usize = 1024 * 1024;

/// Ids of events that a run remembers, the newest: one that is sent again within so many is known.
pub const IDS_REMEMBERED: usize = 20_000;

/// Steps or tests that one run may have.
const PARTS_MAX: usize = 2000;

/// Characters of a name, and of a sentence or a few.
const NAME_MAX: usize = 200;
const TEXT_MAX: usize = 16 * 1024;
