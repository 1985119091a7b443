//! Carries out one round: starts its runs, does what is to happen to them, waits for their end and collects what can be seen.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::bench::{Bench, list};
use super::check::{Facts, RunFacts, complaints, is_final};
use super::outside::Outside;
use super::plan::Plan;
use super::round::{Happening, Mishap, Round};
use crate::wait::{self, PATIENCE};

/// A round takes a second or two. Other work may take most of the machine.
const ROUND_MAX: Duration = Duration::from_secs(90);

const TICK: Duration = Duration::from_millis(15);

/// What happened in a round, with the time since its start, for whoever has to understand it.
pub(super) struct Story {
    began: Instant,
    pub(super) lines: Vec<String>,
}

impl Story {
    pub(super) fn new() -> Self {
        Self { began: Instant::now(), lines: Vec::new() }
    }

    pub(super) fn tell(&mut self, line: impl AsRef<str>) {
        self.lines.push(format!("{:6} ms  {}", self.began.elapsed().as_millis(), line.as_ref()));
    }
}

impl Default for Story {
    fn default() -> Self {
        Self::new()
    }
}

/// What was found, and what is wrong with it.
pub(super) fn carry_out(
    bench: &mut Bench,
    seed: u64,
    round: &Round,
    story: &mut Story,
) -> Result<(Facts, Vec<String>)> {
    let plan = Plan::of(seed, round);
    bench.rig.supply.set("out", 0.0)?;
    let sets_before = bench.sets()?.len();
    let ids: Vec<String> = plan.starts.iter().map(|body| start(bench, body)).collect::<Result<_>>()?;
    story.tell(format!("started {}", ids.join(" and ")));
    let main = ids.first().context("a round without a run")?;
    let socket = bench.rig.hub.socket(&format!("/ws/executions/{main}"));
    bench.rig.watcher.open(main, &socket, &[])?;
    let mut outside = Outside::of(round.kind);
    let accepted = live(bench, round, &ids, outside.as_mut(), story)?;
    let mut facts = collect(bench, &ids)?;
    facts.accepted = accepted;
    facts.watched = watched(bench, round, main)?;
    story.tell("collected");
    facts.sets = bench.sets()?.split_off(sets_before);
    facts.output_on = bench.rig.supply.get("out")? > 0.5;
    facts.reported = outside.map(|outside| outside.reported).unwrap_or_default();
    if let Some(token) = &plan.token {
        bench.wait_no_program(token)?;
        facts.program_starts = bench.program_starts();
    }
    let wrong = complaints(round, &plan, &facts);
    Ok((facts, wrong))
}

/// What somebody heard who watched the first run from its beginning, if nothing cut him off. He came late for the end of a run that
/// was over at once, and is told how it ended then.
fn watched(bench: &mut Bench, round: &Round, main: &str) -> Result<Option<Vec<Value>>> {
    if round.has(Mishap::ends_the_hub) {
        return Ok(None);
    }
    bench.rig.watcher.wait_for_kind(main, "execution_completed", PATIENCE)?;
    bench.rig.watcher.close(main)?;
    let heard = bench.rig.watcher.transcript(main);
    Ok(Some(heard.iter().filter_map(|frame| frame.json().cloned()).collect()))
}

fn start(bench: &Bench, body: &Value) -> Result<String> {
    let rest = &bench.rig.hub.rest;
    let run = rest.expect(201, rest.post("/api/v1/runs", body))?;
    Ok(run["id"].as_str().with_context(|| format!("a run without an id: {run}"))?.to_owned())
}

/// Until every run has ended and everything has happened that was to happen.
fn live(
    bench: &mut Bench,
    round: &Round,
    ids: &[String],
    mut outside: Option<&mut Outside>,
    story: &mut Story,
) -> Result<Vec<&'static str>> {
    let mut accepted = Vec::new();
    let main = ids.first().context("a round without a run")?;
    let mut left = round.happenings.iter().copied();
    let mut next = left.next();
    let deadline = Instant::now() + ROUND_MAX;
    loop {
        bench.check_running()?;
        let runs: Vec<Value> = ids.iter().map(|id| bench.rig.hub.run(id)).collect::<Result<_>>()?;
        let over = runs.iter().all(|run| is_final(&run["status"]));
        let Some(happening) = next else {
            if over {
                story.tell("all runs have ended");
                return Ok(accepted);
            }
            if Instant::now() > deadline {
                bail!("the runs have not ended within {ROUND_MAX:?}: {}", Value::Array(runs));
            }
            go_on(bench, main, outside.as_deref_mut())?;
            continue;
        };
        // The first event was acknowledged with the run: whatever comes at once must find it there.
        let count = if happening.after <= 1 { 1 } else { event_count(bench, main)? };
        // What a run was too short for happens after its end, which has to be harmless, too.
        if count >= happening.after || over {
            wait::for_a_while(happening.later);
            // Right after something was acknowledged is the moment at which it could be lost.
            if let Some(outside) = outside.as_deref_mut() {
                outside.step(&bench.rig.hub.rest, main)?;
            }
            accepted.extend(happen(bench, happening, main, story)?);
            if let Some(outside) = outside.as_deref_mut() {
                outside.repeat(&bench.rig.hub.rest, main)?;
            }
            next = left.next();
            // What was to come before now comes at once: a hub that dies with its answer still on the way.
            while let Some(overdue) = next.filter(|next| next.after <= count && next.later.is_zero()) {
                accepted.extend(happen(bench, overdue, main, story)?);
                next = left.next();
            }
        } else {
            go_on(bench, main, outside.as_deref_mut())?;
        }
    }
}

