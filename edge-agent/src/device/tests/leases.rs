//! Two holders of one device: the older one is stopped and the device made safe before the newer one acts.

use super::*;

const FOR_EVER: Timestamp = Timestamp(i64::MAX);

impl Bench {
    async fn grant(&mut self, fence: u64, holder: &str) {
        let order = Order::Grant { command: command(), fence: Fence(fence), until: FOR_EVER, holder: holder.into() };
        self.orders.send(order).await.unwrap();
    }

    async fn release(&mut self, fence: u64) {
        self.orders.send(Order::Release { command: command(), fence: Fence(fence) }).await.unwrap();
    }

    /// A step under number 4 that reads for a long time.
    async fn busy(&mut self) {
        self.state(DeviceState::Online).await;
        self.grant(4, "run 7").await;
        self.start_under(1, Some(Fence(4)), step::READ, &every("1s")).await;
        self.state(DeviceState::Busy).await;
        self.stage.is_asked("read").await;
        self.stage.calls();
    }

    async fn lease(&mut self) -> (u64, bool, String) {
        self.until(|body| match body {
            EventBody::Lease { fence, held, cause, .. } => Some((fence.0, held, cause)),
            _ => None,
        })
        .await
    }
}

const OVERTAKEN: &str = "run 7 was overtaken under fencing number 5";

#[tokio::test(start_paused = true)]
async fn a_newer_holders_step_stops_the_older_one_and_begins_on_a_safe_device() {
    for hangs in [false, true] {
        let mut bench = bench(|script| script.hangs = hangs, SAFE);
        bench.busy().await;
        bench.stage.change(|script| script.hangs = false);
        let began = Instant::now();
        bench.start_under(2, Some(Fence(5)), step::ACTION, &[("action", Value::Text("set".into()))]).await;
        assert_eq!(bench.safe().await, OVERTAKEN);
        let lost = bench.finished().await;
        let StepOutcome::Failed { error } = lost.outcome else { panic!("{:?}", lost.outcome) };
        assert_eq!((lost.attempt.0.as_u128(), error.code.as_str()), (1, "LEASE_LOST"));
        assert_eq!(error.message, OVERTAKEN);
        assert_eq!(bench.lease().await, (4, false, OVERTAKEN.to_owned()));
        let done = bench.finished().await;
        assert_eq!(done.attempt.0.as_u128(), 2);
        assert!(matches!(done.outcome, StepOutcome::Completed { .. }), "{:?}", done.outcome);
        assert_eq!(began.elapsed(), Duration::ZERO, "a transaction under way does not delay it");
        assert_eq!(bench.stage.calls(), ["make_safe", "perform"]);
        bench.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_grant_stops_the_older_holder_at_once() {
    let mut bench = bench(|_| {}, SAFE);
    bench.busy().await;
    bench.grant(5, "alice").await;
    assert_eq!(bench.safe().await, OVERTAKEN);
    assert_eq!(bench.failure().await.message, OVERTAKEN);
    assert_eq!(bench.lease().await, (4, false, OVERTAKEN.to_owned()));
    assert_eq!(bench.lease().await, (5, true, "granted to alice".to_owned()));
    bench.stage.calls();
    bench.start_under(3, Some(Fence(4)), step::READ, &[]).await;
    assert_eq!(bench.failure().await.message, "fencing number 4 was overtaken by 5");
    assert_eq!(bench.stage.calls(), [""; 0]);
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_lease_given_back_during_a_step_ends_it_and_makes_safe() {
    let mut bench = bench(|_| {}, SAFE);
    bench.busy().await;
    bench.release(4).await;
    assert_eq!(bench.safe().await, "the lease was given back during the step");
    assert_eq!(bench.failure().await.code, "LEASE_LOST");
    assert_eq!(bench.lease().await, (4, false, "released".to_owned()));
    bench.stage.calls();
    bench.release(4).await;
    assert_eq!(bench.lease().await, (4, false, "was not held".to_owned()));
    bench.grant(5, "run 8").await;
    assert_eq!(bench.lease().await, (5, true, "granted to run 8".to_owned()));
    assert_eq!(bench.stage.calls(), [""; 0], "nobody was overtaken");
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_device_whose_holder_was_overtaken_while_it_was_away_is_made_safe_when_it_is_back() {
    let mut bench = bench(|_| {}, SAFE);
    bench.state(DeviceState::Online).await;
    bench.grant(4, "run 7").await;
    bench.lease().await;
    let missing = || Err(OpenError::Missing("port /dev/x does not exist".into()));
    bench.stage.change(|script| script.opens = [missing(), missing()].into());
    bench.stage.unplugged.notify_one();
    bench.state(DeviceState::Gone).await;
    bench.grant(5, "run 8").await;
    assert_eq!(bench.lease().await, (4, false, "run 7 was overtaken".to_owned()));
    assert_eq!(bench.lease().await, (5, true, "granted to run 8".to_owned()));
    assert_eq!(bench.safe().await, "back after: run 7 was overtaken");
    bench.stop().await;
}
