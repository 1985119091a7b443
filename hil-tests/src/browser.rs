//! A headless Chromium that opens pages as if the hub served them. Knows files, not what is in them.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;

use crate::node;
use crate::process::Process;
use crate::wait::PATIENCE;

pub struct Browser {
    debugger: String,
    /// Ends before its folder does.
    _process: Process,
    _profile: TempDir,
}

/// What became of a page.
#[derive(Debug, Deserialize)]
pub struct Page {
    pub page: String,
    /// What its `finished` came to.
    pub found: Value,
    /// What was thrown, and what it told the console of as an error.
    pub complaints: Vec<String>,
}

impl Browser {
    pub fn start() -> Result<Self> {
        let profile = TempDir::new()?;
        let mut command = Command::new("chromium");
        // Its own sandbox needs rights that a container does not give; it sees nothing but pages of these tests. Whatever it
        // would like to ask of the world is no name that it can resolve.
        command
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-component-update", "--no-proxy-server"])
            .arg("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")
            .args(["--remote-debugging-port=0", "--window-size=1200,900"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank");
        let process = Process::start("chromium", &mut command)
            .context("is chromium installed? ./hil-tests/run installs what the tests need")?;
        let line = process.wait_for_text("DevTools listening on ", PATIENCE)?;
        let debugger = line.split_whitespace().last().context("no address of the debugger")?.to_owned();
        Ok(Self { debugger, _process: process, _profile: profile })
    }

    /// Opens the files one after the other under `/pages/` of the hub, whose address this is without a slash at its end. Files
    /// beside the first are there, too.
    pub fn open(&self, hub: &str, files: &[PathBuf]) -> Result<Vec<Page>> {
        let script = node::clients().join("library/browser.mjs");
        let printed = node::run(node::command()?.arg(script).arg(&self.debugger).arg(hub).args(files))?;
        let page = |line: &str| serde_json::from_str(line).with_context(|| format!("not what a page is: {line}"));
        printed.lines().map(page).collect()
    }
}
