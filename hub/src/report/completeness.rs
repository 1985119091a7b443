//! Which of a run's numbered events are in the record. Knows no event.

use std::fmt;

/// Holes that are listed one by one.
const HOLES_SHOWN: usize = 20;

/// Events are numbered from 1 without holes: what was not found is missing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Completeness {
    pub found: u64,
    /// Number of the last event that there must be.
    pub last: u64,
    /// First and last number of each hole, in order; the first few.
    pub holes: Vec<(u64, u64)>,
    pub holes_left_out: u64,
    /// The run has not ended: more will follow.
    pub goes_on: bool,
    /// Highest number taken so far.
    seen: u64,
}

impl Completeness {
    /// Takes the next number; they come in order.
    pub fn take(&mut self, number: u64) {
        self.hole(self.seen + 1, number.saturating_sub(1));
        self.found += 1;
        self.seen = number;
    }

    pub fn close(&mut self, last: u64, goes_on: bool) {
        self.hole(self.seen + 1, last);
        self.last = last.max(self.seen);
        self.goes_on = goes_on;
    }

    fn hole(&mut self, from: u64, to: u64) {
        if from > to {
            return;
        }
        if self.holes.len() < HOLES_SHOWN {
            self.holes.push((from, to));
        } else {
            self.holes_left_out += 1;
        }
    }

    pub fn is_complete(&self) -> bool {
        self.found == self.last && self.holes.is_empty()
    }
}

impl fmt::Display for Completeness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} events in the record", self.found, self.last)?;
        for (index, (from, to)) in self.holes.iter().enumerate() {
            f.write_str(if index == 0 { "; missing: " } else { ", " })?;
            if from == to { write!(f, "{from}") } else { write!(f, "{from} to {to}") }?;
        }
        if self.holes_left_out > 0 {
            write!(f, " and {} more holes", self.holes_left_out)?;
        }
        if self.goes_on { f.write_str("; the run goes on") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(numbers: &[u64], last: u64, goes_on: bool) -> (bool, String) {
        let mut completeness = Completeness::default();
        for number in numbers {
            completeness.take(*number);
        }
        completeness.close(last, goes_on);
        (completeness.is_complete(), completeness.to_string())
    }

    #[test]
    fn missing_numbers_are_named() {
        for (numbers, last, goes_on, complete, expected) in [
            (&[1, 2, 3][..], 3, false, true, "3 of 3 events in the record"),
            (&[1, 2, 3], 3, true, true, "3 of 3 events in the record; the run goes on"),
            (&[1, 3, 7], 8, false, false, "3 of 8 events in the record; missing: 2, 4 to 6, 8"),
            (&[2], 2, false, false, "1 of 2 events in the record; missing: 1"),
            (&[], 2, false, false, "0 of 2 events in the record; missing: 1 to 2"),
            (&[], 0, true, true, "0 of 0 events in the record; the run goes on"),
        ] {
            assert_eq!(told(numbers, last, goes_on), (complete, expected.to_owned()), "{numbers:?}");
        }
    }

    #[test]
    fn many_holes_are_counted() {
        let odd: Vec<u64> = (0..100).map(|number| number * 2 + 1).collect();
        let (complete, line) = told(&odd, 199, false);
        assert!(!complete && line.ends_with(", 38, 40 and 79 more holes"), "{line}");
    }
}
