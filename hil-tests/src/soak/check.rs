//! What must be true after a round, whatever happened in it, as seen from outside: in the record, at the instruments and at the
//! program. Pure: takes what was found and says what is wrong with it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::plan::Plan;
use super::round::{Kind, Mishap, Round};

/// One run as the hub's interface shows it after its end.
#[derive(Debug, Clone, Default)]
pub struct RunFacts {
    pub row: Value,
    pub events: Vec<Value>,
    pub steps: Vec<Value>,
    pub completeness: Value,
}

/// Everything that is looked at after a round.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Those that the round started, first, and then those that they started.
    pub runs: Vec<RunFacts>,
    pub devices: Vec<Value>,
    pub leases: Vec<Value>,
    pub ledger: Value,
    /// Voltages that reached the simulated supply, in order: when, in microseconds, and hundredths of a volt.
    pub sets: Vec<(i64, i64)>,
    /// First arguments with which the program was started.
    pub program_starts: Vec<String>,
    /// The simulated supply's output at the end.
    pub output_on: bool,
    /// What was asked of the first run and accepted, in order: `cancel`, `pause` or `resume`.
    pub accepted: Vec<&'static str>,
    /// What one heard who watched the first run, if he was not cut off.
    pub watched: Option<Vec<Value>>,
    /// What a program outside reported and was told that it is in the record.
    pub reported: Vec<String>,
}

/// Everything that is wrong. Empty: the round passed.
pub fn complaints(round: &Round, plan: &Plan, facts: &Facts) -> Vec<String> {
    let mut wrong = Vec::new();
    for run in &facts.runs {
        let name = run.row["name"].as_str().unwrap_or_default();
        let mut found = numbers(run);
        found.extend(attempts(run));
        found.extend(needs(plan, run));
        found.extend(finally(run));
        found.extend(pause(run));
        found.extend(counts(run));
        found.extend(completeness(run));
        wrong.extend(found.into_iter().map(|found| format!("run {} {name}: {found}", run.row["number"])));
    }
    wrong.extend(parents(facts));
    wrong.extend(outcome(round, plan, facts));
    wrong.extend(cancel_is_quick(round, facts));
    wrong.extend(supply(round, plan, facts));
    wrong.extend(program(plan, facts));
    wrong.extend(accepted(facts));
    wrong.extend(watched(facts));
    wrong.extend(reported(facts));
    wrong.extend(rest(facts));
    wrong
}

pub fn is_final(status: &Value) -> bool {
    matches!(status.as_str(), Some("completed" | "failed" | "cancelled"))
}

fn kind_of(event: &Value) -> &str {
    event["type"].as_str().unwrap_or_default()
}

/// A step's event: (step, attempt id, what happened).
fn of_step(event: &Value) -> Option<(&str, Option<&str>, &str)> {
    if kind_of(event) != "step" {
        return None;
    }
    Some((event["step"].as_str()?, event["attempt_id"].as_str(), event["change"]["status"].as_str()?))
}

/// Microseconds since 1970 of an RFC 3339 time in UTC, which is how the hub writes all of them.
pub fn microseconds(at: &Value) -> Option<i64> {
    let text = at.as_str()?;
    let (date, time) = text.trim_end_matches('Z').split_once('T')?;
    let mut date = date.split('-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let mut time = time.split(':');
    let (hour, minute) = (time.next()?.parse::<i64>().ok()?, time.next()?.parse::<i64>().ok()?);
    let (second, part) = time.next()?.split_once('.').unwrap_or(("0", "0"));
    let second = second.parse::<i64>().ok()?;
    let part = format!("{part:0<6}").get(..6)?.parse::<i64>().ok()?;
    // Days since 1970, counted from March so that a leap day ends a year.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468;
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000 + part)
}

