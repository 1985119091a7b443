//! What a result means for a run: limits, retries, progress and the last event.

use rigwire_shared::event::{StepOutcome, code};
use rigwire_shared::ids::{AttemptId, DeviceId};
use rigwire_shared::time::Timestamp;
use rigwire_shared::value::{Fields, Value};

use super::Run;
use crate::event::{
    Finished, Progress, RunError, RunEventBody, RunStatus, SafeState, StepChange, StepEvent, StepState, Verdict,
};
use crate::procedure::Limits;

impl Run {
    /// The step that an attempt is outstanding for.
    pub fn attempted_step(&self, attempt: AttemptId) -> Option<usize> {
        self.steps.iter().position(|step| step.attempt_id == Some(attempt))
    }

    pub fn is_running(&self, index: usize) -> bool {
        self.steps.get(index).is_some_and(|step| step.running)
    }

    /// Every attempt that an agent has not ended yet.
    pub fn outstanding(&self) -> impl Iterator<Item = (usize, AttemptId)> {
        self.steps.iter().enumerate().filter_map(|(index, step)| Some((index, step.attempt_id?)))
    }

    /// Steps under way that no agent performs.
    pub fn steps_of_hub_running(&self) -> Vec<usize> {
        let running = self.steps.iter().enumerate();
        let running = running.filter(|(_, step)| step.state == StepState::Running && step.attempt_id.is_none());
        running.map(|(index, _)| index).collect()
    }

    pub fn step_event(&self, index: usize, change: StepChange) -> Option<StepEvent> {
        let card = self.header.steps.get(index)?;
        let step = self.steps.get(index)?;
        Some(StepEvent {
            step: card.id.clone(),
            module: card.module.clone(),
            device: self.device_of(index).map(|bound| bound.device.clone()),
            attempt_id: step.attempt_id,
            attempt: step.attempt.max(1),
            number: self.number_at_point(index),
            change,
        })
    }

    /// The events that an agent's result gives rise to.
    pub fn finish_step(&self, index: usize, outcome: StepOutcome, duration_s: f64) -> Vec<RunEventBody> {
        let (mut events, change) = match outcome {
            StepOutcome::Completed { outputs } => self.judge(index, outputs, duration_s),
            StepOutcome::Failed { error } => (Vec::new(), self.failed(index, &error.code, error.message, duration_s)),
            StepOutcome::Cancelled { safe } => {
                (Vec::new(), StepChange::Cancelled { duration_s, safe: safe.map(SafeState::from) })
            }
        };
        events.extend(self.step_event(index, change).map(RunEventBody::Step));
        events
    }

    /// Compares what a step measured with what it should be.
    pub(super) fn judge(&self, index: usize, outputs: Fields, duration_s: f64) -> (Vec<RunEventBody>, StepChange) {
        let (Some(step), Some(card)) = (self.plan_of(index), self.header.steps.get(index)) else {
            let screenshot = self.screenshot(&outputs);
            return (Vec::new(), StepChange::Completed { duration_s, outputs, screenshot });
        };
        let verdicts: Vec<Verdict> = step
            .expect
            .iter()
            .map(|(metric, limits)| {
                let (value, passed) =
                    compare(outputs.iter().find(|(name, _)| name == metric).map(|(_, value)| value), limits);
                Verdict {
                    step: card.id.clone(),
                    metric: metric.clone(),
                    value,
                    min: limits.min,
                    max: limits.max,
                    passed,
                }
            })
            .collect();
        let failed: Vec<String> = verdicts.iter().filter(|verdict| !verdict.passed).map(describe).collect();
        let change = if failed.is_empty() {
            let screenshot = self.screenshot(&outputs);
            StepChange::Completed { duration_s, outputs, screenshot }
        } else {
            self.failed(index, code::EXPECTATION_FAILED, failed.join("; "), duration_s)
        };
        (verdicts.into_iter().map(RunEventBody::Verdict).collect(), change)
    }

    /// The picture that a step's output of this name says it took, if the run has it.
    fn screenshot(&self, outputs: &Fields) -> Option<String> {
        let (_, name) = outputs.iter().find(|(name, _)| name == "screenshot")?;
        let name = name.as_str().filter(|name| self.artifacts.has(name))?;
        Some(crate::artifact::path(self.header.id, name))
    }

    pub fn failed(&self, index: usize, error_code: &str, error: String, duration_s: f64) -> StepChange {
        let attempts = self.steps.get(index).map_or(1, |step| step.attempt.max(1));
        let allowed = self.plan_of(index).and_then(|step| step.retry.as_ref()).map_or(0, |retry| retry.times);
        let finally = self.header.steps.get(index).is_some_and(|card| card.finally);
        let stopping = !finally && (self.cancel.is_some() || self.failure.is_some());
        StepChange::Failed {
            duration_s,
            error_code: error_code.to_owned(),
            error,
            will_retry: attempts <= allowed && !stopping,
        }
    }

