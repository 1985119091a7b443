//! Counts connections, in total and of each address. A place is free again when it is dropped.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

#[derive(Debug)]
pub struct Places {
    total: usize,
    per_address: usize,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Debug, Default)]
struct Taken {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
}

#[derive(Debug)]
pub struct Place {
    address: IpAddr,
    taken: Arc<Mutex<Taken>>,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    #[error("there are {0} connections, the most there may be")]
    InTotal(usize),
    #[error("there are {0} connections of this address, the most there may be of one")]
    OfAddress(usize),
}

impl Places {
    pub fn new(total: usize, per_address: usize) -> Self {
        Self { total, per_address, taken: Arc::default() }
    }

    pub fn enter(&self, address: IpAddr) -> Result<Place, Full> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.by_address.get(&address).is_some_and(|count| *count >= self.per_address) {
            return Err(Full::OfAddress(self.per_address));
        }
        if taken.total >= self.total {
            return Err(Full::InTotal(self.total));
        }
        taken.total += 1;
        *taken.by_address.entry(address).or_default() += 1;
        Ok(Place { address, taken: Arc::clone(&self.taken) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.total -= 1;
        if let Some(count) = taken.by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                taken.by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_address_and_not_all_together_have_too_many() {
        let places = Places::new(3, 2);
        let enter = |last: u8| places.enter([127, 0, 0, last].into());
        let first = enter(1).unwrap();
        let _second = enter(1).unwrap();
        assert_eq!(enter(1).unwrap_err(), Full::OfAddress(2));
        let _third = enter(2).unwrap();
        assert_eq!(enter(3).unwrap_err(), Full::InTotal(3));
        assert_eq!(enter(1).unwrap_err(), Full::OfAddress(2), "the nearer reason");
        drop(first);
        drop(enter(3).unwrap());
        let taken = places.taken.lock().unwrap();
        assert_eq!((taken.total, taken.by_address.len()), (2, 2), "who left is forgotten");
    }
}
