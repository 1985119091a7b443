//! The geometry of a plot, in fractions of its area, and that of one measured series over time. Knows no ink: HTML and PDF draw
//! the same.

use std::collections::BTreeMap;

use super::{Report, Sample, Series};

/// Columns that a line is drawn in. Of more samples, each column keeps its first, lowest, highest and last.
const COLUMNS: usize = 400;

/// Lines that no longer can be told apart are not drawn.
const LIMITS_MAX: usize = 200;
const BAD_MAX: usize = 400;

/// With so few points each of them is marked.
const DOTS_MAX: usize = 80;

/// Places run from 0 to 1, to the right and upwards.
#[derive(Debug, Clone, PartialEq)]
pub struct Plot {
    pub x: Axis,
    pub y: Axis,
    pub lines: Vec<Vec<(f64, f64)>>,
    /// Whether to mark each point.
    pub dots: bool,
    pub limits: Vec<LimitLine>,
    /// Where samples have no good number.
    pub bad: Vec<f64>,
    pub marks: Vec<Mark>,
    /// What the line means, where marks stand beside it.
    pub line_is: Option<&'static str>,
}

/// A trial of a study.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mark {
    pub x: f64,
    pub y: f64,
    pub kind: MarkKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MarkKind {
    Infeasible,
    Feasible,
    Front,
    Best,
}

impl MarkKind {
    pub const ALL: [Self; 4] = [Self::Infeasible, Self::Feasible, Self::Front, Self::Best];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Infeasible => "breaks a constraint",
            Self::Feasible => "feasible",
            Self::Front => "on the front",
            Self::Best => "best",
        }
    }
}

