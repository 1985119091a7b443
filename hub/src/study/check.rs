//! What the types of a study cannot say: ranges that hold something, budgets that can be used, strategies that fit.

use rigwire_shared::value::Value;

use super::space::Space;
use super::{Constraint, Operator, Strategy, StrategyName, Study, Variable, VariableKind};
use crate::scale::{self, Scale};
use crate::sweep;

/// Trials of one study. Each is a run.
const BUDGET_MAX: usize = 100_000;

const PARALLELISM_MAX: usize = 1000;

/// Beyond these the strategies' sorting takes longer than the answer is worth.
const POPULATION_MAX: usize = 1000;
const OBJECTIVES_MAX: usize = 10;
const VARIABLES_MAX: usize = 100;

/// Whole numbers up to here are exact as floats.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

type Found = Vec<(String, String)>;

pub(super) fn mistakes(study: &Study) -> Found {
    let mut found = Found::new();
    for (key, noun, count, most) in [
        ("variables", "variable", study.variables.len(), VARIABLES_MAX),
        ("objectives", "objective", study.objectives.len(), OBJECTIVES_MAX),
    ] {
        if count == 0 {
            found.push((key.to_owned(), format!("is empty, expected at least one {noun}")));
        }
        if count > most {
            found.push((key.to_owned(), format!("are {count}, expected at most {most}")));
        }
    }
    for (name, variable) in &study.variables {
        let key = format!("variables.{name}");
        if !sweep::is_name(name) {
            let told = "expected 1 to 64 of a-z A-Z 0-9 _ that begin with a letter";
            found.push((key.clone(), format!("{name:?} is not a name, {told}")));
        }
        found.extend(below(&key, check_variable(variable)));
    }
    for (name, objective) in &study.objectives {
        if let Some(weight) = objective.weight.filter(|weight| !(weight.is_finite() && *weight > 0.0)) {
            let message = format!("is {weight}, expected a number above 0");
            found.push((format!("objectives.{name}.weight"), message));
        }
    }
    for (name, constraint) in &study.constraints {
        found.extend(below(&format!("constraints.{name}"), check_constraint(constraint)));
    }
    // A grid over wrong ranges has a wrong size, too.
    let sound = found.is_empty();
    found.extend(below("strategy", check_strategy(study, sound)));
    found
}

fn below<'a>(key: &'a str, found: Vec<(&'static str, String)>) -> impl Iterator<Item = (String, String)> + 'a {
    found.into_iter().map(move |(part, message)| {
        let key = if part.is_empty() { key.to_owned() } else { format!("{key}.{part}") };
        (key, message)
    })
}

fn check_variable(variable: &Variable) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    if variable.kind == VariableKind::Choice {
        let given = [
            ("min", variable.min.is_some()),
            ("max", variable.max.is_some()),
            ("step", variable.step.is_some()),
            ("scale", !variable.scale.is_linear()),
        ];
        for (key, _) in given.iter().filter(|(_, given)| *given) {
            found.push((*key, "belongs to a float or an int, a choice has values".to_owned()));
        }
        if variable.values.is_empty() {
            found.push(("values", "is empty, expected what the choice may be".to_owned()));
        }
        for (index, value) in variable.values.iter().enumerate() {
            let plain = match value {
                Value::Text(_) | Value::Bool(_) | Value::Int(_) => true,
                Value::Float(number) => number.is_finite(),
                Value::Null | Value::List(_) | Value::Map(_) => false,
            };
            if !plain {
                found.push(("values", "expected finite numbers, texts, true or false".to_owned()));
                break;
            }
            if variable.values[..index].contains(value) {
                let value = serde_json::to_string(value).unwrap_or_default();
                found.push(("values", format!("hold {value} twice")));
            }
        }
        return found;
    }
    if !variable.values.is_empty() {
        found.push(("values", "belong to type = \"choice\" only, expected min and max".to_owned()));
    }
    let whole = variable.kind == VariableKind::Int;
    for (key, number) in [("min", variable.min), ("max", variable.max), ("step", variable.step)] {
        match number {
            None if key != "step" => found.push((key, "is missing".to_owned())),
            None => {}
            Some(number) if !number.is_finite() => found.push((key, format!("is {number}, expected a finite number"))),
            Some(number) if whole && (number.fract() != 0.0 || number.abs() > WHOLE_MAX) => {
                found.push((key, format!("is {number}, expected a whole number of at most 2^53")));
            }
            Some(_) => {}
        }
    }
    let (Some(min), Some(max), true) = (variable.min, variable.max, found.is_empty()) else { return found };
    if min > max {
        found.push(("min", format!("{min} is above max {max}")));
    }
    if variable.scale == Scale::Log && min <= 0.0 {
        found.push(("min", format!("is {min}, expected a number above 0 on a log scale")));
    }
    if let Some(step) = variable.step {
        if variable.scale == Scale::Log {
            found.push(("step", "belongs to a linear scale".to_owned()));
        } else if step <= 0.0 {
            found.push(("step", format!("is {step}, expected a number above 0")));
        } else if scale::steps(min, max, step).is_none_or(|steps| steps >= 1 << 53) {
            found.push(("step", format!("{step} makes more values than can be counted")));
        }
    }
    found
}

