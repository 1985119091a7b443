//! A run that repeats its steps for each point of a sweep: which point is next, and the table that the points add up to.
//! Knows no model.

use rigwire_shared::value::{Fields, Value};

use super::{Action, Next, Run};
use crate::event::{Metric, PointEvent, RunEventBody, RunStatus, StepCounts, StepState};
use crate::scale::Scale;
use crate::sweep::table::{self, Row};
use crate::sweep::{POINTS_MAX, Sweep};

/// Under which name a sweep's table is kept.
const TABLE: &str = "sweep.csv";

#[derive(Debug, Clone)]
pub(super) struct SweepRun {
    /// The one that is being done, from 1; 0 before the first.
    point: u32,
    total: u32,
    values: Fields,
    numbers_from: u64,
    /// Steps of the points before this one.
    before: StepCounts,
    rows: Vec<Row>,
}

/// What a run sweeps through, for whoever shows it. What came of each point is in the run's events.
#[derive(Debug, Clone, PartialEq)]
pub struct SweepView {
    pub label: String,
    /// What a point is called, in the plural.
    pub of: String,
    pub total: usize,
    pub axes: Vec<AxisView>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AxisView {
    pub name: String,
    pub unit: String,
    pub scale: Scale,
}

impl SweepRun {
    pub(super) fn new(sweep: &Sweep) -> Self {
        let total = u32::try_from(sweep.len().min(POINTS_MAX)).unwrap_or(u32::MAX);
        Self {
            point: 0,
            total,
            values: Fields::new(),
            numbers_from: 0,
            before: StepCounts::default(),
            rows: Vec::new(),
        }
    }

    pub(super) fn take(&mut self, metric: &Metric) {
        if let Some(row) = self.rows.last_mut() {
            row.take(metric);
        }
    }

    /// Parameters that are swept have the point's values.
    pub(super) fn put_over(&self, params: &mut Fields) {
        for (name, value) in params {
            if let Some((_, swept)) = self.values.iter().find(|(known, _)| known == name) {
                value.clone_from(swept);
            }
        }
    }

    /// What templates may name besides parameters and outputs.
    pub(super) fn put_into(&self, fields: &mut Fields) {
        let point = ("point".to_owned(), Value::Int(i64::from(self.point)));
        for (name, value) in self.values.iter().cloned().chain([point]) {
            match fields.iter_mut().find(|(known, _)| *known == name) {
                Some(known) if name != "point" => known.1 = value,
                Some(_) => {}
                None => fields.push((name, value)),
            }
        }
    }
}

impl Run {
    pub(super) fn begin_point(&mut self, event: &PointEvent) {
        let counts = self.counts_of_steps(false);
        let Some(sweep) = &mut self.sweep else { return };
        if sweep.point > 0 {
            sweep.before = add(sweep.before, counts);
        }
        sweep.point = event.point;
        sweep.values.clone_from(&event.values);
        sweep.numbers_from = event.numbers_from;
        sweep.rows.push(Row::new(event.values.clone()));
        for (step, card) in self.steps.iter_mut().zip(&self.header.steps) {
            if !card.finally {
                *step = super::StepRun::new();
            }
        }
    }

    /// The integer of a step's execution at this point, where that is not the step's own.
    pub(super) fn number_at_point(&self, index: usize) -> Option<u64> {
        let sweep = self.sweep.as_ref().filter(|sweep| sweep.numbers_from > 0)?;
        let card = self.header.steps.get(index).filter(|card| !card.finally);
        card.and_then(|_| sweep.numbers_from.checked_add(u64::try_from(index).ok()?))
    }

    /// Steps that each point has.
    pub fn steps_of_point(&self) -> u64 {
        u64::try_from(self.header.steps.iter().filter(|card| !card.finally).count()).unwrap_or_default()
    }

    /// The next point, when the one before has ended well.
    pub(super) fn next_point(&self) -> Option<Next> {
        let sweep = self.sweep.as_ref()?;
        let plan = self.procedure.as_deref()?.sweep.as_ref()?;
        let done = sweep.point == 0 || self.main_steps_ended();
        if self.sweep_is_over() || self.status == RunStatus::Paused || !done {
            return None;
        }
        let index = usize::try_from(sweep.point).ok()?;
        let event =
            PointEvent { point: sweep.point + 1, total: sweep.total, numbers_from: 0, values: plan.point(index)? };
        Some(Next::Do(vec![Action::Emit(RunEventBody::Point(event))]))
    }

    /// No further point begins. `finally` steps wait for that.
    pub(super) fn sweep_is_over(&self) -> bool {
        self.sweep.as_ref().is_none_or(|sweep| sweep.point == sweep.total)
            || self.cancel.is_some()
            || self.failure.is_some()
    }

