//! Neighbours of the device farm: devices, modules, flows, executions and figures.

use serde_json::{Value, json};

use super::{ABSENT, agent_comes, are_refused, is_of, keep, post, reported};
use crate::support::{Hub, says, waits};

const FLOW: &str =
    "id uuid, name text, description text?, visibility text, modules list, estimated_duration_minutes whole?";
const MODULE: &str = "id text, name text, description text, version text, category text, steps list, \
    input_schema object, timeout_seconds whole, requires_root flag";
const EXECUTION: &str = "id uuid, flow_id uuid, name text, status text, start_time time?, end_time time?, \
    duration_seconds number?, progress_percentage whole, current_step text?, error_message text?, artifacts_path text, \
    report_generated flag, device_count whole, devices list, created_at time, updated_at time";
const DEVICE: &str = "device_id text, status text, start_time time?, end_time time?, error_message text?";
const STEP: &str = "id uuid, name text, module_id text, device_id text?, step_index whole, status text, \
    start_time time?, end_time time?, duration_seconds number?, output_data object?, error_code text?, \
    error_message text?, screenshot_path text?";

fn detail() -> String {
    format!("{EXECUTION}, steps list")
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_have_the_fields_that_clients_read() {
    let hub = Hub::start().await;
    hub.ready().await;
    agent_comes(&hub).await;
    for path in ["/api/v1/devices", "/api/v1/devices/"] {
        let devices = hub.get(path).await.body;
        let phone = &devices["devices"][0];
        assert_eq!(*phone, hub.get("/api/v1/devices/emulator-5554").await.body);
        for (key, expected) in [
            ("id", json!("emulator-5554")),
            ("device_id", json!("emulator-5554")),
            ("status", json!("connected")),
            ("serial", json!("S1")),
            ("model", json!("KA3005P")),
            ("os_version", json!("V5.9")),
            ("phone_number", Value::Null),
            ("sim_info", json!({})),
            ("capabilities", json!({"readings": [], "actions": []})),
        ] {
            assert_eq!(phone[key], expected, "{key}");
        }
    }
    hub.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_is_made_of_modules_and_executed() {
    let hub = Hub::start().await;
    let modules = hub.get("/api/v1/modules?active_only=true").await.body;
    for module in modules.as_array().unwrap() {
        is_of(module, MODULE);
    }
    let general = hub.get("/api/v1/modules?category=general").await.body;
    assert!(general.as_array().unwrap().iter().any(|module| module["id"] == "delay"), "{general}");
    assert_eq!(hub.get("/api/v1/modules?category=none").await.body, json!([]));

    let flow = json!({"name": "Smoke test", "description": "quick", "visibility": "private", "modules": [
        {"module_id": "delay", "sequence_order": 2, "input_parameters": {"duration": "30s"}},
        {"module_id": "log", "sequence_order": 1, "input_parameters": {"message": "hello"}, "retry_count": 1,
         "continue_on_failure": true},
    ]});
    let made = post(&hub, "/api/v1/flows", &flow).await;
    assert_eq!(made.status, 201, "{}", made.body);
    is_of(&made.body, FLOW);
    let module = &made.body["modules"][0];
    is_of(
        module,
        "module_id text, sequence_order whole, input_parameters object, continue_on_failure flag, retry_count whole",
    );
    assert_eq!((&module["module_id"], &module["retry_count"]), (&json!("log"), &json!(1)));
    assert_eq!(hub.get("/api/v1/flows").await.body, json!([made.body]));
    assert_eq!(hub.get("/api/v1/flows?visibility=private").await.body, json!([]));
    let id = made.body["id"].as_str().unwrap();
    assert_eq!(hub.get(&format!("/api/v1/flows/{id}")).await.body, made.body);

    let execution = post(&hub, &format!("/api/v1/flows/{id}/execute"), &json!({"device_ids": []})).await;
    assert_eq!(execution.status, 202, "{}", execution.body);
    is_of(&execution.body, EXECUTION);
    assert_eq!(execution.body["flow_id"], id);
    let path = format!("/api/v1/executions/{}", execution.body["id"].as_str().unwrap());
    let waiting =
        hub.until("the second step", &path, |answer| answer.body["steps"][1]["status"] == "running").await.body;
    is_of(&waiting, &detail());
    is_of(&waiting["steps"][0], STEP);
    assert_eq!((&waiting["steps"][0]["status"], &waiting["progress_percentage"]), (&json!("completed"), &json!(50)));
    assert!(waiting["steps"][0]["end_time"].is_string() && waiting["steps"][1]["end_time"].is_null(), "{waiting}");
    let state = hub.get(&format!("{path}/status")).await.body;
    is_of(
        &state,
        "execution_id uuid, status text, progress_percentage whole, current_step text?, start_time time?, end_time time?, error_message text?",
    );
    assert_eq!(state["status"], "running");
    let logs = hub.get(&format!("{path}/logs?limit=10")).await.body;
    let line = logs["logs"].as_array().unwrap().iter().find(|line| line["message"] == "hello").unwrap();
    is_of(
        line,
        "id text, timestamp time, level text, message text, component text, execution_id uuid, device_id text?, module_id text?",
    );
    assert_eq!((&line["level"], &line["module_id"]), (&json!("INFO"), &json!("log")));
    assert_eq!(hub.get(&format!("{path}/logs?device_id=x")).await.body["logs"], json!([]));

    let cancelled = post(&hub, &format!("{path}/cancel"), &json!(null)).await;
    assert_eq!(cancelled.status, 200, "{}", cancelled.body);
    is_of(&cancelled.body, EXECUTION);
    hub.until("the end", &path, |answer| answer.body["status"] == "cancelled").await;
    let again = post(&hub, &format!("{path}/cancel"), &json!(null)).await;
    assert_eq!((again.status, again.body["code"].as_str()), (409, Some("RUN_ENDED")));
    hub.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn executions_are_listed_counted_and_read() {
    let hub = Hub::start().await;
    let (id, number) = reported(&hub, "execution").await;
    let (done, _) = hub.run(&says("x")).await;
    hub.ended(&done).await;
    let listed = hub.get("/api/v1/executions?limit=1&offset=0").await.body;
    is_of(&listed, "executions list, total whole, limit whole, offset whole");
    assert_eq!((&listed["total"], &listed["executions"][0]["id"]), (&json!(2), &json!(done)));
    for (query, expected) in [
        ("", 2),
        ("?status=failed", 1),
        ("?status=failed,completed", 2),
        ("?status=running", 0),
        ("?flow_id=says", 1),
        ("?offset=1", 1),
        ("?offset=2", 0),
    ] {
        let found = hub.get(&format!("/api/v1/executions{query}")).await.body;
        let list = if query.contains("offset") { &found["executions"] } else { &found };
        assert_eq!(list.as_array().map(Vec::len), Some(expected), "{query}: {found}");
    }
    let execution = hub.get(&format!("/api/v1/executions/{number}")).await.body;
    is_of(&execution, &detail());
    is_of(&execution["devices"][0], DEVICE);
    assert_eq!((&execution["devices"][0]["device_id"], &execution["device_count"]), (&json!("psu-1"), &json!(1)));
    let failed = &execution["steps"][1];
    assert_eq!((&failed["status"], &failed["error_code"]), (&json!("failed"), &json!("DIVERGED")));
    assert!(failed["start_time"].is_string() && failed["end_time"].is_string(), "{failed}");
    let files = hub.get(&format!("/api/v1/executions/{id}/artifacts")).await.body;
    is_of(&files, "execution_id uuid, artifacts_path text, artifact_count whole, artifacts list");
    is_of(&files["artifacts"][0], "name text, path text, size whole, modified time, type text");
    assert_eq!(hub.get(files["artifacts"][0]["path"].as_str().unwrap()).await.body, "a,b\n");

    let stats = hub.get("/api/v1/executions/stats/summary").await.body;
    is_of(
        &stats,
        "total_executions whole, successful whole, failed whole, running whole, success_rate number, avg_duration number, executions_today whole, executions_this_week whole",
    );
    assert_eq!((&stats["total_executions"], &stats["success_rate"]), (&json!(2), &json!(50.0)));
    let summary = hub.get("/api/v1/reports/summary").await.body;
    is_of(
        &summary,
        "total_executions whole, success_rate number, average_duration_seconds number?, device_coverage whole, executions_last_7_days whole, last_execution_at time?, status_breakdown object",
    );
    is_of(&summary["status_breakdown"], "pending whole, running whole, completed whole, failed whole, cancelled whole");
    assert_eq!((&summary["device_coverage"], &summary["status_breakdown"]["failed"]), (&json!(1), &json!(1)));
    for (query, expected) in
        [("date_from=2020-01-01", 2), ("date_from=2100-01-01", 0), ("date_to=2020-01-01T00:00:00Z", 0)]
    {
        let summary = hub.get(&format!("/api/v1/reports/summary?{query}")).await.body;
        assert_eq!(summary["total_executions"], expected, "{query}");
    }
    assert_eq!(hub.get(&format!("/api/v1/reports/{id}?format=html")).await.status, 200);
    hub.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_is_put_onto_the_devices_that_are_named() {
    let hub = Hub::start().await;
    hub.ready().await;
    agent_comes(&hub).await;
    let step = json!({"id": "safe", "use": "instrument.safe_state", "on": "it"});
    keep(&hub, &json!({"name": "any", "roles": {"it": {"tags": []  , "kind": "android"}}, "steps": [step]})).await;
    let both = json!({"name": "both", "roles": {"a": {"class": "psu"}, "b": {"class": "phone"}}, "steps": [
        {"id": "one", "use": "instrument.safe_state", "on": "a"}, {"id": "two", "use": "instrument.safe_state", "on": "b"},
    ]});
    keep(&hub, &both).await;
    for (flow, devices) in [("any", json!(["emulator-5554"])), ("both", json!(["emulator-5554", "psu-1"]))] {
        let answer = post(&hub, &format!("/api/v1/flows/{flow}/execute"), &json!({"device_ids": devices})).await;
        assert_eq!(answer.status, 202, "{}", answer.body);
    }
    are_refused(
        &hub,
        &[
            (
                "POST",
                "/api/v1/flows/any/execute",
                "{\"device_ids\": [\"psu-1\"]}",
                422,
                "DEVICES_DO_NOT_FIT",
                "psu-1 does not fit role it",
            ),
            (
                "POST",
                "/api/v1/flows/any/execute",
                "{\"device_ids\": [\"none\"]}",
                422,
                "UNKNOWN_DEVICE",
                "no agent has a device none",
            ),
            (
                "POST",
                "/api/v1/flows/any/execute",
                "{\"device_ids\": [\"a b\"]}",
                422,
                "INVALID_DEVICE_ID",
                "not a device id",
            ),
            (
                "POST",
                "/api/v1/flows/both/execute",
                "{\"device_ids\": [\"psu-1\"]}",
                422,
                "DEVICES_DO_NOT_FIT",
                "has the roles a, b",
            ),
        ],
    )
    .await;
    hub.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_refused() {
    let hub = Hub::start().await;
    keep(&hub, &waits("1s")).await;
    let execution = format!("/api/v1/executions/{ABSENT}");
    are_refused(
        &hub,
        &[
            ("GET", &execution, "", 404, "UNKNOWN_RUN", "there is no run"),
            ("GET", "/api/v1/executions/x", "", 400, "INVALID_RUN_ID", "is not the id"),
            ("GET", &format!("{execution}/logs"), "", 404, "UNKNOWN_RUN", "there is no run"),
            ("GET", &format!("{execution}/artifacts"), "", 404, "UNKNOWN_RUN", "there is no run"),
            ("GET", &format!("{execution}/status"), "", 404, "UNKNOWN_RUN", "there is no run"),
            ("POST", &format!("{execution}/cancel"), "", 404, "UNKNOWN_RUN", "there is no run"),
            ("GET", "/api/v1/executions?status=dancing", "", 422, "UNKNOWN_STATUS", "expected one of pending"),
            ("GET", "/api/v1/executions?limit=x", "", 400, "INVALID_QUERY", "limit"),
            ("GET", "/api/v1/reports/summary?date_from=soon", "", 422, "INVALID_DATE", "date_from is soon"),
            ("GET", "/api/v1/modules?active_only=maybe", "", 400, "INVALID_QUERY", "active_only"),
            ("GET", "/api/v1/flows?visibility=odd", "", 400, "INVALID_QUERY", "odd"),
            ("GET", "/api/v1/flows/none", "", 404, "UNKNOWN_PROCEDURE", "none"),
            ("POST", "/api/v1/flows", "{", 400, "INVALID_JSON", "not JSON"),
            ("POST", "/api/v1/flows", "{\"name\": \"x\"}", 422, "INVALID_REQUEST", "modules"),
            ("POST", "/api/v1/flows", "{\"name\": \"x\", \"modules\": []}", 422, "INVALID_PROCEDURE", "steps"),
            ("POST", "/api/v1/flows", "{\"name\": \" \", \"modules\": []}", 422, "INVALID_FLOW", "name is empty"),
            ("POST", "/api/v1/flows", "{\"name\": \"x\", \"modules\": [{\"module_id\": \"dance\"}]}", 422, "INVALID_FLOW", "no module dance"),
            ("POST", "/api/v1/flows", "{\"name\": \"waits\", \"modules\": [{\"module_id\": \"log\", \"input_parameters\": {\"message\": \"x\"}}]}", 409, "FLOW_EXISTS", "waits"),
            ("POST", "/api/v1/flows/none/execute", "{\"device_ids\": []}", 404, "UNKNOWN_PROCEDURE", "none"),
            ("POST", "/api/v1/flows/waits/execute", "{}", 422, "INVALID_REQUEST", "device_ids"),
        ],
    )
    .await;
    hub.server.stop().await;
}
