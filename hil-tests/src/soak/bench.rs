//! The rig of a soak and every way in which it can be mistreated. It lives from round to round, as a real one would.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::plan::{PROGRAM, named};
use super::round::{Device, Mishap};
use crate::process::{Line, Process};
use crate::rig::{Choice, METER, Rig, SUPPLY};
use crate::user;
use crate::wait::{self, PATIENCE};

/// Says that it began, works for a moment and measures something.
const SCRIPT: &str = "echo \"$1\" >> \"$STARTS\"; for part in 20 40 60 80; do \
    echo \"::rigwire progress $part phase=solving part $part\"; sleep 0.06; done; echo '::rigwire output level 1.5'";

pub(super) struct Bench {
    pub(super) rig: Rig,
    folder: TempDir,
}

impl Bench {
    pub(super) fn start(choice: Choice) -> Result<Self> {
        let folder = TempDir::new()?;
        let program = format!(
            "\n[[program]]\nname = {PROGRAM:?}\ncommand = {}\nargs-allowed = [\"soak-[0-9a-z-]+\"]\nuser = {:?}\n\
             environment = {{ STARTS = {:?} }}\n",
            Value::from(vec!["/bin/sh", "-c", SCRIPT, "soak"]),
            user::own()?,
            folder.path().join("starts"),
        );
        let rig = Rig::start_with(choice, &program)?;
        for (name, procedure) in named() {
            let answer = rig.hub.rest.put(&format!("/api/v1/procedures/{name}"), &procedure);
            rig.hub.rest.expect(200, answer)?;
        }
        Ok(Self { rig, folder })
    }

    /// Does what is bad and lets it pass again. Not for what is asked of a run.
    pub(super) fn mistreat(&mut self, mishap: Mishap, lasts: Duration) -> Result<()> {
        match mishap {
            Mishap::KillHub => {
                self.rig.hub.kill()?;
                wait::for_a_while(lasts);
                self.rig.hub.start_again()
            }
            Mishap::KillAgent => {
                self.rig.agent.kill()?;
                wait::for_a_while(lasts);
                self.rig.agent.start_again()
            }
            Mishap::KillBoth => {
                self.rig.hub.kill()?;
                self.rig.agent.kill()?;
                wait::for_a_while(lasts);
                self.rig.agent.start_again()?;
                self.rig.hub.start_again()
            }
            Mishap::Broker => match self.rig.broker.as_mut() {
                Some(broker) => {
                    broker.kill()?;
                    wait::for_a_while(lasts);
                    broker.start_again()
                }
                // The hub's own goes down with it.
                None => self.mistreat(Mishap::KillHub, lasts),
            },
            Mishap::Replug(device) => {
                let (instrument, name) = match device {
                    Device::Supply => (&mut self.rig.supply, SUPPLY),
                    Device::Meter => (&mut self.rig.meter, METER),
                };
                let agent = self.rig.agent.process()?;
                let mark = agent.mark();
                instrument.unplug()?;
                wait::for_a_while(lasts);
                instrument.replug()?;
                // It notices, sooner or later: then rather in this round than in the next. One that was just looking for
                // the device has nothing to notice.
                let line = format!("{name} is gone");
                let noticed = |line_of: &Line| line_of.text.contains(&line).then_some(());
                drop(agent.wait_for(&line, mark, Duration::from_secs(3), noticed));
                Ok(())
            }
            Mishap::FreezeHub => freeze(self.rig.hub.process()?, lasts),
            Mishap::FreezeAgent => freeze(self.rig.agent.process()?, lasts),
            Mishap::Pause | Mishap::Cancel => Ok(()),
        }
    }

    /// Fails when one of the programs has ended by itself.
    pub(super) fn check_running(&mut self) -> Result<()> {
        self.rig.hub.check_running()?;
        self.rig.agent.check_running()
    }

    /// Voltages that reached the supply, in hundredths, with the time in microseconds.
    pub(super) fn sets(&self) -> Result<Vec<(i64, i64)>> {
        let received = self.rig.supply.received()?;
        Ok(received.iter().filter_map(|(at, bytes)| Some((*at, hundredths(bytes)?))).collect())
    }

    pub(super) fn program_starts(&self) -> Vec<String> {
        let text = fs::read_to_string(self.starts()).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn starts(&self) -> PathBuf {
        self.folder.path().join("starts")
    }

    /// Waits until nothing runs that was started with this argument.
    pub(super) fn wait_no_program(&self, argument: &str) -> Result<()> {
        wait::until("the program's end", PATIENCE, || {
            let running =
                fs::read_dir("/proc").map_err(|error| error.to_string())?.filter_map(Result::ok).find(|entry| {
                    let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
                    let mut words = line.split(|byte| *byte == 0);
                    words.next() == Some(b"/bin/sh") && words.any(|word| word == argument.as_bytes())
                });
            running
                .map_or(Ok(()), |entry| Err(format!("process {} is left of it", entry.file_name().to_string_lossy())))
        })
    }

    pub(super) fn devices(&self) -> Result<Vec<Value>> {
        let rest = &self.rig.hub.rest;
        list(&rest.expect(200, rest.get("/api/v1/devices"))?, "devices")
    }

    pub(super) fn leases(&self) -> Result<Vec<Value>> {
        let rest = &self.rig.hub.rest;
        list(&rest.expect(200, rest.get("/api/v1/leases"))?, "leases")
    }
}

fn freeze(process: &Process, lasts: Duration) -> Result<()> {
    process.signal(Signal::STOP)?;
    wait::for_a_while(lasts);
    process.signal(Signal::CONT)
}

pub(super) fn list(answer: &Value, key: &str) -> Result<Vec<Value>> {
    answer[key].as_array().cloned().with_context(|| format!("no {key} in {answer}"))
}

/// What `VSET1:03.30` sets.
fn hundredths(bytes: &str) -> Option<i64> {
    let (volts, part) = bytes.split("VSET1:").nth(1)?.get(..5)?.split_once('.')?;
    Some(volts.parse::<i64>().ok()? * 100 + part.parse::<i64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_orders_to_set_a_voltage_count() {
        for (bytes, expected) in [
            ("VSET1:03.30", Some(330)),
            ("VSET1:12.07", Some(1207)),
            ("VSET1?", None),
            ("OUT1", None),
            ("VSET1:1", None),
        ] {
            assert_eq!(hundredths(bytes), expected, "{bytes}");
        }
    }
}
