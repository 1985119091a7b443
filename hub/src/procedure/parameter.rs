//! Typed parameters of a procedure, and whether a given value is one.

use rigwire_shared::value::Value;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameter {
    #[serde(rename = "type")]
    pub kind: ParameterKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// What an `enum` may be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ParameterKind {
    Float,
    Int,
    Bool,
    Text,
    Enum,
}

impl Parameter {
    /// The value in the parameter's own type, or why it is not one.
    pub fn accept(&self, value: &Value) -> Result<Value, String> {
        let accepted = match self.kind {
            ParameterKind::Float => value.as_f64().filter(|number| number.is_finite()).map(Value::Float),
            ParameterKind::Int => value.as_i64().map(Value::Int),
            ParameterKind::Bool => value.as_bool().map(Value::Bool),
            ParameterKind::Text => value.as_str().map(|text| Value::Text(text.to_owned())),
            ParameterKind::Enum => self.values.iter().find(|allowed| same(allowed, value)).cloned(),
        };
        let accepted = accepted.ok_or_else(|| format!("{} is not allowed, {}", written(value), self.expectation()))?;
        if let Some(number) = accepted.as_f64() {
            let below = self.min.is_some_and(|min| number < min);
            let above = self.max.is_some_and(|max| number > max);
            if below || above {
                let unit = self.unit.as_deref().map(|unit| format!(" {unit}")).unwrap_or_default();
                return Err(format!("{}{unit} is out of range, {}", written(value), self.expectation()));
            }
        }
        Ok(accepted)
    }

    /// Such as `expected a number from 0 to 12 V`.
    pub fn expectation(&self) -> String {
        let unit = self.unit.as_deref().map(|unit| format!(" {unit}")).unwrap_or_default();
        let noun = match self.kind {
            ParameterKind::Float => "a number",
            ParameterKind::Int => "a whole number",
            ParameterKind::Bool => return "expected true or false".to_owned(),
            ParameterKind::Text => return "expected a text".to_owned(),
            ParameterKind::Enum => {
                let values: Vec<String> = self.values.iter().map(written).collect();
                return format!("expected one of {}", values.join(", "));
            }
        };
        match (self.min, self.max) {
            (Some(min), Some(max)) => format!("expected {noun} from {min} to {max}{unit}"),
            (Some(min), None) => format!("expected {noun} of at least {min}{unit}"),
            (None, Some(max)) => format!("expected {noun} of at most {max}{unit}"),
            (None, None) => format!("expected {noun}"),
        }
    }
}

fn same(allowed: &Value, value: &Value) -> bool {
    allowed == value || allowed.as_f64().is_some_and(|number| value.as_f64() == Some(number))
}

fn written(value: &Value) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "a value".to_owned())
}
