//! Strategies as their users meet them: questions and answers, on functions whose best values are known.

use super::*;

mod judgement;
mod mistakes;
mod promises;
mod quality;

fn study(text: &str) -> Study {
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

fn objective(trial: &Trial, name: &str) -> f64 {
    let Some(Outcome::Judged(judgement)) = &trial.outcome else { panic!("{trial:?}") };
    judgement.objectives.iter().find(|(known, _)| known == name).unwrap().1
}
