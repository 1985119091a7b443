//! The queue: runs that wait for devices, and who gets which. Within the model.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use rigwire_shared::agent::DeviceKind;
use rigwire_shared::ids::{DeviceId, RunId};
use rigwire_shared::time::Timestamp;

use super::Model;
use crate::event::{BoundDevice, Hold, RunEventBody, RunStatus};
use crate::fleet::Device;
use crate::procedure::{HoldFor, Role};

/// Runs at the head of the queue that are told whenever what they wait for changes. Those behind are told once: with a
/// thousand of them each end of a run would be a thousand events.
const TOLD_AGAIN: usize = 8;

/// What a run asks for, and for whom.
type Wish = (Arc<str>, Option<String>);

/// Why a run waits, now and as last told.
#[derive(Debug)]
pub(super) struct Wait {
    pub(super) cause: Arc<str>,
    told: Arc<str>,
}

impl Model {
    /// Gives devices to the runs that wait for them, in the order they came. One that must wait holds nothing.
    pub(super) fn assign_devices(&mut self, now: Timestamp) {
        // A run that gets its devices may end at once and set others free: those are looked at again here, not from within.
        if self.assigning {
            self.assign_again = true;
            return;
        }
        self.assigning = true;
        loop {
            self.assign_again = false;
            // What no way was found for a moment ago, there is none for now: a pass only makes devices fewer.
            let mut hopeless: HashMap<Wish, Arc<str>> = HashMap::new();
            for (position, id) in self.queue.iter().copied().collect::<Vec<_>>().into_iter().enumerate() {
                let Some(wish) = self.wish_of(id) else { continue };
                match hopeless.get(&wish) {
                    Some(cause) => self.keep_waiting(id, position, Arc::clone(cause), now),
                    None => {
                        if let Some(cause) = self.assign(id, position, now) {
                            hopeless.insert(wish, cause);
                        }
                    }
                }
            }
            if !self.assign_again {
                break;
            }
        }
        self.assigning = false;
    }

    /// A run that has just come. Whoever waited before it could have had nothing of what it may get.
    pub(super) fn enqueue(&mut self, id: RunId, now: Timestamp) {
        self.queue.push_back(id);
        let position = self.queue.len() - 1;
        self.assign(id, position, now);
        // One that has to wait may have a limit to that.
        self.advance(id, now);
    }

    /// Answers why the run must wait.
    fn assign(&mut self, id: RunId, position: usize, now: Timestamp) -> Option<Arc<str>> {
        if self.parent_is_paused(id) {
            return None;
        }
        match self.find_devices(id) {
            Ok(devices) => {
                self.queue.retain(|queued| *queued != id);
                self.waiting.remove(&id);
                let fence = self.fence().0;
                self.emit(id, RunEventBody::Bound { devices, fence }, now);
                self.lease_granted(id, now);
                self.advance(id, now);
                None
            }
            Err(cause) => {
                let cause: Arc<str> = cause.into();
                self.keep_waiting(id, position, Arc::clone(&cause), now);
                Some(cause)
            }
        }
    }

    /// Tells once why a run waits, and again what changed for those who are next.
    fn keep_waiting(&mut self, id: RunId, position: usize, cause: Arc<str>, now: Timestamp) {
        let known = self.waiting.get_mut(&id);
        let told = match known {
            Some(known) => {
                let changed = known.told != cause;
                known.cause = Arc::clone(&cause);
                !changed || position >= TOLD_AGAIN
            }
            None => false,
        };
        if told {
            return;
        }
        self.waiting.insert(id, Wait { cause: Arc::clone(&cause), told: Arc::clone(&cause) });
        let message = Some(cause.to_string());
        self.emit(id, RunEventBody::Status { status: RunStatus::Pending, step: None, message }, now);
    }

    fn wish_of(&self, id: RunId) -> Option<Wish> {
        let run = self.runs.get(&id)?;
        Some((Arc::clone(run.wish()), run.header.holder.clone()))
    }

    fn is_held_for_a_step(&self, device: &Device) -> bool {
        let holder = device.hold.run().and_then(|run| self.runs.get(&run));
        let mut bound = holder.into_iter().flat_map(|run| run.bound());
        bound.any(|bound| bound.device == device.card.device && bound.hold == Hold::Step)
    }

