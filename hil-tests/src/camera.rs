//! A simulated network camera in a process of its own, behind a real socket.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process::{self, Process, Stream};
use crate::{port, wait};

pub const WIDTH: u16 = 160;
pub const HEIGHT: u16 = 120;

pub struct Camera {
    port: u16,
    options: Vec<String>,
    process: Option<Process>,
}

impl Camera {
    /// `options` of `simulate camera`, at this start and the next.
    pub fn start(options: &[&str]) -> Result<Self> {
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        let mut camera = Self { port: port::free()?, options, process: None };
        camera.start_again()?;
        Ok(camera)
    }

    /// At the same address.
    pub fn start_again(&mut self) -> Result<()> {
        if self.process.is_some() {
            bail!("the camera is running already");
        }
        let mut command = Command::new(process::binary("rigwire-agent")?);
        let (listen, size) = (format!("127.0.0.1:{}", self.port), format!("{WIDTH}x{HEIGHT}"));
        command.args(["simulate", "camera", "--listen", &listen]).args(&self.options);
        if !self.options.iter().any(|option| option == "--size") {
            command.args(["--size", &size]);
        }
        let process = Process::start("the camera", &mut command)?;
        // The first line is the stream's URL, and is printed once it can be opened.
        process.wait_for("its first line", 0, wait::PATIENCE, |line| {
            (line.stream == Stream::Out && line.text.starts_with("http://")).then_some(())
        })?;
        self.process = Some(process);
        Ok(())
    }

    /// A table of the agent's configuration.
    pub fn toml(&self, device: &str) -> String {
        format!("\n[[camera]]\nid = {device:?}\nurl = \"http://127.0.0.1:{}/stream\"\n", self.port)
    }

    /// SIGKILL.
    pub fn kill(&mut self) -> Result<()> {
        self.process.take().context("the camera is not running")?.kill()
    }

    /// `huge`, `drop` and so on; `none` ends it.
    pub fn fault(&mut self, name: &str) -> Result<()> {
        self.ask(&format!("fault {name}")).map(drop)
    }

    /// Streams that are open now.
    pub fn streams(&mut self) -> Result<u64> {
        self.number("get streams")
    }

    /// Requests so far.
    pub fn requests(&mut self) -> Result<u64> {
        self.number("get requests")
    }

    /// Pictures sent so far.
    pub fn frames(&mut self) -> Result<u64> {
        self.number("get frames")
    }

    pub fn wait_streams(&mut self, count: u64) -> Result<()> {
        wait::until(&format!("{count} open streams"), wait::PATIENCE, || match self.streams() {
            Ok(open) if open == count => Ok(()),
            Ok(open) => Err(format!("there are {open}")),
            Err(error) => Err(format!("{error:#}")),
        })
    }

    fn number(&mut self, command: &str) -> Result<u64> {
        let answer = self.ask(command)?;
        answer.parse().with_context(|| format!("the camera answers {answer:?} to {command:?}, expected a number"))
    }

    fn ask(&mut self, command: &str) -> Result<String> {
        let process = self.process.as_mut().context("the camera is not running")?;
        let mark = process.mark();
        process.write_line(command)?;
        process.wait_for(&format!("an answer to {command:?}"), mark, wait::PATIENCE, |line| {
            (line.stream == Stream::Out).then(|| line.text.clone())
        })
    }
}
