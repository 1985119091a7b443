//! Workflows as editors draw them: nodes and edges become a procedure whose steps are the nodes. Knows no run and no client.

use std::collections::{BTreeMap, BTreeSet};

use rigwire_shared::ids::StepId;
use rigwire_shared::value::{Fields, Value as Field};
use serde_json::{Map, Value, json};

use crate::command_line::nearest;
use crate::module;
use crate::procedure::{Invalid, Mistake, Procedure};

/// Keys of a workflow beside nodes and edges that a procedure knows, too.
const SHARED: [&str; 5] = ["description", "params", "roles", "wait", "finally"];

/// Keys of a workflow that only an editor needs.
const SHOWN: [&str; 5] = ["id", "metadata", "viewport", "version", "kind"];

/// Keys of a node's data that belong to the step; every other is its module's.
const OF_STEP: [&str; 6] = ["timeout", "retry", "expect", "when", "phase", "continue_on_failure"];

/// Keys of a node's data that only an editor needs.
const OF_EDITOR: [&str; 3] = ["label", "description", "status"];

/// Nodes of one workflow.
const NODES_MAX: usize = 500;

/// Whether a body says nodes rather than steps.
pub fn is_one(body: &Value) -> bool {
    body.get("nodes").is_some()
}

/// `source` names the workflow in messages; `line_of` finds a key such as `nodes[1].data.volts` in its text.
pub fn compile(body: &Value, source: &str, line_of: impl Fn(&str) -> Option<usize>) -> Result<Procedure, Invalid> {
    let mut found = Vec::new();
    let compiled = Drawing::read(body, &mut found).map(|drawing| drawing.procedure(&mut found));
    let compiled = match compiled {
        Some(compiled) if found.is_empty() => compiled,
        Some(_) | None => {
            let mistakes =
                found.into_iter().map(|(key, message)| Mistake { line: line_of(&key), key, message }).collect();
            return Err(Invalid { source: source.to_owned(), mistakes });
        }
    };
    let Compiled { body, ids } = compiled;
    Procedure::from_json(&body, source).map_err(|invalid| Invalid {
        source: invalid.source,
        mistakes: invalid
            .mistakes
            .into_iter()
            .map(|mistake| {
                let (key, message) = as_drawn(&mistake, &ids);
                Mistake { line: line_of(&key), key, message }
            })
            .collect(),
    })
}

/// Parameters for a workflow that declares none: each has the type of its value, which is also its default.
pub fn declare(params: &Fields) -> Result<Value, String> {
    let declared = params.iter().map(|(name, value)| {
        let kind = match value {
            Field::Float(_) => "float",
            Field::Int(_) => "int",
            Field::Bool(_) => "bool",
            Field::Text(_) => "text",
            Field::Null | Field::List(_) | Field::Map(_) => {
                return Err(format!("params.{name}: expected a number, a text, true or false"));
            }
        };
        Ok((name.clone(), json!({"type": kind, "default": value})))
    });
    declared.collect::<Result<Map<String, Value>, String>>().map(Value::Object)
}

/// The name of a procedure made of any text: what it may not hold is left out.
pub fn plain_name(text: &str) -> String {
    let plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let name: String = text.chars().filter(plain).take(64).collect();
    if name.is_empty() { "workflow".to_owned() } else { name }
}

/// A mistake in the compiled procedure, in the words of the workflow: `steps[1].with.v` is `nodes[1].data.v`.
fn as_drawn(mistake: &Mistake, ids: &[String]) -> (String, String) {
    let rest = mistake.key.strip_prefix("steps[").and_then(|rest| rest.split_once(']'));
    let Some((index, rest)) = rest else { return (mistake.key.clone(), mistake.message.clone()) };
    let id = index.parse().ok().and_then(|index: usize| ids.get(index)).map_or("", String::as_str);
    let rest = match rest.strip_prefix(".with") {
        Some(rest) => format!(".data{rest}"),
        None => match rest.strip_prefix('.') {
            Some(rest) => format!(".data.{rest}"),
            None => String::new(),
        },
    };
    (format!("nodes[{index}]{rest}"), format!("node {id}: {}", mistake.message))
}

/// Mistakes so far, as (key, message).
type Found = Vec<(String, String)>;

/// The drawing's parts in their types, before they are compiled.
struct Drawing<'a> {
    body: &'a Map<String, Value>,
    nodes: Vec<Node<'a>>,
    /// Sources of the edges to each node, in the order drawn.
    needs: BTreeMap<&'a str, Vec<&'a str>>,
}

struct Node<'a> {
    id: &'a str,
    module: &'a str,
    data: Map<String, Value>,
}

