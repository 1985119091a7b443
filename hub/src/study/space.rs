//! The variables as a cube: each value is a place from 0 to 1 along its variable, and each place is a value that the variable may
//! have. Strategies move in the cube; bounds and steps hold here alone.

use rigwire_shared::value::{Fields, Value};

use super::{Study, Variable, VariableKind};
use crate::scale::{self, Scale};

pub(super) struct Space {
    dimensions: Vec<Dimension>,
}

pub(super) struct Dimension {
    name: String,
    domain: Domain,
    /// Values in a grid.
    grid: Vec<Value>,
}

enum Domain {
    Continuous {
        min: f64,
        max: f64,
        scale: Scale,
    },
    Steps {
        min: f64,
        max: f64,
        step: f64,
        count: u64,
        whole: bool,
    },
    /// Whole numbers by equal factors.
    WholeLog {
        min: f64,
        max: f64,
    },
    Choice(Vec<Value>),
}

/// What a grid divides a variable into where nothing says it. A study that is checked says it.
const POINTS: usize = 2;

/// More grid values than this of one variable are a mistake in any case.
const GRID_MAX: u64 = 1_000_000;

impl Space {
    pub(super) fn new(study: &Study) -> Self {
        let dimensions = study
            .variables
            .iter()
            .map(|(name, variable)| {
                let domain = Domain::new(variable);
                let grid = match study.strategy.name {
                    super::StrategyName::Grid => domain.grid(variable, study.strategy.points),
                    super::StrategyName::Random
                    | super::StrategyName::LatinHypercube
                    | super::StrategyName::NelderMead
                    | super::StrategyName::Nsga2 => Vec::new(),
                };
                Dimension { name: name.clone(), domain, grid }
            })
            .collect();
        Self { dimensions }
    }

    pub(super) fn dimensions(&self) -> &[Dimension] {
        &self.dimensions
    }

    /// The values at a place.
    pub(super) fn values(&self, place: &[f64]) -> Fields {
        self.dimensions
            .iter()
            .zip(place)
            .map(|(dimension, part)| (dimension.name.clone(), dimension.domain.value(*part)))
            .collect()
    }

    /// Where values are. A value that its variable cannot have is taken for the middle.
    pub(super) fn place(&self, values: &Fields) -> Vec<f64> {
        self.dimensions
            .iter()
            .map(|dimension| {
                let value = values.iter().find(|(name, _)| *name == dimension.name);
                value.and_then(|(_, value)| dimension.domain.part(value)).unwrap_or(0.5)
            })
            .collect()
    }

    /// The same for two places with the same values.
    pub(super) fn key(&self, place: &[f64]) -> Vec<u64> {
        self.dimensions.iter().zip(place).map(|(dimension, part)| dimension.domain.key(*part)).collect()
    }

    /// Points of the grid; the largest number there is, when there are more.
    pub(super) fn grid_len(&self) -> usize {
        self.dimensions.iter().map(|dimension| dimension.grid.len()).fold(1, usize::saturating_mul)
    }

    /// Point `index` of the grid, the last variable fastest.
    pub(super) fn grid_point(&self, index: usize) -> Option<Fields> {
        let mut rest = index;
        let mut point = Fields::with_capacity(self.dimensions.len());
        for dimension in self.dimensions.iter().rev() {
            let value = dimension.grid.get(rest.checked_rem(dimension.grid.len())?)?;
            point.push((dimension.name.clone(), value.clone()));
            rest /= dimension.grid.len();
        }
        point.reverse();
        (rest == 0).then_some(point)
    }
}

impl Dimension {
    /// Whether there is only one value to choose.
    pub(super) fn is_fixed(&self) -> bool {
        self.domain.is_fixed()
    }

    /// Whether values have no order, so that there is nothing between two of them.
    pub(super) const fn is_choice(&self) -> bool {
        matches!(self.domain, Domain::Choice(_))
    }
}

impl Domain {
    fn new(variable: &Variable) -> Self {
        let (min, max) = (variable.min.unwrap_or(0.0), variable.max.unwrap_or(0.0));
        let steps = |step: f64, whole: bool| {
            let count = scale::steps(min, max, step).unwrap_or(1);
            Self::Steps { min, max, step, count, whole }
        };
        match (variable.kind, variable.scale, variable.step) {
            (VariableKind::Choice, _, _) => Self::Choice(variable.values.clone()),
            (VariableKind::Float, Scale::Linear, Some(step)) => steps(step, false),
            (VariableKind::Int, Scale::Linear, step) => steps(step.unwrap_or(1.0), true),
            (VariableKind::Int, Scale::Log, _) => Self::WholeLog { min, max },
            (VariableKind::Float, scale, _) => Self::Continuous { min, max, scale },
        }
    }