    /// The phase that a step belongs to unless it says itself.
    pub fn phase_of(&self, index: usize) -> Option<String> {
        let card = self.header.steps.get(index)?;
        let usual = if card.finally { "postprocessing" } else { "solving" };
        Some(card.phase.clone().unwrap_or_else(|| usual.to_owned()))
    }

    /// Progress as it stands, if that is news.
    pub fn news_of_progress(&self, now: Timestamp) -> Option<Progress> {
        if self.children.is_some() {
            return self.news_of_children(now);
        }
        let started_at = self.started_at?;
        let total = self.steps.len().max(1);
        let (all, done) = self.share_done();
        let percent = (done / all.max(1.0)).max(self.progress.percent);
        let current = self.steps.iter().position(|step| step.state == StepState::Running);
        let (step, phase, message) = match current.and_then(|index| Some((index, self.header.steps.get(index)?))) {
            Some((index, card)) => {
                let told = self.told(index).1;
                let phase = told.map(|(phase, _)| phase.clone()).or_else(|| self.phase_of(index)).unwrap_or_default();
                let message = match (self.sweep_message().filter(|_| !card.finally), told) {
                    (Some(message), _) => message,
                    (None, Some((_, message))) if !message.is_empty() => message.clone(),
                    (None, _) => format!("{}: {} ({} of {total})", card.id, card.module, index + 1),
                };
                (Some(card.id.clone()), phase, message)
            }
            None => {
                let message = self.sweep_message().unwrap_or_else(|| self.progress.message.clone());
                (self.progress.step.clone(), self.progress.phase.clone(), message)
            }
        };
        let known = &self.progress;
        let counts = self.counts();
        let news = percent > known.percent
            || step != known.step
            || phase != known.phase
            || message != known.message
            || counts != known.counts;
        let elapsed_s = now.seconds_since(started_at).max(0.0);
        news.then(|| Progress { percent, phase, message, step, elapsed_s, counts })
    }

    /// The last event, from the state of all steps.
    pub(super) fn conclude(&self, now: Timestamp) -> Finished {
        let counts = self.counts();
        let status = match (&self.cancel, &self.failure) {
            (Some(_), _) => RunStatus::Cancelled,
            (None, Some(_)) => RunStatus::Failed,
            (None, None) => RunStatus::Completed,
        };
        let message = match (&self.cancel, &self.failure) {
            (Some(cause), _) => format!("cancelled: {cause}"),
            (None, Some(error)) => error.message.clone(),
            (None, None) => format!("{} of {} steps completed", counts.successful, counts.total),
        };
        let failed = status == RunStatus::Failed;
        Finished {
            status,
            error: if failed { self.failure.clone() } else { None },
            log_tail: (failed && !self.log_tail.is_empty())
                .then(|| self.log_tail.iter().map(|(_, line)| line.as_str()).collect::<Vec<_>>().join("\n")),
            message,
            duration_s: self.started_at.map_or(0.0, |started| now.seconds_since(started).max(0.0)),
            counts,
            metrics: self.summary(),
        }
    }

    /// Ends a run that cannot even begin.
    pub fn refuse(&self, now: Timestamp, error_code: &str, message: String, device: Option<DeviceId>) -> Finished {
        let error = RunError { code: error_code.to_owned(), message: message.clone(), step: None, device };
        Finished { status: RunStatus::Failed, error: Some(error), message, ..self.conclude(now) }
    }
}

/// The value to show and whether it lies within the limits. Outputs of a reading carry the extremes of all good samples and
/// how many were bad; one bad sample is enough to fail.
fn compare(output: Option<&Value>, limits: &Limits) -> (Option<f64>, bool) {
    let Some(output) = output else { return (None, false) };
    let number = |key: &str| output.get(key).and_then(Value::as_f64);
    let (low, high, shown) = match output.as_f64() {
        Some(value) => (value, value, value),
        None => {
            let bad = output.get("bad").and_then(Value::as_i64).unwrap_or(0);
            match (number("min"), number("max"), number("mean")) {
                (Some(min), Some(max), Some(mean)) if bad == 0 => (min, max, mean),
                (_, _, mean) => return (mean, false),
            }
        }
    };
    let below = limits.min.is_some_and(|min| low < min);
    let above = limits.max.is_some_and(|max| high > max);
    let shown = match (below, above) {
        (true, _) => low,
        (false, true) => high,
        (false, false) => shown,
    };
    (Some(shown), !below && !above)
}

fn describe(verdict: &Verdict) -> String {
    let limits = match (verdict.min, verdict.max) {
        (Some(min), Some(max)) => format!("{min} to {max}"),
        (Some(min), None) => format!("at least {min}"),
        (None, Some(max)) => format!("at most {max}"),
        (None, None) => "a value".to_owned(),
    };
    match verdict.value {
        Some(value) => format!("{} is {value}, expected {limits}", verdict.metric),
        None => format!("{} has no good value, expected {limits}", verdict.metric),
    }
}
