//! Firmware frames: pinned bytes, and what a decoder does with everything else. If a pinned frame fails, change the code,
//! not the test: firmware in the field speaks it.
#![expect(clippy::unwrap_used, reason = "what fails in a helper fails the test")]

use core::mem::size_of;

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use rigwire_shared::firmware::{Body, ChannelValue, Command, FIRMWARE_VERSION, LogLevel, Message, Refusal};
use rigwire_shared::frame::{Counters, Decoder, FRAME_MAX, FrameError, encode};
use rigwire_shared::quality::Quality;

type Decoded = Result<Message, FrameError>;

#[test]
fn every_body_is_pinned() {
    fn number(body: &Body) -> u8 {
        match body {
            Body::Hello { .. } => 0,
            Body::Describe { .. } => 1,
            Body::Sample(_) => 2,
            Body::Log { .. } => 3,
            Body::Command { .. } => 4,
            Body::Reply { .. } => 5,
        }
    }
    let cases = [
        (hello(), "00 07018001 c0843d14 06746865 726d6f02 41310331 2e3003e0 dc0bc9 00"),
        (
            Body::Describe { channel: 2, name: text("supply"), unit: text("V"), interval_ms: 1000 },
            "00 18018001 c0843d01 02067375 70706c79 0156e807 0b06a081 00",
        ),
        (sample(21.5), "00 09018001 c0843d02 02010103 ac410201 01010106 03d40e4f 9e 00"),
        (
            Body::Log { level: LogLevel::Warning, text: text("brown-out") },
            "00 17018001 c0843d03 02096272 6f776e2d 6f757450 fdc471 00",
        ),
        (Body::Command { id: 300, command: Command::Ping }, "00 0f018001 c0843d04 ac0205ad 7738ca 00"),
        (Body::Reply { id: 300, result: Ok(Some(1.5)) }, "00 0a018001 c0843d05 ac020201 0107c03f 3a55504d 00"),
        (Body::Reply { id: 300, result: Ok(None) }, "00 0a018001 c0843d05 ac020105 5404ed2a 00"),
    ];
    for (body, expected) in &cases {
        pin(body, expected);
    }
    for wanted in 0..6 {
        assert!(cases.iter().any(|(body, _)| number(body) == wanted), "body {wanted} is not pinned");
    }
}

#[test]
fn every_command_is_pinned() {
    fn number(command: &Command) -> u8 {
        match command {
            Command::Hello => 0,
            Command::Describe => 1,
            Command::SetInterval { .. } => 2,
            Command::Act { .. } => 3,
            Command::MakeSafe => 4,
            Command::Ping => 5,
        }
    }
    let parameters = [0.0, -1.0].into_iter().collect();
    let cases = [
        (Command::Hello, "00 09018001 c0843d04 0105e0e2 2c6c 00"),
        (Command::Describe, "00 0e018001 c0843d04 0101e361 479e 00"),
        (Command::SetInterval { channel: 1, interval_ms: 250 }, "00 0f018001 c0843d04 010201fa 0153ee02 ea 00"),
        (
            Command::Act { action: text("fan"), parameters },
            "00 0f018001 c0843d04 01030366 616e0201 01010101 0780bf3b eb8d78 00",
        ),
        (Command::MakeSafe, "00 0e018001 c0843d04 0104ff75 b6ab 00"),
        (Command::Ping, "00 0e018001 c0843d04 0105fcf6 dd59 00"),
    ];
    for (command, expected) in &cases {
        pin(&Body::Command { id: 1, command: command.clone() }, expected);
    }
    for wanted in 0..6 {
        assert!(cases.iter().any(|(command, _)| number(command) == wanted), "command {wanted} is not pinned");
    }
}

