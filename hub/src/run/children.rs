//! Runs that a run starts: tests of a suite, iterations of a study. What is common to both. Knows no model.

use std::sync::Arc;

use rigwire_shared::ids::RunId;
use rigwire_shared::time::Timestamp;
use rigwire_shared::value::{Fields, Value};

use super::study::{StudyRun, StudyView};
use super::suite::{SuiteRun, TestView};
use super::sweep::SweepView;
use super::{Action, Next, Run};
use crate::event::{
    ChildEvent, Finished, Progress, Purpose, RunEventBody, RunHeader, RunKind, RunStatus, StepCounts, StepState,
    SummaryMetric,
};
use crate::procedure::Procedure;

/// Progress of a child is told of its parent in steps of so many percent.
const PROGRESS_STEP: f64 = 5.0;

/// A run to start for another.
#[derive(Debug, Clone, PartialEq)]
pub struct ChildPlan {
    pub procedure: Arc<Procedure>,
    /// Bound and checked, or why it cannot be started.
    pub params: Result<Fields, String>,
    pub name: String,
    pub purpose: Purpose,
}

/// How a child ended, as its parent takes it.
#[derive(Debug, Clone, PartialEq)]
pub struct ChildEnd {
    pub run: Option<RunId>,
    pub status: RunStatus,
    pub error: Option<String>,
    pub duration_s: f64,
    pub metrics: Vec<SummaryMetric>,
    /// Outputs of its completed steps, by step.
    pub outputs: Fields,
}

