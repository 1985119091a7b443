//! Runs that are made of others, or of one procedure many times, on simulated instruments: sweeps, suites and studies, watched
//! through the protocols that were made for them, paused, cancelled and through a hub's death.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result};
use rigwire_hil_tests::dialects::{self, SOLVER_RUNS, TEST_DASHBOARD, messages_of, of_type};
use rigwire_hil_tests::rig::{Choice, METER, Rig};
use rigwire_hil_tests::wait::{self, PATIENCE};
use rigwire_hil_tests::watcher::Frame;
use serde_json::{Value, json};

const FINAL: [&str; 3] = ["completed", "failed", "cancelled"];
const OPTIMIZATION: &str = "optimization";

fn sweep(samples: usize) -> Value {
    json!({
        "name": "response",
        "roles": { "psu": { "class": "psu" } },
        "sweep": { "label": "Response sweep", "of": "frequencies",
                   "axes": [{ "name": "volts", "values": [1.0, 2.0, 3.0], "unit": "V" }] },
        "steps": [
            { "id": "set", "use": "instrument.action", "on": "psu", "with": { "action": "set_voltage", "v": "{{ volts }}" } },
            { "id": "on", "use": "instrument.action", "on": "psu", "with": { "action": "output", "on": true } },
            { "id": "read", "use": "instrument.read", "on": "psu", "timeout": "5m",
              "with": { "reading": "voltage", "samples": samples, "every": "50ms" } },
        ],
        "finally": [{ "id": "off", "use": "instrument.safe_state", "on": "psu" }],
    })
}

#[test]
#[ignore = "needs mosquitto and python3-websockets: run ./hil-tests/run"]
fn a_sweep_tells_its_points_and_keeps_a_table() -> Result<()> {
    let mut rig = Rig::start(Choice::Mosquitto)?;
    let id = rig.hub.start_run(&sweep(8), &json!({}))?;
    rig.watcher.open(SOLVER_RUNS, &rig.hub.socket(&format!("/api/v2/ws/runs/{id}")), &[])?;
    wait_event(&rig, &id, "the second point", |event| event["type"] == "point" && event["point"] == 2)?;
    // Between points and steps a sweep can be paused like any run, and a hub may die under it.
    command(&rig, &id, "pause", 202)?;
    rig.hub.kill()?;
    rig.hub.start_again()?;
    assert_eq!(rig.hub.run(&id)?["status"], "paused", "a pause outlives the hub");
    command(&rig, &id, "resume", 202)?;
    rig.watcher.open("again", &rig.hub.socket(&format!("/api/v2/ws/runs/{id}")), &[])?;
    let run = rig.hub.wait_run(&id, &FINAL)?;
    assert_eq!(run["status"], "completed", "{run}");

    let events = rig.hub.run_events(&id)?;
    let points: Vec<&Value> = of_type(&events, "point").iter().map(|event| &event["values"]["volts"]).collect();
    assert_eq!(points, [&json!(1.0), &json!(2.0), &json!(3.0)]);
    let told: BTreeSet<&str> =
        of_type(&events, "progress").iter().filter_map(|event| event["message"].as_str()).collect();
    for done in 1..=3 {
        let wanted = format!("Response sweep: {done}/3 frequencies");
        assert!(told.contains(wanted.as_str()), "{wanted:?} is not in {told:?}");
    }
    rig.watcher.wait_for_kind("again", "completed", PATIENCE)?;
    let seen = rig.watcher.transcript("again");
    let last = "Response sweep: 3/3 frequencies";
    assert!(seen.iter().filter_map(Frame::json).any(|message| message["message"] == last), "{seen:?}");

    assert_eq!(table(&rig, &id)?, [["1.0", "1.0"], ["2.0", "2.0"], ["3.0", "3.0"]]);
    assert_eq!(rig.supply.get("out")?, 0.0);
    let sets = rig.supply.received()?.iter().filter(|(_, bytes)| bytes.starts_with("VSET1:")).count();
    assert_eq!(sets, 3, "each point was set once");

    // Cancelled in the middle, what was measured is kept.
    let id = rig.hub.start_run(&sweep(12), &json!({}))?;
    let second = wait_event(&rig, &id, "the second point", |event| event["type"] == "point" && event["point"] == 2)?;
    wait_event(&rig, &id, "the second point's reading", |event| {
        changed(event, "read", "running") && event["seq"].as_u64() > second["seq"].as_u64()
    })?;
    command(&rig, &id, "cancel", 202)?;
    assert_eq!(rig.hub.wait_run(&id, &FINAL)?["status"], "cancelled");
    assert_eq!(rig.supply.get("out")?, 0.0, "a cancelled sweep is left safe");
    assert_eq!(table(&rig, &id)?.first(), Some(&["1.0".to_owned(), "1.0".to_owned()]));
    Ok(())
}

