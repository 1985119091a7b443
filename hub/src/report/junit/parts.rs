//! Points of a sweep, tests of a suite and iterations of a study as cases. Reruns are written as Maven Surefire writes them, which
//! Jenkins and others read: `flakyFailure` in a case that passed in the end, `rerunFailure` in one that did not.

use rigwire_shared::value::Value;

use super::{Case, Outcome, Rerun};
use crate::event::TestEvent;
use crate::report::{Report, study, suite, words};
use crate::run::TestView;

const TEST_FAILED: &str = "TEST_FAILED";

pub(super) fn points(report: &Report) -> Vec<Case> {
    let Some(sweep) = &report.sweep else { return Vec::new() };
    let case = |point: &crate::report::Point| {
        let mut properties: Vec<(String, String)> = sweep
            .view
            .axes
            .iter()
            .filter_map(|axis| Some((format!("axis.{}", axis.name), words::value(point.value(&axis.name)?))))
            .collect();
        properties.extend(sweep.columns.iter().filter_map(|column| {
            let number = point.reading(column)?.number;
            let told = number.map_or_else(|| "no good value".to_owned(), |number| words::quantity(number, &column.1));
            Some((format!("reading.{}", column.0), told))
        }));
        let (met, all) = point.limits_met();
        if all > 0 {
            properties.push(("limits".to_owned(), format!("{met} of {all} met")));
        }
        let outcome = match point.state(report) {
            "completed" => Outcome::Passed,
            "failed" => Outcome::Failed("POINT_FAILED".to_owned(), point.errors.join("\n")),
            other => Outcome::Skipped(other.to_owned()),
        };
        Case {
            name: format!("point {}: {}", point.number, point.name(sweep)),
            class: format!("{}.sweep", report.run.header.kind.as_str()),
            time_s: 0.0,
            properties,
            reruns: Vec::new(),
            outcome,
        }
    };
    sweep.points.iter().map(case).collect()
}

pub(super) fn test(report: &Report, test: &TestView, told: &TestEvent) -> Case {
    let mut properties = vec![("number".to_owned(), test.number.to_string())];
    if !test.tags.is_empty() {
        properties.push(("tags".to_owned(), test.tags.join(", ")));
    }
    if test.flaky {
        properties.push(("flaky".to_owned(), "true".to_owned()));
    }
    if let Some(score) = test.score {
        properties.push(("score".to_owned(), words::number(score)));
    }
    for attempt in &test.attempts {
        properties.push((format!("attempt.{}", attempt.attempt), suite::outcome(report, attempt)));
    }
    let error = |error: &Option<String>| error.clone().unwrap_or_else(|| "failed".to_owned());
    let mut failures: Vec<String> =
        test.attempts.iter().filter(|attempt| !attempt.passed).map(|attempt| error(&attempt.error)).collect();
    let message = || Some(suite::message(test, told)).filter(|text| !text.is_empty());
    let (outcome, reruns) = match test.status {
        "passed" => (Outcome::Passed, failures.into_iter().map(Rerun::Flaky).collect()),
        "failed" => {
            // The first is the failure itself, the others were tries to do better.
            let first = if failures.is_empty() { None } else { Some(failures.remove(0)) };
            let told = first.or_else(message).unwrap_or_else(|| test.status.to_owned());
            (Outcome::Failed(TEST_FAILED.to_owned(), told), failures.into_iter().map(Rerun::Failed).collect())
        }
        other => (Outcome::Skipped(message().unwrap_or_else(|| other.to_owned())), Vec::new()),
    };
    Case {
        name: suite::name(test).to_owned(),
        class: format!("{}.test.{}", report.run.header.kind.as_str(), test.id),
        time_s: suite::duration(test).unwrap_or(0.0),
        properties,
        reruns,
        outcome,
    }
}

/// An iteration without a result fails nothing: the study goes on without it.
pub(super) fn iterations(report: &Report) -> Vec<Case> {
    let Some(view) = study::of(report) else { return Vec::new() };
    let case = |iteration: &crate::event::Iteration| {
        let mut properties = vec![("result".to_owned(), study::verdict(view, iteration).0.to_owned())];
        properties.extend(suite::number(report, iteration.run).map(|run| ("run".to_owned(), run)));
        let named =
            |kind: &'static str| move |(name, value): &(String, Value)| (format!("{kind}.{name}"), words::value(value));
        properties.extend(iteration.parameters.iter().map(named("parameter")));
        properties.extend(iteration.metrics.iter().map(named("metric")));
        Case {
            name: format!("iteration {}", iteration.iteration),
            class: format!("{}.iteration", report.run.header.kind.as_str()),
            time_s: 0.0,
            properties,
            reruns: Vec::new(),
            outcome: iteration.error.clone().map_or(Outcome::Passed, Outcome::Skipped),
        }
    };
    report.iterations.items.iter().map(case).collect()
}
