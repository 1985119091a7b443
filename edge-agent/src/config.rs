//! The agent's configuration: options, variables and one TOML file, checked as a whole. Opens no port.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rigwire_shared::ids::{AgentId, DeviceId};

pub use crate::driver::camera::CameraUrl;
pub use crate::driver::instrument::Mode;
use crate::port::PortAddress;
use crate::profile::{Profile, SerialSettings};

mod file;
mod program;

pub use crate::program::{ProgramConfig, User};
pub use rigwire_shared::broker::BrokerAddress;

/// Bytes that the spool may keep, unless the file says otherwise.
const SPOOL_LIMIT_MIB: u64 = 256;
const SPOOL_LIMIT_MIB_MIN: u64 = 1;
/// Programs that may run at once.
const MAX_PARALLEL: usize = 4;

#[derive(Debug, Clone)]
pub struct Config {
    pub id: AgentId,
    pub hub: BrokerAddress,
    /// PEM file with whom to believe about a hub by mqtts://, instead of the authorities of this host.
    pub hub_ca: Option<PathBuf>,
    pub spool: PathBuf,
    pub spool_limit_mib: u64,
    /// Level or filter for the log on standard error.
    pub log: String,
    pub instruments: Vec<InstrumentConfig>,
    pub cameras: Vec<CameraConfig>,
    pub host: HostConfig,
}

/// This computer as a device that runs programs. It is one when a program is listed.
#[derive(Debug, Clone)]
pub struct HostConfig {
    pub id: DeviceId,
    pub tags: Vec<String>,
    pub max_parallel: usize,
    pub programs: Vec<ProgramConfig>,
    /// Where programs are listed, for messages.
    pub file: Option<PathBuf>,
}

impl HostConfig {
    /// Without a program: nothing runs.
    pub fn new(agent: &AgentId) -> Self {
        let name: String = format!("host-{agent}").chars().take(rigwire_shared::ids::NAME_MAX).collect();
        #[expect(clippy::expect_used, reason = "what an agent id may hold, a device id may hold, too")]
        let id = DeviceId::new(&name).expect("host- and an agent id make a device id");
        Self { id, tags: Vec::new(), max_parallel: MAX_PARALLEL, programs: Vec::new(), file: None }
    }
}

impl Config {
    /// Defaults around what has none. Devices may be added.
    pub fn new(id: AgentId, hub: BrokerAddress, spool: PathBuf) -> Self {
        let host = HostConfig::new(&id);
        let log = "info".to_owned();
        let (instruments, cameras) = (Vec::new(), Vec::new());
        Self { id, hub, hub_ca: None, spool, spool_limit_mib: SPOOL_LIMIT_MIB, log, instruments, cameras, host }
    }

    /// Reads the file, if there is one, under the options. All that is wrong is reported together.
    pub fn load(file: Option<&Path>, options: &Options) -> Result<Self, ConfigError> {
        file::load(file, options)
    }
}

/// What the command line or the environment said; it wins over the file.
#[derive(Debug, Clone, Default)]
pub struct Options {
    pub id: Option<String>,
    pub hub: Option<String>,
    pub hub_ca: Option<PathBuf>,
    pub spool: Option<PathBuf>,
    pub log: Option<String>,
}

#[derive(Debug, Clone)]
pub struct InstrumentConfig {
    pub id: DeviceId,
    pub profile: Arc<Profile>,
    pub port: PortAddress,
    pub mode: Mode,
    pub tags: Vec<String>,
    /// The instrument must have this serial number.
    pub serial_number: Option<String>,
    /// Kept after each command, in place of the profile's own.
    pub gap: Option<Duration>,
    pub serial: SerialSettings,
}

impl InstrumentConfig {
    /// As the profile has it, only watched.
    pub fn new(id: DeviceId, profile: Arc<Profile>, port: PortAddress) -> Self {
        let serial = profile.serial_settings().clone();
        Self { id, profile, port, mode: Mode::Observe, tags: Vec::new(), serial_number: None, gap: None, serial }
    }
}

#[derive(Debug, Clone)]
pub struct CameraConfig {
    pub id: DeviceId,
    pub url: CameraUrl,
    pub tags: Vec<String>,
}

/// Everything found wrong, one line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    pub problems: Vec<String>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problems.join("\n"))
    }
}

impl std::error::Error for ConfigError {}

/// The name of this host, made to fit an agent id.
fn default_id() -> AgentId {
    let name = host_name();
    let fitting: String = name
        .to_ascii_lowercase()
        .chars()
        .map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' { c } else { '-' })
        .take(rigwire_shared::ids::NAME_MAX)
        .collect();
    let id = AgentId::new(fitting.trim_matches('-')).or_else(|_| AgentId::new("agent"));
    #[expect(clippy::expect_used, reason = "the constant is spelled as an id must be")]
    id.expect("agent is an agent id")
}

pub(crate) fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "unknown".to_owned() } else { name.to_owned() }
}

#[cfg(test)]
mod tests;
