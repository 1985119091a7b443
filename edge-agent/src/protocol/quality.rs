//! When a number is not a measurement: overload sentinels, not-available words, NaN, and flags of another reading.

use rigwire_shared::quality::Quality;

#[derive(Debug, Clone, PartialEq)]
pub enum InvalidRule {
    /// IEEE 488.2 and SCPI: ±9.9E37 means overload and 9.91E37 means not a number.
    Scpi,
    /// A sentinel word, told at its own width and before scaling.
    Raw {
        bits: u64,
        width: usize,
        quality: Quality,
    },
    AbsoluteAtLeast {
        limit: f64,
        quality: Quality,
    },
    Nan {
        quality: Quality,
    },
    /// A flag that another reading reports about this one.
    Status {
        reading: String,
        field: String,
        quality: Quality,
    },
}

/// What the rules look at: the number as it was replied, before scaling.
#[derive(Debug, Clone, Copy, Default)]
pub struct Evidence {
    pub number: Option<f64>,
    pub raw: Option<(u64, usize)>,
}

/// The first rule that applies decides. A flag that is not known makes the value suspect, and NaN is never good.
pub fn judge(rules: &[InvalidRule], evidence: Evidence, flag: &dyn Fn(&str, &str) -> Option<bool>) -> Quality {
    let mut otherwise = Quality::Good;
    for rule in rules {
        match rule {
            InvalidRule::Scpi => match evidence.number.map(f64::abs) {
                Some(magnitude) if magnitude >= 9.905e37 => return Quality::NoData,
                Some(magnitude) if magnitude >= 9.895e37 => return Quality::Overrange,
                Some(_) | None => {}
            },
            InvalidRule::Raw { bits, width, quality } => {
                if evidence.raw == Some((*bits, *width)) {
                    return *quality;
                }
            }
            InvalidRule::AbsoluteAtLeast { limit, quality } => {
                if evidence.number.is_some_and(|number| number.abs() >= *limit) {
                    return *quality;
                }
            }
            InvalidRule::Nan { quality } => {
                if evidence.number.is_some_and(f64::is_nan) {
                    return *quality;
                }
            }
            InvalidRule::Status { reading, field, quality } => match flag(reading, field) {
                Some(true) => return *quality,
                Some(false) => {}
                None => otherwise = Quality::Suspect,
            },
        }
    }
    if evidence.number.is_some_and(|number| !number.is_finite()) { Quality::NoData } else { otherwise }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentinels_are_no_measurements() {
        let raw = InvalidRule::Raw { bits: 0x8000, width: 16, quality: Quality::NoData };
        let nan = InvalidRule::Nan { quality: Quality::Fault };
        let large = InvalidRule::AbsoluteAtLeast { limit: 1000.0, quality: Quality::Overrange };
        let number = |number| Evidence { number: Some(number), raw: None };
        for (rule, evidence, expected) in [
            (InvalidRule::Scpi, number(1.5), Quality::Good),
            (InvalidRule::Scpi, number(9.9e37), Quality::Overrange),
            (InvalidRule::Scpi, number(-9.9e37), Quality::Overrange),
            (InvalidRule::Scpi, number(9.91e37), Quality::NoData),
            (InvalidRule::Scpi, number(9.99999999e37), Quality::NoData),
            (InvalidRule::Scpi, number(f64::NAN), Quality::NoData),
            (raw.clone(), Evidence { number: Some(-32768.0), raw: Some((0x8000, 16)) }, Quality::NoData),
            (raw, Evidence { number: Some(32768.0), raw: Some((0x8000, 32)) }, Quality::Good),
            (nan, number(f64::NAN), Quality::Fault),
            (large.clone(), number(-1000.0), Quality::Overrange),
            (large, number(999.9), Quality::Good),
        ] {
            assert_eq!(judge(std::slice::from_ref(&rule), evidence, &|_, _| None), expected, "{rule:?} {evidence:?}");
        }
    }

    #[test]
    fn flags_of_another_reading_count() {
        let rule = InvalidRule::Status { reading: "status".into(), field: "break".into(), quality: Quality::Fault };
        for (flag, expected) in [(Some(true), Quality::Fault), (Some(false), Quality::Good), (None, Quality::Suspect)] {
            let evidence = Evidence { number: Some(1.0), raw: None };
            assert_eq!(judge(std::slice::from_ref(&rule), evidence, &|_, _| flag), expected);
        }
    }
}
