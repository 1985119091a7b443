//! What a program that a step started reports of itself, put into the words of its run. Knows no connection and no record.

use rigwire_shared::event::{RunReport, TestOutcome};
use rigwire_shared::ids::{AttemptId, RunId};
use rigwire_shared::quality::Quality;
use rigwire_shared::time::Timestamp;
use rigwire_shared::value::Value;

use super::agents::sane;
use super::{Model, Record};
use crate::event::{CustomEvent, Metric, RunEventBody, StepChange, TestEvent};

/// A test as a program tells of it.
struct Told {
    test: String,
    name: String,
    outcome: TestOutcome,
    duration_s: Option<f64>,
    score: Option<f64>,
    message: Option<String>,
}

impl Model {
    pub(super) fn report(&mut self, attempt: AttemptId, report: RunReport, at: Timestamp, now: Timestamp) {
        let Some((run_id, index)) = self.attempts.get(&attempt).copied() else { return };
        let Some(run) = self.runs.get(&run_id) else { return };
        let step = run.header.steps.get(index).map(|card| card.id.clone());
        let device = run.device_of(index).map(|bound| bound.device.clone());
        let progress = |percent: Option<f64>, phase: Option<String>, message: Option<String>| {
            let (known, told) = run.told(index);
            let phase = phase.or_else(|| told.map(|(phase, _)| phase.clone())).or_else(|| run.phase_of(index));
            let message = message.or_else(|| told.map(|(_, message)| message.clone())).unwrap_or_default();
            let change = StepChange::Progress { percent: percent.unwrap_or(known), message, phase };
            run.step_event(index, change).map(RunEventBody::Step)
        };
        let body = match report {
            RunReport::Progress { percent, phase, message } => progress(Some(sane(percent)), phase, message),
            RunReport::Phase { phase, message } => progress(None, Some(phase), Some(message.unwrap_or_default())),
            RunReport::Metric { value, .. } if !value.is_finite() => None,
            RunReport::Metric { name, value, unit } => {
                let (value, quality) = (Value::Float(value), Quality::Good);
                Some(RunEventBody::Metric(Metric { name, value, unit, quality, device, step }))
            }
            RunReport::Event { event_type, payload } => Some(RunEventBody::Custom(CustomEvent {
                event_type,
                payload,
                sequence: None,
                duration_ms: None,
                test: None,
            })),
            RunReport::Wells { wells } => Some(RunEventBody::Wells { wells }),
            RunReport::Test { test, name, passed, score, message } => {
                let outcome = if passed { TestOutcome::Passed } else { TestOutcome::Failed };
                self.test_of_program(run_id, Told { test, name, outcome, duration_s: None, score, message })
            }
            RunReport::Tested { test, name, outcome, duration_s, score, message } => {
                self.test_of_program(run_id, Told { test, name, outcome, duration_s, score, message })
            }
        };
        self.emit_all(run_id, body.into_iter().collect(), at, now);
    }

    /// One integer per test of a run, whichever step or attempt tells of it.
    fn test_of_program(&mut self, run: RunId, told: Told) -> Option<RunEventBody> {
        let known = self.runs.get(&run)?.number_of_test(&told.test);
        let number = known.unwrap_or_else(|| {
            let number = self.number();
            self.record(Record::NextNumber(self.next_number));
            number
        });
        let (status, percent, success) = match told.outcome {
            TestOutcome::Passed => ("completed", 100.0, Some(true)),
            TestOutcome::Failed => ("failed", 100.0, Some(false)),
            TestOutcome::Skipped => ("skipped", 0.0, None),
        };
        let failed = told.outcome == TestOutcome::Failed;
        Some(RunEventBody::Test(TestEvent {
            test: told.test,
            name: told.name,
            number,
            status: status.to_owned(),
            percent,
            current_run: 1,
            total_runs: 1,
            success,
            score: told.score.filter(|score| score.is_finite()),
            duration_s: told.duration_s.filter(|duration| duration.is_finite()),
            error: told.message.clone().filter(|_| failed),
            message: told.message,
            flaky: false,
            attempt: None,
        }))
    }
}
