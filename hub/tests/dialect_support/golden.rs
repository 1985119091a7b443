//! Every message of the five protocols, rendered from an event and compared with its golden file.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use expect_test::expect_file;
use rigwire::dialect::test_dashboard::beyond;
use rigwire::dialect::{Dialect, Output};

use super::fixture::{World, suite};
use super::transcript::Hub;

/// Dialect, golden file, event, and which of the event's messages the file holds.
const MESSAGES: &[(Dialect, &str, &str, usize)] = &[
    (Dialect::ProtocolRuns, "status", "status running", 0),
    (Dialect::ProtocolRuns, "progress", "progress 45.5 solving read Reading", 0),
    (Dialect::ProtocolRuns, "log", "log info - - Aspirating 100uL from Source Plate A1", 0),
    (Dialect::ProtocolRuns, "telemetry", "metric temperature 37.0 degC good", 0),
    (Dialect::ProtocolRuns, "telemetry_named_like_a_field", "metric value 37.0 V good", 0),
    (
        Dialect::ProtocolRuns,
        "well_state_update",
        r#"{"type":"wells","wells":{"source_plate":{"liquid_mask":"0x3","volumes":[100.0,50.0]}}}"#,
        0,
    ),
    (Dialect::ProtocolRuns, "complete", "finished completed", 1),
    (Dialect::ProtocolRuns, "error", "finished failed", 1),
    (Dialect::DeviceFarm, "execution_progress", "progress 45.9 solving read Reading", 0),
    (Dialect::DeviceFarm, "device_status", "device emulator-5554 busy", 0),
    (Dialect::DeviceFarm, "step_completed", "step read completed 12.5 screenshots/step_001.png", 0),
    (Dialect::DeviceFarm, "step_completed_without_picture", "step read completed 12.5", 0),
    (
        Dialect::DeviceFarm,
        "step_failed",
        "step read failed 30 ADB_TIMEOUT retry ADB command timed out after 30 seconds",
        0,
    ),
    (Dialect::DeviceFarm, "module_timeout", "step read failed 30 MODULE_TIMEOUT final no end after 30 s", 1),
    (
        Dialect::DeviceFarm,
        "log_entry",
        "log info emulator-5554 read Executing ADB command: adb shell input tap 500 800",
        0,
    ),
    (Dialect::DeviceFarm, "preview_frame", "frame emulator-5554 1080x1920", 0),
    (Dialect::DeviceFarm, "execution_completed", "finished completed", 0),
    (Dialect::DeviceFarm, "error", "lost emulator-5554 unplugged", 0),
    (Dialect::AgentEvents, "workflow_start", "created", 0),
    (Dialect::AgentEvents, "workflow_progress", "progress 45 solving read Reading", 0),
    (Dialect::AgentEvents, "workflow_complete", "finished completed", 0),
    (Dialect::AgentEvents, "workflow_error", "finished failed", 0),
    (Dialect::AgentEvents, "workflow_cancelled", "finished cancelled", 0),
    (Dialect::AgentEvents, "workflow_log", "log warning - read Reading is slow", 0),
    (Dialect::AgentEvents, "node_status_update", "step read running", 0),
    (Dialect::AgentEvents, "tool_result", "step read completed 12.5", 1),
    (Dialect::AgentEvents, "tool_result_failed", "step read failed 30 ADB_TIMEOUT final no answer", 1),
    (Dialect::AgentEvents, "chat_message_of_a_person", "chat 7 user alice - is psu-1 free?", 0),
    (Dialect::AgentEvents, "chat_message_of_the_responder", "chat 8 assistant assistant 7 Yes.", 0),
    (Dialect::AgentEvents, "event_stream", "metric voltage 3.3 V good", 0),
    (Dialect::SolverRuns, "progress", "progress 45 solving read Harmonic response sweep: 9/21 frequencies", 0),
    (Dialect::SolverRuns, "progress_of_optimization", "progress 45 run read Generation 3", 1),
    (Dialect::SolverRuns, "metric_update", "metric natural_frequency_hz 19850.3 Hz good", 0),
    (Dialect::SolverRuns, "completed", "finished completed", 0),
    (Dialect::SolverRuns, "completed_optimization", "finished completed", 1),
    (Dialect::SolverRuns, "error", "finished failed", 0),
    (Dialect::SolverRuns, "cancelled", "finished cancelled", 0),
    (
        Dialect::SolverRuns,
        "optimization_iteration",
        r#"{"type":"iteration","iteration":5,"run":"550e8400-e29b-41d4-a716-446655440009","parameters":{"width_mm":28.5,"height_mm":85.0},"metrics":{"amplitude_uniformity":0.91,"stress_safety_factor":2.5},"feasible":true,"pareto_updated":true}"#,
        0,
    ),
    (Dialect::TestDashboard, "suite_progress", "progress 40 solving read Reading", 0),
    (Dialect::TestDashboard, "suite_completed", "finished completed", 1),
    (Dialect::TestDashboard, "suite_completed_failed", "finished failed", 1),
    (Dialect::TestDashboard, "log_entry", "log info - read Starting test execution", 0),
    (Dialect::TestDashboard, "event", "step read completed 0.1505", 0),
    (
        Dialect::TestDashboard,
        "event_of_a_program",
        r#"{"type":"event","event_type":"tool_call","payload":{"tool":"search","arguments":{"query":"test data"}},"sequence":15,"duration_ms":150.5,"test":"read"}"#,
        0,
    ),
    (Dialect::TestDashboard, "delta_update", "step read completed 12.5", 1),
    (Dialect::TestDashboard, "step_progress", "step read progress 50 Executing step 3 of 6", 0),
    (Dialect::TestDashboard, "step_completed", "step read completed 12.5", 2),
];

