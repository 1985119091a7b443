//! A saved procedure as a part of a line: its steps join the others, its roles play on the devices that the line names
//! where they fit, its parameters become constants. What cannot be joined without changing what it does is refused.

use std::collections::BTreeMap;

use rigwire_shared::ids::DeviceId;
use rigwire_shared::value::Fields;
use serde_json::{Map, Value, json};

use super::Word;
use super::compile::Builder;
use super::plan::PlannedStep;
use super::refusal::Trouble;
use crate::fleet;
use crate::procedure::{Procedure, Role};

/// What a procedure may consist of to be a part of a line.
const PARTS: [&str; 8] = ["name", "kind", "description", "params", "roles", "wait", "steps", "finally"];

impl Builder<'_> {
    pub(super) fn inline(
        &mut self,
        procedure: &Procedure,
        params: &Fields,
        name: &Word,
        number: usize,
    ) -> Result<(), Trouble> {
        let refuse = |why: String| {
            let message = format!(
                "procedure {} cannot be part of a sequence: {why}; run it as a line of its own",
                procedure.name
            );
            Trouble::new(name.at, message)
        };
        let body = serde_json::to_value(procedure).unwrap_or_default();
        let parts = body.as_object().cloned().unwrap_or_default();
        if let Some(part) = parts.keys().find(|part| !PARTS.contains(&part.as_str())) {
            return Err(refuse(format!("it has {part}")));
        }
        self.inline_params(&parts, params).map_err(refuse)?;
        let roles = self.inline_roles(procedure);
        let steps = list(&parts, "steps");
        let finally = list(&parts, "finally");
        let mut renamed = BTreeMap::new();
        for step in steps.iter().chain(&finally) {
            let id = step["id"].as_str().unwrap_or_default();
            if self.ids.contains(id) {
                renamed.insert(id.to_owned(), format!("{id}-{number}"));
            }
        }
        if !renamed.is_empty() && steps.iter().chain(&finally).any(names_steps) {
            let ids: Vec<&str> = renamed.keys().map(String::as_str).collect();
            return Err(refuse(format!(
                "its steps speak of each other, and {} would have to be renamed",
                ids.join(", ")
            )));
        }
        for (old, wanted) in &mut renamed {
            *wanted = self.free_id(wanted);
            debug_assert_ne!(old, wanted);
        }
        let new_id = |id: &str| renamed.get(id).cloned().unwrap_or_else(|| id.to_owned());
        let needed: Vec<String> = steps.iter().flat_map(needs).collect();
        let mut tail = Vec::new();
        for mut step in steps {
            let own = needs(&step);
            let id = step["id"].as_str().unwrap_or_default().to_owned();
            if !needed.contains(&id) {
                tail.push(new_id(&id));
            }
            let own: Vec<String> =
                if own.is_empty() { self.tail.clone() } else { own.iter().map(|need| new_id(need)).collect() };
            step["needs"] = json!(own);
            let planned = self.place(&mut step, &new_id(&id), &roles, procedure);
            self.planned.push(planned);
            self.places.push(name.at);
            self.steps.push(step);
        }
        for mut step in finally {
            let id = step["id"].as_str().unwrap_or_default().to_owned();
            let planned = self.place(&mut step, &new_id(&id), &roles, procedure);
            self.planned_finally.push(planned);
            self.finally.push(step);
        }
        self.tail = tail;
        self.wait = match (self.wait, procedure.wait) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        Ok(())
    }

    /// Gives a step its id and role here.
    fn place(&mut self, step: &mut Value, id: &str, roles: &BTreeMap<&str, String>, of: &Procedure) -> PlannedStep {
        self.ids.insert(id.to_owned());
        step["id"] = json!(id);
        let role = step["on"].as_str().and_then(|role| roles.get(role)).cloned();
        if let Some(role) = &role {
            step["on"] = json!(role);
        }
        let module = step["use"].as_str().unwrap_or_default().to_owned();
        let on = role.as_ref().map(|role| format!(" on {role}")).unwrap_or_default();
        let device = role
            .and_then(|role| self.roles.get(&role)?.get("device")?.as_str().map(str::to_owned))
            .and_then(|id| DeviceId::new(&id).ok());
        let text = format!("{id}: {module}{on} (of {})", of.name);
        PlannedStep { id: id.to_owned(), module, device, text }
    }

    fn inline_params(&mut self, parts: &Map<String, Value>, params: &Fields) -> Result<(), String> {
        for (name, value) in params {
            let mut parameter = parts.get("params").and_then(|params| params.get(name)).cloned().unwrap_or_default();
            parameter["default"] = serde_json::to_value(value).unwrap_or_default();
            if let Some(other) = self.params.get(name).filter(|other| **other != parameter) {
                let other = other.get("default").cloned().unwrap_or_default();
                return Err(format!("another procedure of the line has a parameter {name}, and there it is {other}"));
            }
            self.params.insert(name.clone(), parameter);
        }
        Ok(())
    }

    /// The role here of each role there. Two roles of one procedure are never one device.
    fn inline_roles<'p>(&mut self, procedure: &'p Procedure) -> BTreeMap<&'p str, String> {
        let mut placed: BTreeMap<&str, String> = BTreeMap::new();
        let used = procedure.used_roles();
        let roles: Vec<(&str, &Role)> = procedure
            .roles
            .iter()
            .filter(|(name, _)| used.contains(name.as_str()))
            .map(|(name, role)| (name.as_str(), role))
            .collect();
        for (name, role) in roles.iter().filter(|(_, role)| role.device.is_some()) {
            if let Some(device) = &role.device {
                let body = serde_json::to_value(role).unwrap_or_default();
                self.roles.entry(device.as_str().to_owned()).or_insert(body);
                placed.insert(name, device.as_str().to_owned());
            }
        }
        for (name, role) in roles.iter().filter(|(_, role)| role.device.is_none()) {
            let taken: Vec<String> = placed.values().cloned().collect();
            let fitting = self.named.iter().find(|id| {
                !taken.iter().any(|taken| taken == id.as_str())
                    && self.known.device(id).is_some_and(|card| fleet::fits(card, role))
            });
            let here = match fitting {
                Some(device) => {
                    let device = device.as_str().to_owned();
                    self.roles.entry(device.clone()).or_insert_with(|| json!({"device": device}));
                    device
                }
                None => {
                    let body = serde_json::to_value(role).unwrap_or_default();
                    let mut here = (*name).to_owned();
                    while self.roles.get(&here).is_some_and(|other| *other != body) {
                        here = format!("{}.{here}", procedure.name);
                    }
                    self.roles.insert(here.clone(), body);
                    here
                }
            };
            placed.insert(name, here);
        }
        placed
    }
}

fn list(parts: &Map<String, Value>, name: &str) -> Vec<Value> {
    parts.get(name).and_then(Value::as_array).cloned().unwrap_or_default()
}

fn needs(step: &Value) -> Vec<String> {
    let needs = step["needs"].as_array().into_iter().flatten();
    needs.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Whether a template or expression of a step speaks of outputs of others.
fn names_steps(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains("steps"),
        Value::Array(items) => items.iter().any(names_steps),
        Value::Object(fields) => fields
            .iter()
            .any(|(key, value)| !matches!(key.as_str(), "id" | "needs" | "on" | "use") && names_steps(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}
