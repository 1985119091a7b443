//! Numbers that the hub's file may change: a table of keys, each with its default and its bounds. Knows no table.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde::de::{DeserializeSeed, Deserializer, Error, Unexpected, Visitor};
use serde::{Serialize, Serializer};

/// Declares a struct of numbers with its defaults, read from a table that may leave out any key, and written with all of them.
///
/// ```text
/// limits! {
///     /// What the table is about.
///     pub struct Limits {
///         /// What the number means.
///         pub connections: usize = 10, within 1..=1000;
///     }
/// }
/// ```
macro_rules! limits {
    (
        $(#[$about:meta])*
        $visibility:vis struct $name:ident {
            $($(#[$meaning:meta])* pub $key:ident: $kind:ty = $default:expr, within $bounds:expr;)+
        }
    ) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        $visibility struct $name {
            $($(#[$meaning])* pub $key: $kind),+
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($key: $default),+ }
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                #[derive(serde::Deserialize)]
                #[serde(field_identifier, rename_all = "kebab-case")]
                #[expect(non_camel_case_types, reason = "spelt as the fields are")]
                enum Key { $($key),+ }

                struct Table;

                impl<'de> serde::de::Visitor<'de> for Table {
                    type Value = $name;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("a table of limits")
                    }

                    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<$name, A::Error> {
                        let mut limits = $name::default();
                        while let Some(key) = map.next_key::<Key>()? {
                            match key {
                                $(Key::$key => {
                                    let within = $crate::limit::Within::new(stringify!($key), $bounds);
                                    limits.$key = map.next_value_seed(within)?;
                                })+
                            }
                        }
                        Ok(limits)
                    }
                }

                deserializer.deserialize_map(Table)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let keys = [$((stringify!($key), $crate::limit::Number::written(self.$key))),+];
                serializer.collect_map(keys.into_iter().map(|(key, number)| ($crate::limit::spelt(key), number)))
            }
        }
    };
}

pub(crate) use limits;

/// A kind of number: how it is written in the file.
pub trait Number: Copy + PartialOrd {
    /// With an example, for errors.
    fn expected(f: &mut fmt::Formatter<'_>, bounds: &RangeInclusive<Self>) -> fmt::Result;
    fn of_integer(integer: u64) -> Option<Self>;
    fn of_text(text: &str) -> Option<Self>;
    fn written(self) -> Written;
}

/// A number as the file has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    Whole(u64),
    Text(String),
}

impl Serialize for Written {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Whole(number) => serializer.serialize_u64(*number),
            Self::Text(text) => serializer.serialize_str(text),
        }
    }
}

/// A field's name as a key.
pub fn spelt(field: &str) -> String {
    field.replace('_', "-")
}

impl Number for usize {
    fn expected(f: &mut fmt::Formatter<'_>, bounds: &RangeInclusive<Self>) -> fmt::Result {
        write!(f, "a whole number from {} to {}", bounds.start(), bounds.end())
    }

    fn of_integer(integer: u64) -> Option<Self> {
        integer.try_into().ok()
    }

    fn of_text(_text: &str) -> Option<Self> {
        None
    }

    fn written(self) -> Written {
        Written::Whole(self as u64)
    }
}

impl Number for u32 {
    fn expected(f: &mut fmt::Formatter<'_>, bounds: &RangeInclusive<Self>) -> fmt::Result {
        write!(f, "a whole number from {} to {}", bounds.start(), bounds.end())
    }

    fn of_integer(integer: u64) -> Option<Self> {
        integer.try_into().ok()
    }

    fn of_text(_text: &str) -> Option<Self> {
        None
    }

    fn written(self) -> Written {
        Written::Whole(u64::from(self))
    }
}

impl Number for Duration {
    fn expected(f: &mut fmt::Formatter<'_>, bounds: &RangeInclusive<Self>) -> fmt::Result {
        let [from, to] = [bounds.start(), bounds.end()].map(|bound| humantime::format_duration(*bound));
        write!(f, "a duration from {from} to {to}, such as \"{to}\"")
    }

