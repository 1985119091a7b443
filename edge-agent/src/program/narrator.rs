//! What a program prints, turned into events of its run, and what is remembered of it for the end. Pure: time is an argument.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use rigwire_shared::event::{EventBody, Level, Log, RunReport, TestOutcome};
use rigwire_shared::ids::{AttemptId, DeviceId, RunId};
use rigwire_shared::value::{Fields, Value};

use super::line::Line;
use super::pace::Pace;
use super::report::{self, Report, TestReport};
use super::tap::{Taken, Tap};

/// Lines of the log: so many a second for ever, so many at once. More are counted, not shown.
const LOGS_PER_SECOND: u32 = 50;
const LOGS_AT_ONCE: u32 = 1000;
/// Reports are never dropped: a program that prints more of them is read more slowly.
const REPORTS_PER_SECOND: u32 = 200;
const REPORTS_AT_ONCE: u32 = 1000;
/// How often progress is told; the newest replaces what was not told yet.
pub(crate) const PROGRESS_EVERY: Duration = Duration::from_millis(200);
const HIDDEN_TOLD_EVERY: Duration = Duration::from_secs(5);

/// Lines that an error message shows, and how much of each.
const TAIL_LINES: usize = 15;
const TAIL_WIDTH: usize = 200;
/// Longest message of one line or one test.
const MESSAGE_MAX: usize = 4096;
/// Longest name of a test, a phase or a kind of event.
const NAME_MAX: usize = 256;
/// Results of one step travel in one message: names, and their values as JSON, in bytes.
const OUTPUTS_MAX: usize = 48 * 1024;
/// Longest payload of one event, as JSON.
const PAYLOAD_MAX: usize = 48 * 1024;
const FAILED_NAMED: usize = 5;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Output,
    Error,
}

/// Whom the events are about.
#[derive(Debug, Clone)]
pub(crate) struct About {
    pub(crate) run: RunId,
    pub(crate) attempt: AttemptId,
    pub(crate) device: DeviceId,
    pub(crate) program: String,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Said {
    Event(EventBody),
    /// A file that the program made is to be sent.
    Artifact {
        path: String,
        name: Option<String>,
        media_type: Option<String>,
    },
}

#[derive(Debug, Default)]
struct Tests {
    passed: i64,
    failed: i64,
    skipped: i64,
    failed_names: Vec<String>,
    /// How often each id came: two tests of one name are two tests.
    ids: BTreeMap<String, u32>,
}

#[derive(Debug)]
pub(crate) struct Narrator {
    about: About,
    logs: Pace,
    reports: Pace,
    hidden: u64,
    hidden_told: Instant,
    wait_until: Option<Instant>,
    progress: Option<RunReport>,
    progress_told: Option<Instant>,
    tail: VecDeque<String>,
    /// By name, the newest value of each.
    results: Fields,
    results_bytes: usize,
    tests: Tests,
    tap: Option<Tap>,
}

impl Narrator {
    pub(crate) fn new(about: About, tap: bool, now: Instant) -> Self {
        Self {
            about,
            logs: Pace::new(LOGS_PER_SECOND, LOGS_AT_ONCE, now),
            reports: Pace::new(REPORTS_PER_SECOND, REPORTS_AT_ONCE, now),
            hidden: 0,
            hidden_told: now,
            wait_until: None,
            progress: None,
            progress_told: None,
            tail: VecDeque::new(),
            results: Fields::new(),
            results_bytes: 0,
            tests: Tests::default(),
            tap: tap.then(Tap::default),
        }
    }

    pub(crate) fn line(&mut self, line: Line, stream: Stream, now: Instant) -> Vec<Said> {
        let mut said = Vec::new();
        let Line { mut text, cut } = line;
        if let Some(found) = report::parse(&text) {
            self.count_report(now);
            let result = if cut > 0 { Err(format!("is longer than a line may be, by {cut} bytes")) } else { found };
            match result {
                Ok(report) => self.report(report, now, &mut said),
                Err(problem) => {
                    let shown = cut_to(&text, TAIL_WIDTH);
                    let message = format!("a report line {problem}: {shown}");
                    self.remember(&text);
                    self.log(Level::Warning, Stream::Output, message, now, &mut said);
                }
            }
            return said;
        }
        if stream == Stream::Output
            && let Some(tap) = &mut self.tap
        {
            let Taken { test, is_tap } = tap.line(&text);
            if let Some(test) = test {
                self.count_report(now);
                self.test(test, &mut said);
            }
            if is_tap {
                self.remember(&text);
                return said;
            }
        }
        self.remember(&text);
        if cut > 0 {
            text.push_str(&format!("… ({cut} more bytes)"));
        }
        // Nothing is lost with an empty line.
        if !text.trim().is_empty() {
            self.log(Level::Info, stream, text, now, &mut said);
        }
        said
    }

