//! The driver against simulators over an in-memory stream and paused time: seconds of silence take no time.

use std::sync::{Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until, timeout};

use super::*;
use crate::simulator::core::{Output, SimulatorCore};

const KORAD: &str = include_str!("../../../profiles/korad.ka3005p.toml");
const METER: &str = include_str!("../../../profiles/hp.34401a.toml");
const OWN: InstrumentOptions = InstrumentOptions { mode: Mode::Own, gap_override: None, expected_serial: None };

/// A driver and the simulator at the other end of its line.
struct Rig {
    driver: Instrument<DuplexStream>,
    core: Arc<Mutex<SimulatorCore>>,
    /// Ends with the rig.
    line: JoinSet<()>,
}

impl Rig {
    fn new(source: &str, options: InstrumentOptions) -> Self {
        Self::with_stale_bytes(source, options, b"")
    }

    fn with_stale_bytes(source: &str, options: InstrumentOptions, stale: &'static [u8]) -> Self {
        let profile = Arc::new(Profile::parse("x.toml", source).unwrap_or_else(|error| panic!("{error}")));
        let core = Arc::new(Mutex::new(SimulatorCore::new(Arc::clone(&profile)).unwrap()));
        let (near, far) = duplex(1024);
        let mut line = JoinSet::new();
        line.spawn(play(far, Arc::clone(&core), stale));
        let driver = Instrument::new(near, DeviceId::new("psu-1").unwrap(), profile, options).unwrap();
        Self { driver, core, line }
    }

    async fn identified(source: &str, options: InstrumentOptions) -> Self {
        let mut rig = Self::new(source, options);
        rig.driver.identify().await.unwrap();
        rig
    }

    fn fault(&self, text: &str) {
        let faults: Vec<_> = text.split_whitespace().map(|fault| fault.parse().unwrap()).collect();
        self.core().set_faults(&faults);
    }

    fn core(&self) -> std::sync::MutexGuard<'_, SimulatorCore> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn number(&mut self, reading: &str) -> Result<f64, DriverError> {
        self.driver.read(reading).await.map(|samples| samples[0].value.as_f64().unwrap_or(f64::NAN))
    }
}

async fn play(mut line: DuplexStream, core: Arc<Mutex<SimulatorCore>>, stale: &[u8]) {
    let lock = || core.lock().unwrap_or_else(PoisonError::into_inner);
    let mut buffer = [0; 256];
    if line.write_all(stale).await.is_err() {
        return;
    }
    loop {
        let output = lock().next_output(Instant::now().into_std());
        match output {
            Some(Output::Bytes(bytes)) => {
                if line.write_all(&bytes).await.is_err() {
                    return;
                }
                continue;
            }
            Some(Output::Unplug) => return,
            None => {}
        }
        let deadline = lock().next_deadline();
        tokio::select! {
            read = line.read(&mut buffer) => match read {
                Ok(count) if count > 0 => lock().push(&buffer[..count], Instant::now().into_std()),
                Ok(_) | Err(_) => return,
            },
            () = sleep_until(deadline.map_or_else(Instant::now, Instant::from_std)), if deadline.is_some() => {}
        }
    }
}

fn shown_samples(samples: &[Sample]) -> Vec<(String, Value, Quality)> {
    samples.iter().map(|sample| (sample.metric.as_str().to_owned(), sample.value.clone(), sample.quality)).collect()
}

#[tokio::test(start_paused = true)]
async fn an_instrument_is_identified_and_read() {
    let mut rig = Rig::with_stale_bytes(KORAD, OWN, b"12.34K\x01");
    let identity = rig.driver.identify().await.unwrap();
    assert_eq!((identity.vendor.as_str(), identity.model.as_str()), ("Korad", "KA3005P"));
    assert_eq!(identity.properties, [("idn".to_owned(), "KORADKA3005PV2.0".to_owned())]);
    rig.core().set("out", "1").unwrap();
    let sample = rig.driver.read("voltage").await.unwrap().remove(0);
    assert_eq!((sample.value, sample.unit.as_str(), sample.quality), (Value::Float(5.0), "V", Quality::Good));
    assert!(sample.round_trip_us.is_some());
    let status = rig.driver.read("status").await.unwrap();
    let expected = [("status.mode", Value::Text("cv".into())), ("status.output", Value::Bool(true))];
    assert_eq!(shown_samples(&status), expected.map(|(metric, value)| (metric.to_owned(), value, Quality::Good)),);
}

