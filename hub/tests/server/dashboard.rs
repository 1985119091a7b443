//! The test_dashboard protocol's neighbours, its clients that come and go, and its topics beyond the document.

use rigwire::access::{Bearer, Role, book};
use rigwire_shared::time::Timestamp;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::support::{Answer, Hub, Socket, says, waits, within};

async fn subscribe(socket: &mut Socket, topic: &str, filter: Value) {
    let request = json!({"type": "subscribe", "payload": {"topic": topic, "filter": filter}});
    socket.send(Message::text(request.to_string())).await;
    assert_eq!(socket.next().await["payload"], json!({"topic": topic}));
}

async fn connect(hub: &Hub, client: &str) -> Socket {
    let mut socket = hub.socket(&format!("/api/ws/updates?client_id={client}")).await;
    let greeting = socket.next().await;
    assert_eq!((&greeting["type"], &greeting["payload"]), (&json!("connected"), &json!({"client_id": client})));
    socket
}

fn suite() -> Value {
    let test = |id: &str, message: &str| json!({"id": id, "name": id, "tags": ["quick"], "procedure": says(message)});
    json!({"name": "nightly", "kind": "suite", "tests": [test("boot", "up"), test("off", "down")]})
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ran_while_a_client_was_away_has_had_its_numbers() {
    let hub = Hub::start().await;
    let mut board = connect(&hub, "me").await;
    subscribe(&mut board, "suite:completed", Value::Null).await;
    hub.run(&says("one")).await;
    assert_eq!(board.next().await["sequence"], 1);
    board.leave().await;
    for message in ["two", "three"] {
        let (run, _) = hub.run(&says(message)).await;
        hub.ended(&run).await;
    }
    let mut board = connect(&hub, "me").await;
    let (run, _) = hub.run(&says("four, before it asked again")).await;
    hub.ended(&run).await;
    subscribe(&mut board, "suite:completed", Value::Null).await;
    hub.run(&says("five")).await;
    let mut numbers = Vec::new();
    while numbers.last() != Some(&5) {
        numbers.push(board.next().await["sequence"].as_u64().unwrap());
    }
    // The fourth waits in the new socket's queue or is missed, as the socket's task finds it.
    assert!(matches!(numbers[..], [5] | [4, 5]), "{numbers:?}");
    let mut other = connect(&hub, "someone-else").await;
    subscribe(&mut other, "suite:completed", Value::Null).await;
    hub.run(&says("six")).await;
    assert_eq!((board.next().await["sequence"].as_u64(), other.next().await["sequence"].as_u64()), (Some(6), Some(1)));
    hub.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_of_two_sockets_with_one_name_wins_in_silence() {
    let hub = Hub::start().await;
    let mut first = connect(&hub, "me").await;
    subscribe(&mut first, "suite:completed", Value::Null).await;
    hub.run(&says("one")).await;
    assert_eq!(first.next().await["sequence"], 1);
    let mut second = connect(&hub, "me").await;
    subscribe(&mut second, "suite:completed", Value::Null).await;
    for number in 2..5 {
        hub.run(&says("more")).await;
        assert_eq!(second.next().await["sequence"], number);
    }
    first.send(Message::text(r#"{"type":"Ping"}"#)).await;
    assert_eq!(first.next().await["type"], "pong", "told of nothing, and still there");
    first.leave().await;
    hub.run(&says("five")).await;
    assert_eq!(second.next().await["sequence"], 5);
    hub.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_beyond_the_document_come_to_who_asks_for_them() {
    let hub = Hub::start().await;
    let mut page = connect(&hub, "page").await;
    subscribe(&mut page, "run:finished", Value::Null).await;
    let mut plain = connect(&hub, "plain").await;
    subscribe(&mut plain, "*", Value::Null).await;
    let (run, number) = hub.run(&says("x")).await;
    let told = page.next().await;
    assert_eq!(
        (&told["type"], &told["sequence"], &told["payload"]["run_number"]),
        (&json!("run_event"), &json!(1), &json!(number))
    );
    let path = format!("/api/v1/runs/{run}/events");
    let events = hub.until("the end in the record", &path, |events| {
        events.body["events"].as_array().unwrap().last().is_some_and(|event| event["type"] == "finished")
    });
    let events = events.await;
    let recorded = events.body["events"].as_array().unwrap().last().unwrap();
    for (field, value) in recorded.as_object().unwrap() {
        assert_eq!(&told["payload"][field], value, "{field}");
    }
    loop {
        let message = plain.next().await;
        assert!(!message["type"].as_str().unwrap().starts_with("run_"), "{message}");
        if message["type"] == "suite_completed" {
            break;
        }
    }
    subscribe(&mut page, "ledger", Value::Null).await;
    let ledger = page.next().await;
    assert_eq!(ledger["type"], "ledger");
    assert!(ledger["payload"]["watchers"]["connected"].as_array().unwrap().len() >= 2, "{ledger}");
    hub.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_connected_is_told_to_admins() {
    let hub = Hub::with_tokens().await;
    let token = |name: &str, role| {
        book::change(&hub.data(), |book| book.add(name, Bearer::Role(role), Timestamp::now(), None)).unwrap().1
    };
    let (viewer, admin) = (token("eve", Role::Viewer), token("root", Role::Admin));
    let mut board = hub.socket(&format!("/api/ws/updates?client_id=me&token={viewer}")).await;
    board.next().await;
    subscribe(&mut board, "logs", Value::Null).await;
    subscribe(&mut board, " Delta ", Value::Null).await;
    let ask = async |path: &str, token: &str| {
        let head = format!("GET {path} HTTP/1.1\r\nHost: bench.example:8443\r\nAuthorization: Bearer {token}\r\n\r\n");
        hub.raw(head.as_bytes()).await
    };
    let clients = ask("/api/ws/clients", &admin).await;
    assert_eq!(clients.body["total"], 1);
    let client = &clients.body["clients"][0];
    assert_eq!((&client["client_id"], &client["subscriptions"]), (&json!("me"), &json!(["logs", " Delta "])));
    assert!(client["last_activity"].as_str().unwrap() >= client["connected_at"].as_str().unwrap(), "{client}");
    assert!(client["connected_at"].as_str().unwrap() > "2020", "{client}");
    assert_eq!(ask("/api/ws/clients", &viewer).await.status, 403);
    let info = ask("/api/ws/info", &viewer).await.body;
    for (field, value) in [
        ("url", json!("ws://bench.example:8443/api/ws/updates")),
        ("ping_interval", json!(30)),
        ("ping_timeout", json!(10)),
        ("status", json!("active")),
        ("connected_clients", json!(1)),
        ("active_subscriptions", json!(2)),
    ] {
        assert_eq!(info[field], value, "{field}");
    }
    // The name is the client's own: another's token does not take it over.
    let mut other = hub.socket(&format!("/api/ws/updates?client_id=me&token={admin}")).await;
    other.next().await;
    assert_eq!(ask("/api/ws/clients", &admin).await.body["total"], 2);
    other.leave().await;
    let gone = async {
        while ask("/api/ws/clients", &admin).await.body["total"] != 1 {
            tokio::task::yield_now().await;
        }
    };
    within("the other to be gone", gone).await;
    hub.server.stop().await;
}

async fn post(hub: &Hub, path: &str, kind: &str, body: &str) -> Answer {
    let head = format!("POST {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: {kind}\r\n", hub.server.address);
    hub.raw(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_form_gives_the_token_back() {
    const FORM: &str = "application/x-www-form-urlencoded";
    let hub = Hub::with_tokens().await;
    let alice =
        book::change(&hub.data(), |book| book.add("alice", Bearer::Role(Role::Operator), Timestamp::now(), None));
    let alice = alice.unwrap().1;
    for path in ["/api/auth/token", "/api/v1/auth/login"] {
        let good = post(&hub, path, FORM, &format!("username=alice&password={alice}")).await;
        assert_eq!(
            (good.status, &good.body["token_type"], &good.body["access_token"]),
            (200, &json!("bearer"), &json!(alice))
        );
        let as_json = json!({"username": "alice", "password": alice}).to_string();
        assert_eq!(post(&hub, path, "application/json", &as_json).await.status, 200);
        for body in ["username=alice&password=wrong".to_owned(), format!("username=bob&password={alice}")] {
            let refused = post(&hub, path, FORM, &body).await;
            assert_eq!((refused.status, &refused.body["code"]), (401, &json!("UNAUTHORIZED")), "{path} {body}");
            assert!(refused.body["detail"].is_string());
        }
        assert_eq!(post(&hub, path, FORM, "username=alice").await.status, 422);
    }
    hub.server.stop().await;
    let open = Hub::start().await;
    let any = post(&open, "/api/auth/token", FORM, "username=any&password=thing").await;
    assert_eq!((any.status, &any.body["token_type"]), (200, &json!("bearer")));
    open.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_are_listed_as_executions_of_suites() {
    let hub = Hub::start().await;
    let (single, single_number) = hub.run(&says("x")).await;
    hub.ended(&single).await;
    let (run, number) = hub.run(&suite()).await;
    hub.ended(&run).await;
    let (_, waiting) = hub.run(&waits("60s")).await;

    let all = hub.get("/api/suites").await.body;
    let ids: Vec<u64> = all["items"].as_array().unwrap().iter().map(|item| item["id"].as_u64().unwrap()).collect();
    assert_eq!((all["total"].as_u64(), &all["limit"], &all["offset"]), (Some(ids.len() as u64), &json!(50), &json!(0)));
    assert!(ids.contains(&single_number) && ids.contains(&number) && ids[0] == waiting, "{ids:?}");
    let second = hub.get("/api/suites?limit=1&offset=1").await.body;
    assert_eq!((&second["total"], second["items"].as_array().unwrap().len()), (&all["total"], 1));
    assert_eq!(second["items"][0]["id"], ids[1]);

    let named = hub.get("/api/suites?suite_name=nightly").await.body;
    assert_eq!(named["total"], 1, "{named}");
    let item = &named["items"][0];
    for (field, value) in [
        ("id", json!(number)),
        ("suite_name", json!("nightly")),
        ("total_tests", json!(2)),
        ("passed_tests", json!(2)),
        ("failed_tests", json!(0)),
        ("success_rate", json!(1.0)),
        ("status", json!("completed")),
        ("error", Value::Null),
        ("runs_per_test", json!(1)),
    ] {
        assert_eq!(item[field], value, "{field}");
    }
    let agent = item["agent_id"].as_u64().unwrap();
    assert_eq!(hub.get(&format!("/api/suites?agent_id={agent}")).await.body["items"][0]["id"], number);
    assert_eq!(
        hub.get("/api/suites?suite_name=nobody").await.body,
        json!({"total": 0, "items": [], "limit": 50, "offset": 0})
    );

    let detail = hub.get(&format!("/api/suites/{number}")).await.body;
    let tests = detail["tests"].as_array().unwrap();
    assert_eq!(tests.iter().map(|test| &test["test_id"]).collect::<Vec<_>>(), ["boot", "off"]);
    for test in tests {
        assert_eq!(
            (&test["status"], &test["success"], &test["tags"]),
            (&json!("completed"), &json!(true), &json!(["quick"]))
        );
        assert_eq!((&test["total_runs"], &test["successful_runs"]), (&json!(1), &json!(1)));
        assert!(test["completed_at"].as_str().unwrap() >= test["started_at"].as_str().unwrap());
    }
    assert_eq!(hub.get(&format!("/api/suites/{run}")).await.body, detail, "by either id");
    assert_eq!(hub.get(&format!("/api/executions/{number}")).await.body, detail);
    let step = hub.get(&format!("/api/suites/{single_number}")).await.body["tests"][0].clone();
    assert_eq!((&step["test_id"], &step["score"], &step["success"]), (&json!("say"), &json!(1.0), &json!(true)));
    assert_eq!(
        hub.get(&format!("/api/executions/{}", step["id"])).await.body["id"],
        single_number,
        "by a step's number"
    );

    let of_suite = hub.get(&format!("/api/tests?suite_execution_id={number}&success=true&limit=1")).await.body;
    assert_eq!((&of_suite["total"], of_suite["items"].as_array().unwrap().len()), (&json!(2), 1));
    let of_steps = hub.get("/api/tests?test_id=say").await.body;
    assert!(of_steps["items"].as_array().unwrap().iter().any(|test| test["suite_execution_id"] == single_number));
    assert_eq!(hub.get("/api/tests?success=false").await.body["total"], 0);
    let summary = hub.get("/api/dashboard/summary").await.body;
    assert_eq!(summary["total_executions"], all["total"]);
    assert_eq!((&summary["recent_success_rate"], &summary["recent_avg_score"]), (&json!(1.0), &json!(1.0)));
    let names = hub.get("/api/suites/names/list").await.body;
    assert!(names.as_array().unwrap().contains(&json!("nightly")), "{names}");
    hub.request("POST", &format!("/api/v1/runs/{waiting}/cancel"), "").await;
    hub.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_for_wrongly_is_told_so() {
    let hub = Hub::start().await;
    hub.run(&says("x")).await;
    for (path, status) in [
        ("/api/suites?limit=100", 200),
        ("/api/suites?limit=101", 422),
        ("/api/suites?limit=0", 422),
        ("/api/suites?limit=-1", 422),
        ("/api/suites?offset=x", 422),
        ("/api/suites?offset=18446744073709551615", 200),
        ("/api/suites?sort=name", 422),
        ("/api/suites/nightly", 422),
        ("/api/suites/%FF", 422),
        ("/api/suites/99", 404),
        ("/api/suites/99999999999999999999", 422),
        ("/api/suites/00000000-0000-4000-8000-000000000000", 404),
        ("/api/executions/99", 404),
        ("/api/executions/x", 422),
        ("/api/tests?success=maybe", 422),
        ("/api/tests?suite_execution_id=99", 404),
        ("/api/tests?limit=101", 422),
    ] {
        let answer = hub.get(path).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.body);
        if status != 200 {
            assert!(answer.body["detail"].is_string() && answer.body["code"].is_string(), "{path}: {}", answer.body);
        }
    }
    hub.server.stop().await;
}
