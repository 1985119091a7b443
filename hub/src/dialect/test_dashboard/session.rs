//! Manners of the test-dashboard dialect: topics, and one unbroken count per client. Knows no socket.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::dialect::outbox::Outbox;
use crate::dialect::{self, Denial, Dialect, Interest, Moment, Output, Rendered, Request, Text, View};
use crate::event::{DeviceEvent, EventKind};
use crate::fanout::Published;

use super::beyond;
use super::client::{self, ClientMessage};
use super::envelope;
use super::message::{Connected, ErrorText, Nothing, TopicOf};
use super::samples::Samples;
use super::subscription::{Subscriptions, Topic};

pub use super::client::client_id;
pub use super::count::{Count, Turn};

/// What a client that came back had subscribed to before is kept for it so long; it asks for it again by then or never.
const RESTORED_WITHIN: Duration = Duration::from_secs(5);

const LEDGER_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub struct Session {
    client_id: String,
    turn: Turn,
    subscriptions: Subscriptions,
    /// Of the socket before, not asked for again yet: what happens meanwhile is missed.
    before: Option<(Subscriptions, Instant)>,
    watched: Vec<Interest>,
    samples: Samples,
    ledger_due: Option<Instant>,
    outbox: Outbox,
}

impl Session {
    /// `client_id` as `client_id()` gives it.
    pub fn new(client_id: String, turn: Turn) -> Self {
        Self {
            client_id,
            turn,
            subscriptions: Subscriptions::default(),
            before: None,
            watched: Vec::new(),
            samples: Samples::default(),
            ledger_due: None,
            outbox: Outbox::default(),
        }
    }

    fn answer<T: Serialize>(&mut self, kind: &str, payload: &T, now: Moment) {
        self.outbox.send_text(envelope::control(kind, payload, now.at));
    }

    fn refuse(&mut self, error: &str, now: Moment) {
        self.answer("error", &ErrorText { error }, now);
    }

    fn send(&mut self, text: &Text, now: Moment) {
        let sequence = self.turn.next(now.at);
        self.outbox.send_text(envelope::number(text, sequence));
    }

    fn changed(&mut self, topic: &Topic, now: Moment) {
        if let Some((before, _)) = &mut self.before {
            before.remove(topic);
            if before.is_empty() {
                self.before = None;
            }
        }
        self.samples.forget();
        if !self.subscriptions.want_ledger() {
            self.ledger_due = None;
        } else if self.ledger_due.is_none() {
            self.ledger_due = Some(now.instant);
        }
        self.settle();
        self.ask_for_ledger(now);
    }

    /// Events are asked for only while some topic may want them, and only by the client's last socket.
    fn settle(&mut self) {
        let mut owed = self.subscriptions.clone();
        if let Some((before, _)) = &self.before {
            owed.extend(before);
        }
        for interest in Interest::WIDE {
            let wanted = self.turn.is_last() && owed.need(&interest);
            let watched = self.watched.contains(&interest);
            if wanted && !watched {
                self.watched.push(interest.clone());
                self.outbox.ask(Request::Watch(interest));
            } else if watched && !wanted {
                self.watched.retain(|watched| *watched != interest);
                self.outbox.ask(Request::Unwatch(interest));
            }
        }
        self.turn.set(&self.subscriptions, owed);
    }

    fn ask_for_ledger(&mut self, now: Moment) {
        if self.ledger_due.is_some_and(|due| due <= now.instant) && self.turn.is_last() {
            self.ledger_due = Some(now.instant + LEDGER_EVERY);
            self.outbox.ask(Request::Ledger);
        }
    }

    fn tell(&mut self, message: &Rendered, published: &Published, now: Moment) {
        let sample = match &published.event.kind {
            EventKind::Device(DeviceEvent::Sample(sample)) => Some(sample),
            EventKind::Device(_) | EventKind::Run(_) | EventKind::Agent(_) | EventKind::Chat(_) => None,
        };
        match (self.subscriptions.wants(message), sample) {
            (true, Some(sample)) => {
                if let Some(text) = self.samples.offer(&sample.device, &sample.metric, &message.text, now.instant) {
                    self.send(&text, now);
                }
            }
            (true, None) => self.send(&message.text, now),
            (false, Some(_)) => {}
            (false, None) => {
                let missed = self.before.as_ref().is_some_and(|(before, _)| before.wants(message));
                self.turn.miss(u64::from(missed));
            }
        }
    }
}

