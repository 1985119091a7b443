//! From a configured instrument or camera to a connected driver, and to what its device task must know.

use std::time::Duration;

use rigwire_shared::agent::DeviceKind;

use super::{OpenError, Opener, SafePolicy, Settings};
use crate::config::{CameraConfig, InstrumentConfig, Mode};
use crate::driver::camera::{self, Camera, Eyes};
use crate::driver::instrument::{Instrument, InstrumentOptions};
use crate::port::{PortAddress, PortError, PortStream};
use crate::profile::Trigger;

/// A network connection does not say that its far end lost power; after so many silences it is made anew.
const TCP_SILENCES: u32 = 6;

#[derive(Debug)]
pub(crate) struct InstrumentOpener {
    config: InstrumentConfig,
}

impl InstrumentOpener {
    pub(crate) fn new(config: InstrumentConfig) -> Self {
        Self { config }
    }
}

impl Opener for InstrumentOpener {
    type Driver = Instrument<PortStream>;

    async fn open(&mut self) -> Result<Self::Driver, OpenError> {
        let config = &self.config;
        let stream = config.port.open(&config.serial).await.map_err(|error| match error {
            PortError::Missing(cause) => OpenError::Missing(cause),
            PortError::Unusable(cause) => OpenError::Unusable(cause),
        })?;
        let options = InstrumentOptions {
            mode: config.mode,
            gap_override: config.gap,
            expected_serial: config.serial_number.clone(),
        };
        Instrument::new(stream, config.id.clone(), config.profile.clone(), options)
            .map_err(|error| OpenError::Unusable(error.to_string()))
    }

    fn fingerprint(&self) -> Option<u64> {
        self.config.port.fingerprint()
    }

    fn settle(&self) -> Duration {
        match self.config.port {
            PortAddress::Serial(_) => Duration::from_millis(self.config.serial.boot_ms),
            PortAddress::Tcp { .. } => Duration::ZERO,
        }
    }

    fn reopen_after_silences(&self) -> Option<u32> {
        match self.config.port {
            PortAddress::Serial(_) => None,
            PortAddress::Tcp { .. } => Some(TCP_SILENCES),
        }
    }
}

#[derive(Debug)]
pub(crate) struct CameraOpener {
    config: CameraConfig,
    eyes: Eyes,
}

impl CameraOpener {
    pub(crate) fn new(config: CameraConfig, eyes: Eyes) -> Self {
        Self { config, eyes }
    }
}

impl Opener for CameraOpener {
    type Driver = Camera;

    async fn open(&mut self) -> Result<Camera, OpenError> {
        let CameraConfig { id, url, .. } = &self.config;
        let stream = camera::connect(url).await.map_err(|error| OpenError::Missing(error.to_string()))?;
        Ok(Camera::new(id.clone(), url.clone(), stream, self.eyes.clone()))
    }

    fn fingerprint(&self) -> Option<u64> {
        None
    }

    fn settle(&self) -> Duration {
        Duration::ZERO
    }

    fn reopen_after_silences(&self) -> Option<u32> {
        None
    }
}

/// A camera is looked at and never changed.
pub(crate) fn camera_settings(config: &CameraConfig) -> Settings {
    Settings {
        id: config.id.clone(),
        kind: DeviceKind::Camera,
        class: "camera".to_owned(),
        profile: "camera".to_owned(),
        tags: config.tags.clone(),
        location: config.url.to_string(),
        readings: Vec::new(),
        actions: Vec::new(),
        errors_every: None,
        safe: SafePolicy::default(),
    }
}

pub(crate) fn settings(config: &InstrumentConfig) -> Settings {
    let profile = &config.profile;
    let owned = config.mode == Mode::Own;
    let allowed = |id: &str| {
        profile.reading(id).is_some_and(|reading| match config.mode {
            Mode::Observe => reading.observe,
            Mode::Own => reading.own,
        })
    };
    // What is only observed is never changed, so it offers no action and is never made safe unasked.
    let safe = if owned && profile.has_safe_state() {
        SafePolicy {
            on_abort: profile.safe_on(Trigger::Abort),
            on_shutdown: profile.safe_on(Trigger::Shutdown),
            on_lease_lost: profile.safe_on(Trigger::LeaseLost),
            hub_lost_after: profile.hub_lost_after(),
        }
    } else {
        SafePolicy::default()
    };
    Settings {
        id: config.id.clone(),
        kind: DeviceKind::Instrument,
        class: profile.class.clone(),
        profile: profile.id.clone(),
        tags: config.tags.clone(),
        location: config.port.to_string(),
        readings: profile.reading_cards().into_iter().filter(|card| allowed(&card.id)).collect(),
        actions: if owned { profile.action_cards() } else { Vec::new() },
        // Reading the queue empties it, which is a change.
        errors_every: profile.errors_every().filter(|_| owned),
        safe,
    }
}
