//! A report as CSV, for spreadsheets and scripts: one row per measured sample; of a suite one per attempt at a test, of a study one
//! per iteration. RFC 4180.

use super::{Report, study, suite, words};
use crate::csv::{number, quoted, row, value, word};
use crate::run::TestView;

pub(super) fn render(report: &Report) -> String {
    if let Some(tests) = suite::tests(report) {
        return attempts(report, tests);
    }
    if let Some(study) = study::of(report) {
        return study.table();
    }
    samples(report)
}

/// In a sweep with the point that each sample was taken at.
fn samples(report: &Report) -> String {
    let mut header = ["time", "metric", "value", "unit", "quality", "device", "step"].map(str::to_owned).to_vec();
    if let Some(sweep) = &report.sweep {
        header.push("point".to_owned());
        header.extend(sweep.view.axes.iter().map(|axis| word(&words::heading(&axis.name, &axis.unit))));
    }
    let mut text = String::new();
    row(&mut text, &header);
    for series in &report.series {
        for sample in &series.samples {
            let step = sample.step.and_then(|(index, _)| report.steps.get(index)).map(|step| step.id.as_str());
            let mut cells = vec![
                words::exact_time(sample.at),
                word(&series.metric),
                value(&sample.value),
                word(series.unit.as_str()),
                word(sample.quality.as_str()),
                word(series.device.as_deref().unwrap_or_default()),
                word(step.unwrap_or_default()),
            ];
            if let Some(sweep) = &report.sweep {
                // Points are told in their order, without holes.
                let index = usize::try_from(sample.point).unwrap_or(usize::MAX).checked_sub(1);
                let point = index.and_then(|index| sweep.points.get(index));
                cells.push(if sample.point > 0 { sample.point.to_string() } else { String::new() });
                cells.extend(
                    sweep
                        .view
                        .axes
                        .iter()
                        .map(|axis| point.and_then(|point| point.value(&axis.name)).map(value).unwrap_or_default()),
                );
            }
            row(&mut text, &cells);
        }
    }
    if report.samples_left_out > 0 {
        // A table has no other place for it, and rows that are missing unsaid would be taken for rows that never were.
        let told = format!("{} more samples are in the record and left out here", report.samples_left_out);
        let mut cells = vec![String::new(); header.len()];
        if let Some(first) = cells.first_mut() {
            *first = quoted(&told);
        }
        row(&mut text, &cells);
    }
    text
}

/// A test that was not tried has a row, too.
fn attempts(report: &Report, tests: &[TestView]) -> String {
    let mut text = String::from("test,name,tags,result,flaky,attempt,run,passed,score,duration_s,message\r\n");
    for (test, told) in tests.iter().zip(&report.tests) {
        let of_test = [
            word(&test.id),
            word(suite::name(test)),
            word(&test.tags.join(" ")),
            test.status.to_owned(),
            test.flaky.to_string(),
        ];
        for attempt in &test.attempts {
            let mut cells = of_test.to_vec();
            cells.extend([
                attempt.attempt.to_string(),
                suite::number(report, attempt.run).unwrap_or_default(),
                attempt.passed.to_string(),
                number(attempt.score),
                number(Some(attempt.duration_s)),
                word(attempt.error.as_deref().unwrap_or_default()),
            ]);
            row(&mut text, &cells);
        }
        if test.attempts.is_empty() {
            let mut cells = of_test.to_vec();
            cells.extend(vec![String::new(); 5]);
            cells.push(word(&suite::message(test, told)));
            row(&mut text, &cells);
        }
    }
    text
}
