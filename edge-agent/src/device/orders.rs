//! What the hub may ask of a device, and every way to answer.

use rigwire_shared::agent::DeviceState;
use rigwire_shared::event::{Answer, EventBody, SafeOutcome, StepError, StepFinished, StepOutcome, code};
use rigwire_shared::ids::{AttemptId, CommandId, Fence, RunId};
use tokio::time::Instant;

use super::lifecycle::Happening;
use super::{Device, Order, StepOrder};
use crate::driver::Driver;
use crate::lease::{Granted, Held, Released};
use crate::step::{self, ActiveStep};

/// How long the disk may take to record that a step begins. The device is not touched before.
const RECORD_WITHIN: std::time::Duration = std::time::Duration::from_secs(5);

impl Device {
    /// Answers while there is no usable device.
    pub(super) async fn refuse(&mut self, order: Order) {
        let (state, cause) = (self.lifecycle.state(), self.lifecycle.cause());
        let message = format!("device {} is {state}: {cause}", self.settings.id);
        let error = StepError { code: code::DEVICE_NOT_ONLINE.to_owned(), message: message.clone() };
        match order {
            Order::Start(order) => {
                let error = match self.lease.admit(order.fence) {
                    Ok(overtaken) => {
                        self.overtaken_while_away(overtaken).await;
                        error
                    }
                    Err(error) => error,
                };
                self.fail(order.run, order.attempt, error).await;
            }
            // It cannot be running, so there is nothing left to stop.
            Order::Cancel { command, .. } => self.answer(command, Answer::Done).await,
            Order::Grant { command, fence, until, holder } => {
                match self.lease.grant(Held { fence, until, holder: holder.clone() }) {
                    Ok(Granted { new, overtaken }) => {
                        self.overtaken_while_away(overtaken).await;
                        self.answer_grant(command, fence, new, &holder).await;
                    }
                    Err(error) => self.answer(command, Answer::Refused { error }).await,
                }
            }
            Order::Release { command, fence } => match self.lease.release(fence) {
                Ok(Released { was_held, overtaken }) => {
                    self.overtaken_while_away(overtaken).await;
                    self.answer_release(command, fence, was_held).await;
                }
                Err(error) => self.answer(command, Answer::Refused { error }).await,
            },
            Order::MakeSafe { command, cause } => {
                let outcome = SafeOutcome::Unreachable { detail: message };
                self.tell_safe(&cause, outcome).await;
                self.answer(command, Answer::Refused { error }).await;
            }
        }
    }

    pub(super) async fn order<D: Driver>(&mut self, driver: &mut D, order: Order) {
        match order {
            Order::Start(order) => self.start(driver, order).await,
            Order::Cancel { command, attempt, cause } => {
                self.answer(command, Answer::Done).await;
                if let Some(step) = self.step.take_if(|step| step.attempt == attempt) {
                    let safe = if self.settings.safe.on_abort {
                        Some(self.make_safe(driver, &format!("step cancelled: {cause}")).await)
                    } else {
                        None
                    };
                    self.finish(&step, StepOutcome::Cancelled { safe }).await;
                }
            }
            Order::Grant { command, fence, until, holder } => {
                match self.lease.grant(Held { fence, until, holder: holder.clone() }) {
                    Ok(Granted { new, overtaken }) => {
                        self.overtake(driver, fence, overtaken).await;
                        self.answer_grant(command, fence, new, &holder).await;
                    }
                    Err(error) => self.answer(command, Answer::Refused { error }).await,
                }
            }
            Order::Release { command, fence } => match self.lease.release(fence) {
                Ok(Released { was_held, overtaken }) => {
                    self.overtake(driver, fence, overtaken).await;
                    self.stop_acting(driver, fence).await;
                    self.answer_release(command, fence, was_held).await;
                }
                Err(error) => self.answer(command, Answer::Refused { error }).await,
            },
            Order::MakeSafe { command, cause } => {
                if let Some(step) = self.step.take() {
                    let safe = self.make_safe(driver, &cause).await;
                    self.finish(&step, StepOutcome::Cancelled { safe: Some(safe.clone()) }).await;
                    self.answer_safe(command, safe).await;
                } else {
                    let safe = self.make_safe(driver, &cause).await;
                    self.answer_safe(command, safe).await;
                }
            }
        }
    }

    async fn start<D: Driver>(&mut self, driver: &mut D, order: StepOrder) {
        let StepOrder { run, attempt, fence, module, with, timeout } = order;
        match self.lease.admit(fence) {
            Ok(overtaken) => {
                if let Some(fence) = fence {
                    self.overtake(driver, fence, overtaken).await;
                }
            }
            Err(error) => return self.fail(run, attempt, error).await,
        }
        if let Some(running) = &self.step {
            let message = format!("device {} is busy with {}", self.settings.id, running.module());
            return self.fail(run, attempt, StepError { code: code::DEVICE_BUSY.to_owned(), message }).await;
        }
        let plan = match step::plan(&module, &with, &self.settings.readings, &self.settings.actions) {
            Ok(plan) => plan,
            Err(error) => return self.fail(run, attempt, error).await,
        };
        let started = EventBody::StepStarted { attempt, run, device: Some(self.settings.id.clone()) };
        if !matches!(tokio::time::timeout(RECORD_WITHIN, self.events.record(started)).await, Ok(true)) {
            let message = format!("the start of {module} on {} could not be recorded", self.settings.id);
            let error = StepError { code: code::MODULE_EXECUTION_ERROR.to_owned(), message };
            return self.fail(run, attempt, error).await;
        }
        self.happen(Happening::StepBegan(plan.module())).await;
        let device = self.settings.id.clone();
        let step = ActiveStep::new(attempt, run, device, plan, timeout, Instant::now().into_std());
        self.step = Some(step.under(fence));
    }

