//! Lines by REST: planned, and carried out unless only the plan is wanted.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;

use super::{json_body, runs};
use crate::app::App;
use crate::command_line::{Plan, Refusal};
use crate::dialect::Meant;
use crate::error::ApiError;
use crate::interpreter;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Command {
    command: String,
    #[serde(default)]
    plan_only: bool,
    /// Person on whose reserved devices it may be.
    #[serde(default)]
    holder: Option<String>,
}

pub async fn post(State(app): State<App>, headers: HeaderMap, body: Bytes) -> Result<Response, ApiError> {
    let request: Command = serde_json::from_value(json_body(&body)?).map_err(|error| {
        let detail = format!(
            "the body is not a command: {error}; expected {{\"command\", \"plan_only\"?, \"holder\"?}} with the line as text"
        );
        ApiError::unprocessable("INVALID_REQUEST", detail)
    })?;
    match interpreter::plan(&app, &request.command).await? {
        Err(refusal) => Ok(refused(&refusal)),
        Ok(Meant::Said { text, data }) => Ok(Json(json!({"answer": text, "data": data})).into_response()),
        Ok(Meant::Plan(plan)) if request.plan_only => Ok(Json(json!({"plan": shown(&plan)})).into_response()),
        Ok(Meant::Plan(plan)) => {
            let shown = shown(&plan);
            let run = interpreter::start(&app, *plan, request.holder).await?;
            Ok(runs::created(&app, &headers, &run, Some(shown)))
        }
        Ok(Meant::Control { control, run }) if request.plan_only => {
            let plan = json!({"control": control.as_str(), "run": run.to_string()});
            Ok(Json(json!({"plan": plan})).into_response())
        }
        Ok(Meant::Control { control, run }) => {
            let text = interpreter::control(&app, control, run).await?;
            Ok((StatusCode::ACCEPTED, Json(json!({"answer": text, "data": null}))).into_response())
        }
    }
}

fn shown(plan: &Plan) -> serde_json::Value {
    json!({
        "name": plan.name, "stages": plan.stages(), "steps": plan.steps, "devices": plan.devices,
        "params": rigwire_shared::value::Value::Map(plan.params.clone()), "procedure": plan.procedure,
    })
}

fn refused(refusal: &Refusal) -> Response {
    let body = json!({
        "detail": refusal.to_string(), "code": "INVALID_COMMAND", "line": refusal.line, "column": refusal.column,
        "caret": refusal.caret, "suggestion": refusal.suggestion,
    });
    (StatusCode::UNPROCESSABLE_ENTITY, Json(body)).into_response()
}
