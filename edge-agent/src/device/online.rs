//! A connected and identified device: periodic readings, the running step, its lease and the loss of the hub.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Duration;

use rigwire_shared::event::{EventBody, Level, SafeOutcome, Sample, StepError, StepOutcome, code};
use rigwire_shared::quality::Quality;
use rigwire_shared::value::Value;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::lifecycle::Happening;
use super::{Device, End, Order};
use crate::driver::{Driver, DriverError};
use crate::step::{ActiveStep, Work};

/// So many silences in a row, and the last values are no longer believed.
const SILENCES_UNTIL_STALE: u32 = 3;
const SILENT_RETRY_FIRST: Duration = Duration::from_secs(1);
const SILENT_RETRY_MAX: Duration = Duration::from_secs(30);
/// At an orderly stop, counted from its beginning: when an instrument must have ended a transaction, must be safe, and must
/// have left remote control.
const STOP_TRANSACTION: Duration = Duration::from_millis(400);
const STOP_SAFE: Duration = Duration::from_millis(1100);
const STOP_RELEASE: Duration = Duration::from_millis(1250);
/// A reading that often has no value is told about in the log only so often.
const NO_VALUE_TOLD_EVERY: Duration = Duration::from_secs(60);
/// Progress is told at most this often.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);

/// How a transaction of a step went.
enum Went<T> {
    Through(Result<T, DriverError>),
    /// The hub wants the step to end; the transaction was given up.
    Interrupted(Order),
    TimedOut,
}

/// Orders that may wait for the end of a transaction. When there are as many, the channel keeps the others.
const DEFERRED_MAX: usize = 32;

/// Between periodic readings.
#[derive(Debug, Default)]
pub(super) struct Polling {
    silences: u32,
    /// Readings that had no value lately. Other readings of the same device may be well.
    misses: BTreeMap<String, Misses>,
    /// A silent device is asked less often.
    not_before: Option<Instant>,
    /// The step had its turn: a due reading comes first now.
    reading_first: bool,
    progress_told: Option<Instant>,
    errors_at: Option<Instant>,
}

#[derive(Debug, Default)]
struct Misses {
    in_a_row: u32,
    told: Option<Instant>,
}

enum Happened {
    Stop,
    Order(Option<Order>),
    HubChanged,
    Due,
    Ended(DriverError),
}

impl Device {
    pub(super) async fn online<D: Driver>(&mut self, driver: &mut D) -> End {
        let errors_at = self.settings.errors_every.map(|every| Instant::now() + every);
        self.polling = Polling { errors_at, ..Polling::default() };
        if let Some(cause) = self.owes_safe.take() {
            self.make_safe(driver, &format!("back after: {cause}")).await;
        }
        let end = loop {
            if let Some(order) = self.deferred.pop_front() {
                self.order(driver, order).await;
                continue;
            }
            let wake = self.next_wake(driver);
            let happened = tokio::select! {
                biased;
                () = self.shutdown.cancelled() => Happened::Stop,
                order = self.orders.recv() => Happened::Order(order),
                // The sender lives as long as the agent; without it there is no hub to be told about.
                changed = self.hub.changed() => if changed.is_ok() { Happened::HubChanged } else { Happened::Stop },
                () = at(wake) => Happened::Due,
                error = driver.watch() => Happened::Ended(error),
            };
            let result = match happened {
                Happened::Stop | Happened::Order(None) => break End::Stop,
                Happened::Order(Some(order)) => {
                    self.order(driver, order).await;
                    Ok(())
                }
                Happened::HubChanged => {
                    if self.hub.borrow().connected {
                        self.hub_loss_handled = false;
                    }
                    Ok(())
                }
                Happened::Due => self.do_what_is_due(driver).await,
                Happened::Ended(error) => Err(error),
            };
            if let Err(error) = result {
                break self.ended(&error).await;
            }
        };
        if end == End::Stop {
            self.stop(driver).await;
        }
        end
    }

