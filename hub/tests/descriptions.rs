//! The descriptions of the interface against the table of routes and against themselves.
#![expect(clippy::unwrap_used, reason = "a test says what it looks for and panics otherwise")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use boon::{Compiler, Draft, Schemas};
use expect_test::expect_file;
use rigwire::describe::talk::Side;
use rigwire::describe::{asyncapi, openapi, roles};
use rigwire::dialect::Dialect;
use rigwire::router::routes;
use rigwire::routes::Kind;
use serde_json::Value;

#[test]
fn the_page_of_roles_is_of_today() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/roles.md");
    expect_file![page].assert_eq(&roles::page(routes().entries()));
}

#[test]
fn every_request_is_described_and_each_once() {
    let routes = routes();
    let document = openapi::document(routes.entries());
    let mut described = BTreeSet::new();
    let mut names = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            assert!(names.insert(operation["operationId"].as_str().unwrap().to_owned()), "{operation}");
            described.insert((method.to_uppercase(), path.clone()));
            let responses = operation["responses"].as_object().unwrap();
            assert!(responses.keys().any(|status| status.starts_with('2')), "{method} {path} answers nothing");
        }
    }
    let table: BTreeSet<(String, String)> = routes
        .entries()
        .iter()
        .filter(|entry| matches!(entry.kind, Kind::Request(_)))
        .map(|entry| (entry.verb.as_str().to_owned(), entry.path.replace("{*", "{")))
        .collect();
    assert_eq!(described, table);
}

#[test]
fn every_schema_of_requests_is_one_and_its_examples_keep_to_it() {
    let document = openapi::document(routes().entries());
    let mut places = Vec::new();
    schemas(&document, "#", &mut places);
    assert!(places.len() > 100, "{}", places.len());
    let mut compiler = Compiler::new();
    compiler.set_default_draft(Draft::V2020_12);
    compiler.add_resource("https://hub/openapi.json", document.clone()).unwrap();
    let mut compiled = Schemas::new();
    for place in &places {
        let schema = compiler.compile(&format!("https://hub/openapi.json{place}"), &mut compiled);
        let schema = schema.unwrap_or_else(|error| panic!("{place}: {error}"));
        let pointer = place.trim_start_matches('#').rsplit_once('/').unwrap().0.to_owned();
        let examples = document.pointer(&format!("{pointer}/examples")).and_then(Value::as_object);
        for example in examples.into_iter().flat_map(serde_json::Map::values) {
            compiled.validate(&example["value"], schema).unwrap_or_else(|error| panic!("{place}: {example}: {error}"));
        }
    }
}

/// Places of all schemas that are not within another.
fn schemas(value: &Value, place: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, inner) in fields {
                let inner_place = format!("{place}/{}", name.replace('~', "~0").replace('/', "~1"));
                if name == "schema" {
                    found.push(inner_place);
                } else if name == "schemas" {
                    let names = inner.as_object().into_iter().flatten();
                    found.extend(names.map(|(name, _)| format!("{inner_place}/{name}")));
                } else if name != "examples" {
                    schemas(inner, &inner_place, found);
                }
            }
        }
        Value::Array(items) => {
            for (index, inner) in items.iter().enumerate() {
                schemas(inner, &format!("{place}/{index}"), found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Every message of the golden files and transcripts, by protocol: whether the hub says it, and the message.
fn spoken(dialect: Dialect) -> Vec<(bool, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(dialect.as_str());
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        if path.extension().is_some_and(|extension| extension == "json") {
            found.push((true, serde_json::from_str(&text).unwrap()));
            continue;
        }
        for line in text.lines() {
            let (is_hub, message) = match (line.strip_prefix("< "), line.strip_prefix("> ")) {
                (Some(message), _) => (true, message),
                (None, Some(message)) => (false, message),
                (None, None) => continue,
            };
            // A client may say anything, and what the hub says of it in a transcript may be cut short.
            found.extend(serde_json::from_str(message).ok().map(|message| (is_hub, message)));
        }
    }
    found
}

#[test]
fn messages_on_record_are_those_that_are_described_and_have_their_shape() {
    let document = asyncapi::document(routes().entries());
    let mut compiler = Compiler::new();
    compiler.set_default_draft(Draft::V7);
    compiler.add_resource("https://hub/asyncapi.json", document.clone()).unwrap();
    let mut compiled = Schemas::new();
    for dialect in Dialect::ALL {
        let talk = (dialect.room().talk)();
        let mut heard = BTreeMap::<(Side, &str), bool>::new();
        for one in &talk.messages {
            heard.insert((one.side, one.name), false);
        }
        for (is_hub, message) in spoken(dialect) {
            let side = if is_hub { Side::Hub } else { Side::Client };
            let kind = message["type"].as_str().unwrap_or_default();
            let Some((key, seen)) = heard.iter_mut().find(|((of, name), _)| *of == side && *name == kind) else {
                assert!(!is_hub, "{}: {kind} is not described: {message}", dialect.as_str());
                continue;
            };
            let place = format!(
                "https://hub/asyncapi.json#/components/messages/{}.{}.{}/payload",
                dialect.as_str(),
                key.0.as_str(),
                key.1
            );
            let schema = compiler.compile(&place, &mut compiled).unwrap_or_else(|error| panic!("{place}: {error:#}"));
            match compiled.validate(&message, schema) {
                Ok(()) => *seen = true,
                // Clients are allowed mistakes.
                Err(error) => assert!(!is_hub, "{message}: {error}"),
            }
        }
        let silent: Vec<_> = heard.iter().filter(|(_, seen)| !**seen).map(|(key, _)| key).collect();
        assert!(silent.is_empty(), "{}: described and never said: {silent:?}", dialect.as_str());
    }
}

#[test]
fn every_socket_is_a_channel_and_every_reference_leads_somewhere() {
    let routes = routes();
    let document = asyncapi::document(routes.entries());
    let addresses: BTreeSet<&str> =
        document["channels"].as_object().unwrap().values().filter_map(|channel| channel["address"].as_str()).collect();
    let table: BTreeSet<&str> =
        routes.entries().iter().filter(|entry| matches!(entry.kind, Kind::Socket(_))).map(|entry| entry.path).collect();
    assert_eq!(addresses, table);
    for document in [&document, &openapi::document(routes.entries())] {
        let mut references = Vec::new();
        gather(document, &mut references);
        assert!(!references.is_empty());
        for reference in references {
            assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
        }
    }
}

fn gather(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|inner| gather(inner, found));
        }
        Value::Array(items) => items.iter().for_each(|inner| gather(inner, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
