//! One program from its start to its end: reads what it prints, bounds it in time and output, stops its whole group, and tells
//! how it ended.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rigwire_shared::event::{Artifact, EventBody, Level, StepError, StepFinished, StepOutcome, code};
use rigwire_shared::ids::{AttemptId, DeviceId, RunId};
use rigwire_shared::value::{Fields, Value};
use rustix::process::Signal;
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::line::Lines;
use super::narrator::{About, Narrator, PROGRESS_EVERY, Said, Stream};
use super::process::{self, Process};
use super::work::{self, Work};
use super::{Launch, ProgramConfig, Results, junit, leftover};
use crate::events::Events;

/// Bytes of a file in one event.
const CHUNK: usize = 64 * 1024;
/// Files that one step may send.
const ARTIFACTS_MAX: usize = 200;
/// All of them together are as large as so many of the largest.
const ARTIFACTS_OF_FULL_SIZE: u64 = 4;
const ARTIFACT_NAME_MAX: usize = 200;
const RESULTS_FILE_MAX: u64 = 16 * 1024 * 1024;
/// Events that wait for the recorder while more is read. Beyond them nothing is read, and the program waits in turn.
const WAITING_MAX: usize = 256;
/// At an orderly stop of the agent a program gets this at most between SIGTERM and SIGKILL.
const STOP_GRACE: Duration = Duration::from_millis(400);
/// How often is looked whether what a program started has ended, too, within the grace.
const OTHERS_EVERY: Duration = Duration::from_millis(20);
/// After SIGKILL, when the kernel holds a process.
const GIVE_UP: Duration = Duration::from_secs(3);
/// After the program ended: for what is left in its pipes, when something that was not found holds them open.
const PIPES_CLOSE: Duration = Duration::from_millis(300);
/// How long the disk may take to record that a step begins.
const RECORD_WITHIN: Duration = Duration::from_secs(5);

/// Why a program is to end before it does by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stop {
    Cancelled(String),
    AgentStops,
}

pub(crate) struct Attempt {
    pub(crate) run: RunId,
    pub(crate) attempt: AttemptId,
    pub(crate) device: DeviceId,
    pub(crate) program: Arc<ProgramConfig>,
    pub(crate) launch: Launch,
    /// The directory of all steps' directories.
    pub(crate) directory: PathBuf,
    pub(crate) events: Events,
    pub(crate) stop: watch::Receiver<Option<Stop>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Ending {
    Stopped(Stop),
    TimedOut,
    TooMuch,
}

impl Attempt {
    /// Tells how it ended, in every case.
    pub(crate) async fn perform(mut self) {
        let began = Instant::now();
        let outcome = self.prepare_and_run().await;
        let duration_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        let finished = StepFinished { attempt: self.attempt, run: self.run, outcome, duration_us };
        self.events.send(EventBody::StepFinished(finished)).await;
    }

    async fn prepare_and_run(&mut self) -> StepOutcome {
        let work = match Work::create(&self.directory, self.attempt, self.program.user.as_ref()) {
            Ok(work) => work,
            Err(error) => {
                let place = self.directory.display();
                return failed(code::PROCESS_FAILED, format!("making the step's directory in {place}: {error}"));
            }
        };
        let started =
            EventBody::StepStarted { attempt: self.attempt, run: self.run, device: Some(self.device.clone()) };
        let outcome = match tokio::time::timeout(RECORD_WITHIN, self.events.record(started)).await {
            Ok(true) if self.stop.borrow().is_some() => Ok(StepOutcome::Cancelled { safe: None }),
            Ok(true) => self.run(&work).await,
            Ok(false) | Err(_) => {
                let message = format!("the start of program {} could not be recorded", self.program.name);
                Ok(failed(code::MODULE_EXECUTION_ERROR, message))
            }
        };
        match outcome {
            Ok(outcome) => {
                // A tree of many files takes its time.
                if let Err(problem) = elsewhere(move || work.remove().map_err(|error| error.to_string())).await {
                    tracing::warn!(attempt = %self.attempt, "a step's directory could not be removed: {problem}");
                }
                outcome
            }
            // The directory stays: the next start of the agent looks whether it still runs.
            Err(outcome) => outcome,
        }
    }

