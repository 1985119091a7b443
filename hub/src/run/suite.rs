//! A run that carries out the tests of a suite, each as often as it says: what is begun next, what an attempt's end means, and
//! when to stop. Knows no model.

use std::sync::Arc;

use rigwire_shared::ids::{MetricName, RunId};
use rigwire_shared::time::Timestamp;
use rigwire_shared::unit::Unit;
use rigwire_shared::value::{Fields, Value};

use super::children::{ChildEnd, ChildPlan, Running};
use super::{Action, Next, Run};
use crate::event::{
    Finished, Progress, Purpose, RunError, RunEventBody, RunHeader, RunStatus, StepCounts, SummaryMetric, TestAttempt,
    TestEvent,
};
use crate::procedure::{Procedure, Repeat, SuiteRules, Test};
use crate::template;

/// Code of a suite in which a test failed.
const TESTS_FAILED: &str = "TESTS_FAILED";

/// Names in the message of a suite that failed.
const NAMES_SHOWN: usize = 5;

#[derive(Debug, Clone)]
pub(super) struct SuiteRun {
    rules: SuiteRules,
    tests: Vec<TestRun>,
}

/// A test and what became of it so far.
#[derive(Debug, Clone)]
pub(super) struct TestRun {
    number: u64,
    plan: Test,
    procedure: Result<Arc<Procedure>, String>,
    attempts: Vec<TestAttempt>,
    percent: f64,
    end: Option<End>,
    duration_s: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Passed,
    Failed,
    Skipped,
}

/// A test as it stands, for whoever asks.
#[derive(Debug, Clone, PartialEq)]
pub struct TestView {
    pub number: u64,
    pub id: String,
    pub name: String,
    pub tags: Vec<String>,
    /// `pending`, `running`, `passed`, `failed` or `skipped`.
    pub status: &'static str,
    pub runs: u32,
    pub flaky: bool,
    pub score: Option<f64>,
    pub attempts: Vec<TestAttempt>,
    /// The run of the attempt that is under way.
    pub running: Option<RunId>,
}

impl SuiteRun {
    /// The header's tests are those that were chosen; the procedure says what each is.
    pub(super) fn new(header: &RunHeader, procedure: &Procedure) -> Self {
        let tests = header.tests.iter().filter_map(|card| {
            let plan = procedure.tests.iter().find(|test| test.id == card.id)?.clone();
            let procedure = plan.procedure.written_out();
            Some(TestRun {
                number: card.number,
                plan,
                procedure,
                attempts: Vec::new(),
                percent: 0.0,
                end: None,
                duration_s: 0.0,
            })
        });
        Self { rules: procedure.suite.clone().unwrap_or_default(), tests: tests.collect() }
    }

    fn test(&self, id: &str) -> Option<&TestRun> {
        self.tests.iter().find(|test| test.plan.id == id)
    }

    pub(super) fn apply(&mut self, event: &TestEvent) {
        let Some(test) = self.tests.iter_mut().find(|test| test.plan.id == event.test) else { return };
        test.percent = event.percent;
        if let Some(attempt) = &event.attempt {
            test.duration_s += attempt.duration_s;
            test.attempts.push(attempt.clone());
        }
        test.end = match event.status.as_str() {
            "completed" => Some(End::Passed),
            "failed" => Some(End::Failed),
            "skipped" | "cancelled" => Some(End::Skipped),
            _ => None,
        };
    }

    pub(super) fn counts(&self) -> StepCounts {
        let count = |wanted: End| self.tests.iter().filter(|test| test.end == Some(wanted)).count();
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        StepCounts {
            total: number(self.tests.len()),
            successful: number(count(End::Passed)),
            failed: number(count(End::Failed)),
            skipped: number(count(End::Skipped)),
        }
    }

