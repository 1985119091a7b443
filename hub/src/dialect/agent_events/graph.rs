//! A run's steps as the nodes and edges that a canvas draws. Knows no event and no session.

use std::borrow::Cow;
use std::collections::HashMap;

use rigwire_shared::ids::StepId;
use rigwire_shared::value::Value;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Serialize, Serializer};

use crate::describe::Object;
use crate::event::StepCard;

const COLUMN_WIDTH: u32 = 220;
const ROW_HEIGHT: u32 = 120;

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Node<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    position: Position,
    data: Data<'a>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct Position {
    x: u32,
    y: u32,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Edge<'a> {
    id: String,
    source: &'a str,
    target: &'a str,
}

/// Steps in columns: each to the right of all that it needs, `finally` steps to the right of everything.
pub(super) fn nodes(steps: &[StepCard]) -> Vec<Node<'_>> {
    let columns = columns(steps);
    let mut filled = HashMap::<u32, u32>::new();
    steps
        .iter()
        .zip(columns)
        .map(|(step, column)| {
            let row = filled.entry(column).or_default();
            let position = Position { x: column.saturating_mul(COLUMN_WIDTH), y: row.saturating_mul(ROW_HEIGHT) };
            *row += 1;
            Node { id: step.id.as_str(), kind: &step.module, position, data: Data(&step.data) }
        })
        .collect()
}

pub(super) fn edges(steps: &[StepCard]) -> Vec<Edge<'_>> {
    steps
        .iter()
        .flat_map(|step| step.needs.iter().map(move |need| (need.as_str(), step.id.as_str())))
        .map(|(source, target)| Edge { id: format!("{source}-{target}"), source, target })
        .collect()
}

/// Steps are written after what they need; one that names a later step stays in the first column.
fn columns(steps: &[StepCard]) -> Vec<u32> {
    let mut known = HashMap::<&StepId, u32>::new();
    let mut last = 0;
    steps
        .iter()
        .map(|step| {
            let after_needs = step.needs.iter().filter_map(|need| known.get(need)).max().map_or(0, |column| column + 1);
            let column = if step.finally { after_needs.max(last + 1) } else { after_needs };
            if !step.finally {
                last = last.max(column);
            }
            known.insert(&step.id, column);
            column
        })
        .collect()
}

#[derive(Debug)]
struct Data<'a>(&'a [(String, Value)]);

impl Serialize for Data<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl JsonSchema for Data<'_> {
    fn schema_name() -> Cow<'static, str> {
        Object::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Object::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_step_stands_to_the_right_of_what_it_needs() {
        let steps = [
            card("set", &[], false),
            card("heat", &[], false),
            card("read", &["set", "heat"], false),
            card("off", &[], true),
        ];
        let places: Vec<_> = nodes(&steps).iter().map(|node| (node.id, node.position.x, node.position.y)).collect();
        assert_eq!(places, [("set", 0, 0), ("heat", 0, 120), ("read", 220, 0), ("off", 440, 0)]);
        let edges: Vec<_> = edges(&steps).into_iter().map(|edge| edge.id).collect();
        assert_eq!(edges, ["set-read", "heat-read"]);
    }

    fn card(id: &str, needs: &[&str], finally: bool) -> StepCard {
        StepCard {
            id: StepId::new(id).unwrap(),
            uuid: Uuid::nil(),
            number: 1,
            module: "delay".to_owned(),
            data: Vec::new(),
            needs: needs.iter().map(|need| StepId::new(need).unwrap()).collect(),
            finally,
            phase: None,
        }
    }
}
