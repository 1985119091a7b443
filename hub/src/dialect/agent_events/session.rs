//! Manners of the agent-events dialect: welcome, subscriptions, pings, and an end for silent or faulty clients. Knows no
//! socket.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rigwire_shared::value::Value;
use serde::Serialize;

use crate::command_line::{Plan, Refusal};
use crate::dialect::outbox::Outbox;
use crate::dialect::reference::quote;
use crate::dialect::{
    self, Answer, Denial, Dialect, Interest, Meant, Moment, Order, Outcome, Output, Rendered, Request, View, Wish,
    rfc3339,
};
use crate::event::{self, EventKind};
use crate::fanout::Published;
use crate::limit::limits;
use crate::model::StartRun;
use crate::model::chat::CORRELATION_MAX;

use super::dsl::{self, DslProgress, DslResult};
use super::message::{ChatMessage, Envelope, Error, Pong};
use super::{order, vocabulary};

const WELCOME: &str = "Connected to Praxis Agent";
const POLICY: u16 = 1008;

/// Who answers what a person typed.
const ASSISTANT: &str = "assistant";

/// A client that names more at once is refused.
const NAMES_MAX: usize = 200;

/// Messages of a client's own that it may wait for answers to.
const SAID_MAX: usize = 100;

limits! {
    /// The document's numbers.
    pub struct Limits {
        /// Open at once; the next one is closed with 1008.
        pub connections: usize = 100, within 1..=100_000;
        /// A client that has sent a PING is closed after three of these without another.
        pub heartbeat_interval: Duration = Duration::from_secs(30), within Duration::from_secs(1)..=Duration::from_secs(3600);
        /// A client with more errors than this is closed at the next sweep.
        pub errors: u32 = 10, within 0..=1_000_000;
        pub sweep_interval: Duration = Duration::from_secs(60), within Duration::from_secs(1)..=Duration::from_secs(3600);
    }
}

#[derive(Debug)]
pub struct Session {
    limits: Limits,
    /// Topics and the names they were asked by; `None` until the client subscribes or unsubscribes: the usual ones.
    topics: Option<HashSet<&'static str>>,
    names: Vec<String>,
    /// Clients that never ping are left alone.
    last_ping: Option<Instant>,
    next_sweep: Option<Instant>,
    /// Messages of its own that were faulty.
    faults: u32,
    /// Errors that it was answered, other refusals among them.
    errors: u64,
    sent: u64,
    /// What this client said in the chat and how it named it. Its own words it need not hear again; their answers it hears
    /// by that name, whatever it subscribed to.
    said: BTreeMap<u64, Option<String>>,
    outbox: Outbox,
}

impl Session {
    pub fn new() -> Self {
        Self::with_limits(Limits::default())
    }

    pub fn with_limits(limits: Limits) -> Self {
        Self {
            limits,
            topics: None,
            names: Vec::new(),
            last_ping: None,
            next_sweep: None,
            faults: 0,
            errors: 0,
            sent: 0,
            said: BTreeMap::new(),
            outbox: Outbox::default(),
        }
    }

    fn send<T: Serialize>(&mut self, kind: &'static str, payload: T, correlation_id: Option<&str>, now: Moment) {
        self.sent += 1;
        let timestamp = rfc3339(now.at);
        let id = format!("reply-{}", self.sent);
        self.outbox.send(&Envelope { kind, payload, id, timestamp: &timestamp, correlation_id });
    }

    fn say(&mut self, content: &str, correlation_id: Option<&str>, now: Moment) {
        self.send("chatMessage", ChatMessage { content, sender: "system", kind: "system" }, correlation_id, now);
    }

    fn refuse(&mut self, code: &'static str, message: &str, correlation_id: Option<&str>, now: Moment) {
        self.errors += 1;
        let timestamp = rfc3339(now.at);
        self.send("error", Error { message, code, timestamp: &timestamp }, correlation_id, now);
    }

    /// An error that counts against the client.
    fn fault(&mut self, message: &str, correlation_id: Option<&str>, now: Moment) {
        self.faults = self.faults.saturating_add(1);
        if self.next_sweep.is_none_or(|at| at <= now.instant) {
            self.next_sweep = Some(now.instant + self.limits.sweep_interval);
        }
        self.refuse("WEBSOCKET_ERROR", message, correlation_id, now);
    }

