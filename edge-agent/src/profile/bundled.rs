//! The profiles that are part of the program, and the nearest name to a misspelt one.

use std::path::PathBuf;

const BUNDLED: [(&str, &str); 4] = [
    ("eurotherm.2400", include_str!("../../profiles/eurotherm.2400.toml")),
    ("hp.34401a", include_str!("../../profiles/hp.34401a.toml")),
    ("keysight.34461a", include_str!("../../profiles/keysight.34461a.toml")),
    ("korad.ka3005p", include_str!("../../profiles/korad.ka3005p.toml")),
];

pub fn bundled_ids() -> Vec<&'static str> {
    BUNDLED.iter().map(|(id, _)| *id).collect()
}

pub fn bundled_source(id: &str) -> Option<&'static str> {
    BUNDLED.iter().find(|(known, _)| *known == id).map(|(_, source)| *source)
}

/// "did you mean x" where one name is near, and every known name otherwise.
pub(super) fn nearest(name: &str, dirs: &[PathBuf]) -> String {
    let mut names: Vec<String> = bundled_ids().into_iter().map(str::to_owned).collect();
    for dir in dirs {
        let entries = std::fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
        let stem = |path: PathBuf| {
            (path.extension()? == "toml").then(|| path.file_stem().map(|stem| stem.to_string_lossy().into_owned()))?
        };
        names.extend(entries.filter_map(|entry| stem(entry.path())));
    }
    names.sort();
    names.dedup();
    let near = names.iter().map(|known| (distance(name, known), known)).min();
    match near {
        Some((distance, known)) if distance <= 4 || known.contains(name) => format!("did you mean {known}?"),
        _ => format!("known are {}", names.join(", ")),
    }
}

/// Edits from one text to the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = if from == *to { diagonal } else { 1 + diagonal.min(above).min(row[j]) };
            diagonal = above;
        }
    }
    row[b.len()]
}
