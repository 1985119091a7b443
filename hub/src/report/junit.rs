//! A report as JUnit XML: one suite per run, one case per step and per test, for CI servers.

use std::fmt::Write;

use super::{Attempt, Report, Step, suite, words};
use crate::dialect::rfc3339;
use crate::event::{RunStatus, StepState, TestEvent};

mod parts;

enum Outcome {
    Passed,
    /// What kind of failure, and its text.
    Failed(String, String),
    Skipped(String),
}

/// An attempt that failed beside the one that decided.
enum Rerun {
    Flaky(String),
    Failed(String),
}

struct Case {
    name: String,
    class: String,
    time_s: f64,
    properties: Vec<(String, String)>,
    reruns: Vec<Rerun>,
    outcome: Outcome,
}

pub(super) fn render(report: &Report) -> String {
    let header = &report.run.header;
    let mut cases: Vec<Case> = report.steps.iter().map(|step| step_case(report, step)).collect();
    cases.extend(parts::points(report));
    match suite::tests(report) {
        Some(tests) => {
            cases.extend(tests.iter().zip(&report.tests).map(|(test, told)| parts::test(report, test, told)));
        }
        None => cases.extend(report.tests.iter().map(|test| test_case(report, test))),
    }
    cases.extend(parts::iterations(report));
    let failed = cases.iter().any(|case| matches!(case.outcome, Outcome::Failed(..)));
    cases.extend(run_case(report, failed));
    let failures = cases.iter().filter(|case| matches!(case.outcome, Outcome::Failed(..))).count();
    let skipped = cases.iter().filter(|case| matches!(case.outcome, Outcome::Skipped(_))).count();
    let time = report.finished.as_ref().map_or(report.run.progress.elapsed_s, |finished| finished.duration_s);
    let counts = format!(
        "tests=\"{}\" failures=\"{failures}\" errors=\"0\" skipped=\"{skipped}\" time=\"{}\"",
        cases.len(),
        seconds(time)
    );
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let name = escaped(&header.name);
    line(&mut xml, 0, &format!("<testsuites name=\"{name}\" {counts}>"));
    let started = rfc3339(report.run.started_at.unwrap_or(header.created_at));
    line(&mut xml, 1, &format!("<testsuite name=\"{name}\" timestamp=\"{started}\" {counts}>"));
    properties(&mut xml, 2, &run_properties(report));
    for case in &cases {
        write_case(&mut xml, case);
    }
    let log: Vec<String> = report
        .log
        .iter()
        .map(|line| {
            format!("{} {} {}", words::clock(line.at), line.log.level.as_str(), words::clipped(&line.log.message))
        })
        .collect();
    line(&mut xml, 2, &format!("<system-out>{}</system-out>", escaped_text(&log.join("\n"))));
    line(&mut xml, 1, "</testsuite>");
    line(&mut xml, 0, "</testsuites>");
    xml
}

fn run_properties(report: &Report) -> Vec<(String, String)> {
    let header = &report.run.header;
    let mut list = vec![
        ("run".to_owned(), header.id.to_string()),
        ("number".to_owned(), header.number.to_string()),
        ("kind".to_owned(), header.kind.as_str().to_owned()),
        ("status".to_owned(), report.run.status.as_str().to_owned()),
        ("completeness".to_owned(), report.completeness.to_string()),
        ("software".to_owned(), super::SOFTWARE.to_owned()),
    ];
    for (name, value) in &header.params {
        list.push((format!("param.{name}"), words::value(value)));
    }
    for device in &report.devices {
        let agent = &device.bound.agent;
        list.push((format!("device.{}", device.bound.role), format!("{} at {agent}", device.bound.device)));
    }
    list
}

fn step_case(report: &Report, step: &Step) -> Case {
    let mut list: Vec<(String, String)> = Vec::new();
    if let Some(device) = &step.device {
        list.push(("device".to_owned(), device.clone()));
    }
    // Of a sweep, each point is a case of its own; here those attempts that did not end well.
    let told = |attempt: &&Attempt| attempt.point == 0 || attempt.state != StepState::Completed;
    for attempt in step.attempts.iter().filter(told) {
        let point = if attempt.point > 0 { format!("point.{}.", attempt.point) } else { String::new() };
        list.push((format!("{point}attempt.{}", attempt.number), attempt_in_words(attempt)));
    }
    let once = step.attempts.last().is_none_or(|last| last.point == 0);
    for judged in step.verdicts().iter().filter(|_| once) {
        let verdict = words::verdict(judged);
        let told = format!("{verdict}: {}, limits {}", words::measured(judged), words::limits(judged));
        list.push((format!("limit.{}", judged.verdict.metric), told));
    }
    let error = || step.error.clone().unwrap_or_else(|| step.state.as_str().to_owned());
    let outcome = match step.state {
        StepState::Completed => Outcome::Passed,
        StepState::Failed => Outcome::Failed(step.error_code.clone().unwrap_or_else(|| "FAILED".to_owned()), error()),
        StepState::Pending | StepState::Running | StepState::Cancelled | StepState::Skipped => {
            Outcome::Skipped(error())
        }
    };
    let time_s = step.attempts.iter().filter_map(|attempt| attempt.duration_s).sum();
    let class = format!("{}.{}", report.run.header.kind.as_str(), step.module);
    Case { name: step.id.as_str().to_owned(), class, time_s, properties: list, reruns: Vec::new(), outcome }
}

fn attempt_in_words(attempt: &Attempt) -> String {
    let told = words::attempt(attempt);
    told.split_once(": ").map_or(told.clone(), |(_, rest)| rest.to_owned())
}

