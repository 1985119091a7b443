//! The protocol's envelope, rendered once for all clients with its number left open. Knows no event and no session.

use std::borrow::Cow;

use rigwire_shared::time::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Serialize, Serializer};

use crate::dialect::{Text, rfc3339};

/// Where a client's number goes. JSON never holds this character as itself, only escaped.
const OPEN: &str = "\0";

/// The same for the number before it.
const OPEN_PREVIOUS: &str = "\u{1}";

const PREVIOUS_PLACEHOLDER: &str = "\"previous_sequence\":18446744073709551614";

/// Stands for the open number while a message is encoded. Other numbers in messages are clamped below it.
const PLACEHOLDER: &str = "\"sequence\":18446744073709551615";

/// A number that each client's session fills in.
#[derive(Debug, Clone, Copy)]
pub(super) struct OpenSequence;

impl Serialize for OpenSequence {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::MAX)
    }
}

impl JsonSchema for OpenSequence {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Sequence".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        u64::json_schema(generator)
    }
}

/// The number of the client's message before, if there was one.
#[derive(Debug, Clone, Copy)]
pub(super) struct OpenPrevious;

impl Serialize for OpenPrevious {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::MAX - 1)
    }
}

impl JsonSchema for OpenPrevious {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "PreviousSequence".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Option::<u64>::json_schema(generator)
    }
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Envelope<'a, T, N> {
    #[serde(rename = "type")]
    kind: &'a str,
    payload: &'a T,
    timestamp: String,
    sequence: N,
}

/// A message that is counted: without its number, to be completed by `number`.
pub(super) fn open<T: Serialize>(kind: &str, payload: &T, at: Timestamp) -> Text {
    let text = Text::json(&Envelope { kind, payload, timestamp: rfc3339(at), sequence: OpenSequence });
    let text = text.as_str().replace(PLACEHOLDER, &format!("\"sequence\":{OPEN}"));
    Text::from_string(text.replace(PREVIOUS_PLACEHOLDER, &format!("\"previous_sequence\":{OPEN_PREVIOUS}")))
}

/// A message between client and hub alone, which is not counted.
pub(super) fn control<T: Serialize>(kind: &str, payload: &T, at: Timestamp) -> Text {
    Text::json(&Envelope { kind, payload, timestamp: rfc3339(at), sequence: None::<u64> })
}

/// The text for one client.
pub(super) fn number(open: &Text, sequence: u64) -> Text {
    let text = open.as_str().replace(OPEN, &sequence.to_string());
    if !text.contains(OPEN_PREVIOUS) {
        return Text::from_string(text);
    }
    let previous = sequence.checked_sub(1).filter(|previous| *previous > 0);
    let previous = previous.map_or_else(|| "null".to_owned(), |previous| previous.to_string());
    Text::from_string(text.replace(OPEN_PREVIOUS, &previous))
}

/// An event's own number, kept apart from the placeholder.
pub(super) fn own_number(sequence: u64) -> u64 {
    sequence.min(u64::MAX - 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Payload {
        text: &'static str,
        sequence: u64,
    }

    #[test]
    fn every_client_gets_its_own_number_and_nothing_else_changes() {
        let payload = Payload { text: "\0 \"sequence\":18446744073709551615", sequence: own_number(u64::MAX) };
        let text = open("event", &payload, Timestamp(0));
        let numbered = number(&text, 7);
        let read: serde_json::Value = serde_json::from_str(numbered.as_str()).unwrap();
        assert_eq!(read["sequence"], 7);
        assert_eq!(read["payload"]["text"], payload.text);
        assert_eq!(read["payload"]["sequence"], u64::MAX - 2);
        assert_eq!(number(&text, 8).as_str(), numbered.as_str().replace(":7}", ":8}"));
    }

    #[derive(Serialize)]
    struct Change {
        sequence: OpenSequence,
        previous_sequence: OpenPrevious,
    }

    #[test]
    fn the_number_before_is_that_of_the_message_before() {
        let text =
            open("delta_update", &Change { sequence: OpenSequence, previous_sequence: OpenPrevious }, Timestamp(0));
        for (sequence, previous) in [(1, serde_json::Value::Null), (2, 1.into()), (100, 99.into())] {
            let read: serde_json::Value = serde_json::from_str(number(&text, sequence).as_str()).unwrap();
            assert_eq!((&read["payload"]["sequence"], &read["sequence"]), (&sequence.into(), &sequence.into()));
            assert_eq!(read["payload"]["previous_sequence"], previous);
        }
    }
}
