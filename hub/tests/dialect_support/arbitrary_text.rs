//! Whatever a client sends, no session panics, and nonsense is answered by an error at most.

use proptest::prelude::*;
use rigwire::dialect::test_dashboard::session::{Count, Turn};
use rigwire::dialect::{Output, Session, agent_events, device_farm, protocol_runs, solver_runs, test_dashboard};
use rigwire::fanout::Published;
use serde_json::Value;

use super::fixture::{RUN, World};

fn sessions() -> Vec<Box<dyn Session>> {
    vec![
        Box::new(protocol_runs::session::Session::new(RUN.parse())),
        Box::new(device_farm::session::Session::execution(RUN.parse())),
        Box::new(device_farm::session::Session::devices()),
        Box::new(agent_events::session::Session::new()),
        Box::new(solver_runs::session::Session::run(RUN.parse())),
        Box::new(solver_runs::session::Session::optimization(RUN.parse())),
        Box::new(test_dashboard::session::Session::new("client".to_owned(), Turn::new(Count::after(0), 0))),
    ]
}

fn outputs(session: &mut dyn Session) -> Vec<Output> {
    std::iter::from_fn(|| session.next_output()).collect()
}

/// What was sent, each as one JSON value on one line.
fn sent(outputs: &[Output]) -> Vec<Value> {
    let texts = outputs.iter().filter_map(|output| match output {
        Output::Send(text) => Some(text),
        Output::Do(_) | Output::Close { .. } => None,
    });
    texts
        .map(|text| {
            assert!(!text.as_str().contains('\n'), "{:?} is not on one line", text.as_str());
            serde_json::from_str(text.as_str()).unwrap_or_else(|error| panic!("{:?}: {error}", text.as_str()))
        })
        .collect()
}

/// Text that is close to what clients send.
fn nearly_a_message() -> impl Strategy<Value = String> {
    let kind = prop_oneof![
        Just("PING"),
        Just("ping"),
        Just("subscribe"),
        Just("unsubscribe"),
        Just("subscribe_device"),
        Just("unsubscribe_device"),
        Just("start_preview"),
        Just("stop_preview"),
        Just("ack"),
        Just("SUBSCRIBE_EVENTS"),
        Just("UNSUBSCRIBE_EVENTS"),
        Just("DSL_COMMAND"),
        Just("CHAT_MESSAGE"),
        Just("EXECUTE_WORKFLOW"),
        Just("unheard of"),
    ];
    let value = prop_oneof![
        Just("null".to_owned()),
        Just("7".to_owned()),
        Just("[]".to_owned()),
        Just("{}".to_owned()),
        Just(r#""emulator-5554""#.to_owned()),
        Just(r#"["TASK_STARTED"]"#.to_owned()),
        Just(r#"[[1],{"a":-0.0}]"#.to_owned()),
        "\\PC{0,12}".prop_map(|text| serde_json::to_string(&text).unwrap()),
    ];
    let key = prop_oneof![
        Just("device_id"),
        Just("quality"),
        Just("message_id"),
        Just("id"),
        Just("topic"),
        Just("filter"),
        Just("event_types"),
        Just("correlation_id"),
        Just("command"),
        Just("content"),
        Just("nodes"),
        Just("edges"),
        Just("workflow"),
        Just("params"),
    ];
    let fields = prop::collection::vec((key, value), 0..5);
    (kind, fields, any::<bool>()).prop_map(|(kind, fields, in_list)| {
        let fields: Vec<String> = fields.iter().map(|(key, value)| format!("{key:?}:{value}")).collect();
        let fields = fields.join(",");
        let comma = if fields.is_empty() { "" } else { "," };
        let message = format!(r#"{{"type":"{kind}"{comma}{fields},"payload":{{{fields}}}}}"#);
        if in_list { format!("[{message},{message}]") } else { message }
    })
}

proptest! {
    #[test]
    fn nonsense_is_answered_by_an_error_at_most(text in prop_oneof!["\\PC{0,40}", "[\\[\\]{}\",:0-9a-z\\\\]{0,40}"]) {
        let world = World::new();
        for mut session in sessions() {
            session.open(world.now());
            outputs(&mut *session);
            session.handle_text(&text, world.now());
            let outputs = outputs(&mut *session);
            prop_assert!(outputs.len() <= 20, "{} answered {} times", session.dialect().as_str(), outputs.len());
            for message in sent(&outputs) {
                prop_assert_eq!(&message["type"], "error");
            }
        }
    }

    #[test]
    fn what_resembles_messages_never_breaks_a_session(texts in prop::collection::vec(nearly_a_message(), 1..20)) {
        let mut world = World::new();
        for mut session in sessions() {
            session.open(world.now());
            session.handle_view(world.view("run running"), world.now());
            for text in &texts {
                session.handle_text(text, world.now());
                sent(&outputs(&mut *session));
            }
            for line in ["device emulator-5554 online", "frame emulator-5554 2x2", "step read running", "finished completed"] {
                session.handle_event(&Published::new(world.event(line)), world.now());
                sent(&outputs(&mut *session));
            }
            session.handle_timeout(world.now());
            sent(&outputs(&mut *session));
        }
    }
}
