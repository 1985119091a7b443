//! What becomes of a command from the hub. The desk is a pure core; `run` carries its verdicts out.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use rigwire_shared::agent::Live;
use rigwire_shared::command::{Command, CommandBody, StartStep};
use rigwire_shared::event::{Answer, EventBody, StepError, StepFinished, StepOutcome, code};
use rigwire_shared::ids::{AttemptId, CommandId, DeviceId, Epoch};
use rigwire_shared::time::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::device::{HubLink, Order, StepOrder};
use crate::events::Events;
use crate::inventory::Board;
use crate::live::LiveSlots;
use crate::preview::Wanted;
use crate::program;
use crate::step;

/// Attempts that are remembered, so that a repeated command is not performed again.
const ATTEMPTS: usize = 10_000;

#[derive(Debug, PartialEq)]
pub(crate) enum Verdict {
    /// Seen before: the first one is answered or will be.
    Ignore,
    Say(EventBody),
    Order(DeviceId, Order),
    Announce(CommandId),
    /// At so many frames a second, or no longer.
    Preview(CommandId, DeviceId, Option<u8>),
    NoPreview(CommandId, DeviceId),
}

/// Whether this agent runs programs, and as which device.
#[derive(Debug)]
pub(crate) enum Programs {
    On(DeviceId),
    /// None is listed; what would have to be said where.
    Off(StepError),
}

#[derive(Debug)]
pub(crate) struct Desk {
    epoch: Epoch,
    devices: Vec<DeviceId>,
    cameras: Vec<DeviceId>,
    programs: Programs,
    attempts: HashMap<AttemptId, DeviceId>,
    oldest_first: VecDeque<AttemptId>,
}

impl Desk {
    /// `devices` are all, cameras and the one for programs too.
    pub(crate) fn new(epoch: Epoch, devices: Vec<DeviceId>, cameras: Vec<DeviceId>, programs: Programs) -> Self {
        Self { epoch, devices, cameras, programs, attempts: HashMap::new(), oldest_first: VecDeque::new() }
    }

    /// `hub_now` is the time by the hub's clock, which is the one that commands expire by.
    pub(crate) fn handle(&mut self, command: Command, hub_now: Timestamp) -> Verdict {
        let Command { id, epoch, expires_at, body } = command;
        if let CommandBody::StartStep(start) = &body
            && self.attempts.contains_key(&start.attempt)
        {
            return Verdict::Ignore;
        }
        let expired = if epoch != self.epoch {
            Some(format!("the command is for epoch {} of this agent, which is now at {}", epoch.0, self.epoch.0))
        } else if expires_at <= hub_now {
            let late = Duration::from_micros(u64::try_from(hub_now.0 - expires_at.0).unwrap_or(0));
            Some(format!("the command came {} ms after it expired", late.as_millis()))
        } else {
            None
        };
        if let Some(message) = expired {
            return refusal(id, &body, StepError { code: code::COMMAND_EXPIRED.to_owned(), message });
        }
        match body {
            CommandBody::StartStep(start) => self.start(start),
            CommandBody::CancelStep { attempt, cause } => match self.attempts.get(&attempt) {
                Some(device) => Verdict::Order(device.clone(), Order::Cancel { command: id, attempt, cause }),
                // Never begun here: there is nothing left to stop.
                None => Verdict::Say(EventBody::CommandAnswered { command: id, answer: Answer::Done }),
            },
            CommandBody::GrantLease { device, fence, until, holder } => {
                self.order(id, device, Order::Grant { command: id, fence, until, holder })
            }
            CommandBody::ReleaseLease { device, fence } => {
                self.order(id, device, Order::Release { command: id, fence })
            }
            CommandBody::MakeSafe { device, cause } => self.order(id, device, Order::MakeSafe { command: id, cause }),
            // Pictures are shown as the camera makes them, whatever their quality.
            CommandBody::StartPreview { device, quality: _, frames_per_second } if self.cameras.contains(&device) => {
                Verdict::Preview(id, device, Some(frames_per_second))
            }
            CommandBody::StopPreview { device } if self.cameras.contains(&device) => Verdict::Preview(id, device, None),
            CommandBody::StartPreview { device, .. } if self.devices.contains(&device) => {
                Verdict::NoPreview(id, device)
            }
            CommandBody::StartPreview { device, .. } => Verdict::Say(refuse(id, unknown_device(&device))),
            // None runs, so it is stopped.
            CommandBody::StopPreview { .. } => {
                Verdict::Say(EventBody::CommandAnswered { command: id, answer: Answer::Done })
            }
            CommandBody::TailWire { device, .. } => {
                let message = format!("this agent does not send the bytes of device {device}'s port");
                Verdict::Say(refuse(id, StepError { code: code::MODULE_UNKNOWN.to_owned(), message }))
            }
            CommandBody::Announce => Verdict::Announce(id),
        }
    }

