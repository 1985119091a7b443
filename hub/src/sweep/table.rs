//! What a sweep measured, as a table: one row per point, one column per axis and per reading. Knows no run.

use rigwire_shared::unit::Unit;
use rigwire_shared::value::Fields;

use super::Sweep;
use crate::csv;
use crate::event::Metric;

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Row {
    pub point: Fields,
    pub readings: Vec<Reading>,
}

/// One reading at one point.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    pub name: String,
    pub unit: Unit,
    /// `None` when there was no good one: an empty cell, never a number.
    pub number: Option<f64>,
}

impl Row {
    pub const fn new(point: Fields) -> Self {
        Self { point, readings: Vec::new() }
    }

    /// Takes a metric into the row. The last one of a name counts, good or not.
    pub fn take(&mut self, metric: &Metric) {
        let reading =
            Reading { name: metric.name.as_str().to_owned(), unit: metric.unit.clone(), number: metric.good_number() };
        match self.readings.iter_mut().find(|known| known.name == reading.name) {
            Some(known) => *known = reading,
            None => self.readings.push(reading),
        }
    }
}

/// Axes in their order, then readings in the order in which they first came; a reading in two units has two columns.
pub fn csv(sweep: &Sweep, rows: &[Row]) -> String {
    let axes = sweep.axes.list();
    let mut columns: Vec<(&str, &Unit)> = Vec::new();
    for reading in rows.iter().flat_map(|row| &row.readings) {
        let column = (reading.name.as_str(), &reading.unit);
        if !columns.contains(&column) {
            columns.push(column);
        }
    }
    let mut text = String::new();
    let header: Vec<String> = axes
        .iter()
        .map(|axis| heading(&axis.name, axis.unit.as_deref().unwrap_or_default()))
        .chain(columns.iter().map(|(name, unit)| heading(name, unit.as_str())))
        .collect();
    csv::row(&mut text, &header);
    for row in rows {
        let point = axes.iter().map(|axis| {
            let value = row.point.iter().find(|(name, _)| *name == axis.name);
            value.map(|(_, value)| csv::value(value)).unwrap_or_default()
        });
        let readings = columns.iter().map(|(name, unit)| {
            let reading = row.readings.iter().find(|reading| reading.name == *name && reading.unit == **unit);
            csv::number(reading.and_then(|reading| reading.number))
        });
        let cells: Vec<String> = point.chain(readings).collect();
        csv::row(&mut text, &cells);
    }
    text
}

fn heading(name: &str, unit: &str) -> String {
    if unit.is_empty() { csv::word(name) } else { csv::word(&format!("{name} [{unit}]")) }
}

#[cfg(test)]
mod tests {
    use rigwire_shared::ids::MetricName;
    use rigwire_shared::quality::Quality;
    use rigwire_shared::value::Value;

    use super::*;

    fn metric(name: &str, value: f64, unit: &str, quality: Quality) -> Metric {
        Metric {
            name: MetricName::new(name).unwrap(),
            value: Value::Float(value),
            unit: Unit::parse(unit).unwrap(),
            quality,
            device: None,
            step: None,
        }
    }

    #[test]
    fn a_sweep_is_a_table_that_spreadsheets_read() {
        let sweep: Sweep = toml::from_str(
            "axes = [{ name = \"frequency\", unit = \"Hz\", values = [10, 20, 40] }, { name = \"mode\", values = [\"=1+1\"] }]",
        )
        .unwrap();
        let mut rows: Vec<Row> = (0..3).map(|index| Row::new(sweep.point(index).unwrap())).collect();
        rows[0].take(&metric("amplitude", 0.5, "V", Quality::Suspect));
        rows[0].take(&metric("amplitude", 0.25, "V", Quality::Good));
        rows[1].take(&metric("amplitude", 9.9e37, "V", Quality::Overrange));
        rows[1].take(&metric("gain", -3.0, "", Quality::Good));
        rows[2].take(&metric("amplitude", f64::NAN, "V", Quality::Good));
        assert_eq!(
            csv(&sweep, &rows),
            "frequency [Hz],mode,amplitude [V],gain\r\n10,'=1+1,0.25,\r\n20,'=1+1,,-3.0\r\n40,'=1+1,,\r\n"
        );
        assert_eq!(csv(&sweep, &[]), "frequency [Hz],mode\r\n");
    }
}
