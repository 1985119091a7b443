//! Topics, spelled here and nowhere else.

use alloc::format;
use alloc::string::String;
use core::str::FromStr;

use uuid::Uuid;

use crate::ids::{AgentId, RunId};

/// Hubs share the work by shard, on any broker, without shared subscriptions.
pub const SHARDS: u8 = 16;

const ROOT: &str = "rigwire/v1";

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Topic {
    Agent(AgentId, Channel),
    /// JSON events of a run that a program outside reports.
    Ingest(RunId),
    /// JSON questions of the hub to whoever answers in the operators' chat.
    ChatAsk,
    /// The answers, as JSON.
    ChatAnswer,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Channel {
    /// Retained: `AgentState`, also the last will.
    State,
    /// Retained: `Inventory`.
    Inventory,
    /// Numbered batches of events.
    Up,
    /// Unnumbered frames.
    Live,
    /// Commands.
    Down,
    /// How far the hub's record reaches.
    Ack,
}

impl Channel {
    pub const ALL: [Self; 6] = [Self::State, Self::Inventory, Self::Up, Self::Live, Self::Down, Self::Ack];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Inventory => "inventory",
            Self::Up => "up",
            Self::Live => "live",
            Self::Down => "down",
            Self::Ack => "ack",
        }
    }
}

/// Stable for ever: hubs of different versions must agree. FNV-1a over the id, modulo the number of shards.
pub fn shard(agent: &AgentId) -> u8 {
    let hash =
        agent.as_str().bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    #[expect(clippy::cast_possible_truncation, reason = "a remainder of a u8")]
    let shard = (hash % u32::from(SHARDS)) as u8;
    shard
}

impl Topic {
    pub fn text(&self) -> String {
        match self {
            Self::Agent(agent, channel) => format!("{ROOT}/{}/{agent}/{}", shard(agent), channel.as_str()),
            Self::Ingest(run) => format!("{ROOT}/ingest/{run}"),
            Self::ChatAsk => format!("{ROOT}/chat/ask"),
            Self::ChatAnswer => format!("{ROOT}/chat/answer"),
        }
    }

    /// `None` for a topic that is none of ours, or whose shard is not the agent's.
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix(ROOT)?.strip_prefix('/')?;
        let mut parts = rest.split('/');
        let first = parts.next()?;
        let topic = if first == "ingest" {
            Self::Ingest(RunId(Uuid::from_str(parts.next()?).ok()?))
        } else if first == "chat" {
            match parts.next()? {
                "ask" => Self::ChatAsk,
                "answer" => Self::ChatAnswer,
                _ => return None,
            }
        } else {
            let agent = AgentId::new(parts.next()?).ok()?;
            let channel = parts.next()?;
            let channel = Channel::ALL.into_iter().find(|known| known.as_str() == channel)?;
            Self::Agent(agent, channel)
        };
        (parts.next().is_none() && topic.text() == text).then_some(topic)
    }

    /// Filter for one channel of every agent.
    pub fn every_agent(channel: Channel) -> String {
        format!("{ROOT}/+/+/{}", channel.as_str())
    }

    /// Filter for every run that is reported from outside.
    pub fn every_ingest() -> String {
        format!("{ROOT}/ingest/+")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_spelled_as_promised() {
        let agent = AgentId::new("bench-1").unwrap();
        for (channel, expected) in [
            (Channel::State, "rigwire/v1/7/bench-1/state"),
            (Channel::Inventory, "rigwire/v1/7/bench-1/inventory"),
            (Channel::Up, "rigwire/v1/7/bench-1/up"),
            (Channel::Live, "rigwire/v1/7/bench-1/live"),
            (Channel::Down, "rigwire/v1/7/bench-1/down"),
            (Channel::Ack, "rigwire/v1/7/bench-1/ack"),
        ] {
            let topic = Topic::Agent(agent.clone(), channel);
            assert_eq!(topic.text(), expected);
            assert_eq!(Topic::parse(expected), Some(topic));
        }
        let run = "rigwire/v1/ingest/550e8400-e29b-41d4-a716-446655440000";
        assert_eq!(Topic::parse(run).map(|topic| topic.text()).as_deref(), Some(run));
        assert_eq!(Topic::parse("rigwire/v1/chat/ask"), Some(Topic::ChatAsk));
        assert_eq!(Topic::parse("rigwire/v1/chat/answer"), Some(Topic::ChatAnswer));
    }

    #[test]
    fn foreign_topics_are_refused() {
        for text in [
            "",
            "rigwire/v1",
            "rigwire/v1/7/bench-1",
            "rigwire/v1/7/bench-1/up/x",
            "rigwire/v1/6/bench-1/up",
            "rigwire/v1/07/bench-1/up",
            "rigwire/v1/3/Bench/up",
            "rigwire/v2/3/bench-1/up",
            "rigwire/v1/ingest/7",
            "rigwire/v1/chat",
            "rigwire/v1/chat/answer/7",
        ] {
            assert_eq!(Topic::parse(text), None, "{text:?}");
        }
    }
}
