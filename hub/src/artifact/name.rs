//! What a file may be called and what type it may have. Knows no run.

/// Characters of a file's name.
const NAME_MAX: usize = 200;

/// Of them after the last dot, for what counts as an ending.
const EXTENSION_MAX: usize = 20;

/// Characters of a media type.
const MEDIA_TYPE_MAX: usize = 100;

/// Whether a text may be the name of a file: no path, no control character.
pub fn check_name(name: &str) -> Result<(), String> {
    let length = name.chars().count();
    if name.trim().is_empty() {
        return Err("is empty, expected the name of a file".to_owned());
    }
    if length > NAME_MAX {
        return Err(format!("has {length} characters, expected at most {NAME_MAX}"));
    }
    if let Some(c) = name.chars().find(|c| !is_allowed(*c)) {
        return Err(format!("{c:?} may not be in the name of a file"));
    }
    if name.chars().all(|c| c == '.') {
        return Err(format!("{name:?} is no name of a file"));
    }
    Ok(())
}

/// A name made of a text that may be none: what is not allowed becomes a dash.
pub fn clean_name(text: &str) -> String {
    let name: String = text.trim().chars().take(NAME_MAX).map(|c| if is_allowed(c) { c } else { '-' }).collect();
    if name.chars().all(|c| c == '.') { "file".to_owned() } else { name }
}

/// Besides separators and controls, what turns the direction of a text: a name must read as what it is.
fn is_allowed(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '/' | '\\' | '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// The name itself, or one like it that is not taken: `x.csv`, `x-2.csv`.
pub fn unique(name: &str, taken: impl Fn(&str) -> bool) -> String {
    if !taken(name) {
        return name.to_owned();
    }
    let (stem, extension) = match name.rfind('.').map(|dot| name.split_at(dot)) {
        Some((stem, extension)) if !stem.is_empty() && extension.chars().count() <= EXTENSION_MAX => (stem, extension),
        Some(_) | None => (name, ""),
    };
    let candidate = |number: u64| -> String {
        let suffix = format!("-{number}{extension}");
        let room = NAME_MAX.saturating_sub(suffix.chars().count());
        stem.chars().take(room).chain(suffix.chars()).collect()
    };
    // Numbers are given in order: a free one is found by doubling and the first by halving, for thousands are common.
    let (mut used, mut free) = (1_u64, 2_u64);
    while taken(&candidate(free)) {
        (used, free) = (free, free.saturating_mul(2));
    }
    while free - used > 1 {
        let middle = used + (free - used) / 2;
        if taken(&candidate(middle)) {
            used = middle;
        } else {
            free = middle;
        }
    }
    candidate(free)
}

/// Whether a text has the form of a media type: `type/subtype`, and parameters of printable characters.
pub fn check_media_type(text: &str) -> Result<(), String> {
    let expected = "expected a form such as text/csv";
    if text.len() > MEDIA_TYPE_MAX {
        return Err(format!("has {} bytes, expected at most {MEDIA_TYPE_MAX}", text.len()));
    }
    let essence = essence(text);
    let parameters = text.get(essence.len()..).unwrap_or_default();
    let parts = essence.split_once('/').filter(|(kind, subtype)| is_token(kind) && is_token(subtype));
    let printable = parameters.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if parts.is_none() || !printable {
        return Err(format!("{text:?} is no media type, {expected}"));
    }
    Ok(())
}

fn essence(media_type: &str) -> &str {
    media_type.split(';').next().unwrap_or_default().trim_end()
}

fn is_token(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte);
    !text.is_empty() && text.bytes().all(allowed)
}

