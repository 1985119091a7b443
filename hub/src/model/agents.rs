//! Agents within the model: what they report becomes the fleet's state, run events and acknowledgements.

use rigwire_shared::agent::{AgentState, DeviceState, Inventory, Live};
use rigwire_shared::command::{Ack, CommandBody, PreviewQuality};
use rigwire_shared::event::{
    AgentEvent, Answer, DeviceChange, EventBody, Log, Sample, Started, StepFinished, StepOutcome, code,
};
use rigwire_shared::ids::{AgentId, AttemptId, DeviceId, Position, RunId};
use rigwire_shared::time::Timestamp;
use rigwire_shared::wire::Batch;

use super::{Effect, Model, Record};
use crate::event::{
    AgentChange, DeviceEvent, DeviceSample, EventKind, Frame, Metric, RunEventBody, RunLog, StepChange,
};
use crate::fleet::{Arrival, Device};
use crate::preview::{Change, Viewer, frames_per_second};

impl Model {
    pub fn agent_state(&mut self, agent: &AgentId, state: &AgentState, now: Timestamp) {
        let Some(news) = self.fleet.agent_state(agent, state, now) else {
            if state.online {
                tracing::warn!(
                    %agent,
                    epoch = state.epoch.0,
                    "agent says that it is there, under an older start than the hub knows, and is not believed: \
                     do two agents share the id, or was its spool removed and its clock set back?"
                );
            }
            return;
        };
        if news.changed {
            let change = AgentChange { agent: agent.clone(), online: state.online, cause: state.cause.clone() };
            self.publish(now, EventKind::Agent(change));
            self.record_agent(agent);
        }
        if state.online {
            self.ack(agent, true, now);
            self.resume_previews(agent, now);
            self.send_leases(agent, now);
            if news.begun {
                self.send_outstanding(agent, now);
            }
        } else {
            for device in self.fleet.devices_lost_with(agent, &state.cause) {
                self.tell_device(&device, now);
            }
        }
    }

    pub fn inventory(&mut self, agent: &AgentId, inventory: &Inventory, now: Timestamp) {
        let Some(news) = self.fleet.inventory(agent, inventory, now) else { return };
        for (device, other) in news.contested {
            tracing::warn!(%agent, %device, "device is also listed by agent {other}, which keeps it: give one of them another id");
        }
        for device in news.removed {
            self.record(Record::DeviceRemoved(device.card.device.clone()));
            self.publish(now, EventKind::Device(DeviceEvent::State(device.snapshot())));
        }
        for device in news.changed {
            if let Some(known) = self.fleet.device(&device) {
                let card = Box::new(known.card.clone());
                self.record(Record::Device { agent: agent.clone(), card });
            }
            self.tell_device(&device, now);
        }
        self.assign_devices(now);
    }

    pub fn live(&mut self, agent: &AgentId, live: Live, now: Timestamp) {
        let owned = |device: &DeviceId| self.fleet.device(device).is_some_and(|known| known.agent == *agent);
        match live {
            Live::Frame { device, at, width, height, media_type, data } if owned(&device) => {
                let frame = Frame { device, width, height, media_type, data };
                self.publish_unnumbered(at, EventKind::Device(DeviceEvent::Frame(std::sync::Arc::new(frame))));
            }
            Live::PreviewUnavailable { device, cause } if owned(&device) => {
                self.publish_unnumbered(now, EventKind::Device(DeviceEvent::PreviewUnavailable { device, cause }));
            }
            Live::Frame { .. } | Live::PreviewUnavailable { .. } => {}
        }
    }

