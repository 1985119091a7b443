//! Suites, sweeps and studies by REST: from a file's name to results that are read back.

use serde_json::{Value, json};

use crate::support::Hub;

async fn put(hub: &Hub, name: &str, procedure: &Value) {
    let answer = hub.request("PUT", &format!("/api/v1/procedures/{name}"), &procedure.to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
}

fn checks(name: &str, that: &str) -> Value {
    json!({
        "name": name,
        "params": {"level": {"type": "float", "default": 1.0, "max": 10.0}},
        "steps": [{"id": "check", "use": "assert", "with": {"that": that}}],
    })
}

async fn start(hub: &Hub, body: &Value) -> String {
    let answer = hub.request("POST", "/api/v1/runs", &body.to_string()).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    answer.body["id"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suite_names_its_procedures_and_keeps_its_numbers() {
    let hub = Hub::start().await;
    put(&hub, "low", &checks("low", "level < 5")).await;
    put(&hub, "high", &checks("high", "level > 5")).await;
    let suite = json!({
        "name": "levels", "kind": "suite", "params": {"height": {"type": "float", "default": 2.0}},
        "tests": [
            {"id": "a", "name": "Low enough", "procedure": "low", "tags": ["smoke"], "params": {"level": "{{ height }}"}},
            {"id": "b", "procedure": "high", "runs": 2},
        ],
    });
    put(&hub, "levels", &suite).await;
    let run = start(&hub, &json!({"procedure": "levels"})).await;
    hub.ended(&run).await;
    let row = hub.request("GET", &format!("/api/v1/runs/{run}"), "").await.body;
    assert_eq!(
        (row["status"].as_str(), row["error"]["code"].as_str()),
        (Some("failed"), Some("TESTS_FAILED")),
        "{row}"
    );
    let before = hub.request("GET", &format!("/api/v1/runs/{run}/tests"), "").await.body;
    let tests = before["tests"].as_array().unwrap();
    let found: Vec<(&str, &str, usize)> = tests
        .iter()
        .map(|test| {
            let attempts = test["attempts"].as_array().unwrap().len();
            (test["id"].as_str().unwrap(), test["status"].as_str().unwrap(), attempts)
        })
        .collect();
    assert_eq!(found, [("a", "passed", 1), ("b", "failed", 2)]);
    let attempt = tests[1]["attempts"][0]["run"].as_str().unwrap();
    let child = hub.request("GET", &format!("/api/v1/runs/{attempt}"), "").await.body;
    assert_eq!((child["parent"].as_str(), child["name"].as_str()), (Some(run.as_str()), Some("levels: b, 1 of 2")));
    let children = hub.request("GET", &format!("/api/v1/runs?parent={run}"), "").await.body;
    assert_eq!(children["runs"].as_array().unwrap().len(), 3, "{children}");

    let hub = hub.restart().await;
    let after = hub.request("GET", &format!("/api/v1/runs/{run}/tests"), "").await.body;
    assert_eq!(before, after, "numbers and results are for ever");

    let run = start(&hub, &json!({"procedure": "levels", "tags": ["smoke"], "params": {"height": 9.0}})).await;
    hub.ended(&run).await;
    let tests = hub.request("GET", &format!("/api/v1/runs/{run}/tests"), "").await.body;
    assert_eq!(tests["tests"].as_array().unwrap().len(), 1);
    assert_eq!(tests["tests"][0]["status"], "failed", "the suite's own parameter reached the test: {tests}");
    hub.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_suite_lacks_is_said_before_anything_moves() {
    let hub = Hub::start().await;
    put(&hub, "low", &checks("low", "level < 5")).await;
    let suite = |test: Value| json!({"procedure": {"name": "s", "kind": "suite", "tests": [test]}});
    for (body, status, detail) in [
        (suite(json!({"id": "a", "procedure": "gone"})), 422, "tests[0].procedure: there is no procedure gone"),
        (
            suite(json!({"id": "a", "procedure": "low", "params": {"level": 11}})),
            422,
            "tests[0].params: parameter level of procedure low: 11 is out of range",
        ),
        (
            json!({"procedure": {"name": "s", "kind": "suite", "tests": [{"id": "a", "procedure": "low", "tags": ["x"]}]}, "tags": ["y"]}),
            422,
            "tags y choose no test of s; its tags: x",
        ),
        (json!({"procedure": {"name": "s", "kind": "suite"}}), 422, "tests: is empty"),
        (
            json!({"procedure": {"name": "s", "kind": "suite", "roles": {"meter": {"class": "dmm"}}, "tests": []}}),
            422,
            "roles: belongs to procedures with steps of their own only",
        ),
        (json!({"procedure": {"name": "s", "kind": "optimization"}}), 422, "strategy: is missing"),
    ] {
        let answer = hub.request("POST", "/api/v1/runs", &body.to_string()).await;
        assert_eq!(answer.status, status, "{}", answer.body);
        let told = answer.body["detail"].as_str().unwrap();
        assert!(told.contains(detail), "{detail:?} is not in {told:?}");
    }
    // Kept as a file, its mistakes have lines, and the list shows them before anybody starts it.
    let text = "name = \"later\"\nkind = \"suite\"\n\n[[tests]]\nid = \"a\"\nprocedure = \"gone\"\n";
    assert_eq!(hub.request("PUT", "/api/v1/procedures/later", text).await.status, 200);
    let expected = "later.toml:6: tests[0].procedure: there is no procedure gone";
    let answer = hub.request("POST", "/api/v1/runs", "{\"procedure\": \"later\"}").await;
    assert!(answer.body["detail"].as_str().unwrap().contains(expected), "{}", answer.body);
    let list = hub.request("GET", "/api/v1/procedures", "").await.body;
    let later = list["procedures"].as_array().unwrap().iter().find(|listed| listed["name"] == "later").unwrap();
    assert!(later["error"].as_str().unwrap().contains(expected), "{later}");
    assert_eq!(hub.request("GET", "/api/v1/runs", "").await.body["runs"], json!([]));
    hub.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_leaves_a_table() {
    let hub = Hub::start().await;
    let procedure = json!({
        "name": "steps", "sweep": {"axes": [{"name": "x", "from": 1, "to": 1000, "points": 4, "scale": "log"}]},
        "steps": [{"id": "say", "use": "log", "with": {"message": "{{ x }}"}}],
    });
    let run = start(&hub, &json!({"procedure": procedure})).await;
    hub.ended(&run).await;
    let logs = hub.request("GET", &format!("/api/v1/runs/{run}/logs"), "").await.body;
    let lines: Vec<&str> =
        logs["logs"].as_array().unwrap().iter().map(|line| line["message"].as_str().unwrap()).collect();
    assert_eq!(lines, ["1", "10", "100", "1000"]);
    let artifacts = hub.request("GET", &format!("/api/v1/runs/{run}/artifacts"), "").await.body;
    assert_eq!(artifacts["artifacts"][0]["name"], "sweep.csv", "{artifacts}");
    hub.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_study_is_asked_and_told_by_rest() {
    let hub = Hub::start().await;
    let study = json!({
        "name": "tune", "kind": "optimization",
        "variables": {"x": {"type": "float", "min": 0, "max": 4}},
        "objectives": {"error": {"direction": "minimize"}},
        "strategy": {"name": "nelder-mead", "budget": 4, "seed": 1},
    });
    let run = start(&hub, &json!({"procedure": study})).await;
    let (ask, tell) = (format!("/api/v1/runs/{run}/ask"), format!("/api/v1/runs/{run}/tell"));
    for iteration in 1..=4 {
        let asked = hub.request("POST", &ask, "").await;
        assert_eq!((asked.status, asked.body["iteration"].as_u64()), (200, Some(iteration)), "{}", asked.body);
        let x = asked.body["parameters"]["x"].as_f64().unwrap();
        let told = json!({"iteration": iteration, "metrics": {"error": (x - 2.0).powi(2)}}).to_string();
        let answer = hub.request("POST", &tell, &told).await;
        assert_eq!((answer.status, answer.body["accepted"].as_bool()), (202, Some(true)), "{}", answer.body);
        if iteration < 4 {
            let again = hub.request("POST", &tell, &told).await;
            assert_eq!((again.status, again.body["accepted"].as_bool()), (202, Some(false)), "{}", again.body);
        }
    }
    hub.ended(&run).await;
    let view = hub.request("GET", &format!("/api/v1/runs/{run}/iterations"), "").await.body;
    assert_eq!(
        (view["iterations"].as_array().unwrap().len(), view["front"].as_array().unwrap().len()),
        (4, 1),
        "{view}"
    );
    assert!(view["best"].is_u64(), "{view}");
    for (path, body, status, code) in [
        (&ask, "", 409, "RUN_ENDED"),
        (&tell, "{\"iteration\": 9, \"metrics\": {}}", 422, "UNKNOWN_ITERATION"),
        (&tell, "{\"iteration\": 1, \"metrics\": {\"error\": -7}}", 409, "TOLD_OTHERWISE"),
        (&tell, "{\"iteration\": 1}", 422, "INVALID_REQUEST"),
        (&tell, "{\"iteration\": 1, \"metrics\": {\"the error\": 1}}", 422, "INVALID_REQUEST"),
        (&tell, "{\"iteration\": 1, \"metrics\": {\"error\": \"low\"}}", 422, "INVALID_REQUEST"),
    ] {
        let answer = hub.request("POST", path, body).await;
        assert_eq!((answer.status, answer.body["code"].as_str()), (status, Some(code)), "{body}: {}", answer.body);
    }
    // Long ended, and of another kind.
    let delay = json!({"name": "short", "steps": [{"id": "a", "use": "delay", "with": {"duration": "1ms"}}]});
    let short = start(&hub, &json!({"procedure": delay})).await;
    hub.ended(&short).await;
    let answer = hub.request("POST", &format!("/api/v1/runs/{short}/ask"), "").await;
    assert!(answer.status == 409 && answer.body["code"] != "RUN_ENDED", "{}", answer.body);
    assert!(!answer.body["detail"].as_str().unwrap().contains("at hand"), "{}", answer.body);
    hub.server.stop().await;
}
