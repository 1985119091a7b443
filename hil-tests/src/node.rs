//! Node.js with a `WebSocket` of its own or, where it is too old for that, Debian's. Knows no script.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use anyhow::{Context, Result, bail};

/// The options that give this Node a `WebSocket`; `None`: it cannot have one.
static OPTIONS: LazyLock<Option<Vec<String>>> = LazyLock::new(|| {
    let debians = clients().join("library/websocket.cjs").to_string_lossy().into_owned();
    let ways = [vec![], vec!["--experimental-websocket".to_owned()], vec!["--require".to_owned(), debians]];
    ways.into_iter().find(|options| {
        let script = "process.exit(typeof WebSocket === 'undefined' ? 1 : 0)";
        let answer = Command::new("node").args(options).args(["--no-warnings", "-e", script]).output();
        answer.is_ok_and(|answer| answer.status.success())
    })
});

/// `node`, to be given a script.
pub fn command() -> Result<Command> {
    let Some(options) = &*OPTIONS else {
        bail!("node is not installed, or has no WebSocket: run ./hil-tests/run, which installs what the tests need")
    };
    let mut command = Command::new("node");
    command.args(options).arg("--no-warnings");
    Ok(command)
}

/// Where the scripts of the tests are.
pub fn clients() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients")
}

/// Runs a script that ends by itself; what it printed.
pub fn run(command: &mut Command) -> Result<String> {
    let answer = command.output().with_context(|| format!("running {command:?}"))?;
    let (out, error) = (String::from_utf8_lossy(&answer.stdout), String::from_utf8_lossy(&answer.stderr));
    if !answer.status.success() {
        bail!("{command:?} ended with {}\n{out}\n{error}", answer.status);
    }
    Ok(out.into_owned())
}
