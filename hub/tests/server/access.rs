//! Who may do what: tokens, roles, origins, and how many sockets a client may have.

use rigwire::access::{Bearer, Role, book};
use rigwire::router;
use rigwire::routes::Kind;
use rigwire_shared::ids::AgentId;
use rigwire_shared::time::Timestamp;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::support::{Answer, Hub, waits, within};

const ABSENT: &str = "00000000-0000-4000-8000-000000000000";

/// A socket of each protocol that lets anyone in, or says what is wrong with the run.
const SOCKETS: [&str; 7] = [
    "/api/v1/ws/execution/00000000-0000-4000-8000-000000000000",
    "/ws/executions/00000000-0000-4000-8000-000000000000",
    "/api/v1/ws/devices",
    "/ws/events",
    "/ws/workflow",
    "/api/v2/ws/runs/00000000-0000-4000-8000-000000000000",
    "/api/ws/updates",
];

pub(crate) fn token(hub: &Hub, name: &str, bearer: Bearer) -> String {
    book::change(&hub.data(), |book| book.add(name, bearer, Timestamp::now(), None)).unwrap().1
}

async fn ask(hub: &Hub, method: &str, path: &str, headers: &str) -> Answer {
    let head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n{headers}", hub.server.address);
    hub.raw(format!("{head}Content-Length: 0\r\n\r\n").as_bytes()).await
}

/// A path of the table with something in the place of its parameters.
fn filled(path: &str) -> String {
    let part = |part: &str| if part.starts_with('{') { ABSENT.to_owned() } else { part.to_owned() };
    path.split('/').map(part).collect::<Vec<_>>().join("/")
}

