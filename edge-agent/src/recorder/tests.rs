//! The recorder between a channel of events and a scripted connection.

use rigwire_shared::event::GapCause;
use rigwire_shared::ids::{Epoch, Position};

use super::*;
use crate::events::{self, Events};

struct Bench {
    directory: tempfile::TempDir,
    events: Option<Events>,
    link: mpsc::Sender<Link>,
    tasks: JoinSet<anyhow::Result<()>>,
}

fn bench() -> Bench {
    let directory = tempfile::tempdir().unwrap();
    let (mut spool, damage) = Spool::open(directory.path(), 1 << 20, Timestamp::from_millis(5)).unwrap();
    begin(&mut spool, "host", &damage).unwrap();
    let (events, receiver) = events::channel();
    let (link, told) = mpsc::channel(4);
    let mut tasks = JoinSet::new();
    tasks.spawn(run(Recorder { spool, events: receiver, link: told }, CancellationToken::new()));
    Bench { directory, events: Some(events), link, tasks }
}

fn log(message: &str) -> EventBody {
    EventBody::Log(Log {
        level: Level::Info,
        message: message.to_owned(),
        device: None,
        run: None,
        attempt: None,
        source: "test".to_owned(),
    })
}

fn bodies(batch: &SpooledBatch) -> Vec<EventBody> {
    let events: Vec<AgentEvent> = postcard::from_bytes(&batch.events).unwrap();
    events.into_iter().map(|event| event.body).collect()
}

#[tokio::test]
async fn an_epoch_begins_with_its_announcement_and_events_follow_in_order() {
    let mut bench = bench();
    let events = bench.events.take().unwrap();
    assert!(events.record(log("one")).await);
    let (sender, mut batches) = mpsc::channel(4);
    bench.link.send(Link::Up(sender)).await.unwrap();
    let first = batches.recv().await.unwrap();
    assert_eq!((first.position, first.previous), (Position { epoch: Epoch(5), number: 1 }, None));
    assert!(matches!(bodies(&first)[..], [EventBody::Started(Started { epoch: Epoch(5), previous: None, .. })]));
    assert_eq!(bodies(&batches.recv().await.unwrap()), [log("one")]);
    events.send(log("two")).await;
    let third = batches.recv().await.unwrap();
    assert_eq!((bodies(&third), third.previous.unwrap().number), (vec![log("two")], 2));
    drop((events, batches));
    assert!(bench.tasks.join_next().await.unwrap().unwrap().is_ok());
}

#[tokio::test]
async fn what_is_not_acknowledged_is_sent_again_on_the_next_connection_and_by_the_next_agent() {
    let mut bench = bench();
    let events = bench.events.take().unwrap();
    events.record(log("one")).await;
    for (acknowledge, expected) in [(Some(1), vec![1, 2]), (None, vec![2])] {
        let (sender, mut batches) = mpsc::channel(4);
        bench.link.send(Link::Up(sender)).await.unwrap();
        for number in expected {
            assert_eq!(batches.recv().await.unwrap().position.number, number);
        }
        if let Some(number) = acknowledge {
            let durable = Some(Position { epoch: Epoch(5), number });
            let ack = Ack { durable, resend: false, hub_time: Timestamp(0) };
            bench.link.send(Link::Acknowledged(ack)).await.unwrap();
        }
        bench.link.send(Link::Down).await.unwrap();
    }
    drop(events);
    assert!(bench.tasks.join_next().await.unwrap().unwrap().is_ok());
    let (mut spool, _) = Spool::open(bench.directory.path(), 1 << 20, Timestamp::from_millis(6)).unwrap();
    let batch = spool.next_unsent(Timestamp(0)).unwrap().unwrap();
    assert_eq!(batch.position, Position { epoch: Epoch(5), number: 2 });
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_refuses_holds_up_neither_the_connection_nor_the_stop() {
    let directory = tempfile::tempdir().unwrap();
    let (mut spool, damage) = Spool::open(directory.path(), 1 << 20, Timestamp::from_millis(5)).unwrap();
    begin(&mut spool, "host", &damage).unwrap();
    spool.break_disk();
    let (events, receiver) = events::channel();
    let (link, told) = mpsc::channel(4);
    let shutdown = CancellationToken::new();
    let mut tasks = JoinSet::new();
    tasks.spawn(run(Recorder { spool, events: receiver, link: told }, shutdown.clone()));
    let mut recording = JoinSet::new();
    let writer = events.clone();
    recording.spawn(async move { writer.record(log("one")).await });
    tokio::task::yield_now().await;
    let (sender, mut batches) = mpsc::channel(4);
    link.send(Link::Up(sender)).await.unwrap();
    let first = tokio::time::timeout(Duration::from_secs(5), batches.recv()).await.unwrap().unwrap();
    assert_eq!(first.position.number, 1);
    drop(events);
    shutdown.cancel();
    assert!(!recording.join_next().await.unwrap().unwrap(), "what is not written is not said to be");
    assert!(tasks.join_next().await.unwrap().unwrap().is_ok());
}

#[tokio::test]
async fn an_acknowledgement_from_the_future_trims_nothing() {
    let mut bench = bench();
    let (sender, mut batches) = mpsc::channel(4);
    bench.link.send(Link::Up(sender)).await.unwrap();
    batches.recv().await.unwrap();
    let durable = Some(Position { epoch: Epoch(900), number: 1 });
    bench.link.send(Link::Acknowledged(Ack { durable, resend: false, hub_time: Timestamp(0) })).await.unwrap();
    let (sender, mut batches) = mpsc::channel(4);
    bench.link.send(Link::Up(sender)).await.unwrap();
    assert_eq!(batches.recv().await.unwrap().position.number, 1);
    bench.events.take();
    drop(batches);
    assert!(bench.tasks.join_next().await.unwrap().unwrap().is_ok());
}

#[test]
fn batches_hold_samples_or_events_and_stay_below_their_limit() {
    let gap = |samples| EventBody::Gap { device: None, samples, cause: GapCause::QueueFull };
    let wire = EventBody::Wire {
        device: rigwire_shared::ids::DeviceId::new("a").unwrap(),
        sent: true,
        bytes: vec![0; 40_000],
    };
    let bodies = [gap(1), wire.clone(), wire.clone(), wire.clone(), wire.clone(), gap(2), gap(3)];
    let events = bodies.into_iter().map(|body| AgentEvent { at: Timestamp(0), body }).collect();
    let packed = pack(events);
    let contents: Vec<_> = packed.iter().map(|(content, _)| *content).collect();
    assert_eq!(contents, [Content::Events, Content::Samples(2), Content::Samples(2), Content::Events]);
    assert!(packed.iter().all(|(_, bytes)| bytes.len() <= BATCH_MAX));
    let huge = EventBody::Wire {
        device: rigwire_shared::ids::DeviceId::new("a").unwrap(),
        sent: true,
        bytes: vec![0; MESSAGE_MAX],
    };
    let packed = pack(vec![AgentEvent { at: Timestamp(0), body: huge }]);
    let events: Vec<AgentEvent> = postcard::from_bytes(&packed[0].1).unwrap();
    assert!(matches!(&events[..], [AgentEvent { body: EventBody::Log(log), .. }] if log.message.contains("too large")));
}
