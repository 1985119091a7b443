//! Instruments played by their own profiles. Shares no reply decoder with the drivers, so that a mistake shows.

pub mod bench;
pub mod core;
pub mod fault;
pub mod picture;
pub mod pty;
