//! Child programs with their output captured line by line. Knows how to start, signal and end one; not what it is.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::wait;

/// Lines kept of one program; older ones are dropped and counted.
const LINES_MAX: usize = 50_000;
const TAIL: usize = 25;

/// Killed when dropped. When a test fails, the end of its output is printed.
pub struct Process {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    output: Arc<Output>,
    readers: Vec<JoinHandle<()>>,
}

impl Process {
    pub fn start(name: &str, command: &mut Command) -> Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let program = command.get_program().to_string_lossy().into_owned();
        let mut child = command.spawn().with_context(|| format!("starting {program} as {name}"))?;
        let streams: [Option<(Stream, Box<dyn Read + Send>)>; 2] = [
            child.stdout.take().map(|stream| (Stream::Out, Box::new(stream) as _)),
            child.stderr.take().map(|stream| (Stream::Error, Box::new(stream) as _)),
        ];
        let output = Arc::new(Output::new(streams.iter().flatten().count()));
        let readers = streams
            .into_iter()
            .flatten()
            .map(|(stream, from)| {
                let output = Arc::clone(&output);
                std::thread::spawn(move || output.read(stream, from))
            })
            .collect();
        let stdin = child.stdin.take();
        Ok(Self { name: name.to_owned(), child, stdin, output, readers })
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Number of lines so far: a place to wait from.
    pub fn mark(&self) -> usize {
        self.output.lock().end()
    }

    /// Waits for the first line after `mark` from which `pick` makes a value. Fails at once when the program ends without it.
    pub fn wait_for<T>(
        &self,
        what: &str,
        mark: usize,
        limit: Duration,
        mut pick: impl FnMut(&Line) -> Option<T>,
    ) -> Result<T> {
        self.output
            .wait(mark, limit, &mut pick)
            .map_err(|missing| anyhow!("{}: waited for {what}: {missing}\n{}", self.name, self.tail()))
    }

    /// Waits for a line that holds a text, whether it was printed already or not.
    pub fn wait_for_text(&self, text: &str, limit: Duration) -> Result<String> {
        self.wait_for(&format!("a line with {text:?}"), 0, limit, |line| {
            line.text.contains(text).then(|| line.text.clone())
        })
    }

    pub fn lines(&self) -> Vec<Line> {
        self.output.lock().lines.iter().cloned().collect()
    }

    /// All lines of a program that has ended.
    pub fn finish_output(&mut self) -> Vec<Line> {
        for reader in self.readers.drain(..) {
            // A reader that panicked has kept what it read before.
            drop(reader.join());
        }
        self.lines()
    }

    pub fn write_line(&mut self, line: &str) -> Result<()> {
        let stdin = self.stdin.as_mut().with_context(|| format!("{}: its input is closed", self.name))?;
        writeln!(stdin, "{line}").and_then(|()| stdin.flush()).with_context(|| format!("{}: writing {line}", self.name))
    }

    pub fn close_input(&mut self) {
        self.stdin = None;
    }

    pub fn signal(&self, signal: Signal) -> Result<()> {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("a process id that is none")?;
        kill_process(id, signal).with_context(|| format!("{}: sending {signal:?}", self.name))
    }

