//! A study as this protocol's clients ask for it, made into a procedure. Pure.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::study::{Direction, StrategyName, Study, VariableKind};

/// A study over a simulation.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct CreateOptimization {
    pub(super) name: String,
    #[serde(default = "parametric_sweep")]
    strategy: String,
    design_variables: Vec<DesignVariable>,
    constraints: Option<Vec<DesignConstraint>>,
    objectives: Vec<DesignObjective>,
    /// Iterations in all.
    #[serde(default = "fifty")]
    max_iterations: usize,
}

fn parametric_sweep() -> String {
    "parametric_sweep".to_owned()
}

fn minimize() -> String {
    "minimize".to_owned()
}

const fn fifty() -> usize {
    50
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(super) struct DesignVariable {
    name: String,
    /// `continuous`, `integer` or `categorical`.
    #[serde(default = "continuous")]
    var_type: String,
    min_value: Option<f64>,
    max_value: Option<f64>,
    step: Option<f64>,
    /// What a categorical variable may be.
    choices: Option<Vec<Value>>,
}

fn continuous() -> String {
    "continuous".to_owned()
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(super) struct DesignConstraint {
    metric: String,
    /// `<=`, `>=`, `==` or `within_percent`.
    operator: String,
    value: f64,
    /// For `within_percent`, and `==` if it need not be exact: percent of the value to both sides.
    #[serde(skip_serializing_if = "Option::is_none")]
    tolerance_pct: Option<f64>,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(super) struct DesignObjective {
    metric: String,
    /// `minimize` or `maximize`.
    #[serde(default = "minimize")]
    direction: String,
    /// Left out of all: the objectives have a Pareto front.
    weight: Option<f64>,
}

/// The protocol's word for a strategy, where it has one.
pub(super) const fn strategy_word(name: StrategyName) -> &'static str {
    match name {
        StrategyName::Grid => "parametric_sweep",
        StrategyName::Nsga2 => "genetic",
        StrategyName::Random | StrategyName::LatinHypercube | StrategyName::NelderMead => name.as_str(),
    }
}

const STRATEGIES: [StrategyName; 5] = [
    StrategyName::Grid,
    StrategyName::Nsga2,
    StrategyName::Random,
    StrategyName::LatinHypercube,
    StrategyName::NelderMead,
];

/// The procedure of a study over a simulation, whose name it has, too.
pub(super) fn procedure(request: &CreateOptimization, simulation: &str) -> Result<Value, String> {
    let wanted = request.strategy.as_str();
    let strategy = STRATEGIES.into_iter().find(|name| strategy_word(*name) == wanted || name.as_str() == wanted);
    let strategy = strategy.ok_or_else(|| {
        let known: Vec<&str> = STRATEGIES.into_iter().map(strategy_word).collect();
        format!("strategy: there is no {wanted:.80}, expected one of {}", known.join(", "))
    })?;
    let mut variables = Map::new();
    for variable in &request.design_variables {
        let name = &variable.name;
        if variables.insert(name.clone(), described(variable)?).is_some() {
            return Err(format!("design_variables: {name:.80} is there twice"));
        }
    }
    let mut plan = Map::from_iter([
        ("name".to_owned(), json!(strategy.as_str())),
        ("budget".to_owned(), json!(request.max_iterations)),
    ]);
    if strategy == StrategyName::Grid
        && let Some(points) = points(&request.design_variables, request.max_iterations)
    {
        plan.insert("points".to_owned(), json!(points));
    }
    Ok(json!({
        "name": simulation, "kind": "optimization", "procedure": simulation, "variables": variables,
        "objectives": objectives(&request.objectives)?, "constraints": constraints(request.constraints.as_deref().unwrap_or_default())?,
        "strategy": plan,
    }))
}

fn described(variable: &DesignVariable) -> Result<Value, String> {
    let kind = match variable.var_type.as_str() {
        "continuous" => "float",
        "integer" => "int",
        "categorical" => "choice",
        other => {
            let name = &variable.name;
            return Err(format!(
                "design_variables: var_type of {name:.80} is {other:.80}, expected continuous, integer or categorical"
            ));
        }
    };
    let mut described = Map::from_iter([("type".to_owned(), json!(kind))]);
    for (key, number) in [("min", variable.min_value), ("max", variable.max_value), ("step", variable.step)] {
        if let Some(number) = number {
            described.insert(key.to_owned(), json!(number));
        }
    }
    if let Some(choices) = &variable.choices {
        described.insert("values".to_owned(), json!(choices));
    }
    Ok(Value::Object(described))
}

/// How many values of each continuous variable without a step fit into so many iterations, if there is one.
fn points(variables: &[DesignVariable], budget: usize) -> Option<usize> {
    let is_free = |variable: &&DesignVariable| {
        variable.var_type == "continuous" && variable.step.is_none() && variable.min_value != variable.max_value
    };
    let free = u32::try_from(variables.iter().filter(is_free).count()).ok().filter(|free| *free > 0)?;
    let fixed = variables.iter().filter(|variable| !is_free(variable)).map(size).fold(1, usize::saturating_mul);
    let fits = |points: usize| points.checked_pow(free).is_some_and(|grid| grid.saturating_mul(fixed) <= budget);
    // One that does not fit is refused with its size by whoever checks the study.
    (2..=budget).take_while(|points| fits(*points)).last().or(Some(2))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped first")]
fn size(variable: &DesignVariable) -> usize {
    if let Some(choices) = &variable.choices {
        return choices.len().max(1);
    }
    let (Some(min), Some(max)) = (variable.min_value, variable.max_value) else { return 1 };
    let steps = (max - min) / variable.step.unwrap_or(1.0);
    if steps.is_finite() { steps.clamp(0.0, 1e9) as usize + 1 } else { 1 }
}

fn objectives(wanted: &[DesignObjective]) -> Result<Map<String, Value>, String> {
    let weighed = wanted.iter().any(|objective| objective.weight.is_some());
    let mut objectives = Map::new();
    for objective in wanted {
        let metric = &objective.metric;
        let mut described = json!({"metric": metric, "direction": objective.direction});
        if weighed {
            described["weight"] = json!(objective.weight.unwrap_or(1.0));
        }
        if objectives.insert(metric.clone(), described).is_some() {
            return Err(format!("objectives: {metric:.80} is there twice"));
        }
    }
    Ok(objectives)
}

fn constraints(wanted: &[DesignConstraint]) -> Result<BTreeMap<String, Value>, String> {
    let mut constraints = BTreeMap::new();
    for constraint in wanted {
        let DesignConstraint { metric, operator, value, tolerance_pct } = constraint;
        let around = |percent: f64| {
            let margin = (value * percent / 100.0).abs();
            json!({"metric": metric, "min": value - margin, "max": value + margin})
        };
        let limits = match (operator.as_str(), tolerance_pct) {
            ("<=", _) => json!({"metric": metric, "max": value}),
            (">=", _) => json!({"metric": metric, "min": value}),
            ("==", percent) => around(percent.unwrap_or(0.0)),
            ("within_percent", Some(percent)) => around(*percent),
            ("within_percent", None) => {
                return Err(format!("constraints: within_percent of {metric:.80} needs tolerance_pct"));
            }
            (other, _) => {
                return Err(format!(
                    "constraints: operator of {metric:.80} is {other:.80}, expected <=, >=, == or within_percent"
                ));
            }
        };
        let name = (1..).map(|number| if number == 1 { metric.clone() } else { format!("{metric}-{number}") });
        let name = name.into_iter().find(|name| !constraints.contains_key(name)).unwrap_or_default();
        constraints.insert(name, limits);
    }
    Ok(constraints)
}

/// A study's variables, constraints and objectives in the protocol's words. What lies within limits on both sides is two constraints.
pub(super) fn shown(study: &Study) -> (Vec<DesignVariable>, Vec<DesignConstraint>, Vec<DesignObjective>) {
    let variables = study.variables.iter().map(|(name, variable)| DesignVariable {
        name: name.clone(),
        var_type: match variable.kind {
            VariableKind::Float => "continuous",
            VariableKind::Int => "integer",
            VariableKind::Choice => "categorical",
        }
        .to_owned(),
        min_value: variable.min,
        max_value: variable.max,
        step: variable.step,
        choices: (!variable.values.is_empty())
            .then(|| variable.values.iter().map(|value| serde_json::to_value(value).unwrap_or(Value::Null)).collect()),
    });
    let constraints = study.constraints.iter().flat_map(|(name, constraint)| {
        let metric = constraint.metric.as_ref().unwrap_or(name);
        let one = |operator: &str, value: Option<f64>| {
            let (metric, operator) = (metric.clone(), operator.to_owned());
            value.map(|value| DesignConstraint { metric, operator, value, tolerance_pct: None })
        };
        match constraint.limits() {
            (Some(min), Some(max)) if min.total_cmp(&max).is_eq() => [one("==", Some(min)), None],
            (min, max) => [one(">=", min), one("<=", max)],
        }
    });
    let objectives = study.objectives.iter().map(|(name, objective)| DesignObjective {
        metric: objective.metric.clone().unwrap_or_else(|| name.clone()),
        direction: match objective.direction {
            Direction::Minimize => "minimize",
            Direction::Maximize => "maximize",
        }
        .to_owned(),
        weight: objective.weight,
    });
    (variables.collect(), constraints.flatten().collect(), objectives.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: Value) -> Result<Value, String> {
        procedure(&serde_json::from_value(body).unwrap(), "horn")
    }

    fn width(more: Value) -> Value {
        let mut variable = json!({"name": "width", "min_value": 10.0, "max_value": 20.0});
        variable.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        variable
    }

    #[test]
    fn strategies_have_the_protocols_names_or_the_hubs() {
        for (word, expected) in [
            ("parametric_sweep", Some("grid")),
            ("grid", Some("grid")),
            ("genetic", Some("nsga-2")),
            ("nelder-mead", Some("nelder-mead")),
            ("bayesian", None),
            ("manual_guided", None),
        ] {
            let body = json!({
                "name": "s", "strategy": word, "design_variables": [width(json!({}))],
                "objectives": [{"metric": "stress", "direction": "minimize"}],
            });
            let made = read(body);
            assert_eq!(made.as_ref().ok().and_then(|made| made["strategy"]["name"].as_str()), expected, "{made:?}");
            assert!(expected.is_some() || made.unwrap_err().contains(&format!("there is no {word}")));
        }
    }

    #[test]
    fn a_grid_has_as_many_points_as_fit() {
        let choice = json!({"name": "material", "var_type": "categorical", "choices": ["ti", "al"]});
        for (variables, budget, expected) in [
            (vec![width(json!({}))], 50, json!(50)),
            (vec![width(json!({})), width(json!({"name": "height"}))], 50, json!(7)),
            (vec![width(json!({})), choice.clone()], 50, json!(25)),
            (vec![width(json!({})), width(json!({"name": "height", "step": 1.0}))], 50, json!(4)),
            (vec![width(json!({"step": 1.0})), choice], 50, Value::Null),
            (vec![width(json!({}))], 1, json!(2)),
        ] {
            let body = json!({
                "name": "s", "design_variables": variables, "max_iterations": budget,
                "objectives": [{"metric": "stress", "direction": "minimize"}],
            });
            assert_eq!(read(body).unwrap()["strategy"]["points"], expected, "{variables:?} {budget}");
        }
    }

    #[test]
    fn constraints_become_limits() {
        let given = json!([
            {"metric": "stress", "operator": "<=", "value": 300.0},
            {"metric": "stress", "operator": ">=", "value": 10.0},
            {"metric": "hz", "operator": "within_percent", "value": -200.0, "tolerance_pct": 1.0},
            {"metric": "n", "operator": "==", "value": 4.0},
        ]);
        let made = constraints(&serde_json::from_value::<Vec<DesignConstraint>>(given).unwrap()).unwrap();
        let expected = json!({
            "stress": {"metric": "stress", "max": 300.0}, "stress-2": {"metric": "stress", "min": 10.0},
            "hz": {"metric": "hz", "min": -202.0, "max": -198.0}, "n": {"metric": "n", "min": 4.0, "max": 4.0},
        });
        assert_eq!(json!(made), expected);
        for (operator, problem) in [("within_percent", "needs tolerance_pct"), ("<", "is <, expected <=")] {
            let wrong = DesignConstraint {
                metric: "m".to_owned(),
                operator: operator.to_owned(),
                value: 1.0,
                tolerance_pct: None,
            };
            assert!(constraints(&[wrong]).unwrap_err().contains(problem));
        }
    }
}
