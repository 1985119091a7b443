//! What is said in the operators' shared chat. Knows no client and no record.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatMessage {
    /// From 1, without holes.
    pub number: u64,
    /// Who speaks: a person's name, or the role's own.
    pub author: String,
    pub role: ChatRole,
    pub content: String,
    /// As the client that asked named its question.
    pub correlation_id: Option<String>,
    /// Number of the message that this one answers.
    pub answers: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ChatRole {
    /// A person, or a program in the place of one.
    User,
    /// Whoever answers: the interpreter of typed lines, or the responder.
    Assistant,
    /// The hub itself: what it did, or what failed.
    System,
}

impl ChatRole {
    pub const ALL: [Self; 3] = [Self::User, Self::Assistant, Self::System];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::System => "system",
        }
    }
}
