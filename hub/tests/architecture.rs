//! The first invariant of ARCHITECTURE.md, read off the sources: pure cores name no runtime, server, broker, database or clock.
#![expect(clippy::unwrap_used, reason = "a test says what it looks for and panics otherwise")]

use std::path::{Path, PathBuf};

use rigwire::dialect::Dialect;

const CORES: &[&str] = &[
    "hub/src/artifact",
    "hub/src/command_line",
    "hub/src/dialect",
    "hub/src/event",
    "hub/src/external",
    "hub/src/fleet",
    "hub/src/lease",
    "hub/src/model",
    "hub/src/module",
    "hub/src/preview",
    "hub/src/procedure",
    "hub/src/report",
    "hub/src/run",
    "hub/src/scale",
    "hub/src/study",
    "hub/src/sweep",
    "hub/src/template",
    "hub/src/workflow",
    "edge-agent/src/device/lifecycle",
    "edge-agent/src/lease",
    "edge-agent/src/outbox",
    "edge-agent/src/profile",
    "edge-agent/src/protocol",
];

/// What of a protocol's folder is no core.
const SHELLS_OF_ROOMS: &[&str] = &["door.rs", "rest.rs", "rest", "login.rs"];

const FOREIGN: &[&str] =
    &["tokio", "axum", "rumqttc", "rusqlite", "mqtt5", "Instant::now", "Timestamp::now", "SystemTime"];

/// `core` as a file, and all that lies in the folder of its name.
fn files(root: &Path, core: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root.join(core)];
    let file = root.join(format!("{core}.rs"));
    found.extend(file.exists().then_some(file));
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if SHELLS_OF_ROOMS.iter().any(|name| core == "hub/src/dialect" && path.ends_with(name)) {
                // The door and the REST neighbours of a protocol lie beside its words, and are shell.
            } else if path.is_dir() {
                // A module's tests may use what the module itself may not.
                folders.extend((!path.ends_with("tests")).then_some(path));
            } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("tests.rs") {
                found.push(path);
            }
        }
    }
    found
}

#[test]
fn cores_name_nothing_of_the_shells() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut broken = Vec::new();
    for core in CORES {
        let files = files(root, core);
        assert!(!files.is_empty(), "there is no core {core} any more: mend this list");
        for file in files {
            let text = std::fs::read_to_string(&file).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap();
            for (number, line) in code.lines().enumerate() {
                let line = line.split("//").next().unwrap();
                if let Some(foreign) = FOREIGN.iter().find(|foreign| line.contains(**foreign)) {
                    broken.push(format!("{}:{}: {foreign}", file.display(), number + 1));
                }
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// The names of a protocol, as a path and as a type.
fn names(dialect: Dialect) -> [String; 2] {
    let folder = dialect.as_str();
    let capital = |word: &str| word[..1].to_uppercase() + &word[1..];
    [folder.to_owned(), folder.split('_').map(capital).collect()]
}

/// Another protocol is a folder and its entry in the list: nothing else in the hub knows one by name, and none knows another.
#[test]
fn a_protocol_is_known_to_its_own_folder_and_the_list_alone() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![source.clone()];
    let mut broken = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let place = path.strip_prefix(&source).unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            if place == "dialect.rs" || path.extension().is_none_or(|extension| extension != "rs") {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap();
            let lines = code.lines().map(|line| line.split("//").next().unwrap());
            for dialect in Dialect::ALL {
                let home = format!("dialect/{}", dialect.as_str());
                let at_home = place.strip_prefix(&home).is_some_and(|rest| rest.starts_with(['/', '.']));
                let named = |line: &str| names(dialect).iter().any(|name| line.contains(name.as_str()));
                if !at_home && lines.clone().any(named) {
                    broken.push(format!("{place} names {}", dialect.as_str()));
                }
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