    fn next_wake<D: Driver>(&self, driver: &D) -> Option<Instant> {
        let step = self.step.as_ref().map(|step| Instant::from_std(step.due().min(step.deadline())));
        [self.poll_due(driver), step, self.lease_deadline(), self.hub_deadline(), self.polling.errors_at]
            .into_iter()
            .flatten()
            .min()
    }

    fn poll_due<D: Driver>(&self, driver: &D) -> Option<Instant> {
        let due = Instant::from_std(driver.next_due()?);
        Some(self.polling.not_before.map_or(due, |not_before| due.max(not_before)))
    }

    fn lease_deadline(&self) -> Option<Instant> {
        let left = self.lease.until()?.0.saturating_sub(self.hub.borrow().hub_now().0);
        Some(Instant::now() + Duration::from_micros(u64::try_from(left).unwrap_or(0)))
    }

    fn hub_deadline(&self) -> Option<Instant> {
        let after = self.settings.safe.hub_lost_after.filter(|_| !self.hub_loss_handled)?;
        let hub = self.hub.borrow();
        (!hub.connected).then(|| hub.since + after)
    }

    async fn do_what_is_due<D: Driver>(&mut self, driver: &mut D) -> Result<(), DriverError> {
        let now = Instant::now();
        let hub_now = self.hub.borrow().hub_now();
        if let Some(held) = self.lease.expire(hub_now) {
            let cause = format!("the lease of {} expired", held.holder);
            self.lose_control(driver, self.settings.safe.on_lease_lost, &cause).await;
            self.tell_lease(held.fence, false, "expired".to_owned()).await;
            return Ok(());
        }
        if self.hub_deadline().is_some_and(|at| at <= now) {
            self.hub_loss_handled = true;
            let after = humantime::format_duration(self.settings.safe.hub_lost_after.unwrap_or_default());
            self.lose_control(driver, true, &format!("no connection to the hub for {after}")).await;
            return Ok(());
        }
        if let Some(step) = self.step.take_if(|step| step.deadline() <= now.into_std()) {
            if self.settings.safe.on_abort {
                self.make_safe(driver, "step timed out").await;
            }
            self.finish(&step, step.timed_out()).await;
            return Ok(());
        }
        let poll_due = self.poll_due(driver).is_some_and(|due| due <= now);
        let step_due = self.step.as_ref().is_some_and(|step| step.due() <= now.into_std());
        if step_due && !(poll_due && self.polling.reading_first) {
            self.polling.reading_first = true;
            return self.work(driver).await;
        }
        self.polling.reading_first = false;
        if self.polling.errors_at.is_some_and(|at| at <= now) {
            self.polling.errors_at = self.settings.errors_every.map(|every| now + every);
            self.tell_instrument_errors(driver).await;
        }
        if poll_due && !self.shutdown.is_cancelled() { self.poll(driver).await } else { Ok(()) }
    }

    async fn poll<D: Driver>(&mut self, driver: &mut D) -> Result<(), DriverError> {
        let result = self.bounded(driver.poll()).await;
        let reading = driver.polled().unwrap_or_default().to_owned();
        match result {
            Ok(samples) => {
                self.answered(driver).await;
                if let Some(misses) = self.polling.misses.get_mut(&reading) {
                    misses.in_a_row = 0;
                }
                self.events.samples(&self.settings.id, samples);
                Ok(())
            }
            Err(_) if self.shutdown.is_cancelled() => Ok(()),
            Err(error @ DriverError::Silent(_)) => {
                // One answer that did not come is not told: the next comes soon, or the value becomes stale.
                let misses = self.missed(&reading);
                self.silent(driver, error.to_string()).await?;
                if misses == SILENCES_UNTIL_STALE && self.polling.silences < SILENCES_UNTIL_STALE {
                    let stale = self.without_value(&reading, Quality::Stale);
                    self.events.samples(&self.settings.id, stale);
                    self.tell_no_value(&reading, &error).await;
                }
                Ok(())
            }
            Err(error @ (DriverError::Garbled(_) | DriverError::Invalid(_) | DriverError::Refused(_))) => {
                self.answered(driver).await;
                self.missed(&reading);
                let no_data = self.without_value(&reading, Quality::NoData);
                self.events.samples(&self.settings.id, no_data);
                self.tell_no_value(&reading, &error).await;
                Ok(())
            }
            Err(error @ (DriverError::Disconnected(_) | DriverError::WrongDevice(_))) => Err(error),
        }
    }

