//! A run's events, one after the other, become its report. Bounded: however long the run, what is kept of it is not.

use std::collections::{HashMap, VecDeque};

use rigwire_shared::ids::{RunId, StepId};
use rigwire_shared::time::Timestamp;
use rigwire_shared::unit::Unit;
use rigwire_shared::value::Fields;

use super::suite;
use super::{Artifact, Attempt, Capped, Completeness, Device, Judged, LogLine, Report, Sample, Series, Step, Sweep};
use crate::event::{
    BoundDevice, ChildEvent, DeviceSnapshot, Metric, RunEventBody, RunSnapshot, StepChange, StepEvent, StepState,
    TestEvent, Verdict,
};
use crate::run::Parts;

/// Samples that a report holds. More are counted.
const SAMPLES_MAX: usize = 250_000;

/// Series, and steps and tests that no one announced: each is a row or a plot of its own.
const SERIES_MAX: usize = 1_000;
const STEPS_MAX: usize = 5_000;
const TESTS_MAX: usize = 5_000;
const ATTEMPTS_MAX: usize = 200;

/// Runs that were started for this one, whose numbers are known.
const PARTS_MAX: usize = 100_000;

const ITERATIONS_MAX: usize = 2_000;
const ARTIFACTS_MAX: usize = 500;

/// Lines of the log that a report shows.
const LOG_TAIL: usize = 100;

type SeriesKey = (String, Unit, Option<String>);

/// Takes the events of one run in the order of their numbers.
#[derive(Debug)]
pub struct Builder {
    run: RunSnapshot,
    steps: Vec<Step>,
    step_index: HashMap<StepId, usize>,
    series: Vec<Series>,
    series_index: HashMap<SeriesKey, usize>,
    samples: usize,
    samples_left_out: u64,
    bound: Vec<BoundDevice>,
    tests: Vec<TestEvent>,
    test_index: HashMap<String, usize>,
    iterations: Capped<crate::event::Iteration>,
    artifacts: Capped<Artifact>,
    log: VecDeque<LogLine>,
    log_left_out: u64,
    cancelled_because: Option<String>,
    /// Point of a sweep that is being done, from 1; 0 outside of one.
    point: u32,
    sweep: Option<Sweep>,
    numbers: HashMap<RunId, u64>,
    completeness: Completeness,
}

impl Builder {
    /// Events after the last one that the snapshot includes are not taken: the report is of one moment.
    pub fn new(run: RunSnapshot) -> Self {
        let mut builder = Self {
            steps: Vec::new(),
            step_index: HashMap::new(),
            series: Vec::new(),
            series_index: HashMap::new(),
            samples: 0,
            samples_left_out: 0,
            bound: Vec::new(),
            tests: Vec::new(),
            test_index: HashMap::new(),
            iterations: Capped::default(),
            artifacts: Capped::default(),
            log: VecDeque::new(),
            log_left_out: 0,
            cancelled_because: None,
            point: 0,
            sweep: match &run.parts {
                Some(Parts::Sweep(view)) => Some(Sweep::new(view.clone())),
                Some(Parts::Suite(_) | Parts::Study(_)) | None => None,
            },
            numbers: HashMap::new(),
            completeness: Completeness::default(),
            run,
        };
        let header = std::sync::Arc::clone(&builder.run.header);
        for card in &header.steps {
            builder.add_step(&card.id, &card.module, card.finally);
        }
        for step in &builder.run.steps {
            if let Some(known) = builder.step_index.get(&step.step).and_then(|index| builder.steps.get_mut(*index)) {
                known.device = step.device.as_ref().map(|device| device.as_str().to_owned());
            }
        }
        builder
    }

