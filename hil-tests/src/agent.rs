//! An agent in a process of its own: its configuration file, its spool, and how it ends.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::process::{self, Process};
use crate::wait;

/// One `[[instrument]]` of the configuration.
#[derive(Debug, Clone)]
pub struct Instrument {
    pub id: String,
    pub profile: String,
    pub port: PathBuf,
    pub tags: Vec<String>,
}

impl Instrument {
    pub fn new(id: &str, profile: &str, port: &Path) -> Self {
        Self { id: id.to_owned(), profile: profile.to_owned(), port: port.to_owned(), tags: Vec::new() }
    }

    fn toml(&self) -> String {
        format!(
            "\n[[instrument]]\nid = {:?}\nprofile = {:?}\nport = {:?}\nmode = \"own\"\ntags = {:?}\n",
            self.id, self.profile, self.port, self.tags
        )
    }
}

pub struct Agent {
    id: String,
    hub: String,
    folder: TempDir,
    process: Option<Process>,
}

impl Agent {
    pub fn start(id: &str, hub: &str, instruments: &[Instrument]) -> Result<Self> {
        Self::start_with(id, hub, instruments, "")
    }

    /// With further tables of the configuration.
    pub fn start_with(id: &str, hub: &str, instruments: &[Instrument], more: &str) -> Result<Self> {
        let configuration: String = instruments.iter().map(Instrument::toml).collect();
        Self::start_configured(id, hub, format!("{configuration}{more}").trim_start())
    }

    /// With a configuration file as it is written.
    pub fn start_configured(id: &str, hub: &str, configuration: &str) -> Result<Self> {
        let mut agent = Self { id: id.to_owned(), hub: hub.to_owned(), folder: TempDir::new()?, process: None };
        fs::write(agent.configuration(), configuration)?;
        agent.start_again()?;
        Ok(agent)
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    /// With the same configuration and spool.
    pub fn start_again(&mut self) -> Result<()> {
        if self.process.is_some() {
            bail!("agent {} is running already", self.id);
        }
        let mut command = Command::new(process::binary("rigwire-agent")?);
        command.args(["run", "--hub", &self.hub, "--id", &self.id, "--log", &process::log_level(), "--config"]);
        command.arg(self.configuration()).arg("--spool").arg(self.folder.path().join("spool"));
        self.process = Some(Process::start(&format!("agent {}", self.id), &mut command)?);
        Ok(())
    }

    pub fn process(&self) -> Result<&Process> {
        self.process.as_ref().with_context(|| format!("agent {} is not running", self.id))
    }

    /// Fails when it has ended by itself.
    pub fn check_running(&mut self) -> Result<()> {
        self.process.as_mut().with_context(|| format!("agent {} is not running", self.id))?.check_running()
    }

    /// SIGKILL.
    pub fn kill(&mut self) -> Result<()> {
        self.take()?.kill()
    }

    /// SIGTERM; says how it ended and how long that took.
    pub fn stop(&mut self) -> Result<(ExitStatus, Duration)> {
        self.take()?.end(Signal::TERM, wait::PATIENCE)
    }

    fn take(&mut self) -> Result<Process> {
        self.process.take().with_context(|| format!("agent {} is not running", self.id))
    }

    fn configuration(&self) -> PathBuf {
        self.folder.path().join("agent.toml")
    }
}
