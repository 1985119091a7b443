//! The command line: which command there is, and what its arguments are called.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub mod check;
pub mod profile;
pub mod run;
pub mod simulate;

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
    Check(run::Arguments),
    /// List, check and test instrument profiles
    Profile(profile::Arguments),
    /// Play an instrument on a pseudo terminal, or a camera
    Simulate(simulate::Arguments),
}

impl CommandLine {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Run(arguments) => run::run(&arguments).map(|()| ExitCode::SUCCESS),
            Command::Check(arguments) => check::run(&arguments).map(|()| ExitCode::SUCCESS),
            Command::Profile(arguments) => profile::run(arguments),
            Command::Simulate(arguments) => simulate::run(arguments).map(|()| ExitCode::SUCCESS),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        CommandLine::command().debug_assert();
    }
}