fn go_on(bench: &Bench, main: &str, outside: Option<&mut Outside>) -> Result<()> {
    if let Some(outside) = outside {
        outside.step(&bench.rig.hub.rest, main)?;
    }
    wait::for_a_while(TICK);
    Ok(())
}

fn event_count(bench: &Bench, id: &str) -> Result<u64> {
    let rest = &bench.rig.hub.rest;
    let page = rest.expect(200, rest.get(&format!("/api/v1/runs/{id}/events?limit=5000")))?;
    page["next"].as_u64().with_context(|| format!("events without a number: {page}"))
}

/// What was asked of the run and accepted.
fn happen(bench: &mut Bench, happening: Happening, main: &str, story: &mut Story) -> Result<Vec<&'static str>> {
    let Happening { mishap, lasts, .. } = happening;
    story.tell(format!("{mishap:?} begins"));
    let mut accepted = Vec::new();
    match mishap {
        Mishap::Cancel => accepted.extend(ask(bench, main, "cancel", story)?),
        Mishap::Pause => {
            accepted.extend(ask(bench, main, "pause", story)?);
            wait::for_a_while(lasts);
            accepted.extend(ask(bench, main, "resume", story)?);
        }
        Mishap::KillHub
        | Mishap::KillAgent
        | Mishap::KillBoth
        | Mishap::Broker
        | Mishap::Replug(_)
        | Mishap::FreezeHub
        | Mishap::FreezeAgent => {
            bench.mistreat(mishap, lasts)?;
        }
    }
    story.tell(format!("{mishap:?} has passed"));
    Ok(accepted)
}

/// A run that has ended, waits or is reported from outside may refuse, with its reason.
fn ask(bench: &Bench, main: &str, verb: &'static str, story: &mut Story) -> Result<Option<&'static str>> {
    let (status, answer) = bench.rig.hub.rest.post(&format!("/api/v1/runs/{main}/{verb}"), &json!({}))?;
    story.tell(format!("{verb} is answered {status} {answer}"));
    match status {
        202 => Ok(Some(verb)),
        409 if answer["code"].is_string() => Ok(None),
        _ => bail!("{verb} was answered {status} {answer}"),
    }
}

fn collect(bench: &Bench, ids: &[String]) -> Result<Facts> {
    let hub = &bench.rig.hub;
    // The instruments come back by themselves, and what was held is given back. What is seen then is what counts: a cable
    // that was pulled at the very end may be noticed only a moment later, and is back soon after.
    let (devices, leases) = wait::until("all devices to be back and free", PATIENCE, || {
        let text = |error: anyhow::Error| format!("{error:#}");
        let busy = |device: &Value| device["state"] != "online" || !device["held_by"].is_null();
        let devices = bench.devices().map_err(text)?;
        let leases = bench.leases().map_err(text)?;
        if leases.is_empty() && !devices.iter().any(busy) {
            Ok((devices, leases))
        } else {
            Err(format!("{devices:?} {leases:?}"))
        }
    })?;
    let mut runs: Vec<RunFacts> = ids.iter().map(|id| facts_of(bench, id)).collect::<Result<_>>()?;
    for id in ids {
        let children = hub.rest.expect(200, hub.rest.get(&format!("/api/v1/runs?parent={id}&limit=500")))?;
        for child in list(&children, "runs")? {
            runs.push(facts_of(bench, child["id"].as_str().context("a run without an id")?)?);
        }
    }
    let ledger = hub.rest.expect(200, hub.rest.get("/api/v1/ledger"))?;
    Ok(Facts { runs, devices, leases, ledger, ..Facts::default() })
}

fn facts_of(bench: &Bench, id: &str) -> Result<RunFacts> {
    let hub = &bench.rig.hub;
    Ok(RunFacts {
        row: hub.run(id)?,
        events: hub.run_events(id)?,
        steps: list(&hub.steps(id)?, "steps")?,
        completeness: hub.rest.expect(200, hub.rest.get(&format!("/api/v1/runs/{id}/completeness")))?,
    })
}
