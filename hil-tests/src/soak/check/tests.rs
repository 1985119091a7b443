//! A round of which nothing is to be complained, and what is said of it when one thing in it is otherwise.

use serde_json::{Value, json};

use super::*;
use crate::soak::plan::{Plan, Setter};

const PSU: &str = "instrument.action";

fn round(mishaps: &[Mishap]) -> Round {
    let happening = |mishap: &Mishap| crate::soak::round::Happening {
        mishap: *mishap,
        after: 1,
        later: std::time::Duration::ZERO,
        lasts: std::time::Duration::ZERO,
    };
    Round { number: 1, kind: Kind::Procedure, happenings: mishaps.iter().map(happening).collect() }
}

fn plan() -> Plan {
    Plan {
        starts: vec![Value::Null],
        needs: vec![("read", "set")],
        setters: vec![Setter { step: "set", from: 101, to: 101 }],
        children: 0,
        token: Some("soak-1-1".to_owned()),
    }
}

fn step(step: &str, attempt: &str, change: Value) -> Value {
    json!({"type": "step", "step": step, "attempt_id": attempt, "change": change})
}

fn happened(step_id: &str, attempt: &str, status: &str) -> Value {
    step(step_id, attempt, json!({"status": status}))
}

fn numbered(mut events: Vec<Value>) -> Vec<Value> {
    for (index, event) in events.iter_mut().enumerate() {
        event["seq"] = json!(index + 1);
        event["sequence"] = json!(index + 10);
        event["at"] = json!(format!("2026-01-01T00:00:{:02}.000Z", index));
    }
    events
}

fn run(events: Vec<Value>) -> RunFacts {
    let events = numbered(events);
    let row = |id: &str, module: &str, finally: bool| json!({"id": id, "module": module, "status": "completed", "finally": finally});
    RunFacts {
        row: json!({"id": "r", "number": 1, "name": "run", "kind": "protocol", "status": "completed", "parent": null, "params": {}}),
        steps: vec![
            row("set", PSU, false),
            row("read", "instrument.read", false),
            row("off", "instrument.safe_state", true),
        ],
        completeness: json!({
            "complete": true, "goes_on": false, "events": {"found": events.len(), "last": events.len()}, "samples": {"lost": 0},
        }),
        events,
    }
}

fn good_events() -> Vec<Value> {
    let mut events = vec![json!({"type": "created"}), json!({"type": "bound"})];
    for (id, attempt) in [("set", "a"), ("read", "b"), ("off", "c")] {
        events.extend(["dispatched", "running", "completed"].map(|status| happened(id, attempt, status)));
    }
    let counts = json!({"total": 3, "successful": 3, "failed": 0, "skipped": 0});
    events.push(json!({"type": "finished", "status": "completed", "counts": counts}));
    events
}

fn end() -> Value {
    json!({"type": "execution_completed", "execution_id": "r", "status": "completed"})
}

fn good() -> Facts {
    Facts {
        runs: vec![run(good_events())],
        devices: vec![json!({"id": "psu-1", "state": "online", "held_by": null})],
        ledger: json!({"agents": [{
            "batches": {"arrived": 3, "taken": 2, "duplicates": 1, "after_a_gap": 0}, "messages_malformed": 0,
            "samples": {"lost": 0, "by_cause": {}},
        }]}),
        sets: vec![(5, 101)],
        watched: Some(vec![end()]),
        ..Facts::default()
    }
}

/// Complaints about the good round after one change to it.
fn said(mishaps: &[Mishap], change: impl FnOnce(&mut Facts)) -> Vec<String> {
    let mut facts = good();
    change(&mut facts);
    complaints(&round(mishaps), &plan(), &facts)
}

fn with_events(change: impl FnOnce(&mut Vec<Value>)) -> Vec<String> {
    said(&[], |facts| {
        let mut events = good_events();
        change(&mut events);
        facts.runs = vec![run(events)];
    })
}

#[test]
fn a_good_round_has_nothing_wrong() {
    assert_eq!(said(&[], |_| ()), Vec::<String>::new());
}

#[test]
fn what_is_wrong_in_the_record_is_found() {
    let cases: [(Vec<String>, &str); 10] = [
        (said(&[], |facts| facts.runs[0].events[4]["seq"] = json!(9)), "its events are numbered"),
        (with_events(|events| events.insert(3, json!({"type": "finished", "status": "failed"}))), "2 ends"),
        (with_events(|events| events.push(json!({"type": "log"}))), "1 ends, expected one, last"),
        (
            with_events(|events| events.insert(3, happened("set", "a", "dispatched"))),
            "attempt a was dispatched 2 times",
        ),
        (
            with_events(|events| events.insert(3, happened("set", "z", "dispatched"))),
            "attempt z began while a was open",
        ),
        (with_events(|events| events.insert(5, happened("set", "a", "failed"))), "attempt a was failed 2 times"),
        (with_events(|events| events.swap(2, 5)), "step read began before set had ended"),
        (with_events(|events| events.swap(5, 8)), "finally step off began before read had ended"),
        (said(&[], |facts| facts.runs[0].steps[2]["status"] = json!("skipped")), "finally step \"off\" was skipped"),
        (said(&[], |facts| facts.runs[0].completeness["samples"]["lost"] = json!(2)), "its account is"),
    ];
    for (found, expected) in cases {
        assert!(found.iter().any(|line| line.contains(expected)), "{expected:?} is not in {found:#?}");
    }
}