fn check_constraint(constraint: &Constraint) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    for (key, number) in [("min", constraint.min), ("max", constraint.max), ("value", constraint.value)] {
        if let Some(number) = number.filter(|number| !number.is_finite()) {
            found.push((key, format!("is {number}, expected a finite number")));
        }
    }
    match (constraint.operator, constraint.value) {
        (Some(_), None) => found.push(("value", "is missing beside operator".to_owned())),
        (None, Some(_)) => found.push(("operator", "is missing beside value, expected \"<=\" or \">=\"".to_owned())),
        (Some(operator), Some(_)) => {
            let twice = match operator {
                Operator::AtMost => ("max", constraint.max.is_some()),
                Operator::AtLeast => ("min", constraint.min.is_some()),
            };
            if twice.1 {
                found.push((twice.0, "is said by operator and value already".to_owned()));
            }
        }
        (None, None) => {}
    }
    match constraint.limits() {
        (None, None) if found.is_empty() => found.push(("", "has neither min nor max".to_owned())),
        (Some(min), Some(max)) if min > max => found.push(("", format!("min {min} is above max {max}"))),
        (Some(_) | None, Some(_) | None) => {}
    }
    found
}

fn check_strategy(study: &Study, sound: bool) -> Vec<(&'static str, String)> {
    let strategy = &study.strategy;
    let mut found = Vec::new();
    let name = strategy.name;
    let bounds = [
        ("budget", strategy.budget, 1, BUDGET_MAX),
        ("parallelism", Some(strategy.parallelism), 1, PARALLELISM_MAX),
        ("population", strategy.population, 4, POPULATION_MAX),
        ("points", strategy.points, 2, BUDGET_MAX),
    ];
    for (key, number, least, most) in bounds {
        if let Some(number) = number.filter(|number| !(least..=most).contains(number)) {
            found.push((key, format!("is {number}, expected {least} to {most}")));
        }
    }
    if strategy.budget.is_none() && name != StrategyName::Grid {
        found.push(("budget", format!("is missing, expected how many trials there are, 1 to {BUDGET_MAX}")));
    }
    // TOML and JSON numbers end there, and what is read must be what was written.
    if i64::try_from(strategy.seed).is_err() {
        found.push(("seed", format!("is {}, expected at most {}", strategy.seed, i64::MAX)));
    }
    if let Some(tolerance) = strategy.tolerance.filter(|tolerance| !(*tolerance > 0.0 && *tolerance < 1.0)) {
        found.push(("tolerance", format!("is {tolerance}, expected a number between 0 and 1")));
    }
    for (key, given, owner) in [
        ("population", strategy.population.is_some(), StrategyName::Nsga2),
        ("points", strategy.points.is_some(), StrategyName::Grid),
        ("tolerance", strategy.tolerance.is_some(), StrategyName::NelderMead),
    ] {
        if given && name != owner {
            found.push((key, format!("belongs to {}, and this is {}", owner.as_str(), name.as_str())));
        }
    }
    if sound && found.is_empty() {
        match name {
            StrategyName::Grid => found.extend(check_grid(study, strategy)),
            StrategyName::Nsga2 => found.extend(check_population(study, strategy)),
            StrategyName::NelderMead => {
                if !study.is_scalar() {
                    let count = study.objectives.len();
                    let message = format!(
                        "nelder-mead follows one number, and there are {count} objectives: give each a weight, or use nsga-2"
                    );
                    found.push(("name", message));
                }
                if study.variables.values().any(|variable| variable.kind == VariableKind::Choice) {
                    let message = "nelder-mead moves along numbers, and there is a choice: use nsga-2 or grid";
                    found.push(("name", message.to_owned()));
                }
            }
            StrategyName::Random | StrategyName::LatinHypercube => {}
        }
    }
    found
}

fn check_grid(study: &Study, strategy: &Strategy) -> Option<(&'static str, String)> {
    if strategy.points.is_none()
        && let Some((name, _)) = study.variables.iter().find(|(_, variable)| {
            let divided = variable.step.is_some() || variable.min == variable.max;
            match variable.kind {
                VariableKind::Float => !divided,
                VariableKind::Int => !divided && variable.scale == Scale::Log,
                VariableKind::Choice => false,
            }
        })
    {
        return Some(("points", format!("is missing, expected how many values of {name} a grid tries")));
    }
    let points = Space::new(study).grid_len();
    let most = strategy.budget.unwrap_or(BUDGET_MAX);
    (points > most).then(|| {
        let points = if points == usize::MAX { "too many".to_owned() } else { points.to_string() };
        ("budget", format!("is {most}, and the grid has {points} points"))
    })
}

fn check_population(study: &Study, strategy: &Strategy) -> Option<(&'static str, String)> {
    let (budget, population) = (study.budget(), study.population());
    if strategy.population.is_some() && population > budget {
        return Some(("population", format!("is {population}, and the budget is {budget}")));
    }
    (strategy.parallelism > population).then(|| {
        ("parallelism", format!("is {}, expected at most the population of {population}", strategy.parallelism))
    })
}

impl StrategyName {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Grid => "grid",
            Self::Random => "random",
            Self::LatinHypercube => "latin-hypercube",
            Self::NelderMead => "nelder-mead",
            Self::Nsga2 => "nsga-2",
        }
    }
}
