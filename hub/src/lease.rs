//! Who holds a device: a run or a person, under which fencing number, since and until when, and for which reason; and what
//! the device's agent is to be told of it. Pure: knows no agent, no message and no clock.

use std::time::Duration;

use rigwire_shared::ids::{CommandId, Fence, RunId};
use rigwire_shared::time::Timestamp;
use serde::{Deserialize, Serialize};

/// Longest time that a person may keep a device without asking again.
pub const RESERVATION_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// How long an agent lets a run act without hearing from the hub.
pub const LIFE_DEFAULT: Duration = Duration::from_secs(90);

/// A lease that an agent let go of is granted again no sooner than this after the last grant, so that a clock that is wrong
/// does not make the two talk without end.
const GRANT_AGAIN: Duration = Duration::from_secs(1);

/// A person's claim on a device. While a run is on the device it waits, ahead of every run in the queue; while it stands,
/// only runs that the same person started may use the device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reservation {
    pub holder: String,
    pub reason: Option<String>,
    pub since: Timestamp,
    pub until: Timestamp,
    /// Under which it is in effect. `None` while a run is on the device.
    pub fence: Option<Fence>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunHold {
    pub run: RunId,
    pub fence: Fence,
    pub since: Timestamp,
}

/// What a person asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    pub holder: String,
    pub reason: Option<String>,
    pub until: Timestamp,
    /// Whether to wait for the run that is on the device. It is refused otherwise.
    pub next: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claimed {
    /// In effect, once it has a fencing number.
    Taken,
    /// The same holder's claim, with a new end.
    Prolonged,
    /// In effect as soon as the run has ended.
    Waits(RunId),
}

/// Why a claim is refused, or a lease not given back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    Run(RunId),
    Person(Reservation),
    /// Nobody has a claim.
    Nobody,
}

/// What the agent of the device is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    Grant { fence: Fence, until: Timestamp },
    Release { fence: Fence },
}

/// The hold on one device.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Hold {
    run: Option<RunHold>,
    reservation: Option<Reservation>,
    told: Option<Told>,
    /// Given back, and the agent has not said so yet.
    unreleased: Option<Fence>,
}

/// What the agent was told last.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Told {
    fence: Fence,
    at: Timestamp,
    again_at: Option<Timestamp>,
    command: Option<CommandId>,
    /// It ran out: the agent ends it by itself, and makes the device safe if that is how the device is kept.
    ran_out: bool,
}

impl Hold {
    pub fn run(&self) -> Option<RunId> {
        self.run.map(|held| held.run)
    }

    pub fn run_hold(&self) -> Option<RunHold> {
        self.run
    }

    pub fn reservation(&self) -> Option<&Reservation> {
        self.reservation.as_ref()
    }

    pub fn is_free(&self) -> bool {
        self.run.is_none() && self.reservation.is_none()
    }

    /// Whether a run that this person started, or nobody in particular, may have the device now.
    pub fn admits(&self, holder: Option<&str>) -> bool {
        self.run.is_none() && self.is_open_to(holder)
    }

    /// Whether no reservation keeps such a run away, whoever is on the device now.
    pub fn is_open_to(&self, holder: Option<&str>) -> bool {
        self.reservation.as_ref().is_none_or(|claim| Some(claim.holder.as_str()) == holder)
    }

    /// Who acts, and until when: a run until it ends.
    pub fn acting(&self) -> Option<(Fence, Option<Timestamp>)> {
        match (&self.run, &self.reservation) {
            (Some(held), _) => Some((held.fence, None)),
            (None, Some(claim)) => claim.fence.map(|fence| (fence, Some(claim.until))),
            (None, None) => None,
        }
    }

    /// A run takes the device. A reservation of its own holder, or one that waits, stands behind it.
    pub fn take(&mut self, run: RunId, fence: Fence, now: Timestamp) {
        self.run = Some(RunHold { run, fence, since: now });
        if let Some(claim) = &mut self.reservation {
            claim.fence = None;
        }
    }

    /// Answers whether the run was on the device.
    pub fn give_back(&mut self, run: RunId) -> bool {
        self.run.take_if(|held| held.run == run).is_some()
    }

    pub fn reserve(&mut self, claim: Claim, now: Timestamp) -> Result<Claimed, Refused> {
        if let Some(known) = &mut self.reservation {
            if known.holder != claim.holder {
                return Err(Refused::Person(known.clone()));
            }
            known.until = claim.until;
            known.reason = claim.reason.or_else(|| known.reason.take());
            // The agent hears of the new end.
            self.forget_told();
            return Ok(Claimed::Prolonged);
        }
        let outcome = match self.run {
            Some(held) if !claim.next => return Err(Refused::Run(held.run)),
            Some(held) => Claimed::Waits(held.run),
            None => Claimed::Taken,
        };
        let Claim { holder, reason, until, next: _ } = claim;
        self.reservation = Some(Reservation { holder, reason, since: now, until, fence: None });
        Ok(outcome)
    }

