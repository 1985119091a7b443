//! One profile against its own simulator over a real pseudo terminal: all it can do, and then each fault it names.
//! The rule for every fault: a good value is the right value, and the right values come back when the fault is gone.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use rigwire_shared::event::{SafeOutcome, Sample};
use rigwire_shared::ids::DeviceId;
use rigwire_shared::quality::Quality;
use rigwire_shared::value::{Fields, Value};

use crate::driver::instrument::{Instrument, InstrumentOptions, Mode};
use crate::driver::{Driver, DriverError};
use crate::profile::Profile;
use crate::profile::definition::{Action, ParameterKind};
use crate::profile::interpret::shown;
use crate::simulator::bench::{Bench, BenchInstrument};
use crate::simulator::fault::Fault;
use crate::simulator::pty::PtyStream;

const NAME: &str = "instrument";
/// How long after the end of a fault every reading must be right again.
const RECOVERY: Duration = Duration::from_secs(30);

/// What was done, line by line, and what went wrong if anything did.
pub(super) struct Report {
    pub(super) lines: Vec<String>,
    pub(super) failure: Option<String>,
}

type Values = BTreeMap<String, (Value, String)>;

pub(super) fn run(profile: &Arc<Profile>) -> Report {
    let mut lines = Vec::new();
    let failure = attempt(profile, &mut lines).err().map(|error| format!("{error:#}"));
    Report { lines, failure }
}

fn attempt(profile: &Arc<Profile>, lines: &mut Vec<String>) -> anyhow::Result<()> {
    let vectors = profile.check_vectors().map_err(|errors| anyhow!(errors.join("; ")))?;
    lines.push(format!("{vectors} vectors hold"));
    if let Err(missing) = profile.is_driven() {
        lines.push(format!("not run: readings, actions, safe state and faults, because {missing}"));
        return Ok(());
    }
    if profile.simulator().is_none() {
        lines.push("not run: readings, actions, safe state and faults, because there is no [simulator]".to_owned());
        return Ok(());
    }
    let trial = Trial { profile };
    let right = trial.on_bench(async |bench| trial.healthy(bench, lines).await)?;
    // Faults cost timeouts: side by side, each on its own bench, they cost them once.
    std::thread::scope(|scope| {
        let start = |fault: &Fault| {
            let (fault, right, trial) = (*fault, &right, &trial);
            let endure = move || trial.on_bench(async |bench| trial.endure(bench, fault, right).await);
            (fault, scope.spawn(endure))
        };
        let threads: Vec<_> = profile.faults().iter().map(start).collect();
        for (fault, thread) in threads {
            let outcome = thread.join().unwrap_or_else(|_| Err(anyhow!("the test panicked")));
            lines.push(outcome.with_context(|| format!("fault {fault}"))?);
        }
        Ok(())
    })
}

struct Trial<'a> {
    profile: &'a Arc<Profile>,
}

