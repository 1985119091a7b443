//! What survives the broker and the agent, and how both leave.

use rigwire_agent::config::{InstrumentConfig, Mode};
use rigwire_agent::port::PortAddress;
use rigwire_agent::profile::Profile;
use rigwire_shared::agent::DeviceState;
use rigwire_shared::command::CommandBody;
use rigwire_shared::event::{EventBody, StepOutcome};
use rigwire_shared::ids::DeviceId;

use crate::support::{Agent, Broker, Hub, agent_id, config, numbers};
use std::time::Duration;

#[tokio::test]
async fn an_agent_announces_itself_and_leaves_with_one_word() {
    let Some(broker) = Broker::start() else { return };
    let spool = tempfile::tempdir().unwrap();
    let mut hub = Hub::new(&agent_id(), broker.port);
    let agent = Agent::start(config(&broker, spool.path()));
    hub.until("first batch", |hub| hub.is_online() && hub.inventory.is_some() && !hub.batches.is_empty()).await;
    assert!(matches!(hub.events().next(), Some(EventBody::Started(_))));
    let stopped = tokio::time::Instant::now();
    agent.stop().await;
    assert!(stopped.elapsed() < Duration::from_millis(500), "nothing holds up an idle agent: {:?}", stopped.elapsed());
    hub.until("goodbye", |hub| !hub.is_online()).await;
    let goodbyes: Vec<_> = hub.states.iter().filter(|state| !state.online).map(|state| state.cause.as_str()).collect();
    assert_eq!(goodbyes, ["the agent was stopped"]);
}

#[tokio::test]
async fn what_the_hub_did_not_acknowledge_survives_the_agent_and_the_broker() {
    let Some(mut broker) = Broker::start() else { return };
    let spool = tempfile::tempdir().unwrap();
    let mut hub = Hub::new(&agent_id(), broker.port);
    hub.acknowledges = false;
    let agent = Agent::start(config(&broker, spool.path()));
    hub.until("first batch", |hub| !hub.batches.is_empty()).await;
    let first = hub.batches[0].position;
    broker.restart();
    hub.start_anew();
    hub.until("batch after the restart of the broker", |hub| !hub.batches.is_empty()).await;
    assert_eq!(hub.batches[0].position, first);
    agent.stop().await;
    hub.acknowledges = true;
    hub.start_anew();
    let agent = Agent::start(config(&broker, spool.path()));
    hub.until("batches of both epochs", |hub| numbers(&hub.batches).len() >= 2).await;
    let second = hub.batches.last().unwrap();
    assert_eq!((numbers(&hub.batches)[0], second.previous), (first, Some(first)));
    assert!(second.position.epoch > first.epoch);
    // The answer comes behind the acknowledgements, so they have arrived when it does.
    hub.command(CommandBody::Announce);
    hub.until("answer", |hub| hub.events().any(|body| matches!(body, EventBody::CommandAnswered { .. }))).await;
    agent.stop().await;
    hub.start_anew();
    let agent = Agent::start(config(&broker, spool.path()));
    hub.until("batch of the third epoch", |hub| !hub.batches.is_empty()).await;
    assert!(hub.batches[0].position > first, "what was acknowledged is gone");
    agent.stop().await;
}

#[tokio::test]
async fn a_command_reaches_an_absent_instrument_and_is_answered() {
    let Some(broker) = Broker::start() else { return };
    let spool = tempfile::tempdir().unwrap();
    let mut config = config(&broker, spool.path());
    let profile = Profile::find("korad.ka3005p", &[]).unwrap();
    let device = DeviceId::new("psu-1").unwrap();
    let port = PortAddress::Serial(spool.path().join("nothing-here"));
    let mut instrument = InstrumentConfig::new(device.clone(), profile, port);
    instrument.mode = Mode::Own;
    config.instruments.push(instrument);
    let mut hub = Hub::new(&agent_id(), broker.port);
    let agent = Agent::start(config);
    hub.until("absent device", |hub| {
        let absent =
            |(state, cause): (DeviceState, &str)| state == DeviceState::Absent && cause.ends_with("does not exist");
        hub.is_online() && hub.state_of(&device).is_some_and(absent)
    })
    .await;
    let StepOutcome::Failed { error } = hub.step(&device, "instrument.read", Vec::new()).await else { panic!("read") };
    assert_eq!(error.code, "DEVICE_NOT_ONLINE");
    agent.stop().await;
}