    fn missed(&mut self, reading: &str) -> u32 {
        let misses = self.polling.misses.entry(reading.to_owned()).or_default();
        misses.in_a_row = misses.in_a_row.saturating_add(1);
        misses.in_a_row
    }

    async fn tell_no_value(&mut self, reading: &str, error: &DriverError) {
        let now = Instant::now();
        let misses = self.polling.misses.entry(reading.to_owned()).or_default();
        if misses.told.is_some_and(|told| now < told + NO_VALUE_TOLD_EVERY) {
            return;
        }
        misses.told = Some(now);
        let message = format!("reading {reading} of {} has no value: {error}", self.settings.id);
        self.events.log(Level::Warning, Some(&self.settings.id), "poll", message).await;
    }

    async fn answered<D: Driver>(&mut self, driver: &mut D) {
        let was_silent = self.polling.silences >= SILENCES_UNTIL_STALE;
        self.polling.silences = 0;
        self.polling.not_before = None;
        if was_silent {
            self.happen(Happening::AnswersAgain).await;
            if let Some(cause) = self.owes_safe.take() {
                self.make_safe(driver, &format!("back after: {cause}")).await;
            }
        }
    }

    async fn silent<D: Driver>(&mut self, driver: &mut D, cause: String) -> Result<(), DriverError> {
        self.polling.silences = self.polling.silences.saturating_add(1);
        let silences = self.polling.silences;
        if self.reopen_after_silences.is_some_and(|limit| silences >= limit) {
            return Err(DriverError::Disconnected(format!("no answer {silences} times: {cause}")));
        }
        if silences == SILENCES_UNTIL_STALE {
            let stale: Vec<_> =
                self.settings.readings.iter().flat_map(|card| self.without_value(&card.id, Quality::Stale)).collect();
            self.events.samples(&self.settings.id, stale);
            driver.forget_reported();
            self.happen(Happening::WentSilent(format!("no answer {silences} times: {cause}"))).await;
        }
        if silences >= SILENCES_UNTIL_STALE {
            let doublings = (silences - SILENCES_UNTIL_STALE).min(8);
            let wait = SILENT_RETRY_FIRST.saturating_mul(1 << doublings).min(SILENT_RETRY_MAX);
            self.polling.not_before = Some(Instant::now() + wait);
        }
        Ok(())
    }

    /// One piece of the running step.
    async fn work<D: Driver>(&mut self, driver: &mut D) -> Result<(), DriverError> {
        let Some(mut step) = self.step.take() else { return Ok(()) };
        let outcome = match step.work() {
            Work::Read(reading) => match self.transaction(&step, driver.read(&reading)).await {
                Went::Through(result) => {
                    let lost = matches!(result, Err(DriverError::Disconnected(_)));
                    let outcome = self.take_reading(driver, &mut step, &reading, &result).await;
                    if let (true, Err(error)) = (lost, result) {
                        self.step = Some(step);
                        return Err(error);
                    }
                    outcome
                }
                Went::Interrupted(order) => return self.interrupted(driver, step, order).await,
                Went::TimedOut => {
                    self.step = Some(step);
                    return Ok(());
                }
            },
            Work::Perform(action, with) => match self.transaction(&step, driver.perform(&action, &with)).await {
                Went::Through(Err(error @ DriverError::Disconnected(_))) => {
                    self.step = Some(step);
                    return Err(error);
                }
                Went::Through(result) => {
                    self.tell_instrument_errors(driver).await;
                    Some(step.performed(result))
                }
                Went::Interrupted(order) => return self.interrupted(driver, step, order).await,
                Went::TimedOut => {
                    self.step = Some(step);
                    return Ok(());
                }
            },
            Work::MakeSafe => {
                let outcome = self.make_safe(driver, "asked for by a step").await;
                Some(step.made_safe(&outcome))
            }
        };
        match outcome {
            Some(outcome) => self.finish(&step, outcome).await,
            None => {
                self.tell_progress(&step).await;
                self.step = Some(step);
            }
        }
        Ok(())
    }

