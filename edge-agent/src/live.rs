//! What is shown now, on its way to the connection: the newest word of each device and none before it. Knows no camera.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rigwire_shared::agent::Live;
use rigwire_shared::ids::DeviceId;
use tokio::sync::Notify;

/// One place for each device, so its size is that of the configuration. A newer word takes the place of an older one.
#[derive(Debug, Clone, Default)]
pub(crate) struct LiveSlots(Arc<Slots>);

#[derive(Debug, Default)]
struct Slots {
    waiting: Mutex<VecDeque<Live>>,
    arrived: Notify,
}

impl LiveSlots {
    pub(crate) fn put(&self, live: Live) {
        let mut waiting = self.waiting();
        match waiting.iter_mut().find(|waiting| device(waiting) == device(&live)) {
            // Keeps its turn: devices take turns whatever their rates are.
            Some(older) => *older = live,
            None => waiting.push_back(live),
        }
        drop(waiting);
        self.0.arrived.notify_one();
    }

    /// Cancel-safe: nothing is taken by a wait that is given up.
    pub(crate) async fn next(&self) -> Live {
        loop {
            if let Some(live) = self.waiting().pop_front() {
                return live;
            }
            self.0.arrived.notified().await;
        }
    }

    /// What waited for a connection is old when there is one.
    pub(crate) fn clear(&self) {
        self.waiting().clear();
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Live>> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn device(live: &Live) -> &DeviceId {
    match live {
        Live::Frame { device, .. } | Live::PreviewUnavailable { device, .. } => device,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(device: &str, cause: &str) -> Live {
        Live::PreviewUnavailable { device: DeviceId::new(device).unwrap(), cause: cause.to_owned() }
    }

    #[tokio::test]
    async fn the_newest_word_of_each_device_waits_and_keeps_its_turn() {
        let slots = LiveSlots::default();
        for (device, cause) in [("b", "1"), ("a", "2"), ("b", "3")] {
            slots.put(word(device, cause));
        }
        assert_eq!(slots.next().await, word("b", "3"));
        assert_eq!(slots.next().await, word("a", "2"));
        slots.put(word("a", "4"));
        slots.clear();
        let later = async {
            tokio::task::yield_now().await;
            slots.put(word("a", "5"));
        };
        assert_eq!(tokio::join!(slots.next(), later).0, word("a", "5"));
    }
}
