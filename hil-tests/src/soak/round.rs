//! What a round does: which kind of run, which mishaps, and when. Chosen by the seed alone. Knows no process.

use std::fmt;
use std::time::Duration;

use super::chance::Chance;

/// A seed of which few rounds see much, for a test that has a minute.
pub const SHORT_SEED: u64 = 715;
pub const SHORT_ROUNDS: u64 = 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Parallel branches, a condition, retries, limits and `finally` steps.
    Procedure,
    Sweep,
    Suite,
    /// An optimisation study whose iterations are runs of the hub.
    Study,
    /// An optimisation study that is asked and told from outside.
    Told,
    Workflow,
    /// A run that a program outside reports.
    External,
    /// Two runs that hold the same devices step by step.
    Shared,
    /// A program on the agent's host.
    Program,
}

impl Kind {
    pub const ALL: [Self; 9] = [
        Self::Procedure,
        Self::Sweep,
        Self::Suite,
        Self::Study,
        Self::Told,
        Self::Workflow,
        Self::External,
        Self::Shared,
        Self::Program,
    ];

    /// About how many events one has when nothing goes wrong: a mishap comes after one of them.
    const fn events(self) -> u64 {
        match self {
            Self::Procedure | Self::Shared => 30,
            Self::Sweep | Self::Workflow => 24,
            Self::Suite => 14,
            Self::Study => 10,
            Self::Told | Self::External => 12,
            Self::Program => 12,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    Supply,
    Meter,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mishap {
    KillHub,
    KillAgent,
    KillBoth,
    /// The broker is killed and comes back with nothing remembered.
    Broker,
    Replug(Device),
    /// The hub hangs for a while, and goes on as if nothing had been.
    FreezeHub,
    FreezeAgent,
    /// Paused, and resumed after a while.
    Pause,
    Cancel,
}

impl Mishap {
    const ALL: [Self; 10] = [
        Self::KillHub,
        Self::KillAgent,
        Self::KillBoth,
        Self::Broker,
        Self::Replug(Device::Supply),
        Self::Replug(Device::Meter),
        Self::FreezeHub,
        Self::FreezeAgent,
        Self::Pause,
        Self::Cancel,
    ];

    /// Whether every socket is lost by it: with a broker of its own the hub goes down with that.
    pub const fn ends_the_hub(self) -> bool {
        matches!(self, Self::KillHub | Self::KillBoth | Self::Broker)
    }

    /// Whether a run may fail of it.
    pub const fn may_fail_a_step(self) -> bool {
        matches!(self, Self::KillAgent | Self::KillBoth | Self::Replug(_))
    }
}

/// A mishap and its moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Happening {
    pub mishap: Mishap,
    /// Once the run has so many events.
    pub after: u64,
    /// And then a little later, between two events.
    pub later: Duration,
    /// How long what is away stays away, or a pause lasts.
    pub lasts: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Round {
    pub number: u64,
    pub kind: Kind,
    /// In the order of their moments.
    pub happenings: Vec<Happening>,
}

impl Round {
    pub fn of(seed: u64, number: u64) -> Self {
        let mut chance = Chance::of_round(seed, number);
        let kind = chance.pick(&Kind::ALL).copied().unwrap_or(Kind::Procedure);
        // Most rounds have one mishap; one in eight has none, two or three.
        let count = match chance.below(8) {
            0 => 0,
            1 => 2,
            2 => 3,
            _ => 1,
        };
        let mut happenings: Vec<Happening> = (0..count)
            .filter_map(|_| {
                Some(Happening {
                    mishap: *chance.pick(&Mishap::ALL)?,
                    after: 1 + chance.below(kind.events()),
                    later: Duration::from_millis(if chance.one_in(2) { 0 } else { chance.below(120) }),
                    lasts: Duration::from_millis(if chance.one_in(3) { 0 } else { chance.below(700) }),
                })
            })
            .collect();
        happenings.sort_by_key(|happening| happening.after);
        Self { number, kind, happenings }
    }

    pub fn has(&self, is: impl Fn(Mishap) -> bool) -> bool {
        self.happenings.iter().any(|happening| is(happening.mishap))
    }
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "round {}: {:?}", self.number, self.kind)?;
        for happening in &self.happenings {
            write!(f, ", {:?} after event {}", happening.mishap, happening.after)?;
            write!(f, " + {} ms for {} ms", happening.later.as_millis(), happening.lasts.as_millis())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_soak_sees_every_kind_twice_and_every_mishap() {
        let rounds: Vec<Round> = (1..=SHORT_ROUNDS).map(|number| Round::of(SHORT_SEED, number)).collect();
        for kind in Kind::ALL {
            assert!(rounds.iter().filter(|round| round.kind == kind).count() >= 2, "{kind:?}");
        }
        for mishap in Mishap::ALL {
            assert!(rounds.iter().any(|round| round.has(|found| found == mishap)), "{mishap:?}");
        }
    }

    #[test]
    fn two_hundred_rounds_see_every_kind_and_every_mishap() {
        let rounds: Vec<Round> = (1..=200).map(|number| Round::of(1, number)).collect();
        for kind in Kind::ALL {
            assert!(rounds.iter().any(|round| round.kind == kind), "{kind:?}");
        }
        for mishap in Mishap::ALL {
            assert!(rounds.iter().filter(|round| round.has(|found| found == mishap)).count() > 5, "{mishap:?}");
        }
        assert!(rounds.iter().any(|round| round.happenings.is_empty()));
        assert!(rounds.iter().any(|round| round.happenings.len() == 3));
        assert_eq!(rounds[41], Round::of(1, 42), "a round alone is the round among others");
    }
}
