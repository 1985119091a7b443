//! Devices that runs share: one holds them while its step acts on them, then whoever waited longest. Within the model.

use std::collections::{BTreeMap, HashMap, VecDeque};

use rigwire_shared::ids::{DeviceId, RunId};
use rigwire_shared::time::Timestamp;

use super::Model;
use crate::event::{BoundDevice, Hold};
use crate::run::Run;

/// Steps that wait for a device, first come first served. Not in the record: after a restart each asks again.
#[derive(Debug, Default)]
pub(super) struct Turns {
    waiting: HashMap<DeviceId, VecDeque<Turn>>,
}

#[derive(Debug)]
struct Turn {
    run: RunId,
    step: usize,
    since: Timestamp,
}

impl Turns {
    fn wait(&mut self, device: &DeviceId, turn: Turn) {
        self.waiting.entry(device.clone()).or_default().push_back(turn);
    }

    /// The first whose run may have the device.
    fn next(&mut self, device: &DeviceId, may: impl Fn(RunId) -> bool) -> Option<Turn> {
        let waiting = self.waiting.get_mut(device)?;
        let place = waiting.iter().position(|turn| may(turn.run))?;
        let turn = waiting.remove(place);
        if waiting.is_empty() {
            self.waiting.remove(device);
        }
        turn
    }

    pub(super) fn waiting_for(&self, device: &DeviceId) -> usize {
        self.waiting.get(device).map_or(0, VecDeque::len)
    }

    fn longest_wait(&self, device: &DeviceId) -> Option<Timestamp> {
        self.waiting.get(device)?.front().map(|turn| turn.since)
    }

    pub(super) fn forget(&mut self, run: RunId) {
        self.waiting.retain(|_, turns| {
            turns.retain(|turn| turn.run != run);
            !turns.is_empty()
        });
    }
}

impl Model {
    /// Whether a step may act on its device now. If not, it has its turn later.
    pub(super) fn takes_turn(&mut self, run: RunId, step: usize, bound: &BoundDevice, now: Timestamp) -> bool {
        if bound.hold != Hold::Step {
            return true;
        }
        // One that was taken off its agent's list is asked all the same: the agent says what is wrong.
        let Some(device) = self.fleet.device(&bound.device) else { return true };
        if device.hold.admits(holder_of(&self.runs, run)) {
            return true;
        }
        if let Some(run) = self.runs.get_mut(&run) {
            run.note_queued(step, now);
        }
        self.turns.wait(&bound.device, Turn { run, step, since: now });
        false
    }

    /// A step has ended: the device is for the next.
    pub(super) fn ends_turn(&mut self, run: RunId, step: usize) {
        let bound = self.runs.get(&run).and_then(|run| run.device_of(step));
        let Some(device) = bound.filter(|bound| bound.hold == Hold::Step).map(|bound| bound.device.clone()) else {
            return;
        };
        if let Some(known) = self.fleet.device_mut(&device)
            && known.hold.give_back(run)
        {
            self.freed.push_back(device);
        }
    }

    /// Since when a run waits that could use the device.
    fn longest_wait_of_runs(&self, device: &DeviceId) -> Option<Timestamp> {
        let device = self.fleet.device(device)?;
        let mut waiting = self.queue.iter().filter_map(|run| self.runs.get(run));
        let first = waiting.find(|run| run.roles().any(|(_, role)| device.matches(role)))?;
        Some(first.header.created_at)
    }

    /// Gives a device that became free to the step or the run that waited longest for it.
    pub(super) fn pass_on(&mut self, device: &DeviceId, now: Timestamp) {
        self.tend(device, now);
        let run_first = match self.turns.longest_wait(device) {
            Some(step) => self.longest_wait_of_runs(device).is_some_and(|run| run < step),
            None => true,
        };
        if run_first {
            self.assign_devices(now);
        }
        loop {
            let hold = self.fleet.device(device).map(|known| &known.hold);
            let may = |run| hold.is_none_or(|hold| hold.admits(holder_of(&self.runs, run)));
            let Some(turn) = self.turns.next(device, may) else { break };
            if self.runs.get_mut(&turn.run).is_some_and(|run| run.note_turn(turn.step)) {
                self.advance_now(turn.run, now);
            }
        }
        // Those whose turn it was did not take it.
        let is_left = self.fleet.device(device).is_some_and(|known| known.hold.run().is_none());
        if is_left && !run_first {
            self.assign_devices(now);
        }
    }
}

/// The person that started a run.
fn holder_of(runs: &BTreeMap<RunId, Run>, run: RunId) -> Option<&str> {
    runs.get(&run)?.header.holder.as_deref()
}
