//! A run that carries out an optimisation study: which trial is next, what its end is worth, and what is best so far.
//! Trials are carried out by runs of their own, or by somebody outside who asks and tells. Knows no model.

use std::sync::Arc;

use rigwire_shared::ids::MetricName;
use rigwire_shared::time::Timestamp;
use rigwire_shared::unit::Unit;
use rigwire_shared::value::{Fields, Value};

use super::children::{Campaign, ChildEnd, ChildPlan, Running};
use super::{Action, Next, Run};
use crate::csv;
use crate::event::{Finished, Iteration, Purpose, RunError, RunEventBody, RunStatus, StepCounts, SummaryMetric};
use crate::procedure::{Procedure, Source};
use crate::study::{Ask, Outcome, Study, Trial};

/// Code of a study of which no iteration ended well.
const NO_RESULT: &str = "NO_RESULT";

/// Under which name the table of iterations is kept.
const TABLE: &str = "iterations.csv";

#[derive(Debug, Clone)]
pub(super) struct StudyRun {
    study: Arc<Study>,
    /// Carried out for each trial. `None`: somebody outside does that.
    procedure: Option<Result<Arc<Procedure>, String>>,
    trials: Vec<Trial>,
    iterations: Vec<Option<Iteration>>,
    front: Vec<usize>,
}

/// A study as it stands, for whoever asks.
#[derive(Debug, Clone, PartialEq)]
pub struct StudyView {
    pub study: Arc<Study>,
    pub budget: usize,
    /// Somebody outside asks for trials and tells what came of them.
    pub driven_from_outside: bool,
    /// In the order in which they were asked for.
    pub iterations: Vec<IterationView>,
    /// Iterations that no other beats.
    pub front: Vec<u64>,
    pub best: Option<u64>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct IterationView {
    pub iteration: u64,
    pub parameters: Fields,
    /// `None` while it is outstanding.
    pub result: Option<Iteration>,
    pub front: bool,
}

/// What somebody outside gets who asks a study.
#[derive(Debug, Clone, PartialEq)]
pub enum Asked {
    Try {
        iteration: u64,
        parameters: Fields,
    },
    /// Outstanding trials must be told first.
    Wait,
    Done(String),
}

/// Why a study takes no question or answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StudyError {
    #[error("there is no such run at hand")]
    Unknown,
    #[error("the run is no study that is driven from outside: {0}")]
    NotOutside(String),
    #[error("the study is {} already", .0.as_str())]
    Ended(RunStatus),
    #[error("the study is {}", .0.as_str())]
    NotRunning(RunStatus),
    #[error("iteration {iteration} was not asked for; asked so far: {asked}")]
    NotAsked { iteration: u64, asked: usize },
    #[error("iteration {0} was told before, with other results")]
    ToldOtherwise(u64),
}

impl StudyRun {
    pub(super) fn new(procedure: &Procedure) -> Option<Self> {
        Some(Self {
            study: Arc::new(procedure.study()?),
            procedure: procedure.procedure.as_ref().map(Source::written_out),
            trials: Vec::new(),
            iterations: Vec::new(),
            front: Vec::new(),
        })
    }

    pub(super) fn asked(&mut self, parameters: &Fields) {
        self.trials.push(Trial { parameters: parameters.clone(), outcome: None });
        self.iterations.push(None);
    }

    pub(super) fn told(&mut self, iteration: &Iteration) {
        let Some(place) = place_of(iteration.iteration) else { return };
        let (Some(trial), Some(known)) = (self.trials.get_mut(place), self.iterations.get_mut(place)) else { return };
        trial.outcome = Some(outcome(&self.study, iteration));
        *known = Some(iteration.clone());
        self.front = self.study.front_with(&self.trials, &self.front, place, &self.trials[place]);
    }

