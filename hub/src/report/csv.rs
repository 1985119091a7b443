//! A report as CSV: one row per measured sample, for spreadsheets and scripts. RFC 4180.

use rigwire_shared::value::Value;

use super::{Report, words};

pub(super) fn render(report: &Report) -> String {
    let mut text = String::from("time,metric,value,unit,quality,device,step\r\n");
    for series in &report.series {
        for sample in &series.samples {
            let step = sample.step.and_then(|(index, _)| report.steps.get(index)).map(|step| step.id.as_str());
            let cells = [
                words::exact_time(sample.at),
                word(&series.metric),
                value(&sample.value),
                word(series.unit.as_str()),
                word(sample.quality.as_str()),
                word(series.device.as_deref().unwrap_or_default()),
                word(step.unwrap_or_default()),
            ];
            row(&mut text, &cells);
        }
    }
    if report.samples_left_out > 0 {
        // A table has no other place for it, and rows that are missing unsaid would be taken for rows that never were.
        let told = format!("{} more samples are in the record and left out here", report.samples_left_out);
        let mut cells: [String; 7] = Default::default();
        cells[0] = quoted(&told);
        row(&mut text, &cells);
    }
    text
}

fn row(text: &mut String, cells: &[String]) {
    text.push_str(&cells.join(","));
    text.push_str("\r\n");
}

/// Numbers as exact as they are; whatever else in the form that JSON gives it.
fn value(value: &Value) -> String {
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

/// A text that no spreadsheet takes for a formula.
fn word(text: &str) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']) {
        return quoted(&format!("'{text}"));
    }
    quoted(text)
}

fn quoted(text: &str) -> String {
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
