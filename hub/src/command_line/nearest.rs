//! The known word that a misspelt one is nearest to. Knows no grammar.

/// Longer words are no slips of the finger.
const LENGTH_MAX: usize = 64;

/// The known word with the fewest letters to change, if they are few.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let word: Vec<char> = letters(word);
    let most = (word.len() / 3).max(1);
    known
        .into_iter()
        .filter(|known| !known.is_empty())
        .map(|known| (distance(&word, &letters(known)), known))
        .filter(|(distance, known)| *distance <= most && *distance < known.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known.to_owned())
}

/// Upper case and the sort of dash do not count.
fn letters(word: &str) -> Vec<char> {
    word.chars().take(LENGTH_MAX).map(|c| if c == '_' { '-' } else { c.to_ascii_lowercase() }).collect()
}

/// Letters to put in, take out, change or swap with their neighbour.
fn distance(one: &[char], other: &[char]) -> usize {
    let mut before = vec![0; other.len() + 1];
    let mut above: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in other.iter().enumerate() {
            let changed = above[j] + usize::from(a != b);
            let mut least = changed.min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == other[j - 1] && one[i - 1] == *b {
                least = least.min(before[j - 1] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut above, row);
    }
    above.last().copied().unwrap_or(one.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_found_if_it_is_near() {
        let known = ["dmm-1", "dmm-2", "psu-1", "read"];
        for (word, expected) in [
            ("dmm1", Some("dmm-1")),
            ("DMM_1", Some("dmm-1")),
            ("raed", Some("read")),
            ("rea", Some("read")),
            ("oscilloscope", None),
            ("", None),
            ("x", None),
        ] {
            assert_eq!(nearest(word, known).as_deref(), expected, "{word:?}");
        }
    }
}
