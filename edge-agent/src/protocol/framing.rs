//! Where one reply ends: at a line end, after a number of bytes, or after a pause. Bounded, and without a clock: the
//! caller says when the pause has passed.

/// Upper bound of every reply, whatever a profile asks for.
pub const FRAME_MAX: usize = 64 * 1024;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Framing {
    Line {
        end: Vec<u8>,
        max: usize,
    },
    /// Complete when the line stays quiet after `len` bytes; up to `extra` further bytes are thrown away.
    Fixed {
        len: usize,
        extra: usize,
    },
    Idle {
        max: usize,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("reply of more than {max} bytes without an end, starting with {start:?}")]
    TooLong { max: usize, start: String },
    #[error("reply of {found} bytes, expected {expected}: {start:?}")]
    Length { found: usize, expected: usize, start: String },
    #[error("{found} bytes after the end of the reply, expected none: {start:?}")]
    Trailing { found: usize, start: String },
    #[error("echo {found:?}, expected {expected:?}")]
    Echo { found: String, expected: String },
}

/// Takes one reply apart. A fresh one is made for every request.
#[derive(Debug)]
pub struct Decoder {
    framing: Framing,
    buffer: Vec<u8>,
    /// What is still expected to come back before the reply, on lines that echo.
    echo: Vec<u8>,
    echo_seen: usize,
    received: usize,
}

impl Decoder {
    pub fn new(framing: Framing, echo: &[u8]) -> Self {
        Self { framing, buffer: Vec::new(), echo: echo.to_vec(), echo_seen: 0, received: 0 }
    }