    fn main_steps_ended(&self) -> bool {
        let mut steps = self.steps.iter().zip(&self.header.steps);
        steps.all(|(step, card)| card.finally || step.state.is_final())
    }

    /// The table, if there is anything to put into it.
    pub(super) fn sweep_table(&self) -> Option<Action> {
        let rows = &self.sweep.as_ref().filter(|sweep| !sweep.rows.is_empty())?.rows;
        let plan = self.procedure.as_deref()?.sweep.as_ref()?;
        let bytes = table::csv(plan, rows).into_bytes();
        Some(Action::Keep { name: TABLE.to_owned(), media_type: "text/csv".to_owned(), bytes })
    }

    pub(super) fn sweep_view(&self) -> Option<SweepView> {
        let plan = self.procedure.as_deref()?.sweep.as_ref()?;
        let axes = plan.axes.list().iter().map(|axis| AxisView {
            name: axis.name.clone(),
            unit: axis.unit.clone().unwrap_or_default(),
            scale: axis.scale,
        });
        Some(SweepView {
            label: plan.label.clone().unwrap_or_else(|| self.header.name.clone()),
            of: plan.of().to_owned(),
            total: plan.len(),
            axes: axes.collect(),
        })
    }

    /// The run stopped in the middle of its point.
    fn point_is_broken_off(&self) -> bool {
        let is = |step: &super::StepRun| match step.state {
            StepState::Cancelled => true,
            StepState::Failed => self.failure.is_some(),
            StepState::Skipped => self.failure.is_some() || self.cancel.is_some(),
            StepState::Pending | StepState::Running | StepState::Completed => false,
        };
        let mut steps = self.steps.iter().zip(&self.header.steps);
        steps.any(|(step, card)| !card.finally && is(step))
    }

    /// Such as `Harmonic response sweep: 9/21 frequencies`.
    pub(super) fn sweep_message(&self) -> Option<String> {
        let sweep = self.sweep.as_ref()?;
        let plan = self.procedure.as_deref()?.sweep.as_ref()?;
        let under_way = u32::from(!self.main_steps_ended() || self.point_is_broken_off());
        let done = usize::try_from(sweep.point.saturating_sub(under_way)).unwrap_or(usize::MAX);
        Some(plan.message(&self.header.name, done))
    }

    /// Steps of all points, as one number of steps and how much of it is done, in percent of a step.
    pub(super) fn share_done(&self) -> (f64, f64) {
        let percent = |wanted: bool| -> f64 {
            let steps = self.steps.iter().zip(&self.header.steps).filter(|(_, card)| card.finally == wanted);
            steps.map(|(step, _)| if step.state.is_final() { 100.0 } else { step.percent.clamp(0.0, 100.0) }).sum()
        };
        let finally = self.header.steps.iter().filter(|card| card.finally).count();
        #[expect(clippy::cast_precision_loss, reason = "a number of steps")]
        let (main, finally) = ((self.steps.len() - finally) as f64, finally as f64);
        match &self.sweep {
            None => (main + finally, percent(false) + percent(true)),
            Some(sweep) => {
                let before = f64::from(sweep.point.saturating_sub(1)) * main * 100.0;
                (main * f64::from(sweep.total) + finally, before + percent(false) + percent(true))
            }
        }
    }

    pub fn counts(&self) -> StepCounts {
        if let Some(counts) = self.counts_of_children() {
            return counts;
        }
        let now = add(self.counts_of_steps(false), self.counts_of_steps(true));
        match &self.sweep {
            None => now,
            Some(sweep) => {
                let finally = self.counts_of_steps(true).total;
                let main = now.total.saturating_sub(finally).saturating_mul(sweep.total);
                StepCounts { total: main.saturating_add(finally), ..add(sweep.before, now) }
            }
        }
    }

    fn counts_of_steps(&self, finally: bool) -> StepCounts {
        let of = |wanted: Option<StepState>| {
            let steps = self.steps.iter().zip(&self.header.steps).filter(|(_, card)| card.finally == finally);
            let count = steps.filter(|(step, _)| wanted.is_none_or(|wanted| step.state == wanted)).count();
            u32::try_from(count).unwrap_or(u32::MAX)
        };
        StepCounts {
            total: of(None),
            successful: of(Some(StepState::Completed)),
            failed: of(Some(StepState::Failed)),
            skipped: of(Some(StepState::Skipped)).saturating_add(of(Some(StepState::Cancelled))),
        }
    }
}

fn add(one: StepCounts, other: StepCounts) -> StepCounts {
    StepCounts {
        total: one.total.saturating_add(other.total),
        successful: one.successful.saturating_add(other.successful),
        failed: one.failed.saturating_add(other.failed),
        skipped: one.skipped.saturating_add(other.skipped),
    }
}