    /// Until when nothing more should be read of it.
    pub(crate) fn wait_until(&self) -> Option<Instant> {
        self.wait_until
    }

    /// What is due without a line.
    pub(crate) fn tick(&mut self, now: Instant) -> Vec<Said> {
        let mut said = Vec::new();
        if let Some(test) = self.tap.as_mut().and_then(Tap::flush) {
            self.test(test, &mut said);
        }
        self.tell_progress(now, &mut said);
        if self.hidden > 0 && now >= self.hidden_told + HIDDEN_TOLD_EVERY {
            self.tell_hidden(now, &mut said);
        }
        said
    }

    /// All that is left to tell when nothing more will come.
    pub(crate) fn end(&mut self, now: Instant) -> Vec<Said> {
        let mut said = Vec::new();
        if let Some(test) = self.tap.as_mut().and_then(Tap::end) {
            self.test(test, &mut said);
        }
        said.extend(self.progress.take().map(|report| self.reported(report)));
        self.tell_hidden(now, &mut said);
        said
    }

    /// Results that were in a file.
    pub(crate) fn read_tests(&mut self, tests: Vec<TestReport>) -> Vec<Said> {
        let mut said = Vec::new();
        for test in tests {
            self.test(test, &mut said);
        }
        said
    }

    /// What the program set, and the last value of each metric.
    pub(crate) fn results(&self) -> Fields {
        let mut results = self.results.clone();
        let Tests { passed, failed, skipped, .. } = &self.tests;
        if passed + failed + skipped > 0 {
            let counts = [("passed", passed), ("failed", failed), ("skipped", skipped)];
            let counts = counts.map(|(name, count)| (name.to_owned(), Value::Int(*count)));
            results.push(("tests".to_owned(), Value::Map(counts.into())));
        }
        results
    }

    /// Whether all tests went well, of those that were told.
    pub(crate) fn tests_verdict(&self) -> Result<(), String> {
        let Tests { passed, failed, skipped, failed_names, .. } = &self.tests;
        if *failed > 0 {
            let more = usize::try_from(*failed).unwrap_or_default().saturating_sub(failed_names.len());
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let total = passed + failed + skipped;
            return Err(format!("{failed} of {total} tests failed: {}{more}", failed_names.join(", ")));
        }
        self.tap.as_ref().map_or(Ok(()), Tap::verdict)
    }

    /// The last lines that it printed.
    pub(crate) fn tail(&self) -> String {
        self.tail.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }

    /// A line of the agent itself about the program.
    pub(crate) fn remark(&self, level: Level, message: String) -> Said {
        Said::Event(EventBody::Log(Log {
            level,
            message: cut_to(&message, MESSAGE_MAX),
            device: Some(self.about.device.clone()),
            run: Some(self.about.run),
            attempt: Some(self.about.attempt),
            source: self.about.program.clone(),
        }))
    }

    fn report(&mut self, report: Report, now: Instant, said: &mut Vec<Said>) {
        match report {
            Report::Progress { percent, phase, message } => {
                // What was said of the phase and not told yet is not lost with the older progress.
                let known = match self.progress.take() {
                    Some(RunReport::Progress { phase, .. }) => phase,
                    _ => None,
                };
                let phase = phase.map(|phase| cut_to(&phase, NAME_MAX)).or(known);
                let message = message.map(|message| cut_to(&message, MESSAGE_MAX));
                self.progress = Some(RunReport::Progress { percent, phase, message });
                self.tell_progress(now, said);
            }
            Report::Phase { phase, message } => {
                said.extend(self.progress.take().map(|report| self.reported(report)));
                let message = message.map(|message| cut_to(&message, MESSAGE_MAX));
                said.push(self.reported(RunReport::Phase { phase: cut_to(&phase, NAME_MAX), message }));
            }
            Report::Metric { name, value, unit } => {
                self.keep(name.as_str().to_owned(), Value::Float(value), now, said);
                said.push(self.reported(RunReport::Metric { name, value, unit }));
            }
            Report::Log { level, message } => {
                self.remember(&message);
                self.log(level, Stream::Output, message, now, said);
            }
            Report::Artifact { path, name, media_type } => said.push(Said::Artifact { path, name, media_type }),
            Report::Output { name, value } => self.keep(name, value, now, said),
            Report::Test(test) => self.test(test, said),
            Report::Event { event_type, payload } => {
                if json_bytes(&payload) > PAYLOAD_MAX {
                    let message = format!("event {event_type} was left out: its payload is over {PAYLOAD_MAX} bytes");
                    said.push(self.remark(Level::Warning, message));
                } else {
                    said.push(self.reported(RunReport::Event { event_type: cut_to(&event_type, NAME_MAX), payload }));
                }
            }
        }
    }

