//! TLS: what a client that trusts the hub's authority can do, and what others cannot; and certificates that change.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::StreamExt;
use rcgen::{CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rigwire::settings::BrokerChoice;
use rigwire::settings::limits::Limits;
use rigwire::tls::{Source, Tls};
use rigwire_agent::config::Config;
use rigwire_shared::ids::AgentId;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tokio_util::sync::CancellationToken;

use crate::support::{Answer, Hub, read_answer, until, waits, within};

const SECOND: NonZeroU32 = NonZeroU32::MIN;

async fn secure(change: impl FnOnce(&mut Limits)) -> Hub {
    Hub::with(|settings| {
        settings.tls = Some(Source::Development);
        settings.mqtt_tls_listen = Some("127.0.0.1:0".parse().unwrap());
        change(&mut settings.limits);
    })
    .await
}

fn trusting(authority: &Path) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

async fn handshake(
    connector: &TlsConnector,
    address: std::net::SocketAddr,
    name: &str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    within("a handshake", connector.connect(name, stream)).await
}

/// A connection of somebody who trusts the hub's authority.
async fn connect(hub: &Hub) -> TlsStream<TcpStream> {
    let connector = trusting(hub.server.authority.as_ref().unwrap());
    handshake(&connector, hub.server.address, "127.0.0.1").await.unwrap()
}

async fn ask(hub: &Hub, method: &str, path: &str, body: &str) -> Answer {
    let mut stream = connect(hub).await;
    let length = body.len();
    let request = format!("{method} {path} HTTP/1.1\r\nHost: hub.lab:8443\r\nContent-Length: {length}\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).await.unwrap();
    within("an answer", read_answer(&mut stream)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_and_sockets_over_tls() {
    let hub = secure(|_| {}).await;
    let procedure = json!({"procedure": waits("1h")});
    let run = ask(&hub, "POST", "/api/v1/runs", &procedure.to_string()).await;
    assert_eq!(run.status, 201, "{}", run.body);
    let url = run.body["urls"]["protocol_runs"].as_str().unwrap();
    assert!(url.starts_with("wss://hub.lab:8443/"), "{url}");
    let report = run.body["urls"]["report"].as_str().unwrap();
    assert!(report.starts_with("https://hub.lab:8443/"), "{report}");
    let (mut socket, _) = within("a socket", tokio_tungstenite::client_async(url, connect(&hub).await)).await.unwrap();
    let first = within("a message", socket.next()).await.unwrap().unwrap();
    serde_json::from_str::<Value>(first.to_text().unwrap()).unwrap();
    // For all names of this host.
    let connector = trusting(hub.server.authority.as_ref().unwrap());
    for name in ["localhost", "::1"] {
        handshake(&connector, hub.server.address, name).await.unwrap();
    }
    hub.server.stop().await;
    let end = within("the close", async {
        while let Some(Ok(message)) = socket.next().await {
            if let tokio_tungstenite::tungstenite::Message::Close(close) = message {
                return close.map(|close| u16::from(close.code));
            }
        }
        None
    })
    .await;
    assert_eq!(end, Some(1001));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_trusts_another_authority_or_meant_another_host_goes_away() {
    let hub = secure(|_| {}).await;
    let other = secure(|_| {}).await;
    let stranger = trusting(other.server.authority.as_ref().unwrap());
    let error = handshake(&stranger, hub.server.address, "127.0.0.1").await.unwrap_err();
    assert!(error.to_string().contains("UnknownIssuer"), "{error}");
    let connector = trusting(hub.server.authority.as_ref().unwrap());
    let error = handshake(&connector, hub.server.address, "elsewhere.example").await.unwrap_err();
    assert!(error.to_string().contains("not valid for name"), "{error}");
    assert_eq!(ask(&hub, "GET", "/healthz", "").await.status, 200);
    hub.server.stop().await;
    other.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_says_nothing_disturbs_nobody_and_is_closed() {
    let hub = secure(|limits| limits.tls_handshake_seconds = SECOND).await;
    let mut silent = Vec::new();
    for address in [hub.server.address, hub.server.mqtt_tls.unwrap()] {
        silent.push(TcpStream::connect(address).await.unwrap());
        // The beginning of a handshake, and no more of it.
        let mut half = TcpStream::connect(address).await.unwrap();
        half.write_all(&[0x16, 3, 1]).await.unwrap();
        silent.push(half);
    }
    let began = Instant::now();
    assert_eq!(ask(&hub, "GET", "/healthz", "").await.status, 200);
    assert!(began.elapsed() < Duration::from_millis(900), "waited for a silent peer: {:?}", began.elapsed());
    for mut stream in silent {
        let mut bytes = Vec::new();
        within("the close", stream.read_to_end(&mut bytes)).await.ok();
        assert!(bytes.is_empty());
    }
    let took = began.elapsed();
    assert!((Duration::from_millis(900)..Duration::from_secs(5)).contains(&took), "{took:?}");
    hub.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_text_at_the_tls_port_is_told_so() {
    let hub = secure(|_| {}).await;
    let answer = hub.get("/healthz").await;
    let expected = json!("this port speaks TLS: the URL begins with https:// or wss://\n");
    assert_eq!((answer.status, &answer.body), (400, &expected));
    hub.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_too_many_is_refused_within_tls() {
    let hub = secure(|limits| limits.connections_per_address = SECOND).await;
    let held = connect(&hub).await;
    let refused = ask(&hub, "GET", "/healthz", "").await;
    assert_eq!((refused.status, &refused.body["code"]), (429, &json!("TOO_MANY_CONNECTIONS_OF_ADDRESS")));
    drop(held);
    hub.server.stop().await;
}

fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}

/// Certificates as a laboratory's own authority makes them.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Certificate and key, both as PEM.
    fn issue(&self, name: &str) -> [String; 2] {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &self.0).unwrap();
        [pem("CERTIFICATE", certificate.der()), pem("PRIVATE KEY", &key.serialize_der())]
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_changes_is_shown_to_the_next_client() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name);
    let authority = Authority::new();
    std::fs::write(file("ca.pem"), pem("CERTIFICATE", authority.0.der())).unwrap();
    let write = |[certificate, key]: [String; 2]| {
        std::fs::write(file("hub.pem"), certificate).unwrap();
        std::fs::write(file("hub.key"), key).unwrap();
    };
    write(authority.issue("first.lab"));
    let (certificate, key) = (file("hub.pem"), file("hub.key"));
    let hub = Hub::with(|settings| settings.tls = Some(Source::Files { certificate, key })).await;
    let connector = trusting(&file("ca.pem"));
    let mut kept = handshake(&connector, hub.server.address, "first.lab").await.unwrap();
    // What cannot be used changes nothing.
    std::fs::write(file("hub.key"), "").unwrap();
    handshake(&connector, hub.server.address, "first.lab").await.unwrap();
    write(authority.issue("second.lab"));
    until("the second certificate", async || handshake(&connector, hub.server.address, "second.lab").await.is_ok())
        .await;
    kept.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert_eq!(within("an answer", read_answer(&mut kept)).await.status, 200, "a connection that was there goes on");
    hub.server.stop().await;
}

#[test]
fn what_cannot_be_used_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name);
    let authority = Authority::new();
    let ([certificate, key], [_, other]) = (authority.issue("a"), authority.issue("b"));
    std::fs::write(file("hub.pem"), certificate).unwrap();
    std::fs::write(file("hub.key"), &key).unwrap();
    std::fs::write(file("other.key"), other).unwrap();
    std::fs::write(file("empty"), "").unwrap();
    std::fs::write(file("locked.key"), key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY")).unwrap();
    for (certificate, key, expected) in [
        ("absent", "hub.key", "tls-certificate: reading …/absent: No such file"),
        ("hub.pem", "absent", "tls-key: reading …/absent: No such file"),
        ("empty", "hub.key", "tls-certificate: …/empty holds no certificate, expected PEM: -----BEGIN CERTIFICATE"),
        ("hub.key", "hub.key", "tls-certificate: …/hub.key holds no certificate"),
        ("hub.pem", "empty", "tls-key: …/empty holds no private key"),
        ("hub.pem", "hub.pem", "tls-key: …/hub.pem holds no private key"),
        ("hub.pem", "locked.key", "tls-key: …/locked.key is encrypted, and nobody is there to type its passphrase"),
        (
            "hub.pem",
            "other.key",
            "using certificate …/hub.pem with key …/other.key: the key does not belong to the certificate",
        ),
    ] {
        let source = Source::Files { certificate: file(certificate), key: file(key) };
        let error = format!("{:#}", Tls::open(&source, directory.path(), &[]).err().expect("an error"));
        let error = error.replace(&directory.path().display().to_string(), "…");
        assert!(error.starts_with(expected), "{error}");
    }
    let source = Source::Files { certificate: file("hub.pem"), key: file("hub.key") };
    assert!(Tls::open(&source, directory.path(), &[]).is_ok());
}

/// The first words of MQTT, spoken over TLS.
#[tokio::test(flavor = "multi_thread")]
async fn the_broker_is_reached_over_tls() {
    let hub = secure(|_| {}).await;
    let connector = trusting(hub.server.authority.as_ref().unwrap());
    let mut stream = handshake(&connector, hub.server.mqtt_tls.unwrap(), "127.0.0.1").await.unwrap();
    // CONNECT: protocol MQTT 4, clean session, keep alive 30 s, client id "x".
    stream.write_all(&[0x10, 13, 0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 30, 0, 1, b'x']).await.unwrap();
    let mut answer = [0; 4];
    within("a CONNACK", stream.read_exact(&mut answer)).await.unwrap();
    assert_eq!(answer, [0x20, 2, 0, 0]);
    hub.server.stop().await;
}

/// A hub and an agent that are clients of a broker by TLS: of another hub's, which has one.
#[tokio::test(flavor = "multi_thread")]
async fn hub_and_agent_reach_a_broker_by_tls() {
    let far = secure(|_| {}).await;
    let port = far.server.mqtt_tls.unwrap().port();
    let authority = far.server.authority.clone();
    let url = format!("mqtts://localhost:{port}");
    let directory = tempfile::tempdir().unwrap();
    let spool = directory.path().join("spool");
    let mut config = Config::new(AgentId::new("bench-1").unwrap(), url.parse().unwrap(), spool);
    config.hub_ca = authority.clone();
    let stop = CancellationToken::new();
    let mut tasks = JoinSet::new();
    tasks.spawn(rigwire_agent::agent::run(config, stop.clone()));
    let path = "/api/v1/agents";
    until("the agent", async || ask(&far, "GET", path, "").await.body["agents"][0]["online"] == true).await;

    let stranger = secure(|_| {}).await;
    let near = |ca: Option<PathBuf>| {
        let broker = BrokerChoice::Outside(url.parse().unwrap());
        Hub::with(|settings| (settings.broker, settings.mqtt_ca) = (broker, ca))
    };
    // It takes the far hub's name at the broker; the two then take turns, which is all the same here.
    let hub = near(authority).await;
    hub.ready().await;
    hub.server.stop().await;
    let hub = near(stranger.server.authority.clone()).await;
    let answer = hub.get("/readyz").await;
    assert_eq!((answer.status, answer.body["code"].as_str()), (503, Some("NOT_READY")));
    hub.server.stop().await;

    stop.cancel();
    within("the agent's end", tasks.join_next()).await.unwrap().unwrap().unwrap();
    stranger.server.stop().await;
    far.server.stop().await;
}
