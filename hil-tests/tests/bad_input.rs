//! Bad input from every side: broker, sockets, REST, configuration. It is refused by name, counted, and nothing else suffers.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Command;

use anyhow::{Context, Result};
use rigwire_hil_tests::broker::Broker;
use rigwire_hil_tests::dialects::{self, AGENT_EVENTS, DEVICE_FARM, SOLVER_RUNS, TEST_DASHBOARD};
use rigwire_hil_tests::hub::{Hub, Mqtt};
use rigwire_hil_tests::process::{Process, binary};
use rigwire_hil_tests::publisher::Publisher;
use rigwire_hil_tests::rig::{Choice, Rig};
use rigwire_hil_tests::wait::{self, PATIENCE};
use rigwire_hil_tests::watcher::{Frame, Watcher};
use rigwire_hil_tests::{port, procedures};
use rigwire_shared::ids::AgentId;
use rigwire_shared::topic::{Channel, Topic};
use rigwire_shared::wire::{MESSAGE_MAX, WIRE_VERSION};
use serde_json::{Value, json};
use tempfile::TempDir;

const UNKNOWN_RUN: &str = "00000000-0000-4000-8000-000000000000";

#[test]
#[ignore = "needs mosquitto and python3-websockets: run ./hil-tests/run"]
fn garbage_on_every_channel_is_counted_and_harms_nobody() -> Result<()> {
    let rig = Rig::start(Choice::Mosquitto)?;
    let broker = rig.broker.as_ref().context("a rig without a broker")?;
    let mut publisher = Publisher::connect("vandal", broker.port())?;
    let stranger = AgentId::new("stranger")?;
    let garbage: [&[u8]; 6] = [
        b"",
        b"{}",
        &[0; 64],
        &[WIRE_VERSION + 1, 1, 2, 3],
        &[WIRE_VERSION, 0xff, 0xff, 0xff],
        &[0xff; MESSAGE_MAX + 1],
    ];
    for agent in [AgentId::new(rig.agent.id())?, stranger.clone()] {
        for channel in Channel::ALL {
            for payload in garbage {
                publisher.publish(&Topic::Agent(agent.clone(), channel).text(), false, payload)?;
            }
        }
    }
    for topic in ["rigwire/v1/0/stranger/up", "rigwire/v1/ingest/7", &format!("rigwire/v1/ingest/{UNKNOWN_RUN}")] {
        publisher.publish(topic, false, b"[{\"type\":\"dance\"}]")?;
    }
    for channel in [Channel::State, Channel::Inventory] {
        publisher.publish(&Topic::Agent(stranger.clone(), channel).text(), true, b"kept for ever")?;
    }

    wait::until("the garbage to be counted", PATIENCE, || {
        let agents =
            rig.hub.rest.expect(200, rig.hub.rest.get("/api/v1/agents")).map_err(|error| format!("{error:#}"))?;
        let counted = agents["agents"].as_array().into_iter().flatten().any(|agent| {
            agent["id"] == "stranger"
                && agent["counters"]["malformed"].as_u64().is_some_and(|malformed| malformed >= 12)
        });
        if counted { Ok(()) } else { Err(format!("{agents}")) }
    })?;
    rig.wait_online()?;
    let id = rig.hub.start_run(&procedures::ramp(), &json!({}))?;
    let run = rig.hub.wait_run(&id, &["completed", "failed", "cancelled"])?;
    assert_eq!(run["status"], "completed", "{run}");
    Ok(())
}

