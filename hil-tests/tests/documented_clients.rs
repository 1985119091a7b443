//! The clients of docs/clients/, as its README.md says to run them: each starts a run, sees its end, and says what it saw.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use rigwire_hil_tests::browser::Browser;
use rigwire_hil_tests::hub::{Hub, Mqtt};
use rigwire_hil_tests::process::Process;
use rigwire_hil_tests::rig::{Choice, Rig};
use rigwire_hil_tests::wait::{self, PATIENCE};
use rigwire_hil_tests::{node, port, procedures};
use serde_json::{Value, json};

const PROTOCOLS: [&str; 5] = ["protocol_runs", "device_farm", "agent_events", "solver_runs", "test_dashboard"];

#[test]
#[ignore = "needs nodejs and python3-websockets: run ./hil-tests/run"]
fn each_starts_a_run_and_tells_of_it_to_its_end() -> Result<()> {
    let rig = Rig::start(Choice::Embedded)?;
    keep(&rig.hub, "demo-ramp", procedures::ramp())?;
    let clients = clients()?;
    assert_eq!(clients.len(), 2 * PROTOCOLS.len(), "{clients:?}");
    for client in &clients {
        // The supply is taken, so that the run begins only when the client sees it.
        let holder = rig.hub.start_run(&procedures::holding(), &json!({}))?;
        rig.hub.wait_run(&holder, &["running"])?;
        let watching = match client.protocol.as_str() {
            "protocol_runs" => "is PENDING",
            "device_farm" | "solver_runs" => "0 %",
            "agent_events" => "Subscribed to",
            _ => "connected as",
        };
        let process = client.start(&rig.hub, &[], None)?;
        process.wait_for_text(watching, PATIENCE)?;
        rig.hub.rest.expect(202, rig.hub.rest.post(&format!("/api/v1/runs/{holder}/cancel"), &json!({})))?;
        let (completed, said) = end(process)?;
        assert!(completed, "{client:?}: {said}");
        let expected: &[&str] = match client.protocol.as_str() {
            "protocol_runs" => {
                &["is RUNNING", "voltage = 3.3 V", "[INFO] supply is at 3.3 V", "is COMPLETED", "complete at 20"]
            }
            "device_farm" => {
                &["psu-1 is busy", "instrument.read on dmm-1: completed", "completed: 5 of 5 steps", "report: http"]
            }
            "agent_events" => &["Connected to Praxis Agent", "psu-1", ": 5 nodes", "read is success", "complete after"],
            "solver_runs" => &["solving", "voltage = 3.3", "completed in"],
            "test_dashboard" => &["connected as", "read: passed", "[info] supply is at 3.3 V", "5 of 5 passed"],
            other => bail!("there is no protocol {other}"),
        };
        for line in expected {
            assert!(said.contains(line), "{client:?} does not say {line:?}: {said}");
        }
    }
    Ok(())
}

#[test]
#[ignore = "needs nodejs and python3-websockets: run ./hil-tests/run"]
fn each_brings_its_token_and_says_so_when_a_run_fails_or_it_may_not_start_one() -> Result<()> {
    let hub = Hub::start_with(Mqtt::Embedded(port::free()?), &["--auth", "token"])?;
    let (operator, viewer) = (hub.token("me", "operator")?, hub.token("board", "viewer")?);
    let step = |id: &str, module: &str, with: Value| json!({ "id": id, "use": module, "with": with });
    let note = step("note", "log", json!({ "message": "noted" }));
    let pause = step("pause", "delay", json!({ "duration": "300ms" }));
    let wrong = step("wrong", "assert", json!({ "that": "1 > 2", "message": "one is less" }));
    keep(&hub, "good", json!({ "steps": [note, pause] }))?;
    keep(&hub, "bad", json!({ "steps": [pause, wrong] }))?;
    for client in &clients()? {
        let (completed, said) = end(client.start(&hub, &["good"], Some(&operator))?)?;
        assert!(completed, "{client:?}: {said}");
        let (completed, said) = end(client.start(&hub, &["bad"], Some(&operator))?)?;
        // Whoever connects when the run is over is told that it is, and in device_farm no more than that.
        let late = client.protocol == "device_farm" && said.contains("EXECUTION_NOT_ACTIVE");
        assert!(!completed && (said.contains("one is less") || late), "{client:?}: {said}");
        for (token, why) in [(Some(viewer.as_str()), "operator"), (None, "a token is needed")] {
            let (completed, said) = end(client.start(&hub, &["good"], token)?)?;
            assert!(!completed && said.contains(why), "{client:?}: {said}");
            assert!(said.lines().count() < 8, "a traceback is for nobody: {client:?}: {said}");
        }
    }
    Ok(())
}

