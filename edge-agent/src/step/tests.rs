//! Steps as data.

use rigwire_shared::ids::MetricName;
use rigwire_shared::quality::Quality;
use rigwire_shared::unit::Unit;

use super::*;

fn card(id: &str) -> ReadingCard {
    ReadingCard { id: id.into(), metrics: vec![MetricName::new(id).unwrap()], unit: Unit::Volt, interval_ms: 0 }
}

fn action(id: &str) -> ActionCard {
    ActionCard { id: id.into(), about: String::new(), hazard: None, parameters: Vec::new() }
}

fn fields(pairs: &[(&str, Value)]) -> Fields {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

#[test]
fn plans_are_read_or_refused_with_the_parameter_named() {
    let read = |readings: &[&str], samples, every| {
        Ok(Plan::Read {
            readings: readings.iter().map(|id| (*id).to_owned()).collect(),
            samples,
            every: Duration::from_millis(every),
        })
    };
    for (module, with, expected) in [
        (READ, fields(&[]), read(&["volts", "amps"], 1, 0)),
        (
            READ,
            fields(&[("reading", text("amps")), ("samples", Value::Int(3)), ("every", text("100ms"))]),
            read(&["amps"], 3, 100),
        ),
        (READ, fields(&[("every", Value::Float(0.5))]), read(&["volts", "amps"], 1, 500)),
        (
            READ,
            fields(&[("reading", text("ohms"))]),
            Err("parameter reading of instrument.read is \"ohms\", expected one of volts, amps"),
        ),
        (
            READ,
            fields(&[("samples", Value::Int(0))]),
            Err("parameter samples of instrument.read is 0, expected a whole number from 1 to 1000000"),
        ),
        (
            READ,
            fields(&[("every", text("soon"))]),
            Err("parameter every of instrument.read is \"soon\", expected a duration such as \"100ms\""),
        ),
        (
            READ,
            fields(&[("evry", text("1s"))]),
            Err("parameter evry of instrument.read is unknown, expected reading, samples or every"),
        ),
        (
            ACTION,
            fields(&[("v", Value::Float(3.3)), ("action", text("set_voltage"))]),
            Ok(Plan::Action { action: "set_voltage".into(), with: fields(&[("v", Value::Float(3.3))]) }),
        ),
        (ACTION, fields(&[]), Err("parameter action of instrument.action is missing, expected one of set_voltage")),
        (
            ACTION,
            fields(&[("action", text("explode"))]),
            Err("parameter action of instrument.action is \"explode\", expected one of set_voltage"),
        ),
        (SAFE_STATE, fields(&[]), Ok(Plan::SafeState)),
        (
            SAFE_STATE,
            fields(&[("v", Value::Null)]),
            Err("parameter v of instrument.safe_state is unknown, it takes none"),
        ),
        (
            "adb.tap",
            fields(&[]),
            Err(
                "module \"adb.tap\" is not one that this agent runs, expected instrument.read, instrument.action, instrument.safe_state or process.run",
            ),
        ),
    ] {
        let found = plan(module, &with, &[card("volts"), card("amps")], &[action("set_voltage")]);
        assert_eq!(found.map_err(|error| error.message), expected.map_err(str::to_owned), "{module} {with:?}");
    }
}

fn sample(value: Option<f64>) -> Sample {
    Sample {
        device: DeviceId::new("dmm-1").unwrap(),
        metric: MetricName::new("voltage").unwrap(),
        value: value.map_or(Value::Null, Value::Float),
        unit: Unit::Volt,
        quality: if value.is_some() { Quality::Good } else { Quality::Overrange },
        attempt: None,
        round_trip_us: None,
    }
}

fn reading(samples: u32, every: u64, now: Instant) -> ActiveStep {
    let plan = Plan::Read { readings: vec!["volts".into()], samples, every: Duration::from_millis(every) };
    let ids = (AttemptId(uuid::Uuid::nil()), RunId(uuid::Uuid::nil()));
    ActiveStep::new(ids.0, ids.1, DeviceId::new("dmm-1").unwrap(), plan, Duration::from_secs(5), now)
}

#[test]
fn a_reading_step_takes_its_samples_on_time_and_sums_them_up() {
    let start = Instant::now();
    let mut step = reading(4, 100, start);
    for (round, value) in [Some(1.0), Some(4.0), None].into_iter().enumerate() {
        assert_eq!(step.due(), start + Duration::from_millis(100 * round as u64));
        assert_eq!(step.work(), Work::Read("volts".into()));
        assert_eq!(step.took(&Ok(vec![sample(value)])), None);
    }
    assert_eq!(step.progress(), Some((75.0, "sample 3 of 4".to_owned())));
    let Some(StepOutcome::Completed { outputs }) = step.took(&Ok(vec![sample(Some(1.0))])) else {
        panic!("not completed")
    };
    let expected = fields(&[
        ("last", Value::Float(1.0)),
        ("mean", Value::Float(2.0)),
        ("min", Value::Float(1.0)),
        ("max", Value::Float(4.0)),
        ("good", Value::Int(3)),
        ("bad", Value::Int(1)),
        ("unit", text("V")),
    ]);
    assert_eq!(outputs, fields(&[("voltage", Value::Map(expected))]));
}

#[test]
fn values_that_are_not_good_are_never_numbers() {
    let mut step = reading(1, 0, Instant::now());
    let Some(StepOutcome::Completed { outputs }) = step.took(&Ok(vec![sample(None)])) else { panic!("not completed") };
    let voltage = &outputs[0].1;
    for name in ["last", "mean", "min", "max"] {
        assert_eq!(voltage.get(name), Some(&Value::Null), "{name}");
    }
    assert_eq!((voltage.get("good"), voltage.get("bad")), (Some(&Value::Int(0)), Some(&Value::Int(1))));
}

fn failure(outcome: Option<StepOutcome>) -> (String, String) {
    match outcome {
        Some(StepOutcome::Failed { error }) => (error.code, error.message),
        other => panic!("{other:?} is no failure"),
    }
}

#[test]
fn each_driver_error_has_its_code() {
    for (error, code, message) in [
        (
            DriverError::Disconnected("read returned nothing".into()),
            "DEVICE_DISCONNECTED",
            "device dmm-1 disconnected during instrument.read: read returned nothing",
        ),
        (DriverError::Invalid("reading x is unknown".into()), "INVALID_PARAMETER", "reading x is unknown"),
        (DriverError::Refused("it will not".into()), "MODULE_EXECUTION_ERROR", "instrument.read on dmm-1: it will not"),
        (
            DriverError::Silent("no answer within 1s".into()),
            "MODULE_EXECUTION_ERROR",
            "instrument.read on dmm-1: no answer within 1s",
        ),
    ] {
        let mut step = reading(1, 0, Instant::now());
        assert_eq!(failure(step.took(&Err(error))), (code.to_owned(), message.to_owned()));
    }
    assert_eq!(
        failure(Some(reading(1, 0, Instant::now()).timed_out())).1,
        "instrument.read on dmm-1 did not end within 5s"
    );
}

#[test]
fn one_silence_among_answers_is_no_failure() {
    let mut step = reading(2, 0, Instant::now());
    assert_eq!(step.took(&Err(DriverError::Silent("late".into()))), None);
    step.missed(&[sample(None)]);
    assert!(matches!(step.took(&Ok(vec![sample(Some(1.0))])), Some(StepOutcome::Completed { .. })));
}