/// The same for a run of what a client calls by a name of its own.
const NAMED_MESSAGES: &[(Dialect, &str, &str, usize)] =
    &[(Dialect::AgentEvents, "workflow_start_of_a_named_workflow", "created", 0)];

/// The same for a suite that announced its tests.
const SUITE_MESSAGES: &[(Dialect, &str, &str, usize)] = &[
    (Dialect::TestDashboard, "test_progress", TEST_RUNNING, 0),
    (Dialect::TestDashboard, "test_completed", TEST_COMPLETED, 1),
];

const TEST_RUNNING: &str = r#"{"type":"test","test":"test-001","name":"Login Test","number":456,"status":"running","percent":50.0,"current_run":2,"total_runs":5,"success":null,"score":null,"duration_s":null,"message":"Executing step 3 of 6","error":null}"#;
const TEST_COMPLETED: &str = r#"{"type":"test","test":"test-001","name":"Login Test","number":456,"status":"completed","percent":100.0,"current_run":5,"total_runs":5,"success":true,"score":0.95,"duration_s":12.5,"message":null,"error":null}"#;

/// Dialect, golden file, URL, what the client sends if anything, and which of the answers the file holds.
const ANSWERS: &[(Dialect, &str, &str, Option<&str>, usize)] = &[
    (Dialect::AgentEvents, "chat_message", "socket", None, 0),
    (Dialect::AgentEvents, "pong", "socket", Some(r#"{"type":"PING","payload":{},"id":"ping-123"}"#), 0),
    (Dialect::AgentEvents, "error", "socket", Some("{"), 0),
    (Dialect::SolverRuns, "pong", "run 123", Some(r#"{"type":"ping"}"#), 0),
    (Dialect::TestDashboard, "connected", "client my-client-id", None, 0),
    (
        Dialect::TestDashboard,
        "subscribed",
        "client my-client-id",
        Some(r#"{"type":"subscribe","payload":{"topic":"test:progress","filter":{"suite_execution_id":123}}}"#),
        0,
    ),
    (
        Dialect::TestDashboard,
        "unsubscribed",
        "client my-client-id",
        Some(r#"{"type":"unsubscribe","payload":{"topic":"test:progress"}}"#),
        0,
    ),
    (Dialect::TestDashboard, "pong", "client my-client-id", Some(r#"{"type":"ping","payload":{}}"#), 0),
    (Dialect::TestDashboard, "error", "client my-client-id", Some(r#"{"type":"dance"}"#), 0),
];

#[test]
fn every_message_has_its_published_shape() {
    for (dialect, name, line, index) in MESSAGES {
        check(World::new(), *dialect, name, line, *index);
    }
    for (dialect, name, line, index) in NAMED_MESSAGES {
        let mut world = World::new();
        let named = rigwire::event::RunHeader { workflow: Some("wf-123".to_owned()), ..(*world.run).clone() };
        world.run = Arc::new(named);
        check(world, *dialect, name, line, *index);
    }
    for (dialect, name, line, index) in SUITE_MESSAGES {
        let mut world = World::new();
        world.run = Arc::new(suite());
        check(world, *dialect, name, line, *index);
    }
}

/// Words of test_dashboard beyond its document: golden file, event, and which of the event's messages the file holds.
const BEYOND: &[(&str, &str, usize)] = &[
    ("device_state", "device psu-1 online held", 0),
    ("device_lease", "lease psu-1 granted alice", 0),
    ("device_safe", "safe psu-1 verified step cancelled", 0),
    ("device_interlock", "interlock psu-1 verified over-temperature", 0),
    ("sample", "sample psu-1 voltage 3.3 V good", 0),
    ("sample_without_a_value", "sample psu-1 voltage null V overrange", 0),
    ("run_event", "step read completed 12.5", 0),
    ("alarm_limit", "limit psu-1 voltage active 12.5 12.0", 0),
    ("alarm_limit_over", "limit psu-1 voltage ok 11.5 12.0", 0),
    ("alarm_interlock", "interlock psu-1 verified over-temperature", 1),
    ("alarm_safe_state", "safe psu-1 unreachable step cancelled", 1),
    ("alarm_device_gone", "device psu-1 gone held", 1),
    ("alarm_gap", "gap psu-1 30", 0),
    ("alarm_agent_gone", "agent bench-1 gone", 0),
    ("alarm_agent_gone_over", "agent bench-1 there", 0),
];

#[test]
fn every_word_beyond_the_document_has_its_shape() {
    for (name, line, index) in BEYOND {
        let messages = beyond::render(&World::new().published(line));
        let message = messages.get(*index).unwrap_or_else(|| panic!("{name}: {} messages", messages.len()));
        check_text(Dialect::TestDashboard, name, &numbered(message.text.as_str()));
    }
    for (line, alarms) in [
        ("limit psu-1 voltage pending 12.5 12.0", 0),
        ("limit psu-1 voltage clearing 12.5 12.0", 0),
        ("limit psu-1 voltage stale 12.5 12.0", 1),
        ("device psu-1 gone", 0),
        ("safe psu-1 verified x", 0),
        ("safe psu-1 not-needed x", 0),
        ("safe psu-1 unverified x", 1),
        ("interlock psu-1 refused x", 2),
        ("frame psu-1 2x2", 0),
    ] {
        let messages = beyond::render(&World::new().published(line));
        let found = messages.iter().filter(|message| message.topic.starts_with("alarm:")).count();
        assert_eq!(found, alarms, "{line}");
    }
}

/// The published words stay what the document says, whatever else there is to tell.
#[test]
fn words_beyond_the_document_are_not_among_the_published() {
    for (name, line, _) in BEYOND {
        if *name != "run_event" {
            assert!(Dialect::TestDashboard.render(&World::new().event(line)).is_empty(), "{name}");
        }
    }
}

#[test]
fn every_answer_has_its_published_shape() {
    for (dialect, name, url, text, index) in ANSWERS {
        let world = World::new();
        let mut session = Hub::default().open(*dialect, url);
        session.open(world.now());
        if let Some(text) = text {
            while session.next_output().is_some() {}
            session.handle_text(text, world.now());
        }
        let outputs: Vec<Output> = std::iter::from_fn(|| session.next_output()).collect();
        let Some(Output::Send(answer)) = outputs.get(*index) else { panic!("{name}: {outputs:?}") };
        check_text(*dialect, name, answer.as_str());
    }
}

fn check(mut world: World, dialect: Dialect, name: &str, line: &str, index: usize) {
    let messages = dialect.render(&world.event(line));
    let message = messages.get(index).unwrap_or_else(|| panic!("{name}: {line:?} gives {} messages", messages.len()));
    // The place of a client's own number, which its session fills in.
    check_text(dialect, name, &numbered(message.text.as_str()));
}

fn numbered(text: &str) -> String {
    text.replace('\0', "1").replace('\u{1}', "null")
}

fn check_text(dialect: Dialect, name: &str, text: &str) {
    assert!(!text.contains('\n'), "{name} is not on one line");
    let pretty: serde_json::Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert!(pretty.is_object(), "{name}: {pretty}");
    expect_file![path(dialect).join(format!("{name}.json"))].assert_eq(&format!("{text}\n"));
}

#[test]
fn every_golden_file_is_rendered_by_a_test() {
    for dialect in Dialect::ALL {
        let rendered: BTreeSet<String> = MESSAGES
            .iter()
            .chain(SUITE_MESSAGES)
            .chain(NAMED_MESSAGES)
            .map(|(of, name, ..)| (of, name))
            .chain(ANSWERS.iter().map(|(of, name, ..)| (of, name)))
            .chain(BEYOND.iter().map(|(name, ..)| (&Dialect::TestDashboard, name)))
            .filter(|(of, _)| **of == dialect)
            .map(|(_, name)| format!("{name}.json"))
            .collect();
        assert_eq!(files(&path(dialect), "json"), rendered, "{}", dialect.as_str());
    }
}

#[test]
fn values_that_are_not_good_are_never_sent() {
    for quality in ["overrange", "underrange", "no-data", "fault", "suspect", "stale"] {
        let event = World::new().event(&format!("metric temperature 85.0 degC {quality}"));
        for dialect in Dialect::ALL {
            assert!(dialect.render(&event).is_empty(), "{} sent a value of quality {quality}", dialect.as_str());
        }
    }
}

pub(crate) fn path(dialect: Dialect) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(dialect.as_str())
}

pub(crate) fn files(folder: &Path, extension: &str) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(&format!(".{extension}"))).collect()
}
