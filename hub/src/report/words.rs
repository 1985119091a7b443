//! How a report puts numbers, times and verdicts for people. One place, so that all formats say the same.

use rigwire_shared::time::Timestamp;
use rigwire_shared::unit::Unit;
use rigwire_shared::value::{Fields, Value};

use super::{Attempt, Device, Judged, Report, Series, Step};
use crate::dialect::rfc3339;
use crate::event::{RunStatus, StepState, TestEvent};
use crate::run::Parts;

/// Characters of one text that documents show. JSON holds all of it.
const TEXT_MAX: usize = 2_000;

/// Significant digits of a number for people: more than an instrument has, fewer than binary fractions show.
const DIGITS: usize = 9;

pub(super) fn number(value: f64) -> String {
    if !value.is_finite() {
        return "no number".to_owned();
    }
    let rounded: f64 = format!("{value:.*e}", DIGITS - 1).parse().unwrap_or(value);
    if rounded == 0.0 {
        return "0".to_owned();
    }
    if (1e-4..1e12).contains(&rounded.abs()) { format!("{rounded}") } else { format!("{rounded:e}") }
}

pub(super) fn unit(unit: &Unit) -> &str {
    unit_text(unit.as_str())
}

pub(super) fn unit_text(unit: &str) -> &str {
    match unit {
        "Ohm" => "Ω",
        "degC" => "°C",
        other => other,
    }
}

/// Over a column: `frequency [Hz]`.
pub(super) fn heading(name: &str, unit: &str) -> String {
    match unit_text(unit) {
        "" => name.to_owned(),
        unit => format!("{name} [{unit}]"),
    }
}

/// Beside an axis: `frequency / Hz`.
pub(super) fn axis_label(name: &str, unit: &str) -> String {
    match unit_text(unit) {
        "" => name.to_owned(),
        unit => format!("{name} / {unit}"),
    }
}

pub(super) fn quantity(value: f64, of: &Unit) -> String {
    with_unit(&number(value), of)
}

fn with_unit(text: &str, of: &Unit) -> String {
    match unit(of) {
        "" => text.to_owned(),
        unit => format!("{text} {unit}"),
    }
}

pub(super) fn limits(judged: &Judged) -> String {
    match (judged.verdict.min, judged.verdict.max) {
        (None, None) => range((None, None)),
        limits => with_unit(&range(limits), &judged.unit),
    }
}

pub(super) fn range(limits: (Option<f64>, Option<f64>)) -> String {
    match limits {
        (Some(min), Some(max)) => format!("{} to {}", number(min), number(max)),
        (Some(min), None) => format!("at least {}", number(min)),
        (None, Some(max)) => format!("at most {}", number(max)),
        (None, None) => "any value".to_owned(),
    }
}

pub(super) fn measured(judged: &Judged) -> String {
    match judged.verdict.value {
        Some(value) => quantity(value, &judged.unit),
        None => "no good value".to_owned(),
    }
}

pub(super) fn verdict(judged: &Judged) -> &'static str {
    if judged.verdict.passed { "passed" } else { "failed" }
}

/// `2026-03-01 10:30:00.000 UTC`.
pub(super) fn time(at: Timestamp) -> String {
    rfc3339(at).replace('T', " ").replace('Z', " UTC")
}

/// Time of day alone, for lists within one run.
pub(super) fn clock(at: Timestamp) -> String {
    let text = rfc3339(at);
    text.split_once('T').map_or_else(|| text.clone(), |(_, clock)| clock.trim_end_matches('Z').to_owned())
}

/// With microseconds, for programs.
pub(super) fn exact_time(at: Timestamp) -> String {
    const END_OF_9999_US: u64 = 253_402_300_799_999_999;
    let micros = u64::try_from(at.0).unwrap_or(0).min(END_OF_9999_US);
    humantime::format_rfc3339_micros(std::time::UNIX_EPOCH + std::time::Duration::from_micros(micros)).to_string()
}

pub(super) fn duration(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return "unknown".to_owned();
    }
    if seconds < 60.0 {
        // Rounding must not make a minute of 59.9996 s.
        return format!("{} s", number(((seconds * 1000.0).round() / 1000.0).min(59.999)));
    }
    // Whole seconds, of which no run has so many.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded just here")]
    let whole = seconds.min(1e12) as u64;
    let (hours, minutes, rest) = (whole / 3600, whole / 60 % 60, whole % 60);
    if hours > 0 { format!("{hours} h {minutes:02} min {rest:02} s") } else { format!("{minutes} min {rest:02} s") }
}

pub(super) fn bytes(size: u64) -> String {
    match size {
        0..1024 => format!("{size} B"),
        1024..1_048_576 => format!("{} KiB", size / 1024),
        _ => format!("{} MiB", size / 1_048_576),
    }
}

pub(super) fn value(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Float(value) => number(*value),
        Value::Text(text) => clipped(text),
        Value::Map(fields) => self::fields(fields),
        Value::List(items) => clipped(&format!("[{}]", items.iter().map(self::value).collect::<Vec<_>>().join(", "))),
    }
}