impl dialect::Session for Session {
    fn dialect(&self) -> Dialect {
        Dialect::TestDashboard
    }

    fn open(&mut self, now: Moment) {
        self.turn.touch(now.at);
        let owed = self.turn.owed();
        if !owed.is_empty() {
            self.before = Some((Arc::unwrap_or_clone(owed), now.instant + RESTORED_WITHIN));
        }
        let text = envelope::control("connected", &Connected { client_id: &self.client_id }, now.at);
        self.outbox.send_text(text);
        self.settle();
    }

    fn deny(&mut self, denial: &Denial, now: Moment) {
        self.refuse(&denial.explanation(), now);
        self.outbox.close(denial.close_code(), denial.reason());
    }

    fn handle_view(&mut self, view: View, now: Moment) {
        match view {
            View::Ledger(ledger) if self.subscriptions.want_ledger() && self.turn.is_last() => {
                let text = beyond::ledger(&ledger, now.at);
                self.send(&text, now);
            }
            View::Run(_)
            | View::UnknownRun(_)
            | View::Device(_)
            | View::UnknownDevice(_)
            | View::Wide
            | View::Ledger(_)
            | View::Answered(_) => {}
        }
    }

    fn handle_text(&mut self, text: &str, now: Moment) {
        self.turn.touch(now.at);
        match client::read(text) {
            Ok(ClientMessage::Subscribe(topic, filter)) => match self.subscriptions.add(topic.clone(), filter) {
                Ok(()) => {
                    self.answer("subscribed", &TopicOf { topic: &topic.asked }, now);
                    self.changed(&topic, now);
                }
                Err(error) => self.refuse(&error, now),
            },
            Ok(ClientMessage::Unsubscribe(topic)) => {
                self.subscriptions.remove(&topic);
                self.answer("unsubscribed", &TopicOf { topic: &topic.asked }, now);
                self.changed(&topic, now);
            }
            Ok(ClientMessage::Ping) => self.answer("pong", &Nothing {}, now),
            Err(error) => self.refuse(&error, now),
        }
    }

    fn handle_event(&mut self, published: &Published, now: Moment) {
        if !self.turn.is_last() {
            // Another socket goes by the client's name now; this one goes on in silence.
            return self.settle();
        }
        let reads = |of: fn(&Subscriptions) -> bool| {
            of(&self.subscriptions) || self.before.as_ref().is_some_and(|(before, _)| of(before))
        };
        let (published_words, beyond_words) = (reads(Subscriptions::want_published), reads(Subscriptions::want_beyond));
        if published_words {
            for message in published.rendered(Dialect::TestDashboard) {
                self.tell(message, published, now);
            }
        }
        if beyond_words {
            for message in published.beyond(beyond::render) {
                self.tell(message, published, now);
            }
        }
    }

    /// Lost messages consume numbers, so that a gap in the count means exactly that something was lost.
    fn note_lost(&mut self, count: u64) {
        self.turn.miss(count);
    }

    fn handle_timeout(&mut self, now: Moment) {
        if self.before.as_ref().is_some_and(|(_, until)| *until <= now.instant) {
            self.before = None;
            self.settle();
        }
        for text in self.samples.take_due(now.instant) {
            if self.turn.is_last() {
                self.send(&text, now);
            }
        }
        self.ask_for_ledger(now);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let restored = self.before.as_ref().map(|(_, until)| *until);
        let ledger = self.ledger_due.filter(|_| self.turn.is_last());
        [restored, ledger, self.samples.due()].into_iter().flatten().min()
    }

    fn next_output(&mut self) -> Option<Output> {
        self.outbox.next()
    }

    fn held_back(&self) -> u64 {
        self.samples.held_back()
    }

    fn subscriptions(&self) -> Vec<String> {
        self.subscriptions.names()
    }
}
