//! The chat's side of the interpreter: what is said is heard by all; a line is planned like any other, what is none goes to the
//! responder, and what comes of either is said in the chat.

use axum::http::StatusCode;
use rigwire_shared::time::Timestamp;

use super::{control, plan, start, started};
use crate::access::Principal;
use crate::app::App;
use crate::command_line::{self, Refusal};
use crate::dialect::{Meant, Outcome};
use crate::error::ApiError;
use crate::event::{ChatMessage, ChatRole};
use crate::model::chat::{AUTHOR_MAX, Asked, CONTENT_MAX, Say};

/// Who speaks when a client does not say.
const SOMEBODY: &str = "user";

/// Something that was said, and what it comes to.
pub struct Heard {
    pub at: Timestamp,
    pub message: ChatMessage,
    pub comes_to: Result<ComesTo, ApiError>,
}

pub enum ComesTo {
    /// A plan and a control are still to be carried out; the rest has been answered in the chat.
    Line(Result<Meant, Refusal>),
    /// The responder answers in the chat, or it is said there why not.
    PassedOn,
}

/// A token's name is its own; without one a client is taken at its word.
pub fn author(who: Option<&Principal>, sender: Option<String>) -> String {
    let named = who.filter(|who| who.token.is_some()).map(|who| who.name.to_string());
    named.or(sender.filter(|sender| !sender.trim().is_empty())).unwrap_or_else(|| SOMEBODY.to_owned())
}

/// Says something, and finds out what it comes to.
pub async fn say(
    app: &App,
    author: String,
    content: String,
    correlation_id: Option<String>,
) -> Result<Heard, ApiError> {
    check(&author, &content)?;
    let is_line = command_line::parse(&content).is_ok();
    let (line, correlated) = (content.clone(), correlation_id.clone());
    let (at, message, asked) = app
        .hub
        .ask(move |core, now| {
            let say = Say { author, role: ChatRole::User, content, correlation_id, answers: None };
            let message = core.model.say(say, now);
            let reachable = core.broker_connected;
            let asked = if is_line { Asked::Nobody } else { core.model.ask_responder(&message, reachable, now) };
            (now, message, asked)
        })
        .await?;
    let comes_to = match asked {
        Asked::Nobody => {
            let meant = plan(app, &line).await;
            answer(app, message.number, correlated, &meant).await;
            meant.map(ComesTo::Line)
        }
        Asked::Carry(question) => {
            app.responder.carry(&app.hub, question).await;
            Ok(ComesTo::PassedOn)
        }
        Asked::Waits | Asked::Refused => Ok(ComesTo::PassedOn),
    };
    Ok(Heard { at, message, comes_to })
}

/// Carries out what a line comes to, for who does not see the plan first.
pub async fn carry_out(app: &App, question: &ChatMessage, meant: Meant) -> Result<(), ApiError> {
    let outcome = match meant {
        Meant::Plan(plan) => start(app, *plan, None).await.map(|run| started(&run)),
        Meant::Control { control: which, run } => control(app, which, run).await.map(Outcome::Said),
        Meant::Said { .. } => return Ok(()),
    };
    let outcome = outcome.unwrap_or_else(|error| refused(&error));
    tell(app, question.number, question.correlation_id.clone(), &outcome).await;
    Ok(())
}

/// Says in the chat what became of something that was said there.
pub async fn tell(app: &App, question: u64, correlation_id: Option<String>, outcome: &Outcome) {
    match outcome {
        Outcome::Started { .. } | Outcome::Said(_) | Outcome::Refused { .. } => {
            reply(app, question, correlation_id, ChatRole::System, outcome.in_words()).await;
        }
        Outcome::Planned { .. } | Outcome::PassedOn => {}
    }
}

/// What can be answered without doing anything.
async fn answer(
    app: &App,
    question: u64,
    correlation_id: Option<String>,
    meant: &Result<Result<Meant, Refusal>, ApiError>,
) {
    let (role, text) = match meant {
        Ok(Ok(Meant::Plan(_) | Meant::Control { .. })) => return,
        Ok(Ok(Meant::Said { text, .. })) => (ChatRole::Assistant, text.clone()),
        Ok(Err(refusal)) => (ChatRole::Assistant, refusal.shown()),
        Err(error) => (ChatRole::System, error.detail().to_owned()),
    };
    reply(app, question, correlation_id, role, text).await;
}

async fn reply(app: &App, question: u64, correlation_id: Option<String>, role: ChatRole, content: String) {
    let author = role.as_str().to_owned();
    let say = Say { author, role, content, correlation_id, answers: Some(question) };
    if app.hub.ask(move |core, now| core.model.say(say, now)).await.is_err() {
        tracing::debug!("the hub stopped before an answer was said in the chat");
    }
}

fn refused(error: &ApiError) -> Outcome {
    Outcome::Refused { code: error.code(), message: error.detail().to_owned() }
}

fn check(author: &str, content: &str) -> Result<(), ApiError> {
    if content.trim().is_empty() {
        return Err(ApiError::unprocessable("INVALID_CHAT", "content is empty, expected some text"));
    }
    if content.len() > CONTENT_MAX {
        let detail = format!("content has {} bytes, expected at most {CONTENT_MAX}", content.len());
        return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "CHAT_TOO_LONG", detail));
    }
    if author.chars().count() > AUTHOR_MAX {
        let detail = format!("sender is longer than {AUTHOR_MAX} characters, expected the name of a person");
        return Err(ApiError::unprocessable("INVALID_CHAT", detail));
    }
    let own = [ChatRole::Assistant, ChatRole::System].map(ChatRole::as_str);
    if own.iter().any(|own| author.trim().eq_ignore_ascii_case(own)) {
        let detail = format!("sender is {author:?}, which is how the hub speaks, expected the name of a person");
        return Err(ApiError::unprocessable("INVALID_CHAT", detail));
    }
    Ok(())
}
