//! Drives one instrument by its profile over any stream. Opening, reconnecting and scheduling are the device task's work.

mod act;
mod link;
mod parameters;
mod schedule;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use link::Link;
use rigwire_shared::agent::Identity;
use rigwire_shared::event::{SafeOutcome, Sample};
use rigwire_shared::ids::DeviceId;
use rigwire_shared::quality::Quality;
use rigwire_shared::value::{Fields, Value};
use schedule::Schedule;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::{Driver, DriverError};
use crate::profile::Profile;
use crate::profile::definition::{Query, Reading, Step};
use crate::profile::interpret::{Measured, same};
use crate::protocol::quality::InvalidRule;

/// Entries of the instrument's error queue that are kept until somebody asks for them.
const ERRORS_MAX: usize = 256;
/// A flag of a reading without a period is asked for again after this long.
const FLAG_AGE: Duration = Duration::from_secs(5);

/// What the agent may do with an instrument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Only what changes nothing.
    #[default]
    Observe,
    /// Prepares the instrument and performs actions.
    Own,
}

#[derive(Debug, Clone, Default)]
pub struct InstrumentOptions {
    pub mode: Mode,
    /// Replaces the profile's gap after every command.
    pub gap_override: Option<Duration>,
    /// Another serial number is another device.
    pub expected_serial: Option<String>,
}