    /// An error is the outcome of a program that could not be ended.
    async fn run(&mut self, work: &Work) -> Result<StepOutcome, StepOutcome> {
        let marks = [(leftover::MARK, self.attempt.to_string()), ("RIGWIRE_RUN", self.run.to_string())];
        let mut process = match Process::start(&self.program, &self.launch, work.path(), &marks) {
            Ok(process) => process,
            Err(message) => {
                return Ok(failed(code::PROCESS_FAILED, format!("program {}: {message}", self.program.name)));
            }
        };
        let began = Instant::now();
        let about = About {
            run: self.run,
            attempt: self.attempt,
            device: self.device.clone(),
            program: self.program.name.clone(),
        };
        let tap = self.launch.results == Some(Results::Tap);
        let mut telling = Telling {
            narrator: Narrator::new(about, tap, began.into_std()),
            output: Lines::default(),
            errors: Lines::default(),
            waiting: VecDeque::new(),
            part: None,
            artifacts: 0,
            artifact_bytes: 0,
            bytes: 0,
        };
        let ending = match self.watch(&mut process, work, &mut telling, began).await {
            Ok(ending) => ending,
            Err(message) => {
                self.tell_rest(&mut telling).await;
                return Err(failed(code::PROCESS_FAILED, message));
            }
        };
        let took = began.elapsed();
        let (attempt, group) = (self.attempt, process.group());
        // Whatever it started ends with it.
        let left = tokio::task::spawn_blocking(move || leftover::kill(attempt, Some(group))).await.unwrap_or_default();
        self.drain(&mut process, work, &mut telling).await;
        if !left.is_empty() && ending.is_none() {
            let message = format!("{} was left running and was ended with the program", left.join(", "));
            telling.say(telling.narrator.remark(Level::Warning, message));
        }
        let status = process.reap();
        let file = self.read_results(work, &mut telling).await;
        let said = telling.narrator.end(Instant::now().into_std());
        self.take(said, work, &mut telling).await;
        self.tell_rest(&mut telling).await;
        Ok(self.outcome(ending, status, file, &telling.narrator, took))
    }

