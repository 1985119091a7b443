//! The bytes of wire version 1, pinned. Agents in the field and hubs of other versions rely on them: if a test here fails,
//! change the code, not the test. Version 2 gets a folder of its own.
#![expect(clippy::unwrap_used, reason = "what fails in a helper fails the test")]

use std::fmt::Debug;

use rigwire_shared::ids::{AttemptId, CommandId, DeviceId, Epoch, MetricName, Position, RunId};
use rigwire_shared::time::Timestamp;
use rigwire_shared::wire::{self, WireError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

mod agent;
mod batch;
mod command;
mod event;
mod value;

const RUN: RunId = RunId(Uuid::from_bytes([0x11; 16]));
const ATTEMPT: AttemptId = AttemptId(Uuid::from_bytes([0x22; 16]));
const COMMAND: CommandId = CommandId(Uuid::from_bytes([0x33; 16]));
const EPOCH: Epoch = Epoch(0x0123);
/// Signed numbers travel zigzag, seven bits to a byte: this is the lowest that fits one byte, 7f.
const AT: Timestamp = Timestamp(-64);

fn device() -> DeviceId {
    DeviceId::new("psu-1").unwrap()
}

fn metric() -> MetricName {
    MetricName::new("volt").unwrap()
}

fn position(number: u64) -> Position {
    Position { epoch: EPOCH, number }
}

/// Checks the bytes both ways, and that no shorter message is taken for this one.
fn pin<T: Serialize + DeserializeOwned + PartialEq + Debug>(message: &T, expected: &str) {
    let bytes = wire::encode(message).unwrap();
    let expected: String = expected.split_whitespace().collect();
    assert_eq!(hex(&bytes), expected, "the bytes of {message:?}: change the code, not the test");
    assert_eq!(wire::decode::<T>(&bytes).as_ref(), Ok(message));
    for length in 0..bytes.len() {
        let error = if length == 0 { WireError::Empty } else { WireError::Malformed };
        assert_eq!(wire::decode::<T>(&bytes[..length]), Err(error), "{message:?} cut after {length} bytes");
    }
}

/// Pins one message per variant. `number` matches exhaustively, so a new variant does not compile until it is numbered here,
/// and does not pass until it is pinned.
fn pin_variants<T>(count: u8, number: fn(&T) -> u8, cases: &[(T, &str)])
where
    T: Serialize + DeserializeOwned + PartialEq + Debug,
{
    for (message, expected) in cases {
        pin(message, expected);
        let bytes = wire::encode(message).unwrap();
        assert_eq!(bytes[1], number(message), "the number of the variant of {message:?}: append, never reorder");
    }
    for wanted in 0..count {
        assert!(cases.iter().any(|(message, _)| number(message) == wanted), "variant {wanted} is not pinned");
    }
    let one_too_many = [wire::WIRE_VERSION, count];
    assert_eq!(wire::decode::<T>(&one_too_many), Err(WireError::Malformed), "variant {count} is numbered here");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
