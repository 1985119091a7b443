//! The chat within the model: numbers, bounds, and questions that end whatever the responder does.

use std::time::Duration;

use rigwire::event::{ChatMessage, ChatRole, EventKind};
use rigwire::model::chat::{Asked, CONTENT_MAX, HISTORY, Question, Restored, Say, WAITING_MAX, Way};
use rigwire::model::{self, Effect, Model, Output, Record};
use rigwire_shared::time::Timestamp;
use uuid::Uuid;

struct Chat {
    model: Model,
    now: Timestamp,
    told: Vec<ChatMessage>,
    kept: Vec<ChatMessage>,
    asked: Vec<u64>,
    questions: Vec<Question>,
}

impl Chat {
    fn new(chat: Restored, way: Way) -> Self {
        let now = Timestamp::from_millis(1_000_000);
        let mut model = Model::new(model::Restored { chat, ..model::Restored::default() }, Box::new(Uuid::nil), now);
        model.set_responder(way, Duration::from_secs(30));
        let (told, kept, asked, questions) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut chat = Self { model, now, told, kept, asked, questions };
        chat.settle();
        chat
    }

    fn settle(&mut self) {
        for output in self.model.take_outputs() {
            match output {
                Output::Event(published) => {
                    let EventKind::Chat(message) = &published.event.kind else { panic!("{published:?}") };
                    assert_eq!(published.event.sequence, 0);
                    self.told.push(message.clone());
                }
                Output::Record(Record::Chat { message, .. }) => self.kept.push(*message),
                Output::Record(Record::ChatAsked(number)) => self.asked.push(number),
                Output::Effect(Effect::Question(question)) => self.questions.push(*question),
                output => panic!("{output:?}"),
            }
        }
    }

    fn say(&mut self, content: &str) -> ChatMessage {
        let (author, content) = ("alice".to_owned(), content.to_owned());
        let correlation_id = Some("c-1".to_owned());
        let said =
            self.model.say(Say { author, role: ChatRole::User, content, correlation_id, answers: None }, self.now);
        self.settle();
        said
    }

    fn ask(&mut self, content: &str, reachable: bool) -> (u64, Asked) {
        let said = self.say(content);
        let asked = self.model.ask_responder(&said, reachable, self.now);
        self.settle();
        (said.number, asked)
    }

    fn answer(&mut self, question: Option<u64>, answer: Result<&str, &str>) -> bool {
        let answer = answer.map(str::to_owned).map_err(str::to_owned);
        let waited = self.model.answer_chat(question, answer, self.now);
        self.settle();
        waited
    }

    fn pass(&mut self, seconds: i64) {
        self.now.0 += seconds * 1_000_000;
        self.model.tick(self.now);
        self.settle();
    }

    fn last(&self) -> (&str, ChatRole, Option<u64>) {
        let last = self.told.last().unwrap();
        (&last.content, last.role, last.answers)
    }
}

#[test]
fn what_is_said_is_told_and_kept_under_numbers_without_holes() {
    let mut chat = Chat::new(Restored { next: 41, ..Restored::default() }, Way::None);
    for (number, content) in [(41, "one"), (42, "two")] {
        assert_eq!(chat.say(content).number, number);
    }
    assert_eq!(chat.told, chat.kept);
    let long = "é".repeat(CONTENT_MAX);
    let said = chat.say(&long);
    assert!(said.content.len() <= CONTENT_MAX && said.content.ends_with("é …"), "{} bytes", said.content.len());
    assert_eq!(chat.model.ask_responder(&said, true, chat.now), Asked::Nobody);
    assert_eq!(chat.model.next_wake(), None);
}

#[test]
fn a_question_goes_out_with_what_was_said_before_and_its_answer_comes_back() {
    let mut chat = Chat::new(Restored::default(), Way::Broker);
    for number in 1..=30 {
        chat.say(&format!("line {number}"));
    }
    let (number, asked) = chat.ask("is it warm?", true);
    assert_eq!((number, asked), (31, Asked::Waits));
    assert_eq!(chat.asked, [31]);
    let question = chat.questions.pop().unwrap();
    assert_eq!((question.id, question.content.as_str(), question.sender.as_str()), (31, "is it warm?", "alice"));
    let history: Vec<u64> = question.history.iter().map(|earlier| earlier.id).collect();
    assert_eq!(history, (31 - HISTORY as u64..=30).collect::<Vec<_>>());
    assert_eq!(question.history[0].content, "line 11");
    assert!(chat.answer(Some(31), Ok("Very.")));
    assert_eq!(chat.last(), ("Very.", ChatRole::Assistant, Some(31)));
    assert_eq!(chat.told.last().unwrap().correlation_id.as_deref(), Some("c-1"));
    assert!(!chat.answer(Some(31), Ok("Really.")), "a question is answered once");
    assert_eq!(chat.told.len(), 32);
}

#[test]
fn a_responder_that_fails_is_a_message() {
    let mut chat = Chat::new(Restored::default(), Way::Broker);
    let (silent, _) = chat.ask("hello?", true);
    let (asked_later, _) = chat.ask("and I?", true);
    // Garbage names no question: it counts for the one that waits longest.
    assert!(chat.answer(None, Err("its answer is not JSON")));
    assert_eq!(chat.last(), ("the responder did not answer: its answer is not JSON", ChatRole::System, Some(silent)));
    chat.pass(29);
    assert_eq!(chat.model.questions_waiting(), 1);
    assert_eq!(chat.model.next_wake(), Some(Timestamp(chat.now.0 + 1_000_000)));
    // A clock that is set is no time that passes.
    chat.now.0 += 3_600_000_000;
    chat.model.clock_set(3_600_000_000, chat.now);
    chat.pass(0);
    assert_eq!(chat.model.questions_waiting(), 1);
    chat.pass(1);
    assert_eq!(
        chat.last(),
        ("the responder did not answer: no answer came within 30s", ChatRole::System, Some(asked_later))
    );
    assert!(!chat.answer(Some(asked_later), Ok("late")));
    assert!(!chat.answer(None, Ok("for nobody")));
    let (_, refused) = chat.ask("anybody?", false);
    assert_eq!(refused, Asked::Refused);
    assert_eq!(chat.last().0, "the responder did not answer: there is no connection to the MQTT broker");
}

#[test]
fn questions_at_once_are_bounded_and_a_restart_ends_them() {
    let mut chat = Chat::new(Restored::default(), Way::Webhook);
    let carried: Vec<u64> = (0..WAITING_MAX)
        .map(|_| match chat.ask("why?", false) {
            (number, Asked::Carry(question)) => {
                assert_eq!(question.id, number);
                number
            }
            other => panic!("{other:?}"),
        })
        .collect();
    let (number, refused) = chat.ask("why?", false);
    assert_eq!((refused, chat.last().2), (Asked::Refused, Some(number)));
    assert!(chat.last().0.contains("8 questions wait for it already"), "{}", chat.last().0);
    assert!(chat.answer(Some(carried[3]), Err("it broke")));
    assert!(matches!(chat.ask("why?", false).1, Asked::Carry(_)));

    let after = Restored { next: 50, recent: Vec::new(), unanswered: carried.clone() };
    let again = Chat::new(after, Way::Webhook);
    let ended: Vec<_> = again.told.iter().map(|message| message.answers).collect();
    assert_eq!(ended, carried.into_iter().map(Some).collect::<Vec<_>>());
    assert_eq!(again.told[0].content, "the responder did not answer: the hub was started anew before an answer came");
}
