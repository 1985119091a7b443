//! What a run does next. Each answer, once applied, leads to the next until there is nothing to do but wait.

use std::time::Duration;

use rigwire_shared::event::{Level, code};
use rigwire_shared::ids::{AttemptId, RunId};
use rigwire_shared::time::Timestamp;
use rigwire_shared::value::{Fields, Value};

use super::{ChildPlan, Run};
use crate::event::{Hold, RunEventBody, RunLog, RunStatus, SafeState, StepChange, StepEvent, StepState};
use crate::module::{self, Where};
use crate::procedure::{DEFAULT_TIMEOUT, Step};
use crate::template;

/// Beyond a step's own timeout, for the way to the agent and back.
pub(crate) const GRACE: Duration = Duration::from_secs(15);

/// How long an agent may take to confirm that it stopped a step.
pub(crate) const CANCEL_GRACE: Duration = Duration::from_secs(10);

/// How long a `finally` step waits for its turn on a device that others use, too.
const TURN_PATIENCE: Duration = Duration::from_secs(600);

#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "an action lives for one call")]
pub enum Action {
    Emit(RunEventBody),
    /// Send the step to the agent of its device, under a new attempt id.
    Dispatch {
        index: usize,
        with: Fields,
    },
    /// Start a run for this one.
    StartChild(Box<ChildPlan>),
    StopChild {
        run: RunId,
        cause: String,
    },
    /// Keep a file of the run.
    Keep {
        name: String,
        media_type: String,
        bytes: Vec<u8>,
    },
    /// Ask the agent to stop an attempt.
    Stop {
        index: usize,
        attempt: AttemptId,
        cause: String,
    },
}

/// An action, or when to ask again.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    Do(Vec<Action>),
    WaitUntil(Option<Timestamp>),
}

