//! The client library that the hub serves: alone, in Node against a hub that comes and goes, and in a real browser.

use anyhow::{Context, Result};
use rigwire_hil_tests::browser::Browser;
use rigwire_hil_tests::hub::{Hub, Mqtt};
use rigwire_hil_tests::process::{Process, Stream};
use rigwire_hil_tests::proxy::Proxy;
use rigwire_hil_tests::wait::PATIENCE;
use rigwire_hil_tests::watcher::Watcher;
use rigwire_hil_tests::{node, port};
use serde_json::{Value, json};

#[test]
#[ignore = "needs nodejs: run ./hil-tests/run"]
fn the_library_keeps_its_promises_without_a_server() -> Result<()> {
    let script = node::clients().join("library/unit.test.mjs");
    let printed = node::run(node::command()?.args(["--test", "--test-reporter=tap"]).arg(script))?;
    let count = |word: &str| {
        let line = printed.lines().find_map(|line| line.strip_prefix(&format!("# {word} ")));
        line.and_then(|count| count.trim().parse::<u32>().ok())
            .with_context(|| format!("no count of {word}: {printed}"))
    };
    assert!(count("pass")? >= 20 && count("fail")? == 0, "{printed}");
    Ok(())
}

#[test]
#[ignore = "needs nodejs: run ./hil-tests/run"]
fn it_comes_back_after_a_kill_and_a_stop_of_the_hub_with_its_id_and_its_subscriptions() -> Result<()> {
    let mut hub = Hub::start(Mqtt::Embedded(port::free()?))?;
    let mut library = Library::start(&json!({ "url": hub.socket("/api/ws/updates"), "reconnectInterval": 100 }))?;
    library.call("subscribe", &json!(["suite:completed"]))?;
    library.call("subscribe", &json!(["logs"]))?;
    library.call("unsubscribe", &json!(["logs"]))?;
    library.call("connect", &json!([]))?;
    library.wait(0, "the promise", |told| told["type"] == "resolved")?;
    let greeted = library.wait(0, "the greeting", |told| told["type"] == "connect")?;
    let id = greeted["data"]["client_id"].as_str().context("no id")?.to_owned();
    library.wait(0, "the subscription", |told| told["type"] == "subscribed")?;
    let first = library.sees_a_suite(&hub, "first")?;
    assert_eq!(first["sequence"], 1, "{first}");

    for (name, code) in [("killed", 1006), ("stopped", 1001)] {
        let mark = library.mark();
        if name == "killed" {
            hub.kill()?
        } else {
            hub.stop().map(drop)?
        }
        let lost = library.wait(mark, "the loss", |told| told["type"] == "disconnect")?;
        assert_eq!(lost["data"]["code"], code, "{lost}");
        library.wait(mark, "a third attempt", |told| told["data"] == json!({ "attempt": 3 }))?;
        hub.start_again()?;
        let back = library.wait(mark, "the connection", |told| told["type"] == "connect")?;
        assert_eq!(back["data"]["client_id"], id, "{back}");
        let asked = library.wait(mark, "the subscription", |told| told["type"] == "subscribed")?;
        assert_eq!(asked["data"], json!({ "topic": "suite:completed" }), "{asked}");
        library.sees_a_suite(&hub, name)?;
    }
    let told = library.told(0);
    assert!(!told.iter().any(|told| told["type"] == "sequence_gap"), "a hub that counts anew is no gap: {told:#?}");
    assert!(!told.iter().any(|told| told["data"]["topic"] == "logs"), "{told:#?}");
    library.end()
}

