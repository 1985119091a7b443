//! What a trial's metrics are worth: objectives, and constraints that they break. Knows no strategy.

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Constraint, Direction, Operator, Outcome, Study, Trial};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judgement {
    /// By name, those whose metric is there.
    pub objectives: Vec<(String, f64)>,
    /// Whether nothing is missing and every constraint holds.
    pub feasible: bool,
    pub violations: Vec<Violation>,
    /// Metrics that objectives or constraints ask for and that have no good value.
    pub missing: Vec<String>,
}

/// A constraint that does not hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Violation {
    pub constraint: String,
    pub value: f64,
    pub limit: f64,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = if self.value > self.limit { "above" } else { "below" };
        write!(f, "{} is {}, {side} {}", self.constraint, self.value, self.limit)
    }
}

impl Violation {
    /// How far outside, in parts of the limit, so that volts and pascals can be added.
    fn amount(&self) -> f64 {
        let size = if self.limit == 0.0 { 1.0 } else { self.limit.abs() };
        // Capped, so that the sum of several stays a number.
        ((self.value - self.limit).abs() / size).min(1e100)
    }
}

impl Constraint {
    /// Least and most, whichever way they are written.
    pub(crate) fn limits(&self) -> (Option<f64>, Option<f64>) {
        match (self.operator, self.value) {
            (Some(Operator::AtMost), Some(value)) => (self.min, Some(value)),
            (Some(Operator::AtLeast), Some(value)) => (Some(value), self.max),
            (Some(Operator::AtMost | Operator::AtLeast) | None, None) | (None, Some(_)) => (self.min, self.max),
        }
    }
}

impl Study {
    /// Judges the metrics of a trial that has ended well. Of several values of one name the last counts; one that is not finite is
    /// none.
    pub fn judge(&self, metrics: &[(String, f64)]) -> Judgement {
        let find = |name: &str| {
            metrics
                .iter()
                .rev()
                .find(|(known, _)| known == name)
                .map(|(_, value)| *value)
                .filter(|value| value.is_finite())
        };
        let mut judgement =
            Judgement { objectives: Vec::new(), feasible: false, violations: Vec::new(), missing: Vec::new() };
        let missing = |metric: &str, missing: &mut Vec<String>| {
            if !missing.iter().any(|known| known == metric) {
                missing.push(metric.to_owned());
            }
        };
        for (name, objective) in &self.objectives {
            let metric = objective.metric.as_deref().unwrap_or(name);
            match find(metric) {
                Some(value) => judgement.objectives.push((name.clone(), value)),
                None => missing(metric, &mut judgement.missing),
            }
        }
        for (name, constraint) in &self.constraints {
            let metric = constraint.metric.as_deref().unwrap_or(name);
            let Some(value) = find(metric) else {
                missing(metric, &mut judgement.missing);
                continue;
            };
            let (min, max) = constraint.limits();
            let broken = min.filter(|min| value < *min).or(max.filter(|max| value > *max));
            let violation = broken.map(|limit| Violation { constraint: name.clone(), value, limit });
            judgement.violations.extend(violation);
        }
        judgement.feasible = judgement.missing.is_empty() && judgement.violations.is_empty();
        judgement
    }

    /// Where a trial that has ended stands among others.
    pub(super) fn standing(&self, trial: &Trial) -> Standing {
        let Some(Outcome::Judged(judgement)) = &trial.outcome else { return Standing::Failed };
        if !judgement.missing.is_empty() {
            return Standing::Failed;
        }
        if !judgement.violations.is_empty() || !judgement.feasible {
            return Standing::Infeasible(judgement.violations.iter().map(Violation::amount).sum());
        }
        // By name, as the study's own; a judgement that was made for other objectives says nothing here.
        let costs: Option<Vec<f64>> = self
            .objectives
            .iter()
            .map(|(name, objective)| {
                let (_, value) = judgement.objectives.iter().find(|(known, _)| known == name)?;
                value.is_finite().then_some(match objective.direction {
                    Direction::Minimize => *value,
                    Direction::Maximize => -*value,
                })
            })
            .collect();
        costs.map_or(Standing::Failed, Standing::Feasible)
    }

    /// One number for all objectives, smaller being better.
    pub(super) fn cost(&self, costs: &[f64]) -> f64 {
        if let [only] = costs {
            return *only;
        }
        let weights = self.objectives.values().map(|objective| objective.weight.unwrap_or(1.0));
        costs.iter().zip(weights).map(|(cost, weight)| cost * weight).sum()
    }
}

/// Feasible trials stand before infeasible ones, and those before failed ones.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Standing {
    /// Objectives by name, each such that smaller is better.
    Feasible(Vec<f64>),
    /// How far outside the constraints.
    Infeasible(f64),
    Failed,
}

impl Standing {
    /// Orders by one number: which of two trials is better.
    pub(super) fn order(&self, other: &Self, study: &Study) -> Ordering {
        match (self, other) {
            (Self::Feasible(one), Self::Feasible(other)) => study.cost(one).total_cmp(&study.cost(other)),
            (Self::Infeasible(one), Self::Infeasible(other)) => one.total_cmp(other),
            (Self::Failed, Self::Failed) => Ordering::Equal,
            (Self::Feasible(_), Self::Infeasible(_) | Self::Failed) | (Self::Infeasible(_), Self::Failed) => {
                Ordering::Less
            }
            (Self::Infeasible(_) | Self::Failed, Self::Feasible(_)) | (Self::Failed, Self::Infeasible(_)) => {
                Ordering::Greater
            }
        }
    }
}
