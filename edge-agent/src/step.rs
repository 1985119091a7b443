//! One attempt at one step on a device, as data: what to do next, and what came of it. No driver, no clock, no task.

use std::time::{Duration, Instant};

use rigwire_shared::agent::{ActionCard, ReadingCard};
use rigwire_shared::event::{SafeOutcome, Sample, StepError, StepOutcome, code};
use rigwire_shared::ids::{AttemptId, DeviceId, Fence, RunId};
use rigwire_shared::value::{Fields, Value};

use crate::driver::DriverError;

mod statistics;

use statistics::Statistics;

pub(crate) const READ: &str = "instrument.read";
pub(crate) const ACTION: &str = "instrument.action";
pub(crate) const SAFE_STATE: &str = "instrument.safe_state";

/// Most samples of one step. A longer measurement is several steps, or the periodic readings.
const SAMPLES_MAX: u32 = 1_000_000;

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Plan {
    Read { readings: Vec<String>, samples: u32, every: Duration },
    Action { action: String, with: Fields },
    SafeState,
}

impl Plan {
    pub(crate) fn module(&self) -> &'static str {
        match self {
            Self::Read { .. } => READ,
            Self::Action { .. } => ACTION,
            Self::SafeState => SAFE_STATE,
        }
    }
}

/// Reads a step's parameters. `readings` and `actions` are what the device offers in its mode.
pub(crate) fn plan(
    module: &str,
    with: &Fields,
    readings: &[ReadingCard],
    actions: &[ActionCard],
) -> Result<Plan, StepError> {
    match module {
        READ => plan_read(with, readings),
        ACTION => plan_action(with, actions),
        SAFE_STATE => match with.first() {
            Some((name, _)) => Err(invalid(format!("parameter {name} of {SAFE_STATE} is unknown, it takes none"))),
            None => Ok(Plan::SafeState),
        },
        other => Err(unknown_module(other)),
    }
}

pub(crate) fn unknown_module(module: &str) -> StepError {
    let message = format!(
        "module {module:?} is not one that this agent runs, expected {READ}, {ACTION}, {SAFE_STATE} or {}",
        crate::program::RUN
    );
    StepError { code: code::MODULE_UNKNOWN.to_owned(), message }
}

fn plan_read(with: &Fields, cards: &[ReadingCard]) -> Result<Plan, StepError> {
    let mut readings = Vec::new();
    let mut samples = 1;
    let mut every = Duration::ZERO;
    for (name, value) in with {
        match name.as_str() {
            "reading" => {
                let id = value.as_str().ok_or_else(|| wrong(READ, name, value, "the id of a reading"))?;
                if !cards.iter().any(|card| card.id == id) {
                    return Err(wrong(READ, name, value, &one_of(cards.iter().map(|card| card.id.as_str()))));
                }
                readings.push(id.to_owned());
            }
            "samples" => {
                samples = value
                    .as_i64()
                    .and_then(|count| u32::try_from(count).ok())
                    .filter(|count| (1..=SAMPLES_MAX).contains(count))
                    .ok_or_else(|| wrong(READ, name, value, "a whole number from 1 to 1000000"))?;
            }
            "every" => {
                every = duration(value).ok_or_else(|| wrong(READ, name, value, "a duration such as \"100ms\""))?;
            }
            _ => {
                let message = format!("parameter {name} of {READ} is unknown, expected reading, samples or every");
                return Err(invalid(message));
            }
        }
    }
    if readings.is_empty() {
        readings.extend(cards.iter().map(|card| card.id.clone()));
    }
    if readings.is_empty() {
        return Err(invalid(format!("{READ} has nothing to read: the device offers no reading in its mode")));
    }
    Ok(Plan::Read { readings, samples, every })
}