/// Named values in one line.
pub(super) fn fields(fields: &Fields) -> String {
    let one = |(name, value): &(String, Value)| {
        if let Value::Map(inner) = value {
            format!("{name}: ({})", self::fields(inner))
        } else {
            format!("{name} {}", self::value(value))
        }
    };
    clipped(&fields.iter().map(one).collect::<Vec<_>>().join(", "))
}

/// A text that is not too long to be shown, or the beginning of it and how much more there is.
pub(super) fn clipped(text: &str) -> String {
    match text.char_indices().nth(TEXT_MAX) {
        None => text.to_owned(),
        Some((end, _)) => {
            let (shown, rest) = text.split_at(end);
            format!("{shown}… ({} more characters)", rest.chars().count())
        }
    }
}

/// Seconds since the run started, of times that may be anything: they come from outside.
#[expect(clippy::cast_precision_loss, reason = "a duration in seconds needs no more than 52 bits")]
pub(super) fn elapsed(report: &Report, at: Timestamp) -> f64 {
    let start = report.run.started_at.unwrap_or(report.run.header.created_at);
    at.0.saturating_sub(start.0) as f64 / 1e6
}

pub(super) fn series_name(series: &Series) -> String {
    match &series.device {
        Some(device) => format!("{} of {device}", series.metric),
        None => series.metric.clone(),
    }
}

/// What a series comes down to, in one line.
pub(super) fn series_summary(series: &Series) -> String {
    let good: Vec<f64> = series.samples.iter().filter_map(super::Sample::good_number).collect();
    let count = |count: usize| if count == 1 { "1 sample".to_owned() } else { format!("{count} samples") };
    let mut text = count(series.samples.len());
    let bad = series.samples.len() - good.len();
    if bad > 0 {
        text.push_str(&format!(", {bad} of them without a good number"));
    }
    let low = good.iter().copied().reduce(f64::min);
    let high = good.iter().copied().reduce(f64::max);
    if let (Some(low), Some(high)) = (low, high) {
        #[expect(clippy::cast_precision_loss, reason = "a number of samples")]
        let count = good.len() as f64;
        // Divided before they are added: the sum of the largest numbers is none.
        let mean: f64 = good.iter().map(|value| value / count).sum();
        // A mean has as many digits as any: more than six say nothing of it.
        let mean = format!("{:.5e}", mean.clamp(low, high)).parse().unwrap_or(mean);
        let values = [("min", low), ("mean", mean), ("max", high)];
        for (name, value) in values {
            text.push_str(&format!(", {name} {}", quantity(value, &series.unit)));
        }
    }
    text
}

/// What the run came to, in a sentence.
pub(super) fn outcome(report: &Report) -> String {
    match &report.finished {
        Some(finished) => clipped(&finished.message),
        None if report.run.status == RunStatus::Pending => "waits for its devices".to_owned(),
        None => format!(
            "not ended: {} percent, {}",
            number(report.run.progress.percent.round()),
            report.run.progress.message
        ),
    }
}

pub(super) fn limits_met(report: &Report) -> String {
    match report.limits_met() {
        (_, 0) => "none were measured".to_owned(),
        (met, all) => format!("{met} of {all} met"),
    }
}

/// Earlier attempts of a step, one line each.
pub(super) fn attempt(attempt: &Attempt) -> String {
    let state = if attempt.will_retry { "failed, tried again" } else { attempt.state.as_str() };
    let point = if attempt.point > 0 { format!("point {}, ", attempt.point) } else { String::new() };
    let mut text = format!("{point}attempt {}: {state}", attempt.number);
    if let Some(duration_s) = attempt.duration_s {
        text.push_str(&format!(" after {}", duration(duration_s)));
    }
    if let Some(error) = &attempt.error {
        text.push_str(&format!(": {}", clipped(error)));
    }
    if let Some(safe) = &attempt.safe {
        text.push_str(&format!("; safe state: {}", safe.outcome));
    }
    text
}

pub(super) fn left_out(count: u64, what: &str, shown: usize) -> Option<String> {
    (count > 0).then(|| format!("The first {shown} are shown; {count} more {what} are left out."))
}

/// What documents say beside the list of devices.
pub(super) const DEVICES_NOTE: &str = "Identities are as known when this report was made.";

