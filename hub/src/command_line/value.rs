//! What was written as a value of the type that is expected, converted to its unit and checked against its limits.

use rigwire_shared::agent::ParameterCard;
use rigwire_shared::value::Value;

use super::Written;
use super::quantity;
use crate::procedure::{Parameter, ParameterKind};

/// Longest text that a device's action takes, in bytes.
const TEXT_MAX: usize = 64;

/// What a value is for.
struct Wanted<'a> {
    kind: Kind,
    unit: &'a str,
    choices: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Float,
    Int,
    Bool,
    Text,
    Choice,
}

/// A value for an action's parameter. A template in quotes is filled in and checked when the step runs.
pub(super) fn for_action(written: &Written, card: &ParameterCard) -> Result<Value, String> {
    if written.word.quoted && written.word.text.contains("{{") {
        return Ok(Value::Text(written.word.text.clone()));
    }
    let kind = match card.kind.as_str() {
        "float" => Kind::Float,
        "int" => Kind::Int,
        "bool" => Kind::Bool,
        "enum" => Kind::Choice,
        _ => Kind::Text,
    };
    let wanted = Wanted { kind, unit: card.unit.as_str(), choices: card.values.clone() };
    let value = accept(written, &wanted)?;
    let number = value.as_f64().filter(|_| matches!(kind, Kind::Float | Kind::Int));
    let outside = |number: f64| card.min.is_some_and(|min| number < min) || card.max.is_some_and(|max| number > max);
    if let Some(number) = number.filter(|number| outside(*number)) {
        let unit = spaced(wanted.unit);
        let allowed = match (card.min, card.max) {
            (Some(min), Some(max)) => format!("{min} to {max}{unit}"),
            (Some(min), None) => format!("{min}{unit} or more"),
            (None, Some(max)) => format!("{max}{unit} or less"),
            (None, None) => "any number".to_owned(),
        };
        return Err(format!("is {number}{unit}, allowed {allowed}"));
    }
    if let Value::Text(text) = &value
        && kind == Kind::Text
        && (text.is_empty() || text.len() > TEXT_MAX || !text.chars().all(|c| c.is_ascii_graphic() || c == ' '))
    {
        return Err(format!("is {text:?}, allowed a printable text of at most {TEXT_MAX} bytes"));
    }
    Ok(value)
}

/// A value for a procedure's parameter.
pub(super) fn for_parameter(written: &Written, parameter: &Parameter) -> Result<Value, String> {
    let kind = match parameter.kind {
        ParameterKind::Float => Kind::Float,
        ParameterKind::Int => Kind::Int,
        ParameterKind::Bool => Kind::Bool,
        ParameterKind::Text => Kind::Text,
        ParameterKind::Enum => Kind::Choice,
    };
    if kind == Kind::Choice {
        let text = whole(written);
        let chosen = parameter.values.iter().find(|value| shown(value) == text || same_number(value, &text));
        let choices: Vec<String> = parameter.values.iter().map(shown).collect();
        return chosen.cloned().ok_or_else(|| format!("is {text:?}, allowed {}", choices.join(", ")));
    }
    let wanted = Wanted { kind, unit: parameter.unit.as_deref().unwrap_or_default(), choices: Vec::new() };
    parameter.accept(&accept(written, &wanted)?)
}

fn accept(written: &Written, wanted: &Wanted<'_>) -> Result<Value, String> {
    let text = whole(written);
    match wanted.kind {
        Kind::Float | Kind::Int => {
            let unit = spaced(wanted.unit);
            let split = if written.word.quoted { None } else { quantity::split(&written.word.text) };
            let Some((number, attached)) = split else { return Err(format!("is {text:?}, expected a number{unit}")) };
            let given = written.unit.as_ref().map_or(attached, |unit| &unit.text);
            let converted = quantity::convert(number, given, wanted.unit)?;
            if wanted.kind == Kind::Float {
                return Ok(Value::Float(converted));
            }
            whole_number(converted).ok_or_else(|| format!("is {converted}{unit}, expected a whole number"))
        }
        Kind::Bool => match text.to_ascii_lowercase().as_str() {
            "true" | "on" | "yes" | "1" => Ok(Value::Bool(true)),
            "false" | "off" | "no" | "0" => Ok(Value::Bool(false)),
            _ => Err(format!("is {text:?}, allowed on or off")),
        },
        Kind::Text => Ok(Value::Text(text)),
        Kind::Choice => {
            let chosen = wanted.choices.iter().find(|choice| **choice == text || same_text_number(choice, &text));
            let chosen = chosen.ok_or_else(|| format!("is {text:?}, allowed {}", wanted.choices.join(", ")))?;
            Ok(Value::Text(chosen.clone()))
        }
    }
}

fn whole_number(number: f64) -> Option<Value> {
    #[expect(clippy::cast_possible_truncation, reason = "whole and below 2^53")]
    (number.fract() == 0.0 && number.abs() < 9e15).then_some(Value::Int(number as i64))
}

/// The value with its unit, as it was written.
fn whole(written: &Written) -> String {
    match &written.unit {
        Some(unit) => format!("{} {}", written.word.text, unit.text),
        None => written.word.text.clone(),
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::List(_) | Value::Map(_) => {
            serde_json::to_string(value).unwrap_or_default()
        }
    }
}

fn same_number(value: &Value, text: &str) -> bool {
    value.as_f64().is_some_and(|number| text.parse() == Ok(number))
}

fn same_text_number(one: &str, other: &str) -> bool {
    one.parse::<f64>().is_ok_and(|number| other.parse() == Ok(number))
}

fn spaced(unit: &str) -> String {
    if unit.is_empty() { String::new() } else { format!(" {unit}") }
}
