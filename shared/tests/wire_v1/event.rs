//! Pinned bytes of everything that an agent can tell the hub.

use rigwire_shared::agent::{DeviceState, Identity};
use rigwire_shared::event::{
    AgentEvent, Answer, Artifact, DeviceChange, EventBody, GapCause, Level, LimitChange, LimitState, Log, RunReport,
    SafeOutcome, Sample, Started, StepError, StepFinished, StepOutcome, TestOutcome,
};
use rigwire_shared::ids::{Epoch, Fence};
use rigwire_shared::quality::Quality;
use rigwire_shared::unit::Unit;
use rigwire_shared::value::Value;

use crate::{AT, ATTEMPT, COMMAND, EPOCH, RUN, device, metric, pin, pin_variants};

#[test]
fn an_event_is_its_time_and_its_body() {
    let body = EventBody::Clock { offset_us: 0, uncertainty_us: 0 };
    pin(&AgentEvent { at: AT, body }, "01 7f120000");
}

#[test]
fn event_bodies() {
    fn number(body: &EventBody) -> u8 {
        match body {
            EventBody::Started(_) => 0,
            EventBody::Sample(_) => 1,
            EventBody::Log(_) => 2,
            EventBody::Device(_) => 3,
            EventBody::StepStarted { .. } => 4,
            EventBody::StepProgress { .. } => 5,
            EventBody::StepFinished(_) => 6,
            EventBody::CommandAnswered { .. } => 7,
            EventBody::Limit(_) => 8,
            EventBody::Interlock { .. } => 9,
            EventBody::Safe { .. } => 10,
            EventBody::InstrumentError { .. } => 11,
            EventBody::Lease { .. } => 12,
            EventBody::Artifact(_) => 13,
            EventBody::ArtifactChunk { .. } => 14,
            EventBody::Report { .. } => 15,
            EventBody::Gap { .. } => 16,
            EventBody::Wire { .. } => 17,
            EventBody::Clock { .. } => 18,
        }
    }
    pin_variants(
        19,
        number,
        &[
            (
                EventBody::Started(Started {
                    epoch: EPOCH,
                    previous: Some(Epoch(1)),
                    version: "0.1.0".into(),
                    host: "pi".into(),
                }),
                "01 00a30201 0105302e 312e3002 7069",
            ),
            (
                EventBody::Sample(Sample {
                    device: device(),
                    metric: metric(),
                    value: Value::Float(3.3),
                    unit: Unit::Volt,
                    quality: Quality::Good,
                    attempt: Some(ATTEMPT),
                    round_trip_us: Some(300),
                }),
                "01 01057073 752d3104 766f6c74 03666666 6666660a 40015600 01102222 22222222 22222222 \
                 22222222 222201ac 02",
            ),
            (
                EventBody::Sample(Sample {
                    device: device(),
                    metric: metric(),
                    value: Value::Null,
                    unit: Unit::Volt,
                    quality: Quality::Overrange,
                    attempt: None,
                    round_trip_us: None,
                }),
                "01 01057073 752d3104 766f6c74 00015601 0000",
            ),
            (
                EventBody::Log(Log {
                    level: Level::Warning,
                    message: "slow".into(),
                    device: Some(device()),
                    run: Some(RUN),
                    attempt: Some(ATTEMPT),
                    source: "port".into(),
                }),
                "01 02020473 6c6f7701 05707375 2d310110 11111111 11111111 11111111 11111111 01102222 \
                 22222222 22222222 22222222 22220470 6f7274",
            ),
            (
                EventBody::Device(DeviceChange {
                    device: device(),
                    state: DeviceState::Gone,
                    cause: "eof".into(),
                    identity: Some(Identity { vendor: "KORAD".into(), ..Identity::default() }),
                }),
                "01 03057073 752d3105 03656f66 01054b4f 52414400 00000000",
            ),
            (
                EventBody::StepStarted { attempt: ATTEMPT, run: RUN, device: Some(device()) },
                "01 04102222 22222222 22222222 22222222 22221011 11111111 11111111 11111111 11111101 \
                 05707375 2d31",
            ),
            (
                EventBody::StepProgress { attempt: ATTEMPT, percent: 50.0, message: "half".into() },
                "01 05102222 22222222 22222222 22222222 22220000 48420468 616c66",
            ),
            (
                EventBody::StepFinished(StepFinished {
                    attempt: ATTEMPT,
                    run: RUN,
                    outcome: StepOutcome::Cancelled { safe: None },
                    duration_us: 128,
                }),
                "01 06102222 22222222 22222222 22222222 22221011 11111111 11111111 11111111 11111102 008001",
            ),
            (
                EventBody::CommandAnswered { command: COMMAND, answer: Answer::Done },
                "01 07103333 33333333 33333333 33333333 333300",
            ),
            (
                EventBody::Limit(LimitChange {
                    device: device(),
                    metric: metric(),
                    state: LimitState::Active,
                    value: Some(5.5),
                    threshold: None,
                    sampled_at: AT,
                }),
                "01 08057073 752d3104 766f6c74 02010000 00000000 1640007f",
            ),
            (
                EventBody::Interlock {
                    device: device(),
                    rule: "hot".into(),
                    action: "off".into(),
                    safe: SafeOutcome::Verified,
                },
                "01 09057073 752d3103 686f7403 6f666600",
            ),
            (
                EventBody::Safe { device: device(), cause: "stop".into(), outcome: SafeOutcome::NotNeeded },
                "01 0a057073 752d3104 73746f70 04",
            ),
            (
                EventBody::InstrumentError { device: device(), code: "-113".into(), text: "header".into() },
                "01 0b057073 752d3104 2d313133 06686561 646572",
            ),
            (
                EventBody::Lease { device: device(), fence: Fence(7), held: true, cause: "run".into() },
                "01 0c057073 752d3107 01037275 6e",
            ),
            (
                EventBody::Artifact(Artifact {
                    run: Some(RUN),
                    attempt: None,
                    name: "a.png".into(),
                    media_type: "image/png".into(),
                    sha256: [0xab; 32],
                    size: 200,
                }),
                "01 0d011011 11111111 11111111 11111111 11111100 05612e70 6e670969 6d616765 2f706e67 \
                 abababab abababab abababab abababab abababab abababab abababab abababab c801",
            ),
            (
                EventBody::ArtifactChunk { sha256: [0xcd; 32], offset: 128, data: vec![1, 2, 3] },
                "01 0ecdcdcd cdcdcdcd cdcdcdcd cdcdcdcd cdcdcdcd cdcdcdcd cdcdcdcd cdcdcdcd cd800103 010203",
            ),
            (
                EventBody::Report {
                    attempt: ATTEMPT,
                    run: RUN,
                    report: RunReport::Metric { name: metric(), value: 1.0, unit: Unit::None },
                },
                "01 0f102222 22222222 22222222 22222222 22221011 11111111 11111111 11111111 11111101 \
                 04766f6c 74000000 000000f0 3f00",
            ),
            (EventBody::Gap { device: None, samples: 300, cause: GapCause::SpoolFull }, "01 1000ac02 00"),
            (
                EventBody::Wire { device: device(), sent: true, bytes: b"*IDN?".to_vec() },
                "01 11057073 752d3101 052a4944 4e3f",
            ),
            (EventBody::Clock { offset_us: -1500, uncertainty_us: 250 }, "01 12b717fa 01"),
        ],
    );
}