    fn keep(&mut self, name: String, value: Value, now: Instant, said: &mut Vec<Said>) {
        if ["exit_code", "duration", "tests"].contains(&name.as_str()) {
            let message = format!("{name} is a result of every program and cannot be set");
            return self.log(Level::Warning, Stream::Output, message, now, said);
        }
        let known = self.results.iter_mut().find(|(known, _)| *known == name);
        let was = known.as_ref().map_or(0, |(name, value)| name.len() + json_bytes(value));
        let is = name.len() + json_bytes(&value);
        if self.results_bytes - was + is > OUTPUTS_MAX {
            let name = cut_to(&name, NAME_MAX);
            let message =
                format!("{name} is not kept as a result of the step: all together are over {OUTPUTS_MAX} bytes");
            return self.log(Level::Warning, Stream::Output, message, now, said);
        }
        self.results_bytes = self.results_bytes - was + is;
        match known {
            Some((_, known)) => *known = value,
            None => self.results.push((name, value)),
        }
    }

    fn test(&mut self, test: TestReport, said: &mut Vec<Said>) {
        let TestReport { test, name, outcome, duration_s, score, message } = test;
        let test = cut_to(&test, NAME_MAX);
        let times = self.tests.ids.entry(test.clone()).or_default();
        *times += 1;
        let test = if *times > 1 { format!("{test} ({times})") } else { test };
        let name = cut_to(&name, NAME_MAX);
        match outcome {
            TestOutcome::Passed => self.tests.passed += 1,
            TestOutcome::Skipped => self.tests.skipped += 1,
            TestOutcome::Failed => {
                self.tests.failed += 1;
                if self.tests.failed_names.len() < FAILED_NAMED {
                    self.tests.failed_names.push(name.clone());
                }
            }
        }
        let message = message.map(|message| cut_to(&message, MESSAGE_MAX));
        said.push(self.reported(RunReport::Tested { test, name, outcome, duration_s, score, message }));
    }

    fn tell_progress(&mut self, now: Instant, said: &mut Vec<Said>) {
        if self.progress_told.is_none_or(|told| now >= told + PROGRESS_EVERY)
            && let Some(report) = self.progress.take()
        {
            self.progress_told = Some(now);
            said.push(self.reported(report));
        }
    }

    fn count_report(&mut self, now: Instant) {
        self.wait_until = self.reports.charge(now).map(|wait| now + wait);
    }

    fn log(&mut self, level: Level, stream: Stream, message: String, now: Instant, said: &mut Vec<Said>) {
        if !self.logs.admits(now) {
            self.hidden += 1;
            return;
        }
        let Said::Event(EventBody::Log(mut log)) = self.remark(level, message) else { return };
        if stream == Stream::Error {
            log.source.push_str(" (stderr)");
        }
        said.push(Said::Event(EventBody::Log(log)));
    }

    fn tell_hidden(&mut self, now: Instant, said: &mut Vec<Said>) {
        self.hidden_told = now;
        let hidden = std::mem::take(&mut self.hidden);
        if hidden > 0 {
            let message = format!("{hidden} lines are not shown: more than {LOGS_PER_SECOND} a second");
            said.push(self.remark(Level::Warning, message));
        }
    }

    fn remember(&mut self, text: &str) {
        if text.trim().is_empty() {
            return;
        }
        if self.tail.len() == TAIL_LINES {
            self.tail.pop_front();
        }
        self.tail.push_back(cut_to(text, TAIL_WIDTH));
    }

    fn reported(&self, report: RunReport) -> Said {
        Said::Event(EventBody::Report { attempt: self.about.attempt, run: self.about.run, report })
    }
}

/// At most so many bytes of it, and a sign that there was more.
fn cut_to(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(most)])
}

fn json_bytes(value: &Value) -> usize {
    serde_json::to_string(value).map_or(usize::MAX / 2, |text| text.len())
}

#[cfg(test)]
mod tests;