struct Compiled {
    body: Value,
    ids: Vec<String>,
}

impl<'a> Drawing<'a> {
    fn read(body: &'a Value, found: &mut Found) -> Option<Self> {
        let Some(body) = body.as_object() else {
            found.push((String::new(), "expected an object with nodes and edges".to_owned()));
            return None;
        };
        let known =
            |key: &str| ["name", "nodes", "edges"].contains(&key) || SHARED.contains(&key) || SHOWN.contains(&key);
        for key in body.keys().filter(|key| !known(key)) {
            found
                .push((key.clone(), "is no part of a workflow, expected name, nodes, edges, params, roles".to_owned()));
        }
        if let Some(kind) = body.get("kind").filter(|kind| **kind != json!("workflow")) {
            found.push(("kind".to_owned(), format!("is {kind}, expected \"workflow\" for nodes and edges")));
        }
        let nodes = list(body, "nodes", found)?;
        let edges = if body.contains_key("edges") { list(body, "edges", found)? } else { &[] };
        if nodes.is_empty() {
            found.push(("nodes".to_owned(), "is empty, expected at least one node".to_owned()));
        }
        if nodes.len() > NODES_MAX {
            found.push(("nodes".to_owned(), format!("are {}, expected at most {NODES_MAX}", nodes.len())));
            return None;
        }
        let nodes: Vec<Node<'_>> =
            nodes.iter().enumerate().filter_map(|(index, node)| read_node(index, node, found)).collect();
        let mut seen = BTreeSet::new();
        for node in &nodes {
            if !seen.insert(node.id) {
                found.push(("nodes".to_owned(), format!("{} is the id of two nodes", node.id)));
            }
        }
        let mut needs: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (index, edge) in edges.iter().enumerate() {
            let end = |name: &str| edge.get(name).and_then(Value::as_str);
            let (Some(source), Some(target)) = (end("source"), end("target")) else {
                found.push((format!("edges[{index}]"), "expected source and target as ids of nodes".to_owned()));
                continue;
            };
            let mut there = true;
            for (name, id) in [("source", source), ("target", target)] {
                if !seen.contains(id) {
                    let suggestion = nearest(id, seen.iter().copied());
                    let suggestion = suggestion.map(|id| format!("; did you mean {id}?")).unwrap_or_default();
                    let message = format!("edge {source} to {target}: there is no node {id}{suggestion}");
                    found.push((format!("edges[{index}].{name}"), message));
                    there = false;
                }
            }
            let sources = needs.entry(target).or_default();
            if there && !sources.contains(&source) {
                sources.push(source);
            }
        }
        if let Some(cycle) = cycle(&nodes, &needs) {
            found.push(("edges".to_owned(), format!("go round in a circle: {}", cycle.join(" → "))));
        }
        Some(Self { body, nodes, needs })
    }

    fn procedure(self, found: &mut Found) -> Compiled {
        let mut roles = match self.body.get("roles") {
            Some(Value::Object(roles)) => roles.clone(),
            Some(_) | None => Map::new(),
        };
        let mut steps = Vec::new();
        for (index, node) in self.nodes.iter().enumerate() {
            let mut step = Map::new();
            let mut with = Map::new();
            for (key, value) in &node.data {
                match key.as_str() {
                    "on" => match role(value, &mut roles) {
                        Ok(role) => drop(step.insert("on".to_owned(), json!(role))),
                        Err(message) => {
                            found.push((format!("nodes[{index}].data.on"), format!("node {}: {message}", node.id)));
                        }
                    },
                    key if OF_STEP.contains(&key) => drop(step.insert(key.to_owned(), value.clone())),
                    key if OF_EDITOR.contains(&key) => {}
                    key => drop(with.insert(key.to_owned(), value.clone())),
                }
            }
            let needs = self.needs.get(node.id).cloned().unwrap_or_default();
            step.insert("id".to_owned(), json!(node.id));
            step.insert("use".to_owned(), json!(node.module));
            step.insert("with".to_owned(), Value::Object(with));
            step.insert("needs".to_owned(), json!(needs));
            steps.push(Value::Object(step));
        }
        let mut body = Map::new();
        for key in SHARED {
            if let Some(value) = self.body.get(key) {
                body.insert(key.to_owned(), value.clone());
            }
        }
        let name = self.body.get("name").cloned().unwrap_or_else(|| json!("workflow"));
        body.insert("name".to_owned(), name);
        body.insert("kind".to_owned(), json!("workflow"));
        body.insert("roles".to_owned(), Value::Object(roles));
        body.insert("steps".to_owned(), Value::Array(steps));
        let ids = self.nodes.iter().map(|node| node.id.to_owned()).collect();
        Compiled { body: Value::Object(body), ids }
    }
}

