//! Neighbours of agent events: workflows, their executions, and files.

use serde_json::{Value, json};

use super::{ABSENT, are_refused, is_of, keep, post, reported};
use crate::support::{Answer, Hub, waits};

const EXECUTION: &str = "workflowId text, executionId uuid, status text, progress whole, currentNode text?, \
    completedNodes list, erroredNodes list, startTime time, endTime time?, error text?";
const DETAIL: &str = "workflowId text, executionId uuid?, status text, progress whole, currentNode text?, \
    completedNodes list, erroredNodes list, startTime time?, endTime time?, error text?, nodes list, edges list, metadata object";
const METADATA: &str = "name text, description text, version text, createdAt time?";
const FILE: &str = "name text, size whole?, modified time, created time, is_directory flag, extension text, \
    mime_type text, downloadUrl text";

fn drawn(id: &str, duration: &str) -> Value {
    json!({
        "workflow_id": id,
        "nodes": [
            {"id": "say", "type": "log", "position": {"x": 0, "y": 0}, "data": {"message": "hello"}},
            {"id": "wait", "type": "delay", "position": {"x": 200, "y": 0}, "data": {"duration": duration}},
        ],
        "edges": [{"id": "e", "source": "say", "target": "wait"}],
        "metadata": {"name": "Two steps", "description": "both", "version": "1.0.0", "createdAt": "2026-01-01T00:00:00Z"},
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_is_executed_looked_at_and_cancelled() {
    let hub = Hub::start().await;
    is_of(&hub.get("/health").await.body, "status text, version text, timestamp time");
    let mut executions = Vec::new();
    for id in ["wf-1", ABSENT] {
        let started = post(&hub, "/api/workflow/execute", &drawn(id, "30s")).await;
        assert_eq!(started.status, 200, "{}", started.body);
        is_of(
            &started.body,
            "success flag, workflowId text, executionId uuid, message text, estimatedDuration number?",
        );
        assert_eq!(started.body["workflowId"], id);
        let execution = started.body["executionId"].as_str().unwrap().to_owned();
        // By its own id or by the workflow's.
        for path in [format!("/api/workflow/status/{execution}"), format!("/api/workflow/status/{id}")] {
            let waits = |answer: &Answer| answer.body["currentNode"] == "wait";
            let status = hub.until("the second node", &path, waits).await.body;
            is_of(&status, EXECUTION);
            assert_eq!((&status["executionId"], &status["status"]), (&json!(execution), &json!("running")));
            assert_eq!((&status["completedNodes"], &status["progress"]), (&json!(["say"]), &json!(50)));
        }
        executions.push(execution);
    }
    let detail = hub.get("/api/workflow/wf-1").await.body;
    is_of(&detail, DETAIL);
    is_of(&detail["metadata"], METADATA);
    assert_eq!((&detail["metadata"]["name"], &detail["nodes"][1]["id"]), (&json!("Two steps"), &json!("wait")));
    assert_eq!(detail["edges"][0], json!({"id": "say-wait", "source": "say", "target": "wait"}));

    let list = hub.get("/api/workflow/list?state=running&limit=1").await.body;
    is_of(&list, "workflows list, total whole, limit whole, offset whole, hasMore flag");
    assert_eq!((&list["total"], &list["hasMore"]), (&json!(2), &json!(true)));
    is_of(
        &list["workflows"][0],
        "workflowId text, executionId uuid, status text, progress whole, startTime time, endTime time?, metadata object",
    );
    assert_eq!(hub.get("/api/workflow/list?offset=1").await.body["hasMore"], false);

    let by_body = post(&hub, "/api/workflow/cancel/anything", &json!({"executionId": executions[0]})).await;
    let by_path = post(&hub, &format!("/api/workflow/cancel/{ABSENT}"), &json!(null)).await;
    for answer in [by_body, by_path] {
        assert_eq!((answer.status, &answer.body["success"]), (200, &json!(true)), "{}", answer.body);
        is_of(&answer.body, "success flag, message text");
    }
    for execution in &executions {
        let path = format!("/api/workflow/status/{execution}");
        hub.until("the end", &path, |answer| answer.body["status"] == "cancelled").await;
        let again = post(&hub, &format!("/api/workflow/cancel/{execution}"), &json!({})).await;
        assert_eq!((again.status, again.body["code"].as_str()), (409, Some("RUN_ENDED")));
    }
    hub.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_is_kept_changed_executed_and_removed() {
    let hub = Hub::start().await;
    let kept = post(&hub, "/api/workflow/create", &drawn("kept", "1ms")).await;
    assert_eq!(kept.status, 200, "{}", kept.body);
    let form = "success flag, workflowId text, message text, createdAt time, updatedAt time";
    is_of(&kept.body, form);
    let again = post(&hub, "/api/workflow/create", &drawn("kept", "1ms")).await;
    assert_eq!((again.status, again.body["code"].as_str()), (409, Some("WORKFLOW_EXISTS")));
    let detail = hub.get("/api/workflow/kept").await.body;
    is_of(&detail, DETAIL);
    assert_eq!((&detail["status"], &detail["executionId"]), (&json!("idle"), &Value::Null));
    assert_eq!(detail["nodes"][1]["data"], json!({"duration": "1ms"}));
    let changed = hub.request("PUT", "/api/workflow/kept", &drawn("other", "2ms").to_string()).await;
    is_of(&changed.body, form);
    assert_eq!(changed.body["workflowId"], "kept");
    assert_eq!(hub.get("/api/workflow/kept").await.body["nodes"][1]["data"], json!({"duration": "2ms"}));
    let started = post(&hub, "/api/workflow/execute", &json!({"workflow_id": "kept", "nodes": [], "edges": []})).await;
    assert_eq!(started.status, 200, "{}", started.body);
    assert_eq!(started.body["estimatedDuration"], Value::Null);
    hub.until("the end", "/api/workflow/status/kept", |answer| answer.body["status"] == "completed").await;
    let second = post(&hub, "/api/workflow/execute", &json!({"workflow_id": "kept"})).await;
    assert!(second.body["estimatedDuration"].is_number(), "{}", second.body);
    let removed = hub.request("DELETE", "/api/workflow/kept", "").await;
    is_of(&removed.body, "success flag, message text");
    let gone = hub.request("DELETE", "/api/workflow/kept", "").await;
    assert_eq!((gone.status, gone.body["code"].as_str()), (404, Some("UNKNOWN_PROCEDURE")));
    assert_eq!(hub.get("/api/workflow/kept").await.status, 200, "its executions stay");
    hub.server.stop().await;
}

async fn upload(hub: &Hub, query: &str, file: &str) -> Answer {
    let body = format!(
        "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{file}\"\r\nContent-Type: text/csv\r\n\r\nx,y\r\n--b--\r\n"
    );
    let head = format!("POST /api/upload{query} HTTP/1.1\r\nHost: {}\r\n", hub.server.address);
    let kind = "Content-Type: multipart/form-data; boundary=b\r\n";
    hub.raw(format!("{head}{kind}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_reports_and_what_runs_have() {
    let hub = Hub::start().await;
    let (id, number) = reported(&hub, "workflow").await;
    let status = hub.get("/api/workflow/status/solver").await.body;
    is_of(&status, EXECUTION);
    assert_eq!((&status["status"], &status["erroredNodes"]), (&json!("error"), &json!(["solve"])));
    let reports = hub.get("/api/files/list").await.body;
    is_of(&reports, "files list, total whole, directory text");
    is_of(&reports["files"][0], FILE);
    let name = reports["files"][0]["name"].as_str().unwrap();
    assert_eq!(name, format!("{id}.pdf"));
    is_of(&hub.get(&format!("/api/files/info/{name}")).await.body, FILE);
    let report = hub.get(&format!("/reports/{number}.json")).await;
    assert_eq!((report.status, &report.body["run"]["id"]), (200, &json!(id)));
    let files = hub.get(&format!("/api/files/list?directory=assets&subdirectory={id}")).await.body;
    is_of(&files["files"][0], FILE);
    let info = hub.get(&format!("/api/files/info/field.csv?directory=uploads&subdirectory={id}")).await.body;
    assert_eq!(info, files["files"][0]);
    assert_eq!(hub.get(info["downloadUrl"].as_str().unwrap()).await.body, "a,b\n");

    let (open, _) = hub.run(&waits("30s")).await;
    let mut names = Vec::new();
    for _ in 0..2 {
        let left = upload(&hub, &format!("?run={open}"), "a b.csv").await;
        assert_eq!(left.status, 200, "{}", left.body);
        is_of(&left.body, "success flag, filename text, size whole, uploadId uuid, downloadUrl text, timestamp time");
        assert_eq!(hub.get(left.body["downloadUrl"].as_str().unwrap()).await.body, "x,y");
        names.push(left.body["filename"].as_str().unwrap().to_owned());
    }
    assert_eq!(names, ["a b.csv", "a b-2.csv"]);
    for (query, status, code) in [
        ("".to_owned(), 422, "NO_RUN"),
        (format!("?run={id}"), 409, "RUN_ENDED"),
        (format!("?run={ABSENT}"), 404, "UNKNOWN_WORKFLOW"),
    ] {
        let answer = upload(&hub, &query, "x").await;
        assert_eq!((answer.status, answer.body["code"].as_str()), (status, Some(code)), "{query}");
    }
    let plain = post(&hub, &format!("/api/upload?run={open}"), &json!({"file": "x"})).await;
    assert_eq!((plain.status, plain.body["code"].as_str()), (400, Some("INVALID_FORM")));
    hub.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_refused() {
    let hub = Hub::start().await;
    keep(&hub, &waits("1s")).await;
    let dance = json!({"workflow_id": "w", "nodes": [{"id": "a", "type": "dance"}], "edges": []}).to_string();
    are_refused(
        &hub,
        &[
            ("POST", "/api/workflow/execute", "", 400, "INVALID_JSON", "not JSON"),
            ("POST", "/api/workflow/execute", "{}", 422, "INVALID_REQUEST", "workflow_id"),
            (
                "POST",
                "/api/workflow/execute",
                "{\"workflow_id\": \"\"}",
                422,
                "INVALID_WORKFLOW",
                "No nodes in workflow",
            ),
            ("POST", "/api/workflow/execute", "{\"workflow_id\": \"none\"}", 404, "UNKNOWN_PROCEDURE", "none"),
            ("POST", "/api/workflow/execute", &dance, 422, "INVALID_WORKFLOW", "there is no node type dance"),
            ("POST", "/api/workflow/create", &dance, 422, "INVALID_PROCEDURE", "dance"),
            ("POST", "/api/workflow/create", "[]", 422, "INVALID_REQUEST", "workflow_id"),
            ("PUT", "/api/workflow/none", &drawn("none", "1s").to_string(), 404, "UNKNOWN_PROCEDURE", "none"),
            ("GET", "/api/workflow/none", "", 404, "UNKNOWN_PROCEDURE", "none"),
            ("GET", "/api/workflow/status/none", "", 404, "UNKNOWN_WORKFLOW", "Workflow none not found"),
            ("GET", "/api/workflow/list?state=odd", "", 422, "UNKNOWN_STATUS", "expected one of idle"),
            ("GET", "/api/workflow/list?limit=x", "", 400, "INVALID_QUERY", "limit"),
            ("POST", "/api/workflow/cancel/none", "{\"executionId\": 7}", 422, "INVALID_REQUEST", "executionId"),
            ("POST", "/api/workflow/cancel/none", "", 404, "UNKNOWN_WORKFLOW", "not found"),
            ("GET", "/api/files/list?directory=etc", "", 422, "INVALID_DIRECTORY", "directory is etc"),
            ("GET", "/api/files/list?directory=uploads", "", 422, "INVALID_DIRECTORY", "expected subdirectory"),
            ("GET", "/api/files/info/x.pdf", "", 400, "INVALID_RUN_ID", "x"),
            ("GET", "/api/files/info/..%2Fetc", "", 404, "UNKNOWN_REPORT", "no report"),
            ("GET", "/reports/1.xlsx", "", 404, "UNKNOWN_REPORT", "no report 1.xlsx"),
            ("GET", &format!("/reports/{ABSENT}.pdf"), "", 404, "UNKNOWN_RUN", "there is no run"),
        ],
    )
    .await;
    hub.server.stop().await;
}
