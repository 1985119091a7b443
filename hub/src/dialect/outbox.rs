//! What a session wants done, in order. Knows no dialect.

use std::borrow::Cow;
use std::collections::VecDeque;

use serde::Serialize;

use super::{Output, Request, Text};

/// What fits into a close frame beside its code.
const REASON_MAX: usize = 123;

/// Drained by the shell after each call, so it holds at most what one call makes. Nothing follows a close.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: VecDeque<Output>,
    closed: bool,
}

impl Outbox {
    pub(super) fn send<T: Serialize>(&mut self, message: &T) {
        self.send_text(Text::json(message));
    }

    pub(super) fn send_text(&mut self, text: Text) {
        self.push(Output::Send(text));
    }

    pub(super) fn ask(&mut self, request: Request) {
        self.push(Output::Do(request));
    }

    pub(super) fn close(&mut self, code: u16, reason: impl Into<Cow<'static, str>>) {
        let mut reason = reason.into();
        if reason.len() > REASON_MAX {
            let end = (0..=REASON_MAX).rev().find(|end| reason.is_char_boundary(*end)).unwrap_or(0);
            reason = Cow::Owned(reason[..end].to_owned());
        }
        self.push(Output::Close { code, reason });
        self.closed = true;
    }

    pub(super) const fn is_closed(&self) -> bool {
        self.closed
    }

    pub(super) fn next(&mut self) -> Option<Output> {
        self.waiting.pop_front()
    }

    fn push(&mut self, output: Output) {
        if !self.closed {
            self.waiting.push_back(output);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_follows_a_close() {
        let mut outbox = Outbox::default();
        outbox.send(&1);
        outbox.close(1000, "done");
        outbox.send(&2);
        assert_eq!(outbox.next(), Some(Output::Send(Text::from_string("1".to_owned()))));
        assert_eq!(outbox.next(), Some(Output::Close { code: 1000, reason: Cow::Borrowed("done") }));
        assert_eq!(outbox.next(), None);
    }

    #[test]
    fn a_reason_fits_into_a_close_frame() {
        let mut outbox = Outbox::default();
        outbox.close(1003, "é".repeat(100));
        assert_eq!(outbox.next(), Some(Output::Close { code: 1003, reason: "é".repeat(61).into() }));
    }
}
