//! Numbers that outlive a socket: a client that comes back under the same id counts on where it stopped.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a client may stay away.
const KEPT_FOR: Duration = Duration::from_secs(3600);

/// Clients remembered at most; past that, those away longest are forgotten.
const CLIENTS: usize = 10_000;

#[derive(Debug, Default)]
pub struct Continuity {
    last: Mutex<HashMap<String, (u64, Instant)>>,
}

impl Continuity {
    /// The last number that the client was given; 0 for one that is new.
    pub fn last(&self, client: &str, now: Instant) -> u64 {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.get(client).filter(|(_, left)| now.duration_since(*left) < KEPT_FOR).map_or(0, |(number, _)| *number)
    }

    pub fn keep(&self, client: String, number: u64, now: Instant) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.len() >= CLIENTS {
            last.retain(|_, (_, left)| now.duration_since(*left) < KEPT_FOR);
        }
        if last.len() >= CLIENTS
            && let Some(oldest) = last.iter().min_by_key(|(_, (_, left))| *left).map(|(client, _)| client.clone())
        {
            last.remove(&oldest);
        }
        last.insert(client, (number, now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_counts_on_within_the_hour() {
        let continuity = Continuity::default();
        let start = Instant::now();
        continuity.keep("one".to_owned(), 41, start);
        assert_eq!(continuity.last("one", start + Duration::from_secs(3599)), 41);
        assert_eq!(continuity.last("one", start + KEPT_FOR), 0);
        assert_eq!(continuity.last("other", start), 0);
        for number in 0..CLIENTS as u64 {
            continuity.keep(number.to_string(), number, start + Duration::from_secs(1));
        }
        assert_eq!(continuity.last("one", start), 0, "the one away longest made room");
        assert_eq!(continuity.last("9999", start), 9999);
    }
}
