//! Events on their way to watchers: each is encoded at most once per dialect, by the first watcher that needs it, and waits
//! in a bounded queue per client.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use rigwire_shared::ids::AgentId;
use tokio::sync::Notify;

use crate::dialect::{Dialect, Interest, Rendered, RunReference};
use crate::event::{Class, DeviceEvent, Event, EventKind};

/// An event and its words in each dialect, made when first asked for and shared from then on.
#[derive(Debug)]
pub struct Published {
    pub event: Event,
    /// Of the device that it is about.
    pub whose: Option<Whose>,
    rendered: [OnceLock<Vec<Rendered>>; Dialect::ALL.len()],
    beyond: OnceLock<Vec<Rendered>>,
    passed: [AtomicBool; Dialect::ALL.len()],
}

/// Where a device belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whose {
    pub agent: AgentId,
    pub class: String,
}

impl Published {
    pub fn new(event: Event) -> Arc<Self> {
        Self::about(event, None)
    }

    pub fn about(event: Event, whose: Option<Whose>) -> Arc<Self> {
        let (rendered, passed) = Default::default();
        Arc::new(Self { event, whose, rendered, beyond: OnceLock::new(), passed })
    }

    /// Whether no session of this dialect had it before; it has it now.
    pub fn is_first(&self, dialect: Dialect) -> bool {
        !self.passed[dialect.index()].swap(true, Ordering::Relaxed)
    }

    pub fn rendered(&self, dialect: Dialect) -> &[Rendered] {
        self.rendered[dialect.index()].get_or_init(|| dialect.render(&self.event))
    }

    /// The words that only the hub's own page and its like ask for, made by whoever has them: there is one set.
    pub fn beyond(&self, render: fn(&Self) -> Vec<Rendered>) -> &[Rendered] {
        self.beyond.get_or_init(|| render(self))
    }
}

/// How many messages an event is for one client. Asked only when it does not get to hear of the event.
pub trait Judge: std::fmt::Debug + Send + Sync {
    fn wanted(&self, published: &Published) -> u64;
}

/// Events that wait for one client. Past `LIMIT`, the oldest that may be dropped makes room, counted; what may not be
/// dropped goes on to `HARD_LIMIT`, then the client is closed.
const LIMIT: usize = 1000;
const HARD_LIMIT: usize = 2 * LIMIT;

/// One client's queue.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: Mutex<Waiting>,
    arrived: Notify,
    judge: OnceLock<Arc<dyn Judge>>,
}

#[derive(Debug, Default)]
struct Waiting {
    events: VecDeque<Arc<Published>>,
    /// Dropped since the client was last told: messages where someone can tell, else events.
    lost: u64,
    overflowed: bool,
    closed: bool,
    tally: Tally,
}

/// What became of the events for a watcher: those received were passed on to its session, replaced by newer ones, dropped
/// because it is slow, or are left in the queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    pub received: u64,
    pub passed: u64,
    pub coalesced: u64,
    pub dropped: u64,
    pub left: u64,
}

impl Tally {
    pub fn add(&mut self, other: Self) {
        self.received += other.received;
        self.passed += other.passed;
        self.coalesced += other.coalesced;
        self.dropped += other.dropped;
        self.left += other.left;
    }
}

/// What a client's session gets next.
#[derive(Debug)]
pub enum Taken {
    Event {
        published: Arc<Published>,
        lost: u64,
    },
    Nothing,
    /// Something that must arrive had no room: the client is too slow.
    Overflowed,
}

impl Queue {
    /// Who knows what a dropped event would have been. The first who is named stays.
    pub fn ask_of_losses(&self, judge: Arc<dyn Judge>) {
        drop(self.judge.set(judge));
    }

    fn loss(&self, published: &Published) -> u64 {
        self.judge.get().map_or(1, |judge| judge.wanted(published))
    }

    pub fn push(&self, published: &Arc<Published>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.closed {
            return;
        }
        waiting.tally.received += 1;
        match waiting.admit(published) {
            Admitted::Whole => {}
            Admitted::Replacing => waiting.tally.coalesced += 1,
            Admitted::Dropping(dropped) => {
                waiting.tally.dropped += dropped.len() as u64;
                waiting.lost += dropped.iter().map(|dropped| self.loss(dropped)).sum::<u64>();
            }
        }
        drop(waiting);
        self.arrived.notify_one();
    }

    pub fn take(&self) -> Taken {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.overflowed {
            return Taken::Overflowed;
        }
        match waiting.events.pop_front() {
            Some(published) => {
                waiting.tally.passed += 1;
                Taken::Event { published, lost: std::mem::take(&mut waiting.lost) }
            }
            None => Taken::Nothing,
        }
    }

    /// Messages that the client has not been given: lost, or left here.
    pub fn missed(&self) -> u64 {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.lost + waiting.events.iter().map(|left| self.loss(left)).sum::<u64>()
    }

    /// The same, and all that is left counts as dropped.
    pub fn absorb(&self) -> u64 {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let left = std::mem::take(&mut waiting.events);
        let lost = std::mem::take(&mut waiting.lost);
        waiting.tally.dropped += left.len() as u64;
        // Whoever pushes does not wait while all that is looked at.
        drop(waiting);
        lost + left.iter().map(|left| self.loss(left)).sum::<u64>()
    }

    /// Returns when something may have arrived since the last `take`. Cancel-safe.
    pub async fn arrival(&self) {
        self.arrived.notified().await;
    }

    /// Makes the next `arrival` return at once: something may be left.
    pub fn look_again(&self) {
        self.arrived.notify_one();
    }

    pub fn tally(&self) -> Tally {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).tally()
    }

    /// Takes nothing more.
    pub fn close(&self) -> Tally {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.closed = true;
        waiting.tally()
    }
}