#[test]
fn a_retry_is_no_second_beginning_and_what_needs_it_waits() {
    let failed = || step("set", "a", json!({"status": "failed", "will_retry": true}));
    let again = || ["dispatched", "running", "completed"].map(|status| happened("set", "a2", status));
    let found = said(&[Mishap::KillAgent], |facts| {
        let mut events = good_events();
        events.splice(4..5, std::iter::once(failed()).chain(again()));
        facts.runs = vec![run(events)];
    });
    assert_eq!(found, Vec::<String>::new());
    let early = with_events(|events| events[4] = failed());
    assert!(early.iter().any(|line| line.contains("step read began before set had ended")), "{early:#?}");
}

#[test]
fn a_pause_that_does_not_hold_is_found() {
    let paused = json!({"type": "status", "status": "paused"});
    let found = with_events(|events| events.insert(5, paused));
    assert!(found.iter().any(|line| line.contains("step read began while the run was paused")), "{found:#?}");
}

#[test]
fn a_slow_cancel_is_found() {
    let found = said(&[Mishap::Cancel], |facts| {
        let mut events = good_events();
        events.insert(4, json!({"type": "cancel_requested"}));
        facts.runs = vec![run(events)];
        facts.runs[0].events[5]["at"] = json!("2026-01-01T00:00:05.001Z");
    });
    assert!(found.iter().any(|line| line.contains("step set ended 1001 ms after the cancel")), "{found:#?}");
    assert!(found.iter().any(|line| line.contains("run \"run\" is completed")), "a cancelled run does not complete");
}

#[test]
fn what_is_wrong_at_the_instruments_is_found() {
    let cases: [(Vec<String>, &str); 12] = [
        (said(&[], |facts| facts.sets.push((6, 101))), "dispatched 1 times and reached the supply 2 times"),
        (said(&[], |facts| facts.sets.clear()), "dispatched 1 times and reached the supply 0 times"),
        (said(&[], |facts| facts.sets.push((6, 707))), "set to 707 hundredths"),
        (said(&[], |facts| facts.output_on = true), "output is on"),
        (said(&[], |facts| facts.watched = Some(vec![end(), end()])), "a watcher heard of 2 ends"),
        (said(&[], |facts| facts.watched = Some(Vec::new())), "a watcher heard of 0 ends"),
        (said(&[], |facts| facts.accepted.push("pause")), "pause was accepted 1 times and is 0 times in the record"),
        (said(&[], |facts| facts.reported.push("line 0".to_owned())), "was reported, and [] is in the record"),
        (said(&[], |facts| facts.devices[0]["held_by"] = json!("r")), "afterwards a device is"),
        (said(&[], |facts| facts.leases.push(json!({}))), "afterwards a device is held"),
        (said(&[], |facts| facts.program_starts.push("soak-1-1".to_owned())), "its program was started 1 times"),
        (said(&[], |facts| facts.ledger["agents"][0]["batches"]["arrived"] = json!(4)), "does not add up"),
    ];
    for (found, expected) in cases {
        assert!(found.iter().any(|line| line.contains(expected)), "{expected:?} is not in {found:#?}");
    }
    let away = said(&[Mishap::KillAgent], |facts| facts.sets.clear());
    assert_eq!(away, Vec::<String>::new(), "an agent that died may not have come to it");
}

#[test]
fn a_parent_accounts_for_each_of_its_runs() {
    let family = |told: usize| {
        said(&[Mishap::Cancel], |facts| {
            let mut events = good_events();
            events.insert(10, json!({"type": "child", "run": "k"}));
            for _ in 0..told {
                events.insert(11, json!({"type": "iteration", "run": "k"}));
            }
            let mut child = run(vec![json!({"type": "created"}), json!({"type": "finished", "status": "completed"})]);
            child.row["id"] = json!("k");
            child.row["parent"] = json!("r");
            child.steps.clear();
            facts.runs = vec![run(events), child];
        })
    };
    assert_eq!(family(1), Vec::<String>::new());
    for (told, expected) in [(0, "told of 0 times"), (2, "told of 2 times")] {
        assert!(family(told).iter().any(|line| line.contains(expected)), "{expected}");
    }
}

#[test]
fn times_are_read() {
    for (text, expected) in [
        ("1970-01-01T00:00:00.000Z", Some(0)),
        ("1970-01-02T00:00:01.500Z", Some(86_401_500_000)),
        ("2024-02-29T12:00:00Z", Some(1_709_208_000_000_000)),
        ("2026-11-21T04:00:00.001Z", Some(1_795_233_600_001_000)),
        ("yesterday", None),
    ] {
        assert_eq!(microseconds(&json!(text)), expected, "{text}");
    }
}
