//! Runs for the parts of an external run: each of its tests and iterations is a run of its own, with a number, a page and a
//! report. What the producer says of the part becomes the events of that run; the part keeps the number that it has.

use std::sync::Arc;

use rigwire_shared::ids::{MetricName, RunId};
use rigwire_shared::quality::Quality;
use rigwire_shared::time::Timestamp;
use rigwire_shared::unit::Unit;
use rigwire_shared::value::{Fields, Value};

use super::{Model, Record};
use crate::event::{ChildEvent, Iteration, Metric, Purpose, RunEventBody, RunHeader, RunKind, RunStatus, TestEvent};
use crate::run::{INITIALIZING, Run};

/// What a batch gives rise to, in order.
pub(super) enum Told {
    Of(RunEventBody, Timestamp),
    Born(Box<RunHeader>),
    Test(RunId, TestEvent, Timestamp),
    Iteration(RunId, Iteration, Timestamp),
}

impl Model {
    /// Takes an event into the trial of a run, and what it means for the run of the part that it is about.
    pub(super) fn tell_part(
        &mut self,
        trial: &mut Run,
        body: RunEventBody,
        at: Timestamp,
        next_number: &mut u64,
        told: &mut Vec<Told>,
    ) {
        let (body, after) = if let RunEventBody::Test(event) = body {
            let child = match trial.child_of_test(&event.test) {
                Some(child) => child,
                None => {
                    let purpose = Purpose::Test { test: event.test.clone(), attempt: 1 };
                    let new = (RunKind::Execution, event.name.clone(), Fields::new(), purpose);
                    self.bear(trial, new, at, next_number, told)
                }
            };
            (RunEventBody::Test(event.clone()), Some(Told::Test(child, event, at)))
        } else if let RunEventBody::Iteration(iteration @ Iteration { run: None, .. }) = body {
            let number = iteration.iteration;
            let (child, after) = match trial.child_of_iteration(number) {
                Some(child) => (child, None),
                None => {
                    let parameters = iteration.parameters.clone();
                    let purpose = Purpose::Iteration { iteration: number, parameters: parameters.clone() };
                    let name = format!("{}: iteration {number}", trial.header.name);
                    let child = self.bear(trial, (RunKind::Solve, name, parameters, purpose), at, next_number, told);
                    (child, Some(Told::Iteration(child, iteration.clone(), at)))
                }
            };
            (RunEventBody::Iteration(Iteration { run: Some(child), ..iteration }), after)
        } else {
            (body, None)
        };
        trial.apply(&body, at);
        told.push(Told::Of(body, at));
        told.extend(after);
    }

    /// Plans a run for a part that has none.
    fn bear(
        &mut self,
        trial: &mut Run,
        (kind, name, params, purpose): (RunKind, String, Fields, Purpose),
        at: Timestamp,
        next_number: &mut u64,
        told: &mut Vec<Told>,
    ) -> RunId {
        let id = RunId(self.uuid());
        let number = *next_number;
        *next_number += 1;
        told.push(Told::Born(Box::new(RunHeader {
            id,
            number,
            parent: Some(trial.header.id),
            kind,
            name,
            workflow: None,
            agent_name: trial.header.agent_name.clone(),
            params,
            external: true,
            holder: trial.header.holder.clone(),
            created_at: at,
            steps: Vec::new(),
            tests: Vec::new(),
        })));
        let event = RunEventBody::Child(ChildEvent { run: Some(id), number: Some(number), purpose });
        trial.apply(&event, at);
        told.push(Told::Of(event, at));
        id
    }

    pub(super) fn carry_out_told(&mut self, id: RunId, told: Told) {
        match told {
            Told::Of(body, at) => self.emit(id, body, at),
            Told::Born(header) => {
                let at = header.created_at;
                self.begin_external(Arc::new(*header), at);
            }
            Told::Test(child, event, at) => self.test_told(child, &event, at),
            Told::Iteration(child, iteration, at) => self.iteration_told(child, &iteration, at),
        }
    }

    /// Makes an external run, which is running from its start.
    pub(super) fn begin_external(&mut self, header: Arc<RunHeader>, at: Timestamp) {
        let id = header.id;
        self.record(Record::RunCreated { header: Arc::clone(&header), procedure: None });
        self.numbers.insert(header.number, id);
        self.runs.insert(id, Run::new(header, None));
        self.emit(id, RunEventBody::Created, at);
        let step = Some(INITIALIZING.to_owned());
        self.emit(id, RunEventBody::Status { status: RunStatus::Running, step, message: None }, at);
    }

    fn test_told(&mut self, child: RunId, event: &TestEvent, at: Timestamp) {
        let Some(run) = self.runs.get(&child) else { return };
        let message = event.message.clone().unwrap_or_else(|| match event.total_runs {
            0 | 1 => String::new(),
            total => format!("run {} of {total}", event.current_run),
        });
        // Each of its repetitions begins at 0; the run that they make up does not.
        let runs = f64::from(event.total_runs.max(1));
        let whole = match event.success {
            None => (f64::from(event.current_run.saturating_sub(1)) * 100.0 + event.percent) / runs,
            Some(_) => 100.0,
        };
        let progress = run.reported_progress(whole, message, at);
        let end = event.success.map(|success| {
            let status = if success { RunStatus::Completed } else { RunStatus::Failed };
            let why = event.error.as_ref().or(event.message.as_ref());
            (status, why.cloned(), event.duration_s)
        });
        if let Some(progress) = progress {
            self.emit(child, RunEventBody::Progress(progress), at);
        }
        if let Some(score) = event.score.filter(|score| score.is_finite()) {
            self.measured(child, "score", score, at);
        }
        if let Some((status, why, duration_s)) = end {
            self.end_reported(child, status, why.as_deref(), duration_s, at);
        }
    }

    fn iteration_told(&mut self, child: RunId, iteration: &Iteration, at: Timestamp) {
        for (name, value) in &iteration.metrics {
            if let Some(number) = value.as_f64().filter(|number| number.is_finite()) {
                self.measured(child, name, number, at);
            }
        }
        self.end_reported(child, RunStatus::Completed, None, None, at);
    }

    fn measured(&mut self, run: RunId, name: &str, number: f64, at: Timestamp) {
        let Ok(name) = MetricName::new(name) else { return };
        let (value, unit, quality) = (Value::Float(number), Unit::None, Quality::Good);
        self.emit(run, RunEventBody::Metric(Metric { name, value, unit, quality, device: None, step: None }), at);
    }

    fn end_reported(
        &mut self,
        run: RunId,
        status: RunStatus,
        why: Option<&str>,
        duration_s: Option<f64>,
        at: Timestamp,
    ) {
        let events = self.runs.get(&run).map(|run| run.end_as(status, why, duration_s, at)).unwrap_or_default();
        for event in events {
            self.emit(run, event, at);
        }
    }

    /// Runs of parts that have not ended when their run does end with it.
    pub(super) fn end_parts(&mut self, parent: RunId, at: Timestamp) {
        let Some(run) = self.runs.get(&parent) else { return };
        let why = format!("its run is {}", run.status().as_str());
        for child in run.children_of_parts() {
            self.end_reported(child, RunStatus::Cancelled, Some(&why), None, at);
        }
    }
}