#[test]
fn levels() {
    fn number(level: &Level) -> u8 {
        match level {
            Level::Debug => 0,
            Level::Info => 1,
            Level::Warning => 2,
            Level::Error => 3,
        }
    }
    pin_variants(
        4,
        number,
        &[(Level::Debug, "01 00"), (Level::Info, "01 01"), (Level::Warning, "01 02"), (Level::Error, "01 03")],
    );
}

#[test]
fn step_outcomes() {
    fn number(outcome: &StepOutcome) -> u8 {
        match outcome {
            StepOutcome::Completed { .. } => 0,
            StepOutcome::Failed { .. } => 1,
            StepOutcome::Cancelled { .. } => 2,
        }
    }
    pin_variants(
        3,
        number,
        &[
            (StepOutcome::Completed { outputs: vec![("v".into(), Value::Int(2))] }, "01 00010176 0204"),
            (
                StepOutcome::Failed { error: StepError { code: "MODULE_TIMEOUT".into(), message: "5 s".into() } },
                "01 010e4d4f 44554c45 5f54494d 454f5554 03352073",
            ),
            (StepOutcome::Cancelled { safe: Some(SafeOutcome::Verified) }, "01 020100"),
        ],
    );
}

#[test]
fn safe_outcomes() {
    fn number(outcome: &SafeOutcome) -> u8 {
        match outcome {
            SafeOutcome::Verified => 0,
            SafeOutcome::Unverified => 1,
            SafeOutcome::Refused { .. } => 2,
            SafeOutcome::Unreachable { .. } => 3,
            SafeOutcome::NotNeeded => 4,
        }
    }
    pin_variants(
        5,
        number,
        &[
            (SafeOutcome::Verified, "01 00"),
            (SafeOutcome::Unverified, "01 01"),
            (SafeOutcome::Refused { detail: "on".into() }, "01 02 02 6f6e"),
            (SafeOutcome::Unreachable { detail: "eof".into() }, "01 03 03 656f66"),
            (SafeOutcome::NotNeeded, "01 04"),
        ],
    );
}

