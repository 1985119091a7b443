//! What came of a typed line, in this protocol's words: `dslProgress` and `dslResult`. Knows no session.

use rigwire_shared::value::Value;
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::graph::{self, Edge, Node};
use crate::command_line::{Plan, Stage};
use crate::event::StepCard;

#[derive(Serialize, JsonSchema)]
pub(super) struct DslProgress<'a> {
    pub(super) stage: &'a str,
    pub(super) message: &'a str,
    pub(super) details: &'a serde_json::Value,
}

impl<'a> From<&'a Stage> for DslProgress<'a> {
    fn from(stage: &'a Stage) -> Self {
        Self { stage: stage.stage, message: &stage.message, details: &stage.details }
    }
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct DslResult<'a> {
    pub(super) success: bool,
    pub(super) command: &'a str,
    pub(super) matched_agents: Vec<MatchedAgent<'a>>,
    #[serde(rename = "requiredMCPTools")]
    pub(super) required_tools: Vec<Tool<'a>>,
    pub(super) workflow_suggestion: Suggestion<'a>,
    /// Milliseconds.
    pub(super) process_time: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
}

/// A device of the plan: this protocol has no other word for who does the work.
#[derive(Serialize, JsonSchema)]
pub(super) struct MatchedAgent<'a> {
    id: &'a str,
    name: &'a str,
    capabilities: &'a [String],
    reasoning: String,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Tool<'a> {
    name: &'a str,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Suggestion<'a> {
    nodes: Vec<Node<'a>>,
    edges: Vec<Edge<'a>>,
}

/// The plan's steps as cards, so that a suggestion shows the nodes that the run will have. What a node needs to be sent back
/// as a workflow is in its data.
pub(super) fn cards(plan: &Plan) -> Vec<StepCard> {
    let steps = plan.procedure.all_steps().filter_map(|(step, finally)| {
        let mut data = step.fields().to_vec();
        if let Some(role) = &step.on {
            let device = plan.procedure.roles.get(role).and_then(|role| role.device.as_ref());
            let on = device.map_or(role.as_str(), |device| device.as_str());
            data.push(("on".to_owned(), Value::Text(on.to_owned())));
        }
        Some(StepCard {
            id: step.id.clone()?,
            uuid: Uuid::nil(),
            number: 0,
            module: step.module.clone(),
            data,
            needs: step.needs.clone().unwrap_or_default(),
            finally,
            phase: step.phase.clone(),
        })
    });
    steps.collect()
}

impl<'a> DslResult<'a> {
    pub(super) fn planned(command: &'a str, took_ms: f64, plan: &'a Plan, cards: &'a [StepCard]) -> Self {
        Self {
            success: true,
            command,
            matched_agents: plan
                .devices
                .iter()
                .map(|device| MatchedAgent {
                    id: device.id.as_str(),
                    name: device.id.as_str(),
                    capabilities: &device.actions,
                    reasoning: format!("{} ({}) is {}", device.class, device.profile, device.state),
                })
                .collect(),
            required_tools: plan.modules().into_iter().map(|name| Tool { name }).collect(),
            workflow_suggestion: Suggestion { nodes: graph::nodes(cards), edges: graph::edges(cards) },
            process_time: took_ms,
            error: None,
        }
    }

    /// Without anything to run: a question that was answered, or what is wrong.
    pub(super) fn plain(command: &'a str, took_ms: f64, error: Option<String>) -> Self {
        Self {
            success: error.is_none(),
            command,
            matched_agents: Vec::new(),
            required_tools: Vec::new(),
            workflow_suggestion: Suggestion { nodes: Vec::new(), edges: Vec::new() },
            process_time: took_ms,
            error,
        }
    }
}
