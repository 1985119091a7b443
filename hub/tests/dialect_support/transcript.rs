//! Stories of one client each, replayed through a session. A transcript's lines:
//!
//! ```text
//! limits {"previews":2} numbers that the hub's file sets for this dialect
//! * run 550e8400-…      the socket opens; what its URL says
//! leave                 the client's socket breaks; another may open
//! = run running         the hub answers a watch (see `World::view`)
//! > {"type":"ping"}     the client sends
//! suite                 the run is a suite that announced its tests
//! ! step read running   something happens (see `World::event`); `!100` a hundred times
//! old step read running the same, with a number that the last view included
//! @ +30s                time passes; whatever is due happens on the way
//! lost 3                so many events were dropped on the way to this client
//! < {"type":"pong"}     the session sends (expected; `x3` at the end: three times)
//! ~ Watch(Runs)   the session asks the hub (expected)
//! | 1000 reason         the session closes (expected)
//! ```

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use expect_test::expect_file;
use rigwire::access::Client;
use rigwire::dialect::test_dashboard::session::{Count, Turn};
use rigwire::dialect::{
    Dialect, Limits, Output, Session, Visits, agent_events, device_farm, protocol_runs, solver_runs, test_dashboard,
};
use rigwire::fanout::Published;

use super::fixture::{World, suite};
use super::golden::{files, path};

#[test]
fn every_story_is_told_as_written() {
    for dialect in Dialect::ALL {
        for name in files(&path(dialect), "transcript") {
            let file = path(dialect).join(&name);
            let text = std::fs::read_to_string(&file).unwrap();
            expect_file![file].assert_eq(&replay(dialect, &text));
        }
    }
}

/// Stories that a dialect must have; a story that cannot happen in it is left out by name.
#[test]
fn every_dialect_has_its_stories() {
    let needed = ["completed", "failed_with_retry", "cancelled", "late_join", "malformed"];
    for dialect in Dialect::ALL {
        let found = files(&path(dialect), "transcript");
        for story in needed {
            assert!(found.contains(&format!("{story}.transcript")), "{} has no story {story}", dialect.as_str());
        }
        let follows_one_run = match dialect {
            Dialect::ProtocolRuns | Dialect::DeviceFarm | Dialect::SolverRuns => true,
            Dialect::AgentEvents | Dialect::TestDashboard => false,
        };
        assert_eq!(found.contains("unknown_id.transcript"), follows_one_run, "{}", dialect.as_str());
    }
}

/// The transcript with the session's side of it as it really is.
fn replay(dialect: Dialect, text: &str) -> String {
    let mut world = World::new();
    let mut hub = Hub::default();
    let mut session: Option<Box<dyn Session>> = None;
    let mut told = String::new();
    let mut closed = false;
    for line in text.lines() {
        let (mark, rest) = line.split_once(' ').unwrap_or((line, ""));
        if matches!(mark, "<" | "~" | "|") {
            continue;
        }
        writeln!(told, "{line}").unwrap();
        if matches!(mark, "" | "#") {
            continue;
        }
        assert!(!closed || mark == "leave", "{}: {line:?} comes after the close", dialect.as_str());
        match (mark, &mut session) {
            ("limits", None) => hub.set_limits(dialect, rest),
            ("*", None) => {
                let opened = session.insert(hub.open(dialect, rest));
                opened.open(world.now());
                closed = drain(&mut **opened, &mut told);
            }
            ("leave", Some(left)) => {
                left.leave(world.now());
                session = None;
            }
            ("@", None) => world.advance_to(world.now().instant + duration(rest)),
            (_, None) => panic!("{line:?} needs a socket: expected * before it"),
            (_, Some(session)) => {
                let mut outputs = Vec::new();
                play(&mut **session, &mut world, mark, rest, &mut outputs);
                closed = write_outputs(&outputs, &mut told);
            }
        }
    }
    told
}

/// What clients of one hub find there.
#[derive(Default)]
pub(crate) struct Hub {
    limits: Limits,
    visits: Arc<Visits>,
}

