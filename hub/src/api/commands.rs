//! Lines by REST: planned, and carried out unless only the plan is wanted.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use rigwire_shared::value::Fields;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{json_object, runs};
use crate::app::App;
use crate::command_line::{Plan, PlannedDevice, PlannedStep, Refusal, Stage};
use crate::describe::Object;
use crate::dialect::Meant;
use crate::error::ApiError;
use crate::interpreter;
use crate::procedure::Procedure;

const COMMAND: &str = r#"{"command", "plan_only"?, "holder"?}"#;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// The line.
    command: String,
    /// Only say what it would do.
    #[serde(default)]
    plan_only: bool,
    /// Person on whose reserved devices it may be.
    #[serde(default)]
    holder: Option<String>,
}

/// A question that was answered, or what would be done.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "CommandAnswer")]
#[expect(clippy::large_enum_variant, reason = "made once per request and written at once")]
pub enum Told {
    Answer(Said),
    Plan { plan: PlanRow },
    Control { plan: ControlRow },
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Said {
    answer: String,
    /// The same for programs.
    data: serde_json::Value,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Plan")]
pub struct PlanRow {
    name: String,
    /// How it came about.
    stages: Vec<Stage>,
    steps: Vec<PlannedStep>,
    devices: Vec<PlannedDevice>,
    #[serde(serialize_with = "rigwire_shared::value::fields::serialize")]
    #[schemars(with = "Object")]
    params: Fields,
    procedure: Procedure,
}

/// A run that would be told something.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "PlannedControl")]
pub struct ControlRow {
    /// `cancel`, `pause` or `resume`.
    control: &'static str,
    run: String,
}

/// What is wrong with a line, and where; or with the request, and then without a place.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CommandRefused {
    detail: String,
    code: &'static str,
    /// From 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    /// In characters, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<usize>,
    /// The line, and under it a `^` below the column.
    #[serde(skip_serializing_if = "Option::is_none")]
    caret: Option<String>,
    /// The nearest word that would be right; null if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    suggestion: Option<Option<String>>,
}

pub async fn post(State(app): State<App>, headers: HeaderMap, body: Bytes) -> Result<Response, ApiError> {
    let request: Command = serde_json::from_value(json_object(&body, COMMAND)?).map_err(|error| {
        let detail = format!("the body is not a command: {error}; expected {COMMAND} with the line as text");
        ApiError::unprocessable("INVALID_REQUEST", detail)
    })?;
    match interpreter::plan(&app, &request.command).await? {
        Err(refusal) => Ok(refused(&refusal)),
        Ok(Meant::Said { text, data }) => Ok(Json(Told::Answer(Said { answer: text, data })).into_response()),
        Ok(Meant::Plan(plan)) if request.plan_only => Ok(Json(Told::Plan { plan: shown(&plan) }).into_response()),
        Ok(Meant::Plan(plan)) => {
            let shown = shown(&plan);
            let run = interpreter::start(&app, *plan, request.holder).await?;
            Ok(runs::created(&app, &headers, &run, Some(shown)))
        }
        Ok(Meant::Control { control, run }) if request.plan_only => {
            let plan = ControlRow { control: control.as_str(), run: run.to_string() };
            Ok(Json(Told::Control { plan }).into_response())
        }
        Ok(Meant::Control { control, run }) => {
            let text = interpreter::control(&app, control, run).await?;
            Ok((StatusCode::ACCEPTED, Json(Said { answer: text, data: serde_json::Value::Null })).into_response())
        }
    }
}

fn shown(plan: &Plan) -> PlanRow {
    PlanRow {
        name: plan.name.clone(),
        stages: plan.stages(),
        steps: plan.steps.clone(),
        devices: plan.devices.clone(),
        params: plan.params.clone(),
        procedure: plan.procedure.clone(),
    }
}

fn refused(refusal: &Refusal) -> Response {
    let body = CommandRefused {
        detail: refusal.to_string(),
        code: "INVALID_COMMAND",
        line: Some(refusal.line),
        column: Some(refusal.column),
        caret: Some(refusal.caret.clone()),
        suggestion: Some(refusal.suggestion.clone()),
    };
    (StatusCode::UNPROCESSABLE_ENTITY, Json(body)).into_response()
}
