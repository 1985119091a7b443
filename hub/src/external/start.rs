//! How an external run is announced: its kind, name, devices, nodes, tests and deadline. Knows no model.

use std::collections::BTreeMap;

use rigwire_shared::ids::{DeviceId, StepId};
use rigwire_shared::value::{Fields, Value};
use serde_json::Value as Json;

use super::fields::{Mistake, Object};
use super::{NAME_MAX, PARTS_MAX};
use crate::event::RunKind;

/// Name of the run's parameter that holds how long its producer may be silent, in seconds.
pub const DEADLINE: &str = "deadline_s";

const DEADLINE_MIN: f64 = 0.1;
const DEADLINE_MAX: f64 = 30.0 * 86_400.0;
const EDGES_MAX: usize = 10 * PARTS_MAX;
const DEVICES_MAX: usize = 1000;
pub(super) const FIELDS: [&str; 9] =
    ["external", "kind", "name", "devices", "agent_name", "nodes", "edges", "tests", DEADLINE];

/// A request for an external run, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct StartExternal {
    pub kind: RunKind,
    pub name: String,
    pub agent_name: String,
    /// What it was announced with besides: devices and deadline.
    pub params: Fields,
    pub nodes: Vec<Node>,
    pub tests: Vec<AnnouncedTest>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    pub id: StepId,
    pub module: String,
    pub data: Fields,
    pub needs: Vec<StepId>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnnouncedTest {
    pub id: String,
    pub name: String,
    pub runs: u32,
}

impl StartExternal {
    pub fn from_json(body: Json) -> Result<Self, Mistake> {
        let mut body = Object::new("", body)?;
        body.only("an external run", &[&FIELDS])?;
        if body.boolean("external")? != Some(true) {
            return Err(body.wrong("external", "is not true"));
        }
        let kind = body.required_word("kind", &RunKind::ALL.map(|kind| (kind.as_str(), kind)))?;
        let name = body.name("name", NAME_MAX)?;
        let agent_name = body.text("agent_name", NAME_MAX)?.filter(|name| !name.trim().is_empty());
        let mut params = Fields::new();
        let devices = devices(&mut body)?;
        if !devices.is_empty() {
            let devices = devices.iter().map(|device| Value::Text(device.as_str().to_owned()));
            params.push(("devices".to_owned(), Value::List(devices.collect())));
        }
        if let Some(deadline) = body.number(DEADLINE, DEADLINE_MIN, DEADLINE_MAX)? {
            params.push((DEADLINE.to_owned(), Value::Float(deadline)));
        }
        let nodes = body.list("nodes", PARTS_MAX)?;
        let edges = body.list("edges", EDGES_MAX)?;
        let nodes = graph(nodes, edges)?;
        let tests = tests(body.list("tests", PARTS_MAX)?)?;
        Ok(Self { kind, agent_name: agent_name.unwrap_or_else(|| name.clone()), name, params, nodes, tests })
    }
}

fn devices(body: &mut Object) -> Result<Vec<DeviceId>, Mistake> {
    let mut devices = Vec::new();
    for (index, item) in body.list("devices", DEVICES_MAX)?.into_iter().enumerate() {
        let path = format!("devices[{index}]");
        let text = item.as_str().ok_or_else(|| Mistake::new(&path, "is not the id of a device"))?;
        let device = DeviceId::new(text).map_err(|error| Mistake::new(&path, format!("is no device id: {error}")))?;
        if devices.contains(&device) {
            return Err(Mistake::new(path, format!("{device} is named twice")));
        }
        devices.push(device);
    }
    Ok(devices)
}

fn graph(nodes: Vec<Json>, edges: Vec<Json>) -> Result<Vec<Node>, Mistake> {
    let mut found: Vec<Node> = Vec::new();
    let mut places = BTreeMap::new();
    for (index, node) in nodes.into_iter().enumerate() {
        let mut node = Object::new(&format!("nodes[{index}]"), node)?;
        node.only("a node", &[&["id", "type", "module", "label", "position", "data"]])?;
        let id: Option<StepId> = node.id("id")?;
        let id = node.required("id", id, "the id of a node")?;
        if let Some(other) = places.insert(id.clone(), index) {
            return Err(node.wrong("id", format!("{id} is the id of nodes[{other}], too")));
        }
        let kind = node.text("type", NAME_MAX)?;
        let module = node.text("module", NAME_MAX)?.or(kind).filter(|module| !module.trim().is_empty());
        let data = node.map("data")?.unwrap_or_default();
        found.push(Node { module: module.unwrap_or_else(|| id.as_str().to_owned()), id, data, needs: Vec::new() });
    }
    for (index, edge) in edges.into_iter().enumerate() {
        let mut edge = Object::new(&format!("edges[{index}]"), edge)?;
        edge.only("an edge", &[&["id", "source", "target", "type", "label"]])?;
        let mut end = |name: &str| -> Result<(StepId, usize), Mistake> {
            let id: Option<StepId> = edge.id(name)?;
            let id = edge.required(name, id, "the id of a node")?;
            let place = places.get(&id).ok_or_else(|| edge.wrong(name, format!("there is no node {id}")))?;
            Ok((id, *place))
        };
        let (source, _) = end("source")?;
        let (_, target) = end("target")?;
        if let Some(node) = found.get_mut(target)
            && !node.needs.contains(&source)
        {
            node.needs.push(source);
        }
    }
    in_order(found)
}

/// Nodes in an order in which each comes after what it needs; as announced where that leaves a choice.
fn in_order(mut waiting: Vec<Node>) -> Result<Vec<Node>, Mistake> {
    let mut ordered: Vec<Node> = Vec::new();
    let mut done = std::collections::BTreeSet::new();
    while !waiting.is_empty() {
        let (ready, rest): (Vec<Node>, Vec<Node>) =
            waiting.into_iter().partition(|node| node.needs.iter().all(|need| done.contains(need)));
        if ready.is_empty() {
            let names: Vec<&str> = rest.iter().take(5).map(|node| node.id.as_str()).collect();
            return Err(Mistake::new("edges", format!("there is a cycle among {}", names.join(", "))));
        }
        done.extend(ready.iter().map(|node| node.id.clone()));
        ordered.extend(ready);
        waiting = rest;
    }
    Ok(ordered)
}

fn tests(tests: Vec<Json>) -> Result<Vec<AnnouncedTest>, Mistake> {
    let mut found: Vec<AnnouncedTest> = Vec::new();
    for (index, test) in tests.into_iter().enumerate() {
        let mut test = Object::new(&format!("tests[{index}]"), test)?;
        test.only("a test", &[&["id", "name", "runs"]])?;
        let id = test.name("id", NAME_MAX)?;
        if found.iter().any(|other| other.id == id) {
            return Err(test.wrong("id", format!("{id} is announced twice")));
        }
        let name = test.text("name", NAME_MAX)?.unwrap_or_else(|| id.clone());
        let runs = test.small("runs", 1)?.unwrap_or(1);
        found.push(AnnouncedTest { id, name, runs });
    }
    Ok(found)
}
