//! What arrives from the broker, decoded once and put to the model. Garbage is counted and never believed.

use bytes::Bytes;
use rigwire_shared::agent::{AgentState, Inventory, Live};
use rigwire_shared::ids::{AgentId, RunId};
use rigwire_shared::time::Timestamp;
use rigwire_shared::topic::{Channel, Topic};
use rigwire_shared::wire::{self, Batch, WireError};

use crate::external::parse_batch;
use crate::model::Model;
use crate::responder::answer::{self, Answer};

#[derive(Debug)]
pub enum Message {
    Connected,
    Disconnected,
    Published { topic: String, payload: Bytes },
}

/// A message of an agent, or why it is none.
enum Decoded {
    State(AgentState),
    Inventory(Inventory),
    Batch(Batch),
    Live(Live),
}

pub fn take(model: &mut Model, topic: &str, payload: &[u8], now: Timestamp) {
    let (agent, channel) = match Topic::parse(topic) {
        Some(Topic::Agent(agent, channel)) => (agent, channel),
        Some(Topic::Ingest(run)) => return report(model, run, payload, now),
        Some(Topic::ChatAnswer) => return chat_answer(model, payload, now),
        Some(Topic::ChatAsk) | None => {
            tracing::debug!(topic, "message on a topic that is none of ours");
            return;
        }
    };
    // Brokers deliver an empty message when something retained is deleted.
    if payload.is_empty() {
        return;
    }
    match decode(channel, payload) {
        Ok(Some(Decoded::State(state))) => model.agent_state(&agent, &state, now),
        Ok(Some(Decoded::Inventory(inventory))) => model.inventory(&agent, &inventory, now),
        Ok(Some(Decoded::Batch(batch))) => model.batch(&agent, batch, now),
        Ok(Some(Decoded::Live(live))) => model.live(&agent, live, now),
        Ok(None) => {}
        Err(error) => refuse(model, &agent, channel, error, now),
    }
}

/// Events that a program outside reports.
fn report(model: &mut Model, run: RunId, payload: &[u8], now: Timestamp) {
    if payload.is_empty() {
        return;
    }
    match parse_batch(payload) {
        Ok(batch) => {
            if let Err(error) = model.report_external(run, &batch, now) {
                model.refused_report(run, &error);
            }
        }
        Err(error) => model.refused_report(run, &error),
    }
}

/// What the chat's responder says.
fn chat_answer(model: &mut Model, payload: &[u8], now: Timestamp) {
    if payload.is_empty() {
        return;
    }
    let Answer { id, content } = answer::parse(payload);
    if !model.answer_chat(id, content, now) {
        tracing::debug!(question = id, "an answer in the chat that nobody waits for");
    }
}

fn decode(channel: Channel, payload: &[u8]) -> Result<Option<Decoded>, WireError> {
    Ok(match channel {
        Channel::State => Some(Decoded::State(wire::decode(payload)?)),
        Channel::Inventory => Some(Decoded::Inventory(wire::decode(payload)?)),
        Channel::Up => Some(Decoded::Batch(wire::decode(payload)?)),
        Channel::Live => Some(Decoded::Live(wire::decode(payload)?)),
        Channel::Down | Channel::Ack => None,
    })
}

fn refuse(model: &mut Model, agent: &AgentId, channel: Channel, error: WireError, now: Timestamp) {
    tracing::warn!(%agent, "message on {} refused: {error}", channel.as_str());
    model.malformed(agent, now);
}
