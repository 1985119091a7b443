//! Queues of watchers: what a slow client loses, what it never loses, and that each event is encoded once.

use std::sync::Arc;

use rigwire::dialect::{Dialect, Interest, RunReference};
use rigwire::event::{
    Event, EventKind, Progress, RunEvent, RunEventBody, RunHeader, RunKind, RunLog, RunStatus, StepCounts,
};
use rigwire::fanout::{Published, Queue, Registry, Taken, Tally};
use rigwire_shared::event::Level;
use rigwire_shared::ids::RunId;
use rigwire_shared::time::Timestamp;
use uuid::Uuid;

fn header() -> Arc<RunHeader> {
    Arc::new(RunHeader {
        id: RunId(Uuid::from_u128(7)),
        number: 7,
        parent: None,
        kind: RunKind::Protocol,
        name: "run".to_owned(),
        workflow: None,
        agent_name: "run".to_owned(),
        params: Vec::new(),
        external: false,
        holder: None,
        created_at: Timestamp(0),
        steps: Vec::new(),
        tests: Vec::new(),
    })
}

fn published(number: u64, body: RunEventBody) -> Arc<Published> {
    let kind = EventKind::Run(RunEvent { run: header(), number, body });
    Published::new(Event { sequence: number, at: Timestamp(0), kind })
}

fn log(number: u64) -> Arc<Published> {
    let log = RunLog {
        level: Level::Info,
        message: "line".to_owned(),
        device: None,
        module: None,
        step: None,
        source: "test".to_owned(),
    };
    published(number, RunEventBody::Log(log))
}

fn progress(number: u64) -> Arc<Published> {
    let progress = Progress {
        percent: 1.0,
        phase: "solving".to_owned(),
        message: String::new(),
        step: None,
        elapsed_s: 0.0,
        counts: StepCounts::default(),
    };
    published(number, RunEventBody::Progress(progress))
}

fn status(number: u64) -> Arc<Published> {
    published(number, RunEventBody::Status { status: RunStatus::Running, step: None, message: None })
}

/// Numbers of what comes out, and how many were lost on the way.
fn drain(queue: &Queue) -> (Vec<u64>, u64) {
    let mut numbers = Vec::new();
    let mut lost = 0;
    while let Taken::Event { published, lost: since } = queue.take() {
        numbers.push(published.event.sequence);
        lost += since;
    }
    (numbers, lost)
}

#[test]
fn only_the_newest_progress_waits() {
    let queue = Queue::default();
    for event in [progress(1), status(2), progress(3), progress(4)] {
        queue.push(&event);
    }
    assert_eq!(drain(&queue), (vec![2, 4], 0));
    assert_eq!(queue.tally().coalesced, 2);
}

#[test]
fn logs_make_room_oldest_first_and_are_counted() {
    let queue = Queue::default();
    queue.push(&status(1));
    for number in 2..=1500 {
        queue.push(&log(number));
    }
    let (numbers, lost) = drain(&queue);
    assert_eq!((numbers.len(), lost), (1000, 500));
    assert_eq!(numbers[..2], [1, 502], "the status stays, the oldest logs go");
    assert_eq!(queue.tally(), Tally { received: 1500, passed: 1000, coalesced: 0, dropped: 500, left: 0 });
}

#[test]
fn what_must_arrive_pushes_logs_out_and_then_ends_the_connection() {
    let queue = Queue::default();
    for number in 1..=1000 {
        queue.push(&log(number));
    }
    for number in 1001..=2000 {
        queue.push(&status(number));
    }
    let (numbers, lost) = drain(&queue);
    assert_eq!((numbers, lost), ((1001..=2000).collect(), 1000));
    for number in 0..=2000 {
        queue.push(&status(number));
    }
    assert!(matches!(queue.take(), Taken::Overflowed));
    // What nobody will be given any more is counted like the rest.
    queue.push(&status(2001));
    assert_eq!(queue.tally(), Tally { received: 4002, passed: 1000, coalesced: 0, dropped: 3002, left: 0 });
    queue.close();
    queue.push(&status(2002));
    assert_eq!(queue.tally().received, 4002);
}

#[test]
fn a_watcher_hears_of_an_event_once_and_only_of_what_it_watches() {
    let mut registry = Registry::default();
    let (one, all, other) = (Arc::new(Queue::default()), Arc::new(Queue::default()), Arc::new(Queue::default()));
    registry.watch(Interest::Run(RunReference::Id(RunId(Uuid::from_u128(7)))), &one);
    registry.watch(Interest::Run(RunReference::Id(RunId(Uuid::from_u128(7)))), &one);
    registry.watch(Interest::Runs, &all);
    registry.watch(Interest::Run(RunReference::Id(RunId(Uuid::from_u128(8)))), &other);
    registry.publish(&status(1));
    assert_eq!(drain(&one).0, [1]);
    assert_eq!(drain(&all).0, [1]);
    assert!(drain(&other).0.is_empty());
    assert_eq!(registry.watchers(), 3);
    drop(one);
    registry.publish(&status(2));
    assert_eq!(registry.watchers(), 2);
}

#[test]
fn runs_that_nobody_watches_any_more_are_forgotten() {
    let mut registry = Registry::default();
    let stays = Arc::new(Queue::default());
    registry.watch(Interest::Runs, &stays);
    for number in 0..10_000 {
        registry.watch(Interest::Run(RunReference::Number(number)), &Arc::new(Queue::default()));
    }
    assert!(registry.interests() <= 512, "{} are kept", registry.interests());
    registry.publish(&status(1));
    assert_eq!(drain(&stays).0, [1]);
}

#[test]
fn an_event_is_encoded_once_per_dialect() {
    let event = log(1);
    for dialect in Dialect::ALL {
        let first = event.rendered(dialect);
        let again = event.rendered(dialect);
        assert!(std::ptr::eq(first, again), "{} was encoded twice", dialect.as_str());
    }
}
