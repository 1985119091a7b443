//! Which periodic reading is due next. A tick that could not be met is skipped and counted, never queued. No clock.

use std::time::{Duration, Instant};

#[derive(Debug, Default)]
pub(super) struct Schedule {
    entries: Vec<Entry>,
    skipped: u64,
}

#[derive(Debug)]
struct Entry {
    reading: usize,
    every: Duration,
    due: Instant,
}

impl Schedule {
    /// All readings are due at once.
    pub(super) fn new(readings: impl Iterator<Item = (usize, Duration)>, now: Instant) -> Self {
        let entries = readings.map(|(reading, every)| Entry { reading, every, due: now }).collect();
        Self { entries, skipped: 0 }
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.entries.iter().map(|entry| entry.due).min()
    }

    /// The most overdue reading, and sets its next tick. `None` when none is due yet.
    pub(super) fn take(&mut self, now: Instant) -> Option<usize> {
        let entry = self.entries.iter_mut().filter(|entry| entry.due <= now).min_by_key(|entry| entry.due)?;
        let late = now.duration_since(entry.due).as_nanos() / entry.every.as_nanos().max(1);
        let late = u32::try_from(late).unwrap_or(u32::MAX - 1);
        self.skipped = self.skipped.saturating_add(u64::from(late));
        entry.due += entry.every * (late + 1);
        Some(entry.reading)
    }

    /// Ticks that nothing was read for.
    pub(super) fn skipped(&self) -> u64 {
        self.skipped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_ticks_are_skipped_and_counted() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let every = |ms| Duration::from_millis(ms);
        let mut schedule = Schedule::new([(0, every(500)), (1, every(300))].into_iter(), start);
        assert_eq!(schedule.next_due(), Some(start));
        assert_eq!((schedule.take(start), schedule.take(start), schedule.take(start)), (Some(0), Some(1), None));
        assert_eq!(schedule.next_due(), Some(at(300)));
        // At 1650 reading 1 missed the ticks of 300 to 1200 and takes that of 1500; reading 0 missed 500 and 1000.
        assert_eq!(
            (schedule.take(at(1650)), schedule.take(at(1650)), schedule.take(at(1650))),
            (Some(1), Some(0), None)
        );
        assert_eq!(schedule.skipped(), 4 + 2);
        assert_eq!(schedule.next_due(), Some(at(1800)));
    }
}
