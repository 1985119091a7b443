//! What the hub's clock shows, judged by the times in its acknowledgements. A pure core: no message, no clock of its own.

use std::collections::VecDeque;

use rigwire_shared::time::Timestamp;
use tokio::time::Instant;

/// An acknowledgement may have waited in the broker while this agent was away, so its time may be hours old; it is never ahead.
/// The greatest of the last few is therefore the best. They are more than can have waited: each answers a batch, and no more
/// batches than this are sent without an answer. A hub whose clock was put back is believed after as many.
const ANSWERS: usize = crate::outbox::WINDOW + 1;

/// The hub's clock at one moment. It goes on at the pace of the steady clock, so a change of this host's date does not touch it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HubTime {
    at: Instant,
    shows: Timestamp,
}

impl HubTime {
    pub(crate) fn now(self, now: Instant) -> Timestamp {
        Timestamp(self.shows.0.saturating_add(microseconds(now.saturating_duration_since(self.at))))
    }
}

#[derive(Debug, Default)]
pub(crate) struct HubClock {
    answers: VecDeque<HubTime>,
}

impl HubClock {
    /// Takes the time in an acknowledgement that came at `now`, and answers the best that is known.
    pub(crate) fn heard(&mut self, shows: Timestamp, now: Instant) -> HubTime {
        let heard = HubTime { at: now, shows };
        if self.answers.len() == ANSWERS {
            self.answers.pop_front();
        }
        self.answers.push_back(heard);
        self.answers.iter().copied().max_by_key(|answer| answer.now(now)).unwrap_or(heard)
    }
}

fn microseconds(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const HOUR: i64 = 3_600_000_000;

    #[test]
    fn an_acknowledgement_that_waited_in_the_broker_does_not_turn_back_the_clock() {
        let start = Instant::now();
        let mut clock = HubClock::default();
        clock.heard(Timestamp(5 * HOUR), start);
        let later = start + Duration::from_secs(3600);
        let known = clock.heard(Timestamp(5 * HOUR + 1), later);
        assert_eq!(known.now(later), Timestamp(6 * HOUR), "the second was sent an hour ago");
        let fresh = clock.heard(Timestamp(6 * HOUR + 30), later);
        assert_eq!(fresh.now(later + Duration::from_micros(5)), Timestamp(6 * HOUR + 35));
    }

    #[test]
    fn a_hub_whose_clock_was_put_back_is_believed_in_the_end() {
        let now = Instant::now();
        let mut clock = HubClock::default();
        clock.heard(Timestamp(5 * HOUR), now);
        for _ in 1..ANSWERS {
            assert_eq!(clock.heard(Timestamp(HOUR), now).now(now), Timestamp(5 * HOUR));
        }
        assert_eq!(clock.heard(Timestamp(HOUR), now).now(now), Timestamp(HOUR));
    }
}
