//! The device task around a scripted driver, in paused time.
#![expect(clippy::wildcard_enum_match_arm, reason = "a test looks at one kind of event and skips the others")]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use rigwire_shared::event::{Answer, SafeOutcome, Sample, StepError, StepFinished, StepOutcome};
use rigwire_shared::ids::MetricName;
use rigwire_shared::quality::Quality;
use rigwire_shared::unit::Unit;
use rigwire_shared::value::Value;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::*;
use crate::events::{self, Entry};
use crate::step;

mod leases;
mod safety;

/// What the device does, and what it was asked.
#[derive(Default)]
struct Script {
    calls: Vec<&'static str>,
    opens: VecDeque<Result<(), OpenError>>,
    identities: VecDeque<Result<(), DriverError>>,
    readings: VecDeque<Result<f64, DriverError>>,
    /// Transactions never end.
    hangs: bool,
    /// What follows a transaction never ends either.
    stuck: bool,
    poll_every: Option<Duration>,
    fingerprint: u64,
}

#[derive(Clone, Default)]
struct Stage {
    script: Arc<Mutex<Script>>,
    unplugged: Arc<tokio::sync::Notify>,
    /// Something was asked of it.
    asked: Arc<tokio::sync::Notify>,
}

impl Stage {
    fn change(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.script.lock().unwrap());
    }

    fn called(&self, name: &'static str) {
        self.change(|script| script.calls.push(name));
        self.asked.notify_one();
    }

    /// Returns once this was asked of it since the calls were last taken.
    async fn is_asked(&self, name: &'static str) {
        let asked = async {
            while !self.script.lock().unwrap().calls.contains(&name) {
                self.asked.notified().await;
            }
        };
        assert!(tokio::time::timeout(Duration::from_secs(600), asked).await.is_ok(), "{name} was not asked for");
    }

    fn calls(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.script.lock().unwrap().calls)
    }

    async fn unless_stuck(&self) {
        if self.script.lock().unwrap().stuck {
            std::future::pending::<()>().await;
        }
    }

    async fn reading(&self) -> Result<Vec<Sample>, DriverError> {
        if self.script.lock().unwrap().hangs {
            std::future::pending::<()>().await;
        }
        let value = self.script.lock().unwrap().readings.pop_front().unwrap_or(Ok(1.5))?;
        Ok(vec![Sample {
            device: id(),
            metric: MetricName::new("voltage").unwrap(),
            value: Value::Float(value),
            unit: Unit::Volt,
            quality: Quality::Good,
            attempt: None,
            round_trip_us: None,
        }])
    }
}

impl Opener for Stage {
    type Driver = Actor;

    async fn open(&mut self) -> Result<Actor, OpenError> {
        self.script.lock().unwrap().opens.pop_front().unwrap_or(Ok(()))?;
        self.called("open");
        Ok(Actor { stage: self.clone(), due: None })
    }

    fn fingerprint(&self) -> Option<u64> {
        Some(self.script.lock().unwrap().fingerprint)
    }

    fn settle(&self) -> Duration {
        Duration::ZERO
    }

    fn reopen_after_silences(&self) -> Option<u32> {
        None
    }
}

struct Actor {
    stage: Stage,
    due: Option<Instant>,
}

impl Driver for Actor {
    async fn identify(&mut self) -> Result<Identity, DriverError> {
        self.stage.called("identify");
        let (identity, every) = {
            let mut script = self.stage.script.lock().unwrap();
            (script.identities.pop_front().unwrap_or(Ok(())), script.poll_every)
        };
        identity?;
        self.due = every.map(|every| Instant::now() + every);
        Ok(Identity { model: "scripted".into(), ..Identity::default() })
    }

    fn next_due(&self) -> Option<std::time::Instant> {
        self.due.map(Instant::into_std)
    }

