//! Random numbers that depend on a seed and on what they are for, and on nothing that was drawn before. SplitMix64: far more than
//! enough for sampling, and the same for ever.

pub(super) struct Random(u64);

impl Random {
    /// `purpose` tells apart what is drawn from one seed: the strategy's part, a trial, an attempt.
    pub(super) fn new(seed: u64, purpose: &[usize]) -> Self {
        let mut random = Self(seed);
        for part in purpose {
            random.0 = random.next() ^ (*part as u64).wrapping_mul(0xd6e8_feb8_6659_fd93);
        }
        random.next();
        random
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to below 1.
    #[expect(clippy::cast_precision_loss, reason = "53 bits are what a float holds")]
    pub(super) fn part(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// From 0 to below `end`; 0 when `end` is.
    pub(super) fn below(&mut self, end: usize) -> usize {
        // The upper half of a product: even to within one part in 2^64 / end.
        let product = u128::from(self.next()) * (end as u128);
        usize::try_from(product >> 64).unwrap_or(0)
    }

    /// 0 to `count` in random order.
    pub(super) fn permutation(&mut self, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..count).collect();
        for last in (1..count).rev() {
            order.swap(last, self.below(last + 1));
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_even_and_depend_on_their_purpose() {
        let mut counts = [0u32; 10];
        for trial in 0..10_000 {
            counts[Random::new(7, &[1, trial]).below(10)] += 1;
        }
        assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
        let mut random = Random::new(7, &[]);
        let sum: f64 = (0..10_000).map(|_| random.part()).sum();
        assert!((4900.0..5100.0).contains(&sum), "{sum}");
        let mut order = random.permutation(100);
        assert_ne!(order[..10], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        order.sort_unstable();
        assert_eq!(order, (0..100).collect::<Vec<_>>());
        assert_eq!(Random::new(1, &[2, 3]).next(), Random::new(1, &[2, 3]).next());
        assert_ne!(Random::new(1, &[2, 3]).next(), Random::new(1, &[3, 2]).next());
        assert_eq!(random.below(0), 0);
    }
}
