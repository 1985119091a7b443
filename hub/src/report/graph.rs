//! Plots that are not over time: readings over a sweep's axis, a Pareto front, the way of a study. Knows no ink.

use std::collections::BTreeSet;

use rigwire_shared::unit::Unit;

use super::plot::{Axis, Mark, MarkKind, Plot, Scale, range};
use super::study::Objective;
use super::sweep::Sweep;
use super::words;
use crate::scale::Scale as Spacing;
use crate::study::Direction;

/// With so few points each of them is marked.
const DOTS_MAX: usize = 120;

/// Marks nearer to each other than one of so many cannot be told apart.
const PLACES: f64 = 300.0;

/// Values along one side of a plot.
struct Side {
    scale: Scale,
    spacing: Spacing,
}

impl Side {
    fn new(values: impl Iterator<Item = f64>, spacing: Spacing, margin: f64) -> Option<Self> {
        let (low, high) = range(values.map(|value| bent(value, spacing)))?;
        Some(Self { scale: Scale::new(low, high, margin)?, spacing })
    }

    fn place(&self, value: f64) -> f64 {
        self.scale.place(bent(value, self.spacing))
    }

    fn axis(&self, most: u32, label: String) -> Axis {
        let ticks = match self.spacing {
            Spacing::Linear => self.scale.ticks(1.0, most),
            Spacing::Log => self.scale.ticks_of_powers(),
        };
        Axis { ticks, label }
    }
}

fn bent(value: f64, spacing: Spacing) -> f64 {
    match spacing {
        Spacing::Linear => value,
        Spacing::Log => value.log10(),
    }
}

/// A reading over the one axis of a sweep, where that has numbers and more than one point was measured.
pub(super) fn reading(sweep: &Sweep, column: &(String, Unit)) -> Option<Plot> {
    let [axis] = sweep.view.axes.as_slice() else { return None };
    let points: Option<Vec<(f64, Option<f64>)>> = sweep
        .points
        .iter()
        .map(|point| {
            let x = point.value(&axis.name)?.as_f64().filter(|number| number.is_finite())?;
            let reading = point.reading(column).map(|reading| reading.number.filter(|number| number.is_finite()));
            Some((x, reading.flatten()))
        })
        .collect();
    let mut points = points?;
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    let good = || points.iter().filter_map(|(x, y)| Some((*x, (*y)?)));
    if good().count() < 2 {
        return None;
    }
    let spacing = if points.iter().all(|(x, _)| *x > 0.0) { axis.scale } else { Spacing::Linear };
    let x = Side::new(points.iter().map(|(x, _)| *x), spacing, 0.02)?;
    let y = Side::new(good().map(|(_, y)| y), Spacing::Linear, 0.06)?;
    let parts = points.split(|(_, y)| y.is_none()).filter(|part| !part.is_empty());
    let lines: Vec<Vec<(f64, f64)>> = parts
        .map(|part| part.iter().filter_map(|(at, value)| Some((x.place(*at), y.place((*value)?)))).collect())
        .collect();
    Some(Plot {
        dots: points.len() <= DOTS_MAX,
        lines,
        limits: Vec::new(),
        bad: points.iter().filter(|(_, y)| y.is_none()).map(|(at, _)| x.place(*at)).collect(),
        marks: Vec::new(),
        line_is: None,
        x: x.axis(8, words::axis_label(&axis.name, &axis.unit)),
        y: y.axis(6, words::axis_label(&column.0, column.1.as_str())),
    })
}

/// A trial as it is drawn: its iteration, its objectives in their order, and what it is.
pub(super) struct Trial {
    pub(super) iteration: u64,
    pub(super) objectives: Vec<f64>,
    pub(super) kind: MarkKind,
}

/// Two objectives against each other.
pub(super) fn front(objectives: &[Objective], trials: &[Trial]) -> Option<Plot> {
    let [first, second] = objectives else { return None };
    let at = |trial: &Trial| Some((*trial.objectives.first()?, *trial.objectives.get(1)?));
    let places = || trials.iter().filter_map(|trial| Some((at(trial)?, trial.kind)));
    let x = Side::new(places().map(|((x, _), _)| x), Spacing::Linear, 0.04)?;
    let y = Side::new(places().map(|((_, y), _)| y), Spacing::Linear, 0.06)?;
    let place = |(a, b): (f64, f64)| (x.place(a), y.place(b));
    let mut front: Vec<(f64, f64)> =
        places().filter(|(_, kind)| *kind >= MarkKind::Front).map(|(at, _)| place(at)).collect();
    front.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    Some(Plot {
        dots: false,
        line_is: (front.len() > 1).then_some("the front"),
        lines: if front.len() > 1 { vec![front] } else { Vec::new() },
        limits: Vec::new(),
        bad: Vec::new(),
        marks: marks(places().map(|(at, kind)| (place(at), kind))),
        x: x.axis(8, first.label()),
        y: y.axis(6, second.label()),
    })
}

/// One objective over the iterations, and the best feasible one so far.
#[expect(clippy::cast_precision_loss, reason = "a number of iterations")]
pub(super) fn convergence(objective: &Objective, trials: &[Trial]) -> Option<Plot> {
    let places =
        || trials.iter().filter_map(|trial| Some((trial.iteration as f64, *trial.objectives.first()?, trial.kind)));
    let x = Side::new(places().map(|(x, ..)| x), Spacing::Linear, 0.02)?;
    let y = Side::new(places().map(|(_, y, _)| y), Spacing::Linear, 0.06)?;
    let mut best: Option<f64> = None;
    let mut line: Vec<(f64, f64)> = Vec::new();
    let mut last = None;
    for (at, value, kind) in places() {
        last = Some(at);
        let better = kind != MarkKind::Infeasible
            && best.is_none_or(|best| match objective.direction {
                Direction::Minimize => value < best,
                Direction::Maximize => value > best,
            });
        if better {
            line.extend(best.map(|best| (x.place(at), y.place(best))));
            line.push((x.place(at), y.place(value)));
            best = Some(value);
        }
    }
    line.extend(last.zip(best).map(|(at, best)| (x.place(at), y.place(best))));
    let mut axis = x.axis(8, "iteration".to_owned());
    // There is no half of an iteration.
    axis.ticks.retain(|(_, text)| !text.contains('.'));
    Some(Plot {
        dots: false,
        line_is: (line.len() > 1).then_some("best so far"),
        lines: if line.len() > 1 { vec![line] } else { Vec::new() },
        limits: Vec::new(),
        bad: Vec::new(),
        marks: marks(places().map(|(at, value, kind)| ((x.place(at), y.place(value)), kind))),
        x: axis,
        y: y.axis(6, objective.label()),
    })
}

/// Of those that lie on each other one is kept; the better ones are drawn last.
fn marks(all: impl Iterator<Item = ((f64, f64), MarkKind)>) -> Vec<Mark> {
    let mut seen = BTreeSet::new();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to a small number")]
    let cell = |place: f64| (place.clamp(0.0, 1.0) * PLACES).round() as u32;
    let mut marks: Vec<Mark> = all
        .filter(|((x, y), kind)| seen.insert((*kind, cell(*x), cell(*y))))
        .map(|((x, y), kind)| Mark { x, y, kind })
        .collect();
    marks.sort_by_key(|mark| mark.kind);
    marks
}