    /// Someone wants to see a device. The answer, if there are no frames to come, is an event of the device.
    pub fn start_preview(&mut self, device: &DeviceId, viewer: Viewer, quality: PreviewQuality, now: Timestamp) {
        let Change::Start(quality) = self.previews.start(device, viewer, quality, now) else { return };
        let cause = match self.fleet.device(device) {
            None => Some(format!("no agent has a device {device}")),
            Some(known) if !known.card.state.is_present() => {
                Some(format!("device {device} is {}: {}", known.card.state, known.card.cause))
            }
            Some(_) => None,
        };
        match cause {
            Some(cause) => {
                let event = DeviceEvent::PreviewUnavailable { device: device.clone(), cause };
                self.publish_unnumbered(now, EventKind::Device(event));
            }
            None => self.send_preview(device, Change::Start(quality), now),
        }
    }

    pub fn stop_preview(&mut self, device: &DeviceId, viewer: Viewer, now: Timestamp) {
        if let Some(change) = self.previews.stop(device, viewer) {
            self.send_preview(device, change, now);
        }
    }

    fn send_preview(&mut self, device: &DeviceId, change: Change, now: Timestamp) {
        let Some(agent) = self.fleet.device(device).map(|known| known.agent.clone()) else { return };
        let body = match change {
            Change::Start(quality) => {
                let frames_per_second = frames_per_second(quality);
                CommandBody::StartPreview { device: device.clone(), quality, frames_per_second }
            }
            Change::Stop => CommandBody::StopPreview { device: device.clone() },
        };
        self.send(&agent, body, Timestamp(now.0 + 10_000_000));
    }

    /// After an agent came back: it no longer knows who was watching.
    fn resume_previews(&mut self, agent: &AgentId, now: Timestamp) {
        self.send_previews(|known| known.agent == *agent, now);
    }

    pub(super) fn repeat_previews(&mut self, now: Timestamp) {
        if self.previews.is_due(now) {
            self.send_previews(|known| known.card.state.is_present(), now);
        }
    }

    fn send_previews(&mut self, of: impl Fn(&Device) -> bool, now: Timestamp) {
        let wanted: Vec<(DeviceId, PreviewQuality)> = self
            .previews
            .wanted()
            .filter(|(device, _)| self.fleet.device(device).is_some_and(&of))
            .map(|(device, quality)| (device.clone(), quality))
            .collect();
        for (device, quality) in wanted {
            self.send_preview(&device, Change::Start(quality), now);
        }
    }

    /// Something on an agent's topic that is no message.
    pub fn malformed(&mut self, agent: &AgentId, now: Timestamp) {
        self.fleet.agent_mut(agent, now).counters.malformed += 1;
    }

    pub fn batch(&mut self, agent: &AgentId, batch: Batch, now: Timestamp) {
        let arrival = self.fleet.arrival(agent, batch.position, batch.previous);
        let known = self.fleet.agent_mut(agent, now);
        known.last_seen = now;
        // A last will that came late: who reports is there.
        if !known.online && batch.position.epoch == known.epoch && known.announces_again(now) {
            self.send(agent, CommandBody::Announce, Timestamp(now.0 + 10_000_000));
        }
        let known = self.fleet.agent_mut(agent, now);
        match arrival {
            Arrival::Duplicate => {
                known.counters.duplicates += 1;
                self.ack(agent, false, now);
            }
            Arrival::Gap => {
                known.counters.gaps += 1;
                // All that was on its way behind the gap arrives, too: asking for each would have it sent as often.
                if known.asks_again(now) {
                    self.ack(agent, true, now);
                }
            }
            Arrival::Next => {
                known.counters.batches += 1;
                known.counters.events += batch.events.len() as u64;
                known.received = Some(batch.position);
                for event in batch.events {
                    self.agent_event(agent, batch.position, event, now);
                }
                self.record_agent(agent);
                self.ack(agent, false, now);
            }
        }
    }

    fn ack(&mut self, agent: &AgentId, resend: bool, now: Timestamp) {
        let durable = self.fleet.agent(agent).and_then(|known| known.received);
        self.effect(Effect::Ack { agent: agent.clone(), ack: Ack { durable, resend, hub_time: now } });
    }

    fn record_agent(&mut self, agent: &AgentId) {
        if let Some(known) = self.fleet.agent(agent) {
            let record = Record::Agent(Box::new(known.clone()));
            self.record(record);
        }
    }

