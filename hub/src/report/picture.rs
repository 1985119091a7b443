//! A picture that a run left: what its first bytes say of it, and how a PDF can hold it as it is. Knows no report.

/// Bytes of a picture that a report shows, and of all of them.
pub const BYTES_MAX: u64 = 4 << 20;
pub const ALL_BYTES_MAX: u64 = 24 << 20;

/// Pictures that a report shows.
pub const PICTURES_MAX: usize = 40;

/// Sides that a picture may have.
const SIDE_MAX: u32 = 20_000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    pub name: String,
    pub path: String,
    pub media_type: &'static str,
    pub width: u32,
    pub height: u32,
    pub bytes: Vec<u8>,
    /// `None` for one that a PDF cannot hold without decoding it: a PNG that is transparent or interlaced.
    pub(super) ink: Option<Ink>,
}

/// What a PDF needs to know of a picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ink {
    /// Its bytes as they are, in so many colours.
    Jpeg { colors: u8 },
    /// Its compressed rows without what lies around them.
    Png { colors: u8, bits: u8, palette: Vec<u8>, rows: Vec<u8> },
}

/// Whether a file of this type may be a picture that reports show.
pub fn is_picture(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("image/png") || essence.eq_ignore_ascii_case("image/jpeg")
}

impl Picture {
    /// `None` for what is neither a PNG nor a JPEG, whatever it was called.
    pub fn read(name: &str, path: &str, bytes: Vec<u8>) -> Option<Self> {
        let (media_type, (width, height, ink)) =
            png(&bytes).map(|found| ("image/png", found)).or_else(|| Some(("image/jpeg", jpeg(&bytes)?)))?;
        let sides = 1..=SIDE_MAX;
        let fits = sides.contains(&width) && sides.contains(&height);
        let (name, path) = (name.to_owned(), path.to_owned());
        fits.then_some(Self { name, path, media_type, width, height, bytes, ink })
    }
}

type Found = (u32, u32, Option<Ink>);

