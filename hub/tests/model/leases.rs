//! Leases and reservations within the model: who is told what, who waits, and what comes back after a restart.

use std::sync::Arc;

use rigwire::event::{DeviceEvent, EventKind, RunStatus};
use rigwire::lease::{Claim, Claimed};
use rigwire::model::{Output, ReserveError, StartRun};
use rigwire::procedure::Procedure;
use rigwire_shared::agent::DeviceState;
use rigwire_shared::command::CommandBody;
use rigwire_shared::event::{Answer, EventBody, StepError, code};
use rigwire_shared::ids::{Fence, RunId};
use rigwire_shared::time::Timestamp;

use crate::support::{World, device};

const HOLDS: &str = r#"
name = "holds"
[roles]
psu = { class = "psu" }
[[steps]]
id = "hold"
use = "delay"
with = { duration = "10m" }
[[steps]]
id = "set"
use = "instrument.action"
on = "psu"
with = { action = "on" }
"#;

const READS: &str = r#"
name = "reads"
[roles]
meter = { class = "dmm", hold = "step" }
[[steps]]
id = "one"
use = "instrument.read"
on = "meter"
[[steps]]
id = "two"
use = "instrument.read"
on = "meter"
"#;

const MINUTE_MS: i64 = 60_000;

impl World {
    /// What the agent was told of leases since the last look, in short.
    fn lease_words(&mut self) -> Vec<String> {
        let now = self.now;
        let word = |body: &CommandBody| match body {
            CommandBody::GrantLease { device, fence, until, holder } => {
                let seconds = (until.0 - now.0) / 1_000_000;
                Some(format!("grant {device} {} {holder} {seconds}s", fence.0))
            }
            CommandBody::ReleaseLease { device, fence } => Some(format!("release {device} {}", fence.0)),
            CommandBody::StartStep(start) => {
                Some(format!("step {} {}", start.step, start.fence.map_or(0, |fence| fence.0)))
            }
            _ => None,
        };
        self.commands.drain(..).filter_map(|command| word(&command.body)).collect()
    }

    fn claim(&mut self, holder: &str, minutes: i64, next: bool) -> Result<Claimed, ReserveError> {
        let claim = Claim {
            holder: holder.to_owned(),
            reason: Some("soldering".to_owned()),
            until: Timestamp(self.now.0 + minutes * MINUTE_MS * 1000),
            next,
        };
        let reserved = self.model.reserve(&device("psu-1"), claim, self.now);
        self.settle();
        reserved.map(|reserved| reserved.claimed)
    }

    fn start_for(&mut self, procedure: &str, holder: &str) -> RunId {
        let procedure = Arc::new(Procedure::from_toml(procedure, "test.toml").unwrap());
        let holder = Some(holder.to_owned());
        let start = StartRun { holder, ..StartRun::new(procedure, Vec::new()) };
        let id = self.model.start_run(start, self.now);
        self.settle();
        id
    }

    fn lease(&self) -> Option<(String, u64)> {
        let leases = self.model.leases_of(&device("psu-1"));
        leases.into_iter().find_map(|lease| Some((lease.holder, lease.fence?.0)))
    }

    /// What the agent says of the supply's lease.
    fn lease_is(&mut self, fence: u64, held: bool, cause: &str) {
        let body = EventBody::Lease { device: device("psu-1"), fence: Fence(fence), held, cause: cause.to_owned() };
        self.report(vec![body]);
    }
}

#[test]
fn a_run_is_granted_its_device_renewed_and_released_on_any_end() {
    let mut world = World::new();
    let run = world.start(HOLDS);
    let (holder, fence) = world.lease().unwrap();
    assert_eq!(holder, "run 1 (holds)");
    assert_eq!(world.lease_words(), [format!("grant psu-1 {fence} run 1 (holds) 90s")]);
    world.advance(29_000);
    assert_eq!(world.lease_words(), [""; 0]);
    world.advance(1_000);
    assert_eq!(world.lease_words(), [format!("grant psu-1 {fence} run 1 (holds) 90s")]);
    world.model.cancel_run(run, "by a test", world.now).unwrap();
    world.settle();
    world.advance(1);
    assert_eq!(world.lease_words(), [format!("release psu-1 {fence}")]);
    assert_eq!(world.lease(), None);
}

#[test]
fn an_agent_that_is_away_is_told_everything_when_it_is_back() {
    let mut world = World::new();
    world.start(HOLDS);
    let (_, fence) = world.lease().unwrap();
    let agent = world.agent.clone();
    let gone = world.state(false);
    world.model.agent_state(&agent, &gone, world.now);
    world.settle();
    world.lease_words();
    world.advance(5 * MINUTE_MS);
    assert_eq!(world.lease_words(), [""; 0], "nobody is there to hear it");
    let back = world.state(true);
    world.model.agent_state(&agent, &back, world.now);
    world.settle();
    assert_eq!(world.lease_words(), [format!("grant psu-1 {fence} run 1 (holds) 90s")]);
}

