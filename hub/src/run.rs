//! One run: its state is what its events add up to, so a restart replays them and goes on.
//! No I/O, no clock, no lock; what to do next is `plan`'s question.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use rigwire_shared::event::Level;
use rigwire_shared::ids::{AttemptId, DeviceId, Epoch, Fence, MetricName, StepId};
use rigwire_shared::time::Timestamp;
use rigwire_shared::unit::Unit;
use rigwire_shared::value::{Fields, Value};

use crate::artifact::Kept;
use crate::event::{
    BoundDevice, DeviceSnapshot, Finished, Progress, Recent, RunError, RunEventBody, RunHeader, RunLog, RunSnapshot,
    RunStatus, StepChange, StepCounts, StepEvent, StepSnapshot, StepState, SummaryMetric,
};
use crate::external::State;
use crate::procedure::{Procedure, Role, Step};
use children::Children;
use external::Seen;
use sweep::SweepRun;

mod children;
mod external;
mod outcome;
mod patience;
mod plan;
mod study;
mod suite;
mod sweep;

pub use children::{ChildEnd, ChildPlan, Parts};
pub(crate) use plan::GRACE;
pub use plan::{Action, Next};
pub use study::{Asked, IterationView, StudyError, StudyView};
pub use suite::TestView;
pub use sweep::{AxisView, SweepView};

/// Lines of the log that a failed run shows with its error.
const LOG_TAIL: usize = 10;

/// Resources whose wells are kept for who joins late.
const RESOURCES_MAX: usize = 256;

/// What a run is doing before its first step.
pub const INITIALIZING: &str = "Initializing";

#[derive(Debug, Clone)]
pub struct Run {
    pub header: Arc<RunHeader>,
    /// Absent for external runs: their producer decides what happens next.
    procedure: Option<Arc<Procedure>>,
    /// Its roles in one text: runs with the same one wait for the same.
    wish: Arc<str>,
    status: RunStatus,
    started_at: Option<Timestamp>,
    finished_at: Option<Timestamp>,
    cancel: Option<String>,
    /// What it waits for, while it has no devices.
    waiting_for: Option<String>,
    /// By the hub's clock; not in the record.
    waits_since: Timestamp,
    failure: Option<RunError>,
    bound: Option<Vec<BoundDevice>>,
    fence: u64,
    steps: Vec<StepRun>,
    /// Places of the steps that each step needs.
    needs: Arc<[Vec<usize>]>,
    sweep: Option<SweepRun>,
    children: Option<Children>,
    progress: Progress,
    metrics: BTreeMap<MetricName, (f64, Unit)>,
    /// Numbers of the tests that its programs told of, by their ids: the same however often one is run.
    tests: BTreeMap<String, u64>,
    log_tail: VecDeque<(Level, String)>,
    /// The last known state of each resource with wells.
    wells: Fields,
    finished: Option<Finished>,
    last_event: u64,
    /// What its producer reported so far, if a program outside reports it.
    external: Option<State>,
    /// Ids of the events that it reported.
    seen: Arc<Seen>,
    artifacts: Arc<Kept>,
}

#[derive(Debug, Clone)]
struct StepRun {
    state: StepState,
    /// Attempts begun so far.
    attempt: u32,
    attempt_id: Option<AttemptId>,
    /// Its agent has begun it, or the hub has.
    running: bool,
    /// By the hub's own clock, never an agent's: since when the engine waits for the attempt. After a restart it waits anew.
    waiting_since: Option<Timestamp>,
    retry_at: Option<Timestamp>,
    percent: f64,
    /// Phase and message in the step's own words.
    told: Option<(String, String)>,
    error: Option<String>,
    duration_s: Option<f64>,
    outputs: Fields,
    /// When the agent was asked to stop it. Not in the record: after a restart it is asked again.
    cancel_sent: Option<Timestamp>,
    /// Times that the attempt was sent and not refused, and the agent's epoch it was last sent to. Not in the record.
    sends: u32,
    sent_to: Option<Epoch>,
    /// Fencing number of this attempt alone, on a device that the run shares.
    fence: Option<Fence>,
    /// Since when it waits for a device that another run's step, or a person, is on. Not in the record: after a restart it
    /// asks again.
    queued: Option<Timestamp>,
}