    pub(super) fn progress(&self, running: &[Running]) -> (f64, String) {
        let ended = self.tests.iter().filter(|test| test.end.is_some()).count();
        let part: f64 = self.tests.iter().map(|test| if test.end.is_some() { 100.0 } else { test.percent }).sum();
        #[expect(clippy::cast_precision_loss, reason = "a number of tests")]
        let percent = part / self.tests.len().max(1) as f64;
        let names = running.iter().filter_map(|running| match &running.purpose {
            Purpose::Test { test, .. } => self.test(test).map(|test| test.plan.name()),
            Purpose::Iteration { .. } => None,
        });
        let names: Vec<&str> = names.take(NAMES_SHOWN).collect();
        let names = if names.is_empty() { String::new() } else { format!(": {}", names.join(", ")) };
        (percent, format!("{ended}/{} tests{names}", self.tests.len()))
    }

    /// Why no further test begins.
    fn stopped(&self) -> Option<String> {
        let failed: Vec<&TestRun> = self.tests.iter().filter(|test| test.end == Some(End::Failed)).collect();
        if let Some(critical) = failed.iter().find(|test| test.plan.critical) {
            return Some(format!("critical test {} failed", critical.plan.id));
        }
        let most = usize::try_from(self.rules.stop_after_failures?).ok()?;
        (failed.len() >= most).then(|| format!("{} failed, as many as stop the suite", number_of_tests(failed.len())))
    }

    /// The event of an attempt's end, which may be the end of its test.
    pub(super) fn attempt_ended(
        &self,
        id: &str,
        attempt: u32,
        end: &ChildEnd,
        suite_cancelled: bool,
    ) -> Option<TestEvent> {
        let test = self.test(id)?;
        let cancelled = suite_cancelled && end.status == RunStatus::Cancelled;
        let passed = end.status == RunStatus::Completed;
        let (score, mistake) = match test.plan.score.as_deref().filter(|_| !cancelled) {
            None => (Some(f64::from(u8::from(passed))), None),
            Some(expression) => match score(expression, passed, end) {
                Ok(score) => (Some(score), None),
                Err(message) => (None, Some(message)),
            },
        };
        // A test that passed and cannot be scored has not passed: its score was asked for.
        let (passed, error) = match (passed, mistake) {
            (true, Some(message)) => (false, Some(format!("score {message}"))),
            (passed, _) => (passed, end.error.clone()),
        };
        let ended = TestAttempt { attempt, run: end.run, passed, score, duration_s: end.duration_s, error };
        let mut attempts = test.attempts.clone();
        attempts.push(ended.clone());
        let outcome = test.outcome(&attempts);
        let status = match outcome {
            _ if cancelled => "cancelled",
            Some(true) => "completed",
            Some(false) => "failed",
            None => "running",
        };
        let (passes, flaky) = (passes(&attempts), is_flaky(&attempts));
        let made = attempts.len();
        let message = match (flaky, cancelled) {
            (_, true) => "cancelled".to_owned(),
            (true, false) => format!("flaky: {passes} of {made} attempts passed"),
            (false, false) => format!("{passes} of {made} attempts passed"),
        };
        let error = attempts.iter().rev().find_map(|attempt| attempt.error.clone()).filter(|_| outcome != Some(true));
        Some(TestEvent {
            test: id.to_owned(),
            name: test.plan.name().to_owned(),
            number: test.number,
            status: status.to_owned(),
            percent: if outcome.is_some() || cancelled { 100.0 } else { test.percent_at(made, 0.0) },
            current_run: attempt,
            total_runs: test.plan.runs,
            success: (!cancelled).then_some(outcome).flatten(),
            score: mean(&attempts),
            duration_s: Some(test.duration_s + end.duration_s),
            message: Some(message),
            error,
            flaky,
            attempt: Some(ended),
        })
    }

    pub(super) fn begun(&self, id: &str, attempt: u32) -> Option<TestEvent> {
        let test = self.test(id)?;
        let message = (test.plan.runs > 1).then(|| format!("attempt {attempt} of {}", test.plan.runs));
        Some(test.event("running", test.percent_at(test.attempts.len(), 0.0), attempt, message))
    }

    pub(super) fn progressed(&self, id: &str, attempt: u32, progress: &Progress) -> Option<TestEvent> {
        let test = self.test(id)?;
        let percent = test.percent_at(test.attempts.len(), progress.percent);
        Some(test.event("running", percent, attempt, Some(progress.message.clone())))
    }

    pub(super) fn views(&self, running: &[Running]) -> Vec<TestView> {
        self.tests.iter().map(|test| test.view(running)).collect()
    }
}