#[test]
#[ignore = "needs nodejs and python3-websockets: run ./hil-tests/run"]
fn what_it_missed_while_another_had_its_place_is_a_gap_of_that_size() -> Result<()> {
    let hub = Hub::start(Mqtt::Embedded(port::free()?))?;
    let proxy = Proxy::start(hub.port())?;
    let url = format!("ws://127.0.0.1:{}/api/ws/updates", proxy.port());
    let mut library = Library::start(&json!({ "url": url, "clientId": "one", "reconnectInterval": 60_000 }))?;
    library.call("subscribe", &json!(["suite:completed"]))?;
    library.call("connect", &json!([]))?;
    library.wait(0, "the subscription", |told| told["type"] == "subscribed")?;
    assert_eq!(library.sees_a_suite(&hub, "seen")?["sequence"], 1);
    proxy.drop_connections();
    library.wait(0, "the loss", |told| told["type"] == "disconnect")?;

    // The numbers of an id go on with whoever has it.
    let mut other = Watcher::start()?;
    let subscribe = json!({ "type": "subscribe", "payload": { "topic": "suite:completed" } });
    other.open_and_send_after("other", &hub.socket("/api/ws/updates?client_id=one"), &[subscribe], 1)?;
    other.wait_for_kind("other", "subscribed", PATIENCE)?;
    for name in ["missed", "missed too"] {
        suite(&hub, name)?;
    }
    other.wait_for("other", "the second suite", PATIENCE, |frame| {
        frame.json().filter(|message| message["sequence"] == 3).map(drop)
    })?;
    other.close("other")?;
    other.wait_closed("other", PATIENCE)?;

    let mark = library.mark();
    library.call("connect", &json!([]))?;
    library.wait(mark, "the subscription", |told| told["type"] == "subscribed")?;
    assert_eq!(library.sees_a_suite(&hub, "seen again")?["sequence"], 4);
    let gap = library.wait(mark, "the gap", |told| told["type"] == "sequence_gap")?;
    assert_eq!(gap["data"], json!({ "expected": 2, "received": 4 }));
    library.end()
}

#[test]
#[ignore = "needs nodejs: run ./hil-tests/run"]
fn with_a_token_it_is_let_in_and_without_one_it_hears_why_not() -> Result<()> {
    let hub = Hub::start_with(Mqtt::Embedded(port::free()?), &["--auth", "token"])?;
    let token = hub.token("board", "viewer")?;
    let url = hub.socket("/api/ws/updates");
    let mut refused = Library::start(&json!({ "url": url, "autoReconnect": false }))?;
    refused.call("connect", &json!([]))?;
    let why = refused.wait(0, "the reason", |told| told["type"] == "error")?;
    assert!(why["data"]["error"].as_str().is_some_and(|why| why.starts_with("a token is needed")), "{why}");
    let closed = refused.wait(0, "the close", |told| told["type"] == "disconnect")?;
    assert_eq!(closed["data"], json!({ "code": 1008, "reason": "UNAUTHORIZED" }));
    let answer = refused.wait(0, "the promise", |told| told["type"] == "rejected")?;
    assert_eq!(answer["data"], "not connected: closed with 1008, UNAUTHORIZED");
    refused.end()?;

    let mut admitted = Library::start(&json!({ "url": url, "token": token }))?;
    admitted.call("connect", &json!([]))?;
    let greeted = admitted.wait(0, "the greeting", |told| told["type"] == "connect")?;
    assert!(!greeted["url"].to_string().contains("token"), "{greeted}");
    admitted.end()
}

