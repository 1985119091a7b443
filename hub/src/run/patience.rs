//! How long a run waits for what, by the hub's own clock, and what was sent to whom. None of it is in the record: after a
//! restart a run waits anew. Knows no agent and no message.

use std::time::Duration;

use rigwire_shared::ids::Epoch;
use rigwire_shared::time::Timestamp;

use super::Run;
use super::plan::after;
use crate::event::{StepChange, StepEvent, StepState};

impl Run {
    /// Whether a step is to end because the run was cancelled. `finally` steps go on.
    pub fn is_stopping(&self, index: usize) -> bool {
        self.cancel.is_some() && !self.header.steps.get(index).is_some_and(|card| card.finally)
    }

    pub fn note_stop_sent(&mut self, index: usize, now: Timestamp) {
        if let Some(step) = self.steps.get_mut(index) {
            step.cancel_sent = Some(now);
        }
    }

    pub fn note_sent(&mut self, index: usize, epoch: Epoch) {
        if let Some(step) = self.steps.get_mut(index) {
            step.sends = step.sends.saturating_add(1);
            step.sent_to = Some(epoch);
        }
    }

    /// The step waits for its turn on a device that other runs use, too.
    pub fn note_queued(&mut self, index: usize, now: Timestamp) {
        if let Some(step) = self.steps.get_mut(index) {
            step.queued = Some(now);
        }
    }

    /// Its turn has come. False when it no longer wants it.
    pub fn note_turn(&mut self, index: usize) -> bool {
        self.steps.get_mut(index).is_some_and(|step| step.queued.take().is_some() && step.state == StepState::Pending)
    }

    /// Whether the attempt went to this start of its agent, which has it or will have it.
    pub fn was_sent_to(&self, index: usize, epoch: Epoch) -> bool {
        self.steps.get(index).is_some_and(|step| step.sent_to == Some(epoch))
    }

    /// The agent would not begin an attempt that came too late, or was meant for an earlier start of it. Whether the same
    /// attempt was sent once more since, so that its fate is still open.
    pub fn note_refused(&mut self, index: usize) -> bool {
        let Some(step) = self.steps.get_mut(index).filter(|step| !step.running) else { return false };
        step.sends = step.sends.saturating_sub(1);
        step.sends > 0
    }

    /// An agent's word on a step came now. The time it gives is by its own clock, which may be anywhere.
    pub fn note_heard(&mut self, event: &StepEvent, now: Timestamp) {
        let Some(index) = self.index_of(&event.step) else { return };
        let backoff = self.backoff_of(index);
        let Some(step) = self.steps.get_mut(index) else { return };
        match &event.change {
            StepChange::Running => step.waiting_since = Some(now),
            StepChange::Failed { will_retry: true, .. } => step.retry_at = Some(after(now, backoff)),
            StepChange::Dispatched { .. }
            | StepChange::Progress { .. }
            | StepChange::Completed { .. }
            | StepChange::Failed { .. }
            | StepChange::Cancelled { .. }
            | StepChange::Skipped { .. } => {}
        }
    }

    /// The hub started. What agents finished while it was away is still on its way, so every attempt gets its time again.
    pub fn resume(&mut self, now: Timestamp) {
        self.note_producer(now);
        self.wait_anew(now);
        for index in 0..self.steps.len() {
            let latest = after(now, self.backoff_of(index));
            let Some(step) = self.steps.get_mut(index) else { continue };
            step.retry_at = step.retry_at.map(|at| at.min(latest));
            if step.attempt_id.is_some() {
                step.waiting_since = Some(now);
                step.sends = 1;
            }
        }
    }

    /// It has all of its time to wait for devices once more: agents are yet to be heard of, or it was held back.
    pub fn wait_anew(&mut self, now: Timestamp) {
        self.waits_since = now;
    }

    /// The hub's clock was set: what is waited for moves with it.
    pub fn shift(&mut self, by_us: i64) {
        if let Some(external) = &mut self.external {
            external.heard.0 = external.heard.0.saturating_add(by_us);
        }
        self.waits_since.0 = self.waits_since.0.saturating_add(by_us);
        for step in &mut self.steps {
            for at in [&mut step.waiting_since, &mut step.retry_at, &mut step.cancel_sent, &mut step.queued]
                .into_iter()
                .flatten()
            {
                at.0 = at.0.saturating_add(by_us);
            }
        }
    }

    pub(super) fn backoff_of(&self, index: usize) -> Duration {
        self.plan_of(index).and_then(|step| step.retry.as_ref()).and_then(|retry| retry.backoff).unwrap_or_default()
    }
}