impl ChildEnd {
    /// It could not even be started.
    pub fn refused(message: String) -> Self {
        Self {
            run: None,
            status: RunStatus::Failed,
            error: Some(message),
            duration_s: 0.0,
            metrics: Vec::new(),
            outputs: Fields::new(),
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Children {
    pub(super) running: Vec<Running>,
    pub(super) campaign: Campaign,
}

#[derive(Debug, Clone)]
pub(super) enum Campaign {
    Suite(SuiteRun),
    Study(StudyRun),
}

/// Parts of a run, as they stand: points of a sweep, or tests and iterations, which have runs of their own.
#[derive(Debug, Clone, PartialEq)]
pub enum Parts {
    Sweep(SweepView),
    Suite(Vec<TestView>),
    Study(StudyView),
}

#[derive(Debug, Clone)]
pub(super) struct Running {
    pub(super) run: RunId,
    pub(super) purpose: Purpose,
    /// As last told, 0 to 100.
    pub(super) percent: f64,
    /// It was asked to stop. Not in the record: after a restart it is asked again.
    stopping: bool,
}

impl Children {
    pub(super) fn new(header: &RunHeader, procedure: &Arc<Procedure>) -> Option<Self> {
        let campaign = match header.kind {
            RunKind::Suite if !procedure.tests.is_empty() => Campaign::Suite(SuiteRun::new(header, procedure)),
            RunKind::Optimization => Campaign::Study(StudyRun::new(procedure)?),
            RunKind::Suite | RunKind::Protocol | RunKind::Execution | RunKind::Workflow | RunKind::Solve => {
                return None;
            }
        };
        Some(Self { running: Vec::new(), campaign })
    }

    pub(super) fn apply(&mut self, body: &RunEventBody) {
        match body {
            RunEventBody::Child(ChildEvent { run, purpose, .. }) => {
                if let Some(run) = *run {
                    let running = Running { run, purpose: purpose.clone(), percent: 0.0, stopping: false };
                    self.running.push(running);
                }
                if let (Campaign::Study(study), Purpose::Iteration { parameters, .. }) = (&mut self.campaign, purpose) {
                    study.asked(parameters);
                }
            }
            RunEventBody::Test(event) => {
                if let Some(attempt) = &event.attempt {
                    self.running.retain(|running| Some(running.run) != attempt.run);
                }
                for running in &mut self.running {
                    if matches!(&running.purpose, Purpose::Test { test, .. } if *test == event.test) {
                        running.percent = running.percent.max(event.percent);
                    }
                }
                if let Campaign::Suite(suite) = &mut self.campaign {
                    suite.apply(event);
                }
            }
            RunEventBody::Iteration(iteration) => {
                self.running.retain(|running| Some(running.run) != iteration.run);
                if let Campaign::Study(study) = &mut self.campaign {
                    study.told(iteration);
                }
            }
            RunEventBody::Created
            | RunEventBody::CancelRequested { .. }
            | RunEventBody::Status { .. }
            | RunEventBody::Bound { .. }
            | RunEventBody::Point(_)
            | RunEventBody::Progress(_)
            | RunEventBody::Log(_)
            | RunEventBody::Metric(_)
            | RunEventBody::Step(_)
            | RunEventBody::Verdict(_)
            | RunEventBody::DeviceLost { .. }
            | RunEventBody::Tool { .. }
            | RunEventBody::Custom(_)
            | RunEventBody::Wells { .. }
            | RunEventBody::Artifact { .. }
            | RunEventBody::Finished(_) => {}
        }
    }
}

impl Run {
    /// Runs that were started for this one and have not ended.
    pub fn children(&self) -> Vec<RunId> {
        self.children.iter().flat_map(|children| &children.running).map(|running| running.run).collect()
    }

    pub(super) fn counts_of_children(&self) -> Option<StepCounts> {
        Some(match &self.children.as_ref()?.campaign {
            Campaign::Suite(suite) => suite.counts(),
            Campaign::Study(study) => study.counts(),
        })
    }

    pub(super) fn parts(&self) -> Option<Parts> {
        let Some(children) = self.children.as_ref() else { return self.sweep_view().map(Parts::Sweep) };
        Some(match &children.campaign {
            Campaign::Suite(suite) => Parts::Suite(suite.views(&children.running)),
            Campaign::Study(study) => Parts::Study(study.view()),
        })
    }

    /// `None` for a run that does its work itself.
    pub(super) fn next_of_children(&self, now: Timestamp) -> Option<Next> {
        let children = self.children.as_ref()?;
        if let Some(cause) = &self.cancel {
            let stops: Vec<Action> = children
                .running
                .iter()
                .filter(|running| !running.stopping)
                .map(|running| Action::StopChild { run: running.run, cause: cause.clone() })
                .collect();
            if !stops.is_empty() {
                return Some(Next::Do(stops));
            }
            if !children.running.is_empty() {
                return Some(Next::WaitUntil(None));
            }
        }
        Some(match &children.campaign {
            Campaign::Suite(suite) => self.next_of_suite(suite, &children.running, now),
            Campaign::Study(study) => self.next_of_study(study, &children.running, now),
        })
    }

    pub fn note_child_stopping(&mut self, child: RunId) {
        let running = self.children.iter_mut().flat_map(|children| &mut children.running);
        for running in running.filter(|running| running.run == child) {
            running.stopping = true;
        }
    }

    /// What a child was for.
    pub fn purpose_of(&self, child: RunId) -> Option<&Purpose> {
        let mut running = self.children.iter().flat_map(|children| &children.running);
        running.find(|running| running.run == child).map(|running| &running.purpose)
    }

    /// What a child's start means for the test that it is an attempt at.
    pub fn child_begun(&self, purpose: &Purpose) -> Option<RunEventBody> {
        match (&self.children.as_ref()?.campaign, purpose) {
            (Campaign::Suite(suite), Purpose::Test { test, attempt }) => {
                suite.begun(test, *attempt).map(RunEventBody::Test)
            }
            (Campaign::Suite(_) | Campaign::Study(_), Purpose::Test { .. } | Purpose::Iteration { .. }) => None,
        }
    }

    /// The events that a child's end gives rise to.
    pub fn child_ended(&self, purpose: &Purpose, end: &ChildEnd) -> Vec<RunEventBody> {
        match (self.children.as_ref().map(|children| &children.campaign), purpose) {
            (Some(Campaign::Suite(suite)), Purpose::Test { test, attempt }) => {
                suite.attempt_ended(test, *attempt, end, self.cancel.is_some()).map(RunEventBody::Test)
            }
            (Some(Campaign::Study(study)), Purpose::Iteration { iteration, parameters }) => {
                Some(RunEventBody::Iteration(study.trial_ended(*iteration, parameters, end)))
            }
            (
                Some(Campaign::Suite(_) | Campaign::Study(_)) | None,
                Purpose::Test { .. } | Purpose::Iteration { .. },
            ) => None,
        }
        .into_iter()
        .collect()
    }

    /// What a child's progress means for the test that it is an attempt at, if that is news.
    pub fn child_progressed(&self, child: RunId, progress: &Progress) -> Option<RunEventBody> {
        let children = self.children.as_ref()?;
        let running = children.running.iter().find(|running| running.run == child)?;
        let (Campaign::Suite(suite), Purpose::Test { test, attempt }) = (&children.campaign, &running.purpose) else {
            return None;
        };
        let event = suite.progressed(test, *attempt, progress)?;
        (event.percent >= running.percent + PROGRESS_STEP).then_some(RunEventBody::Test(event))
    }

    /// This run's own end, as its parent takes it.
    pub fn end_for_parent(&self) -> Option<ChildEnd> {
        let finished = self.finished.as_ref()?;
        let completed =
            self.header.steps.iter().zip(&self.steps).filter(|(_, step)| step.state == StepState::Completed);
        Some(ChildEnd {
            run: Some(self.header.id),
            status: finished.status,
            error: why(finished),
            duration_s: finished.duration_s,
            metrics: finished.metrics.clone(),
            outputs: completed
                .map(|(card, step)| (card.id.as_str().to_owned(), Value::Map(step.outputs.clone())))
                .collect(),
        })
    }

    pub(super) fn news_of_children(&self, now: Timestamp) -> Option<Progress> {
        let children = self.children.as_ref()?;
        let (percent, message) = match &children.campaign {
            Campaign::Suite(suite) => suite.progress(&children.running),
            Campaign::Study(study) => study.progress(),
        };
        let known = &self.progress;
        let (percent, counts) = (percent.max(known.percent), self.counts());
        let news = percent > known.percent || message != known.message || counts != known.counts;
        let elapsed_s = self.started_at.map_or(0.0, |started| now.seconds_since(started).max(0.0));
        news.then(|| Progress { percent, phase: "solving".to_owned(), message, step: None, elapsed_s, counts })
    }
}

fn why(finished: &Finished) -> Option<String> {
    match finished.status {
        RunStatus::Completed => None,
        RunStatus::Failed => {
            Some(finished.error.as_ref().map_or_else(|| finished.message.clone(), |error| error.message.clone()))
        }
        RunStatus::Cancelled | RunStatus::Pending | RunStatus::Running | RunStatus::Paused => {
            Some(finished.message.clone())
        }
    }
}
