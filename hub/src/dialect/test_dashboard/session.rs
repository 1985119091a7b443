//! Manners of the test-dashboard dialect: topics, and one unbroken count per client. Knows no socket.

use std::time::Instant;

use serde::Serialize;

use crate::dialect::outbox::Outbox;
use crate::dialect::{self, Denial, Dialect, Interest, Moment, Output, Request, View};
use crate::fanout::Published;

use super::client::{self, ClientMessage};
use super::envelope;
use super::message::{Connected, ErrorText, Nothing, TopicOf};
use super::subscription::Subscriptions;

pub use super::client::client_id;

#[derive(Debug)]
pub struct Session {
    client_id: String,
    /// The last number given out. A message that was lost on the way has had its number all the same.
    sequence: u64,
    subscriptions: Subscriptions,
    outbox: Outbox,
}

impl Session {
    /// `client_id` as `client_id()` gives it; `resume_sequence` is the last number this client was given before, else 0.
    pub fn new(client_id: String, resume_sequence: u64) -> Self {
        Self {
            client_id,
            sequence: resume_sequence,
            subscriptions: Subscriptions::default(),
            outbox: Outbox::default(),
        }
    }

    fn answer<T: Serialize>(&mut self, kind: &str, payload: &T, now: Moment) {
        self.outbox.send_text(envelope::control(kind, payload, now.at));
    }

    fn refuse(&mut self, error: &str, now: Moment) {
        self.answer("error", &ErrorText { error }, now);
    }

    /// Events are asked for only while some topic may want them.
    fn follow_events(&mut self, before: bool) {
        let after = !self.subscriptions.is_empty();
        if before != after {
            let watch = if after { Request::Watch } else { Request::Unwatch };
            self.outbox.ask(watch(Interest::Runs));
        }
    }
}

impl dialect::Session for Session {
    fn dialect(&self) -> Dialect {
        Dialect::TestDashboard
    }

    fn open(&mut self, now: Moment) {
        let text = envelope::control("connected", &Connected { client_id: &self.client_id }, now.at);
        self.outbox.send_text(text);
    }

    fn deny(&mut self, denial: &Denial, now: Moment) {
        self.refuse(&denial.explanation(), now);
        self.outbox.close(denial.close_code(), denial.reason());
    }

    fn handle_view(&mut self, view: View, _now: Moment) {
        match view {
            View::Run(_)
            | View::UnknownRun(_)
            | View::Device(_)
            | View::UnknownDevice(_)
            | View::Runs
            | View::Answered(_) => {}
        }
    }

    fn handle_text(&mut self, text: &str, now: Moment) {
        let followed = !self.subscriptions.is_empty();
        match client::read(text) {
            Ok(ClientMessage::Subscribe(topic, filter)) => {
                let asked = topic.asked.clone();
                match self.subscriptions.add(topic, filter) {
                    Ok(()) => self.answer("subscribed", &TopicOf { topic: &asked }, now),
                    Err(error) => self.refuse(&error, now),
                }
            }
            Ok(ClientMessage::Unsubscribe(topic)) => {
                self.subscriptions.remove(&topic);
                self.answer("unsubscribed", &TopicOf { topic: &topic.asked }, now);
            }
            Ok(ClientMessage::Ping) => self.answer("pong", &Nothing {}, now),
            Err(error) => self.refuse(&error, now),
        }
        self.follow_events(followed);
    }

    fn handle_event(&mut self, published: &Published, _now: Moment) {
        if self.subscriptions.is_empty() {
            return;
        }
        for message in published.rendered(Dialect::TestDashboard) {
            if self.subscriptions.wants(message) {
                self.sequence += 1;
                self.outbox.send_text(envelope::number(&message.text, self.sequence));
            }
        }
    }

    /// Lost messages consume numbers, so that a gap in the count means exactly that something was lost.
    fn note_lost(&mut self, count: u64) {
        self.sequence = self.sequence.saturating_add(count);
    }

    fn handle_timeout(&mut self, _now: Moment) {}

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    fn next_output(&mut self) -> Option<Output> {
        self.outbox.next()
    }

    fn last_sequence(&self) -> Option<u64> {
        Some(self.sequence)
    }

    fn subscriptions(&self) -> Vec<String> {
        self.subscriptions.names()
    }
}
