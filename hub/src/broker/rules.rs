//! What each user of the embedded broker may write and read. Pure: knows the topics, and no connection.

use rigwire_shared::ids::AgentId;
use rigwire_shared::topic::{Channel, Topic};

/// The hub's own client.
pub(super) const HUB: &str = "rigwire-hub";

/// Someone who was let in; as text it is what the broker remembers of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum User {
    Hub,
    /// With a token's id; the agent of this very process has none.
    Agent {
        agent: AgentId,
        token: Option<String>,
    },
    /// A program with an operator's or admin's token.
    Person {
        token: String,
    },
}

impl User {
    pub(super) fn text(&self) -> String {
        match self {
            Self::Hub => "hub".to_owned(),
            Self::Agent { agent, token } => format!("agent/{agent}/{}", token.as_deref().unwrap_or_default()),
            Self::Person { token } => format!("person/{token}"),
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('/');
        let user = match (parts.next()?, parts.next(), parts.next()) {
            ("hub", None, None) => Self::Hub,
            ("agent", Some(agent), Some(token)) => {
                let token = (!token.is_empty()).then(|| token.to_owned());
                Self::Agent { agent: AgentId::new(agent).ok()?, token }
            }
            ("person", Some(token), None) => Self::Person { token: token.to_owned() },
            _ => return None,
        };
        parts.next().is_none().then_some(user)
    }

    pub(super) fn token(&self) -> Option<&str> {
        match self {
            Self::Hub | Self::Agent { token: None, .. } => None,
            Self::Agent { token: Some(token), .. } | Self::Person { token } => Some(token),
        }
    }

    /// Two connections with one client id put each other out, so each id has its owner.
    pub(super) fn may_be_called(&self, client_id: &str) -> bool {
        match self {
            Self::Hub => client_id == HUB,
            Self::Agent { agent, .. } => client_id == client_id_of(agent),
            Self::Person { .. } => !client_id.starts_with("rigwire-"),
        }
    }

    pub(super) fn may_publish(&self, topic: &str) -> bool {
        match (self, Topic::parse(topic)) {
            (Self::Hub, Some(Topic::Agent(_, channel))) => matches!(channel, Channel::Down | Channel::Ack),
            (Self::Agent { agent, .. }, Some(Topic::Agent(of, channel))) => {
                of == *agent
                    && match channel {
                        Channel::State | Channel::Inventory | Channel::Up | Channel::Live => true,
                        Channel::Down | Channel::Ack => false,
                    }
            }
            (Self::Hub, Some(Topic::ChatAsk)) | (Self::Person { .. }, Some(Topic::Ingest(_) | Topic::ChatAnswer)) => {
                true
            }
            (Self::Hub | Self::Agent { .. }, Some(Topic::Ingest(_) | Topic::ChatAnswer))
            | (Self::Agent { .. } | Self::Person { .. }, Some(Topic::ChatAsk))
            | (Self::Person { .. }, Some(Topic::Agent(..)))
            | (_, None) => false,
        }
    }

    /// A filter, which may have wildcards; only the hub's may.
    pub(super) fn may_subscribe(&self, filter: &str) -> bool {
        match (self, Topic::parse(filter)) {
            (Self::Hub, _) => true,
            (Self::Agent { agent, .. }, Some(Topic::Agent(of, channel))) => {
                of == *agent && matches!(channel, Channel::Down | Channel::Ack)
            }
            (Self::Person { .. }, Some(Topic::ChatAsk)) => true,
            (Self::Agent { .. }, Some(Topic::Ingest(_) | Topic::ChatAsk | Topic::ChatAnswer) | None)
            | (Self::Person { .. }, Some(Topic::Agent(..) | Topic::Ingest(_) | Topic::ChatAnswer) | None) => false,
        }
    }

    /// What someone whose token is no longer good may still say: that it is gone.
    pub(super) fn may_part_with(&self, topic: &str) -> bool {
        let Self::Agent { agent, .. } = self else { return false };
        Topic::parse(topic) == Some(Topic::Agent(agent.clone(), Channel::State))
    }
}

pub(super) fn client_id_of(agent: &AgentId) -> String {
    format!("rigwire-agent-{agent}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(name: &str) -> AgentId {
        AgentId::new(name).unwrap()
    }

    fn users() -> [User; 3] {
        let token = "t-1".to_owned();
        [User::Hub, User::Agent { agent: agent("bench-1"), token: Some(token.clone()) }, User::Person { token }]
    }

    #[test]
    fn each_has_its_topics_and_no_others() {
        let ingest = "rigwire/v1/ingest/550e8400-e29b-41d4-a716-446655440000".to_owned();
        let of = |name: &str, channel| Topic::Agent(agent(name), channel).text();
        let mut topics: Vec<(String, [bool; 3], [bool; 3])> = vec![
            (ingest, [false, false, true], [true, false, false]),
            (Topic::ChatAsk.text(), [true, false, false], [true, false, true]),
            (Topic::ChatAnswer.text(), [false, false, true], [true, false, false]),
            (Topic::every_ingest(), [false; 3], [true, false, false]),
            ("#".to_owned(), [false; 3], [true, false, false]),
            ("$SYS/broker".to_owned(), [false; 3], [true, false, false]),
            (format!("{}/x", of("bench-1", Channel::Up)), [false; 3], [true, false, false]),
            (format!("$share/g/{}", of("bench-1", Channel::Down)), [false; 3], [true, false, false]),
            ("rigwire/v1/0/bench-1/up".to_owned(), [false; 3], [true, false, false]),
        ];
        for channel in Channel::ALL {
            let from_hub = matches!(channel, Channel::Down | Channel::Ack);
            topics.push((of("bench-1", channel), [from_hub, !from_hub, false], [true, from_hub, false]));
            topics.push((of("bench-2", channel), [from_hub, false, false], [true, false, false]));
            topics.push((Topic::every_agent(channel), [false; 3], [true, false, false]));
        }
        for (topic, publish, subscribe) in topics {
            assert_eq!(users().map(|user| user.may_publish(&topic)), publish, "publishing {topic}");
            assert_eq!(users().map(|user| user.may_subscribe(&topic)), subscribe, "subscribing {topic}");
        }
    }

    #[test]
    fn a_client_id_has_its_owner() {
        for (id, expected) in [
            ("rigwire-hub", [true, false, false]),
            ("rigwire-agent-bench-1", [false, true, false]),
            ("rigwire-agent-bench-2", [false, false, false]),
            ("solver", [false, false, true]),
            ("", [false, false, true]),
        ] {
            assert_eq!(users().map(|user| user.may_be_called(id)), expected, "{id}");
        }
    }

    #[test]
    fn a_user_is_read_back_from_its_text() {
        for user in users().into_iter().chain([User::Agent { agent: agent("bench-1"), token: None }]) {
            assert_eq!(User::parse(&user.text()), Some(user));
        }
        for text in ["", "hub/x", "agent", "agent/Bench/x", "agent/bench-1/x/y", "person", "other/x"] {
            assert_eq!(User::parse(text), None, "{text}");
        }
    }
}
