//! Leases within the model: runs and persons take devices and give them back, agents are told and tell.

use rigwire_shared::command::CommandBody;
use rigwire_shared::event::{Level, StepError, code};
use rigwire_shared::ids::{AgentId, CommandId, DeviceId, Fence, RunId};
use rigwire_shared::time::Timestamp;

use super::{Model, Record};
use crate::dialect::rfc3339;
use crate::event::{DeviceEvent, EventKind, LeaseChange, RunEventBody};
use crate::lease::{Claim, Claimed, Hold, Order, Refused, Reservation};

/// How long a word that a lease is over may be under way. It is said again when the agent comes back.
const RELEASE_WITHIN_US: i64 = 60_000_000;

/// A lease as it stands, or a reservation that waits for a run to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseRow {
    pub device: DeviceId,
    /// The run that holds it; a person holds it otherwise.
    pub run: Option<RunId>,
    pub holder: String,
    pub reason: Option<String>,
    pub since: Timestamp,
    /// `None` for a run: until it ends.
    pub until: Option<Timestamp>,
    /// `None` while it waits.
    pub fence: Option<Fence>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reserved {
    pub claimed: Claimed,
    pub lease: LeaseRow,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReserveError {
    #[error("no agent has a device {0}")]
    Unknown(DeviceId),
    #[error("{0} is held by {1}; ask for it as \"next\" to have it when the run ends")]
    Run(DeviceId, String),
    #[error("{0} is {1}")]
    Person(DeviceId, String),
    #[error("nobody has reserved {0}")]
    Nobody(DeviceId),
    #[error("{0} is held by {1}, which gives it back when it ends")]
    NotReserved(DeviceId, String),
}

/// Where a run is in the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// From 1.
    pub position: usize,
    pub reason: String,
    /// When it begins at the latest, if all that is in its way has a stated end.
    pub expected: Option<Timestamp>,
}

impl Model {
    /// How long agents let a run act without hearing from the hub.
    pub fn set_lease_life(&mut self, life: std::time::Duration) {
        self.lease_life = life;
    }

    /// A person takes a device, keeps it for longer, or will have it next.
    pub fn reserve(&mut self, device: &DeviceId, claim: Claim, now: Timestamp) -> Result<Reserved, ReserveError> {
        let Some(known) = self.fleet.device_mut(device) else { return Err(ReserveError::Unknown(device.clone())) };
        known.hold.expire(now);
        let claimed = match known.hold.reserve(claim, now) {
            Ok(claimed) => claimed,
            Err(Refused::Run(run)) => return Err(ReserveError::Run(device.clone(), self.name_of(run))),
            Err(Refused::Person(held)) => return Err(ReserveError::Person(device.clone(), in_words(&held))),
            Err(Refused::Nobody) => return Err(ReserveError::Nobody(device.clone())),
        };
        match claimed {
            Claimed::Taken => {}
            Claimed::Prolonged => self.tell_reservation(device, "prolonged", "asked for by its holder", now),
            Claimed::Waits(run) => {
                let cause = format!("until {} ends", self.name_of(run));
                self.tell_reservation(device, "waiting", &cause, now);
            }
        }
        self.record_reservation(device);
        self.tend(device, now);
        self.assign_devices(now);
        let lease = self.leases_of(device).into_iter().rfind(|lease| lease.run.is_none());
        let lease = lease.ok_or_else(|| ReserveError::Nobody(device.clone()))?;
        Ok(Reserved { claimed, lease })
    }

    fn pass_on_free(&mut self, device: &DeviceId, now: Timestamp) {
        self.freed.push_back(device.clone());
        self.drain(now);
        self.assign_devices(now);
    }

    /// Ends a reservation. That of somebody else only by force, which the record keeps.
    pub fn return_device(
        &mut self,
        device: &DeviceId,
        holder: &str,
        force: bool,
        now: Timestamp,
    ) -> Result<Reservation, ReserveError> {
        let Some(known) = self.fleet.device_mut(device) else { return Err(ReserveError::Unknown(device.clone())) };
        let returned = match known.hold.return_reservation(holder, force) {
            Ok(returned) => returned,
            Err(Refused::Run(run)) => return Err(ReserveError::NotReserved(device.clone(), self.name_of(run))),
            Err(Refused::Person(held)) => return Err(ReserveError::Person(device.clone(), in_words(&held))),
            Err(Refused::Nobody) => return Err(ReserveError::Nobody(device.clone())),
        };
        let cause = if returned.holder == holder {
            "given back by its holder".to_owned()
        } else {
            format!("taken away by {holder}, by force")
        };
        self.publish_lease(device, &returned, "returned", cause, now);
        self.record_reservation(device);
        self.pass_on_free(device, now);
        Ok(returned)
    }