    pub fn take(&mut self, number: u64, at: Timestamp, body: RunEventBody) {
        if number > self.run.last_event {
            return;
        }
        self.completeness.take(number);
        match body {
            RunEventBody::CancelRequested { cause } => {
                self.cancelled_because.get_or_insert(cause);
            }
            RunEventBody::Bound { devices, .. } => self.bound = devices,
            RunEventBody::Point(point) => {
                self.point = point.point;
                if let Some(sweep) = &mut self.sweep {
                    sweep.begin(point);
                }
            }
            RunEventBody::Child(ChildEvent { run, number, .. }) => {
                if let (Some(run), Some(number)) = (run, number)
                    && self.numbers.len() < PARTS_MAX
                {
                    self.numbers.insert(run, number);
                }
            }
            RunEventBody::Log(log) => {
                if self.log.len() == LOG_TAIL {
                    self.log.pop_front();
                    self.log_left_out += 1;
                }
                self.log.push_back(LogLine { at, log });
            }
            RunEventBody::Metric(metric) => self.metric(metric, at),
            RunEventBody::Step(event) => self.step(event, at),
            RunEventBody::Verdict(verdict) => self.verdict(verdict, at),
            RunEventBody::Iteration(iteration) => self.iterations.push(iteration, ITERATIONS_MAX),
            RunEventBody::Test(test) => self.test(test),
            RunEventBody::Artifact { name, media_type, path, size } => {
                self.artifacts.push(Artifact { name, media_type, path, size }, ARTIFACTS_MAX);
            }
            RunEventBody::Created
            | RunEventBody::Status { .. }
            | RunEventBody::Progress(_)
            | RunEventBody::DeviceLost { .. }
            | RunEventBody::Tool { .. }
            | RunEventBody::Custom(_)
            | RunEventBody::Wells { .. }
            | RunEventBody::Finished(_) => {}
        }
    }

    /// `known` is what the fleet knows of the devices that the run held.
    pub fn finish(mut self, known: &[DeviceSnapshot], generated_at: Timestamp) -> Report {
        self.name_units();
        let mut completeness = self.completeness;
        completeness.close(self.run.last_event, !self.run.status.is_final());
        let device = |bound: BoundDevice| Device {
            known: known.iter().find(|known| known.device == bound.device).cloned(),
            bound,
        };
        Report {
            finished: self.run.finished.clone(),
            cancelled_because: self.cancelled_because,
            steps: self.steps,
            series: self.series,
            samples_left_out: self.samples_left_out,
            devices: self.bound.into_iter().map(device).collect(),
            tests: suite::complete(&self.run, self.tests),
            sweep: self.sweep,
            numbers: self.numbers,
            iterations: self.iterations,
            artifacts: self.artifacts,
            pictures: Vec::new(),
            log: self.log.into(),
            log_left_out: self.log_left_out,
            completeness,
            generated_at,
            run: self.run,
        }
    }

    /// Devices that the run held, as told so far.
    pub fn bound(&self) -> &[BoundDevice] {
        &self.bound
    }

    fn add_step(&mut self, id: &StepId, module: &str, finally: bool) -> Option<usize> {
        if self.steps.len() >= STEPS_MAX {
            return None;
        }
        let index = self.steps.len();
        self.step_index.insert(id.clone(), index);
        self.steps.push(Step {
            id: id.clone(),
            module: module.to_owned(),
            device: None,
            finally,
            state: StepState::Pending,
            attempts: Vec::new(),
            error: None,
            error_code: None,
            duration_s: None,
            outputs: Fields::new(),
            screenshot: None,
        });
        Some(index)
    }

    /// The step's place; a program may report steps that it did not announce.
    fn step_at(&mut self, id: &StepId, module: &str) -> Option<usize> {
        match self.step_index.get(id) {
            Some(index) => Some(*index),
            None => self.add_step(id, module, false),
        }
    }

    /// `finally` steps come after the points.
    fn point_of(&self, step: usize) -> u32 {
        if self.steps.get(step).is_some_and(|step| step.finally) { 0 } else { self.point }
    }

    fn metric(&mut self, metric: Metric, at: Timestamp) {
        if let Some(sweep) = &mut self.sweep {
            sweep.metric(&metric);
        }
        if self.samples >= SAMPLES_MAX {
            self.samples_left_out += 1;
            return;
        }
        let device = metric.device.as_ref().map(|device| device.as_str().to_owned());
        let key = (metric.name.as_str().to_owned(), metric.unit.clone(), device.clone());
        let index = match self.series_index.get(&key) {
            Some(index) => *index,
            None if self.series.len() >= SERIES_MAX => {
                self.samples_left_out += 1;
                return;
            }
            None => {
                let series = Series { metric: key.0.clone(), unit: metric.unit, device, samples: Vec::new() };
                self.series.push(series);
                self.series_index.insert(key, self.series.len() - 1);
                self.series.len() - 1
            }
        };
        let step = metric.step.and_then(|step| self.step_index.get(&step).copied());
        let attempt =
            |index: usize| self.steps.get(index).and_then(|step| step.attempts.last()).map_or(1, |last| last.number);
        let step = step.map(|index| (index, attempt(index)));
        let point = step.map_or(self.point, |(index, _)| self.point_of(index));
        if let Some(series) = self.series.get_mut(index) {
            series.samples.push(Sample { at, value: metric.value, quality: metric.quality, step, point });
            self.samples += 1;
        }
    }

