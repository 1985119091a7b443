//! A hub on free ports, and the clients that tests talk to it with.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use rigwire::responder;
use rigwire::server::Server;
use rigwire::settings::{Auth, BrokerChoice, Settings};
use rigwire_shared::agent::{AgentState, DeviceCard, Inventory};
use rigwire_shared::broker::BrokerAddress;
use rigwire_shared::ids::{AgentId, Epoch};
use rigwire_shared::topic::{Channel, Topic};
use rigwire_shared::wire;
use rumqttc::{AsyncClient, Event, Incoming, MqttOptions, QoS};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// A wait that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// How often a wait looks.
const LOOK_EVERY: Duration = Duration::from_millis(20);

pub(crate) async fn within<T>(what: &str, wait: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"))
}

/// Looks until the condition holds.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    within(what, async {
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.tick().await;
        while !holds().await {
            look.tick().await;
        }
    })
    .await;
}

pub(crate) struct Hub {
    pub(crate) server: Server,
    directory: tempfile::TempDir,
    chat: responder::Settings,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Value,
}

impl Hub {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// One that asks for tokens.
    pub(crate) async fn with_tokens() -> Self {
        Self::with(|settings| settings.auth = Auth::Token).await
    }

    pub(crate) async fn with_outside_broker(address: BrokerAddress) -> Self {
        Self::with(|settings| settings.broker = BrokerChoice::Outside(address)).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        Self::within(tempfile::tempdir().unwrap(), change).await
    }

    /// One whose chat somebody answers, within so long.
    pub(crate) async fn with_responder(choice: responder::Choice, patience: Duration) -> Self {
        Self::with(|settings| settings.chat = responder::Settings { choice, patience }).await
    }

    async fn within(directory: tempfile::TempDir, change: impl FnOnce(&mut Settings)) -> Self {
        let data = directory.path().join("data");
        let mut settings = Settings {
            listen: "127.0.0.1:0".parse().unwrap(),
            broker: BrokerChoice::Embedded("127.0.0.1:0".parse().unwrap()),
            mqtt_ca: None,
            mqtt_tls_listen: None,
            tls: None,
            data,
            artifacts: rigwire::artifact::Limits::default(),
            lease_life: Duration::from_secs(90),
            auth: Auth::None,
            origins: rigwire::access::origin::Origins::new(&["https://board.example".to_owned()]).unwrap(),
            limits: rigwire::settings::limits::Limits::default(),
            chat: responder::Settings::default(),
            log: "info".to_owned(),
        };
        change(&mut settings);
        let chat = settings.chat.clone();
        let server = Server::start(&settings).await.unwrap();
        Self { server, directory, chat }
    }

    /// Stops, and starts again on what it kept.
    pub(crate) async fn restart(self) -> Self {
        self.server.stop().await;
        Self::within(self.directory, |settings| settings.chat = self.chat).await
    }

    pub(crate) fn data(&self) -> std::path::PathBuf {
        self.directory.path().join("data")
    }

    pub(crate) async fn request(&self, method: &str, path: &str, body: &str) -> Answer {
        let head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.server.address);
        self.raw(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes()).await
    }

    /// Bytes of one request, whatever they are.
    pub(crate) async fn raw(&self, request: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.server.address).await.unwrap();
        stream.write_all(request).await.unwrap();
        within("an answer", read_answer(&mut stream)).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.request("GET", path, "").await
    }

    /// Starts a run that ends by itself at once; its id and number.
    pub(crate) async fn run(&self, procedure: &Value) -> (String, u64) {
        let answer = self.request("POST", "/api/v1/runs", &json!({"procedure": procedure}).to_string()).await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        (answer.body["id"].as_str().unwrap().to_owned(), answer.body["number"].as_u64().unwrap())
    }

    pub(crate) async fn ended(&self, run: &str) {
        let path = format!("/api/v1/runs/{run}");
        self.until("the run to end", &path, |row| !row.body["finished_at"].is_null()).await;
    }

    /// Asks for a path until the answer is the one that is waited for.
    pub(crate) async fn until(&self, what: &str, path: &str, wanted: impl Fn(&Answer) -> bool) -> Answer {
        within(what, async {
            let mut look = tokio::time::interval(LOOK_EVERY);
            loop {
                look.tick().await;
                let answer = self.get(path).await;
                if wanted(&answer) {
                    return answer;
                }
            }
        })
        .await
    }

    /// Lets the agent `bench` appear with these devices.
    pub(crate) async fn agent_comes(&self, devices: Vec<DeviceCard>) {
        let (agent, epoch) = (AgentId::new("bench").unwrap(), Epoch(1));
        let (version, host, cause) = ("0.1.0".to_owned(), "host".to_owned(), "connected".to_owned());
        let state = wire::encode(&AgentState { epoch, online: true, version, host, cause }).unwrap();
        let inventory = wire::encode(&Inventory { epoch, devices }).unwrap();
        let broker = &self.server.broker;
        let mut options = MqttOptions::new("rigwire-agent-bench", broker.host(), broker.port());
        options.set_keep_alive(Duration::from_secs(30));
        let (client, mut events) = AsyncClient::new(options, 10);
        for (channel, payload) in [(Channel::State, state), (Channel::Inventory, inventory)] {
            let topic = Topic::Agent(agent.clone(), channel).text();
            client.publish(topic, QoS::AtLeastOnce, true, payload).await.unwrap();
        }
        within("the agent's messages", async {
            let mut confirmed = 0;
            while confirmed < 2 {
                if let Event::Incoming(Incoming::PubAck(_)) = events.poll().await.unwrap() {
                    confirmed += 1;
                }
            }
        })
        .await;
    }

    pub(crate) async fn ready(&self) {
        self.until("the hub to be ready", "/readyz", |answer| answer.status == 200).await;
    }

    pub(crate) async fn socket(&self, path: &str) -> Socket {
        let url = format!("ws://{}{path}", self.server.address);
        let (stream, _) = within("a handshake", tokio_tungstenite::connect_async(url)).await.unwrap();
        Socket { stream }
    }
}

