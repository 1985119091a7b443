//! What an external run's producer reported so far, as far as later events may contradict it. Its state is what the run's
//! events add up to. Knows no model.

use std::collections::BTreeMap;
use std::time::Duration;

use rigwire_shared::ids::{RunId, StepId};
use rigwire_shared::time::Timestamp;
use rigwire_shared::value::{Fields, Value};

use super::report::{StepReport, StepWord, TestReport};
use super::{DEADLINE, Mistake, PARTS_MAX};
use crate::event::{
    ChildEvent, Purpose, RunEventBody, RunHeader, StepCard, StepChange, StepCounts, StepEvent, StepState, TestCard,
    TestEvent,
};

#[derive(Debug, Clone)]
pub(crate) struct State {
    steps: BTreeMap<StepId, StepSoFar>,
    tests: BTreeMap<String, TestSoFar>,
    /// Runs of its tests, and of the iteration that was last told.
    test_runs: BTreeMap<String, RunId>,
    iteration_run: Option<(u64, RunId)>,
    /// Whether it announced what may be reported; otherwise each part is known from its first event on.
    steps_announced: bool,
    tests_announced: bool,
    /// Progress as the producer told it, and whether the hub told any before that.
    pub(crate) percent: f64,
    pub(crate) tells_progress: bool,
    derived: bool,
    /// By the hub's clock. After a restart the producer has its time again.
    pub(crate) heard: Timestamp,
    pub(crate) deadline: Option<Duration>,
}

#[derive(Debug, Clone)]
struct StepSoFar {
    state: StepState,
    attempt: u32,
    percent: f64,
    began: Option<Timestamp>,
    module: String,
}

#[derive(Debug, Clone)]
struct TestSoFar {
    name: String,
    number: u64,
    total_runs: u32,
    current_run: u32,
    percent: f64,
    began: Option<Timestamp>,
    /// Whether it succeeded, once it has ended.
    ended: Option<bool>,
}

impl State {
    pub(crate) fn new(header: &RunHeader) -> Self {
        let step = |card: &StepCard| (card.id.clone(), StepSoFar::new(&card.module));
        let test = |card: &TestCard| (card.id.clone(), TestSoFar::new(&card.name, card.number, card.runs));
        let deadline = header.params.iter().find(|(name, _)| name == DEADLINE).and_then(|(_, value)| value.as_f64());
        Self {
            steps: header.steps.iter().map(step).collect(),
            tests: header.tests.iter().map(test).collect(),
            test_runs: BTreeMap::new(),
            iteration_run: None,
            steps_announced: !header.steps.is_empty(),
            tests_announced: !header.tests.is_empty(),
            percent: 0.0,
            tells_progress: false,
            derived: false,
            heard: header.created_at,
            deadline: deadline.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
        }
    }

    pub(crate) fn apply(&mut self, body: &RunEventBody, at: Timestamp) {
        if let RunEventBody::Step(event) = body {
            let step = self.steps.entry(event.step.clone()).or_insert_with(|| StepSoFar::new(&event.module));
            step.apply(event, at);
        } else if let RunEventBody::Test(event) = body {
            let new = || TestSoFar::new(&event.name, event.number, event.total_runs);
            self.tests.entry(event.test.clone()).or_insert_with(new).apply(event, at);
        } else if let RunEventBody::Child(ChildEvent { run: Some(run), purpose, .. }) = body {
            match purpose {
                Purpose::Test { test, .. } => {
                    self.test_runs.insert(test.clone(), *run);
                }
                Purpose::Iteration { iteration, .. } => self.iteration_run = Some((*iteration, *run)),
            }
        } else if let RunEventBody::Progress(progress) = body {
            if !self.tells_progress && progress.message == self.summary() {
                self.derived = true;
            } else {
                self.tells_progress = true;
                if !self.derived {
                    self.percent = progress.percent;
                }
            }
        }
    }

    pub(crate) fn run_of_test(&self, test: &str) -> Option<RunId> {
        self.test_runs.get(test).copied()
    }

    /// Only of the last one: iterations are many, and are seldom told of twice.
    pub(crate) fn run_of_iteration(&self, iteration: u64) -> Option<RunId> {
        self.iteration_run.filter(|(last, _)| *last == iteration).map(|(_, run)| run)
    }

    pub(crate) fn runs_of_tests(&self) -> impl Iterator<Item = RunId> {
        self.test_runs.values().copied()
    }

    /// Tests if there are any, steps otherwise. What has not ended counts as skipped only once the run has.
    pub(crate) fn counts(&self) -> StepCounts {
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        if !self.tests.is_empty() {
            let count = |success| number(self.tests.values().filter(|test| test.ended == Some(success)).count());
            return StepCounts {
                total: number(self.tests.len()),
                successful: count(true),
                failed: count(false),
                skipped: 0,
            };
        }
        let count = |state| number(self.steps.values().filter(|step| step.state == state).count());
        StepCounts {
            total: number(self.steps.len()),
            successful: count(StepState::Completed),
            failed: count(StepState::Failed),
            skipped: count(StepState::Skipped) + count(StepState::Cancelled),
        }
    }

