//! Reports of runs, in each format, as data. No hub, no record and no socket.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod campaigns;
mod fixture;
mod golden;
mod hostile;
mod pdf;
mod pictures;
