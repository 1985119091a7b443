//! Pinned bytes of values, qualities and units.

use rigwire_shared::quality::Quality;
use rigwire_shared::unit::Unit;
use rigwire_shared::value::Value;
use rigwire_shared::wire::{self, WireError};

use crate::{pin, pin_variants};

#[test]
fn values() {
    fn number(value: &Value) -> u8 {
        match value {
            Value::Null => 0,
            Value::Bool(_) => 1,
            Value::Int(_) => 2,
            Value::Float(_) => 3,
            Value::Text(_) => 4,
            Value::List(_) => 5,
            Value::Map(_) => 6,
        }
    }
    pin_variants(
        7,
        number,
        &[
            (Value::Null, "01 00"),
            (Value::Bool(true), "01 0101"),
            (Value::Int(-1), "01 0201"),
            (Value::Int(i64::MIN), "01 02ffffff ffffffff ffff01"),
            (Value::Float(3.3), "01 03666666 6666660a 40"),
            (Value::Text("\u{b0}C".into()), "01 0403c2b0 43"),
            (Value::List(vec![Value::Null, Value::Bool(false)]), "01 05020001 00"),
            (
                Value::Map(vec![("v".into(), Value::Int(1)), ("i".into(), Value::List(vec![]))]),
                "01 06020176 02020169 0500",
            ),
        ],
    );
}

#[test]
fn qualities() {
    fn number(quality: &Quality) -> u8 {
        match quality {
            Quality::Good => 0,
            Quality::Overrange => 1,
            Quality::Underrange => 2,
            Quality::NoData => 3,
            Quality::Fault => 4,
            Quality::Suspect => 5,
            Quality::Stale => 6,
        }
    }
    pin_variants(
        7,
        number,
        &[
            (Quality::Good, "01 00"),
            (Quality::Overrange, "01 01"),
            (Quality::Underrange, "01 02"),
            (Quality::NoData, "01 03"),
            (Quality::Fault, "01 04"),
            (Quality::Suspect, "01 05"),
            (Quality::Stale, "01 06"),
        ],
    );
}

#[test]
fn a_unit_travels_as_its_text() {
    for (unit, expected) in [
        (Unit::None, "01 00"),
        (Unit::Volt, "01 01 56"),
        (Unit::Ampere, "01 01 41"),
        (Unit::Ohm, "01 03 4f686d"),
        (Unit::Watt, "01 01 57"),
        (Unit::Hertz, "01 02 487a"),
        (Unit::Second, "01 01 73"),
        (Unit::Celsius, "01 04 64656743"),
        (Unit::Kelvin, "01 01 4b"),
        (Unit::Percent, "01 01 25"),
        (Unit::Gram, "01 01 67"),
        (Unit::Pascal, "01 02 5061"),
        (Unit::Bar, "01 03 626172"),
        (Unit::Farad, "01 01 46"),
        (Unit::Henry, "01 01 48"),
        (Unit::Decibel, "01 02 6442"),
        (Unit::Millilitre, "01 02 6d4c"),
        (Unit::RevolutionsPerMinute, "01 03 72706d"),
        (Unit::parse("furlong").unwrap(), "01 07 6675726c6f6e67"),
    ] {
        pin(&unit, expected);
    }
    let too_long = wire::encode(&"seventeen letters").unwrap();
    assert_eq!(wire::decode::<Unit>(&too_long), Err(WireError::Malformed));
}
