//! What to send next, and when to send it again. Positions and times only: no file, no network, no task.
//!
//! The hub's acknowledgement is the only confirmation. A broker that has a message may still lose it.

use std::time::{Duration, Instant};

use rigwire_shared::command::Ack;
use rigwire_shared::ids::Position;

/// Most batches that are sent beyond the hub's last acknowledgement. Below what the MQTT client keeps in flight, so that its
/// own queue never fills.
pub(crate) const WINDOW: usize = 64;
/// How long the hub may stay silent before the window is sent again.
const PATIENCE: Duration = Duration::from_secs(10);
const PATIENCE_MAX: Duration = Duration::from_secs(60);
/// A hub that lacks one batch asks again for each that arrives behind it. One answer is on its way to all of these.
const ASKED_AGAIN_WITHIN: Duration = Duration::from_secs(1);

/// What the spool must do.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Orders {
    /// Everything up to here is in the hub's record.
    pub(crate) trim: Option<Position>,
    /// Read again from just after this batch.
    pub(crate) rewind: Option<After>,
}

/// A place to read from: after a batch, or from the oldest one kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct After(pub(crate) Option<Position>);

#[derive(Debug)]
pub(crate) struct Outbox {
    connected: bool,
    acked: Option<Position>,
    /// Sent and not acknowledged, in order. At most `WINDOW`.
    in_flight: std::collections::VecDeque<Position>,
    patience: Duration,
    /// When the window is sent again; `None` while nothing is in flight.
    resend_at: Option<Instant>,
    /// What the hub asked for last, and when that was sent.
    asked: Option<(After, Instant)>,
}

impl Outbox {
    pub(crate) fn new(acked: Option<Position>) -> Self {
        Self {
            connected: false,
            acked,
            in_flight: std::collections::VecDeque::new(),
            patience: PATIENCE,
            resend_at: None,
            asked: None,
        }
    }

    /// A new connection knows nothing of the old one: all that is not acknowledged is sent again.
    pub(crate) fn connected(&mut self) -> Orders {
        self.connected = true;
        self.patience = PATIENCE;
        self.asked = None;
        self.start_again(After(self.acked))
    }

    pub(crate) fn disconnected(&mut self) {
        self.connected = false;
        self.in_flight.clear();
        self.resend_at = None;
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.connected
    }

    pub(crate) fn may_send(&self) -> bool {
        self.connected && self.in_flight.len() < WINDOW
    }

    pub(crate) fn sent(&mut self, position: Position, now: Instant) {
        self.in_flight.push_back(position);
        self.resend_at.get_or_insert(now + self.patience);
    }

    pub(crate) fn acknowledged(&mut self, ack: &Ack, now: Instant) -> Orders {
        let progress = ack.durable > self.acked;
        self.acked = self.acked.max(ack.durable);
        self.in_flight.retain(|position| Some(*position) > ack.durable);
        if progress {
            self.patience = PATIENCE;
            self.resend_at = (!self.in_flight.is_empty()).then_some(now + PATIENCE);
        }
        let trim = ack.durable.filter(|_| progress);
        let after = After(ack.durable);
        let answered = |(asked, at): (After, Instant)| asked == after && now < at + ASKED_AGAIN_WITHIN;
        if !ack.resend || self.asked.is_some_and(answered) {
            return Orders { trim, rewind: None };
        }
        self.asked = Some((after, now));
        Orders { trim, rewind: self.start_again(after).rewind }
    }

    /// When `waited` has something to do.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.resend_at
    }

    /// Sends the window again when the hub was silent for too long, each time less often.
    pub(crate) fn waited(&mut self, now: Instant) -> Orders {
        if self.resend_at.is_none_or(|at| at > now) {
            return Orders::default();
        }
        self.patience = (self.patience * 2).min(PATIENCE_MAX);
        self.start_again(After(self.acked))
    }

    fn start_again(&mut self, after: After) -> Orders {
        self.in_flight.clear();
        self.resend_at = None;
        Orders { trim: None, rewind: Some(after) }
    }
}

#[cfg(test)]
mod tests {
    use rigwire_shared::ids::Epoch;
    use rigwire_shared::time::Timestamp;

    use super::*;

    fn at(number: u64) -> Position {
        Position { epoch: Epoch(1), number }
    }

    fn ack(number: u64, resend: bool) -> Ack {
        Ack { durable: (number > 0).then(|| at(number)), resend, hub_time: Timestamp(0) }
    }

