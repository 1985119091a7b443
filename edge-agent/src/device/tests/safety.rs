//! Values that are not to be believed, and a device that should be safe and cannot be reached.

use super::*;

fn qualities(bodies: &[EventBody]) -> Vec<Quality> {
    let quality = |body: &EventBody| if let EventBody::Sample(sample) = body { Some(sample.quality) } else { None };
    bodies.iter().filter_map(quality).collect()
}

#[tokio::test(start_paused = true)]
async fn a_reading_that_cannot_be_understood_has_no_value_and_is_told_about_once_a_minute() {
    let garbled = || Err(DriverError::Garbled("reply \"?\" is no number".into()));
    let readings = [Ok(1.0), garbled(), Ok(1.0), garbled(), garbled(), Ok(1.0)];
    let prepare = |script: &mut Script| {
        script.poll_every = Some(Duration::from_secs(1));
        script.readings = readings.into();
    };
    let mut bench = bench(prepare, SafePolicy::default());
    bench.state(DeviceState::Online).await;
    let mut bodies = Vec::new();
    while qualities(&bodies).len() < 6 {
        bodies.push(bench.event().await);
    }
    bodies.extend(bench.stop().await);
    let (good, none) = (Quality::Good, Quality::NoData);
    assert_eq!(qualities(&bodies), [good, none, good, none, none, good]);
    let logs: Vec<_> = bodies
        .iter()
        .filter_map(|body| if let EventBody::Log(log) = body { Some(log.message.as_str()) } else { None })
        .collect();
    assert_eq!(logs, ["reading volts of psu-1 has no value: reply \"?\" is no number"]);
}

#[tokio::test(start_paused = true)]
async fn what_was_reported_before_a_silence_is_news_again_after_it() {
    let silent = || Err(DriverError::Silent("no answer".into()));
    let prepare = |script: &mut Script| {
        script.poll_every = Some(Duration::from_secs(1));
        script.readings = [Ok(1.0), silent(), silent(), silent()].into();
    };
    let mut bench = bench(prepare, SafePolicy::default());
    bench
        .until(|body| matches!(body, EventBody::Sample(sample) if sample.quality == Quality::Stale).then_some(()))
        .await;
    bench
        .until(|body| matches!(body, EventBody::Sample(sample) if sample.quality == Quality::Good).then_some(()))
        .await;
    assert_eq!(bench.stage.calls().iter().filter(|call| **call == "forget").count(), 1);
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_device_cut_off_during_a_step_is_an_alarm_and_made_safe_as_soon_as_it_is_back() {
    let mut bench = bench(|script| script.poll_every = Some(Duration::from_secs(1)), SAFE);
    bench.state(DeviceState::Online).await;
    bench.start(1, step::READ, &every("10s")).await;
    bench.state(DeviceState::Busy).await;
    bench.stage.calls();
    bench.stage.unplugged.notify_one();
    let outcome = |body| if let EventBody::Safe { cause, outcome, .. } = body { Some((cause, outcome)) } else { None };
    let detail = "read returned nothing".to_owned();
    let cut_off = "instrument.read was cut off".to_owned();
    assert_eq!(bench.until(outcome).await, (cut_off, SafeOutcome::Unreachable { detail }));
    assert_eq!(bench.failure().await.code, "DEVICE_DISCONNECTED");
    let back = "back after: instrument.read was cut off".to_owned();
    assert_eq!(bench.until(outcome).await, (back, SafeOutcome::Verified));
    let calls = bench.stage.calls();
    assert_eq!(calls[calls.len() - 3..], ["open", "identify", "make_safe"]);
    let bodies = bench.stop().await;
    let safe = bodies.iter().filter(|body| matches!(body, EventBody::Safe { .. })).count();
    assert_eq!(safe, 1, "once is enough, and once more when the agent stops");
}

#[tokio::test(start_paused = true)]
async fn an_instrument_that_hangs_does_not_hold_up_the_stop() {
    let prepare = |script: &mut Script| (script.hangs, script.stuck) = (true, true);
    let mut bench = bench(prepare, SAFE);
    bench.state(DeviceState::Online).await;
    bench.start(1, step::ACTION, &[("action", Value::Text("set".into()))]).await;
    bench.state(DeviceState::Busy).await;
    bench.stage.is_asked("perform").await;
    let began = Instant::now();
    let bodies = bench.stop().await;
    assert!(began.elapsed() <= Duration::from_millis(1250), "{:?}", began.elapsed());
    let unreachable =
        |body: &EventBody| matches!(body, EventBody::Safe { outcome: SafeOutcome::Unreachable { .. }, .. });
    assert!(bodies.iter().any(unreachable), "{bodies:?}");
}
