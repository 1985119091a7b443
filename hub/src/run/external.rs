//! A run that a program outside reports: what its events become, and what ends it when no event does. Knows no model.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use rigwire_shared::ids::{DeviceId, MetricName, RunId, StepId};
use rigwire_shared::quality::Quality;
use rigwire_shared::time::Timestamp;
use rigwire_shared::unit::Unit;

use super::plan::after;
use super::{Action, Next, Run};
use crate::event::{
    Finished, Metric, Progress, RunError, RunEventBody, RunLog, RunStatus, StepCounts, StepEvent, SummaryMetric,
};
use crate::external::{self, IDS_REMEMBERED, Mistake, Report, Reported, State};

/// How far a producer's clock may be ahead of the hub's.
const AHEAD_MAX_US: i64 = 3600 * 1_000_000;

/// Codes of a run that failed by its producer's word, or for want of it.
const REPORTED_FAILED: &str = "EXTERNAL_FAILED";
const PRODUCER_SILENT: &str = "PRODUCER_SILENT";

/// Ids of events that were reported, the newest.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    ids: HashSet<Arc<str>>,
    order: VecDeque<Arc<str>>,
}

impl Run {
    pub fn has_seen(&self, id: &str) -> bool {
        self.seen.ids.contains(id)
    }

    pub fn remember(&mut self, id: &str) {
        let seen = Arc::make_mut(&mut self.seen);
        let id: Arc<str> = id.into();
        if seen.ids.insert(Arc::clone(&id)) {
            seen.order.push_back(id);
        }
        while seen.order.len() > IDS_REMEMBERED {
            if let Some(oldest) = seen.order.pop_front() {
                seen.ids.remove(&oldest);
            }
        }
    }

    /// Its producer gave a sign of life, or has its time anew.
    pub fn note_producer(&mut self, now: Timestamp) {
        if let Some(external) = &mut self.external {
            external.heard = now;
        }
    }

    /// What the producer itself said of the run's progress, which the hub may show as more.
    pub fn note_percent(&mut self, report: &Report) {
        if let (Some(external), Report::Progress { percent, .. }) = (&mut self.external, report) {
            external.percent = *percent;
        }
    }

    pub(super) fn announced_devices(&self) -> Vec<DeviceId> {
        let devices = if self.header.external { external::devices(&self.header.params) } else { Vec::new() };
        devices.iter().filter_map(|device| DeviceId::new(device).ok()).collect()
    }

    /// `None` for a run that the hub itself carries out.
    pub(super) fn next_of_external(&self, now: Timestamp) -> Option<Next> {
        let external = self.external.as_ref()?;
        if self.finished.is_some() || self.status == RunStatus::Pending {
            return Some(Next::WaitUntil(None));
        }
        if let Some(cause) = &self.cancel {
            let end = Finished { message: format!("cancelled: {cause}"), ..self.conclude(now) };
            return Some(act(self.ending(external, end, now)));
        }
        let Some(deadline) = external.deadline else { return Some(Next::WaitUntil(None)) };
        let due = after(external.heard, deadline);
        if due > now {
            return Some(Next::WaitUntil(Some(due)));
        }
        let message = format!("its producer was silent for more than {} s", deadline.as_secs_f64());
        let end = self.failing(PRODUCER_SILENT, message, None, now);
        Some(act(self.ending(external, end, now)))
    }

