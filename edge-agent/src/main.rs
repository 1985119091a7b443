//! The program `rigwire-agent`: reads the command line and ends with what came of it.

use std::process::ExitCode;

use clap::Parser as _;
use rigwire_agent::commands::CommandLine;

fn main() -> ExitCode {
    match CommandLine::parse().run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
