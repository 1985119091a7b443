//! Bytes to frames, frames to values, values to bytes. No tokio, no clock, no port.

pub mod expression;
pub mod format;
pub mod framing;
pub mod http;
pub mod jpeg;
pub mod mjpeg;
pub mod number;
pub mod parse;
pub mod quality;
pub mod template;
pub mod words;
