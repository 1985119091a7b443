//! The operators' chat against a whole hub: what one says all hear, what is no line a responder answers, and a responder that
//! fails is a message.

use std::time::Duration;

use crate::access::token;
use crate::support::{Answer, Hub, Socket, within};
use rigwire::access::{Bearer, Role};
use rigwire::responder::Choice;
use rumqttc::{AsyncClient, Event, Incoming, MqttOptions, QoS};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(300);

async fn socket(hub: &Hub) -> Socket {
    let mut socket = hub.socket("/ws/events").await;
    assert_eq!(socket.next().await["type"], "chatMessage");
    // An answer shows that the watches before it have begun.
    socket.send(Message::text(json!({"type": "PING"}).to_string())).await;
    assert_eq!(socket.next().await["type"], "PONG");
    socket
}

async fn say(socket: &mut Socket, id: &str, content: &str) {
    let message = json!({"type": "CHAT_MESSAGE", "id": id, "payload": {"content": content, "sender": "alice"}});
    socket.send(Message::text(message.to_string())).await;
}

/// The next message of the chat: sender, content, and what it answers.
async fn heard(socket: &mut Socket) -> (String, String, Option<String>) {
    loop {
        let message = socket.next().await;
        if message["type"] == "chatMessage" {
            let text = |value: &Value| value.as_str().map(str::to_owned);
            let payload = &message["payload"];
            return (
                text(&payload["sender"]).unwrap(),
                text(&payload["content"]).unwrap(),
                text(&message["correlation_id"]),
            );
        }
    }
}

fn words(sender: &str, content: &str, correlation_id: Option<&str>) -> (String, String, Option<String>) {
    (sender.to_owned(), content.to_owned(), correlation_id.map(str::to_owned))
}

