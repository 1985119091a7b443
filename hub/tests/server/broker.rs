//! The embedded broker among bad neighbours.

use std::time::Duration;

use crate::support::{Answer, Hub, within};
use rigwire::broker::Broker;
use rigwire_shared::agent::AgentState;
use rigwire_shared::ids::{AgentId, Epoch};
use rigwire_shared::topic::{Channel, Topic};
use rigwire_shared::wire;
use rumqttc::{AsyncClient, Event, Incoming, MqttOptions, QoS};
use tokio::net::TcpStream;

fn state(epoch: u64) -> Vec<u8> {
    let (version, host, cause) = ("0.1.0".to_owned(), "host".to_owned(), "connected".to_owned());
    wire::encode(&AgentState { epoch: Epoch(epoch), online: true, version, host, cause }).unwrap()
}

fn topic() -> String {
    Topic::Agent(AgentId::new("twin").unwrap(), Channel::State).text()
}

/// Connects as an agent and says that it is there; returns once the broker has it.
async fn connect(hub: &Hub, epoch: u64) -> (AsyncClient, rumqttc::EventLoop) {
    let broker = &hub.server.broker;
    let mut options = MqttOptions::new("rigwire-agent-twin", broker.host(), broker.port());
    options.set_keep_alive(Duration::from_secs(30));
    let (client, mut events) = AsyncClient::new(options, 10);
    client.publish(topic(), QoS::AtLeastOnce, true, state(epoch)).await.unwrap();
    within("the broker's confirmation", async {
        loop {
            if let Event::Incoming(Incoming::PubAck(_)) = events.poll().await.unwrap() {
                break;
            }
        }
    })
    .await;
    (client, events)
}

async fn epoch_seen(hub: &Hub, epoch: u64) {
    let seen = |answer: &Answer| answer.body["agents"][0]["epoch"] == epoch;
    hub.until("the agent's epoch", "/api/v1/agents", seen).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_peer_keeps_nobody_out() {
    let hub = Hub::start().await;
    let address = (hub.server.broker.host(), hub.server.broker.port());
    let silent = TcpStream::connect(address).await.unwrap();
    hub.ready().await;
    let (_client, _events) = connect(&hub, 1).await;
    epoch_seen(&hub, 1).await;
    drop(silent);
    hub.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_with_one_id_the_newer_start_counts() {
    let hub = Hub::start().await;
    hub.ready().await;
    let (_first, mut events) = connect(&hub, 1).await;
    epoch_seen(&hub, 1).await;
    let (_second, _events) = connect(&hub, 2).await;
    within("the first to be put out", async { while events.poll().await.is_ok() {} }).await;
    epoch_seen(&hub, 2).await;
    // It comes back, as agents do, and is not believed.
    let (_third, _events) = connect(&hub, 1).await;
    hub.ready().await;
    assert_eq!(hub.get("/api/v1/agents").await.body["agents"][0]["epoch"], 2);
    hub.server.stop().await;
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let error = Broker::bind(address, None).await.err().expect("the port was taken");
    assert!(
        error.to_string().starts_with(&format!("starting the embedded MQTT broker on {address} (is the port taken?")),
        "{error}"
    );
}
