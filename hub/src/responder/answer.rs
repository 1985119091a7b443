//! What a responder answers, read from its JSON. Knows no broker and no server.

use serde_json::Value;

use crate::model::chat::CONTENT_MAX;

/// Bytes of an answer in its JSON.
pub const ANSWER_MAX: usize = 64 * 1024;

const EXPECTED: &str = r#"expected {"content": "…"}, or {"error": "…"}"#;

/// An answer, or why it is none; and the question that it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub id: Option<u64>,
    pub content: Result<String, String>,
}

pub fn parse(bytes: &[u8]) -> Answer {
    if bytes.len() > ANSWER_MAX {
        return Answer { id: None, content: Err(too_long(bytes.len(), ANSWER_MAX)) };
    }
    let value: Value = match serde_json::from_slice(bytes) {
        Ok(value) => value,
        Err(error) => return Answer { id: None, content: Err(format!("its answer is not JSON: {error}; {EXPECTED}")) },
    };
    Answer { id: value.get("id").and_then(Value::as_u64), content: content(&value) }
}

fn content(value: &Value) -> Result<String, String> {
    let text = |key| match value.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(format!("{key} of its answer is no text; {EXPECTED}")),
    };
    if let Some(error) = text("error")? {
        return Err(format!("it says: {error}"));
    }
    match text("content")? {
        Some(content) if content.trim().is_empty() => Err(format!("content of its answer is empty; {EXPECTED}")),
        Some(content) if content.len() > CONTENT_MAX => Err(too_long(content.len(), CONTENT_MAX)),
        Some(content) => Ok(content),
        None => Err(format!("its answer has no content; {EXPECTED}")),
    }
}

pub fn too_long(length: usize, most: usize) -> String {
    format!("its answer has {length} bytes, expected at most {most}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_text_or_a_reason() {
        for (json, id, expected) in [
            (r#"{"id":7,"content":"yes"}"#, Some(7), Ok("yes")),
            (r#"{"content":"yes","model":"x"}"#, None, Ok("yes")),
            (r#"{"id":7,"error":"no model"}"#, Some(7), Err("it says: no model")),
            (r#"{"id":7}"#, Some(7), Err("its answer has no content; expected")),
            (r#"{"id":"7","content":""}"#, None, Err("content of its answer is empty; expected")),
            (r#"{"id":7,"content":["yes"]}"#, Some(7), Err("content of its answer is no text; expected")),
            ("[1]", None, Err("its answer has no content; expected")),
            ("yes", None, Err("its answer is not JSON: expected value at line 1 column 1; expected")),
            ("", None, Err("its answer is not JSON: EOF")),
        ] {
            let answer = parse(json.as_bytes());
            assert_eq!(answer.id, id, "{json}");
            match (&answer.content, expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{json}"),
                (Err(found), Err(expected)) => assert!(found.starts_with(expected), "{json}: {found}"),
                (found, _) => panic!("{json}: {found:?}"),
            }
        }
        let long = format!("{{\"content\":{:?}}}", "x".repeat(CONTENT_MAX + 1));
        assert_eq!(
            parse(long.as_bytes()).content,
            Err("its answer has 16385 bytes, expected at most 16384".to_owned())
        );
        let huge = " ".repeat(ANSWER_MAX + 1);
        assert_eq!(
            parse(huge.as_bytes()).content,
            Err("its answer has 65537 bytes, expected at most 65536".to_owned())
        );
    }
}
