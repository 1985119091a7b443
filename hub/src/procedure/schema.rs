//! The JSON schema of procedures, for editors and for programs that write them. Keys, words and modules are read off the types;
//! what each key holds is written here. Says what a procedure looks like; what must exist or fit is the check's.

use std::borrow::Cow;

use rigwire_shared::agent::DeviceKind;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use super::{HoldFor, Limits, Parameter, ParameterKind, Procedure, Repeat, Retry, Role, Step, SuiteRules, Test, keys};
use crate::event::RunKind;
use crate::module::{self, Module, Where};
use crate::scale::Scale;
use crate::study::{Constraint, Direction, Objective, Operator, Strategy, StrategyName, Variable, VariableKind};
use crate::sweep::{Axis, Mode, Sweep};

/// A key and what it holds.
type Known = (&'static str, Value);

/// In descriptions of the interface a procedure is named and not written out: its own schema is longer than all others together.
impl JsonSchema for Procedure {
    fn schema_name() -> Cow<'static, str> {
        "Procedure".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "description": "A procedure, as /api/v1/procedures/schema.json says; or a workflow of nodes and edges.",
            "anyOf": [{"required": ["name"]}, {"required": ["nodes"]}],
            "properties": {"name": {"type": "string"}, "nodes": {"type": "array"}},
        })
    }
}

/// The schema of a procedure, draft 2020-12. A workflow of nodes and edges is one, too.
pub fn schema() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Rigwire procedure, version 1",
        "if": {"type": "object", "required": ["nodes"]},
        "then": reference("workflow"),
        "else": reference("procedure"),
        "$defs": {
            "procedure": procedure(),
            "workflow": workflow(),
            "parameter": parameter(),
            "role": role(),
            "step": step(true),
            "finally": step(false),
            "retry": object::<Retry>(&["times"], vec![
                ("times", within("Further attempts after the first.", 0, 100)),
                ("backoff", duration("How long to wait before each further attempt.")),
            ]),
            "limits": with_one_of(object::<Limits>(&[], vec![
                ("min", number("Least value that passes.")),
                ("max", number("Largest value that passes.")),
            ]), &["min", "max"]),
            "sweep": sweep(),
            "suite": object::<SuiteRules>(&[], vec![
                ("parallel", within("Tests under way at once. Left out: 1.", 1, 100)),
                ("stop_after_failures", within("After so many failed tests the rest is skipped.", 1, u64::from(u32::MAX))),
            ]),
            "test": test(),
            "axis": axis(true),
            "named_axis": axis(false),
            "variable": variable(),
            "objective": object::<Objective>(&["direction"], vec![
                ("metric", text("Metric that is sought. Left out: a metric of the objective's name.")),
                ("direction", words::<Direction>("Whether less or more of it is better.")),
                ("weight", json!({"type": "number", "exclusiveMinimum": 0, "description": "Makes one number of several objectives."})),
            ]),
            "constraint": with_one_of(object::<Constraint>(&[], vec![
                ("metric", text("Metric that is limited. Left out: a metric of the constraint's name.")),
                ("min", number("Least value that is allowed.")),
                ("max", number("Largest value that is allowed.")),
                ("operator", words::<Operator>("How the metric compares with the value.")),
                ("value", number("What the metric is compared with.")),
            ]), &["min", "max", "value"]),
            "strategy": strategy(),
        }
    })
}

fn procedure() -> Value {
    let mut procedure = object::<Procedure>(
        &["name"],
        vec![
            ("name", name()),
            ("kind", words::<RunKind>("What a run of it is to clients. Left out: protocol.")),
            ("description", text("For people.")),
            ("params", table("Parameters that a run binds, by name.", reference("parameter"))),
            ("roles", table("Devices that the steps act on, by role.", reference("role"))),
            ("wait", duration("How long a run may wait for its devices. Left out: until they are free.")),
            ("steps", list("What is done, in this order unless steps say what they need.", reference("step"))),
            ("sweep", reference("sweep")),
            ("suite", reference("suite")),
            ("tests", list("Tests of a suite.", reference("test"))),
            (
                "procedure",
                source(
                    "What each iteration of a study carries out. Left out: the steps, or whatever asks and tells from outside.",
                ),
            ),
            ("variables", table("What a study may choose, by name of the parameter.", reference("variable"))),
            ("objectives", table("What a study seeks, by name.", reference("objective"))),
            ("constraints", table("What a study's trials must keep to, by name.", reference("constraint"))),
            ("strategy", reference("strategy")),
            ("finally", list("Run whatever happened, in this order.", reference("finally"))),
        ],
    );
    let is = |kind: &str| json!({"required": ["kind"], "properties": {"kind": {"const": kind}}});
    let (no_items, no_keys) = (json!({"maxItems": 0}), json!({"maxProperties": 0}));
    let no_steps = json!({"properties": {"steps": no_items, "finally": no_items, "sweep": false}});
    procedure["allOf"] = json!([
        {
            "if": is("suite"),
            "then": {"required": ["tests"], "properties": {"tests": {"minItems": 1}}, "allOf": [no_steps]},
            "else": {"properties": {"tests": no_items, "suite": false}},
        },
        {
            "if": is("optimization"),
            "then": {
                "required": ["variables", "objectives", "strategy"],
                "properties": {"variables": {"minProperties": 1}, "objectives": {"minProperties": 1}},
                "if": {"required": ["procedure"]},
                "then": no_steps,
            },
            "else": {"properties": {
                "procedure": false, "variables": no_keys, "objectives": no_keys, "constraints": no_keys, "strategy": false,
            }},
        },
        {
            "if": {"anyOf": [is("suite"), is("optimization")]},
            "else": {"required": ["steps"], "properties": {"steps": {"minItems": 1}}},
        },
    ]);
    procedure
}