impl Trial<'_> {
    /// Runs one part with a bench and a runtime of its own.
    fn on_bench<T>(&self, part: impl AsyncFnOnce(&Bench) -> anyhow::Result<T>) -> anyhow::Result<T> {
        let profile = Arc::clone(self.profile);
        let instrument = BenchInstrument { name: NAME.to_owned(), profile, link: None, faults: Vec::new() };
        let bench = Bench::start(vec![instrument], Vec::new())?;
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting a runtime")?;
        runtime.block_on(part(&bench))
    }

    /// All that the profile can do, without a fault. Returns the values that are right after its actions.
    async fn healthy(&self, bench: &Bench, lines: &mut Vec<String>) -> anyhow::Result<Values> {
        let mut observer = self.connect(bench, Mode::Observe)?;
        observer.identify().await.context("identifying in mode observe")?;
        let observed = all_readings(&mut observer).await.context("mode observe")?;
        lines.push(format!("mode observe: {} values", observed.len()));
        if let Some(action) = self.profile.actions.first()
            && observer.perform(&action.id, &example(action)).await.is_ok()
        {
            bail!("action {} was performed in mode observe", action.id);
        }
        drop(observer);

        let mut driver = self.connect(bench, Mode::Own)?;
        let identity = driver.identify().await.context("identifying in mode own")?;
        let identified = format!("identified {} {} {}", identity.vendor, identity.model, identity.serial);
        lines.push(identified.trim_end().to_owned());
        all_readings(&mut driver).await.context("mode own")?;
        self.perform_all(&mut driver, lines).await?;
        // After the actions, so that no two readings are alike by chance: output off would make all of them 0.
        let right = all_readings(&mut driver).await.context("mode own")?;
        lines.push(format!("mode own: {} values", right.len()));
        self.make_safe(driver, lines).await?;
        Ok(right)
    }

    fn connect(&self, bench: &Bench, mode: Mode) -> anyhow::Result<Instrument<PtyStream>> {
        let path: PathBuf = bench.path(NAME)?;
        let device = DeviceId::new(NAME).map_err(|error| anyhow!("device {NAME}: {error}"))?;
        let options = InstrumentOptions { mode, ..InstrumentOptions::default() };
        Ok(Instrument::new(PtyStream::open(&path)?, device, Arc::clone(self.profile), options)?)
    }

    async fn perform_all(&self, driver: &mut Instrument<PtyStream>, lines: &mut Vec<String>) -> anyhow::Result<()> {
        for action in &self.profile.actions {
            let with = example(action);
            let outputs = driver.perform(&action.id, &with).await.with_context(|| format!("action {}", action.id))?;
            lines.push(format!("action {}: {}", action.id, described(&outputs)));
        }
        let errors = driver.drain_errors().await.context("the error queue")?;
        match errors.first() {
            Some((code, text)) => bail!("the error queue has {code} {text}, expected none"),
            None => Ok(()),
        }
    }

    /// One fault: while it lasts no wrong good value, and afterwards the right ones. Returns what there was of each.
    async fn endure(&self, bench: &Bench, fault: Fault, right: &Values) -> anyhow::Result<String> {
        let mut driver = self.connect(bench, Mode::Own)?;
        driver.identify().await.context("identifying")?;
        self.perform_all(&mut driver, &mut Vec::new()).await?;
        bench.set_faults(NAME, &[fault])?;
        let (mut good, mut bad, mut gone) = (0, 0, false);
        for reading in driver.allowed_readings() {
            match driver.read(&reading).await {
                Ok(samples) => good += check(&samples, right)?,
                Err(DriverError::Disconnected(_)) => gone = true,
                Err(_) => bad += 1,
            }
        }
        bench.set_faults(NAME, &[])?;
        if fault == Fault::Unplug && !gone {
            bail!("the unplug was not noticed");
        }
        if gone {
            bench.replug(NAME)?;
            driver = self.connect(bench, Mode::Own)?;
            driver.identify().await.context("identifying after the replug")?;
        }
        let cleared = Instant::now();
        for reading in driver.allowed_readings() {
            loop {
                match driver.read(&reading).await {
                    Ok(samples) => {
                        good += check(&samples, right)?;
                        break;
                    }
                    Err(error) if cleared.elapsed() > RECOVERY => {
                        return Err(error).with_context(|| format!("reading {reading} does not come back"));
                    }
                    Err(_) => bad += 1,
                }
            }
        }
        Ok(format!("fault {fault}: {good} right values, {bad} readings without a value"))
    }

    async fn make_safe(&self, mut driver: Instrument<PtyStream>, lines: &mut Vec<String>) -> anyhow::Result<()> {
        let outcome = driver.make_safe().await;
        let word = match &outcome {
            SafeOutcome::Verified => "verified",
            SafeOutcome::Unverified => "sent, without a way to verify it",
            SafeOutcome::NotNeeded => "not needed",
            SafeOutcome::Refused { detail } | SafeOutcome::Unreachable { detail } => bail!("safe state: {detail}"),
        };
        lines.push(format!("safe state: {word}"));
        driver.release().await;
        // The pause after the last command has passed when the next query is answered.
        driver
            .read(&driver.allowed_readings().first().cloned().unwrap_or_default())
            .await
            .context("after the release")?;
        let errors = driver.drain_errors().await.context("the error queue after the release")?;
        match errors.first() {
            Some((code, text)) => bail!("the error queue has {code} {text} after the release, expected none"),
            None => Ok(()),
        }
    }
}

