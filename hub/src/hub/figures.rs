//! The hub in few numbers, for those who watch the watcher.

use std::collections::BTreeMap;

use super::{Hub, Stopping};

#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// Told since the start.
    pub events: u64,
    /// Numbered, in the record.
    pub recorded: u64,
    pub agents: u64,
    pub agents_online: u64,
    pub devices: u64,
    /// Events that agents reported.
    pub reported: u64,
    /// Samples that agents lost, by cause.
    pub lost: BTreeMap<String, u64>,
    pub active_runs: u64,
    /// Sockets that watch something.
    pub watchers: u64,
    /// Questions of the chat that wait.
    pub questions: u64,
    pub broker_connected: bool,
}

impl Hub {
    pub async fn figures(&self) -> Result<Figures, Stopping> {
        self.ask(|core, _| {
            let model = &core.model;
            let mut figures = Figures {
                events: core.registry.published(),
                recorded: model.last_sequence(),
                devices: model.devices().count() as u64,
                active_runs: model.active_runs() as u64,
                watchers: core.registry.watchers() as u64,
                questions: model.questions_waiting() as u64,
                broker_connected: core.broker_connected,
                ..Figures::default()
            };
            for agent in model.agents() {
                figures.agents += 1;
                figures.agents_online += u64::from(agent.online);
                figures.reported += agent.counters.events;
                for (cause, count) in agent.counters.lost.by_cause() {
                    *figures.lost.entry(cause.as_str().to_owned()).or_default() += count;
                }
            }
            figures
        })
        .await
    }
}
