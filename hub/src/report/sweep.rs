//! What a sweep measured, point by point, from the run's events; and as a section of a report. Knows no ink.

use std::collections::{BTreeMap, BTreeSet};

use rigwire_shared::unit::Unit;
use rigwire_shared::value::{Fields, Value};

use super::section::{Block, Piece, Row as TableRow, Section, Table, Tone};
use super::{Report, graph, words};
use crate::event::{Metric, PointEvent, StepChange, Verdict};
use crate::run::SweepView;
use crate::sweep::table::{Reading, Row};

/// Points that a report holds, and those that a document shows. The sweep's own table has them all.
const POINTS_MAX: usize = 10_000;
const SHOWN_MAX: usize = 500;

/// Columns of a table that still can be read on a page; more share one column.
const COLUMNS_MAX: usize = 7;

const PLOTS_MAX: usize = 20;

#[derive(Debug, Clone)]
pub struct Sweep {
    pub view: SweepView,
    /// Readings and their units, in the order in which they first came.
    pub columns: Vec<(String, Unit)>,
    pub points: Vec<Point>,
    pub points_left_out: u64,
}

#[derive(Debug, Clone)]
pub struct Point {
    /// From 1.
    pub number: u32,
    pub row: Row,
    /// Steps that failed for good, and why.
    pub errors: Vec<String>,
    /// Steps that have ended.
    ended: BTreeSet<usize>,
    /// By step: its attempt, and how many of its limits that one met.
    limits: BTreeMap<usize, Tally>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    attempt: u32,
    met: usize,
    all: usize,
}

impl Sweep {
    pub(super) fn new(view: SweepView) -> Self {
        Self { view, columns: Vec::new(), points: Vec::new(), points_left_out: 0 }
    }

    pub(super) fn begin(&mut self, event: PointEvent) {
        if self.points.len() >= POINTS_MAX {
            self.points_left_out += 1;
            return;
        }
        self.points.push(Point {
            number: event.point,
            row: Row::new(event.values),
            errors: Vec::new(),
            ended: BTreeSet::new(),
            limits: BTreeMap::new(),
        });
    }

    fn current(&mut self) -> Option<&mut Point> {
        if self.points_left_out > 0 { None } else { self.points.last_mut() }
    }

    pub(super) fn metric(&mut self, metric: &Metric) {
        const READINGS_MAX: usize = 50;
        let column = (metric.name.as_str().to_owned(), metric.unit.clone());
        if !self.columns.contains(&column) {
            if self.columns.len() >= READINGS_MAX {
                return;
            }
            self.columns.push(column);
        }
        if let Some(point) = self.current() {
            point.row.take(metric);
        }
    }

    /// `step` is the place of a step that is repeated at each point.
    pub(super) fn step(&mut self, step: usize, name: &str, change: &StepChange) {
        let Some(point) = self.current() else { return };
        match change {
            StepChange::Completed { .. } | StepChange::Skipped { .. } => {
                point.ended.insert(step);
            }
            StepChange::Failed { error, will_retry: false, .. } => {
                point.ended.insert(step);
                point.errors.push(format!("{name}: {}", words::clipped(error)));
            }
            StepChange::Failed { .. }
            | StepChange::Cancelled { .. }
            | StepChange::Dispatched { .. }
            | StepChange::Running
            | StepChange::Progress { .. } => {}
        }
    }

    pub(super) fn verdict(&mut self, step: usize, attempt: u32, verdict: &Verdict) {
        let Some(point) = self.current() else { return };
        let tally = point.limits.entry(step).or_default();
        if tally.attempt != attempt {
            *tally = Tally { attempt, ..Tally::default() };
        }
        tally.all += 1;
        tally.met += usize::from(verdict.passed);
    }

    /// Limits that were met at all points, of how many.
    pub(super) fn limits_met(&self) -> (usize, usize) {
        let each = self.points.iter().map(Point::limits_met);
        each.fold((0, 0), |sum, point| (sum.0 + point.0, sum.1 + point.1))
    }
}

impl Point {
    pub fn limits_met(&self) -> (usize, usize) {
        self.limits.values().fold((0, 0), |sum, tally| (sum.0 + tally.met, sum.1 + tally.all))
    }

    pub fn value(&self, axis: &str) -> Option<&Value> {
        self.row.point.iter().find(|(name, _)| name == axis).map(|(_, value)| value)
    }

    /// `None`: it was not taken here.
    pub fn reading(&self, (name, unit): &(String, Unit)) -> Option<&Reading> {
        self.row.readings.iter().find(|reading| reading.name == *name && reading.unit == *unit)
    }