fn plan_action(with: &Fields, cards: &[ActionCard]) -> Result<Plan, StepError> {
    let expected = || one_of(cards.iter().map(|card| card.id.as_str()));
    let (_, value) = with
        .iter()
        .find(|(name, _)| name == "action")
        .ok_or_else(|| invalid(format!("parameter action of {ACTION} is missing, expected {}", expected())))?;
    let action = value
        .as_str()
        .filter(|id| cards.iter().any(|card| card.id == **id))
        .ok_or_else(|| wrong(ACTION, "action", value, &expected()))?;
    let rest = with.iter().filter(|(name, _)| name != "action").cloned().collect();
    Ok(Plan::Action { action: action.to_owned(), with: rest })
}

fn duration(value: &Value) -> Option<Duration> {
    match value {
        Value::Text(text) => humantime::parse_duration(text).ok(),
        Value::Int(_) | Value::Float(_) => Duration::try_from_secs_f64(value.as_f64()?).ok(),
        Value::Null | Value::Bool(_) | Value::List(_) | Value::Map(_) => None,
    }
}

fn one_of<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<_> = names.collect();
    if names.is_empty() {
        "nothing, as the device offers none".to_owned()
    } else {
        format!("one of {}", names.join(", "))
    }
}

fn wrong(module: &str, name: &str, value: &Value, expected: &str) -> StepError {
    let shown = serde_json::to_string(value).unwrap_or_default();
    invalid(format!("parameter {name} of {module} is {shown}, expected {expected}"))
}

fn invalid(message: String) -> StepError {
    StepError { code: code::INVALID_PARAMETER.to_owned(), message }
}

/// What the device task does next.
#[derive(Debug, PartialEq)]
pub(crate) enum Work {
    Read(String),
    Perform(String, Fields),
    MakeSafe,
}

#[derive(Debug)]
pub(crate) struct ActiveStep {
    pub(crate) attempt: AttemptId,
    pub(crate) run: RunId,
    /// Of the lease that it acts under.
    pub(crate) fence: Option<Fence>,
    device: DeviceId,
    plan: Plan,
    began: Instant,
    deadline: Instant,
    timeout: Duration,
    /// Rounds over all readings that are finished.
    rounds: u32,
    /// Next reading of the round.
    reading: usize,
    answered: bool,
    last_error: Option<DriverError>,
    statistics: Statistics,
}

impl ActiveStep {
    pub(crate) fn new(
        attempt: AttemptId,
        run: RunId,
        device: DeviceId,
        plan: Plan,
        timeout: Duration,
        now: Instant,
    ) -> Self {
        Self {
            attempt,
            run,
            fence: None,
            device,
            plan,
            began: now,
            deadline: now + timeout,
            timeout,
            rounds: 0,
            reading: 0,
            answered: false,
            last_error: None,
            statistics: Statistics::default(),
        }
    }

    pub(crate) fn under(self, fence: Option<Fence>) -> Self {
        Self { fence, ..self }
    }