/// The table of roles is what the server does: each route is asked by everyone.
#[tokio::test(flavor = "multi_thread")]
async fn every_route_lets_in_who_may_and_nobody_else() {
    let hub = Hub::with_tokens().await;
    let tokens: Vec<(Role, String)> =
        Role::ALL.map(|role| (role, token(&hub, role.as_str(), Bearer::Role(role)))).into();
    let agent = token(&hub, "bench-1", Bearer::Agent(AgentId::new("bench-1").unwrap()));
    let mut seen = 0;
    for entry in router::routes().entries() {
        let (verb, path) = (entry.verb.as_str(), filled(entry.path));
        let Kind::Request(_) = entry.kind else { continue };
        seen += 1;
        let none = ask(&hub, verb, &path, "").await;
        let Some(needed) = entry.role else {
            assert!(!matches!(none.status, 401 | 403), "{verb} {path} is open to all and answers {}", none.status);
            continue;
        };
        assert_eq!((none.status, &none.body["code"]), (401, &json!("UNAUTHORIZED")), "{verb} {path}");
        let of_agent = ask(&hub, verb, &path, &format!("Authorization: Bearer {agent}\r\n")).await;
        assert_eq!(of_agent.status, 401, "{verb} {path} with the token of an agent");
        for (role, token) in &tokens {
            let answer = ask(&hub, verb, &path, &format!("Authorization: Bearer {token}\r\n")).await;
            let refused = answer.status == 403 && answer.body["code"] == "FORBIDDEN";
            assert_eq!(refused, *role < needed, "{verb} {path} as {role}: {} {}", answer.status, answer.body);
            assert_ne!(answer.status, 401, "{verb} {path} as {role}");
            // By URL the same, whatever the route takes there itself.
            let by_url = ask(&hub, verb, &format!("{path}?token={token}"), "").await;
            assert_eq!(by_url.status == 403, refused, "{verb} {path} as {role}");
            assert!(!by_url.body.to_string().contains("token"), "{verb} {path}: {}", by_url.body);
        }
    }
    assert!(seen > 30, "{seen}");
    hub.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_socket_says_in_its_own_form_that_a_token_is_missing() {
    let hub = Hub::with_tokens().await;
    let viewer = token(&hub, "eve", Bearer::Role(Role::Viewer));
    for path in SOCKETS {
        for (query, why) in [("", "a token is needed"), ("?token=nonsense", "the token is not valid")] {
            let (texts, code, reason) = hub.socket(&format!("{path}{query}")).await.until_closed().await;
            assert_eq!((code, reason.as_str(), texts.len()), (1008, "UNAUTHORIZED", 1), "{path}{query}");
            let error = &texts[0];
            assert_eq!(error["type"], "error", "{path}");
            let text = [&error["message"], &error["error"], &error["payload"]["message"], &error["payload"]["error"]];
            assert!(text.iter().any(|text| text.as_str().is_some_and(|text| text.starts_with(why))), "{path}: {error}");
            if path.contains("executions") || path.ends_with("devices") {
                assert_eq!(error["code"], "UNAUTHORIZED");
            }
        }
        let mut socket = hub.socket(&format!("{path}?token={viewer}")).await;
        socket.send(Message::Ping(bytes::Bytes::from_static(b"in"))).await;
        let (texts, closed) = within("an answer", async {
            let mut texts = Vec::new();
            loop {
                match socket.frame().await {
                    Message::Text(text) => texts.push(text.to_string()),
                    Message::Pong(_) => break (texts, false),
                    Message::Close(_) => break (texts, true),
                    Message::Binary(_) | Message::Ping(_) | Message::Frame(_) => {}
                }
            }
        })
        .await;
        assert!(texts.iter().all(|text| !text.contains("token")), "{path}: {texts:?}");
        assert_eq!(closed, path.contains(ABSENT), "{path}");
    }
    hub.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_may_have_a_line_explained_and_not_carried_out() {
    let hub = Hub::with_tokens().await;
    let (viewer, operator) =
        (token(&hub, "eve", Bearer::Role(Role::Viewer)), token(&hub, "olaf", Bearer::Role(Role::Operator)));
    for (token, expected) in [(&viewer, "error"), (&operator, "chatMessage")] {
        let mut socket = hub.socket(&format!("/ws/events?token={token}")).await;
        assert_eq!(socket.next().await["type"], "chatMessage");
        let nodes = json!([{"id": "a", "type": "log", "data": {"message": "x"}}]);
        let order = json!({"type": "EXECUTE_WORKFLOW", "id": "me", "payload": {"workflowId": "w", "nodes": nodes, "edges": []}});
        socket.send(Message::text(order.to_string())).await;
        let answer = loop {
            let message = socket.next().await;
            if message["correlation_id"] == "me" {
                break message;
            }
        };
        assert_eq!(answer["type"], expected, "{answer}");
        if expected == "error" {
            assert_eq!(answer["payload"]["code"], "FORBIDDEN");
            assert_eq!(answer["payload"]["message"], "\"eve\" is viewer, and this needs operator");
        }
        socket.leave().await;
    }
    hub.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_revoked_or_over_closes_what_it_opened() {
    let hub = Hub::with_tokens().await;
    let revoked = token(&hub, "eve", Bearer::Role(Role::Viewer));
    let end = Timestamp(Timestamp::now().0 + 3_000_000);
    let short =
        book::change(&hub.data(), |book| book.add("mayfly", Bearer::Role(Role::Viewer), Timestamp::now(), Some(end)));
    let short = short.unwrap().1;
    let kept = token(&hub, "olaf", Bearer::Role(Role::Viewer));
    let mut sockets = Vec::new();
    for token in [&revoked, &short, &kept] {
        let mut socket = hub.socket(&format!("/ws/events?token={token}")).await;
        socket.next().await;
        sockets.push(socket);
    }
    book::change(&hub.data(), |book| book.revoke("eve", Timestamp::now())).unwrap();
    let answer = hub.get(&format!("/api/v1/runs?token={revoked}")).await;
    assert_eq!((answer.status, &answer.body["detail"]), (401, &json!("the token was revoked")));
    let mut kept = sockets.pop().unwrap();
    for socket in &mut sockets {
        let (_, code, reason) = socket.until_closed().await;
        assert_eq!((code, reason.as_str()), (1008, "UNAUTHORIZED"));
    }
    kept.send(Message::Ping(bytes::Bytes::new())).await;
    assert!(matches!(kept.frame().await, Message::Pong(_)));
    hub.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_never_pauses_is_put_out_all_the_same() {
    let hub = Hub::with_tokens().await;
    let token = token(&hub, "eve", Bearer::Role(Role::Operator));
    let socket = hub.socket(&format!("/ws/events?token={token}")).await;
    let (mut write, mut read) = futures_util::StreamExt::split(socket.stream);
    let flood = async {
        let pong = || Message::Pong(bytes::Bytes::new());
        while futures_util::SinkExt::send(&mut write, pong()).await.is_ok() {}
    };
    let revoke_and_wait = async {
        book::change(&hub.data(), |book| book.revoke("eve", Timestamp::now())).unwrap();
        loop {
            match futures_util::StreamExt::next(&mut read).await {
                Some(Ok(Message::Close(Some(close)))) => return u16::from(close.code),
                Some(Ok(_)) => {}
                other => panic!("the socket ended without a close: {other:?}"),
            }
        }
    };
    let code = within("the close", async {
        tokio::select! {
            code = revoke_and_wait => code,
            () = flood => panic!("the flood ended first"),
        }
    })
    .await;
    assert_eq!(code, 1008);
    hub.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_from_elsewhere_may_neither_act_nor_listen() {
    let hub = Hub::start().await;
    let address = hub.server.address;
    let board = "Origin: https://board.example\r\n";
    for (origin, allowed) in [
        (format!("Origin: http://{address}\r\n"), true),
        (board.to_owned(), true),
        ("Origin: https://evil.example\r\n".to_owned(), false),
        ("Origin: null\r\n".to_owned(), false),
    ] {
        let posted = ask(&hub, "POST", "/api/v1/runs", &origin).await;
        let refused = posted.status == 403 && posted.body["code"] == "FORBIDDEN_ORIGIN";
        assert_eq!(refused, !allowed, "{origin}: {}", posted.body);
        let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        let socket = ask(&hub, "GET", "/ws/events", &format!("{origin}{upgrade}")).await;
        assert_eq!(socket.status, if allowed { 101 } else { 403 }, "{origin}");
        assert_eq!(ask(&hub, "GET", "/api/v1/devices", &origin).await.status, 200, "reading is the browser's business");
    }
    let shared = ask(&hub, "GET", "/api/v1/devices", board).await;
    assert!(shared.head.contains("access-control-allow-origin: https://board.example"), "{}", shared.head);
    let preflight =
        ask(&hub, "OPTIONS", "/api/v1/runs", &format!("{board}Access-Control-Request-Method: POST\r\n")).await;
    assert_eq!(preflight.status, 204);
    assert!(preflight.head.contains("access-control-allow-methods: GET, HEAD, POST"), "{}", preflight.head);
    let other = ask(&hub, "OPTIONS", "/api/v1/runs", "Origin: https://evil.example\r\n").await;
    assert!(!other.head.contains("access-control"), "{}", other.head);
    hub.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_has_ten_farm_sockets_and_the_eleventh_is_told() {
    let hub = Hub::start().await;
    let (run, _) = hub.run(&waits("30s")).await;
    let mut sockets = Vec::new();
    for number in 0..10 {
        let path = if number % 2 == 0 { "/api/v1/ws/devices".to_owned() } else { format!("/ws/executions/{run}") };
        let mut socket = hub.socket(&path).await;
        socket.send(Message::Ping(bytes::Bytes::new())).await;
        while !matches!(socket.frame().await, Message::Pong(_)) {}
        sockets.push(socket);
    }
    let (texts, code, reason) = hub.socket("/api/v1/ws/devices").await.until_closed().await;
    assert_eq!((code, reason.as_str()), (1008, "Maximum connections reached"));
    assert_eq!(texts[0]["code"], "TOO_MANY_CONNECTIONS");
    // Other protocols are not concerned, and a place that is left is free.
    assert_eq!(hub.socket("/ws/events").await.next().await["type"], "chatMessage");
    sockets.pop().unwrap().leave().await;
    within("a place", async {
        loop {
            let mut socket = hub.socket("/api/v1/ws/devices").await;
            socket.send(Message::Ping(bytes::Bytes::new())).await;
            if matches!(socket.frame().await, Message::Pong(_)) {
                return;
            }
        }
    })
    .await;
    hub.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_hundred_and_first_agent_events_socket_is_closed_with_1008() {
    let hub = Hub::start().await;
    let mut sockets = Vec::new();
    for number in 0..100 {
        let mut socket = hub.socket(if number % 2 == 0 { "/ws/events" } else { "/ws/workflow" }).await;
        assert_eq!(socket.next().await["payload"]["content"], "Connected to Praxis Agent");
        sockets.push(socket);
    }
    let (texts, code, reason) = hub.socket("/ws/events").await.until_closed().await;
    assert_eq!((code, reason.as_str()), (1008, "Maximum connections reached"));
    assert_eq!(texts[0]["type"], "error");
    assert_eq!(texts[0]["payload"]["message"], "Maximum connections reached: 100 are open, the most there may be");
    hub.server.stop().await;
}