impl TestRun {
    /// Whether the test passed, once that is decided or no attempt is left.
    fn outcome(&self, attempts: &[TestAttempt]) -> Option<bool> {
        let made = u32::try_from(attempts.len()).unwrap_or(u32::MAX);
        let (passes, needed, left) = (passes(attempts), self.plan.passes(), self.plan.runs.saturating_sub(made));
        let over = match self.plan.repeat {
            _ if left == 0 => true,
            Repeat::All => false,
            Repeat::UntilFailed => attempts.last().is_some_and(|last| !last.passed),
            Repeat::UntilPassed => attempts.last().is_some_and(|last| last.passed),
            Repeat::UntilDecided => passes >= needed || passes + left < needed,
        };
        over.then_some(passes >= needed)
    }

    fn percent_at(&self, ended: usize, of_this: f64) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a number of attempts")]
        let ended = ended as f64 * 100.0;
        ((ended + of_this) / f64::from(self.plan.runs.max(1))).clamp(0.0, 99.0)
    }

    fn event(&self, status: &str, percent: f64, attempt: u32, message: Option<String>) -> TestEvent {
        TestEvent {
            test: self.plan.id.clone(),
            name: self.plan.name().to_owned(),
            number: self.number,
            status: status.to_owned(),
            percent,
            current_run: attempt,
            total_runs: self.plan.runs,
            success: None,
            score: mean(&self.attempts),
            duration_s: None,
            message,
            error: None,
            flaky: is_flaky(&self.attempts),
            attempt: None,
        }
    }

    fn view(&self, running: &[Running]) -> TestView {
        let running = running.iter().find(|running| self.is_at(running)).map(|running| running.run);
        let status = match (self.end, running) {
            (Some(End::Passed), _) => "passed",
            (Some(End::Failed), _) => "failed",
            (Some(End::Skipped), _) => "skipped",
            (None, Some(_)) => "running",
            (None, None) if self.attempts.is_empty() => "pending",
            (None, None) => "running",
        };
        TestView {
            number: self.number,
            id: self.plan.id.clone(),
            name: self.plan.name().to_owned(),
            tags: self.plan.tags.clone(),
            status,
            runs: self.plan.runs,
            flaky: is_flaky(&self.attempts),
            score: mean(&self.attempts),
            attempts: self.attempts.clone(),
            running,
        }
    }

    fn is_at(&self, running: &Running) -> bool {
        matches!(&running.purpose, Purpose::Test { test, .. } if *test == self.plan.id)
    }
}

impl Run {
    pub(super) fn next_of_suite(&self, suite: &SuiteRun, running: &[Running], now: Timestamp) -> Next {
        let stopped = match &self.cancel {
            Some(cause) => Some(format!("run cancelled: {cause}")),
            None => suite.stopped(),
        };
        let idle = |test: &&TestRun| test.end.is_none() && !running.iter().any(|running| test.is_at(running));
        let waiting: Vec<&TestRun> = suite.tests.iter().filter(idle).collect();
        if let Some(cause) = stopped.filter(|_| !waiting.is_empty()) {
            // One that was tried already keeps what it showed, but its outcome is open.
            let skipped = waiting.iter().map(|test| {
                let event = test.event("skipped", 100.0, 0, Some(cause.clone()));
                Action::Emit(RunEventBody::Test(event))
            });
            return Next::Do(skipped.collect());
        }
        if waiting.is_empty() && running.is_empty() {
            return Next::Do(vec![Action::Emit(RunEventBody::Finished(self.conclude_suite(suite, now)))]);
        }
        if self.status == RunStatus::Paused {
            return Next::WaitUntil(None);
        }
        let free = suite.rules.parallel.saturating_sub(running.len());
        let begun: Vec<Action> = waiting.into_iter().take(free).map(|test| self.begin_attempt(test)).collect();
        if begun.is_empty() { Next::WaitUntil(None) } else { Next::Do(begun) }
    }