fn list<'a>(body: &'a Map<String, Value>, name: &str, found: &mut Found) -> Option<&'a [Value]> {
    let list = body.get(name).and_then(Value::as_array);
    if list.is_none() {
        found.push((name.to_owned(), format!("expected a list of {name}")));
    }
    list.map(Vec::as_slice)
}

/// Keys that place and style a node are an editor's own and passed over.
fn read_node<'a>(index: usize, node: &'a Value, found: &mut Found) -> Option<Node<'a>> {
    let key = format!("nodes[{index}]");
    let Some(id) = node.get("id").and_then(Value::as_str) else {
        found.push((key, "expected an id as text".to_owned()));
        return None;
    };
    if let Err(error) = StepId::new(id) {
        found.push((format!("{key}.id"), format!("{id:?} is not the id of a node: {error}")));
        return None;
    }
    let Some(module) = node.get("type").and_then(Value::as_str) else {
        found.push((key, format!("node {id}: expected a type; {}", known_types())));
        return None;
    };
    if module::find(module).is_none() {
        let suggestion = nearest(module, module::MODULES.iter().map(|module| module.id));
        let suggestion = suggestion.map(|id| format!("; did you mean {id}?")).unwrap_or_default();
        let message = format!("node {id}: there is no node type {module}; {}{suggestion}", known_types());
        found.push((format!("{key}.type"), message));
    }
    let data = match node.get("data") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(data)) => data.clone(),
        Some(_) => {
            found.push((format!("{key}.data"), format!("node {id}: expected an object")));
            Map::new()
        }
    };
    Some(Node { id, module, data })
}

fn known_types() -> String {
    let known: Vec<&str> = module::MODULES.iter().map(|module| module.id).collect();
    format!("node types: {}", known.join(", "))
}