/// Exactly one beginning and one end, at their places, and every number between them once.
fn numbers(run: &RunFacts) -> Vec<String> {
    let mut wrong = Vec::new();
    let found: Vec<u64> = run.events.iter().filter_map(|event| event["seq"].as_u64()).collect();
    if !found.iter().copied().eq(1..=u64::try_from(run.events.len()).unwrap_or_default()) {
        wrong.push(format!("its events are numbered {found:?}"));
    }
    let count = |kind| run.events.iter().filter(|event| kind_of(event) == kind).count();
    if count("created") != 1 || run.events.first().map(kind_of) != Some("created") {
        wrong.push(format!("{} beginnings, expected one, first", count("created")));
    }
    if count("finished") != 1 || run.events.last().map(kind_of) != Some("finished") {
        wrong.push(format!("{} ends, expected one, last", count("finished")));
    }
    let end = run.events.last().map(|event| &event["status"]);
    if end != Some(&run.row["status"]) || !is_final(&run.row["status"]) {
        wrong.push(format!("it is {}, and its last event says {end:?}", run.row["status"]));
    }
    wrong
}

/// No attempt begins twice or ends twice, and none begins while another at the same step is open.
fn attempts(run: &RunFacts) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut seen: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    let mut open: BTreeMap<&str, &str> = BTreeMap::new();
    for (step, attempt, change) in run.events.iter().filter_map(of_step) {
        let Some(attempt) = attempt else { continue };
        let ends = matches!(change, "completed" | "failed" | "cancelled");
        if change == "dispatched" || change == "running" || ends {
            let count = seen.entry((attempt, if ends { "ended" } else { change })).or_default();
            *count += 1;
            if *count > 1 {
                wrong.push(format!("step {step}: attempt {attempt} was {change} {count} times"));
            }
        }
        if change == "dispatched"
            && let Some(other) = open.insert(step, attempt)
        {
            wrong.push(format!("step {step}: attempt {attempt} began while {other} was open"));
        }
        if change == "running" && open.get(step) != Some(&attempt) {
            wrong.push(format!("step {step}: attempt {attempt} runs and was not dispatched"));
        }
        if ends {
            open.remove(step);
        }
    }
    wrong
}

/// No step begins before what it needs has ended. A point of a sweep begins anew.
fn needs(plan: &Plan, run: &RunFacts) -> Vec<String> {
    let known: BTreeSet<&str> = run.steps.iter().filter_map(|row| row["id"].as_str()).collect();
    let last: BTreeSet<&str> =
        run.steps.iter().filter(|row| row["finally"] == true).filter_map(|row| row["id"].as_str()).collect();
    let mut ended: BTreeSet<&str> = BTreeSet::new();
    let mut wrong = Vec::new();
    for event in &run.events {
        if kind_of(event) == "point" {
            ended.clear();
        }
        let Some((step, _, change)) = of_step(event) else { continue };
        match change {
            "dispatched" | "running" => {
                let wanted = plan.needs.iter().filter(|(of, need)| *of == step && known.contains(need));
                for (_, need) in wanted.filter(|(_, need)| !ended.contains(need)) {
                    wrong.push(format!("step {step} began before {need} had ended (event {})", event["seq"]));
                }
                let open = known.iter().filter(|other| !last.contains(*other) && !ended.contains(*other));
                for other in open.filter(|_| last.contains(step)) {
                    wrong.push(format!("finally step {step} began before {other} had ended (event {})", event["seq"]));
                }
            }
            "failed" if event["change"]["will_retry"] == true => {}
            "completed" | "failed" | "cancelled" | "skipped" => drop(ended.insert(step)),
            _ => {}
        }
    }
    wrong
}

/// A run that began anything has begun its `finally` steps, and left nothing open.
fn finally(run: &RunFacts) -> Vec<String> {
    let began = run
        .events
        .iter()
        .any(|event| kind_of(event) == "bound" || of_step(event).is_some_and(|(_, _, change)| change != "skipped"));
    let mut wrong = Vec::new();
    for row in &run.steps {
        let status = row["status"].as_str().unwrap_or_default();
        let ended = matches!(status, "completed" | "failed" | "cancelled" | "skipped");
        // Steps of a run that ended while it waited for devices stay as they were.
        if !ended && began {
            wrong.push(format!("step {} is {status} after the end", row["id"]));
        } else if began && row["finally"] == true && status == "skipped" {
            wrong.push(format!("finally step {} was skipped: {}", row["id"], row["error"]));
        }
    }
    wrong
}