    fn begin_attempt(&self, test: &TestRun) -> Action {
        let attempt = u32::try_from(test.attempts.len()).unwrap_or(u32::MAX).saturating_add(1);
        let context = self.context();
        let given: Result<Fields, String> = test
            .plan
            .params()
            .iter()
            .map(|(name, value)| Ok((name.clone(), template::fill(value, &context)?)))
            .collect();
        let procedure = test.procedure.clone();
        let params = given.and_then(|given| procedure.clone()?.bind_params(&given));
        let of_so_many = if test.plan.runs > 1 { format!(", {attempt} of {}", test.plan.runs) } else { String::new() };
        Action::StartChild(Box::new(ChildPlan {
            procedure: procedure.unwrap_or_default(),
            params,
            name: format!("{}: {}{of_so_many}", self.header.name, test.plan.name()),
            purpose: Purpose::Test { test: test.plan.id.clone(), attempt },
        }))
    }

    fn conclude_suite(&self, suite: &SuiteRun, now: Timestamp) -> Finished {
        let counts = suite.counts();
        let flaky = suite.tests.iter().filter(|test| is_flaky(&test.attempts)).count();
        let flaky = if flaky > 0 { format!(", {flaky} flaky") } else { String::new() };
        let failed: Vec<&str> =
            suite.tests.iter().filter(|test| test.end == Some(End::Failed)).map(|test| test.plan.id.as_str()).collect();
        let mut finished = self.conclude(now);
        if self.cancel.is_none() {
            if failed.is_empty() {
                finished.message = format!("{} of {} tests passed{flaky}", counts.successful, counts.total);
            } else {
                let more = if failed.len() > NAMES_SHOWN { " and more" } else { "" };
                let names = failed.iter().take(NAMES_SHOWN).copied().collect::<Vec<_>>().join(", ");
                let message = format!("{} of {} tests failed: {names}{more}{flaky}", failed.len(), counts.total);
                finished.status = RunStatus::Failed;
                finished.message.clone_from(&message);
                finished.error = Some(RunError { code: TESTS_FAILED.to_owned(), message, step: None, device: None });
            }
        }
        let scores: Vec<f64> = suite.tests.iter().filter_map(|test| mean(&test.attempts)).collect();
        let rate = f64::from(counts.successful) / f64::from(counts.total.max(1));
        let summary = [("success_rate", Some(rate)), ("score", mean_of(&scores))];
        finished.metrics = summary
            .into_iter()
            .filter_map(|(name, value)| {
                Some(SummaryMetric { name: MetricName::new(name).ok()?, value: value?, unit: Unit::None })
            })
            .collect();
        finished
    }
}

fn passes(attempts: &[TestAttempt]) -> u32 {
    u32::try_from(attempts.iter().filter(|attempt| attempt.passed).count()).unwrap_or(u32::MAX)
}

fn is_flaky(attempts: &[TestAttempt]) -> bool {
    attempts.iter().any(|attempt| attempt.passed) && attempts.iter().any(|attempt| !attempt.passed)
}

fn mean(attempts: &[TestAttempt]) -> Option<f64> {
    mean_of(&attempts.iter().filter_map(|attempt| attempt.score).collect::<Vec<_>>())
}

#[expect(clippy::cast_precision_loss, reason = "a number of scores")]
fn mean_of(scores: &[f64]) -> Option<f64> {
    (!scores.is_empty()).then(|| scores.iter().sum::<f64>() / scores.len() as f64)
}

fn number_of_tests(count: usize) -> String {
    if count == 1 { "1 test".to_owned() } else { format!("{count} tests") }
}

fn score(expression: &str, passed: bool, end: &ChildEnd) -> Result<f64, String> {
    let metrics = end.metrics.iter().map(|metric| (metric.name.as_str().to_owned(), Value::Float(metric.value)));
    let fields: Fields = vec![
        ("metrics".to_owned(), Value::Map(metrics.collect())),
        ("steps".to_owned(), Value::Map(end.outputs.clone())),
        ("duration_s".to_owned(), Value::Float(end.duration_s)),
        ("passed".to_owned(), Value::Bool(passed)),
    ];
    let context = minijinja::Value::from(minijinja::value::Serde(Value::Map(fields)));
    let value = template::evaluate(expression, &context)?;
    value.as_f64().filter(|score| score.is_finite()).ok_or_else(|| {
        format!("{expression} gives {}, expected a number", serde_json::to_string(&value).unwrap_or_default())
    })
}