    /// How far the run is by what has ended of all that was announced.
    pub(crate) fn derived_percent(&self) -> Option<f64> {
        let counts = self.counts();
        let announced = if self.tests.is_empty() { self.steps_announced } else { self.tests_announced };
        let ended = counts.successful + counts.failed + counts.skipped;
        (announced && counts.total > 0).then(|| 100.0 * f64::from(ended) / f64::from(counts.total))
    }

    /// The same in words.
    pub(crate) fn summary(&self) -> String {
        let counts = self.counts();
        let parts = if self.tests.is_empty() { "steps" } else { "tests" };
        format!("{} of {} {parts} ended", counts.successful + counts.failed + counts.skipped, counts.total)
    }

    pub(crate) fn running_step(&self) -> Option<&StepId> {
        self.steps.iter().find(|(_, step)| step.state == StepState::Running).map(|(id, _)| id)
    }

    pub(crate) fn knows_step(&self, step: &StepId) -> bool {
        !self.steps_announced || self.steps.contains_key(step)
    }

    /// Whether an id may stand where an event names a test: one of the tests, or a step where each step is one.
    pub(crate) fn knows_test(&self, id: &str) -> bool {
        let is_step = StepId::new(id).is_ok_and(|id| self.steps.contains_key(&id));
        is_step || !self.tests_announced || self.tests.contains_key(id)
    }

    pub(crate) fn step(&self, report: &StepReport, path: &str, at: Timestamp) -> Result<Vec<StepEvent>, Mistake> {
        let id = &report.step;
        let refuse = |field: &str, problem: String| Err(Mistake::new(format!("{path}.{field}"), problem));
        if !self.knows_step(id) {
            return refuse("step", format!("step {id} was not announced"));
        }
        if !self.steps.contains_key(id) && self.steps.len() >= PARTS_MAX {
            return refuse("step", format!("the run has {PARTS_MAX} steps already, the most there may be"));
        }
        let new = StepSoFar::new("external");
        let step = self.steps.get(id).unwrap_or(&new);
        if step.state.is_final() {
            return refuse("status", format!("step {id} is {} already", step.state.as_str()));
        }
        let is_running = step.state == StepState::Running;
        let attempt = report.attempt.unwrap_or(if is_running { step.attempt } else { step.attempt + 1 });
        if attempt < step.attempt || (attempt == step.attempt && !is_running) {
            return refuse("attempt", format!("attempt {attempt} of step {id} has ended already"));
        }
        let again = is_running && attempt == step.attempt;
        if let Some(percent) = report.progress.filter(|percent| again && *percent < step.percent) {
            return refuse("progress", format!("{percent} is less than {}, reported before", step.percent));
        }
        let since = step.began.filter(|_| again).map_or(0.0, |began| at.seconds_since(began).max(0.0));
        let duration_s = report.duration_s.unwrap_or(since);
        let error = || report.error.clone().unwrap_or_else(|| format!("step {id} failed"));
        let changes = match report.status {
            StepWord::Running => {
                let progress = |percent| StepChange::Progress { percent, message: String::new(), phase: None };
                match (again, report.progress) {
                    (true, percent) => vec![progress(percent.unwrap_or(step.percent))],
                    (false, None) => vec![StepChange::Running],
                    (false, Some(percent)) => vec![StepChange::Running, progress(percent)],
                }
            }
            StepWord::Completed => {
                let screenshot = report.screenshot.clone();
                vec![StepChange::Completed { duration_s, outputs: Fields::new(), screenshot }]
            }
            StepWord::Failed => vec![StepChange::Failed {
                duration_s,
                error_code: report.error_code.clone().unwrap_or_else(|| "STEP_FAILED".to_owned()),
                error: error(),
                will_retry: report.will_retry,
            }],
            StepWord::Skipped if again => {
                return refuse("status", format!("step {id} is running and cannot be skipped"));
            }
            StepWord::Skipped => {
                let cause = report.error.clone().unwrap_or_else(|| "skipped by its producer".to_owned());
                vec![StepChange::Skipped { cause }]
            }
        };
        let event = |change| StepEvent {
            step: id.clone(),
            module: report.module.clone().unwrap_or_else(|| step.module.clone()),
            device: report.device.clone(),
            attempt_id: None,
            attempt,
            number: None,
            change,
        };
        Ok(changes.into_iter().map(event).collect())
    }

