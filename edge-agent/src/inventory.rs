//! The list of this agent's devices, kept by their tasks and read by the connection.

use std::sync::Arc;

use rigwire_shared::agent::{DeviceCard, DeviceState, Identity, Inventory};
use rigwire_shared::ids::{DeviceId, Epoch};
use tokio::sync::watch;

/// Each device task changes its own card; whoever publishes sees the newest list only.
#[derive(Debug, Clone)]
pub(crate) struct Board {
    inventory: Arc<watch::Sender<Inventory>>,
    announcements: Arc<watch::Sender<u64>>,
}

impl Board {
    pub(crate) fn new(epoch: Epoch, devices: Vec<DeviceCard>) -> Self {
        let inventory = Arc::new(watch::Sender::new(Inventory { epoch, devices }));
        Self { inventory, announcements: Arc::new(watch::Sender::new(0)) }
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Inventory> {
        self.inventory.subscribe()
    }

    pub(crate) fn watch_announcements(&self) -> watch::Receiver<u64> {
        self.announcements.subscribe()
    }

    /// Asks for state and inventory to be published again as they are.
    pub(crate) fn announce(&self) {
        self.announcements.send_modify(|count| *count += 1);
    }

    pub(crate) fn update(&self, device: &DeviceId, state: DeviceState, cause: &str, identity: Option<&Identity>) {
        self.inventory.send_if_modified(|inventory| {
            let Some(card) = inventory.devices.iter_mut().find(|card| card.device == *device) else { return false };
            card.state = state;
            cause.clone_into(&mut card.cause);
            card.identity = identity.cloned();
            true
        });
    }
}
