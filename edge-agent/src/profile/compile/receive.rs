//! Requests and where their replies end; registers; steps that expect no reply.

use std::time::Duration;

use super::super::definition::{Query, Receive, ReceiveMode, Register, RegisterWrite, Step};
use super::super::error::{Checker, Place};
use super::super::schema::{self, TextOr};
use super::Context;
use crate::protocol::framing::{FRAME_MAX, Framing};
use crate::protocol::words::NumberType;

/// Longest command, in bytes.
const COMMAND_MAX: usize = 512;
/// Without a pause of its own, a fixed-length reply must be followed by this much quiet: more bytes would mean that it
/// was not the reply.
const FIXED_GAP: Duration = Duration::from_millis(5);

/// The default of all replies may be incomplete; its words must still be known.
pub(super) fn check_default(checker: &mut Checker<'_>, written: Option<&schema::Receive>) {
    let Some(written) = written else { return };
    let place = Place::default().key("framing").key("rx");
    mode(checker, &place, written.mode.as_deref().unwrap_or("line"));
    check_numbers(checker, &place, written);
}

/// The default of the file with the keys of one reading put over it.
pub(super) fn receive(
    checker: &mut Checker<'_>,
    context: &Context<'_>,
    place: &Place,
    written: Option<&schema::Receive>,
) -> Option<Receive> {
    let base = context.document.framing.as_ref().and_then(|framing| framing.rx.clone()).unwrap_or_default();
    let written = written.cloned().unwrap_or_default();
    check_numbers(checker, place, &written);
    let same_mode = written.mode.is_none() || written.mode == base.mode;
    let inherited = if same_mode { base } else { schema::Receive { echo: base.echo, ..Default::default() } };
    let merged = schema::Receive {
        mode: written.mode.or(inherited.mode),
        end: written.end.or(inherited.end),
        len: written.len.or(inherited.len),
        then_drain_ms: written.then_drain_ms.or(inherited.then_drain_ms),
        gap_ms: written.gap_ms.or(inherited.gap_ms),
        max: written.max.or(inherited.max),
        echo: written.echo.or(inherited.echo),
    };
    let max = merged.max.unwrap_or(256);
    let mut gap = Duration::from_millis(merged.gap_ms.unwrap_or(30));
    let mode = match mode(checker, place, merged.mode.as_deref().unwrap_or("line"))? {
        Mode::Line => {
            let end = merged.end.unwrap_or_else(|| "\n".to_owned()).into_bytes();
            if end.is_empty() {
                checker.complain(&place.key("end"), "empty, expected the bytes that end a line");
            }
            ReceiveMode::Stream(Framing::Line { end, max })
        }
        Mode::Fixed => {
            let Some(len) = merged.len else {
                checker.complain(place, "fixed framing without a length, expected rx = { len = N }");
                return None;
            };
            if len == 0 {
                checker.complain(&place.key("len"), "0 bytes, expected at least 1");
            }
            gap = Duration::from_millis(merged.then_drain_ms.or(merged.gap_ms).unwrap_or(0)).max(FIXED_GAP);
            let extra = match (merged.then_drain_ms, merged.max) {
                (None, _) => 0,
                (Some(_), None) => 1,
                (Some(_), Some(max)) => max.saturating_sub(len),
            };
            ReceiveMode::Stream(Framing::Fixed { len, extra })
        }
        Mode::Idle => {
            if gap.is_zero() {
                checker.complain(&place.key("gap_ms"), "0, expected the pause that ends a reply");
            }
            ReceiveMode::Stream(Framing::Idle { max })
        }
        Mode::Header => ReceiveMode::Header,
        Mode::Cobs => ReceiveMode::Cobs,
    };
    let echo = match merged.echo.as_deref() {
        None | Some("none") => false,
        Some("strip") => true,
        Some(other) => {
            checker.complain(&place.key("echo"), format_args!("{other:?} is unknown, expected none or strip"));
            false
        }
    };
    Some(Receive { mode, gap, echo })
}

enum Mode {
    Line,
    Fixed,
    Idle,
    Header,
    Cobs,
}

fn mode(checker: &mut Checker<'_>, place: &Place, text: &str) -> Option<Mode> {
    Some(match text {
        "line" => Mode::Line,
        "fixed" => Mode::Fixed,
        "idle" => Mode::Idle,
        "header" => Mode::Header,
        "cobs" => Mode::Cobs,
        other => {
            checker.complain(
                &place.key("mode"),
                format_args!("{other:?} is unknown, expected line, fixed, idle, header or cobs"),
            );
            return None;
        }
    })
}

