//! What holds for every study, whatever its variables, results and their order.

use std::collections::BTreeSet;

use proptest::prelude::{Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proptest::test_runner::TestCaseError;
use serde_json::json;

use super::*;
use crate::study::front::dominates;
use crate::study::judge::Standing;
use crate::study::random::Random;

/// A variable as people write them, in JSON.
fn variable() -> impl Strategy<Value = serde_json::Value> {
    prop_oneof![
        (-1e3..1e3f64, 0.0..1e3f64).prop_map(|(min, width)| json!({"type": "float", "min": min, "max": min + width})),
        (1e-3..1e3f64, 1.0..1e3f64)
            .prop_map(|(min, factor)| json!({"type": "float", "min": min, "max": min * factor, "scale": "log"})),
        (-10..10i32, 0.1..5.0f64, 0.0..100.0f64).prop_map(
            |(min, step, width)| json!({"type": "float", "min": min, "max": f64::from(min) + width, "step": step})
        ),
        (-20..20i32, 0..30i32, 1..4i32)
            .prop_map(|(min, width, step)| json!({"type": "int", "min": min, "max": min + width, "step": step})),
        (1..10i32, 0..1000i32)
            .prop_map(|(min, width)| json!({"type": "int", "min": min, "max": min + width, "scale": "log"})),
        prop::sample::subsequence(vec![json!("a"), json!("b"), json!(3), json!(2.5), json!(true)], 1..=5)
            .prop_map(|values| json!({"type": "choice", "values": values})),
    ]
}

fn studies() -> impl Strategy<Value = Study> {
    (
        prop::collection::vec(variable(), 1..4),
        1..4usize,
        any::<bool>(),
        prop::sample::select(vec!["grid", "random", "latin-hypercube", "nelder-mead", "nsga-2"]),
        (1..50usize, 1..6usize, 0..1000u64),
    )
        .prop_filter_map(
            "a study with mistakes",
            |(variables, objectives, constrained, strategy, (budget, parallelism, seed))| {
                let named = |prefix: &str, count: usize, make: &dyn Fn(usize) -> serde_json::Value| {
                    (0..count).map(|index| (format!("{prefix}{index}"), make(index))).collect::<serde_json::Map<_, _>>()
                };
                let mut study = json!({
                    "variables": named("x", variables.len(), &|index| variables[index].clone()),
                    "objectives": named("f", objectives, &|index| {
                        let direction = if index % 2 == 0 { "minimize" } else { "maximize" };
                        json!({"direction": direction, "weight": index + 1})
                    }),
                    "strategy": {"name": strategy, "budget": budget, "parallelism": parallelism, "seed": seed},
                });
                if constrained {
                    study["constraints"] = json!({"c": {"max": 0.7}});
                }
                if strategy == "grid" {
                    study["strategy"]["points"] = json!(3);
                    study["strategy"].as_object_mut()?.remove("budget");
                }
                if strategy == "nsga-2" {
                    study["strategy"]["population"] = json!(budget.clamp(4, 8));
                }
                let study: Study = serde_json::from_value(study).ok()?;
                (study.mistakes().is_empty() && study.budget() <= 100).then_some(study)
            },
        )
}

/// What a trial measures: numbers that depend on its parameters alone, in rough steps so that there are ties. Some trials fail.
fn outcome(study: &Study, parameters: &Fields) -> Outcome {
    let text = format!("{parameters:?}");
    let seed = text.bytes().fold(1u64, |hash, byte| hash.wrapping_mul(31).wrapping_add(u64::from(byte)));
    let mut random = Random::new(seed, &[]);
    if random.below(8) == 0 {
        return Outcome::Failed;
    }
    let mut metrics: Vec<(String, f64)> =
        study.objectives.keys().map(|name| (name.clone(), (random.part() * 8.0).floor())).collect();
    metrics.push(("c".to_owned(), random.part()));
    if random.below(10) == 0 {
        metrics.remove(0);
    }
    Outcome::Judged(study.judge(&metrics))
}

/// Keeps as many trials outstanding as the study allows; which of them ends next is chance.
fn drive_in_any_order(study: &Study, mut chance: Random) -> Result<Vec<Trial>, TestCaseError> {
    let mut trials: Vec<Trial> = Vec::new();
    loop {
        let outstanding: Vec<usize> = (0..trials.len()).filter(|place| trials[*place].outcome.is_none()).collect();
        prop_assert!(outstanding.len() <= study.strategy.parallelism);
        prop_assert!(trials.len() <= study.budget());
        let ask = study.ask(&trials);
        prop_assert_eq!(&ask, &study.ask(&trials), "two answers to one history");
        match ask {
            // Sometimes a result comes before the next question.
            Ask::Try(_) if !outstanding.is_empty() && chance.below(4) == 0 => {}
            Ask::Try(parameters) => {
                trials.push(Trial { parameters, outcome: None });
                continue;
            }
            Ask::Wait => prop_assert!(!outstanding.is_empty(), "stalls after {} trials", trials.len()),
            Ask::Done(reason) => {
                prop_assert!(outstanding.is_empty() && !reason.is_empty());
                return Ok(trials);
            }
        }
        let place = outstanding[chance.below(outstanding.len())];
        trials[place].outcome = Some(outcome(study, &trials[place].parameters));
    }
}

fn allowed(variable: &Variable, value: &Value) -> bool {
    if variable.kind == VariableKind::Choice {
        return variable.values.contains(value);
    }
    let (min, max) = (variable.min.unwrap(), variable.max.unwrap());
    let Some(number) = value.as_f64() else { return false };
    let steps = variable.step.map_or(0.0, |step| (number - min) / step);
    let typed = match variable.kind {
        VariableKind::Int => matches!(value, Value::Int(_)),
        VariableKind::Float | VariableKind::Choice => matches!(value, Value::Float(_)),
    };
    typed && number >= min && number <= max && (steps - steps.round()).abs() < 1e-6
}

proptest! {
    #[test]
    fn every_study_keeps_its_promises(study in studies(), one in any::<u64>(), other in any::<u64>()) {
        let trials = drive_in_any_order(&study, Random::new(one, &[]))?;
        prop_assert!(!trials.is_empty());
        for trial in &trials {
            prop_assert!(trial.parameters.iter().map(|(name, _)| name).eq(study.variables.keys()));
            for ((_, value), variable) in trial.parameters.iter().zip(study.variables.values()) {
                prop_assert!(allowed(variable, value), "{:?} is no {:?}", value, variable);
            }
        }
        // The same study asks the same, in whatever order results come.
        let again = drive_in_any_order(&study, Random::new(other, &[]))?;
        prop_assert_eq!(&again, &trials);
        // And after a restart at any place, when everything outstanding has ended meanwhile.
        for (place, trial) in trials.iter().enumerate() {
            prop_assert_eq!(study.ask(&trials[..place]), Ask::Try(trial.parameters.clone()));
        }
        // It survives being written down.
        let read: Study = serde_json::from_value(serde_json::to_value(&study).unwrap()).unwrap();
        prop_assert_eq!(read, study);
    }

    #[test]
    fn the_front_is_what_nothing_dominates(study in studies(), seed in any::<u64>()) {
        let trials = drive_in_any_order(&study, Random::new(seed, &[]))?;
        let costs = |place: usize| match study.standing(&trials[place]) {
            Standing::Feasible(costs) => Some(costs),
            Standing::Infeasible(_) | Standing::Failed => None,
        };
        let feasible: Vec<usize> = (0..trials.len()).filter(|place| costs(*place).is_some()).collect();
        let front = study.front(&trials);
        let members: BTreeSet<usize> = front.iter().copied().collect();
        prop_assert!(front.is_sorted() && members.len() == front.len());
        for place in &feasible {
            let own = costs(*place).unwrap();
            let beaten = feasible.iter().any(|other| dominates(&costs(*other).unwrap(), &own));
            let repeated = feasible.iter().any(|other| {
                other < place && trials[*other].parameters == trials[*place].parameters && costs(*other).unwrap() == own
            });
            prop_assert_eq!(members.contains(place), !beaten && !repeated, "trial {}", place);
        }
        prop_assert!(members.iter().all(|place| feasible.contains(place)));
        // One by one, in any order, it comes to the same.
        let (mut ended, mut grown) = (trials.clone(), Vec::new());
        ended.iter_mut().for_each(|trial| trial.outcome = None);
        for place in Random::new(seed, &[1]).permutation(trials.len()) {
            grown = study.front_with(&ended, &grown, place, &trials[place]);
            ended[place] = trials[place].clone();
            prop_assert_eq!(&grown, &study.front(&ended));
        }
        // The best by weights is on the front.
        if let Some(best) = study.best(&trials) {
            prop_assert!(members.contains(&best), "best {} of {:?}", best, front);
        } else {
            prop_assert!(feasible.is_empty());
        }
    }

    #[test]
    fn a_study_goes_on_when_every_trial_fails(study in studies()) {
        let mut trials: Vec<Trial> = Vec::new();
        while let Ask::Try(parameters) = study.ask(&trials) {
            trials.push(Trial { parameters, outcome: Some(Outcome::Failed) });
        }
        prop_assert!(matches!(study.ask(&trials), Ask::Done(_)));
        prop_assert_eq!(study.front(&trials), Vec::<usize>::new());
        prop_assert_eq!(study.best(&trials), None);
    }

    #[test]
    fn trials_that_were_never_asked_for_do_no_harm(study in studies(), foreign in studies(), seed in any::<u64>()) {
        // Whoever drives a study from outside may tell anything.
        let mut trials = drive_in_any_order(&foreign, Random::new(seed, &[]))?;
        trials.truncate(10);
        let budget = study.budget();
        while let Ask::Try(parameters) = study.ask(&trials) {
            let outcome = outcome(&study, &parameters);
            trials.push(Trial { parameters, outcome: Some(outcome) });
        }
        prop_assert!(matches!(study.ask(&trials), Ask::Done(_)));
        prop_assert!(trials.len() <= budget.max(10));
        study.front(&trials);
    }
}

#[test]
fn another_seed_asks_something_else() {
    for name in ["random", "latin-hypercube", "nsga-2", "nelder-mead"] {
        let first = |seed: u64| {
            let study = study(&format!(
                "[variables]\nx = {{ type = \"float\", min = 0.0, max = 1.0 }}\ny = {{ type = \"float\", min = 0.0, max = 1.0 }}\n\
                 [objectives]\nf = {{ direction = \"minimize\" }}\n[strategy]\nname = \"{name}\"\nbudget = 60\nseed = {seed}"
            ));
            let trials = drive(&study, |at| named([("f", number(at, "x").sin() + number(at, "y"))]));
            trials.into_iter().map(|trial| trial.parameters).collect::<Vec<_>>()
        };
        assert_eq!(first(1), first(1));
        assert_ne!(first(1), first(2), "{name}");
    }
}

/// Prints what a question costs at the end of a long study; run in release to read the numbers, in a test build to bound them.
#[test]
fn a_question_is_cheap_after_ten_thousand_trials() {
    let variables: String =
        (0..5).map(|index| format!("x{index} = {{ type = \"float\", min = 0.0, max = 1.0 }}\n")).collect();
    for (name, objectives) in
        [("random", 2), ("latin-hypercube", 2), ("nelder-mead", 1), ("nsga-2", 1), ("nsga-2", 2), ("nsga-2", 3)]
    {
        let objectives: String =
            (0..objectives).map(|index| format!("f{index} = {{ direction = \"minimize\" }}\n")).collect();
        let study = study(&format!(
            "[variables]\n{variables}[objectives]\n{objectives}[strategy]\nname = \"{name}\"\nbudget = 11000"
        ));
        let judged = |parameters: &Fields| {
            let sum: f64 = parameters.iter().filter_map(|(_, value)| value.as_f64()).sum();
            let metrics: Vec<(String, f64)> = (0..study.objectives.len())
                .map(|index| (format!("f{index}"), (number(parameters, &format!("x{index}")) - 0.3).abs() + sum / 10.0))
                .collect();
            Some(Outcome::Judged(study.judge(&metrics)))
        };
        // A strategy that is asked each time would be the test's own cost: what it would be told is much the same as chance.
        let space = space::Space::new(&study);
        let trials: Vec<Trial> = (0..10_000)
            .map(|number| {
                let parameters = space.values(&sample::random_place(1, &space, &[number]));
                let outcome = judged(&parameters);
                Trial { parameters, outcome }
            })
            .collect();
        let started = std::time::Instant::now();
        assert!(matches!(study.ask(&trials), Ask::Try(_)));
        let asked = started.elapsed();
        let started = std::time::Instant::now();
        let front = study.front(&trials).len();
        let fronted = started.elapsed();
        println!("{name}, {} objectives: ask {asked:?}, front of {front} {fronted:?}", study.objectives.len());
        assert!(asked.as_secs() < 2 && fronted.as_secs() < 2, "{name}: {asked:?}, {fronted:?}");
    }
}
