//! What changes an instrument: actions with read-back, the safe state, and the error queue that tells of refusals.

use std::sync::Arc;

use rigwire_shared::event::SafeOutcome;
use rigwire_shared::value::{Fields, Value};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until};

use super::{ERRORS_MAX, Instrument, Mode, parameters};
use crate::driver::DriverError;
use crate::profile::definition::{Action, Command, Equals, Query, Verify, VerifySource};
use crate::profile::interpret::{same, shown};

/// The last performance of an action on this connection.
pub(super) struct Written {
    at: Instant,
    count: u64,
    /// `None` when it was not confirmed by reading back.
    verified: Option<Fields>,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Instrument<S> {
    pub(super) async fn act(&mut self, id: &str, with: &[(String, Value)]) -> Result<Fields, DriverError> {
        let profile = Arc::clone(&self.profile);
        let Some(action) = profile.actions.iter().find(|action| action.id == id) else {
            let known: Vec<&str> = profile.actions.iter().map(|action| action.id.as_str()).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return Err(DriverError::Invalid(format!("device {} has no action {id}, expected {known}", self.device)));
        };
        if self.options.mode == Mode::Observe {
            return Err(DriverError::Invalid(format!(
                "action {id} needs mode own, device {} is configured as observe",
                self.device
            )));
        }
        let parameters = parameters::check(action, with).map_err(DriverError::Invalid)?;
        let mut outputs = parameters.clone();
        let earlier = self.written.get(id);
        if action.skip_if_equal && earlier.is_some_and(|written| written.verified.as_ref() == Some(&parameters)) {
            outputs.push(("skipped".to_owned(), Value::Bool(true)));
            return Ok(outputs);
        }
        if let Some((interval, written)) = action.min_interval.zip(earlier) {
            sleep_until(written.at + interval).await;
        }
        let count = self.written.get(id).map_or(0, |written| written.count);
        if action.lifetime.is_some_and(|lifetime| count >= lifetime) {
            return Err(DriverError::Refused(format!(
                "action {id} was performed {count} times, which its memory is made for"
            )));
        }
        let after_action = profile.errors.as_ref().is_some_and(|errors| errors.after_action);
        if after_action {
            // Errors from before must not be blamed on this action.
            self.collect_errors().await?;
        }
        self.written.insert(id.to_owned(), Written { at: Instant::now(), count: count + 1, verified: None });
        self.send_action(action, &parameters).await?;
        if after_action && let Some((code, text)) = self.collect_errors().await? {
            return Err(DriverError::Refused(format!("device {} refused action {id}: {code} {text}", self.device)));
        }
        if let Some(verify) = &action.verify {
            let label = format!("action {id} of device {}", self.device);
            let found = self.confirm(verify, &parameters).await?;
            let expected = expected(verify, &parameters);
            if !same(&found, &expected, verify.tolerance) {
                let (found, expected) = (shown(&found), shown(&expected));
                return Err(DriverError::Refused(format!(
                    "{label} did not take: read back {found}, expected {expected}"
                )));
            }
            if let Some(written) = self.written.get_mut(id) {
                written.verified = Some(parameters);
            }
            outputs.push(("read_back".to_owned(), found));
        }
        outputs.push(("verified".to_owned(), Value::Bool(action.verify.is_some())));
        Ok(outputs)
    }

    async fn send_action(&mut self, action: &Action, parameters: &Fields) -> Result<(), DriverError> {
        let Command::Send(template) = &action.command else {
            return Err(DriverError::Invalid(format!("action {}: registers are not driven yet", action.id)));
        };
        let lookup = |name: &str| parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        let text =
            template.render(&lookup).map_err(|error| DriverError::Invalid(format!("action {}: {error}", action.id)))?;
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(&self.profile.command_end);
        let Some((pattern, receive)) = &action.expect else { return self.link.command(&bytes).await };
        let reply = self.link.exchange(&bytes, receive, action.timeout).await?;
        let answer = String::from_utf8_lossy(&reply.bytes);
        let answer = answer.trim_end_matches(['\r', '\n']);
        if pattern.is_match(answer) {
            return Ok(());
        }
        let id = &action.id;
        Err(DriverError::Refused(format!(
            "device {} answered action {id} with {answer:?}, expected {pattern}",
            self.device
        )))
    }

    /// Reads back. A second look is taken before a value is called wrong: some need a moment to follow.
    async fn confirm(&mut self, verify: &Verify, parameters: &Fields) -> Result<Value, DriverError> {
        let expected = expected(verify, parameters);
        let first = self.read_back(&verify.source).await?;
        if same(&first, &expected, verify.tolerance) {
            return Ok(first);
        }
        self.read_back(&verify.source).await
    }

    async fn read_back(&mut self, source: &VerifySource) -> Result<Value, DriverError> {
        match source {
            VerifySource::Reading { reading, field } => {
                let profile = Arc::clone(&self.profile);
                let missing = || DriverError::Invalid(format!("reading {reading} does not exist"));
                let (measured, _) = self.measure(profile.reading(reading).ok_or_else(missing)?).await?;
                let found = measured.into_iter().find(|value| value.field == *field);
                Ok(found.map_or(Value::Null, |value| value.value))
            }
            VerifySource::Query { query: Query::Text { send, receive }, parse } => {
                let reply = self.link.exchange(send, receive, self.profile.timing.timeout).await?;
                match parse.apply(&reply.bytes) {
                    Ok(parsed) => Ok(parsed.items.into_iter().next().map_or(Value::Null, |item| item.value)),
                    Err(error) => {
                        self.link.mistrust();
                        Err(DriverError::Garbled(format!("device {}: read-back: {error}", self.device)))
                    }
                }
            }
            VerifySource::Query { query: Query::Register(_), .. } => {
                Err(DriverError::Invalid(format!("device {}: registers are not driven yet", self.device)))
            }
        }
    }

    /// In observe mode nothing is sent, but what the hardware says about itself is still asked for.
    pub(super) async fn apply_safe_state(&mut self) -> SafeOutcome {
        let profile = Arc::clone(&self.profile);
        let safe_state = &profile.safe_state;
        if safe_state.steps.is_empty() {
            return SafeOutcome::NotNeeded;
        }
        let observes = self.options.mode == Mode::Observe;
        // What is written from now on is no longer what was verified.
        self.written.values_mut().for_each(|written| written.verified = None);
        let mut outcome = SafeOutcome::Unverified;
        for _ in 0..2 {
            if !observes && let Err(error) = self.run_steps(&safe_state.steps).await {
                return SafeOutcome::Unreachable { detail: error.to_string() };
            }
            let Some(verify) = &safe_state.verify else { break };
            outcome = match self.confirm(verify, &Vec::new()).await {
                Ok(found) => {
                    let expected = expected(verify, &Vec::new());
                    if same(&found, &expected, verify.tolerance) {
                        return SafeOutcome::Verified;
                    }
                    let detail = format!("read back {}, expected {}", shown(&found), shown(&expected));
                    SafeOutcome::Refused { detail }
                }
                Err(error @ DriverError::Disconnected(_)) => {
                    return SafeOutcome::Unreachable { detail: error.to_string() };
                }
                Err(error) => SafeOutcome::Unreachable { detail: format!("not confirmed: {error}") },
            };
        }
        if !observes {
            return outcome;
        }
        match outcome {
            SafeOutcome::Refused { detail } => {
                SafeOutcome::Refused { detail: format!("{detail}; mode observe changes nothing") }
            }
            SafeOutcome::Unverified => SafeOutcome::Refused { detail: "mode observe changes nothing".to_owned() },
            SafeOutcome::Verified | SafeOutcome::Unreachable { .. } | SafeOutcome::NotNeeded => outcome,
        }
    }

    /// Empties the instrument's error queue into `errors` and returns the first entry. Reading empties the queue, so
    /// observing leaves it alone.
    pub(super) async fn collect_errors(&mut self) -> Result<Option<(String, String)>, DriverError> {
        let profile = Arc::clone(&self.profile);
        let Some(queue) = &profile.errors else { return Ok(None) };
        if self.options.mode == Mode::Observe {
            return Ok(None);
        }
        let mut first = None;
        for _ in 0..queue.drain_max {
            let reply = self.link.exchange(&queue.send, &queue.receive, profile.timing.timeout).await?;
            let text = String::from_utf8_lossy(&reply.bytes);
            let text = text.trim_matches(|c: char| c.is_whitespace());
            if queue.none.is_match(text) {
                break;
            }
            let Some(entry) = queue.parse.captures(text) else {
                self.link.mistrust();
                return Err(DriverError::Garbled(format!(
                    "device {}: error queue entry {text:?} is not of the form {}",
                    self.device, queue.parse
                )));
            };
            let group = |name| entry.name(name).map_or_else(String::new, |group| group.as_str().to_owned());
            let entry = (group("code"), group("text"));
            first.get_or_insert_with(|| entry.clone());
            if self.errors.len() < ERRORS_MAX {
                self.errors.push(entry);
            }
        }
        Ok(first)
    }
}

fn expected(verify: &Verify, parameters: &Fields) -> Value {
    match &verify.equals {
        Equals::Value(value) => value.clone(),
        Equals::Parameter(name) => {
            parameters.iter().find(|(known, _)| known == name).map_or(Value::Null, |(_, value)| value.clone())
        }
    }
}
