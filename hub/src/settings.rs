//! What the hub is told at its start: option, then variable, then file, then default.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::{Args, ValueEnum};
use serde::Deserialize;

use crate::access::origin::Origins;
use crate::artifact::Limits;
use crate::lease::LIFE_DEFAULT;
use crate::responder;
use crate::tls::Source;
use rigwire_shared::broker::BrokerAddress;

pub mod limits;

const LISTEN: &str = "127.0.0.1:8000";
const MQTT_LISTEN: &str = "127.0.0.1:1883";
/// Below, the way to an agent and back would matter; above, a lost hub would leave hardware as it was for too long.
const LEASE_LIFE_MIN: Duration = Duration::from_secs(3);
const LEASE_LIFE_MAX: Duration = Duration::from_secs(3600);
const RESPONDER_TIMEOUT_MIN: Duration = Duration::from_millis(100);
const RESPONDER_TIMEOUT_MAX: Duration = Duration::from_secs(600);
const DATA: &str = "./rigwire-data";

/// Options that `up` and `serve` share. Each is also a key of the file, spelled alike, and a variable.
#[derive(Debug, Clone, Default, Args)]
pub struct Options {
    /// Address of the HTTP and WebSocket server [default: 127.0.0.1:8000]
    #[arg(long, env = "RIGWIRE_LISTEN", value_name = "ADDRESS", value_parser = address)]
    pub listen: Option<SocketAddr>,
    /// Address of the embedded MQTT broker [default: 127.0.0.1:1883]
    #[arg(long, env = "RIGWIRE_MQTT_LISTEN", value_name = "ADDRESS", value_parser = address, conflicts_with = "mqtt")]
    pub mqtt_listen: Option<SocketAddr>,
    /// Use an outside broker instead: mqtt://host:port, mqtt://user:password@host:port, or mqtts:// by TLS
    #[arg(long, env = "RIGWIRE_MQTT", value_name = "URL", hide_env_values = true)]
    pub mqtt: Option<String>,
    /// PEM file with the authority of an outside broker by mqtts:// [default: the authorities of this host]
    #[arg(long, env = "RIGWIRE_MQTT_CA", value_name = "FILE")]
    pub mqtt_ca: Option<PathBuf>,
    /// Address for MQTT over TLS in front of the embedded broker; needs a certificate [default: none]
    #[arg(long, env = "RIGWIRE_MQTT_TLS_LISTEN", value_name = "ADDRESS", value_parser = address, conflicts_with = "mqtt")]
    pub mqtt_tls_listen: Option<SocketAddr>,
    /// PEM file with the hub's certificate and the chain above it: HTTP and WebSockets are then TLS
    #[arg(long, env = "RIGWIRE_TLS_CERTIFICATE", value_name = "FILE", requires = "tls_key")]
    pub tls_certificate: Option<PathBuf>,
    /// PEM file with the certificate's key
    #[arg(long, env = "RIGWIRE_TLS_KEY", value_name = "FILE", requires = "tls_certificate")]
    pub tls_key: Option<PathBuf>,
    /// TLS with a certificate that the hub makes, by an authority in its data directory
    #[arg(long, env = "RIGWIRE_TLS", value_name = "MODE", conflicts_with = "tls_certificate")]
    pub tls: Option<TlsMode>,
    /// Directory of the record and the procedures [default: ./rigwire-data]
    #[arg(long, env = "RIGWIRE_DATA", value_name = "DIRECTORY")]
    pub data: Option<PathBuf>,
    /// TOML file with the same settings
    #[arg(long, env = "RIGWIRE_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Whether clients and agents need a token: none or token. Without one the hub listens on loopback only, unless none is
    /// said here
    #[arg(long, env = "RIGWIRE_AUTH", value_name = "MODE")]
    pub auth: Option<Auth>,
    /// Origins of pages elsewhere that may use the hub, separated by commas, or * for all
    #[arg(long, env = "RIGWIRE_CORS_ORIGINS", value_name = "ORIGINS", value_delimiter = ',')]
    pub cors_origins: Option<Vec<String>>,
    /// Largest file of a run that is kept, in MiB [default: 256]
    #[arg(long, env = "RIGWIRE_ARTIFACT_FILE_MIB", value_name = "MIB")]
    pub artifact_file_mib: Option<u32>,
    /// Files of one run that are kept, in MiB together [default: 1024]
    #[arg(long, env = "RIGWIRE_ARTIFACT_RUN_MIB", value_name = "MIB")]
    pub artifact_run_mib: Option<u32>,
    /// How long an agent lets a run act without hearing from the hub: then it ends the step and makes the device safe, if that
    /// is how the device is kept [default: 90s]
    #[arg(long, env = "RIGWIRE_LEASE_LIFE", value_name = "DURATION")]
    pub lease_life: Option<String>,
    /// Who answers what is no command line in the chat: none, mqtt, or http://host:port/path [default: none]
    #[arg(long, env = "RIGWIRE_CHAT_RESPONDER", value_name = "RESPONDER", hide_env_values = true)]
    pub chat_responder: Option<String>,
    /// How long an answer in the chat may take [default: 30s]
    #[arg(long, env = "RIGWIRE_CHAT_RESPONDER_TIMEOUT", value_name = "DURATION")]
    pub chat_responder_timeout: Option<String>,
    /// Level or filter of the log on standard error [default: info]
    #[arg(long, env = "RIGWIRE_LOG", value_name = "LEVEL")]
    pub log: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Auth {
    /// Everyone who reaches the hub may use it.
    None,
    /// Who has a token may use it, as far as the token's role goes.
    Token,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TlsMode {
    /// By an authority that the hub makes in its data directory.
    Development,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct File {
    listen: Option<SocketAddr>,
    mqtt_listen: Option<SocketAddr>,
    mqtt: Option<String>,
    mqtt_ca: Option<PathBuf>,
    mqtt_tls_listen: Option<SocketAddr>,
    tls_certificate: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    tls: Option<TlsMode>,
    data: Option<PathBuf>,
    auth: Option<Auth>,
    cors_origins: Option<Vec<String>>,
    artifact_file_mib: Option<u32>,
    artifact_run_mib: Option<u32>,
    lease_life: Option<String>,
    log: Option<String>,
    limits: limits::Limits,
    chat: ChatFile,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct ChatFile {
    responder: Option<String>,
    responder_timeout: Option<String>,
}

#[derive(Debug, Clone)]
pub struct Settings {
    pub listen: SocketAddr,
    pub broker: BrokerChoice,
    pub mqtt_ca: Option<PathBuf>,
    pub mqtt_tls_listen: Option<SocketAddr>,
    pub tls: Option<Source>,
    pub data: PathBuf,
    pub artifacts: Limits,
    pub lease_life: Duration,
    pub auth: Auth,
    pub origins: Origins,
    pub limits: limits::Limits,
    pub chat: responder::Settings,
    pub log: String,
}

#[derive(Debug, Clone)]
pub enum BrokerChoice {
    Embedded(SocketAddr),
    Outside(BrokerAddress),
}

impl Settings {
    pub fn load(options: Options) -> anyhow::Result<Self> {
        let file = options.config.as_deref().map(read).transpose()?.unwrap_or_default();
        Self::load_with(options, file)
    }

    fn load_with(options: Options, file: File) -> anyhow::Result<Self> {
        let listen = options.listen.or(file.listen).map_or_else(|| LISTEN.parse(), Ok)?;
        let auth = options.auth.or(file.auth);
        let closed = auth.is_none();
        if closed && !listen.ip().is_loopback() {
            anyhow::bail!(
                "listen is {listen}, which others can reach, and clients need no token: \
                 listen on 127.0.0.1, say auth token, or say auth none if everyone who reaches it may use the hardware"
            );
        }
        // An option for one kind of broker beats a file's key for the other.
        let outside = match (options.mqtt, options.mqtt_listen) {
            (Some(url), _) => Some(url),
            (None, Some(_)) => None,
            (None, None) => file.mqtt,
        };
        let broker = match outside {
            Some(url) => BrokerChoice::Outside(url.parse().map_err(|error| anyhow::anyhow!("mqtt: {error}"))?),
            None => {
                let listen = options.mqtt_listen.or(file.mqtt_listen).map_or_else(|| MQTT_LISTEN.parse(), Ok)?;
                if closed && !listen.ip().is_loopback() {
                    anyhow::bail!(
                        "mqtt-listen is {listen}, which others can reach, and agents need no password: \
                         listen on 127.0.0.1, say auth token, or say auth none if everyone who reaches it may use \
                         the hardware"
                    );
                }
                BrokerChoice::Embedded(listen)
            }
        };
        let tls = match (options.tls, options.tls_certificate, options.tls_key) {
            (None, None, None) => source(file.tls, file.tls_certificate, file.tls_key)?,
            (mode, certificate, key) => source(mode, certificate, key)?,
        };
        let mqtt_tls_listen = match &broker {
            BrokerChoice::Embedded(_) => options.mqtt_tls_listen.or(file.mqtt_tls_listen),
            BrokerChoice::Outside(_) => None,
        };
        if let Some(listen) = mqtt_tls_listen {
            anyhow::ensure!(
                tls.is_some(),
                "mqtt-tls-listen needs a certificate: give tls-certificate and tls-key, or say tls development"
            );
            anyhow::ensure!(
                !closed || listen.ip().is_loopback(),
                "mqtt-tls-listen is {listen}, which others can reach, and agents need no password: \
                 listen on 127.0.0.1, say auth token, or say auth none if everyone who reaches it may use the hardware"
            );
        }
        let mib = |asked: Option<u32>, bytes: u64| asked.map_or(bytes, |mib| u64::from(mib) << 20);
        let default = Limits::default();
        let artifacts = Limits {
            file: mib(options.artifact_file_mib.or(file.artifact_file_mib), default.file),
            run: mib(options.artifact_run_mib.or(file.artifact_run_mib), default.run),
        };
        Ok(Self {
            listen,
            broker,
            mqtt_ca: options.mqtt_ca.or(file.mqtt_ca),
            mqtt_tls_listen,
            tls,
            artifacts,
            data: options.data.or(file.data).unwrap_or_else(|| PathBuf::from(DATA)),
            lease_life: options.lease_life.or(file.lease_life).as_deref().map_or(Ok(LIFE_DEFAULT), life)?,
            auth: auth.unwrap_or(Auth::None),
            origins: Origins::new(&options.cors_origins.or(file.cors_origins).unwrap_or_default())?,
            limits: file.limits,
            chat: chat(
                options.chat_responder.or(file.chat.responder).as_deref(),
                options.chat_responder_timeout.or(file.chat.responder_timeout).as_deref(),
            )?,
            log: options.log.or(file.log).unwrap_or_else(|| "info".to_owned()),
        })
    }
}

fn source(mode: Option<TlsMode>, certificate: Option<PathBuf>, key: Option<PathBuf>) -> anyhow::Result<Option<Source>> {
    match (mode, certificate, key) {
        (None, None, None) => Ok(None),
        (Some(TlsMode::Development), None, None) => Ok(Some(Source::Development)),
        (None, Some(certificate), Some(key)) => Ok(Some(Source::Files { certificate, key })),
        (None, Some(_), None) => anyhow::bail!("tls-certificate is given and tls-key is not: they belong together"),
        (None, None, Some(_)) => anyhow::bail!("tls-key is given and tls-certificate is not: they belong together"),
        (Some(_), _, _) => {
            anyhow::bail!("tls makes a certificate, and tls-certificate or tls-key names one: choose one")
        }
    }
}

fn life(text: &str) -> anyhow::Result<Duration> {
    match humantime::parse_duration(text) {
        Ok(life) if (LEASE_LIFE_MIN..=LEASE_LIFE_MAX).contains(&life) => Ok(life),
        Ok(_) | Err(_) => anyhow::bail!("lease-life is {text:?}, expected a duration from 3s to 1h, such as \"90s\""),
    }
}

fn chat(responder: Option<&str>, timeout: Option<&str>) -> anyhow::Result<responder::Settings> {
    let default = responder::Settings::default();
    let choice = responder.map_or(Ok(default.choice), str::parse);
    let choice = choice.map_err(|error| anyhow::anyhow!("the chat's responder: {error}"))?;
    let patience = timeout.map_or(Ok(default.patience), |text| match humantime::parse_duration(text) {
        Ok(patience) if (RESPONDER_TIMEOUT_MIN..=RESPONDER_TIMEOUT_MAX).contains(&patience) => Ok(patience),
        Ok(_) | Err(_) => Err(anyhow::anyhow!(
            "responder-timeout is {text:?}, expected a duration from 100ms to 10m, such as \"30s\""
        )),
    })?;
    Ok(responder::Settings { choice, patience })
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "expected an IP address and a port, such as 127.0.0.1:8000 or [::1]:8000".to_owned())
}

fn read(path: &Path) -> anyhow::Result<File> {
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    parse(&text, &path.display().to_string())
}

fn parse(text: &str, source: &str) -> anyhow::Result<File> {
    toml::from_str(text).map_err(|error| {
        let line = error
            .span()
            .map_or(1, |span| text.as_bytes().iter().take(span.start).filter(|byte| **byte == b'\n').count() + 1);
        let message = error.message().lines().map(str::trim).collect::<Vec<_>>().join(", ");
        anyhow::anyhow!("{source}:{line}: {message}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(options: Options) -> Result<Settings, String> {
        Settings::load(options).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn an_option_beats_the_file_and_the_file_beats_the_default() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hub.toml");
        std::fs::write(&path, "listen = \"127.0.0.1:9000\"\nmqtt = \"mqtt://broker:1884\"\nartifact-file-mib = 1\n")
            .unwrap();
        let options = Options { config: Some(path), ..Options::default() };
        let settings = load(options.clone()).unwrap();
        assert_eq!(settings.listen.port(), 9000);
        assert!(matches!(&settings.broker, BrokerChoice::Outside(address) if address.port() == 1884));
        let settings = load(Options {
            listen: Some("127.0.0.1:9001".parse().unwrap()),
            mqtt_listen: Some("127.0.0.1:1900".parse().unwrap()),
            ..options
        })
        .unwrap();
        assert_eq!(settings.listen.port(), 9001);
        assert!(matches!(settings.broker, BrokerChoice::Embedded(address) if address.port() == 1900));
        assert_eq!(settings.data, PathBuf::from(DATA));
        assert_eq!(settings.artifacts, Limits { file: 1 << 20, run: 1 << 30 });
    }

    #[test]
    fn a_broken_file_names_line_and_key() {
        let error = parse("log = \"info\"\nlisten-on = \"127.0.0.1:1\"\n", "hub.toml").unwrap_err();
        assert_eq!(
            error.to_string(),
            "hub.toml:2: unknown field `listen-on`, expected one of `listen`, `mqtt-listen`, `mqtt`, `mqtt-ca`, `mqtt-tls-listen`, `tls-certificate`, `tls-key`, `tls`, `data`, `auth`, `cors-origins`, `artifact-file-mib`, `artifact-run-mib`, `lease-life`, `log`, `limits`, `chat`"
        );
    }

    /// What the example says of a key is what the hub does without it.
    #[test]
    fn the_example_is_read_and_true() {
        let text = include_str!("../../config/hub.example.toml");
        let file = parse(text, "hub.example.toml").unwrap();
        assert_eq!(file.limits, limits::Limits::default());
        // All keys of the tables are there, spelt as they are written out.
        let example: toml::Table = toml::from_str(text).unwrap();
        assert_eq!(example["limits"], toml::Value::try_from(limits::Limits::default()).unwrap());
        let of_file = Settings::load_with(Options::default(), file).unwrap();
        assert_eq!(format!("{of_file:?}"), format!("{:?}", load(Options::default()).unwrap()));
        let unknown = parse("x = 1", "x").unwrap_err().to_string();
        for key in unknown.split('`').skip(3).step_by(2) {
            let explained = |line: &str| line.trim_start_matches("# ").starts_with(&format!("{key} = "));
            let table = format!("[{key}]");
            assert!(text.lines().any(|line| line == table || explained(line)), "{key} is not explained");
        }
    }

    #[test]
    fn a_certificate_needs_its_key() {
        let path = || Some(PathBuf::from("x.pem"));
        for (options, expected) in [
            (Options { tls_certificate: path(), ..Options::default() }, "tls-certificate is given and tls-key is not"),
            (Options { tls_key: path(), ..Options::default() }, "tls-key is given and tls-certificate is not"),
            (
                Options { tls: Some(TlsMode::Development), tls_key: path(), ..Options::default() },
                "tls makes a certificate, and tls-certificate or tls-key names one",
            ),
            (
                Options { mqtt_tls_listen: Some("127.0.0.1:0".parse().unwrap()), ..Options::default() },
                "mqtt-tls-listen needs a certificate",
            ),
        ] {
            let error = load(options).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
        let files = Options { tls_certificate: path(), tls_key: path(), ..Options::default() };
        assert!(matches!(load(files).unwrap().tls, Some(Source::Files { .. })));
        let development = Options { tls: Some(TlsMode::Development), ..Options::default() };
        assert_eq!(load(development).unwrap().tls, Some(Source::Development));
    }

    #[test]
    fn a_limit_is_a_number_above_zero() {
        let error = parse("[limits]\nrequest-headers = 0\n", "hub.toml").unwrap_err();
        assert!(error.to_string().starts_with("hub.toml:2: invalid value: integer `0`"), "{error}");
        let error = parse("[limits]\nheaders = 1\n", "hub.toml").unwrap_err();
        assert!(error.to_string().starts_with("hub.toml:2: unknown field `headers`, expected one of"), "{error}");
        let file = parse("[limits]\nconnections-per-address = 7\n", "hub.toml").unwrap();
        assert_eq!(file.limits.connections().per_address, 7);
        assert_eq!(file.limits.connections().total, 16_000);
    }

    #[test]
    fn a_number_of_a_protocol_is_read_within_its_bounds() {
        let read = |text: &str| parse(text, "hub.toml").map(|file| file.limits).map_err(|error| error.to_string());
        let farm = "\n[limits.protocols.device-farm]\n";
        let limits =
            read(&format!("{farm}previews = 2\nstate-kept = \"0s\"\n[limits.sockets]\nmessage-kib = 1\n")).unwrap();
        assert_eq!((limits.protocols.device_farm.previews, limits.protocols.device_farm.connections), (2, 10));
        assert_eq!((limits.protocols.device_farm.state_kept, limits.sockets.message_kib), (Duration::ZERO, 1));
        for (text, expected) in [
            (
                format!("{farm}connections = 0"),
                "hub.toml:3: invalid value: integer `0`, expected connections to be a whole number from 1 to 10000",
            ),
            (
                format!("{farm}\ninactivity = \"soon\""),
                "hub.toml:4: invalid value: string \"soon\", expected inactivity to be a duration from 1s to 7days, such as \"7days\"",
            ),
            (
                "[limits.protocols.agent-events]\nerror = 1".to_owned(),
                "hub.toml:2: unknown field `error`, expected one of `connections`, `heartbeat-interval`, `errors`, `sweep-interval`",
            ),
            (
                "[limits.protocols.device_farm]".to_owned(),
                "hub.toml:1: unknown field `device_farm`, expected one of `protocol-runs`, `device-farm`, `agent-events`, `solver-runs`, `test-dashboard`",
            ),
            (
                "[limits.protocols.solver-runs]\nconnections = 1".to_owned(),
                "hub.toml:2: unknown field `connections`, there are no fields",
            ),
        ] {
            assert_eq!(read(&text).unwrap_err(), expected);
        }
    }

    #[test]
    fn the_life_of_leases_is_a_duration_within_bounds() {
        let life = |text: &str| load(Options { lease_life: Some(text.to_owned()), ..Options::default() });
        assert_eq!(life("5s").unwrap().lease_life, Duration::from_secs(5));
        assert_eq!(load(Options::default()).unwrap().lease_life, Duration::from_secs(90));
        for text in ["1s", "2h", "long", ""] {
            let expected = format!("lease-life is {text:?}, expected a duration from 3s to 1h, such as \"90s\"");
            assert_eq!(life(text).unwrap_err(), expected);
        }
    }

    #[test]
    fn an_open_door_must_be_asked_for() {
        let open = Options { listen: Some("0.0.0.0:8000".parse().unwrap()), ..Options::default() };
        assert!(load(open.clone()).unwrap_err().starts_with("listen is 0.0.0.0:8000, which others can reach"));
        assert!(load(Options { auth: Some(Auth::None), ..open }).is_ok());
        let open = Options { mqtt_listen: Some("0.0.0.0:1883".parse().unwrap()), ..Options::default() };
        assert!(load(open.clone()).unwrap_err().starts_with("mqtt-listen is 0.0.0.0:1883, which others can reach"));
        assert!(load(Options { auth: Some(Auth::None), ..open }).is_ok());
    }
}
