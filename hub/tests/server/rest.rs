//! Bad requests: each gets a fitting status and a sentence in JSON, and none a 500.

use crate::support::{Hub, says};
use serde_json::json;

const ABSENT: &str = "/api/v1/runs/00000000-0000-4000-8000-000000000000";

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_is_json_and_says_why() {
    let hub = Hub::start().await;
    let long_name = json!({"procedure": says("x"), "name": "n".repeat(201)}).to_string();
    let too_long = "x".repeat(1024 * 1024 + 1);
    let deep = format!("{{\"procedure\": {}1{}}}", "[".repeat(200), "]".repeat(200));
    for (method, path, body, status, code, detail) in [
        ("GET", "/nowhere", "", 404, "NOT_FOUND", "there is no /nowhere"),
        ("DELETE", "/api/v1/runs", "", 405, "METHOD_NOT_ALLOWED", "/api/v1/runs does not take DELETE"),
        ("OPTIONS", "/api/v1/runs", "", 405, "METHOD_NOT_ALLOWED", "/api/v1/runs does not take OPTIONS"),
        ("GET", ABSENT, "", 404, "UNKNOWN_RUN", "there is no run 00000000"),
        ("GET", "/api/v1/runs/18446744073709551615", "", 404, "UNKNOWN_RUN", "there is no run 18446744073709551615"),
        ("GET", "/api/v1/runs/99999999999999999999", "", 400, "INVALID_RUN_ID", "is not the id of a run"),
        ("GET", "/api/v1/runs/%ff%fe", "", 400, "BAD_REQUEST", "UTF-8"),
        ("GET", "/api/v1/runs?limit=-1", "", 400, "INVALID_QUERY", "limit"),
        ("GET", "/api/v1/runs?cursor=x", "", 400, "INVALID_QUERY", "cursor"),
        ("GET", "/api/v1/runs?status=dancing", "", 400, "INVALID_QUERY", "dancing"),
        ("GET", "/api/v1/runs?colour=red", "", 400, "INVALID_QUERY", "colour"),
        ("GET", "/api/ws/updates", "", 400, "BAD_REQUEST", "upgrade"),
        ("GET", "/ws/events", "", 400, "BAD_REQUEST", "upgrade"),
        ("POST", "/api/v1/runs", "", 400, "INVALID_JSON", "the body is not JSON"),
        ("POST", "/api/v1/runs", "{", 400, "INVALID_JSON", "the body is not JSON"),
        ("POST", "/api/v1/runs", "[]", 422, "INVALID_REQUEST", "expected {\"procedure\""),
        ("POST", "/api/v1/runs", "{\"procedure\": 7}", 422, "INVALID_REQUEST", "neither a name nor an object"),
        ("POST", "/api/v1/runs", "{\"procedure\": \"../x\"}", 400, "INVALID_PROCEDURE_NAME", "not a procedure name"),
        ("POST", "/api/v1/runs", "{\"procedure\": \"none\"}", 404, "UNKNOWN_PROCEDURE", "there is no procedure none"),
        ("POST", "/api/v1/runs", &deep, 400, "INVALID_JSON", "recursion limit"),
        ("POST", "/api/v1/runs", &long_name, 422, "INVALID_REQUEST", "name has 201 characters"),
        ("POST", "/api/v1/runs", &too_long, 413, "BODY_TOO_LARGE", "expected at most 1048576 bytes"),
        ("POST", &format!("{ABSENT}/cancel"), "", 404, "UNKNOWN_RUN", "there is no run"),
        ("GET", "/api/v1/devices/a%2Fb", "", 400, "INVALID_DEVICE_ID", "is not a device id"),
        ("GET", "/api/v1/devices/none", "", 404, "UNKNOWN_DEVICE", "no agent has a device none"),
        ("PUT", "/api/v1/procedures/x", "name =", 422, "INVALID_PROCEDURE", "x.toml:1"),
        ("DELETE", "/api/v1/procedures/none", "", 404, "UNKNOWN_PROCEDURE", "there is no procedure none"),
    ] {
        let answer = hub.request(method, path, body).await;
        let told = &answer.body["detail"];
        let what = format!("{method} {path} {:.40}: {} {}", body, answer.status, answer.body);
        assert_eq!((answer.status, answer.body["code"].as_str()), (status, Some(code)), "{what}");
        assert!(told.as_str().is_some_and(|told| told.contains(detail)), "{what}");
        assert!(answer.head.to_lowercase().contains("content-type: application/json"), "{what}: {}", answer.head);
    }
    let answer = hub.request("DELETE", "/api/v1/runs", "").await;
    assert!(answer.head.to_lowercase().contains("allow: get"), "{}", answer.head);
    hub.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn edges_of_lists_are_no_mistakes() {
    let hub = Hub::start().await;
    for index in 0..5 {
        hub.run(&says(&format!("line {index}"))).await;
    }
    let mut seen = Vec::new();
    let mut path = "/api/v1/runs?limit=2".to_owned();
    loop {
        let page = hub.get(&path).await.body;
        seen.extend(page["runs"].as_array().unwrap().iter().map(|run| run["number"].as_u64().unwrap()));
        let Some(cursor) = page["next_cursor"].as_u64() else { break };
        path = format!("/api/v1/runs?limit=2&cursor={cursor}");
    }
    assert_eq!(seen.len(), 5, "{seen:?}");
    assert!(seen.is_sorted_by(|one, other| one > other), "{seen:?}");
    for path in [
        "/api/v1/runs?cursor=18446744073709551615",
        "/api/v1/runs?limit=0",
        "/api/v1/runs?limit=18446744073709551615",
        &format!("/api/v1/runs/{}/events?after=18446744073709551615&limit=0", seen[0]),
    ] {
        assert_eq!(hub.get(path).await.status, 200, "{path}");
    }
    assert_eq!(hub.get("/api/v1/runs?status=failed").await.body["runs"], json!([]));
    hub.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_none_is_not_repeated() {
    let hub = Hub::start().await;
    let body = json!({"procedure": says("x")}).to_string();
    for (host, expected) in [
        ("bench.lab:8080", "bench.lab:8080".to_owned()),
        ("[::1]:8000", "[::1]:8000".to_owned()),
        ("evil.example/path?", hub.server.address.to_string()),
        ("user@evil.example", hub.server.address.to_string()),
        ("\"><script>", hub.server.address.to_string()),
    ] {
        let head = format!("POST /api/v1/runs HTTP/1.1\r\nHost: {host}\r\nContent-Length: {}\r\n\r\n", body.len());
        let answer = hub.raw(format!("{head}{body}").as_bytes()).await;
        if answer.status == 400 {
            continue;
        }
        let url = answer.body["urls"]["report"].as_str().unwrap();
        assert!(url.starts_with(&format!("http://{expected}/api/v1/reports/")), "{host}: {url}");
    }
    hub.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_ended_long_ago_is_where_it_was() {
    let hub = Hub::start().await;
    let (id, number) = hub.run(&says("the first")).await;
    // More than the model keeps at hand.
    for _ in 0..260 {
        hub.run(&says("x")).await;
    }
    let at_hand = hub.get(&format!("/api/v1/runs/{number}")).await.body;
    for id in [id.as_str(), &number.to_string()] {
        let run = hub.get(&format!("/api/v1/runs/{id}")).await.body;
        assert_eq!(run, at_hand);
        assert_eq!((run["status"].as_str(), run["id"].as_str()), (Some("completed"), at_hand["id"].as_str()));
        assert_eq!(hub.get(&format!("/api/v1/runs/{id}/steps")).await.body["steps"][0]["status"], "completed");
        let events = hub.get(&format!("/api/v1/runs/{id}/events")).await.body;
        assert_eq!(events["events"].as_array().unwrap().last().unwrap()["type"], "finished");
        let report = hub.get(&format!("/api/v1/reports/{id}?format=json")).await.body;
        assert_eq!(report["completeness"]["complete"], true, "{report}");
        let cancel = hub.request("POST", &format!("/api/v1/runs/{id}/cancel"), "").await;
        assert_eq!((cancel.status, cancel.body["code"].as_str()), (409, Some("RUN_ENDED")));

        let (texts, code, _) = hub.socket(&format!("/api/v1/ws/execution/{id}")).await.until_closed().await;
        assert_eq!((texts.last().unwrap()["type"].as_str(), code), (Some("complete"), 1000));
        let (texts, code, _) = hub.socket(&format!("/ws/executions/{id}")).await.until_closed().await;
        assert_eq!((texts[0]["code"].as_str(), code), (Some("EXECUTION_NOT_ACTIVE"), 1008));
        assert_eq!(hub.socket(&format!("/api/v2/ws/runs/{id}")).await.next().await["type"], "completed");
    }
    hub.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_procedure_looks_like_is_served() {
    let hub = Hub::start().await;
    let schema = hub.get("/api/v1/procedures/schema.json").await;
    assert_eq!(schema.status, 200);
    assert!(schema.head.to_lowercase().contains("content-type: application/schema+json"), "{}", schema.head);
    assert_eq!(schema.body["$schema"], "https://json-schema.org/draft/2020-12/schema");
    let modules = schema.body["$defs"]["step"]["properties"]["use"]["enum"].as_array().unwrap();
    assert!(modules.contains(&json!("instrument.read")), "{modules:?}");
    let put = hub.request("PUT", "/api/v1/procedures/schema.json", "x").await;
    assert_eq!((put.status, put.body["code"].as_str()), (405, Some("METHOD_NOT_ALLOWED")));
    hub.server.stop().await;
}