/// The sweep's voltage and what was read, row by row, from the file's URL.
fn table(rig: &Rig, id: &str) -> Result<Vec<[String; 2]>> {
    let listed = rig.hub.rest.expect(200, rig.hub.rest.get(&format!("/api/v1/runs/{id}/artifacts")))?;
    let file = listed["artifacts"].as_array().and_then(|files| files.iter().find(|file| file["name"] == "sweep.csv"));
    let url = file.and_then(|file| file["url"].as_str()).with_context(|| format!("no sweep.csv in {listed}"))?;
    let (status, text) = rig.hub.rest.get_text(url)?;
    assert_eq!(status, 200, "{text}");
    let mut rows = text.lines().map(|line| line.split(',').map(str::to_owned).collect::<Vec<String>>());
    let header = rows.next().context("an empty table")?;
    let column = |name: &str| {
        header.iter().position(|cell| cell == name).with_context(|| format!("no column {name} in {header:?}"))
    };
    let (volts, read) = (column("volts [V]")?, column("voltage [V]")?);
    Ok(rows.map(|row| [row[volts].clone(), row[read].clone()]).collect())
}

#[test]
#[ignore = "needs mosquitto and python3-websockets: run ./hil-tests/run"]
fn a_suite_names_its_procedures_marks_what_is_flaky_and_keeps_its_numbers() -> Result<()> {
    let mut rig = Rig::start(Choice::Mosquitto)?;
    dialects::open_shared(&mut rig.watcher, &rig.hub)?;
    let folder = rig.hub.data().join("procedures");
    fs::create_dir_all(&folder)?;
    fs::write(
        folder.join("meter-check.toml"),
        format!(
            "name = \"meter-check\"\n[params]\nhighest = {{ type = \"float\", default = 3.4 }}\n[roles]\nmeter = {{ device = {METER:?} }}\n\
             [[steps]]\nid = \"read\"\nuse = \"instrument.read\"\non = \"meter\"\n\
             with = {{ reading = \"value\", samples = 4, every = \"50ms\" }}\n\
             [[steps]]\nid = \"check\"\nuse = \"assert\"\nwith = {{ that = \"steps.read.voltage.max <= highest\" }}\n"
        ),
    )?;
    let suite = json!({
        "name": "regression", "kind": "suite",
        "tests": [
            { "id": "range", "name": "Meter in range", "procedure": "meter-check", "tags": ["smoke"],
              "runs": 20, "repeat": "until-passed", "score": "steps.read.voltage.mean" },
            { "id": "twice", "procedure": "meter-check", "params": { "highest": 9.0 }, "runs": 2 },
            { "id": "must", "procedure": "meter-check", "params": { "highest": 1.0 }, "critical": true },
            { "id": "never", "procedure": "meter-check" },
        ],
    });
    rig.meter.set("v", 5.0)?;
    let id = rig.hub.start_run(&suite, &json!({}))?;
    wait_event(&rig, &id, "a failed attempt", |event| event["attempt"]["passed"] == false)?;
    rig.meter.set("v", 3.3)?;
    let run = rig.hub.wait_run(&id, &FINAL)?;
    assert_eq!((&run["status"], &run["error"]["code"]), (&json!("failed"), &json!("TESTS_FAILED")), "{run}");

    let path = format!("/api/v1/runs/{id}/tests");
    let before = rig.hub.rest.expect(200, rig.hub.rest.get(&path))?;
    let tests = before["tests"].as_array().context("no tests")?;
    let outcomes: Vec<&Value> = tests.iter().map(|test| &test["status"]).collect();
    assert_eq!(outcomes, ["passed", "passed", "failed", "skipped"], "{before}");
    assert_eq!((&tests[0]["flaky"], &tests[1]["flaky"]), (&json!(true), &json!(false)), "{before}");
    assert_eq!(tests[1]["attempts"].as_array().map(Vec::len), Some(2));
    for attempt in tests.iter().flat_map(|test| test["attempts"].as_array().into_iter().flatten()) {
        let child = rig.hub.run(attempt["run"].as_str().context("an attempt without a run")?)?;
        assert_eq!(child["parent"], id.as_str(), "{child}");
    }

    // The dashboard hears of each test under the same integer.
    rig.watcher.wait_for(TEST_DASHBOARD, "the suite's end", PATIENCE, |frame| {
        let message = frame.json()?;
        (message["type"] == "suite_completed" && message["payload"]["suite_execution_id"] == run["number"])
            .then_some(())
    })?;
    let messages = messages_of(&rig.watcher, TEST_DASHBOARD, &run)?;
    let heard: BTreeSet<u64> = of_type(&messages, "test_completed")
        .iter()
        .filter_map(|message| message["payload"]["test_execution_id"].as_u64())
        .collect();
    let ended = tests.iter().filter(|test| test["status"] != "skipped");
    let expected: BTreeSet<u64> = ended.filter_map(|test| test["number"].as_u64()).collect();
    assert!(expected.is_subset(&heard), "{expected:?} {heard:?}");
    let end = of_type(&messages, "suite_completed");
    let payload = &end.first().context("no end")?["payload"];
    assert_eq!((&payload["passed_tests"], &payload["failed_tests"]), (&json!(2), &json!(1)), "{payload}");

    rig.hub.kill()?;
    rig.hub.start_again()?;
    assert_eq!(rig.hub.rest.expect(200, rig.hub.rest.get(&path))?, before, "numbers and results are for ever");

    // Only what is tagged; cancelled while a test runs.
    let mut held = suite.clone();
    held["tests"][0]["procedure"] = json!({
        "name": "held", "roles": { "psu": { "class": "psu" } },
        "steps": [
            { "id": "on", "use": "instrument.action", "on": "psu", "with": { "action": "output", "on": true } },
            { "id": "read", "use": "instrument.read", "on": "psu", "timeout": "5m",
              "with": { "reading": "voltage", "samples": 3000, "every": "100ms" } },
        ],
        "finally": [{ "id": "off", "use": "instrument.safe_state", "on": "psu" }],
    });
    let started = rig.hub.rest.post("/api/v1/runs", &json!({ "procedure": held, "tags": ["smoke"] }));
    let id = rig.hub.rest.expect(201, started)?["id"].as_str().context("no id")?.to_owned();
    let child = wait_event(&rig, &id, "its test's run", |event| event["type"] == "child")?;
    let child = child["run"].as_str().context("a child without a run")?.to_owned();
    wait_event(&rig, &child, "the test's reading", |event| changed(event, "read", "running"))?;
    command(&rig, &id, "cancel", 202)?;
    assert_eq!(rig.hub.wait_run(&id, &FINAL)?["status"], "cancelled");
    assert_eq!(rig.hub.run(&child)?["status"], "cancelled");
    assert_eq!(rig.supply.get("out")?, 0.0, "the test's finally step left it on");
    let tests = rig.hub.rest.expect(200, rig.hub.rest.get(&format!("/api/v1/runs/{id}/tests")))?;
    assert_eq!(tests["tests"].as_array().map(Vec::len), Some(1), "only the tagged test: {tests}");
    Ok(())
}