#[test]
fn every_refusal_is_pinned() {
    fn number(refusal: &Refusal) -> u8 {
        match refusal {
            Refusal::UnknownChannel => 0,
            Refusal::UnknownAction => 1,
            Refusal::OutOfRange => 2,
            Refusal::Busy => 3,
            Refusal::Failed { .. } => 4,
        }
    }
    let cases = [
        (Refusal::UnknownChannel, "00 0a018001 c0843d05 01010566 e5c67f 00"),
        (Refusal::UnknownAction, "00 0f018001 c0843d05 01010165 66ad8d 00"),
        (Refusal::OutOfRange, "00 0f018001 c0843d05 01010291 95fd9e 00"),
        (Refusal::Busy, "00 0f018001 c0843d05 01010392 16966c 00"),
        (Refusal::Failed { text: text("stuck") }, "00 15018001 c0843d05 01010405 73747563 6b867ced d4 00"),
    ];
    for (refusal, expected) in &cases {
        pin(&Body::Reply { id: 1, result: Err(refusal.clone()) }, expected);
    }
    for wanted in 0..5 {
        assert!(cases.iter().any(|(refusal, _)| number(refusal) == wanted), "refusal {wanted} is not pinned");
    }
}

#[test]
fn levels_and_qualities_keep_their_numbers() {
    for (level, number) in [(LogLevel::Debug, 0), (LogLevel::Info, 1), (LogLevel::Warning, 2), (LogLevel::Error, 3)] {
        assert_eq!(postcard::to_allocvec(&level), Ok(vec![number]));
    }
    for (number, quality) in (0_u8..).zip(Quality::ALL) {
        assert_eq!(postcard::to_allocvec(&quality), Ok(vec![number]));
    }
}

#[test]
fn a_flipped_bit_never_makes_another_value() {
    let second = message(2, hello());
    for celsius in 0_u8..40 {
        let first = message(1, sample(f32::from(celsius)));
        for bit in 0..encode(&first).unwrap().len() * 8 {
            check_flipped(&first, &second, bit);
        }
    }
}

#[test]
fn the_first_good_frame_after_garbage_is_kept() {
    let expected = message(7, sample(21.5));
    for garbage in [&b"booting v1.2\r\n"[..], &[0xff; 40], &[0x55], &[3, 1]] {
        let bytes = [garbage, &encode(&expected).unwrap()].concat();
        let (decoded, counters) = decode(&[&bytes]);
        assert_eq!(decoded.last(), Some(&Ok(expected.clone())), "after {garbage:02x?}");
        assert_eq!((counters.frames, counters.rejected()), (1, 1), "after {garbage:02x?}");
    }
}

#[test]
fn each_kind_of_rejection_is_counted_as_itself() {
    let mut wrong_checksum = encode(&message(1, sample(1.0))).unwrap();
    let middle = wrong_checksum.len() / 2;
    wrong_checksum[middle] ^= 0x40;
    let newer = encode(&(FIRMWARE_VERSION, 1_u32, 1_u64, 250_u8)).unwrap();
    let longer = encode(&(message(1, sample(1.0)), 0xff_u8)).unwrap();
    for (bytes, error, expected) in [
        (&[b'x'; FRAME_MAX + 1][..], FrameError::TooLong, Counters { too_long: 1, ..Counters::default() }),
        (&[9, 1, 1], FrameError::Stuffing, Counters { stuffing: 1, ..Counters::default() }),
        (&wrong_checksum, FrameError::Checksum, Counters { checksum: 1, ..Counters::default() }),
        (&[4, 1, 2, 3], FrameError::Checksum, Counters { checksum: 1, ..Counters::default() }),
        (&newer, FrameError::Malformed, Counters { malformed: 1, ..Counters::default() }),
        (&longer, FrameError::Malformed, Counters { malformed: 1, ..Counters::default() }),
    ] {
        let (decoded, counters) = decode(&[bytes, &[0]]);
        assert_eq!(decoded, [Err(error)], "{bytes:02x?}");
        assert_eq!(counters, expected, "{bytes:02x?}");
    }
}

