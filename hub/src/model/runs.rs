//! Runs within the model: starting, giving them devices, carrying out what their plan says.

use std::sync::Arc;

use rigwire_shared::command::{Command, CommandBody, StartStep};
use rigwire_shared::ids::{AgentId, AttemptId, CommandId, Fence, RunId};
use rigwire_shared::time::Timestamp;

use super::{Effect, FINISHED_KEPT, Model, Record, StartRun};
use crate::event::{
    EventKind, Hold, PointEvent, RunEvent, RunEventBody, RunHeader, RunStatus, StepCard, StepChange, StepEvent,
    TestCard,
};
use crate::run::{Action, GRACE, Next, Run};

/// Why a run could not be cancelled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CancelError {
    Unknown,
    Ended(RunStatus),
    Already,
}

/// Why a run could not be paused or resumed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PauseError {
    Unknown,
    Not { status: RunStatus, cancelling: bool },
}

/// Devices looked at, and steps of runs' plans, before other messages have their turn.
const DRAIN_MAX: usize = 1000;

impl Model {
    pub fn start_run(&mut self, request: StartRun, now: Timestamp) -> RunId {
        let id = self.create_run(request, None, now);
        self.enqueue(id, now);
        id
    }

    pub(super) fn create_run(&mut self, request: StartRun, parent: Option<RunId>, now: Timestamp) -> RunId {
        let id = RunId(self.uuid());
        let number = self.number();
        let procedure = request.procedure;
        let mut steps = Vec::new();
        for (step, finally) in procedure.all_steps() {
            let Some(step_id) = step.id.clone() else { continue };
            steps.push(StepCard {
                id: step_id,
                uuid: self.uuid(),
                number: self.number(),
                module: step.module.clone(),
                data: step.fields().to_vec(),
                needs: step.needs.clone().unwrap_or_default(),
                finally,
                phase: step.phase.clone(),
            });
        }
        let tests = procedure.tests.iter().filter(|test| test.is_wanted(&request.tags));
        let tests: Vec<TestCard> = tests
            .map(|test| TestCard {
                id: test.id.clone(),
                name: test.name().to_owned(),
                number: self.number(),
                runs: test.runs,
            })
            .collect();
        let header = Arc::new(RunHeader {
            id,
            number,
            parent,
            kind: procedure.kind,
            name: request.name.unwrap_or_else(|| procedure.name.clone()),
            workflow: request.workflow,
            agent_name: procedure.name.clone(),
            params: request.params,
            external: false,
            holder: request.holder,
            created_at: now,
            steps,
            tests,
        });
        self.record(Record::NextNumber(self.next_number));
        self.record(Record::RunCreated { header: Arc::clone(&header), procedure: Some(Arc::clone(&procedure)) });
        self.numbers.insert(number, id);
        self.runs.insert(id, Run::new(header, Some(procedure)));
        self.emit(id, RunEventBody::Created, now);
        id
    }

    pub fn cancel_run(&mut self, id: RunId, cause: &str, now: Timestamp) -> Result<(), CancelError> {
        let run = self.runs.get(&id).ok_or(CancelError::Unknown)?;
        if run.finished().is_some() {
            return Err(CancelError::Ended(run.status()));
        }
        if run.is_cancelling() {
            return Err(CancelError::Already);
        }
        self.emit(id, RunEventBody::CancelRequested { cause: cause.to_owned() }, now);
        self.queue.retain(|queued| *queued != id);
        self.advance(id, now);
        Ok(())
    }

    /// Holds a running run before its next step, or lets it go on.
    pub fn pause_run(&mut self, id: RunId, pause: bool, now: Timestamp) -> Result<(), PauseError> {
        let run = self.runs.get(&id).ok_or(PauseError::Unknown)?;
        let wanted = if pause { RunStatus::Running } else { RunStatus::Paused };
        if run.status() != wanted || run.is_cancelling() {
            return Err(PauseError::Not { status: run.status(), cancelling: run.is_cancelling() });
        }
        let status = if pause { RunStatus::Paused } else { RunStatus::Running };
        let (step, children) = (run.progress_step(), run.children());
        self.emit(id, RunEventBody::Status { status, step, message: None }, now);
        for child in children {
            // One that waits for devices, or has ended meanwhile, has nothing to hold.
            drop(self.pause_run(child, pause, now));
            if let Some(run) = self.runs.get_mut(&child).filter(|run| run.wants_devices()) {
                run.wait_anew(now);
                self.advance(child, now);
            }
        }
        if !pause {
            self.assign_devices(now);
        }
        self.advance(id, now);
        Ok(())
    }