fn study(budget: usize, samples: usize) -> Value {
    json!({
        "name": "tune", "kind": "optimization",
        "roles": { "psu": { "class": "psu" } },
        "variables": { "volts": { "type": "float", "min": 1.0, "max": 5.0, "unit": "V" } },
        "objectives": { "height": { "metric": "read.voltage.mean", "direction": "maximize" } },
        "strategy": { "name": "nelder-mead", "budget": budget, "seed": 7 },
        "steps": [
            { "id": "set", "use": "instrument.action", "on": "psu", "with": { "action": "set_voltage", "v": "{{ volts | round(2) }}" } },
            { "id": "on", "use": "instrument.action", "on": "psu", "with": { "action": "output", "on": true } },
            { "id": "read", "use": "instrument.read", "on": "psu", "timeout": "5m",
              "with": { "reading": "voltage", "samples": samples, "every": "50ms" } },
        ],
        "finally": [{ "id": "off", "use": "instrument.safe_state", "on": "psu" }],
    })
}

#[test]
#[ignore = "needs mosquitto and python3-websockets: run ./hil-tests/run"]
fn a_study_tunes_a_supply_and_each_iteration_is_a_run() -> Result<()> {
    let mut rig = Rig::start(Choice::Mosquitto)?;
    let id = rig.hub.start_run(&study(8, 3), &json!({}))?;
    rig.watcher.open(OPTIMIZATION, &rig.hub.socket(&format!("/api/v2/ws/optimizations/{id}")), &[])?;
    rig.watcher.wait_for(OPTIMIZATION, "where the study stands", PATIENCE, |frame| frame.json().map(drop))?;
    let run = rig.hub.wait_run(&id, &FINAL)?;
    assert_eq!(run["status"], "completed", "{run}");
    let end = rig.watcher.wait_for_kind(OPTIMIZATION, "completed", PATIENCE)?;
    assert_eq!(end["optimization_id"], id.as_str());

    let found = iterations(&rig, &id)?;
    let rows = found["iterations"].as_array().context("no iterations")?;
    assert_eq!(rows.len(), 8);
    let height = |row: &Value| row["metrics"]["read.voltage.mean"].as_f64().or(row["metrics"]["height"].as_f64());
    let best = rows.iter().find(|row| row["iteration"] == found["best"]).context("no best iteration")?;
    assert!(best["front"] == true && best["feasible"] == true, "{best}");
    assert!(rows.iter().all(|row| height(row) <= height(best)), "{found}");
    let runs: BTreeSet<&str> = rows.iter().filter_map(|row| row["run"].as_str()).collect();
    assert_eq!(runs.len(), 8, "each iteration has its own run");
    for child in runs {
        let child = rig.hub.run(child)?;
        assert_eq!((&child["status"], &child["parent"]), (&json!("completed"), &json!(id)), "{child}");
    }
    // What was watched is what is in the record, from wherever the socket came in.
    let seen = rig.watcher.transcript(OPTIMIZATION);
    let seen: Vec<&Value> =
        seen.iter().filter_map(Frame::json).filter(|message| message["type"] == "optimization_iteration").collect();
    assert!(!seen.is_empty());
    for message in seen {
        let row = rows.iter().find(|row| row["iteration"] == message["iteration"]).context("an unknown iteration")?;
        assert_eq!((&message["run_id"], &message["parameters"]), (&row["run"], &row["parameters"]));
    }
    assert_eq!(rig.supply.get("out")?, 0.0);

    // Paused, it begins no iteration; cancelled, what runs for it ends, too.
    let id = rig.hub.start_run(&study(30, 20), &json!({}))?;
    wait_event(&rig, &id, "the first iteration's run", |event| event["type"] == "child")?;
    command(&rig, &id, "pause", 202)?;
    let first = of_type(&rig.hub.run_events(&id)?, "child")[0]["run"].as_str().context("no run")?.to_owned();
    assert_eq!(rig.hub.run(&first)?["status"], "paused", "what runs for it is paused with it");
    command(&rig, &id, "resume", 202)?;
    let second = wait::until("the second iteration's run", PATIENCE, || {
        let events = rig.hub.run_events(&id).map_err(|error| format!("{error:#}"))?;
        let runs = of_type(&events, "child");
        runs.get(1)
            .and_then(|child| child["run"].as_str())
            .map(str::to_owned)
            .ok_or_else(|| format!("{} so far", runs.len()))
    })?;
    wait_event(&rig, &second, "its reading", |event| changed(event, "read", "running"))?;
    command(&rig, &id, "cancel", 202)?;
    assert_eq!(rig.hub.wait_run(&id, &FINAL)?["status"], "cancelled");
    assert_eq!(rig.hub.run(&second)?["status"], "cancelled");
    assert_eq!(rig.supply.get("out")?, 0.0, "the iteration's finally step left it on");
    Ok(())
}

