//! Numbers along a range: evenly spaced, by steps, or by equal factors. Every number is computed from its index, so that nothing
//! drifts. Knows neither sweeps nor studies.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scale {
    #[default]
    Linear,
    /// Equal factors instead of equal differences.
    Log,
}

impl Scale {
    pub const fn is_linear(&self) -> bool {
        matches!(self, Self::Linear)
    }

    /// The number at a part of the range, 0 at `from` and 1 at `to`. Both ends are met exactly.
    pub fn at(self, from: f64, to: f64, part: f64) -> f64 {
        if part <= 0.0 {
            return from;
        }
        if part >= 1.0 {
            return to;
        }
        let number = match self {
            Self::Linear => from * (1.0 - part) + to * part,
            Self::Log => (from.ln() * (1.0 - part) + to.ln() * part).exp(),
        };
        number.clamp(from.min(to), from.max(to))
    }

    /// What part of the range a number is at.
    pub fn part(self, from: f64, to: f64, number: f64) -> f64 {
        let part = match self {
            // Halved, so that no difference is too large.
            Self::Linear => (number / 2.0 - from / 2.0) / (to / 2.0 - from / 2.0),
            Self::Log => (number / from).ln() / (to / from).ln(),
        };
        if part.is_finite() { part.clamp(0.0, 1.0) } else { 0.5 }
    }

    /// Number `index` of `points` that divide the range, both ends included.
    pub fn spaced(self, from: f64, to: f64, points: usize, index: usize) -> f64 {
        let last = points.saturating_sub(1);
        if index == 0 {
            return from;
        }
        if index >= last {
            return to;
        }
        let (index, last) = (whole(index), whole(last));
        let number = match self {
            Self::Linear => {
                // Multiplied first: the one division then rounds once, and 3 tenths are 0.3.
                let exact = (from * (last - index) + to * index) / last;
                if exact.is_finite() { tidy(exact, 14, 4.0 * f64::EPSILON) } else { self.at(from, to, index / last) }
            }
            Self::Log => {
                let tenths = from.abs().log10() * (1.0 - index / last) + to.abs().log10() * (index / last);
                tidy(10f64.powf(tenths), 11, 1e-12)
            }
        };
        number.clamp(from.min(to), from.max(to))
    }
}

/// How many numbers `from, from + step, …` there are up to `to`, `to` included. `None` when the step leads nowhere.
pub fn steps(from: f64, to: f64, step: f64) -> Option<u64> {
    let steps = (to - from) / step;
    if !steps.is_finite() || steps < 0.0 {
        return None;
    }
    // A step that was written as 0.1 is not a tenth; the end must not be missed for that.
    let steps = (steps * (1.0 + 4.0 * f64::EPSILON) + 1e-9).floor();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "casts of floats saturate")]
    let steps = steps as u64;
    Some(steps.saturating_add(1))
}

/// Number `index` of those that `steps` counted.
pub fn stepped(from: f64, to: f64, step: f64, index: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "no range has 2^53 steps")]
    let number = from + step * index as f64;
    tidy(number, 14, 4.0 * f64::EPSILON).clamp(from.min(to), from.max(to))
}

/// The number with few digits that is as good as this one, if there is one: 0.3 for 0.30000000000000004.
fn tidy(number: f64, decimals: usize, tolerance: f64) -> f64 {
    match format!("{number:.decimals$e}").parse::<f64>() {
        Ok(short) if (short - number).abs() <= tolerance * number.abs() => short,
        Ok(_) | Err(_) => number,
    }
}

#[expect(clippy::cast_precision_loss, reason = "no range is divided into 2^53 parts")]
pub(crate) const fn whole(number: usize) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_that_people_expect() {
        for (scale, from, to, points, expected) in [
            (Scale::Linear, 0.0, 1.0, 11, "[0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]"),
            (Scale::Linear, 1.0, 2.0, 6, "[1.0, 1.2, 1.4, 1.6, 1.8, 2.0]"),
            (Scale::Linear, 5.0, -5.0, 3, "[5.0, 0.0, -5.0]"),
            (Scale::Log, 0.01, 1000.0, 6, "[0.01, 0.1, 1.0, 10.0, 100.0, 1000.0]"),
            (Scale::Log, 1.0, 100.0, 5, "[1.0, 3.16227766017, 10.0, 31.6227766017, 100.0]"),
            (Scale::Linear, 7.0, 7.0, 1, "[7.0]"),
        ] {
            let numbers: Vec<f64> = (0..points).map(|index| scale.spaced(from, to, points, index)).collect();
            assert_eq!(format!("{numbers:?}"), expected);
        }
    }

    #[test]
    fn steps_meet_the_end_and_do_not_drift() {
        for (from, to, step, count, last) in [
            (0.0, 1.0, 0.1, Some(11), 1.0),
            (0.1, 0.7, 0.2, Some(4), 0.7),
            (0.0, 1.0, 0.3, Some(4), 0.9),
            (10.0, 0.0, -2.5, Some(5), 0.0),
            (0.0, 1e6, 0.1, Some(10_000_001), 1e6),
            (1e15, 1e15 + 10.0, 1.0, Some(11), 1e15 + 10.0),
            (0.0, 1.0, -0.1, None, 0.0),
            (0.0, 1.0, 0.0, None, 0.0),
        ] {
            assert_eq!(steps(from, to, step), count, "{from} {to} {step}");
            if let Some(count) = count {
                assert_eq!(stepped(from, to, step, count - 1).to_string(), last.to_string());
            }
        }
        assert_eq!(stepped(0.0, 1.0, 0.1, 3).to_string(), "0.3");
    }

    #[test]
    fn a_part_of_a_range_leads_back_to_its_number() {
        for (scale, from, to, number) in
            [(Scale::Linear, -3.0, 5.0, 1.25), (Scale::Log, 1e-3, 1e6, 42.0), (Scale::Linear, -1e308, 1e308, 3.0e307)]
        {
            let back = scale.at(from, to, scale.part(from, to, number));
            assert!((back - number).abs() <= 1e-9 * number.abs(), "{number} came back as {back}");
        }
        assert_eq!(Scale::Linear.part(2.0, 2.0, 2.0), 0.5);
    }
}
