//! Whether bytes are one whole JPEG picture, and how large it is. Looks at markers only; decodes no pixel.

const START: u8 = 0xD8;
const END: u8 = 0xD9;
const SCAN: u8 = 0xDA;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Picture {
    pub width: u16,
    pub height: u16,
    /// Bytes up to the end marker. Some cameras pad what follows it.
    pub length: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JpegError {
    #[error("{0} bytes that are no JPEG picture")]
    NotJpeg(usize),
    #[error("a JPEG picture that is cut off after {0} bytes")]
    Truncated(usize),
    #[error("a JPEG picture that is damaged at byte {0}")]
    Damaged(usize),
}

pub fn examine(bytes: &[u8]) -> Result<Picture, JpegError> {
    if !bytes.starts_with(&[0xFF, START, 0xFF]) {
        return Err(JpegError::NotJpeg(bytes.len()));
    }
    let truncated = || JpegError::Truncated(bytes.len());
    let mut size = None;
    let mut scanned = false;
    let mut at = 2;
    loop {
        let (marker, after) = marker(bytes, at)?;
        at = after;
        if marker == END {
            let Some((width, height)) = size.filter(|_| scanned) else { return Err(JpegError::Damaged(at)) };
            return Ok(Picture { width, height, length: at });
        }
        let length = bytes.get(at..at + 2).ok_or_else(truncated)?;
        let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
        if length < 2 {
            return Err(JpegError::Damaged(at));
        }
        let content = bytes.get(at + 2..at + length).ok_or_else(truncated)?;
        if is_frame_header(marker) {
            size = Some(dimensions(content).ok_or(JpegError::Damaged(at))?);
        }
        at += length;
        if marker == SCAN {
            // A scan without a frame header before it describes nothing.
            size.ok_or(JpegError::Damaged(at))?;
            at = scan_end(bytes, at).ok_or_else(truncated)?;
            scanned = true;
        }
    }
}

/// The marker at this place and where its segment begins. Any number of 0xFF may come before it.
fn marker(bytes: &[u8], at: usize) -> Result<(u8, usize), JpegError> {
    let rest = bytes.get(at..).unwrap_or_default();
    let fill = rest.iter().take_while(|byte| **byte == 0xFF).count();
    match rest.get(fill) {
        None => Err(JpegError::Truncated(bytes.len())),
        Some(_) if fill == 0 => Err(JpegError::Damaged(at)),
        // Neither a stuffed byte nor a restart nor another start belongs between segments.
        Some(0x00 | 0x01 | 0xD0..=0xD8) => Err(JpegError::Damaged(at)),
        Some(marker) => Ok((*marker, at + fill + 1)),
    }
}

/// The first marker in a scan's data that is neither a stuffed byte nor a restart.
fn scan_end(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        at += bytes.get(at..)?.iter().position(|byte| *byte == 0xFF)?;
        match bytes.get(at + 1)? {
            0x00 | 0xD0..=0xD7 => at += 2,
            0xFF => at += 1,
            _ => return Some(at),
        }
    }
}

/// Baseline, extended, progressive and lossless frames; not the tables that have numbers among them.
const fn is_frame_header(marker: u8) -> bool {
    matches!(marker, 0xC0..=0xC3 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xCD..=0xCF)
}

/// Precision, height, width.
fn dimensions(content: &[u8]) -> Option<(u16, u16)> {
    let [_, a, b, c, d, ..] = *content else { return None };
    let (height, width) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    (width > 0 && height > 0).then_some((width, height))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rigwire_shared::time::Timestamp;

    use super::*;
    use crate::simulator::picture::draw;

    #[test]
    fn a_whole_picture_has_its_size() {
        for (width, height) in [(16, 8), (640, 480), (33, 7)] {
            let bytes = draw(width, height, 3, Timestamp(0)).unwrap();
            let expected = Picture { width, height, length: bytes.len() };
            assert_eq!(examine(&bytes), Ok(expected));
            let padded = [&bytes[..], &[0; 9]].concat();
            assert_eq!(examine(&padded), Ok(expected), "what follows the end is not of the picture");
        }
    }

    #[test]
    fn every_shorter_part_of_a_picture_is_refused() {
        let bytes = draw(64, 48, 7, Timestamp(0)).unwrap();
        for length in 0..bytes.len() {
            assert!(examine(&bytes[..length]).is_err(), "{length} of {} bytes", bytes.len());
        }
        assert_eq!(examine(&bytes[..bytes.len() - 1]), Err(JpegError::Truncated(bytes.len() - 1)));
    }

    #[test]
    fn what_is_no_picture_is_named() {
        for (bytes, expected) in [
            (&b""[..], JpegError::NotJpeg(0)),
            (b"GIF89a", JpegError::NotJpeg(6)),
            (&[0xFF, 0xD8, 0xFF, 0xD9], JpegError::Damaged(4)),
            (&[0xFF, 0xD8, 0xFF, 0xE0, 0, 1], JpegError::Damaged(4)),
            (&[0xFF, 0xD8, 0xFF, 0xDA, 0, 2, 1, 2, 0xFF, 0xD9], JpegError::Damaged(6)),
            (&[0xFF, 0xD8, 0xFF, 0xC0, 0, 7, 8, 0, 0, 0, 9, 0xFF, 0xD9], JpegError::Damaged(4)),
        ] {
            assert_eq!(examine(bytes), Err(expected), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), start in any::<bool>()) {
            let bytes = if start { [&[0xFF, 0xD8, 0xFF][..], &bytes].concat() } else { bytes };
            if let Ok(picture) = examine(&bytes) {
                prop_assert!(picture.length <= bytes.len());
            }
        }

        #[test]
        fn a_damaged_picture_is_refused_or_still_whole(at in 0_usize..600, byte in any::<u8>()) {
            let mut bytes = draw(32, 24, 1, Timestamp(0)).unwrap();
            let at = at % bytes.len();
            bytes[at] = byte;
            if let Ok(picture) = examine(&bytes) {
                prop_assert!(bytes[..picture.length].ends_with(&[0xFF, 0xD9]));
            }
        }
    }
}