#[test]
fn a_run_goes_on_under_its_number_after_a_restart_of_the_hub() {
    let mut world = World::new();
    let run = world.start(HOLDS);
    let (_, fence) = world.lease().unwrap();
    world.hub_restarts(MINUTE_MS, run, HOLDS);
    assert_eq!(world.lease(), Some(("run 1 (holds)".to_owned(), fence)));
    world.lease_words();
    let state = world.state(true);
    world.model.agent_state(&world.agent.clone(), &state, world.now);
    world.settle();
    assert_eq!(world.lease_words(), [format!("grant psu-1 {fence} run 1 (holds) 90s")]);
}

#[test]
fn a_lease_that_the_agent_let_go_of_is_granted_again_and_the_run_is_told() {
    let mut world = World::new();
    world.start(HOLDS);
    let (_, fence) = world.lease().unwrap();
    world.advance(10_000);
    world.lease_words();
    world.lease_is(fence, false, "expired");
    assert_eq!(world.lease_words(), [format!("grant psu-1 {fence} run 1 (holds) 90s")]);
    let told = world.told.iter().any(|(_, body, _)| format!("{body:?}").contains("let go of psu-1 (expired)"));
    assert!(told, "{:#?}", world.told);
    world.lease_is(fence - 1, false, "released");
    assert_eq!(world.lease_words(), [""; 0], "an old one is no news");
}

#[test]
fn a_lease_that_the_agent_refuses_is_lost() {
    let mut world = World::new();
    let run = world.start(HOLDS);
    let grant = world.commands.iter().find(|command| matches!(command.body, CommandBody::GrantLease { .. }));
    let command = grant.unwrap().id;
    let message = "fencing number 3 was overtaken by 900".to_owned();
    let error = StepError { code: code::LEASE_LOST.to_owned(), message };
    world.report(vec![EventBody::CommandAnswered { command, answer: Answer::Refused { error } }]);
    let failed = "hold #1 failed LEASE_LOST: the lease of psu-1 is lost: fencing number 3 was overtaken by 900";
    assert!(world.story().contains(&failed.to_owned()), "{:#?}", world.story());
    assert_eq!(world.run(run).status, RunStatus::Failed);
    assert_eq!(world.lease(), None);
}

#[test]
fn a_reservation_keeps_others_away_until_it_is_over() {
    let mut world = World::new();
    assert_eq!(world.claim("alice", 30, false), Ok(Claimed::Taken));
    let (_, fence) = world.lease().unwrap();
    assert_eq!(world.lease_words(), [format!("grant psu-1 {fence} alice 1800s")]);
    let bob = world.claim("bob", 30, false).unwrap_err().to_string();
    assert_eq!(bob, "psu-1 is reserved by alice until 1970-01-01 00:46 UTC (soldering)");
    let run = world.start(HOLDS);
    let waiting = world.model.waiting(run).unwrap();
    let reason = "waiting for role psu (class psu): psu-1 is reserved by alice until 1970-01-01 00:46 UTC (soldering)";
    assert_eq!((waiting.position, waiting.reason.as_str()), (1, reason));
    assert_eq!(waiting.expected, Some(Timestamp(world.now.0 + 30 * MINUTE_MS * 1000)));

    assert_eq!(world.claim("alice", 40, false), Ok(Claimed::Prolonged));
    assert_eq!(world.lease_words(), [format!("grant psu-1 {fence} alice 2400s")], "the same lease, for longer");
    world.advance(40 * MINUTE_MS - 1);
    assert_eq!(world.run(run).status, RunStatus::Pending);
    assert_eq!(world.model.next_wake(), Some(Timestamp(world.now.0 + 1000)));
    world.advance(1);
    assert_eq!(world.run(run).status, RunStatus::Running, "{:#?}", world.story());
    let words = world.lease_words();
    assert_eq!(words.len(), 1, "the agent ends what ran out by itself: {words:?}");
    assert!(words[0].starts_with("grant psu-1 ") && words[0].ends_with(" run 1 (holds) 90s"), "{words:?}");
}

#[test]
fn the_holders_own_runs_use_what_is_reserved_and_hand_it_back() {
    let mut world = World::new();
    world.claim("alice", 30, false).unwrap();
    let (_, first) = world.lease().unwrap();
    world.lease_words();
    let other = world.start_for(HOLDS, "bob");
    let own = world.start_for(HOLDS, "alice");
    assert_eq!(world.run(other).status, RunStatus::Pending);
    assert_eq!(world.run(own).status, RunStatus::Running);
    let (_, second) = world.lease().unwrap();
    assert_eq!(
        world.lease_words(),
        [format!("release psu-1 {first}"), format!("grant psu-1 {second} run 4 (holds) 90s")]
    );
    world.model.cancel_run(own, "by a test", world.now).unwrap();
    world.settle();
    world.advance(1);
    let (holder, third) = world.lease().unwrap();
    assert_eq!((holder.as_str(), first < second && second < third), ("alice", true));
    assert_eq!(world.lease_words(), [format!("release psu-1 {second}"), format!("grant psu-1 {third} alice 1799s")]);
    assert_eq!(world.run(other).status, RunStatus::Pending);
    world.model.return_device(&device("psu-1"), "alice", false, world.now).unwrap();
    world.settle();
    assert_eq!(world.run(other).status, RunStatus::Running);
}

