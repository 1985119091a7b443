//! Numbers with units: `500mA` is 0.5 A, `1 kHz` is 1000 Hz. Knows no device.

/// How a unit relates to the first of its kind.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Scale {
    /// 10 to this power: exact, as it only moves the point.
    Ten(i32),
    /// Times the first, plus the second.
    Affine(f64, f64),
}

/// Units without prefixes: spelling, kind, scale.
const PLAIN: &[(&str, &str, Scale)] = &[
    ("%", "%", Scale::Ten(0)),
    ("dB", "dB", Scale::Ten(0)),
    ("rpm", "rpm", Scale::Ten(0)),
    ("degC", "degC", Scale::Ten(0)),
    ("°C", "degC", Scale::Ten(0)),
    ("C", "degC", Scale::Ten(0)),
    ("K", "degC", Scale::Affine(1.0, -273.15)),
    ("degF", "degC", Scale::Affine(5.0 / 9.0, -160.0 / 9.0)),
    ("°F", "degC", Scale::Affine(5.0 / 9.0, -160.0 / 9.0)),
    ("min", "s", Scale::Affine(60.0, 0.0)),
    ("h", "s", Scale::Affine(3600.0, 0.0)),
];

/// Units that take a prefix: spelling, kind, power of ten.
const PREFIXED: &[(&str, &str, i32)] = &[
    ("V", "V", 0),
    ("A", "A", 0),
    ("Ohm", "Ohm", 0),
    ("ohm", "Ohm", 0),
    ("Ω", "Ohm", 0),
    ("W", "W", 0),
    ("Hz", "Hz", 0),
    ("s", "s", 0),
    ("g", "g", 0),
    ("Pa", "Pa", 0),
    ("bar", "Pa", 5),
    ("F", "F", 0),
    ("H", "H", 0),
    ("L", "L", 0),
    ("l", "L", 0),
    ("m", "m", 0),
    ("N", "N", 0),
    ("J", "J", 0),
];

const PREFIXES: &[(&str, i32)] = &[
    ("p", -12),
    ("n", -9),
    ("u", -6),
    ("µ", -6),
    ("μ", -6),
    ("m", -3),
    ("c", -2),
    ("k", 3),
    ("M", 6),
    ("G", 9),
    ("T", 12),
];

fn meaning(unit: &str) -> Option<(&'static str, Scale)> {
    if let Some((_, kind, scale)) = PLAIN.iter().find(|(spelling, ..)| *spelling == unit) {
        return Some((kind, *scale));
    }
    if let Some((_, kind, power)) = PREFIXED.iter().find(|(spelling, ..)| *spelling == unit) {
        return Some((kind, Scale::Ten(*power)));
    }
    PREFIXES.iter().find_map(|(prefix, tens)| {
        let rest = unit.strip_prefix(prefix)?;
        let (_, kind, power) = PREFIXED.iter().find(|(spelling, ..)| *spelling == rest)?;
        Some((*kind, Scale::Ten(tens + power)))
    })
}

pub(super) fn is_unit(text: &str) -> bool {
    meaning(text).is_some()
}

pub(super) fn is_number(text: &str) -> bool {
    split(text).is_some_and(|(_, unit)| unit.is_empty())
}

