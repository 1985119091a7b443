//! Where in a TOML text a key such as `steps[1].expect.voltage` stands.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

pub(super) fn line_at(text: &str, offset: usize) -> usize {
    text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count() + 1
}

/// The line of the deepest part of `path` that the text has.
pub(super) fn line_of(text: &str, path: &str) -> Option<usize> {
    let document = DeTable::parse(text).ok()?;
    let mut offset = None;
    let mut here = Place::Table(document.get_ref());
    for part in path.split('.') {
        let (name, indices) = split_indices(part);
        let Some((key, value)) = here.table().and_then(|table| table.get_key_value(name)) else { break };
        offset = Some(key.span().start);
        let mut value: &Spanned<DeValue<'_>> = value;
        for index in indices {
            let Some(item) = value.get_ref().as_array().and_then(|items| items.get(index)) else { break };
            value = item;
            offset = Some(item.span().start);
        }
        here = Place::Value(value);
    }
    offset.map(|offset| line_at(text, offset))
}

enum Place<'a, 'i> {
    Table(&'a DeTable<'i>),
    Value(&'a Spanned<DeValue<'i>>),
}

impl<'a, 'i> Place<'a, 'i> {
    fn table(&self) -> Option<&'a DeTable<'i>> {
        match self {
            Self::Table(table) => Some(table),
            Self::Value(value) => value.get_ref().as_table(),
        }
    }
}

/// `steps[1]` is `steps` and 1.
fn split_indices(part: &str) -> (&str, Vec<usize>) {
    let name = part.split('[').next().unwrap_or(part);
    let indices = part.split('[').skip(1).filter_map(|index| index.trim_end_matches(']').parse().ok()).collect();
    (name, indices)
}
