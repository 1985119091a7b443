//! Instruments played by their own profiles. Shares no reply decoder with the drivers, so that a mistake shows.

pub mod fault;