/// The role that a node's `on` means: one that is declared, a device by its id, or conditions. The same conditions are the
/// same device all over a workflow.
fn role(on: &Value, roles: &mut Map<String, Value>) -> Result<String, String> {
    match on {
        Value::String(name) => {
            roles.entry(name.clone()).or_insert_with(|| json!({"device": name}));
            Ok(name.clone())
        }
        Value::Object(_) => {
            if let Some((name, _)) = roles.iter().find(|(_, role)| *role == on) {
                return Ok(name.clone());
            }
            let class = on.get("class").or_else(|| on.get("device")).and_then(Value::as_str).unwrap_or("device");
            let mut name = class.to_owned();
            let mut number = 2;
            while roles.contains_key(&name) {
                name = format!("{class}-{number}");
                number += 1;
            }
            roles.insert(name.clone(), on.clone());
            Ok(name)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => {
            Err("expected a device, a role or conditions such as {\"class\": \"psu\"}".to_owned())
        }
    }
}

/// Nodes around one circle, the first once more at the end, if there is a circle.
fn cycle<'a>(nodes: &[Node<'a>], needs: &BTreeMap<&'a str, Vec<&'a str>>) -> Option<Vec<&'a str>> {
    let mut left: BTreeSet<&str> = nodes.iter().map(|node| node.id).collect();
    let open = |id: &str, left: &BTreeSet<&str>| {
        needs.get(id).into_iter().flatten().find(|need| left.contains(*need)).copied()
    };
    while let Some(id) = left.iter().find(|id| open(id, &left).is_none()).copied() {
        left.remove(id);
    }
    // Each that is left waits for another that is left: following them comes round.
    let first = nodes.iter().map(|node| node.id).find(|id| left.contains(id))?;
    let mut path = vec![first];
    let mut at = first;
    while let Some(need) = open(at, &left) {
        if let Some(start) = path.iter().position(|id| *id == need) {
            let mut around = path.split_off(start);
            around.push(need);
            around.reverse();
            return Some(around);
        }
        path.push(need);
        at = need;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiled(body: &Value) -> Result<Procedure, String> {
        compile(body, "workflow", |_| None).map_err(|invalid| invalid.to_string())
    }

    fn node(id: &str, data: Value) -> Value {
        json!({"id": id, "type": "log", "position": {"x": 1, "y": 2}, "selected": true, "data": data})
    }

    fn edge(source: &str, target: &str) -> Value {
        json!({"id": format!("{source}-{target}"), "source": source, "target": target, "animated": true})
    }

    #[test]
    fn nodes_are_steps_and_edges_are_needs() {
        let body = json!({
            "kind": "workflow", "name": "two-branches", "metadata": {"author": "someone"},
            "params": {"volts": {"type": "float", "default": 3.3}},
            "nodes": [
                {"id": "set", "type": "instrument.action", "data": {"label": "Set", "on": {"class": "psu"}, "action": "set_voltage",
                    "v": "{{ volts }}", "timeout": "5s", "retry": {"times": 2}}},
                {"id": "off", "type": "instrument.safe_state", "data": {"on": {"class": "psu"}}},
                {"id": "read", "type": "instrument.read", "data": {"on": "dmm-1", "reading": "value",
                    "expect": {"voltage": {"min": 3.2}}, "when": "volts > 1", "phase": "solving"}},
                node("said", json!({"message": "hello"})),
            ],
            "edges": [edge("set", "read"), edge("read", "off"), edge("set", "off"), edge("set", "off")],
        });
        let procedure = compiled(&body).unwrap();
        let shape: Vec<(String, Vec<String>, Option<&str>)> = procedure
            .steps
            .iter()
            .map(|step| {
                let needs = step.needs.iter().flatten().map(|need| need.as_str().to_owned()).collect();
                (step.id.as_ref().unwrap().as_str().to_owned(), needs, step.on.as_deref())
            })
            .collect();
        let needs = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            shape,
            [
                ("set".to_owned(), needs(&[]), Some("psu")),
                ("off".to_owned(), needs(&["read", "set"]), Some("psu")),
                ("read".to_owned(), needs(&["set"]), Some("dmm-1")),
                ("said".to_owned(), needs(&[]), None),
            ]
        );
        assert_eq!(procedure.kind, crate::event::RunKind::Workflow);
        assert_eq!(procedure.steps[0].fields().len(), 2, "label and timeout are no parameters of the module");
        assert_eq!(procedure.steps[0].retry.as_ref().unwrap().times, 2);
        assert_eq!(procedure.roles.len(), 2);
        assert!(procedure.steps[2].when.is_some() && !procedure.steps[2].expect.is_empty());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let hello = || json!({"message": "x"});
        for (nodes, edges, expected) in [
            (json!([]), json!([]), "workflow: nodes: is empty, expected at least one node"),
            (json!({}), json!([]), "workflow: nodes: expected a list of nodes"),
            (json!([{"id": "a"}]), json!([]), "workflow: nodes[0]: node a: expected a type; node types: "),
            (json!([{"id": "a", "type": "instrument.raed"}]), json!([]), "did you mean instrument.read?"),
            (json!([{"id": "a b", "type": "log"}]), json!([]), "nodes[0].id: \"a b\" is not the id of a node"),
            (json!([node("a", hello()), node("a", hello())]), json!([]), "workflow: nodes: a is the id of two nodes"),
            (
                json!([node("read-1", hello())]),
                json!([edge("read1", "read-1")]),
                "edges[0].source: edge read1 to read-1: there is no node read1; did you mean read-1?",
            ),
            (json!([node("a", hello())]), json!([{"source": "a"}]), "edges[0]: expected source and target"),
            (json!([node("a", hello())]), json!([edge("a", "a")]), "edges: go round in a circle: a → a"),
            (
                json!([node("z", hello()), node("a", hello()), node("b", hello()), node("c", hello())]),
                json!([edge("z", "a"), edge("a", "b"), edge("b", "c"), edge("c", "a")]),
                "workflow: edges: go round in a circle: a → b → c → a",
            ),
            (
                json!([node("a", json!({"message": "x", "colour": "red"}))]),
                json!([]),
                "workflow: nodes[0].data.colour: node a: log takes message, level",
            ),
            (json!([node("a", json!({}))]), json!([]), "workflow: nodes[0].data: node a: log needs message"),
            (json!([node("a", json!({"message": "x", "timeout": "soon"}))]), json!([]), "\"soon\" is not a duration"),
            (
                json!([{"id": "a", "type": "instrument.read", "data": {"on": 7}}]),
                json!([]),
                "nodes[0].data.on: node a: expected a device, a role or conditions",
            ),
            (json!([{"id": "a", "type": "instrument.read"}]), json!([]), "node a: instrument.read acts on a device"),
        ] {
            let message = compiled(&json!({"name": "w", "nodes": nodes, "edges": edges})).unwrap_err();
            assert!(message.contains(expected), "{message}\n does not say\n{expected}");
        }
        let unknown = compiled(&json!({"name": "w", "nodes": [node("a", hello())], "colour": 1})).unwrap_err();
        assert!(unknown.contains("colour: is no part of a workflow"), "{unknown}");
    }
}