    /// What a test's event becomes. `next_number` is taken by a test that is new.
    pub(crate) fn test(
        &self,
        report: &TestReport,
        path: &str,
        at: Timestamp,
        next_number: &mut u64,
    ) -> Result<TestEvent, Mistake> {
        let id = &report.test;
        let refuse = |field: &str, problem: String| Err(Mistake::new(format!("{path}.{field}"), problem));
        let known = self.tests.get(id);
        if known.is_none() && self.tests_announced {
            return refuse("test", format!("test {id} was not announced"));
        }
        if known.is_none() && self.tests.len() >= PARTS_MAX {
            return refuse("test", format!("the run has {PARTS_MAX} tests already, the most there may be"));
        }
        let new = TestSoFar::new(id, *next_number, report.total_runs.unwrap_or(1));
        let test = known.unwrap_or(&new);
        if let Some(success) = test.ended {
            let how = if success { "completed" } else { "failed" };
            return refuse("status", format!("test {id} is {how} already"));
        }
        if let Some(total) = report.total_runs.filter(|total| *total != test.total_runs) {
            return refuse("total_runs", format!("{total} contradicts {}, told before", test.total_runs));
        }
        let current_run = report.current_run.unwrap_or(test.current_run.max(1));
        if current_run > test.total_runs {
            return refuse("current_run", format!("{current_run} is beyond total_runs, which is {}", test.total_runs));
        }
        if current_run < test.current_run {
            return refuse("current_run", format!("{current_run} is less than {}, reported before", test.current_run));
        }
        let same_run = current_run == test.current_run;
        if let Some(percent) = report.progress.filter(|percent| same_run && *percent < test.percent) {
            return refuse("progress", format!("{percent} is less than {}, reported before", test.percent));
        }
        if known.is_none() {
            *next_number += 1;
        }
        let running = report.status == "running";
        let percent = match report.progress {
            Some(percent) => percent,
            None if !running => 100.0,
            None => {
                if same_run {
                    test.percent
                } else {
                    0.0
                }
            }
        };
        let since = test.began.map(|began| at.seconds_since(began).max(0.0));
        Ok(TestEvent {
            test: id.clone(),
            name: report.name.clone().unwrap_or_else(|| test.name.clone()),
            number: test.number,
            status: report.status.to_owned(),
            percent,
            current_run,
            total_runs: test.total_runs,
            success: (!running).then(|| report.success.unwrap_or(report.status == "completed")),
            score: report.score,
            duration_s: report.duration_s.or(since.filter(|_| !running)),
            message: report.message.clone(),
            error: report.error.clone(),
            flaky: false,
            attempt: None,
        })
    }

    /// What becomes of the steps that are still open when the run ends.
    pub(crate) fn closing(&self, cause: &str, at: Timestamp) -> Vec<StepEvent> {
        let open = self.steps.iter().filter(|(_, step)| !step.state.is_final());
        open.map(|(id, step)| {
            let duration_s = step.began.map_or(0.0, |began| at.seconds_since(began).max(0.0));
            StepEvent {
                step: id.clone(),
                module: step.module.clone(),
                device: None,
                attempt_id: None,
                attempt: step.attempt.max(1),
                number: None,
                change: if step.state == StepState::Running {
                    StepChange::Cancelled { duration_s, safe: None }
                } else {
                    StepChange::Skipped { cause: cause.to_owned() }
                },
            }
        })
        .collect()
    }
}

impl StepSoFar {
    fn new(module: &str) -> Self {
        Self { state: StepState::Pending, attempt: 0, percent: 0.0, began: None, module: module.to_owned() }
    }

    fn apply(&mut self, event: &StepEvent, at: Timestamp) {
        self.attempt = event.attempt;
        self.module.clone_from(&event.module);
        match &event.change {
            StepChange::Dispatched { .. } | StepChange::Running => {
                self.state = StepState::Running;
                self.percent = 0.0;
                self.began = Some(at);
            }
            StepChange::Progress { percent, .. } => self.percent = *percent,
            StepChange::Completed { .. } => self.state = StepState::Completed,
            StepChange::Failed { will_retry: true, .. } => self.state = StepState::Pending,
            StepChange::Failed { will_retry: false, .. } => self.state = StepState::Failed,
            StepChange::Cancelled { .. } => self.state = StepState::Cancelled,
            StepChange::Skipped { .. } => self.state = StepState::Skipped,
        }
    }
}

impl TestSoFar {
    fn new(name: &str, number: u64, total_runs: u32) -> Self {
        let name = name.to_owned();
        Self { name, number, total_runs, current_run: 0, percent: 0.0, began: None, ended: None }
    }

    fn apply(&mut self, event: &TestEvent, at: Timestamp) {
        self.name.clone_from(&event.name);
        self.current_run = event.current_run;
        self.percent = event.percent;
        self.began.get_or_insert(at);
        if matches!(event.status.as_str(), "completed" | "failed") {
            self.ended = Some(event.success.unwrap_or(event.status == "completed"));
        }
    }
}

/// Devices that an external run was announced with.
pub(crate) fn devices(params: &Fields) -> Vec<String> {
    match params.iter().find(|(name, _)| name == "devices") {
        Some((_, Value::List(devices))) => devices.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        Some(_) | None => Vec::new(),
    }
}
