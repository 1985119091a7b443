//! A whole rig in one call: broker, hub, agent and two simulated instruments, each a program of its own.

use anyhow::Result;
use tempfile::TempDir;

use crate::agent::{Agent, Instrument};
use crate::broker::Broker;
use crate::hub::{Hub, Mqtt};
use crate::port;
use crate::simulator::Simulator;
use crate::watcher::Watcher;

pub const SUPPLY: &str = "psu-1";
pub const METER: &str = "dmm-1";

/// Which broker a rig uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    Mosquitto,
    Embedded,
}

/// Dropped in this order: who talks before who listens.
pub struct Rig {
    pub watcher: Watcher,
    pub agent: Agent,
    pub hub: Hub,
    pub broker: Option<Broker>,
    pub supply: Simulator,
    pub meter: Simulator,
    _folder: TempDir,
}

impl Rig {
    /// Returns when the hub shows both instruments online.
    pub fn start(choice: Choice) -> Result<Self> {
        Self::start_with(choice, "")
    }

    /// With further tables of the agent's configuration, such as programs.
    pub fn start_with(choice: Choice, more: &str) -> Result<Self> {
        let folder = TempDir::new()?;
        let supply = Simulator::start("korad.ka3005p", &folder.path().join("supply"), &[])?;
        let meter = Simulator::start("hp.34401a", &folder.path().join("meter"), &["v=3.3"])?;
        let (broker, mqtt) = match choice {
            Choice::Mosquitto => {
                let broker = Broker::start()?;
                let url = broker.url();
                (Some(broker), Mqtt::Url(url))
            }
            Choice::Embedded => (None, Mqtt::Embedded(port::free()?)),
        };
        let url = mqtt.url();
        let hub = Hub::start(mqtt)?;
        let instruments = [
            Instrument::new(SUPPLY, "korad.ka3005p", supply.link()),
            Instrument::new(METER, "hp.34401a", meter.link()),
        ];
        let agent = Agent::start_with("bench-1", &url, &instruments, more)?;
        let rig = Self { watcher: Watcher::start()?, agent, hub, broker, supply, meter, _folder: folder };
        rig.wait_online()?;
        Ok(rig)
    }

    pub fn wait_online(&self) -> Result<()> {
        self.hub.wait_device(SUPPLY, &["online"])?;
        self.hub.wait_device(METER, &["online"])?;
        Ok(())
    }
}