/// The facts at the head of a report, by name.
pub(super) fn facts(report: &Report) -> Vec<(&'static str, String)> {
    let (run, header) = (&report.run, &report.run.header);
    let mut facts = vec![
        ("Run", header.id.to_string()),
        ("Number", header.number.to_string()),
        ("Kind", header.kind.as_str().to_owned()),
        (if header.external { "Reported by" } else { "Procedure" }, header.agent_name.clone()),
        ("Created", time(header.created_at)),
    ];
    facts.extend(run.started_at.map(|at| ("Started", time(at))));
    facts.extend(run.finished_at.map(|at| ("Finished", time(at))));
    let counts = match &report.finished {
        Some(finished) => {
            facts.push(("Duration", duration(finished.duration_s)));
            finished.counts
        }
        None => run.progress.counts,
    };
    let of_all = |word: &str| {
        format!(
            "{} of {} {word}, {} failed, {} skipped",
            counts.successful, counts.total, counts.failed, counts.skipped
        )
    };
    match &run.parts {
        Some(Parts::Suite(_)) => facts.push(("Tests", of_all("passed"))),
        Some(Parts::Study(_)) => {
            let told = format!("{} of {} completed, {} failed", counts.successful, counts.total, counts.failed);
            facts.push(("Iterations", told));
        }
        Some(Parts::Sweep(_)) | None => {
            facts.push(("Steps", of_all("completed")));
            facts.push(("Limits", limits_met(report)));
        }
    }
    facts.extend(report.cancelled_because.as_ref().map(|cause| ("Cancelled", clipped(cause))));
    facts.extend(header.parent.map(|parent| ("Part of", parent.to_string())));
    if !header.params.is_empty() {
        facts.push(("Parameters", fields(&header.params)));
    }
    facts.push(("Record", report.completeness.to_string()));
    facts
}

/// Attempts at one step, or one test, that a document lists.
pub(super) const ATTEMPTS_SHOWN: usize = 20;

/// What there is to say of a step below its row.
pub(super) fn remarks(step: &Step) -> Vec<String> {
    let mut told = Vec::new();
    if step.attempts.iter().any(|attempt| attempt.point > 0) {
        // All attempts at all points would fill pages: those that did not end well are what one looks for.
        let troubled: Vec<&Attempt> = step
            .attempts
            .iter()
            .filter(|attempt| attempt.state != StepState::Completed || attempt.safe.is_some())
            .collect();
        told.push("done at each point of the sweep, shown as at the last".to_owned());
        told.extend(troubled.iter().take(ATTEMPTS_SHOWN).map(|troubled| attempt(troubled)));
        let more = troubled.len().saturating_sub(ATTEMPTS_SHOWN);
        told.extend((more > 0).then(|| format!("{more} more attempts did not end well")));
        return told;
    }
    let unsafe_end = step.attempts.last().is_some_and(|last| last.safe.is_some());
    if step.attempts.len() > 1 || unsafe_end {
        told.extend(step.attempts.iter().map(attempt));
    } else if let Some(error) = &step.error {
        told.push(clipped(error));
    }
    told.extend(step.screenshot.as_ref().map(|path| format!("screenshot: {}", clipped(path))));
    told
}

/// Instrument, serial number, firmware, profile and place of a device.
pub(super) fn identity(device: &Device) -> [String; 5] {
    let Some(known) = &device.known else {
        return ["not known any more", "-", "-", "-", "-"].map(str::to_owned);
    };
    let word = |text: &str| if text.is_empty() { "-".to_owned() } else { clipped(text) };
    match &known.identity {
        Some(identity) => [
            word(format!("{} {}", identity.vendor, identity.model).trim()),
            word(&identity.serial),
            word(&identity.firmware),
            word(&known.profile),
            word(&identity.location),
        ],
        None => ["not identified".to_owned(), word(""), word(""), word(&known.profile), word("")],
    }
}

pub(super) fn test_name(test: &TestEvent) -> &str {
    if test.name.is_empty() { &test.test } else { &test.name }
}

pub(super) fn test_result(test: &TestEvent) -> &str {
    match test.success {
        Some(true) => "passed",
        Some(false) => "failed",
        None => &test.status,
    }
}

pub(super) fn test_message(test: &TestEvent) -> String {
    clipped(test.error.as_deref().or(test.message.as_deref()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_as_short_as_they_may_be() {
        for (value, expected) in [
            (3.3, "3.3"),
            (3.300_000_000_000_000_3, "3.3"),
            (0.1 + 0.2, "0.3"),
            (-0.0, "0"),
            (1e-9, "1e-9"),
            (123_456_789.0, "123456789"),
            (1.5e300, "1.5e300"),
            (f64::NAN, "no number"),
        ] {
            assert_eq!(number(value), expected);
        }
    }

    #[test]
    fn durations_read_well() {
        for (seconds, expected) in [
            (0.0, "0 s"),
            (1.23456, "1.235 s"),
            (59.9999, "59.999 s"),
            (61.0, "1 min 01 s"),
            (7384.5, "2 h 03 min 04 s"),
            (f64::NAN, "unknown"),
            (-1.0, "unknown"),
        ] {
            assert_eq!(duration(seconds), expected);
        }
    }

    #[test]
    fn times_are_exact() {
        assert_eq!(exact_time(Timestamp(1_772_361_000_000_001)), "2026-03-01T10:30:00.000001Z");
        for far in [i64::MIN, i64::MAX] {
            assert!(exact_time(Timestamp(far)).ends_with('Z') && time(Timestamp(far)).ends_with("UTC"));
        }
    }

    #[test]
    fn a_long_text_says_how_much_is_missing() {
        let long = "é".repeat(TEXT_MAX + 7);
        assert!(clipped(&long).ends_with("é… (7 more characters)"));
        assert_eq!(clipped("short"), "short");
    }
}