#[test]
#[ignore = "needs mosquitto and python3-websockets: run ./hil-tests/run"]
fn malformed_messages_are_answered_on_the_socket_they_came_from() -> Result<()> {
    let mut rig = Rig::start(Choice::Mosquitto)?;
    dialects::open_shared(&mut rig.watcher, &rig.hub)?;
    let id = rig.hub.start_run(&procedures::holding(), &json!({}))?;
    dialects::open_for_run(&mut rig.watcher, &rig.hub, &id)?;
    for (socket, text, pointer, expected) in [
        (DEVICE_FARM, "{", "/message", "the message is not JSON"),
        (DEVICE_FARM, r#"{"type":"dance"}"#, "/message", "\"dance\" is not known"),
        (DEVICE_FARM, r#"{"type":"subscribe_device"}"#, "/message", "has no \"device_id\""),
        (SOLVER_RUNS, "nonsense", "/error", "the message is not JSON"),
        (SOLVER_RUNS, r#"{"type":"dance"}"#, "/error", "unknown message type \"dance\""),
        (AGENT_EVENTS, "}{", "/payload/message", "Invalid message format"),
        (AGENT_EVENTS, r#"{"type":"dance"}"#, "/payload/message", "Invalid message type: dance"),
        (
            AGENT_EVENTS,
            r#"{"type":"SUBSCRIBE_EVENTS","payload":{"event_types":["dance"]}}"#,
            "/payload/message",
            "Invalid event types: dance",
        ),
        (TEST_DASHBOARD, "[", "/payload/error", "JSON"),
        (TEST_DASHBOARD, r#"{"type":"dance"}"#, "/payload/error", "Unknown message type: dance"),
        (
            TEST_DASHBOARD,
            r#"{"type":"subscribe","payload":{}}"#,
            "/payload/error",
            "Missing topic in subscribe request",
        ),
    ] {
        rig.watcher.send_text(socket, text)?;
        rig.watcher.wait_for(socket, &format!("an error that says {expected:?}"), PATIENCE, |frame| {
            let message = frame.json().filter(|_| frame.kind() == Some("error"))?;
            message.pointer(pointer)?.as_str()?.contains(expected).then_some(())
        })?;
    }
    // All of them still serve.
    rig.watcher.send(SOLVER_RUNS, &json!({"type": "ping"}))?;
    rig.watcher.wait_for_kind(SOLVER_RUNS, "pong", PATIENCE)?;
    rig.watcher.send(AGENT_EVENTS, &json!({"type": "PING", "id": "ping-1"}))?;
    assert_eq!(rig.watcher.wait_for_kind(AGENT_EVENTS, "PONG", PATIENCE)?["correlation_id"], "ping-1");
    rig.watcher.send(TEST_DASHBOARD, &json!({"type": "ping", "payload": {}}))?;
    rig.watcher.wait_for_kind(TEST_DASHBOARD, "pong", PATIENCE)?;
    rig.hub.rest.expect(202, rig.hub.rest.post(&format!("/api/v1/runs/{id}/cancel"), &json!({})))?;
    let ending = rig.watcher.wait_for_kind(DEVICE_FARM, "execution_completed", PATIENCE)?;
    assert_eq!(ending["status"], "cancelled");
    Ok(())
}

/// What no client of any protocol should send, and some does some day.
fn nonsense() -> Vec<String> {
    let mut texts: Vec<String> = [
        "",
        " ",
        "null",
        "true",
        "7",
        "-0",
        "1e999",
        "\"text\"",
        "[]",
        "{}",
        "[[]]",
        "{\"type\":null}",
        "{\"type\":7}",
        "{\"type\":[]}",
        "{\"type\":\"\"}",
        "{\"type\":\"\\u0000\"}",
        "{\"type\":\"ping\",\"type\":\"ping\"}",
        "{\"type\": \"ack\"}",
        "{\"type\":\"subscribe_device\",\"device_id\":7}",
        "{\"type\":\"subscribe_device\",\"device_id\":\"\"}",
        "{\"type\":\"start_preview\",\"device_id\":\"../../etc\",\"quality\":1}",
        "{\"type\":\"SUBSCRIBE_EVENTS\"}",
        "{\"type\":\"SUBSCRIBE_EVENTS\",\"payload\":{\"event_types\":{}}}",
        "{\"type\":\"DSL_COMMAND\",\"payload\":{\"command\":\"\"}}",
        "{\"type\":\"DSL_COMMAND\",\"payload\":{\"command\":\"read ; ; \\u0000 \u{202e}\"}}",
        "{\"type\":\"EXECUTE_WORKFLOW\",\"payload\":{\"nodes\":\"a\",\"edges\":7}}",
        "{\"type\":\"subscribe\",\"payload\":{\"topic\":[]}}",
        "{\"type\":\"subscribe\",\"payload\":{\"topic\":\"logs\",\"filter\":[1]}}",
        "{\"type\":\"unsubscribe\",\"payload\":null}",
        "\u{feff}{\"type\":\"ping\"}",
        "{\"type\":\"ping\"",
        "}{",
    ]
    .map(str::to_owned)
    .into();
    texts.push("[".repeat(20_000));
    texts.push(format!("{{\"type\":{:?}}}", "x".repeat(100_000)));
    texts.push(format!("[{}]", vec!["{\"type\":\"ack\"}"; 5000].join(",")));
    texts.push(format!("{{\"type\":\"ping\",\"id\":{}}}", "9".repeat(5000)));
    texts
}

#[test]
#[ignore = "needs python3-websockets: run ./hil-tests/run"]
fn nothing_that_a_client_sends_is_an_error_to_the_operator() -> Result<()> {
    let hub = Hub::start(Mqtt::Embedded(port::free()?))?;
    let waits = json!({ "name": "waits", "steps": [{ "id": "wait", "use": "delay", "with": { "duration": "10m" }, "timeout": "11m" }] });
    let id = hub.start_run(&waits, &json!({}))?;
    let mut watcher = Watcher::start()?;
    let of_run = [
        "/api/v1/ws/execution/",
        "/api/v1/ws/runs/",
        "/api/v1/ws/ws/runs/",
        "/ws/executions/",
        "/api/v1/ws/executions/",
    ]
    .into_iter()
    .chain(["/api/v2/ws/runs/", "/api/v2/ws/optimizations/"])
    .map(|path| format!("{path}{id}"));
    let shared = ["/api/v1/ws/devices", "/ws/events", "/ws/workflow", "/api/ws/updates"].map(str::to_owned);
    let paths: Vec<String> = of_run.chain(shared).collect();
    for path in &paths {
        watcher.open(path, &hub.socket(path), &[])?;
        watcher.wait_open(path, PATIENCE)?;
        for text in nonsense() {
            watcher.send_text(path, &text)?;
        }
    }
    // Each socket lives: it tells the end of the run, or answers what its protocol asks.
    watcher.send(&paths[7], &json!({ "type": "subscribe_device", "device_id": "the-last" }))?;
    watcher.send(&paths[10], &json!({ "type": "subscribe", "payload": { "topic": "suite:completed" } }))?;
    watcher.wait_for(&paths[7], "an answer to the last", PATIENCE, |frame| {
        frame.json().filter(|message| message["device_id"] == "the-last").map(drop)
    })?;
    watcher.wait_for(&paths[10], "the last subscription", PATIENCE, |frame| {
        frame.json().filter(|message| message["payload"]["topic"] == "suite:completed").map(drop)
    })?;
    hub.rest.expect(202, hub.rest.post(&format!("/api/v1/runs/{id}/cancel"), &json!({})))?;
    for (path, ending) in paths.iter().zip([
        "status",
        "status",
        "status",
        "execution_completed",
        "execution_completed",
        "cancelled",
        "cancelled",
        "",
        "workflowError",
        "workflowError",
        "suite_completed",
    ]) {
        if !ending.is_empty() {
            watcher.wait_for(path, &format!("the end as {ending}"), PATIENCE, |frame| {
                frame.json().filter(|message| message["type"] == ending).map(drop)
            })?;
        }
    }
    nothing_is_wrong_in_the_log(&hub)
}

#[test]
#[ignore = "starts a hub: run ./hil-tests/run"]
fn bytes_that_are_no_request_are_answered_or_closed() -> Result<()> {
    let hub = Hub::start(Mqtt::Embedded(port::free()?))?;
    let address = hub.socket("").trim_start_matches("ws://").to_owned();
    let upgrade = |more: &str| {
        format!("GET /ws/events HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{more}\r\n")
    };
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let cases: Vec<(Vec<u8>, Option<&str>)> = vec![
        (b"\0\0\0\0\r\n\r\n".to_vec(), Some("400")),
        (b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03".to_vec(), None),
        (b"GET / HTTP/9.9\r\n\r\n".to_vec(), Some("400")),
        (b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), Some("400")),
        (b"POST /api/v1/runs HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n".to_vec(), Some("400")),
        (format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(100_000)).into_bytes(), Some("4")),
        (format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "X-A: b\r\n".repeat(5000)).into_bytes(), Some("431")),
        (upgrade("Sec-WebSocket-Version: 13\r\n").into_bytes(), Some("400")),
        (upgrade(&format!("Sec-WebSocket-Version: 8\r\n{key}")).into_bytes(), Some("4")),
        (b"GET /ws/events HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), Some("4")),
    ];
    for (bytes, expected) in cases {
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned();
        let mut stream = TcpStream::connect(&address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(&bytes)?;
        stream.shutdown(Shutdown::Write)?;
        let mut answer = Vec::new();
        // A reset after the answer is an end, too.
        if let Err(error) = stream.read_to_end(&mut answer) {
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{shown:?}: {error}");
        }
        let answer = String::from_utf8_lossy(&answer).into_owned();
        match expected {
            Some(status) => assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{shown:?}: {answer}"),
            None => assert!(!answer.starts_with("HTTP/1.1 2"), "{shown:?}: {answer}"),
        }
    }
    assert_eq!(hub.rest.get_text("/healthz")?.0, 200);
    nothing_is_wrong_in_the_log(&hub)
}

/// An operator is called by what he must mend, not by what somebody sent.
fn nothing_is_wrong_in_the_log(hub: &Hub) -> Result<()> {
    for line in hub.process()?.lines() {
        assert!(!line.text.contains(" ERROR ") && !line.text.contains("panicked"), "{}", line.text);
    }
    Ok(())
}

#[test]
#[ignore = "needs python3-websockets: run ./hil-tests/run"]
fn sockets_for_runs_that_do_not_exist_say_so_and_close() -> Result<()> {
    let hub = Hub::start(Mqtt::Embedded(port::free()?))?;
    let mut watcher = Watcher::start()?;
    for (path, code, kind, pointer, expected) in [
        (format!("/api/v1/ws/execution/{UNKNOWN_RUN}"), 4404, Some("error"), "/payload/error", UNKNOWN_RUN),
        ("/api/v1/ws/execution/seven".to_owned(), 1003, None, "", ""),
        (format!("/ws/executions/{UNKNOWN_RUN}"), 4404, Some("error"), "/code", "INVALID_EXECUTION_ID"),
        ("/ws/executions/seven".to_owned(), 4404, Some("error"), "/code", "INVALID_EXECUTION_ID"),
        (format!("/api/v2/ws/runs/{UNKNOWN_RUN}"), 4404, Some("error"), "/error", "Run not found"),
        ("/api/v2/ws/runs/seven".to_owned(), 4404, Some("error"), "/error", "Run not found"),
    ] {
        watcher.open(&path, &hub.socket(&path), &[])?;
        let (found, reason) = watcher.wait_closed(&path, PATIENCE)?;
        let messages: Vec<Value> = watcher.transcript(&path).iter().filter_map(Frame::json).cloned().collect();
        // The device farm's document names no code: its error message tells the two apart.
        let fits = found == code || (code == 4404 && found == 1008);
        assert!(fits && !reason.is_empty(), "{path} was closed with {found} {reason:?}, expected {code}");
        assert_eq!(messages.len(), usize::from(kind.is_some()), "{path}: {messages:?}");
        if let Some(message) = messages.first() {
            assert_eq!(message["type"].as_str(), kind, "{path}");
            let said = message.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
            assert!(said.contains(expected), "{path}: {message}");
        }
    }
    Ok(())
}

#[test]
#[ignore = "needs mosquitto and python3-websockets: run ./hil-tests/run"]
fn bad_requests_get_a_status_and_a_sentence_that_names_the_thing() -> Result<()> {
    let rig = Rig::start(Choice::Mosquitto)?;
    let rest = &rig.hub.rest;
    let with_typo = {
        let mut procedure = procedures::ramp();
        procedure["steps"][0]["timeuot"] = json!("5s");
        procedure
    };
    let with_unknown_module = {
        let mut procedure = procedures::ramp();
        procedure["steps"][3]["use"] = json!("instrument.dance");
        procedure
    };
    for (body, status, parts) in [
        (json!({"procedure": procedures::ramp(), "params": {"volts": 40}}), 422, &["volts", "40", "0", "12"][..]),
        (json!({"procedure": procedures::ramp(), "params": {"volts": "many"}}), 422, &["volts", "many"]),
        (json!({"procedure": procedures::ramp(), "params": {"amperes": 1}}), 422, &["amperes"]),
        (json!({"procedure": "no-such-plan"}), 404, &["no-such-plan"]),
        (json!({"procedure": with_typo}), 422, &["timeuot"]),
        (json!({"procedure": with_unknown_module}), 422, &["steps[3].use", "instrument.dance"]),
        (json!({"procedrue": "psu-ramp"}), 422, &["procedrue"]),
        (json!([]), 422, &[]),
    ] {
        let (found, answer) = rest.post("/api/v1/runs", &body)?;
        check_refusal(&format!("{body}"), found, status, &answer, parts);
    }
    for (path, parts) in [
        (format!("/api/v1/runs/{UNKNOWN_RUN}"), &[UNKNOWN_RUN][..]),
        ("/api/v1/runs/999999".to_owned(), &["999999"]),
        ("/api/v1/procedures/no-such-plan".to_owned(), &["no-such-plan"]),
        ("/api/v1/no/such/route".to_owned(), &[]),
    ] {
        let (found, answer) = rest.get(&path)?;
        check_refusal(&path, found, 404, &answer, parts);
    }
    let (found, answer) = rest.get("/api/v1/runs/seven")?;
    assert!([400, 404, 422].contains(&found), "{found} {answer}");
    check_refusal("seven", found, found, &answer, &["seven"]);
    let (found, answer) = rest.post_text("/api/v1/runs", "application/json", "{\"procedure\": ")?;
    assert!([400, 422].contains(&found), "{found} {answer}");
    check_refusal("half a body", found, found, &answer, &["JSON"]);

    // What the agent's profile knows better than the hub: the step fails, with the agent's own sentence.
    let beyond = json!({
        "name": "beyond",
        "roles": {"psu": {"class": "psu"}},
        "steps": [{"id": "set", "use": "instrument.action", "on": "psu", "with": {"action": "set_voltage", "v": 400.0}}]
    });
    let id = rig.hub.start_run(&beyond, &json!({}))?;
    let run = rig.hub.wait_run(&id, &["completed", "failed", "cancelled"])?;
    assert_eq!(run["status"], "failed", "{run}");
    let error = run["error"].to_string();
    for part in ["INVALID_PARAMETER", "parameter v of action set_voltage is 400 V, allowed 0 to 31 V"] {
        assert!(error.contains(part), "{error}");
    }
    Ok(())
}

#[test]
#[ignore = "starts programs: run ./hil-tests/run"]
fn a_port_that_another_process_holds_is_named() -> Result<()> {
    let holder = TcpListener::bind("127.0.0.1:0")?;
    let address = holder.local_addr()?.to_string();
    let folder = TempDir::new()?;
    let free = format!("127.0.0.1:{}", port::free()?);
    for (listen, mqtt) in [(&address, &free), (&free, &address)] {
        let mut command = Command::new(binary("rigwire")?);
        command.args(["serve", "--listen", listen, "--mqtt-listen", mqtt, "--data"]).arg(folder.path());
        let said = refused(&mut command)?;
        assert!(said.contains(&address) && said.contains("in use"), "{said}");
    }
    Ok(())
}

#[test]
#[ignore = "starts programs: run ./hil-tests/run"]
fn a_broken_configuration_is_refused_with_its_line() -> Result<()> {
    let folder = TempDir::new()?;
    let instrument = |more: &str| {
        format!("[[instrument]]\nid = \"psu-1\"\nprofile = \"korad.ka3005p\"\nport = \"/dev/null\"\n{more}")
    };
    let other = instrument("").replace("psu-1", "psu-2");
    fs::write(folder.path().join("broken.toml"), "format = 1\nid = \"x\"\ncolour = \"red\"\n")?;
    let broken = folder.path().join("broken.toml").display().to_string();
    for (text, parts) in [
        (instrument("bauds = 9600\n"), &["agent.toml:5", "bauds"][..]),
        (instrument("mode = \"rule\"\n"), &["agent.toml:5", "mode", "rule"]),
        ("hbu = \"mqtt://127.0.0.1\"\n".to_owned(), &["agent.toml:1", "hbu"]),
        ("id = \"Bench 1\"\n".to_owned(), &["agent.toml:1", "id", "Bench 1"]),
        (instrument("").replace("korad.ka3005p", "korad.ka3005"), &["korad.ka3005", "korad.ka3005p"]),
        (format!("{}{}", instrument(""), instrument("")), &["psu-1"]),
        (format!("{}{other}", instrument("")), &["/dev/null"]),
        (instrument("").replace("korad.ka3005p", &broken), &["broken.toml:3", "colour"]),
        ("id = \n".to_owned(), &["agent.toml:1"]),
    ] {
        let path = folder.path().join("agent.toml");
        fs::write(&path, &text)?;
        let said = refused(Command::new(binary("rigwire-agent")?).arg("check").arg("--config").arg(&path))?;
        for part in parts {
            assert!(said.contains(part), "{part} is missing; for\n{text}\nit said\n{said}");
        }
        assert!(!said.contains("panicked"), "{said}");
    }
    let missing = folder.path().join("nowhere.toml");
    let said = refused(Command::new(binary("rigwire-agent")?).arg("check").arg("--config").arg(&missing))?;
    assert!(said.contains("nowhere.toml"), "{said}");
    Ok(())
}

#[test]
#[ignore = "needs mosquitto: run ./hil-tests/run"]
fn a_hub_waits_for_a_broker_that_is_not_there_yet() -> Result<()> {
    let mut broker = Broker::start()?;
    broker.kill()?;
    let folder = TempDir::new()?;
    let listen = port::free()?;
    let mut command = Command::new(binary("rigwire")?);
    command.args(["serve", "--listen", &format!("127.0.0.1:{listen}"), "--mqtt", &broker.url(), "--data"]);
    let mut hub = Process::start("a hub without a broker", command.arg(folder.path()))?;
    let rest = rigwire_hil_tests::rest::Rest::new(listen);
    let readiness = |hub: &mut Process, wanted: u16| {
        wait::until(&format!("/readyz to answer {wanted}"), PATIENCE, || {
            hub.check_running().map_err(|error| error.to_string())?;
            match rest.get_text("/readyz") {
                Ok((status, body)) if status == wanted => Ok(body),
                other => Err(format!("{other:?}\n{}", hub.tail())),
            }
        })
    };
    let body = readiness(&mut hub, 503)?;
    assert!(body.contains("mqtt") || body.contains("broker"), "{body}");
    broker.start_again()?;
    readiness(&mut hub, 200)?;
    Ok(())
}

/// Runs a program that must refuse its input; what it says on its way out.
fn refused(command: &mut Command) -> Result<String> {
    let mut process = Process::start("a program that must refuse", command)?;
    let status = process.wait_exit(PATIENCE)?;
    let said = process.finish_output().iter().map(|line| line.text.clone()).collect::<Vec<_>>().join("\n");
    assert!(!status.success(), "it accepted its input: {said}");
    assert_ne!(status.code(), Some(101), "it panicked: {said}");
    Ok(said)
}

fn check_refusal(what: &str, found: u16, status: u16, answer: &Value, parts: &[&str]) {
    assert_eq!(found, status, "{what}: {answer}");
    let detail = answer["detail"].as_str().unwrap_or_default();
    assert!(!detail.is_empty() && answer["code"].is_string(), "{what}: {answer}");
    for part in parts {
        assert!(detail.contains(part), "{what}: {part} is missing in {detail:?}");
    }
}