    /// One free, present device for each role, if there is any way to cast them all.
    fn find_devices(&self, id: RunId) -> Result<Vec<BoundDevice>, String> {
        let Some(run) = self.runs.get(&id) else { return Ok(Vec::new()) };
        let holder = run.header.holder.as_deref();
        let mut roles: Vec<(&str, &Role, Vec<&Device>)> = run
            .roles()
            .map(|(name, role)| (name, role, self.fleet.devices().filter(|device| device.matches(role)).collect()))
            .collect();
        roles.sort_by_key(|(_, _, candidates)| candidates.len());
        let free: Vec<Vec<&Device>> = roles
            .iter()
            .map(|(_, role, candidates)| {
                let usable = |device: &&Device| {
                    // One that keeps it to its end may itself wait for a device of this run: both would wait for ever.
                    let shared = hold_of(role, device) != Hold::Run && self.is_held_for_a_step(device);
                    device.card.state.is_present()
                        && device.hold.is_open_to(holder)
                        && (device.hold.run().is_none() || shared)
                };
                let mut free: Vec<&Device> = candidates.iter().copied().filter(usable).collect();
                // Of several that are shared, the one with the fewest steps waiting for it.
                free.sort_by_key(|device| (device.hold.run().is_some(), self.turns.waiting_for(&device.card.device)));
                free
            })
            .collect();
        let mut cast = BTreeMap::new();
        for (index, (name, role, candidates)) in roles.iter().enumerate() {
            if !cast_role(index, &free, &mut cast, &mut BTreeSet::new()) {
                return Err(why_waiting(name, role, candidates, holder));
            }
        }
        let bound = |(device, index): (&DeviceId, usize)| {
            let (name, role, candidates) = roles.get(index)?;
            let device = candidates.iter().find(|candidate| candidate.card.device == *device)?;
            Some(BoundDevice {
                role: (*name).to_owned(),
                device: device.card.device.clone(),
                agent: device.agent.clone(),
                hold: hold_of(role, device),
            })
        };
        let mut devices: Vec<BoundDevice> = cast.into_iter().filter_map(bound).collect();
        devices.sort_by(|one, other| one.role.cmp(&other.role));
        Ok(devices)
    }
}

/// Finds a device for a role, moving others to other devices where that makes room.
fn cast_role<'a>(
    role: usize,
    free: &[Vec<&'a Device>],
    cast: &mut BTreeMap<&'a DeviceId, usize>,
    tried: &mut BTreeSet<&'a DeviceId>,
) -> bool {
    free.get(role).into_iter().flatten().any(|device| {
        let device = &device.card.device;
        if !tried.insert(device) {
            return false;
        }
        let available = match cast.get(device).copied() {
            None => true,
            Some(other) => cast_role(other, free, cast, tried),
        };
        if available {
            cast.insert(device, role);
        }
        available
    })
}

fn hold_of(role: &Role, device: &Device) -> Hold {
    match role.hold {
        HoldFor::Run | HoldFor::Step if device.card.kind == DeviceKind::Host => Hold::Never,
        HoldFor::Run => Hold::Run,
        HoldFor::Step => Hold::Step,
    }
}

fn why_waiting(name: &str, role: &Role, candidates: &[&Device], holder: Option<&str>) -> String {
    let states: Vec<String> = candidates
        .iter()
        .take(4)
        .map(|device| match (super::leases::in_the_way(&device.hold, holder), device.card.state.is_present()) {
            (Some(held), _) => format!("{} is {held}", device.card.device),
            (None, false) => format!("{} is {}", device.card.device, device.card.state),
            (None, true) => format!("{} plays another role", device.card.device),
        })
        .collect();
    let states = match (states.is_empty(), role.kind) {
        (true, Some(DeviceKind::Host)) => {
            "there is no such host; an agent runs what its configuration lists as [[program]]".to_owned()
        }
        (true, _) => "no agent has such a device".to_owned(),
        (false, _) => states.join(", "),
    };
    format!("waiting for role {name} ({role}): {states}")
}
