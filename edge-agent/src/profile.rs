//! Instrument profiles: TOML files that say how to talk to one kind of instrument. Data only; knows no port.

mod bundled;
mod cards;
mod compile;
pub(crate) mod definition;
pub(crate) mod duration;
mod error;
pub(crate) mod interpret;
mod schema;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use bundled::{bundled_ids, bundled_source};
pub use definition::{Flow, Limits, Parity, Probe, SerialSettings, SimulatorDefinition, TransportKind, Trigger};
pub use error::{Problem, ProfileError};
use rigwire_shared::ids::MetricName;

/// Largest profile file that is read.
const FILE_MAX: u64 = 1024 * 1024;

/// One checked profile. Immutable: a changed file is a new profile.
#[derive(Debug)]
pub struct Profile {
    pub id: String,
    pub vendor: String,
    pub model: String,
    /// What it is for, such as `psu` or `dmm`.
    pub class: String,
    pub version: String,
    pub aliases: Vec<String>,
    pub sources: Vec<String>,
    /// Hardware and firmware it was tried on, or that it was not.
    pub verified: String,
    pub(crate) matches: Vec<definition::Match>,
    pub(crate) transport: definition::Transport,
    pub(crate) timing: definition::Timing,
    pub(crate) identify: Option<definition::Identify>,
    pub(crate) own_init: Vec<definition::Step>,
    pub(crate) readings: Vec<definition::Reading>,
    pub(crate) actions: Vec<definition::Action>,
    pub(crate) errors: Option<definition::ErrorQueue>,
    pub(crate) safe_state: definition::SafeState,
    pub(crate) release: Vec<definition::Step>,
    pub(crate) simulator: Option<SimulatorDefinition>,
    pub(crate) vectors: Vec<definition::Vector>,
    pub(crate) command_end: Vec<u8>,
    pub(crate) not_driven: Option<String>,
}

impl Profile {
    /// `file` is only for messages.
    pub fn parse(file: &str, source: &str) -> Result<Self, ProfileError> {
        compile::profile(file, source)
    }

    pub fn load(path: &Path) -> Result<Self, ProfileError> {
        let file = path.display().to_string();
        let length = std::fs::metadata(path).map_err(|error| ProfileError::whole_file(&file, error))?.len();
        if length > FILE_MAX {
            return Err(ProfileError::whole_file(&file, format_args!("{length} bytes, at most {FILE_MAX} are read")));
        }
        let source = std::fs::read_to_string(path).map_err(|error| ProfileError::whole_file(&file, error))?;
        Self::parse(&file, &source)
    }

    /// The profile of that id among those that are part of this program.
    pub fn bundled(id: &str) -> Option<Result<Self, ProfileError>> {
        bundled_source(id).map(|source| Self::parse(&format!("{id}.toml"), source))
    }

    pub fn bundled_ids() -> Vec<&'static str> {
        bundled_ids()
    }

    /// A path (anything with a slash or ending in `.toml`), else an id looked for in `dirs` and then among the bundled ones.
    pub fn find(name_or_path: &str, dirs: &[PathBuf]) -> Result<Arc<Self>, ProfileError> {
        if name_or_path.contains('/') || name_or_path.ends_with(".toml") {
            return Self::load(Path::new(name_or_path)).map(Arc::new);
        }
        for dir in dirs {
            let path = dir.join(format!("{name_or_path}.toml"));
            if path.is_file() {
                return Self::load(&path).map(Arc::new);
            }
        }
        match Self::bundled(name_or_path) {
            Some(profile) => profile.map(Arc::new),
            None => Err(ProfileError::whole_file(
                name_or_path,
                format_args!("no such profile, {}", bundled::nearest(name_or_path, dirs)),
            )),
        }
    }

    pub fn serial_settings(&self) -> &SerialSettings {
        &self.transport.serial
    }

    /// The port of the instrument's own TCP socket, where it has one.
    pub fn tcp_port(&self) -> Option<u16> {
        self.transport.tcp_port
    }

    pub fn allows_transport(&self, kind: TransportKind) -> bool {
        self.transport.kinds.contains(&kind)
    }

    /// Whether a driver exists for all that the profile asks for; else what is missing.
    pub fn is_driven(&self) -> Result<(), String> {
        self.not_driven.as_ref().map_or(Ok(()), |missing| Err(format!("profile {}: {missing}", self.id)))
    }

    pub fn safe_on(&self, trigger: Trigger) -> bool {
        self.safe_state.triggers.contains(&trigger)
    }

    /// How long the hub may be away before the safe state is applied.
    pub fn hub_lost_after(&self) -> Option<Duration> {
        self.safe_state.hub_lost_after
    }

    pub fn has_safe_state(&self) -> bool {
        !self.safe_state.steps.is_empty()
    }

    /// How often the instrument's error queue is to be read without a reason.
    pub fn errors_every(&self) -> Option<Duration> {
        self.errors.as_ref().and_then(|errors| errors.every)
    }

    /// Thresholds per metric.
    pub fn limits(&self) -> Vec<(MetricName, Limits)> {
        let limits = |reading: &definition::Reading| Some((reading.metric.clone(), reading.limits.clone()?));
        self.readings.iter().filter_map(limits).collect()
    }

    /// Gap kept after every command; a device's own setting may replace it.
    pub fn gap(&self) -> Duration {
        self.timing.gap
    }

    /// USB ids that name this instrument, and those that only suggest it.
    pub fn usb_ids(&self) -> (Vec<&str>, Vec<&str>) {
        let sure = self.matches.iter().flat_map(|entry| entry.usb.iter().map(String::as_str)).collect();
        let hints = self.matches.iter().flat_map(|entry| entry.usb_hint.iter().map(String::as_str)).collect();
        (sure, hints)
    }

    /// Whether an identity query may be sent unasked; the most careful word of all match entries.
    pub fn probe(&self) -> Probe {
        let has = |probe| self.matches.iter().any(|entry| entry.probe == probe);
        if self.matches.is_empty() || has(Probe::Never) {
            Probe::Never
        } else if has(Probe::OptIn) {
            Probe::OptIn
        } else {
            Probe::Safe
        }
    }

    pub fn simulator(&self) -> Option<&SimulatorDefinition> {
        self.simulator.as_ref()
    }

    /// The faults that the profile's own test goes through.
    pub fn faults(&self) -> &[crate::simulator::fault::Fault] {
        self.simulator.as_ref().map_or(&[], |simulator| &simulator.faults)
    }

    pub(crate) fn reading(&self, id: &str) -> Option<&definition::Reading> {
        self.readings.iter().find(|reading| reading.id == id)
    }
}

impl definition::Transport {
    pub(crate) fn is_modbus(&self) -> bool {
        self.kinds.iter().any(|kind| {
            matches!(kind, TransportKind::ModbusRtu | TransportKind::ModbusRtuOverTcp | TransportKind::ModbusTcp)
        })
    }
}

impl TransportKind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Serial => "serial",
            Self::UsbTmc => "usbtmc",
            Self::Tcp => "tcp",
            Self::ModbusRtu => "modbus-rtu",
            Self::ModbusRtuOverTcp => "modbus-rtu-over-tcp",
            Self::ModbusTcp => "modbus-tcp",
            Self::Cobs => "cobs",
        }
    }
}

#[cfg(test)]
mod tests;