    /// `completed`, `failed`, `running`, or `cut short` where the run ended in the middle of it.
    pub fn state(&self, report: &Report) -> &'static str {
        let steps = report.steps.iter().filter(|step| !step.finally).count();
        if !self.errors.is_empty() {
            "failed"
        } else if self.ended.len() >= steps {
            "completed"
        } else if report.run.status.is_final() {
            "cut short"
        } else {
            "running"
        }
    }

    /// Such as `frequency 200 Hz, level 0.5 V`.
    pub(super) fn name(&self, sweep: &Sweep) -> String {
        let axes = sweep.view.axes.iter().map(|axis| {
            let value = words::value(self.value(&axis.name).unwrap_or(&Value::Null));
            let unit = words::unit_text(&axis.unit);
            if unit.is_empty() { format!("{} {value}", axis.name) } else { format!("{} {value} {unit}", axis.name) }
        });
        axes.collect::<Vec<_>>().join(", ")
    }

    fn readings(&self, sweep: &Sweep) -> Fields {
        let number = |reading: &Reading| reading.number.map_or(Value::Null, Value::Float);
        let taken = sweep.columns.iter().filter_map(|column| Some((column.0.clone(), number(self.reading(column)?))));
        taken.collect()
    }
}

pub(super) fn section(report: &Report) -> Option<Section> {
    let sweep = report.sweep.as_ref().filter(|sweep| !sweep.points.is_empty())?;
    let view = &sweep.view;
    let count = |wanted: &str| sweep.points.iter().filter(|point| point.state(report) == wanted).count();
    let mut done = format!("{} of {} {}", count("completed"), view.total, view.of);
    let failed = count("failed");
    if failed > 0 {
        done.push_str(&format!(", {failed} failed"));
    }
    let axes = view.axes.iter().map(|axis| words::heading(&axis.name, &axis.unit)).collect::<Vec<_>>().join(", ");
    let mut blocks = vec![Block::Facts(vec![("Sweep", view.label.clone()), ("Done", done), ("Axes", axes)])];
    for column in sweep.columns.iter().take(PLOTS_MAX) {
        if let Some(plot) = graph::reading(sweep, column) {
            let axis = view.axes.first().map(|axis| axis.name.as_str()).unwrap_or_default();
            blocks.push(Block::Figure {
                name: format!("{} over {axis}", column.0),
                about: summary(sweep, column),
                plot: Some(Box::new(plot)),
            });
        }
    }
    blocks.push(Block::Table(points(report, sweep)));
    let hidden = sweep.points.len().saturating_sub(SHOWN_MAX);
    let left_out = sweep.points_left_out.saturating_add(u64::try_from(hidden).unwrap_or(u64::MAX));
    blocks.extend(words::left_out(left_out, "points", sweep.points.len().min(SHOWN_MAX)).map(Block::Note));
    let table = if report.finished.is_some() { "; sweep.csv holds the table" } else { "" };
    blocks.push(Block::Note(format!("Each reading is the last one taken at its point{table}.")));
    Some(Section { title: "Sweep", blocks })
}

/// Lowest and highest, and where.
fn summary(sweep: &Sweep, column: &(String, Unit)) -> String {
    let good = || {
        let points = sweep.points.iter();
        points.filter_map(|point| Some((point, point.reading(column)?.number?)))
    };
    let by_value = |a: &(&Point, f64), b: &(&Point, f64)| a.1.total_cmp(&b.1);
    let told = |name: &str, (point, value): (&Point, f64)| {
        format!("{name} {} at {}", words::quantity(value, &column.1), point.name(sweep))
    };
    match (good().min_by(by_value), good().max_by(by_value)) {
        (Some(low), Some(high)) => format!("{}; {}", told("lowest", low), told("highest", high)),
        (None, _) | (_, None) => String::new(),
    }
}

fn points(report: &Report, sweep: &Sweep) -> Table {
    let axes = &sweep.view.axes;
    let apart = axes.len() + sweep.columns.len() <= COLUMNS_MAX;
    let with_limits = sweep.limits_met().1 > 0;
    let mut table = Table::new(["Point"]);
    table.titles.extend(axes.iter().map(|axis| words::heading(&axis.name, &axis.unit)));
    if apart {
        table.titles.extend(sweep.columns.iter().map(|(name, unit)| words::heading(name, unit.as_str())));
    } else {
        table.titles.push("Readings".to_owned());
    }
    if with_limits {
        table.titles.push("Limits".to_owned());
    }
    table.titles.push("Result".to_owned());
    for point in sweep.points.iter().take(SHOWN_MAX) {
        let mut cells = vec![vec![Piece::strong(point.number.to_string())]];
        cells.extend(axes.iter().map(|axis| {
            let value = point.value(&axis.name).unwrap_or(&Value::Null);
            vec![Piece::number(words::value(value))]
        }));
        if apart {
            cells.extend(sweep.columns.iter().map(|column| {
                let text = match point.reading(column) {
                    None => "-".to_owned(),
                    Some(Reading { number: None, .. }) => "no good value".to_owned(),
                    Some(Reading { number: Some(number), .. }) => words::number(*number),
                };
                vec![Piece::number(text)]
            }));
        } else {
            cells.push(vec![Piece::plain(words::fields(&point.readings(sweep)))]);
        }
        if with_limits {
            let (met, all) = point.limits_met();
            let text = if all == 0 { "-".to_owned() } else { format!("{met} of {all} met") };
            cells.push(vec![Piece::number(text)]);
        }
        let state = point.state(report);
        let tone = match state {
            "completed" => Tone::Good,
            "failed" => Tone::Bad,
            _ => Tone::Neutral,
        };
        cells.push(vec![Piece::badge(tone, state)]);
        table.rows.push(TableRow { cells, remarks: point.errors.clone() });
    }
    table
}
