//! Finds and kills what a program left running: the members of its process group, and whatever carries its attempt's mark in its
//! environment, wherever it went. Knows no step.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use rigwire_shared::ids::AttemptId;
use rustix::process::{Pid, PidfdFlags, Signal};

use super::work;

/// The variable by which a process is known to belong to an attempt. Its children inherit it.
pub(crate) const MARK: &str = "RIGWIRE_ATTEMPT";
/// A process that was killed is gone within this, unless the kernel holds it.
const GONE_WITHIN: Duration = Duration::from_millis(500);
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Kills all that is left of an attempt, and answers the names of what was there. Blocks for a moment: not for the runtime.
/// `group` is asked only while its number cannot belong to anybody else: its leader is not waited for yet.
pub(crate) fn kill(attempt: AttemptId, group: Option<Pid>) -> Vec<String> {
    let mark = format!("{MARK}={attempt}").into_bytes();
    let mut killed: Vec<(Pid, String)> = Vec::new();
    let deadline = Instant::now() + GONE_WITHIN;
    loop {
        // One that is just forking may have a child that the last look did not see.
        let found = members(&mark, group);
        if found.is_empty() || Instant::now() > deadline {
            break;
        }
        for (pid, name) in found {
            kill_if(pid, &mark, group);
            if !killed.iter().any(|(known, _)| *known == pid) {
                killed.push((pid, name));
            }
        }
        std::thread::sleep(LOOK_EVERY);
    }
    killed.into_iter().map(|(_, name)| name).collect()
}

/// Whether any member of a group still runs. Asked before its leader is waited for, like `kill`.
pub(crate) fn is_any_left(group: Pid) -> bool {
    processes().any(|(_, about)| about.is_alive && about.group == group)
}

/// After a start: what an agent that was killed left running. Its directories say of which attempts.
pub(crate) fn clear(spool: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(work::all(spool)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut told = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Ok(attempt) = name.parse() else { continue };
        let killed = kill(AttemptId(attempt), None);
        if !killed.is_empty() {
            told.push(format!("{} of attempt {attempt}", killed.join(", ")));
        }
        // Looked at again at the next start. Files that nobody can remove are no reason not to drive instruments.
        if let Err(error) = work::remove(&path) {
            tracing::warn!("a step's directory {} could not be removed: {error}", path.display());
        }
    }
    Ok(told)
}

fn members(mark: &[u8], group: Option<Pid>) -> Vec<(Pid, String)> {
    processes()
        .filter(|(pid, about)| about.is_alive && (group == Some(about.group) || carries(*pid, mark)))
        .map(|(pid, about)| (pid, about.name))
        .collect()
}

fn processes() -> impl Iterator<Item = (Pid, About)> {
    fs::read_dir("/proc").into_iter().flatten().filter_map(|entry| {
        let number: i32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let pid = Pid::from_raw(number)?;
        Some((pid, About::read(pid)?))
    })
}

/// Looks again behind a descriptor that stands for this process alone, so that a number that was given anew is spared.
fn kill_if(pid: Pid, mark: &[u8], group: Option<Pid>) {
    let Ok(process) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) else { return };
    let is_member = About::read(pid).is_some_and(|about| group == Some(about.group)) || carries(pid, mark);
    if is_member && let Err(error) = rustix::process::pidfd_send_signal(&process, Signal::KILL) {
        tracing::debug!(pid = pid.as_raw_nonzero(), %error, "a process could not be killed");
    }
}

fn carries(pid: Pid, mark: &[u8]) -> bool {
    fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero()))
        .is_ok_and(|environment| environment.split(|byte| *byte == 0).any(|variable| variable == mark))
}

struct About {
    name: String,
    group: Pid,
    is_alive: bool,
}

impl About {
    fn read(pid: Pid) -> Option<Self> {
        let stat = fs::read(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
        Self::parse(&String::from_utf8_lossy(&stat))
    }

    /// `pid (name) state parent group …`, where the name may hold anything.
    fn parse(stat: &str) -> Option<Self> {
        let (begin, rest) = stat.rsplit_once(')')?;
        let name = begin.split_once('(')?.1.to_owned();
        let mut fields = rest.split_whitespace();
        let state = fields.next()?;
        let group = Pid::from_raw(fields.nth(1)?.parse().ok()?)?;
        Some(Self { name, group, is_alive: !["Z", "X"].contains(&state) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_look_like_the_fields_after_it() {
        let about = About::parse("17 (a) Z 1 1 (x) S 4 42 42 0 -1").unwrap();
        assert_eq!(
            (about.name.as_str(), about.group.as_raw_nonzero().get(), about.is_alive),
            ("a) Z 1 1 (x", 42, true)
        );
        assert!(!About::parse("17 (sh) Z 4 42 42").unwrap().is_alive);
        assert!(About::parse("").is_none() && About::parse("17 (sh) S").is_none());
    }
}
