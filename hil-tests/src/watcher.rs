//! WebSocket clients of a test: Python programs that share no code with the hub. Knows frames, not what they mean.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::process::{Process, Stream};

/// One Python process with any number of sockets.
pub struct Watcher {
    process: Process,
}

/// What happened on one socket, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Frame {
    Open,
    Json(Value),
    /// A message that is not JSON text.
    Other(String),
    Closed {
        code: u16,
        reason: String,
    },
    /// The handshake was refused, or the socket was not there.
    Failed {
        status: Option<u16>,
        cause: String,
    },
}

impl Frame {
    pub fn json(&self) -> Option<&Value> {
        match self {
            Self::Json(value) => Some(value),
            Self::Open | Self::Other(_) | Self::Closed { .. } | Self::Failed { .. } => None,
        }
    }

    /// The message's `type`.
    pub fn kind(&self) -> Option<&str> {
        self.json()?.get("type")?.as_str()
    }
}

#[derive(Deserialize)]
struct Report {
    name: String,
    #[serde(rename = "is")]
    kind: String,
    text: Option<String>,
    bytes: Option<String>,
    code: Option<u16>,
    reason: Option<String>,
    status: Option<u16>,
    cause: Option<String>,
}

impl Watcher {
    pub fn start() -> Result<Self> {
        let python = Path::new("/usr/bin/python3");
        let client = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/watch.py");
        if !python.is_file() {
            bail!("/usr/bin/python3 is not installed: run ./hil-tests/run, which installs what the tests need");
        }
        let process = Process::start("the watcher", Command::new(python).arg("-I").arg("-u").arg(client))?;
        Ok(Self { process })
    }

    pub fn open(&mut self, name: &str, url: &str, send: &[Value]) -> Result<()> {
        self.open_and_send_after(name, url, send, 0)
    }

    /// Sends the messages once so many have arrived: some servers expect a client to wait for their greeting.
    pub fn open_and_send_after(&mut self, name: &str, url: &str, send: &[Value], after: usize) -> Result<()> {
        let send: Vec<String> = send.iter().map(Value::to_string).collect();
        self.command(&json!({"do": "open", "name": name, "url": url, "send": send, "after": after}))
    }

    pub fn send(&mut self, name: &str, message: &Value) -> Result<()> {
        self.send_text(name, &message.to_string())
    }

    /// A text as it is, JSON or not.
    pub fn send_text(&mut self, name: &str, text: &str) -> Result<()> {
        self.command(&json!({"do": "send", "name": name, "text": text}))
    }

    pub fn close(&mut self, name: &str) -> Result<()> {
        self.command(&json!({"do": "close", "name": name}))
    }

    /// Everything that this socket has seen until now.
    pub fn transcript(&self, name: &str) -> Vec<Frame> {
        self.process
            .lines()
            .iter()
            .filter(|line| line.stream == Stream::Out)
            .filter_map(|line| parse(&line.text))
            .filter_map(|(socket, frame)| (socket == name).then_some(frame))
            .collect()
    }

    /// Waits for a frame of this socket that `pick` makes a value of, whether it was seen already or not.
    pub fn wait_for<T>(
        &self,
        name: &str,
        what: &str,
        limit: Duration,
        mut pick: impl FnMut(&Frame) -> Option<T>,
    ) -> Result<T> {
        self.process
            .wait_for(&format!("{what} on {name}"), 0, limit, |line| {
                let (socket, frame) = parse(&line.text).filter(|_| line.stream == Stream::Out)?;
                if socket == name { pick(&frame) } else { None }
            })
            .with_context(|| format!("{name} has seen:\n{}", describe(&self.transcript(name))))
    }

    /// Waits for a message of this type.
    pub fn wait_for_kind(&self, name: &str, kind: &str, limit: Duration) -> Result<Value> {
        self.wait_for(name, &format!("a message of type {kind}"), limit, |frame| {
            frame.json().filter(|_| frame.kind() == Some(kind)).cloned()
        })
    }

    pub fn wait_open(&self, name: &str, limit: Duration) -> Result<()> {
        self.wait_for(name, "the handshake", limit, |frame| (*frame == Frame::Open).then_some(()))
    }

    pub fn wait_closed(&self, name: &str, limit: Duration) -> Result<(u16, String)> {
        self.wait_for(name, "the close", limit, |frame| match frame {
            Frame::Closed { code, reason } => Some((*code, reason.clone())),
            Frame::Open | Frame::Json(_) | Frame::Other(_) | Frame::Failed { .. } => None,
        })
    }

    fn command(&mut self, command: &Value) -> Result<()> {
        self.process.check_running()?;
        self.process.write_line(&command.to_string())
    }
}

/// A transcript for people: one line per frame, long ones cut.
pub fn describe(transcript: &[Frame]) -> String {
    let line = |frame: &Frame| {
        let text = match frame {
            Frame::Open => "(open)".to_owned(),
            Frame::Json(value) => value.to_string(),
            Frame::Other(text) => format!("(not JSON) {text}"),
            Frame::Closed { code, reason } => format!("(closed {code} {reason:?})"),
            Frame::Failed { status, cause } => format!("(failed {status:?} {cause})"),
        };
        format!("    {}\n", text.chars().take(300).collect::<String>())
    };
    transcript.iter().map(line).collect()
}

fn parse(line: &str) -> Option<(String, Frame)> {
    let report: Report = serde_json::from_str(line).ok()?;
    let frame = match report.kind.as_str() {
        "open" => Frame::Open,
        "message" => match report.text {
            Some(text) => serde_json::from_str(&text).map_or(Frame::Other(text), Frame::Json),
            None => Frame::Other(report.bytes.unwrap_or_default()),
        },
        "closed" => Frame::Closed { code: report.code?, reason: report.reason.unwrap_or_default() },
        _ => Frame::Failed { status: report.status, cause: report.cause.unwrap_or_default() },
    };
    Some((report.name, frame))
}
