//! `rigwire-agent check`: reads what `run` would read, and touches no device.

use super::run::Arguments;
use crate::config::{CameraConfig, Config, InstrumentConfig, Mode};
use crate::program::check_user;

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    println!("{}", summary(&arguments.load()?));
    Ok(())
}

/// What `run` would do, so that a file that is right and not the one that was meant is noticed.
fn summary(config: &Config) -> String {
    let mut text = format!("ok: agent {}, hub {}, spool {}", config.id, config.hub, config.spool.display());
    for instrument in &config.instruments {
        let mode = match instrument.mode {
            Mode::Observe => "observe",
            Mode::Own => "own",
        };
        let InstrumentConfig { id, profile, port, .. } = instrument;
        text.push_str(&format!("\n  {id}: {} on {port}, mode {mode}", profile.id));
    }
    for CameraConfig { id, url, .. } in &config.cameras {
        text.push_str(&format!("\n  {id}: camera at {url}"));
    }
    if config.instruments.is_empty() && config.cameras.is_empty() {
        text.push_str("\n  no instruments");
    }
    for program in &config.host.programs {
        let user = program.user.as_ref().map_or("the agent's own user", |user| user.name.as_str());
        let command = program.command.join(" ");
        text.push_str(&format!("\n  {}: program {}, {command}, as {user}", config.host.id, program.name));
        let missing = program.command.first().filter(|path| !std::path::Path::new(path).is_file());
        if let Some(path) = missing {
            text.push_str(&format!("\n    note: {path} is not there now"));
        }
        // An agent is mostly checked as whom it runs.
        if let Err(problem) = check_user(program) {
            text.push_str(&format!("\n    note: {problem}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use rigwire_shared::ids::{AgentId, DeviceId};

    use super::*;
    use crate::profile::Profile;

    #[test]
    fn the_summary_names_what_would_be_driven() {
        let hub = "mqtt://bench:secret@hub".parse().unwrap();
        let mut config = Config::new(AgentId::new("bench-1").unwrap(), hub, PathBuf::from("spool"));
        assert_eq!(summary(&config), "ok: agent bench-1, hub mqtt://bench:***@hub:1883, spool spool\n  no instruments");
        let profile = Profile::find("hp.34401a", &[]).unwrap();
        let port = "/dev/ttyUSB0".parse().unwrap();
        config.instruments.push(InstrumentConfig::new(DeviceId::new("dmm-1").unwrap(), profile, port));
        assert!(summary(&config).ends_with("\n  dmm-1: hp.34401a on /dev/ttyUSB0, mode observe"));
        let command = vec!["/nonexistent/solver".to_owned(), "--fast".to_owned()];
        config.host.programs.push(crate::config::ProgramConfig::new("solver", command));
        let expected = "\n  host-bench-1: program solver, /nonexistent/solver --fast, as the agent's own user\n    note: /nonexistent/solver is not there now";
        assert!(summary(&config).contains(expected), "{}", summary(&config));
        let refused = "\n    note: has no user and would run as root, which the agent does only if asked to";
        let as_root = rustix::process::geteuid().is_root();
        assert_eq!(summary(&config).contains(refused), as_root, "{}", summary(&config));
    }
}