impl Run {
    pub fn new(header: Arc<RunHeader>, procedure: Option<Arc<Procedure>>) -> Self {
        let steps = header.steps.iter().map(|_| StepRun::new()).collect();
        let plan = procedure.as_ref();
        let sweep = plan.and_then(|procedure| procedure.sweep.as_ref()).map(SweepRun::new);
        let children = plan.and_then(|procedure| Children::new(&header, procedure));
        let external = header.external.then(|| State::new(&header));
        Self {
            wish: procedure.as_deref().map(wish_of).unwrap_or_default().into(),
            procedure,
            status: RunStatus::Pending,
            started_at: None,
            finished_at: None,
            cancel: None,
            waiting_for: None,
            waits_since: header.created_at,
            failure: None,
            bound: None,
            fence: 0,
            needs: places_of_needs(&header),
            header,
            steps,
            sweep,
            children,
            progress: Progress {
                percent: 0.0,
                phase: "preparing".to_owned(),
                message: INITIALIZING.to_owned(),
                step: None,
                elapsed_s: 0.0,
                counts: StepCounts::default(),
            },
            metrics: BTreeMap::new(),
            tests: BTreeMap::new(),
            log_tail: VecDeque::new(),
            wells: Fields::new(),
            finished: None,
            last_event: 0,
            external,
            seen: Arc::default(),
            artifacts: Arc::default(),
        }
    }

    pub fn status(&self) -> RunStatus {
        self.status
    }

    pub fn finished(&self) -> Option<&Finished> {
        self.finished.as_ref()
    }

    pub fn last_event(&self) -> u64 {
        self.last_event
    }

    /// The step that it is at.
    pub fn progress_step(&self) -> Option<String> {
        self.progress.step.as_ref().map(|step| step.as_str().to_owned())
    }

    pub fn is_cancelling(&self) -> bool {
        self.cancel.is_some()
    }

    pub fn bound(&self) -> &[BoundDevice] {
        self.bound.as_deref().unwrap_or_default()
    }

    /// Files that it left so far.
    pub fn artifacts(&self) -> &Kept {
        &self.artifacts
    }

    /// Under which the run holds the devices that are its own until it ends.
    pub fn fence(&self) -> Fence {
        Fence(self.fence)
    }

    /// Under which a step acts on its device.
    pub fn fence_of(&self, index: usize) -> Fence {
        self.steps.get(index).and_then(|step| step.fence).unwrap_or(Fence(self.fence))
    }

    /// The number that a test of this run has.
    pub fn number_of_test(&self, test: &str) -> Option<u64> {
        let announced = || self.header.tests.iter().find(|card| card.id == test).map(|card| card.number);
        self.tests.get(test).copied().or_else(announced)
    }

    /// How far a step says it is, and its own words for that.
    pub fn told(&self, index: usize) -> (f64, Option<&(String, String)>) {
        self.steps.get(index).map_or((0.0, None), |step| (step.percent, step.told.as_ref()))
    }

    /// Takes one event into the state. Events come in the order of their numbers.
    pub fn apply(&mut self, body: &RunEventBody, at: Timestamp) {
        self.last_event += 1;
        if let Some(external) = &mut self.external {
            external.apply(body, at);
        }
        if let Some(children) = &mut self.children {
            children.apply(body);
        }
        match body {
            RunEventBody::CancelRequested { cause } => {
                self.cancel.get_or_insert_with(|| cause.clone());
            }
            RunEventBody::Status { status, message, .. } => {
                self.status = *status;
                if *status == RunStatus::Pending {
                    self.waiting_for.clone_from(message);
                }
                if *status == RunStatus::Running {
                    self.started_at.get_or_insert(at);
                }
            }
            RunEventBody::Bound { devices, fence } => {
                self.bound = Some(devices.clone());
                self.fence = *fence;
            }
            RunEventBody::Progress(progress) => self.progress = progress.clone(),
            RunEventBody::Log(log) => self.apply_log(log),
            RunEventBody::Point(event) => self.begin_point(event),
            RunEventBody::Metric(metric) => {
                if let Some(sweep) = &mut self.sweep {
                    sweep.take(metric);
                }
                if let Some(value) = metric.good_number() {
                    self.metrics.insert(metric.name.clone(), (value, metric.unit.clone()));
                }
            }
            RunEventBody::Artifact { name, size, .. } => Arc::make_mut(&mut self.artifacts).take(name, *size),
            RunEventBody::Step(step) => self.apply_step(step, at),
            RunEventBody::Test(test) => {
                self.tests.entry(test.test.clone()).or_insert(test.number);
            }
            RunEventBody::Finished(finished) => {
                self.status = finished.status;
                self.finished_at = Some(at);
                self.finished = Some(finished.clone());
            }
            RunEventBody::Wells { wells } => self.apply_wells(wells),
            RunEventBody::Created
            | RunEventBody::Verdict(_)
            | RunEventBody::Child(_)
            | RunEventBody::DeviceLost { .. }
            | RunEventBody::Iteration(_)
            | RunEventBody::Tool { .. }
            | RunEventBody::Custom(_) => {}
        }
    }