    /// Reads until the program has ended, by itself or because it must.
    async fn watch(
        &mut self,
        process: &mut Process,
        work: &Work,
        telling: &mut Telling,
        began: Instant,
    ) -> Result<Option<Ending>, String> {
        let mut ending: Option<Ending> = None;
        let mut kill_at: Option<Instant> = None;
        let mut killed = false;
        // The program itself ended when it was asked to; what it started may still be at it.
        let mut others_end: Option<Instant> = None;
        let (mut output, mut errors) = (vec![0; 16 * 1024], vec![0; 16 * 1024]);
        let (mut output_open, mut errors_open) = (true, true);
        let mut tick = tokio::time::interval(PROGRESS_EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let wants = {
                let (watched, group, output_pipe, error_pipe) = process.parts();
                let has_room = telling.waiting.len() < WAITING_MAX;
                let paused = telling.narrator.wait_until().is_some_and(|until| until > Instant::now().into_std());
                let reads = has_room && !paused;
                let resume = telling.narrator.wait_until().filter(|_| paused).map(Instant::from_std);
                tokio::select! {
                    biased;
                    () = Process::ended(watched, group), if others_end.is_none() => Wants::Ended,
                    () = at(others_end) => Wants::Ended,
                    () = stopped(&mut self.stop), if ending.is_none() => {
                        Wants::End(self.stop.borrow().clone().map_or(Ending::Stopped(Stop::AgentStops), Ending::Stopped))
                    }
                    () = tokio::time::sleep_until(began + self.launch.timeout), if ending.is_none() => {
                        Wants::End(Ending::TimedOut)
                    }
                    () = at(kill_at) => Wants::Kill,
                    part = send(&self.events, &mut telling.part, telling.waiting.front()), if !telling.waiting.is_empty() => {
                        Wants::Sent(part)
                    }
                    count = output_pipe.read(&mut output), if output_open && reads => {
                        Wants::Read(Stream::Output, count.unwrap_or(0))
                    }
                    count = error_pipe.read(&mut errors), if errors_open && reads => {
                        Wants::Read(Stream::Error, count.unwrap_or(0))
                    }
                    () = at(resume) => Wants::Nothing,
                    _ = tick.tick() => Wants::Tick,
                }
            };
            let now = Instant::now();
            match wants {
                Wants::End(why) => {
                    let grace = match &why {
                        Ending::Stopped(Stop::AgentStops) => self.program.grace.min(STOP_GRACE),
                        Ending::Stopped(Stop::Cancelled(_)) | Ending::TimedOut | Ending::TooMuch => self.program.grace,
                    };
                    tracing::debug!(program = self.program.name, ?why, "a program is stopped");
                    process.signal(Signal::TERM);
                    kill_at = Some(now + grace);
                    ending = Some(why);
                }
                Wants::Ended if ending.is_none() || killed => return Ok(ending),
                Wants::Ended => {
                    let group = process.group();
                    let others = elsewhere(move || Ok(leftover::is_any_left(group))).await;
                    if others != Ok(true) {
                        return Ok(ending);
                    }
                    others_end = Some(Instant::now() + OTHERS_EVERY);
                }
                Wants::Kill if others_end.is_some() => return Ok(ending),
                Wants::Kill if killed => {
                    let message = format!("program {} could not be ended: the kernel holds it", self.program.name);
                    tracing::error!(attempt = %self.attempt, "{message}");
                    return Err(message);
                }
                Wants::Kill => {
                    process.signal(Signal::KILL);
                    killed = true;
                    kill_at = Some(now + GIVE_UP);
                }
                Wants::Sent(part) => {
                    telling.part = part.or(telling.part.take());
                    telling.waiting.pop_front();
                }
                Wants::Read(stream, 0) => match stream {
                    Stream::Output => output_open = false,
                    Stream::Error => errors_open = false,
                },
                Wants::Read(stream, count) => {
                    let read = match stream {
                        Stream::Output => output.get(..count),
                        Stream::Error => errors.get(..count),
                    };
                    let said = telling.read(stream, read.unwrap_or_default(), now);
                    self.take(said, work, telling).await;
                    if telling.bytes > self.program.output_max && ending.is_none() {
                        process.signal(Signal::TERM);
                        kill_at = Some(now + self.program.grace);
                        ending = Some(Ending::TooMuch);
                    }
                }
                Wants::Tick => {
                    let said = telling.narrator.tick(now.into_std());
                    self.take(said, work, telling).await;
                }
                Wants::Nothing => {}
            }
        }
    }

    /// What is left in the pipes of a program that has ended.
    async fn drain(&mut self, process: &mut Process, work: &Work, telling: &mut Telling) {
        let until = Instant::now() + PIPES_CLOSE;
        let (_, _, output, errors) = process.parts();
        for (stream, pipe) in [(Stream::Output, output), (Stream::Error, errors)] {
            for said in telling.read_rest(stream, pipe, until, self.program.output_max).await {
                self.take(vec![said], work, telling).await;
                self.tell_some(telling).await;
            }
        }
    }

    async fn take(&self, said: Vec<Said>, work: &Work, telling: &mut Telling) {
        for said in said {
            match said {
                Said::Event(_) => telling.say(said),
                Said::Artifact { path, name, media_type } => {
                    if let Err(problem) = self.artifact(path, name, media_type, work, telling).await {
                        let message = format!("an artifact was left out: {problem}");
                        telling.say(telling.narrator.remark(Level::Warning, message));
                    }
                }
            }
        }
    }

