//! `rigwire-agent simulate`: one simulated instrument on a pseudo terminal, or a camera, steered by lines on standard input.

use std::io::{BufRead, Write};
use std::path::PathBuf;

use anyhow::{Context, anyhow, bail};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::profile::Profile;
use crate::simulator::bench::{Bench, BenchInstrument};
use crate::simulator::fault::Fault;

mod camera;

/// Name of the only instrument on the bench.
const NAME: &str = "instrument";

const ORDERS: &str = "\
Prints the path of the terminal, then answers each line of standard input with one line:
  unplug | replug | fault NAME... | fault none | set VARIABLE=VALUE | get VARIABLE";

#[derive(Debug, clap::Args)]
#[command(after_help = ORDERS, args_conflicts_with_subcommands = true)]
pub struct Arguments {
    #[command(subcommand)]
    other: Option<Other>,
    #[command(flatten)]
    instrument: Instrument,
}

#[derive(Debug, clap::Subcommand)]
enum Other {
    /// Play a network camera: MJPEG over HTTP
    Camera(camera::Arguments),
}

#[derive(Debug, clap::Args)]
struct Instrument {
    /// Id of a profile, or path of a profile file.
    #[arg(required = true)]
    profile: Option<String>,
    /// Stable symbolic link to the terminal, kept across `unplug` and `replug`.
    #[arg(long, value_name = "PATH")]
    link: Option<PathBuf>,
    /// A fault to begin with, such as silent, late:700ms, garbage:3, split:2ms, unplug or sixth-byte. May be repeated.
    #[arg(long = "fault", value_name = "FAULT")]
    faults: Vec<Fault>,
    /// A variable of the simulator to begin with. May be repeated.
    #[arg(long = "set", value_name = "VARIABLE=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,
    /// Append what reaches the instrument to this file: a line each, with the time in microseconds since 1970.
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Directory with further profiles. May be repeated.
    #[arg(long = "profile-dir", value_name = "DIR")]
    profile_dirs: Vec<PathBuf>,
}

/// Prints the terminal's path as first line and serves until a signal. The end of standard input changes nothing.
pub fn run(arguments: Arguments) -> anyhow::Result<()> {
    match arguments.other {
        Some(Other::Camera(camera)) => camera::run(camera),
        None => run_instrument(arguments.instrument),
    }
}

fn run_instrument(arguments: Instrument) -> anyhow::Result<()> {
    let name = arguments.profile.context("no profile is named")?;
    let profile = Profile::find(&name, &arguments.profile_dirs)?;
    let instrument = BenchInstrument { name: NAME.to_owned(), profile, link: arguments.link, faults: arguments.faults };
    let bench = Bench::start(vec![instrument], Vec::new())?;
    for (variable, value) in &arguments.set {
        bench.set(NAME, variable, value)?;
    }
    if let Some(trace) = &arguments.trace {
        bench.trace(NAME, trace)?;
    }
    say(&bench.path(NAME)?.display().to_string())?;
    serve(&|line| obey(&bench, line))
}

/// Answers orders until a signal.
fn serve(obey: &dyn Fn(&str) -> anyhow::Result<String>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting a runtime")?;
    runtime.block_on(serve_until_signalled(obey))
}

async fn serve_until_signalled(obey: &dyn Fn(&str) -> anyhow::Result<String>) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt()).context("watching for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("watching for SIGTERM")?;
    // When full, the reading thread waits: nothing is lost.
    let (lines, mut orders) = mpsc::channel::<String>(16);
    // Not joined: a blocked read of standard input cannot be called back and ends with the process.
    std::thread::Builder::new()
        .name("standard-input".to_owned())
        .spawn(move || {
            for line in std::io::stdin().lock().lines().map_while(Result::ok) {
                if lines.blocking_send(line).is_err() {
                    break;
                }
            }
        })
        .context("reading standard input")?;
    let mut input_is_open = true;
    loop {
        tokio::select! {
            _ = interrupt.recv() => return Ok(()),
            _ = terminate.recv() => return Ok(()),
            line = orders.recv(), if input_is_open => match line {
                Some(line) if line.trim().is_empty() => {}
                Some(line) => say(&obey(line.trim()).unwrap_or_else(|error| format!("error: {error:#}")))?,
                None => input_is_open = false,
            },
        }
    }
}

/// The one line that answers an order.
fn obey(bench: &Bench, line: &str) -> anyhow::Result<String> {
    let (order, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    match (order, rest.trim()) {
        ("unplug", "") => {
            bench.unplug(NAME)?;
            Ok("ok".to_owned())
        }
        ("replug", "") => {
            bench.replug(NAME)?;
            Ok(format!("ok {}", bench.path(NAME)?.display()))
        }
        ("fault", "none") => {
            bench.set_faults(NAME, &[])?;
            Ok("ok".to_owned())
        }
        ("fault", names) if !names.is_empty() => {
            let faults: Result<Vec<Fault>, String> = names.split_whitespace().map(str::parse).collect();
            bench.set_faults(NAME, &faults.map_err(|error| anyhow!(error))?)?;
            Ok("ok".to_owned())
        }
        ("set", rest) => {
            let (variable, value) = assignment(rest).map_err(|error| anyhow!(error))?;
            bench.set(NAME, &variable, &value)?;
            Ok("ok".to_owned())
        }
        ("get", variable) if !variable.is_empty() => bench.get(NAME, variable),
        _ => bail!(
            "{line:?} is no order, expected unplug, replug, fault NAME, fault none, set VARIABLE=VALUE or get VARIABLE"
        ),
    }
}

fn assignment(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(variable, _)| !variable.trim().is_empty());
    let (variable, value) = pair.ok_or_else(|| format!("{text:?} sets nothing, expected VARIABLE=VALUE"))?;
    Ok((variable.trim().to_owned(), value.trim().to_owned()))
}

fn say(line: &str) -> anyhow::Result<()> {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{line}").and_then(|()| output.flush()).context("writing to standard output")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_has_one_answer() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("psu");
        let profile = Profile::find("korad.ka3005p", &[]).unwrap();
        let instrument = BenchInstrument { name: NAME.into(), profile, link: Some(link.clone()), faults: vec![] };
        let bench = Bench::start(vec![instrument], vec![]).unwrap();
        let answer = |line: &str| obey(&bench, line).unwrap_or_else(|error| format!("error: {error:#}"));
        let replugged = format!("ok {}", link.display());
        for (line, expected) in [
            ("get vset", "5"),
            ("set vset=3.3", "ok"),
            ("get vset", "3.3"),
            ("fault late:700ms split:2ms", "ok"),
            ("fault none", "ok"),
            ("unplug", "ok"),
            ("replug", &replugged),
            ("set vset", "error: \"vset\" sets nothing, expected VARIABLE=VALUE"),
            (
                "dance",
                "error: \"dance\" is no order, expected unplug, replug, fault NAME, fault none, set VARIABLE=VALUE or get VARIABLE",
            ),
        ] {
            assert_eq!(answer(line), expected, "{line}");
        }
        bench.stop();
        assert!(std::fs::symlink_metadata(&link).is_err(), "the link is left behind");
    }
}