    async fn poll(&mut self) -> Result<Vec<Sample>, DriverError> {
        self.stage.called("poll");
        let every = self.stage.script.lock().unwrap().poll_every;
        self.due = every.map(|every| Instant::now() + every);
        self.stage.reading().await
    }

    fn polled(&self) -> Option<&str> {
        Some("volts")
    }

    fn forget_reported(&mut self) {
        self.stage.called("forget");
    }

    async fn read(&mut self, _reading: &str) -> Result<Vec<Sample>, DriverError> {
        self.stage.called("read");
        self.stage.reading().await
    }

    async fn perform(&mut self, _action: &str, _with: &[(String, Value)]) -> Result<Fields, DriverError> {
        self.stage.called("perform");
        self.stage.reading().await.map(|_| Vec::new())
    }

    async fn make_safe(&mut self) -> SafeOutcome {
        self.stage.called("make_safe");
        self.stage.unless_stuck().await;
        SafeOutcome::Verified
    }

    async fn release(&mut self) {
        self.stage.called("release");
        self.stage.unless_stuck().await;
    }

    async fn drain_errors(&mut self) -> Result<Vec<(String, String)>, DriverError> {
        self.stage.unless_stuck().await;
        Ok(vec![("-222".into(), "data out of range".into())])
    }

    async fn watch(&mut self) -> DriverError {
        self.stage.unplugged.notified().await;
        DriverError::Disconnected("read returned nothing".into())
    }
}

fn id() -> DeviceId {
    DeviceId::new("psu-1").unwrap()
}

struct Bench {
    stage: Stage,
    entries: mpsc::Receiver<Entry>,
    orders: mpsc::Sender<Order>,
    hub: watch::Sender<HubLink>,
    shutdown: CancellationToken,
    tasks: JoinSet<anyhow::Result<()>>,
}

fn bench(prepare: impl FnOnce(&mut Script), safe: SafePolicy) -> Bench {
    let stage = Stage::default();
    stage.change(prepare);
    let settings = Settings {
        id: id(),
        kind: rigwire_shared::agent::DeviceKind::Instrument,
        class: "psu".into(),
        profile: "test".into(),
        tags: Vec::new(),
        location: "/dev/x".into(),
        readings: vec![ReadingCard {
            id: "volts".into(),
            metrics: vec![MetricName::new("voltage").unwrap()],
            unit: Unit::Volt,
            interval_ms: 0,
        }],
        actions: vec![ActionCard { id: "set".into(), about: String::new(), hazard: None, parameters: Vec::new() }],
        errors_every: None,
        safe,
    };
    let (events, entries) = events::channel();
    let (orders, receiver) = mpsc::channel(32);
    let link = HubLink { connected: true, since: Instant::now(), time: None };
    let (hub, hub_watch) = watch::channel(link);
    let shutdown = CancellationToken::new();
    let board = Board::new(rigwire_shared::ids::Epoch(1), vec![settings.card()]);
    let mut tasks = JoinSet::new();
    tasks.spawn(run(DeviceTask {
        settings,
        opener: stage.clone(),
        events,
        board,
        orders: receiver,
        hub: hub_watch,
        shutdown: shutdown.clone(),
    }));
    Bench { stage, entries, orders, hub, shutdown, tasks }
}

impl Bench {
    async fn event(&mut self) -> EventBody {
        let wait = tokio::time::timeout(Duration::from_secs(600), self.entries.recv());
        let entry = wait.await.expect("an event within ten minutes").expect("the device task runs");
        if let Some(written) = entry.written {
            written.send(()).ok();
        }
        entry.event.body
    }

    /// Skips events until one is of interest.
    async fn until<T>(&mut self, pick: impl Fn(EventBody) -> Option<T>) -> T {
        loop {
            if let Some(found) = pick(self.event().await) {
                return found;
            }
        }
    }

    async fn state(&mut self, wanted: DeviceState) -> String {
        self.until(|body| match body {
            EventBody::Device(change) if change.state == wanted => Some(change.cause),
            _ => None,
        })
        .await
    }

