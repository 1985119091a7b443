//! Pinned bytes of a batch, its two ways of being made, and every refusal of `decode`.

use rigwire_shared::event::{AgentEvent, EventBody, GapCause};
use rigwire_shared::ids::AgentId;
use rigwire_shared::wire::{self, BATCH_MAX, Batch, MESSAGE_MAX, WireError};

use crate::{AT, hex, pin, position};

#[test]
fn batches() {
    pin(&Batch { position: position(1), previous: None, events: vec![] }, "01 a302 01 00 00");
    pin(
        &Batch { position: position(129), previous: Some(position(128)), events: events() },
        "01 a3028101 01a30280 01027f12 02027f10 000305",
    );
}

#[test]
fn a_batch_around_kept_bytes_is_the_same_batch() {
    let kept = wire::encode_events(&events()).unwrap();
    for previous in [None, Some(position(6))] {
        let batch = Batch { position: position(7), previous, events: events() };
        let around = wire::encode_batch(position(7), previous, &kept).unwrap();
        assert_eq!(hex(&around), hex(&wire::encode(&batch).unwrap()));
        assert_eq!(wire::decode::<Batch>(&around), Ok(batch));
    }
}

#[test]
fn decoding_refuses_what_is_not_a_message() {
    for (bytes, expected) in [
        (&[][..], WireError::Empty),
        (&[0], WireError::Version(0)),
        (&[2, 1, b'a'], WireError::Version(2)),
        (&[1], WireError::Malformed),
        (&[1, 2, b'a'], WireError::Malformed),
        (&[1, 1, b'A'], WireError::Malformed),
        (&[1, 0], WireError::Malformed),
        (&[1, 1, b'a', 0], WireError::Trailing(1)),
        (&[1, 1, b'a', 9, 9, 9], WireError::Trailing(3)),
        (&vec![1; MESSAGE_MAX + 1], WireError::TooLong(MESSAGE_MAX + 1)),
    ] {
        assert_eq!(wire::decode::<AgentId>(bytes), Err(expected), "{:02x?}", &bytes[..bytes.len().min(8)]);
    }
    assert_eq!(wire::decode(&[1, 1, b'a']), Ok(AgentId::new("a").unwrap()));
}

#[test]
fn messages_are_bounded_where_they_are_made() {
    let longest = "x".repeat(MESSAGE_MAX - 4);
    let bytes = wire::encode(&longest).unwrap();
    assert_eq!(bytes.len(), MESSAGE_MAX);
    assert_eq!(wire::decode::<String>(&bytes), Ok(longest.clone()));
    assert_eq!(wire::encode(&format!("{longest}x")), Err(WireError::TooLong(MESSAGE_MAX + 1)));

    let header = wire::encode_batch(position(1), None, &[]).unwrap().len();
    let body = vec![0; MESSAGE_MAX - header];
    assert_eq!(wire::encode_batch(position(1), None, &body).map(|bytes| bytes.len()), Ok(MESSAGE_MAX));
    let body = vec![0; MESSAGE_MAX - header + 1];
    assert_eq!(wire::encode_batch(position(1), None, &body), Err(WireError::TooLong(MESSAGE_MAX + 1)));
    const { assert!(BATCH_MAX < MESSAGE_MAX) };
}

#[test]
fn a_length_that_lies_reserves_no_memory() {
    // A list that claims 2^60 events in a message of a few bytes.
    let bytes = [1, 1, 1, 0, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10];
    assert_eq!(wire::decode::<Batch>(&bytes), Err(WireError::Malformed));
}

#[test]
fn refusals_say_what_was_expected() {
    for (error, expected) in [
        (WireError::Empty, "the message is empty"),
        (WireError::Version(9), "the message has wire version 9, expected 1"),
        (WireError::TooLong(300_000), "the message has 300000 bytes, at most 262144 are allowed"),
        (WireError::Malformed, "the message is not of the form its topic promises"),
        (WireError::Trailing(3), "the message is followed by 3 bytes that belong to nothing"),
    ] {
        assert_eq!(error.to_string(), expected);
    }
}

fn events() -> Vec<AgentEvent> {
    vec![
        AgentEvent { at: AT, body: EventBody::Clock { offset_us: 1, uncertainty_us: 2 } },
        AgentEvent { at: AT, body: EventBody::Gap { device: None, samples: 3, cause: GapCause::QueueFull } },
    ]
}
