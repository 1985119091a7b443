//! Bytes that a program prints to lines of text, bounded however long it goes on without a newline. Pure.

/// Longest line, in bytes. What follows is dropped up to the newline and counted.
pub(crate) const LINE_MAX: usize = 16 * 1024;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) text: String,
    /// Bytes that are not shown.
    pub(crate) cut: u64,
}

/// One stream's bytes. What follows a carriage return replaces what stood before it, as on a terminal.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    buffer: Vec<u8>,
    cut: u64,
    returned: bool,
}

impl Lines {
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Vec<Line> {
        let mut lines = Vec::new();
        for &byte in bytes {
            match byte {
                b'\n' => lines.push(self.take()),
                b'\r' => self.returned = true,
                _ => {
                    if std::mem::take(&mut self.returned) {
                        self.buffer.clear();
                        self.cut = 0;
                    }
                    if self.buffer.len() < LINE_MAX {
                        self.buffer.push(byte);
                    } else {
                        self.cut += 1;
                    }
                }
            }
        }
        lines
    }

    /// What stands after the last newline, when nothing more will come.
    pub(crate) fn end(&mut self) -> Option<Line> {
        (!self.buffer.is_empty()).then(|| self.take())
    }

    fn take(&mut self) -> Line {
        self.returned = false;
        let text = without_controls(&String::from_utf8_lossy(&self.buffer));
        self.buffer.clear();
        Line { text, cut: std::mem::take(&mut self.cut) }
    }
}

/// Without colours and other sequences for terminals, which would be noise in a record.
fn without_controls(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '\u{1b}' => skip_sequence(&mut rest),
            '\t' => clean.push(c),
            c if c.is_control() => {}
            c => clean.push(c),
        }
    }
    clean
}

fn skip_sequence(rest: &mut std::str::Chars<'_>) {
    match rest.next() {
        Some('[') => {
            rest.find(|c| ('@'..='~').contains(c));
        }
        // A title or a link: up to BEL or ESC \, and its last character is harmless.
        Some(']') => {
            rest.find(|c| matches!(c, '\u{7}' | '\u{1b}'));
        }
        Some(_) | None => {}
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(chunks: &[&[u8]]) -> Vec<Line> {
        let mut lines = Lines::default();
        let mut found: Vec<Line> = chunks.iter().flat_map(|chunk| lines.push(chunk)).collect();
        found.extend(lines.end());
        found
    }

    fn texts(input: &[u8]) -> Vec<String> {
        all(&[input]).into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn lines_are_what_a_reader_sees() {
        for (input, expected) in [
            (&b"one\ntwo\r\nthree"[..], &["one", "two", "three"][..]),
            (b"\n\n", &["", ""]),
            (b"10 %\r50 %\r100 %\n", &["100 %"]),
            (b"done\r\r\n", &["done"]),
            (b"\x1b[1;31mred\x1b[0m\tx\x07\n", &["red\tx"]),
            (b"caf\xe9\n", &["caf\u{fffd}"]),
            (b"", &[]),
        ] {
            assert_eq!(texts(input), expected, "{input:?}");
        }
    }

    #[test]
    fn a_line_without_an_end_is_cut_and_counted() {
        let found = all(&[&vec![b'x'; LINE_MAX + 7], b"\nnext\n"]);
        assert_eq!((found[0].text.len(), found[0].cut), (LINE_MAX, 7));
        assert_eq!(found[1], Line { text: "next".to_owned(), cut: 0 });
    }

    proptest! {
        #[test]
        fn chunking_changes_nothing(bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), any::<u8>()], 0..200), at in 0usize..200) {
            let (one, other) = bytes.split_at(at.min(bytes.len()));
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            prop_assert_eq!(all(&[&bytes]), all(&[one, other]));
            prop_assert_eq!(all(&[&bytes]), all(&single));
        }
    }
}
