//! Procedures as flows, and the modules that they are made of. Part of the shell.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use rigwire_shared::agent::DeviceCard;
use rigwire_shared::ids::DeviceId;
use rigwire_shared::value::Fields;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::executions::{self, Execution};
use super::flow::{self, CreateFlow, ExecuteFlow, FlowModule};
use crate::api::neighbours::{self, Query};
use crate::api::runs;
use crate::app::App;
use crate::error::ApiError;
use crate::module::{MODULES, Module, Where};
use crate::procedure::{DEFAULT_TIMEOUT, Procedure};
use crate::procedures::Format;
use crate::stable_id;

/// Which modules.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct ListModules {
    /// The part of a module's id before its dot, or `general`.
    category: Option<String>,
    /// Every module is active.
    #[serde(rename = "active_only")]
    _active_only: Option<bool>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct FarmModule {
    id: &'static str,
    name: &'static str,
    description: &'static str,
    version: &'static str,
    category: &'static str,
    /// Always empty: a module is one step.
    steps: Vec<String>,
    /// What it takes, as JSON Schema.
    input_schema: Map<String, Value>,
    timeout_seconds: u64,
    requires_root: bool,
}

impl From<&'static Module> for FarmModule {
    fn from(module: &'static Module) -> Self {
        let keys = module.required().iter().chain(module.optional().unwrap_or_default());
        let properties: Map<String, Value> = keys.map(|key| ((*key).to_owned(), json!({}))).collect();
        let schema = Map::from_iter([
            ("type".to_owned(), json!("object")),
            ("required".to_owned(), json!(module.required())),
            ("properties".to_owned(), Value::Object(properties)),
            ("additionalProperties".to_owned(), json!(module.optional().is_none())),
        ]);
        Self {
            id: module.id,
            name: module.id,
            description: match module.runs {
                Where::Device => "Carried out by an agent, on one of its devices",
                Where::Hub => "Carried out by the hub itself",
            },
            version: env!("CARGO_PKG_VERSION"),
            category: flow::category(module.id),
            steps: Vec::new(),
            input_schema: schema,
            timeout_seconds: DEFAULT_TIMEOUT.as_secs(),
            requires_root: false,
        }
    }
}

pub(super) async fn modules(query: Query<ListModules>) -> Result<Json<Vec<FarmModule>>, ApiError> {
    let wanted = neighbours::query(query)?.category;
    let modules = MODULES.iter().map(FarmModule::from);
    Ok(Json(modules.filter(|module| wanted.as_deref().is_none_or(|wanted| wanted == module.category)).collect()))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Visibility {
    Private,
    Shared,
    Public,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Flow {
    /// Stands for the name, for ever.
    id: Uuid,
    name: String,
    description: Option<String>,
    /// Always `public`.
    visibility: Visibility,
    modules: Vec<FlowModule>,
    /// Always null: nobody knows.
    estimated_duration_minutes: Option<u64>,
}

impl From<Procedure> for Flow {
    fn from(procedure: Procedure) -> Self {
        Self {
            id: stable_id::of_procedure(&procedure.name),
            modules: flow::modules(&procedure),
            visibility: Visibility::Public,
            estimated_duration_minutes: None,
            name: procedure.name,
            description: procedure.description,
        }
    }
}

/// Which flows.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct ListFlows {
    visibility: Option<Visibility>,
}

pub(super) async fn list(State(app): State<App>, query: Query<ListFlows>) -> Result<Json<Vec<Flow>>, ApiError> {
    if neighbours::query(query)?.visibility.is_some_and(|wanted| wanted != Visibility::Public) {
        return Ok(Json(Vec::new()));
    }
    let found = neighbours::procedures(&app, |procedures| {
        // One with mistakes cannot be executed; `/api/v1/procedures` says what they are.
        Ok(procedures.names()?.iter().filter_map(|name| procedures.get(name).ok()).map(Flow::from).collect())
    });
    found.await.map(Json)
}

pub(super) async fn get(State(app): State<App>, Path(id): Path<String>) -> Result<Json<Flow>, ApiError> {
    let name = neighbours::procedure_name(&app, &id).await?;
    let procedure = neighbours::procedures(&app, move |procedures| procedures.get(&name)).await?;
    Ok(Json(procedure.into()))
}

pub(super) async fn create(State(app): State<App>, body: Bytes) -> Result<(StatusCode, Json<Flow>), ApiError> {
    let request: CreateFlow = neighbours::body(&body, "{\"name\", \"description\"?, \"modules\"}")?;
    let (name, procedure) =
        flow::compile(&request).map_err(|problem| ApiError::unprocessable("INVALID_FLOW", problem))?;
    let made = neighbours::procedures(&app, move |procedures| {
        if procedures.names()?.contains(&name) {
            return Ok(Err(name));
        }
        procedures.put(&name, &procedure.to_string(), Format::Json).map(Ok)
    });
    match made.await? {
        Ok(procedure) => Ok((StatusCode::CREATED, Json(procedure.into()))),
        Err(name) => Err(ApiError::conflict("FLOW_EXISTS", format!("there is a flow {name} already"))),
    }
}

pub(super) async fn execute(
    State(app): State<App>,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<(StatusCode, Json<Execution>), ApiError> {
    let request: ExecuteFlow = neighbours::body(&body, "{\"device_ids\": [id]}")?;
    let mut start = neighbours::start_saved(&app, &id, Fields::new(), None).await?;
    let cards = cards(&app, &request.device_ids).await?;
    let procedure = flow::on_devices((*start.procedure).clone(), &cards)
        .map_err(|problem| ApiError::unprocessable("DEVICES_DO_NOT_FIT", problem))?;
    start.procedure = Arc::new(procedure);
    let run = runs::begin(&app, start).await?;
    Ok((StatusCode::ACCEPTED, Json(executions::view(&run))))
}

async fn cards(app: &App, ids: &[String]) -> Result<Vec<DeviceCard>, ApiError> {
    let mut devices = Vec::new();
    for id in ids {
        let device = DeviceId::new(id).map_err(|error| {
            ApiError::unprocessable("INVALID_DEVICE_ID", format!("device_ids: {id:.80} is not a device id: {error}"))
        })?;
        if devices.contains(&device) {
            return Err(ApiError::unprocessable("INVALID_REQUEST", format!("device_ids: {device} is named twice")));
        }
        devices.push(device);
    }
    let found = app.hub.ask(move |core, _| {
        let known = |device: &DeviceId| core.model.device(device).map(|(card, _)| card.clone());
        devices.iter().map(|device| known(device).ok_or_else(|| device.clone())).collect::<Result<Vec<_>, _>>()
    });
    found.await?.map_err(|device| {
        ApiError::unprocessable("UNKNOWN_DEVICE", format!("device_ids: no agent has a device {device}"))
    })
}
