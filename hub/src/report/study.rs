//! A study as a section of a report: what was varied and sought, what each iteration gave, the best and the front. Knows no ink.

use std::collections::HashMap;

use rigwire_shared::value::{Fields, Value};

use super::graph::{self, Trial};
use super::plot::MarkKind;
use super::section::{Block, Piece, Row, Section, Table, Tone};
use super::{Report, suite, words};
use crate::event::Iteration;
use crate::run::{Parts, StudyView};
use crate::study::{Direction, VariableKind};

/// Iterations that a document shows. The study's own table has them all.
const SHOWN_MAX: usize = 500;

/// Columns of a table that still can be read on a page; more share two columns.
const COLUMNS_MAX: usize = 6;

/// What is sought, as it is drawn.
pub(super) struct Objective {
    pub(super) name: String,
    pub(super) metric: String,
    pub(super) direction: Direction,
}

impl Objective {
    /// Such as `noise, to be minimized`.
    pub(super) fn label(&self) -> String {
        let direction = match self.direction {
            Direction::Minimize => "less is better",
            Direction::Maximize => "more is better",
        };
        format!("{} ({direction})", self.name)
    }
}

pub(super) fn of(report: &Report) -> Option<&StudyView> {
    match &report.run.parts {
        Some(Parts::Study(study)) => Some(study),
        Some(Parts::Sweep(_) | Parts::Suite(_)) | None => None,
    }
}

pub(super) fn number_of(fields: &Fields, name: &str) -> Option<f64> {
    let value = fields.iter().find(|(known, _)| known == name).map(|(_, value)| value)?;
    value.as_f64().filter(|number| number.is_finite())
}

fn objectives(view: &StudyView) -> Vec<Objective> {
    let objectives = view.study.objectives.iter().map(|(name, objective)| Objective {
        name: name.clone(),
        metric: objective.metric.clone().unwrap_or_else(|| name.clone()),
        direction: objective.direction,
    });
    objectives.collect()
}

/// Iterations that ended.
pub(super) fn results(view: &StudyView) -> impl Iterator<Item = &Iteration> {
    view.iterations.iter().filter_map(|iteration| iteration.result.as_ref())
}

/// `best`, `on the front`, `feasible`, `breaks a constraint` or `failed`.
pub(super) fn verdict(view: &StudyView, iteration: &Iteration) -> (&'static str, Tone) {
    if view.best == Some(iteration.iteration) {
        ("best", Tone::Good)
    } else if view.front.contains(&iteration.iteration) {
        ("on the front", Tone::Good)
    } else if iteration.error.is_some() {
        ("failed", Tone::Bad)
    } else if iteration.feasible {
        ("feasible", Tone::Neutral)
    } else {
        ("breaks a constraint", Tone::Warning)
    }
}

pub(super) fn section(report: &Report) -> Option<Section> {
    let view = of(report)?;
    let objectives = objectives(view);
    let mut blocks = vec![Block::Facts(facts(view)), Block::Table(sought(view))];
    let trials = trials(view, &objectives);
    blocks.extend(figure(&objectives, &trials));
    let marked =
        |iteration: &&Iteration| view.best == Some(iteration.iteration) || view.front.contains(&iteration.iteration);
    let chosen: Vec<&Iteration> = results(view).filter(marked).collect();
    let count = results(view).count();
    // Of few iterations the table below shows at once which they are.
    if !chosen.is_empty() && count > 10 {
        blocks.push(Block::Title(if chosen.len() == 1 { "The best iteration" } else { "The best iterations" }));
        blocks.push(Block::Table(table(report, view, chosen.iter().take(SHOWN_MAX).copied())));
    }
    if count > 0 {
        blocks.push(Block::Title("All iterations"));
        blocks.push(Block::Table(table(report, view, results(view).take(SHOWN_MAX))));
        let hidden = u64::try_from(count.saturating_sub(SHOWN_MAX)).unwrap_or(u64::MAX);
        blocks.extend(words::left_out(hidden, "iterations", SHOWN_MAX).map(Block::Note));
        if report.finished.is_some() {
            blocks.push(Block::Note("iterations.csv holds them all with all of their metrics.".to_owned()));
        }
    }
    Some(Section { title: "Study", blocks })
}

