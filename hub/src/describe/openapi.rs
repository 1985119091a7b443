//! The requests of the table of routes as an OpenAPI 3.1 document. Sockets are not in it: they have a document of their own.

use std::collections::{BTreeMap, BTreeSet};

use schemars::generate::{Contract, SchemaSettings};
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::{Content, Object, Operation, schema};
use crate::error::Refusal;
use crate::routes::{Entry, Kind, Verb};

const ABOUT: &str = "Requests that the hub answers. Its sockets are in [asyncapi.json](asyncapi.json). \
    A hub that was started without tokens lets everyone in as an admin; with them each request but the open ones needs one, \
    and `x-role` says how much it must allow: a viewer looks, an operator also runs, reserves and changes, an admin also sees who \
    is connected. Errors are `{\"detail\": …, \"code\": …}`.";

pub fn document(entries: &[Entry]) -> Value {
    let mut maker = Maker::default();
    let mut paths = Map::new();
    let mut tags = BTreeSet::new();
    for entry in entries {
        let Kind::Request(operation) = &entry.kind else { continue };
        tags.insert(tag(entry));
        let path = entry.path.replace("{*", "{");
        let described = maker.operation(entry, operation, &path);
        let methods = paths.entry(path).or_insert_with(|| json!({}));
        methods[entry.verb.as_str().to_lowercase()] = described;
    }
    let tags: Vec<Value> = tags.into_iter().map(|tag| json!({"name": tag})).collect();
    let mut document = json!({
        "openapi": "3.1.0",
        "info": {"title": "Rigwire", "version": env!("CARGO_PKG_VERSION"), "description": ABOUT},
        "servers": [{"url": "/"}],
        "tags": tags,
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "A token of `rigwire token create`."},
                "token": {"type": "apiKey", "in": "query", "name": "token", "description": "The same token in the URL."},
            },
        },
    });
    document["components"]["schemas"] = maker.schemas(&mut document["paths"]);
    schema::plain_numbers(&mut document);
    document
}

/// The protocol that a route belongs to, or the noun that it is about.
pub(super) fn tag(entry: &Entry) -> &'static str {
    match (entry.room, entry.path.strip_prefix("/api/v1/")) {
        (Some(dialect), _) => dialect.as_str(),
        (None, Some(rest)) => rest.split('/').next().unwrap_or(rest),
        (None, None) => "hub",
    }
}

/// What is read and what is written differ: a field with a default may be left out of the one and is in the other.
struct Maker {
    taken: SchemaGenerator,
    given: SchemaGenerator,
}

impl Default for Maker {
    fn default() -> Self {
        let generator = |contract: Contract| {
            let settings = SchemaSettings::draft2020_12().with(|settings| {
                settings.definitions_path = "/components/schemas".into();
                settings.contract = contract.clone();
                settings.meta_schema = None;
            });
            settings.into_generator()
        };
        Self { taken: generator(Contract::Deserialize), given: generator(Contract::Serialize) }
    }
}

impl Maker {
    fn operation(&mut self, entry: &Entry, operation: &Operation, path: &str) -> Value {
        let mut parameters = self.path_parameters(operation, path);
        if let Some(query) = operation.query {
            let query = query(&mut self.taken).to_value();
            parameters.extend(query_parameters(&self.resolved(query)));
        }
        let mut described = json!({
            "operationId": operation_id(entry),
            "summary": operation.summary,
            "tags": [tag(entry)],
            "parameters": parameters,
            "responses": self.responses(entry, operation),
        });
        if !operation.detail.is_empty() {
            described["description"] = operation.detail.into();
        }
        if let Some(body) = &operation.body {
            let mut content = contents(&mut self.taken, &body.content);
            let example: Option<Value> = body.example.and_then(|text| serde_json::from_str(text).ok());
            if let (Some(example), Some(json)) = (example, content.get_mut("application/json")) {
                json["examples"] = json!({"one": {"value": example}});
            }
            described["requestBody"] = json!({"required": body.required, "content": content});
        }
        if let Some(role) = entry.role {
            described["x-role"] = role.as_str().into();
            described["security"] = json!([{"bearer": []}, {"token": []}]);
        }
        described
    }

    fn path_parameters(&mut self, operation: &Operation, path: &str) -> Vec<Value> {
        let names = path.split('{').skip(1).filter_map(|part| part.split('}').next());
        names
            .map(|name| {
                let known = operation.path.iter().find(|(known, _)| *known == name);
                let schema = match known {
                    Some((_, schema)) => schema(&mut self.taken).to_value(),
                    None => json!({"type": "string", "minLength": 1}),
                };
                json!({"name": name, "in": "path", "required": true, "schema": schema})
            })
            .collect()
    }

