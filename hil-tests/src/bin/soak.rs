//! `soak`: rounds of runs and mishaps by hand. Exit status 1: some round failed, and where its story is was said.

use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use rigwire_hil_tests::rig::Choice;
use rigwire_hil_tests::soak::{self, Settings};

const USAGE: &str = "usage: hil-tests/soak [--rounds 200] [--seed N] [--only ROUND] [--embedded] [--slow SECONDS]";

fn main() -> ExitCode {
    match settings(std::env::args().skip(1)).and_then(|settings| soak_and_tell(&settings)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(2)
        }
    }
}

fn settings(mut arguments: impl Iterator<Item = String>) -> Result<Settings> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("a clock before 1970")?;
    let mut settings = Settings {
        seed: now.as_secs(),
        rounds: 200,
        only: None,
        broker: Choice::Mosquitto,
        within: None,
        slow: None,
        stories: std::env::temp_dir(),
    };
    while let Some(argument) = arguments.next() {
        if argument == "--embedded" {
            settings.broker = Choice::Embedded;
            continue;
        }
        let mut number = || -> Result<u64> {
            let text = arguments.next().with_context(|| format!("{argument} needs a number\n{USAGE}"))?;
            text.parse().with_context(|| format!("{argument} {text}: expected a whole number\n{USAGE}"))
        };
        match argument.as_str() {
            "--rounds" => settings.rounds = number()?,
            "--seed" => settings.seed = number()?,
            "--slow" => settings.slow = Some(Duration::from_secs(number()?)),
            "--only" => settings.only = Some(number()?),
            other => bail!("there is no option {other}\n{USAGE}"),
        }
    }
    Ok(settings)
}

fn soak_and_tell(settings: &Settings) -> Result<bool> {
    let broker = match settings.broker {
        Choice::Mosquitto => "mosquitto",
        Choice::Embedded => "the hub's own broker",
    };
    println!("seed {}, {} rounds, {broker}", settings.seed, settings.only.map_or(settings.rounds, |_| 1));
    let began = Instant::now();
    let summary = soak::run(settings)?;
    println!("\n{} rounds passed, {} failed: {:?}", summary.passed, summary.failed.len(), summary.failed);
    println!(
        "{} runs with {} events in {} s, slowest round {:.1} s",
        summary.runs,
        summary.events,
        began.elapsed().as_secs(),
        summary.slowest.as_secs_f64()
    );
    for (end, count) in &summary.ends {
        println!("{count:6} runs ended {end}");
    }
    Ok(summary.failed.is_empty() && summary.passed > 0)
}