    /// The events that a report becomes, or how it contradicts what was reported before.
    pub fn report(
        &self,
        reported: &Reported,
        path: &str,
        next_number: &mut u64,
        now: Timestamp,
    ) -> Result<Vec<RunEventBody>, Mistake> {
        let wrong = |path: String, problem: String| Mistake { path, problem };
        let Some(external) = &self.external else {
            return Err(wrong(path.to_owned(), "the run is not external".to_owned()));
        };
        if let Some(finished) = &self.finished {
            return Err(wrong(path.to_owned(), format!("the run is {} already", finished.status.as_str())));
        }
        let at = reported.at.unwrap_or(now);
        if at.0.saturating_sub(now.0) > AHEAD_MAX_US {
            return Err(wrong(format!("{path}.at"), "is more than an hour ahead of the hub's clock".to_owned()));
        }
        let bodies = match &reported.report {
            Report::Status { status, step, message, .. } if !status.is_final() => {
                vec![RunEventBody::Status { status: *status, step: step.clone(), message: message.clone() }]
            }
            Report::Status { status, step, error, log_tail, message, metrics } => {
                let step = step.as_deref().and_then(|step| StepId::new(step).ok());
                let mut end = self.reported_end(*status, error.as_ref().or(message.as_ref()), step, at);
                end.log_tail = log_tail.clone().or(end.log_tail);
                end.message = message.clone().unwrap_or(end.message);
                end.metrics = with_summary(end.metrics, metrics);
                self.ending(external, end, at)
            }
            Report::Progress { percent, phase, message, step } => {
                if *percent < external.percent {
                    let problem = format!("{percent} is less than {}, reported before", external.percent);
                    return Err(wrong(format!("{path}.percent"), problem));
                }
                if let Some(step) = step.as_ref().filter(|step| !external.knows_step(step)) {
                    return Err(wrong(format!("{path}.step"), format!("step {step} was not announced")));
                }
                let known = &self.progress;
                vec![RunEventBody::Progress(Progress {
                    percent: percent.max(known.percent),
                    phase: phase.clone().unwrap_or_else(|| self.phase()),
                    message: message.clone().unwrap_or_default(),
                    step: step.clone().or_else(|| known.step.clone()),
                    elapsed_s: self.elapsed(at),
                    counts: external.counts(),
                })]
            }
            Report::Log { level, message, device, module, source } => vec![RunEventBody::Log(RunLog {
                level: *level,
                message: message.clone(),
                device: device.clone(),
                module: module.clone(),
                step: None,
                source: source.clone().unwrap_or_else(|| self.header.agent_name.clone()),
            })],
            Report::Metric { name, value, unit, device } => vec![RunEventBody::Metric(Metric {
                name: name.clone(),
                value: value.clone(),
                unit: unit.clone(),
                quality: Quality::Good,
                device: device.clone(),
                step: None,
            })],
            Report::Step(report) => external.step(report, path, at)?.into_iter().map(RunEventBody::Step).collect(),
            Report::Test(report) => vec![RunEventBody::Test(external.test(report, path, at, next_number)?)],
            Report::Iteration(iteration) => vec![RunEventBody::Iteration(iteration.clone())],
            Report::Tool { name, status, result, error } => vec![RunEventBody::Tool {
                name: name.clone(),
                status: status.clone(),
                result: result.clone(),
                error: error.clone(),
            }],
            Report::Event(event) => {
                if let Some(test) = event.test.as_deref().filter(|test| !external.knows_test(test)) {
                    return Err(wrong(format!("{path}.test"), format!("test {test} was not announced")));
                }
                vec![RunEventBody::Custom(event.clone())]
            }
            // Its name, and whether there is room for it, are the model's to say.
            Report::Artifact { .. } => Vec::new(),
            Report::Wells(wells) => vec![RunEventBody::Wells { wells: wells.clone() }],
        };
        Ok(bodies)
    }

    /// Progress that follows from what has ended and what runs, if that is news.
    pub fn news_of_parts(&self, at: Timestamp) -> Option<Progress> {
        let external = self.external.as_ref().filter(|_| self.finished.is_none())?;
        let known = &self.progress;
        let counts = external.counts();
        let step = external.running_step().cloned().or_else(|| known.step.clone());
        if counts == known.counts && step == known.step || counts.total == 0 {
            return None;
        }
        let (percent, message) = if external.tells_progress {
            (known.percent, known.message.clone())
        } else {
            (external.derived_percent().unwrap_or_default().max(known.percent), external.summary())
        };
        Some(Progress { percent, phase: self.phase(), message, step, elapsed_s: self.elapsed(at), counts })
    }

    fn phase(&self) -> String {
        let started = self.external.as_ref().is_some_and(|external| external.tells_progress);
        if started || self.progress.phase != "preparing" { self.progress.phase.clone() } else { "solving".to_owned() }
    }