#[test]
fn a_device_with_a_run_on_it_is_had_next_ahead_of_the_queue() {
    let mut world = World::new();
    let run = world.start(HOLDS);
    let queued = world.start(HOLDS);
    let refused = world.claim("alice", 30, false).unwrap_err().to_string();
    assert_eq!(refused, "psu-1 is held by run 1 (holds); ask for it as \"next\" to have it when the run ends");
    assert_eq!(world.claim("alice", 30, true), Ok(Claimed::Waits(run)));
    assert_eq!(world.lease().unwrap().0, "run 1 (holds)");
    world.model.cancel_run(run, "by a test", world.now).unwrap();
    world.settle();
    world.advance(1);
    assert_eq!(world.lease().unwrap().0, "alice");
    assert_eq!(world.run(queued).status, RunStatus::Pending);
}

#[test]
fn what_is_taken_by_force_is_told_with_the_name_of_who_took_it() {
    let mut world = World::new();
    world.claim("alice", 30, false).unwrap();
    let refused = world.model.return_device(&device("psu-1"), "bob", false, world.now).unwrap_err();
    assert!(matches!(refused, ReserveError::Person(..)), "{refused}");
    world.settle();
    world.model.return_device(&device("psu-1"), "bob", true, world.now).unwrap();
    let causes: Vec<String> = world
        .model
        .take_outputs()
        .into_iter()
        .filter_map(|output| match output {
            Output::Event(published) => match &published.event.kind {
                EventKind::Device(DeviceEvent::Lease(change)) => Some(format!("{}: {}", change.change, change.cause)),
                _ => None,
            },
            _ => None,
        })
        .collect();
    assert_eq!(causes, ["returned: taken away by bob, by force"]);
}

#[test]
fn a_device_that_is_shared_step_by_step_is_leased_step_by_step_and_can_be_reserved_between() {
    let mut world = World::new();
    let run = world.start(READS);
    let words = world.lease_words();
    let fence = world.model.leases_of(&device("dmm-1"))[0].fence.unwrap().0;
    assert_eq!(words, [format!("grant dmm-1 {fence} run 1 (reads) 90s"), format!("step one {fence}")]);
    let claim = Claim {
        holder: "alice".to_owned(),
        reason: None,
        until: Timestamp(world.now.0 + MINUTE_MS * 1000),
        next: true,
    };
    let attempt = rigwire::dialect::RunReference::Id(run);
    assert!(world.model.run(attempt).is_some());
    world.model.reserve(&device("dmm-1"), claim, world.now).unwrap();
    world.settle();
    // The agent ends the first step; alice is next, and the second step waits for her.
    let asked = rigwire_shared::event::StepOutcome::Completed { outputs: Vec::new() };
    let (attempt, of_run) = world.last_attempt();
    world.report(vec![crate::support::finished(attempt, of_run, asked)]);
    let words = world.lease_words();
    assert_eq!(words.len(), 2, "{words:?}");
    assert_eq!(words[0], format!("release dmm-1 {fence}"));
    assert!(words[1].starts_with("grant dmm-1 ") && words[1].ends_with(" alice 60s"), "{words:?}");
    world.advance(MINUTE_MS);
    let words = world.lease_words();
    assert!(words.iter().any(|word| word.starts_with("step two ")), "{words:?} {:#?}", world.story());
}

impl World {
    /// The attempt that was dispatched last, from what was told.
    fn last_attempt(&self) -> (rigwire_shared::ids::AttemptId, RunId) {
        let attempt = self.told.iter().rev().find_map(|(_, body, _)| match body {
            rigwire::event::RunEventBody::Step(step) => step.attempt_id,
            _ => None,
        });
        let run = self.model.leases().into_iter().find_map(|lease| lease.run).unwrap();
        (attempt.unwrap(), run)
    }
}

#[test]
fn a_reserved_device_that_its_agent_no_longer_lists_is_still_reserved() {
    let mut world = World::new();
    world.claim("alice", 30, false).unwrap();
    let mut inventory = world.inventory(DeviceState::Online);
    inventory.devices.retain(|card| card.device != device("psu-1"));
    let agent = world.agent.clone();
    world.model.inventory(&agent, &inventory, world.now);
    world.settle();
    assert_eq!(world.lease().unwrap().0, "alice");
    let inventory = world.inventory(DeviceState::Online);
    world.model.inventory(&agent, &inventory, world.now);
    assert!(matches!(world.claim("bob", 1, false), Err(ReserveError::Person(..))));
}
