//! How many of something may pass in a while: so many at once, then so many a second. Pure: the time is an argument.

use std::time::{Duration, Instant};

#[derive(Debug)]
pub(crate) struct Pace {
    per_second: f64,
    burst: f64,
    left: f64,
    seen: Instant,
}

impl Pace {
    pub(crate) fn new(per_second: u32, burst: u32, now: Instant) -> Self {
        let burst = f64::from(burst);
        Self { per_second: f64::from(per_second), burst, left: burst, seen: now }
    }

    /// Whether one more may pass now.
    pub(crate) fn admits(&mut self, now: Instant) -> bool {
        self.refill(now);
        let admitted = self.left >= 1.0;
        if admitted {
            self.left -= 1.0;
        }
        admitted
    }

    /// Counts one that passes in any case, and says how long the next should wait.
    pub(crate) fn charge(&mut self, now: Instant) -> Option<Duration> {
        self.refill(now);
        self.left -= 1.0;
        (self.left < 0.0).then(|| Duration::from_secs_f64(-self.left / self.per_second))
    }

    fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.seen).as_secs_f64();
        self.left = (self.left + passed * self.per_second).min(self.burst);
        self.seen = self.seen.max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_so_many_a_second() {
        let start = Instant::now();
        let mut pace = Pace::new(10, 3, start);
        let passed = |pace: &mut Pace, now| (0..20).filter(|_| pace.admits(now)).count();
        assert_eq!(passed(&mut pace, start), 3);
        assert_eq!(passed(&mut pace, start + Duration::from_millis(200)), 2);
        assert_eq!(passed(&mut pace, start + Duration::from_secs(60)), 3);
    }

    #[test]
    fn what_passes_in_any_case_makes_the_next_wait() {
        let start = Instant::now();
        let mut pace = Pace::new(10, 2, start);
        assert_eq!([pace.charge(start), pace.charge(start)], [None, None]);
        assert_eq!(pace.charge(start), Some(Duration::from_millis(100)));
        assert_eq!(pace.charge(start), Some(Duration::from_millis(200)));
        assert_eq!(pace.charge(start + Duration::from_secs(1)), None);
    }
}