    /// Every lease, and every reservation that waits.
    pub fn leases(&self) -> Vec<LeaseRow> {
        let devices: Vec<&DeviceId> = self.fleet.devices().map(|device| &device.card.device).collect();
        devices.into_iter().flat_map(|device| self.leases_of(device)).collect()
    }

    /// Who holds a device, then who has it next.
    pub fn leases_of(&self, device: &DeviceId) -> Vec<LeaseRow> {
        let Some(known) = self.fleet.device(device) else { return Vec::new() };
        let of_run = known.hold.run_hold().map(|held| LeaseRow {
            device: device.clone(),
            run: Some(held.run),
            holder: self.name_of(held.run),
            reason: None,
            since: held.since,
            until: None,
            fence: Some(held.fence),
        });
        let of_person = known.hold.reservation().map(|claim| LeaseRow {
            device: device.clone(),
            run: None,
            holder: claim.holder.clone(),
            reason: claim.reason.clone(),
            since: claim.since,
            until: Some(claim.until),
            fence: claim.fence,
        });
        of_run.into_iter().chain(of_person).collect()
    }

    /// Where a run waits for its devices, if it does.
    pub fn waiting(&self, run: RunId) -> Option<Waiting> {
        let position = self.queue.iter().position(|queued| *queued == run)? + 1;
        let reason =
            self.waiting.get(&run).map_or_else(|| "waiting for devices".to_owned(), |wait| wait.cause.to_string());
        Some(Waiting { position, reason, expected: self.expected(run) })
    }

    fn expected(&self, run: RunId) -> Option<Timestamp> {
        let run = self.runs.get(&run)?;
        let holder = run.header.holder.as_deref();
        let mut latest = None;
        for (_, role) in run.roles() {
            let present = self.fleet.devices().filter(|device| device.matches(role) && device.card.state.is_present());
            let holds: Vec<&Hold> = present.map(|device| &device.hold).collect();
            if holds.iter().any(|hold| hold.admits(holder)) {
                continue;
            }
            let ends = holds.iter().filter(|hold| hold.run().is_none()).filter_map(|hold| hold.reservation());
            latest = latest.max(Some(ends.map(|claim| claim.until).min()?));
        }
        latest
    }

    /// The run holds the devices that it is bound to.
    pub(super) fn lease_granted(&mut self, id: RunId, now: Timestamp) {
        let Some(run) = self.runs.get(&id) else { return };
        let fence = run.fence();
        let devices: Vec<DeviceId> = run
            .bound()
            .iter()
            .filter(|bound| bound.hold == crate::event::Hold::Run)
            .map(|bound| bound.device.clone())
            .collect();
        for device in devices {
            self.hold_device(&device, id, fence, now);
        }
    }

    /// The run gives back every device that it holds. They are passed on next.
    pub(super) fn lease_released(&mut self, id: RunId, at: Timestamp) {
        let devices = self.fleet.devices().filter(|device| device.hold.run() == Some(id));
        let devices: Vec<DeviceId> = devices.map(|device| device.card.device.clone()).collect();
        for device in devices {
            let Some(known) = self.fleet.device_mut(&device) else { continue };
            known.hold.give_back(id);
            let snapshot = known.snapshot();
            self.publish(at, EventKind::Device(DeviceEvent::State(snapshot)));
            self.freed.push_back(device);
        }
    }

    pub(super) fn hold_device(&mut self, device: &DeviceId, run: RunId, fence: Fence, now: Timestamp) {
        if let Some(known) = self.fleet.device_mut(device) {
            known.hold.take(run, fence, now);
            self.tell_agent(device, now);
        }
    }

    /// What of a device's hold is due: its end, the beginning of a reservation, words to the agent. Answers whether a
    /// reservation ended.
    pub(super) fn tend(&mut self, device: &DeviceId, now: Timestamp) -> bool {
        let Some(known) = self.fleet.device_mut(device) else { return false };
        let expired = known.hold.expire(now);
        if let Some(expired) = &expired {
            self.publish_lease(device, expired, "expired", "its time is over".to_owned(), now);
            self.record_reservation(device);
        }
        // The number of the event that tells of it.
        let fence = self.fence();
        if let Some(known) = self.fleet.device_mut(device)
            && known.hold.lacks_fence()
        {
            known.hold.begin_reservation(fence);
            self.tell_reservation(device, "granted", "the device is free", now);
            self.record_reservation(device);
        }
        self.tell_agent(device, now);
        expired.is_some()
    }