    async fn finished(&mut self) -> StepFinished {
        self.until(|body| if let EventBody::StepFinished(finished) = body { Some(finished) } else { None }).await
    }

    async fn failure(&mut self) -> StepError {
        match self.finished().await.outcome {
            StepOutcome::Failed { error } => error,
            other @ (StepOutcome::Completed { .. } | StepOutcome::Cancelled { .. }) => {
                panic!("{other:?} is no failure")
            }
        }
    }

    async fn safe(&mut self) -> String {
        self.until(|body| if let EventBody::Safe { cause, .. } = body { Some(cause) } else { None }).await
    }

    async fn start(&mut self, attempt: u128, module: &str, with: &[(&str, Value)]) {
        self.start_under(attempt, None, module, with).await;
    }

    async fn start_under(&mut self, attempt: u128, fence: Option<Fence>, module: &str, with: &[(&str, Value)]) {
        let order = StepOrder {
            run: RunId(Uuid::nil()),
            attempt: AttemptId(Uuid::from_u128(attempt)),
            fence,
            module: module.into(),
            with: with.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
            timeout: Duration::from_secs(5),
        };
        self.orders.send(Order::Start(order)).await.unwrap();
    }

    async fn cancel(&mut self, attempt: u128) {
        let (command, attempt) = (command(), AttemptId(Uuid::from_u128(attempt)));
        self.orders.send(Order::Cancel { command, attempt, cause: "user".into() }).await.unwrap();
    }

    async fn stop(mut self) -> Vec<EventBody> {
        self.shutdown.cancel();
        let mut bodies = Vec::new();
        while let Some(entry) = self.entries.recv().await {
            bodies.push(entry.event.body);
        }
        self.tasks.join_next().await.unwrap().unwrap().unwrap();
        bodies
    }
}

fn command() -> CommandId {
    CommandId(Uuid::nil())
}

