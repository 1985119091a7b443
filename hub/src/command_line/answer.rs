//! What `devices` and `status` answer, for people. Knows no socket.

use rigwire_shared::agent::DeviceCard;

use crate::event::{DeviceSnapshot, RunSnapshot};

/// Lines that one answer has at most.
const LINES_MAX: usize = 200;

/// A line per device: what it is and how it stands.
pub fn devices<'a>(devices: impl IntoIterator<Item = (&'a DeviceCard, &'a DeviceSnapshot)>) -> String {
    let lines = devices.into_iter().map(|(card, device)| {
        let held = device.held_by.map(|run| format!(", held by run {run}")).unwrap_or_default();
        let readings: Vec<&str> = card.readings.iter().map(|reading| reading.id.as_str()).collect();
        let actions: Vec<&str> = card.actions.iter().map(|action| action.id.as_str()).collect();
        format!(
            "{}: {} ({}), {}: {}{held}; reads {}; does {}",
            device.device,
            device.class,
            device.profile,
            device.state,
            device.cause,
            listed(&readings),
            listed(&actions),
        )
    });
    bounded(lines, "there are no devices")
}

/// A line per run, newest first.
pub fn status<'a>(runs: impl IntoIterator<Item = &'a RunSnapshot>) -> String {
    let lines = runs.into_iter().map(|run| {
        let end = run.finished.as_ref().map(|finished| format!(": {}", finished.message)).unwrap_or_default();
        let at = match run.finished {
            Some(_) => end,
            None => format!(", {:.0} %, {}", run.progress.percent, run.step),
        };
        format!("run {} ({}): {}{at}", run.header.number, run.header.name, run.status.as_str())
    });
    bounded(lines, "nothing runs")
}

fn listed(names: &[&str]) -> String {
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}

fn bounded(lines: impl Iterator<Item = String>, none: &str) -> String {
    let lines: Vec<String> = lines.collect();
    if lines.is_empty() {
        return none.to_owned();
    }
    let more = lines.len().saturating_sub(LINES_MAX);
    let mut shown: Vec<String> = lines.into_iter().take(LINES_MAX).collect();
    if more > 0 {
        shown.push(format!("and {more} more"));
    }
    shown.join("\n")
}
