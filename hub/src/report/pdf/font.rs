//! Letters of the fonts that every PDF reader has: which code, how wide, and where a line may end.
//! Knows no page.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Face {
    Regular,
    Bold,
    /// Greek and mathematics, for what the other faces lack.
    Symbol,
}

impl Face {
    pub(super) const ALL: [Self; 3] = [Self::Regular, Self::Bold, Self::Symbol];

    /// Its name in a page's resources, and the font.
    pub(super) const fn names(self) -> (&'static [u8], &'static [u8]) {
        match self {
            Self::Regular => (b"R", b"Helvetica"),
            Self::Bold => (b"B", b"Helvetica-Bold"),
            Self::Symbol => (b"S", b"Symbol"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Glyph {
    pub(super) face: Face,
    pub(super) code: u8,
    /// Thousandths of the font's size.
    width: u16,
}

/// A text as glyphs. A character that no face has is shown by its number, so that nothing is hidden or mistaken.
pub(super) fn glyphs(text: &str, face: Face) -> Vec<Glyph> {
    let mut glyphs = Vec::with_capacity(text.len());
    for c in text.chars() {
        if let Some(glyph) = glyph(c, face) {
            glyphs.push(glyph);
        } else if c == '\t' {
            glyphs.extend(glyph(' ', face));
        } else {
            let told = format!("[U+{:04X}]", u32::from(c));
            glyphs.extend(told.chars().filter_map(|c| glyph(c, face)));
        }
    }
    glyphs
}

pub(super) fn width(glyphs: &[Glyph], size: f32) -> f32 {
    glyphs.iter().map(|glyph| f32::from(glyph.width) * size / 1000.0).sum()
}

/// Lines no wider than `width`: at spaces where there are some, anywhere in a word that is wider itself.
pub(super) fn wrapped(text: &str, face: Face, size: f32, width: f32) -> Vec<Vec<Glyph>> {
    let mut lines = Vec::new();
    for paragraph in text.split('\n') {
        let glyphs = glyphs(paragraph.trim_end_matches('\r'), face);
        wrap(&glyphs, width * 1000.0 / size, &mut lines);
    }
    lines
}

fn wrap(glyphs: &[Glyph], width: f32, lines: &mut Vec<Vec<Glyph>>) {
    let mut start = 0;
    let mut space = None;
    let mut used = 0.0;
    let mut index = 0;
    while let Some(glyph) = glyphs.get(index) {
        used += f32::from(glyph.width);
        if used > width && index > start {
            let end = match space {
                Some(space) if space > start => space,
                Some(_) | None => index,
            };
            let line = glyphs.get(start..end).unwrap_or_default();
            let long = line.iter().rposition(|glyph| !glyph.is_space()).map_or(0, |last| last + 1);
            lines.push(line.get(..long).unwrap_or_default().to_vec());
            start = end;
            while glyphs.get(start).is_some_and(|glyph| glyph.is_space()) {
                start += 1;
            }
            (index, space, used) = (start, None, 0.0);
            continue;
        }
        if glyph.is_space() {
            space = Some(index);
        }
        index += 1;
    }
    lines.push(glyphs.get(start..).unwrap_or_default().to_vec());
}

impl Glyph {
    fn is_space(self) -> bool {
        self.code == b' ' && self.face != Face::Symbol
    }
}

fn glyph(c: char, face: Face) -> Option<Glyph> {
    if let Some(code) = windows_code(c) {
        let index = usize::from(code.checked_sub(32)?);
        let width = match face {
            Face::Regular => *REGULAR.get(index)?,
            Face::Bold => *BOLD.get(index)?,
            Face::Symbol => return None,
        };
        return (width > 0).then_some(Glyph { face, code, width });
    }
    let (_, code, width) = SYMBOLS.iter().find(|(symbol, ..)| *symbol == c)?;
    Some(Glyph { face: Face::Symbol, code: *code, width: *width })
}

/// Code in WinAnsiEncoding, which is Windows-1252.
fn windows_code(c: char) -> Option<u8> {
    match c {
        ' '..='~' | '\u{A0}'..='\u{FF}' => u8::try_from(u32::from(c)).ok(),
        // The letter mu, and other spaces and dashes, look the same.
        'μ' => Some(0xB5),
        '\u{2007}' | '\u{2009}' | '\u{202F}' => Some(0xA0),
        '\u{2010}' | '\u{2011}' => Some(b'-'),
        _ => WINDOWS.iter().find(|(known, _)| *known == c).map(|(_, code)| *code),
    }
}

const WINDOWS: [(char, u8); 27] = [
    ('€', 0x80),
    ('‚', 0x82),
    ('ƒ', 0x83),
    ('„', 0x84),
    ('…', 0x85),
    ('†', 0x86),
    ('‡', 0x87),
    ('ˆ', 0x88),
    ('‰', 0x89),
    ('Š', 0x8A),
    ('‹', 0x8B),
    ('Œ', 0x8C),
    ('Ž', 0x8E),
    ('‘', 0x91),
    ('’', 0x92),
    ('“', 0x93),
    ('”', 0x94),
    ('•', 0x95),
    ('–', 0x96),
    ('—', 0x97),
    ('˜', 0x98),
    ('™', 0x99),
    ('š', 0x9A),
    ('›', 0x9B),
    ('œ', 0x9C),
    ('ž', 0x9E),
    ('Ÿ', 0x9F),
];

/// Widths of Helvetica from code 32 on, the same in every reader; 0 for what is no letter.
#[rustfmt::skip]
const REGULAR: [u16; 224] = [
    278, 278, 355, 556, 556, 889, 667, 191, 333, 333, 389, 584, 278, 333, 278, 278,
    556, 556, 556, 556, 556, 556, 556, 556, 556, 556, 278, 278, 584, 584, 584, 556,
    1015, 667, 667, 722, 722, 667, 611, 778, 722, 278, 500, 667, 556, 833, 722, 778,
    667, 778, 722, 667, 611, 722, 667, 944, 667, 667, 611, 278, 278, 278, 469, 556,
    333, 556, 556, 500, 556, 556, 278, 556, 556, 222, 222, 500, 222, 833, 556, 556,
    556, 556, 333, 500, 278, 556, 500, 722, 500, 500, 500, 334, 260, 334, 584, 0,
    556, 0, 222, 556, 333, 1000, 556, 556, 333, 1000, 667, 333, 1000, 0, 611, 0,
    0, 222, 222, 333, 333, 350, 556, 1000, 333, 1000, 500, 333, 944, 0, 500, 667,
    278, 333, 556, 556, 556, 556, 260, 556, 333, 737, 370, 556, 584, 333, 737, 333,
    400, 584, 333, 333, 333, 556, 537, 278, 333, 333, 365, 556, 834, 834, 834, 611,
    667, 667, 667, 667, 667, 667, 1000, 722, 667, 667, 667, 667, 278, 278, 278, 278,
    722, 722, 778, 778, 778, 778, 778, 584, 778, 722, 722, 722, 722, 667, 667, 611,
    556, 556, 556, 556, 556, 556, 889, 500, 556, 556, 556, 556, 278, 278, 278, 278,
    556, 556, 556, 556, 556, 556, 556, 584, 611, 556, 556, 556, 556, 500, 556, 500,
];

#[rustfmt::skip]
const BOLD: [u16; 224] = [
    278, 333, 474, 556, 556, 889, 722, 238, 333, 333, 389, 584, 278, 333, 278, 278,
    556, 556, 556, 556, 556, 556, 556, 556, 556, 556, 333, 333, 584, 584, 584, 611,
    975, 722, 722, 722, 722, 667, 611, 778, 722, 278, 556, 722, 611, 833, 722, 778,
    667, 778, 722, 667, 611, 722, 667, 944, 667, 667, 611, 333, 278, 333, 584, 556,
    333, 556, 611, 556, 611, 556, 333, 611, 611, 278, 278, 556, 278, 889, 611, 611,
    611, 611, 389, 556, 333, 611, 556, 778, 556, 556, 500, 389, 280, 389, 584, 0,
    556, 0, 278, 556, 500, 1000, 556, 556, 333, 1000, 667, 333, 1000, 0, 611, 0,
    0, 278, 278, 500, 500, 350, 556, 1000, 333, 1000, 556, 333, 944, 0, 500, 667,
    278, 333, 556, 556, 556, 556, 280, 556, 333, 737, 370, 556, 584, 333, 737, 333,
    400, 584, 333, 333, 333, 611, 556, 278, 333, 333, 365, 556, 834, 834, 834, 611,
    722, 722, 722, 722, 722, 722, 1000, 722, 667, 667, 667, 667, 278, 278, 278, 278,
    722, 722, 778, 778, 778, 778, 778, 584, 778, 722, 722, 722, 722, 667, 667, 611,
    556, 556, 556, 556, 556, 556, 889, 556, 556, 556, 556, 556, 278, 278, 278, 278,
    611, 611, 611, 611, 611, 611, 611, 584, 611, 611, 611, 611, 611, 556, 611, 556,
];

/// Letters of the Symbol font: code and width.
#[rustfmt::skip]
const SYMBOLS: [(char, u8, u16); 95] = [
    ('∀', 34, 713), ('∃', 36, 549), ('−', 45, 549), ('≅', 64, 549), ('Α', 65, 722), ('Β', 66, 667),
    ('Χ', 67, 722), ('Δ', 68, 612), ('Ε', 69, 611), ('Φ', 70, 763), ('Γ', 71, 603), ('Η', 72, 722),
    ('Ι', 73, 333), ('ϑ', 74, 631), ('Κ', 75, 722), ('Λ', 76, 686), ('Μ', 77, 889), ('Ν', 78, 722),
    ('Ο', 79, 722), ('Π', 80, 768), ('Θ', 81, 741), ('Ρ', 82, 556), ('Σ', 83, 592), ('Τ', 84, 611),
    ('Υ', 85, 690), ('ς', 86, 439), ('Ω', 87, 768), ('Ξ', 88, 645), ('Ψ', 89, 795), ('Ζ', 90, 611),
    ('∴', 92, 863), ('⊥', 94, 658), ('α', 97, 631), ('β', 98, 549), ('χ', 99, 549), ('δ', 100, 494),
    ('ε', 101, 439), ('φ', 102, 521), ('γ', 103, 411), ('η', 104, 603), ('ι', 105, 329), ('ϕ', 106, 603),
    ('κ', 107, 549), ('λ', 108, 549), ('ν', 110, 521), ('ο', 111, 549), ('π', 112, 549), ('θ', 113, 521),
    ('ρ', 114, 549), ('σ', 115, 603), ('τ', 116, 439), ('υ', 117, 576), ('ϖ', 118, 713), ('ω', 119, 686),
    ('ξ', 120, 493), ('ψ', 121, 686), ('ζ', 122, 494), ('∼', 126, 549), ('ϒ', 161, 620), ('′', 162, 247),
    ('≤', 163, 549), ('∞', 165, 713), ('↔', 171, 1042), ('←', 172, 987), ('↑', 173, 603), ('→', 174, 987),
    ('↓', 175, 603), ('″', 178, 411), ('≥', 179, 549), ('∝', 181, 713), ('∂', 182, 494), ('≠', 185, 549),
    ('≡', 186, 549), ('≈', 187, 549), ('⊗', 196, 768), ('⊕', 197, 768), ('∅', 198, 823), ('∩', 199, 768),
    ('∪', 200, 768), ('∈', 206, 713), ('∉', 207, 713), ('∠', 208, 768), ('∇', 209, 713), ('∏', 213, 823),
    ('√', 214, 549), ('∧', 217, 603), ('∨', 218, 603), ('⇔', 219, 1042), ('⇐', 220, 987), ('⇒', 222, 987),
    ('◊', 224, 494), ('∑', 229, 713), ('∫', 242, 274), ('\u{2126}', 87, 768), ('\u{2206}', 68, 612),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(line: &[Glyph]) -> String {
        line.iter().map(|glyph| char::from(glyph.code)).collect()
    }

    #[test]
    fn lines_end_at_spaces_or_within_long_words() {
        for (text, width, expected) in [
            ("111 222 33333", 3.0, &["111", "222", "333", "33"][..]),
            ("11 22", 4.5, &["11 22"]),
            ("1\n2\r\n\n3", 9.0, &["1", "2", "", "3"]),
            ("", 9.0, &[""]),
            ("123", 0.1, &["1", "2", "3"]),
            ("11   22", 3.0, &["11", "22"]),
        ] {
            // A digit is 0.556 wide at size 1, a space half of that.
            let lines: Vec<String> =
                wrapped(text, Face::Regular, 1.0, width * 0.556 + 0.01).iter().map(|line| shown(line)).collect();
            assert_eq!(lines, expected, "{text:?}");
        }
    }

    #[test]
    fn what_no_face_has_is_shown_by_its_number() {
        assert_eq!(shown(&glyphs("aé中\u{7}\u{1F600}", Face::Regular)), "aé[U+4E2D][U+0007][U+1F600]");
        let omega = glyphs("Ω", Face::Bold);
        assert_eq!((omega[0].face, omega[0].code, omega.len()), (Face::Symbol, b'W', 1));
    }

    #[test]
    fn every_letter_of_the_encoding_has_a_width() {
        let named = WINDOWS.iter().map(|(_, code)| *code);
        for code in (32..=126).chain(160..=255).chain(named) {
            let index = usize::from(code - 32);
            assert!(REGULAR[index] > 0 && BOLD[index] > 0, "{code}");
        }
    }
}