#[test]
fn overlong_input_is_bounded_and_rejected_once() {
    // The decoder has no heap: what it can keep is its own size.
    const { assert!(size_of::<Decoder>() <= FRAME_MAX + 64) };
    let expected = message(9, sample(3.0));
    for length in [FRAME_MAX + 1, FRAME_MAX * 2, 1_000_000] {
        let flood = vec![0x41; length];
        let (decoded, counters) = decode(&[&flood, &encode(&expected).unwrap()]);
        assert_eq!(decoded, [Err(FrameError::TooLong), Ok(expected.clone())], "{length} bytes");
        assert_eq!((counters.too_long, counters.frames), (1, 1), "{length} bytes");
    }
}

#[test]
fn a_message_that_does_not_fit_a_frame_is_refused_where_it_is_made() {
    let fitting = "x".repeat(FRAME_MAX - 9);
    let frame = encode(&fitting).unwrap();
    assert!(frame.len() <= FRAME_MAX + 2);
    assert_eq!((frame.first(), frame.last()), (Some(&0), Some(&0)));
    assert!(!frame[1..frame.len() - 1].contains(&0), "a zero inside a frame ends it early");
    for length in [FRAME_MAX - 5, FRAME_MAX, FRAME_MAX * 10] {
        assert_eq!(encode(&"x".repeat(length)), Err(FrameError::TooLong), "{length} letters");
    }
}

