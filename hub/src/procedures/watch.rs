//! Files of procedures as people edit them: each change is read at once, and what is wrong with it is told once. Looks at the
//! directory twice a second: that works on every file system, those on a network too, and however an editor writes.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use tokio_util::sync::CancellationToken;

use super::Procedures;

const EVERY: Duration = Duration::from_millis(500);

/// A file is read in so many looks after it changed: one that is written anew within the grain of its time stamp shows no other
/// sign of it.
const LOOKS_AFTER_CHANGE: u32 = 6;

/// Watches until the hub stops.
pub async fn run(procedures: Arc<Procedures>, stop: CancellationToken) -> anyhow::Result<()> {
    let mut watcher = Watcher::default();
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = ticks.tick() => {}
        }
        let procedures = Arc::clone(&procedures);
        let look = tokio::task::spawn_blocking(move || {
            let changes = watcher.look(&procedures);
            (watcher, changes)
        });
        let changes;
        (watcher, changes) = look.await.context("looking at the directory of procedures")?;
        for change in changes {
            match change.state {
                State::Broken(_) => tracing::warn!("{change}"),
                State::Good | State::Gone => tracing::info!("{change}"),
            }
        }
    }
}

/// What became of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Change {
    file: String,
    state: State,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Good,
    /// What is wrong, with file, line and key.
    Broken(String),
    Gone,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.state {
            State::Good => write!(f, "procedure {} was read and can be run", self.file),
            State::Broken(error) => write!(f, "procedure {} cannot be run: {error}", self.file),
            State::Gone => write!(f, "procedure {} is gone", self.file),
        }
    }
}

/// What was seen so far.
#[derive(Debug, Default)]
struct Watcher {
    files: BTreeMap<String, Seen>,
    /// What was wrong with the directory itself.
    trouble: Option<String>,
    /// Whether the first look is over: what was good from the start is not news.
    started: bool,
}

#[derive(Debug)]
struct Seen {
    stamp: Stamp,
    /// Of the text that was checked.
    text: Option<u64>,
    looks_left: u32,
}

/// What shows that a file was written, without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    length: u64,
}

impl Watcher {
    /// Looks once. A file that is new or changed is read when it looks the same as in the look before: an editor that empties it
    /// first, and then writes, is not told of its empty file.
    fn look(&mut self, procedures: &Procedures) -> Vec<Change> {
        let files = match procedures.files() {
            Ok(files) => files,
            Err(error) => return self.trouble(procedures, format!("{error:#}")),
        };
        self.trouble = None;
        let mut changes = Vec::new();
        self.files.retain(|file, _| {
            let there = files.contains(file);
            if !there {
                changes.push(Change { file: file.clone(), state: State::Gone });
            }
            there
        });
        for file in files {
            changes.extend(self.look_at(procedures, &file).map(|state| Change { file, state }));
        }
        self.started = true;
        changes
    }

    fn look_at(&mut self, procedures: &Procedures, file: &str) -> Option<State> {
        let metadata = std::fs::metadata(procedures.directory.join(file)).ok();
        let stamp = metadata.map(|metadata| Stamp { modified: metadata.modified().ok(), length: metadata.len() })?;
        let fresh = || Seen { stamp: stamp.clone(), text: None, looks_left: LOOKS_AFTER_CHANGE };
        let seen = match self.files.entry(file.to_owned()) {
            Entry::Occupied(seen) => seen.into_mut(),
            // What lies there when the hub starts was written before.
            Entry::Vacant(place) if !self.started => place.insert(fresh()),
            Entry::Vacant(place) => {
                place.insert(fresh());
                return None;
            }
        };
        if seen.stamp != stamp {
            *seen = Seen { text: seen.text, ..fresh() };
            return None;
        }
        if seen.looks_left == 0 {
            return None;
        }
        seen.looks_left -= 1;
        let (text, checked) = procedures.check(file);
        let text = fingerprint(&text);
        if seen.text.replace(text) == Some(text) {
            return None;
        }
        match checked {
            Err(error) => Some(State::Broken(error)),
            Ok(()) => self.started.then_some(State::Good),
        }
    }