    fn tell_device(&mut self, device: &DeviceId, at: Timestamp) {
        let Some(known) = self.fleet.device(device) else { return };
        let snapshot = known.snapshot();
        let lost_by = snapshot.held_by.filter(|_| snapshot.state == DeviceState::Gone);
        let cause = snapshot.cause.clone();
        self.publish(at, EventKind::Device(DeviceEvent::State(snapshot)));
        if let Some(run) = lost_by {
            self.emit(run, RunEventBody::DeviceLost { device: device.clone(), cause }, at);
        }
    }

    fn agent_event(&mut self, agent: &AgentId, position: Position, event: AgentEvent, now: Timestamp) {
        let at = event.at;
        match event.body {
            EventBody::Started(started) => self.agent_started(agent, &started, now),
            EventBody::Sample(sample) => self.sample(agent, sample, at),
            EventBody::Log(log) => self.agent_log(log, at),
            EventBody::Device(change) => self.device_change(agent, position, &change, at, now),
            EventBody::StepStarted { attempt, .. } => {
                self.step_change(attempt, StepChange::Running, at, now);
            }
            EventBody::StepProgress { attempt, percent, message } => {
                let change = StepChange::Progress { percent: sane(percent), message, phase: None };
                self.step_change(attempt, change, at, now);
            }
            EventBody::StepFinished(finished) => self.step_finished(agent, finished, at, now),
            EventBody::Limit(change) => self.publish(at, EventKind::Device(DeviceEvent::Limit(change))),
            EventBody::Interlock { device, rule, action, safe } => {
                let event = DeviceEvent::Interlock { device, rule, action, safe: safe.into() };
                self.publish(at, EventKind::Device(event));
            }
            EventBody::Safe { device, cause, outcome } => self.device_safe(device, cause, outcome.into(), at),
            EventBody::InstrumentError { device, code, text } => {
                let run = self.fleet.device(&device).and_then(|known| known.hold.run());
                let message = format!("{device} reports error {code}: {text}");
                self.run_log(run, rigwire_shared::event::Level::Warning, message, Some(device), "instrument", at);
            }
            EventBody::Report { attempt, report, .. } => self.report(attempt, report, at, now),
            EventBody::Gap { device, samples, cause } => {
                self.fleet.agent_mut(agent, now).counters.note_lost(cause, samples);
                let event = DeviceEvent::Gap { device, agent: agent.clone(), samples, cause };
                self.publish(at, EventKind::Device(event));
            }
            EventBody::CommandAnswered { command, answer } => match answer {
                Answer::Done => self.stop_answered(command, at, now),
                Answer::Refused { error } => {
                    tracing::info!(%agent, command = %command, "command refused: {}", error.message);
                    self.lease_refused(command, &error, at, now);
                }
            },
            EventBody::Artifact(artifact) => self.artifact_announced(agent, artifact, at),
            EventBody::ArtifactChunk { sha256, offset, data } => self.artifact_chunk(agent, sha256, offset, data, at),
            EventBody::Lease { device, fence, held, cause } => {
                self.lease_told(agent, &device, (fence, held, &cause), at, now);
            }
            // Accepted by number and kept for what will read them: wire tails and clocks.
            EventBody::Wire { .. } | EventBody::Clock { .. } => {
                tracing::debug!(%agent, %position, "event of a kind that this hub does not use");
            }
        }
    }

