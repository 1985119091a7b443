//! Devices: what they are, how they stand and who holds them.

use axum::Json;
use axum::extract::{Path, State};
use rigwire_shared::agent::DeviceCard;
use rigwire_shared::ids::DeviceId;
use serde_json::json;

use super::reservations;
use crate::app::App;
use crate::dialect::rfc3339;
use crate::error::ApiError;
use crate::event::DeviceSnapshot;
use crate::model::Model;

pub async fn list(State(app): State<App>) -> Result<Json<serde_json::Value>, ApiError> {
    let devices: Vec<serde_json::Value> = app
        .hub
        .ask(|core, _| core.model.devices().map(|(card, device)| row(&core.model, card, &device)).collect())
        .await?;
    Ok(Json(json!({"devices": devices})))
}

pub async fn get(State(app): State<App>, Path(id): Path<String>) -> Result<Json<serde_json::Value>, ApiError> {
    let device = DeviceId::new(&id)
        .map_err(|error| ApiError::bad_request("INVALID_DEVICE_ID", format!("{id:?} is not a device id: {error}")))?;
    let found = app
        .hub
        .ask(move |core, _| core.model.device(&device).map(|(card, device)| row(&core.model, card, &device)))
        .await?;
    found.map(Json).ok_or_else(|| ApiError::not_found("UNKNOWN_DEVICE", format!("no agent has a device {id}")))
}

pub(crate) fn row(model: &Model, card: &DeviceCard, device: &DeviceSnapshot) -> serde_json::Value {
    let (waiting, held): (Vec<_>, Vec<_>) =
        model.leases_of(&device.device).iter().map(reservations::row).partition(|lease| lease["waiting"] == true);
    json!({
        "id": device.device.as_str(), "agent": device.agent.as_str(), "kind": device.kind, "class": device.class,
        "profile": device.profile, "tags": device.tags, "state": device.state, "cause": device.cause,
        "identity": device.identity, "last_seen": rfc3339(device.last_seen), "held_by": device.held_by,
        "lease": held.first(), "next": waiting.first(), "readings": card.readings, "actions": card.actions,
    })
}
