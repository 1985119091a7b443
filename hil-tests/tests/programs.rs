//! Programs that procedures start on an agent's host: what they report reaches the record, and nothing of them is left when their
//! step has ended, however it ends.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rigwire_hil_tests::agent::Agent;
use rigwire_hil_tests::dialects::of_type;
use rigwire_hil_tests::hub::{Hub, Mqtt};
use rigwire_hil_tests::port;
use rigwire_hil_tests::wait::{self, PATIENCE};
use serde_json::{Value, json};
use tempfile::TempDir;

const HOST: &str = "host-bench-1";

/// Ignores what it is asked, has a child that does so too and one that leaves for a session of its own, and tells their ids.
const FAMILY: &str = "echo started >> \"$STARTS\"; trap '' TERM; \
    sh -c 'trap \"\" TERM; echo pid $$; while :; do sleep 0.05; done' & \
    setsid sh -c 'trap \"\" TERM; echo pid $$; while :; do sleep 0.05; done' & \
    echo pid $$; while :; do sleep 0.05; done";

const PYTEST: &str = r#"
import sys
open(sys.argv[1], "w").write("""<?xml version="1.0"?><testsuites><testsuite name="pytest" tests="3">
<testcase classname="test_psu" name="test_on" time="0.25"/>
<testcase classname="test_psu" name="test_off" time="0.5"><failure message="assert 3.1 == 3.3">trace</failure></testcase>
<testcase classname="test_psu" name="test_later"><skipped message="no meter"/></testcase>
</testsuite></testsuites>""")
print("1 failed, 1 passed, 1 skipped")
sys.exit(1)
"#;

struct Bench {
    agent: Agent,
    hub: Hub,
    folder: TempDir,
}

impl Bench {
    fn start() -> Result<Self> {
        let folder = TempDir::new()?;
        let mqtt = Mqtt::Embedded(port::free()?);
        let url = mqtt.url();
        let hub = Hub::start(mqtt)?;
        let agent = Agent::start_configured("bench-1", &url, &configuration(folder.path())?)?;
        hub.wait_device(HOST, &["online"])?;
        Ok(Self { agent, hub, folder })
    }

    fn run(&self, with: &Value, timeout: &str) -> Result<String> {
        let step = json!({ "id": "go", "use": "process.run", "with": with, "timeout": timeout });
        self.hub.start_run(&json!({ "name": "programs", "steps": [step] }), &json!({}))
    }

    fn ended(&self, id: &str) -> Result<(Value, Vec<Value>)> {
        let run = self.hub.wait_run(id, &["completed", "failed", "cancelled"])?;
        Ok((run, self.hub.run_events(id)?))
    }

    /// Process ids that the program told in its log.
    fn wait_pids(&self, id: &str, count: usize) -> Result<Vec<String>> {
        wait::until(&format!("{count} process ids in the log"), PATIENCE, || {
            let events = self.hub.run_events(id).map_err(|error| format!("{error:#}"))?;
            let logs = of_type(&events, "log");
            let told = logs.iter().filter_map(|log| log["message"].as_str()?.strip_prefix("pid "));
            let pids: Vec<String> = told.map(str::to_owned).collect();
            if pids.len() == count { Ok(pids) } else { Err(format!("{pids:?} so far")) }
        })
    }

    fn starts(&self) -> usize {
        std::fs::read_to_string(self.folder.path().join("starts")).unwrap_or_default().lines().count()
    }
}

fn configuration(folder: &Path) -> Result<String> {
    // As the tests' own user, who may be root in a container.
    let own = own_user()?;
    let solver = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/programs/solver.py");
    let starts = folder.join("starts");
    let program = |name: &str, command: Value, more: &str| {
        format!("[[program]]\nname = \"{name}\"\ncommand = {command}\nuser = {own:?}\n{more}\n")
    };
    Ok([
        program("solver", json!(["/usr/bin/python3", solver]), "args-allowed = [\"[0-9]+\"]\n"),
        program("family", json!(["/bin/sh", "-c", FAMILY]), &format!("environment = {{ STARTS = {starts:?} }}\n")),
        program("pytest", json!(["/usr/bin/python3", "-c", PYTEST, "{work}/junit.xml"]), ""),
    ]
    .concat())
}

