//! What agents have on their ports, as hardware that was discovered. Part of the shell.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use rigwire_shared::agent::{DeviceKind, Identity};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::api::neighbours;
use crate::app::App;
use crate::error::ApiError;
use crate::event::DeviceSnapshot;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum ConnectionType {
    Serial,
    Usb,
    Network,
}

#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum HardwareStatus {
    Available,
    Connected,
    Busy,
    Error,
}

/// A device of an agent.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct DiscoveredDevice {
    id: String,
    name: String,
    connection_type: ConnectionType,
    status: HardwareStatus,
    /// On the agent's host.
    port: Option<String>,
    ip_address: Option<String>,
    manufacturer: Option<String>,
    model: Option<String>,
    serial_number: Option<String>,
    /// Always null: an agent drives it.
    plr_backend: Option<String>,
    /// Agent, class, profile and state, and what the system says of the port.
    properties: Map<String, Value>,
}

fn connection(identity: &Identity, kind: DeviceKind) -> Option<ConnectionType> {
    let location = identity.location.as_str();
    match kind {
        // A host's location is its name.
        DeviceKind::Host => None,
        DeviceKind::Instrument | DeviceKind::Thermal | DeviceKind::Android | DeviceKind::Board | DeviceKind::Camera => {
            let is_address = |text: &str| text.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
            if location.is_empty() {
                None
            } else if location.contains("://") || is_address(location) {
                Some(ConnectionType::Network)
            } else if location.starts_with('/') && !location.contains("usbtmc") && kind != DeviceKind::Android {
                Some(ConnectionType::Serial)
            } else {
                Some(ConnectionType::Usb)
            }
        }
    }
}

fn discovered(device: &DeviceSnapshot) -> Option<DiscoveredDevice> {
    use rigwire_shared::agent::DeviceState::{Absent, Busy, Error, Gone, Identifying, Online, Opening, Quarantined};
    // Nobody knows the port of what was never there.
    let identity = device.identity.as_ref()?;
    let connection_type = connection(identity, device.kind)?;
    let status = match device.state {
        Online if device.held_by.is_some() => HardwareStatus::Busy,
        Online => HardwareStatus::Connected,
        Busy => HardwareStatus::Busy,
        Opening | Identifying => HardwareStatus::Available,
        Absent | Gone | Error | Quarantined => HardwareStatus::Error,
    };
    let known = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let network = connection_type == ConnectionType::Network;
    let mut properties: Map<String, Value> =
        identity.properties.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    for (name, value) in [
        ("agent", device.agent.as_str()),
        ("class", &device.class),
        ("profile", &device.profile),
        ("state", device.state.as_str()),
        ("cause", &device.cause),
    ] {
        properties.insert(name.to_owned(), json!(value));
    }
    Some(DiscoveredDevice {
        id: device.device.as_str().to_owned(),
        name: device.device.as_str().to_owned(),
        connection_type,
        status,
        port: known(&identity.location).filter(|_| !network),
        ip_address: known(&identity.location).filter(|_| network),
        manufacturer: known(&identity.vendor),
        model: known(&identity.model),
        serial_number: known(&identity.serial),
        plr_backend: None,
        properties,
    })
}

async fn all(app: &App) -> Result<Vec<DiscoveredDevice>, ApiError> {
    let found = app.hub.ask(|core, _| core.model.devices().filter_map(|(_, device)| discovered(&device)).collect());
    Ok(found.await?)
}

async fn on(app: &App, wanted: ConnectionType) -> Result<Json<Vec<DiscoveredDevice>>, ApiError> {
    let mut found = all(app).await?;
    found.retain(|device| device.connection_type == wanted);
    Ok(Json(found))
}

pub(super) async fn serial(State(app): State<App>) -> Result<Json<Vec<DiscoveredDevice>>, ApiError> {
    on(&app, ConnectionType::Serial).await
}

pub(super) async fn usb(State(app): State<App>) -> Result<Json<Vec<DiscoveredDevice>>, ApiError> {
    on(&app, ConnectionType::Usb).await
}

/// A device that a client wants to use.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct RegisterDevice {
    name: String,
    port: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct RegisteredDevice {
    success: bool,
    device_id: String,
    message: String,
}

pub(super) async fn register(State(app): State<App>, body: Bytes) -> Result<Json<RegisteredDevice>, ApiError> {
    let request: RegisterDevice =
        neighbours::body(&body, "{\"name\", \"device_type\"?, \"port\"?, \"connection_info\"?}")?;
    let RegisterDevice { name, port } = request;
    let known = app.hub.ask(move |core, _| {
        let at_port = |device: &DeviceSnapshot| {
            let location = device.identity.as_ref().map(|identity| identity.location.as_str());
            port.is_some() && location == port.as_deref()
        };
        let found = core.model.devices().find(|(card, device)| card.device.as_str() == name || at_port(device));
        found.map(|(_, device)| (device.device.clone(), device.agent.clone())).ok_or((name, port))
    });
    match known.await? {
        Ok((device, agent)) => {
            let message = format!("agent {agent} has it already");
            Ok(Json(RegisteredDevice { success: true, device_id: device.as_str().to_owned(), message }))
        }
        Err((name, port)) => {
            let port = port.unwrap_or_else(|| "its port".to_owned());
            let detail = format!(
                "no agent has {name:.100} at {port:.100}: a device is listed in the configuration of the agent on whose host it is plugged in, and appears by itself"
            );
            Err(ApiError::conflict("CONFIGURED_AT_AGENT", detail))
        }
    }
}