    pub(crate) fn module(&self) -> &'static str {
        self.plan.module()
    }

    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    pub(crate) fn elapsed(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.began)
    }

    /// When the next work may begin.
    pub(crate) fn due(&self) -> Instant {
        match &self.plan {
            Plan::Read { every, .. } => self.began + every.saturating_mul(self.rounds).min(self.timeout),
            Plan::Action { .. } | Plan::SafeState => self.began,
        }
    }

    pub(crate) fn work(&self) -> Work {
        match &self.plan {
            Plan::Read { readings, .. } => Work::Read(readings.get(self.reading).cloned().unwrap_or_default()),
            Plan::Action { action, with } => Work::Perform(action.clone(), with.clone()),
            Plan::SafeState => Work::MakeSafe,
        }
    }

    /// Takes what one reading gave. `Some` ends the step.
    pub(crate) fn took(&mut self, result: &Result<Vec<Sample>, DriverError>) -> Option<StepOutcome> {
        match result {
            Ok(samples) => {
                self.answered = true;
                samples.iter().for_each(|sample| self.statistics.add(sample));
            }
            // One silent or unreadable answer is a value that is missing, not yet a failure.
            Err(error @ (DriverError::Silent(_) | DriverError::Garbled(_))) => self.last_error = Some(error.clone()),
            Err(
                error @ (DriverError::Disconnected(_)
                | DriverError::WrongDevice(_)
                | DriverError::Invalid(_)
                | DriverError::Refused(_)),
            ) => return Some(self.failed(error)),
        }
        let Plan::Read { readings, samples, .. } = &self.plan else { return None };
        self.reading += 1;
        if self.reading < readings.len() {
            return None;
        }
        self.reading = 0;
        self.rounds += 1;
        if self.rounds < *samples {
            return None;
        }
        Some(match self.last_error.take().filter(|_| !self.answered) {
            Some(error) => self.failed(&error),
            None => StepOutcome::Completed { outputs: self.statistics.outputs() },
        })
    }

    /// Counts the samples that stand for a reading which gave none.
    pub(crate) fn missed(&mut self, samples: &[Sample]) {
        samples.iter().for_each(|sample| self.statistics.add(sample));
    }

    pub(crate) fn performed(&self, result: Result<Fields, DriverError>) -> StepOutcome {
        match result {
            Ok(outputs) => StepOutcome::Completed { outputs },
            Err(error) => self.failed(&error),
        }
    }

    pub(crate) fn made_safe(&self, outcome: &SafeOutcome) -> StepOutcome {
        let (word, failure) = match outcome {
            SafeOutcome::Verified => ("verified", None),
            SafeOutcome::Unverified => ("unverified", None),
            SafeOutcome::NotNeeded => ("not-needed", None),
            SafeOutcome::Refused { detail } => ("refused", Some(detail)),
            SafeOutcome::Unreachable { detail } => ("unreachable", Some(detail)),
        };
        match failure {
            None => StepOutcome::Completed { outputs: vec![("safe".to_owned(), Value::Text(word.to_owned()))] },
            Some(detail) => {
                let message = format!("the safe state of {} is {word}: {detail}", self.device);
                StepOutcome::Failed { error: StepError { code: code::MODULE_EXECUTION_ERROR.to_owned(), message } }
            }
        }
    }

    pub(crate) fn timed_out(&self) -> StepOutcome {
        let message = format!(
            "{} on {} did not end within {}",
            self.module(),
            self.device,
            humantime::format_duration(self.timeout)
        );
        StepOutcome::Failed { error: StepError { code: code::MODULE_TIMEOUT.to_owned(), message } }
    }

    pub(crate) fn disconnected(&self, cause: &str) -> StepOutcome {
        let message = format!("device {} disconnected during {}: {cause}", self.device, self.module());
        StepOutcome::Failed { error: StepError { code: code::DEVICE_DISCONNECTED.to_owned(), message } }
    }

    /// How far it is, when there is more than one round to tell about.
    pub(crate) fn progress(&self) -> Option<(f32, String)> {
        match &self.plan {
            Plan::Read { samples, .. } if *samples > 1 && self.reading == 0 && self.rounds > 0 => {
                #[expect(clippy::cast_possible_truncation, reason = "a percentage needs no more than an f32")]
                let percent = (100.0 * f64::from(self.rounds) / f64::from(*samples)) as f32;
                Some((percent, format!("sample {} of {samples}", self.rounds)))
            }
            Plan::Read { .. } | Plan::Action { .. } | Plan::SafeState => None,
        }
    }

    fn failed(&self, error: &DriverError) -> StepOutcome {
        let (code, message) = match error {
            DriverError::Disconnected(cause) => return self.disconnected(cause),
            DriverError::Invalid(message) => (code::INVALID_PARAMETER, message.clone()),
            DriverError::WrongDevice(message) => (code::DEVICE_NOT_ONLINE, message.clone()),
            DriverError::Silent(message) | DriverError::Garbled(message) | DriverError::Refused(message) => {
                (code::MODULE_EXECUTION_ERROR, format!("{} on {}: {message}", self.module(), self.device))
            }
        };
        StepOutcome::Failed { error: StepError { code: code.to_owned(), message } }
    }
}

#[cfg(test)]
mod tests;
