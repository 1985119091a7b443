//! Counts open sockets, so that no client has more than its share. Knows no protocol but what it is told of one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::Client;
use crate::dialect::{Admission, Denial, Dialect};

type Counts = HashMap<(Dialect, Option<Client>), usize>;

#[derive(Debug, Clone, Default)]
pub struct Doorman {
    open: Arc<Mutex<Counts>>,
}

/// A socket's place, free again when this is dropped.
#[derive(Debug)]
pub struct Place {
    open: Arc<Mutex<Counts>>,
    key: (Dialect, Option<Client>),
}

impl Doorman {
    pub fn enter(&self, dialect: Dialect, admission: Admission, client: Client) -> Result<Place, Denial> {
        let (client, limit) = match admission {
            Admission::Unlimited => (None, usize::MAX),
            Admission::Total(limit) => (None, limit),
            Admission::PerClient(limit) => (Some(client), limit),
        };
        let key = (dialect, client);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(key.clone()).or_default();
        if *count >= limit {
            return Err(Denial::Full { limit });
        }
        *count += 1;
        Ok(Place { open: Arc::clone(&self.open), key })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(last: u8) -> Client {
        Client::Address([127, 0, 0, last].into())
    }

    #[test]
    fn places_are_counted_per_client_or_in_total() {
        let doorman = Doorman::default();
        let enter = |admission, last| doorman.enter(Dialect::DeviceFarm, admission, client(last));
        let places: Vec<Place> = (0..2).map(|_| enter(Admission::PerClient(2), 1).unwrap()).collect();
        assert_eq!(enter(Admission::PerClient(2), 1).unwrap_err(), Denial::Full { limit: 2 });
        assert!(enter(Admission::PerClient(2), 2).is_ok());
        drop(places);
        let kept = enter(Admission::PerClient(2), 1).unwrap();
        assert_eq!(doorman.open.lock().unwrap().len(), 1, "who left is forgotten");
        drop(kept);
        let total = enter(Admission::Total(1), 1).unwrap();
        assert!(enter(Admission::Total(1), 2).is_err());
        assert!(doorman.enter(Dialect::AgentEvents, Admission::Total(1), client(1)).is_ok());
        drop(total);
        assert!(doorman.open.lock().unwrap().is_empty());
    }
}
