//! Clients that come and go under one name: what one leaves behind waits for its next socket, and what it would have been
//! told meanwhile is counted. Knows no protocol.

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rigwire_shared::time::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::fanout::{Judge, Queue};
use crate::hub::Hub;

/// How long a client may stay away.
const KEPT_FOR: Duration = Duration::from_secs(3600);

/// Clients remembered at most; past that, those away longest are forgotten.
const CLIENTS: usize = 10_000;

/// Absent clients for whom it is counted what they miss. Past that, the one away longest hears of one loss, whatever it was.
const COUNTED: usize = 100;

/// How often the queues of absent clients are emptied; between two looks they hold as much as a client's.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What a client leaves behind, as its protocol understands it.
pub trait Kept: Judge + Any {
    /// Another socket of the client is there: its turn, which ends that of the one before.
    fn enter(&self) -> u64;
    /// Whether no other socket entered since.
    fn is_last(&self, turn: u64) -> bool;
    /// Whether there is anything that it could miss.
    fn wants_anything(&self) -> bool;
    /// So many messages were never given to it.
    fn miss(&self, count: u64);
    /// What it asked for, as it spelt it.
    fn subscriptions(&self) -> Vec<String>;
    /// When something was last sent either way.
    fn active_at(&self) -> Timestamp;
}

/// Who has the client's socket.
#[derive(Debug, Clone)]
pub struct Guest {
    pub connected_at: Timestamp,
    pub user_agent: Option<String>,
}

/// A client that is there.
#[derive(Debug)]
pub struct Present {
    pub client: String,
    pub guest: Guest,
    pub kept: Arc<dyn Kept>,
}

/// Whose client it is and how it calls itself: a name is taken over by nobody who has another token.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Name {
    pub token: Option<Arc<str>>,
    pub client: String,
}

#[derive(Debug)]
struct Known {
    kept: Arc<dyn Kept>,
    guest: Guest,
    /// Of its socket, or filled in its absence.
    queue: Option<Arc<Queue>>,
    left: Option<Instant>,
    /// It missed something and nobody counted how much.
    uncounted: bool,
}

#[derive(Debug, Default)]
pub struct Continuity {
    clients: Mutex<HashMap<Name, Known>>,
}

/// One socket of a client, from its handshake to its end.
#[derive(Debug)]
pub struct Visit {
    continuity: Arc<Continuity>,
    name: Name,
    kept: Arc<dyn Kept>,
    pub turn: u64,
    before: Option<Arc<Queue>>,
}

impl Continuity {
    /// The client is there again, or for the first time, with what `fresh` makes.
    pub fn enter<K: Kept>(
        self: &Arc<Self>,
        name: Name,
        guest: Guest,
        now: Instant,
        fresh: impl FnOnce() -> Arc<K>,
    ) -> (Visit, Arc<K>) {
        let mut clients = self.lock();
        let kept = clients.get(&name).filter(|known| !known.is_over(now)).and_then(|known| {
            let kept: Arc<dyn Any + Send + Sync> = Arc::clone(&known.kept) as _;
            kept.downcast::<K>().ok()
        });
        if kept.is_none() {
            clients.remove(&name);
        }
        let kept = kept.unwrap_or_else(fresh);
        let same: Arc<dyn Kept> = Arc::clone(&kept) as _;
        let known = clients.entry(name.clone()).or_insert_with(|| Known {
            kept: Arc::clone(&same),
            guest: guest.clone(),
            queue: None,
            left: None,
            uncounted: false,
        });
        let turn = same.enter();
        if std::mem::take(&mut known.uncounted) {
            same.miss(1);
        }
        known.left = None;
        known.guest = guest;
        let before = known.queue.take();
        drop(clients);
        (Visit { continuity: Arc::clone(self), name, kept: same, turn, before }, kept)
    }

    /// Clients that are there, those that came first before the others.
    pub fn present(&self) -> Vec<Present> {
        let clients = self.lock();
        let mut present: Vec<Present> = clients
            .iter()
            .filter(|(_, known)| known.left.is_none())
            .map(|(name, known)| Present {
                client: name.client.clone(),
                guest: known.guest.clone(),
                kept: Arc::clone(&known.kept),
            })
            .collect();
        drop(clients);
        present.sort_by_key(|client| client.guest.connected_at);
        present
    }