    fn step(&mut self, event: StepEvent, at: Timestamp) {
        let Some(index) = self.step_at(&event.step, &event.module) else { return };
        let point = self.point_of(index);
        if let Some(sweep) = self.sweep.as_mut().filter(|_| point > 0) {
            sweep.step(index, event.step.as_str(), &event.change);
        }
        let Some(step) = self.steps.get_mut(index) else { return };
        if let Some(device) = &event.device {
            step.device = Some(device.as_str().to_owned());
        }
        if let StepChange::Skipped { cause } = event.change {
            step.state = StepState::Skipped;
            step.error = Some(cause);
            return;
        }
        let Some(attempt) = attempt_of(&mut step.attempts, point, event.attempt, at) else { return };
        let (state, duration_s) = match event.change {
            StepChange::Dispatched { .. } => {
                attempt.state = StepState::Running;
                (StepState::Running, None)
            }
            StepChange::Running => {
                attempt.began = at;
                attempt.state = StepState::Running;
                (StepState::Running, None)
            }
            StepChange::Progress { .. } | StepChange::Skipped { .. } => return,
            StepChange::Completed { duration_s, outputs, screenshot } => {
                attempt.state = StepState::Completed;
                step.outputs = outputs;
                step.screenshot = screenshot;
                (StepState::Completed, Some(duration_s))
            }
            StepChange::Failed { duration_s, error_code, error, will_retry } => {
                attempt.state = StepState::Failed;
                attempt.error_code = Some(error_code);
                attempt.error = Some(error);
                attempt.will_retry = will_retry;
                (if will_retry { StepState::Pending } else { StepState::Failed }, Some(duration_s))
            }
            StepChange::Cancelled { duration_s, safe } => {
                attempt.state = StepState::Cancelled;
                attempt.safe = safe;
                (StepState::Cancelled, Some(duration_s))
            }
        };
        if duration_s.is_some() {
            attempt.ended = Some(at);
            attempt.duration_s = duration_s;
        }
        step.error.clone_from(&attempt.error);
        step.error_code.clone_from(&attempt.error_code);
        step.state = state;
        step.duration_s = duration_s;
    }

    fn verdict(&mut self, verdict: Verdict, at: Timestamp) {
        let Some(index) = self.step_at(&verdict.step, "") else { return };
        let point = self.point_of(index);
        let Some(step) = self.steps.get_mut(index) else { return };
        let number = step.attempts.last().filter(|last| last.point == point).map_or(1, |last| last.number);
        if let Some(sweep) = self.sweep.as_mut().filter(|_| point > 0) {
            sweep.verdict(index, number, &verdict);
        }
        if let Some(attempt) = attempt_of(&mut step.attempts, point, number, at) {
            attempt.verdicts.push(Judged { verdict, unit: Unit::None });
        }
    }

    /// A verdict tells no unit: it is that of the samples of its name that its step took.
    fn name_units(&mut self) {
        let mut units: HashMap<(usize, &str), &Unit> = HashMap::new();
        for series in &self.series {
            let mut last = None;
            for step in series.samples.iter().filter_map(|sample| sample.step) {
                if last != Some(step.0) {
                    units.entry((step.0, &series.metric)).or_insert(&series.unit);
                }
                last = Some(step.0);
            }
        }
        for (index, step) in self.steps.iter_mut().enumerate() {
            for judged in step.attempts.iter_mut().flat_map(|attempt| &mut attempt.verdicts) {
                if let Some(unit) = units.get(&(index, judged.verdict.metric.as_str())) {
                    judged.unit = (*unit).clone();
                }
            }
        }
    }

    fn test(&mut self, test: TestEvent) {
        if let Some(index) = self.test_index.get(&test.test) {
            if let Some(known) = self.tests.get_mut(*index) {
                *known = test;
            }
        } else if self.tests.len() < TESTS_MAX {
            self.test_index.insert(test.test.clone(), self.tests.len());
            self.tests.push(test);
        }
    }
}

/// The attempt of that number, begun now if it is new. The first of too many are forgotten.
fn attempt_of(attempts: &mut Vec<Attempt>, point: u32, number: u32, at: Timestamp) -> Option<&mut Attempt> {
    if attempts.last().is_none_or(|last| last.number != number || last.point != point) {
        if attempts.len() >= ATTEMPTS_MAX {
            attempts.remove(0);
        }
        attempts.push(Attempt {
            number,
            point,
            began: at,
            ended: None,
            state: StepState::Running,
            duration_s: None,
            error_code: None,
            error: None,
            will_retry: false,
            safe: None,
            verdicts: Vec::new(),
        });
    }
    attempts.last_mut()
}