#[test]
fn the_largest_message_of_every_kind_fits() {
    let values = (0..8).map(|channel| ChannelValue { channel, value: f32::MAX, quality: Quality::Stale }).collect();
    let long: heapless::String<64> = text(&"x".repeat(64));
    let short: heapless::String<16> = text(&"y".repeat(16));
    for body in [
        Body::Hello { model: long.clone(), serial: short.clone(), firmware: short.clone(), boots: u32::MAX },
        Body::Describe { channel: 255, name: short.clone(), unit: short.clone(), interval_ms: u32::MAX },
        Body::Sample(values),
        Body::Log { level: LogLevel::Error, text: long.clone() },
        Body::Command {
            id: u16::MAX,
            command: Command::Act { action: short, parameters: [f32::MIN; 4].into_iter().collect() },
        },
        Body::Reply { id: u16::MAX, result: Err(Refusal::Failed { text: long }) },
    ] {
        let largest = Message { version: 255, sequence: u32::MAX, mcu_us: u64::MAX, body };
        let frame = encode(&largest).unwrap();
        assert_eq!(decode(&[&frame]).0, [Ok(largest)]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct("proptest-regressions/frame.txt"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn arbitrary_bytes_never_panic_and_every_result_is_counted(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let (decoded, counters) = decode(&[&bytes]);
        prop_assert_eq!(decoded.len(), (counters.frames + counters.rejected()) as usize);
        prop_assert_eq!(decoded.iter().filter(|result| result.is_ok()).count(), counters.frames as usize);
    }

    #[test]
    fn zeros_among_arbitrary_bytes_never_panic(bytes in proptest::collection::vec(0_u8..6, 0..2000)) {
        let (decoded, counters) = decode(&[&bytes]);
        prop_assert_eq!(decoded.len(), (counters.frames + counters.rejected()) as usize);
    }

    #[test]
    fn messages_survive_whatever_their_chunks(
        messages in proptest::collection::vec(any_message(), 1..6),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..8),
        noise in proptest::collection::vec(any::<u8>(), 0..20),
    ) {
        let mut bytes = noise;
        for message in &messages {
            bytes.extend_from_slice(&encode(message).unwrap());
        }
        let whole = decode(&[&bytes]);
        prop_assert!(whole.0.ends_with(&messages.into_iter().map(Ok).collect::<Vec<_>>()));
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
        places.sort_unstable();
        let mut chunks = Vec::new();
        let mut from = 0;
        for place in places {
            chunks.push(&bytes[from..place]);
            from = place;
        }
        chunks.push(&bytes[from..]);
        prop_assert_eq!(decode(&chunks), whole);
    }

    #[test]
    fn any_flipped_bit_of_any_message_is_found(
        first in any_message(), second in any_message(), bit in any::<prop::sample::Index>(),
    ) {
        let bits = encode(&first).unwrap().len() * 8;
        check_flipped(&first, &second, bit.index(bits));
    }
}

/// The first frame is damaged: it is rejected or, where only a zero around it was hit, still itself. The second always arrives.
fn check_flipped(first: &Message, second: &Message, bit: usize) {
    let mut damaged = encode(first).unwrap();
    damaged[bit / 8] ^= 1 << (bit % 8);
    let (decoded, counters) = decode(&[&damaged, &encode(second).unwrap()]);
    for result in decoded.iter().flatten() {
        assert!(result == first || result == second, "bit {bit} of {first:?} made {result:?}");
    }
    assert_eq!(decoded.last(), Some(&Ok(second.clone())), "bit {bit} of {first:?} cost the next frame");
    let refused = decoded.iter().filter(|result| result.is_err()).count();
    assert_eq!(counters.rejected() as usize, refused);
    let kept = decoded.iter().flatten().any(|result| result == first) || first == second;
    assert!(kept || refused > 0, "bit {bit} of {first:?} lost a frame without a count");
}

fn any_message() -> impl Strategy<Value = Message> {
    let channel_value = (any::<u8>(), -1e6_f32..1e6, proptest::sample::select(Quality::ALL.to_vec()))
        .prop_map(|(channel, value, quality)| ChannelValue { channel, value, quality });
    let body = prop_oneof![
        ("[ -~]{0,64}", "[ -~]{0,16}", "[ -~]{0,16}", any::<u32>()).prop_map(|(model, serial, firmware, boots)| {
            Body::Hello { model: text(&model), serial: text(&serial), firmware: text(&firmware), boots }
        }),
        proptest::collection::vec(channel_value, 0..=8).prop_map(|values| Body::Sample(values.into_iter().collect())),
        (any::<u16>(), proptest::option::of(-1e6_f32..1e6))
            .prop_map(|(id, value)| Body::Reply { id, result: Ok(value) }),
        (any::<u16>(), "[ -~]{0,16}", proptest::collection::vec(-1e6_f32..1e6, 0..=4)).prop_map(
            |(id, action, parameters)| Body::Command {
                id,
                command: Command::Act { action: text(&action), parameters: parameters.into_iter().collect() },
            }
        ),
    ];
    (any::<u32>(), any::<u64>(), body).prop_map(|(sequence, mcu_us, body)| Message {
        version: FIRMWARE_VERSION,
        sequence,
        mcu_us,
        body,
    })
}

fn decode(chunks: &[&[u8]]) -> (Vec<Decoded>, Counters) {
    let mut decoder = Decoder::new();
    let decoded = chunks.iter().copied().flatten().filter_map(|byte| decoder.push(*byte)).collect();
    (decoded, decoder.counters())
}

fn pin(body: &Body, expected: &str) {
    let message = message(128, body.clone());
    let frame = encode(&message).unwrap();
    let actual: String = frame.iter().map(|byte| format!("{byte:02x}")).collect();
    let expected: String = expected.split_whitespace().collect();
    assert_eq!(actual, expected, "the frame of {body:?}: change the code, not the test");
    assert_eq!(decode(&[&frame]).0, [Ok(message)]);
}

fn message(sequence: u32, body: Body) -> Message {
    Message { version: FIRMWARE_VERSION, sequence, mcu_us: 1_000_000, body }
}

fn hello() -> Body {
    Body::Hello { model: text("thermo"), serial: text("A1"), firmware: text("1.0"), boots: 3 }
}

fn sample(value: f32) -> Body {
    let no_data = ChannelValue { channel: 1, value: 0.0, quality: Quality::NoData };
    Body::Sample([ChannelValue { channel: 0, value, quality: Quality::Good }, no_data].into_iter().collect())
}

fn text<const N: usize>(text: &str) -> heapless::String<N> {
    heapless::String::try_from(text).unwrap()
}