/// One connection to one instrument.
pub struct Instrument<S> {
    link: Link<S>,
    device: DeviceId,
    profile: Arc<Profile>,
    options: InstrumentOptions,
    schedule: Schedule,
    /// Index of the reading that the last poll took.
    polled: Option<usize>,
    /// What was last reported of readings that report changes, by metric.
    reported: BTreeMap<String, (Value, Quality)>,
    /// Flags that rules of other readings look at, by reading and field, each with its age.
    flags: BTreeMap<(String, String), (bool, Instant)>,
    errors: Vec<(String, String)>,
    /// What each action last wrote and read back, and when.
    written: BTreeMap<String, act::Written>,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Instrument<S> {
    /// Refuses a profile that asks for what no driver does yet. Sends nothing.
    pub fn new(
        stream: S,
        device: DeviceId,
        profile: Arc<Profile>,
        options: InstrumentOptions,
    ) -> Result<Self, DriverError> {
        profile.is_driven().map_err(DriverError::Invalid)?;
        let timing = &profile.timing;
        let gap = options.gap_override.unwrap_or(timing.gap);
        let link = Link::new(stream, format!("device {device}"), gap, timing.quiet, timing.timeout);
        Ok(Self {
            link,
            device,
            profile,
            options,
            schedule: Schedule::default(),
            polled: None,
            reported: BTreeMap::new(),
            flags: BTreeMap::new(),
            errors: Vec::new(),
            written: BTreeMap::new(),
        })
    }

    /// Periodic readings that came too late to be taken.
    pub fn skipped_ticks(&self) -> u64 {
        self.schedule.skipped()
    }

    /// Ids of the readings that the mode allows.
    pub fn allowed_readings(&self) -> Vec<String> {
        let allowed = self.profile.readings.iter().filter(|reading| self.allows(reading));
        allowed.map(|reading| reading.id.clone()).collect()
    }

    fn allows(&self, reading: &Reading) -> bool {
        match self.options.mode {
            Mode::Observe => reading.observe,
            Mode::Own => reading.own,
        }
    }

    async fn query_identity(&mut self) -> Result<String, DriverError> {
        let profile = Arc::clone(&self.profile);
        let Some(identify) = &profile.identify else { return Ok(String::new()) };
        let Query::Text { send, receive } = &identify.query else {
            return Err(DriverError::Invalid(format!("profile {}: registers are not driven yet", profile.id)));
        };
        let mut outcome = Err(DriverError::Silent(format!("device {} was not asked", self.device)));
        // Half a command left by somebody else spoils the first query; the second one is clean.
        for _ in 0..2 {
            outcome = self.link.exchange(send, receive, profile.timing.timeout).await;
            match &outcome {
                Ok(_) | Err(DriverError::Disconnected(_)) => break,
                Err(_) => {}
            }
        }
        let reply = outcome?.bytes;
        self.link.set_fence(send, receive, &reply);
        let text: String = reply.iter().map(|byte| char::from(*byte)).collect();
        Ok(text.trim_matches(|c: char| c.is_whitespace() || c.is_control()).to_owned())
    }

    fn check_identity(&self, text: &str) -> Result<Identity, DriverError> {
        let profile = &self.profile;
        let mut identity =
            Identity { vendor: profile.vendor.clone(), model: profile.model.clone(), ..Identity::default() };
        if profile.identify.is_none() {
            return Ok(identity);
        }
        let patterns: Vec<_> = profile.matches.iter().filter_map(|entry| entry.idn.as_ref()).collect();
        let found = patterns.iter().find_map(|pattern| Some((pattern, pattern.captures(text)?)));
        if found.is_none() && !patterns.is_empty() {
            let names: Vec<&str> = patterns.iter().map(|pattern| pattern.as_str()).collect();
            return Err(DriverError::WrongDevice(format!(
                "device {} says {text:?}, expected {} of profile {}",
                self.device,
                names.join(" or "),
                profile.id
            )));
        }
        if let Some((pattern, groups)) = found {
            for name in pattern.capture_names().flatten() {
                let Some(label) = groups.name(name).map(|label| label.as_str().trim().to_owned()) else { continue };
                match name {
                    "vendor" => identity.vendor = label,
                    "model" => identity.model = label,
                    "serial" => identity.serial = label,
                    "firmware" => identity.firmware = label,
                    _ => identity.properties.push((name.to_owned(), label)),
                }
            }
        }
        identity.properties.push(("idn".to_owned(), text.to_owned()));
        match &self.options.expected_serial {
            Some(expected) if *expected != identity.serial => Err(DriverError::WrongDevice(format!(
                "device {} has serial number {:?}, expected {expected:?}",
                self.device, identity.serial
            ))),
            Some(_) | None => Ok(identity),
        }
    }

    async fn run_steps(&mut self, steps: &[Step]) -> Result<(), DriverError> {
        for step in steps {
            match step {
                Step::Send(bytes) => self.link.command(bytes).await?,
                Step::Write(_) => {
                    return Err(DriverError::Invalid(format!("device {}: registers are not driven yet", self.device)));
                }
            }
        }
        Ok(())
    }

    /// Takes one reading, and before it the flags that its rules look at.
    async fn measure(&mut self, reading: &Reading) -> Result<(Vec<Measured>, Duration), DriverError> {
        let profile = Arc::clone(&self.profile);
        for rule in &reading.invalid {
            let InvalidRule::Status { reading: name, field, .. } = rule else { continue };
            let Some(source) = profile.reading(name) else { continue };
            let age = source.every.map_or(FLAG_AGE, |every| every * 2);
            let known = self.flags.get(&(name.clone(), field.clone()));
            if known.is_none_or(|(_, at)| at.elapsed() > age) {
                // Without an answer the flag stays unknown, which makes the value suspect.
                match self.query(source).await {
                    Ok(_) => {}
                    Err(error @ DriverError::Disconnected(_)) => return Err(error),
                    Err(error) => tracing::debug!(reading = %name, "flags are unknown: {error}"),
                }
            }
        }
        self.query(reading).await
    }

    async fn query(&mut self, reading: &Reading) -> Result<(Vec<Measured>, Duration), DriverError> {
        let Query::Text { send, receive } = &reading.query else {
            return Err(DriverError::Invalid(format!("reading {}: registers are not driven yet", reading.id)));
        };
        let mut attempt = 0;
        loop {
            let outcome = match self.link.exchange(send, receive, reading.timeout).await {
                Ok(reply) => {
                    let flags = &self.flags;
                    let flag =
                        |name: &str, field: &str| flags.get(&(name.to_owned(), field.to_owned())).map(|(on, _)| *on);
                    match reading.interpret(&reply.bytes, &flag) {
                        Ok(measured) => Ok((measured, reply.round_trip)),
                        Err(error) => {
                            self.link.mistrust();
                            Err(DriverError::Garbled(format!(
                                "device {}: reading {}: {error}",
                                self.device, reading.id
                            )))
                        }
                    }
                }
                Err(error) => Err(error),
            };
            match outcome {
                Ok((measured, round_trip)) => {
                    self.remember_flags(reading, &measured);
                    return Ok((measured, round_trip));
                }
                Err(DriverError::Silent(_) | DriverError::Garbled(_)) if attempt < self.profile.timing.retries => {
                    attempt += 1;
                }
                Err(error) => {
                    // After a loss even an unchanged value is news.
                    for metric in &reading.metrics {
                        self.reported.remove(metric.as_str());
                    }
                    self.flags.retain(|(name, _), _| *name != reading.id);
                    return Err(error);
                }
            }
        }
    }

    fn remember_flags(&mut self, reading: &Reading, measured: &[Measured]) {
        let now = Instant::now();
        for value in measured {
            let Some(field) = &value.field else { continue };
            let on = value.value.as_bool().or(value.value.as_f64().map(|number| number != 0.0));
            if let Some(on) = on.filter(|_| value.quality == Quality::Good) {
                self.flags.insert((reading.id.clone(), field.clone()), (on, now));
            }
        }
    }

    fn samples(&self, measured: Vec<Measured>, round_trip: Duration) -> Vec<Sample> {
        let sample = |value: Measured| Sample {
            device: self.device.clone(),
            metric: value.metric,
            value: value.value,
            unit: value.unit,
            quality: value.quality,
            attempt: None,
            round_trip_us: Some(u32::try_from(round_trip.as_micros()).unwrap_or(u32::MAX)),
        };
        measured.into_iter().map(sample).collect()
    }

    /// Whether a periodic value is worth a sample.
    fn is_news(&mut self, reading: &Reading, value: &Measured) -> bool {
        if !reading.on_change {
            return true;
        }
        let key = value.metric.as_str();
        let unchanged = self.reported.get(key).is_some_and(|(last, quality)| {
            *quality == value.quality && (*last == value.value || same(&value.value, last, reading.deadband))
        });
        if !unchanged {
            self.reported.insert(key.to_owned(), (value.value.clone(), value.quality));
        }
        !unchanged
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Driver for Instrument<S> {
    async fn identify(&mut self) -> Result<Identity, DriverError> {
        self.link.start().await?;
        let text = self.query_identity().await?;
        let identity = self.check_identity(&text)?;
        let profile = Arc::clone(&self.profile);
        if self.options.mode == Mode::Own {
            self.run_steps(&profile.own_init).await?;
        }
        let periodic = profile.readings.iter().enumerate().filter(|(_, reading)| self.allows(reading));
        let periodic = periodic.filter_map(|(index, reading)| Some((index, reading.every?)));
        self.schedule = Schedule::new(periodic, Instant::now().into_std());
        self.reported.clear();
        self.flags.clear();
        self.written.clear();
        Ok(identity)
    }

    fn next_due(&self) -> Option<std::time::Instant> {
        self.schedule.next_due()
    }

    async fn poll(&mut self) -> Result<Vec<Sample>, DriverError> {
        let Some(index) = self.schedule.take(Instant::now().into_std()) else { return Ok(Vec::new()) };
        self.polled = Some(index);
        let profile = Arc::clone(&self.profile);
        let reading = &profile.readings[index];
        let (measured, round_trip) = self.measure(reading).await?;
        let news = measured.into_iter().filter(|value| self.is_news(reading, value)).collect();
        Ok(self.samples(news, round_trip))
    }

    fn polled(&self) -> Option<&str> {
        Some(self.profile.readings.get(self.polled?)?.id.as_str())
    }

    fn forget_reported(&mut self) {
        self.reported.clear();
    }

    async fn read(&mut self, reading: &str) -> Result<Vec<Sample>, DriverError> {
        let profile = Arc::clone(&self.profile);
        let Some(found) = profile.reading(reading) else {
            let known = self.allowed_readings().join(", ");
            return Err(DriverError::Invalid(format!(
                "device {} has no reading {reading}, expected {known}",
                self.device
            )));
        };
        if !self.allows(found) {
            let (needed, used) = match self.options.mode {
                Mode::Observe => ("own", "observe"),
                Mode::Own => ("observe", "own"),
            };
            return Err(DriverError::Invalid(format!(
                "reading {reading} needs mode {needed}, device {} is configured as {used}",
                self.device
            )));
        }
        let (measured, round_trip) = self.measure(found).await?;
        Ok(self.samples(measured, round_trip))
    }

    async fn perform(&mut self, action: &str, with: &[(String, Value)]) -> Result<Fields, DriverError> {
        self.act(action, with).await
    }

    async fn make_safe(&mut self) -> SafeOutcome {
        self.apply_safe_state().await
    }

    async fn release(&mut self) {
        if self.options.mode == Mode::Observe {
            return;
        }
        let profile = Arc::clone(&self.profile);
        if let Err(error) = self.run_steps(&profile.release).await {
            tracing::debug!(device = %self.device, "the front panel was not handed back: {error}");
        }
    }

    async fn drain_errors(&mut self) -> Result<Vec<(String, String)>, DriverError> {
        self.collect_errors().await?;
        Ok(std::mem::take(&mut self.errors))
    }

    async fn watch(&mut self) -> DriverError {
        self.link.watch().await
    }
}

#[cfg(test)]
mod tests;