    /// Counts what absent clients miss, and forgets those that do not come back, until told to stop.
    pub async fn run(&self, stop: CancellationToken) -> anyhow::Result<()> {
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                _ = look.tick() => self.look(Instant::now()),
            }
        }
    }

    fn look(&self, now: Instant) {
        let mut clients = self.lock();
        clients.retain(|_, known| !known.is_over(now));
        let absent: Vec<(Arc<dyn Kept>, Arc<Queue>)> = clients
            .values()
            .filter(|known| known.left.is_some())
            .filter_map(|known| Some((Arc::clone(&known.kept), Arc::clone(known.queue.as_ref()?))))
            .collect();
        drop(clients);
        for (kept, queue) in absent {
            kept.miss(queue.absorb());
        }
    }

    /// The client has no socket any more. What it misses from now on comes into the queue, if it is given one.
    fn leave(&self, name: &Name, queue: Option<Arc<Queue>>, now: Instant) {
        let mut clients = self.lock();
        if clients.len() > CLIENTS
            && let Some(oldest) = oldest(&clients, |_| true)
        {
            clients.remove(&oldest);
        }
        if clients.values().filter(|known| known.left.is_some() && known.queue.is_some()).count() >= COUNTED
            && let Some(known) =
                oldest(&clients, |known| known.queue.is_some()).and_then(|oldest| clients.get_mut(&oldest))
        {
            known.queue = None;
            known.uncounted = true;
        }
        if let Some(known) = clients.get_mut(name) {
            known.left = Some(now);
            known.queue = queue;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Name, Known>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The one away longest of those that are asked for.
fn oldest(clients: &HashMap<Name, Known>, of: impl Fn(&Known) -> bool) -> Option<Name> {
    let away = clients.iter().filter(|(_, known)| of(known)).filter_map(|(name, known)| Some((name, known.left?)));
    away.min_by_key(|(_, left)| *left).map(|(name, _)| name.clone())
}

impl Known {
    fn is_over(&self, now: Instant) -> bool {
        self.left.is_some_and(|left| now.saturating_duration_since(left) >= KEPT_FOR)
    }
}

impl Visit {
    /// What the socket or the absence before it was told of comes to this queue from now on, without hole or overlap; what
    /// was left there was missed.
    pub async fn begin(&mut self, hub: &Hub, queue: &Arc<Queue>) {
        queue.ask_of_losses(Arc::clone(&self.kept) as _);
        if let Some(before) = self.before.take() {
            let (from, to) = (Arc::clone(&before), Arc::clone(queue));
            // A hub that stops tells nobody of anything any more.
            let _: Result<(), _> = hub.ask(move |core, _| core.registry.hand_over(&from, &to)).await;
            self.kept.miss(before.absorb());
        }
        let mut clients = self.continuity.lock();
        if self.kept.is_last(self.turn)
            && let Some(known) = clients.get_mut(&self.name)
        {
            known.queue = Some(Arc::clone(queue));
        }
    }

    /// The same the other way: from the socket's queue to one that is only counted.
    pub async fn end(self, hub: &Hub, queue: &Arc<Queue>) {
        if !self.kept.is_last(self.turn) {
            return;
        }
        let absent = self.kept.wants_anything().then(Arc::<Queue>::default);
        if let Some(absent) = &absent {
            absent.ask_of_losses(Arc::clone(&self.kept) as _);
            let (from, to) = (Arc::clone(queue), Arc::clone(absent));
            let _: Result<(), _> = hub.ask(move |core, _| core.registry.hand_over(&from, &to)).await;
        }
        self.kept.miss(queue.missed());
        if self.kept.is_last(self.turn) {
            self.continuity.leave(&self.name, absent, Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::fanout::Published;

    #[derive(Debug, Default)]
    struct Counter {
        missed: AtomicU64,
        turn: AtomicU64,
    }

    impl Judge for Counter {
        fn wanted(&self, _published: &Published) -> u64 {
            1
        }
    }

    impl Kept for Counter {
        fn enter(&self) -> u64 {
            self.turn.fetch_add(1, Ordering::Relaxed) + 1
        }
        fn is_last(&self, turn: u64) -> bool {
            self.turn.load(Ordering::Relaxed) == turn
        }
        fn wants_anything(&self) -> bool {
            true
        }
        fn miss(&self, count: u64) {
            self.missed.fetch_add(count, Ordering::Relaxed);
        }
        fn subscriptions(&self) -> Vec<String> {
            Vec::new()
        }
        fn active_at(&self) -> Timestamp {
            Timestamp(0)
        }
    }

    fn name(client: &str) -> Name {
        Name { token: None, client: client.to_owned() }
    }

    fn guest() -> Guest {
        Guest { connected_at: Timestamp(0), user_agent: None }
    }

    /// How much was missed when the client comes back so much later.
    fn missed_after(continuity: &Arc<Continuity>, client: &str, now: Instant) -> u64 {
        let (_, kept) = continuity.enter(name(client), guest(), now, || Arc::new(Counter::default()));
        kept.missed.load(Ordering::Relaxed)
    }

    #[test]
    fn a_client_is_remembered_for_an_hour() {
        let continuity = Arc::new(Continuity::default());
        let start = Instant::now();
        for (away, remembered) in [(KEPT_FOR - Duration::from_secs(1), 5), (KEPT_FOR, 0)] {
            let (_, kept) = continuity.enter(name("one"), guest(), start, || Arc::new(Counter::default()));
            kept.missed.store(5, Ordering::Relaxed);
            continuity.leave(&name("one"), None, start);
            assert_eq!(missed_after(&continuity, "one", start + away), remembered, "{away:?}");
        }
        let (_, kept) = continuity.enter(name("one"), guest(), start, || Arc::new(Counter::default()));
        kept.missed.store(7, Ordering::Relaxed);
        let stranger = Name { token: Some(Arc::from("another")), client: "one".to_owned() };
        let (_, other) = continuity.enter(stranger, guest(), start, || Arc::new(Counter::default()));
        assert_eq!(other.missed.load(Ordering::Relaxed), 0, "the name of somebody else");
    }

    #[test]
    fn the_one_away_longest_is_no_longer_counted_for_and_hears_of_one_loss() {
        let continuity = Arc::new(Continuity::default());
        let start = Instant::now();
        let leave = |client: &str, seconds| {
            let now = start + Duration::from_secs(seconds);
            drop(continuity.enter(name(client), guest(), now, || Arc::new(Counter::default())));
            continuity.leave(&name(client), Some(Arc::default()), now);
        };
        for number in 0..COUNTED as u64 {
            leave(&number.to_string(), number);
        }
        assert_eq!(missed_after(&continuity, "0", start + Duration::from_secs(200)), 0, "so many are counted");
        leave("0", 201);
        leave("one more", 202);
        assert_eq!(missed_after(&continuity, "1", start + Duration::from_secs(203)), 1, "one past it");
        assert_eq!(missed_after(&continuity, "2", start + Duration::from_secs(203)), 0);
    }

    #[test]
    fn clients_remembered_are_bounded() {
        let continuity = Arc::new(Continuity::default());
        let start = Instant::now();
        for number in 0..=CLIENTS as u64 + 1 {
            let client = number.to_string();
            let (_, kept) = continuity.enter(name(&client), guest(), start, || Arc::new(Counter::default()));
            kept.missed.store(1, Ordering::Relaxed);
            continuity.leave(&name(&client), None, start + Duration::from_millis(number));
        }
        assert!(continuity.lock().len() <= CLIENTS + 1);
        assert_eq!(
            missed_after(&continuity, "0", start + Duration::from_secs(60)),
            0,
            "the one away longest made room"
        );
        assert_eq!(missed_after(&continuity, &CLIENTS.to_string(), start + Duration::from_secs(60)), 1);
    }
}
