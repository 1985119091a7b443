//! Numbers as instruments write them. Stricter than Rust: `inf`, `1.`, `0x` and empty texts are no numbers.

/// Reads `[+-]digits[.digits][(e|E)[+-]digits]`, also `.5`, and `nan` in any case. Never rounds garbage to a number.
pub fn float(text: &str, decimal: char) -> Option<f64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if unsigned.eq_ignore_ascii_case("nan") {
        return Some(f64::NAN);
    }
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => (&unsigned[..at], Some(&unsigned[at + 1..])),
        None => (unsigned, None),
    };
    let (whole, fraction) = match mantissa.split_once(decimal) {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let whole_is_fine = all_digits(whole) && (!whole.is_empty() || fraction.is_some());
    let fraction_is_fine = fraction.is_none_or(|digits| !digits.is_empty() && all_digits(digits));
    let exponent_is_fine = exponent.is_none_or(|text| {
        let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
        !digits.is_empty() && all_digits(digits)
    });
    if !(whole_is_fine && fraction_is_fine && exponent_is_fine) {
        return None;
    }
    let number: f64 = if decimal == '.' { text.parse().ok()? } else { text.replacen(decimal, ".", 1).parse().ok()? };
    number.is_finite().then_some(number)
}

pub fn int(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    (!digits.is_empty() && all_digits(digits)).then(|| text.parse().ok()).flatten()
}

/// Reads hexadecimal digits, also after `0x`, `#H` or `H`.
pub fn hex(text: &str) -> Option<u64> {
    let digits = ["0x", "0X", "#H", "#h", "H"].iter().find_map(|prefix| text.strip_prefix(prefix)).unwrap_or(text);
    let usable = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    usable.then(|| u64::from_str_radix(digits, 16).ok()).flatten()
}

fn all_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_strict() {
        for (text, expected) in [
            ("05.00", Some(5.0)),
            ("+1.23450000E+00", Some(1.2345)),
            ("-.5", Some(-0.5)),
            ("7", Some(7.0)),
            ("", None),
            (".", None),
            ("+", None),
            ("1.", None),
            ("1.2.3", None),
            ("1e", None),
            ("inf", None),
            ("1e999", None),
            ("+ ~~~~GN", None),
            ("--1", None),
            ("+-1", None),
            ("1_000", None),
            ("٣", None),
        ] {
            assert_eq!(float(text, '.'), expected, "{text:?}");
        }
        assert_eq!(float("21,5", ','), Some(21.5));
        assert_eq!(float("21.5", ','), None);
        assert!(float("NaN", '.').is_some_and(f64::is_nan));
    }

    #[test]
    fn whole_numbers_are_strict() {
        assert_eq!(int("-12"), Some(-12));
        assert_eq!(int("1.0"), None);
        assert_eq!(int("99999999999999999999"), None);
        assert_eq!(hex("0xAC"), Some(0xAC));
        assert_eq!(hex("#H1f"), Some(0x1f));
        assert_eq!(hex("+1"), None);
        assert_eq!(hex("0x"), None);
    }
}