    fn rewind(after: Option<Position>) -> Orders {
        Orders { trim: None, rewind: Some(After(after)) }
    }

    fn second(count: u64, start: Instant) -> Instant {
        start + Duration::from_secs(count)
    }

    #[test]
    fn a_connection_starts_behind_the_last_acknowledgement() {
        let mut outbox = Outbox::new(Some(at(4)));
        assert!(!outbox.may_send());
        assert_eq!(outbox.connected(), rewind(Some(at(4))));
        assert!(outbox.may_send());
        outbox.sent(at(5), Instant::now());
        outbox.disconnected();
        assert_eq!((outbox.may_send(), outbox.deadline()), (false, None));
        assert_eq!(outbox.connected(), rewind(Some(at(4))));
    }

    #[test]
    fn the_window_is_bounded_and_opens_with_each_acknowledgement() {
        let now = Instant::now();
        let mut outbox = Outbox::new(None);
        outbox.connected();
        for number in 1..=WINDOW as u64 {
            assert!(outbox.may_send());
            outbox.sent(at(number), now);
        }
        assert!(!outbox.may_send());
        assert_eq!(outbox.acknowledged(&ack(1, false), now), Orders { trim: Some(at(1)), rewind: None });
        assert!(outbox.may_send());
        assert_eq!(outbox.acknowledged(&ack(1, false), now), Orders::default(), "nothing new");
    }

    #[test]
    fn a_silent_hub_is_sent_the_window_again_and_ever_less_often() {
        let start = Instant::now();
        let mut outbox = Outbox::new(Some(at(2)));
        outbox.connected();
        let mut now = start;
        for wait in [10, 20, 40, 60, 60] {
            outbox.sent(at(3), now);
            assert_eq!(outbox.deadline(), Some(second(wait, now)));
            assert_eq!(outbox.waited(second(wait - 1, now)), Orders::default());
            now = second(wait, now);
            assert_eq!(outbox.waited(now), rewind(Some(at(2))));
        }
        outbox.sent(at(3), now);
        outbox.sent(at(4), now);
        outbox.acknowledged(&ack(3, false), now);
        assert_eq!(outbox.deadline(), Some(second(10, now)), "progress restores the patience");
        outbox.acknowledged(&ack(4, false), now);
        assert_eq!(outbox.deadline(), None, "nothing is in flight");
    }

    #[test]
    fn an_acknowledgement_without_progress_does_not_postpone_the_resend() {
        let now = Instant::now();
        let mut outbox = Outbox::new(Some(at(2)));
        outbox.connected();
        outbox.sent(at(3), now);
        outbox.acknowledged(&ack(2, false), second(9, now));
        assert_eq!(outbox.deadline(), Some(second(10, now)));
    }

    #[test]
    fn a_hub_that_asks_again_for_what_is_on_its_way_waits() {
        let now = Instant::now();
        let mut outbox = Outbox::new(None);
        outbox.connected();
        for number in 1..=8 {
            outbox.sent(at(number), now);
        }
        assert_eq!(outbox.acknowledged(&ack(3, true), now).rewind, Some(After(Some(at(3)))));
        for number in 4..=8 {
            outbox.sent(at(number), now);
        }
        assert_eq!(outbox.acknowledged(&ack(3, true), now), Orders::default());
        assert!(outbox.deadline().is_some(), "what is on its way is still watched");
        assert_eq!(outbox.acknowledged(&ack(4, true), now).rewind, Some(After(Some(at(4)))), "another place");
        assert_eq!(outbox.acknowledged(&ack(4, true), second(1, now)).rewind, Some(After(Some(at(4)))), "it was lost");
        outbox.disconnected();
        outbox.connected();
        assert!(outbox.acknowledged(&ack(4, true), second(1, now)).rewind.is_some(), "a new connection");
    }

    #[test]
    fn a_hub_that_lacks_something_gets_it_from_where_it_stands() {
        let now = Instant::now();
        let mut outbox = Outbox::new(None);
        outbox.connected();
        for number in 1..=8 {
            outbox.sent(at(number), now);
        }
        let orders = outbox.acknowledged(&ack(3, true), now);
        assert_eq!(orders, Orders { trim: Some(at(3)), rewind: Some(After(Some(at(3)))) });
        assert_eq!(
            outbox.acknowledged(&ack(0, true), now),
            rewind(None),
            "a hub without a record gets all that is kept"
        );
    }
}
