//! A simulated instrument in a process of its own, on a real pty behind a stable link.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::process::{self, Process, Stream};
use crate::wait;

pub struct Simulator {
    process: Process,
    link: PathBuf,
}

impl Simulator {
    /// `settings` are simulator variables, such as `v=3.3`.
    pub fn start(profile: &str, link: &Path, settings: &[&str]) -> Result<Self> {
        let mut command = Command::new(process::binary("rigwire-agent")?);
        command.args(["simulate", profile, "--link"]).arg(link).arg("--trace").arg(link.with_extension("trace"));
        for setting in settings {
            command.args(["--set", setting]);
        }
        let process = Process::start(&format!("the {profile} simulator"), &mut command)?;
        // The first line names where it can be opened, and is printed once it can be.
        process.wait_for("its first line", 0, wait::PATIENCE, |line| {
            (line.stream == Stream::Out && line.text.starts_with('/')).then_some(())
        })?;
        Ok(Self { process, link: link.to_owned() })
    }

    /// What an agent's configuration names as the port.
    pub fn link(&self) -> &Path {
        &self.link
    }

    /// Everything that reached the instrument so far, with the time in microseconds since 1970.
    pub fn received(&self) -> Result<Vec<(i64, String)>> {
        let path = self.link.with_extension("trace");
        let text = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let parts = |line: &str| {
            let (at, bytes) = line.split_once(' ')?;
            Some((at.parse().ok()?, bytes.to_owned()))
        };
        text.lines().map(|line| parts(line).with_context(|| format!("{line:?} in {}", path.display()))).collect()
    }

    pub fn unplug(&mut self) -> Result<()> {
        self.ask("unplug").map(drop)
    }

    pub fn replug(&mut self) -> Result<()> {
        self.ask("replug").map(drop)
    }

    /// `silent`, `late:MS` and so on; `none` ends it.
    pub fn fault(&mut self, name: &str) -> Result<()> {
        self.ask(&format!("fault {name}")).map(drop)
    }

    pub fn set(&mut self, variable: &str, value: f64) -> Result<()> {
        self.ask(&format!("set {variable}={value}")).map(drop)
    }

    pub fn get(&mut self, variable: &str) -> Result<f64> {
        let answer = self.ask(&format!("get {variable}"))?;
        let value = answer.rsplit(['=', ' ']).next().unwrap_or_default();
        value.parse().with_context(|| format!("the simulator's {variable} is {answer:?}, expected a number"))
    }

    /// Sends a command and returns the line that answers it.
    fn ask(&mut self, command: &str) -> Result<String> {
        let mark = self.process.mark();
        self.process.write_line(command)?;
        self.process.wait_for(&format!("an answer to {command:?}"), mark, wait::PATIENCE, |line| {
            (line.stream == Stream::Out).then(|| line.text.clone())
        })
    }
}
