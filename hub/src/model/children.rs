//! Runs of runs within the model: started for a suite or a study, and told to it when they end. Studies that are driven from
//! outside ask and tell here.

use std::collections::BTreeMap;

use rigwire_shared::ids::{MetricName, RunId};
use rigwire_shared::time::Timestamp;
use rigwire_shared::unit::Unit;

use super::{Model, StartRun};
use crate::event::{ChildEvent, Iteration, Purpose, RunEventBody, RunStatus, SummaryMetric};
use crate::run::{Asked, ChildEnd, ChildPlan, StudyError};

/// What a trial gave, as somebody outside tells it.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    Metrics(BTreeMap<String, f64>),
    Failed(String),
}

impl Model {
    pub(super) fn start_child(&mut self, parent: RunId, plan: ChildPlan, now: Timestamp) {
        let ChildPlan { procedure, params, name, purpose } = plan;
        match params {
            Ok(params) => {
                let holder = self.runs.get(&parent).and_then(|run| run.header.holder.clone());
                let request = StartRun { name: Some(name), holder, ..StartRun::new(procedure, params) };
                let run = self.create_run(request, Some(parent), now);
                let number = self.runs.get(&run).map(|run| run.header.number);
                let begun = self.runs.get(&parent).and_then(|parent| parent.child_begun(&purpose));
                self.emit(parent, RunEventBody::Child(ChildEvent { run: Some(run), number, purpose }), now);
                if let Some(begun) = begun {
                    self.emit(parent, begun, now);
                    self.tell_progress(parent, now);
                }
                self.enqueue(run, now);
            }
            Err(message) => {
                let event = ChildEvent { run: None, number: None, purpose: purpose.clone() };
                self.emit(parent, RunEventBody::Child(event), now);
                self.tell_parent(parent, &purpose, &ChildEnd::refused(message), now);
            }
        }
    }

    pub(super) fn stop_child(&mut self, parent: RunId, child: RunId, cause: &str, now: Timestamp) {
        if let Some(run) = self.runs.get_mut(&parent) {
            run.note_child_stopping(child);
        }
        // One that ended, or that was cancelled by itself, tells its parent in its own time.
        drop(self.cancel_run(child, cause, now));
    }

    /// A run has ended. Its parent, if the hub carries it out, goes on.
    pub(super) fn child_ended(&mut self, child: RunId, now: Timestamp) {
        let Some(run) = self.runs.get(&child) else { return };
        let (Some(parent), Some(end)) = (run.header.parent, run.end_for_parent()) else { return };
        let Some(purpose) = self.runs.get(&parent).and_then(|parent| parent.purpose_of(child)).cloned() else { return };
        self.tell_parent(parent, &purpose, &end, now);
        self.due.push_back(parent);
    }

    fn tell_parent(&mut self, parent: RunId, purpose: &Purpose, end: &ChildEnd, now: Timestamp) {
        let events = self.runs.get(&parent).map(|run| run.child_ended(purpose, end)).unwrap_or_default();
        for event in events {
            self.emit(parent, event, now);
        }
        self.tell_progress(parent, now);
    }

    /// Whether a run must not begin because the one that it is for was paused.
    pub(super) fn parent_is_paused(&self, child: RunId) -> bool {
        let parent = self.runs.get(&child).and_then(|run| run.header.parent);
        parent.and_then(|parent| self.runs.get(&parent)).is_some_and(|parent| parent.status() == RunStatus::Paused)
    }

    /// The next trial of a study that is driven from outside.
    pub fn ask_study(&mut self, id: RunId, now: Timestamp) -> Result<Asked, StudyError> {
        let asked = self.runs.get(&id).ok_or(StudyError::Unknown)?.ask()?;
        if let Asked::Try { iteration, parameters } = &asked {
            let purpose = Purpose::Iteration { iteration: *iteration, parameters: parameters.clone() };
            self.emit(id, RunEventBody::Child(ChildEvent { run: None, number: None, purpose }), now);
        }
        Ok(asked)
    }

    /// What a trial gave. Told twice the same, it counts once.
    pub fn tell_study(
        &mut self,
        id: RunId,
        iteration: u64,
        told: &Told,
        now: Timestamp,
    ) -> Result<Option<Iteration>, StudyError> {
        let end = match told {
            Told::Failed(error) => ChildEnd::refused(error.clone()),
            Told::Metrics(metrics) => ChildEnd {
                status: RunStatus::Completed,
                error: None,
                metrics: metrics
                    .iter()
                    .filter_map(|(name, value)| {
                        Some(SummaryMetric { name: MetricName::new(name).ok()?, value: *value, unit: Unit::None })
                    })
                    .collect(),
                ..ChildEnd::refused(String::new())
            },
        };
        let news = self.runs.get(&id).ok_or(StudyError::Unknown)?.tell(iteration, &end)?;
        if let Some(iteration) = &news {
            self.emit(id, RunEventBody::Iteration(iteration.clone()), now);
            self.tell_progress(id, now);
            self.advance(id, now);
        }
        Ok(news)
    }
}
