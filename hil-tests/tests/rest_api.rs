//! The whole REST interface of a running hub with things in it, asked rightly and wrongly by a program that knows nothing but
//! its description.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use rigwire_hil_tests::procedures;
use rigwire_hil_tests::rig::{Choice, METER, Rig, SUPPLY};
use serde_json::{Value, json};

const FINAL: [&str; 3] = ["completed", "failed", "cancelled"];

#[test]
#[ignore = "needs mosquitto, python3-venv and packages from PyPI: run ./hil-tests/run"]
fn every_answer_is_as_it_is_described() -> Result<()> {
    let mut rig = Rig::start(Choice::Mosquitto)?;
    let ids = fill(&rig)?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("ids.json");
    std::fs::write(&path, ids.to_string())?;
    let cases = std::env::var("RIGWIRE_FUZZ_CASES").unwrap_or_else(|_| "15".to_owned());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("rest-fuzz");
    let status = Command::new(script).arg(rig.hub.url("")).arg(&path).arg(cases).status()?;
    rig.hub.check_running()?;
    rig.agent.check_running()?;
    ensure!(status.success(), "the hub and its description differ: {status}; what differs is above");
    Ok(())
}

/// Runs of several kinds, over and under way; files, procedures, a reservation. Answers ids of all that is there.
fn fill(rig: &Rig) -> Result<Value> {
    let rest = &rig.hub.rest;
    let mut runs = Vec::new();
    let read = json!({
        "name": "read", "roles": {"meter": {"device": METER}},
        "steps": [{"id": "read", "use": "instrument.read", "on": "meter", "with": {"reading": "value", "samples": 3, "every": "20ms"}}],
    });
    rest.expect(200, rest.put("/api/v1/procedures/read", &read)).context("keeping a procedure")?;
    let broken = json!({"name": "assert", "steps": [{"id": "check", "use": "assert", "with": {"that": "1 > 2"}}]});
    let suite = json!({
        "name": "suite", "kind": "suite",
        "tests": [{"id": "reads", "procedure": "read", "runs": 2, "tags": ["smoke"]}, {"id": "fails", "procedure": broken}],
    });
    let sweep = json!({
        "name": "sweep", "sweep": {"axes": [{"name": "volts", "values": [1.0, 2.0]}]},
        "steps": [{"id": "say", "use": "log", "with": {"message": "at {{ volts }}"}}],
    });
    for procedure in [json!("read"), broken, suite, sweep] {
        let id = rig.hub.start_run(&procedure, &json!({}))?;
        rig.hub.wait_run(&id, &FINAL)?;
        runs.push(id);
    }
    let study = json!({
        "name": "study", "kind": "optimization",
        "variables": {"volts": {"type": "float", "min": 0.0, "max": 5.0}},
        "objectives": {"noise": {"direction": "minimize"}},
        "strategy": {"name": "random", "budget": 1000},
    });
    let study = rig.hub.start_run(&study, &json!({}))?;
    rig.hub.wait_run(&study, &["running"])?;
    let asked = rest.expect(200, rest.post(&format!("/api/v1/runs/{study}/ask"), &json!({})))?;
    let told = json!({"iteration": asked["iteration"], "metrics": {"noise": 0.5}});
    rest.expect(202, rest.post(&format!("/api/v1/runs/{study}/tell"), &told))?;
    runs.push(study);
    let announced = json!({"external": true, "kind": "suite", "name": "nightly", "tests": [{"id": "boot", "runs": 2}]});
    let outside = rest.expect(201, rest.post("/api/v1/runs", &announced))?;
    let outside = outside["id"].as_str().context("no id")?.to_owned();
    let batch = json!([
        {"id": "1", "type": "test", "test": "boot", "status": "running", "current_run": 1},
        {"id": "2", "type": "artifact", "name": "boot.log", "media_type": "text/plain", "data": "aGVsbG8="},
        {"id": "3", "type": "log", "level": "warning", "message": "slow"},
    ]);
    rest.expect(202, rest.post(&format!("/api/v1/runs/{outside}/events"), &batch))?;
    let files = rest.expect(200, rest.get(&format!("/api/v1/runs/{outside}/artifacts")))?;
    let file = files["artifacts"][0]["path"].as_str().context("no file")?.to_owned();
    runs.push(outside);
    let claim = json!({"holder": "alice", "for": "1h"});
    rest.expect(201, rest.post(&format!("/api/v1/devices/{SUPPLY}/lease"), &claim))?;
    // They wait for what alice has.
    let waiting = [(); 3].map(|()| rig.hub.start_run(&procedures::ramp(), &json!({})));
    let waiting = waiting.into_iter().collect::<Result<Vec<String>>>()?;
    let all = [&runs[..], &waiting].concat();
    Ok(json!({
        "runs": all, "runs/cancel": waiting, "reports": runs, "devices": [SUPPLY, METER],
        "procedures": ["read"], "artifacts": [file], "js": ["websocket.js", "websocket.d.ts"],
    }))
}