    fn apply_log(&mut self, log: &RunLog) {
        if log.level >= Level::Info {
            if self.log_tail.len() == LOG_TAIL {
                self.log_tail.pop_front();
            }
            self.log_tail.push_back((log.level, log.message.clone()));
        }
    }

    fn apply_wells(&mut self, wells: &Fields) {
        for (resource, state) in wells {
            if let Some((_, known)) = self.wells.iter_mut().find(|(known, _)| known == resource) {
                known.clone_from(state);
            } else if self.wells.len() < RESOURCES_MAX {
                self.wells.push((resource.clone(), state.clone()));
            }
        }
    }

    fn apply_step(&mut self, event: &StepEvent, at: Timestamp) {
        let Some(index) = self.index_of(&event.step) else { return };
        let backoff = self.backoff_of(index);
        let fatal = self.plan_of(index).is_some_and(|step| !step.continue_on_failure);
        let Some(step) = self.steps.get_mut(index) else { return };
        match &event.change {
            StepChange::Dispatched { fence } => {
                step.fence = fence.map(Fence);
                step.queued = None;
                step.state = StepState::Running;
                step.attempt = event.attempt;
                step.attempt_id = event.attempt_id;
                step.running = false;
                step.waiting_since = Some(at);
                step.retry_at = None;
                step.percent = 0.0;
                step.told = None;
                step.cancel_sent = None;
                step.sends = 0;
                step.sent_to = None;
            }
            StepChange::Running => {
                step.state = StepState::Running;
                step.attempt = event.attempt;
                step.running = true;
                step.waiting_since.get_or_insert(at);
                step.retry_at = None;
            }
            StepChange::Progress { percent, message, phase } => {
                step.percent = *percent;
                if let Some(phase) = phase {
                    step.told = Some((phase.clone(), message.clone()));
                }
            }
            StepChange::Completed { duration_s, outputs, .. } => {
                step.end(StepState::Completed, Some(*duration_s), None);
                step.outputs.clone_from(outputs);
                step.percent = 100.0;
            }
            StepChange::Failed { duration_s, error_code, error, will_retry } => {
                step.attempt = event.attempt;
                if *will_retry {
                    step.end(StepState::Pending, Some(*duration_s), Some(error.clone()));
                    step.retry_at = Some(plan::after(at, backoff));
                } else {
                    step.end(StepState::Failed, Some(*duration_s), Some(error.clone()));
                    if fatal {
                        self.failure.get_or_insert_with(|| RunError {
                            code: error_code.clone(),
                            message: error.clone(),
                            step: Some(event.step.clone()),
                            device: event.device.clone(),
                        });
                    }
                }
            }
            StepChange::Cancelled { duration_s, .. } => step.end(StepState::Cancelled, Some(*duration_s), None),
            StepChange::Skipped { cause } => step.end(StepState::Skipped, None, Some(cause.clone())),
        }
    }

    fn index_of(&self, step: &StepId) -> Option<usize> {
        self.header.steps.iter().position(|card| card.id == *step)
    }

    /// The procedure's step at a place in the header's list.
    fn plan_of(&self, index: usize) -> Option<&Step> {
        let procedure = self.procedure.as_deref()?;
        procedure.steps.get(index).or_else(|| procedure.finally.get(index.checked_sub(procedure.steps.len())?))
    }

    pub fn device_of(&self, index: usize) -> Option<&BoundDevice> {
        let role = self.plan_of(index)?.on.as_deref()?;
        self.bound().iter().find(|bound| bound.role == role)
    }

    pub fn wish(&self) -> &Arc<str> {
        &self.wish
    }

