//! What a test-dashboard client sends, and the name it gives itself. Knows no session.

use rigwire_shared::value::Value;
use uuid::Uuid;

use crate::dialect::reference::quote;

use super::subscription::{Filter, Topic};

const CLIENT_ID_MAX: usize = 64;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum ClientMessage {
    Subscribe(Topic, Filter),
    Unsubscribe(Topic),
    Ping,
}

/// The id that a client asked for if it may have it, else the new one.
pub fn client_id(asked: Option<&str>, fresh: Uuid) -> String {
    match asked {
        Some(id) if is_client_id(id) => id.to_owned(),
        Some(_) | None => fresh.to_string(),
    }
}

fn is_client_id(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':');
    (1..=CLIENT_ID_MAX).contains(&text.len()) && text.bytes().all(allowed)
}

pub(super) fn read(text: &str) -> Result<ClientMessage, String> {
    let message: Value = serde_json::from_str(text)
        .map_err(|error| format!("Invalid JSON ({error}): expected an object with \"type\" and \"payload\""))?;
    let kind = message.get("type").and_then(Value::as_str);
    let kind = kind.ok_or("Missing message type: expected subscribe, unsubscribe or ping")?;
    let payload = message.get("payload").unwrap_or(&Value::Null);
    let topic = |request: &str| {
        let topic = payload.get("topic").and_then(Value::as_str).filter(|topic| !topic.trim().is_empty());
        topic.map(Topic::new).ok_or_else(|| format!("Missing topic in {request} request"))?
    };
    match kind.to_ascii_lowercase().as_str() {
        "subscribe" => Ok(ClientMessage::Subscribe(topic("subscribe")?, Filter::new(payload.get("filter"))?)),
        "unsubscribe" => Ok(ClientMessage::Unsubscribe(topic("unsubscribe")?)),
        "ping" => Ok(ClientMessage::Ping),
        _ => Err(format!("Unknown message type: {}", quote(kind))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_keeps_an_id_of_the_right_form() {
        let fresh = Uuid::from_u128(7);
        for (asked, kept) in [
            (Some("my-client-id"), true),
            (Some("a"), true),
            (Some(&*"a".repeat(64)), true),
            (Some(&*"a".repeat(65)), false),
            (Some(""), false),
            (Some("two words"), false),
            (Some("a\nb"), false),
            (None, false),
        ] {
            let expected = if kept { asked.unwrap_or_default().to_owned() } else { fresh.to_string() };
            assert_eq!(client_id(asked, fresh), expected, "{asked:?}");
        }
    }

    #[test]
    fn errors_name_what_is_missing() {
        for (text, expected) in [
            (r#"{"type":"PING"}"#, Ok(ClientMessage::Ping)),
            (r#"{"type":"dance","payload":{}}"#, Err("Unknown message type: dance")),
            (r#"{"type":"subscribe"}"#, Err("Missing topic in subscribe request")),
            (r#"{"type":"unsubscribe","payload":{"topic":7}}"#, Err("Missing topic in unsubscribe request")),
            (r#"{"type":7}"#, Err("Missing message type: expected subscribe, unsubscribe or ping")),
            ("[]", Err("Missing message type: expected subscribe, unsubscribe or ping")),
            (
                r#"{"type":"subscribe","payload":{"topic":"logs","filter":3}}"#,
                Err("Invalid filter: expected an object of field names and values"),
            ),
        ] {
            assert_eq!(read(text), expected.map_err(str::to_owned), "{text}");
        }
    }
}
