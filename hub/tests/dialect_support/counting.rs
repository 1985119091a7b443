//! The count of test_dashboard: a number is skipped exactly where something was lost that this client wanted, whatever it
//! subscribed to, however slow it was and however often it came and went.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use rigwire::continuity::Kept as _;
use rigwire::dialect::test_dashboard::session::{Count, Session, Turn};
use rigwire::dialect::{Dialect, Interest, Output, Request, Session as _};
use rigwire::fanout::{Published, Queue, Registry, Taken};
use serde_json::Value;

use super::fixture::World;

/// A client with its socket, or its absence, as the hub keeps it; without a hub.
struct Client {
    world: World,
    registry: Registry,
    count: Arc<Count>,
    queue: Arc<Queue>,
    session: Option<Session>,
    /// Texts of data messages that were sent, in order.
    got: Vec<Value>,
}

impl Client {
    fn new() -> Self {
        let mut client = Self {
            world: World::new(),
            registry: Registry::default(),
            count: Count::after(0),
            queue: Arc::default(),
            session: None,
            got: Vec::new(),
        };
        client.queue.ask_of_losses(Arc::clone(&client.count) as _);
        client.come();
        client
    }

    /// What its socket was told of comes to another queue from now on.
    fn hand_over(&mut self) -> Arc<Queue> {
        let next = Arc::new(Queue::default());
        next.ask_of_losses(Arc::clone(&self.count) as _);
        self.registry.hand_over(&self.queue, &next);
        std::mem::replace(&mut self.queue, next)
    }

    fn come(&mut self) {
        let turn = self.count.enter();
        let before = self.hand_over();
        self.count.miss(before.absorb());
        let mut session = Session::new("c".to_owned(), Turn::new(Arc::clone(&self.count), turn));
        session.open(self.world.now());
        self.session = Some(session);
        self.carry_out();
    }

    fn leave(&mut self) {
        if self.session.take().is_some() {
            let before = self.hand_over();
            self.count.miss(before.missed());
        }
    }

