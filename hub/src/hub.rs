//! The hub's owner task: the one place that holds the model, the watchers and the way to the record. Others send it
//! messages; each is taken whole, fanned out at once, recorded, and acted on once recorded.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use rigwire_shared::time::Timestamp;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::dialect::{Interest, View};
use crate::fanout::{Queue, Registry};
use crate::ingest::{self, Message};
use crate::model::chat::Way;
use crate::model::{Model, Output, Restored};
use crate::store::Store;

mod figures;

pub use figures::Figures;

/// Requests that wait for the owner. When full, whoever asks waits.
const CALLS: usize = 256;

/// Messages from the broker that wait for the owner. When full, the connection to the broker is read no further.
pub const MESSAGES: usize = 1024;

/// How long the owner may sleep without looking at the clock: a jump of it is noticed so late at most.
const TICK_MAX: Duration = Duration::from_secs(1);

/// Less than this is a clock that is being steered, not one that was set.
const CLOCK_SET_US: i64 = 2_000_000;

/// The owner's state, as a call sees it.
pub struct Core {
    pub model: Model,
    pub registry: Registry,
    pub broker_connected: bool,
}

/// What was asked, and then its answer. The answer is given once all that came of the question was handed to the record, so that
/// whoever waits for the record after an answer waits for that, too.
type Call = Box<dyn FnOnce(&mut Core, Timestamp) -> Reply + Send>;
type Reply = Box<dyn FnOnce() + Send>;

/// The way to the owner. Cheap to clone.
#[derive(Clone)]
pub struct Hub {
    calls: mpsc::Sender<Call>,
    store: Store,
}

/// The owner's task has ended: the hub is stopping.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the hub is stopping")]
pub struct Stopping;

impl Hub {
    /// Runs a question or request in the owner's task, between two messages.
    pub async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Core, Timestamp) -> T + Send + 'static,
    ) -> Result<T, Stopping> {
        let (answer, wait) = oneshot::channel();
        let call: Call = Box::new(move |core, now| {
            let found = question(core, now);
            // Whoever asked may have given up.
            Box::new(move || drop(answer.send(found)))
        });
        self.calls.send(call).await.map_err(|_| Stopping)?;
        wait.await.map_err(|_| Stopping)
    }

    /// Begins a watch. What the view shows and the events that follow it join without hole or overlap.
    pub async fn watch(&self, interest: Interest, queue: &Arc<Queue>) -> Result<View, Stopping> {
        let watched = Arc::clone(queue);
        let asked = interest.clone();
        let view = self
            .ask(move |core, _| {
                core.registry.watch(core.model.canonical(&asked), &watched);
                core.model.view(&asked)
            })
            .await?;
        // A run that ended long ago is in the record only; nothing follows it.
        let View::UnknownRun(reference) = view else { return Ok(view) };
        match self.store.run(reference).await {
            Ok(Some(run)) => Ok(View::Run(Box::new(run))),
            Ok(None) => Ok(view),
            Err(error) => {
                tracing::error!("run {reference} cannot be looked up in the record: {error:#}");
                Ok(view)
            }
        }
    }

    pub async fn unwatch(&self, interest: Interest, queue: &Arc<Queue>) -> Result<(), Stopping> {
        let watched = Arc::clone(queue);
        self.ask(move |core, _| core.registry.unwatch(&core.model.canonical(&interest), &watched)).await
    }

    pub fn store(&self) -> &Store {
        &self.store
    }
}

/// The owner's task, not yet started.
pub struct Owner {
    core: Core,
    calls: mpsc::Receiver<Call>,
    messages: mpsc::Receiver<Message>,
    store: Store,
}

pub fn new(restored: Restored, store: Store, messages: mpsc::Receiver<Message>) -> (Hub, Owner) {
    let model = Model::new(restored, Box::new(Uuid::new_v4), Timestamp::now());
    let (calls, waiting) = mpsc::channel(CALLS);
    let core = Core { model, registry: Registry::default(), broker_connected: false };
    let hub = Hub { calls, store: store.clone() };
    (hub, Owner { core, calls: waiting, messages, store })
}

impl Owner {
    pub fn set_lease_life(&mut self, life: Duration) {
        self.core.model.set_lease_life(life);
    }

    pub fn set_responder(&mut self, way: Way, patience: Duration) {
        self.core.model.set_responder(way, patience);
    }

    pub async fn run(mut self, shutdown: CancellationToken) -> anyhow::Result<()> {
        self.settle().await?;
        let mut clock = Clock::new(Instant::now(), Timestamp::now());
        loop {
            let sleep = self.until_wake(Timestamp::now());
            let mut reply: Option<Reply> = None;
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(()),
                Some(call) = self.calls.recv() => reply = Some(call(&mut self.core, Timestamp::now())),
                Some(message) = self.messages.recv() => self.take(message),
                () = tokio::time::sleep(sleep) => {}
            }
            let now = Timestamp::now();
            if let Some(by_us) = clock.set_by(Instant::now(), now) {
                tracing::warn!(
                    by_ms = by_us / 1000,
                    "the clock of this machine was set; deadlines stay as far away as they were"
                );
                self.core.model.clock_set(by_us, now);
            }
            self.core.model.tick(now);
            self.settle().await?;
            if let Some(reply) = reply {
                reply();
            }
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Connected => self.core.broker_connected = true,
            Message::Disconnected => self.core.broker_connected = false,
            Message::Published { topic, payload } => {
                ingest::take(&mut self.core.model, &topic, &payload, Timestamp::now());
            }
        }
    }

    fn until_wake(&self, now: Timestamp) -> Duration {
        let wait = self.core.model.next_wake().map(|at| at.0.saturating_sub(now.0).max(0).unsigned_abs());
        wait.map_or(TICK_MAX, |wait| Duration::from_micros(wait).min(TICK_MAX))
    }

    /// Watchers first, then the record, which lets go of effects once it is durable.
    async fn settle(&mut self) -> anyhow::Result<()> {
        let outputs = self.core.model.take_outputs();
        if outputs.is_empty() {
            return Ok(());
        }
        for output in &outputs {
            if let Output::Event(published) = output {
                self.core.registry.publish(published);
            }
        }
        self.store.write(outputs).await.context("handing events to the record")
    }
}

/// Tells a clock that was set from time that passed: a jump must not end what runs, nor hold it up.
struct Clock {
    instant: Instant,
    at: Timestamp,
}

impl Clock {
    const fn new(instant: Instant, at: Timestamp) -> Self {
        Self { instant, at }
    }

    /// How far the clock was set since the last look, if it was.
    fn set_by(&mut self, instant: Instant, at: Timestamp) -> Option<i64> {
        let passed = i64::try_from(instant.saturating_duration_since(self.instant).as_micros()).unwrap_or(i64::MAX);
        let jump = at.0.saturating_sub(self.at.0).saturating_sub(passed);
        *self = Self { instant, at };
        (jump.abs() >= CLOCK_SET_US).then_some(jump)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_is_told_from_time_that_passes() {
        let start = Instant::now();
        let mut clock = Clock::new(start, Timestamp(0));
        let second = |count: u64| start + Duration::from_secs(count);
        assert_eq!(clock.set_by(second(1), Timestamp(1_100_000)), None);
        assert_eq!(clock.set_by(second(100), Timestamp(100_000_000)), None);
        assert_eq!(clock.set_by(second(101), Timestamp(3_701_000_000)), Some(3_600_000_000));
        assert_eq!(clock.set_by(second(102), Timestamp(102_000_000)), Some(-3_600_000_000));
    }
}
