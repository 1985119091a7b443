//! Rows from records and events.

use rigwire_shared::time::Timestamp;
use rigwire_shared::value::Value;
use rusqlite::{Connection, params};
use serde_json::json;

use super::RunRow;
use super::arriving;
use super::artifact::{self, Files};
use crate::event::{DeviceEvent, DeviceSample, Event, EventKind};
use crate::model::Record;

pub(super) fn event(connection: &Connection, event: &Event) -> anyhow::Result<()> {
    let (kind, body) = describe(event);
    let (run, number) = match &event.kind {
        EventKind::Run(event) => (Some(event.run.id.to_string()), Some(signed(event.number))),
        EventKind::Device(_) | EventKind::Agent(_) | EventKind::Chat(_) => (None, None),
    };
    connection
        .prepare_cached("INSERT INTO events (sequence, at, type, run, number, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
        .execute(params![signed(event.sequence), event.at.0, kind, run, number, body.to_string()])?;
    Ok(())
}

pub(super) fn record(connection: &Connection, files: &mut Files, record: &Record) -> anyhow::Result<()> {
    match record {
        Record::RunCreated { header, procedure } => {
            let procedure = procedure.as_deref().map(serde_json::to_string).transpose()?;
            connection
                .prepare_cached(
                    "INSERT INTO runs (id, number, kind, status, header, procedure, row)
                     VALUES (?1, ?2, ?3, 'pending', ?4, ?5, 'null')",
                )?
                .execute(params![
                    header.id.to_string(),
                    signed(header.number),
                    header.kind.as_str(),
                    serde_json::to_string(&**header)?,
                    procedure
                ])?;
        }
        Record::RunChanged { snapshot } => {
            let row = serde_json::to_string(&RunRow::from(&**snapshot))?;
            connection.prepare_cached("UPDATE runs SET status = ?2, row = ?3 WHERE id = ?1")?.execute(params![
                snapshot.header.id.to_string(),
                snapshot.status.as_str(),
                row
            ])?;
        }
        Record::Sample { at, sample } => self::sample(connection, *at, sample)?,
        Record::Agent(agent) => {
            connection
                .prepare_cached("INSERT OR REPLACE INTO agents (agent, state) VALUES (?1, ?2)")?
                .execute(params![agent.agent.as_str(), serde_json::to_string(agent)?])?;
        }
        Record::Device { agent, card } => {
            connection
                .prepare_cached("INSERT OR REPLACE INTO devices (device, agent, card) VALUES (?1, ?2, ?3)")?
                .execute(params![card.device.as_str(), agent.as_str(), serde_json::to_string(card)?])?;
        }
        Record::DeviceRemoved(device) => {
            connection.prepare_cached("DELETE FROM devices WHERE device = ?1")?.execute(params![device.as_str()])?;
        }
        Record::Reservation { device, reservation } => {
            super::lease::write(connection, device, reservation.as_deref())?;
        }
        Record::Reported { run, ids } => super::reported::write(connection, *run, ids)?,
        Record::Artifact(file) => artifact::keep(connection, files, file)?,
        Record::Arrival(arrival) => arriving::take(connection, files, arrival)?,
        Record::Chat { at, message } => super::chat::write(connection, *at, message)?,
        Record::ChatAsked(number) => super::chat::asked(connection, *number)?,
        Record::NextNumber(next) => {
            connection
                .prepare_cached("INSERT OR REPLACE INTO meta (key, value) VALUES ('next_number', ?1)")?
                .execute(params![signed(*next)])?;
        }
    }
    Ok(())
}

fn sample(connection: &Connection, at: Timestamp, sample: &DeviceSample) -> anyhow::Result<()> {
    let key = params![sample.device.as_str(), sample.metric.as_str(), sample.unit.as_str()];
    connection
        .prepare_cached("INSERT OR IGNORE INTO series (device, metric, unit) VALUES (?1, ?2, ?3)")?
        .execute(key)?;
    let other = match (&sample.value, sample.value.as_f64()) {
        (Value::Null, _) | (_, Some(_)) => None,
        (value, None) => Some(serde_json::to_string(value)?),
    };
    connection
        .prepare_cached(
            "INSERT INTO samples (series, at, quality, number, other)
             SELECT id, ?4, ?5, ?6, ?7 FROM series WHERE device = ?1 AND metric = ?2 AND unit = ?3",
        )?
        .execute(params![
            sample.device.as_str(),
            sample.metric.as_str(),
            sample.unit.as_str(),
            at.0,
            sample.quality.as_str(),
            sample.value.as_f64(),
            other
        ])?;
    Ok(())
}

/// SQLite's integers are signed; ours never reach the last bit.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The type and body under which an event is kept and shown. Run events read back as `RunEventBody`.
pub(super) fn describe(event: &Event) -> (&'static str, serde_json::Value) {
    match &event.kind {
        EventKind::Run(run) => (run.body.type_name(), to_json(&run.body)),
        EventKind::Chat(message) => ("chat", to_json(message)),
        EventKind::Agent(change) => {
            ("agent", json!({"agent": change.agent.as_str(), "online": change.online, "cause": change.cause}))
        }
        EventKind::Device(device) => match device {
            DeviceEvent::State(snapshot) => ("device_state", to_json(snapshot)),
            DeviceEvent::Sample(sample) => (
                "sample",
                json!({
                    "device": sample.device.as_str(), "metric": sample.metric.as_str(), "value": to_json(&sample.value),
                    "unit": sample.unit.as_str(), "quality": sample.quality.as_str(),
                }),
            ),
            DeviceEvent::Frame(frame) => {
                ("frame", json!({"device": frame.device.as_str(), "width": frame.width, "height": frame.height}))
            }
            DeviceEvent::PreviewUnavailable { device, cause } => {
                ("preview_unavailable", json!({"device": device.as_str(), "cause": cause}))
            }
            DeviceEvent::Limit(change) => ("limit", to_json(change)),
            DeviceEvent::Interlock { device, rule, action, safe } => {
                ("interlock", json!({"device": device.as_str(), "rule": rule, "action": action, "safe": to_json(safe)}))
            }
            DeviceEvent::Safe { device, cause, safe } => {
                ("safe_state", json!({"device": device.as_str(), "cause": cause, "safe": to_json(safe)}))
            }
            DeviceEvent::Lease(change) => ("lease", to_json(change)),
            DeviceEvent::Gap { device, agent, samples, cause } => (
                "gap",
                json!({
                    "device": device.as_ref().map(rigwire_shared::ids::DeviceId::as_str), "agent": agent.as_str(),
                    "samples": samples, "cause": cause.as_str(),
                }),
            ),
        },
    }
}

fn to_json<T: serde::Serialize>(value: &T) -> serde_json::Value {
    serde_json::to_value(value).unwrap_or(serde_json::Value::Null)
}
