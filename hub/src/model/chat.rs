//! The operators' shared chat: what is said in it, and the questions that wait for a responder. A responder that fails is a
//! message of the hub's own; none is waited for without an end.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use rigwire_shared::time::Timestamp;
use serde::Serialize;

use super::{Effect, Model, Record};
use crate::dialect::rfc3339;
use crate::event::{ChatMessage, ChatRole, EventKind};

/// Bytes of one message.
pub const CONTENT_MAX: usize = 16 * 1024;

/// Characters of who speaks.
pub const AUTHOR_MAX: usize = 64;

/// Bytes of a correlation id that is kept: longer ones only come back on the socket that they came from.
pub(crate) const CORRELATION_MAX: usize = 200;

/// Questions that a responder has at once.
pub const WAITING_MAX: usize = 8;

/// Messages that a responder is told of with a question, the newest before it, as far as they fit.
pub const HISTORY: usize = 20;
const HISTORY_BYTES: usize = 64 * 1024;

pub const PATIENCE_DEFAULT: Duration = Duration::from_secs(30);

/// What is to be said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Say {
    pub author: String,
    pub role: ChatRole,
    pub content: String,
    pub correlation_id: Option<String>,
    pub answers: Option<u64>,
}

/// How questions reach whoever answers what is no command line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Way {
    /// There is no responder.
    #[default]
    None,
    Broker,
    /// The shell carries it.
    Webhook,
}

/// A question as the responder gets it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Question {
    /// Number of the message, which an answer names.
    pub id: u64,
    pub content: String,
    pub sender: String,
    /// Oldest first, without the question itself.
    pub history: Vec<Earlier>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Earlier {
    pub id: u64,
    pub at: String,
    pub sender: String,
    pub role: ChatRole,
    pub content: String,
}

/// What the record has of the chat.
#[derive(Debug, Default)]
pub struct Restored {
    pub next: u64,
    /// The newest, oldest first.
    pub recent: Vec<(Timestamp, ChatMessage)>,
    /// Questions that a responder had and did not answer.
    pub unanswered: Vec<u64>,
}

pub(super) struct Chat {
    next: u64,
    recent: VecDeque<(Timestamp, ChatMessage)>,
    waiting: BTreeMap<u64, Waiting>,
    way: Way,
    patience: Duration,
}

/// A question that the responder has.
struct Waiting {
    until: Timestamp,
    correlation_id: Option<String>,
}

impl Chat {
    pub(super) fn new(next: u64, recent: Vec<(Timestamp, ChatMessage)>) -> Self {
        let (way, patience) = (Way::None, PATIENCE_DEFAULT);
        Self { next: next.max(1), recent: recent.into(), waiting: BTreeMap::new(), way, patience }
    }

    pub(super) fn next_wake(&self) -> Option<Timestamp> {
        self.waiting.values().map(|waiting| waiting.until).min()
    }

    pub(super) fn shift(&mut self, by_us: i64) {
        for waiting in self.waiting.values_mut() {
            waiting.until.0 = waiting.until.0.saturating_add(by_us);
        }
    }
}

/// What becomes of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// Nobody is there to answer.
    Nobody,
    /// An answer, or word that there is none, will be said.
    Waits,
    /// The same, and the caller carries the question.
    Carry(Box<Question>),
    /// It was said that it cannot be answered.
    Refused,
}

impl Model {
    pub fn set_responder(&mut self, way: Way, patience: Duration) {
        self.chat.way = way;
        self.chat.patience = patience;
    }

    /// Questions that were under way when the hub ended: their answers will not be understood any more.
    pub(super) fn restore_chat(&mut self, unanswered: Vec<u64>, now: Timestamp) {
        for question in unanswered {
            self.no_answer(question, None, "the hub was started anew before an answer came", now);
        }
    }

    /// Says something in the chat; its number. What is too long is cut, so whoever can refuse it does so before.
    pub fn say(&mut self, say: Say, now: Timestamp) -> ChatMessage {
        let Say { author, role, content, correlation_id, answers } = say;
        let number = self.chat.next;
        self.chat.next += 1;
        let message = ChatMessage {
            number,
            author: author.chars().take(AUTHOR_MAX).collect(),
            role,
            content: cut(content),
            correlation_id: correlation_id.filter(|id| id.len() <= CORRELATION_MAX),
            answers,
        };
        self.chat.recent.push_back((now, message.clone()));
        if self.chat.recent.len() > HISTORY + 1 {
            self.chat.recent.pop_front();
        }
        self.publish_unnumbered(now, EventKind::Chat(message.clone()));
        self.record(Record::Chat { at: now, message: Box::new(message.clone()) });
        message
    }

