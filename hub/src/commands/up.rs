//! `rigwire up`: hub, broker, record and an agent in one process; with `--demo`, a simulated bench to look at.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use rigwire_agent::config::Config;
use tokio_util::sync::CancellationToken;

use super::{say, say_urls, start_log, stop_signal};
use crate::demo::Demo;
use crate::server::Server;
use crate::settings::{Options, Settings};

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    pub options: Options,
    /// Put a simulated supply and meter on ptys and run a procedure on them in a loop
    #[arg(long)]
    pub demo: bool,
    /// The agent's configuration [default: agent.toml in the data directory, if it is there]
    #[arg(long, env = "RIGWIRE_AGENT_CONFIG", value_name = "FILE", conflicts_with = "demo")]
    pub agent_config: Option<PathBuf>,
}

pub async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let settings = Settings::load(arguments.options)?;
    start_log(&settings.log)?;
    say(format_args!("rigwire {}: record in {}", env!("CARGO_PKG_VERSION"), settings.data.display()));
    let mut server = Server::start(&settings).await?;
    let outcome = manage(&mut server, &settings, arguments.demo, arguments.agent_config).await;
    server.stop().await;
    outcome
}

async fn manage(server: &mut Server, settings: &Settings, demo: bool, file: Option<PathBuf>) -> anyhow::Result<()> {
    let demo = if demo { Some(Demo::start(&settings.data).await?) } else { None };
    let config = match &demo {
        Some(demo) => demo.agent_config(&server.broker)?,
        None => agent_config(&settings.data, file)?,
    };
    // Whatever a file says for an agent on its own: this one belongs to this hub.
    let config = Config { hub: server.broker_for(&config.id), hub_ca: settings.mqtt_ca.clone(), ..config };
    let instruments = config.instruments.len();
    let mut agent = Agent::start(config)?;
    say_urls(server);
    if instruments == 0 {
        say_no_instruments(&settings.data);
    }
    let app = server.app.clone();
    let outcome = tokio::select! {
        signal = stop_signal() => signal.map(|signal| tracing::info!("{signal}: stopping")),
        failure = server.failure() => Err(failure),
        ended = agent.ended() => Err(ended),
        failure = demo_runs(&demo, app) => Err(failure),
    };
    // The agent first: it leaves the hardware safe and reports it while the hub still listens.
    let stopped = agent.stop().await;
    if let Some(demo) = demo {
        demo.stop();
    }
    outcome.and(stopped)
}

async fn demo_runs(demo: &Option<Demo>, app: crate::app::App) -> anyhow::Error {
    match demo {
        Some(demo) => demo.run_for_ever(app).await,
        None => std::future::pending().await,
    }
}

fn agent_config(data: &Path, file: Option<PathBuf>) -> anyhow::Result<Config> {
    let default = data.join("agent.toml");
    let file = file.or_else(|| default.exists().then_some(default));
    let options =
        rigwire_agent::config::Options { spool: Some(data.join("spool")), ..rigwire_agent::config::Options::default() };
    Ok(Config::load(file.as_deref(), &options)?)
}

fn say_no_instruments(data: &Path) {
    say(format_args!("no instruments are configured: list them in {}, for example", data.join("agent.toml").display()));
    let port = serial_ports().into_iter().next().unwrap_or_else(|| "/dev/ttyUSB0".to_owned());
    say(format_args!(
        "  [[instrument]]\n  id = \"psu-1\"\n  profile = \"korad.ka3005p\"\n  port = \"{port}\"\n  mode = \"own\""
    ));
    let found = serial_ports();
    if !found.is_empty() {
        say(format_args!("serial ports of this host: {}", found.join(", ")));
    }
}

/// USB serial ports by the names that last.
fn serial_ports() -> Vec<String> {
    let Ok(entries) = std::fs::read_dir("/dev") else { return Vec::new() };
    let mut ports: Vec<String> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.starts_with("ttyUSB") || name.starts_with("ttyACM"))
        .map(|name| format!("/dev/{name}"))
        .collect();
    ports.sort();
    ports
}

/// The agent in a thread and a runtime of its own, as it would be in a process of its own.
struct Agent {
    stop: CancellationToken,
    thread: Option<std::thread::JoinHandle<()>>,
    outcome: tokio::sync::oneshot::Receiver<anyhow::Result<()>>,
}

impl Agent {
    fn start(config: Config) -> anyhow::Result<Self> {
        let stop = CancellationToken::new();
        let token = stop.clone();
        let (done, outcome) = tokio::sync::oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("agent".to_owned())
            .spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                let outcome = runtime
                    .context("starting the agent's runtime")
                    .and_then(|runtime| runtime.block_on(rigwire_agent::agent::run(config, token)));
                // The receiver is gone only when the whole process is ending.
                drop(done.send(outcome));
            })
            .context("starting the agent's thread")?;
        Ok(Self { stop, thread: Some(thread), outcome })
    }

    /// Returns when the agent ended by itself.
    async fn ended(&mut self) -> anyhow::Error {
        match (&mut self.outcome).await {
            Ok(Ok(())) => anyhow::anyhow!("the agent ended before the hub was stopped"),
            Ok(Err(error)) => error.context("the agent failed"),
            Err(_) => anyhow::anyhow!("the agent panicked"),
        }
    }

    async fn stop(mut self) -> anyhow::Result<()> {
        self.stop.cancel();
        let Some(thread) = self.thread.take() else { return Ok(()) };
        let joined = tokio::task::spawn_blocking(move || thread.join()).await.context("waiting for the agent")?;
        joined.map_err(|_| anyhow::anyhow!("the agent panicked"))
    }
}
