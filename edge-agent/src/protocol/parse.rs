//! One complete reply to values. What does not parse is an error, never a number. Knows no framing and no instrument.

use regex::Regex;
use rigwire_shared::value::Value;

use super::framing::start;
use super::number;
use super::words::{NumberType, Raw, WordOrder};

#[derive(Debug, Clone)]
pub enum Parse {
    Text {
        scalar: Scalar,
        strip: String,
    },
    Csv {
        index: usize,
        separator: char,
        scalar: Scalar,
    },
    /// Named groups: `value`, optionally `unit`, and any further ones as labels.
    Regex {
        pattern: Regex,
        scalar: Scalar,
    },
    Enum {
        words: Vec<(String, String)>,
        strip: String,
    },
    Bits {
        source: BitSource,
        width: usize,
        fields: Vec<BitField>,
    },
    /// IEEE 488.2 definite-length block of numbers.
    Block {
        number: NumberType,
        little: bool,
        index: Option<usize>,
    },
    Struct {
        len: usize,
        fields: Vec<StructField>,
    },
    /// Register words.
    Words {
        number: NumberType,
        order: WordOrder,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scalar {
    Float { decimal: char },
    Int,
    Hex,
    Word,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BitSource {
    Bytes,
    Int,
    Hex,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BitField {
    pub name: String,
    pub low: usize,
    pub high: usize,
    pub words: Vec<(u64, String)>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct StructField {
    pub name: String,
    pub offset: usize,
    pub number: NumberType,
    pub little: bool,
    pub scale: f64,
}

/// Largest number of elements that a block reply may carry as one value.
const BLOCK_ITEMS_MAX: usize = 1024;

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Parsed {
    pub items: Vec<Item>,
    pub unit: Option<String>,
    pub labels: Vec<(String, String)>,
}

/// One value; a field name where a reply holds several.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    pub field: Option<String>,
    pub value: Value,
    pub raw: Option<(u64, usize)>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("reply {found:?} is not {expected}")]
pub struct ParseError {
    found: String,
    expected: String,
}

impl Parse {
    pub fn apply(&self, reply: &[u8]) -> Result<Parsed, ParseError> {
        let error = |expected: String| ParseError { found: start(reply), expected };
        match self {
            Self::Text { scalar, strip } => {
                scalar.read(stripped(text(reply)?, strip)).map(Parsed::from).ok_or_else(|| error(scalar.expected()))
            }
            Self::Csv { index, separator, scalar } => text(reply)?
                .split(*separator)
                .nth(*index)
                .and_then(|part| scalar.read(part.trim()))
                .map(Parsed::from)
                .ok_or_else(|| error(format!("{} as item {index} between {separator:?}", scalar.expected()))),
            Self::Regex { pattern, scalar } => {
                let found = pattern.captures(text(reply)?).ok_or_else(|| error(format!("of the form {pattern}")))?;
                let item = found
                    .name("value")
                    .and_then(|value| scalar.read(value.as_str()))
                    .ok_or_else(|| error(format!("{} in group value", scalar.expected())))?;
                let labels = pattern
                    .capture_names()
                    .flatten()
                    .filter(|name| !matches!(*name, "value" | "unit"))
                    .filter_map(|name| Some((name.to_owned(), found.name(name)?.as_str().to_owned())))
                    .collect();
                let unit = found.name("unit").map(|unit| unit.as_str().to_owned());
                Ok(Parsed { items: vec![item], unit, labels })
            }
            Self::Enum { words, strip } => {
                let word = stripped(text(reply)?, strip);
                let known = words.iter().find(|(from, _)| from == word);
                known.map(|(_, to)| Parsed::from(Item::plain(Value::Text(to.clone())))).ok_or_else(|| {
                    let names: Vec<&str> = words.iter().map(|(from, _)| from.as_str()).collect();
                    error(format!("one of {}", names.join(", ")))
                })
            }
            Self::Bits { source, width, fields } => {
                let bits = source.read(reply, *width).ok_or_else(|| error(format!("{width} bits as {source:?}")))?;
                let items = fields.iter().map(|field| field.read(bits)).collect::<Result<_, _>>().map_err(error)?;
                Ok(Parsed { items, ..Parsed::default() })
            }
            Self::Block { number, little, index } => block(reply, *number, *little, *index).map_err(error),
            Self::Struct { len, fields } => {
                if reply.len() != *len {
                    return Err(error(format!("{len} bytes long")));
                }
                let items: Option<Vec<Item>> = fields.iter().map(|field| field.read(reply)).collect();
                let items = items.ok_or_else(|| error("long enough for its fields".to_owned()))?;
                Ok(Parsed { items, ..Parsed::default() })
            }
            Self::Words { number, order } => number
                .read(&order.to_big_endian(reply))
                .map(|raw| Parsed::from(Item::raw(raw)))
                .ok_or_else(|| error(format!("{} bytes of registers", number.size()))),
        }
    }

    /// Names of the fields it yields; empty for a single value.
    pub fn fields(&self) -> Vec<&str> {
        match self {
            Self::Bits { fields, .. } => fields.iter().map(|field| field.name.as_str()).collect(),
            Self::Struct { fields, .. } => fields.iter().map(|field| field.name.as_str()).collect(),
            Self::Text { .. }
            | Self::Csv { .. }
            | Self::Regex { .. }
            | Self::Enum { .. }
            | Self::Block { .. }
            | Self::Words { .. } => Vec::new(),
        }
    }
}

impl Scalar {
    fn read(self, text: &str) -> Option<Item> {
        Some(match self {
            Self::Float { decimal } => Item::plain(Value::Float(number::float(text, decimal)?)),
            Self::Int => {
                let number = number::int(text)?;
                #[expect(clippy::cast_sign_loss, reason = "the bits of a negative number are its two's complement")]
                let bits = number as u64;
                Item { field: None, value: Value::Int(number), raw: Some((bits, 64)) }
            }
            Self::Hex => {
                let bits = number::hex(text)?;
                let digits = text.bytes().rev().take_while(u8::is_ascii_hexdigit).count();
                #[expect(clippy::cast_precision_loss, reason = "a number beyond i64 has no exact form here")]
                let value = i64::try_from(bits).map_or(Value::Float(bits as f64), Value::Int);
                Item { field: None, value, raw: Some((bits, 4 * digits)) }
            }
            Self::Word => {
                let printable = !text.is_empty() && !text.chars().any(char::is_control);
                printable.then(|| Item::plain(Value::Text(text.to_owned())))?
            }
        })
    }

    fn expected(self) -> String {
        match self {
            Self::Float { decimal: '.' } => "a number".to_owned(),
            Self::Float { decimal } => format!("a number with decimal {decimal:?}"),
            Self::Int => "a whole number".to_owned(),
            Self::Hex => "a hexadecimal number".to_owned(),
            Self::Word => "a printable text".to_owned(),
        }
    }
}

impl BitSource {
    fn read(self, reply: &[u8], width: usize) -> Option<u64> {
        let bits = match self {
            Self::Bytes => {
                if reply.len() * 8 != width {
                    return None;
                }
                reply.iter().fold(0_u64, |bits, byte| (bits << 8) | u64::from(*byte))
            }
            Self::Int => u64::try_from(number::int(text(reply).ok()?)?).ok()?,
            Self::Hex => number::hex(text(reply).ok()?)?,
        };
        (width >= 64 || bits >> width == 0).then_some(bits)
    }
}

impl BitField {
    fn read(&self, bits: u64) -> Result<Item, String> {
        let count = self.high - self.low + 1;
        let mask = if count >= 64 { u64::MAX } else { (1 << count) - 1 };
        let found = (bits >> self.low) & mask;
        let value = if !self.words.is_empty() {
            let word = self.words.iter().find(|(number, _)| *number == found);
            Value::Text(word.ok_or_else(|| format!("known: field {} has no word for {found}", self.name))?.1.clone())
        } else if count == 1 {
            Value::Bool(found == 1)
        } else {
            Value::Int(i64::try_from(found).map_err(|_| format!("in range: field {} is {found}", self.name))?)
        };
        Ok(Item { field: Some(self.name.clone()), value, raw: Some((found, count)) })
    }
}

impl StructField {
    fn read(&self, reply: &[u8]) -> Option<Item> {
        let mut bytes = reply.get(self.offset..self.offset + self.number.size())?.to_vec();
        if self.little {
            bytes.reverse();
        }
        let raw = self.number.read(&bytes)?;
        let bits = Some((raw.bits, raw.width));
        #[expect(clippy::float_cmp, reason = "1 is the exact default that leaves a number as it is")]
        let value = if self.scale == 1.0 { raw.value } else { Value::Float(raw.value.as_f64()? * self.scale) };
        Some(Item { field: Some(self.name.clone()), value, raw: bits })
    }
}

fn block(reply: &[u8], number: NumberType, little: bool, index: Option<usize>) -> Result<Parsed, String> {
    let form = || "a definite-length block (#, digit count, length, bytes)".to_owned();
    let digits = match reply {
        [b'#', digits @ b'1'..=b'9', ..] => usize::from(digits - b'0'),
        _ => return Err(form()),
    };
    let length = reply.get(2..2 + digits).and_then(|text| std::str::from_utf8(text).ok()).and_then(number::int);
    let length = length.and_then(|length| usize::try_from(length).ok()).ok_or_else(form)?;
    let body = reply.get(2 + digits..).unwrap_or_default();
    let body = body.strip_suffix(b"\n").filter(|shorter| shorter.len() == length).unwrap_or(body);
    if body.len() != length || length % number.size() != 0 {
        return Err(format!("a block of {length} bytes of {}-byte numbers", number.size()));
    }
    if length / number.size() > BLOCK_ITEMS_MAX && index.is_none() {
        return Err(format!("a block of at most {BLOCK_ITEMS_MAX} numbers"));
    }
    let read = |chunk: &[u8]| {
        let mut bytes = chunk.to_vec();
        if little {
            bytes.reverse();
        }
        number.read(&bytes)
    };
    let mut chunks = body.chunks_exact(number.size());
    match index {
        Some(index) => {
            let raw = chunks.nth(index).and_then(read).ok_or_else(|| format!("a block with a number {index}"))?;
            Ok(Parsed::from(Item::raw(raw)))
        }
        None => {
            let numbers = chunks.filter_map(read).map(|raw| raw.value);
            let finite = |value: Value| match value.as_f64() {
                Some(number) if number.is_finite() => Value::Float(number),
                Some(_) | None => Value::Null,
            };
            Ok(Parsed::from(Item::plain(Value::List(numbers.map(finite).collect()))))
        }
    }
}

impl Item {
    fn plain(value: Value) -> Self {
        Self { field: None, value, raw: None }
    }

    fn raw(raw: Raw) -> Self {
        Self { field: None, value: raw.value, raw: Some((raw.bits, raw.width)) }
    }
}

impl From<Item> for Parsed {
    fn from(item: Item) -> Self {
        Self { items: vec![item], ..Self::default() }
    }
}

fn text(reply: &[u8]) -> Result<&str, ParseError> {
    let text =
        std::str::from_utf8(reply).map_err(|_| ParseError { found: start(reply), expected: "text".to_owned() })?;
    Ok(text.trim_matches([' ', '\t', '\r', '\n']))
}

fn stripped<'a>(text: &'a str, strip: &str) -> &'a str {
    if strip.is_empty() { text } else { text.trim_matches(|c| strip.contains(c)).trim() }
}

#[cfg(test)]
mod tests;