#[tokio::test(start_paused = true)]
async fn scpi_labels_become_the_identity() {
    let mut rig = Rig::new(METER, OWN);
    let identity = rig.driver.identify().await.unwrap();
    assert_eq!((identity.serial.as_str(), identity.firmware.as_str()), ("0", "10-5-2"));
    rig.core().set("v", "-9.9e37").unwrap();
    let samples = rig.driver.read("value").await.unwrap();
    assert_eq!(shown_samples(&samples), [("voltage".to_owned(), Value::Null, Quality::Overrange)]);
}

#[tokio::test(start_paused = true)]
async fn another_device_is_refused() {
    let other = KORAD.replace("KORADKA3005PV2.0", "PRINTER 58mm");
    let error = Rig::new(&other, OWN).driver.identify().await.unwrap_err();
    assert!(
        matches!(&error, DriverError::WrongDevice(text) if text.starts_with("device psu-1 says \"PRINTER 58mm\", expected "))
    );
    let options = InstrumentOptions { expected_serial: Some("MY42".into()), ..OWN };
    let error = Rig::new(METER, options).driver.identify().await.unwrap_err();
    assert_eq!(error, DriverError::WrongDevice("device psu-1 has serial number \"0\", expected \"MY42\"".into()));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_driven_is_refused_at_once() {
    let profile = Profile::find("eurotherm.2400", &[]).unwrap();
    let (near, _far) = duplex(64);
    let outcome = Instrument::new(near, DeviceId::new("oven").unwrap(), profile, InstrumentOptions::default());
    assert!(matches!(outcome.err(), Some(DriverError::Invalid(text)) if text.contains("is not driven yet")));
}

#[tokio::test(start_paused = true)]
async fn silence_is_no_value_and_ends() {
    let mut rig = Rig::identified(KORAD, OWN).await;
    rig.fault("silent");
    let error = rig.number("voltage").await.unwrap_err();
    assert_eq!(error, DriverError::Silent("device psu-1 did not answer VOUT1?".into()));
    let error = rig.number("voltage").await.unwrap_err();
    assert_eq!(error, DriverError::Silent("device psu-1 does not answer its identity query".into()));
    rig.fault("");
    let started = Instant::now();
    assert_eq!(rig.number("current_limit").await, Ok(1.0));
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
}

/// Every reading has its own number, so a late reply taken for the next one shows.
#[tokio::test(start_paused = true)]
async fn a_late_reply_is_never_taken_for_the_next() {
    for late_ms in (100..4000).step_by(130) {
        let mut rig = Rig::identified(KORAD, OWN).await;
        rig.core().set("out", "1").unwrap();
        rig.core().set("load_ohm", "20").unwrap();
        rig.fault(&format!("late:{late_ms}ms"));
        let readings = [("voltage", 5.0), ("current", 0.25), ("current_limit", 1.0)];
        let mut right = 0;
        for round in 0..8 {
            // Sometimes late and sometimes not: the worst case.
            rig.fault(&if round % 3 == 0 { format!("late:{late_ms}ms") } else { String::new() });
            for (reading, expected) in readings {
                match rig.number(reading).await {
                    Ok(found) => {
                        assert!((found - expected).abs() < 1e-9, "late {late_ms} ms: {reading} is {found}");
                        right += 1;
                    }
                    Err(error) => {
                        assert!(matches!(error, DriverError::Silent(_) | DriverError::Garbled(_)), "{error:?}")
                    }
                }
            }
        }
        assert!(right > 0, "late {late_ms} ms: no value at all");
    }
}

#[tokio::test(start_paused = true)]
async fn spoilt_replies_are_no_values() {
    let mut rig = Rig::identified(KORAD, OWN).await;
    for (fault, reading, expected) in [
        ("garbage:1", "voltage", None),
        ("garbage:3", "status", None),
        ("garbage:3", "current_limit", None),
        ("sixth-byte", "voltage", None),
        // Its profile lets a sixth byte pass.
        ("sixth-byte", "current_limit", Some(1.0)),
        ("split:2ms", "current_limit", Some(1.0)),
        ("", "current_limit", Some(1.0)),
    ] {
        rig.fault(fault);
        let found = rig.number(reading).await;
        match expected {
            Some(number) => assert_eq!(found, Ok(number), "{fault} {reading}"),
            None => assert!(matches!(found, Err(DriverError::Garbled(_))), "{fault} {reading}: {found:?}"),
        }
        rig.fault("");
        assert_eq!(rig.number("current_limit").await, Ok(1.0), "after {fault}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_unplug_is_seen_in_a_reply_and_while_idle() {
    let mut rig = Rig::identified(KORAD, OWN).await;
    rig.fault("unplug");
    let error = rig.number("voltage").await.unwrap_err();
    assert_eq!(error, DriverError::Disconnected("device psu-1: the connection was closed".into()));

    let mut rig = Rig::identified(KORAD, OWN).await;
    let idle = timeout(Duration::from_secs(5), rig.driver.watch()).await;
    assert!(idle.is_err(), "nothing happened, and watch returned {idle:?}");
    rig.line.abort_all();
    let error = timeout(Duration::from_secs(5), rig.driver.watch()).await.unwrap();
    assert!(matches!(error, DriverError::Disconnected(_)), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn readings_that_are_due_together_come_one_after_the_other() {
    let mut rig = Rig::identified(KORAD, InstrumentOptions::default()).await;
    let mut metrics = Vec::new();
    for _ in 0..4 {
        assert!(rig.driver.next_due().unwrap() <= Instant::now().into_std());
        metrics.extend(rig.driver.poll().await.unwrap().into_iter().map(|sample| sample.metric.as_str().to_owned()));
    }
    assert_eq!(metrics, ["voltage", "current", "current_limit", "status.mode", "status.output"]);
    assert!(rig.driver.next_due().unwrap() > Instant::now().into_std());
    assert!(rig.driver.poll().await.unwrap().is_empty(), "nothing is due");
    sleep(Duration::from_secs(60)).await;
    let before = rig.driver.skipped_ticks();
    rig.driver.poll().await.unwrap();
    assert_eq!(rig.driver.skipped_ticks() - before, 119, "a minute of ticks at 500 ms, and one that is taken");
}

#[tokio::test(start_paused = true)]
async fn readings_that_report_changes_stay_quiet_without_one() {
    let mut rig = Rig::identified(KORAD, InstrumentOptions::default()).await;
    let mut seen = Vec::new();
    for round in 0..3 {
        if round == 2 {
            rig.core().set("out", "1").unwrap();
        }
        for _ in 0..3 {
            sleep_until(Instant::from_std(rig.driver.next_due().unwrap())).await;
            let samples = rig.driver.poll().await.unwrap();
            seen.extend(
                samples
                    .into_iter()
                    .filter(|sample| sample.metric.as_str() == "status.output")
                    .map(|sample| sample.value),
            );
        }
        sleep(Duration::from_millis(500)).await;
    }
    for _ in 0..4 {
        sleep_until(Instant::from_std(rig.driver.next_due().unwrap())).await;
        let samples = rig.driver.poll().await.unwrap();
        seen.extend(
            samples.into_iter().filter(|sample| sample.metric.as_str() == "status.output").map(|sample| sample.value),
        );
    }
    assert_eq!(seen, [Value::Bool(false), Value::Bool(true)]);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_request_spoils_nothing() {
    let mut rig = Rig::identified(KORAD, OWN).await;
    rig.core().set("out", "1").unwrap();
    rig.fault("late:100ms");
    assert!(timeout(Duration::from_millis(90), rig.driver.read("voltage")).await.is_err());
    rig.fault("");
    assert_eq!(rig.number("current").await, Ok(0.5));
}

fn fields(list: &[(&str, Value)]) -> Fields {
    list.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

#[tokio::test(start_paused = true)]
async fn actions_are_read_back() {
    let mut rig = Rig::identified(KORAD, OWN).await;
    let outputs = rig.driver.perform("set_voltage", &fields(&[("v", Value::Float(3.3))])).await.unwrap();
    let read_back = ("read_back", Value::Float(3.3));
    assert_eq!(outputs, fields(&[("v", Value::Float(3.3)), read_back, ("verified", Value::Bool(true))]));
    assert_eq!(rig.core().get("vset").as_deref(), Ok("3.3"));
    for (action, with, expected) in [
        (
            "set_voltage",
            fields(&[("v", Value::Int(40))]),
            "parameter v of action set_voltage is 40 V, allowed 0 to 31 V in steps of 0.01 V",
        ),
        ("explode", vec![], "device psu-1 has no action explode, expected set_voltage, set_current_limit, output"),
    ] {
        assert_eq!(rig.driver.perform(action, &with).await, Err(DriverError::Invalid(expected.into())));
    }
    let deaf = KORAD.replace("'^OUT(?P<out>[01])', set = [\"out\"]", "'^OUT[01]'");
    let mut rig = Rig::identified(&deaf, OWN).await;
    let refused = rig.driver.perform("output", &fields(&[("on", Value::Bool(true))])).await;
    let expected = "action output of device psu-1 did not take: read back false, expected true";
    assert_eq!(refused, Err(DriverError::Refused(expected.into())));
}

#[tokio::test(start_paused = true)]
async fn observing_changes_nothing() {
    let mut rig = Rig::identified(KORAD, InstrumentOptions::default()).await;
    let refused = rig.driver.perform("output", &fields(&[("on", Value::Bool(true))])).await;
    let expected = "action output needs mode own, device psu-1 is configured as observe";
    assert_eq!(refused, Err(DriverError::Invalid(expected.into())));
    let mut rig = Rig::identified(METER, InstrumentOptions::default()).await;
    let refused = rig.driver.read("value").await.unwrap_err();
    assert_eq!(
        refused,
        DriverError::Invalid("reading value needs mode own, device psu-1 is configured as observe".into())
    );
    assert!(
        matches!(rig.driver.read("volts").await, Err(DriverError::Invalid(text)) if text == "device psu-1 has no reading volts, expected function")
    );
}

#[tokio::test(start_paused = true)]
async fn the_safe_state_is_honest() {
    let mut rig = Rig::identified(KORAD, OWN).await;
    rig.core().set("out", "1").unwrap();
    assert_eq!(rig.driver.make_safe().await, SafeOutcome::Verified);
    assert_eq!(rig.core().get("out").as_deref(), Ok("0"));

    rig.fault("silent");
    let outcome = rig.driver.make_safe().await;
    assert!(
        matches!(&outcome, SafeOutcome::Unreachable { detail } if detail.starts_with("not confirmed: ")),
        "{outcome:?}"
    );
    rig.line.abort_all();
    assert!(matches!(rig.driver.make_safe().await, SafeOutcome::Unreachable { .. }));

    let deaf = KORAD.replace("'^OUT(?P<out>[01])', set = [\"out\"]", "'^OUT[01]'").replace("out = 0,", "out = 1,");
    let mut rig = Rig::identified(&deaf, OWN).await;
    let refused = SafeOutcome::Refused { detail: "read back true, expected 0".into() };
    assert_eq!(rig.driver.make_safe().await, refused);

    let mut rig = Rig::identified(KORAD, InstrumentOptions::default()).await;
    assert_eq!(rig.driver.make_safe().await, SafeOutcome::Verified);
    rig.core().set("out", "1").unwrap();
    let refused = SafeOutcome::Refused { detail: "read back true, expected 0; mode observe changes nothing".into() };
    assert_eq!(rig.driver.make_safe().await, refused);
    assert_eq!(rig.core().get("out").as_deref(), Ok("1"), "observing switched the output");

    let mut rig = Rig::identified(METER, OWN).await;
    assert_eq!(rig.driver.make_safe().await, SafeOutcome::NotNeeded);
}

#[tokio::test(start_paused = true)]
async fn the_error_queue_tells_of_refusals() {
    let wrong = METER.replace("send = \"VOLT:DC:NPLC {nplc}\"", "send = \"VOLT:DC:NPCL {nplc}\"");
    let mut rig = Rig::identified(&wrong, OWN).await;
    let refused = rig.driver.perform("set_nplc", &fields(&[("nplc", Value::Int(1))])).await;
    let expected = "device psu-1 refused action set_nplc: -113 Undefined header";
    assert_eq!(refused, Err(DriverError::Refused(expected.into())));
    assert_eq!(rig.driver.drain_errors().await, Ok(vec![("-113".into(), "Undefined header".into())]));
    assert_eq!(rig.driver.drain_errors().await, Ok(vec![]));
}

const SMALL: &str = r#"
schema = 1
[profile]
id = "test.small"
vendor = "Test"
model = "Small"
class = "heater"
version = "1"
sources = ["made up for this test"]
[transport]
any_of = ["serial"]
[framing]
tx_end = "\r"
rx = { mode = "line", end = "\r", echo = "strip" }
[timing]
timeout_ms = 200
retries = 1
[[reading]]
id = "temperature"
send = "T?"
parse = { kind = "float" }
metric = "temperature"
unit = "degC"
scale = 0.1
invalid = { status = "flags.broken", as = "fault" }
[[reading]]
id = "flags"
send = "F?"
parse = { kind = "bits", from = "int", width = 8, fields = { broken = { bit = 1 } } }
metric = "flags"
[[action]]
id = "heat"
params = [ { name = "power", type = "int", unit = "%", min = 0, max = 100 } ]
send = "P{power:d}"
expect = '^OK$'
verify = { send = "P?", parse = { kind = "int" }, equals = "power" }
write_limit = { skip_if_equal = true, min_interval = "10s", lifetime = 3 }
[simulator]
vars = { t = 215, f = 0, p = 0, answer = "OK" }
rules = [
  { on = '^T\?$', reply = "{t:d}" },
  { on = '^F\?$', reply = "{f:d}" },
  { on = '^P\?$', reply = "{p:d}" },
  { on = '^P(?P<p>\d+)$', reply = "{answer}", set = ["p"] },
]
faults = ["silent", "echo"]
"#;

#[tokio::test(start_paused = true)]
async fn echoes_flags_and_scales_are_applied() {
    let mut rig = Rig::new(SMALL, OWN);
    rig.fault("echo");
    rig.driver.identify().await.unwrap();
    assert_eq!(rig.number("temperature").await, Ok(21.5));
    rig.core().set("f", "2").unwrap();
    sleep(FLAG_AGE * 2).await;
    let samples = rig.driver.read("temperature").await.unwrap();
    assert_eq!(shown_samples(&samples), [("temperature".to_owned(), Value::Null, Quality::Fault)]);
}

#[tokio::test(start_paused = true)]
async fn a_line_without_a_fence_waits_for_quiet_and_tries_again() {
    let mut rig = Rig::new(SMALL, OWN);
    rig.fault("echo late:300ms");
    rig.driver.identify().await.unwrap();
    assert!(matches!(rig.number("flags").await, Err(DriverError::Garbled(_) | DriverError::Silent(_))));
    rig.fault("echo");
    let started = Instant::now();
    assert_eq!(rig.number("temperature").await, Ok(21.5));
    assert!(started.elapsed() > Duration::from_millis(200), "the line was not quiet long enough");
}

/// A reading of free text accepts anything, even the late answer to an identity query, and waits long enough for one.
#[tokio::test(start_paused = true)]
async fn a_late_identity_is_never_taken_for_a_reading() {
    let source = SMALL
        .replace("[[reading]]\nid = \"temperature\"", "[identify]\nsend = \"I?\"\n[[reading]]\nid = \"temperature\"")
        .replace(
            "send = \"T?\"\nparse = { kind = \"float\" }",
            "send = \"T?\"\nparse = { kind = \"text\" }\ntimeout_ms = 2000",
        )
        .replace("invalid = { status = \"flags.broken\", as = \"fault\" }\n", "")
        .replace("rules = [", "rules = [\n  { on = '^I\\?$', reply = \"SMALL\" },")
        .replace(", echo = \"strip\"", "");
    let mut silent = 0;
    for late_ms in (150..6000).step_by(90) {
        let mut rig = Rig::identified(&source, OWN).await;
        rig.fault(&format!("late:{late_ms}ms"));
        for _ in 0..30 {
            match rig.driver.read("temperature").await {
                Ok(samples) => assert_eq!(samples[0].value, Value::Text("215".into()), "late {late_ms} ms"),
                Err(_) => silent += 1,
            }
        }
    }
    assert!(silent > 0, "no reply was too late");
}

#[tokio::test(start_paused = true)]
async fn writes_are_answered_limited_and_not_repeated() {
    let mut rig = Rig::new(SMALL, OWN);
    rig.fault("echo");
    rig.driver.identify().await.unwrap();
    let power = |percent| fields(&[("power", Value::Int(percent))]);
    let started = Instant::now();
    rig.driver.perform("heat", &power(10)).await.unwrap();
    let skipped = rig.driver.perform("heat", &power(10)).await.unwrap();
    assert_eq!(skipped.last(), Some(&("skipped".to_owned(), Value::Bool(true))));
    assert!(started.elapsed() < Duration::from_secs(1));
    rig.driver.perform("heat", &power(20)).await.unwrap();
    assert!(started.elapsed() >= Duration::from_secs(10), "written again after {:?}", started.elapsed());
    rig.core().set("answer", "NO").unwrap();
    let refused = rig.driver.perform("heat", &power(30)).await;
    assert_eq!(
        refused,
        Err(DriverError::Refused("device psu-1 answered action heat with \"NO\", expected ^OK$".into()))
    );
    let worn = rig.driver.perform("heat", &power(40)).await;
    assert!(matches!(worn, Err(DriverError::Refused(text)) if text.contains("was performed 3 times")));
}
