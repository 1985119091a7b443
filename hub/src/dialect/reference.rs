//! Runs as clients name them in URLs, and how text from outside is quoted back. Knows no dialect.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use rigwire_shared::ids::RunId;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use uuid::Uuid;

use super::RunReference;

/// Longest part of a client's own text that an error repeats.
const QUOTE_MAX_CHARS: usize = 80;

/// What a URL holds where a run's id was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the id of a run: expected a UUID or a number")]
pub struct BadReference(pub String);

impl FromStr for RunReference {
    type Err = BadReference;

    fn from_str(text: &str) -> Result<Self, BadReference> {
        if text.bytes().all(|byte| byte.is_ascii_digit())
            && let Ok(number) = text.parse()
        {
            return Ok(Self::Number(number));
        }
        Uuid::try_parse(text).map(|id| Self::Id(RunId(id))).map_err(|_| BadReference(quote(text)))
    }
}

impl JsonSchema for RunReference {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "RunReference".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "description": "UUID or number of a run", "examples": ["1"]})
    }
}

impl fmt::Display for RunReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Number(number) => number.fmt(f),
        }
    }
}

/// The start of a text from outside, short enough for an error message.
pub(super) fn quote(text: &str) -> String {
    match text.char_indices().nth(QUOTE_MAX_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_named_by_uuid_or_number() {
        let id = RunId(Uuid::from_u128(0x550e_8400_e29b_41d4_a716_4466_5544_0000));
        for (text, expected) in [
            ("550e8400-e29b-41d4-a716-446655440000", Some(RunReference::Id(id))),
            ("42", Some(RunReference::Number(42))),
            ("", None),
            ("-1", None),
            ("+1", None),
            ("run-1", None),
            ("99999999999999999999999", None),
        ] {
            assert_eq!(text.parse().ok(), expected, "{text:?}");
        }
    }

    #[test]
    fn a_long_text_is_quoted_in_part() {
        assert_eq!(quote(&"é".repeat(80)), "é".repeat(80));
        assert_eq!(quote(&"é".repeat(81)), format!("{}…", "é".repeat(80)));
    }
}
