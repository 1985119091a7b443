//! Mistakes in studies, each with the message that its author reads.

use super::*;

const GOOD: &str = r#"[variables]
volts = { type = "float", min = 0.5, max = 12.0, unit = "V" }
turns = { type = "int", min = 1, max = 9, step = 2 }
[objectives]
noise = { direction = "minimize" }
[constraints]
heat = { max = 80.0 }
[strategy]
name = "latin-hypercube"
budget = 40
"#;

#[test]
fn mistakes_name_their_key() {
    assert_eq!(toml::from_str::<Study>(GOOD).unwrap().mistakes(), []);
    let volts = "type = \"float\", min = 0.5, max = 12.0, unit = \"V\"";
    for (from, to, expected) in [
        ("min = 0.5, max = 12.0", "min = 12.0, max = 0.5", "variables.volts.min: 12 is above max 0.5"),
        ("min = 0.5, ", "", "variables.volts.min: is missing"),
        ("min = 0.5", "min = nan", "variables.volts.min: is NaN, expected a finite number"),
        (
            "min = 0.5",
            "scale = \"log\", min = 0",
            "variables.volts.min: is 0, expected a number above 0 on a log scale",
        ),
        ("unit = \"V\"", "scale = \"log\", step = 1", "variables.volts.step: belongs to a linear scale"),
        ("unit = \"V\"", "step = -1", "variables.volts.step: is -1, expected a number above 0"),
        ("unit = \"V\"", "step = 1e-300", "variables.volts.step: 0.0000000000000000000000000000"),
        (
            "unit = \"V\"",
            "values = [1]",
            "variables.volts.values: belong to type = \"choice\" only, expected min and max",
        ),
        (volts, "type = \"choice\"", "variables.volts.values: is empty, expected what the choice may be"),
        (volts, "type = \"choice\", values = [1, 1]", "variables.volts.values: hold 1 twice"),
        (
            volts,
            "type = \"choice\", values = [[1]]",
            "variables.volts.values: expected finite numbers, texts, true or false",
        ),
        (
            volts,
            "type = \"choice\", values = [1], max = 1",
            "variables.volts.max: belongs to a float or an int, a choice has values",
        ),
        (
            "min = 1, max = 9",
            "min = 1.5, max = 9",
            "variables.turns.min: is 1.5, expected a whole number of at most 2^53",
        ),
        (
            "turns =",
            "\"turn s\" =",
            "variables.turn s: \"turn s\" is not a name, expected 1 to 64 of a-z A-Z 0-9 _ that begin with a letter",
        ),
        ("\"minimize\"", "\"minimize\", weight = 0", "objectives.noise.weight: is 0, expected a number above 0"),
        ("noise = { direction = \"minimize\" }", "", "objectives: is empty, expected at least one objective"),
        ("max = 80.0", "", "constraints.heat: has neither min nor max"),
        ("max = 80.0", "min = 90.0, max = 80.0", "constraints.heat: min 90 is above max 80"),
        ("max = 80.0", "max = inf", "constraints.heat.max: is inf, expected a finite number"),
        ("max = 80.0", "operator = \"<=\"", "constraints.heat.value: is missing beside operator"),
        ("max = 80.0", "value = 3", "constraints.heat.operator: is missing beside value, expected \"<=\" or \">=\""),
        (
            "max = 80.0",
            "max = 80.0, operator = \"<=\", value = 3",
            "constraints.heat.max: is said by operator and value already",
        ),
        ("budget = 40", "", "strategy.budget: is missing, expected how many trials there are, 1 to 100000"),
        ("budget = 40", "budget = 0", "strategy.budget: is 0, expected 1 to 100000"),
        ("budget = 40", "budget = 40\nparallelism = 0", "strategy.parallelism: is 0, expected 1 to 1000"),
        (
            "budget = 40",
            "budget = 40\npopulation = 8",
            "strategy.population: belongs to nsga-2, and this is latin-hypercube",
        ),
        ("budget = 40", "budget = 40\npoints = 8", "strategy.points: belongs to grid, and this is latin-hypercube"),
        (
            "\"latin-hypercube\"\nbudget = 40",
            "\"nelder-mead\"\nbudget = 40\ntolerance = 2",
            "strategy.tolerance: is 2, expected a number between 0 and 1",
        ),
        (
            "\"latin-hypercube\"\nbudget = 40",
            "\"nsga-2\"\nbudget = 40\npopulation = 41",
            "strategy.population: is 41, and the budget is 40",
        ),
        (
            "\"latin-hypercube\"\nbudget = 40",
            "\"nsga-2\"\nbudget = 40\nparallelism = 9",
            "strategy.parallelism: is 9, expected at most the population of 8",
        ),
        (
            "\"latin-hypercube\"\nbudget = 40",
            "\"grid\"",
            "strategy.points: is missing, expected how many values of volts a grid tries",
        ),
        (
            "\"latin-hypercube\"\nbudget = 40",
            "\"grid\"\nbudget = 40\npoints = 10",
            "strategy.budget: is 40, and the grid has 50 points",
        ),
        (
            "\"latin-hypercube\"\nbudget = 40",
            "\"grid\"\npoints = 50000",
            "strategy.budget: is 100000, and the grid has 250000 points",
        ),
        (
            "\"minimize\" }\n[constraints]\nheat = { max = 80.0 }\n[strategy]\nname = \"latin-hypercube\"",
            "\"minimize\" }\nspeed = { direction = \"maximize\" }\n[strategy]\nname = \"nelder-mead\"",
            "strategy.name: nelder-mead follows one number, and there are 2 objectives: give each a weight, or use nsga-2",
        ),
        (
            "budget = 40",
            "budget = 40\nseed = 18446744073709551615",
            "strategy.seed: is 18446744073709551615, expected at most 9223372036854775807",
        ),
    ] {
        assert!(GOOD.contains(from), "{from:?} is not in the study");
        let text = GOOD.replacen(from, to, 1);
        let read = toml::from_str::<Study>(&text);
        let Ok(study) = read else {
            // A number that no TOML reader takes.
            assert!(to.contains("seed"), "{text}: {read:?}");
            continue;
        };
        let told: Vec<String> =
            study.mistakes().into_iter().map(|(key, message)| format!("{key}: {message}")).collect();
        assert_eq!(told.len(), 1, "{to}: {told:?}");
        assert!(told[0].starts_with(expected), "{to}: {told:?}");
    }
}

#[test]
fn what_is_no_study_is_refused_with_what_is_expected() {
    for (from, to, expected) in [
        (
            "\"latin-hypercube\"",
            "\"bayes\"",
            "unknown variant `bayes`, expected one of `grid`, `random`, `latin-hypercube`, `nelder-mead`, `nsga-2`",
        ),
        ("\"minimize\"", "\"down\"", "unknown variant `down`, expected `minimize` or `maximize`"),
        ("max = 80.0", "operator = \"<\", value = 1", "unknown variant `<`, expected `<=` or `>=`"),
        ("budget = 40", "budgets = 40", "unknown field `budgets`"),
        ("budget = 40", "budget = -1", "invalid value"),
    ] {
        let error = toml::from_str::<Study>(&GOOD.replacen(from, to, 1)).unwrap_err();
        assert!(error.message().contains(expected), "{to}: {error}");
    }
}
