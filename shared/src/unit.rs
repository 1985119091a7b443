//! Units of measurement. The common ones are variants; any other is a short text kept as the profile spells it.

use core::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest spelling of a unit, in bytes.
pub const UNIT_MAX: usize = 16;

macro_rules! units {
    ($($variant:ident $text:literal),+ $(,)?) => {
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        pub enum Unit {
            $($variant,)+
            Other(heapless::String<UNIT_MAX>),
        }

        impl Unit {
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $text,)+
                    Self::Other(text) => text.as_str(),
                }
            }

            /// `None` when the text is longer than a unit may be.
            pub fn parse(text: &str) -> Option<Self> {
                Some(match text {
                    $($text => Self::$variant,)+
                    other => Self::Other(heapless::String::try_from(other).ok()?),
                })
            }
        }
    };
}

units! {
    None "", Volt "V", Ampere "A", Ohm "Ohm", Watt "W", Hertz "Hz", Second "s", Celsius "degC", Kelvin "K",
    Percent "%", Gram "g", Pascal "Pa", Bar "bar", Farad "F", Henry "H", Decibel "dB", Millilitre "mL",
    RevolutionsPerMinute "rpm",
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// On the wire a unit is its text, so a new variant never changes bytes.
impl Serialize for Unit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Unit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl serde::de::Visitor<'_> for Text {
            type Value = Unit;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a unit of at most {UNIT_MAX} bytes")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Unit, E> {
                Unit::parse(text)
                    .ok_or_else(|| E::custom(format_args!("unit {text:?} is longer than {UNIT_MAX} bytes")))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

macro_rules! quantity {
    ($($name:ident $unit:ident),+ $(,)?) => {
        $(
            #[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
            pub struct $name(pub f64);

            impl $name {
                pub const UNIT: Unit = Unit::$unit;
            }

            impl fmt::Display for $name {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    write!(f, "{} {}", self.0, Self::UNIT)
                }
            }
        )+
    };
}

quantity! { Celsius Celsius, Volts Volt, Amperes Ampere }
