//! An agent and its token at the embedded broker: with it everything works; without it, with another's or with one that was
//! revoked it is not let in, and its log says what is missing and never the token.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use rigwire_hil_tests::agent::{Agent, Instrument};
use rigwire_hil_tests::hub::{Hub, Mqtt};
use rigwire_hil_tests::port;
use rigwire_hil_tests::process::binary;
use rigwire_hil_tests::simulator::Simulator;
use rigwire_hil_tests::wait::{self, PATIENCE};
use serde_json::json;

const REFUSED: &str = "the broker refuses user and password";

fn token(data: &Path, arguments: &[&str]) -> Result<String> {
    let output = Command::new(binary("rigwire")?).arg("token").args(arguments).arg("--data").arg(data).output()?;
    ensure!(output.status.success(), "rigwire token {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

fn wait_status(hub: &Hub, path: &str, key: &str, wanted: &str) -> Result<()> {
    wait::until(&format!("{path} to be {wanted}"), PATIENCE, || {
        let (_, body) = hub.rest.get(path).map_err(|error| format!("{error:#}"))?;
        if body[key] == wanted { Ok(()) } else { Err(body.to_string()) }
    })
}

#[test]
#[ignore = "starts hubs: run ./hil-tests/run"]
fn an_agent_is_let_in_by_its_token_until_that_is_revoked() -> Result<()> {
    let folder = tempfile::TempDir::new()?;
    let supply = Simulator::start("korad.ka3005p", &folder.path().join("supply"), &[])?;
    let instrument = [Instrument::new("psu-1", "korad.ka3005p", supply.link())];
    let broker = port::free()?;
    let hub = Hub::start_with(Mqtt::Embedded(broker), &["--auth", "token"])?;
    let operator = hub.token("olaf", "operator")?;
    let secret = token(hub.data(), &["create", "--agent", "bench-1"])?;
    let another = token(hub.data(), &["create", "--agent", "bench-2"])?;

    for (id, credentials) in [
        ("bench-1", String::new()),
        ("bench-1", format!("bench-1:{another}@")),
        ("bench-1", "bench-1:wrong@".to_owned()),
    ] {
        let mut agent = Agent::start(id, &format!("mqtt://{credentials}127.0.0.1:{broker}"), &instrument)?;
        let line = agent.process()?.wait_for_text(REFUSED, PATIENCE)?;
        assert!(line.contains("rigwire token create --agent"), "{line}");
        agent.stop()?;
    }

    let url = format!("mqtt://bench-1:{secret}@127.0.0.1:{broker}");
    let mut agent = Agent::start("bench-1", &url, &instrument)?;
    let device = format!("/api/v1/devices/psu-1?token={operator}");
    wait_status(&hub, &device, "state", "online")?;
    let step =
        json!({"id": "set", "use": "instrument.action", "on": "psu", "with": {"action": "set_voltage", "v": 3.3}});
    let procedure = json!({"name": "set", "roles": {"psu": {"device": "psu-1"}}, "steps": [step]});
    let started = hub.rest.post(&format!("/api/v1/runs?token={operator}"), &json!({ "procedure": procedure }));
    let run = hub.rest.expect(201, started)?;
    let id = run["id"].as_str().unwrap_or_default().to_owned();
    wait_status(&hub, &format!("/api/v1/runs/{id}?token={operator}"), "status", "completed")?;

    token(hub.data(), &["revoke", "bench-1"])?;
    agent.process()?.wait_for_text(REFUSED, PATIENCE)?;
    wait_status(&hub, &device, "state", "gone")?;
    let new = token(hub.data(), &["create", "--agent", "bench-1"])?;
    let lines: Vec<String> = agent.process()?.lines().into_iter().map(|line| line.text).collect();
    agent.stop()?;
    let agent = Agent::start("bench-1", &format!("mqtt://bench-1:{new}@127.0.0.1:{broker}"), &instrument)?;
    wait_status(&hub, &device, "state", "online")?;

    let of_hub = hub.process()?.lines().into_iter().map(|line| line.text);
    let of_agent = agent.process()?.lines().into_iter().map(|line| line.text);
    for line in lines.into_iter().chain(of_hub).chain(of_agent) {
        for secret in [&secret, &another, &new, &operator] {
            assert!(!line.contains(secret.as_str()), "a token is in the log: {line}");
        }
    }
    Ok(())
}
