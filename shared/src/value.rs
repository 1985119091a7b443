//! A self-describing value: step parameters, outputs and readings. JSON when read by people, tagged when read by postcard.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::de::{DeserializeSeed, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Named values in the order they were written.
pub type Fields = Vec<(String, Value)>;

#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Value>),
    Map(Fields),
}

impl Value {
    pub fn get(&self, key: &str) -> Option<&Value> {
        match self {
            Self::Map(fields) => fields.iter().find(|(name, _)| name == key).map(|(_, value)| value),
            Self::Null | Self::Bool(_) | Self::Int(_) | Self::Float(_) | Self::Text(_) | Self::List(_) => None,
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a measured number keeps 52 bits")]
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Int(number) => Some(*number as f64),
            Self::Float(number) => Some(*number),
            Self::Null | Self::Bool(_) | Self::Text(_) | Self::List(_) | Self::Map(_) => None,
        }
    }

    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(*number),
            Self::Null | Self::Bool(_) | Self::Float(_) | Self::Text(_) | Self::List(_) | Self::Map(_) => None,
        }
    }

    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            Self::Null | Self::Int(_) | Self::Float(_) | Self::Text(_) | Self::List(_) | Self::Map(_) => None,
        }
    }

    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Null | Self::Bool(_) | Self::Int(_) | Self::Float(_) | Self::List(_) | Self::Map(_) => None,
        }
    }
}

/// For `#[serde(with = "...")]`: named values as a table where people read them, as pairs in postcard.
pub mod fields {
    use alloc::vec::Vec;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::{Fields, Value};

    pub fn serialize<S: Serializer>(fields: &Fields, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_map(fields.iter().map(|(name, value)| (name, value)))
        } else {
            fields.serialize(serializer)
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Fields, D::Error> {
        if !deserializer.is_human_readable() {
            return Vec::deserialize(deserializer);
        }
        match Value::deserialize(deserializer)? {
            Value::Map(fields) => Ok(fields),
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) | Value::List(_) => {
                Err(serde::de::Error::custom("expected a table of named values"))
            }
        }
    }
}

/// Deepest nesting that is read. Bytes from outside must not be able to exhaust the stack.
pub const DEPTH_MAX: u8 = 32;

/// How postcard sees a value. Variants are numbered by position: append only.
#[derive(Serialize)]
enum TaggedRef<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(&'a str),
    List(&'a [Value]),
    Map(&'a [(String, Value)]),
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !serializer.is_human_readable() {
            return match self {
                Self::Null => TaggedRef::Null,
                Self::Bool(value) => TaggedRef::Bool(*value),
                Self::Int(value) => TaggedRef::Int(*value),
                Self::Float(value) => TaggedRef::Float(*value),
                Self::Text(value) => TaggedRef::Text(value),
                Self::List(items) => TaggedRef::List(items),
                Self::Map(fields) => TaggedRef::Map(fields),
            }
            .serialize(serializer);
        }
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Int(value) => serializer.serialize_i64(*value),
            Self::Float(value) => serializer.serialize_f64(*value),
            Self::Text(value) => serializer.serialize_str(value),
            Self::List(items) => {
                let mut sequence = serializer.serialize_seq(Some(items.len()))?;
                for item in items {
                    sequence.serialize_element(item)?;
                }
                sequence.end()
            }
            Self::Map(fields) => {
                let mut map = serializer.serialize_map(Some(fields.len()))?;
                for (key, value) in fields {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        AnyValue { depth: 0 }.deserialize(deserializer)
    }
}

/// Reads a value, counting how deep it is nested.
#[derive(Clone, Copy)]
struct AnyValue {
    depth: u8,
}

impl AnyValue {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth == DEPTH_MAX {
            return Err(E::custom(format_args!("a value nested more than {DEPTH_MAX} levels deep")));
        }
        Ok(Self { depth: self.depth + 1 })
    }
}

impl<'de> DeserializeSeed<'de> for AnyValue {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        if deserializer.is_human_readable() {
            deserializer.deserialize_any(self)
        } else {
            const VARIANTS: &[&str] = &["Null", "Bool", "Int", "Float", "Text", "List", "Map"];
            deserializer.deserialize_enum("Value", VARIANTS, self)
        }
    }
}

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("null, a boolean, a number, a text, a list or a table")
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Int(value))
    }
    #[expect(clippy::cast_precision_loss, reason = "a number beyond i64 has no exact form here")]
    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(i64::try_from(value).map_or(Value::Float(value as f64), Value::Int))
    }
    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }
    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.into()))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        let deeper = self.deeper()?;
        let mut items = Vec::new();
        while let Some(item) = sequence.next_element_seed(deeper)? {
            items.push(item);
        }
        Ok(Value::List(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let deeper = self.deeper()?;
        let mut fields = Vec::new();
        while let Some(key) = map.next_key()? {
            fields.push((key, map.next_value_seed(deeper)?));
        }
        Ok(Value::Map(fields))
    }
    fn visit_enum<A: EnumAccess<'de>>(self, data: A) -> Result<Value, A::Error> {
        let (variant, content): (u32, A::Variant) = data.variant()?;
        Ok(match variant {
            0 => {
                content.unit_variant()?;
                Value::Null
            }
            1 => Value::Bool(content.newtype_variant()?),
            2 => Value::Int(content.newtype_variant()?),
            3 => Value::Float(content.newtype_variant()?),
            4 => Value::Text(content.newtype_variant()?),
            5 => Value::List(content.newtype_variant_seed(List(self.deeper()?))?),
            6 => Value::Map(content.newtype_variant_seed(Table(self.deeper()?))?),
            other => return Err(serde::de::Error::custom(format_args!("value of unknown kind {other}"))),
        })
    }
}