fn check_numbers(checker: &mut Checker<'_>, place: &Place, written: &schema::Receive) {
    for (key, value, most) in [("max", written.max, FRAME_MAX), ("len", written.len, FRAME_MAX)] {
        if value.is_some_and(|value| value > most) {
            checker.complain(&place.key(key), format_args!("out of range, expected at most {most}"));
        }
    }
    for (key, value) in [("gap_ms", written.gap_ms), ("then_drain_ms", written.then_drain_ms)] {
        if value.is_some_and(|value| value > 60_000) {
            checker.complain(&place.key(key), "out of range, expected at most 60000");
        }
    }
}

/// Either a text with its reply, or a register.
pub(super) fn query(
    checker: &mut Checker<'_>,
    context: &Context<'_>,
    place: &Place,
    send: Option<&str>,
    read: Option<&schema::Register>,
    rx: Option<&schema::Receive>,
) -> Option<Query> {
    match (send, read) {
        (Some(send), None) => {
            stream_only(checker, context, &place.key("send"))?;
            let bytes = command(checker, context, &place.key("send"), send)?;
            let receive = receive(checker, context, &place.key("rx"), rx)?;
            Some(Query::Text { send: bytes, receive })
        }
        (None, Some(read)) => {
            if rx.is_some() {
                checker.complain(&place.key("rx"), "not used with read: a register's reply has a known length");
            }
            register(checker, context, &place.key("read"), read, &[3, 4]).map(Query::Register)
        }
        (Some(_), Some(_)) => {
            checker.complain(place, "send and read together, expected one of them");
            None
        }
        (None, None) => {
            checker.complain(place, "neither send nor read, expected one of them");
            None
        }
    }
}

fn register(
    checker: &mut Checker<'_>,
    context: &Context<'_>,
    place: &Place,
    written: &schema::Register,
    functions: &[u8],
) -> Option<Register> {
    if !context.transport.is_modbus() {
        checker.complain(place, "a register on a transport that is not Modbus, expected send");
        return None;
    }
    if !functions.contains(&written.function) {
        let names: Vec<String> = functions.iter().map(u8::to_string).collect();
        checker.complain(
            &place.key("fn"),
            format_args!("{} is not usable here, expected {}", written.function, names.join(" or ")),
        );
        return None;
    }
    let number = register_type(checker, &place.key("type"), &written.kind)?;
    Some(Register { function: written.function, address: written.addr, number })
}

pub(super) fn register_type(checker: &mut Checker<'_>, place: &Place, name: &str) -> Option<NumberType> {
    let number = NumberType::parse(name).filter(|number| number.size() >= 2);
    if number.is_none() {
        checker.complain(
            place,
            format_args!("{name:?} is no register type, expected u16, i16, u32, i32, u64, i64, f32 or f64"),
        );
    }
    number
}

pub(super) fn write(
    checker: &mut Checker<'_>,
    context: &Context<'_>,
    place: &Place,
    written: &schema::WriteRegister,
) -> Option<RegisterWrite> {
    let read = schema::Register { function: written.function, addr: written.addr, kind: written.kind.clone() };
    let register = register(checker, context, place, &read, &[6, 16])?;
    if register.function == 6 && register.number.size() != 2 {
        checker.complain(&place.key("fn"), "6 writes one word, expected 16 for this type");
    }
    Some(RegisterWrite { register, value: written.value.clone() })
}

/// A command without placeholders, ready to be sent.
pub(super) fn command(checker: &mut Checker<'_>, context: &Context<'_>, place: &Place, text: &str) -> Option<Vec<u8>> {
    if text.is_empty() || text.len() > COMMAND_MAX {
        checker.complain(place, format_args!("command of {} bytes, expected 1 to {COMMAND_MAX}", text.len()));
        return None;
    }
    let mut bytes = text.as_bytes().to_vec();
    bytes.extend_from_slice(&context.command_end);
    Some(bytes)
}

pub(super) fn stream_only(checker: &mut Checker<'_>, context: &Context<'_>, place: &Place) -> Option<()> {
    if context.transport.is_modbus() {
        checker.complain(place, "a text on a Modbus transport, expected read or write of a register");
        return None;
    }
    Some(())
}

pub(super) fn steps(
    checker: &mut Checker<'_>,
    context: &Context<'_>,
    place: &Place,
    written: &[TextOr<schema::Write>],
) -> Vec<Step> {
    let mut compiled = Vec::new();
    for (index, step) in written.iter().enumerate() {
        let place = place.index(index);
        compiled.extend(match step {
            TextOr::Text(text) => stream_only(checker, context, &place)
                .and_then(|()| command(checker, context, &place, text))
                .map(Step::Send),
            TextOr::Table(step) => {
                let write = write(checker, context, &place.key("write"), &step.write);
                if write.as_ref().is_some_and(|write| write.value.as_f64().is_none()) {
                    checker.complain(&place.key("write").key("value"), "not a number");
                }
                write.map(Step::Write)
            }
        });
    }
    compiled
}