    /// Everything of the agent's earlier epochs has arrived: what those left open will never end by itself.
    fn agent_started(&mut self, agent: &AgentId, started: &Started, now: Timestamp) {
        let known = self.fleet.agent_mut(agent, now);
        known.begun = Some(started.epoch);
        known.epoch = known.epoch.max(started.epoch);
        known.version.clone_from(&started.version);
        known.host.clone_from(&started.host);
        let open = self.open_attempts(agent);
        for (attempt, run_id, index) in open {
            let Some(run) = self.runs.get(&run_id) else { continue };
            let change = if run.is_running(index) {
                let message = format!("agent {agent} restarted while the step was running");
                run.failed(index, code::AGENT_RESTARTED, message, 0.0)
            } else if !run.is_stopping(index) {
                self.send_step(run_id, index, attempt, now);
                continue;
            } else if run.was_sent_to(index, started.epoch) {
                // It was asked to stop, too.
                continue;
            } else {
                // The agent that was asked never began it, and the one that is there now will not.
                StepChange::Cancelled { duration_s: 0.0, safe: None }
            };
            let events = run.step_event(index, change).map(RunEventBody::Step).into_iter().collect();
            self.emit_all(run_id, events, now, now);
        }
        // After the runs that have just ended with it.
        self.forget_artifacts(agent, now);
    }

    fn open_attempts(&self, agent: &AgentId) -> Vec<(AttemptId, RunId, usize)> {
        let mut open: Vec<(AttemptId, RunId, usize)> = self
            .attempts
            .iter()
            .filter(|(_, (run, index))| {
                self.runs.get(run).and_then(|run| run.device_of(*index)).is_some_and(|bound| bound.agent == *agent)
            })
            .map(|(attempt, (run, index))| (*attempt, *run, *index))
            .collect();
        open.sort_by_key(|(_, run, index)| (*run, *index));
        open
    }

    /// After a reconnection: commands may have been lost on the way. The agent knows attempts that it has seen.
    fn send_outstanding(&mut self, agent: &AgentId, now: Timestamp) {
        for (attempt, run_id, index) in self.open_attempts(agent) {
            let Some(run) = self.runs.get(&run_id) else { continue };
            if run.is_stopping(index) {
                self.send_stop(agent, attempt, "run cancelled".to_owned(), now);
            } else if !run.is_running(index) {
                self.send_step(run_id, index, attempt, now);
            }
        }
    }

    fn sample(&mut self, agent: &AgentId, sample: Sample, at: Timestamp) {
        if self.fleet.device(&sample.device).is_some_and(|known| known.agent != *agent) {
            return;
        }
        let of_run = sample.attempt.and_then(|attempt| self.attempts.get(&attempt)).copied();
        let seen = DeviceSample {
            device: sample.device.clone(),
            metric: sample.metric.clone(),
            value: sample.value.clone(),
            unit: sample.unit.clone(),
            quality: sample.quality,
        };
        self.record(Record::Sample { at, sample: seen.clone() });
        self.publish_unnumbered(at, EventKind::Device(DeviceEvent::Sample(seen)));
        if let Some((run_id, index)) = of_run {
            let step = self.runs.get(&run_id).and_then(|run| run.header.steps.get(index)).map(|card| card.id.clone());
            let metric = Metric {
                name: sample.metric,
                value: sample.value,
                unit: sample.unit,
                quality: sample.quality,
                device: Some(sample.device),
                step,
            };
            self.emit(run_id, RunEventBody::Metric(metric), at);
        }
    }

    fn agent_log(&mut self, log: Log, at: Timestamp) {
        let of_step = log.attempt.and_then(|attempt| self.attempts.get(&attempt)).copied();
        let source = if log.source.is_empty() { "agent".to_owned() } else { log.source };
        let Some((run, index)) = of_step else {
            return self.run_log(log.run, log.level, log.message, log.device, &source, at);
        };
        let card = self.runs.get(&run).and_then(|run| run.header.steps.get(index));
        let (step, module) = card.map(|card| (card.id.clone(), card.module.clone())).unzip();
        let log = RunLog { level: log.level, message: log.message, device: log.device, module, step, source };
        self.emit(run, RunEventBody::Log(log), at);
    }