    /// Ends a reservation; somebody else's only by force.
    pub fn return_reservation(&mut self, holder: &str, force: bool) -> Result<Reservation, Refused> {
        match &self.reservation {
            Some(claim) if force || claim.holder == holder => {}
            Some(claim) => return Err(Refused::Person(claim.clone())),
            None => return Err(self.run.map_or(Refused::Nobody, |held| Refused::Run(held.run))),
        }
        self.reservation.take().ok_or(Refused::Nobody)
    }

    /// Takes away a reservation whose time is over.
    pub fn expire(&mut self, now: Timestamp) -> Option<Reservation> {
        let expired = self.reservation.take_if(|claim| claim.until <= now)?;
        if let Some(told) = &mut self.told
            && Some(told.fence) == expired.fence
        {
            told.ran_out = true;
        }
        Some(expired)
    }

    /// Whether a reservation is to begin, or begin anew after a run: under a fencing number of its own, so that no late step
    /// of the run acts.
    pub fn lacks_fence(&self) -> bool {
        self.run.is_none() && self.reservation.as_ref().is_some_and(|claim| claim.fence.is_none())
    }

    pub fn begin_reservation(&mut self, fence: Fence) {
        if let Some(claim) = &mut self.reservation {
            claim.fence = Some(fence);
        }
    }

    /// What was in the record when the hub started.
    pub fn restore(&mut self, reservation: Reservation) {
        self.reservation = Some(reservation);
    }

    /// What the agent is to be told now, in this order.
    pub fn orders(&mut self, now: Timestamp, life: Duration) -> Vec<Order> {
        let mut orders = Vec::new();
        let acting = self.acting();
        if let Some(told) = self.told
            && acting.is_none_or(|(fence, _)| fence != told.fence)
        {
            self.told = None;
            if !told.ran_out {
                self.unreleased = Some(told.fence);
                orders.push(Order::Release { fence: told.fence });
            }
        }
        let Some((fence, end)) = acting else { return orders };
        let is_due = match self.told {
            Some(told) => told.again_at.is_some_and(|at| at <= now),
            None => true,
        };
        if is_due {
            let again_at = match end {
                Some(_) => None,
                None => Some(after(now, life / 3)),
            };
            self.told = Some(Told { fence, at: now, again_at, command: None, ran_out: false });
            let until = end.unwrap_or_else(|| after(now, life));
            if until > now {
                orders.push(Order::Grant { fence, until });
            }
        }
        orders
    }

    /// The agent is back, or the clock was set: it is told everything once more.
    pub fn orders_again(&mut self, now: Timestamp, life: Duration) -> Vec<Order> {
        self.forget_told();
        let mut orders: Vec<Order> = self.unreleased.map(|fence| Order::Release { fence }).into_iter().collect();
        orders.extend(self.orders(now, life));
        orders
    }

    /// The command that carries the grant.
    pub fn note_command(&mut self, command: Option<CommandId>) {
        if let Some(told) = &mut self.told {
            told.command = command;
        }
    }

    pub fn was_granted_by(&self, command: CommandId) -> bool {
        self.told.is_some_and(|told| told.command == Some(command))
    }

    /// The agent says that a lease has ended there. Answers whether it should not have: then it is granted again.
    pub fn lost(&mut self, fence: Fence, now: Timestamp) -> bool {
        if self.unreleased == Some(fence) {
            self.unreleased = None;
        }
        if self.acting().is_none_or(|(acting, _)| acting != fence) {
            return false;
        }
        if let Some(told) = &mut self.told {
            told.again_at = Some(now.max(after(told.at, GRANT_AGAIN)));
        }
        true
    }

    /// When to look at it again.
    pub fn wake(&self) -> Option<Timestamp> {
        let again = self.told.and_then(|told| told.again_at);
        let end = self.reservation.as_ref().map(|claim| claim.until);
        match (again, end) {
            (Some(again), Some(end)) => Some(again.min(end)),
            (again, end) => again.or(end),
        }
    }

    fn forget_told(&mut self) {
        let acting = self.acting();
        if let Some(told) = &mut self.told
            && acting.is_some_and(|(fence, _)| fence == told.fence)
        {
            told.again_at = Some(Timestamp(i64::MIN));
        }
    }
}

