//! The ledger: for each agent and each watcher what arrived, what was passed on, and what was not, with the reason.

use axum::Json;
use axum::extract::State;
use serde_json::json;

use crate::app::App;
use crate::dialect::rfc3339;
use crate::error::ApiError;
use crate::fleet::Agent;
use crate::ledger::Account;

pub async fn get(State(app): State<App>) -> Result<Json<serde_json::Value>, ApiError> {
    let (agents, refused) = app
        .hub
        .ask(|core, _| {
            let agents: Vec<serde_json::Value> = core.model.agents().map(agent).collect();
            (agents, core.model.reports_refused())
        })
        .await?;
    let (open, gone) = app.ledger.read();
    let open: Vec<serde_json::Value> = open
        .iter()
        .map(|watcher| {
            let mut row = account(&watcher.account(), "waiting");
            row["id"] = watcher.id.into();
            row["dialect"] = watcher.dialect.as_str().into();
            row["since"] = rfc3339(watcher.since).into();
            row
        })
        .collect();
    let gone: Vec<serde_json::Value> = gone
        .iter()
        .map(|(dialect, total)| {
            let mut row = account(total, "unsent");
            row["dialect"] = (*dialect).into();
            row["watchers"] = total.watchers.into();
            row
        })
        .collect();
    Ok(Json(json!({
        "agents": agents,
        "programs": {"batches_refused": refused},
        "watchers": {"connected": open, "gone": gone},
    })))
}

/// `batches.arrived` is the sum of what follows it, and `samples.lost` of its causes.
fn agent(agent: &Agent) -> serde_json::Value {
    let counters = &agent.counters;
    let mut causes: serde_json::Map<String, serde_json::Value> =
        counters.lost.by_cause().map(|(cause, samples)| (cause.as_str().to_owned(), samples.into())).collect();
    let unknown = counters.samples_lost.saturating_sub(counters.lost.sum());
    if unknown > 0 {
        causes.insert("unknown".to_owned(), unknown.into());
    }
    json!({
        "agent": agent.agent, "online": agent.online, "epoch": agent.epoch,
        "batches": {
            "arrived": counters.batches + counters.duplicates + counters.gaps, "taken": counters.batches,
            "duplicates": counters.duplicates, "after_a_gap": counters.gaps,
            "last": agent.received.map(|last| json!({"epoch": last.epoch, "number": last.number})),
        },
        "messages_malformed": counters.malformed,
        "events": counters.events,
        "samples": {"lost": counters.samples_lost, "by_cause": causes},
        "commands_sent": counters.commands,
    })
}

/// `received` is the sum of what follows it up to what is left.
fn account(account: &Account, left: &str) -> serde_json::Value {
    let events = account.events;
    let mut row = json!({
        "received": events.received, "passed": events.passed, "coalesced": events.coalesced,
        "dropped": {"slow_client": events.dropped},
        "messages_sent": account.messages, "held_back": {"rate_limit": account.held_back},
    });
    row[left] = events.left.into();
    row
}
