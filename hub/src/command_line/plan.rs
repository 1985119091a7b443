//! What a line would do, as people and programs read it before it is done. Knows no client.

use rigwire_shared::ids::DeviceId;
use rigwire_shared::value::Fields;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use super::Known;
use crate::procedure::Procedure;

#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    pub procedure: Procedure,
    pub params: Fields,
    /// The run's name: what was typed, unless it says another.
    pub name: String,
    pub sentences: usize,
    pub steps: Vec<PlannedStep>,
    pub devices: Vec<PlannedDevice>,
}

#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct PlannedStep {
    pub id: String,
    pub module: String,
    pub device: Option<DeviceId>,
    /// Such as `reads value of dmm-1, 10 times every 1s`.
    pub text: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct PlannedDevice {
    pub id: DeviceId,
    pub class: String,
    pub profile: String,
    pub state: &'static str,
    /// Ids of the actions that it offers.
    pub actions: Vec<String>,
    pub present: bool,
}

/// One stage of how the plan came about.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Stage {
    pub stage: &'static str,
    pub message: String,
    pub details: Value,
}

impl Plan {
    pub(super) fn devices(procedure: &Procedure, known: &Known) -> Vec<PlannedDevice> {
        let mut devices: Vec<PlannedDevice> = Vec::new();
        let used = procedure.used_roles();
        for id in used.iter().filter_map(|role| procedure.roles.get(*role)?.device.as_ref()) {
            if let Some(card) = known.device(id)
                && devices.iter().all(|device| device.id != *id)
            {
                devices.push(PlannedDevice {
                    id: id.clone(),
                    class: card.class.clone(),
                    profile: card.profile.clone(),
                    state: card.state.as_str(),
                    actions: card.actions.iter().map(|action| action.id.clone()).collect(),
                    present: card.state.is_present(),
                });
            }
        }
        devices
    }

    /// Modules that it uses, each once.
    pub fn modules(&self) -> Vec<&str> {
        let mut modules: Vec<&str> = Vec::new();
        for step in &self.steps {
            if !modules.contains(&step.module.as_str()) {
                modules.push(&step.module);
            }
        }
        modules
    }

    /// The plan in the stages that its protocol names.
    pub fn stages(&self) -> Vec<Stage> {
        let stage = |stage, message, details| Stage { stage, message, details };
        let steps = counted(self.steps.len(), "step");
        let texts: Vec<&str> = self.steps.iter().map(|step| step.text.as_str()).collect();
        vec![
            stage("analyzing", counted(self.sentences, "sentence"), json!({"sentences": self.sentences})),
            stage("discovering", self.found(), json!({"devices": self.devices})),
            stage("matching", texts.join("; "), json!({"steps": self.steps})),
            stage(
                "generating",
                format!("procedure {} of {steps}", self.procedure.name),
                json!({"procedure": self.procedure.name, "kind": self.procedure.kind}),
            ),
            stage("complete", format!("ready: {steps}"), json!({"steps": self.steps.len()})),
        ]
    }

    fn found(&self) -> String {
        if self.devices.is_empty() {
            return "no device by name".to_owned();
        }
        let devices = self.devices.iter().map(|device| match device.present {
            true => format!("{} is {}", device.id, device.state),
            false => format!("{} is {}: the run will wait for it", device.id, device.state),
        });
        devices.collect::<Vec<_>>().join(", ")
    }
}

fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}
