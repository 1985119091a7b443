//! What a report in JSON says of sweeps, suites and studies beyond other runs.

use rigwire_shared::ids::RunId;
use rigwire_shared::value::{Fields, Value};
use serde::Serialize;

use crate::event::{Iteration, TestAttempt, TestEvent};
use crate::report::{Report, study, suite};

#[derive(Serialize)]
pub(super) struct SweepMessage<'a> {
    label: &'a str,
    of: &'a str,
    total: usize,
    axes: Vec<Column<'a>>,
    readings: Vec<Column<'a>>,
    points: Vec<PointMessage<'a>>,
    points_left_out: u64,
}

#[derive(Serialize)]
struct Column<'a> {
    name: &'a str,
    unit: &'a str,
}

#[derive(Serialize)]
struct PointMessage<'a> {
    point: u32,
    status: &'static str,
    #[serde(serialize_with = "rigwire_shared::value::fields::serialize")]
    values: &'a Fields,
    /// In the order of `readings` above; null where there is no good one.
    readings: Vec<Option<f64>>,
    limits_met: usize,
    limits: usize,
    errors: &'a [String],
}

pub(super) fn sweep(report: &Report) -> Option<SweepMessage<'_>> {
    let sweep = report.sweep.as_ref()?;
    let point = sweep.points.iter().map(|point| {
        let (limits_met, limits) = point.limits_met();
        PointMessage {
            point: point.number,
            status: point.state(report),
            values: &point.row.point,
            readings: sweep.columns.iter().map(|column| point.reading(column)?.number).collect(),
            limits_met,
            limits,
            errors: &point.errors,
        }
    });
    Some(SweepMessage {
        label: &sweep.view.label,
        of: &sweep.view.of,
        total: sweep.view.total,
        axes: sweep.view.axes.iter().map(|axis| Column { name: &axis.name, unit: &axis.unit }).collect(),
        readings: sweep.columns.iter().map(|(name, unit)| Column { name, unit: unit.as_str() }).collect(),
        points: point.collect(),
        points_left_out: sweep.points_left_out,
    })
}

#[derive(Serialize)]
pub(super) struct TestMessage<'a> {
    #[serde(flatten)]
    event: &'a TestEvent,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts: Option<Vec<AttemptMessage<'a>>>,
}

#[derive(Serialize)]
struct AttemptMessage<'a> {
    #[serde(flatten)]
    attempt: &'a TestAttempt,
    /// Of its run.
    number: Option<u64>,
}

pub(super) fn tests(report: &Report) -> Vec<TestMessage<'_>> {
    let views = suite::tests(report).unwrap_or_default();
    let mut messages = Vec::with_capacity(report.tests.len());
    for (index, event) in report.tests.iter().enumerate() {
        let view = views.get(index);
        let attempts = view.map(|view| {
            let each = view.attempts.iter();
            each.map(|attempt| AttemptMessage { attempt, number: number(report, attempt.run) }).collect()
        });
        messages.push(TestMessage {
            event,
            result: view.map(|view| view.status),
            tags: view.map(|view| view.tags.as_slice()),
            attempts,
        });
    }
    messages
}

fn number(report: &Report, run: Option<RunId>) -> Option<u64> {
    report.numbers.get(&run?).copied()
}

#[derive(Serialize)]
pub(super) struct IterationMessage<'a> {
    #[serde(flatten)]
    iteration: &'a Iteration,
    /// Of its run.
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    front: Option<bool>,
}

pub(super) fn iterations(report: &Report) -> Vec<IterationMessage<'_>> {
    let study = study::of(report);
    let one = |iteration| IterationMessage {
        iteration,
        number: number(report, iteration.run),
        front: study.map(|study| study.front.contains(&iteration.iteration)),
    };
    report.iterations.items.iter().map(one).collect()
}

#[derive(Serialize)]
pub(super) struct StudyMessage {
    #[serde(flatten)]
    study: Value,
    budget: usize,
    driven_from_outside: bool,
    front: Vec<u64>,
    best: Option<u64>,
}

pub(super) fn study(report: &Report) -> Option<StudyMessage> {
    let view = study::of(report)?;
    Some(StudyMessage {
        // Plain fields again: what was read can be written.
        study: serde_json::to_value(&*view.study).and_then(serde_json::from_value).unwrap_or(Value::Null),
        budget: view.budget,
        driven_from_outside: view.driven_from_outside,
        front: view.front.clone(),
        best: view.best,
    })
}