/// A procedure within another.
fn source(description: &str) -> Value {
    json!({"description": description, "if": {"type": "string"}, "else": reference("procedure")})
}

fn test() -> Value {
    object::<Test>(
        &["id", "procedure"],
        vec![
            ("id", length(text("Unique within the suite."))),
            ("name", text("For people. Left out: the id.")),
            ("procedure", source("What an attempt carries out: the name of a procedure, or one written out.")),
            (
                "params",
                json!({"type": "object", "description": "Parameters of the procedure. Texts may hold templates over the suite's own."}),
            ),
            ("runs", within("Attempts. Left out: 1.", 1, 1000)),
            (
                "passes",
                within(
                    "Attempts that must pass. Left out: all, or one where repeating ends with the first that passes.",
                    1,
                    1000,
                ),
            ),
            ("repeat", words::<Repeat>("When repeating ends. Left out: all.")),
            (
                "tags",
                json!({"type": "array", "items": {"type": "string"}, "description": "A run may ask for tests with some tags only."}),
            ),
            (
                "score",
                text("An expression over metrics, steps, duration_s and passed. Left out: 1 for passed, 0 for failed."),
            ),
            (
                "critical",
                json!({"type": "boolean", "description": "Whether the rest of the suite is skipped when it fails."}),
            ),
        ],
    )
}

/// Editors add keys of their own to nodes and edges, so those are open.
fn workflow() -> Value {
    let step = step(true);
    let mut data: Map<String, Value> = ["timeout", "retry", "expect", "when", "phase", "continue_on_failure"]
        .into_iter()
        .map(|key| (key.to_owned(), step["properties"][key].clone()))
        .collect();
    data.insert("on".to_owned(), json!({"anyOf": [text("A role, or the id of a device."), reference("role")]}));
    let modules: Vec<&str> = module::MODULES.iter().map(|module| module.id).collect();
    let mut properties = Map::new();
    let procedure = procedure();
    for key in ["description", "params", "roles", "wait", "finally"] {
        properties.insert(key.to_owned(), procedure["properties"][key].clone());
    }
    for key in ["id", "metadata", "viewport", "version"] {
        properties.insert(key.to_owned(), json!({"description": "The editor's own."}));
    }
    properties.insert("name".to_owned(), name());
    properties.insert("kind".to_owned(), json!({"const": "workflow"}));
    properties.insert("nodes".to_owned(), list("What is done.", json!({
        "type": "object",
        "required": ["id", "type"],
        "properties": {
            "id": step_id("Id of the step."),
            "type": {"enum": modules, "description": "Module id."},
            "data": {"type": ["object", "null"], "properties": data, "description": "What the module takes, and the step's own keys."},
        },
    })));
    properties.insert(
        "edges".to_owned(),
        json!({
            "type": "array",
            "description": "What must have succeeded before what.",
            "items": {
                "type": "object",
                "required": ["source", "target"],
                "properties": {"source": text("Id of a node."), "target": text("Id of a node.")},
            },
        }),
    );
    json!({"type": "object", "required": ["nodes"], "properties": properties, "additionalProperties": false})
}

fn parameter() -> Value {
    object::<Parameter>(
        &["type"],
        vec![
            ("type", words::<ParameterKind>("What its values are.")),
            ("unit", text("Shown with the value.")),
            ("min", number("Least value that is allowed.")),
            ("max", number("Largest value that is allowed.")),
            ("values", json!({"type": "array", "description": "What an enum may be."})),
            ("default", json!({"description": "Value where a run gives none. Left out: a run must give one."})),
            ("description", text("For people.")),
        ],
    )
}