    fn is_fixed(&self) -> bool {
        match self {
            Self::Continuous { min, max, .. } | Self::WholeLog { min, max } => min == max,
            Self::Steps { count, .. } => *count <= 1,
            Self::Choice(values) => values.len() <= 1,
        }
    }

    fn value(&self, part: f64) -> Value {
        match self {
            Self::Continuous { min, max, scale } => Value::Float(scale.at(*min, *max, part)),
            Self::Steps { min, max, step, count, whole } => {
                let number = scale::stepped(*min, *max, *step, level(part, *count));
                if *whole { integer(number) } else { Value::Float(number) }
            }
            Self::WholeLog { min, max } => integer(whole_log(*min, *max, part)),
            Self::Choice(values) => {
                let at = usize::try_from(level(part, values.len() as u64)).unwrap_or(0);
                values.get(at).cloned().unwrap_or(Value::Null)
            }
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a level is no more than 2^53")]
    fn part(&self, value: &Value) -> Option<f64> {
        let middle = |level: f64, count: u64| ((level + 0.5) / count.max(1) as f64).clamp(0.0, 1.0);
        match self {
            Self::Continuous { min, max, scale } => Some(scale.part(*min, *max, value.as_f64()?)),
            Self::Steps { min, step, count, .. } => {
                Some(middle(((value.as_f64()? - min) / step).round().max(0.0), *count))
            }
            Self::WholeLog { min, max } => Some(Scale::Log.part(min - 0.5, max + 0.5, value.as_f64()?)),
            Self::Choice(values) => {
                let at = values.iter().position(|known| known == value)?;
                Some(middle(scale::whole(at), values.len() as u64))
            }
        }
    }

    fn key(&self, part: f64) -> u64 {
        match self {
            Self::Continuous { min, max, scale } => scale.at(*min, *max, part).to_bits(),
            Self::Steps { count, .. } => level(part, *count),
            Self::WholeLog { min, max } => whole_log(*min, *max, part).to_bits(),
            Self::Choice(values) => level(part, values.len() as u64),
        }
    }

    /// The values of a grid. `points` divides what has no step of its own.
    fn grid(&self, variable: &Variable, points: Option<usize>) -> Vec<Value> {
        let all = |count: u64| {
            (0..count.min(GRID_MAX)).filter_map(|index| {
                let number = match self {
                    Self::Steps { min, max, step, .. } => scale::stepped(*min, *max, *step, index),
                    Self::Continuous { .. } | Self::WholeLog { .. } | Self::Choice(_) => return None,
                };
                Some(if variable.kind == VariableKind::Int { integer(number) } else { Value::Float(number) })
            })
        };
        match self {
            Self::Choice(values) => values.clone(),
            Self::Steps { count, .. } if variable.step.is_some() || points.is_none() => all(*count).collect(),
            Self::Continuous { min, max, .. } | Self::Steps { min, max, .. } | Self::WholeLog { min, max } => {
                let points = if min == max { 1 } else { points.unwrap_or(POINTS) };
                let numbers = (0..points).map(|index| variable.scale.spaced(*min, *max, points, index));
                let mut values: Vec<Value> = numbers
                    .map(
                        |number| {
                            if variable.kind == VariableKind::Int { integer(number) } else { Value::Float(number) }
                        },
                    )
                    .collect();
                // Several places may round to one whole number.
                values.dedup();
                values
            }
        }
    }
}

/// Which of `count` equal pieces a place lies in.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a level is no more than 2^53, and casts of floats saturate"
)]
fn level(part: f64, count: u64) -> u64 {
    ((part * count as f64) as u64).min(count.saturating_sub(1))
}

/// Every whole number has the piece around it, the two at the ends too.
fn whole_log(min: f64, max: f64, part: f64) -> f64 {
    Scale::Log.at(min - 0.5, max + 0.5, part).round().clamp(min, max)
}

fn integer(number: f64) -> Value {
    #[expect(clippy::cast_possible_truncation, reason = "between limits below 2^53, and casts of floats saturate")]
    let whole = number.round() as i64;
    Value::Int(whole)
}