pub(super) fn after(at: Timestamp, duration: Duration) -> Timestamp {
    Timestamp(at.0.saturating_add(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
}

impl Run {
    /// Whether the run waits for devices.
    pub fn wants_devices(&self) -> bool {
        self.finished.is_none() && self.bound.is_none() && self.cancel.is_none() && self.procedure.is_some()
    }

    /// Whether it has its devices, and nothing was done with them yet.
    pub fn is_about_to_begin(&self) -> bool {
        self.status == RunStatus::Pending && self.bound.is_some() && self.finished.is_none() && self.cancel.is_none()
    }

    pub fn next(&self, now: Timestamp) -> Next {
        if let Some(next) = self.next_of_external(now) {
            return next;
        }
        if self.finished.is_some() || self.procedure.is_none() {
            return Next::WaitUntil(None);
        }
        if self.bound.is_none() {
            return match &self.cancel {
                Some(_) => Next::Do(vec![Action::Emit(RunEventBody::Finished(self.conclude(now)))]),
                None => self.next_of_waiting(now),
            };
        }
        if self.status == RunStatus::Pending {
            let status = RunEventBody::Status {
                status: RunStatus::Running,
                step: Some(super::INITIALIZING.to_owned()),
                message: None,
            };
            return Next::Do(vec![Action::Emit(status)]);
        }
        if let Some(next) = self.next_of_children(now) {
            return next;
        }
        if let Some(next) = self.next_point() {
            return next;
        }
        let mut wake: Option<Timestamp> = None;
        for index in 0..self.steps.len() {
            match self.next_of_step(index, now) {
                Next::Do(actions) => return Next::Do(actions),
                Next::WaitUntil(at) => wake = earliest(wake, at),
            }
        }
        if self.steps.iter().all(|step| step.state.is_final()) && self.sweep_is_over() {
            let end = Action::Emit(RunEventBody::Finished(self.conclude(now)));
            return Next::Do(self.sweep_table().into_iter().chain([end]).collect());
        }
        Next::WaitUntil(wake)
    }

    /// A procedure may say how long its runs wait for devices.
    fn next_of_waiting(&self, now: Timestamp) -> Next {
        let Some(wait) = self.procedure.as_deref().and_then(|procedure| procedure.wait) else {
            return Next::WaitUntil(None);
        };
        let end = after(self.waits_since, wait);
        if end > now {
            return Next::WaitUntil(Some(end));
        }
        let cause = self.waiting_for.as_deref().unwrap_or("waiting for devices");
        let message = format!("no devices within {}: {cause}", humantime::format_duration(wait));
        let finished = self.refuse(now, code::DEVICES_UNAVAILABLE, message, None);
        Next::Do(vec![Action::Emit(RunEventBody::Finished(finished))])
    }

    fn next_of_step(&self, index: usize, now: Timestamp) -> Next {
        let (Some(step), Some(plan), Some(card)) =
            (self.steps.get(index), self.plan_of(index), self.header.steps.get(index))
        else {
            return Next::WaitUntil(None);
        };
        match step.state {
            StepState::Running => self.next_of_running(index, plan, now),
            StepState::Pending if card.finally => self.next_of_finally(index, plan, now),
            StepState::Pending => self.next_of_pending(index, plan, now),
            StepState::Completed | StepState::Failed | StepState::Cancelled | StepState::Skipped => {
                Next::WaitUntil(None)
            }
        }
    }

    fn next_of_pending(&self, index: usize, plan: &Step, now: Timestamp) -> Next {
        if let Some(cause) = self.stop_cause() {
            return self.emit(index, StepChange::Skipped { cause });
        }
        let needs = self.needs.get(index).map(Vec::as_slice).unwrap_or_default();
        let met = needs.iter().all(|need| {
            self.steps
                .get(*need)
                .is_some_and(|step| matches!(step.state, StepState::Completed | StepState::Failed | StepState::Skipped))
        });
        // A paused run ends what it began and begins nothing.
        if met && self.status != RunStatus::Paused { self.begin(index, plan, now) } else { Next::WaitUntil(None) }
    }

    /// `finally` steps run in order once every other step has ended.
    fn next_of_finally(&self, index: usize, plan: &Step, now: Timestamp) -> Next {
        let before_ended = self.steps.iter().take(index).all(|step| step.state.is_final());
        if before_ended && self.sweep_is_over() { self.begin(index, plan, now) } else { Next::WaitUntil(None) }
    }

    fn begin(&self, index: usize, plan: &Step, now: Timestamp) -> Next {
        let Some(step) = self.steps.get(index) else { return Next::WaitUntil(None) };
        if let Some(retry_at) = step.retry_at
            && retry_at > now
        {
            return Next::WaitUntil(Some(retry_at));
        }
        if let Some(since) = step.queued {
            return self.next_of_queued(index, since, now);
        }
        match self.condition(plan) {
            Ok(None) => {}
            Ok(Some(cause)) => return self.emit(index, StepChange::Skipped { cause }),
            Err(message) => return self.begin_and_fail(index, code::INVALID_PARAMETER, message),
        }
        let with = match self.filled(plan) {
            Ok(with) => with,
            Err(message) => return self.begin_and_fail(index, code::INVALID_PARAMETER, message),
        };
        match module::find(&plan.module).map(|module| module.runs) {
            Some(Where::Device) if self.device_of(index).is_none() => self.begin_and_fail(
                index,
                code::DEVICE_UNKNOWN,
                format!("step {plan} has no device", plan = plan.module),
            ),
            Some(Where::Device) if self.device_is_used(index) => Next::WaitUntil(None),
            Some(Where::Device) => Next::Do(vec![Action::Dispatch { index, with }]),
            Some(Where::Hub) => self.emit_attempt(index, StepChange::Running),
            None => self.begin_and_fail(index, code::MODULE_UNKNOWN, format!("there is no module {}", plan.module)),
        }
    }

    /// A step waits for its turn on a device until the run is cancelled. Nothing ends the wait of a `finally` step, which
    /// must not keep what the run holds for as long as somebody else likes.
    fn next_of_queued(&self, index: usize, since: Timestamp, now: Timestamp) -> Next {
        let end = after(since, TURN_PATIENCE);
        if !self.header.steps.get(index).is_some_and(|card| card.finally) {
            return Next::WaitUntil(None);
        }
        if end > now {
            return Next::WaitUntil(Some(end));
        }
        let device = self.device_of(index).map(|bound| bound.device.as_str()).unwrap_or_default();
        let message = format!("{device} was not free within {}", humantime::format_duration(TURN_PATIENCE));
        self.begin_and_fail(index, code::DEVICES_UNAVAILABLE, message)
    }

    /// Whether another step of this run is on the same device.
    fn device_is_used(&self, index: usize) -> bool {
        let Some(bound) = self.device_of(index).filter(|bound| bound.hold != Hold::Never) else { return false };
        let device = Some(&bound.device);
        self.outstanding()
            .any(|(other, _)| other != index && self.device_of(other).map(|bound| &bound.device) == device)
    }

    fn next_of_running(&self, index: usize, plan: &Step, now: Timestamp) -> Next {
        let Some(step) = self.steps.get(index) else { return Next::WaitUntil(None) };
        let began = step.waiting_since.unwrap_or(now);
        let elapsed = now.seconds_since(began).max(0.0);
        let Some(attempt) = step.attempt_id else {
            return self.next_of_hub_step(index, plan, began, now);
        };
        if let (Some(cause), true) = (&self.cancel, self.is_stopping(index)) {
            return match step.cancel_sent {
                None => Next::Do(vec![Action::Stop { index, attempt, cause: cause.clone() }]),
                Some(sent) if after(sent, CANCEL_GRACE) <= now => {
                    let safe = SafeState {
                        outcome: "unreachable".to_owned(),
                        detail: Some("the agent did not confirm that it stopped".to_owned()),
                    };
                    self.emit(index, StepChange::Cancelled { duration_s: elapsed, safe: Some(safe) })
                }
                Some(sent) => Next::WaitUntil(Some(after(sent, CANCEL_GRACE))),
            };
        }
        let overdue = after(began, plan.timeout.unwrap_or(DEFAULT_TIMEOUT).saturating_add(GRACE));
        if overdue > now {
            return Next::WaitUntil(Some(overdue));
        }
        let agent = self.device_of(index).map(|bound| bound.agent.as_str().to_owned()).unwrap_or_default();
        let message = format!("{}: no result from agent {agent} within {elapsed:.0} s", plan.module);
        let change = self.failed(index, code::MODULE_TIMEOUT, message, elapsed);
        let mut actions = vec![Action::Stop { index, attempt, cause: "overdue".to_owned() }];
        actions.extend(self.step_event(index, change).map(RunEventBody::Step).map(Action::Emit));
        Next::Do(actions)
    }

    /// `delay`, `log` and `assert` run here, on the hub's own clock.
    fn next_of_hub_step(&self, index: usize, plan: &Step, began: Timestamp, now: Timestamp) -> Next {
        let elapsed = now.seconds_since(began).max(0.0);
        if self.is_stopping(index) {
            return self.emit(index, StepChange::Cancelled { duration_s: elapsed, safe: None });
        }
        let with = match self.filled(plan) {
            Ok(with) => with,
            Err(message) => return self.fail(index, code::INVALID_PARAMETER, message, elapsed),
        };
        let text = |key: &str| with.iter().find(|(name, _)| name == key).and_then(|(_, value)| value.as_str());
        match plan.module.as_str() {
            "delay" => {
                let Some(duration) = text("duration").and_then(|text| humantime::parse_duration(text).ok()) else {
                    let message =
                        "duration of delay is not one, expected a form such as \"500ms\" or \"5s\"".to_owned();
                    return self.fail(index, code::INVALID_PARAMETER, message, elapsed);
                };
                let end = after(began, duration);
                if end > now { Next::WaitUntil(Some(end)) } else { self.complete(index, elapsed) }
            }
            "log" => {
                let level = match text("level").unwrap_or("info") {
                    "debug" => Level::Debug,
                    "info" => Level::Info,
                    "warning" => Level::Warning,
                    "error" => Level::Error,
                    other => {
                        let message = format!("level of log is {other:?}, expected debug, info, warning or error");
                        return self.fail(index, code::INVALID_PARAMETER, message, elapsed);
                    }
                };
                let message = with.iter().find(|(name, _)| name == "message").map(|(_, value)| plain(value));
                let log = RunEventBody::Log(RunLog {
                    level,
                    message: message.unwrap_or_default(),
                    device: None,
                    module: Some("log".to_owned()),
                    step: self.header.steps.get(index).map(|card| card.id.clone()),
                    source: "procedure".to_owned(),
                });
                let completed = StepChange::Completed { duration_s: elapsed, outputs: Fields::new(), screenshot: None };
                let mut actions = vec![Action::Emit(log)];
                actions.extend(self.step_event(index, completed).map(RunEventBody::Step).map(Action::Emit));
                Next::Do(actions)
            }
            "assert" => self.assert(index, &with, elapsed),
            other => self.fail(index, code::MODULE_UNKNOWN, format!("there is no module {other}"), elapsed),
        }
    }

    fn assert(&self, index: usize, with: &Fields, elapsed: f64) -> Next {
        let that = with.iter().find(|(name, _)| name == "that").map(|(_, value)| value);
        let outcome = match that {
            Some(Value::Text(expression)) => template::evaluate(expression, &self.context()),
            Some(value) => Ok(value.clone()),
            None => Err("assert needs that".to_owned()),
        };
        match outcome {
            Ok(Value::Bool(true)) => self.complete(index, elapsed),
            Ok(Value::Bool(false)) => {
                let own = with.iter().find(|(name, _)| name == "message").map(|(_, value)| plain(value));
                let written = that.map(plain).unwrap_or_default();
                let message = own.unwrap_or_else(|| format!("assertion {written} does not hold"));
                self.fail(index, code::EXPECTATION_FAILED, message, elapsed)
            }
            Ok(other) => {
                let message = format!("assertion gives {}, expected true or false", plain(&other));
                self.fail(index, code::INVALID_PARAMETER, message, elapsed)
            }
            Err(message) => self.fail(index, code::INVALID_PARAMETER, message, elapsed),
        }
    }

    /// Why a step is not to run, if its condition says so.
    fn condition(&self, plan: &Step) -> Result<Option<String>, String> {
        let Some(when) = &plan.when else { return Ok(None) };
        match template::evaluate(when, &self.context())? {
            Value::Bool(true) => Ok(None),
            Value::Bool(false) => Ok(Some(format!("when {when} does not hold"))),
            other @ (Value::Null
            | Value::Int(_)
            | Value::Float(_)
            | Value::Text(_)
            | Value::List(_)
            | Value::Map(_)) => Err(format!("when gives {}, expected true or false", plain(&other))),
        }
    }

    fn filled(&self, plan: &Step) -> Result<Fields, String> {
        let context = self.context();
        plan.fields().iter().map(|(name, value)| Ok((name.clone(), template::fill(value, &context)?))).collect()
    }

    /// `with` of an outstanding step as it was sent, to send it again.
    pub fn filled_again(&self, index: usize) -> Option<Fields> {
        self.filled(self.plan_of(index)?).ok()
    }

    pub fn timeout_of(&self, index: usize) -> Duration {
        self.plan_of(index).and_then(|plan| plan.timeout).unwrap_or(DEFAULT_TIMEOUT)
    }

    pub fn next_attempt(&self, index: usize) -> u32 {
        self.steps.get(index).map_or(1, |step| step.attempt + 1)
    }

    fn stop_cause(&self) -> Option<String> {
        match (&self.cancel, &self.failure) {
            (Some(cause), _) => Some(format!("run cancelled: {cause}")),
            (None, Some(error)) => Some(match &error.step {
                Some(step) => format!("step {step} failed"),
                None => "the run failed".to_owned(),
            }),
            (None, None) => None,
        }
    }

    fn complete(&self, index: usize, elapsed: f64) -> Next {
        self.emit(index, StepChange::Completed { duration_s: elapsed, outputs: Fields::new(), screenshot: None })
    }

    fn fail(&self, index: usize, error_code: &str, message: String, elapsed: f64) -> Next {
        self.emit(index, self.failed(index, error_code, message, elapsed))
    }

    fn emit(&self, index: usize, change: StepChange) -> Next {
        Next::Do(self.step_event(index, change).map(RunEventBody::Step).map(Action::Emit).into_iter().collect())
    }

    /// Begins an attempt that has no agent behind it.
    fn emit_attempt(&self, index: usize, change: StepChange) -> Next {
        let attempt = self.next_attempt(index);
        let event = self.step_event(index, change).map(|event| StepEvent { attempt, ..event });
        Next::Do(event.map(RunEventBody::Step).map(Action::Emit).into_iter().collect())
    }

    fn begin_and_fail(&self, index: usize, error_code: &str, message: String) -> Next {
        let StepChange::Failed { duration_s, error_code, error, .. } = self.failed(index, error_code, message, 0.0)
        else {
            return Next::WaitUntil(None);
        };
        // The same template over the same outputs fails again: no retry.
        self.emit_attempt(index, StepChange::Failed { duration_s, error_code, error, will_retry: false })
    }
}

fn earliest(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::List(_) | Value::Map(_) => {
            serde_json::to_string(value).unwrap_or_default()
        }
    }
}