    fn ping(&mut self, correlation_id: Option<&str>, now: Moment) {
        self.last_ping = Some(now.instant);
        let timestamp = rfc3339(now.at);
        self.send("PONG", Pong { timestamp: &timestamp }, correlation_id, now);
    }

    /// A reply that the client may have unsubscribed from.
    fn tell<T: Serialize>(
        &mut self,
        topic: &str,
        kind: &'static str,
        payload: T,
        correlation_id: Option<&str>,
        now: Moment,
    ) {
        if self.wants(topic) {
            self.send(kind, payload, correlation_id, now);
        }
    }

    fn order(&mut self, wish: Wish, question: Option<u64>, correlation_id: Option<&str>) {
        let correlation_id = correlation_id.map(str::to_owned);
        self.outbox.ask(Request::Order(Order { correlation_id, question, wish }));
    }

    fn command(&mut self, message: &Value, correlation_id: Option<&str>, now: Moment) {
        match order::line(message) {
            Ok(wish) => self.order(wish, None, correlation_id),
            Err(mistake) => self.mistaken(mistake, correlation_id, now),
        }
    }

    fn chat(&mut self, message: &Value, correlation_id: Option<&str>, now: Moment) {
        let (content, sender) = match order::said(message) {
            Ok(said) => said,
            Err(mistake) => return self.mistaken(mistake, correlation_id, now),
        };
        let text = format!("Processing: {}", quote(content));
        let echo = ChatMessage { content: &text, sender: ASSISTANT, kind: "text" };
        self.tell(vocabulary::CHAT, "chatMessage", echo, correlation_id, now);
        let wish = Wish::Say { content: content.to_owned(), sender: sender.map(str::to_owned) };
        self.order(wish, None, correlation_id);
    }

    fn chat_told(&mut self, message: &event::ChatMessage, shared: &Rendered, now: Moment) {
        if self.said.contains_key(&message.number) {
            return;
        }
        match message.answers.and_then(|question| self.said.get(&question)).cloned() {
            Some(name) => self.send("chatMessage", ChatMessage::from(message), name.as_deref(), now),
            None if self.wants(&shared.topic) => self.outbox.send_text(shared.text.clone()),
            None => {}
        }
    }

    fn execute(&mut self, message: &Value, correlation_id: Option<&str>, now: Moment) {
        match order::execute(message) {
            Ok(wish) => self.order(wish, None, correlation_id),
            Err(mistake) => self.mistaken(mistake, correlation_id, now),
        }
    }

    fn mistaken(&mut self, mistake: order::Mistake, correlation_id: Option<&str>, now: Moment) {
        match mistake {
            order::Mistake::Format(text) => self.fault(&text, correlation_id, now),
            order::Mistake::Workflow(text) => self.refuse("WORKFLOW_ERROR", &text, correlation_id, now),
        }
    }

    fn answered(&mut self, answer: Answer, now: Moment) {
        let correlation_id = answer.correlation_id.as_deref();
        let question = answer.question;
        if let Some(number) = question {
            self.said.insert(number, answer.correlation_id.clone());
            if self.said.len() > SAID_MAX {
                self.said.pop_first();
            }
        }
        match answer.outcome {
            Outcome::Planned { line, workflow, took_ms, meant } => {
                self.planned((&line, workflow), took_ms, meant, question, correlation_id, now);
            }
            // The chat tells it, and this client with it.
            Outcome::Started { .. } | Outcome::Said(_) | Outcome::PassedOn if question.is_some() => {}
            outcome @ (Outcome::Started { .. } | Outcome::Said(_)) => {
                self.say(&outcome.in_words(), correlation_id, now);
            }
            Outcome::PassedOn => {}
            Outcome::Refused { code, message } => self.refuse(code, &message, correlation_id, now),
        }
    }