fn own_user() -> Result<String> {
    let own = std::fs::metadata("/proc/self").context("who am I")?;
    let own = std::os::unix::fs::MetadataExt::uid(&own).to_string();
    let passwd = std::fs::read_to_string("/etc/passwd")?;
    let mut lines = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let line = lines.find(|fields| fields.get(2) == Some(&own.as_str()));
    Ok(line.and_then(|fields| fields.first().copied()).context("a user without a name")?.to_owned())
}

fn is_running(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z')))
}

#[test]
#[ignore = "needs python3: run ./hil-tests/run"]
fn a_solver_reports_progress_metrics_and_a_table() -> Result<()> {
    let bench = Bench::start()?;
    let procedure = json!({
        "name": "beam",
        "params": { "cases": { "type": "int", "default": 9 } },
        "steps": [
            { "id": "solve", "use": "process.run", "with": { "program": "solver", "args": ["{{ cases }}"] },
              "expect": { "peak": { "min": 1.0 } } },
            { "id": "use", "use": "assert", "with": { "that": "steps.solve.peak >= steps.solve.response and steps.solve.exit_code == 0" } }
        ]
    });
    let id = bench.hub.start_run(&procedure, &json!({}))?;
    let (run, events) = bench.ended(&id)?;
    assert_eq!(run["status"], "completed", "{run}\n{events:#?}");
    assert_eq!(of_type(&events, "metric").len(), 9);
    let progress = of_type(&events, "progress");
    assert!(
        progress.iter().any(|event| event["phase"] == "meshing" && event["message"] == "Beam, 40 elements"),
        "{progress:#?}"
    );
    assert!(
        progress.iter().any(|event| event["phase"] == "postprocessing" && event["message"] == "Writing the table"),
        "{progress:#?}"
    );
    let listed = bench.hub.rest.expect(200, bench.hub.rest.get(&format!("/api/v1/runs/{id}/artifacts")))?;
    let file = &listed["artifacts"][0];
    assert_eq!((file["name"].as_str(), file["media_type"].as_str()), (Some("sweep.csv"), Some("text/csv")), "{listed}");
    let (status, table) = bench.hub.rest.get_text(file["url"].as_str().context("a file without a URL")?)?;
    assert_eq!((status, table.lines().count()), (200, 10), "{table}");
    Ok(())
}

#[test]
#[ignore = "needs python3: run ./hil-tests/run"]
fn a_cancel_ends_a_program_and_all_that_it_started_within_a_second() -> Result<()> {
    let bench = Bench::start()?;
    let id = bench.run(&json!({ "program": "family" }), "10m")?;
    let pids = bench.wait_pids(&id, 3)?;
    assert!(pids.iter().all(|pid| is_running(pid)), "{pids:?}");
    let asked = Instant::now();
    bench.hub.rest.expect(202, bench.hub.rest.post(&format!("/api/v1/runs/{id}/cancel"), &json!({})))?;
    wait::until("the end of all three processes", PATIENCE, || {
        let left: Vec<&String> = pids.iter().filter(|pid| is_running(pid)).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?} run")) }
    })?;
    let took = asked.elapsed();
    assert!(took < Duration::from_secs(1), "{took:?}");
    let (run, _) = bench.ended(&id)?;
    assert_eq!(run["status"], "cancelled", "{run}");
    bench.hub.wait_device(HOST, &["online"])?;
    Ok(())
}

#[test]
#[ignore = "needs python3: run ./hil-tests/run"]
fn a_program_that_takes_too_long_is_ended_and_says_what_it_last_printed() -> Result<()> {
    let bench = Bench::start()?;
    let id = bench.run(&json!({ "program": "family" }), "1s")?;
    let pids = bench.wait_pids(&id, 3)?;
    let (run, _) = bench.ended(&id)?;
    assert_eq!(
        (run["status"].as_str(), run["error"]["code"].as_str()),
        (Some("failed"), Some("MODULE_TIMEOUT")),
        "{run}"
    );
    let message = run["error"]["message"].as_str().unwrap_or_default();
    assert!(
        message.starts_with("program family did not end within 1s and was stopped; it last printed:\npid "),
        "{message}"
    );
    assert!(pids.iter().all(|pid| !is_running(pid)), "{pids:?}");
    Ok(())
}