enum Admitted {
    Whole,
    Replacing,
    /// These made room, or found none.
    Dropping(Vec<Arc<Published>>),
}

impl Waiting {
    fn tally(&self) -> Tally {
        Tally { left: self.events.len() as u64, ..self.tally }
    }

    fn admit(&mut self, published: &Arc<Published>) -> Admitted {
        if self.overflowed {
            return Admitted::Dropping(vec![Arc::clone(published)]);
        }
        let class = published.event.class();
        if let Class::Latest(_) = class
            && let Some(older) = self.events.iter().position(|waiting| waiting.event.class() == class)
        {
            self.events.remove(older);
            self.events.push_back(Arc::clone(published));
            return Admitted::Replacing;
        }
        let mut admitted = Admitted::Whole;
        if self.events.len() >= LIMIT {
            match self.events.iter().position(|waiting| waiting.event.class() != Class::Keep) {
                Some(oldest) => {
                    admitted = Admitted::Dropping(self.events.remove(oldest).into_iter().collect());
                }
                None if class != Class::Keep => return Admitted::Dropping(vec![Arc::clone(published)]),
                None => {}
            }
        }
        if self.events.len() >= HARD_LIMIT {
            self.overflowed = true;
            let mut dropped = Vec::from(std::mem::take(&mut self.events));
            dropped.push(Arc::clone(published));
            return Admitted::Dropping(dropped);
        }
        self.events.push_back(Arc::clone(published));
        admitted
    }
}

/// Who is told of what. Owned by the hub's task, so a watch begins exactly between two events.
#[derive(Debug, Default)]
pub struct Registry {
    watchers: HashMap<Interest, Vec<Weak<Queue>>>,
    /// Entries at which those that nobody watches any more are looked for: most runs end and are never told of again.
    sweep_at: usize,
    published: u64,
}

const SWEEP_MIN: usize = 256;

impl Registry {
    pub fn watch(&mut self, interest: Interest, queue: &Arc<Queue>) {
        if self.watchers.len() >= self.sweep_at.max(SWEEP_MIN) {
            self.watchers.retain(|_, watchers| watchers.iter().any(|watcher| watcher.strong_count() > 0));
            self.sweep_at = self.watchers.len().saturating_mul(2);
        }
        let watchers = self.watchers.entry(interest).or_default();
        watchers.retain(|watcher| watcher.strong_count() > 0);
        if !watchers.iter().any(|watcher| watcher.as_ptr() == Arc::as_ptr(queue)) {
            watchers.push(Arc::downgrade(queue));
        }
    }

    pub fn unwatch(&mut self, interest: &Interest, queue: &Arc<Queue>) {
        if let Some(watchers) = self.watchers.get_mut(interest) {
            watchers.retain(|watcher| watcher.as_ptr() != Arc::as_ptr(queue));
            if watchers.is_empty() {
                self.watchers.remove(interest);
            }
        }
    }

    /// From now on one queue is told of everything that the other was told of.
    pub fn hand_over(&mut self, from: &Arc<Queue>, to: &Arc<Queue>) {
        for interest in Interest::WIDE {
            let Some(watchers) = self.watchers.get_mut(&interest) else { continue };
            let before = watchers.len();
            watchers.retain(|watcher| watcher.as_ptr() != Arc::as_ptr(from));
            if watchers.len() < before {
                self.watch(interest, to);
            }
        }
    }

    /// Tells everyone who watches what the event is about, each once.
    pub fn publish(&mut self, published: &Arc<Published>) {
        self.published += 1;
        let mut told: Vec<*const Queue> = Vec::new();
        for interest in about(&published.event) {
            let Some(watchers) = self.watchers.get_mut(&interest) else { continue };
            watchers.retain(|watcher| {
                let Some(queue) = watcher.upgrade() else { return false };
                // A client that watches one run and all of them hears of an event once.
                if !told.contains(&Arc::as_ptr(&queue)) {
                    queue.push(published);
                    told.push(Arc::as_ptr(&queue));
                }
                true
            });
            if watchers.is_empty() {
                self.watchers.remove(&interest);
            }
        }
    }

    /// Events that were published, watched or not.
    pub const fn published(&self) -> u64 {
        self.published
    }

    /// Things that are watched, or were until lately.
    pub fn interests(&self) -> usize {
        self.watchers.len()
    }

    /// Sockets that watch something.
    pub fn watchers(&self) -> usize {
        let mut queues: Vec<*const Queue> =
            self.watchers.values().flatten().filter(|watcher| watcher.strong_count() > 0).map(Weak::as_ptr).collect();
        queues.sort_unstable();
        queues.dedup();
        queues.len()
    }
}

/// The interests that an event concerns.
fn about(event: &Event) -> Vec<Interest> {
    match &event.kind {
        EventKind::Run(run) => vec![Interest::Run(RunReference::Id(run.run.id)), Interest::Runs],
        EventKind::Device(device) => {
            let everywhere = match device {
                DeviceEvent::Sample(_) => Some(Interest::Samples),
                DeviceEvent::Frame(_) | DeviceEvent::PreviewUnavailable { .. } => None,
                DeviceEvent::State(_)
                | DeviceEvent::Limit(_)
                | DeviceEvent::Interlock { .. }
                | DeviceEvent::Safe { .. }
                | DeviceEvent::Gap { .. }
                | DeviceEvent::Lease(_) => Some(Interest::Devices),
            };
            device.device().map(|device| Interest::Device(device.clone())).into_iter().chain(everywhere).collect()
        }
        EventKind::Agent(_) => vec![Interest::Devices],
        EventKind::Chat(_) => vec![Interest::Chat],
    }
}
