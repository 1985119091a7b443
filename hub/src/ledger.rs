//! The watchers' side of the ledger: what each was given, what it was not, and why; and the same of those that left.
//! Knows no socket.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rigwire_shared::time::Timestamp;

use crate::dialect::Dialect;
use crate::fanout::{Queue, Tally};

/// One socket that is open.
#[derive(Debug)]
pub struct Watcher {
    pub id: u64,
    pub dialect: Dialect,
    pub since: Timestamp,
    queue: Arc<Queue>,
    messages: AtomicU64,
    held_back: AtomicU64,
}

impl Watcher {
    /// A message was handed to the socket.
    pub fn note_message(&self) {
        self.messages.fetch_add(1, Ordering::Relaxed);
    }

    /// Messages that its protocol's limits kept from it so far.
    pub fn note_held_back(&self, count: u64) {
        self.held_back.store(count, Ordering::Relaxed);
    }

    pub fn account(&self) -> Account {
        self.with(self.queue.tally())
    }

    fn with(&self, events: Tally) -> Account {
        Account {
            watchers: 1,
            events,
            messages: self.messages.load(Ordering::Relaxed),
            held_back: self.held_back.load(Ordering::Relaxed),
        }
    }
}

/// What became of the events for one watcher, or for several together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Account {
    pub watchers: u64,
    pub events: Tally,
    /// Written to the socket, answers to its client's own messages among them.
    pub messages: u64,
    pub held_back: u64,
}

impl Account {
    fn add(&mut self, other: Self) {
        self.watchers += other.watchers;
        self.events.add(other.events);
        self.messages += other.messages;
        self.held_back += other.held_back;
    }
}

#[derive(Debug, Default)]
struct Entries {
    open: BTreeMap<u64, Arc<Watcher>>,
    gone: BTreeMap<&'static str, Account>,
}

#[derive(Debug, Default)]
pub struct Ledger {
    entries: Mutex<Entries>,
}

impl Ledger {
    pub fn enter(&self, id: u64, dialect: Dialect, since: Timestamp, queue: Arc<Queue>) -> Arc<Watcher> {
        let watcher = Watcher { id, dialect, since, queue, messages: AtomicU64::new(0), held_back: AtomicU64::new(0) };
        let watcher = Arc::new(watcher);
        self.lock().open.insert(id, Arc::clone(&watcher));
        watcher
    }

    /// Nothing more is told to it; what was still on its way was not sent. Its last account.
    pub fn leave(&self, watcher: &Watcher) -> Account {
        let mut entries = self.lock();
        let last = watcher.with(watcher.queue.close());
        if entries.open.remove(&watcher.id).is_some() {
            entries.gone.entry(watcher.dialect.as_str()).or_default().add(last);
        }
        last
    }

    /// Those that are there, and those that left, by dialect.
    pub fn read(&self) -> (Vec<Arc<Watcher>>, Vec<(&'static str, Account)>) {
        let entries = self.lock();
        let gone = entries.gone.iter().map(|(dialect, account)| (*dialect, *account));
        (entries.open.values().cloned().collect(), gone.collect())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
