//! What holds for every graph of steps, whatever its agent, its users and the hub's own restarts do to it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::support::{World, finished};
use proptest::prelude::*;
use rigwire::event::{RunEventBody, RunSnapshot, StepChange};
use rigwire::model::StartRun;
use rigwire::procedure::Procedure;
use rigwire::run::Run;
use rigwire_shared::command::StartStep;
use rigwire_shared::event::{EventBody, StepError, StepOutcome, code};
use rigwire_shared::ids::{AttemptId, RunId};
use serde_json::{Value, json};

#[derive(Debug, Clone)]
struct Node {
    module: u8,
    /// Bits of the earlier steps that it needs; none of them set: it starts at once.
    needs: u16,
    retries: u8,
    goes_on: bool,
    condition: Option<bool>,
}

#[derive(Debug, Clone)]
struct Graph {
    nodes: Vec<Node>,
    finally: u8,
    shared: bool,
    points: u8,
}

fn node() -> impl Strategy<Value = Node> {
    let condition = prop_oneof![4 => Just(None), 1 => any::<bool>().prop_map(Some)];
    (0..6_u8, any::<u16>(), 0..3_u8, any::<bool>(), condition)
        .prop_map(|(module, needs, retries, goes_on, condition)| Node { module, needs, retries, goes_on, condition })
}

fn graph() -> impl Strategy<Value = Graph> {
    (proptest::collection::vec(node(), 1..10), 0..3_u8, any::<bool>(), 0..4_u8)
        .prop_map(|(nodes, finally, shared, points)| Graph { nodes, finally, shared, points })
}

impl Graph {
    fn needs(&self, index: usize) -> Vec<String> {
        let bits = self.nodes[index].needs;
        (0..index).filter(|earlier| bits >> earlier & 1 == 1).map(|earlier| format!("s{earlier}")).collect()
    }

    fn procedure(&self) -> Procedure {
        let hold = if self.shared { "step" } else { "run" };
        let steps: Vec<Value> = self
            .nodes
            .iter()
            .enumerate()
            .map(|(index, node)| {
                let (module, on, with) = match node.module {
                    0 | 1 => ("instrument.read", Some("meter"), json!({})),
                    2 | 3 => ("instrument.action", Some("psu"), json!({"action": "set"})),
                    4 => ("delay", None, json!({"duration": "300ms"})),
                    _ => ("log", None, json!({"message": "x"})),
                };
                let mut step = json!({
                    "id": format!("s{index}"), "use": module, "with": with, "needs": self.needs(index),
                    "continue_on_failure": node.goes_on, "timeout": "5s",
                    "retry": {"times": node.retries, "backoff": "200ms"},
                });
                if let Some(on) = on {
                    step["on"] = json!(on);
                }
                if let Some(condition) = node.condition {
                    step["when"] = json!(if condition { "1 == 1" } else { "1 == 2" });
                }
                step
            })
            .collect();
        let finally: Vec<Value> = (0..self.finally)
            .map(|index| json!({"use": "instrument.safe_state", "on": if index == 0 { "psu" } else { "meter" }}))
            .collect();
        let mut procedure = json!({
            "name": "graph",
            "roles": {"psu": {"class": "psu", "hold": hold}, "meter": {"class": "dmm", "hold": hold}},
            "steps": steps, "finally": finally,
        });
        if self.points > 0 {
            let values: Vec<u8> = (0..self.points).collect();
            procedure["sweep"] = json!({"axes": [{"name": "x", "values": values}]});
        }
        Procedure::from_json(&procedure, "graph").unwrap()
    }
}

#[derive(Debug, Clone)]
enum Happening {
    Begins(u8),
    Completes(u8),
    Fails(u8),
    /// What the agent said is lost on the way, or it never heard of the step.
    Forgotten(u8),
    Cancel(u8),
    Pause(u8, bool),
    Wait(u16),
    AgentRestarts,
    HubRestarts,
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => any::<u8>().prop_map(Happening::Begins),
        9 => any::<u8>().prop_map(Happening::Completes),
        4 => any::<u8>().prop_map(Happening::Fails),
        1 => any::<u8>().prop_map(Happening::Forgotten),
        1 => any::<u8>().prop_map(Happening::Cancel),
        2 => (any::<u8>(), any::<bool>()).prop_map(|(run, pause)| Happening::Pause(run, pause)),
        4 => (1..3_000_u16).prop_map(Happening::Wait),
        1 => Just(Happening::AgentRestarts),
        1 => Just(Happening::HubRestarts),
    ]
}