fn facts(view: &StudyView) -> Vec<(&'static str, String)> {
    let strategy = &view.study.strategy;
    let (done, feasible) = (results(view).count(), results(view).filter(|done| done.feasible).count());
    let mut facts = vec![
        ("Strategy", format!("{}, seed {}", strategy.name.as_str(), strategy.seed)),
        ("Budget", format!("{} iterations, {} at a time", view.budget, strategy.parallelism)),
        ("Done", format!("{done} iterations, {feasible} feasible")),
    ];
    facts.extend(view.best.map(|best| ("Best", format!("iteration {best}"))));
    if view.study.objectives.len() > 1 {
        let front: Vec<String> = view.front.iter().take(50).map(u64::to_string).collect();
        let more = view.front.len() - front.len();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let front = if front.is_empty() { "empty".to_owned() } else { front.join(", ") };
        facts.push(("Front", format!("{front}{more}")));
    }
    if view.driven_from_outside {
        facts.push(("Driven", "from outside, by ask and tell".to_owned()));
    }
    facts
}

/// Variables, objectives and constraints.
fn sought(view: &StudyView) -> Table {
    let mut table = Table::new(["Name", "Part", "Metric", "Range or direction"]);
    let mut row = |name: &str, part: &str, metric: &str, text: String| {
        table.row(vec![
            vec![Piece::strong(name)],
            vec![Piece::plain(part)],
            vec![Piece::plain(metric)],
            vec![Piece::plain(text)],
        ]);
    };
    for (name, variable) in &view.study.variables {
        let unit = words::unit_text(variable.unit.as_deref().unwrap_or_default());
        let unit = if unit.is_empty() { String::new() } else { format!(" {unit}") };
        let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), words::number);
        let mut text = match variable.kind {
            VariableKind::Choice => {
                let values: Vec<String> = variable.values.iter().map(words::value).collect();
                format!("one of {}{unit}", values.join(", "))
            }
            VariableKind::Float | VariableKind::Int => {
                format!("{} to {}{unit}", number(variable.min), number(variable.max))
            }
        };
        if let Some(step) = variable.step {
            text.push_str(&format!(" in steps of {}", words::number(step)));
        }
        if !variable.scale.is_linear() {
            text.push_str(", by equal factors");
        }
        row(name, "variable", "-", text);
    }
    for (name, objective) in &view.study.objectives {
        let mut text = match objective.direction {
            Direction::Minimize => "as little as possible".to_owned(),
            Direction::Maximize => "as much as possible".to_owned(),
        };
        if let Some(weight) = objective.weight {
            text.push_str(&format!(", weight {}", words::number(weight)));
        }
        row(name, "objective", objective.metric.as_deref().unwrap_or(name), text);
    }
    for (name, constraint) in &view.study.constraints {
        let text = words::range(constraint.limits());
        row(name, "constraint", constraint.metric.as_deref().unwrap_or(name), text);
    }
    table
}

fn trials(view: &StudyView, objectives: &[Objective]) -> Vec<Trial> {
    let trial = |iteration: &Iteration| {
        let values: Option<Vec<f64>> =
            objectives.iter().map(|objective| number_of(&iteration.metrics, &objective.metric)).collect();
        let kind = if view.best == Some(iteration.iteration) {
            MarkKind::Best
        } else if view.front.contains(&iteration.iteration) {
            MarkKind::Front
        } else if iteration.feasible {
            MarkKind::Feasible
        } else {
            MarkKind::Infeasible
        };
        Some(Trial { iteration: iteration.iteration, objectives: values?, kind })
    };
    results(view).filter_map(trial).collect()
}

