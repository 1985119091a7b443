//! The command line: what can be asked for, and the parts that every command shares.

use clap::{Parser, Subcommand};

use crate::dialect::Dialect;

pub mod serve;
pub mod token;
pub mod up;

#[derive(Debug, Parser)]
#[command(name = "rigwire", version, about = "Runs plans on a fleet of instruments and phones, and shows them live")]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run everything in one process: hub, broker, record and an agent for this host's devices
    Up(up::Arguments),
    /// Run the hub; agents on other machines connect to its broker
    Serve(crate::settings::Options),
    /// Make, list and revoke the tokens that let people, programs and agents in
    #[command(subcommand)]
    Token(token::Command),
}

/// Log lines go to standard error; standard output is for what was asked for.
fn start_log(filter: &str) -> anyhow::Result<()> {
    let filter = tracing_subscriber::EnvFilter::builder()
        .parse(format!("{filter},mqtt5=warn,rumqttc=warn"))
        .map_err(|error| anyhow::anyhow!("log is {filter:?}, expected a level such as info or a filter: {error}"))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .try_init()
        .map_err(|error| anyhow::anyhow!("starting the log: {error}"))
}

/// Returns when the process is asked to end.
async fn stop_signal() -> anyhow::Result<&'static str> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(tokio::select! {
        _ = interrupt.recv() => "SIGINT",
        _ = terminate.recv() => "SIGTERM",
    })
}

/// Prints a line to standard output. A reader that went away is no reason to stop.
fn say(line: std::fmt::Arguments<'_>) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
        tracing::debug!("standard output is closed");
    }
}

/// The URLs that a user needs next.
fn say_urls(server: &crate::server::Server) {
    let address = server.address;
    let (http, ws) = (server.app.scheme.of_requests(), server.app.scheme.of_sockets());
    say(format_args!("dashboard       {http}://{address}/"));
    for dialect in Dialect::ALL {
        say(format_args!("{:<15} {ws}://{address}{}", dialect.as_str(), dialect.room().shown));
    }
    say(format_args!("agents connect  {}", server.broker));
    if let Some(address) = server.mqtt_tls {
        say(format_args!("or over TLS     mqtts://{address}"));
    }
    if let Some(authority) = &server.authority {
        say(format_args!("authority       {} (curl --cacert, and what browsers import)", authority.display()));
    }
}