/// A list in postcard's form.
struct List(AnyValue);

impl<'de> DeserializeSeed<'de> for List {
    type Value = Vec<Value>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<Value>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for List {
    type Value = Vec<Value>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Vec<Value>, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = sequence.next_element_seed(self.0)? {
            items.push(item);
        }
        Ok(items)
    }
}

/// A table in postcard's form: a list of pairs.
struct Table(AnyValue);

impl<'de> DeserializeSeed<'de> for Table {
    type Value = Fields;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Fields, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Table {
    type Value = Fields;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of named values")
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Fields, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = sequence.next_element_seed(Pair(self.0))? {
            fields.push(field);
        }
        Ok(fields)
    }
}

struct Pair(AnyValue);

impl<'de> DeserializeSeed<'de> for Pair {
    type Value = (String, Value);
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(String, Value), D::Error> {
        deserializer.deserialize_tuple(2, self)
    }
}

impl<'de> Visitor<'de> for Pair {
    type Value = (String, Value);
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name and a value")
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<(String, Value), A::Error> {
        let short = || serde::de::Error::invalid_length(1, &"a name and a value");
        let key = sequence.next_element()?.ok_or_else(short)?;
        let value = sequence.next_element_seed(self.0)?.ok_or_else(short)?;
        Ok((key, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(depth: usize) -> Value {
        (0..depth).fold(Value::Int(1), |inner, _| Value::List(alloc::vec![inner]))
    }

    #[test]
    fn values_survive_both_forms() {
        let value = Value::Map(alloc::vec![
            ("volts".into(), Value::Float(3.3)),
            ("list".into(), Value::List(alloc::vec![Value::Null, Value::Bool(true), Value::Int(-4)])),
            ("name".into(), Value::Text("psu".into())),
        ]);
        let json = serde_json::to_string(&value).unwrap();
        assert_eq!(json, r#"{"volts":3.3,"list":[null,true,-4],"name":"psu"}"#);
        assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), value);
        let bytes = postcard::to_allocvec(&value).unwrap();
        assert_eq!(postcard::from_bytes::<Value>(&bytes).unwrap(), value);
    }

    #[test]
    fn nesting_is_bounded() {
        let bytes = |depth| postcard::to_allocvec(&nested(depth)).unwrap();
        assert!(postcard::from_bytes::<Value>(&bytes(usize::from(DEPTH_MAX))).is_ok());
        assert!(postcard::from_bytes::<Value>(&bytes(usize::from(DEPTH_MAX) + 1)).is_err());
        // Each level costs an attacker two bytes: a whole message of them is refused, not followed.
        assert!(postcard::from_bytes::<Value>(&[5, 1].repeat(100_000)).is_err());
    }
}
