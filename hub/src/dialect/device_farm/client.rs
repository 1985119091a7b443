//! What a device-farm client sends: one message or a list of them. Knows no session.

use rigwire_shared::command::PreviewQuality;
use rigwire_shared::ids::DeviceId;
use rigwire_shared::value::Value;

use crate::dialect::reference::quote;

/// A list longer than this is refused whole.
const MESSAGES_MAX: usize = 100;

const TYPES: &str = "subscribe_device, unsubscribe_device, start_preview, stop_preview or ack";

#[derive(Debug, Clone, PartialEq)]
pub(super) enum ClientMessage {
    SubscribeDevice(DeviceId),
    UnsubscribeDevice(DeviceId),
    StartPreview(DeviceId, PreviewQuality),
    StopPreview(DeviceId),
    Ack(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: &'static str,
    pub(super) message: String,
}

impl Refusal {
    fn invalid(message: String) -> Self {
        Self { code: "INVALID_MESSAGE", message }
    }
}

/// Each message of a list stands for itself: a faulty one does not undo its neighbours.
pub(super) fn read(text: &str) -> Vec<Result<ClientMessage, Refusal>> {
    match serde_json::from_str::<Value>(text) {
        Err(error) => {
            let message =
                format!("the message is not JSON ({error}): expected an object with \"type\", or a list of them");
            vec![Err(Refusal { code: "INVALID_JSON", message })]
        }
        Ok(Value::List(items)) if items.len() > MESSAGES_MAX => {
            let message = format!("a list of {} messages is too long: expected at most {MESSAGES_MAX}", items.len());
            vec![Err(Refusal::invalid(message))]
        }
        Ok(Value::List(items)) => items.iter().map(read_one).collect(),
        Ok(one) => vec![read_one(&one)],
    }
}

fn read_one(message: &Value) -> Result<ClientMessage, Refusal> {
    let text = |key| message.get(key).and_then(Value::as_str);
    let Some(kind) = text("type") else {
        return Err(Refusal::invalid(format!("the message has no \"type\": expected {TYPES}")));
    };
    let device = || {
        let id = text("device_id")
            .ok_or_else(|| Refusal::invalid(format!("{} has no \"device_id\": expected a device's id", quote(kind))))?;
        DeviceId::new(id).map_err(|error| Refusal::invalid(format!("device_id {:?} is not valid: {error}", quote(id))))
    };
    match kind {
        "subscribe_device" => device().map(ClientMessage::SubscribeDevice),
        "unsubscribe_device" => device().map(ClientMessage::UnsubscribeDevice),
        "start_preview" => Ok(ClientMessage::StartPreview(device()?, quality(message)?)),
        "stop_preview" => device().map(ClientMessage::StopPreview),
        "ack" => text("message_id")
            .map(|id| ClientMessage::Ack(id.to_owned()))
            .ok_or_else(|| Refusal::invalid("ack has no \"message_id\": expected the id of a message".to_owned())),
        other => Err(Refusal {
            code: "UNKNOWN_MESSAGE_TYPE",
            message: format!("message type {:?} is not known: expected {TYPES}", quote(other)),
        }),
    }
}

fn quality(message: &Value) -> Result<PreviewQuality, Refusal> {
    match message.get("quality") {
        None | Some(Value::Null) => Ok(PreviewQuality::Medium),
        Some(value) => match value.as_str() {
            Some("low") => Ok(PreviewQuality::Low),
            Some("medium") => Ok(PreviewQuality::Medium),
            Some("high") => Ok(PreviewQuality::High),
            Some(other) => Err(other),
            None => Err("not a text"),
        }
        .map_err(|found| {
            Refusal::invalid(format!("quality of start_preview is {:?}: expected low, medium or high", quote(found)))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_one_by_one_or_in_a_list() {
        let phone = || DeviceId::new("emulator-5554").unwrap();
        for (text, expected) in [
            (
                r#"{"type":"subscribe_device","device_id":"emulator-5554"}"#,
                vec![Ok(ClientMessage::SubscribeDevice(phone()))],
            ),
            (
                r#"[{"type":"start_preview","device_id":"emulator-5554"},{"type":"stop_preview"}]"#,
                vec![Ok(ClientMessage::StartPreview(phone(), PreviewQuality::Medium)), Err("INVALID_MESSAGE")],
            ),
            (r#"{"type":"start_preview","device_id":"emulator-5554","quality":"huge"}"#, vec![Err("INVALID_MESSAGE")]),
            (r#"{"type":"subscribe_device","device_id":"a/b"}"#, vec![Err("INVALID_MESSAGE")]),
            (r#"{"type":"dance"}"#, vec![Err("UNKNOWN_MESSAGE_TYPE")]),
            ("7", vec![Err("INVALID_MESSAGE")]),
            ("{", vec![Err("INVALID_JSON")]),
            ("[]", vec![]),
        ] {
            let found: Vec<_> = read(text).into_iter().map(|one| one.map_err(|refusal| refusal.code)).collect();
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn a_list_is_bounded() {
        let list = |length| format!("[{}]", vec![r#"{"type":"ack","message_id":"1"}"#; length].join(","));
        assert_eq!(read(&list(MESSAGES_MAX)).len(), MESSAGES_MAX);
        assert!(matches!(read(&list(MESSAGES_MAX + 1))[..], [Err(_)]));
    }
}
