//! Workflows as editors draw them, kept as procedures. Part of the shell.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use rigwire_shared::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::super::graph;
use super::super::order::{self, Mistake};
use super::executions::{self, WorkflowExecution, WorkflowMetadata, WorkflowStatus};
use crate::api::neighbours;
use crate::app::App;
use crate::dialect::{Wish, rfc3339};
use crate::error::ApiError;
use crate::event::{RunSnapshot, RunStatus, StepCard};
use crate::procedure::Procedure;
use crate::procedures::Format;
use crate::workflow::plain_name;

/// A workflow as it is drawn.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct Workflow {
    /// What it is called; a procedure of this name is kept or executed.
    pub(super) workflow_id: String,
    /// Each with `id`, `type` (a module) and `data` (what it takes).
    #[serde(default)]
    nodes: Vec<Value>,
    /// Each with `source` and `target`.
    #[serde(default)]
    edges: Vec<Value>,
    metadata: Option<Map<String, Value>>,
    /// Values of parameters, which templates in the nodes may name.
    params: Option<Map<String, Value>>,
}

impl Workflow {
    pub(super) const FORM: &str = "{\"workflow_id\", \"nodes\", \"edges\", \"metadata\"?, \"params\"?}";

    fn said(&self, key: &str) -> Option<&str> {
        self.metadata.as_ref()?.get(key)?.as_str()
    }

    /// The run that it asks for.
    pub(super) fn wish(&self) -> Result<Wish, ApiError> {
        let wrong = |mistake: Mistake| match mistake {
            Mistake::Format(message) | Mistake::Workflow(message) => {
                ApiError::unprocessable("INVALID_WORKFLOW", message)
            }
        };
        let params = neighbours::fields("params", self.params.clone())?;
        if !self.nodes.is_empty() {
            let (nodes, edges) = (json!(self.nodes), json!(self.edges));
            return order::start(&nodes, &edges, Some(&self.workflow_id), self.said("name"), &params).map_err(wrong);
        }
        if self.workflow_id.is_empty() {
            return Err(ApiError::unprocessable("INVALID_WORKFLOW", "No nodes in workflow"));
        }
        Ok(Wish::StartSaved { procedure: self.workflow_id.clone(), params })
    }

    /// The text of the procedure that it is kept as, and its name.
    fn kept(&self) -> (String, String) {
        let name = plain_name(&self.workflow_id);
        let mut body = json!({"kind": "workflow", "name": name, "nodes": self.nodes, "edges": self.edges});
        if let Some(description) = self.said("description") {
            body["description"] = json!(description);
        }
        if let Some(metadata) = &self.metadata {
            body["metadata"] = json!(metadata);
        }
        (name, body.to_string())
    }
}

/// Something was done.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Done {
    pub(super) success: bool,
    pub(super) message: String,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct KeptWorkflow {
    success: bool,
    /// The name of the procedure.
    workflow_id: String,
    message: String,
    created_at: String,
    updated_at: String,
}

fn kept(name: String) -> Json<KeptWorkflow> {
    let now = rfc3339(Timestamp::now());
    let message = format!("workflow {name} is kept");
    Json(KeptWorkflow { success: true, workflow_id: name, message, created_at: now.clone(), updated_at: now })
}

pub(super) async fn create(State(app): State<App>, body: Bytes) -> Result<Json<KeptWorkflow>, ApiError> {
    let workflow: Workflow = neighbours::body(&body, Workflow::FORM)?;
    let (name, text) = workflow.kept();
    let wanted = name.clone();
    let is_new = neighbours::procedures(&app, move |procedures| {
        if procedures.names()?.contains(&wanted) {
            return Ok(false);
        }
        procedures.put(&wanted, &text, Format::Json).map(|_| true)
    });
    if !is_new.await? {
        return Err(ApiError::conflict("WORKFLOW_EXISTS", format!("there is a workflow {name} already")));
    }
    Ok(kept(name))
}

