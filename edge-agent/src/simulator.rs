//! Instruments played by their own profiles, and a camera. Shares no reply decoder with the drivers, so that a mistake shows.

pub mod bench;
pub mod camera;
pub mod core;
pub mod fault;
pub mod picture;
pub mod pty;