    pub(super) fn counts(&self) -> StepCounts {
        let count = |wanted: &dyn Fn(&Iteration) -> bool| {
            u32::try_from(self.iterations.iter().flatten().filter(|done| wanted(done)).count()).unwrap_or(u32::MAX)
        };
        StepCounts {
            total: u32::try_from(self.study.budget()).unwrap_or(u32::MAX),
            successful: count(&|done| done.error.is_none()),
            failed: count(&|done| done.error.is_some()),
            skipped: 0,
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a number of iterations")]
    pub(super) fn progress(&self) -> (f64, String) {
        let (done, budget) = (self.iterations.iter().flatten().count(), self.study.budget());
        let feasible = self.iterations.iter().flatten().filter(|done| done.feasible).count();
        let percent = 100.0 * done as f64 / budget.max(1) as f64;
        (
            percent.min(100.0),
            format!("iteration {done}/{budget}, {feasible} feasible, {} on the front", self.front.len()),
        )
    }

    /// The event of a trial's end.
    pub(super) fn trial_ended(&self, iteration: u64, parameters: &Fields, end: &ChildEnd) -> Iteration {
        let metrics = metrics_of(end);
        let error = match end.status {
            RunStatus::Completed => None,
            RunStatus::Failed | RunStatus::Cancelled | RunStatus::Pending | RunStatus::Running | RunStatus::Paused => {
                Some(end.error.clone().unwrap_or_else(|| end.status.as_str().to_owned()))
            }
        };
        let mut ended = Iteration {
            iteration,
            run: end.run,
            parameters: parameters.clone(),
            metrics: metrics.into_iter().map(|(name, value)| (name, Value::Float(value))).collect(),
            feasible: false,
            pareto_updated: false,
            error,
        };
        let outcome = outcome(&self.study, &ended);
        if let Outcome::Judged(judgement) = &outcome {
            ended.feasible = judgement.feasible;
            if !judgement.missing.is_empty() {
                ended.error = Some(format!("no good value of {}", judgement.missing.join(", ")));
            }
        }
        if let Some(place) = place_of(iteration) {
            let trial = Trial { parameters: parameters.clone(), outcome: Some(outcome) };
            ended.pareto_updated = self.study.front_with(&self.trials, &self.front, place, &trial) != self.front;
        }
        ended
    }

    pub(super) fn view(&self) -> StudyView {
        let number = |place: usize| u64::try_from(place).unwrap_or(u64::MAX).saturating_add(1);
        let iterations = self.trials.iter().zip(&self.iterations).enumerate();
        StudyView {
            study: Arc::clone(&self.study),
            budget: self.study.budget(),
            driven_from_outside: self.procedure.is_none(),
            iterations: iterations
                .map(|(place, (trial, result))| IterationView {
                    iteration: number(place),
                    parameters: trial.parameters.clone(),
                    result: result.clone(),
                    front: self.front.contains(&place),
                })
                .collect(),
            front: self.front.iter().map(|place| number(*place)).collect(),
            best: self.study.best(&self.trials).map(number),
        }
    }
}

impl StudyView {
    /// Iterations that have ended, as CSV.
    pub fn table(&self) -> String {
        let done: Vec<&Iteration> = self.iterations.iter().filter_map(|view| view.result.as_ref()).collect();
        let names = |of: &dyn Fn(&Iteration) -> Vec<String>| {
            let mut names: Vec<String> = Vec::new();
            for name in done.iter().flat_map(|done| of(done)) {
                if !names.contains(&name) {
                    names.push(name);
                }
            }
            names
        };
        let parameters = names(&|done| done.parameters.iter().map(|(name, _)| name.clone()).collect());
        let metrics = names(&|done| done.metrics.iter().map(|(name, _)| name.clone()).collect());
        let mut text = String::new();
        let mut header = vec!["iteration".to_owned(), "run".to_owned()];
        header.extend(parameters.iter().chain(&metrics).map(|name| csv::word(name)));
        header.extend(["feasible", "front", "error"].map(str::to_owned));
        csv::row(&mut text, &header);
        for iteration in done {
            let cell = |fields: &Fields, name: &String| {
                fields.iter().find(|(known, _)| known == name).map(|(_, value)| csv::value(value)).unwrap_or_default()
            };
            let on_front = self.front.contains(&iteration.iteration);
            let mut cells = vec![iteration.iteration.to_string()];
            cells.push(iteration.run.map(|run| run.to_string()).unwrap_or_default());
            cells.extend(parameters.iter().map(|name| cell(&iteration.parameters, name)));
            cells.extend(metrics.iter().map(|name| cell(&iteration.metrics, name)));
            cells.push(iteration.feasible.to_string());
            cells.push(on_front.to_string());
            cells.push(csv::word(iteration.error.as_deref().unwrap_or_default()));
            csv::row(&mut text, &cells);
        }
        text
    }
}

impl Run {
    pub(super) fn next_of_study(&self, study: &StudyRun, running: &[Running], now: Timestamp) -> Next {
        if self.cancel.is_some() {
            return self.finish_study(study, None, now);
        }
        match study.study.ask(&study.trials) {
            Ask::Done(reason) if running.is_empty() => self.finish_study(study, Some(reason), now),
            Ask::Try(parameters) if self.status != RunStatus::Paused => match &study.procedure {
                Some(procedure) => {
                    Next::Do(vec![Action::StartChild(Box::new(self.trial(study, procedure, parameters)))])
                }
                None => Next::WaitUntil(None),
            },
            Ask::Try(_) | Ask::Wait | Ask::Done(_) => Next::WaitUntil(None),
        }
    }

    fn trial(&self, study: &StudyRun, procedure: &Result<Arc<Procedure>, String>, parameters: Fields) -> ChildPlan {
        let (procedure, missing) = match procedure {
            Ok(procedure) => (Arc::clone(procedure), None),
            Err(message) => (Arc::default(), Some(message.clone())),
        };
        let iteration = u64::try_from(study.trials.len()).unwrap_or(u64::MAX).saturating_add(1);
        // The study's own parameters are those of its procedure, unless the study varies them.
        let own = self.header.params.iter().filter(|(name, _)| {
            procedure.params.contains_key(name) && !parameters.iter().any(|(varied, _)| varied == name)
        });
        let given: Fields = own.cloned().chain(parameters.iter().cloned()).collect();
        ChildPlan {
            params: missing.map_or_else(|| procedure.bind_params(&given), Err),
            procedure,
            name: format!("{}: iteration {iteration}", self.header.name),
            purpose: Purpose::Iteration { iteration, parameters },
        }
    }

    fn finish_study(&self, study: &StudyRun, reason: Option<String>, now: Timestamp) -> Next {
        let done = study.iterations.iter().flatten().count();
        let good = study.iterations.iter().flatten().filter(|done| done.error.is_none()).count();
        let mut finished: Finished = self.conclude(now);
        let best = study.study.best(&study.trials);
        if let Some(reason) = reason {
            if good == 0 {
                let message = format!("none of {done} iterations gave a result");
                finished.status = RunStatus::Failed;
                finished.message.clone_from(&message);
                finished.error = Some(RunError { code: NO_RESULT.to_owned(), message, step: None, device: None });
            } else {
                let best = best.map(|place| format!(", best is iteration {}", place + 1)).unwrap_or_default();
                let front = study.front.len();
                finished.message = format!("{done} iterations, {front} on the front{best}: {reason}");
            }
        }
        if let Some(best) = best.and_then(|place| study.iterations.get(place)?.as_ref()) {
            let summary = best.metrics.iter().filter_map(|(name, value)| {
                Some(SummaryMetric { name: MetricName::new(name).ok()?, value: value.as_f64()?, unit: Unit::None })
            });
            finished.metrics = summary.collect();
        }
        let mut actions = Vec::new();
        if done > 0 {
            let bytes = study.view().table().into_bytes();
            actions.push(Action::Keep { name: TABLE.to_owned(), media_type: "text/csv".to_owned(), bytes });
        }
        actions.push(Action::Emit(RunEventBody::Finished(finished)));
        Next::Do(actions)
    }

    fn study(&self) -> Result<&StudyRun, StudyError> {
        let outside = |why: &str| StudyError::NotOutside(why.to_owned());
        let study = match self.children.as_ref().map(|children| &children.campaign) {
            Some(Campaign::Study(study)) => study,
            Some(Campaign::Suite(_)) | None => return Err(outside("its kind is not optimization")),
        };
        if study.procedure.is_some() {
            return Err(outside("its procedure is carried out by the hub"));
        }
        Ok(study)
    }

    /// The next trial for somebody outside. To be followed by a `Child` event for what is to be tried.
    pub fn ask(&self) -> Result<Asked, StudyError> {
        let study = self.study()?;
        if self.finished.is_some() {
            return Err(StudyError::Ended(self.status));
        }
        if self.status != RunStatus::Running || self.cancel.is_some() {
            return Err(StudyError::NotRunning(self.status));
        }
        Ok(match study.study.ask(&study.trials) {
            Ask::Try(parameters) => {
                let iteration = u64::try_from(study.trials.len()).unwrap_or(u64::MAX).saturating_add(1);
                Asked::Try { iteration, parameters }
            }
            Ask::Wait => Asked::Wait,
            Ask::Done(reason) => Asked::Done(reason),
        })
    }

    /// What a trial gave, as somebody outside tells it: an event, or none where that was told before.
    pub fn tell(&self, iteration: u64, end: &ChildEnd) -> Result<Option<Iteration>, StudyError> {
        let study = self.study()?;
        let known =
            place_of(iteration).and_then(|place| Some((study.trials.get(place)?, study.iterations.get(place)?)));
        let Some((trial, told)) = known else {
            return Err(StudyError::NotAsked { iteration, asked: study.trials.len() });
        };
        let ended = study.trial_ended(iteration, &trial.parameters, end);
        match told {
            Some(told) if told.metrics == ended.metrics && told.error == ended.error => Ok(None),
            Some(_) => Err(StudyError::ToldOtherwise(iteration)),
            None if self.finished.is_some() => Err(StudyError::Ended(self.status)),
            None => Ok(Some(ended)),
        }
    }
}

fn place_of(iteration: u64) -> Option<usize> {
    usize::try_from(iteration).ok()?.checked_sub(1)
}

fn outcome(study: &Study, iteration: &Iteration) -> Outcome {
    if iteration.error.is_some() && iteration.metrics.is_empty() {
        return Outcome::Failed;
    }
    let metrics: Vec<(String, f64)> =
        iteration.metrics.iter().filter_map(|(name, value)| Some((name.clone(), value.as_f64()?))).collect();
    Outcome::Judged(study.judge(&metrics))
}

/// What a trial's run measured: last good value of each metric, and numbers among its steps' outputs as `step.output`.
fn metrics_of(end: &ChildEnd) -> Vec<(String, f64)> {
    if end.status != RunStatus::Completed {
        return Vec::new();
    }
    let outputs = end.outputs.iter().flat_map(|(step, outputs)| numbers(step, outputs));
    let metrics = end.metrics.iter().map(|metric| (metric.name.as_str().to_owned(), metric.value));
    metrics.chain(outputs).collect()
}

fn numbers(path: &str, value: &Value) -> Vec<(String, f64)> {
    match value {
        Value::Map(fields) => {
            fields.iter().flat_map(|(name, value)| numbers(&format!("{path}.{name}"), value)).collect()
        }
        Value::Int(_) | Value::Float(_) => value
            .as_f64()
            .filter(|number| number.is_finite())
            .map(|number| (path.to_owned(), number))
            .into_iter()
            .collect(),
        Value::Null | Value::Bool(_) | Value::Text(_) | Value::List(_) => Vec::new(),
    }
}
