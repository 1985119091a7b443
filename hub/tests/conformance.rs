//! What CONFORMANCE.md names is there: each row of it has a test, a golden file or a transcript that exists, and no message or
//! story of a protocol is left out of it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const PAGE: &str = include_str!("../CONFORMANCE.md");

/// Rows of the tables: what is promised, and the names that show it.
fn rows() -> Vec<(&'static str, Vec<&'static str>)> {
    let cells = |line: &'static str| line.strip_prefix("| ")?.strip_suffix(" |")?.rsplit_once(" | ");
    let is_row = |(promise, _): &(&str, &str)| *promise != "The document";
    PAGE.lines()
        .filter_map(cells)
        .filter(is_row)
        .map(|(promise, shown)| (promise, shown.split('`').skip(1).step_by(2).collect()))
        .collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// What is wrong with a name, if anything.
fn mistake(name: &str) -> Option<String> {
    let (file, test) = match name.split_once("::") {
        Some((file, test)) => (file, Some(test)),
        None => (name, None),
    };
    let path = match file.split_once('/') {
        Some(("golden", _)) if test.is_none() => root().join("tests").join(file),
        Some(("server" | "model" | "report" | "dialect_support", _)) => root().join(format!("tests/{file}.rs")),
        Some(("src", _)) => root().join(format!("{file}.rs")),
        Some(("hil", story)) => root().join(format!("../hil-tests/tests/{story}.rs")),
        _ => return Some("it is none of the forms that the page explains".to_owned()),
    };
    let Ok(text) = std::fs::read_to_string(&path) else { return Some(format!("there is no {}", path.display())) };
    let test = test?;
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let place = lines.iter().position(|line| {
        line.strip_prefix("async fn ")
            .or_else(|| line.strip_prefix("fn "))
            .is_some_and(|rest| rest.strip_prefix(test).is_some_and(|rest| rest.starts_with('(')))
    });
    let Some(place) = place else { return Some(format!("{} has no {test}", path.display())) };
    let attributes = lines[..place].iter().rev().take_while(|line| line.starts_with("#["));
    let is_test = attributes.into_iter().any(|line| line.contains("test"));
    let in_proptest = lines[..place].iter().any(|line| line.starts_with("proptest!"));
    (!is_test && !in_proptest).then(|| format!("{test} is no test"))
}

#[test]
fn every_promise_is_shown_by_something_that_exists() {
    let rows = rows();
    assert!(rows.len() > 100, "only {} rows were read", rows.len());
    let mut mistakes = Vec::new();
    for (promise, names) in &rows {
        if names.is_empty() {
            mistakes.push(format!("{promise:?} is shown by nothing"));
        }
        for name in names {
            mistakes.extend(mistake(name).map(|mistake| format!("{name}: {mistake}")));
        }
    }
    assert!(mistakes.is_empty(), "{}", mistakes.join("\n"));
}

#[test]
fn every_message_and_every_story_has_its_row() {
    let named: BTreeSet<&str> = rows().into_iter().flat_map(|(_, names)| names).collect();
    let golden = root().join("tests/golden");
    let mut left_out = Vec::new();
    for dialect in rigwire::dialect::Dialect::ALL {
        for entry in std::fs::read_dir(golden.join(dialect.as_str())).unwrap() {
            let name = format!("golden/{}/{}", dialect.as_str(), entry.unwrap().file_name().to_string_lossy());
            if !named.contains(name.as_str()) {
                left_out.push(name);
            }
        }
    }
    left_out.sort();
    assert!(left_out.is_empty(), "no row names:\n{}", left_out.join("\n"));
}

#[test]
fn a_name_that_leads_nowhere_is_found() {
    assert_eq!(mistake("golden/solver_runs/pong.json"), None);
    assert_eq!(mistake("server/sockets::every_end_has_its_code"), None);
    assert_eq!(mistake("src/dialect/device_farm/limits::no_second_holds_more_than_the_limit"), None);
    for name in
        ["golden/solver_runs/none.json", "server/sockets::none", "server/support::says", "nowhere/at_all::x", "x"]
    {
        assert!(mistake(name).is_some(), "{name}");
    }
}
