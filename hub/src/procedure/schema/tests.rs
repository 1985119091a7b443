//! The schema against what is read: the same keys, and the same verdict on documents and on all that one slip makes of them.

use boon::{Compiler, SchemaIndex, Schemas};
use serde::Deserialize;

use super::*;

struct Validator {
    schemas: Schemas,
    root: SchemaIndex,
}

impl Validator {
    fn new() -> Self {
        let mut compiler = Compiler::new();
        compiler.add_resource("procedure.json", schema()).unwrap();
        let mut schemas = Schemas::new();
        // Checks the schema against its own draft, too.
        let root = compiler.compile("procedure.json", &mut schemas).unwrap_or_else(|error| panic!("{error:#}"));
        Self { schemas, root }
    }

    fn check(&self, document: &Value) -> Result<(), String> {
        self.schemas.validate(document, self.root).map_err(|error| format!("{error:#}"))
    }
}

fn toml(text: &str) -> Value {
    toml::from_str(text).unwrap()
}

/// Documents that between them have every key that there is.
fn documents() -> Vec<Value> {
    vec![
        toml(include_str!("../../../procedures/demo-ramp.toml")),
        toml(
            r#"
name = "everything"
kind = "execution"
description = "x"
wait = "10m"
params.volts = { type = "float", unit = "V", min = 0.0, max = 12.0, default = 3.3, description = "x" }
params.mode = { type = "enum", values = ["fast", 2], default = "fast" }
roles.psu = { device = "psu-1", class = "psu", kind = "instrument", tags = ["a"], hold = "step" }
roles.phone = { min_sdk = 30 }
[[steps]]
id = "set"
use = "instrument.action"
on = "psu"
with = { action = "set_voltage", v = "{{ volts }}" }
timeout = "1m 30s"
retry = { times = 2, backoff = "500ms" }
continue_on_failure = true
expect = { voltage = { min = 3.2, max = 3.4 }, current = { max = 1 } }
phase = "solving"
when = "volts > 1"
needs = []
[[steps]]
id = "wait"
use = "delay"
with = { duration = "1s" }
needs = ["set"]
[[steps]]
id = "solve"
use = "process.run"
with = { program = "solver", args = ["-x"] }
[sweep]
label = "Response"
of = "frequencies"
mode = "zip"
[sweep.axes.f]
from = 1
to = 9
points = 3
scale = "log"
unit = "Hz"
[sweep.axes.g]
values = ["a", 2, 2.5]
[sweep.axes.h]
from = 0.0
to = 1.0
step = 0.5
[[finally]]
use = "instrument.safe_state"
on = "psu"
[[finally]]
id = "said"
use = "log"
with = { message = "done", level = "info" }
"#,
        ),
        toml(
            "name = \"listed\"\n[[steps]]\nid = \"a\"\nuse = \"log\"\nwith.message = \"x\"\n[[sweep.axes]]\nname = \"f\"\nvalues = [1]\n\
             [[sweep.axes]]\nname = \"g\"\nfrom = 0\nto = 9\nstep = 3\nunit = \"V\"",
        ),
        toml(
            r#"
name = "nightly"
kind = "suite"
suite = { parallel = 2, stop_after_failures = 3 }
[[tests]]
id = "boot"
name = "Boots"
procedure = "boot"
params = { volts = "{{ volts }}" }
runs = 3
passes = 2
repeat = "until-decided"
tags = ["smoke"]
score = "metrics.x"
critical = true
[[tests]]
id = "inline"
procedure = { name = "x", steps = [{ id = "a", use = "log", with = { message = "x" } }] }
"#,
        ),
        toml(
            r#"
name = "tune"
kind = "optimization"
procedure = "simulate"
[variables]
x = { type = "float", min = 0.0, max = 1.0, step = 0.1, unit = "V" }
n = { type = "int", min = 1, max = 100, scale = "log" }
m = { type = "choice", values = ["a", 1, true] }
[objectives]
f = { metric = "g", direction = "minimize", weight = 2.0 }
[constraints]
c = { metric = "d", min = 0.0, max = 1.0 }
d = { operator = ">=", value = 3 }
[strategy]
name = "nsga-2"
budget = 100
seed = 7
parallelism = 4
population = 20
"#,
        ),
        toml(
            "name = \"grid\"\nkind = \"optimization\"\nvariables.x = { type = \"float\", min = 0, max = 1 }\n\
             objectives.f.direction = \"maximize\"\nstrategy = { name = \"grid\", points = 5 }\n\
             [[steps]]\nid = \"a\"\nuse = \"log\"\nwith.message = \"{{ x }}\"",
        ),
        toml(
            "name = \"simplex\"\nkind = \"optimization\"\nvariables.x = { type = \"float\", min = 0, max = 1 }\n\
             objectives.f.direction = \"maximize\"\nstrategy = { name = \"nelder-mead\", budget = 9, tolerance = 0.1 }",
        ),
        json!({
            "kind": "workflow", "name": "drawn", "id": 7, "viewport": {"x": 1}, "params": {"volts": {"type": "float", "default": 1}},
            "nodes": [
                {"id": "a", "type": "instrument.read", "position": {"x": 1}, "data": {"on": "dmm-1", "label": "A", "reading": "value",
                    "timeout": "5s", "retry": {"times": 2}, "expect": {"v": {"min": 1}}, "when": "volts > 0"}},
                {"id": "b", "type": "instrument.read", "data": {"on": {"class": "dmm"}}},
            ],
            "edges": [{"id": "e", "source": "a", "target": "b", "animated": true}],
            "finally": [{"use": "log", "with": {"message": "x"}}],
        }),
    ]
}

