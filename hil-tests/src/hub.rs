//! A hub in a process of its own: its port, its data, what a REST client asks of it, and how it ends.

use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::{self, Process};
use crate::rest::Rest;
use crate::{port, wait};

/// Where the hub's MQTT comes from.
#[derive(Debug, Clone)]
pub enum Mqtt {
    /// Its own broker, on this port.
    Embedded(u16),
    /// A broker elsewhere.
    Url(String),
}

impl Mqtt {
    pub fn url(&self) -> String {
        match self {
            Self::Embedded(port) => format!("mqtt://127.0.0.1:{port}"),
            Self::Url(url) => url.clone(),
        }
    }
}

pub struct Hub {
    port: u16,
    mqtt: Mqtt,
    folder: TempDir,
    options: Vec<String>,
    process: Option<Process>,
    pub rest: Rest,
}

impl Hub {
    pub fn start(mqtt: Mqtt) -> Result<Self> {
        Self::start_with(mqtt, &[])
    }

    /// With further options, at this start and the next.
    pub fn start_with(mqtt: Mqtt, options: &[&str]) -> Result<Self> {
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        let port = port::free()?;
        let mut hub = Self { port, mqtt, folder: TempDir::new()?, options, process: None, rest: Rest::new(port) };
        hub.start_again()?;
        Ok(hub)
    }

    /// On the same port, with the same data. Returns when it says that it is ready.
    pub fn start_again(&mut self) -> Result<()> {
        if self.process.is_some() {
            bail!("the hub is running already");
        }
        let mut process = Process::start("the hub", &mut self.command()?)?;
        wait::until("the hub to be ready", wait::PATIENCE, || {
            process.check_running().map_err(|error| error.to_string())?;
            match self.rest.get_text("/readyz") {
                Ok((200, _)) => Ok(()),
                Ok((status, body)) => Err(format!("/readyz answers {status} {body}\n{}", process.tail())),
                Err(error) => Err(format!("{error:#}\n{}", process.tail())),
            }
        })?;
        self.process = Some(process);
        Ok(())
    }

    pub fn command(&self) -> Result<Command> {
        let mut command = Command::new(process::binary("rigwire")?);
        command.args([
            "serve",
            "--listen",
            &format!("127.0.0.1:{}", self.port),
            "--log",
            &process::log_level(),
            "--data",
        ]);
        command.arg(self.data()).args(&self.options);
        match &self.mqtt {
            Mqtt::Embedded(port) => command.args(["--mqtt-listen", &format!("127.0.0.1:{port}")]),
            Mqtt::Url(url) => command.args(["--mqtt", url]),
        };
        Ok(command)
    }

    pub fn data(&self) -> &Path {
        self.folder.path()
    }

    pub fn mqtt(&self) -> &Mqtt {
        &self.mqtt
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// A new token; what it gives is up to the role.
    pub fn token(&self, name: &str, role: &str) -> Result<String> {
        let mut command = Command::new(process::binary("rigwire")?);
        command.args(["token", "create", "--name", name, "--role", role, "--data"]).arg(self.data());
        let answer = command.output().context("running rigwire token create")?;
        if !answer.status.success() {
            bail!("rigwire token create: {}", String::from_utf8_lossy(&answer.stderr));
        }
        Ok(String::from_utf8_lossy(&answer.stdout).trim().to_owned())
    }

    pub fn socket(&self, path: &str) -> String {
        format!("ws://127.0.0.1:{}{path}", self.port)
    }

    pub fn process(&self) -> Result<&Process> {
        self.process.as_ref().context("the hub is not running")
    }

    /// Fails when it has ended by itself.
    pub fn check_running(&mut self) -> Result<()> {
        self.process.as_mut().context("the hub is not running")?.check_running()
    }

    /// SIGKILL.
    pub fn kill(&mut self) -> Result<()> {
        self.process.take().context("the hub is not running")?.kill()
    }

    /// SIGTERM; says how it ended and how long that took.
    pub fn stop(&mut self) -> Result<(ExitStatus, Duration)> {
        self.process.take().context("the hub is not running")?.end(Signal::TERM, wait::PATIENCE)
    }

    /// Starts a run; its id.
    pub fn start_run(&self, procedure: &Value, params: &Value) -> Result<String> {
        let body = json!({"procedure": procedure, "params": params});
        let run = self.rest.expect(201, self.rest.post("/api/v1/runs", &body))?;
        let id = run["id"].as_str().with_context(|| format!("a run without an id: {run}"))?;
        Ok(id.to_owned())
    }

    pub fn run(&self, id: &str) -> Result<Value> {
        self.rest.expect(200, self.rest.get(&format!("/api/v1/runs/{id}")))
    }

    /// Waits until the run has one of these statuses.
    pub fn wait_run(&self, id: &str, statuses: &[&str]) -> Result<Value> {
        wait::until(&format!("run {id} to be {}", statuses.join(" or ")), wait::PATIENCE, || {
            let run = self.run(id).map_err(|error| format!("{error:#}"))?;
            let reached = run["status"].as_str().is_some_and(|status| statuses.contains(&status));
            if reached { Ok(run) } else { Err(format!("it is {run}")) }
        })
    }

    /// Every event in the record of a run, asked for page by page.
    pub fn run_events(&self, id: &str) -> Result<Vec<Value>> {
        let mut events: Vec<Value> = Vec::new();
        let mut after = 0;
        loop {
            let path = format!("/api/v1/runs/{id}/events?after={after}&limit=500");
            let page = self.rest.expect(200, self.rest.get(&path))?;
            let found = page["events"].as_array().with_context(|| format!("{path}: no events in {page}"))?;
            let Some(last) = found.last() else { return Ok(events) };
            after = last["seq"].as_u64().with_context(|| format!("{path}: an event without a number: {last}"))?;
            events.extend(found.iter().cloned());
        }
    }

    pub fn steps(&self, id: &str) -> Result<Value> {
        self.rest.expect(200, self.rest.get(&format!("/api/v1/runs/{id}/steps")))
    }

    /// Waits until a device has one of these states; what the hub says of it then.
    pub fn wait_device(&self, device: &str, states: &[&str]) -> Result<Value> {
        wait::until(&format!("device {device} to be {}", states.join(" or ")), wait::PATIENCE, || {
            let answer = self.rest.expect(200, self.rest.get("/api/v1/devices"));
            let answer = answer.map_err(|error| format!("{error:#}"))?;
            let found = answer["devices"].as_array().into_iter().flatten().find(|card| card["id"] == device);
            match found {
                Some(card) if card["state"].as_str().is_some_and(|state| states.contains(&state)) => Ok(card.clone()),
                Some(card) => Err(format!("it is {card}")),
                None => Err(format!("the hub knows {answer}")),
            }
        })
    }
}
