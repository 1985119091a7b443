//! The command line: which command there is, and what its arguments are called.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub mod check;
pub mod run;

/// Drives the instruments of this host and reports to a Rigwire hub.
#[derive(Debug, Parser)]
#[command(name = "rigwire-agent", version, propagate_version = true)]
pub struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Drive the configured instruments until SIGTERM or SIGINT
    Run(run::Arguments),
    /// Read the configuration and its profiles, and say what is wrong
    Check(check::Arguments),
}

impl CommandLine {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Run(arguments) => run::run(&arguments).map(|()| ExitCode::SUCCESS),
            Command::Check(arguments) => check::run(&arguments).map(|()| ExitCode::SUCCESS),
        }
    }
}
