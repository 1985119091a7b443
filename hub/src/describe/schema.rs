//! Changes that schemas need before they are shown. Knows no type and no route.

use serde_json::{Map, Value};

/// Names that both have, with another meaning.
pub(super) fn differing(left: &Map<String, Value>, right: &Map<String, Value>) -> Vec<String> {
    let mut names: Vec<String> = left
        .iter()
        .filter(|(name, schema)| right.get(*name).is_some_and(|other| other != *schema))
        .map(|(name, _)| name.clone())
        .collect();
    // Whatever refers to one of them differs in what it refers to.
    loop {
        let more: Vec<String> = left
            .iter()
            .filter(|(name, schema)| right.contains_key(*name) && !names.contains(name) && refers(schema, &names))
            .map(|(name, _)| name.clone())
            .collect();
        if more.is_empty() {
            return names;
        }
        names.extend(more);
    }
}

fn referred(schema: &Value) -> Option<&str> {
    schema.get("$ref")?.as_str()?.rsplit('/').next()
}

fn refers(schema: &Value, names: &[String]) -> bool {
    let here = referred(schema).is_some_and(|name| names.iter().any(|known| known == name));
    here || match schema {
        Value::Object(fields) => fields.values().any(|inner| refers(inner, names)),
        Value::Array(items) => items.iter().any(|inner| refers(inner, names)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// Calls `change` with every object in a document, outermost first.
fn each(value: &mut Value, change: &mut dyn FnMut(&mut Map<String, Value>)) {
    match value {
        Value::Object(fields) => {
            change(fields);
            for inner in fields.values_mut() {
                each(inner, change);
            }
        }
        Value::Array(items) => {
            for inner in items {
                each(inner, change);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

pub(super) fn rename(value: &mut Value, renamed: &dyn Fn(&str) -> Option<String>) {
    each(value, &mut |fields| {
        let Some(Value::String(reference)) = fields.get_mut("$ref") else { return };
        if let Some((path, name)) = reference.rsplit_once('/')
            && let Some(name) = renamed(name)
        {
            *reference = format!("{path}/{name}");
        }
    });
}

/// Formats of Rust's whole numbers are no others' formats: what they mean is said as a range.
pub(super) fn plain_numbers(document: &mut Value) {
    each(document, &mut |fields| {
        let max = match fields.get("format").and_then(Value::as_str) {
            Some("uint8") => u64::from(u8::MAX),
            Some("uint16") => u64::from(u16::MAX),
            Some("uint32") => u64::from(u32::MAX),
            Some("uint" | "uint64") => u64::MAX,
            Some(_) | None => return,
        };
        fields.remove("format");
        fields.entry("maximum").or_insert_with(|| max.into());
    });
}

/// The schema of what is there, of something that may be absent.
pub(super) fn without_null(schema: &mut Value) {
    let Value::Object(fields) = schema else { return };
    if fields.get("default").is_some_and(Value::is_null) {
        fields.remove("default");
    }
    if let Some(Value::Array(types)) = fields.get_mut("type") {
        types.retain(|kind| kind != "null");
        if let [one] = &types[..] {
            let one = one.clone();
            fields.insert("type".to_owned(), one);
        }
    }
    if let Some(Value::Array(choices)) = fields.get_mut("enum") {
        choices.retain(|choice| !choice.is_null());
    }
    let Some(Value::Array(mut choices)) = fields.remove("anyOf") else { return };
    choices.retain(|choice| choice["type"] != "null");
    if let [Value::Object(only)] = &choices[..] {
        for (key, value) in only {
            fields.entry(key.clone()).or_insert_with(|| value.clone());
        }
    } else {
        fields.insert("anyOf".to_owned(), choices.into());
    }
}

/// Narrows the schema of a message to those with this `type`: of several variants the one that has it.
pub(super) fn of_type(schema: &mut Value, name: &str) {
    let Value::Object(fields) = schema else { return };
    let variant = fields.get("oneOf").and_then(Value::as_array).and_then(|variants| {
        let found = variants.iter().find(|variant| variant["properties"]["type"]["const"] == name);
        found.and_then(Value::as_object).cloned()
    });
    if let Some(variant) = variant {
        fields.remove("oneOf");
        for (key, value) in variant {
            match (fields.get_mut(&key), value) {
                (Some(Value::Object(known)), Value::Object(more)) => known.extend(more),
                (Some(Value::Array(known)), Value::Array(more)) => known.extend(more),
                (_, value) => {
                    fields.insert(key, value);
                }
            }
        }
    }
    if let Some(Value::Object(properties)) = fields.get_mut("properties") {
        properties.insert("type".to_owned(), serde_json::json!({"const": name}));
    }
}
