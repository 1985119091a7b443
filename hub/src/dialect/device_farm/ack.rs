//! Messages that wait for a client's acknowledgement. Clients that never acknowledge are never sent anything twice.
//! Knows no message and no session.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::dialect::Text;

/// The oldest are given up beyond this: most clients never acknowledge anything.
const WAITING_MAX: usize = 256;

/// After so many repetitions the client has plainly seen the message and will not say so.
const RESENDS_MAX: u8 = 3;

#[derive(Debug)]
pub(super) struct Acknowledgements {
    resend_after: Duration,
    waiting: VecDeque<Waiting>,
    client_acknowledges: bool,
}

#[derive(Debug)]
struct Waiting {
    id: String,
    text: Text,
    due: Instant,
    resends: u8,
}

impl Acknowledgements {
    pub(super) const fn new(resend_after: Duration) -> Self {
        Self { resend_after, waiting: VecDeque::new(), client_acknowledges: false }
    }

    pub(super) fn sent(&mut self, id: &str, text: &Text, now: Instant) {
        if self.waiting.len() == WAITING_MAX {
            self.waiting.pop_front();
        }
        let due = now + self.resend_after;
        self.waiting.push_back(Waiting { id: id.to_owned(), text: text.clone(), due, resends: 0 });
    }

    pub(super) fn acknowledge(&mut self, id: &str, now: Instant) {
        if !self.client_acknowledges {
            self.client_acknowledges = true;
            // Time before the first acknowledgement does not count: the client may only now have begun.
            for waiting in &mut self.waiting {
                waiting.due = now + self.resend_after;
            }
        }
        self.waiting.retain(|waiting| waiting.id != id);
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        if !self.client_acknowledges {
            return None;
        }
        self.waiting.iter().map(|waiting| waiting.due).min()
    }

    /// What has to be sent again now.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Text> {
        if !self.client_acknowledges {
            return Vec::new();
        }
        let mut texts = Vec::new();
        for waiting in self.waiting.iter_mut().filter(|waiting| waiting.due <= now) {
            texts.push(waiting.text.clone());
            waiting.resends += 1;
            waiting.due = now + self.resend_after;
        }
        self.waiting.retain(|waiting| waiting.resends < RESENDS_MAX);
        texts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AFTER: Duration = Duration::from_secs(10);

    #[test]
    fn a_client_that_never_acknowledges_gets_nothing_twice() {
        let now = Instant::now();
        let mut acknowledgements = Acknowledgements::new(AFTER);
        acknowledgements.sent("1", &text(), now);
        assert_eq!(acknowledgements.next_due(), None);
        assert!(acknowledgements.due(now + AFTER).is_empty());
    }

    #[test]
    fn what_an_acknowledging_client_left_out_comes_again_and_not_for_ever() {
        let mut now = Instant::now();
        let mut acknowledgements = Acknowledgements::new(AFTER);
        acknowledgements.sent("1", &text(), now);
        acknowledgements.sent("2", &text(), now);
        acknowledgements.acknowledge("1", now);
        for _ in 0..RESENDS_MAX {
            assert!(acknowledgements.due(now).is_empty());
            now += AFTER;
            assert_eq!(acknowledgements.next_due(), Some(now));
            assert_eq!(acknowledgements.due(now).len(), 1);
        }
        assert_eq!(acknowledgements.next_due(), None);
    }

    #[test]
    fn waiting_messages_are_bounded() {
        let now = Instant::now();
        let mut acknowledgements = Acknowledgements::new(AFTER);
        for number in 0..=WAITING_MAX {
            acknowledgements.sent(&number.to_string(), &text(), now);
        }
        acknowledgements.acknowledge("unknown", now);
        assert_eq!(acknowledgements.due(now + AFTER).len(), WAITING_MAX);
    }

    fn text() -> Text {
        Text::from_string("{}".to_owned())
    }
}