    async fn take_reading<D: Driver>(
        &mut self,
        driver: &mut D,
        step: &mut ActiveStep,
        reading: &str,
        result: &Result<Vec<Sample>, DriverError>,
    ) -> Option<StepOutcome> {
        let mut samples = match result {
            Ok(samples) => {
                self.answered(driver).await;
                samples.clone()
            }
            Err(DriverError::Silent(_) | DriverError::Garbled(_)) => {
                let missed = self.without_value(reading, Quality::NoData);
                step.missed(&missed);
                missed
            }
            Err(
                DriverError::Disconnected(_)
                | DriverError::WrongDevice(_)
                | DriverError::Invalid(_)
                | DriverError::Refused(_),
            ) => Vec::new(),
        };
        samples.iter_mut().for_each(|sample| sample.attempt = Some(step.attempt));
        self.events.samples(&self.settings.id, samples);
        step.took(result)
    }

    async fn interrupted<D: Driver>(
        &mut self,
        driver: &mut D,
        step: ActiveStep,
        order: Order,
    ) -> Result<(), DriverError> {
        self.step = Some(step);
        self.order(driver, order).await;
        Ok(())
    }

    /// Runs one transaction of the step unless its time is over or the hub wants it to end.
    async fn transaction<T>(
        &mut self,
        step: &ActiveStep,
        transaction: impl Future<Output = Result<T, DriverError>> + Send,
    ) -> Went<T> {
        let deadline = Instant::from_std(step.deadline());
        tokio::pin!(transaction);
        loop {
            tokio::select! {
                biased;
                result = &mut transaction => return Went::Through(result),
                order = self.orders.recv(), if self.deferred.len() < DEFERRED_MAX => match order {
                    Some(order @ Order::MakeSafe { .. }) => return Went::Interrupted(order),
                    Some(order @ Order::Cancel { attempt, .. }) if attempt == step.attempt => {
                        return Went::Interrupted(order);
                    }
                    Some(order) if order.ends(step.fence) => return Went::Interrupted(order),
                    Some(order) => self.deferred.push_back(order),
                    // The dispatcher ends only at shutdown.
                    None => return Went::Through((&mut transaction).await),
                },
                () = tokio::time::sleep_until(deadline) => return Went::TimedOut,
                () = stop_reaches(&self.shutdown, &self.stopping, STOP_TRANSACTION) => {
                    let cause = "the agent stopped before the device answered".to_owned();
                    return Went::Through(Err(DriverError::Silent(cause)));
                }
            }
        }
    }

    async fn tell_progress(&mut self, step: &ActiveStep) {
        let now = Instant::now();
        if self.polling.progress_told.is_some_and(|told| now < told + PROGRESS_EVERY) {
            return;
        }
        if let Some((percent, message)) = step.progress() {
            self.polling.progress_told = Some(now);
            self.events.send(EventBody::StepProgress { attempt: step.attempt, percent, message }).await;
        }
    }

    /// Entries of the instrument's own error queue explain a refused action.
    async fn tell_instrument_errors<D: Driver>(&mut self, driver: &mut D) {
        // The time of a stop belongs to the safe state.
        if self.shutdown.is_cancelled() {
            return;
        }
        match self.bounded(driver.drain_errors()).await {
            Ok(errors) => {
                for (code, text) in errors {
                    let device = self.settings.id.clone();
                    self.events.send(EventBody::InstrumentError { device, code, text }).await;
                }
            }
            Err(error) => tracing::debug!(device = %self.settings.id, %error, "the error queue could not be read"),
        }
    }

