//! Starts a program as the leader of a process group of its own, and ends the group. The only file that starts programs.

use std::io;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};
use tokio::net::unix::pipe;
use tokio::signal::unix::{Signal as Children, SignalKind, signal};

use super::{Launch, ProgramConfig, WORK};

/// All that a program inherits of the agent's environment.
const INHERITED: [&str; 5] = ["HOME", "LANG", "LC_ALL", "PATH", "TZ"];
/// Where the agent has no PATH.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

pub(crate) struct Process {
    child: Child,
    group: Pid,
    children: Children,
    reaped: bool,
    pub(crate) output: pipe::Receiver,
    pub(crate) errors: pipe::Receiver,
}

/// Why a program may not run as whom it would run.
pub(crate) fn check_user(program: &ProgramConfig) -> Result<(), String> {
    let own = rustix::process::geteuid();
    match &program.user {
        None if own.is_root() => Err("has no user and would run as root, which the agent does only if asked to: \
             give it a user, or user = \"root\" if it must"
            .to_owned()),
        Some(user) if user.uid != own.as_raw() && !own.is_root() => Err(format!(
            "is to run as user {}, for which the agent lacks the rights: it runs with user id {} itself, not as root",
            user.name,
            own.as_raw()
        )),
        Some(_) | None => Ok(()),
    }
}

impl Process {
    /// `marks` are variables of the agent's own.
    pub(crate) fn start(
        program: &ProgramConfig,
        launch: &Launch,
        work: &Path,
        marks: &[(&str, String)],
    ) -> Result<Self, String> {
        let mut words = program.command.iter().chain(&launch.arguments).map(|word| {
            if word.contains(WORK) { word.replace(WORK, &work.display().to_string()) } else { word.clone() }
        });
        let path = words.next().unwrap_or_default();
        let directory = program.directory.as_deref().unwrap_or(work);
        if !directory.is_dir() {
            return Err(format!("directory {} of program {} is not there", directory.display(), program.name));
        }
        let mut command = Command::new(&path);
        command.args(words).current_dir(directory).process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).env_clear();
        for name in INHERITED {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        if std::env::var_os("PATH").is_none() {
            command.env("PATH", PATH);
        }
        // What Python prints would otherwise come in blocks of kilobytes, and progress with it.
        command.env("PYTHONUNBUFFERED", "1");
        if let Some(user) = &program.user {
            command.env("HOME", &user.home).env("USER", &user.name).env("LOGNAME", &user.name);
            if user.uid != rustix::process::geteuid().as_raw() {
                // In this order: without root's rights no group could be taken.
                command.gid(user.gid).uid(user.uid);
            }
        }
        command.envs(&program.environment).envs(launch.environment.iter().map(|(name, value)| (name, value)));
        command.envs(marks.iter().map(|(name, value)| (name, value))).env("RIGWIRE_WORK", work);
        // Before the start, so that not even an end at once is missed.
        let children = signal(SignalKind::child()).map_err(|error| format!("{path} could not be watched: {error}"))?;
        let mut child = command.spawn().map_err(|error| format!("{path} cannot be started: {error}"))?;
        match Self::pipes(&mut child) {
            Ok((group, output, errors)) => Ok(Self { child, group, children, reaped: false, output, errors }),
            Err(error) => {
                // Nothing runs on that nobody watches.
                child.kill().and_then(|()| child.wait()).map_err(|error| format!("{path} cannot be ended: {error}"))?;
                Err(format!("{path} cannot be watched: {error}"))
            }
        }
    }

    fn pipes(child: &mut Child) -> io::Result<(Pid, pipe::Receiver, pipe::Receiver)> {
        let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidData)?;
        let output = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let errors = child.stderr.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let output = pipe::Receiver::from_owned_fd(output.into())?;
        let errors = pipe::Receiver::from_owned_fd(errors.into())?;
        Ok((group, output, errors))
    }

    /// The group's number, which is nobody else's until `reap`.
    pub(crate) fn group(&self) -> Pid {
        self.group
    }

    pub(crate) fn signal(&self, signal: Signal) {
        match rustix::process::kill_process_group(self.group, signal) {
            // No one is left to hear it.
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(error) => {
                tracing::warn!(group = self.group.as_raw_nonzero(), %error, "a program could not be signalled")
            }
        }
    }

    /// Waits until the leader has ended, and leaves it to be reaped. Cancel-safe.
    pub(crate) async fn ended(children: &mut Children, group: Pid) {
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        // An error says that it is no child any more, which is an end as well.
        while matches!(rustix::process::waitid(WaitId::Pid(group), look), Ok(None)) {
            // Without the signal driver there is no more news: the runtime is going down.
            if children.recv().await.is_none() {
                return;
            }
        }
    }

    /// What `ended` and the reading of both pipes need at the same time.
    pub(crate) fn parts(&mut self) -> (&mut Children, Pid, &mut pipe::Receiver, &mut pipe::Receiver) {
        (&mut self.children, self.group, &mut self.output, &mut self.errors)
    }

    /// How the leader ended. Only after it did.
    pub(crate) fn reap(mut self) -> io::Result<ExitStatus> {
        // It has ended, or the signal driver has: not worth waiting for.
        let status = self.child.try_wait()?;
        self.reaped = status.is_some();
        status.ok_or_else(|| io::Error::other("it was not waited for"))
    }
}

/// Whoever watches it may be dropped, too: a program never runs on unowned.
impl Drop for Process {
    fn drop(&mut self) {
        if !self.reaped {
            self.signal(Signal::KILL);
        }
    }
}

/// In words, for one that did not end well.
pub(crate) fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with code {code}"),
        (None, Some(signal)) => {
            let core = if status.core_dumped() { ", core dumped" } else { "" };
            format!("was ended by signal {signal}{}{core}", signal_name(signal))
        }
        (None, None) => format!("ended as {status}"),
    }
}

fn signal_name(signal: i32) -> &'static str {
    match signal {
        1 => " (SIGHUP)",
        2 => " (SIGINT)",
        4 => " (SIGILL)",
        6 => " (SIGABRT)",
        7 => " (SIGBUS)",
        8 => " (SIGFPE)",
        9 => " (SIGKILL)",
        11 => " (SIGSEGV)",
        13 => " (SIGPIPE)",
        15 => " (SIGTERM)",
        24 => " (SIGXCPU)",
        _ => "",
    }
}