/// What is paused begins nothing but `finally` steps.
fn pause(run: &RunFacts) -> Vec<String> {
    let is_last = |step: &str| run.steps.iter().any(|row| row["id"] == step && row["finally"] == true);
    let mut wrong = Vec::new();
    let mut paused = false;
    for event in &run.events {
        match kind_of(event) {
            "status" => paused = event["status"] == "paused",
            "cancel_requested" => paused = false,
            "child" if paused => wrong.push(format!("a run was started for it while it was paused: {event}")),
            _ => {}
        }
        if let Some((step, _, "dispatched")) = of_step(event)
            && paused
            && !is_last(step)
        {
            wrong.push(format!("step {step} began while the run was paused (event {})", event["seq"]));
        }
    }
    wrong
}

/// What its end says of its steps or tests is what they say.
fn counts(run: &RunFacts) -> Vec<String> {
    let Some(end) = run.events.last().filter(|event| kind_of(event) == "finished") else { return Vec::new() };
    let count = |name: &str| end["counts"][name].as_u64().unwrap_or_default();
    let (total, sum) = (count("total"), count("successful") + count("failed") + count("skipped"));
    let mut wrong = Vec::new();
    let is_suite = run.row["kind"] == "suite" && run.row["params"].get("external").is_none();
    if sum > total || (is_suite && sum != total) {
        wrong.push(format!("its end counts {}", end["counts"]));
    }
    // A sweep counts its steps once for each point.
    if !run.steps.is_empty() && !run.events.iter().any(|event| kind_of(event) == "point") {
        for (name, status) in [("successful", "completed"), ("failed", "failed")] {
            let found = run.steps.iter().filter(|row| row["status"] == status).count();
            if u64::try_from(found) != Ok(count(name)) {
                wrong.push(format!("{found} steps are {status}, and its end counts {}", end["counts"]));
            }
        }
    }
    wrong
}

fn completeness(run: &RunFacts) -> Vec<String> {
    let said = &run.completeness;
    let all = u64::try_from(run.events.len()).unwrap_or_default();
    let adds_up = said["complete"] == true
        && said["goes_on"] == false
        && said["events"]["found"] == all
        && said["events"]["last"] == all
        && said["samples"]["lost"] == 0;
    if adds_up { Vec::new() } else { vec![format!("{all} events were read, and its account is {said}")] }
}

/// Whoever starts runs accounts for each of them once, and ends after them.
fn parents(facts: &Facts) -> Vec<String> {
    let mut wrong = Vec::new();
    for parent in &facts.runs {
        let id = &parent.row["id"];
        let children: Vec<&RunFacts> = facts.runs.iter().filter(|run| run.row["parent"] == *id).collect();
        for child in &children {
            let (name, run) = (&child.row["name"], &child.row["id"]);
            let begun = parent.events.iter().filter(|event| kind_of(event) == "child" && event["run"] == *run).count();
            let told = |event: &&Value| match kind_of(event) {
                "test" => event["attempt"]["run"] == *run,
                "iteration" => event["run"] == *run,
                _ => false,
            };
            let told = parent.events.iter().filter(told).count();
            if (begun, told) != (1, 1) {
                wrong.push(format!("run {name} was begun {begun} times and told of {told} times by its parent"));
            }
            let ends =
                (parent.events.last().map(|end| &end["sequence"]), child.events.last().map(|end| &end["sequence"]));
            if let (Some(parent), Some(child)) = ends
                && child.as_u64() >= parent.as_u64()
            {
                wrong.push(format!("run {name} ended after its parent"));
            }
        }
        let named: BTreeSet<&str> = parent
            .events
            .iter()
            .filter(|event| kind_of(event) == "child")
            .filter_map(|event| event["run"].as_str())
            .collect();
        if named.len() != children.len() {
            wrong.push(format!(
                "run {} began {} runs, and {} name it as parent",
                parent.row["name"],
                named.len(),
                children.len()
            ));
        }
    }
    wrong
}

