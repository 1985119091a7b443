//! Simulated instruments behind real pseudo terminals: readings, actions, a pulled cable, a wrong instrument.

use std::path::Path;

use rigwire_agent::config::{Config, InstrumentConfig, Mode};
use rigwire_agent::port::PortAddress;
use rigwire_agent::profile::Profile;
use rigwire_agent::simulator::bench::{Bench, BenchInstrument};
use rigwire_shared::agent::DeviceState;
use rigwire_shared::event::{EventBody, SafeOutcome, StepOutcome};
use rigwire_shared::ids::DeviceId;
use rigwire_shared::quality::Quality;
use rigwire_shared::value::Value;

use crate::support::{Agent, Broker, Hub, agent_id, config};

fn device(id: &str) -> DeviceId {
    DeviceId::new(id).unwrap()
}

fn bench(directory: &Path, instruments: &[(&str, &str)]) -> Bench {
    let instruments = instruments.iter().map(|(name, profile)| BenchInstrument {
        name: (*name).to_owned(),
        profile: Profile::find(profile, &[]).unwrap(),
        link: Some(directory.join(name)),
        faults: Vec::new(),
    });
    Bench::start(instruments.collect(), Vec::new()).unwrap()
}

fn add(config: &mut Config, directory: &Path, name: &str, profile: &str) {
    let port = PortAddress::Serial(directory.join(name));
    let mut instrument = InstrumentConfig::new(device(name), Profile::find(profile, &[]).unwrap(), port);
    instrument.mode = Mode::Own;
    config.instruments.push(instrument);
}

fn good_volts(hub: &Hub) -> usize {
    let good = |body: &&EventBody| matches!(body, EventBody::Sample(sample) if sample.device == device("dmm-1") && sample.metric.as_str() == "voltage" && sample.quality == Quality::Good);
    hub.events().filter(good).count()
}

#[tokio::test]
async fn a_meter_is_read_unplugged_and_read_again() {
    let Some(broker) = Broker::start() else { return };
    let directory = tempfile::tempdir().unwrap();
    let bench = bench(directory.path(), &[("dmm-1", "hp.34401a")]);
    let mut config = config(&broker, &directory.path().join("spool"));
    add(&mut config, directory.path(), "dmm-1", "hp.34401a");
    let mut hub = Hub::new(&agent_id(), broker.port);
    let agent = Agent::start(config);
    hub.until("good reading", |hub| good_volts(hub) > 2).await;
    let with = vec![
        ("reading".to_owned(), Value::Text("value".into())),
        ("samples".to_owned(), Value::Int(3)),
        ("every".to_owned(), Value::Text("50ms".into())),
    ];
    let StepOutcome::Completed { outputs } = hub.step(&device("dmm-1"), "instrument.read", with).await else {
        panic!("the meter was not read")
    };
    assert_eq!(outputs[0].0, "voltage");
    assert_eq!(outputs[0].1.get("mean").and_then(Value::as_f64).map(|mean| (mean * 1e4).round()), Some(12345.0));
    assert_eq!((outputs[0].1.get("good"), outputs[0].1.get("bad")), (Some(&Value::Int(3)), Some(&Value::Int(0))));

    bench.unplug("dmm-1").unwrap();
    hub.until("gone meter", |hub| hub.state_of(&device("dmm-1")).is_some_and(|(state, _)| state == DeviceState::Gone))
        .await;
    let before = good_volts(&hub);
    bench.replug("dmm-1").unwrap();
    let replugged = tokio::time::Instant::now();
    hub.until("good reading after the replug", |hub| good_volts(hub) > before).await;
    assert!(replugged.elapsed() < std::time::Duration::from_secs(3), "{:?}", replugged.elapsed());
    agent.stop().await;
}

#[tokio::test]
async fn a_power_supply_is_set_and_left_safe_at_the_end() {
    let Some(broker) = Broker::start() else { return };
    let directory = tempfile::tempdir().unwrap();
    let bench = bench(directory.path(), &[("psu-1", "korad.ka3005p")]);
    let mut config = config(&broker, &directory.path().join("spool"));
    add(&mut config, directory.path(), "psu-1", "korad.ka3005p");
    let actions = config.instruments[0].profile.action_cards();
    let mut hub = Hub::new(&agent_id(), broker.port);
    let agent = Agent::start(config);
    let psu = device("psu-1");
    hub.until("power supply", |hub| hub.state_of(&psu).is_some_and(|(state, _)| state == DeviceState::Online)).await;
    let set = actions.iter().find(|card| card.id == "set_voltage").expect("the profile sets a voltage");
    let with = |volts| {
        vec![("action".to_owned(), Value::Text(set.id.clone())), (set.parameters[0].name.clone(), Value::Float(volts))]
    };
    let outcome = hub.step(&psu, "instrument.action", with(3.3)).await;
    assert!(matches!(outcome, StepOutcome::Completed { .. }), "{outcome:?}");
    let StepOutcome::Failed { error } = hub.step(&psu, "instrument.action", with(99.0)).await else { panic!("99 V") };
    assert_eq!(error.code, "INVALID_PARAMETER");
    let outcome = hub.step(&psu, "instrument.safe_state", Vec::new()).await;
    assert!(matches!(outcome, StepOutcome::Completed { .. }), "{outcome:?}");
    agent.stop().await;
    let safe = |body: &EventBody| matches!(body, EventBody::Safe { cause, outcome: SafeOutcome::Verified, .. } if cause == "the agent stops");
    hub.until("safe state at the end", |hub| hub.events().any(safe)).await;
    bench.stop();
}

#[tokio::test]
async fn a_meter_on_the_power_supplys_port_is_an_error_that_says_so() {
    let Some(broker) = Broker::start() else { return };
    let directory = tempfile::tempdir().unwrap();
    let bench = bench(directory.path(), &[("psu-1", "hp.34401a")]);
    let mut config = config(&broker, &directory.path().join("spool"));
    add(&mut config, directory.path(), "psu-1", "korad.ka3005p");
    let mut hub = Hub::new(&agent_id(), broker.port);
    let agent = Agent::start(config);
    // A supply asks without a line end, so the meter may also just stay silent.
    let refused = |(state, _): (DeviceState, &str)| matches!(state, DeviceState::Error | DeviceState::Identifying);
    hub.until("refusal", |hub| hub.state_of(&device("psu-1")).is_some_and(refused)).await;
    agent.stop().await;
    assert!(!hub.events().any(|body| matches!(body, EventBody::Sample(_))));
    bench.stop();
}
