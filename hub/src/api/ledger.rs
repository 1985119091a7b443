//! The ledger: for each agent and each watcher what arrived, what was passed on, and what was not, with the reason.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use rigwire_shared::ids::{AgentId, Epoch, Position};
use schemars::JsonSchema;
use serde::Serialize;

use super::answer::Time;
use crate::app::App;
use crate::error::ApiError;
use crate::fleet::Agent;
use crate::hub::Stopping;
use crate::ledger::Account;

#[derive(Debug, Serialize, JsonSchema)]
pub struct Ledger {
    agents: Vec<AgentAccount>,
    programs: Programs,
    watchers: Watchers,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Programs {
    batches_refused: u64,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Watchers {
    connected: Vec<Connected>,
    /// Those that left, by protocol.
    gone: Vec<Gone>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct AgentAccount {
    agent: AgentId,
    online: bool,
    epoch: Epoch,
    batches: Batches,
    messages_malformed: u64,
    events: u64,
    samples: Samples,
    commands_sent: u64,
}

/// `arrived` is the sum of what follows it.
#[derive(Debug, Serialize, JsonSchema)]
struct Batches {
    arrived: u64,
    taken: u64,
    duplicates: u64,
    after_a_gap: u64,
    last: Option<Position>,
}

/// `lost` is the sum of its causes.
#[derive(Debug, Serialize, JsonSchema)]
struct Samples {
    lost: u64,
    by_cause: BTreeMap<&'static str, u64>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Connected {
    id: u64,
    dialect: &'static str,
    since: Time,
    #[serde(flatten)]
    account: AccountRow,
    /// Left in its queue.
    waiting: u64,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Gone {
    dialect: &'static str,
    watchers: u64,
    #[serde(flatten)]
    account: AccountRow,
    /// Left in their queues when they went.
    unsent: u64,
}

/// `received` is the sum of what follows it up to what is left.
#[derive(Debug, Serialize, JsonSchema)]
struct AccountRow {
    received: u64,
    passed: u64,
    coalesced: u64,
    dropped: Dropped,
    messages_sent: u64,
    messages_received: u64,
    held_back: HeldBack,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Dropped {
    slow_client: u64,
}

#[derive(Debug, Serialize, JsonSchema)]
struct HeldBack {
    rate_limit: u64,
}

pub async fn get(State(app): State<App>) -> Result<Json<Ledger>, ApiError> {
    Ok(Json(read(&app).await?))
}

pub async fn read(app: &App) -> Result<Ledger, Stopping> {
    let (agents, batches_refused) = app
        .hub
        .ask(|core, _| {
            let agents: Vec<AgentAccount> = core.model.agents().map(agent).collect();
            (agents, core.model.reports_refused())
        })
        .await?;
    let (open, gone) = app.ledger.read();
    let connected = open
        .iter()
        .map(|watcher| {
            let account = watcher.account();
            Connected {
                id: watcher.id,
                dialect: watcher.dialect.as_str(),
                since: Time(watcher.since),
                account: row(&account),
                waiting: account.events.left,
            }
        })
        .collect();
    let gone = gone
        .iter()
        .map(|(dialect, total)| Gone {
            dialect,
            watchers: total.watchers,
            account: row(total),
            unsent: total.events.left,
        })
        .collect();
    Ok(Ledger { agents, programs: Programs { batches_refused }, watchers: Watchers { connected, gone } })
}

fn agent(agent: &Agent) -> AgentAccount {
    let counters = &agent.counters;
    let mut by_cause: BTreeMap<&'static str, u64> =
        counters.lost.by_cause().map(|(cause, samples)| (cause.as_str(), samples)).collect();
    let unknown = counters.samples_lost.saturating_sub(counters.lost.sum());
    if unknown > 0 {
        by_cause.insert("unknown", unknown);
    }
    AgentAccount {
        agent: agent.agent.clone(),
        online: agent.online,
        epoch: agent.epoch,
        batches: Batches {
            arrived: counters.batches + counters.duplicates + counters.gaps,
            taken: counters.batches,
            duplicates: counters.duplicates,
            after_a_gap: counters.gaps,
            last: agent.received,
        },
        messages_malformed: counters.malformed,
        events: counters.events,
        samples: Samples { lost: counters.samples_lost, by_cause },
        commands_sent: counters.commands,
    }
}

fn row(account: &Account) -> AccountRow {
    let events = account.events;
    AccountRow {
        received: events.received,
        passed: events.passed,
        coalesced: events.coalesced,
        dropped: Dropped { slow_client: events.dropped },
        messages_sent: account.messages,
        messages_received: account.heard,
        held_back: HeldBack { rate_limit: account.held_back },
    }
}