/// Who ended how: nothing but a cable, an agent's death and a user's word ends a run before its time.
fn outcome(round: &Round, plan: &Plan, facts: &Facts) -> Vec<String> {
    let mut wrong = Vec::new();
    let tops = facts.runs.iter().take(plan.starts.len());
    for run in tops {
        let cancelled = run.events.iter().any(|event| kind_of(event) == "cancel_requested");
        let status = run.row["status"].as_str().unwrap_or_default();
        let fits = if cancelled {
            status == "cancelled"
        } else if round.has(Mishap::may_fail_a_step) {
            matches!(status, "completed" | "failed")
        } else {
            status == "completed"
        };
        if !fits {
            wrong.push(format!("run {} is {status}: {}", run.row["name"], run.row["error"]));
        }
    }
    let quiet = !round.has(|mishap| mishap == Mishap::Cancel || mishap.may_fail_a_step());
    let children = facts.runs.len().saturating_sub(plan.starts.len());
    if quiet && children != plan.children {
        wrong.push(format!("{children} runs were started for it, expected {}", plan.children));
    }
    wrong
}

/// Between the word and the end of what ran.
const CANCEL_WITHIN_US: i64 = 1_000_000;

fn cancel_is_quick(round: &Round, facts: &Facts) -> Vec<String> {
    // Whoever is away cannot be stopped.
    if round.has(|mishap| !matches!(mishap, Mishap::Cancel | Mishap::Pause)) {
        return Vec::new();
    }
    let mut wrong = Vec::new();
    for run in &facts.runs {
        let Some(asked) = run.events.iter().position(|event| kind_of(event) == "cancel_requested") else { continue };
        let began =
            |event: &&Value| of_step(event).is_some_and(|(_, _, change)| matches!(change, "dispatched" | "running"));
        let open: BTreeSet<&str> =
            run.events.iter().take(asked).filter(began).filter_map(|event| event["attempt_id"].as_str()).collect();
        let from = run.events.get(asked).and_then(|event| microseconds(&event["at"]));
        for event in run.events.iter().skip(asked) {
            let Some((step, Some(attempt), "cancelled" | "completed" | "failed")) = of_step(event) else { continue };
            let (Some(from), Some(at)) = (from, microseconds(&event["at"])) else { continue };
            if open.contains(attempt) && at - from > CANCEL_WITHIN_US {
                wrong.push(format!("step {step} ended {} ms after the cancel", (at - from) / 1000));
            }
        }
    }
    wrong
}

/// What reached the simulated supply is what was dispatched, in the order that the needs ask for, and it was left off.
fn supply(round: &Round, plan: &Plan, facts: &Facts) -> Vec<String> {
    let mut wrong = Vec::new();
    let dispatched = |step: &str| {
        let events = facts.runs.iter().flat_map(|run| &run.events);
        events
            .filter(|event| of_step(event).is_some_and(|(of, _, change)| of == step && change == "dispatched"))
            .count()
    };
    let of = |step: &str| {
        let setter = plan.setters.iter().find(|setter| setter.step == step);
        let sets = facts.sets.iter().filter(move |(_, volts)| setter.is_some_and(|s| (s.from..=s.to).contains(volts)));
        sets.map(|(at, _)| *at).collect::<Vec<i64>>()
    };
    for (_, volts) in &facts.sets {
        if !plan.setters.iter().any(|setter| (setter.from..=setter.to).contains(volts)) {
            wrong.push(format!("the supply was set to {volts} hundredths of a volt, which no step of the round sends"));
        }
    }
    let certain = !round.has(|mishap| mishap == Mishap::Cancel || mishap.may_fail_a_step());
    for setter in &plan.setters {
        let (sent, arrived) = (dispatched(setter.step), of(setter.step).len());
        if arrived > sent || (certain && arrived != sent) {
            wrong.push(format!(
                "step {} was dispatched {sent} times and reached the supply {arrived} times",
                setter.step
            ));
        }
    }
    // In a sweep and a suite the same steps are done again and again.
    if matches!(round.kind, Kind::Procedure) {
        for (step, need) in &plan.needs {
            if let (Some(first), Some(last)) = (of(step).first(), of(need).last())
                && last >= first
            {
                wrong.push(format!("the supply was set by {need} after it was set by {step}"));
            }
        }
    }
    let off = |row: &&Value| row["module"] == "instrument.safe_state" && row["finally"] == true;
    let offs: Vec<&Value> = facts.runs.iter().flat_map(|run| &run.steps).filter(off).collect();
    if facts.output_on && !offs.is_empty() && offs.iter().all(|row| row["status"] == "completed") {
        wrong.push("the supply's output is on, and its safe state was applied".to_owned());
    }
    wrong
}

