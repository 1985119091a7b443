//! Manners of the protocol-runs dialect: a full round at once, then what happens, then a clean close. Knows no socket.

use std::time::Instant;

use crate::dialect::outbox::Outbox;
use crate::dialect::{self, BadReference, Denial, Dialect, Interest, Moment, Output, Request, RunReference, View};
use crate::event::{EventKind, RunEventBody};
use crate::fanout::Published;

use super::message;

const NORMAL: u16 = 1000;
const UNSUPPORTED_DATA: u16 = 1003;
const UNKNOWN_RUN: u16 = 4404;
const FINISHED: &str = "the run is over";

#[derive(Debug)]
pub struct Session {
    reference: Result<RunReference, BadReference>,
    /// Number of the last event told; nothing is told before the greeting.
    told: Option<u64>,
    outbox: Outbox,
}

impl Session {
    pub fn new(reference: Result<RunReference, BadReference>) -> Self {
        Self { reference, told: None, outbox: Outbox::default() }
    }
}

impl dialect::Session for Session {
    fn dialect(&self) -> Dialect {
        Dialect::ProtocolRuns
    }

    fn open(&mut self, _now: Moment) {
        match &self.reference {
            Ok(reference) => self.outbox.ask(Request::Watch(Interest::Run(*reference))),
            Err(bad) => {
                let reason = bad.to_string();
                self.outbox.close(UNSUPPORTED_DATA, reason);
            }
        }
    }

    fn deny(&mut self, denial: &Denial, now: Moment) {
        self.outbox.send_text(message::error(&denial.explanation(), now.at).text);
        self.outbox.close(denial.close_code(), denial.reason());
    }

    fn handle_view(&mut self, view: View, now: Moment) {
        match view {
            View::Run(snapshot) => {
                for message in message::greeting(&snapshot, now.at) {
                    self.outbox.send_text(message.text);
                }
                self.told = Some(snapshot.last_event);
                if snapshot.status.is_final() {
                    self.outbox.close(NORMAL, FINISHED);
                }
            }
            View::UnknownRun(reference) => {
                self.outbox.send_text(message::error(&format!("run {reference} is not known"), now.at).text);
                self.outbox.close(UNKNOWN_RUN, "the run is not known");
            }
            View::Device(_) | View::UnknownDevice(_) | View::Wide | View::Answered(_) | View::Ledger(_) => {}
        }
    }

    /// The protocol has no messages from clients.
    fn handle_text(&mut self, _text: &str, _now: Moment) {}

    fn handle_event(&mut self, published: &Published, _now: Moment) {
        let EventKind::Run(event) = &published.event.kind else { return };
        if self.told.is_none_or(|told| event.number <= told) {
            return;
        }
        self.told = Some(event.number);
        for message in published.rendered(Dialect::ProtocolRuns) {
            self.outbox.send_text(message.text.clone());
        }
        if matches!(event.body, RunEventBody::Finished(_)) {
            self.outbox.close(NORMAL, FINISHED);
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