#[test]
#[ignore = "needs chromium and nodejs: run ./hil-tests/run"]
fn a_browser_takes_it_by_script_tag_as_a_module_and_as_a_hook() -> Result<()> {
    let hub = Hub::start(Mqtt::Embedded(port::free()?))?;
    let browser = Browser::start()?;
    let files = ["script.html", "module.html", "react.html"].map(|name| node::clients().join("library").join(name));
    let pages = browser.open(&hub.url(""), &files)?;
    for page in &pages {
        assert!(page.complaints.is_empty(), "{page:?}");
    }
    let found: Vec<&Value> = pages.iter().map(|page| &page.found).collect();
    let closed = json!({ "code": 1000, "reason": "disconnected by the client" });
    let script = found.first().context("no script")?;
    let seen = script["seen"].as_array().context("nothing seen")?;
    // Newer progress may have taken the place of older.
    let numbers: Vec<u64> = seen.iter().filter_map(|one| one[2].as_u64()).collect();
    assert!(numbers.iter().copied().eq(1..=seen.len() as u64), "{script}");
    assert_eq!(seen.last().map(|one| (&one[0], one[1].as_f64())), Some((&json!("completed"), Some(1.0))), "{script}");
    assert!(seen.iter().any(|one| one[0] == "progress"), "{script}");
    assert_eq!((&script["address"], &script["global"]), (&json!(true), &json!("function")));
    let module = found.get(1).context("no module")?;
    assert_eq!((&module["passed_tests"], &module["clientId"]), (&json!(1), &json!("page-7")), "{module}");
    assert!(module["error"].as_str().is_some_and(|error| error.contains("too long")), "{module}");
    assert_eq!((&module["closed"], &module["hook"]), (&closed, &json!("function")));
    let hook = found.get(2).context("no hook")?;
    assert_eq!(hook["first"], json!({ "isConnected": false, "progress": 0, "done": false }), "{hook}");
    assert_eq!((&hook["last"]["isConnected"], &hook["last"]["done"]), (&json!(true), &json!(true)), "{hook}");
    assert!(hook["last"]["progress"].as_f64().is_some_and(|percent| percent >= 40.0), "{hook}");
    assert_eq!(hook["connected"], true, "{hook}");
    Ok(())
}

#[test]
#[ignore = "needs chromium and nodejs: run ./hil-tests/run"]
fn the_hubs_own_page_follows_runs_by_it() -> Result<()> {
    let hub = Hub::start(Mqtt::Embedded(port::free()?))?;
    let pages = Browser::start()?.open(&hub.url(""), &[node::clients().join("library/dashboard.html")])?;
    let page = pages.first().context("no page")?;
    assert!(page.complaints.is_empty(), "{page:?}");
    assert!(page.found["log"].to_string().contains("boot passed"), "{page:?}");
    Ok(())
}

/// The library in a program of its own.
struct Library(Process);

impl Library {
    fn start(options: &Value) -> Result<Self> {
        let script = node::clients().join("library/watch.mjs");
        Ok(Self(Process::start("the library", node::command()?.arg(script).arg(options.to_string()))?))
    }

    fn call(&mut self, method: &str, arguments: &Value) -> Result<()> {
        self.0.write_line(&json!({ "call": method, "with": arguments }).to_string())
    }

    fn mark(&self) -> usize {
        self.0.mark()
    }

    fn wait(&self, mark: usize, what: &str, is: impl Fn(&Value) -> bool) -> Result<Value> {
        self.0.wait_for(what, mark, PATIENCE, |line| {
            let told = serde_json::from_str(&line.text).ok().filter(|_| line.stream == Stream::Out)?;
            is(&told).then_some(told)
        })
    }

    fn told(&self, mark: usize) -> Vec<Value> {
        let lines = self.0.lines();
        lines.iter().skip(mark).filter_map(|line| serde_json::from_str(&line.text).ok()).collect()
    }

    /// Has the hub carry one out; what the library tells of its end.
    fn sees_a_suite(&self, hub: &Hub, name: &str) -> Result<Value> {
        let mark = self.mark();
        let number = suite(hub, name)?;
        let end = self.wait(mark, &format!("the end of {name}"), |told| told["type"] == "suite_completed")?;
        assert_eq!(end["data"]["suite_execution_id"], number, "{end}");
        Ok(end)
    }

    /// It disconnects, and nothing keeps it running.
    fn end(mut self) -> Result<()> {
        self.0.close_input();
        let status = self.0.wait_exit(PATIENCE)?;
        assert!(status.success(), "{status}");
        Ok(())
    }
}

/// A run that is reported from outside and has no parts, so that its end is told once; its number.
fn suite(hub: &Hub, name: &str) -> Result<Value> {
    let body = json!({ "external": true, "kind": "suite", "name": name });
    let run = hub.rest.expect(201, hub.rest.post("/api/v1/runs", &body))?;
    let events = json!([{ "type": "status", "status": "completed" }]);
    hub.rest.expect(202, hub.rest.post(&format!("/api/v1/runs/{}/events", run["number"]), &events))?;
    Ok(run["number"].clone())
}