fn program(plan: &Plan, facts: &Facts) -> Vec<String> {
    let Some(token) = &plan.token else { return Vec::new() };
    let mut wrong = Vec::new();
    for (step, argument) in [("go", token.clone()), ("after", format!("{token}-after"))] {
        let began = facts.program_starts.iter().filter(|started| **started == argument).count();
        let events = facts.runs.iter().flat_map(|run| &run.events);
        let sent =
            events.filter(|event| of_step(event).is_some_and(|(of, _, change)| of == step && change == "dispatched"));
        let sent = sent.count();
        if began > sent {
            wrong.push(format!("step {step} was dispatched {sent} times, and its program was started {began} times"));
        }
    }
    wrong
}

/// A watcher hears of one end, the right one, and of nothing after it.
fn watched(facts: &Facts) -> Vec<String> {
    let (Some(heard), Some(run)) = (&facts.watched, facts.runs.first()) else { return Vec::new() };
    let of_run = |message: &&Value| message["execution_id"] == run.row["id"];
    let ends = heard.iter().filter(|message| kind_of(message) == "execution_completed").count();
    let last = heard.iter().rfind(of_run);
    let fits = last.is_some_and(|last| kind_of(last) == "execution_completed" && last["status"] == run.row["status"]);
    if ends == 1 && fits { Vec::new() } else { vec![format!("a watcher heard of {ends} ends, and last {last:?}")] }
}

/// What was accepted is in the record.
fn accepted(facts: &Facts) -> Vec<String> {
    let Some(run) = facts.runs.first() else { return Vec::new() };
    let mut wrong = Vec::new();
    for (verb, kind, status) in [
        ("cancel", "cancel_requested", None),
        ("pause", "status", Some("paused")),
        ("resume", "status", Some("running")),
    ] {
        let said = facts.accepted.iter().filter(|accepted| **accepted == verb).count();
        let fits = |event: &&Value| kind_of(event) == kind && status.is_none_or(|status| event["status"] == status);
        let found = run.events.iter().filter(fits).count();
        if found < said {
            wrong.push(format!("{verb} was accepted {said} times and is {found} times in the record"));
        }
    }
    wrong
}

/// What was acknowledged to a program outside is in the record once, in its order.
fn reported(facts: &Facts) -> Vec<String> {
    if facts.reported.is_empty() {
        return Vec::new();
    }
    let events = facts.runs.iter().take(1).flat_map(|run| &run.events);
    let found: Vec<&str> =
        events.filter(|event| kind_of(event) == "log").filter_map(|event| event["message"].as_str()).collect();
    if found == facts.reported {
        Vec::new()
    } else {
        vec![format!("{:?} was reported, and {found:?} is in the record", facts.reported)]
    }
}

/// Devices are free, and nothing was lost on the way without being accounted for.
fn rest(facts: &Facts) -> Vec<String> {
    let mut wrong = Vec::new();
    for device in &facts.devices {
        if !device["held_by"].is_null() || device["state"] != "online" {
            wrong.push(format!("afterwards a device is {device}"));
        }
    }
    for lease in &facts.leases {
        wrong.push(format!("afterwards a device is held: {lease}"));
    }
    for agent in facts.ledger["agents"].as_array().into_iter().flatten() {
        let batches = &agent["batches"];
        let count = |name: &str| batches[name].as_u64().unwrap_or_default();
        if count("arrived") != count("taken") + count("duplicates") + count("after_a_gap")
            || agent["messages_malformed"] != 0
        {
            wrong.push(format!("the ledger of an agent does not add up: {agent}"));
        }
        let causes = agent["samples"]["by_cause"].as_object();
        let lost: u64 = causes.into_iter().flatten().filter_map(|(_, count)| count.as_u64()).sum();
        if agent["samples"]["lost"] != lost {
            wrong.push(format!("the ledger's lost samples do not add up: {agent}"));
        }
    }
    wrong
}

#[cfg(test)]
mod tests;
