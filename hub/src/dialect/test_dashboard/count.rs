//! One client's count over all its sockets, and what it is owed. Knows no socket.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rigwire_shared::time::Timestamp;

use crate::continuity::Kept;
use crate::fanout::{Judge, Published};

use super::subscription::Subscriptions;

/// Shared by the sockets that bear the client's name: the last of them gives out the numbers.
#[derive(Debug, Default)]
pub struct Count(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The last number given out. A message that was lost has had its number all the same.
    last: u64,
    turn: u64,
    subscriptions: Arc<Subscriptions>,
    /// Those and what its last socket had and this one has not asked for again yet.
    owed: Arc<Subscriptions>,
    active_at: Timestamp,
}

/// One socket's part in its client's count.
#[derive(Debug)]
pub struct Turn {
    count: Arc<Count>,
    turn: u64,
}

impl Count {
    pub fn after(last: u64) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State { last, ..State::default() })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Judge for Count {
    fn wanted(&self, published: &Published) -> u64 {
        let owed = Arc::clone(&self.state().owed);
        owed.messages(published)
    }
}

impl Kept for Count {
    fn enter(&self) -> u64 {
        let mut state = self.state();
        state.turn += 1;
        state.subscriptions = Arc::default();
        state.turn
    }

    fn is_last(&self, turn: u64) -> bool {
        self.state().turn == turn
    }

    fn wants_anything(&self) -> bool {
        !self.state().owed.is_empty()
    }

    fn miss(&self, count: u64) {
        let mut state = self.state();
        state.last = state.last.saturating_add(count);
    }

    fn subscriptions(&self) -> Vec<String> {
        self.state().subscriptions.names()
    }

    fn active_at(&self) -> Timestamp {
        self.state().active_at
    }
}

impl Turn {
    /// `turn` as `enter` gave it.
    pub fn new(count: Arc<Count>, turn: u64) -> Self {
        Self { count, turn }
    }

    pub(super) fn is_last(&self) -> bool {
        self.count.is_last(self.turn)
    }

    /// What the client is owed as it comes in.
    pub(super) fn owed(&self) -> Arc<Subscriptions> {
        Arc::clone(&self.count.state().owed)
    }

    pub(super) fn set(&self, subscriptions: &Subscriptions, owed: Subscriptions) {
        let mut state = self.count.state();
        if state.turn == self.turn {
            state.subscriptions = Arc::new(subscriptions.clone());
            state.owed = Arc::new(owed);
        }
    }

    /// The next message's number.
    pub(super) fn next(&self, at: Timestamp) -> u64 {
        let mut state = self.count.state();
        state.last = state.last.saturating_add(1);
        state.active_at = at;
        state.last
    }

    pub(super) fn miss(&self, count: u64) {
        if self.is_last() {
            self.count.miss(count);
        }
    }

    pub(super) fn touch(&self, at: Timestamp) {
        self.count.state().active_at = at;
    }
}
