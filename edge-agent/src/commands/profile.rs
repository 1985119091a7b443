//! `rigwire-agent profile`: checks profile files, and tests profiles against their own simulators.

mod trial;

use std::path::PathBuf;
use std::process::ExitCode;

use crate::profile::Profile;

#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Lists the profiles that are part of this program.
    List,
    /// Checks profile files and their vectors. Opens no port.
    Check {
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Tests profiles against their own simulators, also while these misbehave.
    Test {
        /// Ids of profiles, or paths of profile files.
        #[arg(required = true, value_name = "NAME_OR_FILE")]
        profiles: Vec<String>,
        /// Directory with further profiles. May be repeated.
        #[arg(long = "profile-dir", value_name = "DIR")]
        profile_dirs: Vec<PathBuf>,
    },
}

/// Fails when any of the profiles does; all of them are looked at.
pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let failed = match arguments.command {
        Command::List => list(),
        Command::Check { files } => files.iter().filter(|file| !check(file)).count(),
        Command::Test { profiles, profile_dirs } => profiles.iter().filter(|name| !test(name, &profile_dirs)).count(),
    };
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn list() -> usize {
    let mut broken = 0;
    for id in Profile::bundled_ids() {
        match Profile::bundled(id) {
            Some(Ok(profile)) => {
                let driven = if profile.is_driven().is_ok() { "" } else { " (not driven yet)" };
                println!("{id:20} {:24} {} {}{driven}", profile.class, profile.vendor, profile.model);
            }
            Some(Err(error)) => {
                println!("{error}");
                broken += 1;
            }
            None => {}
        }
    }
    broken
}

fn check(file: &std::path::Path) -> bool {
    let profile = match Profile::load(file) {
        Ok(profile) => profile,
        Err(error) => {
            println!("{error}");
            return false;
        }
    };
    match profile.check_vectors() {
        Ok(count) => {
            let driven = profile.is_driven().err().map_or_else(String::new, |missing| format!("; {missing}"));
            println!(
                "{}: ok, {} readings, {} actions, {count} vectors{driven}",
                file.display(),
                profile.readings.len(),
                profile.actions.len()
            );
            true
        }
        Err(errors) => {
            errors.iter().for_each(|error| println!("{}: {error}", file.display()));
            false
        }
    }
}

fn test(name: &str, dirs: &[PathBuf]) -> bool {
    let profile = match Profile::find(name, dirs) {
        Ok(profile) => profile,
        Err(error) => {
            println!("{error}");
            return false;
        }
    };
    let report = trial::run(&profile);
    for line in &report.lines {
        println!("{}: {line}", profile.id);
    }
    match &report.failure {
        None => println!("{}: passed", profile.id),
        Some(failure) => println!("{}: FAILED: {failure}", profile.id),
    }
    report.failure.is_none()
}