impl Plot {
    /// Kinds of marks that it has.
    pub fn kinds(&self) -> impl DoubleEndedIterator<Item = MarkKind> {
        MarkKind::ALL.into_iter().filter(|kind| self.marks.iter().any(|mark| mark.kind == *kind))
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    pub ticks: Vec<(f64, String)>,
    pub label: String,
}

/// A limit while the step it belongs to measured.
#[derive(Debug, Clone, PartialEq)]
pub struct LimitLine {
    pub from: f64,
    pub to: f64,
    pub at: f64,
    pub passed: bool,
}

/// Limits of one attempt of a step, and when it measured: seconds.
struct Span {
    from: f64,
    to: f64,
    min: Option<f64>,
    max: Option<f64>,
    passed: bool,
}

/// `None`: there is no good number to draw, or they lie too far apart.
pub fn plot(report: &Report, series: &Series) -> Option<Plot> {
    let since = |sample: &Sample| super::words::elapsed(report, sample.at);
    let spans = spans(report, series);
    let good = || series.samples.iter().filter_map(|sample| Some((since(sample), sample.good_number()?)));
    let (left, right) = range(series.samples.iter().map(since))?;
    good().next()?;
    let limits = spans.iter().flat_map(|span| [span.min, span.max]).flatten();
    let (low, high) = range(good().map(|(_, value)| value).chain(limits))?;
    let scale = time_scale(right.abs().max(left.abs()));
    let x = Scale::new(left, right, 0.015)?;
    let y = Scale::new(low, high, 0.06)?;
    let lines = lines(series, since, &x, &y);
    let points: usize = lines.iter().map(Vec::len).sum();
    Some(Plot {
        dots: points <= DOTS_MAX,
        lines,
        limits: limit_lines(&spans, &x, &y),
        bad: bad(series, since, &x),
        marks: Vec::new(),
        line_is: None,
        x: Axis { ticks: x.ticks(scale.1, 8), label: format!("time since the start / {}", scale.0) },
        y: Axis {
            ticks: y.ticks(1.0, 6),
            label: match super::words::unit(&series.unit) {
                "" => series.metric.clone(),
                unit => format!("{} / {unit}", series.metric),
            },
        },
    })
}

fn spans(report: &Report, series: &Series) -> Vec<Span> {
    let mut measured: BTreeMap<((usize, u32), u32), (f64, f64)> = BTreeMap::new();
    for sample in &series.samples {
        let Some(step) = sample.step else { continue };
        let at = super::words::elapsed(report, sample.at);
        let span = measured.entry((step, sample.point)).or_insert((at, at));
        *span = (span.0.min(at), span.1.max(at));
    }
    let mut spans = Vec::new();
    for (((step, number), point), (from, to)) in measured {
        let attempts = report.steps.get(step).map(|step| step.attempts.as_slice()).unwrap_or_default();
        let meant = attempts.iter().filter(|attempt| attempt.number == number && attempt.point == point);
        let verdicts = meant.flat_map(|attempt| &attempt.verdicts);
        for verdict in verdicts.map(|judged| &judged.verdict).filter(|verdict| verdict.metric == series.metric) {
            let finite = |limit: Option<f64>| limit.filter(|limit| limit.is_finite());
            let (min, max) = (finite(verdict.min), finite(verdict.max));
            if spans.len() < LIMITS_MAX {
                spans.push(Span { from, to, min, max, passed: verdict.passed });
            }
        }
    }
    spans
}

fn limit_lines(spans: &[Span], x: &Scale, y: &Scale) -> Vec<LimitLine> {
    let mut lines = Vec::new();
    for span in spans {
        // A step that took one sample still shows its limits.
        let (from, to) = (x.place(span.from) - 0.012, x.place(span.to) + 0.012);
        for limit in [span.min, span.max].into_iter().flatten() {
            let (from, to) = (from.max(0.0), to.min(1.0));
            lines.push(LimitLine { from, to, at: y.place(limit), passed: span.passed });
        }
    }
    lines
}

/// A line ends where a sample has no good number, and where another step or attempt begins.
fn lines(series: &Series, since: impl Fn(&Sample) -> f64, x: &Scale, y: &Scale) -> Vec<Vec<(f64, f64)>> {
    let mut part = 0_u32;
    let mut last: Option<&Sample> = None;
    let mut points: Vec<(u32, f64, f64)> = Vec::new();
    for sample in &series.samples {
        let value = sample.good_number();
        if value.is_none() || last.is_some_and(|last| last.step != sample.step) {
            part += 1;
        }
        if let Some(value) = value {
            points.push((part, x.place(since(sample)), y.place(value)));
        }
        last = Some(sample);
    }
    let mut lines: Vec<Vec<(f64, f64)>> = Vec::new();
    let mut drawn = None;
    for (part, x, y) in thinned(points) {
        match lines.last_mut() {
            Some(line) if drawn == Some(part) => line.push((x, y)),
            Some(_) | None => lines.push(vec![(x, y)]),
        }
        drawn = Some(part);
    }
    lines
}

/// As many points as can be told apart, with every peak.
fn thinned(points: Vec<(u32, f64, f64)>) -> Vec<(u32, f64, f64)> {
    if points.len() <= COLUMNS * 4 {
        return points;
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 1 times a small number")]
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    let column = |x: f64| ((x.clamp(0.0, 1.0) * COLUMNS as f64) as usize).min(COLUMNS - 1);
    // Clocks may step back, so that a column is come to twice: it still keeps four points.
    let mut kept: Vec<Option<[usize; 4]>> = vec![None; COLUMNS];
    for (index, (_, x, y)) in points.iter().enumerate() {
        let Some(kept) = kept.get_mut(column(*x)) else { continue };
        let height = |index: usize| points.get(index).map_or(0.0, |point| point.2);
        let [first, low, high, _] = kept.unwrap_or([index; 4]);
        let low = if *y < height(low) { index } else { low };
        let high = if *y > height(high) { index } else { high };
        *kept = Some([first, low, high, index]);
    }
    let mut indices: Vec<usize> = kept.into_iter().flatten().flatten().collect();
    indices.sort_unstable();
    indices.dedup();
    indices.into_iter().filter_map(|index| points.get(index).copied()).collect()
}

fn bad(series: &Series, since: impl Fn(&Sample) -> f64, x: &Scale) -> Vec<f64> {
    let mut places: Vec<f64> = series
        .samples
        .iter()
        .filter(|sample| sample.good_number().is_none())
        .map(|sample| (x.place(since(sample)) * BAD_PLACES).round() / BAD_PLACES)
        .collect();
    places.sort_by(f64::total_cmp);
    places.dedup();
    places.truncate(BAD_MAX + 1);
    places
}

/// Marks closer than one of so many cannot be told apart.
const BAD_PLACES: f64 = 400.0;

pub(super) fn range(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.filter(|value| value.is_finite()).fold(None, |range, value| {
        let (low, high) = range.unwrap_or((value, value));
        Some((low.min(value), high.max(value)))
    })
}

/// Name of the unit of a time axis that goes so far, and seconds in it.
fn time_scale(seconds: f64) -> (&'static str, f64) {
    if seconds <= 600.0 {
        ("s", 1.0)
    } else if seconds <= 4.0 * 3600.0 {
        ("min", 60.0)
    } else if seconds <= 4.0 * 86_400.0 {
        ("h", 3600.0)
    } else {
        ("days", 86_400.0)
    }
}

/// From values to places.
pub(super) struct Scale {
    low: f64,
    high: f64,
}

impl Scale {
    /// `margin` is the part of the range that stays free at either end.
    pub(super) fn new(low: f64, high: f64, margin: f64) -> Option<Self> {
        let range = high - low;
        // What is all the same is shown in the middle.
        let free = if range > f64::EPSILON * low.abs().max(high.abs()) {
            range * margin
        } else {
            (low.abs() * 0.05).max(if low == 0.0 { 1.0 } else { 0.0 })
        };
        let (low, high) = (low - free, high + free);
        ((high - low).is_finite() && high > low).then_some(Self { low, high })
    }

    pub(super) fn place(&self, value: f64) -> f64 {
        ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }

    /// Round numbers of a unit of which one is `unit` values, `most` of them at most.
    pub(super) fn ticks(&self, unit: f64, most: u32) -> Vec<(f64, String)> {
        let (low, high) = (self.low / unit, self.high / unit);
        let rough = (high - low) / f64::from(most);
        let power = 10_f64.powf(rough.log10().floor());
        let Some(step) = [1.0, 2.0, 5.0, 10.0].map(|step| step * power).into_iter().find(|step| *step >= rough) else {
            return Vec::new();
        };
        let mut ticks = Vec::new();
        let mut tick = (low / step).ceil();
        while tick * step <= high && ticks.len() <= most as usize {
            let value = tick * step;
            ticks.push((self.place(value * unit), super::words::number(value)));
            tick += 1.0;
        }
        ticks
    }

    /// For a range of logarithms to base ten: powers of ten, and what is between them where they are few.
    pub(super) fn ticks_of_powers(&self) -> Vec<(f64, String)> {
        let decades = self.high - self.low;
        let between: &[f64] = match decades {
            decades if decades <= 1.0 => &[1.0, 2.0, 3.0, 5.0, 7.0],
            decades if decades <= 3.0 => &[1.0, 2.0, 5.0],
            _ => &[1.0],
        };
        let apart = (decades / 10.0).ceil().max(1.0);
        let mut ticks = Vec::new();
        let mut power = (self.low / apart).floor() * apart;
        while power <= self.high {
            for value in between.iter().map(|factor| factor * 10_f64.powf(power)) {
                if (self.low..=self.high).contains(&value.log10()) {
                    ticks.push((self.place(value.log10()), super::words::number(value)));
                }
            }
            power += apart;
        }
        ticks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_numbers_within_the_range() {
        for (low, high, unit, expected) in [
            (0.0, 10.0, 1.0, "0 2 4 6 8 10"),
            (3.18, 3.42, 1.0, "3.2 3.25 3.3 3.35 3.4"),
            (0.0, 3600.0, 60.0, "0 10 20 30 40 50 60"),
            (-1.0, 1.0, 1.0, "-1 -0.5 0 0.5 1"),
        ] {
            let ticks = Scale { low, high }.ticks(unit, 6);
            let labels: Vec<String> = ticks.iter().map(|(_, label)| label.clone()).collect();
            assert_eq!(labels.join(" "), expected);
            assert!(ticks.iter().all(|(place, _)| (0.0..=1.0).contains(place)), "{ticks:?}");
        }
    }

    #[test]
    fn ticks_of_powers_are_those_within_the_range() {
        for (low, high, expected) in [
            (1.0, 5.0, "10 100 1000 10000 100000"),
            (0.9, 2.1, "10 20 50 100"),
            (2.0, 2.5, "100 200 300"),
            (-2.0, 0.0, "0.01 0.02 0.05 0.1 0.2 0.5 1"),
        ] {
            let ticks = Scale { low, high }.ticks_of_powers();
            let labels: Vec<String> = ticks.iter().map(|(_, label)| label.clone()).collect();
            assert_eq!(labels.join(" "), expected);
        }
        assert!(Scale { low: -300.0, high: 300.0 }.ticks_of_powers().len() <= 12);
    }

    #[test]
    fn a_range_that_is_no_number_has_no_scale() {
        assert!(Scale::new(-f64::MAX, f64::MAX, 0.1).is_none());
        for (low, high) in [(0.0, 0.0), (5.0, 5.0), (-5.0, -5.0), (1e-300, 1e-300), (1e300, 1e300)] {
            let Some(scale) = Scale::new(low, high, 0.1) else { panic!("{low}: no scale") };
            assert!((scale.place(low) - 0.5).abs() < 1e-6, "{low}");
        }
    }

    #[test]
    fn thinning_keeps_every_peak() {
        let mut points: Vec<(u32, f64, f64)> = (0..100_000_u32).map(|i| (0, f64::from(i) / 1e5, 0.5)).collect();
        points[54_321].2 = 1.0;
        points[12_345].2 = 0.0;
        let kept = thinned(points);
        assert!(kept.len() <= COLUMNS * 4);
        assert!(kept.iter().any(|point| point.2 == 1.0) && kept.iter().any(|point| point.2 == 0.0));
        assert!(kept.is_sorted_by(|a, b| a.1 <= b.1));
    }
}
