//! A complete reply of a reading to measured values with unit and quality. Pure; also what vectors are checked with.

use rigwire_shared::ids::MetricName;
use rigwire_shared::quality::Quality;
use rigwire_shared::unit::Unit;
use rigwire_shared::value::Value;

use super::Profile;
use super::definition::{Query, Reading, ReceiveMode, UnitRule, Vector};
use crate::protocol::framing::Decoder;
use crate::protocol::parse::ParseError;
use crate::protocol::quality::{Evidence, judge};
use crate::protocol::words::modbus_read_reply;

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Measured {
    pub(crate) metric: MetricName,
    pub(crate) field: Option<String>,
    /// `Null` unless the quality is good or suspect.
    pub(crate) value: Value,
    pub(crate) unit: Unit,
    pub(crate) quality: Quality,
}

impl Reading {
    /// `flag` tells what another reading last said, where a rule asks for it.
    pub(crate) fn interpret(
        &self,
        reply: &[u8],
        flag: &dyn Fn(&str, &str) -> Option<bool>,
    ) -> Result<Vec<Measured>, ParseError> {
        let parsed = self.parse.apply(reply)?;
        let (unit, unit_is_known) = match &self.unit {
            UnitRule::Fixed(unit) => (unit.clone(), true),
            UnitRule::FromReply(map) => match parsed.unit.as_deref().map(|word| map.get(word)) {
                Some(Some(unit)) => (unit.clone(), true),
                Some(None) | None => (Unit::None, false),
            },
        };
        let measured = parsed.items.into_iter().zip(&self.metrics).map(|(item, metric)| {
            let number = item.value.as_f64();
            let judged = judge(&self.invalid, Evidence { number, raw: item.raw }, flag);
            // A number of an unknown quantity could be anything.
            let quality = if judged == Quality::Good && !unit_is_known { Quality::Suspect } else { judged };
            let scaled = number.map(|number| number * self.scale + self.offset);
            // Beyond what a number can hold there is none.
            let believed = matches!(quality, Quality::Good | Quality::Suspect);
            let overflowed = scaled.is_some_and(|scaled| !scaled.is_finite());
            let quality = if believed && overflowed { Quality::NoData } else { quality };
            let value = match (quality, scaled) {
                (Quality::Good | Quality::Suspect, Some(scaled)) => Value::Float(scaled),
                (Quality::Good | Quality::Suspect, None) => item.value,
                (Quality::Overrange | Quality::Underrange | Quality::NoData | Quality::Fault | Quality::Stale, _) => {
                    Value::Null
                }
            };
            Measured { metric: metric.clone(), field: item.field, value, unit: unit.clone(), quality }
        });
        Ok(measured.collect())
    }
}

impl Profile {
    /// Checks every vector; each message names the line of the vector.
    pub fn check_vectors(&self) -> Result<usize, Vec<String>> {
        let problems: Vec<String> = self
            .vectors
            .iter()
            .filter_map(|vector| {
                self.check_vector(vector).err().map(|error| {
                    format!("line {}: vector of {}: {error}", vector.line, self.readings[vector.reading].id)
                })
            })
            .collect();
        if problems.is_empty() { Ok(self.vectors.len()) } else { Err(problems) }
    }

    fn check_vector(&self, vector: &Vector) -> Result<(), String> {
        let reading = &self.readings[vector.reading];
        let reply = match &reading.query {
            Query::Register(register) => {
                let bytes = register.number.size();
                modbus_read_reply(&vector.received, self.transport.unit, register.function, bytes)?.to_vec()
            }
            Query::Text { receive, .. } => match &receive.mode {
                ReceiveMode::Stream(framing) => {
                    let mut decoder = Decoder::new(framing.clone(), b"");
                    decoder.push(&vector.received);
                    let frame = decoder.next_frame().or_else(|| decoder.gap_passed());
                    frame.ok_or("the reply has no end")?.map_err(|error| error.to_string())?
                }
                ReceiveMode::Header | ReceiveMode::Cobs => vector.received.clone(),
            },
        };
        let measured = reading.interpret(&reply, &|_, _| Some(false)).map_err(|error| error.to_string())?;
        for (key, expected) in &vector.expect {
            for found in &measured {
                let actual = match key.as_str() {
                    "quality" => Value::Text(found.quality.as_str().to_owned()),
                    "unit" => Value::Text(found.unit.as_str().to_owned()),
                    "value" if found.field.is_none() => found.value.clone(),
                    field if found.field.as_deref() == Some(field) => found.value.clone(),
                    _ => continue,
                };
                if !agrees(&actual, expected, 1e-6) {
                    return Err(format!("{key} is {}, expected {}", shown(&actual), shown(expected)));
                }
            }
        }
        Ok(())
    }
}

/// Whether two values mean the same: numbers within a tolerance relative to their size, words exactly, `true` as 1.
fn agrees(found: &Value, expected: &Value, relative: f64) -> bool {
    let tolerance = expected.as_f64().map_or(0.0, |number| number.abs() * relative);
    same(found, expected, tolerance)
}

/// Whether two values mean the same: numbers within `tolerance`, words exactly, `true` as 1.
pub(crate) fn same(found: &Value, expected: &Value, tolerance: f64) -> bool {
    let number = |value: &Value| value.as_f64().or(value.as_bool().map(f64::from));
    match (number(found), number(expected)) {
        // One part in 2^40 more, so that 3.305 within 0.005 of 3.3 is not refused for its last bit.
        (Some(found), Some(expected)) => (found - expected).abs() <= tolerance + expected.abs() * 1e-12,
        (Some(_), None) | (None, Some(_)) => false,
        (None, None) => found == expected && *found != Value::Null,
    }
}

/// A value for people.
pub(crate) fn shown(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::Bool(on) => on.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Text(text) => text.clone(),
        Value::List(_) | Value::Map(_) => format!("{value:?}"),
    }
}
