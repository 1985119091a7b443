//! The `parse` tables of readings and read-backs.

use super::super::error::{Checker, Place};
use super::super::schema;
use super::regex;
use crate::protocol::parse::{BitField, BitSource, Parse, Scalar, StructField};
use crate::protocol::words::{NumberType, WordOrder};

const KINDS: &str = "float, int, hex, csv, regex, enum, bits, block or struct";

/// `words` are the type and order of the register, where the reply is one.
pub(super) fn parse(
    checker: &mut Checker<'_>,
    place: &Place,
    written: Option<&schema::Parse>,
    words: Option<(NumberType, WordOrder)>,
) -> Option<Parse> {
    let Some(written) = written else {
        let Some((number, order)) = words else {
            checker.complain(place, "missing, expected how the reply is read, such as parse = { kind = \"float\" }");
            return None;
        };
        return Some(Parse::Words { number, order });
    };
    if words.is_some() && written.kind != "bits" {
        checker.complain(
            &place.key("kind"),
            format_args!("{:?} is for text, expected bits or none for a register", written.kind),
        );
        return None;
    }
    unused_keys(checker, place, written);
    let strip = written.strip.clone().unwrap_or_default();
    Some(match written.kind.as_str() {
        "float" | "int" | "hex" | "text" => {
            Parse::Text { scalar: scalar(checker, place, &written.kind, written)?, strip }
        }
        "csv" => {
            let index = required(checker, place, "index", written.index)?;
            let separator = one_char(checker, &place.key("separator"), written.separator.as_deref().unwrap_or(","))?;
            let scalar = scalar(checker, &place.key("value"), written.value.as_deref().unwrap_or("float"), written)?;
            Parse::Csv { index, separator, scalar }
        }
        "regex" => {
            let text = required(checker, place, "re", written.re.as_ref())?;
            let pattern = regex(checker, &place.key("re"), text)?;
            if !pattern.capture_names().flatten().any(|name| name == "value") {
                checker.complain(&place.key("re"), "pattern without a group named value, expected (?P<value>...)");
                return None;
            }
            let scalar = scalar(checker, &place.key("value"), written.value.as_deref().unwrap_or("float"), written)?;
            Parse::Regex { pattern, scalar }
        }
        "enum" => {
            let map = required(checker, place, "map", written.map.as_ref())?;
            if map.is_empty() {
                checker.complain(&place.key("map"), "empty, expected at least one word");
            }
            Parse::Enum { words: map.clone().into_iter().collect(), strip }
        }
        "bits" => bits(checker, place, written, words)?,
        "block" => {
            let number = number_type(checker, place, written.number.as_deref())?;
            Parse::Block { number, little: little(checker, place, written), index: written.index }
        }
        "struct" => structure(checker, place, written)?,
        other => {
            checker.complain(&place.key("kind"), format_args!("{other:?} is unknown, expected {KINDS}"));
            return None;
        }
    })
}

fn unused_keys(checker: &mut Checker<'_>, place: &Place, written: &schema::Parse) {
    let kind = written.kind.as_str();
    for (key, given, kinds) in [
        ("index", written.index.is_some(), &["csv", "block"][..]),
        ("separator", written.separator.is_some(), &["csv"]),
        ("re", written.re.is_some(), &["regex"]),
        ("value", written.value.is_some(), &["csv", "regex"]),
        ("map", written.map.is_some(), &["enum"]),
        ("width", written.width.is_some(), &["bits"]),
        ("from", written.from.is_some(), &["bits"]),
        ("fields", written.fields.is_some(), &["bits", "struct"]),
        ("len", written.len.is_some(), &["struct"]),
        ("type", written.number.is_some(), &["block"]),
        ("order", written.order.is_some(), &["block", "struct"]),
        ("decimal", written.decimal.is_some(), &["float", "csv", "regex"]),
        ("strip", written.strip.is_some(), &["float", "int", "hex", "text", "enum"]),
    ] {
        if given && !kinds.contains(&kind) {
            checker.complain(&place.key(key), format_args!("not used by kind {kind:?}, only by {}", kinds.join(", ")));
        }
    }
}

fn scalar(checker: &mut Checker<'_>, place: &Place, name: &str, written: &schema::Parse) -> Option<Scalar> {
    Some(match name {
        "float" => Scalar::Float {
            decimal: one_char(checker, &place.key("decimal"), written.decimal.as_deref().unwrap_or("."))?,
        },
        "int" => Scalar::Int,
        "hex" => Scalar::Hex,
        "text" => Scalar::Word,
        other => {
            checker.complain(place, format_args!("{other:?} is unknown, expected float, int, hex or text"));
            return None;
        }
    })
}