/// Whether a browser may show files of this type in its window: none that can run a script under the hub's own address.
pub fn is_shown(media_type: &str) -> bool {
    let essence = essence(media_type).to_ascii_lowercase();
    match essence.split_once('/') {
        Some(("image", kind)) => matches!(kind, "png" | "jpeg" | "gif" | "webp" | "bmp" | "avif"),
        Some(("audio" | "video", kind)) => !kind.contains("xml"),
        Some(("text", kind)) => matches!(kind, "plain" | "csv"),
        Some(("application", kind)) => matches!(kind, "json" | "pdf"),
        Some(_) | None => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_names_of_files() {
        for (name, problem) in [
            ("x.csv", None),
            ("Messung Ü 1.csv", None),
            ("..x", None),
            ("", Some("is empty")),
            (" ", Some("is empty")),
            (".", Some("no name")),
            ("..", Some("no name")),
            ("../x", Some("'/' may not")),
            ("a\\b", Some("'\\\\' may not")),
            ("a\nb", Some("'\\n' may not")),
            ("a\0b", Some("'\\0' may not")),
            ("gnp.\u{202E}exe", Some("'\\u{202e}' may not")),
        ] {
            match (check_name(name), problem) {
                (Ok(()), None) => {}
                (Err(found), Some(problem)) if found.contains(problem) => {}
                (found, _) => panic!("{name:?}: {found:?}"),
            }
        }
        assert_eq!(check_name(&"ä".repeat(200)), Ok(()));
        assert_eq!(check_name(&"ä".repeat(201)), Err("has 201 characters, expected at most 200".to_owned()));
    }

    #[test]
    fn a_name_used_twice_becomes_another() {
        let taken = ["x.csv", "x-2.csv", ".profile", "log"];
        for (name, expected) in [("y.csv", "y.csv"), ("x.csv", "x-3.csv"), (".profile", ".profile-2"), ("log", "log-2")]
        {
            assert_eq!(unique(name, |other| taken.contains(&other)), expected);
        }
    }

    #[test]
    fn the_next_of_many_names_is_found_quickly() {
        let asked = std::cell::Cell::new(0);
        let next = |count: u32| {
            let taken: std::collections::BTreeSet<String> = (1..=count)
                .map(|number| if number == 1 { "x.csv".into() } else { format!("x-{number}.csv") })
                .collect();
            unique("x.csv", |name| {
                asked.set(asked.get() + 1);
                taken.contains(name)
            })
        };
        for count in (0..70).chain([9_999]) {
            asked.set(0);
            let expected = if count == 0 { "x.csv".to_owned() } else { format!("x-{}.csv", count + 1) };
            assert_eq!(next(count), expected);
        }
        assert!(asked.get() < 40, "{} names were looked up", asked.get());
    }

    #[test]
    fn a_name_that_is_all_ending_is_not_longer_for_its_number() {
        let name = format!("a.{}", "x".repeat(NAME_MAX - 2));
        let another = unique(&name, |other| other == name);
        assert!(check_name(&another).is_ok() && another.ends_with("x-2"), "{another}");
    }

    #[test]
    fn media_types_have_a_form() {
        for (text, good) in [
            ("text/csv", true),
            ("text/csv; charset=utf-8; header=present", true),
            ("application/vnd.x-y+json", true),
            ("text", false),
            ("", false),
            ("text/", false),
            ("text/csv\r\nX: y", false),
            ("text/html; a=\n", false),
            ("te xt/csv", false),
        ] {
            assert_eq!(check_media_type(text).is_ok(), good, "{text:?}");
        }
        assert!(check_media_type(&format!("text/{}", "x".repeat(100))).is_err());
    }

    #[test]
    fn what_could_run_is_not_shown() {
        for (text, shown) in [
            ("image/png", true),
            ("Image/PNG", true),
            ("text/plain; charset=utf-8", true),
            ("application/pdf", true),
            ("image/svg+xml", false),
            ("text/html", false),
            ("TEXT/HTML;x", false),
            ("text/xml", false),
            ("application/xhtml+xml", false),
            ("text/javascript", false),
            ("application/octet-stream", false),
        ] {
            assert_eq!(is_shown(text), shown, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_text_can_be_made_a_name(text in ".{0,300}", taken in prop::collection::btree_set(".{0,4}", 0..20)) {
            let name = clean_name(&text);
            prop_assert!(check_name(&name).is_ok(), "{name:?}");
            let another = unique(&name, |other| other == name || taken.contains(other));
            prop_assert!(check_name(&another).is_ok() && another != name && !taken.contains(&another), "{another:?}");
        }
    }
}
