//! The five published protocols as their clients open them, and what of a transcript belongs to one run.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::hub::Hub;
use crate::wait::PATIENCE;
use crate::watcher::{Frame, Watcher};

pub const PROTOCOL_RUNS: &str = "protocol-runs";
pub const DEVICE_FARM: &str = "device-farm";
pub const AGENT_EVENTS: &str = "agent-events";
pub const SOLVER_RUNS: &str = "solver-runs";
pub const TEST_DASHBOARD: &str = "test-dashboard";

/// Opens the two sockets that show every run, and waits until they are subscribed.
pub fn open_shared(watcher: &mut Watcher, hub: &Hub) -> Result<()> {
    watcher.open(AGENT_EVENTS, &hub.socket("/ws/events"), &[])?;
    watcher.wait_for_kind(AGENT_EVENTS, "chatMessage", PATIENCE)?;
    let topics = ["test:*", "suite:*", "logs", "delta"];
    let subscriptions: Vec<Value> =
        topics.iter().map(|topic| json!({"type": "subscribe", "payload": {"topic": topic}})).collect();
    watcher.open_and_send_after(TEST_DASHBOARD, &hub.socket("/api/ws/updates"), &subscriptions, 1)?;
    for topic in topics {
        watcher.wait_for(TEST_DASHBOARD, &format!("a subscription to {topic}"), PATIENCE, |frame| {
            let message = frame.json()?;
            (message["type"] == "subscribed" && message["payload"]["topic"] == topic).then_some(())
        })?;
    }
    Ok(())
}

/// Opens the three sockets that show one run, and waits until each has told where the run stands.
pub fn open_for_run(watcher: &mut Watcher, hub: &Hub, run: &str) -> Result<()> {
    for (name, path) in [
        (PROTOCOL_RUNS, format!("/api/v1/ws/execution/{run}")),
        (DEVICE_FARM, format!("/ws/executions/{run}")),
        (SOLVER_RUNS, format!("/api/v2/ws/runs/{run}")),
    ] {
        watcher.open(name, &hub.socket(&path), &[])?;
        watcher.wait_for(name, "where the run stands", PATIENCE, |frame| frame.json().map(drop))?;
    }
    Ok(())
}

/// The messages about one run on one of the sockets, in order.
pub fn messages_of(watcher: &Watcher, name: &str, run: &Value) -> Result<Vec<Value>> {
    let id = run["id"].as_str().context("a run without an id")?;
    let number = &run["number"];
    let of_run = |message: &Value| match name {
        AGENT_EVENTS => message["payload"]["workflowId"] == id,
        TEST_DASHBOARD => message["payload"]["suite_execution_id"] == *number,
        SOLVER_RUNS => message["run_id"] == id,
        DEVICE_FARM => message["execution_id"] == id,
        _ => true,
    };
    let messages = watcher.transcript(name);
    Ok(messages.iter().filter_map(Frame::json).filter(|message| of_run(message)).cloned().collect())
}

pub fn of_type<'a>(messages: &'a [Value], kind: &str) -> Vec<&'a Value> {
    messages.iter().filter(|message| message["type"] == kind).collect()
}

/// The message that ends this run on each of the sockets; waits for all five.
pub fn wait_endings(watcher: &Watcher, run: &Value) -> Result<[Value; 5]> {
    let id = run["id"].as_str().context("a run without an id")?;
    let number = &run["number"];
    let one = |name: &str, is_end: &dyn Fn(&Value) -> bool| {
        watcher.wait_for(name, &format!("the end of run {id}"), PATIENCE, |frame| {
            frame.json().filter(|message| is_end(message)).cloned()
        })
    };
    let kind_is = |message: &Value, kinds: &[&str]| message["type"].as_str().is_some_and(|kind| kinds.contains(&kind));
    let (code, reason) = watcher.wait_closed(PROTOCOL_RUNS, PATIENCE)?;
    anyhow::ensure!(code == 1000, "{PROTOCOL_RUNS} was closed with {code} {reason:?}, expected 1000");
    let last = watcher.transcript(PROTOCOL_RUNS).iter().filter_map(Frame::json).next_back().cloned();
    Ok([
        last.context("protocol-runs has said nothing")?,
        one(DEVICE_FARM, &|message| kind_is(message, &["execution_completed"]))?,
        one(AGENT_EVENTS, &|message| {
            kind_is(message, &["workflowComplete", "workflowError"]) && message["payload"]["workflowId"] == id
        })?,
        one(SOLVER_RUNS, &|message| kind_is(message, &["completed", "error", "cancelled"]))?,
        one(TEST_DASHBOARD, &|message| {
            kind_is(message, &["suite_completed"]) && message["payload"]["suite_execution_id"] == *number
        })?,
    ])
}

/// Numbers that must never fall, such as a percentage over the life of a run.
pub fn never_falls(values: &[f64]) -> bool {
    values.windows(2).all(|pair| pair[0] <= pair[1])
}
