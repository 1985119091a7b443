//! How long to wait before the next connection. Pure: randomness comes from the seed.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(250);
const MAX: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Backoff {
    attempts: u32,
    random: u64,
}

impl Backoff {
    pub(super) fn new(seed: u64) -> Self {
        Self { attempts: 0, random: seed | 1 }
    }

    /// Doubles up to the limit; between half and all of it, so that many agents spread.
    pub(super) fn next(&mut self) -> Duration {
        let whole = FIRST.saturating_mul(1 << self.attempts.min(10)).min(MAX);
        self.attempts = self.attempts.saturating_add(1);
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let share = f64::from(u32::try_from(self.random >> 33).unwrap_or(0)) / f64::from(1_u32 << 31);
        whole.mul_f64(0.5 + share / 2.0)
    }

    /// Whether exactly one wait was handed out since the last good connection.
    pub(super) fn is_first(&self) -> bool {
        self.attempts == 1
    }

    pub(super) fn reset(&mut self) {
        self.attempts = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_limit_and_differ() {
        for seed in 0..200 {
            let mut backoff = Backoff::new(seed);
            for whole in [250, 500, 1000, 2000, 4000, 8000, 10_000, 10_000] {
                let wait = backoff.next().as_millis();
                assert!((whole / 2..=whole).contains(&wait), "{wait} of {whole} with seed {seed}");
            }
            backoff.reset();
            assert!(backoff.next() <= FIRST);
        }
        assert_ne!(Backoff::new(12_345).next(), Backoff::new(54_321).next());
    }
}
