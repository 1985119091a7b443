//! The file as it is written, and every check of it: `file:line: key: what is wrong, what was expected`.

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rigwire_shared::ids::{AgentId, DeviceId};
use serde::Deserialize;
use toml::Spanned;

use super::{
    BrokerAddress, CameraConfig, CameraUrl, Config, ConfigError, InstrumentConfig, Mode, Options, SPOOL_LIMIT_MIB,
    SPOOL_LIMIT_MIB_MIN,
};
use crate::port::PortAddress;
use crate::profile::{Parity, Profile, SerialSettings};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    id: Option<Spanned<String>>,
    hub: Option<Spanned<String>>,
    hub_ca: Option<PathBuf>,
    spool: Option<PathBuf>,
    spool_limit_mib: Option<Spanned<u64>>,
    log: Option<Spanned<String>>,
    #[serde(default)]
    profile_dirs: Vec<PathBuf>,
    #[serde(default)]
    instrument: Vec<Instrument>,
    #[serde(default)]
    camera: Vec<Camera>,
    host: Option<super::program::Host>,
    #[serde(default)]
    program: Vec<super::program::Program>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Instrument {
    id: Spanned<String>,
    profile: Spanned<String>,
    port: Spanned<String>,
    #[serde(default)]
    mode: ModeWord,
    #[serde(default)]
    tags: Vec<String>,
    serial_number: Option<String>,
    gap_ms: Option<u64>,
    baud: Option<Spanned<u32>>,
    data: Option<Spanned<u8>>,
    parity: Option<ParityWord>,
    stop: Option<Spanned<u8>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Camera {
    id: Spanned<String>,
    url: Spanned<String>,
    #[serde(default)]
    tags: Vec<String>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ModeWord {
    #[default]
    Observe,
    Own,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ParityWord {
    None,
    Even,
    Odd,
}

pub(super) fn load(path: Option<&Path>, options: &Options) -> Result<Config, ConfigError> {
    let text = match path {
        None => String::new(),
        Some(path) => std::fs::read_to_string(path)
            .map_err(|error| ConfigError { problems: vec![format!("{}: {error}", path.display())] })?,
    };
    let name = path.map(|path| path.display().to_string()).unwrap_or_default();
    let directory = path.and_then(Path::parent).unwrap_or(Path::new(""));
    let mut check = Check { name: &name, text: &text, problems: Vec::new() };
    let file: File = match toml::from_str(&text) {
        Ok(file) => file,
        Err(error) => {
            check.toml(&error);
            return Err(ConfigError { problems: check.problems });
        }
    };
    let config = check.config(file, directory, options);
    match config.filter(|_| check.problems.is_empty()) {
        Some(config) => Ok(config),
        None => Err(ConfigError { problems: check.problems }),
    }
}

pub(super) struct Check<'a> {
    pub(super) name: &'a str,
    text: &'a str,
    problems: Vec<String>,
}

impl Check<'_> {
    fn config(&mut self, file: File, directory: &Path, options: &Options) -> Option<Config> {
        let File { id, hub, hub_ca, spool, spool_limit_mib, log, profile_dirs, instrument, camera, host, program } =
            file;
        let id = self.either("id", options.id.as_deref(), id, |text| {
            AgentId::new(text).map_err(|error| {
                format!("{text:?} is not an agent id: {error}, expected 1 to 64 of a to z, 0 to 9, _ and -")
            })
        });
        let hub = self.either("hub", options.hub.as_deref(), hub, str::parse::<BrokerAddress>);
        let log = self.either("log", options.log.as_deref(), log, |text| {
            tracing_subscriber::EnvFilter::try_new(text).map(|_| text.to_owned()).map_err(|_| {
                format!("{text:?} is not a log filter, expected error, warn, info, debug, trace or target=level")
            })
        });
        let limit = spool_limit_mib.and_then(|limit| {
            let mib = *limit.get_ref();
            if mib < SPOOL_LIMIT_MIB_MIN {
                self.complain(
                    &limit.span(),
                    "spool-limit-mib",
                    &format!("{mib} is too small, expected at least {SPOOL_LIMIT_MIB_MIN}"),
                );
            }
            (mib >= SPOOL_LIMIT_MIB_MIN).then_some(mib)
        });
        let dirs: Vec<PathBuf> = profile_dirs.iter().map(|dir| directory.join(dir)).collect();
        let mut seen = Seen::default();
        let instruments: Vec<_> = instrument
            .into_iter()
            .filter_map(|instrument| self.instrument(instrument, directory, &dirs, &mut seen))
            .collect();
        let cameras = camera.into_iter().filter_map(|camera| self.camera(camera, &mut seen)).collect();
        let spool = options.spool.clone().or_else(|| spool.map(|spool| directory.join(spool)));
        let id = id?.unwrap_or_else(super::default_id);
        let host = self.host(host, program, directory, &id, &mut seen);
        Some(Config {
            id,
            host,
            hub_ca: options.hub_ca.clone().or_else(|| hub_ca.map(|path| directory.join(path))),
            hub: hub?.unwrap_or_else(|| BrokerAddress::new("127.0.0.1", 1883)),
            spool: spool.unwrap_or_else(|| PathBuf::from("rigwire-spool")),
            spool_limit_mib: limit.unwrap_or(SPOOL_LIMIT_MIB),
            log: log?.unwrap_or_else(|| "info".to_owned()),
            instruments,
            cameras,
        })
    }

    /// The option, else the key of the file, else nothing. `None` when what counts is wrong.
    fn either<T>(
        &mut self,
        key: &str,
        option: Option<&str>,
        value: Option<Spanned<String>>,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Option<T>> {
        let result = match (option, &value) {
            (Some(text), _) => parse(text).map_err(|error| format!("option --{key}: {error}")),
            (None, Some(value)) => {
                parse(value.get_ref()).map_err(|error| format!("{}: {key}: {error}", self.place(value.span().start)))
            }
            (None, None) => return Some(None),
        };
        match result {
            Ok(parsed) => Some(Some(parsed)),
            Err(problem) => {
                self.problems.push(problem);
                None
            }
        }
    }

    fn instrument(
        &mut self,
        instrument: Instrument,
        directory: &Path,
        dirs: &[PathBuf],
        seen: &mut Seen,
    ) -> Option<InstrumentConfig> {
        let id = self.device_id(&instrument.id, seen);
        let port = self.port(&instrument.port, instrument.id.get_ref(), seen);
        let profile = self.profile(&instrument.profile, directory, dirs);
        let data = self.within(instrument.data.as_ref(), "data", 5, 8);
        let stop = self.within(instrument.stop.as_ref(), "stop", 1, 2);
        if let Some(baud) = instrument.baud.as_ref().filter(|baud| *baud.get_ref() == 0) {
            self.complain(&baud.span(), "baud", "0 is no speed, expected a number such as 9600");
        }
        let (id, port, profile) = (id?, port?, profile?);
        let mut config = InstrumentConfig::new(id, profile, port);
        let serial = &mut config.serial;
        *serial = SerialSettings {
            baud: instrument.baud.map_or(serial.baud, Spanned::into_inner),
            data: data.unwrap_or(serial.data),
            parity: match instrument.parity {
                Some(ParityWord::None) => Parity::None,
                Some(ParityWord::Even) => Parity::Even,
                Some(ParityWord::Odd) => Parity::Odd,
                None => serial.parity,
            },
            stop: stop.unwrap_or(serial.stop),
            ..serial.clone()
        };
        config.mode = match instrument.mode {
            ModeWord::Observe => Mode::Observe,
            ModeWord::Own => Mode::Own,
        };
        config.tags = instrument.tags;
        config.serial_number = instrument.serial_number;
        config.gap = instrument.gap_ms.map(Duration::from_millis);
        Some(config)
    }

    fn camera(&mut self, camera: Camera, seen: &mut Seen) -> Option<CameraConfig> {
        let Camera { id, url, tags } = camera;
        let id = self.device_id(&id, seen);
        match url.get_ref().parse::<CameraUrl>() {
            Ok(url) => Some(CameraConfig { id: id?, url, tags }),
            Err(message) => {
                self.complain(&url.span(), "url", &message);
                None
            }
        }
    }

    pub(super) fn device_id(&mut self, id: &Spanned<String>, seen: &mut Seen) -> Option<DeviceId> {
        let text = id.get_ref();
        let parsed = match DeviceId::new(text) {
            Ok(parsed) => parsed,
            Err(error) => {
                let message =
                    format!("{text:?} is not a device id: {error}, expected 1 to 64 letters, digits and _ - . :");
                self.complain(&id.span(), "id", &message);
                return None;
            }
        };
        let line = self.line(id.span().start);
        if let Some(first) = seen.ids.insert(parsed.clone(), line) {
            let message = format!("{text:?} is the id of the device in line {first} too, expected one id for each");
            self.complain(&id.span(), "id", &message);
            return None;
        }
        Some(parsed)
    }

    fn port(&mut self, port: &Spanned<String>, id: &str, seen: &mut Seen) -> Option<PortAddress> {
        let text = port.get_ref();
        let parsed = match text.parse::<PortAddress>() {
            Ok(parsed) => parsed,
            Err(message) => {
                self.complain(&port.span(), "port", &message);
                return None;
            }
        };
        if text.starts_with("/dev/usbtmc") {
            let message = format!(
                "{text:?} is a USBTMC device, which is not driven yet, expected a serial device or tcp://host:port"
            );
            self.complain(&port.span(), "port", &message);
            return None;
        }
        // Two names may lead to one device.
        let real = match &parsed {
            PortAddress::Serial(path) => {
                PortAddress::Serial(std::fs::canonicalize(path).unwrap_or_else(|_| path.clone()))
            }
            PortAddress::Tcp { .. } => parsed.clone(),
        };
        if let Some(other) = seen.ports.insert(real, id.to_owned()) {
            let message = format!("{text:?} is the port of {other:?} too, expected one instrument on each port");
            self.complain(&port.span(), "port", &message);
            return None;
        }
        Some(parsed)
    }

    fn profile(
        &mut self,
        name: &Spanned<String>,
        directory: &Path,
        dirs: &[PathBuf],
    ) -> Option<std::sync::Arc<Profile>> {
        let text = name.get_ref();
        let is_path = text.contains('/') || text.ends_with(".toml");
        let wanted = if is_path { directory.join(text).display().to_string() } else { text.clone() };
        match Profile::find(&wanted, dirs) {
            Ok(profile) => match profile.is_driven() {
                Ok(()) => Some(profile),
                Err(message) => {
                    self.complain(&name.span(), "profile", &message);
                    None
                }
            },
            Err(error) => {
                for problem in &error.problems {
                    // A profile that was not found has no line of its own; one that is broken has.
                    let message = if problem.line == 0 {
                        format!("{}: {}", problem.file, problem.message)
                    } else {
                        problem.to_string()
                    };
                    self.complain(&name.span(), "profile", &message);
                }
                None
            }
        }
    }

    fn within(&mut self, value: Option<&Spanned<u8>>, key: &str, min: u8, max: u8) -> Option<u8> {
        let value = value?;
        let number = *value.get_ref();
        if (min..=max).contains(&number) {
            return Some(number);
        }
        self.complain(&value.span(), key, &format!("{number} is not possible, expected {min} to {max}"));
        None
    }

    fn toml(&mut self, error: &toml::de::Error) {
        let message = error.message().lines().collect::<Vec<_>>().join(", ");
        let start = error.span().map_or(0, |span| span.start);
        let line = self.text.lines().nth(self.line(start) - 1).unwrap_or_default().trim();
        let key = line.split(['=', '#']).next().unwrap_or_default().trim().trim_matches(['[', ']']);
        let key = if key.is_empty() { String::new() } else { format!("{key}: ") };
        self.problems.push(format!("{}: {key}{message}", self.place(start)));
    }

    pub(super) fn complain(&mut self, span: &Range<usize>, key: &str, message: &str) {
        self.problems.push(format!("{}: {key}: {message}", self.place(span.start)));
    }

    fn place(&self, offset: usize) -> String {
        format!("{}:{}", self.name, self.line(offset))
    }

    pub(super) fn line(&self, offset: usize) -> usize {
        self.text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
    }
}

#[derive(Default)]
pub(super) struct Seen {
    ids: HashMap<DeviceId, usize>,
    ports: HashMap<PortAddress, String>,
}
