//! A running hub: every part started in order, and stopped in order.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use rigwire_shared::broker::BrokerAddress;
use rigwire_shared::ids::AgentId;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::acceptor;
use crate::acceptor::forward::Forward;
use crate::acceptor::http::Http;
use crate::access::doorman::Doorman;
use crate::access::keeper::Keeper;
use crate::app::{App, Scheme};
use crate::broker::{Broker, Guard, Stop};
use crate::continuity::Continuity;
use crate::model::chat::Way;
use crate::mqtt;
use crate::procedures::Procedures;
use crate::responder::{self, Choice, Responder};
use crate::settings::{Auth, BrokerChoice, Settings};
use crate::store::{self, Store, Writer};
use crate::tls::Tls;
use crate::{hub, procedures, router};

/// Groups of effects between the record and the connection to the broker. When full, the record waits for the connection,
/// which is given up when it takes nothing.
const EFFECTS: usize = 1024;

/// How long sockets may take to close, and the parts behind them to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(4);

pub struct Server {
    pub app: App,
    pub address: SocketAddr,
    /// Where agents reach the broker.
    pub broker: BrokerAddress,
    guard: Option<Arc<Guard>>,
    /// Where they reach it over TLS, if that was asked for.
    pub mqtt_tls: Option<SocketAddr>,
    /// The file with the certificate authority that the hub's development certificate is by.
    pub authority: Option<PathBuf>,
    front: CancellationToken,
    core: CancellationToken,
    parts: JoinSet<(&'static str, anyhow::Result<()>)>,
    store: Store,
    writer: Writer,
    broker_stop: Option<Stop>,
}

impl Server {
    pub async fn start(settings: &Settings) -> anyhow::Result<Self> {
        let front = CancellationToken::new();
        let core = CancellationToken::new();
        let mut parts = JoinSet::new();

        let listener = listen(settings.listen, "--listen").await?;
        let address = listener.local_addr().context("reading the address listened on")?;

        let tls = match &settings.tls {
            None => None,
            Some(source) => {
                let names: Vec<String> = [Some(settings.listen), settings.mqtt_tls_listen]
                    .into_iter()
                    .flatten()
                    .filter(|address| !address.ip().is_unspecified())
                    .map(|address| address.ip().to_string())
                    .collect();
                Some(Arc::new(Tls::open(source, &settings.data, &names)?))
            }
        };
        if let Some(tls) = &tls {
            let (tls, stop) = (Arc::clone(tls), core.clone());
            parts.spawn(async move { ("certificate", tls.run(stop).await) });
        }

        let (effects, effects_waiting) = mpsc::channel(EFFECTS);
        let (store, writer, mut restored) = store::open(&settings.data, effects)?;
        restored.artifact_limits = settings.artifacts;
        let keeper = Arc::new(match settings.auth {
            Auth::None => Keeper::open_to_all(),
            Auth::Token => Keeper::with_tokens(settings.data.clone()),
        });
        let mut guard = None;
        let mut mqtt_tls = None;
        let (broker, broker_stop) = match &settings.broker {
            BrokerChoice::Outside(address) => (address.clone(), None),
            BrokerChoice::Embedded(address) => {
                guard = keeper.needs_tokens().then(|| Arc::new(Guard::new(Arc::clone(&keeper))));
                let broker = Broker::bind(*address, guard.clone()).await?;
                let bound = broker.address();
                let stop = broker.stop_handle();
                parts.spawn(async move { ("broker", broker.run().await) });
                if let (Some(address), Some(tls)) = (settings.mqtt_tls_listen, &tls) {
                    let listener = listen(address, "--mqtt-tls-listen").await?;
                    mqtt_tls = Some(listener.local_addr().context("reading the address listened on")?);
                    let limits = settings.limits.mqtt_connections();
                    let forward = Forward {
                        tls: Arc::clone(tls),
                        handshake: limits.handshake,
                        broker: reachable(bound),
                        stop: core.clone(),
                    };
                    let stop = core.clone();
                    parts.spawn(async move {
                        let serve = |arrival| forward.clone().serve(arrival);
                        acceptor::run(listener, "MQTT over TLS", limits, stop, serve).await;
                        ("mqtt over tls", Ok(()))
                    });
                }
                (BrokerAddress::new(&host_of(bound), bound.port()), Some(stop))
            }
        };

        let (messages, messages_waiting) = mpsc::channel(hub::MESSAGES);
        let (hub, mut owner) = hub::new(restored, store.clone(), messages_waiting);
        owner.set_lease_life(settings.lease_life);
        owner.set_responder(settings.chat.choice.way(), settings.chat.patience);
        let stop = core.clone();
        parts.spawn(async move { ("model", owner.run(stop).await) });
        let to = match &guard {
            Some(guard) => with_credentials(&broker, guard.admit_hub()),
            None => broker.clone(),
        };
        let transport = rigwire_agent::transport::to(&to, settings.mqtt_ca.as_deref()).context("mqtt")?;
        let link = mqtt::Link {
            address: to,
            transport,
            client_id: "rigwire-hub".to_owned(),
            takes_chat_answers: settings.chat.choice.way() == Way::Broker,
        };
        let stop = core.clone();
        parts.spawn(async move { ("mqtt", mqtt::run(link, messages, effects_waiting, stop).await) });

        let (responder, questions) = Responder::new();
        if let Choice::Webhook(target) = settings.chat.choice.clone() {
            let (patience, hub, stop) = (settings.chat.patience, hub.clone(), core.clone());
            parts.spawn(async move { ("responder", responder::run(target, patience, hub, questions, stop).await) });
        }

        let procedures = Arc::new(Procedures::open(settings.data.join("procedures"))?);
        let (watched, stop) = (Arc::clone(&procedures), core.clone());
        parts.spawn(async move { ("procedures", procedures::watch::run(watched, stop).await) });
        let (watched, stop) = (Arc::clone(&keeper), core.clone());
        parts.spawn(async move { ("tokens", watched.run(stop).await) });
        let continuity: Arc<Continuity> = Arc::default();
        let (counting, stop) = (Arc::clone(&continuity), core.clone());
        parts.spawn(async move { ("absent clients", counting.run(stop).await) });
        let app = App {
            hub,
            address,
            scheme: if tls.is_some() { Scheme::Tls } else { Scheme::Plain },
            procedures,
            continuity: Arc::clone(&continuity),
            ledger: Arc::default(),
            keeper: Arc::clone(&keeper),
            origins: Arc::new(settings.origins.clone()),
            doorman: Doorman::default(),
            limits: settings.limits.protocols,
            socket_limits: settings.limits.sockets,
            visits: Arc::default(),
            responder,
            shutdown: front.clone(),
            sockets: TaskTracker::new(),
        };
        let authority = tls.as_ref().and_then(|tls| tls.authority());
        let (limits, stop) = (settings.limits.connections(), front.clone());
        let http = Http {
            router: router::router(app.clone()),
            tls,
            handshake: limits.handshake,
            limits: settings.limits.requests(),
            stop: front.clone(),
        };
        parts.spawn(async move {
            acceptor::run(listener, "the HTTP server", limits, stop, |arrival| http.clone().take(arrival)).await;
            ("http", Ok(()))
        });
        Ok(Self { app, address, broker, guard, mqtt_tls, authority, front, core, parts, store, writer, broker_stop })
    }