    pub(super) fn run_log(
        &mut self,
        run: Option<RunId>,
        level: rigwire_shared::event::Level,
        message: String,
        device: Option<DeviceId>,
        source: &str,
        at: Timestamp,
    ) {
        match run {
            Some(run) => {
                let log = RunLog { level, message, device, module: None, step: None, source: source.to_owned() };
                self.emit(run, RunEventBody::Log(log), at);
            }
            None => tracing::info!(device = device.as_ref().map(tracing::field::display), "{source}: {message}"),
        }
    }

    fn device_change(
        &mut self,
        agent: &AgentId,
        position: Position,
        change: &DeviceChange,
        at: Timestamp,
        now: Timestamp,
    ) {
        // Kept from before the agent started anew; its inventory is newer.
        if self.fleet.agent(agent).is_some_and(|known| position.epoch < known.epoch) {
            tracing::debug!(%agent, device = %change.device, state = %change.state, "device state of an earlier start");
            return;
        }
        if self.fleet.device_change(agent, change, now) {
            self.tell_device(&change.device, at);
            if change.state == DeviceState::Online {
                self.assign_devices(now);
            }
        }
    }

    fn device_safe(&mut self, device: DeviceId, cause: String, safe: crate::event::SafeState, at: Timestamp) {
        let run = self.fleet.device(&device).and_then(|known| known.hold.run());
        if let Some(run) = run {
            let level = match safe.outcome.as_str() {
                "verified" | "not-needed" => rigwire_shared::event::Level::Info,
                _ => rigwire_shared::event::Level::Error,
            };
            let detail = safe.detail.as_deref().map(|detail| format!(" ({detail})")).unwrap_or_default();
            let message = format!("safe state of {device} ({cause}): {}{detail}", safe.outcome);
            self.run_log(Some(run), level, message, Some(device.clone()), "agent", at);
        }
        self.publish(at, EventKind::Device(DeviceEvent::Safe { device, cause, safe }));
    }

    fn step_change(&mut self, attempt: AttemptId, change: StepChange, at: Timestamp, now: Timestamp) {
        let Some((run_id, index)) = self.attempts.get(&attempt).copied() else { return };
        let event = self.runs.get(&run_id).and_then(|run| run.step_event(index, change));
        let events = event.map(RunEventBody::Step).into_iter().collect();
        self.emit_all(run_id, events, at, now);
    }

    #[expect(clippy::cast_precision_loss, reason = "microseconds of one step")]
    fn step_finished(&mut self, agent: &AgentId, finished: StepFinished, at: Timestamp, now: Timestamp) {
        let Some((run_id, index)) = self.attempts.get(&finished.attempt).copied() else {
            tracing::debug!(attempt = %finished.attempt, "result of an attempt that already ended");
            return;
        };
        let is_late = matches!(&finished.outcome, StepOutcome::Failed { error } if error.code == code::COMMAND_EXPIRED);
        if is_late && self.runs.get_mut(&run_id).is_some_and(|run| run.note_refused(index)) {
            tracing::debug!(%agent, attempt = %finished.attempt, "an earlier command was refused, a later one is on its way");
            return;
        }
        let Some(run) = self.runs.get(&run_id) else { return };
        let duration_s = finished.duration_us as f64 / 1e6;
        // Nobody asked for that: the agent itself was told to stop and ended what it was doing.
        let outcome = match finished.outcome {
            StepOutcome::Cancelled { .. } if !run.is_stopping(index) => StepOutcome::Failed {
                error: rigwire_shared::event::StepError {
                    code: code::AGENT_STOPPED.to_owned(),
                    message: format!("agent {agent} was stopped while the step was running"),
                },
            },
            outcome @ (StepOutcome::Completed { .. } | StepOutcome::Failed { .. } | StepOutcome::Cancelled { .. }) => {
                outcome
            }
        };
        let events = run.finish_step(index, outcome, duration_s);
        self.emit_all(run_id, events, at, now);
    }
}

/// A percentage from outside, within its range.
pub(super) fn sane(percent: f32) -> f64 {
    if percent.is_finite() { f64::from(percent.clamp(0.0, 100.0)) } else { 0.0 }
}
