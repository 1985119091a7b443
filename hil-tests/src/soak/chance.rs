//! Numbers that look random and are the same for the same seed, on every machine and with every compiler.

/// SplitMix64: short, and good enough to choose mishaps with.
#[derive(Debug, Clone)]
pub struct Chance {
    state: u64,
}

impl Chance {
    /// The numbers of one round do not depend on the rounds before, so that a round can be repeated alone.
    pub fn of_round(seed: u64, round: u64) -> Self {
        let mut chance = Self { state: seed };
        let start = chance.next() ^ round.wrapping_mul(0xD6E8_FEB8_6659_FD93);
        Self { state: start }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Below `end`, which is not 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    pub fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    /// One of a list that is not empty.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        let place = usize::try_from(self.below(u64::try_from(from.len()).ok()?)).ok()?;
        from.get(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_has_its_own_numbers_and_has_them_again() {
        let first = |seed, round| Chance::of_round(seed, round).below(1_000_000);
        assert_eq!(first(7, 3), first(7, 3));
        assert_ne!(first(7, 3), first(7, 4));
        assert_ne!(first(7, 3), first(8, 3));
        let mut chance = Chance::of_round(1, 1);
        let mut seen = [0; 5];
        for _ in 0..1000 {
            seen[*chance.pick(&[0, 1, 2, 3, 4]).unwrap()] += 1;
        }
        assert!(seen.iter().all(|count| *count > 100), "{seen:?}");
    }
}
