//! How a number is written into a command or reply: `05.2f`, `+.8E`, `d`. Knows no instrument.

use rigwire_shared::value::Value;

/// Widest field and largest precision, so that a file cannot ask for a megabyte of zeros.
const FIELD_MAX: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Format {
    plus: bool,
    zeros: bool,
    width: usize,
    precision: Option<usize>,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Kind {
    /// A number as short as it can be written, a text as it is.
    #[default]
    Plain,
    Fixed,
    Scientific {
        upper: bool,
    },
    Integer,
    Hex {
        upper: bool,
    },
}

impl Format {
    /// Reads `[+][0][width][.precision][f|e|E|d|x|X]`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!("format {text:?} is unknown, expected the form [+][0][width][.precision] and f, e, E, d, x or X")
        };
        let mut rest = text;
        let mut format = Self::default();
        if let Some(after) = rest.strip_prefix('+') {
            (format.plus, rest) = (true, after);
        }
        if let Some(after) = rest.strip_prefix('0') {
            (format.zeros, rest) = (true, after);
        }
        (format.width, rest) = leading_number(rest).ok_or_else(wrong)?;
        if let Some(after) = rest.strip_prefix('.') {
            let (precision, after) = leading_number(after).ok_or_else(wrong)?;
            (format.precision, rest) = (Some(precision), after);
        }
        format.kind = match rest {
            "" => Kind::Plain,
            "f" => Kind::Fixed,
            "e" => Kind::Scientific { upper: false },
            "E" => Kind::Scientific { upper: true },
            "d" => Kind::Integer,
            "x" => Kind::Hex { upper: false },
            "X" => Kind::Hex { upper: true },
            _ => return Err(wrong()),
        };
        if format.width > FIELD_MAX || format.precision.unwrap_or(0) > FIELD_MAX {
            return Err(format!("format {text:?} asks for more than {FIELD_MAX} characters"));
        }
        Ok(format)
    }

    /// Whether only a number can be written with it.
    pub fn is_numeric(self) -> bool {
        self.kind != Kind::Plain
    }

    pub fn write(self, value: &Value) -> Result<String, String> {
        let number = match value {
            Value::Text(text) if !self.is_numeric() => return Ok(text.clone()),
            Value::Bool(on) => f64::from(*on),
            Value::Int(_) | Value::Float(_) => value.as_f64().unwrap_or(f64::NAN),
            Value::Text(_) | Value::Null | Value::List(_) | Value::Map(_) => {
                return Err(format!("{value:?} is not a number"));
            }
        };
        if !number.is_finite() {
            return Err(format!("{number} is not a finite number"));
        }
        let magnitude = number.abs();
        let digits = match self.kind {
            Kind::Plain => match self.precision {
                Some(precision) => format!("{magnitude:.precision$}"),
                None => format!("{magnitude}"),
            },
            Kind::Fixed => format!("{magnitude:.*}", self.precision.unwrap_or(6)),
            Kind::Scientific { upper } => scientific(magnitude, self.precision.unwrap_or(6), upper),
            Kind::Integer => format!("{magnitude:.0}"),
            Kind::Hex { upper } => {
                if magnitude.fract() != 0.0 || magnitude > 9e15 {
                    return Err(format!("{number} is not a whole number"));
                }
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "whole, positive and below 2^53"
                )]
                let whole = magnitude as u64;
                if upper { format!("{whole:X}") } else { format!("{whole:x}") }
            }
        };
        let sign = if number < 0.0 {
            "-"
        } else if self.plus {
            "+"
        } else {
            ""
        };
        let padding = self.width.saturating_sub(digits.len() + sign.len());
        Ok(if self.zeros {
            format!("{sign}{}{digits}", "0".repeat(padding))
        } else {
            format!("{}{sign}{digits}", " ".repeat(padding))
        })
    }
}

/// Instruments write an exponent with its sign and at least two digits.
fn scientific(magnitude: f64, precision: usize, upper: bool) -> String {
    let text = format!("{magnitude:.precision$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
    let letter = if upper { 'E' } else { 'e' };
    format!("{mantissa}{letter}{sign}{digits:0>2}")
}

fn leading_number(text: &str) -> Option<(usize, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    if end == 0 { Some((0, text)) } else { Some((text[..end].parse().ok()?, &text[end..])) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_instruments_expect() {
        for (format, value, expected) in [
            ("05.2f", Value::Float(3.3), "03.30"),
            ("05.2f", Value::Int(12), "12.00"),
            ("05.3f", Value::Float(0.5), "0.500"),
            ("d", Value::Bool(true), "1"),
            ("03d", Value::Int(-7), "-07"),
            ("+.8E", Value::Float(1.2345), "+1.23450000E+00"),
            ("+.8E", Value::Float(-9.9e37), "-9.90000000E+37"),
            ("e", Value::Float(0.00012), "1.200000e-04"),
            ("", Value::Float(0.02), "0.02"),
            ("", Value::Int(10), "10"),
            ("", Value::Float(10.0), "10"),
            ("", Value::Text("AUTO".into()), "AUTO"),
            ("04X", Value::Int(172), "00AC"),
            ("6", Value::Int(1), "     1"),
        ] {
            assert_eq!(Format::parse(format).unwrap().write(&value).as_deref(), Ok(expected), "{format:?} {value:?}");
        }
    }

    #[test]
    fn what_cannot_be_written_is_refused() {
        assert!(Format::parse("5q").is_err());
        assert!(Format::parse("999f").is_err());
        assert!(Format::parse("99999999999999999999999f").is_err());
        for value in [Value::Null, Value::Text("x".into()), Value::Float(f64::NAN)] {
            assert!(Format::parse("d").unwrap().write(&value).is_err(), "{value:?}");
        }
    }
}
