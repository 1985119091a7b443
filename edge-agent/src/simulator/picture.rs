//! The pictures of a simulated camera: colour bars, a bar that moves with each frame, and the frame's number. No clock.

use anyhow::Context as _;
use jpeg_encoder::{ColorType, Encoder};
use rigwire_shared::time::Timestamp;

const QUALITY: u8 = 75;
/// Application data of this kind carries number and time of a frame, for whoever measures.
const NOTE_SEGMENT: u8 = 9;
const BARS: [[u8; 3]; 7] =
    [[190, 190, 190], [190, 190, 0], [0, 190, 190], [0, 190, 0], [190, 0, 190], [190, 0, 0], [0, 0, 190]];
const BLACK: [u8; 3] = [16, 16, 16];
const WHITE: [u8; 3] = [235, 235, 235];
/// Three by five dots each, rows from the top, the left dot first.
const DIGITS: [[u8; 5]; 10] = [
    [0b111, 0b101, 0b101, 0b101, 0b111],
    [0b010, 0b110, 0b010, 0b010, 0b111],
    [0b111, 0b001, 0b111, 0b100, 0b111],
    [0b111, 0b001, 0b111, 0b001, 0b111],
    [0b101, 0b101, 0b111, 0b001, 0b001],
    [0b111, 0b100, 0b111, 0b001, 0b111],
    [0b111, 0b100, 0b111, 0b101, 0b111],
    [0b111, 0b001, 0b001, 0b010, 0b010],
    [0b111, 0b101, 0b111, 0b101, 0b111],
    [0b111, 0b101, 0b111, 0b001, 0b111],
];

/// One frame as JPEG. Number and time are in the picture's application data, too.
pub fn draw(width: u16, height: u16, frame: u64, at: Timestamp) -> anyhow::Result<Vec<u8>> {
    let mut canvas = Canvas::new(usize::from(width), usize::from(height));
    canvas.moving_bar(frame);
    canvas.number(frame);
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, QUALITY);
    let note = format!("rigwire frame {frame} at {}", at.0);
    encoder.add_app_segment(NOTE_SEGMENT, note.into_bytes()).context("noting the frame's number")?;
    encoder.encode(&canvas.pixels, width, height, ColorType::Rgb).context("encoding a picture")?;
    Ok(bytes)
}

struct Canvas {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

impl Canvas {
    fn new(width: usize, height: usize) -> Self {
        let row: Vec<u8> = (0..width).flat_map(|x| BARS[x * BARS.len() / width.max(1)]).collect();
        Self { width, height, pixels: row.repeat(height) }
    }

    fn moving_bar(&mut self, frame: u64) {
        let thickness = (self.height / 12).max(1);
        let step = usize::try_from(frame % self.height.max(1) as u64).unwrap_or(0);
        let top = (step * 3) % self.height.max(1);
        self.fill(0, top, self.width, thickness, WHITE);
    }

    fn number(&mut self, frame: u64) {
        let digits: Vec<usize> = frame.to_string().bytes().map(|digit| usize::from(digit - b'0')).collect();
        let dot = (self.width / 40).max(1);
        self.fill(dot, dot, (digits.len() * 4 + 1) * dot, 7 * dot, BLACK);
        for (place, digit) in digits.into_iter().enumerate() {
            for (row, dots) in DIGITS[digit].into_iter().enumerate() {
                for column in (0..3).filter(|column| dots & (0b100 >> column) != 0) {
                    self.fill((2 + place * 4 + column) * dot, (2 + row) * dot, dot, dot, WHITE);
                }
            }
        }
    }

    /// What lies outside is left out.
    fn fill(&mut self, left: usize, top: usize, width: usize, height: usize, colour: [u8; 3]) {
        let right = (left + width).min(self.width);
        if left >= right {
            return;
        }
        let line = colour.repeat(right - left);
        for y in top..(top + height).min(self.height) {
            let start = (y * self.width + left) * 3;
            self.pixels[start..start + line.len()].copy_from_slice(&line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_frame_looks_different_and_says_which_it_is() {
        let mut seen = std::collections::BTreeSet::new();
        for frame in 0..40 {
            let mut canvas = Canvas::new(64, 48);
            canvas.moving_bar(frame);
            canvas.number(frame);
            assert!(seen.insert(canvas.pixels), "frame {frame} looks like an earlier one");
            let bytes = draw(64, 48, frame, Timestamp(7)).unwrap();
            let note = format!("rigwire frame {frame} at 7");
            assert!(bytes.windows(note.len()).any(|window| window == note.as_bytes()));
        }
        for (width, height) in [(1, 1), (3, 200), (2000, 2)] {
            draw(width, height, u64::MAX, Timestamp(0)).unwrap();
        }
    }
}
