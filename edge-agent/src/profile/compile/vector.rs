//! The `[[vector]]` tables: replies from manuals and what they mean.

use rigwire_shared::quality::Quality;

use super::super::definition::{Query, Reading, Vector};
use super::super::error::{Checker, Place};
use super::Context;

pub(super) fn vectors(checker: &mut Checker<'_>, context: &Context<'_>, readings: &[Reading]) -> Vec<Vector> {
    let mut compiled = Vec::new();
    for (index, written) in context.document.vector.iter().enumerate() {
        let place = Place::default().key("vector").index(index);
        let Some(position) = readings.iter().position(|reading| reading.id == written.reading) else {
            if !context.document.reading.iter().any(|reading| reading.id == written.reading) {
                checker
                    .complain(&place.key("reading"), format_args!("{} is no reading of this profile", written.reading));
            }
            continue;
        };
        let reading = &readings[position];
        let received = match (&written.rx, &written.rx_hex) {
            (Some(text), None) => text.as_bytes().to_vec(),
            (None, Some(text)) => {
                let Some(bytes) = checker.take(&place.key("rx_hex"), hex(text)) else { continue };
                bytes
            }
            _ => {
                checker.complain(&place, "expected rx or rx_hex, one of them");
                continue;
            }
        };
        if matches!(reading.query, Query::Register(_)) && written.rx.is_some() {
            checker.complain(&place.key("rx"), "a text from a register, expected rx_hex without the CRC");
        }
        if written.expect.is_empty() {
            checker.complain(&place.key("expect"), "empty, expected value, quality, unit or fields");
        }
        let fields = reading.parse.fields();
        for (key, value) in &written.expect {
            let place = place.key("expect").key(key);
            match key.as_str() {
                "quality" => {
                    let known = |quality: &Quality| value.as_str() == Some(quality.as_str());
                    if !Quality::ALL.iter().any(known) {
                        checker.complain(
                            &place,
                            "no quality, expected good, overrange, underrange, no-data, fault, suspect or stale",
                        );
                    }
                }
                "value" if fields.is_empty() => {}
                "unit" if fields.is_empty() => {}
                field if fields.contains(&field) => {}
                _ if fields.is_empty() => checker.complain(&place, "unknown, expected value, quality or unit"),
                _ => checker.complain(
                    &place,
                    format_args!("no field of reading {}, expected {}", reading.id, fields.join(", ")),
                ),
            }
        }
        let line = checker.line(&place);
        let expect = written.expect.clone().into_iter().collect();
        compiled.push(Vector { reading: position, line, received, expect });
    }
    compiled
}

fn hex(text: &str) -> Result<Vec<u8>, String> {
    let digits: Vec<char> = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let byte = |pair: &[char]| match pair {
        [high, low] => Some(u8::try_from(high.to_digit(16)? * 16 + low.to_digit(16)?).ok()?),
        _ => None,
    };
    digits
        .chunks(2)
        .map(byte)
        .collect::<Option<_>>()
        .ok_or_else(|| format!("{text:?} is not hexadecimal, expected pairs such as \"01 03\""))
}
