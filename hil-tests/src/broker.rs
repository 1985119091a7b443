//! A real mosquitto of one's own: on a free loopback port, with its own configuration, gone with the test.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::process::Process;
use crate::{port, wait};

pub struct Broker {
    folder: TempDir,
    port: u16,
    process: Option<Process>,
}

impl Broker {
    pub fn start() -> Result<Self> {
        let mut broker = Self { folder: TempDir::new()?, port: port::free()?, process: None };
        let user = if rustix::process::geteuid().is_root() { "user root\n" } else { "" };
        let configuration = format!(
            "{user}listener {} 127.0.0.1\nallow_anonymous true\npersistence false\nmax_queued_messages 0\n\
             log_dest stderr\nlog_type error\nlog_type warning\nlog_type notice\nlog_type information\n",
            broker.port
        );
        fs::write(broker.configuration(), configuration)?;
        broker.start_again()?;
        Ok(broker)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    /// SIGTERM: clients see their connections closed.
    pub fn stop(&mut self) -> Result<()> {
        let mut process = self.process.take().context("the broker is not running")?;
        process.end(Signal::TERM, wait::PATIENCE).map(drop)
    }

    /// SIGKILL.
    pub fn kill(&mut self) -> Result<()> {
        self.process.take().context("the broker is not running")?.kill()
    }

    /// On the same port, with nothing remembered: no sessions, no retained messages.
    pub fn start_again(&mut self) -> Result<()> {
        if self.process.is_some() {
            bail!("the broker is running already");
        }
        let process = Process::start("mosquitto", Command::new(program()?).arg("-c").arg(self.configuration()))?;
        // Said once the listener is open.
        process.wait_for_text(" running", wait::PATIENCE)?;
        self.process = Some(process);
        Ok(())
    }

    fn configuration(&self) -> PathBuf {
        self.folder.path().join("mosquitto.conf")
    }
}

/// Debian keeps it where the search path of ordinary users does not reach.
fn program() -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/usr/local/sbin")])
        .map(|folder| folder.join("mosquitto"))
        .find(|candidate| candidate.is_file())
        .context("mosquitto is not installed: run ./hil-tests/run, which installs what the tests need")
}