    pub fn push(&mut self, bytes: &[u8]) {
        self.received = self.received.saturating_add(bytes.len());
        // One byte beyond the limit is enough to know that it is too long.
        let room = (self.limit() + self.echo.len() + 1).saturating_sub(self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// The reply, once it is complete without waiting for a pause. After `Some` the decoder is of no further use.
    pub fn next_frame(&mut self) -> Option<Result<Vec<u8>, FrameError>> {
        if let Err(error) = self.take_echo() {
            return Some(Err(error));
        }
        match &self.framing {
            Framing::Line { end, max } => match find(&self.buffer, end) {
                Some(at) if at > *max => Some(Err(FrameError::TooLong { max: *max, start: start(&self.buffer) })),
                Some(at) => {
                    let rest = self.buffer.split_off(at + end.len());
                    if !rest.is_empty() {
                        return Some(Err(FrameError::Trailing { found: rest.len(), start: start(&rest) }));
                    }
                    self.buffer.truncate(at);
                    Some(Ok(std::mem::take(&mut self.buffer)))
                }
                None if self.buffer.len() > max + end.len() => {
                    Some(Err(FrameError::TooLong { max: *max, start: start(&self.buffer) }))
                }
                None => None,
            },
            Framing::Fixed { len, extra } => (self.buffer.len() > len + extra).then(|| {
                Err(FrameError::Length { found: self.buffer.len(), expected: *len, start: start(&self.buffer) })
            }),
            Framing::Idle { max } => {
                (self.buffer.len() > *max).then(|| Err(FrameError::TooLong { max: *max, start: start(&self.buffer) }))
            }
        }
    }

    /// Whether a pause now would complete the reply.
    pub fn awaits_gap(&self) -> bool {
        self.echo_seen == self.echo.len()
            && match &self.framing {
                Framing::Line { .. } => false,
                Framing::Fixed { len, .. } => self.buffer.len() >= *len,
                Framing::Idle { .. } => !self.buffer.is_empty(),
            }
    }

    /// The line was quiet for as long as the profile says: what is here is the whole reply.
    pub fn gap_passed(&mut self) -> Option<Result<Vec<u8>, FrameError>> {
        if !self.awaits_gap() {
            return None;
        }
        if let Some(result) = self.next_frame() {
            return Some(result);
        }
        if let Framing::Fixed { len, .. } = self.framing {
            self.buffer.truncate(len);
        }
        Some(Ok(std::mem::take(&mut self.buffer)))
    }

    /// What arrived so far, for messages about an incomplete reply. `None` when nothing did.
    pub fn incomplete(&self) -> Option<String> {
        (self.received > 0).then(|| format!("{} bytes {:?}", self.received, start(&self.buffer)))
    }

    fn limit(&self) -> usize {
        match &self.framing {
            Framing::Line { end, max } => max + end.len(),
            Framing::Fixed { len, extra } => len + extra,
            Framing::Idle { max } => *max,
        }
    }

    fn take_echo(&mut self) -> Result<(), FrameError> {
        let missing = &self.echo[self.echo_seen..];
        let count = missing.len().min(self.buffer.len());
        if missing[..count] != self.buffer[..count] {
            return Err(FrameError::Echo { found: start(&self.buffer), expected: start(missing) });
        }
        self.buffer.drain(..count);
        self.echo_seen += count;
        Ok(())
    }
}

/// The first bytes, for people.
pub fn start(bytes: &[u8]) -> String {
    bytes.iter().take(32).flat_map(|byte| std::ascii::escape_default(*byte)).map(char::from).collect()
}

fn find(buffer: &[u8], end: &[u8]) -> Option<usize> {
    if end.is_empty() { None } else { buffer.windows(end.len()).position(|window| window == end) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Outcome = Option<Result<Vec<u8>, FrameError>>;

    fn decode(framing: &Framing, echo: &[u8], chunks: &[&[u8]]) -> Outcome {
        let mut decoder = Decoder::new(framing.clone(), echo);
        for chunk in chunks {
            decoder.push(chunk);
        }
        decoder.next_frame().or_else(|| decoder.gap_passed())
    }

    fn line() -> Framing {
        Framing::Line { end: b"\n".to_vec(), max: 8 }
    }

    fn ok(bytes: &[u8]) -> Outcome {
        Some(Ok(bytes.to_vec()))
    }

    #[test]
    fn replies_end_where_the_profile_says() {
        let fixed = Framing::Fixed { len: 5, extra: 1 };
        let idle = Framing::Idle { max: 8 };
        for (framing, input, expected) in [
            (line(), &b"1.5\r\n"[..], ok(b"1.5\r")),
            (line(), b"1.5", None),
            (line(), b"\n", ok(b"")),
            (fixed.clone(), b"05.00", ok(b"05.00")),
            (fixed.clone(), b"05.00K", ok(b"05.00")),
            (fixed.clone(), b"05.", None),
            (idle.clone(), b"KORAD", ok(b"KORAD")),
            (idle.clone(), b"", None),
        ] {
            assert_eq!(decode(&framing, b"", &[input]), expected, "{framing:?} {input:?}");
        }
        for (framing, input) in [
            (line(), &b"1.5\n2"[..]),
            (line(), b"123456789012"),
            (line(), b"123456789\n"),
            (fixed, b"05.00KK"),
            (idle, b"123456789"),
        ] {
            assert!(matches!(decode(&framing, b"", &[input]), Some(Err(_))), "{framing:?} {input:?}");
        }
    }

    #[test]
    fn an_echo_is_removed_and_checked() {
        assert_eq!(decode(&line(), b"V?\n", &[b"V?\n1.5\n"]), ok(b"1.5"));
        assert_eq!(decode(&line(), b"V?\n", &[b"V"]), None);
        assert!(matches!(decode(&line(), b"V?\n", &[b"1.5\n"]), Some(Err(FrameError::Echo { .. }))));
    }

    #[test]
    fn memory_is_bounded() {
        let mut decoder = Decoder::new(line(), b"");
        for _ in 0..1000 {
            decoder.push(&[b'x'; 1000]);
        }
        assert!(decoder.buffer.len() <= 10);
        assert_eq!(decoder.received, 1_000_000);
    }

    fn any_framing() -> impl Strategy<Value = Framing> {
        prop_oneof![
            (0_usize..20).prop_map(|max| Framing::Line { end: b"\r\n".to_vec(), max }),
            (0_usize..20, 0_usize..3).prop_map(|(len, extra)| Framing::Fixed { len, extra }),
            (1_usize..20).prop_map(|max| Framing::Idle { max }),
        ]
    }

    proptest! {
        #[test]
        fn chunking_changes_nothing(
            framing in any_framing(),
            echo in proptest::collection::vec(any::<u8>(), 0..3),
            bytes in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), any::<u8>()], 0..40),
            cuts in proptest::collection::vec(0_usize..40, 0..6),
        ) {
            let whole = decode(&framing, &echo, &[&bytes]);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            prop_assert_eq!(decode(&framing, &echo, &chunks), whole);
        }
    }
}