pub(crate) fn says(message: &str) -> Value {
    json!({"name": "says", "steps": [{"id": "say", "use": "log", "with": {"message": message}}]})
}

pub(crate) fn waits(duration: &str) -> Value {
    json!({"name": "waits", "steps": [{"id": "wait", "use": "delay", "with": {"duration": duration}}]})
}

/// Reads a head, and as much of a body as it promises.
pub(crate) async fn read_answer(stream: &mut (impl AsyncRead + Unpin)) -> Answer {
    let mut bytes = Vec::new();
    let mut buffer = [0; 8192];
    loop {
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let header = |name: &str| {
                let lines = head.lines().filter_map(|line| line.split_once(": "));
                lines.into_iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
            };
            if header("transfer-encoding").is_some_and(|coding| coding == "chunked") && body.ends_with("0\r\n\r\n") {
                let status = head.split(' ').nth(1).unwrap().parse().unwrap();
                return Answer { status, head: head.to_owned(), body: Value::String(unchunked(body)) };
            }
            let chunked = header("transfer-encoding").is_some();
            let length: usize = header("content-length").map_or(0, |length| length.parse().unwrap());
            let status = head.split(' ').nth(1).unwrap().parse().unwrap();
            if !chunked && body.len() >= length {
                let body = serde_json::from_str(body).unwrap_or(Value::String(body.to_owned()));
                return Answer { status, head: head.to_owned(), body };
            }
        }
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer, only {text:?}"));
                let status = head.split(' ').nth(1).unwrap().parse().unwrap();
                let body = serde_json::from_str(body).unwrap_or(Value::String(body.to_owned()));
                return Answer { status, head: head.to_owned(), body };
            }
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
        }
    }
}

/// A body that came in chunks, put together.
fn unchunked(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        whole.push_str(&rest[..size]);
        body = rest[size..].trim_start_matches("\r\n");
    }
    whole
}

pub(crate) struct Socket {
    pub(crate) stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

impl Socket {
    pub(crate) async fn send(&mut self, message: Message) {
        self.stream.send(message).await.unwrap();
    }

    /// The next message, as JSON.
    pub(crate) async fn next(&mut self) -> Value {
        let frame = self.frame().await;
        let Message::Text(text) = &frame else { panic!("expected a text, found {frame:?}") };
        serde_json::from_str(text).unwrap()
    }

    pub(crate) async fn frame(&mut self) -> Message {
        within("a message", self.stream.next()).await.expect("the socket ended").unwrap()
    }

    /// Closes and waits until the hub has closed, too.
    pub(crate) async fn leave(mut self) {
        self.stream.close(None).await.unwrap();
        within("the end", async { while self.stream.next().await.is_some() {} }).await;
    }

    /// Reads to the end: the texts before it, and the code and reason of the close.
    pub(crate) async fn until_closed(&mut self) -> (Vec<Value>, u16, String) {
        let mut texts = Vec::new();
        loop {
            match within("the close", self.stream.next()).await {
                Some(Ok(Message::Text(text))) => texts.push(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Close(Some(close)))) => return (texts, close.code.into(), close.reason.to_string()),
                Some(Ok(_)) => {}
                other => panic!("the socket ended without a close: {other:?}, after {texts:?}"),
            }
        }
    }
}
