//! `rigwire-agent run`: one agent in the foreground, on one thread.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::agent;
use crate::config::{Config, Options};

/// What the command line says wins over the environment, which wins over the file.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The hub's MQTT broker: mqtt://host:1883, mqtt://user:password@host:1883, or mqtts:// by TLS [default: mqtt://127.0.0.1:1883]
    #[arg(long, value_name = "URL", env = "RIGWIRE_HUB", hide_env_values = true)]
    hub: Option<String>,
    /// PEM file with the authority of a hub by mqtts:// [default: the authorities of this host]
    #[arg(long, value_name = "FILE", env = "RIGWIRE_HUB_CA")]
    hub_ca: Option<PathBuf>,
    /// Name of this agent: 1 to 64 of a to z, 0 to 9, _ and - [default: the name of the host]
    #[arg(long, value_name = "NAME", env = "RIGWIRE_ID")]
    id: Option<String>,
    /// Configuration file, with the instruments; without one there are none
    #[arg(long, value_name = "FILE", env = "RIGWIRE_CONFIG")]
    config: Option<PathBuf>,
    /// Directory where events wait until the hub has them [default: rigwire-spool]
    #[arg(long, value_name = "DIR", env = "RIGWIRE_SPOOL")]
    spool: Option<PathBuf>,
    /// error, warn, info, debug, trace, or a filter such as info,rigwire_agent=debug [default: info]
    #[arg(long, value_name = "LEVEL", env = "RIGWIRE_LOG")]
    log: Option<String>,
}

impl Arguments {
    /// Reads the file under these options.
    pub fn load(&self) -> anyhow::Result<Config> {
        // A variable that is set to nothing is not set: scripts and unit files leave them so.
        let said = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let named = |path: &Option<PathBuf>| path.clone().filter(|path| !path.as_os_str().is_empty());
        let options = Options {
            id: said(&self.id),
            hub: said(&self.hub),
            hub_ca: named(&self.hub_ca),
            spool: named(&self.spool),
            log: said(&self.log),
        };
        Ok(Config::load(named(&self.config).as_deref(), &options)?)
    }
}

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let config = arguments.load()?;
    let filter = EnvFilter::try_new(&config.log).with_context(|| format!("reading the log filter {:?}", config.log))?;
    let ansi = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(ansi).init();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting the runtime")?;
    runtime.block_on(until_signalled(config))
}

async fn until_signalled(config: Config) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    let shutdown = CancellationToken::new();
    let agent = agent::run(config, shutdown.clone());
    tokio::pin!(agent);
    let name = tokio::select! {
        ended = &mut agent => return ended,
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    };
    tracing::info!(signal = name, "the agent stops");
    shutdown.cancel();
    agent.await
}
