//! The watchers' side of the ledger: what each was given, what it was not, and why; and the same of those that left.
//! Knows no socket.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rigwire_shared::time::Timestamp;

use crate::dialect::Dialect;
use crate::fanout::{Published, Queue, Tally};

/// One socket that is open.
#[derive(Debug)]
pub struct Watcher {
    pub id: u64,
    pub dialect: Dialect,
    pub since: Timestamp,
    queue: Arc<Queue>,
    messages: AtomicU64,
    heard: AtomicU64,
    errors: AtomicU64,
    held_back: AtomicU64,
    stage: AtomicU8,
}

/// How far a socket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It is open, and has not been greeted.
    Connecting = 0,
    Connected = 1,
    /// It is being closed.
    Disconnecting = 2,
}

impl Watcher {
    pub fn note_stage(&self, stage: Stage) {
        self.stage.store(stage as u8, Ordering::Relaxed);
    }

    fn is(&self, stage: Stage) -> bool {
        self.stage.load(Ordering::Relaxed) == stage as u8
    }

    /// Its client said something.
    pub fn note_heard(&self) {
        self.heard.fetch_add(1, Ordering::Relaxed);
    }

    /// Errors that its client was answered so far.
    pub fn note_errors(&self, count: u64) {
        self.errors.store(count, Ordering::Relaxed);
    }

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
            heard: self.heard.load(Ordering::Relaxed),
            errors: self.errors.load(Ordering::Relaxed),
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
    /// Messages of its client.
    pub heard: u64,
    /// Errors among the answers, where the protocol counts them.
    pub errors: u64,
    pub held_back: u64,
}

impl Account {
    fn add(&mut self, other: Self) {
        self.watchers += other.watchers;
        self.events.add(other.events);
        self.messages += other.messages;
        self.heard += other.heard;
        self.errors += other.errors;
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
    broadcasts: [AtomicU64; Dialect::ALL.len()],
}

/// Open sockets of a protocol, by how far they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stages {
    pub connecting: u64,
    pub connected: u64,
    pub disconnecting: u64,
}

impl Stages {
    pub const fn sum(self) -> u64 {
        self.connecting + self.connected + self.disconnecting
    }
}

impl Ledger {
    pub fn enter(&self, id: u64, dialect: Dialect, since: Timestamp, queue: Arc<Queue>) -> Arc<Watcher> {
        let watcher = Arc::new(Watcher {
            id,
            dialect,
            since,
            queue,
            messages: AtomicU64::default(),
            heard: AtomicU64::default(),
            errors: AtomicU64::default(),
            held_back: AtomicU64::default(),
            stage: AtomicU8::new(Stage::Connecting as u8),
        });
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

    /// All sockets of a protocol together, those that left among them.
    pub fn of(&self, dialect: Dialect) -> Account {
        let entries = self.lock();
        let mut all = entries.gone.get(dialect.as_str()).copied().unwrap_or_default();
        for watcher in entries.open.values().filter(|watcher| watcher.dialect == dialect) {
            all.add(watcher.account());
        }
        all
    }

    pub fn stages(&self, dialect: Dialect) -> Stages {
        let entries = self.lock();
        let count = |stage| {
            entries.open.values().filter(|watcher| watcher.dialect == dialect && watcher.is(stage)).count() as u64
        };
        Stages {
            connecting: count(Stage::Connecting),
            connected: count(Stage::Connected),
            disconnecting: count(Stage::Disconnecting),
        }
    }

    /// An event was passed on to a session of this protocol.
    pub fn note_passed(&self, published: &Published, dialect: Dialect) {
        if published.is_first(dialect) {
            self.broadcasts[dialect.index()].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Events that sessions of this protocol were passed, each counted once however many had it.
    pub fn broadcasts(&self, dialect: Dialect) -> u64 {
        self.broadcasts[dialect.index()].load(Ordering::Relaxed)
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
