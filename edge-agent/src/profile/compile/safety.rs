//! The error queue and the safe state.

use std::time::Duration;

use super::super::definition::{ErrorQueue, SafeState, Trigger};
use super::super::duration;
use super::super::error::{Checker, Place};
use super::{Context, action, receive, regex};

pub(super) fn errors(checker: &mut Checker<'_>, context: &Context<'_>) -> Option<ErrorQueue> {
    let written = context.document.errors.as_ref()?;
    let place = Place::default().key("errors");
    if written.none_available {
        if written.send.is_some() || written.none.is_some() || written.parse.is_some() || written.when.is_some() {
            checker.complain(&place, "none_available beside a queue, expected one of them");
        }
        return None;
    }
    for (key, given) in
        [("send", written.send.is_some()), ("none", written.none.is_some()), ("parse", written.parse.is_some())]
    {
        if !given {
            checker
                .complain(&place, format_args!("{key} is missing, or none_available = true where there is no queue"));
        }
    }
    let (send, none, parse) = (written.send.as_ref()?, written.none.as_ref()?, written.parse.as_ref()?);
    receive::stream_only(checker, context, &place.key("send"))?;
    let send = receive::command(checker, context, &place.key("send"), send);
    let receive = receive::receive(checker, context, &place.key("rx"), written.rx.as_ref());
    let none = regex(checker, &place.key("none"), none);
    let parse = regex(checker, &place.key("parse"), parse)?;
    for group in ["code", "text"] {
        if !parse.capture_names().flatten().any(|name| name == group) {
            checker.complain(
                &place.key("parse"),
                format_args!("pattern without a group named {group}, expected (?P<{group}>...)"),
            );
        }
    }
    let mut after_action = false;
    let mut every = None;
    for (index, when) in written.when.iter().flatten().enumerate() {
        let place = place.key("when").index(index);
        match when.split_once(':') {
            None if when == "after-action" => after_action = true,
            Some(("every", period)) => every = checker.take(&place, duration::parse_period(period)),
            _ => checker.complain(&place, format_args!("{when:?} is unknown, expected after-action or every:DURATION")),
        }
    }
    let drain_max = written.drain_max.unwrap_or(32);
    if drain_max == 0 || drain_max > 1000 {
        checker.complain(&place.key("drain_max"), "out of range, expected 1 to 1000");
    }
    Some(ErrorQueue { send: send?, receive: receive?, none: none?, parse, after_action, every, drain_max })
}

pub(super) fn safe_state(checker: &mut Checker<'_>, context: &Context<'_>) -> SafeState {
    let Some(written) = &context.document.safe_state else { return SafeState::default() };
    let place = Place::default().key("safe_state");
    let mut triggers = Vec::new();
    let mut hub_lost_after: Option<Duration> = None;
    for (index, word) in written.on.iter().enumerate() {
        let place = place.key("on").index(index);
        triggers.push(match word.split_once(':') {
            None if word == "abort" => Trigger::Abort,
            None if word == "lease-lost" => Trigger::LeaseLost,
            None if word == "shutdown" => Trigger::Shutdown,
            Some(("hub-lost", after)) => {
                hub_lost_after = checker.take(&place, duration::parse_period(after));
                Trigger::HubLost
            }
            _ => {
                checker.complain(
                    &place,
                    format_args!("{word:?} is unknown, expected abort, lease-lost, hub-lost:DURATION or shutdown"),
                );
                continue;
            }
        });
    }
    let steps = receive::steps(checker, context, &place.key("steps"), &written.steps);
    let verify =
        written.verify.as_ref().and_then(|verify| action::verify(checker, context, &place.key("verify"), verify, &[]));
    if !written.on.is_empty() && written.steps.is_empty() {
        checker.complain(&place.key("on"), "triggers without steps, expected what makes it safe or on = []");
    }
    if written.verify.is_some() && written.steps.is_empty() {
        checker.complain(&place.key("verify"), "nothing to verify, expected steps beside it");
    }
    if let Some(word) = &written.unreachable
        && word != "alarm"
    {
        checker.complain(&place.key("unreachable"), format_args!("{word:?} is unknown, expected alarm"));
    }
    if let Some(watchdog) = &written.watchdog {
        let place = place.key("watchdog");
        receive::steps(checker, context, &place.key("steps"), &watchdog.steps);
        checker.take(&place.key("timeout"), duration::parse_period(&watchdog.timeout));
    }
    SafeState { triggers, hub_lost_after, steps, verify }
}
