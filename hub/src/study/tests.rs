//! Strategies as their users meet them: questions and answers, on functions whose best values are known.

use super::*;

pub(super) fn study(text: &str) -> Study {
    let study: Study = toml::from_str(text).unwrap();
    assert_eq!(study.mistakes(), [], "{text}");
    study
}

fn number(parameters: &Fields, name: &str) -> f64 {
    parameters.iter().find(|(known, _)| known == name).and_then(|(_, value)| value.as_f64()).unwrap()
}

/// Asks and answers until the study is done. Fails when it does not say what to do next.
fn drive(study: &Study, evaluate: impl Fn(&Fields) -> Vec<(String, f64)>) -> Vec<Trial> {
    let mut trials: Vec<Trial> = Vec::new();
    loop {
        match study.ask(&trials) {
            Ask::Try(parameters) => {
                let outcome = Some(Outcome::Judged(study.judge(&evaluate(&parameters))));
                trials.push(Trial { parameters, outcome });
            }
            Ask::Wait => panic!("waits with nothing outstanding after {} trials", trials.len()),
            Ask::Done(_) => return trials,
        }
    }
}

fn named<const N: usize>(metrics: [(&str, f64); N]) -> Vec<(String, f64)> {
    metrics.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

#[test]
fn nelder_mead_reaches_the_end_of_rosenbrocks_valley() {
    for seed in 0..5 {
        let study = study(&format!(
            "[variables]\nx = {{ type = \"float\", min = -2.0, max = 2.0 }}\ny = {{ type = \"float\", min = -1.0, max = 3.0 }}\n\
             [objectives]\nf = {{ direction = \"minimize\" }}\n[strategy]\nname = \"nelder-mead\"\nbudget = 200\nseed = {seed}"
        ));
        let trials = drive(&study, |at| {
            let (x, y) = (number(at, "x"), number(at, "y"));
            named([("f", (1.0 - x).powi(2) + 100.0 * (y - x * x).powi(2))])
        });
        assert_eq!(trials.len(), 200);
        let best = &trials[study.best(&trials).unwrap()];
        let Some(Outcome::Judged(judgement)) = &best.outcome else { panic!("{best:?}") };
        assert!(judgement.objectives[0].1 < 1e-6, "seed {seed}: {best:?}");
    }
}