impl Hub {
    fn set_limits(&mut self, dialect: Dialect, json: &str) {
        let table = format!(r#"{{"{}":{json}}}"#, dialect.as_str().replace('_', "-"));
        self.limits = serde_json::from_str(&table).unwrap_or_else(|error| panic!("{table}: {error}"));
    }

    /// The session that a URL of the dialect leads to.
    pub(crate) fn open(&self, dialect: Dialect, url: &str) -> Box<dyn Session> {
        let (kind, rest) = url.split_once(' ').unwrap_or((url, ""));
        match (dialect, kind) {
            (Dialect::ProtocolRuns, "run") => Box::new(protocol_runs::session::Session::new(rest.parse())),
            (Dialect::DeviceFarm, "execution") => {
                let client = Client::Address([127, 0, 0, 1].into());
                let session = device_farm::session::Session::with_limits(Some(rest.parse()), self.limits.device_farm);
                Box::new(session.of_client(client, Arc::clone(&self.visits)))
            }
            (Dialect::DeviceFarm, "devices") => {
                Box::new(device_farm::session::Session::with_limits(None, self.limits.device_farm))
            }
            (Dialect::AgentEvents, "socket") => {
                Box::new(agent_events::session::Session::with_limits(self.limits.agent_events))
            }
            (Dialect::SolverRuns, "run") => Box::new(solver_runs::session::Session::run(rest.parse())),
            (Dialect::SolverRuns, "optimization") => {
                Box::new(solver_runs::session::Session::optimization(rest.parse()))
            }
            (Dialect::TestDashboard, "client") => {
                let (id, resume) = rest.split_once(' ').unwrap_or((rest, "0"));
                let turn = Turn::new(Count::after(resume.parse().unwrap()), 0);
                Box::new(test_dashboard::session::Session::new(id.to_owned(), turn))
            }
            _ => panic!("{} has no socket for {url:?}", dialect.as_str()),
        }
    }
}

fn play(session: &mut dyn Session, world: &mut World, mark: &str, rest: &str, outputs: &mut Vec<Output>) {
    match mark {
        "=" => session.handle_view(world.view(rest), world.now()),
        ">" => session.handle_text(rest, world.now()),
        "suite" => world.run = Arc::new(suite()),
        "old" => session.handle_event(&Published::new(world.old_event(rest)), world.now()),
        "lost" => session.note_lost(rest.parse().unwrap()),
        "@" => {
            let until = world.now().instant + duration(rest);
            while let Some(due) = session.poll_timeout().filter(|due| *due <= until) {
                world.advance_to(due);
                session.handle_timeout(world.now());
                outputs.extend(std::iter::from_fn(|| session.next_output()));
            }
            world.advance_to(until);
        }
        _ => {
            let times = mark.strip_prefix('!').unwrap_or_else(|| panic!("{mark:?} is no mark of a transcript"));
            let times: u32 = if times.is_empty() { 1 } else { times.parse().unwrap() };
            for _ in 0..times {
                let published = world.published(rest);
                session.handle_event(&published, world.now());
                outputs.extend(std::iter::from_fn(|| session.next_output()));
            }
        }
    }
    outputs.extend(std::iter::from_fn(|| session.next_output()));
}

fn drain(session: &mut dyn Session, told: &mut String) -> bool {
    let outputs: Vec<Output> = std::iter::from_fn(|| session.next_output()).collect();
    write_outputs(&outputs, told)
}

/// Returns whether the session closed.
fn write_outputs(outputs: &[Output], told: &mut String) -> bool {
    for same in outputs.chunk_by(|one, next| one == next) {
        match &same[0] {
            Output::Send(text) => write!(told, "< {}", text.as_str()).unwrap(),
            Output::Do(request) => write!(told, "~ {request:?}").unwrap(),
            Output::Close { code, reason } => write!(told, "| {code} {reason}").unwrap(),
        }
        let times = if same.len() == 1 { String::new() } else { format!(" x{}", same.len()) };
        writeln!(told, "{times}").unwrap();
    }
    outputs.iter().any(|output| matches!(output, Output::Close { .. }))
}

fn duration(text: &str) -> Duration {
    let text = text.strip_prefix('+').unwrap_or(text);
    match text.strip_suffix("ms") {
        Some(millis) => Duration::from_millis(millis.parse().unwrap()),
        None => Duration::from_secs(text.strip_suffix('s').unwrap().parse().unwrap()),
    }
}
