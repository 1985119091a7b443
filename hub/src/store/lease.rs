//! Reservations by persons. Leases of runs are in the events of the runs.

use anyhow::Context;
use rigwire_shared::ids::DeviceId;
use rusqlite::{Connection, params};

use crate::lease::Reservation;

pub(super) const TABLE: &str = "
CREATE TABLE IF NOT EXISTS reservations (device TEXT PRIMARY KEY, reservation TEXT NOT NULL) STRICT;
";

pub(super) fn write(
    connection: &Connection,
    device: &DeviceId,
    reservation: Option<&Reservation>,
) -> anyhow::Result<()> {
    match reservation {
        Some(reservation) => connection
            .prepare_cached("INSERT OR REPLACE INTO reservations (device, reservation) VALUES (?1, ?2)")?
            .execute(params![device.as_str(), serde_json::to_string(reservation)?])?,
        None => connection
            .prepare_cached("DELETE FROM reservations WHERE device = ?1")?
            .execute(params![device.as_str()])?,
    };
    Ok(())
}

pub(super) fn read(connection: &Connection) -> anyhow::Result<Vec<(DeviceId, Reservation)>> {
    let mut statement = connection.prepare("SELECT device, reservation FROM reservations ORDER BY device")?;
    let rows = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
    rows.map(|row| {
        let (device, reservation) = row?;
        let id = DeviceId::new(&device).with_context(|| format!("device {device:?} of a reservation"))?;
        let reservation =
            serde_json::from_str(&reservation).with_context(|| format!("reading the reservation of {device}"))?;
        Ok((id, reservation))
    })
    .collect()
}
