//! The descriptions of the interface against the table of routes and against themselves.

use std::collections::BTreeSet;
use std::path::Path;

use boon::{Compiler, Draft, Schemas};
use expect_test::expect_file;
use rigwire::describe::{openapi, roles};
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
