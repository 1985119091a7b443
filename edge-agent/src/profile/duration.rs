//! Durations as profiles write them: `500ms`, `1s`, `2m`, `1h`. Knows no clock.

use std::time::Duration;

/// Longest duration of a profile: nothing that is read or awaited is a day apart.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || format!("duration {text:?} is wrong, expected a number with ms, s, m or h such as \"500ms\"");
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).ok_or_else(wrong)?;
    let number: f64 = text[..end].parse().map_err(|_| wrong())?;
    let seconds = match text[end..].trim() {
        "ms" => number / 1000.0,
        "s" => number,
        "m" | "min" => number * 60.0,
        "h" => number * 3600.0,
        _ => return Err(wrong()),
    };
    let duration = Duration::try_from_secs_f64(seconds).map_err(|_| wrong())?;
    if duration > LONGEST {
        return Err(format!("duration {text:?} is longer than 24h"));
    }
    Ok(duration)
}

/// As `parse`, for what happens again and again and so cannot take no time.
pub(crate) fn parse_period(text: &str) -> Result<Duration, String> {
    let duration = parse(text)?;
    if duration < Duration::from_millis(1) {
        Err(format!("duration {text:?} is shorter than 1ms"))
    } else {
        Ok(duration)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_parse() {
        for (text, expected) in
            [("500ms", 500), ("1s", 1000), ("1.5s", 1500), ("2m", 120_000), ("0s", 0), ("24h", 86_400_000)]
        {
            assert_eq!(parse(text), Ok(Duration::from_millis(expected)), "{text:?}");
        }
        for text in ["", "5", "s", "-1s", "1 fortnight", "1.2.3s", "25h", "9e9s"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
        assert!(parse_period("0ms").is_err());
    }
}