    /// The broker for an agent in this process, with credentials if it needs any.
    pub fn broker_for(&self, agent: &AgentId) -> BrokerAddress {
        match &self.guard {
            Some(guard) => with_credentials(&self.broker, guard.admit_agent(agent)),
            None => self.broker.clone(),
        }
    }

    /// Returns when a part ended that should not have.
    pub async fn failure(&mut self) -> anyhow::Error {
        match self.parts.join_next().await {
            Some(Ok((part, Ok(())))) => anyhow::anyhow!("{part} ended before the hub was stopped"),
            Some(Ok((part, Err(error)))) => error.context(format!("{part} failed")),
            Some(Err(error)) => anyhow::Error::new(error).context("a part of the hub panicked"),
            None => anyhow::anyhow!("the hub has no parts left"),
        }
    }

    /// Closes sockets with a reason, then ends what is behind them, and last the record.
    pub async fn stop(mut self) {
        self.front.cancel();
        self.app.sockets.close();
        if tokio::time::timeout(STOP_TIMEOUT, self.app.sockets.wait()).await.is_err() {
            tracing::warn!("some sockets did not close in time");
        }
        self.core.cancel();
        if let Some(stop) = &self.broker_stop {
            stop.stop();
        }
        let ended = tokio::time::timeout(STOP_TIMEOUT, async {
            while let Some(part) = self.parts.join_next().await {
                match part {
                    Ok((part, Err(error))) => tracing::warn!("{part} ended badly: {error:#}"),
                    Ok((_, Ok(()))) => {}
                    Err(error) => tracing::error!("a part of the hub panicked: {error}"),
                }
            }
        });
        if ended.await.is_err() {
            tracing::warn!("some parts did not end in time");
            self.parts.shutdown().await;
        }
        self.store.stop().await;
        let writer = self.writer;
        if tokio::task::spawn_blocking(move || writer.join()).await.is_err() {
            tracing::error!("waiting for the record failed");
        }
    }
}

async fn listen(address: SocketAddr, option: &str) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).await;
    listener.with_context(|| format!("listening on {address} (choose another address with {option})"))
}

/// Where this process reaches a listener of its own.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => (Ipv4Addr::LOCALHOST, address.port()).into(),
        IpAddr::V6(ip) if ip.is_unspecified() => (Ipv6Addr::LOCALHOST, address.port()).into(),
        IpAddr::V4(_) | IpAddr::V6(_) => address,
    }
}

fn with_credentials(broker: &BrokerAddress, (user, password): (String, String)) -> BrokerAddress {
    broker.clone().with_credentials(&user, &password)
}

/// An address as part of a URL: IPv6 in brackets.
fn host_of(address: SocketAddr) -> String {
    match address {
        SocketAddr::V4(address) => address.ip().to_string(),
        SocketAddr::V6(address) => format!("[{}]", address.ip()),
    }
}
