//! The hub's cores, tested as data: procedures, the engine, the record and the watchers.
#![expect(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test says what it looks for and panics otherwise"
)]

mod artifacts;
mod campaigns;
mod chat;
mod external;
mod graphs;
mod guide;
mod interplay;
mod leases;
mod mishaps;
mod partition;
mod previews;
mod procedures;
mod programs;
mod properties;
mod record;
mod runs;
mod sharing;
mod support;
mod watchers;