async fn all_readings(driver: &mut Instrument<PtyStream>) -> anyhow::Result<Values> {
    let mut values = Values::new();
    for reading in driver.allowed_readings() {
        for sample in driver.read(&reading).await.with_context(|| format!("reading {reading}"))? {
            if sample.quality != Quality::Good {
                bail!("reading {reading} is {}, expected good", sample.quality);
            }
            values.insert(sample.metric.as_str().to_owned(), (sample.value, sample.unit.as_str().to_owned()));
        }
    }
    Ok(values)
}

/// How many good values there were; an error when one of them is not the right one.
fn check(samples: &[Sample], right: &Values) -> anyhow::Result<usize> {
    let good = samples.iter().filter(|sample| sample.quality == Quality::Good);
    for sample in good.clone() {
        let (value, unit) =
            right.get(sample.metric.as_str()).with_context(|| format!("unexpected metric {}", sample.metric))?;
        if *value != sample.value || unit != sample.unit.as_str() {
            bail!(
                "wrong good value: {} is {} {}, expected {} {unit}",
                sample.metric,
                shown(&sample.value),
                sample.unit,
                shown(value)
            );
        }
    }
    Ok(good.count())
}

/// Parameters that the action accepts, and that differ from what an instrument starts with.
fn example(action: &Action) -> Fields {
    let value = |kind: &ParameterKind| match kind {
        ParameterKind::Float { min, max, step } => Value::Float(middle(*min, *max, *step)),
        #[expect(clippy::cast_possible_truncation, reason = "rounded, and an example")]
        ParameterKind::Int { min, max, step } => {
            Value::Int(middle(*min, *max, Some(step.unwrap_or(1.0))).round() as i64)
        }
        ParameterKind::Bool => Value::Bool(true),
        ParameterKind::Text => Value::Text("A".to_owned()),
        ParameterKind::Enum(values) => values.get(1).or(values.first()).cloned().unwrap_or(Value::Null),
    };
    action.parameters.iter().map(|parameter| (parameter.name.clone(), value(&parameter.kind))).collect()
}

fn middle(min: Option<f64>, max: Option<f64>, step: Option<f64>) -> f64 {
    let least = min.unwrap_or(0.0);
    let half = max.map_or(1.0, |max| (max - least) / 2.0);
    least + step.map_or(half, |step| (half / step).floor() * step)
}

fn described(outputs: &Fields) -> String {
    outputs.iter().map(|(name, value)| format!("{name} {}", shown(value))).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(source: &str) -> Option<String> {
        let profile = Arc::new(Profile::parse("x.toml", source).unwrap_or_else(|error| panic!("{error}")));
        run(&profile).failure
    }

    #[test]
    fn bundled_profiles_pass_with_all_their_faults() {
        // Faults take their time; side by side they take it together.
        std::thread::scope(|scope| {
            for id in Profile::bundled_ids() {
                scope.spawn(move || {
                    let started = Instant::now();
                    let report = run(&Profile::find(id, &[]).unwrap());
                    println!("{id} after {:?}:\n{}", started.elapsed(), report.lines.join("\n"));
                    assert_eq!(report.failure, None, "{id}");
                });
            }
        });
    }

    #[test]
    fn a_profile_that_reads_back_something_else_fails() {
        let korad = include_str!("../../../profiles/korad.ka3005p.toml");
        let without_faults = korad.lines().filter(|line| !line.starts_with("faults")).collect::<Vec<_>>().join("\n");
        assert_eq!(failure(&without_faults), None);
        let deaf =
            without_faults.replace("'^VSET1:(?P<vset>\\d\\d\\.\\d\\d)', set = [\"vset\"]", "'^VSET1:\\d\\d\\.\\d\\d'");
        assert_ne!(deaf, without_faults);
        let message = failure(&deaf).unwrap();
        assert!(message.contains("did not take: read back 5, expected 15.5"), "{message}");
    }

    #[test]
    fn what_is_not_driven_is_said() {
        let profile = Profile::find("eurotherm.2400", &[]).unwrap();
        let report = run(&profile);
        assert_eq!(report.failure, None);
        assert_eq!(report.lines[0], "2 vectors hold");
        assert!(
            report.lines[1]
                .starts_with("not run: readings, actions, safe state and faults, because profile eurotherm.2400: ")
        );
    }
}