    pub(super) fn tend_leases(&mut self, now: Timestamp) {
        if self.leases_due.is_none_or(|at| at > now) {
            return;
        }
        self.leases_due = None;
        let mut ended = false;
        for device in self.held_devices() {
            if self.tend(&device, now) {
                self.freed.push_back(device);
                ended = true;
            }
        }
        if ended {
            self.drain(now);
            self.assign_devices(now);
        }
    }

    fn held_devices(&self) -> Vec<DeviceId> {
        let held = self.fleet.devices().filter(|device| !device.hold.is_free());
        held.map(|device| device.card.device.clone()).collect()
    }

    /// The clock was set: agents learn of the new time with the next acknowledgement, and of leases by it before.
    pub(super) fn renew_leases(&mut self, now: Timestamp) {
        for device in self.held_devices() {
            self.tell_agent_again(&device, now);
        }
    }

    /// The agent is there again, and may have missed anything.
    pub(super) fn send_leases(&mut self, agent: &AgentId, now: Timestamp) {
        let devices = self.fleet.devices().filter(|device| device.agent == *agent);
        for device in devices.map(|device| device.card.device.clone()).collect::<Vec<_>>() {
            self.tell_agent_again(&device, now);
        }
    }

    fn tell_agent(&mut self, device: &DeviceId, now: Timestamp) {
        let life = self.lease_life;
        let online = self.is_agent_online(device);
        let Some(known) = self.fleet.device_mut(device) else { return };
        let orders = if online { known.hold.orders(now, life) } else { Vec::new() };
        self.send_orders(device, orders, now);
        self.note_due(device, online);
    }

    fn tell_agent_again(&mut self, device: &DeviceId, now: Timestamp) {
        let life = self.lease_life;
        if !self.is_agent_online(device) {
            return;
        }
        let Some(known) = self.fleet.device_mut(device) else { return };
        let orders = known.hold.orders_again(now, life);
        self.send_orders(device, orders, now);
        self.note_due(device, true);
    }

    fn is_agent_online(&self, device: &DeviceId) -> bool {
        let agent = self.fleet.device(device).and_then(|known| self.fleet.agent(&known.agent));
        agent.is_some_and(|agent| agent.online)
    }

    /// Nothing can be said to an agent that is away; when it is back, everything is.
    fn note_due(&mut self, device: &DeviceId, online: bool) {
        let Some(known) = self.fleet.device(device) else { return };
        let due = if online { known.hold.wake() } else { known.hold.reservation().map(|claim| claim.until) };
        self.leases_due = match (self.leases_due, due) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
    }

    fn send_orders(&mut self, device: &DeviceId, orders: Vec<Order>, now: Timestamp) {
        let Some(agent) = self.fleet.device(device).map(|known| known.agent.clone()) else { return };
        for order in orders {
            match order {
                Order::Grant { fence, until } => {
                    let holder = self.leases_of(device).first().map(|lease| lease.holder.clone()).unwrap_or_default();
                    let body = CommandBody::GrantLease { device: device.clone(), fence, until, holder };
                    let command = self.send(&agent, body, until);
                    if let Some(known) = self.fleet.device_mut(device) {
                        known.hold.note_command(command);
                    }
                }
                Order::Release { fence } => {
                    let body = CommandBody::ReleaseLease { device: device.clone(), fence };
                    self.send(&agent, body, Timestamp(now.0.saturating_add(RELEASE_WITHIN_US)));
                }
            }
        }
    }

    /// The agent says that a lease began or ended there.
    pub(super) fn lease_told(
        &mut self,
        agent: &AgentId,
        device: &DeviceId,
        (fence, held, cause): (Fence, bool, &str),
        at: Timestamp,
        now: Timestamp,
    ) {
        let Some(known) = self.fleet.device_mut(device).filter(|known| known.agent == *agent) else { return };
        if held || !known.hold.lost(fence, now) {
            return;
        }
        let run = known.hold.run();
        if let Some(lease) = self.leases_of(device).into_iter().next() {
            let change = LeaseChange {
                device: device.clone(),
                change: "lost".to_owned(),
                holder: lease.holder,
                fence: lease.fence,
                reason: lease.reason,
                until: lease.until,
                cause: format!("agent {agent} let go of it: {cause}"),
            };
            self.publish(at, EventKind::Device(DeviceEvent::Lease(change)));
        }
        let message =
            format!("agent {agent} let go of {device} ({cause}); nobody else had it since, it is granted again");
        self.run_log(run, Level::Warning, message, Some(device.clone()), "lease", at);
        self.tell_agent(device, now);
    }