    /// The plan is shown whole before anything of it is done.
    fn planned(
        &mut self,
        (line, workflow): (&str, Option<String>),
        took_ms: f64,
        meant: Result<Meant, Refusal>,
        question: Option<u64>,
        correlation_id: Option<&str>,
        now: Moment,
    ) {
        match meant {
            Ok(Meant::Plan(plan)) => {
                for stage in plan.stages() {
                    let progress = DslProgress::from(&stage);
                    self.tell(vocabulary::DSL_PROGRESS, "dslProgress", progress, correlation_id, now);
                }
                let cards = dsl::cards(&plan);
                let result = DslResult::planned(line, took_ms, &plan, &cards);
                self.tell(vocabulary::DSL_RESULT, "dslResult", result, correlation_id, now);
                let Plan { procedure, params, name, .. } = *plan;
                let start = StartRun { name: Some(name), workflow, ..StartRun::new(Arc::new(procedure), params) };
                self.order(Wish::Start(Box::new(start)), question, correlation_id);
            }
            Ok(Meant::Control { control, run }) => {
                let result = DslResult::plain(line, took_ms, None);
                self.tell(vocabulary::DSL_RESULT, "dslResult", result, correlation_id, now);
                self.order(Wish::Control { control, run }, question, correlation_id);
            }
            Ok(Meant::Said { text, .. }) => {
                let result = DslResult::plain(line, took_ms, None);
                self.tell(vocabulary::DSL_RESULT, "dslResult", result, correlation_id, now);
                if question.is_none() {
                    let chat = ChatMessage { content: &text, sender: ASSISTANT, kind: "text" };
                    self.send("chatMessage", chat, correlation_id, now);
                }
            }
            Err(refusal) => {
                let error = refusal.shown();
                if self.wants(vocabulary::DSL_RESULT) {
                    let result = DslResult::plain(line, took_ms, Some(error));
                    self.send("dslResult", result, correlation_id, now);
                } else if question.is_none() {
                    // Nobody who typed something is left without an answer.
                    self.refuse("DSL_ERROR", &error, correlation_id, now);
                }
            }
        }
    }

    fn change_subscriptions(&mut self, add: bool, message: &Value, correlation_id: Option<&str>, now: Moment) {
        let names = match named_events(message) {
            Ok(names) => names,
            Err(text) => return self.fault(&text, correlation_id, now),
        };
        let mut topics = HashSet::<&'static str>::new();
        let mut invalid = Vec::new();
        for name in &names {
            match vocabulary::topics(name) {
                Some(known) => topics.extend(known),
                None => invalid.push(quote(name)),
            }
        }
        if !invalid.is_empty() {
            return self.fault(&format!("Invalid event types: {}", invalid.join(", ")), correlation_id, now);
        }
        if names.is_empty() {
            // Whoever names nothing keeps what it has.
        } else if add {
            self.topics.get_or_insert_default().extend(topics);
            self.names.extend(names.iter().map(|name| (*name).to_owned()));
            self.names.sort();
            self.names.dedup();
            // Only names of topics that this hub never sends can be so many; they are remembered for show alone.
            self.names.truncate(NAMES_MAX);
        } else {
            let left = self.topics.get_or_insert_with(|| HashSet::from(vocabulary::DEFAULT));
            left.retain(|topic| !topics.contains(topic));
            self.names.retain(|name| !names.contains(&name.as_str()));
        }
        let verb = if add { "Subscribed to" } else { "Unsubscribed from" };
        self.say(&format!("{verb} {} event types", names.len()), correlation_id, now);
    }

    fn wants(&self, topic: &str) -> bool {
        match &self.topics {
            Some(topics) => topics.contains(topic),
            None => vocabulary::DEFAULT.contains(&topic),
        }
    }

    /// The sweep only matters once the client has to go: no other socket needs a timer.
    fn sweep_due(&self) -> Option<Instant> {
        self.next_sweep.filter(|_| self.faults > self.limits.errors)
    }

    fn ping_deadline(&self) -> Option<Instant> {
        self.last_ping.map(|at| at + 3 * self.limits.heartbeat_interval)
    }
}

impl Default for Session {
    fn default() -> Self {
        Self::new()
    }
}

impl dialect::Session for Session {
    fn dialect(&self) -> Dialect {
        Dialect::AgentEvents
    }