fn figure(objectives: &[Objective], trials: &[Trial]) -> Option<Block> {
    let (name, plot) = match objectives {
        [one] => (format!("{} over the iterations", one.name), graph::convergence(one, trials)),
        [first, second] => (format!("{} against {}", second.name, first.name), graph::front(objectives, trials)),
        _ => return None,
    };
    let about = match trials.len() {
        0 => "No iteration gave a result that could be drawn.".to_owned(),
        1 => "1 iteration with a result".to_owned(),
        count => format!("{count} iterations with a result"),
    };
    Some(Block::Figure { name, about, plot: plot.map(Box::new) })
}

/// Metrics that objectives and constraints ask for, each once, with what it is called.
fn asked(view: &StudyView) -> Vec<(String, String)> {
    let objectives = view.study.objectives.iter().map(|(name, objective)| (name, objective.metric.as_ref()));
    let constraints = view.study.constraints.iter().map(|(name, constraint)| (name, constraint.metric.as_ref()));
    let mut asked: Vec<(String, String)> = Vec::new();
    for (name, metric) in objectives.chain(constraints) {
        let metric = metric.unwrap_or(name);
        if !asked.iter().any(|(_, known)| known == metric) {
            asked.push((name.clone(), metric.clone()));
        }
    }
    asked
}

fn table<'a>(report: &Report, view: &StudyView, iterations: impl Iterator<Item = &'a Iteration>) -> Table {
    let variables: Vec<(&String, &str)> = view
        .study
        .variables
        .iter()
        .map(|(name, variable)| (name, variable.unit.as_deref().unwrap_or_default()))
        .collect();
    let asked = asked(view);
    let apart = variables.len() + asked.len() <= COLUMNS_MAX;
    let mut table = Table::new(["Iteration"]);
    if !view.driven_from_outside {
        table.titles.push("Run".to_owned());
    }
    if apart {
        table.titles.extend(variables.iter().map(|(name, unit)| words::heading(name, unit)));
        table.titles.extend(asked.iter().map(|(name, _)| name.clone()));
    } else {
        table.titles.extend(["Parameters", "Metrics"].map(str::to_owned));
    }
    table.titles.push("Result".to_owned());
    for iteration in iterations {
        let mut cells = vec![vec![Piece::strong(iteration.iteration.to_string())]];
        if !view.driven_from_outside {
            cells.push(vec![Piece::plain(suite::number(report, iteration.run).unwrap_or_else(|| "-".to_owned()))]);
        }
        let parameters: HashMap<&str, &Value> =
            iteration.parameters.iter().map(|(name, value)| (name.as_str(), value)).collect();
        let metric = |metric: &str| number_of(&iteration.metrics, metric);
        if apart {
            cells.extend(variables.iter().map(|(name, _)| {
                let value = parameters.get(name.as_str()).map_or_else(|| "-".to_owned(), |value| words::value(value));
                vec![Piece::number(value)]
            }));
            cells.extend(
                asked
                    .iter()
                    .map(|(_, name)| vec![Piece::number(metric(name).map_or_else(|| "-".to_owned(), words::number))]),
            );
        } else {
            let told = asked.iter().filter_map(|(name, of)| Some((name.clone(), Value::Float(metric(of)?))));
            cells.push(vec![Piece::plain(words::fields(&iteration.parameters))]);
            cells.push(vec![Piece::plain(words::fields(&told.collect()))]);
        }
        let (result, tone) = verdict(view, iteration);
        let mut pieces = vec![Piece::badge(tone, result)];
        // The best of several objectives need not be on the front, where they have weights.
        if result == "best" && view.study.objectives.len() > 1 && view.front.contains(&iteration.iteration) {
            pieces.push(Piece::badge(Tone::Good, "on the front"));
        }
        cells.push(pieces);
        let remarks = iteration.error.iter().map(|error| words::clipped(error)).collect();
        table.rows.push(Row { cells, remarks });
    }
    table
}