fn test_case(report: &Report, test: &TestEvent) -> Case {
    let mut properties = vec![("runs".to_owned(), format!("{} of {}", test.current_run, test.total_runs))];
    if let Some(score) = test.score {
        properties.push(("score".to_owned(), words::number(score)));
    }
    let told = || test.error.clone().or_else(|| test.message.clone()).unwrap_or_else(|| test.status.clone());
    let outcome = match (test.success, test.status.as_str()) {
        (Some(true), _) => Outcome::Passed,
        (Some(false), _) | (None, "failed") => Outcome::Failed("TEST_FAILED".to_owned(), told()),
        (None, "completed") => Outcome::Passed,
        (None, _) => Outcome::Skipped(told()),
    };
    Case {
        name: if test.name.is_empty() { test.test.clone() } else { test.name.clone() },
        class: format!("{}.test.{}", report.run.header.kind.as_str(), test.test),
        time_s: test.duration_s.unwrap_or(0.0),
        properties,
        reruns: Vec::new(),
        outcome,
    }
}

/// A run that did not go well must not look as if it had, where no step of it failed or the record of it has holes.
fn run_case(report: &Report, failed: bool) -> Option<Case> {
    let outcome = match report.run.status {
        RunStatus::Completed if report.completeness.is_complete() => return None,
        RunStatus::Completed => Outcome::Failed("INCOMPLETE_RECORD".to_owned(), report.completeness.to_string()),
        RunStatus::Failed if failed => return None,
        RunStatus::Failed => {
            let error = report.finished.as_ref().and_then(|finished| finished.error.as_ref());
            Outcome::Failed(
                error.map_or_else(|| "FAILED".to_owned(), |error| error.code.clone()),
                words::outcome(report),
            )
        }
        RunStatus::Cancelled => Outcome::Failed("CANCELLED".to_owned(), words::outcome(report)),
        RunStatus::Pending | RunStatus::Running | RunStatus::Paused => {
            Outcome::Failed("NOT_ENDED".to_owned(), words::outcome(report))
        }
    };
    let class = report.run.header.kind.as_str().to_owned();
    Some(Case { name: "run".to_owned(), class, time_s: 0.0, properties: Vec::new(), reruns: Vec::new(), outcome })
}

fn write_case(xml: &mut String, case: &Case) {
    let head = format!(
        "<testcase name=\"{}\" classname=\"{}\" time=\"{}\"",
        escaped(&case.name),
        escaped(&case.class),
        seconds(case.time_s)
    );
    if case.properties.is_empty() && matches!(case.outcome, Outcome::Passed) && case.reruns.is_empty() {
        return line(xml, 2, &format!("{head}/>"));
    }
    line(xml, 2, &format!("{head}>"));
    properties(xml, 3, &case.properties);
    match &case.outcome {
        Outcome::Passed => {}
        Outcome::Failed(kind, text) => {
            let (kind, text) = (escaped(kind), words::clipped(text));
            let (message, body) = (escaped(&text), escaped_text(&text));
            line(xml, 3, &format!("<failure message=\"{message}\" type=\"{kind}\">{body}</failure>"));
        }
        Outcome::Skipped(cause) => {
            line(xml, 3, &format!("<skipped message=\"{}\"/>", escaped(&words::clipped(cause))));
        }
    }
    for rerun in &case.reruns {
        let (element, text) = match rerun {
            Rerun::Flaky(text) => ("flakyFailure", text),
            Rerun::Failed(text) => ("rerunFailure", text),
        };
        let text = words::clipped(text);
        let (message, trace) = (escaped(&text), escaped_text(&text));
        let head = format!("<{element} message=\"{message}\" type=\"TEST_FAILED\">");
        line(xml, 3, &format!("{head}<stackTrace>{trace}</stackTrace></{element}>"));
    }
    line(xml, 2, "</testcase>");
}

fn properties(xml: &mut String, depth: usize, list: &[(String, String)]) {
    if list.is_empty() {
        return;
    }
    line(xml, depth, "<properties>");
    for (name, value) in list {
        let property = format!("<property name=\"{}\" value=\"{}\"/>", escaped(name), escaped(value));
        line(xml, depth + 1, &property);
    }
    line(xml, depth, "</properties>");
}

fn line(xml: &mut String, depth: usize, text: &str) {
    // Writing to a text cannot fail.
    let _ = writeln!(xml, "{:width$}{text}", "", width = depth * 2);
}

fn seconds(value: f64) -> String {
    // The sum of nothing is a zero below zero.
    format!("{:.3}", if value.is_finite() { value.clamp(0.0, 1e12).abs() } else { 0.0 })
}

/// For an attribute: parsers make spaces of line breaks that are not written as numbers.
fn escaped(text: &str) -> String {
    escaped_text(text).replace('"', "&quot;").replace('\n', "&#10;").replace('\t', "&#9;")
}

/// For an element. XML 1.0 has no way to write control characters, so they are left out.
fn escaped_text(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '\t' | '\n' => escaped.push(c),
            '\u{FFFE}' | '\u{FFFF}' => {}
            c if c.is_control() => {}
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_can_be_written() {
        assert_eq!(escaped("a<b>&\"c\"\n\u{0}\u{1b}\u{FFFF}é\t"), "a&lt;b&gt;&amp;&quot;c&quot;&#10;é&#9;");
        assert_eq!(escaped_text("]]>\r\n"), "]]&gt;\n");
    }
}
