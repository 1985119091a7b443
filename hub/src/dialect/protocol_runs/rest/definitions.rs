//! Procedures as protocols that can be started. Part of the shell.

use axum::Json;
use axum::extract::{Path, State};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::api::neighbours;
use crate::app::App;
use crate::error::ApiError;
use crate::procedure::Procedure;
use crate::stable_id;

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ProtocolDefinition {
    /// Stands for the name, for ever.
    accession_id: Uuid,
    name: String,
    description: Option<String>,
    is_top_level: bool,
    parameters: Vec<ProtocolParameter>,
    /// Devices that it needs.
    assets: Vec<ProtocolAsset>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct ProtocolParameter {
    name: String,
    /// `float`, `int`, `bool`, `text` or `enum`.
    type_hint: String,
    optional: bool,
    default_value: Value,
    description: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct ProtocolAsset {
    name: String,
    /// What a device must be to play this role.
    type_hint_str: String,
    optional: bool,
}

impl From<Procedure> for ProtocolDefinition {
    fn from(procedure: Procedure) -> Self {
        let json = |value: &dyn Fn() -> serde_json::Result<Value>| value().unwrap_or(Value::Null);
        let parameters = procedure.params.iter().map(|(name, parameter)| ProtocolParameter {
            name: name.clone(),
            type_hint: json(&|| serde_json::to_value(parameter.kind)).as_str().unwrap_or_default().to_owned(),
            optional: parameter.default.is_some(),
            default_value: json(&|| serde_json::to_value(&parameter.default)),
            description: parameter.description.clone(),
        });
        let used = procedure.used_roles();
        let assets = procedure.roles.iter().filter(|(name, _)| used.contains(name.as_str()));
        let assets = assets.map(|(name, role)| ProtocolAsset {
            name: name.clone(),
            type_hint_str: role.to_string(),
            optional: false,
        });
        Self {
            accession_id: stable_id::of_procedure(&procedure.name),
            parameters: parameters.collect(),
            assets: assets.collect(),
            is_top_level: true,
            description: procedure.description,
            name: procedure.name,
        }
    }
}

pub(super) async fn list(State(app): State<App>) -> Result<Json<Vec<ProtocolDefinition>>, ApiError> {
    let found = neighbours::procedures(&app, |procedures| {
        let names = procedures.names()?;
        // One with mistakes cannot be started; `/api/v1/procedures` says what they are.
        Ok(names.iter().filter_map(|name| procedures.get(name).ok()).map(ProtocolDefinition::from).collect())
    });
    found.await.map(Json)
}

pub(super) async fn get(State(app): State<App>, Path(id): Path<String>) -> Result<Json<ProtocolDefinition>, ApiError> {
    let name = neighbours::procedure_name(&app, &id).await?;
    let procedure = neighbours::procedures(&app, move |procedures| procedures.get(&name)).await?;
    Ok(Json(procedure.into()))
}
