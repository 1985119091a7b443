//! Commands as data.

use rigwire_shared::command::PreviewQuality;
use rigwire_shared::ids::{Fence, RunId, StepId};
use uuid::Uuid;

use super::*;

fn device(id: &str) -> DeviceId {
    DeviceId::new(id).unwrap()
}

fn desk() -> Desk {
    Desk::new(Epoch(7), vec![device("psu-1"), device("cam-1")], vec![device("cam-1")], Programs::On(device("host-1")))
}

fn command(body: CommandBody) -> Command {
    Command { id: CommandId(Uuid::from_u128(1)), epoch: Epoch(7), expires_at: Timestamp(100_000), body }
}

fn start(attempt: u128, device: Option<&str>, module: &str) -> CommandBody {
    CommandBody::StartStep(StartStep {
        run: RunId(Uuid::nil()),
        step: StepId::new("s").unwrap(),
        attempt: AttemptId(Uuid::from_u128(attempt)),
        device: device.map(|id| DeviceId::new(id).unwrap()),
        fence: Some(Fence(1)),
        module: module.to_owned(),
        with: Vec::new(),
        timeout_ms: 500,
    })
}

fn said(verdict: Verdict) -> (&'static str, String, String) {
    match verdict {
        Verdict::Say(EventBody::StepFinished(StepFinished { outcome: StepOutcome::Failed { error }, .. })) => {
            ("step", error.code, error.message)
        }
        Verdict::Say(EventBody::CommandAnswered { answer: Answer::Refused { error }, .. }) => {
            ("answer", error.code, error.message)
        }
        other @ (Verdict::Ignore
        | Verdict::Say(_)
        | Verdict::Order(..)
        | Verdict::Announce(_)
        | Verdict::Preview(..)
        | Verdict::NoPreview(..)) => {
            panic!("{other:?} is no refusal")
        }
    }
}

#[test]
fn what_cannot_be_done_is_refused_by_name() {
    let lease = |id| CommandBody::ReleaseLease { device: device(id), fence: Fence(1) };
    for (command, kind, code, message) in [
        (
            Command { epoch: Epoch(6), ..command(start(1, Some("psu-1"), step::READ)) },
            "step",
            "COMMAND_EXPIRED",
            "the command is for epoch 6 of this agent, which is now at 7",
        ),
        (
            Command { expires_at: Timestamp(20_000), ..command(start(1, Some("psu-1"), step::READ)) },
            "step",
            "COMMAND_EXPIRED",
            "the command came 30 ms after it expired",
        ),
        (
            Command { epoch: Epoch(8), ..command(CommandBody::Announce) },
            "answer",
            "COMMAND_EXPIRED",
            "the command is for epoch 8 of this agent, which is now at 7",
        ),
        (command(start(1, Some("psu-9"), step::READ)), "step", "DEVICE_UNKNOWN", "this agent has no device psu-9"),
        (command(start(1, None, step::READ)), "step", "MODULE_UNKNOWN", "module instrument.read needs a device"),
        (
            command(start(1, Some("psu-1"), "adb.tap")),
            "step",
            "MODULE_UNKNOWN",
            "module \"adb.tap\" is not one that this agent runs, expected instrument.read, instrument.action, instrument.safe_state or process.run",
        ),
        (
            command(start(1, Some("psu-1"), program::RUN)),
            "step",
            "MODULE_UNKNOWN",
            "process.run acts on host-1 at this agent, not on psu-1",
        ),
        (command(lease("psu-9")), "answer", "DEVICE_UNKNOWN", "this agent has no device psu-9"),
        (
            command(CommandBody::TailWire { device: device("psu-1"), on: true }),
            "answer",
            "MODULE_UNKNOWN",
            "this agent does not send the bytes of device psu-1's port",
        ),
    ] {
        let name = format!("{command:?}");
        let found = said(desk().handle(command, Timestamp(50_000)));
        assert_eq!(found, (kind, code.to_owned(), message.to_owned()), "{name}");
    }
}

#[test]
fn without_a_listed_program_the_refusal_says_what_to_do() {
    let off = program::off(Some(std::path::Path::new("/etc/rigwire/agent.toml")));
    let mut desk = Desk::new(Epoch(7), vec![device("psu-1")], vec![], Programs::Off(off));
    let (_, code, message) = said(desk.handle(command(start(1, Some("psu-1"), program::RUN)), Timestamp(0)));
    let expected = "process.run is off at this agent: whoever runs it may list what may run as [[program]] with name and command in /etc/rigwire/agent.toml";
    assert_eq!((code.as_str(), message.as_str()), ("MODULE_UNKNOWN", expected));
}

#[test]
fn an_attempt_is_ordered_once_and_can_be_cancelled() {
    let mut desk = desk();
    let now = Timestamp(0);
    assert!(matches!(
        desk.handle(command(start(1, Some("psu-1"), step::READ)), now),
        Verdict::Order(_, Order::Start(_))
    ));
    assert_eq!(desk.handle(command(start(1, Some("psu-1"), step::READ)), now), Verdict::Ignore);
    assert_eq!(desk.handle(command(start(1, Some("psu-1"), step::READ)), Timestamp(i64::MAX)), Verdict::Ignore);
    let cancel =
        |attempt| CommandBody::CancelStep { attempt: AttemptId(Uuid::from_u128(attempt)), cause: "user".into() };
    assert!(matches!(desk.handle(command(cancel(1)), now), Verdict::Order(_, Order::Cancel { .. })));
    assert!(matches!(
        desk.handle(command(cancel(2)), now),
        Verdict::Say(EventBody::CommandAnswered { answer: Answer::Done, .. })
    ));
}

#[test]
fn the_memory_of_attempts_is_bounded() {
    let mut desk = desk();
    for attempt in 0..=ATTEMPTS as u128 {
        desk.handle(command(start(attempt, Some("psu-1"), step::READ)), Timestamp(0));
    }
    assert_eq!((desk.attempts.len(), desk.oldest_first.len()), (ATTEMPTS, ATTEMPTS));
    assert!(!desk.attempts.contains_key(&AttemptId(Uuid::from_u128(0))));
}

#[test]
fn a_preview_is_for_cameras_and_the_others_are_answered_with_why_there_is_none() {
    let id = CommandId(Uuid::from_u128(1));
    let start =
        |name| CommandBody::StartPreview { device: device(name), quality: PreviewQuality::Low, frames_per_second: 5 };
    let stop = |name| CommandBody::StopPreview { device: device(name) };
    let handle = |body| desk().handle(command(body), Timestamp(0));
    assert_eq!(handle(start("psu-1")), Verdict::NoPreview(id, device("psu-1")));
    assert_eq!(handle(start("cam-1")), Verdict::Preview(id, device("cam-1"), Some(5)));
    assert_eq!(handle(stop("cam-1")), Verdict::Preview(id, device("cam-1"), None));
    let done = EventBody::CommandAnswered { command: id, answer: Answer::Done };
    assert_eq!(handle(stop("psu-1")), Verdict::Say(done));
    assert_eq!(said(handle(start("psu-9"))).1, "DEVICE_UNKNOWN");
}