fn every(duration: &str) -> [(&'static str, Value); 2] {
    [("samples", Value::Int(100)), ("every", Value::Text(duration.into()))]
}

const SAFE: SafePolicy = SafePolicy { on_abort: true, on_shutdown: true, on_lease_lost: true, hub_lost_after: None };

#[tokio::test(start_paused = true)]
async fn an_absent_device_is_told_once_and_comes_online_when_it_appears() {
    let missing = || Err(OpenError::Missing("port /dev/x does not exist".into()));
    let mut bench = bench(|script| script.opens = (0..20).map(|_| missing()).collect(), SafePolicy::default());
    let mut states = Vec::new();
    while states.last() != Some(&DeviceState::Online) {
        let EventBody::Device(change) = bench.event().await else { continue };
        states.push(change.state);
    }
    assert_eq!(states, [DeviceState::Absent, DeviceState::Opening, DeviceState::Identifying, DeviceState::Online]);
    assert_eq!(bench.stage.calls(), ["open", "identify"]);
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_unplug_while_idle_is_seen_at_once_and_the_device_is_identified_again_before_it_is_read() {
    let mut bench = bench(|script| script.poll_every = Some(Duration::from_secs(60)), SafePolicy::default());
    bench.state(DeviceState::Online).await;
    bench.stage.calls();
    let began = Instant::now();
    bench.stage.unplugged.notify_one();
    assert_eq!(bench.state(DeviceState::Gone).await, "read returned nothing");
    assert_eq!(began.elapsed(), Duration::ZERO);
    bench.state(DeviceState::Online).await;
    assert!(began.elapsed() <= Duration::from_millis(500), "{:?}", began.elapsed());
    bench.until(|body| matches!(body, EventBody::Sample(_)).then_some(())).await;
    assert_eq!(bench.stage.calls(), ["open", "identify", "poll"]);
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_wrong_device_is_tried_again_as_soon_as_it_is_replaced() {
    let wrong = || Err(DriverError::WrongDevice("it says PRINTER".into()));
    let mut bench = bench(|script| script.identities = [wrong(), wrong()].into(), SafePolicy::default());
    assert_eq!(bench.state(DeviceState::Error).await, "it says PRINTER");
    bench.stage.calls();
    tokio::time::sleep(Duration::from_secs(15)).await;
    assert_eq!(bench.stage.calls(), ["open", "identify"], "the same one is asked rarely");
    assert!(bench.entries.try_recv().is_err(), "and that is no news");
    bench.stage.change(|script| script.fingerprint += 1);
    let replaced = Instant::now();
    bench.state(DeviceState::Online).await;
    assert!(replaced.elapsed() <= Duration::from_secs(1), "{:?}", replaced.elapsed());
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_silent_device_stays_open_and_is_asked_again() {
    let silent = || Err(DriverError::Silent("no answer to *IDN?".into()));
    let mut bench = bench(|script| script.identities = (0..5).map(|_| silent()).collect(), SafePolicy::default());
    let mut causes = Vec::new();
    loop {
        let EventBody::Device(change) = bench.event().await else { continue };
        causes.push(change.cause);
        if change.state == DeviceState::Online {
            break;
        }
    }
    assert_eq!(causes, ["opened", "asking what it is", "no answer to *IDN?", "identified"]);
    assert_eq!(bench.stage.calls().iter().filter(|call| **call == "open").count(), 1);
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_reading_step_is_recorded_before_the_device_is_touched_and_ends_with_its_outputs() {
    let mut bench = bench(|script| script.readings = [Ok(1.0), Ok(3.0)].into(), SafePolicy::default());
    bench.state(DeviceState::Online).await;
    bench.stage.calls();
    bench.start(1, step::READ, &[("samples", Value::Int(2)), ("every", Value::Text("100ms".into()))]).await;
    let entry = bench.entries.recv().await.unwrap();
    assert!(matches!(entry.event.body, EventBody::StepStarted { .. }));
    assert!(bench.stage.calls().is_empty(), "nothing before it is recorded");
    entry.written.unwrap().send(()).unwrap();
    let began = Instant::now();
    let mut attempts = Vec::new();
    let finished = loop {
        match bench.event().await {
            EventBody::Sample(sample) => attempts.push(sample.attempt),
            EventBody::StepFinished(finished) => break finished,
            _ => {}
        }
    };
    assert_eq!(began.elapsed(), Duration::from_millis(100));
    assert_eq!(attempts, [Some(finished.attempt), Some(finished.attempt)]);
    let StepOutcome::Completed { outputs } = finished.outcome else { panic!("{:?}", finished.outcome) };
    assert_eq!(outputs[0].1.get("mean"), Some(&Value::Float(2.0)));
    assert_eq!(bench.state(DeviceState::Online).await, "idle");
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_busy_device_refuses_a_second_step_and_goes_on_with_the_first() {
    let mut bench = bench(|_| {}, SafePolicy::default());
    bench.state(DeviceState::Online).await;
    bench.start(1, step::READ, &[("samples", Value::Int(4)), ("every", Value::Text("1s".into()))]).await;
    bench.state(DeviceState::Busy).await;
    bench.start(2, step::READ, &[]).await;
    let refused = bench.finished().await;
    let StepOutcome::Failed { error } = refused.outcome else { panic!("not refused") };
    assert_eq!((refused.attempt.0.as_u128(), error.code.as_str()), (2, "DEVICE_BUSY"));
    assert_eq!(error.message, "device psu-1 is busy with instrument.read");
    assert_eq!(bench.finished().await.attempt.0.as_u128(), 1);
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_step_leaves_the_device_safe() {
    for hangs in [false, true] {
        let mut bench = bench(|script| script.hangs = hangs, SAFE);
        bench.state(DeviceState::Online).await;
        bench.start(1, step::READ, &every("1s")).await;
        bench.state(DeviceState::Busy).await;
        bench.stage.is_asked("read").await;
        let began = Instant::now();
        bench.cancel(1).await;
        assert_eq!(bench.safe().await, "step cancelled: user");
        let outcome = bench.finished().await.outcome;
        assert_eq!(outcome, StepOutcome::Cancelled { safe: Some(SafeOutcome::Verified) });
        assert_eq!(began.elapsed(), Duration::ZERO, "a transaction under way does not delay it");
        bench.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_unplug_during_a_step_fails_it_with_the_cause() {
    let mut bench = bench(|_| {}, SAFE);
    bench.state(DeviceState::Online).await;
    bench.start(1, step::READ, &every("1s")).await;
    bench.state(DeviceState::Busy).await;
    bench.stage.unplugged.notify_one();
    assert_eq!(bench.state(DeviceState::Gone).await, "read returned nothing", "the cause comes before the step's end");
    let error = bench.failure().await;
    assert_eq!(error.code, "DEVICE_DISCONNECTED");
    assert_eq!(error.message, "device psu-1 disconnected during instrument.read: read returned nothing");
    bench.state(DeviceState::Online).await;
    bench.stage.change(|script| script.readings = [Err(DriverError::Disconnected("EIO".into()))].into());
    bench.start(2, step::ACTION, &[("action", Value::Text("set".into()))]).await;
    assert_eq!(bench.failure().await.message, "device psu-1 disconnected during instrument.action: EIO");
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_step_ends_with_its_timeout_even_when_the_device_hangs() {
    let mut bench = bench(|script| script.hangs = true, SAFE);
    bench.state(DeviceState::Online).await;
    bench.start(1, step::READ, &[]).await;
    bench.state(DeviceState::Busy).await;
    let began = Instant::now();
    let error = bench.failure().await;
    assert_eq!((error.code.as_str(), began.elapsed()), ("MODULE_TIMEOUT", Duration::from_secs(5)));
    assert!(bench.stage.calls().contains(&"make_safe"));
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_action_reports_what_the_instrument_has_to_say() {
    let refused = Err(DriverError::Refused("read back 2 V after 3 V was set".into()));
    let mut bench = bench(|script| script.readings = [refused].into(), SafePolicy::default());
    bench.state(DeviceState::Online).await;
    bench.start(1, step::ACTION, &[("action", Value::Text("set".into()))]).await;
    let code =
        bench.until(|body| if let EventBody::InstrumentError { code, .. } = body { Some(code) } else { None }).await;
    let error = bench.failure().await;
    assert_eq!((code.as_str(), error.code.as_str()), ("-222", "MODULE_EXECUTION_ERROR"));
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn three_silences_make_the_values_stale_once_and_an_answer_ends_it() {
    let silent = || Err(DriverError::Silent("no answer within 1s".into()));
    let prepare = |script: &mut Script| {
        script.poll_every = Some(Duration::from_millis(100));
        script.readings = (0..6).map(|_| silent()).collect();
    };
    let mut bench = bench(prepare, SafePolicy::default());
    bench.state(DeviceState::Online).await;
    let mut stale = 0;
    let cause = loop {
        match bench.event().await {
            EventBody::Sample(sample) if sample.quality == Quality::Stale => {
                assert_eq!(sample.value, Value::Null);
                stale += 1;
            }
            EventBody::Device(change) => break (change.state, change.cause),
            other => panic!("{other:?} before the silence was told"),
        }
    };
    assert_eq!(cause, (DeviceState::Online, "no answer 3 times: no answer within 1s".to_owned()));
    let began = Instant::now();
    assert_eq!(bench.state(DeviceState::Online).await, "answers again");
    assert!(began.elapsed() >= Duration::from_secs(7), "asked ever less often: {:?}", began.elapsed());
    let good = bench.until(|body| if let EventBody::Sample(sample) = body { Some(sample.quality) } else { None }).await;
    assert_eq!((stale, good), (1, Quality::Good));
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_loss_of_the_hub_makes_safe_once_each_time() {
    let policy = SafePolicy { hub_lost_after: Some(Duration::from_secs(30)), ..SafePolicy::default() };
    let mut bench = bench(|_| {}, policy);
    bench.state(DeviceState::Online).await;
    for _ in 0..2 {
        let lost = Instant::now();
        bench.hub.send_modify(|link| (link.connected, link.since) = (false, lost));
        assert_eq!(bench.safe().await, "no connection to the hub for 30s");
        assert_eq!(lost.elapsed(), Duration::from_secs(30));
        tokio::time::sleep(Duration::from_secs(300)).await;
        assert_eq!(bench.stage.calls().iter().filter(|call| **call == "make_safe").count(), 1);
        bench.hub.send_modify(|link| (link.connected, link.since) = (true, Instant::now()));
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_expired_lease_ends_the_step_and_makes_safe() {
    let mut bench = bench(|_| {}, SAFE);
    bench.state(DeviceState::Online).await;
    let grant = |until| Order::Grant { command: command(), fence: Fence(4), until, holder: "run 7".into() };
    bench.orders.send(grant(Timestamp(i64::MAX))).await.unwrap();
    bench.start_under(1, Some(Fence(4)), step::READ, &every("1s")).await;
    bench.state(DeviceState::Busy).await;
    bench.start_under(2, Some(Fence(3)), step::READ, &[]).await;
    let error = bench.failure().await;
    assert_eq!((error.code.as_str(), error.message.as_str()), ("LEASE_LOST", "fencing number 3 was overtaken by 4"));
    bench.orders.send(grant(Timestamp(0))).await.unwrap();
    assert_eq!(bench.safe().await, "the lease of run 7 expired");
    let error = bench.failure().await;
    assert_eq!((error.code.as_str(), error.message.as_str()), ("LEASE_LOST", "the lease of run 7 expired"));
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_absent_device_answers_every_order() {
    let missing = || Err(OpenError::Missing("port /dev/x does not exist".into()));
    let mut bench = bench(|script| script.opens = (0..20).map(|_| missing()).collect(), SAFE);
    bench.state(DeviceState::Absent).await;
    bench.start(1, step::READ, &[]).await;
    let error = bench.failure().await;
    assert_eq!(error.code, "DEVICE_NOT_ONLINE");
    assert_eq!(error.message, "device psu-1 is absent: port /dev/x does not exist");
    bench.orders.send(Order::MakeSafe { command: command(), cause: "user".into() }).await.unwrap();
    let outcome =
        bench.until(|body| if let EventBody::Safe { outcome, .. } = body { Some(outcome) } else { None }).await;
    assert!(matches!(outcome, SafeOutcome::Unreachable { .. }));
    let answer = bench
        .until(|body| if let EventBody::CommandAnswered { answer, .. } = body { Some(answer) } else { None })
        .await;
    assert!(matches!(answer, Answer::Refused { .. }));
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_cancels_the_step_makes_safe_and_hands_the_panel_back() {
    for hangs in [false, true] {
        let mut bench = bench(|script| script.hangs = hangs, SAFE);
        bench.state(DeviceState::Online).await;
        bench.start(1, step::READ, &every("1s")).await;
        bench.state(DeviceState::Busy).await;
        bench.stage.is_asked("read").await;
        let (stage, began) = (bench.stage.clone(), Instant::now());
        let bodies = bench.stop().await;
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
        assert!(stage.calls().ends_with(&["make_safe", "release"]));
        let last = bodies.iter().rev().find_map(|body| match body {
            EventBody::StepFinished(finished) => Some(finished.outcome.clone()),
            _ => None,
        });
        assert_eq!(last, Some(StepOutcome::Cancelled { safe: Some(SafeOutcome::Verified) }));
    }
}