    fn of_integer(_integer: u64) -> Option<Self> {
        None
    }

    fn of_text(text: &str) -> Option<Self> {
        humantime::parse_duration(text).ok()
    }

    fn written(self) -> Written {
        Written::Text(humantime::format_duration(self).to_string())
    }
}

/// Reads one number, which has to lie within its bounds.
#[derive(Debug)]
pub struct Within<T> {
    field: &'static str,
    bounds: RangeInclusive<T>,
}

impl<T: Number> Within<T> {
    pub const fn new(field: &'static str, bounds: RangeInclusive<T>) -> Self {
        Self { field, bounds }
    }

    fn checked<E: Error>(&self, number: Option<T>, found: Unexpected<'_>) -> Result<T, E> {
        number.filter(|number| self.bounds.contains(number)).ok_or_else(|| E::invalid_value(found, self))
    }
}

impl<'de, T: Number> DeserializeSeed<'de> for Within<T> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<T: Number> Visitor<'_> for Within<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to be ", spelt(self.field))?;
        T::expected(f, &self.bounds)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        self.checked(number.try_into().ok().and_then(T::of_integer), Unexpected::Signed(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        self.checked(T::of_integer(number), Unexpected::Unsigned(number))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        self.checked(T::of_text(text), Unexpected::Str(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    limits! {
        /// A table.
        struct Limits {
            /// A number.
            pub cups: usize = 2, within 1..=3;
            /// A time.
            pub brewing_time: Duration = Duration::from_secs(90), within Duration::from_secs(1)..=Duration::from_secs(3600);
        }
    }

    fn read(text: &str) -> Result<Limits, String> {
        toml::from_str(text).map_err(|error: toml::de::Error| error.message().to_owned())
    }

    #[test]
    fn a_table_says_what_differs_from_the_defaults() {
        let seconds = Duration::from_secs;
        for (text, expected) in [
            ("", Ok((2, seconds(90)))),
            ("cups = 1", Ok((1, seconds(90)))),
            ("cups = 3\nbrewing-time = \"1h\"", Ok((3, seconds(3600)))),
            ("brewing-time = \"1s\"", Ok((2, seconds(1)))),
            ("cups = 0", Err("invalid value: integer `0`, expected cups to be a whole number from 1 to 3")),
            ("cups = 4", Err("invalid value: integer `4`, expected cups to be a whole number from 1 to 3")),
            ("cups = -1", Err("invalid value: integer `-1`, expected cups to be a whole number from 1 to 3")),
            ("cups = \"2\"", Err("invalid value: string \"2\", expected cups to be a whole number from 1 to 3")),
            ("cups = 1.5", Err("invalid type: floating point `1.5`, expected cups to be a whole number from 1 to 3")),
            (
                "brewing-time = 90",
                Err(
                    "invalid value: integer `90`, expected brewing-time to be a duration from 1s to 1h, such as \"1h\"",
                ),
            ),
            (
                "brewing-time = \"3601s\"",
                Err(
                    "invalid value: string \"3601s\", expected brewing-time to be a duration from 1s to 1h, such as \"1h\"",
                ),
            ),
            ("cup = 1", Err("unknown field `cup`, expected `cups` or `brewing-time`")),
            ("brewing_time = \"1h\"", Err("unknown field `brewing_time`, expected `cups` or `brewing-time`")),
        ] {
            let found = read(text).map(|limits| (limits.cups, limits.brewing_time));
            assert_eq!(found, expected.map_err(str::to_owned), "{text}");
        }
    }

    #[test]
    fn a_table_is_written_as_it_is_read() {
        let text = toml::to_string(&Limits::default()).unwrap();
        assert_eq!(text, "cups = 2\nbrewing-time = \"1m 30s\"\n");
        assert_eq!(read(&text), Ok(Limits::default()));
    }
}
