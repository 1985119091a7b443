//! The firmware frame: `00 · COBS(postcard ‖ crc32) · 00`.
//!
//! COBS finds the frame, the checksum decides whether to believe it: without one, most single-bit flips decode as another
//! valid value. The leading zero lets a reader that joined amid garbage keep the first good frame.

use core::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

const CRC: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISCSI);
const CRC_SIZE: usize = 4;

/// Largest frame between its zeros. Bounds what a wrong baud rate can make a reader keep.
pub const FRAME_MAX: usize = 256;

/// Zeros, COBS overhead and checksum included.
pub type FrameBuffer = heapless::Vec<u8, { FRAME_MAX + 2 }>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameError {
    /// More bytes than a frame may have; the rest up to the next zero is skipped.
    TooLong,
    /// Not COBS.
    Stuffing,
    Checksum,
    /// The checksum is right and the message is not: another version of the firmware.
    Malformed,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "frame longer than {FRAME_MAX} bytes"),
            Self::Stuffing => f.write_str("frame with broken byte stuffing"),
            Self::Checksum => f.write_str("frame with a wrong checksum"),
            Self::Malformed => f.write_str("frame of an unknown form"),
        }
    }
}

impl core::error::Error for FrameError {}

pub fn encode<T: Serialize>(message: &T) -> Result<FrameBuffer, FrameError> {
    let mut plain = [0_u8; FRAME_MAX];
    let used = postcard::to_slice(message, &mut plain[..FRAME_MAX - CRC_SIZE]).map_err(|_| FrameError::TooLong)?.len();
    let checksum = CRC.checksum(&plain[..used]).to_le_bytes();
    plain[used..used + CRC_SIZE].copy_from_slice(&checksum);
    let plain = &plain[..used + CRC_SIZE];
    if cobs::max_encoding_length(plain.len()) > FRAME_MAX {
        return Err(FrameError::TooLong);
    }
    let mut stuffed = [0_u8; FRAME_MAX];
    let length = cobs::encode(plain, &mut stuffed);
    let mut frame = FrameBuffer::new();
    let whole = frame.push(0).is_ok() && frame.extend_from_slice(&stuffed[..length]).is_ok() && frame.push(0).is_ok();
    if whole { Ok(frame) } else { Err(FrameError::TooLong) }
}

/// What a decoder has seen and refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    pub frames: u32,
    pub too_long: u32,
    pub stuffing: u32,
    pub checksum: u32,
    pub malformed: u32,
}

impl Counters {
    pub const fn rejected(&self) -> u32 {
        self.too_long.saturating_add(self.stuffing).saturating_add(self.checksum).saturating_add(self.malformed)
    }
}

/// Bytes in, messages out. Holds at most one frame, whatever arrives.
#[derive(Debug, Default)]
pub struct Decoder {
    pending: heapless::Vec<u8, FRAME_MAX>,
    overlong: bool,
    counters: Counters,
}

impl Decoder {
    pub const fn new() -> Self {
        Self {
            pending: heapless::Vec::new(),
            overlong: false,
            counters: Counters { frames: 0, too_long: 0, stuffing: 0, checksum: 0, malformed: 0 },
        }
    }

    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// Takes one byte; a zero may complete a frame.
    pub fn push<T: DeserializeOwned>(&mut self, byte: u8) -> Option<Result<T, FrameError>> {
        if byte != 0 {
            if self.pending.push(byte).is_err() {
                self.overlong = true;
            }
            return None;
        }
        let result = if self.overlong {
            Err(FrameError::TooLong)
        } else if self.pending.is_empty() {
            return None;
        } else {
            open(&mut self.pending)
        };
        self.pending.clear();
        self.overlong = false;
        self.count(result.as_ref().err());
        Some(result)
    }

    fn count(&mut self, error: Option<&FrameError>) {
        let counter = match error {
            None => &mut self.counters.frames,
            Some(FrameError::TooLong) => &mut self.counters.too_long,
            Some(FrameError::Stuffing) => &mut self.counters.stuffing,
            Some(FrameError::Checksum) => &mut self.counters.checksum,
            Some(FrameError::Malformed) => &mut self.counters.malformed,
        };
        *counter = counter.saturating_add(1);
    }
}

fn open<T: DeserializeOwned>(stuffed: &mut [u8]) -> Result<T, FrameError> {
    let length = cobs::decode_in_place(stuffed).map_err(|_| FrameError::Stuffing)?;
    let plain = stuffed.get(..length).ok_or(FrameError::Stuffing)?;
    let (body, checksum) = plain.split_last_chunk::<CRC_SIZE>().ok_or(FrameError::Checksum)?;
    if CRC.checksum(body) != u32::from_le_bytes(*checksum) {
        return Err(FrameError::Checksum);
    }
    let (message, rest) = postcard::take_from_bytes(body).map_err(|_| FrameError::Malformed)?;
    if rest.is_empty() { Ok(message) } else { Err(FrameError::Malformed) }
}