pub(super) async fn update(
    State(app): State<App>,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Json<KeptWorkflow>, ApiError> {
    let workflow: Workflow = neighbours::body(&body, Workflow::FORM)?;
    let workflow = Workflow { workflow_id: plain_name(&id), ..workflow };
    let (name, text) = workflow.kept();
    let wanted = name.clone();
    neighbours::procedures(&app, move |procedures| {
        procedures.get(&wanted)?;
        procedures.put(&wanted, &text, Format::Json)
    })
    .await?;
    Ok(kept(name))
}

pub(super) async fn delete(State(app): State<App>, Path(id): Path<String>) -> Result<Json<Done>, ApiError> {
    let name = plain_name(&id);
    let message = format!("workflow {name} is removed");
    neighbours::procedures(&app, move |procedures| procedures.delete(&name)).await?;
    Ok(Json(Done { success: true, message }))
}

/// An execution; or a workflow that was not executed yet, which is idle and has none.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct WorkflowDetail {
    workflow_id: String,
    execution_id: Option<Uuid>,
    status: WorkflowStatus,
    progress: u8,
    current_node: Option<String>,
    completed_nodes: Vec<String>,
    errored_nodes: Vec<String>,
    start_time: Option<String>,
    end_time: Option<String>,
    error: Option<String>,
    nodes: Vec<Value>,
    edges: Vec<Value>,
    metadata: WorkflowMetadata,
}

pub(super) async fn get(State(app): State<App>, Path(id): Path<String>) -> Result<Json<WorkflowDetail>, ApiError> {
    match executions::find(&app, &id).await {
        Ok(run) => Ok(Json(executed(&run))),
        Err(error) if error.code() == "UNKNOWN_WORKFLOW" => {
            let name = plain_name(&id);
            let procedure = neighbours::procedures(&app, move |procedures| procedures.get(&name)).await?;
            Ok(Json(saved(procedure)))
        }
        Err(error) => Err(error),
    }
}

fn executed(run: &RunSnapshot) -> WorkflowDetail {
    let of_run = WorkflowExecution::from(run);
    let created_at = Some(rfc3339(run.header.created_at));
    WorkflowDetail {
        workflow_id: of_run.workflow_id,
        execution_id: Some(of_run.execution_id),
        status: of_run.status,
        progress: of_run.progress,
        current_node: of_run.current_node,
        completed_nodes: of_run.completed_nodes,
        errored_nodes: of_run.errored_nodes,
        start_time: Some(of_run.start_time),
        end_time: of_run.end_time,
        error: of_run.error,
        nodes: drawn(&graph::nodes(&run.header.steps)),
        edges: drawn(&graph::edges(&run.header.steps)),
        metadata: executions::metadata(run.header.name.clone(), String::new(), created_at),
    }
}

fn drawn<T: Serialize>(parts: &[T]) -> Vec<Value> {
    parts.iter().map(|part| serde_json::to_value(part).unwrap_or(Value::Null)).collect()
}

fn saved(procedure: Procedure) -> WorkflowDetail {
    let cards = procedure.all_steps().filter_map(|(step, finally)| {
        Some(StepCard {
            id: step.id.clone()?,
            uuid: Uuid::nil(),
            number: 0,
            module: step.module.clone(),
            data: step.fields().to_vec(),
            needs: step.needs.clone().unwrap_or_default(),
            finally,
            phase: step.phase.clone(),
        })
    });
    let cards: Vec<StepCard> = cards.collect();
    let description = procedure.description.unwrap_or_default();
    WorkflowDetail {
        workflow_id: procedure.name.clone(),
        execution_id: None,
        status: WorkflowStatus::from(RunStatus::Pending),
        progress: 0,
        current_node: None,
        completed_nodes: Vec::new(),
        errored_nodes: Vec::new(),
        start_time: None,
        end_time: None,
        error: None,
        nodes: drawn(&graph::nodes(&cards)),
        edges: drawn(&graph::edges(&cards)),
        metadata: executions::metadata(procedure.name, description, None),
    }
}