    async fn artifact(
        &self,
        path: String,
        name: Option<String>,
        media_type: Option<String>,
        work: &Work,
        telling: &mut Telling,
    ) -> Result<(), String> {
        if telling.artifacts >= ARTIFACTS_MAX {
            return Err(format!("{path} is one too many: a step sends at most {ARTIFACTS_MAX}"));
        }
        let name = name.unwrap_or_else(|| path.rsplit('/').next().unwrap_or_default().to_owned());
        let fits = !name.is_empty() && name.len() <= ARTIFACT_NAME_MAX && !name.contains(['/', '\\']);
        if !fits || name.chars().any(char::is_control) || name == "." || name == ".." {
            return Err(format!("{name:?} is no name for it, expected 1 to {ARTIFACT_NAME_MAX} bytes without slashes"));
        }
        let media_type = media_type.unwrap_or_else(|| work::media_type(&name).to_owned());
        let fits = media_type.split_once('/').is_some_and(|(kind, sub)| !kind.is_empty() && !sub.is_empty());
        if !fits || media_type.len() > 100 || !media_type.chars().all(|c| c.is_ascii_graphic() || c == ' ') {
            return Err(format!("{media_type:?} is no media type, expected a form such as text/csv"));
        }
        let (most, from) = (self.program.artifact_max, work.clone());
        let (bytes, sha256) = elsewhere(move || {
            let bytes = from.read(&path, most)?;
            let sha256: [u8; 32] = Sha256::digest(&bytes).into();
            Ok((bytes, sha256))
        })
        .await?;
        let all = telling.artifact_bytes + bytes.len() as u64;
        let all_max = most.saturating_mul(ARTIFACTS_OF_FULL_SIZE);
        if all > all_max {
            return Err(format!("{name} is too much: all files of a step together are at most {all_max} bytes"));
        }
        telling.artifact_bytes = all;
        let announced = Artifact {
            run: Some(self.run),
            attempt: Some(self.attempt),
            name,
            media_type,
            sha256,
            size: bytes.len() as u64,
        };
        telling.artifacts += 1;
        telling.waiting.push_back(EventBody::Artifact(announced));
        for (index, chunk) in bytes.chunks(CHUNK).enumerate() {
            let offset = (index * CHUNK) as u64;
            telling.waiting.push_back(EventBody::ArtifactChunk { sha256, offset, data: chunk.to_vec() });
        }
        Ok(())
    }

    /// The file of results, once nothing writes it any more.
    async fn read_results(&self, work: &Work, telling: &mut Telling) -> Result<(), String> {
        let Some(Results::Junit { file }) = &self.launch.results else { return Ok(()) };
        let name = file.strip_prefix(super::WORK).map_or(file.as_str(), |rest| rest.trim_start_matches('/'));
        let (name, from) = (name.to_owned(), work.clone());
        let tests = elsewhere(move || {
            let bytes = from.read(&name, RESULTS_FILE_MAX)?;
            junit::parse(&bytes).map_err(|error| format!("{name} holds no results of tests: {error}"))
        })
        .await?;
        let said = telling.narrator.read_tests(tests);
        self.take(said, work, telling).await;
        Ok(())
    }

    /// Sends until there is room again.
    async fn tell_some(&self, telling: &mut Telling) {
        while telling.waiting.len() >= WAITING_MAX {
            self.tell_next(telling).await;
        }
    }

    async fn tell_rest(&self, telling: &mut Telling) {
        while !telling.waiting.is_empty() {
            self.tell_next(telling).await;
        }
    }

    async fn tell_next(&self, telling: &mut Telling) {
        let part = send(&self.events, &mut telling.part, telling.waiting.front()).await;
        telling.part = part.or(telling.part.take());
        telling.waiting.pop_front();
    }