    fn start(&mut self, start: StartStep) -> Verdict {
        let StartStep { run, step: _, attempt, device, fence, module, with, timeout_ms } = start;
        let fail = |error| {
            let outcome = StepOutcome::Failed { error };
            Verdict::Say(EventBody::StepFinished(StepFinished { attempt, run, outcome, duration_us: 0 }))
        };
        match &self.programs {
            Programs::Off(error) if module == program::RUN => return fail(error.clone()),
            Programs::On(host) if module == program::RUN && device.as_ref() != Some(host) => {
                let on = device.map_or_else(|| "nothing".to_owned(), |device| device.to_string());
                let message = format!("{module} acts on {host} at this agent, not on {on}");
                return fail(StepError { code: code::MODULE_UNKNOWN.to_owned(), message });
            }
            Programs::On(_) | Programs::Off(_) => {}
        }
        if ![step::READ, step::ACTION, step::SAFE_STATE, program::RUN].contains(&module.as_str()) {
            return fail(step::unknown_module(&module));
        }
        let Some(device) = device else {
            let message = format!("module {module} needs a device");
            return fail(StepError { code: code::MODULE_UNKNOWN.to_owned(), message });
        };
        if !self.devices.contains(&device) {
            return fail(unknown_device(&device));
        }
        self.remember(attempt, device.clone());
        let timeout = Duration::from_millis(u64::from(timeout_ms));
        Verdict::Order(device, Order::Start(StepOrder { run, attempt, fence, module, with, timeout }))
    }

    fn order(&self, command: CommandId, device: DeviceId, order: Order) -> Verdict {
        if self.devices.contains(&device) {
            Verdict::Order(device, order)
        } else {
            Verdict::Say(refuse(command, unknown_device(&device)))
        }
    }

    fn remember(&mut self, attempt: AttemptId, device: DeviceId) {
        if self.oldest_first.len() == ATTEMPTS
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.attempts.remove(&oldest);
        }
        self.attempts.insert(attempt, device);
        self.oldest_first.push_back(attempt);
    }
}

fn unknown_device(device: &DeviceId) -> StepError {
    StepError { code: code::DEVICE_UNKNOWN.to_owned(), message: format!("this agent has no device {device}") }
}

fn refuse(command: CommandId, error: StepError) -> EventBody {
    EventBody::CommandAnswered { command, answer: Answer::Refused { error } }
}

/// A step is answered by its end, everything else by an answer.
fn refusal(command: CommandId, body: &CommandBody, error: StepError) -> Verdict {
    Verdict::Say(match body {
        CommandBody::StartStep(start) => EventBody::StepFinished(StepFinished {
            attempt: start.attempt,
            run: start.run,
            outcome: StepOutcome::Failed { error },
            duration_us: 0,
        }),
        CommandBody::CancelStep { .. }
        | CommandBody::GrantLease { .. }
        | CommandBody::ReleaseLease { .. }
        | CommandBody::MakeSafe { .. }
        | CommandBody::StartPreview { .. }
        | CommandBody::StopPreview { .. }
        | CommandBody::TailWire { .. }
        | CommandBody::Announce => refuse(command, error),
    })
}

pub(crate) struct Dispatch {
    pub(crate) desk: Desk,
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) orders: HashMap<DeviceId, mpsc::Sender<Order>>,
    pub(crate) events: Events,
    pub(crate) board: Board,
    pub(crate) live: LiveSlots,
    /// Of each camera.
    pub(crate) previews: HashMap<DeviceId, watch::Sender<Option<Wanted>>>,
    pub(crate) hub: watch::Receiver<HubLink>,
}

pub(crate) async fn run(dispatch: Dispatch, shutdown: CancellationToken) -> anyhow::Result<()> {
    let Dispatch { mut desk, mut commands, orders, events, board, live, previews, hub } = dispatch;
    loop {
        let command = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            command = commands.recv() => command,
        };
        let Some(command) = command else { break };
        tracing::debug!(?command, "command");
        let hub_now = hub.borrow().hub_now();
        match desk.handle(command, hub_now) {
            Verdict::Ignore => {}
            Verdict::Say(body) => events.send(body).await,
            Verdict::Order(device, order) => {
                let unsent = match orders.get(&device) {
                    Some(sender) => sender.try_send(order).err().map(mpsc::error::TrySendError::into_inner),
                    None => Some(order),
                };
                if let Some(order) = unsent {
                    events.send(too_busy(&device, order)).await;
                }
            }
            Verdict::Announce(command) => {
                board.announce();
                events.send(EventBody::CommandAnswered { command, answer: Answer::Done }).await;
            }
            Verdict::Preview(command, device, frames_per_second) => {
                if let Some(preview) = previews.get(&device) {
                    let asked = Instant::now();
                    preview.send_replace(frames_per_second.map(|rate| Wanted { frames_per_second: rate, asked }));
                }
                events.send(EventBody::CommandAnswered { command, answer: Answer::Done }).await;
            }
            Verdict::NoPreview(command, device) => {
                let cause = format!("device {device} has no picture to show");
                live.put(Live::PreviewUnavailable { device, cause: cause.clone() });
                events.send(refuse(command, StepError { code: code::MODULE_UNKNOWN.to_owned(), message: cause })).await;
            }
        }
    }
    Ok(())
}

fn too_busy(device: &DeviceId, order: Order) -> EventBody {
    let error = StepError {
        code: code::DEVICE_BUSY.to_owned(),
        message: format!("device {device} has too many commands waiting"),
    };
    match order {
        Order::Start(StepOrder { run, attempt, .. }) => {
            let outcome = StepOutcome::Failed { error };
            EventBody::StepFinished(StepFinished { attempt, run, outcome, duration_us: 0 })
        }
        Order::Cancel { command, .. }
        | Order::Grant { command, .. }
        | Order::Release { command, .. }
        | Order::MakeSafe { command, .. } => refuse(command, error),
    }
}

#[cfg(test)]
mod tests;