    /// Roles that its steps act on.
    pub fn roles(&self) -> impl Iterator<Item = (&str, &Role)> {
        let procedure = self.procedure.as_deref();
        procedure.into_iter().flat_map(|procedure| {
            procedure
                .used_roles()
                .into_iter()
                .filter_map(|name| procedure.roles.get_key_value(name))
                .map(|(name, role)| (name.as_str(), role))
        })
    }

    pub fn snapshot(&self, device: impl Fn(&DeviceId) -> Option<DeviceSnapshot>) -> RunSnapshot {
        RunSnapshot {
            header: Arc::clone(&self.header),
            status: self.status,
            started_at: self.started_at,
            finished_at: self.finished_at,
            step: self.progress.step.as_ref().map_or_else(|| INITIALIZING.to_owned(), |step| step.as_str().to_owned()),
            progress: self.progress.clone(),
            steps: self
                .steps
                .iter()
                .enumerate()
                .filter_map(|(index, step)| {
                    Some(StepSnapshot {
                        step: self.header.steps.get(index)?.id.clone(),
                        device: self.device_of(index).map(|bound| bound.device.clone()),
                        state: step.state,
                        attempt: step.attempt,
                        percent: step.percent,
                        error: step.error.clone(),
                        duration_s: step.duration_s,
                        outputs: step.outputs.clone(),
                    })
                })
                .collect(),
            devices: self
                .bound()
                .iter()
                .map(|bound| bound.device.clone())
                .chain(self.announced_devices())
                .filter_map(|id| device(&id))
                .collect(),
            finished: self.finished.clone(),
            parts: self.parts(),
            recent: Recent {
                metrics: self.summary(),
                wells: self.wells.clone(),
                logs: self.log_tail.iter().cloned().collect(),
            },
            last_event: self.last_event,
        }
    }

    fn summary(&self) -> Vec<SummaryMetric> {
        self.metrics
            .iter()
            .map(|(name, (value, unit))| SummaryMetric { name: name.clone(), value: *value, unit: unit.clone() })
            .collect()
    }

    /// What templates may name: parameters, and outputs of steps that completed.
    fn context(&self) -> minijinja::Value {
        let steps: Fields = self
            .header
            .steps
            .iter()
            .zip(&self.steps)
            .filter(|(_, step)| step.state == StepState::Completed)
            .map(|(card, step)| (card.id.as_str().to_owned(), Value::Map(step.outputs.clone())))
            .collect();
        let (mut fields, mut params) = (self.header.params.clone(), self.header.params.clone());
        if let Some(sweep) = &self.sweep {
            sweep.put_into(&mut fields);
            sweep.put_over(&mut params);
        }
        fields.push(("params".to_owned(), Value::Map(params)));
        fields.push(("steps".to_owned(), Value::Map(steps)));
        minijinja::Value::from(minijinja::value::Serde(Value::Map(fields)))
    }
}

fn places_of_needs(header: &RunHeader) -> Arc<[Vec<usize>]> {
    let places: HashMap<&StepId, usize> = header.steps.iter().enumerate().map(|(at, card)| (&card.id, at)).collect();
    let needs =
        header.steps.iter().map(|card| card.needs.iter().filter_map(|need| places.get(need).copied()).collect());
    needs.collect()
}

fn wish_of(procedure: &Procedure) -> String {
    let used = procedure.used_roles();
    let roles: BTreeMap<&String, &Role> =
        procedure.roles.iter().filter(|(name, _)| used.contains(name.as_str())).collect();
    serde_json::to_string(&roles).unwrap_or_default()
}

impl StepRun {
    fn new() -> Self {
        Self {
            state: StepState::Pending,
            attempt: 0,
            attempt_id: None,
            running: false,
            waiting_since: None,
            retry_at: None,
            percent: 0.0,
            told: None,
            error: None,
            duration_s: None,
            outputs: Fields::new(),
            cancel_sent: None,
            sends: 0,
            sent_to: None,
            fence: None,
            queued: None,
        }
    }

    fn end(&mut self, state: StepState, duration_s: Option<f64>, error: Option<String>) {
        self.state = state;
        self.duration_s = duration_s;
        self.error = error;
        self.attempt_id = None;
        self.running = false;
        self.waiting_since = None;
        self.cancel_sent = None;
        self.queued = None;
    }
}
