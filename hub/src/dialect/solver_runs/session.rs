//! Manners of the solver-runs dialect: the last known state first, pings answered, open after the end. Knows no socket.

use std::time::Instant;

use rigwire_shared::value::Value;

use crate::dialect::outbox::Outbox;
use crate::dialect::reference::quote;
use crate::dialect::{self, BadReference, Denial, Dialect, Interest, Moment, Output, Request, RunReference, View};
use crate::event::EventKind;
use crate::fanout::Published;

use super::message::{self, BOTH, Endpoint, Pong};

const UNKNOWN: u16 = 4404;
const EXPECTED: &str = r#"expected {"type":"ping"}"#;

#[derive(Debug)]
pub struct Session {
    endpoint: Endpoint,
    reference: Result<RunReference, BadReference>,
    /// Number of the last event told; nothing is told before the greeting.
    told: Option<u64>,
    outbox: Outbox,
}

impl Session {
    pub fn run(reference: Result<RunReference, BadReference>) -> Self {
        Self::new(Endpoint::Run, reference)
    }

    pub fn optimization(reference: Result<RunReference, BadReference>) -> Self {
        Self::new(Endpoint::Optimization, reference)
    }

    fn new(endpoint: Endpoint, reference: Result<RunReference, BadReference>) -> Self {
        Self { endpoint, reference, told: None, outbox: Outbox::default() }
    }

    fn send_error(&mut self, error: &str, now: Moment) {
        let id = match &self.reference {
            Ok(reference) => reference.to_string(),
            Err(BadReference(text)) => text.clone(),
        };
        self.outbox.send_text(message::error(self.endpoint, &id, error, now.at).text);
    }

    fn refuse(&mut self, now: Moment) {
        let reason = match self.endpoint {
            Endpoint::Run => "Run not found",
            Endpoint::Optimization => "Optimization not found",
        };
        self.send_error(reason, now);
        self.outbox.close(UNKNOWN, reason);
    }
}

impl dialect::Session for Session {
    fn dialect(&self) -> Dialect {
        Dialect::SolverRuns
    }

    fn open(&mut self, now: Moment) {
        match self.reference {
            Ok(reference) => self.outbox.ask(Request::Watch(Interest::Run(reference))),
            Err(_) => self.refuse(now),
        }
    }

    fn deny(&mut self, denial: &Denial, now: Moment) {
        self.send_error(&denial.explanation(), now);
        self.outbox.close(denial.close_code(), denial.reason());
    }

    fn handle_view(&mut self, view: View, now: Moment) {
        match view {
            View::Run(snapshot) => {
                self.told = Some(snapshot.last_event);
                self.outbox.send_text(message::greeting(self.endpoint, &snapshot, now.at).text);
            }
            View::UnknownRun(_) => self.refuse(now),
            View::Device(_) | View::UnknownDevice(_) | View::Wide | View::Answered(_) | View::Ledger(_) => {}
        }
    }

    fn handle_text(&mut self, text: &str, now: Moment) {
        let message = match serde_json::from_str::<Value>(text) {
            Ok(message) => message,
            Err(error) => return self.send_error(&format!("the message is not JSON ({error}): {EXPECTED}"), now),
        };
        match message.get("type").and_then(Value::as_str) {
            Some("ping") => self.outbox.send(&Pong { kind: "pong" }),
            Some(other) => self.send_error(&format!("unknown message type {:?}: {EXPECTED}", quote(other)), now),
            None => self.send_error(&format!("the message has no type: {EXPECTED}"), now),
        }
    }

    fn handle_event(&mut self, published: &Published, _now: Moment) {
        let EventKind::Run(event) = &published.event.kind else { return };
        if self.told.is_none_or(|told| event.number <= told) {
            return;
        }
        self.told = Some(event.number);
        for message in published.rendered(Dialect::SolverRuns) {
            if message.topic == self.endpoint.topic() || message.topic == BOTH {
                self.outbox.send_text(message.text.clone());
            }
        }
    }

    fn handle_timeout(&mut self, _now: Moment) {}

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    fn next_output(&mut self) -> Option<Output> {
        self.outbox.next()
    }
}