    fn say(&mut self, kind: &str, topic: &str, filter: &str) {
        let text = format!(r#"{{"type":"{kind}","payload":{{"topic":"{topic}","filter":{filter}}}}}"#);
        let now = self.world.now();
        if let Some(session) = &mut self.session {
            session.handle_text(&text, now);
        }
        self.carry_out();
    }

    fn happen(&mut self, line: &str) {
        let event = Published::new(self.world.event(line));
        self.registry.publish(&event);
    }

    /// Takes so many events from its queue; whether it could keep up.
    fn read(&mut self, events: usize) -> bool {
        for _ in 0..events {
            let Some(session) = &mut self.session else { return true };
            match self.queue.take() {
                Taken::Event { published, lost } => {
                    if lost > 0 {
                        session.note_lost(lost);
                    }
                    session.handle_event(&published, self.world.now());
                }
                Taken::Nothing => return true,
                Taken::Overflowed => return false,
            }
            self.carry_out();
        }
        true
    }

    fn wait(&mut self, time: Duration) {
        let now = self.world.now().instant + time;
        self.world.advance_to(now);
        if let Some(session) = &mut self.session {
            session.handle_timeout(self.world.now());
        }
        self.carry_out();
    }

    fn carry_out(&mut self) {
        let Some(session) = &mut self.session else { return };
        while let Some(output) = session.next_output() {
            match output {
                Output::Send(text) => {
                    let message: Value = serde_json::from_str(text.as_str()).unwrap();
                    if !message["sequence"].is_null() {
                        self.got.push(message);
                    }
                }
                Output::Do(Request::Watch(interest)) => self.registry.watch(interest, &self.queue),
                Output::Do(Request::Unwatch(interest)) => self.registry.unwatch(&interest, &self.queue),
                Output::Do(request) => panic!("{request:?}"),
                Output::Close { code, reason } => panic!("{code} {reason}"),
            }
        }
    }

    fn numbers(&self) -> Vec<u64> {
        self.got.iter().map(|message| message["sequence"].as_u64().unwrap()).collect()
    }
}

/// How many messages of these events a client with these topics wants, by the words alone.
fn wanted(world: &mut World, topics: &[&str], lines: &[&str]) -> u64 {
    let mut count = 0;
    for line in lines {
        for message in Dialect::TestDashboard.render(&world.event(line)) {
            let topic: &str = &message.topic;
            let matches =
                |asked: &&str| *asked == topic || asked.strip_suffix('*').is_some_and(|start| topic.starts_with(start));
            count += u64::from(topics.iter().any(matches));
        }
    }
    count
}

#[test]
fn an_event_that_the_client_did_not_want_is_lost_without_a_gap() {
    for (topic, filter, lost) in [
        ("suite:progress", "{}", 0),
        ("logs", r#"{"level":"error"}"#, 0),
        ("logs", "{}", 1),
        ("*", r#"{"level":"info"}"#, 1),
    ] {
        let mut client = Client::new();
        client.say("subscribe", topic, filter);
        client.say("subscribe", "suite:completed", "{}");
        for _ in 0..1000 {
            client.happen("log info - - one of those that wait");
        }
        client.happen("log error - - one past the limit: the oldest, an info, makes room");
        client.happen("finished completed");
        assert!(client.read(2000));
        let numbers = client.numbers();
        let owed = client.got.len() as u64 + 2 * lost;
        assert_eq!(numbers.last(), Some(&owed), "{topic} {filter}");
        assert!(numbers.is_sorted_by(|one, next| one < next));
    }
}

#[test]
fn what_happened_while_it_was_away_has_had_its_numbers() {
    let mut client = Client::new();
    client.say("subscribe", "test:*", "{}");
    client.happen("step read completed 1");
    client.read(10);
    assert_eq!(client.numbers(), [1]);
    client.happen("step read running");
    client.leave();
    client.happen("step read completed 2");
    client.happen("log info - - not wanted");
    client.come();
    client.happen("step read completed 3");
    client.say("subscribe", "test:*", "{}");
    client.happen("step read completed 4");
    client.read(10);
    // On its way when it left; while it was away. The third waited for it in its new queue, and was there when it asked again.
    assert_eq!(client.numbers(), [1, 4, 5]);
    client.leave();
    client.come();
    client.happen("step read completed 5");
    client.read(10);
    client.say("subscribe", "test:*", "{}");
    client.happen("step read completed 6");
    client.read(10);
    assert_eq!(client.numbers()[3..], [7], "missed between the socket and the subscription");
}

#[test]
fn what_is_not_asked_for_again_is_given_up() {
    let mut client = Client::new();
    client.say("subscribe", "logs", "{}");
    client.say("subscribe", "suite:*", "{}");
    client.leave();
    client.come();
    client.say("subscribe", "suite:*", "{}");
    client.happen("log info - - still expected");
    client.happen("finished completed");
    client.read(10);
    assert_eq!(client.numbers(), [2]);
    client.wait(Duration::from_secs(5));
    client.happen("log info - - given up");
    client.happen("finished completed");
    client.read(10);
    assert_eq!(client.numbers(), [2, 3]);
    client.leave();
    client.happen("log info - - given up");
    client.come();
    client.say("unsubscribe", "suite:*", "{}");
    client.say("subscribe", "delta", "{}");
    client.happen("finished completed");
    client.read(10);
    assert_eq!(client.numbers(), [2, 3, 4]);
}

#[test]
fn of_two_sockets_with_one_name_the_last_wins_in_silence() {
    let mut client = Client::new();
    client.say("subscribe", "logs", "{}");
    client.happen("log info - - one");
    client.read(10);
    let mut first = client.session.take().unwrap();
    let now = client.world.now();
    client.come();
    client.say("subscribe", "logs", "{}");
    let event = Published::new(client.world.event("log info - - two"));
    first.handle_event(&event, now);
    let outputs: Vec<Output> = std::iter::from_fn(|| first.next_output()).collect();
    assert_eq!(outputs, [Output::Do(Request::Unwatch(Interest::Runs))]);
    client.happen("log info - - two");
    client.read(10);
    assert_eq!(client.numbers(), [1, 2]);
    first.handle_text(r#"{"type":"subscribe","payload":{"topic":"delta"}}"#, now);
    let outputs: Vec<Output> = std::iter::from_fn(|| first.next_output()).collect();
    assert!(matches!(outputs[..], [Output::Send(_)]), "answered, and told of nothing: {outputs:?}");
    client.happen("log info - - three");
    client.read(10);
    assert_eq!(client.numbers(), [1, 2, 3]);
}

const LINES: [&str; 6] = [
    "log info - - a line",
    "log error - - a bad line",
    "step read running",
    "step read completed 12.5",
    r#"{"type":"event","event_type":"llm_request","payload":{},"sequence":1,"duration_ms":null,"test":null}"#,
    "status running",
];

const TOPICS: [&str; 7] = ["logs", "test:*", "test:completed", "events:*", "events:llm_request", "delta", "suite:*"];

#[derive(Debug, Clone)]
enum Act {
    Happen(usize, usize),
    Read(usize),
    Leave,
    Come,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0..LINES.len(), 1..700usize).prop_map(|(line, times)| Act::Happen(line, times)),
        3 => (1..900usize).prop_map(Act::Read),
        1 => Just(Act::Leave),
        1 => Just(Act::Come),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn a_number_is_skipped_exactly_where_something_wanted_was_lost(
        topics in prop::sample::subsequence(TOPICS.to_vec(), 1..4),
        acts in prop::collection::vec(act(), 1..25),
    ) {
        let mut client = Client::new();
        let subscribe = |client: &mut Client| {
            for topic in &topics {
                client.say("subscribe", topic, "{}");
            }
        };
        subscribe(&mut client);
        let mut owed = 0;
        for act in acts {
            match act {
                Act::Happen(line, times) => {
                    for _ in 0..times {
                        client.happen(LINES[line]);
                        owed += wanted(&mut World::new(), &topics, &[LINES[line]]);
                    }
                }
                Act::Read(events) => {
                    if !client.read(events) {
                        client.leave();
                    }
                }
                Act::Leave => client.leave(),
                Act::Come => {
                    client.leave();
                    client.come();
                    subscribe(&mut client);
                }
            }
        }
        // All that was owed has had its number, and the numbers of what came rise.
        client.leave();
        client.come();
        subscribe(&mut client);
        client.happen("finished completed");
        prop_assert!(client.read(10));
        let last = wanted(&mut World::new(), &topics, &["finished completed"]);
        let numbers = client.numbers();
        prop_assert!(numbers.is_sorted_by(|one, next| one < next));
        if last > 0 {
            prop_assert_eq!(*numbers.last().unwrap(), owed + last);
        }
        for message in &client.got {
            if message["type"] == "delta_update" {
                prop_assert_eq!(&message["payload"]["sequence"], &message["sequence"]);
            }
        }
    }
}
