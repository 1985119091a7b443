//! Neighbours of solver runs: runs of simulations, studies over them, files and reports.

use serde_json::{Value, json};

use super::{ABSENT, are_refused, is_of, keep, post, reported};
use crate::support::{Hub, says, waits};

const RUN: &str = "id uuid, simulation_case_id uuid, geometry_version_id text?, optimization_study_id uuid?, \
    iteration_number whole?, status text, started_at time?, completed_at time?, compute_time_s number?, \
    error_message text?, created_at time";
const METRIC: &str = "id uuid, run_id uuid, metric_name text, value number, unit text, metadata_json object";
const ARTIFACT: &str = "id uuid, run_id uuid, artifact_type text, file_path text, file_size_bytes whole, \
    mime_type text, description text, created_at time";
const STUDY: &str = "id uuid, simulation_case_id uuid, name text, strategy text?, design_variables list, \
    constraints list, objectives list, status text, total_iterations whole?, completed_iterations whole, \
    best_run_id uuid?, pareto_front_run_ids list, created_at time, updated_at time";

fn detail() -> String {
    format!("{RUN}, solver_log text, input_snapshot object, metrics list, artifacts list")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_simulation_runs_and_is_cancelled() {
    let hub = Hub::start().await;
    let mut procedure = waits("30s");
    procedure["params"] = json!({
        "geometry_version_id": {"type": "text", "default": ""}, "volts": {"type": "float", "default": 1.0},
    });
    keep(&hub, &procedure).await;
    let body = json!({"geometry_version_id": ABSENT, "parameters_override": {"volts": 2}});
    let started = post(&hub, "/api/v2/simulations/waits/runs", &body).await;
    assert_eq!(started.status, 201, "{}", started.body);
    is_of(&started.body, RUN);
    assert_eq!(started.body["geometry_version_id"], ABSENT);
    let case = started.body["simulation_case_id"].as_str().unwrap();
    let second = post(&hub, &format!("/api/v2/simulations/{case}/runs"), &json!({})).await;
    assert_eq!(second.status, 201, "{}", second.body);

    let path = format!("/api/v2/runs/{}", started.body["id"].as_str().unwrap());
    let run = hub.get(&path).await.body;
    is_of(&run, &detail());
    assert_eq!((&run["status"], &run["input_snapshot"]["volts"]), (&json!("running"), &json!(2.0)));
    let listed = hub.get(&format!("/api/v2/simulations/{case}/runs")).await.body;
    assert_eq!(listed.as_array().map(Vec::len), Some(2));
    is_of(&listed[1], RUN);
    assert_eq!(listed[1], started.body);
    assert_eq!(hub.get("/api/v2/simulations/waits/runs?skip=1&limit=1").await.body, json!([listed[1]]));

    let cancelled = post(&hub, &format!("{path}/cancel"), &json!(null)).await;
    assert_eq!(cancelled.status, 200, "{}", cancelled.body);
    is_of(&cancelled.body, RUN);
    hub.until("the end", &path, |answer| answer.body["status"] == "cancelled").await;
    let again = post(&hub, &format!("{path}/cancel"), &json!(null)).await;
    assert_eq!((again.status, again.body["code"].as_str()), (409, Some("RUN_ENDED")));
    hub.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reported_run_has_metrics_files_and_reports() {
    let hub = Hub::start().await;
    let (id, number) = reported(&hub, "solve").await;
    let run = hub.get(&format!("/api/v2/runs/{number}")).await.body;
    is_of(&run, &detail());
    assert_eq!((&run["status"], &run["error_message"]), (&json!("failed"), &json!("did not converge")));
    assert!(run["solver_log"].as_str().unwrap().contains("WARNING coarse"), "{run}");
    let metrics = hub.get(&format!("/api/v2/runs/{id}/metrics")).await.body;
    is_of(&metrics[0], METRIC);
    assert_eq!((&metrics, &metrics[0]["value"]), (&run["metrics"], &json!(312.5)));
    let files = hub.get(&format!("/api/v2/runs/{id}/artifacts")).await.body;
    is_of(&files[0], ARTIFACT);
    assert_eq!(files, run["artifacts"]);
    for file in [files[0]["id"].as_str().unwrap(), "1"] {
        assert_eq!(hub.get(&format!("/api/v2/runs/{id}/artifacts/{file}/download")).await.body, "a,b\n");
    }
    let made = post(&hub, "/api/v2/reports/generate", &json!({"run_ids": [id], "format": "all"})).await;
    assert_eq!(made.status, 201, "{}", made.body);
    is_of(
        &made.body,
        "status text, format text, file_path text, file_size_bytes whole, files object, file_sizes object, generated_at time",
    );
    let json_file = hub.get(made.body["files"]["json"].as_str().unwrap()).await;
    assert_eq!((json_file.status, &json_file.body["run"]["id"]), (200, &json!(id)));
    let listed = hub.get("/api/v2/reports/list").await.body;
    is_of(&listed, "reports list, total whole");
    is_of(&listed["reports"][0], "filename text, format text, file_path text, created_at time");
    let other = hub.run(&says("x")).await.0;
    are_refused(
        &hub,
        &[
            (
                "GET",
                &format!("/api/v2/runs/{other}/artifacts/1/download"),
                "",
                404,
                "UNKNOWN_ARTIFACT",
                "no artifact 1",
            ),
            ("GET", "/api/v2/reports/download/x.xlsx", "", 404, "UNKNOWN_REPORT", "endings pdf"),
            ("GET", &format!("/api/v2/reports/download/{ABSENT}.pdf"), "", 404, "UNKNOWN_RUN", "no run"),
            (
                "POST",
                "/api/v2/reports/generate",
                "{\"run_ids\": [\"1\", \"2\"]}",
                422,
                "INVALID_REQUEST",
                "names 2 runs",
            ),
            (
                "POST",
                "/api/v2/reports/generate",
                "{\"run_ids\": [\"1\"], \"format\": \"excel\"}",
                422,
                "UNSUPPORTED_FORMAT",
                "excel",
            ),
        ],
    )
    .await;
    hub.server.stop().await;
}

fn study(strategy: &str) -> Value {
    json!({
        "name": "lighter horn", "strategy": strategy, "max_iterations": 4,
        "design_variables": [{"name": "volts", "var_type": "continuous", "min_value": 1.0, "max_value": 4.0}],
        "constraints": [{"metric": "stress", "operator": "<=", "value": 300.0}],
        "objectives": [{"metric": "stress", "direction": "minimize"}],
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_study_over_a_simulation_is_held_and_ends() {
    let hub = Hub::start().await;
    let mut procedure = waits("{{ wait }}");
    procedure["params"] = json!({
        "volts": {"type": "float", "default": 1.0}, "wait": {"type": "text", "default": "200ms"},
    });
    keep(&hub, &procedure).await;
    let started = post(&hub, "/api/v2/simulations/waits/optimize", &study("parametric_sweep")).await;
    assert_eq!(started.status, 201, "{}", started.body);
    is_of(&started.body, STUDY);
    assert_eq!(started.body["strategy"], "parametric_sweep");
    is_of(
        &started.body["design_variables"][0],
        "name text, var_type text, min_value number?, max_value number?, step number?, choices list?",
    );
    is_of(&started.body["constraints"][0], "metric text, operator text, value number");
    is_of(&started.body["objectives"][0], "metric text, direction text, weight number?");
    let path = format!("/api/v2/optimizations/{}", started.body["id"].as_str().unwrap());
    let first = hub.until("an iteration", &format!("{path}/iterations"), |answer| answer.body != json!([])).await.body;
    is_of(&first[0], "iteration whole, run_id uuid?, parameters object, metrics object, feasible flag");
    let paused = post(&hub, &format!("{path}/pause"), &json!(null)).await;
    assert_eq!((paused.status, &paused.body["status"]), (200, &json!("paused")), "{}", paused.body);
    let again = post(&hub, &format!("{path}/pause"), &json!(null)).await;
    assert_eq!(again.status, 409, "{}", again.body);
    let resumed = post(&hub, &format!("{path}/resume"), &json!(null)).await;
    assert_eq!((resumed.status, &resumed.body["status"]), (200, &json!("running")), "{}", resumed.body);
    let ended = hub.until("the end", &path, |answer| answer.body["completed_iterations"] == 4).await.body;
    assert_eq!((&ended["total_iterations"], &ended["best_run_id"]), (&json!(4), &Value::Null));
    // No trial has the metric, so none is on the front.
    assert_eq!(hub.get(&format!("{path}/pareto")).await.body, json!([]));
    let all = hub.get(&format!("{path}/iterations")).await.body;
    assert_eq!(all.as_array().map(Vec::len), Some(4));
    let child = hub.get(&format!("/api/v2/runs/{}", all[1]["run_id"].as_str().unwrap())).await.body;
    assert_eq!(
        (&child["optimization_study_id"], &child["iteration_number"]),
        (&started.body["id"], &all[1]["iteration"])
    );
    hub.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_study_that_a_program_reports_has_iterations() {
    let hub = Hub::start().await;
    let announced = json!({"external": true, "kind": "optimization", "name": "outside"});
    let id = post(&hub, "/api/v1/runs", &announced).await.body["id"].as_str().unwrap().to_owned();
    let iteration = json!([{"type": "iteration", "iteration": 1, "parameters": {"x": 1.5}, "metrics": {"y": 2.5}, "feasible": true}]);
    assert_eq!(post(&hub, &format!("/api/v1/runs/{id}/events"), &iteration).await.status, 202);
    let study = hub.get(&format!("/api/v2/optimizations/{id}")).await.body;
    is_of(&study, STUDY);
    assert_eq!((&study["status"], &study["completed_iterations"]), (&json!("running"), &json!(1)));
    let found = hub.get(&format!("/api/v2/optimizations/{id}/iterations")).await.body;
    assert_eq!((&found[0]["parameters"], &found[0]["metrics"]), (&json!({"x": 1.5}), &json!({"y": 2.5})));
    assert_eq!(hub.get(&format!("/api/v2/optimizations/{id}/pareto")).await.body, json!([]));
    hub.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_refused() {
    let hub = Hub::start().await;
    keep(&hub, &waits("1s")).await;
    let run = format!("/api/v2/runs/{ABSENT}");
    let optimize = "/api/v2/simulations/waits/optimize";
    let plain = hub.run(&says("x")).await.0;
    let odd = |key: &str, value: Value| {
        let mut body = study("parametric_sweep");
        body[key] = value;
        body.to_string()
    };
    are_refused(
        &hub,
        &[
            ("POST", "/api/v2/simulations/none/runs", "{}", 404, "UNKNOWN_PROCEDURE", "no procedure none"),
            ("POST", &format!("/api/v2/simulations/{ABSENT}/runs"), "{}", 404, "UNKNOWN_PROCEDURE", ABSENT),
            ("POST", "/api/v2/simulations/waits/runs", "", 400, "INVALID_JSON", "not JSON"),
            ("POST", "/api/v2/simulations/waits/runs", "[]", 422, "INVALID_REQUEST", "geometry_version_id"),
            (
                "POST",
                "/api/v2/simulations/waits/runs",
                "{\"parameters_override\": {\"x\": 1}}",
                422,
                "INVALID_PARAMETER",
                "no parameter x",
            ),
            ("GET", &run, "", 404, "UNKNOWN_RUN", "there is no run"),
            ("GET", "/api/v2/runs/x", "", 400, "INVALID_RUN_ID", "is not the id"),
            ("POST", &format!("{run}/cancel"), "", 404, "UNKNOWN_RUN", "there is no run"),
            ("GET", &format!("{run}/metrics"), "", 404, "UNKNOWN_RUN", "there is no run"),
            ("GET", &format!("{run}/artifacts?limit=x"), "", 400, "INVALID_QUERY", "limit"),
            (
                "POST",
                "/api/v2/simulations/none/optimize",
                &odd("strategy", json!("genetic")),
                404,
                "UNKNOWN_PROCEDURE",
                "none",
            ),
            ("POST", optimize, &odd("strategy", json!("bayesian")), 422, "INVALID_STUDY", "there is no bayesian"),
            ("POST", optimize, &odd("objectives", json!([])), 422, "INVALID_PROCEDURE", "objectives"),
            ("POST", optimize, &odd("objectives", json!(7)), 422, "INVALID_REQUEST", "objectives"),
            (
                "POST",
                optimize,
                &odd("design_variables", json!([{"name": "volts", "var_type": "odd"}])),
                422,
                "INVALID_STUDY",
                "var_type",
            ),
            ("POST", optimize, &odd("max_iterations", json!(0)), 422, "INVALID_PROCEDURE", "budget"),
            ("GET", &format!("/api/v2/optimizations/{ABSENT}"), "", 404, "UNKNOWN_RUN", "there is no run"),
            ("GET", &format!("/api/v2/optimizations/{plain}"), "", 404, "NOT_A_STUDY", "not a study"),
            ("POST", &format!("/api/v2/optimizations/{plain}/pause"), "", 404, "NOT_A_STUDY", "not a study"),
        ],
    )
    .await;
    hub.server.stop().await;
}