#[test]
#[ignore = "needs python3: run ./hil-tests/run"]
fn an_agent_that_is_killed_leaves_nothing_running_after_its_next_start_and_starts_nothing_twice() -> Result<()> {
    let mut bench = Bench::start()?;
    let id = bench.run(&json!({ "program": "family" }), "10m")?;
    let pids = bench.wait_pids(&id, 3)?;
    bench.agent.kill()?;
    bench.agent.start_again()?;
    let (run, events) = bench.ended(&id)?;
    assert_eq!(
        (run["status"].as_str(), run["error"]["code"].as_str()),
        (Some("failed"), Some("AGENT_RESTARTED")),
        "{run}"
    );
    // It was ended before the agent said that it is there again.
    assert!(pids.iter().all(|pid| !is_running(pid)), "{pids:?}");
    assert_eq!(bench.starts(), 1);
    assert_eq!(of_type(&events, "finished").len(), 1);
    bench.hub.wait_device(HOST, &["online"])?;
    let (run, _) = bench.ended(&bench.run(&json!({ "program": "solver", "args": [2] }), "1m")?)?;
    assert_eq!(run["status"], "completed", "{run}");
    Ok(())
}

#[test]
#[ignore = "needs python3: run ./hil-tests/run"]
fn an_agent_that_is_stopped_ends_its_programs_in_order() -> Result<()> {
    let mut bench = Bench::start()?;
    let id = bench.run(&json!({ "program": "family" }), "10m")?;
    let pids = bench.wait_pids(&id, 3)?;
    let (status, took) = bench.agent.stop()?;
    assert!(status.success() && took < Duration::from_secs(2), "{status} after {took:?}");
    assert!(pids.iter().all(|pid| !is_running(pid)), "{pids:?}");
    let (run, _) = bench.ended(&id)?;
    assert_eq!(
        (run["status"].as_str(), run["error"]["code"].as_str()),
        (Some("failed"), Some("AGENT_STOPPED")),
        "{run}"
    );
    Ok(())
}

#[test]
#[ignore = "needs python3: run ./hil-tests/run"]
fn tests_of_a_results_file_become_tests_of_the_run() -> Result<()> {
    let bench = Bench::start()?;
    let with = json!({ "program": "pytest", "results": "junit", "file": "junit.xml" });
    let id = bench.run(&with, "1m")?;
    let (run, events) = bench.ended(&id)?;
    assert_eq!(run["error"]["message"], "1 of 3 tests failed: test_off", "{run}");
    let tests = of_type(&events, "test");
    let told: Vec<_> = tests.iter().map(|test| (test["test"].as_str(), test["status"].as_str())).collect();
    let expected = [("on", "completed"), ("off", "failed"), ("later", "skipped")];
    let expected = expected.map(|(name, status)| (format!("test_psu::test_{name}"), status));
    let expected: Vec<_> = expected.iter().map(|(id, status)| (Some(id.as_str()), Some(*status))).collect();
    assert_eq!(told, expected);
    let mut numbers: Vec<u64> = tests.iter().filter_map(|test| test["number"].as_u64()).collect();
    numbers.dedup();
    assert_eq!(numbers.len(), 3, "{tests:#?}");
    assert_eq!(tests[1]["message"], "assert 3.1 == 3.3");
    let (status, report) = bench.hub.rest.get_text(&format!("/api/v1/reports/{id}?format=junit"))?;
    assert!(status == 200 && report.contains("test_off") && report.contains("assert 3.1 == 3.3"), "{report}");
    Ok(())
}

#[test]
#[ignore = "needs python3: run ./hil-tests/run"]
fn what_is_not_listed_does_not_run() -> Result<()> {
    let bench = Bench::start()?;
    let steps = json!([{ "id": "go", "use": "process.run", "on": "pi", "with": { "program": "rm", "args": ["-rf"] } }]);
    let procedure = json!({ "name": "bad", "roles": { "pi": { "device": HOST } }, "steps": steps });
    let id = bench.hub.start_run(&procedure, &json!({}))?;
    let (run, _) = bench.ended(&id)?;
    let message = run["error"]["message"].as_str().unwrap_or_default();
    assert_eq!(run["error"]["code"], "INVALID_PARAMETER", "{run}");
    assert!(
        message.starts_with("program \"rm\" may not run here: it is not among solver, family, pytest"),
        "{message}"
    );
    assert!(message.contains("[[program]] in ") && message.ends_with("agent.toml"), "{message}");
    Ok(())
}