    fn open(&mut self, now: Moment) {
        self.next_sweep = Some(now.instant + self.limits.sweep_interval);
        self.say(WELCOME, None, now);
        self.outbox.ask(Request::Watch(Interest::Runs));
        self.outbox.ask(Request::Watch(Interest::Chat));
    }

    fn deny(&mut self, denial: &Denial, now: Moment) {
        self.refuse(denial.code(), &denial.explanation(), None, now);
        self.outbox.close(denial.close_code(), denial.reason());
    }

    fn handle_view(&mut self, view: View, now: Moment) {
        match view {
            View::Answered(answer) => self.answered(*answer, now),
            View::Run(_)
            | View::UnknownRun(_)
            | View::Device(_)
            | View::UnknownDevice(_)
            | View::Wide
            | View::Ledger(_) => {}
        }
    }

    fn handle_text(&mut self, text: &str, now: Moment) {
        let message = match serde_json::from_str::<Value>(text) {
            Ok(message) => message,
            Err(error) => return self.fault(&format!("Invalid message format: it is not JSON: {error}"), None, now),
        };
        let named = |key| message.get(key).and_then(Value::as_str);
        let correlation_id = named("id").or_else(|| named("correlation_id"));
        if let Some(length) = correlation_id.map(str::len).filter(|length| *length > CORRELATION_MAX) {
            let text = format!("Invalid message format: id has {length} bytes, expected at most {CORRELATION_MAX}");
            return self.fault(&text, None, now);
        }
        match named("type") {
            Some("PING") => self.ping(correlation_id, now),
            Some("SUBSCRIBE_EVENTS") => self.change_subscriptions(true, &message, correlation_id, now),
            Some("UNSUBSCRIBE_EVENTS") => self.change_subscriptions(false, &message, correlation_id, now),
            Some("DSL_COMMAND") => self.command(&message, correlation_id, now),
            Some("CHAT_MESSAGE") => self.chat(&message, correlation_id, now),
            Some("EXECUTE_WORKFLOW") => self.execute(&message, correlation_id, now),
            Some(other) => self.fault(&format!("Invalid message type: {}", quote(other)), correlation_id, now),
            None => {
                let text = r#"Invalid message format: expected an object with "type" as text and "payload""#;
                self.fault(text, correlation_id, now);
            }
        }
    }

    fn handle_event(&mut self, published: &Published, now: Moment) {
        for message in published.rendered(Dialect::AgentEvents) {
            match &published.event.kind {
                EventKind::Chat(said) => self.chat_told(said, message, now),
                EventKind::Run(_) | EventKind::Device(_) | EventKind::Agent(_) => {
                    if self.wants(&message.topic) {
                        self.outbox.send_text(message.text.clone());
                    }
                }
            }
        }
    }

    fn handle_timeout(&mut self, now: Moment) {
        if self.ping_deadline().is_some_and(|deadline| deadline <= now.instant) {
            self.outbox.close(POLICY, "heartbeat timeout: no PING for three intervals");
        }
        if self.sweep_due().is_some_and(|due| due <= now.instant) {
            self.outbox.close(POLICY, "too many errors");
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        if self.outbox.is_closed() {
            return None;
        }
        self.sweep_due().into_iter().chain(self.ping_deadline()).min()
    }

    fn next_output(&mut self) -> Option<Output> {
        self.outbox.next()
    }

    fn errors(&self) -> u64 {
        self.errors
    }

    fn subscriptions(&self) -> Vec<String> {
        self.names.clone()
    }
}

/// No list is an empty one, which changes nothing.
fn named_events(message: &Value) -> Result<Vec<&str>, String> {
    let items = match message.get("payload").and_then(|payload| payload.get("event_types")) {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::List(items)) => items,
        Some(Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) | Value::Map(_)) => {
            return Err("Invalid message format: expected payload.event_types as a list of names".to_owned());
        }
    };
    if items.len() > NAMES_MAX {
        return Err(format!("Invalid message format: at most {NAMES_MAX} event types at once, found {}", items.len()));
    }
    let names: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
    names.ok_or_else(|| "Invalid message format: expected every entry of payload.event_types to be a name".to_owned())
}
