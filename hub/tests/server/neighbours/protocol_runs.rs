//! Neighbours of protocol runs: start, queue, look, hold, cancel; definitions, outputs and hardware.

use serde_json::json;

use super::{ABSENT, agent_comes, are_refused, is_of, keep, post, reported};
use crate::support::{Hub, waits};

const START: &str = "/api/v1/protocols/runs/actions/start";
const RUN: &str = "accession_id uuid, name text, status text, created_at time, updated_at time, start_time time?, \
    end_time time?, duration_ms number?, protocol_name text, top_level_protocol_definition_accession_id uuid, \
    data_directory_path text?, input_parameters_json object, resolved_assets_json object?, output_data_json object?, \
    error_message text?";
const OUTPUT: &str = "accession_id uuid, protocol_run_accession_id uuid, data_type text, data_key text, \
    spatial_context text, data_units text?, data_value_numeric number?, data_value_json object?, file_path text?, \
    file_size_bytes whole?, measurement_timestamp time?, machine_accession_id text?";
const HARDWARE: &str = "id text, name text, connection_type text, status text, port text?, ip_address text?, \
    manufacturer text?, model text?, serial_number text?, plr_backend text?, properties object";

#[tokio::test(flavor = "multi_thread")]
async fn a_protocol_is_started_held_and_cancelled() {
    let hub = Hub::start().await;
    let mut procedure = waits("30s");
    procedure["params"] = json!({"volts": {"type": "float", "default": 3.3}});
    keep(&hub, &procedure).await;
    let definitions = hub.get("/api/v1/protocols/definitions").await.body;
    let definition = &definitions[0];
    is_of(
        definition,
        "accession_id uuid, name text, description text?, is_top_level flag, parameters list, assets list",
    );
    let parameter = &definition["parameters"][0];
    assert_eq!(
        *parameter,
        json!({"name": "volts", "type_hint": "float", "optional": true, "default_value": 3.3, "description": null})
    );
    let definition_id = definition["accession_id"].as_str().unwrap();
    for id in [definition_id, "waits"] {
        assert_eq!(hub.get(&format!("/api/v1/protocols/definitions/{id}")).await.body, *definition);
    }

    let mut runs = Vec::new();
    for (id, name) in [("waits", json!(null)), (definition_id, json!("mine"))] {
        let body = json!({"protocol_definition_accession_id": id, "name": name, "parameters": {"volts": 5}});
        let started = post(&hub, START, &body).await;
        assert_eq!(started.status, 201, "{}", started.body);
        is_of(&started.body, "run_id uuid");
        runs.push(started.body["run_id"].as_str().unwrap().to_owned());
    }
    let queue = hub.get("/api/v1/protocols/runs/queue").await.body;
    assert_eq!(queue.as_array().unwrap().len(), 2);
    is_of(&queue[0], "accession_id uuid, name text, status text, created_at time, protocol_name text");
    assert_eq!((&queue[0]["name"], &queue[0]["protocol_name"]), (&json!("mine"), &json!("waits")));

    let list = hub.get("/api/v1/protocols/runs?status=running,PENDING").await.body;
    assert_eq!(list.as_array().map(Vec::len), Some(2), "{list}");
    let records = hub.get("/api/v1/protocols/runs/records?status=running,PENDING").await.body;
    assert_eq!(records.as_array().map(Vec::len), Some(2), "{records}");
    assert_eq!(hub.get("/api/v1/protocols/runs/records?status=completed").await.body, json!([]));
    let record = hub.get(&format!("/api/v1/protocols/runs/records/{}", runs[1])).await.body;
    assert_eq!(record["accession_id"], json!(runs[1]));

    let run = hub.get(&format!("/api/v1/protocols/runs/{}", runs[1])).await.body;
    is_of(&run, RUN);
    assert_eq!((&run["status"], &run["input_parameters_json"]), (&json!("RUNNING"), &json!({"volts": 5.0})));
    assert_eq!(run["top_level_protocol_definition_accession_id"], definition_id);

    let path = format!("/api/v1/protocols/runs/{}", runs[1]);
    for (verb, status) in [("pause", "PAUSED"), ("resume", "RUNNING")] {
        let answer = post(&hub, &format!("{path}/{verb}"), &json!(null)).await;
        assert_eq!((answer.status, &answer.body["success"]), (200, &json!(true)), "{}", answer.body);
        assert_eq!(hub.get(&path).await.body["status"], status);
        let again = post(&hub, &format!("{path}/{verb}"), &json!(null)).await;
        assert_eq!((again.status, again.body["code"].as_str()), (409, Some("WRONG_STATE")));
    }
    for (verb, status) in [("pause", "PAUSED"), ("resume", "RUNNING"), ("cancel", "CANCELLED")] {
        let answer = post(&hub, &format!("/api/v1/execution/runs/{}/{verb}", runs[0]), &json!(null)).await;
        assert_eq!((answer.status, answer.body.as_str()), (204, Some("")), "{}", answer.body);
        let path = format!("/api/v1/protocols/runs/{}", runs[0]);
        hub.until(status, &path, |answer| answer.body["status"] == status).await;
    }
    let answer = post(&hub, &format!("{path}/cancel"), &json!(null)).await;
    is_of(&answer.body, "success flag, message text");
    hub.until("the end", &path, |answer| answer.body["status"] == "CANCELLED").await;
    assert_eq!(hub.get("/api/v1/protocols/runs/queue").await.body, json!([]));
    for (query, expected) in [
        ("", 2),
        ("?status=cancelled", 2),
        ("?status=QUEUED", 0),
        ("?limit=1&offset=1", 1),
        ("?skip=2", 0),
        ("?protocol_definition_accession_id=waits", 2),
        ("?protocol_definition_accession_id=other", 0),
    ] {
        let found = hub.get(&format!("/api/v1/protocols/runs{query}")).await.body;
        assert_eq!(found.as_array().map(Vec::len), Some(expected), "{query}: {found}");
    }
    hub.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_simulation_moves_no_real_device() {
    let hub = Hub::start().await;
    hub.ready().await;
    agent_comes(&hub).await;
    for (name, class) in [("on-psu", "psu"), ("on-phone", "phone")] {
        let step = json!({"id": "safe", "use": "instrument.safe_state", "on": "it"});
        keep(&hub, &json!({"name": name, "roles": {"it": {"class": class}}, "steps": [step]})).await;
    }
    for (name, simulation, expected) in
        [("on-psu", None, 201), ("on-psu", Some(true), 201), ("on-phone", None, 422), ("on-phone", Some(false), 201)]
    {
        let mut body = json!({"protocol_definition_accession_id": name});
        if let Some(simulation) = simulation {
            body["simulation_mode"] = json!(simulation);
        }
        let answer = post(&hub, START, &body).await;
        assert_eq!(answer.status, expected, "{name} {simulation:?}: {}", answer.body);
        if expected == 422 {
            assert_eq!(answer.body["code"], "NOT_SIMULATED");
        }
    }
    hub.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn outputs_are_series_and_files() {
    let hub = Hub::start().await;
    let (id, number) = reported(&hub, "solve").await;
    let run = hub.get(&format!("/api/v1/protocols/runs/{number}")).await.body;
    is_of(&run, RUN);
    assert_eq!((&run["status"], &run["error_message"]), (&json!("FAILED"), &json!("did not converge")));
    assert_eq!(run["output_data_json"], json!({"stress": 312.5}));
    assert_eq!(run["resolved_assets_json"], json!({"devices": ["psu-1"]}));

    let all = hub.get("/api/v1/data-outputs/outputs").await.body;
    let outputs = hub.get(&format!("/api/v1/data-outputs/outputs?protocol_run_accession_id={id}")).await.body;
    assert_eq!((all.as_array().map(Vec::len), &outputs), (Some(2), &all));
    for output in outputs.as_array().unwrap() {
        is_of(output, OUTPUT);
        let path = format!("/api/v1/data-outputs/outputs/{}", output["accession_id"].as_str().unwrap());
        assert_eq!(hub.get(&path).await.body, *output);
    }
    assert_eq!((&outputs[0]["data_key"], &outputs[0]["data_value_numeric"]), (&json!("stress"), &json!(312.5)));
    let second = hub.get("/api/v1/data-outputs/outputs?offset=1&limit=1").await.body;
    assert_eq!(second, json!([outputs[1]]));

    let export = |output: usize, query: &str| {
        format!("/api/v1/data-outputs/outputs/{}/export{query}", outputs[output]["accession_id"].as_str().unwrap())
    };
    let text = hub.get(&export(0, "")).await;
    assert!(text.head.to_lowercase().contains("content-type: text/csv"), "{}", text.head);
    let lines: Vec<String> = text.body.as_str().unwrap().lines().map(str::to_owned).collect();
    assert_eq!((lines[0].as_str(), lines.len()), ("timestamp,value,unit", 2));
    assert!(lines[1].ends_with(",312.5,MPa"), "{lines:?}");
    let values = hub.get(&export(0, "?format=json")).await.body;
    let values: serde_json::Value = serde_json::from_str(values.as_str().unwrap()).unwrap();
    is_of(&values[0], "timestamp time, value number, unit text");
    assert_eq!(hub.get(&export(1, "?format=csv")).await.body, "a,b\n");
    are_refused(
        &hub,
        &[
            ("GET", &export(1, "?format=json"), "", 422, "UNSUPPORTED_FORMAT", "is text/csv"),
            ("GET", &export(1, "?format=xls"), "", 400, "INVALID_QUERY", "xls"),
        ],
    )
    .await;
    hub.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hardware_is_what_agents_have() {
    let hub = Hub::start().await;
    hub.ready().await;
    agent_comes(&hub).await;
    for (kind, id, port) in [("serial", "psu-1", "/dev/ttyUSB0"), ("usb", "emulator-5554", "usb:1-4")] {
        let found = hub.get(&format!("/api/v1/hardware/discover/{kind}")).await.body;
        assert_eq!(found.as_array().map(Vec::len), Some(1), "{found}");
        is_of(&found[0], HARDWARE);
        assert_eq!(
            (&found[0]["id"], &found[0]["port"], &found[0]["status"]),
            (&json!(id), &json!(port), &json!("connected"))
        );
    }
    for body in [json!({"name": "psu-1"}), json!({"name": "Supply", "device_type": "serial", "port": "/dev/ttyUSB0"})] {
        let answer = post(&hub, "/api/v1/hardware/register", &body).await;
        assert_eq!((answer.status, &answer.body["device_id"]), (200, &json!("psu-1")), "{}", answer.body);
        is_of(&answer.body, "success flag, device_id text, message text");
    }
    let body = json!({"name": "Flex", "port": "/dev/ttyUSB7"}).to_string();
    are_refused(
        &hub,
        &[
            ("POST", "/api/v1/hardware/register", &body, 409, "CONFIGURED_AT_AGENT", "Flex at /dev/ttyUSB7"),
            ("POST", "/api/v1/hardware/register", "{}", 422, "INVALID_REQUEST", "name"),
        ],
    )
    .await;
    hub.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_refused() {
    let hub = Hub::start().await;
    keep(&hub, &waits("1s")).await;
    let run = format!("/api/v1/protocols/runs/{ABSENT}");
    let long = json!({"protocol_definition_accession_id": "waits", "name": "n".repeat(201)}).to_string();
    let wrong = json!({"protocol_definition_accession_id": "waits", "parameters": {"x": 1}}).to_string();
    are_refused(
        &hub,
        &[
            ("POST", START, "", 400, "INVALID_JSON", "not JSON"),
            ("POST", START, "[]", 422, "INVALID_REQUEST", "expected {\"protocol_definition_accession_id\""),
            (
                "POST",
                START,
                "{\"protocol_definition_accession_id\": 7}",
                422,
                "INVALID_REQUEST",
                "accession_id: invalid type",
            ),
            (
                "POST",
                START,
                "{\"protocol_definition_accession_id\": \"none\"}",
                404,
                "UNKNOWN_PROCEDURE",
                "no procedure none",
            ),
            ("POST", START, "{\"protocol_definition_accession_id\": \"../x\"}", 400, "INVALID_PROCEDURE_NAME", "../x"),
            (
                "POST",
                START,
                &format!("{{\"protocol_definition_accession_id\": \"{ABSENT}\"}}"),
                404,
                "UNKNOWN_PROCEDURE",
                ABSENT,
            ),
            ("POST", START, &long, 422, "INVALID_REQUEST", "201 characters"),
            ("POST", START, &wrong, 422, "INVALID_PARAMETER", "no parameter x"),
            ("GET", &run, "", 404, "UNKNOWN_RUN", "there is no run"),
            ("GET", "/api/v1/protocols/runs/x", "", 400, "INVALID_RUN_ID", "is not the id"),
            ("GET", "/api/v1/protocols/runs?status=dancing", "", 422, "UNKNOWN_STATUS", "expected one of pending"),
            ("GET", "/api/v1/protocols/runs?limit=-1", "", 400, "INVALID_QUERY", "limit"),
            ("POST", &format!("{run}/cancel"), "", 404, "UNKNOWN_RUN", "there is no run"),
            ("POST", &format!("{run}/pause"), "", 404, "UNKNOWN_RUN", "there is no run"),
            ("POST", &format!("/api/v1/execution/runs/{ABSENT}/resume"), "", 404, "UNKNOWN_RUN", "there is no run"),
            ("GET", "/api/v1/protocols/definitions/none", "", 404, "UNKNOWN_PROCEDURE", "none"),
            ("GET", "/api/v1/data-outputs/outputs/x", "", 404, "UNKNOWN_OUTPUT", "no output x"),
            ("GET", "/api/v1/data-outputs/outputs/1/export", "", 404, "UNKNOWN_OUTPUT", "no output 1"),
            (
                "GET",
                &format!("/api/v1/data-outputs/outputs?protocol_run_accession_id={ABSENT}"),
                "",
                404,
                "UNKNOWN_RUN",
                "no run",
            ),
        ],
    )
    .await;
    hub.server.stop().await;
}