pub(crate) fn after(at: Timestamp, duration: Duration) -> Timestamp {
    Timestamp(at.0.saturating_add(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    const LIFE: Duration = Duration::from_secs(90);

    fn run(id: u128) -> RunId {
        RunId(Uuid::from_u128(id))
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_millis(second * 1000)
    }

    fn claim(holder: &str, until: i64) -> Claim {
        Claim { holder: holder.to_owned(), reason: None, until: at(until), next: false }
    }

    fn grant(fence: u64, until: i64) -> Order {
        Order::Grant { fence: Fence(fence), until: at(until) }
    }

    fn release(fence: u64) -> Order {
        Order::Release { fence: Fence(fence) }
    }

    #[test]
    fn a_run_is_granted_its_device_renewed_and_released() {
        let mut hold = Hold::default();
        hold.take(run(1), Fence(5), at(0));
        assert_eq!(hold.orders(at(0), LIFE), [grant(5, 90)]);
        assert_eq!((hold.orders(at(29), LIFE), hold.wake()), (vec![], Some(at(30))));
        assert_eq!(hold.orders(at(30), LIFE), [grant(5, 120)]);
        assert!(!hold.give_back(run(2)));
        assert!(hold.give_back(run(1)));
        assert_eq!(hold.orders(at(31), LIFE), [release(5)]);
        assert_eq!(hold.orders(at(32), LIFE), []);
        // The agent has not said that it is free: it is told once more when it is back.
        assert_eq!(hold.orders_again(at(40), LIFE), [release(5)]);
        assert!(!hold.lost(Fence(5), at(41)));
        assert_eq!(hold.orders_again(at(50), LIFE), []);
        assert!(hold.is_free());
    }

    #[test]
    fn a_reservation_lets_its_holders_runs_through_and_begins_anew_after_them() {
        let mut hold = Hold::default();
        assert_eq!(hold.reserve(claim("alice", 100), at(0)), Ok(Claimed::Taken));
        assert!(hold.lacks_fence());
        hold.begin_reservation(Fence(5));
        assert_eq!(hold.orders(at(0), LIFE), [grant(5, 100)]);
        assert!(hold.admits(Some("alice")) && !hold.admits(Some("bob")) && !hold.admits(None));
        hold.take(run(1), Fence(6), at(10));
        assert_eq!(hold.orders(at(10), LIFE), [release(5), grant(6, 100)]);
        assert!(!hold.admits(Some("alice")) && !hold.lacks_fence());
        hold.give_back(run(1));
        assert!(hold.lacks_fence());
        hold.begin_reservation(Fence(7));
        assert_eq!(hold.orders(at(20), LIFE), [release(6), grant(7, 100)]);
    }

    #[test]
    fn somebody_elses_claim_is_refused_and_given_back_by_force_only() {
        let mut hold = Hold::default();
        hold.reserve(claim("alice", 100), at(0)).unwrap();
        assert!(matches!(hold.reserve(claim("bob", 50), at(1)), Err(Refused::Person(held)) if held.holder == "alice"));
        assert!(matches!(hold.return_reservation("bob", false), Err(Refused::Person(_))));
        assert_eq!(hold.reserve(claim("alice", 200), at(2)), Ok(Claimed::Prolonged));
        assert_eq!(hold.return_reservation("bob", true).unwrap().until, at(200));
        assert_eq!(hold.return_reservation("bob", true), Err(Refused::Nobody));
    }

    #[test]
    fn a_device_with_a_run_on_it_may_be_had_next() {
        let mut hold = Hold::default();
        hold.take(run(1), Fence(5), at(0));
        hold.orders(at(0), LIFE);
        assert_eq!(hold.reserve(claim("alice", 100), at(1)), Err(Refused::Run(run(1))));
        let next = Claim { next: true, ..claim("alice", 100) };
        assert_eq!(hold.reserve(next, at(1)), Ok(Claimed::Waits(run(1))));
        assert!(!hold.lacks_fence());
        hold.give_back(run(1));
        assert!(hold.lacks_fence() && !hold.admits(None), "ahead of every run that waits");
        assert_eq!(hold.expire(at(99)), None);
        assert!(hold.expire(at(100)).is_some_and(|expired| expired.holder == "alice"));
        assert!(hold.is_free());
    }

    #[test]
    fn one_that_ran_out_is_not_given_back_so_that_the_agent_makes_the_device_safe() {
        let mut hold = Hold::default();
        hold.reserve(claim("alice", 100), at(0)).unwrap();
        hold.begin_reservation(Fence(5));
        hold.orders(at(0), LIFE);
        assert_eq!(hold.wake(), Some(at(100)));
        hold.expire(at(100));
        assert_eq!((hold.orders(at(100), LIFE), hold.wake()), (vec![], None));
        hold.take(run(1), Fence(6), at(101));
        assert_eq!(hold.orders(at(101), LIFE), [grant(6, 191)]);
    }

    #[test]
    fn what_the_agent_lost_is_granted_again_but_not_without_end() {
        let mut hold = Hold::default();
        hold.take(run(1), Fence(5), at(0));
        hold.orders(at(0), LIFE);
        assert!(!hold.lost(Fence(4), at(0)), "an old one");
        assert!(hold.lost(Fence(5), at(0)));
        assert_eq!((hold.orders(at(0), LIFE), hold.wake()), (vec![], Some(at(1))));
        assert_eq!(hold.orders(at(1), LIFE), [grant(5, 91)]);
        assert!(hold.lost(Fence(5), at(60)));
        assert_eq!(hold.orders(at(60), LIFE), [grant(5, 150)]);
    }
}