    /// Takes an event into its run, tells everyone and the record.
    pub(super) fn emit(&mut self, id: RunId, body: RunEventBody, at: Timestamp) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        if run.finished().is_some() {
            return;
        }
        run.apply(&body, at);
        let parent = run.header.parent;
        let progress = if let RunEventBody::Progress(progress) = &body { Some(progress.clone()) } else { None };
        let event = RunEvent { run: Arc::clone(&run.header), number: run.last_event(), body };
        let changes_row =
            matches!(event.body, RunEventBody::Created | RunEventBody::Status { .. } | RunEventBody::Finished(_));
        let ended = matches!(event.body, RunEventBody::Finished(_));
        if let RunEventBody::Step(StepEvent { attempt_id: Some(attempt), change, .. }) = &event.body
            && !matches!(change, StepChange::Dispatched { .. } | StepChange::Running | StepChange::Progress { .. })
            && let Some((run, index)) = self.attempts.remove(attempt)
        {
            self.ends_turn(run, index);
        }
        self.publish(at, EventKind::Run(event));
        if changes_row && let Some(run) = self.runs.get(&id) {
            let snapshot = Box::new(self.snapshot_of(run));
            self.record(Record::RunChanged { snapshot });
        }
        if ended {
            self.release(id, at);
            self.child_ended(id, at);
            self.end_parts(id, at);
        } else if let (Some(parent), Some(progress)) = (parent, progress) {
            let news = self.runs.get(&parent).and_then(|run| run.child_progressed(id, &progress));
            if let Some(news) = news {
                self.emit(parent, news, at);
                self.tell_progress(parent, at);
            }
        }
    }

    /// Emits what a step's result gives rise to, then whatever follows from it.
    pub(super) fn emit_all(&mut self, id: RunId, bodies: Vec<RunEventBody>, at: Timestamp, now: Timestamp) {
        for body in bodies {
            let step = if let RunEventBody::Step(step) = &body { Some(step.clone()) } else { None };
            self.emit(id, body, at);
            if let (Some(step), Some(run)) = (step, self.runs.get_mut(&id)) {
                run.note_heard(&step, now);
            }
        }
        self.tell_progress(id, now);
        self.advance(id, now);
    }

    pub(super) fn tell_progress(&mut self, id: RunId, now: Timestamp) {
        let news = self.runs.get(&id).and_then(|run| run.news_of_progress(now));
        if let Some(progress) = news {
            self.emit(id, RunEventBody::Progress(progress), now);
        }
    }

    /// Carries out the run's plan, once all that is under way has been.
    pub(super) fn advance(&mut self, id: RunId, now: Timestamp) {
        self.due.push_back(id);
        self.drain(now);
    }

    /// One run's end gives devices to others and its parent something to do, whose end does the same: one after the
    /// other, not one within the other. What is left after so much is done after the next message.
    pub(super) fn drain(&mut self, now: Timestamp) {
        if self.draining {
            return;
        }
        self.draining = true;
        let mut left = DRAIN_MAX;
        while left > 0 {
            let steps = if let Some(device) = self.freed.pop_front() {
                self.pass_on(&device, now);
                1
            } else if let Some(run) = self.due.pop_front() {
                self.advance_now(run, now)
            } else {
                break;
            };
            left = left.saturating_sub(steps);
        }
        self.draining = false;
    }

    /// Answers how many steps that took.
    pub(super) fn advance_now(&mut self, id: RunId, now: Timestamp) -> usize {
        if self.parent_is_paused(id) {
            // Nor does its time to wait run out meanwhile.
            if self.runs.get(&id).is_some_and(Run::wants_devices) {
                self.wakes.remove(&id);
                return 1;
            }
            if self.runs.get(&id).is_some_and(Run::is_about_to_begin) {
                let paused = RunEventBody::Status { status: RunStatus::Paused, step: None, message: None };
                self.emit(id, paused, now);
            }
        }
        for step in 1..=DRAIN_MAX {
            let Some(run) = self.runs.get(&id) else { return step };
            match run.next(now) {
                Next::Do(actions) => {
                    for action in actions {
                        self.carry_out(id, action, now);
                    }
                }
                Next::WaitUntil(at) => {
                    match at {
                        Some(at) => self.wakes.insert(id, at),
                        None => self.wakes.remove(&id),
                    };
                    let ended = self.runs.get(&id).is_some_and(|run| run.finished().is_some());
                    if ended {
                        self.assign_devices(now);
                    }
                    return step;
                }
            }
        }
        self.due.push_back(id);
        DRAIN_MAX
    }

    fn carry_out(&mut self, id: RunId, action: Action, now: Timestamp) {
        match action {
            Action::Emit(RunEventBody::Point(point)) => {
                let point = PointEvent { numbers_from: self.numbers_of_point(id, &point), ..point };
                self.emit(id, RunEventBody::Point(point), now);
                self.tell_progress(id, now);
            }
            Action::Emit(body) => {
                let moves_on = matches!(body, RunEventBody::Step(_) | RunEventBody::Test(_));
                self.emit(id, body, now);
                if moves_on {
                    self.tell_progress(id, now);
                }
            }
            Action::StartChild(plan) => self.start_child(id, *plan, now),
            Action::StopChild { run, cause } => self.stop_child(id, run, &cause, now),
            Action::Keep { name, media_type, bytes } => {
                self.keep_artifact(id, &name, &media_type, bytes, now);
            }
            Action::Dispatch { index, .. } => {
                let Some(bound) = self.runs.get(&id).and_then(|run| run.device_of(index)).cloned() else { return };
                if !self.takes_turn(id, index, &bound, now) {
                    return;
                }
                let fence = (bound.hold == Hold::Step).then(|| self.fence().0);
                let attempt = AttemptId(self.uuid());
                let Some(run) = self.runs.get(&id) else { return };
                let number = run.next_attempt(index);
                let Some(event) = run.step_event(index, StepChange::Dispatched { fence }) else { return };
                let event = StepEvent { attempt_id: Some(attempt), attempt: number, ..event };
                self.attempts.insert(attempt, (id, index));
                self.emit(id, RunEventBody::Step(event), now);
                if let Some(fence) = fence {
                    self.hold_device(&bound.device, id, Fence(fence), now);
                }
                self.send_step(id, index, attempt, now);
            }
            Action::Stop { index, attempt, cause } => {
                if let Some(run) = self.runs.get_mut(&id) {
                    run.note_stop_sent(index, now);
                }
                let agent = self.runs.get(&id).and_then(|run| run.device_of(index)).map(|bound| bound.agent.clone());
                if let Some(agent) = agent {
                    self.send_stop(&agent, attempt, cause, now);
                }
            }
        }
    }

    /// Each execution of a step has an integer of its own: at the first point the step's.
    fn numbers_of_point(&mut self, id: RunId, point: &PointEvent) -> u64 {
        if point.point <= 1 {
            return 0;
        }
        let from = self.next_number;
        self.next_number += self.runs.get(&id).map_or(0, Run::steps_of_point);
        self.record(Record::NextNumber(self.next_number));
        from
    }

    /// Sends an attempt, for the first time or again: the agent performs it once.
    pub(super) fn send_step(&mut self, id: RunId, index: usize, attempt: AttemptId, now: Timestamp) {
        let Some(run) = self.runs.get(&id) else { return };
        let (Some(card), Some(bound), Some(with)) =
            (run.header.steps.get(index), run.device_of(index), run.filled_again(index))
        else {
            return;
        };
        let timeout = run.timeout_of(index);
        let agent = bound.agent.clone();
        let Some(epoch) = self.fleet.agent(&agent).map(|known| known.epoch) else { return };
        let body = CommandBody::StartStep(StartStep {
            run: id,
            step: card.id.clone(),
            attempt,
            device: Some(bound.device.clone()),
            fence: Some(run.fence_of(index)),
            module: card.module.clone(),
            with,
            timeout_ms: u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX),
        });
        if let Some(run) = self.runs.get_mut(&id) {
            run.note_sent(index, epoch);
        }
        let expires = i64::try_from(timeout.saturating_add(GRACE).as_micros()).unwrap_or(i64::MAX);
        self.send(&agent, body, Timestamp(now.0.saturating_add(expires)));
    }

    pub(super) fn send_stop(&mut self, agent: &AgentId, attempt: AttemptId, cause: String, now: Timestamp) {
        let body = CommandBody::CancelStep { attempt, cause };
        if let Some(command) = self.send(agent, body, Timestamp(now.0 + 60_000_000)) {
            self.stops.insert(command, attempt);
        }
    }

    /// The agent took a command to stop. It tells of every attempt that it begins before it begins it: one that it never
    /// told of, it never will begin.
    pub(super) fn stop_answered(&mut self, command: CommandId, at: Timestamp, now: Timestamp) {
        let Some((id, index)) = self.stops.remove(&command).and_then(|attempt| self.attempts.get(&attempt)).copied()
        else {
            return;
        };
        let Some(run) = self.runs.get(&id) else { return };
        if run.is_stopping(index) && !run.is_running(index) {
            let event = run.step_event(index, StepChange::Cancelled { duration_s: 0.0, safe: None });
            self.emit_all(id, event.map(RunEventBody::Step).into_iter().collect(), at, now);
        }
    }

    pub(super) fn send(&mut self, agent: &AgentId, body: CommandBody, expires_at: Timestamp) -> Option<CommandId> {
        let epoch = self.fleet.agent(agent)?.epoch;
        self.fleet.note_command(agent);
        let id = CommandId(self.uuid());
        let command = Box::new(Command { id, epoch, expires_at, body });
        self.effect(Effect::Command { agent: agent.clone(), command });
        Some(id)
    }

    fn release(&mut self, id: RunId, at: Timestamp) {
        self.lease_released(id, at);
        self.attempts.retain(|_, (run, _)| *run != id);
        self.stops.retain(|_, attempt| self.attempts.contains_key(attempt));
        self.wakes.remove(&id);
        self.turns.forget(id);
        self.waiting.remove(&id);
        self.queue.retain(|queued| *queued != id);
        self.finished.push_back(id);
        while self.finished.len() > FINISHED_KEPT {
            if let Some(oldest) = self.finished.pop_front()
                && let Some(run) = self.runs.remove(&oldest)
            {
                self.numbers.remove(&run.header.number);
            }
        }
    }
}
