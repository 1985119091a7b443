//! The operators' shared chat by REST: what was said, and something to say.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use rigwire_shared::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::answer::Time;
use super::json_body;
use crate::access::Caller;
use crate::app::App;
use crate::error::ApiError;
use crate::event::{ChatMessage, ChatRole};
use crate::interpreter::chat::{self, ComesTo};

const PAGE: usize = 100;
const PAGE_MAX: usize = 1000;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChatQuery {
    /// `next` of the page before. Without it, the newest messages.
    after: Option<u64>,
    /// At most 1,000 messages, 100 if left out.
    limit: Option<usize>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct ChatPage {
    /// In order.
    messages: Vec<ChatRow>,
    next: u64,
}

#[derive(Debug, Serialize, JsonSchema)]
struct ChatRow {
    /// From 1.
    number: u64,
    at: Time,
    author: String,
    role: ChatRole,
    content: String,
    /// As the client that asked named its question.
    correlation_id: Option<String>,
    /// Number of the message that this one answers.
    answers: Option<u64>,
}

impl ChatRow {
    fn new(at: Timestamp, message: ChatMessage) -> Self {
        let ChatMessage { number, author, role, content, correlation_id, answers } = message;
        Self { number, at: Time(at), author, role, content, correlation_id, answers }
    }
}

/// A message as it is kept, and what came of it at once.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Spoken {
    #[serde(flatten)]
    message: ChatRow,
    replies: Vec<ChatRow>,
    /// It is no command line, and with the responder: what comes of it is in the chat.
    passed_on: bool,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Speech {
    /// At most 16 KiB.
    content: String,
    /// Who speaks, where the token does not say.
    #[serde(default)]
    sender: Option<String>,
}

pub async fn list(
    State(app): State<App>,
    query: Result<Query<ChatQuery>, QueryRejection>,
) -> Result<Json<ChatPage>, ApiError> {
    let Query(query) = query.map_err(|error| ApiError::bad_request("INVALID_QUERY", error.body_text()))?;
    let limit = query.limit.unwrap_or(PAGE).clamp(1, PAGE_MAX);
    let found = app.hub.store().chat(query.after, limit).await?;
    let next = found.last().map_or(query.after.unwrap_or_default(), |(_, message)| message.number);
    let messages = found.into_iter().map(|(at, message)| ChatRow::new(at, message)).collect();
    Ok(Json(ChatPage { messages, next }))
}

/// Answered with the message as it is kept. What comes of it is in the chat behind it.
pub async fn post(State(app): State<App>, caller: Caller, body: Bytes) -> Result<(StatusCode, Json<Spoken>), ApiError> {
    let speech: Speech = serde_json::from_value(json_body(&body)?).map_err(|error| {
        let detail = format!("the body is no message: {error}; expected {{\"content\", \"sender\"?}} as text");
        ApiError::unprocessable("INVALID_REQUEST", detail)
    })?;
    let author = chat::author(caller.who.as_ref().ok(), speech.sender);
    let heard = chat::say(&app, author, speech.content, None).await?;
    let passed_on = match heard.comes_to {
        Ok(ComesTo::PassedOn) => true,
        Ok(ComesTo::Line(Ok(meant))) => {
            chat::carry_out(&app, &heard.message, meant).await?;
            false
        }
        // Said in the chat, where everybody reads it.
        Ok(ComesTo::Line(Err(_))) | Err(_) => false,
    };
    // Answered once it is in the record.
    let number = heard.message.number;
    let behind = app.hub.store().chat(Some(number), PAGE).await?.into_iter();
    let replies = behind.filter(|(_, message)| message.answers == Some(number));
    let replies = replies.map(|(at, message)| ChatRow::new(at, message)).collect();
    let message = ChatRow::new(heard.at, heard.message);
    Ok((StatusCode::CREATED, Json(Spoken { message, replies, passed_on })))
}