/// The longest number at the start of a text, and what follows it.
pub(super) fn split(text: &str) -> Option<(&str, &str)> {
    let bytes = text.as_bytes();
    let digits = |from: usize| bytes[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut end = usize::from(matches!(bytes.first(), Some(b'+' | b'-')));
    let whole = digits(end);
    end += whole;
    let mut fraction = 0;
    if bytes.get(end) == Some(&b'.') {
        fraction = digits(end + 1);
        if whole + fraction > 0 {
            end += 1 + fraction;
        }
    }
    if whole + fraction == 0 {
        return None;
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        let exponent = digits((end + 1 + sign).min(bytes.len()));
        if exponent > 0 {
            end += 1 + sign + exponent;
        }
    }
    let (number, unit) = text.split_at(end);
    number.parse::<f64>().is_ok_and(f64::is_finite).then_some((number, unit))
}

/// A number in `unit` as a number in `wanted`; both may be empty.
pub(super) fn convert(number: &str, unit: &str, wanted: &str) -> Result<f64, String> {
    let plain = number.parse::<f64>().ok().filter(|number| number.is_finite());
    let plain = plain.ok_or_else(|| format!("{number} is not a number"))?;
    if unit.is_empty() || unit == wanted {
        return Ok(plain);
    }
    if wanted.is_empty() {
        return Err(format!("has no unit, found {unit}"));
    }
    let converted = match (meaning(unit), meaning(wanted)) {
        (Some((kind, scale)), Some((wanted_kind, wanted_scale))) if kind == wanted_kind => {
            match (scale, wanted_scale) {
                (Scale::Ten(power), Scale::Ten(wanted_power)) => move_point(number, power - wanted_power),
                (Scale::Ten(_) | Scale::Affine(..), Scale::Ten(_) | Scale::Affine(..)) => {
                    let (factor, offset) = parts(scale);
                    let (wanted_factor, wanted_offset) = parts(wanted_scale);
                    Some(rounded((plain * factor + offset - wanted_offset) / wanted_factor))
                }
            }
        }
        (Some(_) | None, Some(_) | None) => return Err(format!("is in {wanted}, found {unit}")),
    };
    converted.filter(|number| number.is_finite()).ok_or_else(|| format!("{number} {unit} is too large a number"))
}

fn parts(scale: Scale) -> (f64, f64) {
    match scale {
        Scale::Ten(power) => (10f64.powi(power), 0.0),
        Scale::Affine(factor, offset) => (factor, offset),
    }
}

/// Moves the point in the text, so that 3300 mV is 3.3 V and not a little more.
fn move_point(number: &str, by: i32) -> Option<f64> {
    let (digits, exponent) = match number.split_once(['e', 'E']) {
        Some((digits, exponent)) => (digits, exponent.parse::<i32>().ok()?),
        None => (number, 0),
    };
    format!("{digits}e{}", exponent.checked_add(by)?).parse().ok()
}

/// What is left of a conversion's rounding errors is cut off.
fn rounded(number: f64) -> f64 {
    format!("{number:.11e}").parse().unwrap_or(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_units_are_told_apart() {
        for (text, expected) in [
            ("3.3V", Some(("3.3", "V"))),
            ("-.5e-3A", Some(("-.5e-3", "A"))),
            ("1e3", Some(("1e3", ""))),
            ("5e", Some(("5", "e"))),
            ("5.", Some(("5.", ""))),
            (".", None),
            ("-", None),
            ("V", None),
            ("", None),
            ("1e999", None),
        ] {
            assert_eq!(split(text), expected, "{text:?}");
        }
    }

    #[test]
    fn units_are_converted() {
        for (number, unit, wanted, expected) in [
            ("3300", "mV", "V", Ok(3.3)),
            ("500", "mA", "A", Ok(0.5)),
            ("1", "kHz", "Hz", Ok(1000.0)),
            ("2.5", "µs", "ms", Ok(0.0025)),
            ("1", "bar", "kPa", Ok(100.0)),
            ("1.5", "min", "s", Ok(90.0)),
            ("300", "K", "degC", Ok(26.85)),
            ("212", "°F", "degC", Ok(100.0)),
            ("7", "", "V", Ok(7.0)),
            ("7", "counts", "counts", Ok(7.0)),
            ("7", "V", "", Err("has no unit, found V")),
            ("7", "A", "V", Err("is in V, found A")),
            ("7", "MV", "V", Ok(7e6)),
        ] {
            let expected = expected.map_err(str::to_owned);
            assert_eq!(convert(number, unit, wanted), expected, "{number} {unit} in {wanted}");
        }
    }
}