#[test]
#[ignore = "needs mosquitto and python3-websockets: run ./hil-tests/run"]
fn a_study_is_asked_and_told_from_outside() -> Result<()> {
    let mut rig = Rig::start(Choice::Mosquitto)?;
    let outside = json!({
        "name": "tune", "kind": "optimization",
        "variables": { "x": { "type": "float", "min": -1.0, "max": 1.0 }, "y": { "type": "float", "min": -1.0, "max": 1.0 } },
        "objectives": { "a": { "direction": "minimize" }, "b": { "direction": "minimize" } },
        "strategy": { "name": "random", "budget": 6, "seed": 3 },
    });
    let id = rig.hub.start_run(&outside, &json!({}))?;
    rig.watcher.open(OPTIMIZATION, &rig.hub.socket(&format!("/api/v2/ws/optimizations/{id}")), &[])?;
    rig.watcher.wait_for(OPTIMIZATION, "where the study stands", PATIENCE, |frame| frame.json().map(drop))?;
    let post = |rig: &Rig, verb: &str, body: &Value| rig.hub.rest.post(&format!("/api/v1/runs/{id}/{verb}"), body);
    for iteration in 1..=6_u64 {
        let asked = rig.hub.rest.expect(200, post(&rig, "ask", &json!({})))?;
        assert_eq!(asked["iteration"], iteration, "{asked}");
        let value = |name: &str| asked["parameters"][name].as_f64().with_context(|| format!("no {name} in {asked}"));
        let (x, y) = (value("x")?, value("y")?);
        if iteration == 3 {
            // Asked before the hub died, told after.
            rig.hub.kill()?;
            rig.hub.start_again()?;
        }
        let metrics = json!({ "a": x * x + y * y, "b": (x - 0.5).powi(2) + y * y });
        let body = json!({ "iteration": iteration, "metrics": metrics });
        assert_eq!(rig.hub.rest.expect(202, post(&rig, "tell", &body))?["accepted"], true);
        if iteration < 6 {
            assert_eq!(rig.hub.rest.expect(202, post(&rig, "tell", &body))?["accepted"], false, "told twice");
            let other = json!({ "iteration": iteration, "failed": "broken" });
            rig.hub.rest.expect(409, post(&rig, "tell", &other))?;
        }
    }
    assert_eq!(rig.hub.wait_run(&id, &FINAL)?["status"], "completed");
    let found = iterations(&rig, &id)?;
    let rows = found["iterations"].as_array().context("no iterations")?;
    let metric = |row: &Value, name: &str| row["metrics"][name].as_f64().unwrap_or(f64::NAN);
    for row in rows {
        let beaten = rows.iter().any(|other| {
            let (a, b) = (metric(other, "a") - metric(row, "a"), metric(other, "b") - metric(row, "b"));
            a <= 0.0 && b <= 0.0 && a + b < 0.0
        });
        assert_eq!(row["front"], !beaten, "the front is what no other iteration beats: {found}");
    }
    rig.hub.rest.expect(409, post(&rig, "ask", &json!({})))?;
    Ok(())
}

fn iterations(rig: &Rig, id: &str) -> Result<Value> {
    rig.hub.rest.expect(200, rig.hub.rest.get(&format!("/api/v1/runs/{id}/iterations")))
}

fn changed(event: &Value, step: &str, status: &str) -> bool {
    event["type"] == "step" && event["step"] == step && event["change"]["status"] == status
}

fn wait_event(rig: &Rig, id: &str, what: &str, is: impl Fn(&Value) -> bool) -> Result<Value> {
    wait::until(what, PATIENCE, || {
        let events = rig.hub.run_events(id).map_err(|error| format!("{error:#}"))?;
        events.iter().find(|event| is(event)).cloned().ok_or_else(|| format!("not among {} events", events.len()))
    })
}

fn command(rig: &Rig, id: &str, verb: &str, status: u16) -> Result<()> {
    let answer = rig.hub.rest.post(&format!("/api/v1/runs/{id}/{verb}"), &json!({}));
    rig.hub.rest.expect(status, answer).with_context(|| format!("{verb} of run {id}")).map(drop)
}