#[test]
fn every_key_that_is_read_is_described() {
    let schema = schema();
    let mut bare = Vec::new();
    let definitions = schema["$defs"].as_object().unwrap();
    for (name, definition) in definitions {
        let properties = definition["properties"].as_object().unwrap();
        assert!(properties.len() > 1, "{name}: serde says no keys of it");
        bare.extend(
            properties.iter().filter(|(_, holds)| **holds == json!(true)).map(|(key, _)| format!("{name}.{key}")),
        );
    }
    assert!(bare.is_empty(), "say in procedure/schema.rs what these keys hold: {}", bare.join(", "));
    // And no reference leads nowhere, nor is anything described that nothing refers to.
    let text = schema.to_string();
    for name in definitions.keys() {
        assert!(text.contains(&format!("\"#/$defs/{name}\"")), "nothing refers to {name}");
    }
}

#[test]
fn modules_and_words_are_those_of_the_types() {
    let schema = schema();
    let modules: Vec<&str> = module::MODULES.iter().map(|module| module.id).collect();
    assert_eq!(schema["$defs"]["step"]["properties"]["use"]["enum"], json!(modules));
    let kinds: Vec<&str> = RunKind::ALL.iter().map(|kind| kind.as_str()).collect();
    assert_eq!(schema["$defs"]["procedure"]["properties"]["kind"]["enum"], json!(kinds));
    assert_eq!(schema["$defs"]["constraint"]["properties"]["operator"]["enum"], json!(["<=", ">="]));
}

#[test]
fn good_procedures_are_good_to_the_schema() {
    let validator = Validator::new();
    for document in documents() {
        if let Err(error) = Procedure::from_json(&document, "procedure") {
            panic!("{error}");
        }
        if let Err(error) = validator.check(&document) {
            panic!("{document:#}\n{error}");
        }
    }
    // What the hub answers for one is one again.
    for document in documents() {
        let procedure = Procedure::from_json(&document, "procedure").unwrap();
        let shown = serde_json::to_value(&procedure).unwrap();
        if let Err(error) = validator.check(&shown) {
            panic!("{shown:#}\n{error}");
        }
    }
}

/// A place in a document.
type Path = Vec<String>;

fn each_place(value: &Value, path: &mut Path, visit: &mut dyn FnMut(&Path, &Value)) {
    visit(path, value);
    let parts: Vec<(String, &Value)> = match value {
        Value::Object(fields) => fields.iter().map(|(key, value)| (key.clone(), value)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(index, value)| (index.to_string(), value)).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    };
    for (key, part) in parts {
        path.push(key);
        each_place(part, path, visit);
        path.pop();
    }
}

