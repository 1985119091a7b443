//! Base64 with padding, for pictures inside JSON. Knows nothing else.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Appends the encoded bytes, without a copy of their own: preview frames are large.
pub(super) fn encode_into(text: &mut String, bytes: &[u8]) {
    text.reserve(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let group = byte(0) << 16 | byte(1) << 8 | byte(2);
        for position in 0..4 {
            let letter = ALPHABET[(group >> (18 - 6 * position) & 0x3f) as usize];
            text.push(if position <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_become_text() {
        for (bytes, expected) in [
            (&b""[..], ""),
            (b"f", "Zg=="),
            (b"fo", "Zm8="),
            (b"foo", "Zm9v"),
            (b"foobar", "Zm9vYmFy"),
            (&[0xff, 0xd8, 0xff], "/9j/"),
            (&[0xfb, 0xff], "+/8="),
        ] {
            let mut text = String::new();
            encode_into(&mut text, bytes);
            assert_eq!(text, expected, "{bytes:?}");
        }
    }
}