#[test]
#[ignore = "needs chromium, nodejs and python3: run ./hil-tests/run"]
fn the_same_clients_run_in_a_page_from_elsewhere_that_the_hub_lists() -> Result<()> {
    let (listen, pages) = (port::free()?, port::free()?);
    let origin = format!("http://127.0.0.1:{pages}");
    let hub = Hub::start_with(Mqtt::Embedded(listen), &["--auth", "token", "--cors-origins", &origin])?;
    let token = hub.token("me", "operator")?;
    keep(&hub, "good", json!({ "steps": [{ "id": "pause", "use": "delay", "with": { "duration": "300ms" } }] }))?;
    let mut server = Command::new("python3");
    server
        .args(["-m", "http.server", &pages.to_string(), "--bind", "127.0.0.1", "--directory"])
        .arg(folder("javascript"));
    let mut server = Process::start("the server of pages", &mut server)?;
    wait::until("the server of pages", PATIENCE, || {
        server.check_running().map_err(|error| error.to_string())?;
        std::net::TcpStream::connect(("127.0.0.1", pages)).map(drop).map_err(|error| error.to_string())
    })?;
    let page = |protocol: &str| {
        let query = format!("protocol={protocol}&procedure=good&hub={}&token={token}", hub.url(""));
        PathBuf::from(format!("{origin}/page.html?{query}"))
    };
    let opened = Browser::start()?.open(&hub.url(""), &PROTOCOLS.map(page))?;
    assert_eq!(opened.len(), PROTOCOLS.len());
    for page in opened {
        let lines: Vec<&str> = page.found.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        assert!(lines.contains(&"it completed") && lines.len() > 4, "{page:?}");
        assert!(page.complaints.is_empty(), "{page:?}");
    }
    Ok(())
}

/// One line of the README.
#[derive(Debug)]
struct Client {
    protocol: String,
    file: PathBuf,
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/clients").join(name)
}

fn clients() -> Result<Vec<Client>> {
    let readme = fs::read_to_string(folder("README.md"))?;
    let mut found = Vec::new();
    for line in readme.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let (["python3", file] | ["node", "--experimental-websocket", file]) = words.as_slice() else { continue };
        let path = Path::new(file);
        let protocol = path.file_stem().context("a client without a name")?.to_string_lossy().into_owned();
        found.push(Client { protocol, file: Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path) });
    }
    Ok(found)
}

impl Client {
    fn start(&self, hub: &Hub, arguments: &[&str], token: Option<&str>) -> Result<Process> {
        let in_python = self.file.extension().is_some_and(|extension| extension == "py");
        let mut command = if in_python { Command::new("/usr/bin/python3") } else { node::command()? };
        command.arg(&self.file).args(arguments).env("RIGWIRE_URL", hub.url("")).env_remove("RIGWIRE_TOKEN");
        command
            .env("no_proxy", "127.0.0.1")
            .env("PYTHONUNBUFFERED", "1")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .envs(token.map(|token| ("RIGWIRE_TOKEN", token)));
        Process::start(&self.protocol, &mut command)
    }
}

/// Whether it says that the run completed, and all that it says.
fn end(mut process: Process) -> Result<(bool, String)> {
    let status = process.wait_exit(PATIENCE)?;
    let said: Vec<String> = process.finish_output().into_iter().map(|line| line.text).collect();
    Ok((status.success(), said.join("\n")))
}

fn keep(hub: &Hub, name: &str, mut procedure: Value) -> Result<()> {
    procedure["name"] = json!(name);
    let folder = hub.data().join("procedures");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(format!("{name}.json")), procedure.to_string()).context("keeping a procedure")
}