    fn outcome(
        &self,
        ending: Option<Ending>,
        status: std::io::Result<std::process::ExitStatus>,
        file: Result<(), String>,
        narrator: &Narrator,
        took: Duration,
    ) -> StepOutcome {
        let name = &self.program.name;
        let tail = narrator.tail();
        let with_tail =
            |message: String| if tail.is_empty() { message } else { format!("{message}; it last printed:\n{tail}") };
        match ending {
            Some(Ending::Stopped(_)) => return StepOutcome::Cancelled { safe: None },
            Some(Ending::TimedOut) => {
                let timeout = humantime::format_duration(self.launch.timeout);
                let message = format!("program {name} did not end within {timeout} and was stopped");
                return failed(code::MODULE_TIMEOUT, with_tail(message));
            }
            Some(Ending::TooMuch) => {
                let most = self.program.output_max;
                let message = format!("program {name} printed more than {most} bytes and was stopped");
                return failed(code::OUTPUT_LIMIT, with_tail(message));
            }
            None => {}
        }
        let status = match status {
            Ok(status) => status,
            Err(error) => {
                return failed(code::PROCESS_FAILED, format!("how program {name} ended is not known: {error}"));
            }
        };
        let tests = if self.launch.results.is_some() { narrator.tests_verdict() } else { Ok(()) };
        match (status.success(), file, tests) {
            // A runner of tests tells by its code that some failed: which ones says more.
            (_, Ok(()), Err(message)) => failed(code::EXPECTATION_FAILED, message),
            (false, ..) => {
                failed(code::PROCESS_FAILED, with_tail(format!("program {name} {}", process::describe(status))))
            }
            (true, Err(problem), _) => {
                failed(code::PROCESS_FAILED, format!("program {name} left no results: {problem}"))
            }
            (true, Ok(()), Ok(())) => {
                let mut outputs: Fields = vec![
                    ("exit_code".to_owned(), Value::Int(i64::from(status.code().unwrap_or_default()))),
                    ("duration".to_owned(), Value::Float(took.as_secs_f64())),
                ];
                outputs.extend(narrator.results());
                StepOutcome::Completed { outputs }
            }
        }
    }
}

enum Wants {
    Ended,
    End(Ending),
    Kill,
    Sent(Option<Written>),
    Read(Stream, usize),
    Tick,
    Nothing,
}

type Written = oneshot::Receiver<()>;

/// What was read and is not told yet.
struct Telling {
    narrator: Narrator,
    output: Lines,
    errors: Lines,
    waiting: VecDeque<EventBody>,
    /// The part of a file that was sent last and is not written yet.
    part: Option<Written>,
    artifacts: usize,
    artifact_bytes: u64,
    bytes: u64,
}

impl Telling {
    fn say(&mut self, said: Said) {
        if let Said::Event(body) = said {
            self.waiting.push_back(body);
        }
    }

    fn read(&mut self, stream: Stream, bytes: &[u8], now: Instant) -> Vec<Said> {
        self.bytes += bytes.len() as u64;
        let lines = match stream {
            Stream::Output => self.output.push(bytes),
            Stream::Error => self.errors.push(bytes),
        };
        lines.into_iter().flat_map(|line| self.narrator.line(line, stream, now.into_std())).collect()
    }

    async fn read_rest(&mut self, stream: Stream, pipe: &mut pipe::Receiver, until: Instant, most: u64) -> Vec<Said> {
        let mut said = Vec::new();
        let mut buffer = vec![0; 16 * 1024];
        while self.bytes <= most {
            let Ok(Ok(count)) = tokio::time::timeout_at(until, pipe.read(&mut buffer)).await else { break };
            let Some(read) = buffer.get(..count).filter(|read| !read.is_empty()) else { break };
            said.extend(self.read(stream, read, Instant::now()));
        }
        let last = match stream {
            Stream::Output => self.output.end(),
            Stream::Error => self.errors.end(),
        };
        let now = Instant::now().into_std();
        said.extend(last.into_iter().flat_map(|line| self.narrator.line(line, stream, now)));
        said
    }
}

pub(crate) fn failed(code: &str, message: String) -> StepOutcome {
    StepOutcome::Failed { error: StepError { code: code.to_owned(), message } }
}

/// Returns when the program is to stop. Whoever could say so being gone means that the agent stops.
async fn stopped(stop: &mut watch::Receiver<Option<Stop>>) {
    stop.wait_for(Option::is_some).await.ok();
}

/// Cancel-safe: what was not taken can be sent again. Of files one part at a time is on its way: the queue is made for small
/// events. What is returned answers when a part is written.
async fn send(events: &Events, part: &mut Option<Written>, body: Option<&EventBody>) -> Option<Written> {
    match body {
        Some(body @ EventBody::ArtifactChunk { .. }) => {
            if let Some(written) = part {
                // Never written: neither will the next be, and the end of the agent is near.
                written.await.ok();
            }
            *part = None;
            Some(events.send_noted(body.clone()).await)
        }
        Some(body) => {
            events.send(body.clone()).await;
            None
        }
        None => None,
    }
}

/// Work with large files and many of them, which other devices do not wait for.
async fn elsewhere<T: Send + 'static>(work: impl FnOnce() -> Result<T, String> + Send + 'static) -> Result<T, String> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(format!("it was given up: {error}")),
    }
}

async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}
