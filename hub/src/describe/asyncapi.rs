//! The sockets of the table of routes as an AsyncAPI 3.0 document: a channel for each path, the messages of its protocol in both
//! directions. Knows no protocol.

use schemars::SchemaGenerator;
use schemars::generate::{Contract, SchemaSettings};
use serde_json::{Map, Value, json};

use super::schema;
use super::talk::{Side, Spoken, Talk};
use crate::dialect::Dialect;
use crate::routes::{Entry, Kind};

const ABOUT: &str = "Sockets that the hub serves, in five published protocols. Any run can be watched through any of them. \
    Requests are in [openapi.json](openapi.json).";

/// What all sockets have in common.
const MANNERS: &str = "Messages are JSON texts on one line. A client that is not let in hears why in the protocol's own form and is closed \
    with 1008. Who may look may open a socket; messages that start, stop or change something need an operator. \
    A client's message may have 1 MiB: a longer one closes with 1009, one that is no text with 1003. \
    Progress and previews are replaced by newer ones, logs make room oldest first; a client too slow for what may not be dropped is \
    closed with 1013. The hub pings every 30 s and gives up after 60 s of silence. 1001 means that it stops. Numbers here are the usual ones: keys \
    below `[limits]` of the hub's file change them.";

pub fn document(entries: &[Entry]) -> Value {
    let mut messages = Map::new();
    let mut channels = Map::new();
    let mut operations = Map::new();
    for dialect in Dialect::ALL {
        let talk = (dialect.room().talk)();
        for spoken in &talk.messages {
            messages.insert(key(dialect, spoken), message(spoken));
        }
        for entry in entries {
            if !matches!(&entry.kind, Kind::Socket(of) if *of == dialect) {
                continue;
            }
            let name = channel_name(entry.path);
            for side in [Side::Hub, Side::Client] {
                let spoken: Vec<Value> = talk
                    .messages
                    .iter()
                    .filter(|spoken| spoken.side == side)
                    .map(|spoken| json!({"$ref": format!("#/channels/{name}/messages/{}", in_channel(spoken))}))
                    .collect();
                if spoken.is_empty() {
                    continue;
                }
                // As seen from the hub.
                let action = match side {
                    Side::Hub => "send",
                    Side::Client => "receive",
                };
                let operation = json!({
                    "action": action,
                    "channel": {"$ref": format!("#/channels/{name}")},
                    "messages": spoken,
                });
                operations.insert(format!("{action}_{name}"), operation);
            }
            channels.insert(name, channel(entry, dialect, &talk));
        }
    }
    let server = |protocol: &str, about: &str| {
        json!({
            "host": "{host}",
            "protocol": protocol,
            "description": about,
            "variables": {"host": {"default": "127.0.0.1:8000", "description": "Where the hub listens."}},
        })
    };
    let mut document = json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Rigwire", "version": env!("CARGO_PKG_VERSION"), "description": format!("{ABOUT}\n\n{MANNERS}"),
        },
        "defaultContentType": "application/json",
        "servers": {
            "ws": server("ws", "As the hub serves it."),
            "wss": server("wss", "Behind TLS."),
        },
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages},
    });
    schema::plain_numbers(&mut document);
    document
}

fn key(dialect: Dialect, spoken: &Spoken) -> String {
    format!("{}.{}", dialect.as_str(), in_channel(spoken))
}

fn in_channel(spoken: &Spoken) -> String {
    format!("{}.{}", spoken.side.as_str(), spoken.name)
}

fn channel_name(path: &str) -> String {
    let words = path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("_")
}

fn channel(entry: &Entry, dialect: Dialect, talk: &Talk) -> Value {
    let messages: Map<String, Value> = talk
        .messages
        .iter()
        .map(|spoken| {
            let reference = format!("#/components/messages/{}", key(dialect, spoken));
            (in_channel(spoken), json!({"$ref": reference}))
        })
        .collect();
    let names = entry.path.split('{').skip(1).filter_map(|part| part.split('}').next());
    let parameters: Map<String, Value> =
        names.map(|name| (name.to_owned(), json!({"description": "UUID or number of a run."}))).collect();
    let mut query =
        talk.query.map_or_else(|| json!({"type": "object"}), |query| schema_of(query, Contract::Deserialize));
    if let Some(properties) = query.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(schema::without_null);
    }
    query["properties"]["token"] = json!({"type": "string", "description": "Where the hub asks for tokens."});
    let mut channel = json!({
        "address": entry.path,
        "title": format!("{}: {}", dialect.as_str(), entry.path),
        "summary": talk.summary,
        "description": talk.manners,
        "tags": [{"name": dialect.as_str()}],
        "messages": messages,
        "bindings": {"ws": {"query": query, "bindingVersion": "0.1.0"}},
    });
    if !parameters.is_empty() {
        channel["parameters"] = parameters.into();
    }
    channel
}

fn message(spoken: &Spoken) -> Value {
    let contract = match spoken.side {
        Side::Hub => Contract::Serialize,
        Side::Client => Contract::Deserialize,
    };
    let mut payload = schema_of(spoken.schema, contract);
    schema::of_type(&mut payload, spoken.name);
    json!({"name": spoken.name, "title": spoken.name, "summary": spoken.summary, "payload": payload})
}

/// The protocol's documents know JSON Schema draft 7 only. Each message is whole in itself.
fn schema_of(schema: super::SchemaOf, contract: Contract) -> Value {
    let settings = SchemaSettings::draft07().with(|settings| {
        settings.inline_subschemas = true;
        settings.contract = contract;
        settings.meta_schema = None;
    });
    let mut generator: SchemaGenerator = settings.into_generator();
    let mut found = schema(&mut generator);
    for transform in generator.transforms_mut() {
        transform.transform(&mut found);
    }
    found.to_value()
}
