//! Judging single trials, fronts with ties, and which trial is best.

use super::*;

const TWO: &str = "[variables]\nx = { type = \"float\", min = 0.0, max = 1.0 }\n\
                   [objectives]\ncost = { direction = \"minimize\" }\ngain = { metric = \"gain_db\", direction = \"maximize\" }\n\
                   [constraints]\nheat = { metric = \"temperature\", max = 80.0 }\nmargin = { operator = \">=\", value = 2.0 }\n\
                   [strategy]\nname = \"random\"\nbudget = 10";

#[test]
fn metrics_become_a_judgement() {
    let study = study(TWO);
    for (metrics, objectives, violations, missing) in [
        (vec![("cost", 1.0), ("gain_db", 3.0), ("temperature", 80.0), ("margin", 2.0)], "cost 1 gain 3", "", ""),
        (
            vec![("cost", 1.0), ("gain_db", 3.0), ("temperature", 81.0), ("margin", 1.5)],
            "cost 1 gain 3",
            "heat is 81, above 80; margin is 1.5, below 2",
            "",
        ),
        (
            vec![("cost", f64::NAN), ("gain", 3.0), ("temperature", f64::INFINITY), ("margin", 2.0)],
            "",
            "",
            "cost, gain_db, temperature",
        ),
        (
            vec![("cost", 1.0), ("cost", 2.0), ("gain_db", 0.0), ("temperature", 0.0), ("margin", 9.0)],
            "cost 2 gain 0",
            "",
            "",
        ),
    ] {
        let metrics: Vec<(String, f64)> = metrics.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let judgement = study.judge(&metrics);
        let told: Vec<String> = judgement.objectives.iter().map(|(name, value)| format!("{name} {value}")).collect();
        assert_eq!(told.join(" "), objectives, "{metrics:?}");
        let told: Vec<String> = judgement.violations.iter().map(Violation::to_string).collect();
        assert_eq!(told.join("; "), violations, "{metrics:?}");
        assert_eq!(judgement.missing.join(", "), missing, "{metrics:?}");
        assert_eq!(judgement.feasible, violations.is_empty() && missing.is_empty());
    }
}

fn trials(study: &Study, metrics: &[(f64, f64, f64, f64)]) -> Vec<Trial> {
    metrics
        .iter()
        .map(|(x, cost, gain, temperature)| {
            let metrics = named([("cost", *cost), ("gain_db", *gain), ("temperature", *temperature), ("margin", 3.0)]);
            Trial {
                parameters: vec![("x".to_owned(), Value::Float(*x))],
                outcome: Some(Outcome::Judged(study.judge(&metrics))),
            }
        })
        .collect()
}

#[test]
fn the_front_has_ties_and_no_design_twice() {
    let study = study(TWO);
    let mut trials = trials(
        &study,
        &[
            (0.1, 1.0, 1.0, 20.0), // on the front
            (0.2, 2.0, 5.0, 20.0), // on the front
            (0.3, 2.0, 4.0, 20.0), // beaten by the one before
            (0.4, 1.0, 1.0, 20.0), // another design, as good as the first
            (0.1, 1.0, 1.0, 20.0), // the first again
            (0.5, 0.5, 9.0, 90.0), // better than all, and too hot
            (0.6, 3.0, f64::NAN, 20.0),
        ],
    );
    trials.push(Trial { parameters: Vec::new(), outcome: Some(Outcome::Failed) });
    trials.push(Trial { parameters: Vec::new(), outcome: None });
    assert_eq!(study.front(&trials), [0, 1, 3]);
    assert_eq!(study.best(&trials), None, "two objectives without weights have no best");

    let weighed = TWO
        .replace("\"minimize\" }", "\"minimize\", weight = 2.0 }")
        .replace("\"maximize\" }", "\"maximize\", weight = 1.0 }");
    assert_eq!(super::study(&weighed).best(&trials), Some(1));
    let heavy = weighed.replace("weight = 2.0", "weight = 9.0");
    assert_eq!(super::study(&heavy).best(&trials), Some(0), "the first of those that are equal");
    assert_eq!(study.front(&trials[5..]), Vec::<usize>::new());
    assert_eq!(study.front(&[]), Vec::<usize>::new());
}

#[test]
fn a_study_waits_for_outstanding_trials_and_then_says_why_it_is_done() {
    let study = study(&TWO.replace("budget = 10", "budget = 2\nparallelism = 2"));
    let mut trials: Vec<Trial> = Vec::new();
    for _ in 0..2 {
        let Ask::Try(parameters) = study.ask(&trials) else { panic!() };
        trials.push(Trial { parameters, outcome: None });
    }
    assert_eq!(study.ask(&trials), Ask::Wait);
    for trial in &mut trials {
        trial.outcome = Some(Outcome::Failed);
    }
    assert_eq!(study.ask(&trials), Ask::Done("the budget of 2 trials is used".to_owned()));
}

#[test]
fn nelder_mead_does_not_try_a_whole_number_twice() {
    let study = study(
        "[variables]\nn = { type = \"int\", min = 0, max = 9 }\n[objectives]\nf = { direction = \"minimize\" }\n\
         [strategy]\nname = \"nelder-mead\"\nbudget = 100",
    );
    let trials = drive(&study, |at| named([("f", (number(at, "n") - 7.0).abs())]));
    let mut tried: Vec<f64> = trials.iter().map(|trial| number(&trial.parameters, "n")).collect();
    assert_eq!(number(&trials[study.best(&trials).unwrap()].parameters, "n"), 7.0);
    tried.sort_by(f64::total_cmp);
    assert!(tried.windows(2).all(|pair| pair[0] < pair[1]), "{tried:?}");
    assert_eq!(study.ask(&trials), Ask::Done("every point that the simplex reaches is tried".to_owned()));
}