fn role() -> Value {
    let role = object::<Role>(
        &[],
        vec![
            ("device", named("Id of the device.", "^[A-Za-z0-9_.:-]{1,64}$")),
            ("class", text("Class of the device, such as psu or dmm.")),
            ("kind", words::<DeviceKind>("Kind of the device.")),
            (
                "tags",
                json!({"type": "array", "items": {"type": "string"}, "description": "Tags that the device has, all of them."}),
            ),
            ("min_sdk", within("Android SDK level, or a later one.", 0, u64::from(u32::MAX))),
            ("hold", words::<HoldFor>("For how long a run keeps the device to itself. Left out: run.")),
        ],
    );
    with_one_of(role, &["device", "class", "kind", "tags", "min_sdk"])
}

/// One of `steps`, or of `finally`, where an id may be left out and needs are not allowed.
fn step(ordered: bool) -> Value {
    let modules: Vec<&str> = module::MODULES.iter().map(|module| module.id).collect();
    let required: &[&str] = if ordered { &["id", "use"] } else { &["use"] };
    let mut step = object::<Step>(
        required,
        vec![
            ("id", step_id("Unique within the procedure.")),
            ("use", json!({"enum": modules, "description": "Module id."})),
            ("on", text("Role that the step acts on.")),
            (
                "with",
                json!({"type": "object", "description": "What the module takes. Texts may hold templates: {{ volts }}."}),
            ),
            ("timeout", duration("How long an attempt may take. Left out: 1 minute.")),
            ("retry", reference("retry")),
            (
                "continue_on_failure",
                json!({"type": "boolean", "description": "Whether the rest goes on when the step fails."}),
            ),
            ("expect", table("Limits of measured values, by metric.", reference("limits"))),
            ("phase", text("preparing, meshing, solving, postprocessing or a word of your own.")),
            ("when", text("An expression; the step is skipped where it is false.")),
            (
                "needs",
                json!({"type": "array", "items": step_id("Id of a step."), "description": "Steps that must have succeeded. Left out: the step before."}),
            ),
        ],
    );
    if !ordered && let Some(properties) = step["properties"].as_object_mut() {
        properties.remove("needs");
    }
    step["allOf"] = module::MODULES.iter().map(of_module).collect();
    step
}

/// What a step that uses the module must look like.
fn of_module(module: &Module) -> Value {
    let mut with = json!({"required": module.required()});
    if let Some(optional) = module.optional() {
        let known: Map<String, Value> =
            module.required().iter().chain(optional).map(|key| ((*key).to_owned(), json!(true))).collect();
        with["properties"] = Value::Object(known);
        with["additionalProperties"] = json!(false);
    }
    let mut then = json!({"properties": {"with": with}});
    let mut required: Vec<&str> = Vec::new();
    if !module.required().is_empty() {
        required.push("with");
    }
    match module.runs {
        // A program that names no role runs on any host that offers it, which must then be said in plain words.
        Where::Device if module.id == "process.run" => {
            let plain = json!({"type": "string", "not": {"pattern": "\\{\\{"}});
            then["anyOf"] = json!([
                {"required": ["on"]},
                {"properties": {"with": {"properties": {"program": plain}}}},
            ]);
        }
        Where::Device => required.push("on"),
        Where::Hub => then["properties"]["on"] = json!(false),
    }
    then["required"] = json!(required);
    json!({"if": {"properties": {"use": {"const": module.id}}}, "then": then})
}

fn sweep() -> Value {
    object::<Sweep>(
        &["axes"],
        vec![
            ("label", length(text("What the sweep is called. Left out: the procedure's name."))),
            ("of", length(text("What its points are called, such as frequencies. Left out: points."))),
            ("mode", words::<Mode>("Every value with every other, or the first ones, the second ones and so on.")),
            (
                "axes",
                json!({
                    "description": "What varies: a list of axes with names, or a table of them by name.",
                    "if": {"type": "array"},
                    "then": {"minItems": 1, "items": reference("axis")},
                    "else": {"type": "object", "minProperties": 1, "additionalProperties": reference("named_axis")},
                }),
            ),
        ],
    )
}

fn axis(with_name: bool) -> Value {
    let point = json!({"type": ["number", "string"]});
    let required: &[&str] = if with_name { &["name"] } else { &[] };
    let mut axis = object::<Axis>(
        required,
        vec![
            ("name", variable_name()),
            (
                "values",
                json!({"type": "array", "minItems": 1, "items": point, "description": "Numbers or texts, in this order."}),
            ),
            ("from", number("First value.")),
            ("to", number("Last value, included.")),
            ("points", within("How many values there are from the first to the last.", 1, 100_000)),
            ("step", number("From one value to the next.")),
            ("scale", words::<Scale>("Whether values are evenly spaced or by equal factors.")),
            ("unit", text("Shown in the table's heading.")),
        ],
    );
    if !with_name && let Some(properties) = axis["properties"].as_object_mut() {
        properties.remove("name");
    }
    axis["oneOf"] = json!([
        {"required": ["values"], "properties": {"from": false, "to": false, "points": false, "step": false}},
        {"required": ["from", "to", "points"], "properties": {"step": false}},
        {"required": ["from", "to", "step"]},
    ]);
    axis["oneOf"][2]["properties"] = json!({"points": false});
    axis
}

