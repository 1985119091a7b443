//! Who runs the tests: an agent that runs as root starts a program only as somebody whom its configuration names.

use anyhow::{Context, Result};

/// Name of the user of this process.
pub fn own() -> Result<String> {
    let own = rustix::process::geteuid().as_raw().to_string();
    let users = std::fs::read_to_string("/etc/passwd").context("reading /etc/passwd")?;
    let mut lines = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let line = lines.find(|fields| fields.get(2) == Some(&own.as_str()));
    let name = line.and_then(|fields| fields.first().copied());
    Ok(name.with_context(|| format!("user {own} is not in /etc/passwd"))?.to_owned())
}