    /// Nobody is in command any more: a running step ends, and the device is made safe if its profile wants that.
    pub(super) async fn lose_control<D: Driver>(&mut self, driver: &mut D, safe: bool, cause: &str) {
        if safe {
            self.make_safe(driver, cause).await;
        }
        if let Some(step) = self.step.take() {
            let error = StepError { code: code::LEASE_LOST.to_owned(), message: cause.to_owned() };
            self.finish(&step, StepOutcome::Failed { error }).await;
        }
    }

    pub(super) async fn make_safe<D: Driver>(&mut self, driver: &mut D, cause: &str) -> SafeOutcome {
        let outcome = tokio::select! {
            biased;
            outcome = driver.make_safe() => outcome,
            () = stop_reaches(&self.shutdown, &self.stopping, STOP_SAFE) => {
                SafeOutcome::Unreachable { detail: "the agent stopped before the device answered".to_owned() }
            }
        };
        let unreached = matches!(outcome, SafeOutcome::Unreachable { .. });
        self.owes_safe = unreached.then(|| cause.to_owned());
        self.tell_safe(cause, outcome.clone()).await;
        outcome
    }

    /// The connection ended: the step fails, and what may follow depends on why. The device is said to be gone before its
    /// step is said to have failed, so that whoever follows the run hears the cause first.
    async fn ended(&mut self, error: &DriverError) -> End {
        let step = self.step.take();
        let end = match error {
            DriverError::WrongDevice(cause) => super::look(self.retry(Happening::WrongDevice(cause.clone())).await),
            DriverError::Disconnected(_)
            | DriverError::Silent(_)
            | DriverError::Garbled(_)
            | DriverError::Invalid(_)
            | DriverError::Refused(_) => self.retry(Happening::Ended(error.to_string())).await,
        };
        if let Some(step) = step {
            if self.settings.safe.on_abort {
                let cause = format!("{} was cut off", step.module());
                self.owes_safe = Some(cause.clone());
                self.tell_safe(&cause, SafeOutcome::Unreachable { detail: error.to_string() }).await;
            }
            self.conclude(&step, step.disconnected(&error.to_string())).await;
        }
        end
    }

    async fn stop<D: Driver>(&mut self, driver: &mut D) {
        self.stopping.get_or_init(Instant::now);
        let policy = self.settings.safe;
        let step = self.step.take();
        let wanted = policy.on_shutdown || (step.is_some() && policy.on_abort);
        let safe = if wanted { Some(self.make_safe(driver, "the agent stops").await) } else { None };
        if let Some(step) = step {
            self.conclude(&step, StepOutcome::Cancelled { safe }).await;
        }
        tokio::select! {
            biased;
            () = driver.release() => {}
            () = stop_reaches(&self.shutdown, &self.stopping, STOP_RELEASE) => {
                tracing::debug!(device = %self.settings.id, "the device was not released in time");
            }
        }
    }

    /// A transaction ends within its own timeouts; at an orderly stop that may be too long.
    async fn bounded<T>(
        &self,
        transaction: impl Future<Output = Result<T, DriverError>> + Send,
    ) -> Result<T, DriverError> {
        tokio::select! {
            biased;
            result = transaction => result,
            () = stop_reaches(&self.shutdown, &self.stopping, STOP_TRANSACTION) => {
                Err(DriverError::Silent("the agent stopped before the device answered".to_owned()))
            }
        }
    }

    /// Samples that say that a reading has no value.
    fn without_value(&self, reading: &str, quality: Quality) -> Vec<Sample> {
        let Some(card) = self.settings.readings.iter().find(|card| card.id == reading) else { return Vec::new() };
        card.metrics
            .iter()
            .map(|metric| Sample {
                device: self.settings.id.clone(),
                metric: metric.clone(),
                value: Value::Null,
                unit: card.unit.clone(),
                quality,
                attempt: None,
                round_trip_us: None,
            })
            .collect()
    }
}

async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

/// Returns when the agent has been stopping for so long, whoever asks and however often.
async fn stop_reaches(shutdown: &CancellationToken, stopping: &OnceLock<Instant>, age: Duration) {
    shutdown.cancelled().await;
    let began = *stopping.get_or_init(Instant::now);
    tokio::time::sleep_until(began + age).await;
}
