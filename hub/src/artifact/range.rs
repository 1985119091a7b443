//! Which bytes of a file a request asks for (RFC 9110, section 14). Knows no file.

/// What to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Whole,
    /// First and last byte, both included.
    Bytes {
        first: u64,
        last: u64,
    },
    /// Nothing of what was asked for is there.
    Unsatisfiable,
}

/// The part that a `Range` header asks for. One that is not understood counts as absent, as does one of several ranges.
pub fn part(header: &str, size: u64) -> Part {
    parse(header, size).unwrap_or(Part::Whole)
}

fn parse(header: &str, size: u64) -> Option<Part> {
    let (unit, range) = header.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (first, last) = range.trim().split_once('-')?;
    let (first, last) = (first.trim_end(), last.trim_start());
    if first.is_empty() {
        let count = number(last)?;
        return Some(match size.checked_sub(1) {
            Some(end) if count > 0 => Part::Bytes { first: size.saturating_sub(count), last: end },
            Some(_) | None => Part::Unsatisfiable,
        });
    }
    let first = number(first)?;
    let last = if last.is_empty() { u64::MAX } else { number(last)? };
    if last < first {
        return None;
    }
    Some(if first < size { Part::Bytes { first, last: last.min(size - 1) } } else { Part::Unsatisfiable })
}

/// A number too large for us lies beyond every file.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::Part::{Bytes, Unsatisfiable, Whole};
    use super::*;

    #[test]
    fn a_range_is_what_was_asked_for_or_nothing() {
        for (header, size, expected) in [
            ("bytes=0-0", 10, Bytes { first: 0, last: 0 }),
            ("bytes=2-5", 10, Bytes { first: 2, last: 5 }),
            ("Bytes = 2 - 5", 10, Bytes { first: 2, last: 5 }),
            ("bytes=2-", 10, Bytes { first: 2, last: 9 }),
            ("bytes=2-99", 10, Bytes { first: 2, last: 9 }),
            ("bytes=-3", 10, Bytes { first: 7, last: 9 }),
            ("bytes=-30", 10, Bytes { first: 0, last: 9 }),
            ("bytes=9-9", 10, Bytes { first: 9, last: 9 }),
            ("bytes=10-", 10, Unsatisfiable),
            ("bytes=-0", 10, Unsatisfiable),
            ("bytes=0-0", 0, Unsatisfiable),
            ("bytes=-1", 0, Unsatisfiable),
            ("bytes=99999999999999999999-", 10, Unsatisfiable),
            ("bytes=0-99999999999999999999", 10, Bytes { first: 0, last: 9 }),
            ("bytes=5-2", 10, Whole),
            ("bytes=", 10, Whole),
            ("bytes=-", 10, Whole),
            ("bytes=a-b", 10, Whole),
            ("bytes=+1-2", 10, Whole),
            ("bytes=0-1,3-4", 10, Whole),
            ("lines=0-1", 10, Whole),
            ("", 10, Whole),
        ] {
            assert_eq!(part(header, size), expected, "{header:?} of {size}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_part_lies_within_its_file(header in "(bytes=)?[0-9,-]{0,12}", size in 0_u64..100) {
            if let Bytes { first, last } = part(&header, size) {
                proptest::prop_assert!(first <= last && last < size, "{header:?} of {size}: {first} to {last}");
            }
        }
    }
}