    /// The agent refused a command. If that was to grant a lease, somebody else has had the device: the run has lost it.
    pub(super) fn lease_refused(&mut self, command: CommandId, error: &StepError, at: Timestamp, now: Timestamp) {
        if error.code != code::LEASE_LOST {
            return;
        }
        let refused = self.fleet.devices().find(|device| device.hold.was_granted_by(command));
        let Some((device, run)) = refused.map(|known| (known.card.device.clone(), known.hold.run())) else { return };
        let message = format!("the lease of {device} is lost: {}", error.message);
        self.run_log(run, Level::Error, message.clone(), Some(device), "lease", at);
        // Steps at the agent are refused there; those of the hub must not go on without the device.
        let Some((id, run)) = run.and_then(|id| Some((id, self.runs.get(&id)?))) else { return };
        let mut events = Vec::new();
        for index in run.steps_of_hub_running() {
            let change = run.failed(index, code::LEASE_LOST, message.clone(), 0.0);
            events.extend(run.step_event(index, change).map(RunEventBody::Step));
        }
        self.emit_all(id, events, at, now);
    }

    pub(super) fn restore_reservations(&mut self, reservations: Vec<(DeviceId, Reservation)>) {
        for (device, reservation) in reservations {
            match self.fleet.device_mut(&device) {
                Some(known) => known.hold.restore(reservation),
                None => {
                    tracing::warn!(%device, holder = reservation.holder, "reservation of a device that no agent has");
                    self.record(Record::Reservation { device, reservation: None });
                }
            }
        }
    }

    /// Agents are told when they come; until then only reservations may end.
    pub(super) fn restore_leases(&mut self) {
        for device in self.held_devices() {
            self.note_due(&device, false);
        }
    }

    fn record_reservation(&mut self, device: &DeviceId) {
        let reservation = self.fleet.device(device).and_then(|known| known.hold.reservation()).cloned().map(Box::new);
        self.record(Record::Reservation { device: device.clone(), reservation });
    }

    fn tell_reservation(&mut self, device: &DeviceId, change: &str, cause: &str, now: Timestamp) {
        let claim = self.fleet.device(device).and_then(|known| known.hold.reservation()).cloned();
        if let Some(claim) = claim {
            self.publish_lease(device, &claim, change, cause.to_owned(), now);
        }
    }

    fn publish_lease(&mut self, device: &DeviceId, claim: &Reservation, change: &str, cause: String, now: Timestamp) {
        let change = LeaseChange {
            device: device.clone(),
            change: change.to_owned(),
            holder: claim.holder.clone(),
            fence: claim.fence,
            reason: claim.reason.clone(),
            until: Some(claim.until),
            cause,
        };
        self.publish(now, EventKind::Device(DeviceEvent::Lease(change)));
    }

    fn name_of(&self, run: RunId) -> String {
        match self.runs.get(&run) {
            Some(known) => format!("run {} ({})", known.header.number, known.header.name),
            None => format!("run {run}"),
        }
    }
}

/// What keeps a run that this person started from a device, for the sentence "psu-1 is …".
pub(super) fn in_the_way(hold: &Hold, holder: Option<&str>) -> Option<String> {
    if hold.admits(holder) {
        return None;
    }
    let reserved = hold.reservation().filter(|claim| Some(claim.holder.as_str()) != holder).map(in_words);
    match (hold.run(), reserved) {
        (Some(run), Some(reserved)) => Some(format!("held by run {run}, then {reserved}")),
        (Some(run), None) => Some(format!("held by run {run}")),
        (None, reserved) => reserved,
    }
}

fn in_words(claim: &Reservation) -> String {
    let reason = claim.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    format!("reserved by {} until {}{reason}", claim.holder, minute(claim.until))
}

/// Date, hour and minute, in UTC.
fn minute(at: Timestamp) -> String {
    let text = rfc3339(at);
    let (date, time) = text.split_once('T').unwrap_or((&text, ""));
    format!("{date} {} UTC", time.get(..5).unwrap_or(time))
}
