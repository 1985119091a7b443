//! What people type and draw, by REST and on a socket, against a whole hub with an agent that announces a meter.

use std::time::Duration;

use crate::support::{Hub, Socket};
use rigwire_shared::agent::{
    ActionCard, AgentState, DeviceCard, DeviceKind, DeviceState, Inventory, ParameterCard, ReadingCard,
};
use rigwire_shared::ids::{AgentId, DeviceId, Epoch, MetricName};
use rigwire_shared::topic::{Channel, Topic};
use rigwire_shared::unit::Unit;
use rigwire_shared::wire;
use rumqttc::{AsyncClient, MqttOptions, QoS};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

/// An agent that says that it has a supply, and no more; it goes with what is returned.
async fn announce(hub: &Hub) -> tokio::task::JoinSet<()> {
    let volts = ParameterCard {
        name: "v".to_owned(),
        kind: "float".to_owned(),
        unit: Unit::Volt,
        min: Some(0.0),
        max: Some(31.0),
        values: Vec::new(),
    };
    let set = ActionCard { id: "set_voltage".to_owned(), about: String::new(), hazard: None, parameters: vec![volts] };
    let metrics = vec![MetricName::new("voltage").unwrap()];
    let card = DeviceCard {
        device: DeviceId::new("psu-1").unwrap(),
        kind: DeviceKind::Instrument,
        class: "psu".to_owned(),
        profile: "korad.ka3005p".to_owned(),
        tags: Vec::new(),
        state: DeviceState::Online,
        cause: "idle".to_owned(),
        identity: None,
        readings: vec![ReadingCard { id: "voltage".to_owned(), metrics, unit: Unit::Volt, interval_ms: 500 }],
        actions: vec![set],
        sdk: None,
    };
    let broker = &hub.server.broker;
    let mut options = MqttOptions::new("rigwire-agent-bench", broker.host(), broker.port());
    options.set_keep_alive(Duration::from_secs(30));
    // As many as it publishes: none waits.
    let (client, mut events) = AsyncClient::new(options, 10);
    let (version, host, cause) = ("0.1.0".to_owned(), "host".to_owned(), "connected".to_owned());
    let state = AgentState { epoch: Epoch(1), online: true, version, host, cause };
    let inventory = Inventory { epoch: Epoch(1), devices: vec![card] };
    let agent = AgentId::new("bench").unwrap();
    for (channel, bytes) in
        [(Channel::State, wire::encode(&state).unwrap()), (Channel::Inventory, wire::encode(&inventory).unwrap())]
    {
        let topic = Topic::Agent(agent.clone(), channel).text();
        client.publish(topic, QoS::AtLeastOnce, true, bytes).await.unwrap();
    }
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move {
        let _client = client;
        while events.poll().await.is_ok() {}
    });
    hub.until("the supply to be known", "/api/v1/devices/psu-1", |answer| answer.status == 200).await;
    tasks
}

async fn command(hub: &Hub, line: &str, plan_only: bool) -> crate::support::Answer {
    hub.request("POST", "/api/v1/commands", &json!({"command": line, "plan_only": plan_only}).to_string()).await
}