async fn post(hub: &Hub, body: Value) -> Answer {
    hub.request("POST", "/api/v1/chat", &body.to_string()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_says_all_hear_and_the_record_keeps() {
    let hub = Hub::start().await;
    hub.ready().await;
    let (mut alice, mut bob) = (socket(&hub).await, socket(&hub).await);
    say(&mut alice, "c-1", "help wait").await;
    assert_eq!(heard(&mut alice).await, words("assistant", "Processing: help wait", Some("c-1")));
    let (sender, answer, correlation_id) = heard(&mut alice).await;
    assert!(answer.starts_with("wait DURATION"), "{answer}");
    assert_eq!((sender.as_str(), correlation_id.as_deref()), ("assistant", Some("c-1")));
    assert_eq!(heard(&mut bob).await, words("alice", "help wait", None));
    assert_eq!(heard(&mut bob).await, words("assistant", &answer, None));

    // Nobody answers what is no line, so the interpreter does.
    say(&mut alice, "c-2", "good morning").await;
    heard(&mut alice).await;
    let (_, refusal, correlation_id) = heard(&mut alice).await;
    assert!(refusal.starts_with("column 1: \"good\" is not a verb"), "{refusal}");
    assert_eq!(correlation_id.as_deref(), Some("c-2"));
    for _ in 0..2 {
        heard(&mut bob).await;
    }

    // A line runs, whoever says it and by whichever way.
    let posted = post(&hub, json!({"content": "log ready", "sender": "carol"})).await;
    assert_eq!(posted.status, 201, "{}", posted.body);
    assert_eq!((posted.body["author"].as_str(), posted.body["role"].as_str()), (Some("carol"), Some("user")));
    assert!(posted.body["replies"][0]["content"].as_str().unwrap().starts_with("Started run 1 ("), "{}", posted.body);
    assert_eq!(heard(&mut bob).await, words("carol", "log ready", None));
    assert!(heard(&mut bob).await.1.starts_with("Started run 1 ("));
    hub.ended("1").await;
    let unknown = post(&hub, json!({"content": "status 99999"})).await;
    assert_eq!(unknown.body["replies"][0]["role"], "system", "{}", unknown.body);

    for (body, status, code) in [
        (json!({"content": " "}), 422, "INVALID_CHAT"),
        (json!({"content": "x".repeat(16 * 1024 + 1)}), 413, "CHAT_TOO_LONG"),
        (json!({"content": "x", "sender": "System"}), 422, "INVALID_CHAT"),
        (json!({"content": "x", "sender": "x".repeat(65)}), 422, "INVALID_CHAT"),
        (json!({"content": 7}), 422, "INVALID_REQUEST"),
    ] {
        let refused = post(&hub, body).await;
        assert_eq!((refused.status, refused.body["code"].as_str()), (status, Some(code)), "{}", refused.body);
    }

    let before = hub.get("/api/v1/chat").await.body;
    let numbers: Vec<u64> =
        before["messages"].as_array().unwrap().iter().map(|row| row["number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=8).collect::<Vec<_>>(), "{before}");
    assert_eq!(before["messages"][1]["answers"], 1);
    assert_eq!(before["messages"][1]["correlation_id"], "c-1");
    let hub = hub.restart().await;
    assert_eq!(hub.get("/api/v1/chat").await.body, before, "a restart loses nothing");
    let page = hub.get("/api/v1/chat?after=3&limit=2").await.body;
    assert_eq!((page["messages"][0]["number"].as_u64(), page["next"].as_u64()), (Some(4), Some(5)));
    assert_eq!(hub.get("/api/v1/chat?limit=1").await.body["messages"][0]["number"], 8, "the newest, without a number");
    assert_eq!(hub.get("/api/v1/chat?before=3").await.status, 400);
    assert_eq!(post(&hub, json!({"content": "devices"})).await.body["number"], 9);
    hub.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_says_who_speaks_and_who_may() {
    let hub = Hub::with_tokens().await;
    hub.ready().await;
    let viewer = token(&hub, "vera", Bearer::Role(Role::Viewer));
    let operator = token(&hub, "oscar", Bearer::Role(Role::Operator));
    let body = json!({"content": "devices", "sender": "somebody else"}).to_string();
    let refused = hub.request("POST", &format!("/api/v1/chat?token={viewer}"), &body).await;
    assert_eq!(refused.status, 403, "{}", refused.body);
    let said = hub.request("POST", &format!("/api/v1/chat?token={operator}"), &body).await;
    assert_eq!((said.status, said.body["author"].as_str()), (201, Some("oscar")), "{}", said.body);
    let read = hub.get(&format!("/api/v1/chat?token={viewer}")).await;
    assert_eq!(read.body["messages"][0]["content"], "devices");
    hub.server.stop().await;
}

/// A responder on the hub's broker; it does as `behave` says with each question, and goes with what is returned.
async fn responder(hub: &Hub, behave: fn(&Value) -> Vec<Vec<u8>>) -> JoinSet<()> {
    let mut options = MqttOptions::new("responder", hub.server.broker.host(), hub.server.broker.port());
    options.set_keep_alive(Duration::from_secs(30));
    options.set_max_packet_size(256 * 1024, 256 * 1024);
    let (client, mut events) = AsyncClient::new(options, 10);
    client.subscribe("rigwire/v1/chat/ask", QoS::AtLeastOnce).await.unwrap();
    within("the subscription", async {
        while !matches!(events.poll().await.unwrap(), Event::Incoming(Incoming::SubAck(_))) {}
    })
    .await;
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        while let Ok(event) = events.poll().await {
            if let Event::Incoming(Incoming::Publish(publish)) = event {
                let question: Value = serde_json::from_slice(&publish.payload).unwrap();
                for answer in behave(&question) {
                    client.try_publish("rigwire/v1/chat/answer", QoS::AtLeastOnce, false, answer).unwrap();
                }
            }
        }
    });
    tasks
}

fn echo(question: &Value) -> Vec<Vec<u8>> {
    let answer = |content: String| json!({"id": question["id"], "content": content}).to_string().into_bytes();
    match question["content"].as_str().unwrap() {
        "garbage please" => vec![b"garbage".to_vec()],
        "too much please" => vec![answer("x".repeat(17 * 1024))],
        "an error please" => {
            vec![json!({"id": question["id"], "error": "the model is away"}).to_string().into_bytes()]
        }
        "twice please" => vec![answer("one".to_owned()), answer("two".to_owned())],
        content => vec![answer(format!("{} asks {content}", question["sender"].as_str().unwrap()))],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_responder_on_the_broker_answers_and_its_mistakes_are_told() {
    let hub = Hub::with_responder(Choice::Broker, LONG).await;
    hub.ready().await;
    let _responder = responder(&hub, echo).await;
    let (mut alice, mut bob) = (socket(&hub).await, socket(&hub).await);
    for (content, sender, expected) in [
        ("are you there?", "assistant", "alice asks are you there?"),
        ("garbage please", "system", "the responder did not answer: its answer is not JSON"),
        (
            "too much please",
            "system",
            "the responder did not answer: its answer has 17408 bytes, expected at most 16384",
        ),
        ("an error please", "system", "the responder did not answer: it says: the model is away"),
        ("twice please", "assistant", "one"),
        ("still there?", "assistant", "alice asks still there?"),
    ] {
        say(&mut alice, "c-1", content).await;
        assert_eq!(heard(&mut alice).await, words("assistant", &format!("Processing: {content}"), Some("c-1")));
        let (who, answer, correlation_id) = heard(&mut alice).await;
        assert!(answer.starts_with(expected), "{content}: {answer}");
        assert_eq!((who.as_str(), correlation_id.as_deref()), (sender, Some("c-1")), "{content}");
        assert_eq!(heard(&mut bob).await, words("alice", content, None));
        assert_eq!(heard(&mut bob).await, words(sender, &answer, None));
    }
    // A line is no question for it.
    say(&mut alice, "c-2", "status").await;
    heard(&mut alice).await;
    assert_eq!(heard(&mut alice).await.1, "nothing runs");
    hub.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_is_told_and_holds_nothing_up() {
    let hub = Hub::with_responder(Choice::Broker, SHORT).await;
    hub.ready().await;
    let mut alice = socket(&hub).await;
    say(&mut alice, "c-1", "anybody?").await;
    heard(&mut alice).await;
    // The socket goes on meanwhile.
    alice.send(Message::text(json!({"type": "PING", "id": "p-1"}).to_string())).await;
    assert_eq!(alice.next().await["correlation_id"], "p-1");
    let expected = "the responder did not answer: no answer came within 300ms";
    assert_eq!(heard(&mut alice).await, words("system", expected, Some("c-1")));
    hub.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_a_restart_interrupts_is_told_to_be_unanswered() {
    let hub = Hub::with_responder(Choice::Broker, LONG).await;
    hub.ready().await;
    assert_eq!(post(&hub, json!({"content": "anybody?"})).await.body["passed_on"], true);
    let hub = hub.restart().await;
    let told = hub.get("/api/v1/chat").await.body;
    let expected = "the responder did not answer: the hub was started anew before an answer came";
    assert_eq!((&told["messages"][1]["content"], &told["messages"][1]["answers"]), (&json!(expected), &json!(1)));
    let hub = hub.restart().await;
    assert_eq!(hub.get("/api/v1/chat").await.body, told, "it is told once");
    hub.server.stop().await;
}

/// A webhook that answers by what a question says; its port, and the requests' heads as they come.
async fn webhook() -> (u16, tokio::sync::mpsc::Receiver<String>, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (heads, seen) = tokio::sync::mpsc::channel(100);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut held = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let (head, question) = read_request(&mut stream).await;
            heads.send(head).await.unwrap();
            let content = question["content"].as_str().unwrap();
            let answer = match content {
                "silence please" => None,
                "an error please" => Some(("500 Internal Server Error", "{}".to_owned())),
                "garbage please" => Some(("200 OK", "<html>".to_owned())),
                "too much please" => Some(("200 OK", json!({"content": "x".repeat(70_000)}).to_string())),
                content => {
                    let before = question["history"].as_array().unwrap().len();
                    let content = format!("{content} after {before}");
                    Some(("200 OK", json!({"content": content}).to_string()))
                }
            };
            let Some((status, body)) = answer else {
                held.push(stream);
                continue;
            };
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            // The hub may hang up before it has read all that is too much.
            if stream.write_all(format!("{head}{body}").as_bytes()).await.is_err() {
                continue;
            }
        }
    });
    (port, seen, tasks)
}

async fn read_request(stream: &mut TcpStream) -> (String, Value) {
    let mut bytes = Vec::new();
    loop {
        let mut buffer = [0; 8192];
        let count = stream.read(&mut buffer).await.unwrap();
        assert!(count > 0, "the request ended early");
        bytes.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ").map(str::to_owned));
            if body.len() >= length.unwrap().parse::<usize>().unwrap() {
                return (head.to_owned(), serde_json::from_str(body).unwrap());
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_answers_and_its_mistakes_are_told() {
    let (port, mut heads, _webhook) = webhook().await;
    let url = format!("http://me:hush@127.0.0.1:{port}/ask?x=1");
    let hub = Hub::with_responder(url.parse().unwrap(), LONG).await;
    hub.ready().await;
    let mut alice = socket(&hub).await;
    for (content, sender, expected) in [
        ("hello there", "assistant", "hello there after 0"),
        (
            "an error please",
            "system",
            "the responder did not answer: it answered with status 500 Internal Server Error",
        ),
        ("garbage please", "system", "the responder did not answer: its answer is not JSON"),
        ("too much please", "system", "the responder did not answer: its answer is longer than 65536 bytes"),
        ("once more", "assistant", "once more after 8"),
    ] {
        say(&mut alice, "c-1", content).await;
        heard(&mut alice).await;
        let (who, answer, correlation_id) = heard(&mut alice).await;
        assert!(answer.starts_with(expected), "{content}: {answer}");
        assert!(!answer.contains("hush"), "{answer}");
        assert_eq!((who.as_str(), correlation_id.as_deref()), (sender, Some("c-1")), "{content}");
        let head = heads.recv().await.unwrap();
        assert!(head.starts_with("POST /ask?x=1 HTTP/1.1"), "{head}");
        assert!(head.contains("Basic bWU6aHVzaA=="), "{head}");
    }
    hub.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_is_silent_or_away_is_told() {
    let (port, _heads, webhook) = webhook().await;
    let hub = Hub::with_responder(format!("http://127.0.0.1:{port}").parse().unwrap(), SHORT).await;
    hub.ready().await;
    let mut alice = socket(&hub).await;
    say(&mut alice, "c-1", "silence please").await;
    heard(&mut alice).await;
    let expected = "the responder did not answer: no answer came within 300ms";
    assert_eq!(heard(&mut alice).await, words("system", expected, Some("c-1")));
    drop(webhook);
    say(&mut alice, "c-2", "hello?").await;
    heard(&mut alice).await;
    let (_, away, _) = heard(&mut alice).await;
    assert!(away.starts_with("the responder did not answer: "), "{away}");
    hub.server.stop().await;
}