fn pointer(path: &Path) -> String {
    path.iter().map(|key| format!("/{key}")).collect()
}

/// Everything that one slip makes of a document: a key left out, a key too many, a value of another type.
fn slips(document: &Value) -> Vec<(String, Value)> {
    let mut places: Vec<(Path, Value)> = Vec::new();
    each_place(document, &mut Vec::new(), &mut |path, value| places.push((path.clone(), value.clone())));
    let mut slips = Vec::new();
    for (path, value) in places {
        let at = pointer(&path);
        let mut changed = |what: &str, change: &dyn Fn(&mut Value)| {
            let mut slip = document.clone();
            if let Some(place) = slip.pointer_mut(&at) {
                change(place);
                if slip != *document {
                    slips.push((format!("{at} {what}"), slip));
                }
            }
        };
        if let Value::Object(fields) = &value {
            changed("has a key too many", &|place| place["no_such_key"] = json!(1));
            for key in fields.keys() {
                changed(&format!("has no {key}"), &|place| {
                    place.as_object_mut().unwrap().remove(key);
                });
            }
        }
        for other in
            [json!(true), json!("no such word"), json!(-1), json!(1.5), json!(10_000_000), json!([]), json!({})]
        {
            changed(&format!("is {other}"), &|place| *place = other.clone());
        }
    }
    slips
}

/// What the schema cannot say: names that must exist, expressions, and limits of one key that another sets.
const BEYOND: &[&str] = &[
    "there is no role",
    "there is no step",
    "template",
    "is above max",
    "parameter ",
    "is not allowed",
    "is out of range",
    "is too long",
    "is not a duration",
    "have different lengths",
    "does not lead",
    "on a log scale",
    "belongs to a linear scale",
    "both ends",
    "makes ",
    "make ",
    "steps wait for each other",
    "values belong to",
    "an enum lists",
    "belongs to nsga-2",
    "belongs to grid",
    "belongs to nelder-mead",
    "belongs to a float or an int",
    "and the budget is",
    "and the grid has",
    "expected at most the population",
    "expected how many values of",
    "is missing beside",
    "is said by operator",
    "whole number of at most 2^53",
    "as in runs",
    "there is no node",
    "is missing, expected how many trials",
    "hold ",
    // Nodes are open to editors, so what a module takes is not said of them.
    ": node ",
];

#[test]
fn one_slip_is_the_same_to_both() {
    let validator = Validator::new();
    let (mut count, mut differing) = (0, Vec::new());
    for document in documents() {
        for (what, slip) in slips(&document) {
            count += 1;
            let what = format!("{}{what}", document["name"]);
            match (Procedure::from_json(&slip, "procedure"), validator.check(&slip)) {
                // Serde also reads a struct from the list of its values, which nobody writes.
                (Ok(_), Err(error)) if error.contains("want object, but got array") => {}
                (Ok(_), Err(error)) => differing.push(format!("{what}: good to read, but not to the schema: {error}")),
                (Err(error), Ok(())) => {
                    let told = error.to_string();
                    if !BEYOND.iter().any(|beyond| told.contains(beyond)) {
                        differing.push(format!("{what}: good to the schema, but not to read: {told}"));
                    }
                }
                (Ok(_), Ok(())) | (Err(_), Err(_)) => {}
            }
        }
    }
    assert!(differing.is_empty(), "{} of {count}:\n{}", differing.len(), differing.join("\n"));
    assert!(count > 1000, "{count}");
}

#[test]
fn types_say_their_keys() {
    #[derive(Deserialize)]
    #[expect(dead_code, reason = "asked for its keys alone")]
    struct Two {
        one: u8,
        #[serde(rename = "other")]
        two: u8,
    }
    assert_eq!(keys::of::<Two>(), ["one", "other"]);
    assert_eq!(keys::of::<Direction>(), ["minimize", "maximize"]);
    assert_eq!(keys::of::<u8>(), [""; 0]);
}
