//! Who follows which execution, or did until lately: a client that lost its socket may come back to an execution that ended
//! meanwhile. Knows no message and no session.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rigwire_shared::ids::RunId;

use crate::access::Client;

/// Visits remembered at most; past that, those that ended longest ago are forgotten.
const VISITS_MAX: usize = 10_000;

#[derive(Debug, Default)]
pub struct Visits {
    known: Mutex<HashMap<(Client, RunId), Visit>>,
}

#[derive(Debug)]
struct Visit {
    /// Sockets on which the client follows the execution. One that the client has lost may look open for a while.
    open: usize,
    /// When the last of them was opened or closed.
    last: Instant,
}

impl Visits {
    pub fn begin(&self, client: &Client, run: RunId, kept: Duration, now: Instant) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (client.clone(), run);
        if known.len() >= VISITS_MAX && !known.contains_key(&key) {
            known.retain(|_, visit| visit.is_kept(kept, now));
            if known.len() >= VISITS_MAX {
                let over = known.iter().filter(|(_, visit)| visit.open == 0);
                if let Some(oldest) = over.min_by_key(|(_, visit)| visit.last).map(|(key, _)| key.clone()) {
                    known.remove(&oldest);
                }
            }
        }
        let visit = known.entry(key).or_insert(Visit { open: 0, last: now });
        visit.open += 1;
        visit.last = now;
    }

    pub fn end(&self, client: &Client, run: RunId, now: Instant) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(visit) = known.get_mut(&(client.clone(), run)) {
            visit.open = visit.open.saturating_sub(1);
            visit.last = now;
        }
    }

    /// Whether the client follows the execution, or did and left no longer than this ago.
    pub fn is_kept(&self, client: &Client, run: RunId, kept: Duration, now: Instant) -> bool {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&(client.clone(), run)).is_some_and(|visit| visit.is_kept(kept, now))
    }
}

impl Visit {
    fn is_kept(&self, kept: Duration, now: Instant) -> bool {
        self.open > 0 || now.saturating_duration_since(self.last) <= kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEPT: Duration = Duration::from_secs(300);

    fn client(last: u8) -> Client {
        Client::Address([127, 0, 0, last].into())
    }

    fn run(number: u128) -> RunId {
        RunId(uuid::Uuid::from_u128(number))
    }

    #[test]
    fn a_client_may_come_back_for_five_minutes_after_its_last_socket() {
        let visits = Visits::default();
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let kept = |last, number, seconds| visits.is_kept(&client(last), run(number), KEPT, at(seconds));
        assert!(!kept(1, 1, 0), "never was there");
        visits.begin(&client(1), run(1), KEPT, start);
        visits.begin(&client(1), run(1), KEPT, start);
        visits.end(&client(1), run(1), at(10));
        assert!(kept(1, 1, 10_000), "one of its sockets is open");
        visits.end(&client(1), run(1), at(20_000));
        assert!(kept(1, 1, 20_300), "at the limit");
        assert!(!kept(1, 1, 20_301), "past it");
        assert!(!kept(2, 1, 20_000), "somebody else");
        assert!(!kept(1, 2, 20_000), "another execution");
    }

    #[test]
    fn visits_are_bounded_and_those_over_for_longest_are_forgotten() {
        let visits = Visits::default();
        let start = Instant::now();
        visits.begin(&client(1), run(0), KEPT, start);
        for number in 1..=VISITS_MAX as u128 {
            let at = start + Duration::from_millis(u64::try_from(number).unwrap());
            visits.begin(&client(1), run(number), KEPT, at);
            visits.end(&client(1), run(number), at);
        }
        let now = start + Duration::from_secs(11);
        let kept = |number| visits.is_kept(&client(1), run(number), KEPT, now);
        assert_eq!(visits.known.lock().unwrap().len(), VISITS_MAX);
        assert!(kept(0), "its socket is open");
        assert!(!kept(1));
        assert!(kept(2));
        visits.begin(&client(1), run(u128::MAX), KEPT, now + KEPT + KEPT);
        assert_eq!(visits.known.lock().unwrap().len(), 2, "what nobody may come back to goes first");
    }
}