async fn ended(hub: &Hub, run: &Value) -> Value {
    let run = run.as_str().unwrap();
    hub.ended(run).await;
    hub.get(&format!("/api/v1/runs/{run}")).await.body
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_is_planned_and_run_by_rest() {
    let hub = Hub::start().await;
    hub.ready().await;
    let _agent = announce(&hub).await;
    let planned = command(&hub, "set psu-1 voltage 3300mV; wait 2s", true).await;
    assert_eq!(planned.status, 200, "{}", planned.body);
    let plan = &planned.body["plan"];
    assert_eq!(plan["steps"][0]["text"], "sets voltage of psu-1 to 3300mV (set_voltage)");
    assert_eq!(plan["procedure"]["steps"][0]["with"], json!({"action": "set_voltage", "v": 3.3}));
    assert_eq!(plan["stages"][4]["stage"], "complete");
    assert_eq!(hub.get("/api/v1/runs").await.body["runs"], json!([]), "a plan is no run");

    let refused = command(&hub, "read psu1 voltage", false).await;
    assert_eq!((refused.status, refused.body["code"].as_str()), (422, Some("INVALID_COMMAND")));
    assert_eq!(refused.body["detail"], "column 6: there is no device psu1; did you mean psu-1?");
    assert_eq!((refused.body["column"].as_u64(), refused.body["suggestion"].as_str()), (Some(6), Some("psu-1")));
    assert_eq!(refused.body["caret"], "read psu1 voltage\n     ^");
    let no_command = hub.request("POST", "/api/v1/commands", "{}").await;
    assert_eq!((no_command.status, no_command.body["code"].as_str()), (422, Some("INVALID_REQUEST")));

    let run = command(&hub, "log \"ready\"; wait 10ms", false).await;
    assert_eq!(run.status, 201, "{}", run.body);
    assert!(run.body["urls"]["agent_events"].as_str().is_some());
    let row = ended(&hub, &run.body["id"]).await;
    assert_eq!((row["status"].as_str(), row["name"].as_str()), (Some("completed"), Some("log \"ready\"; wait 10ms")));

    let devices = command(&hub, "devices", false).await;
    assert!(
        devices.body["answer"].as_str().unwrap().starts_with("psu-1: psu (korad.ka3005p), online"),
        "{}",
        devices.body
    );
    assert_eq!(devices.body["data"]["devices"][0]["id"], "psu-1");

    let long = command(&hub, "wait 1h", false).await;
    let number = long.body["number"].as_u64().unwrap();
    let status = command(&hub, &format!("status {number}"), false).await;
    assert_eq!(status.body["data"]["runs"][0]["number"], number);
    let unknown = command(&hub, "status 99999", false).await;
    assert_eq!((unknown.status, unknown.body["code"].as_str()), (404, Some("UNKNOWN_RUN")));
    let cancelled = command(&hub, &format!("cancel {number}"), false).await;
    assert_eq!(
        (cancelled.status, cancelled.body["answer"].clone()),
        (202, json!(format!("run {number} is being cancelled")))
    );
    assert_eq!(ended(&hub, &long.body["id"]).await["status"], "cancelled");
    assert_eq!(command(&hub, &format!("pause {number}"), false).await.status, 409);
    hub.server.stop().await;
}

/// Messages until one of this type.
async fn until(socket: &mut Socket, kind: &str) -> Vec<Value> {
    let mut told = Vec::new();
    loop {
        let message = socket.next().await;
        let last = message["type"] == kind;
        told.push(message);
        if last {
            return told;
        }
    }
}

async fn say(socket: &mut Socket, message: Value) {
    socket.send(Message::text(message.to_string())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_is_planned_shown_and_run_on_a_socket() {
    let hub = Hub::start().await;
    let mut socket = hub.socket("/ws/workflow").await;
    socket.next().await;
    say(
        &mut socket,
        json!({"type": "CHAT_MESSAGE", "id": "c-1", "payload": {"content": "log ready; wait 10ms", "sender": "user"}}),
    )
    .await;
    let told = until(&mut socket, "workflowComplete").await;
    let types: Vec<&str> = told.iter().map(|message| message["type"].as_str().unwrap()).collect();
    assert_eq!(types[0], "chatMessage");
    assert_eq!(told[0]["payload"]["content"], "Processing: log ready; wait 10ms");
    assert_eq!(types[1..7], ["dslProgress", "dslProgress", "dslProgress", "dslProgress", "dslProgress", "dslResult"]);
    let stages: Vec<&str> = told[1..6].iter().map(|message| message["payload"]["stage"].as_str().unwrap()).collect();
    assert_eq!(stages, ["analyzing", "discovering", "matching", "generating", "complete"]);
    assert!(told[..7].iter().all(|message| message["correlation_id"] == "c-1"), "{told:?}");
    // The nodes that were suggested are those that run.
    let suggested: Vec<&Value> = told[6]["payload"]["workflowSuggestion"]["nodes"].as_array().unwrap().iter().collect();
    let ids: Vec<&Value> = suggested.iter().map(|node| &node["id"]).collect();
    let start = told.iter().find(|message| message["type"] == "workflowStart").unwrap();
    let started: Vec<&Value> = start["payload"]["nodes"].as_array().unwrap().iter().map(|node| &node["id"]).collect();
    assert_eq!(ids, started);
    let start_at = types.iter().position(|kind| *kind == "workflowStart").unwrap();
    assert!(start_at > 6, "{types:?}");
    hub.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn params_beside_a_line_go_to_the_procedure_in_it() {
    let hub = Hub::start().await;
    let text = "name = \"greets\"\n[params]\nword = { type = \"text\", default = \"none\" }\n\
                times = { type = \"int\", default = 1 }\n\
                [[steps]]\nid = \"say\"\nuse = \"log\"\nwith = { message = \"{{ word }} {{ times }}\" }\n";
    assert_eq!(hub.request("PUT", "/api/v1/procedures/greets", text).await.status, 200);
    let mut socket = hub.socket("/ws/events").await;
    socket.next().await;
    let order = |command: &str, params: Value| json!({"type": "DSL_COMMAND", "payload": {"command": command, "workflowId": "mine", "params": params}});
    for (command, params, expected) in [
        ("run greets", json!({"word": "hello you", "times": 3}), "hello you 3"),
        ("run greets word=hi", json!({"word": "hello", "times": 2}), "hi 2"),
    ] {
        say(&mut socket, order(command, params)).await;
        let told = until(&mut socket, "workflowComplete").await;
        let logged = told.iter().find(|message| message["payload"]["message"] == expected);
        assert_eq!(logged.unwrap_or_else(|| panic!("{told:?}"))["payload"]["workflowId"], "mine");
    }
    for (command, params, expected) in [
        ("run greets", json!({"size": 1}), "procedure greets has no parameter size"),
        ("run greets", json!({"times": [1]}), "params.times is no number, text, true or false"),
        ("log x", json!({"times": 1}), "params are for the procedure that a line runs"),
        ("run greets; run greets", json!({"times": 1}), "params are for the procedure that a line runs"),
    ] {
        say(&mut socket, order(command, params)).await;
        let told = until(&mut socket, "dslResult").await;
        let error = told.last().unwrap()["payload"]["error"].as_str().unwrap();
        assert!(error.contains(expected), "{error}");
    }
    hub.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drawn_workflow_runs_and_its_nodes_are_told() {
    let hub = Hub::start().await;
    let mut socket = hub.socket("/ws/events").await;
    socket.next().await;
    let node =
        |id: &str, kind: &str, data: Value| json!({"id": id, "type": kind, "position": {"x": 0, "y": 0}, "data": data});
    let nodes = json!([
        node("hello", "log", json!({"label": "Hello", "message": "{{ word }}"})),
        node("check", "assert", json!({"that": "1 > 2", "message": "one is not more than two"})),
        node("after", "delay", json!({"duration": "1s"})),
    ]);
    let edges = json!([{"source": "hello", "target": "check"}, {"source": "check", "target": "after"}]);
    let payload = json!({"workflowId": "wf-123", "nodes": nodes, "edges": edges, "params": {"word": "hi"}});
    say(&mut socket, json!({"type": "EXECUTE_WORKFLOW", "id": "w-1", "payload": payload})).await;
    let told = until(&mut socket, "workflowError").await;
    let states: Vec<(&str, &str)> = told
        .iter()
        .filter(|message| message["type"] == "nodeStatusUpdate")
        .map(|message| (message["payload"]["nodeId"].as_str().unwrap(), message["payload"]["status"].as_str().unwrap()))
        .collect();
    let expected =
        [("hello", "running"), ("hello", "success"), ("check", "running"), ("check", "error"), ("after", "idle")];
    assert_eq!(states, expected);
    assert!(told.iter().any(|message| message["payload"]["message"] == "hi"), "the log is told");
    let of_the_run = told.iter().filter(|message| message["payload"].get("workflowId").is_some());
    assert!(
        of_the_run.clone().count() > 5
            && of_the_run.clone().all(|message| message["payload"]["workflowId"] == "wf-123")
    );
    let start = told.iter().find(|message| message["type"] == "workflowStart").unwrap();
    assert_eq!(start["payload"]["executionId"], hub.get("/api/v1/runs/1").await.body["id"]);
    let last = told.last().unwrap();
    assert_eq!(
        (last["payload"]["nodeId"].as_str(), last["payload"]["error"].as_str()),
        (Some("check"), Some("one is not more than two"))
    );

    // The same by REST; kept in the procedures' directory, it runs by name too.
    let body = json!({"kind": "workflow", "name": "drawn", "params": {"word": {"type": "text", "default": "hi"}}, "nodes": nodes, "edges": edges});
    let (run, _) = hub.run(&body).await;
    let row = ended(&hub, &json!(run)).await;
    assert_eq!((row["kind"].as_str(), row["status"].as_str()), (Some("workflow"), Some("failed")));
    let text = "name = \"kept\"\n[[nodes]]\nid = \"a\"\ntype = \"log\"\ndata = { message = \"x\" }\n";
    assert_eq!(hub.request("PUT", "/api/v1/procedures/kept", text).await.status, 200);
    until(&mut socket, "workflowError").await;
    say(&mut socket, json!({"type": "EXECUTE_WORKFLOW", "payload": {"workflowId": "kept", "nodes": []}})).await;
    until(&mut socket, "workflowComplete").await;
    let broken = hub.request("PUT", "/api/v1/procedures/kept", &text.replace("\"log\"", "\"lgo\"")).await;
    assert!(
        broken.body["detail"]
            .as_str()
            .unwrap()
            .starts_with("kept.toml:4: nodes[0].type: node a: there is no node type lgo"),
        "{}",
        broken.body
    );
    hub.server.stop().await;
}