    fn elapsed(&self, at: Timestamp) -> f64 {
        self.started_at.map_or(0.0, |started| at.seconds_since(started).max(0.0))
    }

    fn reported_end(&self, status: RunStatus, why: Option<&String>, step: Option<StepId>, at: Timestamp) -> Finished {
        match status {
            RunStatus::Failed => {
                let message = why.cloned().unwrap_or_else(|| "its producer gives no reason".to_owned());
                self.failing(REPORTED_FAILED, message, step, at)
            }
            RunStatus::Completed
            | RunStatus::Cancelled
            | RunStatus::Pending
            | RunStatus::Running
            | RunStatus::Paused => {
                let message = format!("{} by its producer", status.as_str());
                Finished { status, error: None, log_tail: None, message, ..self.conclude(at) }
            }
        }
    }

    fn failing(&self, code: &str, message: String, step: Option<StepId>, at: Timestamp) -> Finished {
        let tail: Vec<&str> = self.log_tail.iter().map(|(_, line)| line.as_str()).collect();
        Finished {
            status: RunStatus::Failed,
            error: Some(RunError { code: code.to_owned(), message: message.clone(), step, device: None }),
            log_tail: (!tail.is_empty()).then(|| tail.join("\n")),
            message,
            ..self.conclude(at)
        }
    }

    /// Runs of its parts, if a program reports it.
    pub fn child_of_test(&self, test: &str) -> Option<RunId> {
        self.external.as_ref()?.run_of_test(test)
    }

    pub fn child_of_iteration(&self, iteration: u64) -> Option<RunId> {
        self.external.as_ref()?.run_of_iteration(iteration)
    }

    pub fn children_of_parts(&self) -> Vec<RunId> {
        self.external.iter().flat_map(State::runs_of_tests).collect()
    }

    /// Progress as its producer tells it, if that is news.
    pub fn reported_progress(&self, percent: f64, message: String, at: Timestamp) -> Option<Progress> {
        let known = &self.progress;
        let percent = percent.clamp(known.percent, 100.0);
        let news = percent > known.percent || (!message.is_empty() && message != known.message);
        let phase = "solving".to_owned();
        news.then(|| Progress { percent, phase, message, elapsed_s: self.elapsed(at), ..known.clone() })
    }

    /// The events that end it by its producer's word, if it has not ended.
    pub fn end_as(
        &self,
        status: RunStatus,
        why: Option<&str>,
        duration_s: Option<f64>,
        at: Timestamp,
    ) -> Vec<RunEventBody> {
        let Some(external) = self.external.as_ref().filter(|_| self.finished.is_none()) else { return Vec::new() };
        let why = why.map(str::to_owned);
        let mut end = self.reported_end(status, why.as_ref(), None, at);
        end.duration_s = duration_s.unwrap_or(end.duration_s);
        end.message = why.unwrap_or(end.message);
        self.ending(external, end, at)
    }

    /// Steps that are open are closed, then comes the last event.
    fn ending(&self, external: &State, end: Finished, at: Timestamp) -> Vec<RunEventBody> {
        let cause = format!("the run is {}", end.status.as_str());
        let counts = external.counts();
        let skipped = counts.total.saturating_sub(counts.successful).saturating_sub(counts.failed);
        let finished = Finished { counts: StepCounts { skipped, ..counts }, ..end };
        let closed = external.closing(&cause, at).into_iter().map(|event: StepEvent| RunEventBody::Step(event));
        closed.chain([RunEventBody::Finished(finished)]).collect()
    }
}

fn act(bodies: Vec<RunEventBody>) -> Next {
    Next::Do(bodies.into_iter().map(Action::Emit).collect())
}

/// Metrics as they were reported, with those of the summary in place of their last values.
fn with_summary(mut metrics: Vec<SummaryMetric>, summary: &[(MetricName, f64)]) -> Vec<SummaryMetric> {
    for (name, value) in summary {
        match metrics.iter_mut().find(|metric| metric.name == *name) {
            Some(metric) => metric.value = *value,
            None => metrics.push(SummaryMetric { name: name.clone(), value: *value, unit: Unit::None }),
        }
    }
    metrics
}