    /// Tells how a step ended, and that the device is free again.
    pub(super) async fn finish(&mut self, step: &ActiveStep, outcome: StepOutcome) {
        self.conclude(step, outcome).await;
        if self.lifecycle.state() == DeviceState::Busy {
            self.happen(Happening::StepEnded).await;
        }
    }

    /// Tells how a step ended on a device that is no longer there.
    pub(super) async fn conclude(&mut self, step: &ActiveStep, outcome: StepOutcome) {
        let elapsed = step.elapsed(Instant::now().into_std());
        let duration_us = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        let finished = StepFinished { attempt: step.attempt, run: step.run, outcome, duration_us };
        self.events.send(EventBody::StepFinished(finished)).await;
    }

    async fn fail(&mut self, run: RunId, attempt: AttemptId, error: StepError) {
        let outcome = StepOutcome::Failed { error };
        self.events.send(EventBody::StepFinished(StepFinished { attempt, run, outcome, duration_us: 0 })).await;
    }

    /// Somebody holds the device under a newer number: who acted under an older one is stopped and the device made safe
    /// before anything is done for the new holder.
    async fn overtake<D: Driver>(&mut self, driver: &mut D, fence: Fence, overtaken: Option<Held>) {
        let acts = self.step.as_ref().is_some_and(|step| step.fence < Some(fence));
        if !acts && overtaken.is_none() {
            return;
        }
        let older = overtaken.as_ref().map_or("an older step", |held| held.holder.as_str());
        let cause = format!("{older} was overtaken under fencing number {}", fence.0);
        let policy = self.settings.safe;
        self.lose_control(driver, policy.on_lease_lost || (acts && policy.on_abort), &cause).await;
        if let Some(held) = overtaken {
            self.tell_lease(held.fence, false, cause).await;
        }
    }

    /// The same for a device that is not there: it is made safe when it is back.
    async fn overtaken_while_away(&mut self, overtaken: Option<Held>) {
        let Some(held) = overtaken else { return };
        let cause = format!("{} was overtaken", held.holder);
        if self.settings.safe.on_lease_lost {
            self.owes_safe.get_or_insert_with(|| cause.clone());
        }
        self.tell_lease(held.fence, false, cause).await;
    }

    /// The lease was given back, and a step under it still acts: the hub could not wait for its end.
    async fn stop_acting<D: Driver>(&mut self, driver: &mut D, fence: Fence) {
        if self.step.as_ref().is_some_and(|step| step.fence == Some(fence)) {
            let policy = self.settings.safe;
            let cause = "the lease was given back during the step";
            self.lose_control(driver, policy.on_lease_lost || policy.on_abort, cause).await;
        }
    }

    async fn answer_grant(&mut self, command: CommandId, fence: Fence, new: bool, holder: &str) {
        if new {
            self.tell_lease(fence, true, format!("granted to {holder}")).await;
        }
        self.answer(command, Answer::Done).await;
    }

    /// The hub asks until it hears of the end, so it is told even when there was nothing to end.
    async fn answer_release(&mut self, command: CommandId, fence: Fence, was_held: bool) {
        let cause = if was_held { "released" } else { "was not held" };
        self.tell_lease(fence, false, cause.to_owned()).await;
        self.answer(command, Answer::Done).await;
    }

    pub(super) async fn tell_lease(&mut self, fence: Fence, held: bool, cause: String) {
        self.events.send(EventBody::Lease { device: self.settings.id.clone(), fence, held, cause }).await;
    }

    pub(super) async fn tell_safe(&mut self, cause: &str, outcome: SafeOutcome) {
        if let SafeOutcome::Unreachable { detail } | SafeOutcome::Refused { detail } = &outcome {
            tracing::error!(device = %self.settings.id, cause, detail, "the device could not be made safe");
        }
        let device = self.settings.id.clone();
        self.events.send(EventBody::Safe { device, cause: cause.to_owned(), outcome }).await;
    }

    async fn answer_safe(&mut self, command: CommandId, outcome: SafeOutcome) {
        let answer = match outcome {
            SafeOutcome::Verified | SafeOutcome::Unverified | SafeOutcome::NotNeeded => Answer::Done,
            SafeOutcome::Refused { detail } | SafeOutcome::Unreachable { detail } => {
                let message = format!("device {} could not be made safe: {detail}", self.settings.id);
                Answer::Refused { error: StepError { code: code::MODULE_EXECUTION_ERROR.to_owned(), message } }
            }
        };
        self.answer(command, answer).await;
    }

    async fn answer(&mut self, command: CommandId, answer: Answer) {
        self.events.send(EventBody::CommandAnswered { command, answer }).await;
    }
}
