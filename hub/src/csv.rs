//! Cells and rows of tables as CSV (RFC 4180) that a spreadsheet opens without running what is in them.

use rigwire_shared::value::Value;

pub(crate) fn row(text: &mut String, cells: &[String]) {
    text.push_str(&cells.join(","));
    text.push_str("\r\n");
}

/// Numbers as exact as they are; whatever else in the form that JSON gives it.
pub(crate) fn value(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Float(value) if !value.is_finite() => String::new(),
        Value::Float(value) => serde_json::Number::from_f64(*value).map(|value| value.to_string()).unwrap_or_default(),
        Value::Text(text) => word(text),
        Value::List(_) | Value::Map(_) => word(&serde_json::to_string(value).unwrap_or_default()),
    }
}

/// A number that may be missing.
pub(crate) fn number(number: Option<f64>) -> String {
    number.map(|number| value(&Value::Float(number))).unwrap_or_default()
}

/// A text that no spreadsheet takes for a formula.
pub(crate) fn word(text: &str) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']) {
        return quoted(&format!("'{text}"));
    }
    quoted(text)
}

pub(crate) fn quoted(text: &str) -> String {
    if text.contains(['"', ',', '\r', '\n']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_and_no_formulas() {
        for (cell, expected) in [
            (Value::Float(-3.3), "-3.3"),
            (Value::Float(1e-9), "1e-9"),
            (Value::Float(f64::NAN), ""),
            (Value::Int(-4), "-4"),
            (Value::Null, ""),
            (Value::Text("plain".to_owned()), "plain"),
            (Value::Text("a,\"b\"\r\nc".to_owned()), "\"a,\"\"b\"\"\r\nc\""),
            (Value::Text("=HYPERLINK(\"x\")".to_owned()), "\"'=HYPERLINK(\"\"x\"\")\""),
            (Value::Text("-1+1".to_owned()), "'-1+1"),
            (Value::Text("\tx".to_owned()), "'\tx"),
            (Value::List(vec![Value::Int(1), Value::Int(2)]), "\"[1,2]\""),
        ] {
            assert_eq!(value(&cell), expected, "{cell:?}");
        }
    }
}
