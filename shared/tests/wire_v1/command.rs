//! Pinned bytes of everything that the hub can ask of an agent.

use rigwire_shared::command::{Ack, Command, CommandBody, PreviewQuality, StartStep};
use rigwire_shared::ids::{Fence, StepId};
use rigwire_shared::value::Value;

use crate::{AT, ATTEMPT, COMMAND, EPOCH, RUN, device, pin, pin_variants, position};

#[test]
fn a_command_is_its_header_and_its_body() {
    pin(
        &Command { id: COMMAND, epoch: EPOCH, expires_at: AT, body: CommandBody::Announce },
        "01 10333333 33333333 33333333 33333333 33a3027f 08",
    );
}

#[test]
fn command_bodies() {
    fn number(body: &CommandBody) -> u8 {
        match body {
            CommandBody::StartStep(_) => 0,
            CommandBody::CancelStep { .. } => 1,
            CommandBody::GrantLease { .. } => 2,
            CommandBody::ReleaseLease { .. } => 3,
            CommandBody::MakeSafe { .. } => 4,
            CommandBody::StartPreview { .. } => 5,
            CommandBody::StopPreview { .. } => 6,
            CommandBody::TailWire { .. } => 7,
            CommandBody::Announce => 8,
        }
    }
    pin_variants(
        9,
        number,
        &[
            (
                CommandBody::StartStep(StartStep {
                    run: RUN,
                    step: StepId::new("read").unwrap(),
                    attempt: ATTEMPT,
                    device: Some(device()),
                    fence: Some(Fence(9)),
                    module: "instrument.read".into(),
                    with: vec![("samples".into(), Value::Int(10))],
                    timeout_ms: 5000,
                }),
                "01 00101111 11111111 11111111 11111111 11110472 65616410 22222222 22222222 22222222 \
                 22222222 01057073 752d3101 090f696e 73747275 6d656e74 2e726561 64010773 616d706c 65730214 \
                 8827",
            ),
            (
                CommandBody::CancelStep { attempt: ATTEMPT, cause: "user".into() },
                "01 01102222 22222222 22222222 22222222 22220475 736572",
            ),
            (
                CommandBody::GrantLease { device: device(), fence: Fence(300), until: AT, holder: "run 7".into() },
                "01 02057073 752d31ac 027f0572 756e2037",
            ),
            (CommandBody::ReleaseLease { device: device(), fence: Fence(300) }, "01 03057073 752d31ac 02"),
            (CommandBody::MakeSafe { device: device(), cause: "user".into() }, "01 04057073 752d3104 75736572"),
            (
                CommandBody::StartPreview { device: device(), quality: PreviewQuality::High, frames_per_second: 15 },
                "01 05057073 752d3102 0f",
            ),
            (CommandBody::StopPreview { device: device() }, "01 06057073 752d31"),
            (CommandBody::TailWire { device: device(), on: true }, "01 07057073 752d3101"),
            (CommandBody::Announce, "01 08"),
        ],
    );
}

#[test]
fn preview_qualities() {
    fn number(quality: &PreviewQuality) -> u8 {
        match quality {
            PreviewQuality::Low => 0,
            PreviewQuality::Medium => 1,
            PreviewQuality::High => 2,
        }
    }
    pin_variants(
        3,
        number,
        &[(PreviewQuality::Low, "01 00"), (PreviewQuality::Medium, "01 01"), (PreviewQuality::High, "01 02")],
    );
}

#[test]
fn acknowledgements() {
    pin(&Ack { durable: None, resend: true, hub_time: AT }, "01 00 01 7f");
    pin(&Ack { durable: Some(position(300)), resend: false, hub_time: AT }, "01 01 a302 ac02 00 7f");
}
