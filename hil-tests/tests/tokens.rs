//! Tokens as an operator makes them while the hub runs: who has one may do what its role allows, by URL and by header; one that is
//! revoked ends what it opened; and none is ever in the hub's log.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use rigwire_hil_tests::dialects::{AGENT_EVENTS, TEST_DASHBOARD};
use rigwire_hil_tests::hub::{Hub, Mqtt};
use rigwire_hil_tests::port;
use rigwire_hil_tests::process::binary;
use rigwire_hil_tests::wait::PATIENCE;
use rigwire_hil_tests::watcher::Watcher;
use serde_json::json;

/// Output of `rigwire token …`: standard output, standard error.
fn token(data: &Path, arguments: &[&str]) -> Result<(String, String)> {
    let output = Command::new(binary("rigwire")?).arg("token").args(arguments).arg("--data").arg(data).output()?;
    let said = String::from_utf8(output.stderr)?;
    ensure!(output.status.success(), "rigwire token {arguments:?}: {said}");
    Ok((String::from_utf8(output.stdout)?.trim().to_owned(), said))
}

#[test]
#[ignore = "needs python3-websockets: run ./hil-tests/run"]
fn tokens_are_made_used_listed_and_revoked_while_the_hub_runs() -> Result<()> {
    let hub = Hub::start_with(Mqtt::Embedded(port::free()?), &["--auth", "token"])?;
    let mut watcher = Watcher::start()?;
    let (status, answer) = hub.rest.get("/api/v1/runs")?;
    assert_eq!((status, &answer["code"]), (401, &json!("UNAUTHORIZED")), "{answer}");

    let (operator, said) = token(hub.data(), &["create", "--name", "olaf", "--role", "operator", "--for", "1h"])?;
    assert!(said.contains("\"olaf\", operator, good until") && !said.contains(&operator), "{said}");
    let (viewer, _) = token(hub.data(), &["create", "--name", "eve"])?;
    let (agent, _) = token(hub.data(), &["create", "--agent", "bench-1"])?;
    let (list, _) = token(hub.data(), &["list"])?;
    for row in [["olaf", "operator", "valid"], ["eve", "viewer", "valid"], ["bench-1", "agent", "valid"]] {
        ensure!(list.lines().any(|line| row.iter().all(|word| line.contains(word))), "{row:?} is not in\n{list}");
    }
    for secret in [&operator, &viewer, &agent] {
        assert!(!list.contains(secret.as_str()));
    }

    let body = json!({ "procedure": { "name": "says", "steps": [{ "id": "say", "use": "log", "with": { "message": "hello" } }] } });
    let start = |token: &str| hub.rest.post(&format!("/api/v1/runs?token={token}"), &body);
    assert_eq!(start(&operator)?.0, 201);
    let (status, answer) = start(&viewer)?;
    assert_eq!((status, &answer["detail"]), (403, &json!("\"eve\" is viewer, and this needs operator")));
    assert_eq!(start(&agent)?.0, 401, "an agent's token is for the broker alone");
    assert_eq!(hub.rest.get(&format!("/api/v1/runs?token={viewer}"))?.0, 200);

    for (name, path) in [(AGENT_EVENTS, "/ws/events"), (TEST_DASHBOARD, "/api/ws/updates")] {
        watcher.open(name, &hub.socket(&format!("{path}?token={viewer}")), &[])?;
        watcher.wait_for(name, "a greeting", PATIENCE, |frame| frame.json().map(drop))?;
    }
    let (revoked, _) = token(hub.data(), &["revoke", "eve"])?;
    assert!(revoked.contains("\"eve\" is revoked"), "{revoked}");
    let (_, answer) = hub.rest.get(&format!("/api/v1/runs?token={viewer}"))?;
    assert_eq!(answer["detail"], "the token was revoked");
    for name in [AGENT_EVENTS, TEST_DASHBOARD] {
        assert_eq!(watcher.wait_closed(name, PATIENCE)?, (1008, "UNAUTHORIZED".to_owned()));
    }
    // By its own name the list still knows it, and the same name may be given again.
    let (list, _) = token(hub.data(), &["list"])?;
    ensure!(list.lines().any(|line| line.contains("eve") && line.contains("revoked")), "{list}");
    token(hub.data(), &["create", "--name", "eve"])?;

    let again = token(hub.data(), &["create", "--name", "olaf"]).err().context("a name was given twice")?;
    assert!(again.to_string().contains("there is a token named \"olaf\" already"), "{again}");
    for line in hub.process()?.lines() {
        for secret in [&operator, &viewer, &agent] {
            assert!(!line.text.contains(secret.as_str()), "a token is in the log: {}", line.text);
        }
        assert!(!line.text.contains(" ERROR "), "{}", line.text);
    }
    Ok(())
}

#[test]
#[ignore = "starts hubs: run ./hil-tests/run"]
fn a_hub_that_others_can_reach_wants_tokens_or_a_word() -> Result<()> {
    let data = tempfile::TempDir::new()?;
    let hub = |more: &[&str]| -> Result<(bool, String)> {
        let mut command = Command::new(binary("rigwire")?);
        command
            .args(["serve", "--listen", &format!("0.0.0.0:{}", port::free()?), "--data"])
            .arg(data.path())
            .args(more);
        let output = command.output()?;
        Ok((output.status.success(), String::from_utf8(output.stderr)?))
    };
    let (started, said) = hub(&[])?;
    assert!(!started && said.contains("which others can reach, and clients need no token"), "{said}");
    let (started, said) = hub(&["--auth", "token", "--cors-origins", "board.example"])?;
    assert!(!started && said.contains("cors-origins has \"board.example\", expected"), "{said}");
    Ok(())
}