    /// Told once, until it is over.
    fn trouble(&mut self, procedures: &Procedures, error: String) -> Vec<Change> {
        if self.trouble.as_ref() == Some(&error) {
            return Vec::new();
        }
        self.trouble = Some(error.clone());
        vec![Change { file: procedures.directory.display().to_string(), state: State::Broken(error) }]
    }
}

/// Tells texts apart for as long as the program runs.
fn fingerprint(text: &Result<String, String>) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::path::Path;
    use std::sync::Mutex;

    use super::*;

    const GOOD: &str = "name = \"x\"\n[[steps]]\nid = \"a\"\nuse = \"log\"\nwith = { message = \"one\" }\n";

    fn bad() -> String {
        GOOD.replace("\"log\"", "\"lag\"")
    }

    fn directory() -> (tempfile::TempDir, Procedures) {
        let directory = tempfile::tempdir().unwrap();
        let procedures = Procedures::open(directory.path().to_owned()).unwrap();
        (directory, procedures)
    }

    /// Looks until nothing more can come, and says what came.
    fn looks(watcher: &mut Watcher, procedures: &Procedures) -> Vec<String> {
        let looks = (0..LOOKS_AFTER_CHANGE + 3).flat_map(|_| watcher.look(procedures));
        looks.map(|change| change.to_string()).collect()
    }

    const BROKEN: &str = "procedure x.toml cannot be run: x.toml:4: steps[0].use: there is no module lag; modules: ";

    fn is_broken(told: &[String]) {
        assert!(told.len() == 1 && told[0].starts_with(BROKEN), "{told:?}");
    }

    #[test]
    fn what_an_editor_does_is_told_once() {
        let (directory, procedures) = directory();
        let file = directory.path().join("x.toml");
        let mut watcher = Watcher::default();
        assert_eq!(looks(&mut watcher, &procedures), [""; 0]);
        let good = ["procedure x.toml was read and can be run"];

        // Written anew, in the way of editors that empty the file first.
        std::fs::write(&file, "").unwrap();
        assert_eq!(watcher.look(&procedures), []);
        std::fs::write(&file, bad()).unwrap();
        is_broken(&looks(&mut watcher, &procedures));
        // And in the way of those that rename.
        std::fs::write(directory.path().join(".x.toml.swp"), GOOD).unwrap();
        std::fs::rename(directory.path().join(".x.toml.swp"), &file).unwrap();
        assert_eq!(looks(&mut watcher, &procedures), good);
        // Saved without a change: nothing to tell.
        std::fs::write(&file, GOOD).unwrap();
        assert_eq!(looks(&mut watcher, &procedures), [""; 0]);
        // As long as before and, on a coarse clock, as old.
        let written = std::fs::metadata(&file).unwrap().modified().unwrap();
        std::fs::write(&file, GOOD.replace("one", "two")).unwrap();
        watcher.look(&procedures);
        assert_eq!(watcher.look(&procedures).len(), 1);
        let mut rewritten = std::fs::File::create(&file).unwrap();
        rewritten.write_all(bad().as_bytes()).unwrap();
        rewritten.set_modified(written).unwrap();
        drop(rewritten);
        is_broken(&looks(&mut watcher, &procedures));
        std::fs::remove_file(&file).unwrap();
        assert_eq!(looks(&mut watcher, &procedures), ["procedure x.toml is gone"]);
    }

    #[test]
    fn a_second_writing_within_one_grain_of_the_clock_is_seen() {
        let (directory, procedures) = directory();
        let file = directory.path().join("x.toml");
        let mut watcher = Watcher::default();
        watcher.look(&procedures);
        let write = |text: &str| {
            let mut file = std::fs::File::create(&file).unwrap();
            file.write_all(text.as_bytes()).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1)).unwrap();
        };
        write(GOOD);
        watcher.look(&procedures);
        assert_eq!(watcher.look(&procedures).len(), 1);
        write(&bad());
        is_broken(&looks(&mut watcher, &procedures));
    }

    #[test]
    fn what_is_broken_from_the_start_is_told_and_what_is_good_is_not() {
        let (directory, procedures) = directory();
        std::fs::write(directory.path().join("good.toml"), GOOD).unwrap();
        std::fs::write(directory.path().join("x.toml"), bad()).unwrap();
        std::fs::write(directory.path().join("y.json"), "{").unwrap();
        std::fs::write(directory.path().join("good.json"), "{}").unwrap();
        std::fs::write(directory.path().join("big.toml"), " ".repeat(1024 * 1024 + 1)).unwrap();
        std::fs::write(directory.path().join("a b.toml"), GOOD).unwrap();
        std::fs::write(directory.path().join("notes.txt"), "x").unwrap();
        std::fs::create_dir(directory.path().join("folder.toml")).unwrap();
        let mut told = looks(&mut Watcher::default(), &procedures);
        is_broken(&told.split_off(4)[..1]);
        assert_eq!(
            told[..3],
            [
                "procedure a b.toml cannot be run: \"a b\" is not a procedure name, expected 1 to 64 of a-z A-Z 0-9 _ - .",
                "procedure big.toml cannot be run: big.toml has 1048577 bytes, expected at most 1048576",
                "procedure folder.toml cannot be run: folder.toml is not a file",
            ]
        );
        assert_eq!(told[3], "procedure good.json cannot be run: good.toml has the same name and is read instead");
        let listed = procedures.list().unwrap();
        let errors: Vec<(&str, bool)> =
            listed.iter().map(|listed| (listed.name.as_str(), listed.error.is_some())).collect();
        assert_eq!(errors, [("a b", true), ("big", true), ("folder", true), ("good", false), ("x", true), ("y", true)]);
    }

    #[test]
    fn a_directory_that_cannot_be_read_is_told_once() {
        let (directory, procedures) = directory();
        let mut watcher = Watcher::default();
        watcher.look(&procedures);
        let path = directory.path().to_owned();
        drop(directory);
        let told = looks(&mut watcher, &procedures);
        assert!(told.len() == 1 && told[0].contains("reading "), "{told:?}");
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("x.toml"), bad()).unwrap();
        is_broken(&looks(&mut watcher, &procedures));
        std::fs::remove_dir_all(&path).unwrap();
    }

    /// The log, as far as it was written.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>, Arc<tokio::sync::Notify>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            self.1.notify_one();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl Log {
        async fn says(&self, expected: &str) {
            let wait = async {
                while !String::from_utf8_lossy(&self.0.lock().unwrap()).contains(expected) {
                    self.1.notified().await;
                }
            };
            let waited = tokio::time::timeout(Duration::from_secs(60), wait).await;
            assert!(waited.is_ok(), "{expected} is not in\n{}", String::from_utf8_lossy(&self.0.lock().unwrap()));
        }
    }

    fn write(path: &Path, text: &str) {
        std::fs::write(path, text).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn the_log_says_what_became_of_a_file() {
        let (directory, procedures) = directory();
        let log = Log::default();
        let writer = log.clone();
        let subscriber =
            tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).without_time().finish();
        let _guard = tracing::subscriber::set_default(subscriber);
        let stop = CancellationToken::new();
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(run(Arc::new(procedures), stop.clone()));
        write(&directory.path().join("x.toml"), &bad());
        log.says(&format!("WARN rigwire::procedures::watch: {BROKEN}")).await;
        write(&directory.path().join("x.toml"), GOOD);
        log.says("INFO rigwire::procedures::watch: procedure x.toml was read and can be run").await;
        stop.cancel();
        assert!(tasks.join_next().await.unwrap().unwrap().is_ok());
    }
}