    /// SIGKILL, and gone when this returns.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill().with_context(|| format!("{}: killing it", self.name))?;
        self.child.wait().map(drop).with_context(|| format!("{}: waiting for its end", self.name))
    }

    pub fn wait_exit(&mut self, limit: Duration) -> Result<ExitStatus> {
        let child = &mut self.child;
        wait::until("its end", limit, || match child.try_wait() {
            Ok(Some(status)) => Ok(status),
            Ok(None) => Err("still running".to_owned()),
            Err(error) => Err(error.to_string()),
        })
        .with_context(|| format!("{}\n{}", self.name, self.tail()))
    }

    /// Sends a signal, waits for the end and says how long it took.
    pub fn end(&mut self, signal: Signal, limit: Duration) -> Result<(ExitStatus, Duration)> {
        let started = Instant::now();
        self.signal(signal)?;
        let status = self.wait_exit(limit)?;
        Ok((status, started.elapsed()))
    }

    pub fn check_running(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("{} ended with {status}\n{}", self.name, self.tail());
        }
        Ok(())
    }

    pub fn tail(&self) -> String {
        let output = self.output.lock();
        let skipped = output.lines.len().saturating_sub(TAIL);
        let mut text = format!("--- the last lines of {} ({} before)\n", self.name, output.dropped + skipped);
        for line in output.lines.iter().skip(skipped) {
            text.push_str(&format!("    {}\n", line.text));
        }
        text
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself; there is nobody left to tell.
        if self.child.kill().is_ok() {
            drop(self.child.wait());
        }
        self.stdin = None;
        drop(self.finish_output());
        if std::thread::panicking() {
            eprint!("{}", self.tail());
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    Out,
    Error,
}

#[derive(Debug, Clone)]
pub struct Line {
    pub stream: Stream,
    pub text: String,
}

/// How much the programs say: all that helps to find a fault, unless a benchmark wants them quiet.
pub fn log_level() -> String {
    std::env::var("RIGWIRE_HIL_LOG").unwrap_or_else(|_| "debug".to_owned())
}

/// Path of a program of this workspace, beside the test program that asks.
pub fn binary(name: &str) -> Result<PathBuf> {
    let this = std::env::current_exe().context("finding the test program")?;
    let folder = this.parent().with_context(|| format!("{} has no folder above it", this.display()))?;
    // Tests lie in a folder of their own, programs do not.
    let folder = if folder.ends_with("deps") { folder.parent().unwrap_or(folder) } else { folder };
    let path = folder.join(name);
    if !path.is_file() {
        bail!(
            "{name} is not built, expected {}: run ./hil-tests/run, or cargo build --workspace before the tests",
            path.display()
        );
    }
    Ok(path)
}

struct Output {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    lines: VecDeque<Line>,
    dropped: usize,
    open: usize,
}

impl State {
    fn end(&self) -> usize {
        self.dropped + self.lines.len()
    }
}

impl Output {
    fn new(open: usize) -> Self {
        Self { state: Mutex::new(State { lines: VecDeque::new(), dropped: 0, open }), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, stream: Stream, from: Box<dyn Read + Send>) {
        let mut from = BufReader::new(from);
        let mut bytes = Vec::new();
        while matches!(from.read_until(b'\n', &mut bytes), Ok(count) if count > 0) {
            let text = String::from_utf8_lossy(&bytes).trim_end().to_owned();
            bytes.clear();
            let mut state = self.lock();
            if state.lines.len() == LINES_MAX {
                state.lines.pop_front();
                state.dropped += 1;
            }
            state.lines.push_back(Line { stream, text });
            drop(state);
            self.changed.notify_all();
        }
        self.lock().open -= 1;
        self.changed.notify_all();
    }

    fn wait<T>(&self, mark: usize, limit: Duration, pick: &mut dyn FnMut(&Line) -> Option<T>) -> Result<T, String> {
        let deadline = Instant::now() + limit;
        let mut next = mark;
        let mut state = self.lock();
        loop {
            let skip = next.saturating_sub(state.dropped);
            if let Some(value) = state.lines.iter().skip(skip).find_map(&mut *pick) {
                return Ok(value);
            }
            next = state.end();
            if state.open == 0 {
                return Err("it ended first".to_owned());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(format!("not seen within {limit:?}"));
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Process {
        Process::start("a shell", Command::new("sh").args(["-c", script])).unwrap()
    }

    #[test]
    fn lines_of_both_streams_are_seen() {
        let mut process = shell("echo one; echo two >&2; read answer; echo got $answer; exec sleep 60");
        process.wait_for_text("one", wait::PATIENCE).unwrap();
        process.wait_for_text("two", wait::PATIENCE).unwrap();
        let mark = process.mark();
        process.write_line("three").unwrap();
        let stream = process.wait_for("its answer", mark, wait::PATIENCE, |line| Some(line.stream)).unwrap();
        assert_eq!(stream, Stream::Out);
        assert_eq!(process.lines().len(), 3);
        process.check_running().unwrap();
    }

    #[test]
    fn a_missing_line_is_named_with_the_end_of_the_output() {
        let process = shell("echo something else; exec sleep 60");
        let error = process.wait_for_text("readiness", Duration::from_millis(300)).unwrap_err().to_string();
        assert!(error.starts_with("a shell: waited for a line with \"readiness\": not seen within 300ms"), "{error}");
        assert!(error.contains("something else"), "{error}");
    }

    #[test]
    fn an_early_end_is_not_waited_out() {
        let process = shell("echo no such file; exit 3");
        let started = Instant::now();
        let error = process.wait_for_text("readiness", wait::PATIENCE).unwrap_err().to_string();
        assert!(error.contains("it ended first") && error.contains("no such file"), "{error}");
        assert!(started.elapsed() < wait::PATIENCE / 2);
    }

    #[test]
    fn signals_arrive_and_the_end_is_seen() {
        let mut process = shell("trap 'exit 7' TERM; echo ready; while true; do read line; done");
        process.wait_for_text("ready", wait::PATIENCE).unwrap();
        process.close_input();
        let (status, _) = process.end(Signal::TERM, wait::PATIENCE).unwrap();
        assert_eq!(status.code(), Some(7));
        assert!(process.check_running().unwrap_err().to_string().contains("a shell ended with exit status: 7"));
    }

    #[test]
    fn a_missing_program_says_how_to_build_it() {
        let error = binary("no-such-program").unwrap_err().to_string();
        assert!(error.starts_with("no-such-program is not built, expected /"), "{error}");
        assert!(error.ends_with("run ./hil-tests/run, or cargo build --workspace before the tests"), "{error}");
    }
}