fn bits(
    checker: &mut Checker<'_>,
    place: &Place,
    written: &schema::Parse,
    words: Option<(NumberType, WordOrder)>,
) -> Option<Parse> {
    let source = match written.from.as_deref() {
        None | Some("raw") => BitSource::Bytes,
        Some("int") => BitSource::Int,
        Some("hex") => BitSource::Hex,
        Some(other) => {
            checker.complain(&place.key("from"), format_args!("{other:?} is unknown, expected raw, int or hex"));
            return None;
        }
    };
    let width = required(checker, place, "width", written.width)?;
    if width == 0 || width > 64 || (source == BitSource::Bytes && width % 8 != 0) {
        checker
            .complain(&place.key("width"), format_args!("{width} is not usable, expected whole bytes up to 64 bits"));
        return None;
    }
    if let Some((number, _)) = words
        && (number.is_float() || number.size() * 8 != width)
    {
        checker.complain(
            &place.key("width"),
            format_args!("{width} differs from the register, expected {} bits of a whole number", number.size() * 8),
        );
    }
    let fields = required(checker, place, "fields", written.fields.as_ref())?;
    if fields.is_empty() {
        checker.complain(&place.key("fields"), "empty, expected at least one field");
    }
    let mut compiled = Vec::new();
    for (name, field) in fields {
        let place = place.key("fields").key(name);
        if field.offset.is_some() || field.number.is_some() || field.scale.is_some() {
            checker.complain(&place, "offset, type and scale belong to kind \"struct\", expected bit or bits");
        }
        let (low, high) = match (field.bit, field.bits) {
            (Some(bit), None) => (bit, bit),
            (None, Some([low, high])) => (low, high),
            _ => {
                checker.complain(&place, "expected bit = N or bits = [low, high]");
                continue;
            }
        };
        if low > high || high >= width {
            checker.complain(
                &place,
                format_args!("bits {low} to {high} are outside of the width, expected 0 to {}", width - 1),
            );
            continue;
        }
        let mut words = Vec::new();
        for (number, word) in field.map.iter().flatten() {
            match number.parse::<u64>() {
                Ok(number) if high - low >= 63 || number >> (high - low + 1) == 0 => words.push((number, word.clone())),
                Ok(_) | Err(_) => checker.complain(&place.key("map").key(number), "not a value of this field"),
            }
        }
        compiled.push(BitField { name: name.clone(), low, high, words });
    }
    Some(Parse::Bits { source, width, fields: compiled })
}

fn structure(checker: &mut Checker<'_>, place: &Place, written: &schema::Parse) -> Option<Parse> {
    let len = required(checker, place, "len", written.len)?;
    let little = little(checker, place, written);
    let fields = required(checker, place, "fields", written.fields.as_ref())?;
    if fields.is_empty() {
        checker.complain(&place.key("fields"), "empty, expected at least one field");
    }
    let mut compiled = Vec::new();
    for (name, field) in fields {
        let place = place.key("fields").key(name);
        if field.bit.is_some() || field.bits.is_some() || field.map.is_some() {
            checker.complain(&place, "bit, bits and map belong to kind \"bits\", expected offset and type");
        }
        let Some(number) = number_type(checker, &place, field.number.as_deref()) else { continue };
        let Some(offset) = required(checker, &place, "offset", field.offset) else { continue };
        if offset.saturating_add(number.size()) > len {
            checker.complain(
                &place.key("offset"),
                format_args!("{offset} puts the field beyond the {len} bytes of the reply"),
            );
            continue;
        }
        let scale = field.scale.unwrap_or(1.0);
        compiled.push(StructField { name: name.clone(), offset, number, little, scale });
    }
    Some(Parse::Struct { len, fields: compiled })
}

fn little(checker: &mut Checker<'_>, place: &Place, written: &schema::Parse) -> bool {
    match written.order.as_deref() {
        None | Some("big") => false,
        Some("little") => true,
        Some(other) => {
            checker.complain(&place.key("order"), format_args!("{other:?} is unknown, expected big or little"));
            false
        }
    }
}

fn number_type(checker: &mut Checker<'_>, place: &Place, name: Option<&str>) -> Option<NumberType> {
    let name = required(checker, place, "type", name)?;
    let number = NumberType::parse(name);
    if number.is_none() {
        checker.complain(&place.key("type"), format_args!("{name:?} is unknown, expected {}", NumberType::NAMES));
    }
    number
}

fn one_char(checker: &mut Checker<'_>, place: &Place, text: &str) -> Option<char> {
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (Some(c), None) if !c.is_ascii_alphanumeric() => Some(c),
        _ => {
            checker.complain(place, format_args!("{text:?} is not usable, expected one sign"));
            None
        }
    }
}

fn required<T>(checker: &mut Checker<'_>, place: &Place, key: &str, value: Option<T>) -> Option<T> {
    if value.is_none() {
        checker.complain(place, format_args!("{key} is missing"));
    }
    value
}
