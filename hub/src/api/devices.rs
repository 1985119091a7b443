//! Devices: what they are, how they stand and who holds them.

use std::collections::BTreeMap;

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
    /// The same as `id`.
    device_id: DeviceId,
    /// `connected`, `busy`, `disconnected` or `error`: the state in few words.
    status: &'static str,
    serial: Option<String>,
    model: Option<String>,
    /// Of an instrument its firmware.
    os_version: Option<String>,
    /// Always null.
    phone_number: Option<String>,
    /// Always empty.
    sim_info: BTreeMap<String, String>,
    capabilities: Capabilities,
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

/// Ids of readings and actions.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Capabilities {
    readings: Vec<String>,
    actions: Vec<String>,
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
    let identity = device.identity.as_ref();
    let known = |text: Option<&String>| text.filter(|text| !text.is_empty()).cloned();
    let release = identity.and_then(|identity| {
        let mut properties = identity.properties.iter();
        properties.find(|(name, _)| name == "ro.build.version.release" || name == "os_version").map(|(_, value)| value)
    });
    DeviceRow {
        device_id: device.device.clone(),
        status: device.in_short(),
        serial: known(identity.map(|identity| &identity.serial)),
        model: known(identity.map(|identity| &identity.model)),
        os_version: known(release.or(identity.map(|identity| &identity.firmware))),
        phone_number: None,
        sim_info: BTreeMap::new(),
        capabilities: Capabilities {
            readings: card.readings.iter().map(|reading| reading.id.clone()).collect(),
            actions: card.actions.iter().map(|action| action.id.clone()).collect(),
        },
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
