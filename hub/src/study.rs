//! An optimisation study: what may vary, what is sought, and which trial is next. All answers follow from the study and its
//! history alone, so that a restart asks the same questions again. Knows no run and no device.

use std::collections::BTreeMap;

use rigwire_shared::value::{Fields, Value};
use serde::{Deserialize, Serialize};

use crate::scale::Scale;

mod check;
mod front;
mod judge;
mod nelder_mead;
mod nsga;
mod random;
mod sample;
mod space;
#[cfg(test)]
mod tests;

pub use judge::{Judgement, Violation};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Study {
    pub variables: BTreeMap<String, Variable>,
    pub objectives: BTreeMap<String, Objective>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub constraints: BTreeMap<String, Constraint>,
    pub strategy: Strategy,
}

/// What a trial may choose.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variable {
    #[serde(rename = "type")]
    pub kind: VariableKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// Only `min`, `min + step`, … are tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<f64>,
    #[serde(default, skip_serializing_if = "Scale::is_linear")]
    pub scale: Scale,
    /// What a `choice` may be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VariableKind {
    Float,
    Int,
    Choice,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Objective {
    /// Left out: a metric of the objective's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<String>,
    pub direction: Direction,
    /// Makes one number of several objectives, for strategies that follow one and for which trial is best.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    Minimize,
    Maximize,
}

/// Limits of a metric, both included: as `min` and `max`, or as `operator` and `value`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Constraint {
    /// Left out: a metric of the constraint's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<Operator>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operator {
    #[serde(rename = "<=")]
    AtMost,
    #[serde(rename = ">=")]
    AtLeast,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Strategy {
    pub name: StrategyName,
    /// Trials in all. May be left out of a grid, which then has all of its points.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<usize>,
    #[serde(default)]
    pub seed: u64,
    /// Trials at once.
    #[serde(default = "one")]
    pub parallelism: usize,
    /// Trials of one generation, for `nsga-2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub population: Option<usize>,
    /// Values of each variable without a step, for `grid`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub points: Option<usize>,
    /// Part of the variables' ranges below which `nelder-mead` takes its simplex for collapsed, and starts another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerance: Option<f64>,
}

fn one() -> usize {
    1
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum StrategyName {
    #[serde(rename = "grid")]
    Grid,
    #[serde(rename = "random")]
    Random,
    #[serde(rename = "latin-hypercube")]
    LatinHypercube,
    #[serde(rename = "nelder-mead")]
    NelderMead,
    #[serde(rename = "nsga-2")]
    Nsga2,
}

/// One trial that was asked for. Its place in the history is its number.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial {
    pub parameters: Fields,
    /// `None` while it is outstanding.
    pub outcome: Option<Outcome>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    Judged(Judgement),
    /// The run failed or was cancelled: there is nothing to judge.
    Failed,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq)]
pub enum Ask {
    Try(Fields),
    /// Results of outstanding trials are needed first.
    Wait,
    /// There is nothing more to try, for this reason.
    Done(String),
}

impl Study {
    /// What is wrong, as (key, message).
    pub fn mistakes(&self) -> Vec<(String, String)> {
        check::mistakes(self)
    }

    /// The next trial. `trials` are all that were asked for before, in that order, whether or not they have ended.
    pub fn ask(&self, trials: &[Trial]) -> Ask {
        let outstanding = trials.iter().filter(|trial| trial.outcome.is_none()).count();
        let budget = self.budget();
        let next = if trials.len() >= budget {
            Ask::Done(format!("the budget of {budget} trials is used"))
        } else if outstanding >= self.strategy.parallelism.max(1) {
            Ask::Wait
        } else {
            let space = space::Space::new(self);
            match self.strategy.name {
                StrategyName::Grid => sample::grid(&space, trials.len()),
                StrategyName::Random => sample::random(self, &space, trials.len()),
                StrategyName::LatinHypercube => sample::latin_hypercube(self, &space, budget, trials.len()),
                StrategyName::NelderMead => nelder_mead::ask(self, &space, trials),
                StrategyName::Nsga2 => nsga::ask(self, &space, trials),
            }
        };
        match next {
            Ask::Done(_) if outstanding > 0 => Ask::Wait,
            next @ (Ask::Try(_) | Ask::Wait | Ask::Done(_)) => next,
        }
    }

    /// Trials in all.
    pub fn budget(&self) -> usize {
        match (self.strategy.budget, self.strategy.name) {
            (Some(budget), _) => budget,
            (None, StrategyName::Grid) => space::Space::new(self).grid_len(),
            (
                None,
                StrategyName::Random | StrategyName::LatinHypercube | StrategyName::NelderMead | StrategyName::Nsga2,
            ) => 0,
        }
    }

    /// Trials of one generation: where nothing says it, about as many as there are generations.
    pub fn population(&self) -> usize {
        self.strategy.population.unwrap_or_else(|| self.budget().isqrt().clamp(8, 100)).max(2)
    }

    /// Places of the feasible trials that no other feasible trial beats in one objective without being worse in another. Of
    /// trials with the same parameters and the same objectives, the first.
    pub fn front(&self, trials: &[Trial]) -> Vec<usize> {
        front::front(self, trials)
    }

    /// The front after one more trial has ended, from the front before: as the history grows, this stays cheap.
    pub fn front_with(&self, trials: &[Trial], front: &[usize], place: usize, ended: &Trial) -> Vec<usize> {
        front::front_with(self, trials, front, place, ended)
    }

    /// Place of the best feasible trial, the first of several: by the only objective, or by the weighted sum where every
    /// objective has a weight. `None` while there is none, and where the front alone is the answer.
    pub fn best(&self, trials: &[Trial]) -> Option<usize> {
        front::best(self, trials)
    }

    /// Whether the objectives make one number.
    fn is_scalar(&self) -> bool {
        self.objectives.len() == 1 || self.objectives.values().all(|objective| objective.weight.is_some())
    }
}