/// The agent's side: which attempts it knows and has not ended.
struct Bench {
    world: World,
    ended: BTreeSet<AttemptId>,
    runs: Vec<RunId>,
}

impl Bench {
    fn open(&self) -> Vec<StartStep> {
        let mut seen = BTreeSet::new();
        let mut open: Vec<StartStep> = Vec::new();
        for asked in self.world.asked_all() {
            if !self.ended.contains(&asked.attempt) && seen.insert(asked.attempt) {
                open.push(asked.clone());
            }
        }
        open
    }

    fn pick(&self, which: u8) -> Option<StartStep> {
        let open = self.open();
        let index = usize::from(which).checked_rem(open.len())?;
        open.get(index).cloned()
    }

    fn end(&mut self, which: u8, outcome: StepOutcome) {
        let Some(asked) = self.pick(which) else { return };
        self.ended.insert(asked.attempt);
        self.world.report(vec![finished(asked.attempt, asked.run, outcome)]);
    }

    fn happen(&mut self, happening: &Happening) {
        let run = |which: u8| self.runs[usize::from(which) % self.runs.len()];
        match happening {
            Happening::Begins(which) => {
                if let Some(asked) = self.pick(*which) {
                    let started =
                        EventBody::StepStarted { attempt: asked.attempt, run: asked.run, device: asked.device };
                    self.world.report(vec![started]);
                }
            }
            Happening::Completes(which) => self.end(*which, StepOutcome::Completed { outputs: Vec::new() }),
            Happening::Fails(which) => {
                let error = StepError { code: "FAILED".to_owned(), message: "failed".to_owned() };
                self.end(*which, StepOutcome::Failed { error });
            }
            Happening::Forgotten(which) => {
                if let Some(asked) = self.pick(*which) {
                    self.ended.insert(asked.attempt);
                }
            }
            Happening::Cancel(which) => {
                drop(self.world.model.cancel_run(run(*which), "by a test", self.world.now));
                self.world.settle();
            }
            Happening::Pause(which, pause) => {
                drop(self.world.model.pause_run(run(*which), *pause, self.world.now));
                self.world.settle();
            }
            Happening::Wait(millis) => self.world.advance(i64::from(*millis)),
            Happening::AgentRestarts => {
                let open: Vec<AttemptId> = self.open().iter().map(|asked| asked.attempt).collect();
                let asked_before = self.world.asked_all().count();
                self.world.agent_restarts();
                // What the new start of the agent was not asked again, it knows nothing of.
                let again: BTreeSet<AttemptId> =
                    self.world.asked_all().skip(asked_before).map(|asked| asked.attempt).collect();
                self.ended.extend(open.into_iter().filter(|attempt| !again.contains(attempt)));
            }
            Happening::HubRestarts => self.world.hub_returns(500),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn every_graph_keeps_its_promises(
        graphs in proptest::collection::vec(graph(), 1..4),
        happenings in proptest::collection::vec(happening(), 0..120),
    ) {
        let mut world = World::new();
        let procedures: Vec<Arc<Procedure>> = graphs.iter().map(|graph| Arc::new(graph.procedure())).collect();
        let runs: Vec<RunId> = procedures
            .iter()
            .map(|procedure| world.model.start_run(StartRun::new(Arc::clone(procedure), Vec::new()), world.now))
            .collect();
        world.settle();
        let mut bench = Bench { world, ended: BTreeSet::new(), runs: runs.clone() };
        for happening in &happenings {
            bench.happen(happening);
        }
        // Whatever happened, time and a working agent end every run.
        let all_ended = |world: &World| runs.iter().all(|run| ends(world, *run) > 0);
        for _ in 0..400 {
            if all_ended(&bench.world) {
                break;
            }
            for run in &runs {
                drop(bench.world.model.pause_run(*run, false, bench.world.now));
            }
            bench.world.settle();
            match bench.open().is_empty() {
                true => bench.world.advance(30_000),
                false => bench.happen(&Happening::Completes(0)),
            }
        }
        let world = &bench.world;
        for (run, (graph, procedure)) in runs.iter().zip(graphs.iter().zip(&procedures)) {
            prop_assert_eq!(ends(world, *run), 1, "run {} of {:#?}", run, graph);
            check_order(world, *run, graph)?;
            check_replay(world, *run, procedure)?;
        }
        check_devices(world)?;
    }
}

fn ends(world: &World, run: RunId) -> usize {
    world.of(run).filter(|body| matches!(body, RunEventBody::Finished(_))).count()
}

/// No step before its needs, no more attempts than allowed, every `finally` tried, nothing after the end.
fn check_order(world: &World, run: RunId, graph: &Graph) -> Result<(), TestCaseError> {
    let bodies: Vec<&RunEventBody> = world.of(run).collect();
    prop_assert!(matches!(bodies.last(), Some(RunEventBody::Finished(_))), "the end is not the last");
    let mut done: BTreeSet<String> = BTreeSet::new();
    let mut attempts: BTreeMap<String, u32> = BTreeMap::new();
    let mut began: BTreeSet<String> = BTreeSet::new();
    for body in &bodies {
        match body {
            RunEventBody::Point(_) => {
                done.clear();
                attempts.clear();
            }
            RunEventBody::Step(event) => {
                let id = event.step.as_str().to_owned();
                let begins = matches!(event.change, StepChange::Dispatched { .. })
                    || matches!(event.change, StepChange::Running) && event.attempt_id.is_none();
                if begins {
                    prop_assert!(!done.contains(&id), "{id} begins after its end");
                    *attempts.entry(id.clone()).or_default() += 1;
                    began.insert(id.clone());
                    if let Some(index) = id.strip_prefix('s').and_then(|index| index.parse::<usize>().ok()) {
                        for need in graph.needs(index) {
                            prop_assert!(done.contains(&need), "{id} began before {need} had ended");
                        }
                        let allowed = u32::from(graph.nodes[index].retries) + 1;
                        prop_assert!(attempts[&id] <= allowed, "{id} was tried {} times", attempts[&id]);
                    }
                }
                let ended = matches!(
                    event.change,
                    StepChange::Completed { .. }
                        | StepChange::Failed { will_retry: false, .. }
                        | StepChange::Cancelled { .. }
                        | StepChange::Skipped { .. }
                );
                // One whose device others did not set free in all that time has had its chance.
                if matches!(&event.change, StepChange::Failed { error_code, .. } if error_code == code::DEVICES_UNAVAILABLE)
                {
                    began.insert(id.clone());
                }
                if ended {
                    prop_assert!(done.insert(id.clone()), "{id} ended twice");
                }
            }
            _ => {}
        }
    }
    if bodies.iter().any(|body| matches!(body, RunEventBody::Bound { .. })) {
        for index in 1..=graph.finally {
            prop_assert!(began.contains(&format!("finally-{index}")), "finally-{index} did not run");
        }
    }
    Ok(())
}

/// Two attempts are never under way on one device, as the hub tells it.
fn check_devices(world: &World) -> Result<(), TestCaseError> {
    let mut on: BTreeMap<String, AttemptId> = BTreeMap::new();
    for (_, body, _) in &world.heard {
        let RunEventBody::Step(event) = body else { continue };
        let (Some(attempt), Some(device)) = (event.attempt_id, &event.device) else { continue };
        match &event.change {
            StepChange::Dispatched { .. } => {
                let other = on.insert(device.as_str().to_owned(), attempt);
                prop_assert!(other.is_none(), "two attempts at once on {device}");
            }
            StepChange::Completed { .. }
            | StepChange::Failed { .. }
            | StepChange::Cancelled { .. }
            | StepChange::Skipped { .. } => {
                on.remove(device.as_str());
            }
            StepChange::Running | StepChange::Progress { .. } => {}
        }
    }
    prop_assert!(on.is_empty());
    prop_assert!(world.model.devices().all(|(_, device)| device.held_by.is_none()), "a device stays held");
    Ok(())
}

/// The record alone gives the same run again.
fn check_replay(world: &World, run: RunId, procedure: &Arc<Procedure>) -> Result<(), TestCaseError> {
    let header = world.created.iter().map(|(header, _)| header).find(|header| header.id == run).unwrap();
    let mut once = Run::new(Arc::clone(header), Some(Arc::clone(procedure)));
    for (_, body, at) in world.heard.iter().filter(|(id, _, _)| *id == run) {
        let json = serde_json::to_string(body).unwrap();
        once.apply(&serde_json::from_str(&json).unwrap(), *at);
    }
    // One that ended before the hub restarted is no longer at hand.
    let reference = rigwire::dialect::RunReference::Id(run);
    let Some(known): Option<RunSnapshot> = world.model.run(reference) else { return Ok(()) };
    let replayed = once.snapshot(|_| None);
    prop_assert_eq!(replayed.status, known.status);
    prop_assert_eq!(&replayed.steps, &known.steps);
    prop_assert_eq!(&replayed.finished, &known.finished);
    prop_assert_eq!(&replayed.progress, &known.progress);
    Ok(())
}
