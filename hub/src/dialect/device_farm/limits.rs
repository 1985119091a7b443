//! The protocol's numbers, and how often something may happen. Knows no message and no session.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Sockets of one client at the same time.
    pub connections: usize,
    /// Progress of an execution is told at most once in this time; the newest is told when it is over.
    pub progress_interval: Duration,
    /// Progress of a run that is under way is told again after this time without news.
    pub progress_repeat: Duration,
    pub logs_per_second: usize,
    pub preview_frames_per_second: usize,
    /// Previews at the same time on one socket.
    pub previews: usize,
    /// Devices at the same time on one socket.
    pub devices: usize,
    /// A socket on which nothing was sent or received for this long is closed.
    pub inactivity: Duration,
    /// How long an acknowledgement may take before a message is sent again, to clients that acknowledge.
    pub resend_after: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10,
            progress_interval: Duration::from_secs(1),
            progress_repeat: Duration::from_secs(2),
            logs_per_second: 100,
            preview_frames_per_second: 15,
            previews: 5,
            devices: 1000,
            inactivity: Duration::from_secs(3600),
            resend_after: Duration::from_secs(10),
        }
    }
}

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
