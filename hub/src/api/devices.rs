//! Devices: what they are, how they stand and who holds them.

use axum::Json;
use axum::extract::{Path, State};
use rigwire_shared::agent::{ActionCard, DeviceCard, DeviceKind, DeviceState, Identity, ReadingCard};
use rigwire_shared::ids::{AgentId, DeviceId, RunId};
use schemars::JsonSchema;
use serde::Serialize;

use super::answer::Time;
use super::reservations::{self, Lease};
use crate::app::App;
use crate::error::ApiError;
use crate::event::DeviceSnapshot;
use crate::model::Model;

#[derive(Debug, Serialize, JsonSchema)]
pub struct Devices {
    devices: Vec<DeviceRow>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct DeviceRow {
    id: DeviceId,
    agent: AgentId,
    kind: DeviceKind,
    /// What it is for, such as `psu`.
    class: String,
    profile: String,
    tags: Vec<String>,
    state: DeviceState,
    /// Why it is so.
    cause: String,
    identity: Option<Identity>,
    last_seen: Time,
    /// The run that is on it.
    held_by: Option<RunId>,
    /// Who holds it.
    lease: Option<Lease>,
    /// Who has it next.
    next: Option<Lease>,
    readings: Vec<ReadingCard>,
    actions: Vec<ActionCard>,
}

pub async fn list(State(app): State<App>) -> Result<Json<Devices>, ApiError> {
    let devices = app
        .hub
        .ask(|core, _| core.model.devices().map(|(card, device)| row(&core.model, card, &device)).collect())
        .await?;
    Ok(Json(Devices { devices }))
}

pub async fn get(State(app): State<App>, Path(id): Path<String>) -> Result<Json<DeviceRow>, ApiError> {
    let device = reservations::device_id(&id)?;
    let found = app
        .hub
        .ask(move |core, _| core.model.device(&device).map(|(card, device)| row(&core.model, card, &device)))
        .await?;
    found.map(Json).ok_or_else(|| ApiError::not_found("UNKNOWN_DEVICE", format!("no agent has a device {id}")))
}

pub(crate) fn row(model: &Model, card: &DeviceCard, device: &DeviceSnapshot) -> DeviceRow {
    let (waiting, held): (Vec<_>, Vec<_>) =
        model.leases_of(&device.device).iter().map(Lease::from).partition(Lease::is_waiting);
    DeviceRow {
        id: device.device.clone(),
        agent: device.agent.clone(),
        kind: device.kind,
        class: device.class.clone(),
        profile: device.profile.clone(),
        tags: device.tags.clone(),
        state: device.state,
        cause: device.cause.clone(),
        identity: device.identity.clone(),
        last_seen: Time(device.last_seen),
        held_by: device.held_by,
        lease: held.into_iter().next(),
        next: waiting.into_iter().next(),
        readings: card.readings.clone(),
        actions: card.actions.clone(),
    }
}
