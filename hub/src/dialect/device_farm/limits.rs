//! The protocol's numbers, and how often something may happen. Knows no message and no session.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::limit::limits;

limits! {
    /// The defaults are the document's where it has a number.
    pub struct Limits {
        /// Sockets of one client at the same time.
        pub connections: usize = 10, within 1..=10_000;
        /// Progress of an execution is told at most once in this time; the newest is told when it is over.
        pub progress_interval: Duration = Duration::from_secs(1), within MOMENT..=MINUTE;
        /// Progress of a run that is under way is told again after this time without news.
        pub progress_repeat: Duration = Duration::from_secs(2), within MOMENT..=HOUR;
        /// Of one device.
        pub logs_per_second: usize = 100, within 1..=100_000;
        /// Of one device.
        pub preview_frames_per_second: usize = 15, within 1..=1000;
        /// Previews at the same time on one socket.
        pub previews: usize = 5, within 1..=1000;
        /// Devices at the same time on one socket.
        pub devices: usize = 1000, within 1..=100_000;
        /// A socket on which no message was sent or received for this long is closed. Both sides' messages count, pings and
        /// pongs of the socket itself do not.
        pub inactivity: Duration = HOUR, within Duration::from_secs(1)..=Duration::from_secs(7 * 24 * 3600);
        /// How long a client that followed an execution may be away and still be told how it ended.
        pub state_kept: Duration = Duration::from_secs(300), within Duration::ZERO..=Duration::from_secs(24 * 3600);
        /// How long an acknowledgement may take before a message is sent again, to clients that acknowledge.
        pub resend_after: Duration = Duration::from_secs(10), within Duration::from_secs(1)..=HOUR;
    }
}

const MOMENT: Duration = Duration::from_millis(100);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// At most so many in any second, wherever the second begins.
#[derive(Debug)]
pub(super) struct Rate {
    limit: usize,
    recent: VecDeque<Instant>,
}

impl Rate {
    const WINDOW: Duration = Duration::from_secs(1);

    pub(super) const fn new(limit: usize) -> Self {
        Self { limit, recent: VecDeque::new() }
    }

    pub(super) fn is_idle(&self, now: Instant) -> bool {
        self.recent.back().is_none_or(|at| now.saturating_duration_since(*at) >= Self::WINDOW)
    }

    /// Whether one more may happen now; if so, it counts.
    pub(super) fn allow(&mut self, now: Instant) -> bool {
        while self.recent.front().is_some_and(|at| now.saturating_duration_since(*at) >= Self::WINDOW) {
            self.recent.pop_front();
        }
        let allowed = self.recent.len() < self.limit;
        if allowed {
            self.recent.push_back(now);
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_second_holds_more_than_the_limit() {
        let start = Instant::now();
        let mut rate = Rate::new(3);
        let allowed: Vec<bool> = [0, 100, 900, 950, 999, 1000, 1050, 1100]
            .iter()
            .map(|millis| rate.allow(start + Duration::from_millis(*millis)))
            .collect();
        assert_eq!(allowed, [true, true, true, false, false, true, false, true]);
    }
}
