//! The tests of a suite that the hub carried out, each with its attempts, as a section of a report. Knows no ink.

use rigwire_shared::ids::RunId;

use super::section::{Block, Piece, Row, Section, Table, Tone};
use super::{Report, words};
use crate::event::{RunSnapshot, TestAttempt, TestEvent};
use crate::run::{Parts, TestView};

/// Numbers of runs in one cell.
const RUNS_SHOWN: usize = 6;

pub(super) fn tests(report: &Report) -> Option<&[TestView]> {
    match &report.run.parts {
        Some(Parts::Suite(tests)) => Some(tests),
        Some(Parts::Sweep(_) | Parts::Study(_)) | None => None,
    }
}

/// What was told last of each test, and of those of a suite that nothing was told of yet, that they are to come.
pub(super) fn complete(run: &RunSnapshot, mut told: Vec<TestEvent>) -> Vec<TestEvent> {
    let Some(Parts::Suite(views)) = &run.parts else { return told };
    for event in &mut told {
        event.attempt = None;
    }
    let mut by_id: std::collections::HashMap<String, TestEvent> =
        told.into_iter().map(|event| (event.test.clone(), event)).collect();
    let all = views.iter().map(|view| {
        by_id.remove(&view.id).unwrap_or_else(|| TestEvent {
            test: view.id.clone(),
            name: view.name.clone(),
            number: view.number,
            status: view.status.to_owned(),
            percent: 0.0,
            current_run: 0,
            total_runs: view.runs,
            success: None,
            score: None,
            duration_s: None,
            message: None,
            error: None,
            flaky: false,
            attempt: None,
        })
    });
    all.collect()
}

pub(super) fn section(report: &Report) -> Option<Section> {
    let tests = tests(report)?;
    let mut blocks = vec![Block::Facts(facts(tests))];
    let mut titles = vec!["Test", "Result", "Attempts", "Runs", "Score", "Duration", "Message"];
    let with_tags = tests.iter().any(|test| !test.tags.is_empty());
    if with_tags {
        titles.insert(1, "Tags");
    }
    let mut table = Table::new(titles);
    for (test, told) in tests.iter().zip(&report.tests) {
        let mut cells = vec![vec![Piece::strong(name(test))]];
        if with_tags {
            cells.push(vec![Piece::plain(test.tags.join(", "))]);
        }
        let mut result = vec![Piece::badge(tone(test.status), test.status)];
        if test.flaky {
            result.push(Piece::badge(Tone::Warning, "flaky"));
        }
        cells.push(result);
        cells.push(vec![Piece::plain(attempts(test))]);
        cells.push(vec![Piece::plain(runs(report, test))]);
        cells.push(vec![Piece::number(test.score.map_or_else(|| "-".to_owned(), words::number))]);
        cells.push(vec![Piece::number(duration(test).map_or_else(|| "-".to_owned(), words::duration))]);
        cells.push(vec![Piece::plain(message(test, told))]);
        table.rows.push(Row { cells, remarks: remarks(report, test) });
    }
    blocks.push(Block::Table(table));
    Some(Section { title: "Tests", blocks })
}

fn facts(tests: &[TestView]) -> Vec<(&'static str, String)> {
    let count = |wanted: &str| tests.iter().filter(|test| test.status == wanted).count();
    let mut facts = vec![("Passed", format!("{} of {}", count("passed"), tests.len()))];
    let flaky = tests.iter().filter(|test| test.flaky).map(name).collect::<Vec<_>>().join(", ");
    for (name, text) in [
        ("Failed", count("failed").to_string()),
        ("Flaky", if flaky.is_empty() { "none".to_owned() } else { words::clipped(&flaky) }),
        ("Skipped", count("skipped").to_string()),
    ] {
        facts.push((name, text));
    }
    let attempts: usize = tests.iter().map(|test| test.attempts.len()).sum();
    let passed: usize = tests.iter().map(passes).sum();
    facts.push(("Attempts", format!("{passed} of {attempts} passed")));
    facts
}

fn tone(status: &str) -> Tone {
    match status {
        "passed" => Tone::Good,
        "failed" => Tone::Bad,
        _ => Tone::Neutral,
    }
}

pub(super) fn name(test: &TestView) -> &str {
    if test.name.is_empty() { &test.id } else { &test.name }
}

fn passes(test: &TestView) -> usize {
    test.attempts.iter().filter(|attempt| attempt.passed).count()
}

fn attempts(test: &TestView) -> String {
    match test.attempts.len() {
        0 => "-".to_owned(),
        made => format!("{} of {made} passed", passes(test)),
    }
}

pub(super) fn duration(test: &TestView) -> Option<f64> {
    (!test.attempts.is_empty()).then(|| test.attempts.iter().map(|attempt| attempt.duration_s).sum())
}

/// The number that a run is known by; its UUID where that was not told.
pub(super) fn number(report: &Report, run: Option<RunId>) -> Option<String> {
    let run = run?;
    Some(report.numbers.get(&run).map_or_else(|| run.to_string(), u64::to_string))
}

fn runs(report: &Report, test: &TestView) -> String {
    let known: Vec<String> = test.attempts.iter().filter_map(|attempt| number(report, attempt.run)).collect();
    let more = known.len().saturating_sub(RUNS_SHOWN);
    let mut text = known.get(..known.len() - more).unwrap_or_default().join(", ");
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    if text.is_empty() { "-".to_owned() } else { text }
}

/// Why it failed or was skipped.
pub(super) fn message(test: &TestView, told: &TestEvent) -> String {
    let text = match test.status {
        "passed" | "pending" => "",
        "skipped" => told.message.as_deref().unwrap_or_default(),
        _ => told.error.as_deref().or(told.message.as_deref()).unwrap_or_default(),
    };
    words::clipped(text)
}

/// Such as `attempt 2: failed after 1.5 s, run 45: no answer`.
pub(super) fn attempt(report: &Report, attempt: &TestAttempt) -> String {
    format!("attempt {}: {}", attempt.attempt, outcome(report, attempt))
}

pub(super) fn outcome(report: &Report, attempt: &TestAttempt) -> String {
    let state = if attempt.passed { "passed" } else { "failed" };
    let mut text = format!("{state} after {}", words::duration(attempt.duration_s));
    if let Some(score) = attempt.score {
        text.push_str(&format!(", score {}", words::number(score)));
    }
    if let Some(run) = number(report, attempt.run) {
        text.push_str(&format!(", run {run}"));
    }
    if let Some(error) = &attempt.error {
        text.push_str(&format!(": {}", words::clipped(error)));
    }
    text
}

/// Each attempt of a test that was repeated: of many those that failed.
fn remarks(report: &Report, test: &TestView) -> Vec<String> {
    if test.attempts.len() < 2 {
        return Vec::new();
    }
    let many = test.attempts.len() > words::ATTEMPTS_SHOWN;
    let told = || test.attempts.iter().filter(|attempt| !many || !attempt.passed);
    let mut lines: Vec<String> =
        told().take(words::ATTEMPTS_SHOWN).map(|attempt| self::attempt(report, attempt)).collect();
    let more = test.attempts.len() - lines.len();
    lines.extend((more > 0).then(|| format!("{more} more attempts are not listed")));
    lines
}