/// Four bytes, largest first.
fn long(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn png(bytes: &[u8]) -> Option<Found> {
    let mut rest = bytes.strip_prefix(b"\x89PNG\r\n\x1a\n")?;
    let mut head = None;
    let mut palette = Vec::new();
    let mut rows = Vec::new();
    let mut clear = false;
    while let Some(length) = long(rest, 0).and_then(|length| usize::try_from(length).ok()) {
        let (Some(kind), Some(body)) = (rest.get(4..8), rest.get(8..length.checked_add(8)?)) else { break };
        match kind {
            b"IHDR" => head = Some(body),
            b"PLTE" => palette = body.to_vec(),
            b"tRNS" => clear = true,
            b"IDAT" => rows.extend_from_slice(body),
            b"IEND" => break,
            _ => {}
        }
        rest = rest.get(length.checked_add(12)?..).unwrap_or_default();
    }
    let head = head?;
    let &[bits, color, _, _, interlaced] = head.get(8..13)? else { return None };
    let colors = match color {
        0 => Some(1),
        2 => Some(3),
        3 if !palette.is_empty() && palette.len() % 3 == 0 && palette.len() <= 768 => Some(1),
        _ => None,
    };
    let palette = if color == 3 { palette } else { Vec::new() };
    let plain = interlaced == 0 && !clear && !rows.is_empty() && matches!(bits, 1 | 2 | 4 | 8);
    let ink = colors.filter(|_| plain).map(|colors| Ink::Png { colors, bits, palette, rows });
    Some((long(head, 0)?, long(head, 4)?, ink))
}

fn jpeg(bytes: &[u8]) -> Option<Found> {
    let mut at = 2;
    if !bytes.starts_with(&[0xFF, 0xD8]) {
        return None;
    }
    loop {
        let (0xFF, kind) = (*bytes.get(at)?, *bytes.get(at + 1)?) else { return None };
        match kind {
            0xFF => at += 1,
            0x01 | 0xD0..=0xD7 => at += 2,
            // A frame's head says how large it is; what lies between these numbers is none.
            0xC0..=0xCF if !matches!(kind, 0xC4 | 0xC8 | 0xCC) => {
                let side = |from: usize| Some(u32::from(*bytes.get(from)?) << 8 | u32::from(*bytes.get(from + 1)?));
                let (height, width, colors) = (side(at + 5)?, side(at + 7)?, *bytes.get(at + 9)?);
                let ink = matches!(colors, 1 | 3).then_some(Ink::Jpeg { colors });
                return Some((width, height, ink));
            }
            _ => {
                let length = usize::from(*bytes.get(at + 2)?) << 8 | usize::from(*bytes.get(at + 3)?);
                at = at.checked_add(2)?.checked_add(length)?;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    use super::*;

    fn chunk(kind: &[u8], body: &[u8]) -> Vec<u8> {
        let mut chunk = u32::try_from(body.len()).unwrap().to_be_bytes().to_vec();
        chunk.extend(kind);
        chunk.extend(body);
        chunk.extend([0; 4]);
        chunk
    }

    fn png_of(color: u8, bits: u8, interlaced: u8, more: &[(&[u8], &[u8])]) -> Vec<u8> {
        let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
        let head = [&5_u32.to_be_bytes()[..], &7_u32.to_be_bytes(), &[bits, color, 0, 0, interlaced]].concat();
        bytes.extend(chunk(b"IHDR", &head));
        for (kind, body) in more {
            bytes.extend(chunk(kind, body));
        }
        bytes.extend(chunk(b"IEND", b""));
        bytes
    }

    #[test]
    fn a_png_is_held_as_it_is_where_that_can_be() {
        let rows: (&[u8], &[u8]) = (b"IDAT", b"rows");
        for (bytes, held) in [
            (png_of(2, 8, 0, &[rows]), true),
            (png_of(0, 1, 0, &[rows]), true),
            (png_of(3, 4, 0, &[(b"PLTE", &[1, 2, 3]), rows]), true),
            (png_of(3, 4, 0, &[rows]), false),
            (png_of(2, 8, 1, &[rows]), false),
            (png_of(2, 8, 0, &[(b"tRNS", b"x"), rows]), false),
            (png_of(6, 8, 0, &[rows]), false),
            (png_of(2, 16, 0, &[rows]), false),
            (png_of(2, 8, 0, &[]), false),
        ] {
            let found = Picture::read("x", "r/x", bytes.clone()).unwrap();
            assert_eq!((found.width, found.height, found.ink.is_some()), (5, 7, held), "{bytes:?}");
        }
        let two = png_of(2, 8, 0, &[(b"IDAT", b"one"), (b"IDAT", b"two")]);
        let Some(Ink::Png { rows, .. }) = Picture::read("x", "r/x", two).unwrap().ink else { panic!("no rows") };
        assert_eq!(rows, b"onetwo");
    }

    #[test]
    fn a_jpeg_says_how_large_it_is() {
        let jpeg = STANDARD.decode("/9j/4AAQSkZJRgABAQAAAQABAAD/wAARCAAwAEADASIAAhEBAxEB/9k=").unwrap();
        let found = Picture::read("x", "r/x", jpeg).unwrap();
        assert_eq!((found.width, found.height, found.ink), (64, 48, Some(Ink::Jpeg { colors: 3 })));
    }

    #[test]
    fn what_is_no_picture_is_none() {
        for bytes in [&b""[..], b"<svg/>", b"\x89PNG\r\n\x1a\n", b"\xFF\xD8", b"\xFF\xD8\xFF\xE0\0\x02"] {
            assert_eq!(Picture::read("x", "r/x", bytes.to_vec()), None, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(start in 0..3_usize, bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let start: &[u8] = [&b""[..], b"\x89PNG\r\n\x1a\n", b"\xFF\xD8"][start];
            drop(Picture::read("x", "r/x", [start, &bytes].concat()));
        }
    }
}
