//! Reports by request: each format with its type and file name, and what is refused.

use serde_json::json;

use crate::support::{Hub, says, within};

async fn ended(hub: &Hub, id: &str) {
    within("the run to end", async {
        while hub.get(&format!("/api/v1/runs/{id}")).await.body["status"] != "completed" {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_has_a_report_in_every_format() {
    let hub = Hub::start().await;
    let (id, number) = hub.run(&says("<script>alert(1)</script>")).await;
    ended(&hub, &id).await;
    for (query, kind, disposition, begin) in [
        ("", "application/pdf", "inline; filename=\"run-N-says.pdf\"", "%PDF-1."),
        ("?format=pdf", "application/pdf", "inline; filename=\"run-N-says.pdf\"", "%PDF-1."),
        ("?format=html", "text/html; charset=utf-8", "inline; filename=\"run-N-says.html\"", "<!DOCTYPE html>"),
        (
            "?format=junit",
            "application/xml; charset=utf-8",
            "attachment; filename=\"run-N-says.xml\"",
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"says\" tests=\"1\" failures=\"0\"",
        ),
        (
            "?format=csv",
            "text/csv; charset=utf-8; header=present",
            "attachment; filename=\"run-N-says.csv\"",
            "time,metric,value,unit,quality,device,step\r\n",
        ),
    ] {
        let answer = hub.get(&format!("/api/v1/reports/{id}{query}")).await;
        assert_eq!(answer.status, 200, "{query}: {}", answer.body);
        let disposition = disposition.replace('N', &number.to_string());
        for header in [format!("content-type: {kind}"), format!("content-disposition: {disposition}")] {
            assert!(answer.head.contains(&header), "{query}: no {header} in\n{}", answer.head);
        }
        let body = answer.body.as_str().unwrap_or_default();
        assert!(body.starts_with(begin), "{query}: {body}");
        assert!(kind == "application/pdf" || !body.contains("<script"), "{query}: {body}");
    }
    let json = hub.get(&format!("/api/v1/reports/{number}?format=json")).await;
    assert!(json.head.contains("content-type: application/json"), "{}", json.head);
    assert_eq!((&json.body["run"]["id"], &json.body["run"]["status"]), (&id.into(), &"completed".into()));
    assert_eq!(json.body["steps"][0]["status"], "completed");
    assert_eq!(json.body["log"][0]["message"], "<script>alert(1)</script>");
    assert_eq!(json.body["completeness"]["complete"], true, "{}", json.body["completeness"]);
    hub.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_reported_is_refused_by_name() {
    let hub = Hub::start().await;
    let (id, _) = hub.run(&says("x")).await;
    for (path, status, code, says) in [
        (format!("{id}?format=docx"), 422, "UNSUPPORTED_FORMAT", "\"docx\"; formats: pdf, html, json, junit, csv"),
        (format!("{id}?format="), 422, "UNSUPPORTED_FORMAT", "formats: pdf"),
        (format!("{id}?fromat=pdf"), 400, "INVALID_QUERY", "fromat"),
        ("999999?format=pdf".to_owned(), 404, "UNKNOWN_RUN", "999999"),
        ("x?format=pdf".to_owned(), 400, "INVALID_RUN_ID", "x"),
    ] {
        let answer = hub.get(&format!("/api/v1/reports/{path}")).await;
        assert_eq!((answer.status, answer.body["code"].as_str()), (status, Some(code)), "{path}: {}", answer.body);
        assert!(answer.body["detail"].as_str().unwrap_or_default().contains(says), "{path}: {}", answer.body);
    }
    hub.server.stop().await;
}

/// Of runs that the hub itself carried out, at hand and, after a restart, as the record has them.
#[tokio::test(flavor = "multi_thread")]
async fn sweeps_suites_and_studies_have_reports_of_their_own() {
    let check = json!({"name": "check", "params": {"x": {"type": "float", "default": 1.0}},
        "steps": [{"id": "check", "use": "assert", "with": {"that": "x < 3"}}]});
    let mut hub = Hub::start().await;
    let mut runs = Vec::new();
    for (procedure, status, junit, html) in [
        (
            json!({"name": "steps", "sweep": {"of": "levels", "axes": [{"name": "x", "values": [1, 2]}]}, "steps": check["steps"]}),
            "completed",
            "<testcase name=\"point 2: x 2\"",
            "2 of 2 levels",
        ),
        (
            json!({"name": "levels", "kind": "suite", "tests": [
                {"id": "a", "procedure": check}, {"id": "b", "procedure": check, "params": {"x": 5}, "runs": 2}]}),
            "failed",
            "<rerunFailure message=\"assertion x &lt; 3 does not hold\"",
            "attempt 2: failed",
        ),
        (
            json!({"name": "tune", "kind": "optimization", "procedure": check,
                "variables": {"x": {"type": "float", "min": 5, "max": 6}},
                "objectives": {"error": {"direction": "minimize"}}, "strategy": {"name": "random", "budget": 2}}),
            "failed",
            "<testcase name=\"iteration 2\"",
            "assertion x &lt; 3 does not hold",
        ),
    ] {
        let (id, _) = hub.run(&procedure).await;
        hub.ended(&id).await;
        assert_eq!(hub.get(&format!("/api/v1/runs/{id}")).await.body["status"], status);
        runs.push((id, junit, html));
    }
    for restarted in [false, true] {
        if restarted {
            hub = hub.restart().await;
        }
        for (id, junit, html) in &runs {
            for (format, expected) in [("junit", junit), ("html", html)] {
                let answer = hub.get(&format!("/api/v1/reports/{id}?format={format}")).await;
                let body = answer.body.as_str().unwrap_or_default();
                assert!(body.contains(*expected), "restarted {restarted}: no {expected} in\n{body}");
            }
        }
    }
    hub.server.stop().await;
}