fn variable() -> Value {
    let mut variable = object::<Variable>(
        &["type"],
        vec![
            ("type", words::<VariableKind>("What its values are.")),
            ("min", number("Least value.")),
            ("max", number("Largest value.")),
            (
                "step",
                json!({"type": "number", "exclusiveMinimum": 0, "description": "Only min, min + step and so on are tried."}),
            ),
            ("scale", words::<Scale>("Whether values are looked for by differences or by factors.")),
            (
                "values",
                json!({"type": "array", "items": {"type": ["number", "string", "boolean"]}, "description": "What a choice may be."}),
            ),
            ("unit", text("Shown with the value.")),
        ],
    );
    variable["if"] = json!({"properties": {"type": {"const": "choice"}}});
    variable["then"] = json!({"required": ["values"], "properties": {"values": {"minItems": 1}, "min": false, "max": false, "step": false}});
    variable["else"] = json!({"required": ["min", "max"], "properties": {"values": {"maxItems": 0}}});
    variable
}

fn strategy() -> Value {
    let mut strategy = object::<Strategy>(
        &["name"],
        vec![
            ("name", words::<StrategyName>("How trials are chosen.")),
            ("budget", within("Trials in all. May be left out of a grid.", 1, 100_000)),
            (
                "seed",
                json!({"type": "integer", "minimum": 0, "description": "The same seed tries the same. Left out: 0."}),
            ),
            ("parallelism", within("Trials at once. Left out: 1.", 1, 1000)),
            ("population", within("Trials of one generation, for nsga-2.", 4, 1000)),
            ("points", within("Values of each variable without a step, for grid.", 2, 100_000)),
            (
                "tolerance",
                json!({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1,
            "description": "Part of the ranges below which nelder-mead starts another simplex."}),
            ),
        ],
    );
    strategy["if"] = json!({"properties": {"name": {"const": "grid"}}});
    strategy["else"] = json!({"required": ["budget"]});
    strategy
}

/// A table with the keys of a type and no others. A key that nothing is said of may hold anything.
fn object<'de, T: serde::Deserialize<'de>>(required: &[&str], known: Vec<Known>) -> Value {
    let properties: Map<String, Value> = keys::of::<T>()
        .iter()
        .map(|key| {
            let holds = known.iter().find(|(name, _)| name == key).map(|(_, holds)| holds.clone());
            ((*key).to_owned(), holds.unwrap_or(json!(true)))
        })
        .collect();
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

fn with_one_of(mut object: Value, keys: &[&str]) -> Value {
    object["anyOf"] = keys.iter().map(|key| json!({"required": [key]})).collect();
    object
}

fn words<'de, T: serde::Deserialize<'de>>(description: &str) -> Value {
    json!({"enum": keys::of::<T>(), "description": description})
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/$defs/{name}")})
}

fn table(description: &str, holds: Value) -> Value {
    json!({"type": "object", "additionalProperties": holds, "description": description})
}

fn list(description: &str, holds: Value) -> Value {
    json!({"type": "array", "items": holds, "description": description})
}

fn text(description: &str) -> Value {
    json!({"type": "string", "description": description})
}

fn length(mut text: Value) -> Value {
    text["minLength"] = json!(1);
    text["maxLength"] = json!(200);
    text
}

fn number(description: &str) -> Value {
    json!({"type": "number", "description": description})
}

fn within(description: &str, least: u64, most: u64) -> Value {
    json!({"type": "integer", "minimum": least, "maximum": most, "description": description})
}

fn named(description: &str, pattern: &str) -> Value {
    json!({"type": "string", "pattern": pattern, "description": description})
}

fn name() -> Value {
    named("1 to 64 of a-z A-Z 0-9 _ - .", "^[A-Za-z0-9_.-]{1,64}$")
}

fn step_id(description: &str) -> Value {
    named(description, "^[A-Za-z0-9_.-]{1,64}$")
}

fn variable_name() -> Value {
    named("A name that expressions can spell.", "^[A-Za-z_][A-Za-z0-9_]{0,63}$")
}

/// The units are many and have many spellings; whoever reads the duration knows them.
fn duration(description: &str) -> Value {
    json!({"type": "string", "pattern": "^\\s*[0-9]", "description": description, "examples": ["500ms", "5s", "1m 30s"]})
}

#[cfg(test)]
mod tests;