#[test]
fn answers() {
    fn number(answer: &Answer) -> u8 {
        match answer {
            Answer::Done => 0,
            Answer::Refused { .. } => 1,
        }
    }
    let error = StepError { code: "LEASE_LOST".into(), message: "fence 3".into() };
    pin_variants(
        2,
        number,
        &[(Answer::Done, "01 00"), (Answer::Refused { error }, "01 010a4c45 4153455f 4c4f5354 0766656e 63652033")],
    );
}

#[test]
fn limit_states() {
    fn number(state: &LimitState) -> u8 {
        match state {
            LimitState::Ok => 0,
            LimitState::Pending => 1,
            LimitState::Active => 2,
            LimitState::Clearing => 3,
            LimitState::Stale => 4,
        }
    }
    pin_variants(
        5,
        number,
        &[
            (LimitState::Ok, "01 00"),
            (LimitState::Pending, "01 01"),
            (LimitState::Active, "01 02"),
            (LimitState::Clearing, "01 03"),
            (LimitState::Stale, "01 04"),
        ],
    );
}

#[test]
fn reports() {
    fn number(report: &RunReport) -> u8 {
        match report {
            RunReport::Progress { .. } => 0,
            RunReport::Metric { .. } => 1,
            RunReport::Test { .. } => 2,
            RunReport::Event { .. } => 3,
            RunReport::Wells { .. } => 4,
            RunReport::Phase { .. } => 5,
            RunReport::Tested { .. } => 6,
        }
    }
    pin_variants(
        7,
        number,
        &[
            (
                RunReport::Progress { percent: 12.5, phase: Some("mesh".into()), message: None },
                "01 00000048 4101046d 65736800",
            ),
            (
                RunReport::Metric { name: metric(), value: -1.0, unit: Unit::Hertz },
                "01 0104766f 6c740000 00000000 f0bf0248 7a",
            ),
            (
                RunReport::Test {
                    test: "t1".into(),
                    name: "boots".into(),
                    passed: true,
                    score: Some(0.5),
                    message: Some("ok".into()),
                },
                "01 02027431 05626f6f 74730101 00000000 0000e03f 01026f6b",
            ),
            (
                RunReport::Event { event_type: "tool_call".into(), payload: Value::Bool(true) },
                "01 0309746f 6f6c5f63 616c6c01 01",
            ),
            (RunReport::Wells { wells: vec![("plate".into(), Value::Null)] }, "01 04010570 6c617465 00"),
            (RunReport::Phase { phase: "mesh".into(), message: Some("ok".into()) }, "01 05046d65 73680102 6f6b"),
            (
                RunReport::Tested {
                    test: "t1".into(),
                    name: "boots".into(),
                    outcome: TestOutcome::Skipped,
                    duration_s: Some(0.5),
                    score: None,
                    message: Some("ok".into()),
                },
                "01 06027431 05626f6f 74730201 00000000 0000e03f 0001026f 6b",
            ),
        ],
    );
}

#[test]
fn test_outcomes() {
    fn number(outcome: &TestOutcome) -> u8 {
        match outcome {
            TestOutcome::Passed => 0,
            TestOutcome::Failed => 1,
            TestOutcome::Skipped => 2,
        }
    }
    pin_variants(
        3,
        number,
        &[(TestOutcome::Passed, "01 00"), (TestOutcome::Failed, "01 01"), (TestOutcome::Skipped, "01 02")],
    );
}

#[test]
fn gap_causes() {
    fn number(cause: &GapCause) -> u8 {
        match cause {
            GapCause::SpoolFull => 0,
            GapCause::SpoolDamaged => 1,
            GapCause::PollSkipped => 2,
            GapCause::SensorFault => 3,
            GapCause::PortOverrun => 4,
            GapCause::QueueFull => 5,
        }
    }
    pin_variants(
        6,
        number,
        &[
            (GapCause::SpoolFull, "01 00"),
            (GapCause::SpoolDamaged, "01 01"),
            (GapCause::PollSkipped, "01 02"),
            (GapCause::SensorFault, "01 03"),
            (GapCause::PortOverrun, "01 04"),
            (GapCause::QueueFull, "01 05"),
        ],
    );
}
