//! Who holds a device open, as far as /proc lets this user see.

use std::fs;
use std::path::Path;

/// Such as `ser2net (pid 123)`; `None` when nobody can be seen.
pub(super) fn of(device: &Path) -> Option<String> {
    let own = std::process::id().to_string();
    let mut processes = fs::read_dir("/proc").ok()?.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let pid = processes.find(|pid| pid.bytes().all(|byte| byte.is_ascii_digit()) && holds(pid, device))?;
    if pid == own {
        return Some(format!("this program (pid {pid})"));
    }
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    Some(format!("{} (pid {pid})", name.trim_end()))
}

fn holds(pid: &str, device: &Path) -> bool {
    // A process may end while it is looked at, and those of other users may not be looked into.
    let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    files.flatten().any(|file| fs::read_link(file.path()).is_ok_and(|target| target == device))
}