    /// The schema that a reference leads to.
    fn resolved(&mut self, schema: Value) -> Value {
        let name = schema["$ref"].as_str().and_then(|reference| reference.rsplit('/').next());
        match name.and_then(|name| self.taken.definitions_mut().remove(name)) {
            Some(found) => found,
            None => schema,
        }
    }

    fn responses(&mut self, entry: &Entry, operation: &Operation) -> Value {
        let mut responses = BTreeMap::new();
        for answer in &operation.answers {
            let mut described = json!({"description": answer.what});
            if !answer.content.is_empty() {
                described["content"] = contents(&mut self.given, &answer.content).into();
            }
            responses.insert(answer.status.to_string(), described);
        }
        let refused = Refusal::json_schema_of(&mut self.given);
        for status in refusals(entry, operation) {
            let content = json!({"application/json": {"schema": refused}});
            let refusal = json!({"description": refusal(status), "content": content});
            responses.entry(status.to_string()).or_insert(refusal);
        }
        json!(responses)
    }

    /// All that is referred to. Where a name stands for one thing when it is read and for another when it is written, the one that
    /// is read gets a name of its own.
    fn schemas(mut self, paths: &mut Value) -> Value {
        let mut given = self.given.take_definitions(true);
        let mut taken = self.taken.take_definitions(true);
        let other: Vec<String> = schema::differing(&taken, &given);
        let renamed = |name: &str| other.iter().any(|known| known == name).then(|| format!("{name}Request"));
        for definition in taken.values_mut() {
            schema::rename(definition, &renamed);
        }
        for path in paths.as_object_mut().into_iter().flat_map(Map::values_mut) {
            for operation in path.as_object_mut().into_iter().flat_map(Map::values_mut) {
                for part in ["parameters", "requestBody"] {
                    if let Some(part) = operation.get_mut(part) {
                        schema::rename(part, &renamed);
                    }
                }
            }
        }
        for (name, definition) in taken {
            given.insert(renamed(&name).unwrap_or(name), definition);
        }
        given.into()
    }
}

impl Refusal<'_> {
    fn json_schema_of(generator: &mut SchemaGenerator) -> Value {
        fn schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Value {
            generator.subschema_for::<T>().to_value()
        }
        schema::<Refusal<'static>>(generator)
    }
}

fn contents(generator: &mut SchemaGenerator, contents: &[Content]) -> Object {
    contents
        .iter()
        .map(|content| {
            let described = match content.schema {
                Some(schema) => json!({"schema": schema(generator)}),
                None => json!({}),
            };
            (content.media_type.to_owned(), described)
        })
        .collect()
}

/// A query has no null: what may be absent is left out.
fn query_parameters(schema: &Value) -> Vec<Value> {
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let properties = schema["properties"].as_object().into_iter().flatten();
    properties
        .map(|(name, property)| {
            let mut property = property.clone();
            schema::without_null(&mut property);
            let description = property.as_object_mut().and_then(|property| property.remove("description"));
            let required = required.contains(&name.as_str());
            let mut parameter = json!({"name": name, "in": "query", "required": required, "schema": property});
            if let Some(description) = description {
                parameter["description"] = description;
            }
            parameter
        })
        .collect()
}

fn operation_id(entry: &Entry) -> String {
    let words = entry.path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let mut id = vec![entry.verb.as_str().to_lowercase()];
    id.extend(words.map(str::to_lowercase));
    // The same path without its last slash is another route.
    if entry.path.len() > 1 && entry.path.ends_with('/') {
        id.push("slash".to_owned());
    }
    id.join("_")
}

/// What a route refuses with: its own reasons, and those of its form.
fn refusals(entry: &Entry, operation: &Operation) -> BTreeSet<u16> {
    let mut statuses: BTreeSet<u16> = operation.refusals.iter().copied().collect();
    statuses.insert(500);
    if entry.role.is_some() {
        statuses.extend([401, 403, 503]);
    }
    if operation.query.is_some() || operation.body.is_some() || entry.path.contains('{') {
        statuses.insert(400);
    }
    match entry.verb {
        Verb::Get => {}
        Verb::Post | Verb::Put | Verb::Delete => {
            statuses.insert(403);
        }
    }
    if operation.body.is_some() {
        statuses.insert(413);
    }
    statuses
}

const fn refusal(status: u16) -> &'static str {
    match status {
        400 => "The request cannot be read.",
        401 => "A token is needed, or this one is not good.",
        403 => "The token's role does not allow it, or the page that asks is from elsewhere.",
        404 => "There is no such thing.",
        409 => "It cannot be done as things stand.",
        410 => "There is nothing left.",
        413 => "It is too long.",
        416 => "There are no such bytes.",
        422 => "It can be read and is not right.",
        429 => "There are too many already.",
        500 => "The record or the disk failed.",
        503 => "The hub is stopping, or cannot tell at the moment.",
        _ => "It is refused.",
    }
}
