//! The way of an event from a task to the recorder. Knows no disk and no network.

use rigwire_shared::event::{AgentEvent, EventBody, GapCause, Level, Log, Sample};
use rigwire_shared::ids::DeviceId;
use rigwire_shared::time::Timestamp;
use tokio::sync::{mpsc, oneshot};

/// Room for a burst while the disk is slow: about two seconds of a busy bench.
const CAPACITY: usize = 1024;
/// Places that samples leave to events. While the disk refuses, what a device must be told and asked still goes on.
const KEPT_FOR_EVENTS: usize = 256;

/// An event on its way, and who wants to know that it is written.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) event: AgentEvent,
    pub(crate) written: Option<oneshot::Sender<()>>,
}

pub(crate) fn channel() -> (Events, mpsc::Receiver<Entry>) {
    // When full: events wait, samples are dropped and counted, and that somewhat earlier.
    let (sender, receiver) = mpsc::channel(CAPACITY);
    (Events { sender, lost: 0 }, receiver)
}

/// One task's end of the way. A clone counts its own losses.
#[derive(Debug)]
pub(crate) struct Events {
    sender: mpsc::Sender<Entry>,
    lost: u64,
}

impl Clone for Events {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), lost: 0 }
    }
}

impl Events {
    /// Never drops: waits while the channel is full.
    pub(crate) async fn send(&self, body: EventBody) {
        self.pass_on(Entry { event: AgentEvent { at: Timestamp::now(), body }, written: None }).await;
    }

    /// Returns when the event is in the spool. Answers `false` when it will never be.
    pub(crate) async fn record(&self, body: EventBody) -> bool {
        self.send_noted(body).await.await.is_ok()
    }

    /// Like `send`; what is returned answers when the event is in the spool, and fails when it will never be.
    pub(crate) async fn send_noted(&self, body: EventBody) -> oneshot::Receiver<()> {
        let (written, done) = oneshot::channel();
        self.pass_on(Entry { event: AgentEvent { at: Timestamp::now(), body }, written: Some(written) }).await;
        done
    }

    pub(crate) async fn log(&self, level: Level, device: Option<&DeviceId>, source: &str, message: String) {
        let device = device.cloned();
        let log = Log { level, message, device, run: None, attempt: None, source: source.to_owned() };
        self.send(EventBody::Log(log)).await;
    }

    /// Never waits: a device is read on time even when the disk is not.
    pub(crate) fn samples(&mut self, device: &DeviceId, samples: Vec<Sample>) {
        if self.lost > 0 {
            let body = EventBody::Gap { device: Some(device.clone()), samples: self.lost, cause: GapCause::QueueFull };
            let entry = Entry { event: AgentEvent { at: Timestamp::now(), body }, written: None };
            if self.has_room() && self.sender.try_send(entry).is_ok() {
                self.lost = 0;
            }
        }
        for sample in samples {
            let event = AgentEvent { at: taken_at(&sample), body: EventBody::Sample(sample) };
            if !self.has_room() || self.sender.try_send(Entry { event, written: None }).is_err() {
                self.lost += 1;
            }
        }
    }

    fn has_room(&self) -> bool {
        self.sender.capacity() > KEPT_FOR_EVENTS
    }

    async fn pass_on(&self, entry: Entry) {
        if let Err(unsent) = self.sender.send(entry).await {
            // The recorder outlives every task that has something to say, unless it failed, which ends the agent.
            tracing::debug!(event = ?unsent.0.event, "an event came after the recorder had ended");
        }
    }
}

/// A polled value was measured somewhere between request and reply.
fn taken_at(sample: &Sample) -> Timestamp {
    Timestamp(Timestamp::now().0 - sample.round_trip_us.map_or(0, |microseconds| i64::from(microseconds / 2)))
}

#[cfg(test)]
mod tests {
    use rigwire_shared::ids::MetricName;
    use rigwire_shared::quality::Quality;
    use rigwire_shared::unit::Unit;
    use rigwire_shared::value::Value;

    use super::*;

    fn sample() -> Sample {
        Sample {
            device: DeviceId::new("dmm-1").unwrap(),
            metric: MetricName::new("voltage").unwrap(),
            value: Value::Float(1.0),
            unit: Unit::Volt,
            quality: Quality::Good,
            attempt: None,
            round_trip_us: None,
        }
    }

    #[tokio::test]
    async fn samples_beyond_a_full_channel_are_counted_and_reported_once_there_is_room() {
        let (mut events, mut receiver) = channel();
        let device = DeviceId::new("dmm-1").unwrap();
        events.samples(&device, vec![sample(); CAPACITY - KEPT_FOR_EVENTS + 3]);
        assert_eq!((events.lost, events.sender.capacity()), (3, KEPT_FOR_EVENTS));
        receiver.recv().await.unwrap();
        receiver.recv().await.unwrap();
        events.samples(&device, vec![sample()]);
        assert_eq!(events.lost, 0);
        let mut bodies = Vec::new();
        while let Ok(entry) = receiver.try_recv() {
            bodies.push(entry.event.body);
        }
        let gap = EventBody::Gap { device: Some(device), samples: 3, cause: GapCause::QueueFull };
        assert_eq!(bodies[bodies.len() - 2..], [gap, EventBody::Sample(sample())]);
    }
}