    /// Puts what was said to the responder, if there is one. `reachable`: whether the broker is.
    pub fn ask_responder(&mut self, question: &ChatMessage, reachable: bool, now: Timestamp) -> Asked {
        let number = question.number;
        match self.chat.way {
            Way::None => return Asked::Nobody,
            Way::Broker if !reachable => {
                let correlation_id = question.correlation_id.clone();
                self.no_answer(number, correlation_id, "there is no connection to the MQTT broker", now);
                return Asked::Refused;
            }
            Way::Broker | Way::Webhook => {}
        }
        if self.chat.waiting.len() >= WAITING_MAX {
            let why = format!("{WAITING_MAX} questions wait for it already, the most there may be; ask again later");
            self.no_answer(number, question.correlation_id.clone(), &why, now);
            return Asked::Refused;
        }
        let patience = i64::try_from(self.chat.patience.as_micros()).unwrap_or(i64::MAX);
        let until = Timestamp(now.0.saturating_add(patience));
        let correlation_id = question.correlation_id.clone();
        self.chat.waiting.insert(number, Waiting { until, correlation_id });
        self.record(Record::ChatAsked(number));
        let carried = Box::new(Question {
            id: number,
            content: question.content.clone(),
            sender: question.author.clone(),
            history: self.history(number),
        });
        match self.chat.way {
            Way::Broker | Way::None => {
                self.effect(Effect::Question(carried));
                Asked::Waits
            }
            Way::Webhook => Asked::Carry(carried),
        }
    }

    /// The responder's answer, or why there is none. One that names no question counts for the one that waits longest.
    /// Whether anybody waited for it.
    pub fn answer_chat(&mut self, question: Option<u64>, answer: Result<String, String>, now: Timestamp) -> bool {
        let Some(question) = question.or_else(|| self.chat.waiting.keys().next().copied()) else { return false };
        let Some(Waiting { correlation_id, .. }) = self.chat.waiting.remove(&question) else { return false };
        match answer {
            Ok(content) => {
                let (author, role) = (ChatRole::Assistant.as_str().to_owned(), ChatRole::Assistant);
                self.say(Say { author, role, content, correlation_id, answers: Some(question) }, now);
            }
            Err(why) => self.no_answer(question, correlation_id, &why, now),
        }
        true
    }

    /// Questions whose time is over.
    pub(super) fn tend_chat(&mut self, now: Timestamp) {
        let over = self.chat.waiting.iter().filter(|(_, waiting)| waiting.until <= now);
        let over: Vec<u64> = over.map(|(question, _)| *question).collect();
        let why = format!("no answer came within {}", humantime::format_duration(self.chat.patience));
        for question in over {
            self.answer_chat(Some(question), Err(why.clone()), now);
        }
    }

    /// Questions that wait for the responder.
    pub fn questions_waiting(&self) -> usize {
        self.chat.waiting.len()
    }

    fn no_answer(&mut self, question: u64, correlation_id: Option<String>, why: &str, now: Timestamp) {
        self.say(
            Say {
                author: ChatRole::System.as_str().to_owned(),
                role: ChatRole::System,
                content: format!("the responder did not answer: {why}"),
                correlation_id,
                answers: Some(question),
            },
            now,
        );
    }

    fn history(&self, before: u64) -> Vec<Earlier> {
        let mut bytes = 0;
        let newest_first = self.chat.recent.iter().rev().filter(|(_, message)| message.number < before).take(HISTORY);
        let mut history: Vec<Earlier> = newest_first
            .take_while(|(_, message)| {
                bytes += message.content.len();
                bytes <= HISTORY_BYTES
            })
            .map(|(at, message)| Earlier {
                id: message.number,
                at: rfc3339(*at),
                sender: message.author.clone(),
                role: message.role,
                content: message.content.clone(),
            })
            .collect();
        history.reverse();
        history
    }
}

fn cut(mut content: String) -> String {
    if content.len() > CONTENT_MAX {
        const MARK: &str = " …";
        let room = CONTENT_MAX - MARK.len();
        let end = (0..=room).rev().find(|end| content.is_char_boundary(*end)).unwrap_or(0);
        content.truncate(end);
        content.push_str(MARK);
    }
    content
}
