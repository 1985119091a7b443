//! From the written form to the compiled one: every check of meaning. Does no I/O.

mod action;
mod parse;
mod reading;
mod receive;
mod safety;
mod simulator;
mod vector;

use std::time::Duration;

use regex::Regex;
use rigwire_shared::unit::Unit;
use toml::de::DeTable;

use super::definition::{
    Flow, Identify, Match, Parity, Probe, Query, ReceiveMode, SerialSettings, Timing, Transport, TransportKind,
};
use super::error::{Checker, Place, ProfileError, from_toml};
use super::schema::{self, TextOr};
use super::{Profile, duration};
use crate::protocol::words::WordOrder;

/// Version of the file format.
const SCHEMA: u32 = 1;
/// How long a line must be quiet after a lost reply before its identity query is used to find the next reply.
const QUIET_DEFAULT: Duration = Duration::from_millis(100);

/// What the parts of a file need to know about each other.
struct Context<'a> {
    document: &'a schema::Document,
    transport: &'a Transport,
    timeout: Duration,
    command_end: Vec<u8>,
}

pub(super) fn profile(file: &str, source: &str) -> Result<Profile, ProfileError> {
    let document: schema::Document = toml::from_str(source).map_err(|error| from_toml(file, source, &error))?;
    let table = DeTable::parse(source).map_err(|error| from_toml(file, source, &error))?;
    let mut checker = Checker::new(file, source, table.get_ref());
    let compiled = compile(&mut checker, &document);
    checker.finish()?;
    compiled.ok_or_else(|| ProfileError::whole_file(file, "the profile is incomplete"))
}

fn compile(checker: &mut Checker<'_>, document: &schema::Document) -> Option<Profile> {
    let root = Place::default();
    if document.schema != SCHEMA {
        checker.complain(&root.key("schema"), format_args!("{} is unknown, expected {SCHEMA}", document.schema));
    }
    header(checker, &document.profile);
    let matches = matches(checker, &document.matches);
    let transport = transport(checker, &document.transport);
    let timing = timing(checker, &document.timing);
    let command_end = document.framing.as_ref().map(|framing| framing.tx_end.clone().into_bytes()).unwrap_or_default();
    let context = Context { document, transport: &transport, timeout: timing.timeout, command_end };

    if let Some(framing) = &document.framing {
        receive::check_default(checker, framing.rx.as_ref());
    }
    let identify = identify(checker, &context);
    let mut own_init = Vec::new();
    let mut observe_init = Vec::new();
    for (name, mode, steps) in
        [("observe", &document.mode.observe, &mut observe_init), ("own", &document.mode.own, &mut own_init)]
    {
        *steps = receive::steps(checker, &context, &root.key("mode").key(name).key("init"), &mode.init);
    }
    if !observe_init.is_empty() {
        checker.complain(
            &root.key("mode").key("observe").key("init"),
            "not empty: observing never changes state, expected []",
        );
    }
    let readings = reading::readings(checker, &context);
    let actions = action::actions(checker, &context);
    let errors = safety::errors(checker, &context);
    let safe_state = safety::safe_state(checker, &context);
    let release = document.release.as_ref().map_or_else(Vec::new, |release| {
        receive::steps(checker, &context, &root.key("release").key("steps"), &release.steps)
    });
    let simulator = simulator::simulator(checker, &context);
    let vectors = vector::vectors(checker, &context, &readings);

    let not_driven = not_driven(&transport, &readings, identify.as_ref());
    let header = &document.profile;
    Some(Profile {
        id: header.id.clone(),
        vendor: header.vendor.clone(),
        model: header.model.clone(),
        class: header.class.clone(),
        version: header.version.clone(),
        aliases: header.aliases.clone(),
        sources: header.sources.clone(),
        verified: header.verified.clone().unwrap_or_else(|| "not on hardware".to_owned()),
        matches,
        transport: transport.clone(),
        timing,
        identify,
        own_init,
        readings,
        actions,
        errors,
        safe_state,
        release,
        simulator,
        vectors,
        command_end: context.command_end,
        not_driven,
    })
}

fn header(checker: &mut Checker<'_>, header: &schema::Header) {
    let place = Place::default().key("profile");
    let id_is_usable = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-' | '_');
    if header.id.is_empty()
        || header.id.len() > 64
        || !header.id.chars().all(id_is_usable)
        || header.id.starts_with('.')
    {
        checker.complain(
            &place.key("id"),
            format_args!("{:?} is not usable, expected at most 64 of a-z, 0-9, '.', '-' and '_'", header.id),
        );
    }
    for (key, text) in
        [("vendor", &header.vendor), ("model", &header.model), ("class", &header.class), ("version", &header.version)]
    {
        if text.trim().is_empty() {
            checker.complain(&place.key(key), "empty, expected a text");
        }
    }
    if header.sources.iter().all(|source| source.trim().is_empty()) {
        checker.complain(&place.key("sources"), "no source, expected where each command was checked");
    }
}

fn matches(checker: &mut Checker<'_>, entries: &[schema::Match]) -> Vec<Match> {
    let mut compiled = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let place = Place::default().key("match").index(index);
        let idn = entry.idn.as_ref().and_then(|text| regex(checker, &place.key("idn"), text));
        for (key, ids) in [("usb", &entry.usb), ("usb_hint", &entry.usb_hint)] {
            for id in ids.iter().filter(|id| !is_usb_id(id)) {
                checker
                    .complain(&place.key(key), format_args!("{id:?} is no USB id, expected a form such as 0416:5011"));
            }
        }
        let probe = match entry.probe.as_deref() {
            None => Probe::default(),
            Some("never") => Probe::Never,
            Some("opt-in") => Probe::OptIn,
            Some("safe") => Probe::Safe,
            Some(other) => {
                checker.complain(
                    &place.key("probe"),
                    format_args!("{other:?} is unknown, expected never, opt-in or safe"),
                );
                Probe::Never
            }
        };
        let says_something = idn.is_some()
            || entry.idn.is_some()
            || entry.config
            || entry.usb_serial.is_some()
            || entry.id_path.is_some()
            || !entry.usb.is_empty()
            || !entry.usb_hint.is_empty();
        if !says_something {
            checker.complain(&place, "empty, expected idn, usb, usb_hint, usb_serial, id_path or config = true");
        }
        compiled.push(Match { idn, usb: entry.usb.clone(), usb_hint: entry.usb_hint.clone(), probe });
    }
    compiled
}

fn is_usb_id(text: &str) -> bool {
    let part = |part: &str| part.len() == 4 && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    text.split_once(':').is_some_and(|(vendor, product)| part(vendor) && part(product))
}

fn transport(checker: &mut Checker<'_>, written: &schema::Transport) -> Transport {
    let place = Place::default().key("transport");
    let mut kinds = Vec::new();
    let mut tcp_port = None;
    for (index, text) in written.any_of.iter().enumerate() {
        let (name, port) = text.split_once(':').map_or((text.as_str(), None), |(name, port)| (name, Some(port)));
        let kind = match name {
            "serial" => TransportKind::Serial,
            "usbtmc" => TransportKind::UsbTmc,
            "tcp" => TransportKind::Tcp,
            "modbus-rtu" => TransportKind::ModbusRtu,
            "modbus-rtu-over-tcp" => TransportKind::ModbusRtuOverTcp,
            "modbus-tcp" => TransportKind::ModbusTcp,
            "cobs" => TransportKind::Cobs,
            _ => {
                checker.complain(
                    &place.key("any_of").index(index),
                    format_args!("{text:?} is unknown, expected serial, usbtmc, tcp:PORT, modbus-rtu, modbus-rtu-over-tcp, modbus-tcp or cobs"),
                );
                continue;
            }
        };
        match (kind, port.map(str::parse::<u16>)) {
            (TransportKind::Tcp, Some(Ok(port))) if port > 0 => tcp_port = Some(port),
            (TransportKind::Tcp, _) => {
                checker.complain(
                    &place.key("any_of").index(index),
                    format_args!("{text:?} has no port, expected a form such as tcp:5025"),
                );
            }
            (_, Some(_)) => {
                checker.complain(
                    &place.key("any_of").index(index),
                    format_args!("{text:?} takes no port, expected {name}"),
                );
            }
            (_, None) => {}
        }
        kinds.push(kind);
    }
    if written.any_of.is_empty() {
        checker.complain(&place.key("any_of"), "empty, expected at least one transport");
    }
    let is_modbus = |kind: &TransportKind| {
        matches!(kind, TransportKind::ModbusRtu | TransportKind::ModbusRtuOverTcp | TransportKind::ModbusTcp)
    };
    if kinds.iter().any(is_modbus) && !kinds.iter().all(is_modbus) {
        checker.complain(&place.key("any_of"), "mixes Modbus with other transports, expected one kind per profile");
    }
    let serial = serial(checker, &place.key("serial"), written.serial.as_ref());
    let order = written.modbus.as_ref().and_then(|modbus| modbus.word_order.as_deref()).unwrap_or("ABCD");
    let order = WordOrder::parse(order).unwrap_or_else(|| {
        let place = place.key("modbus").key("word_order");
        checker.complain(&place, format_args!("{order:?} is unknown, expected ABCD, CDAB, BADC or DCBA"));
        WordOrder::default()
    });
    if written.modbus.is_some() && !kinds.iter().any(is_modbus) {
        checker.complain(&place.key("modbus"), "given without a Modbus transport in any_of");
    }
    if let Some(modbus) = &written.modbus
        && modbus.max_words.is_some_and(|words| words == 0 || words > 125)
    {
        checker.complain(&place.key("modbus").key("max_words"), "out of range, expected 1 to 125");
    }
    if let Some(modbus) = &written.modbus
        && modbus.max_gap.is_some_and(|words| words > 125)
    {
        checker.complain(&place.key("modbus").key("max_gap"), "out of range, expected at most 125");
    }
    let unit = written.modbus.as_ref().and_then(|modbus| modbus.unit).unwrap_or(1);
    if unit == 0 || unit > 247 {
        checker
            .complain(&place.key("modbus").key("unit"), format_args!("{unit} is no unit address, expected 1 to 247"));
    }
    Transport { kinds, tcp_port, serial, unit, order }
}

fn serial(checker: &mut Checker<'_>, place: &Place, written: Option<&schema::Serial>) -> SerialSettings {
    let default = schema::Serial::default();
    let written = written.unwrap_or(&default);
    fn choose<T: Copy>(
        checker: &mut Checker<'_>,
        place: &Place,
        text: Option<&str>,
        words: &[(&str, T)],
        otherwise: T,
    ) -> T {
        let Some(text) = text else { return otherwise };
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return *value;
        }
        let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        checker.complain(place, format_args!("{text:?} is unknown, expected {}", names.join(", ")));
        otherwise
    }
    let parities = [("none", Parity::None), ("even", Parity::Even), ("odd", Parity::Odd)];
    let flows = [("none", Flow::None), ("rtscts", Flow::RtsCts), ("xonxoff", Flow::XonXoff)];
    let lines = [("keep", None), ("on", Some(true)), ("off", Some(false))];
    let settings = SerialSettings {
        baud: written.baud.unwrap_or(9600),
        data: written.data.unwrap_or(8),
        parity: choose(checker, &place.key("parity"), written.parity.as_deref(), &parities, Parity::None),
        stop: written.stop.unwrap_or(1),
        flow: choose(checker, &place.key("flow"), written.flow.as_deref(), &flows, Flow::None),
        dtr: choose(checker, &place.key("dtr"), written.dtr.as_deref(), &lines, None),
        rts: choose(checker, &place.key("rts"), written.rts.as_deref(), &lines, None),
        low_latency: written.low_latency.unwrap_or(false),
        boot_ms: written.boot_ms.unwrap_or(0),
    };
    let _: () = choose(checker, &place.key("rs485"), written.rs485.as_deref(), &[("auto", ()), ("kernel", ())], ());
    for (key, usable, expected) in [
        ("baud", (50..=4_000_000).contains(&settings.baud), "50 to 4000000"),
        ("data", (5..=8).contains(&settings.data), "5 to 8"),
        ("stop", (1..=2).contains(&settings.stop), "1 or 2"),
        ("boot_ms", settings.boot_ms <= 60_000, "at most 60000"),
    ] {
        if !usable {
            checker.complain(&place.key(key), format_args!("out of range, expected {expected}"));
        }
    }
    settings
}

fn timing(checker: &mut Checker<'_>, written: &schema::Timing) -> Timing {
    let place = Place::default().key("timing");
    let timeout = Duration::from_millis(written.timeout_ms.unwrap_or(1000));
    for (key, value, least) in [("timeout_ms", written.timeout_ms, 1), ("gap_ms", written.gap_ms, 0)] {
        if value.is_some_and(|value| value < least || value > 600_000) {
            checker.complain(&place.key(key), format_args!("out of range, expected {least} to 600000"));
        }
    }
    let quiet = match &written.resync {
        Some(TextOr::Table(drain)) if drain.drain_ms <= 600_000 => Duration::from_millis(drain.drain_ms),
        Some(TextOr::Table(_)) => {
            checker.complain(&place.key("resync"), "drain_ms is out of range, expected 0 to 600000");
            timeout
        }
        Some(TextOr::Text(text)) if text == "quiet" => timeout,
        Some(TextOr::Text(text)) if text == "device-clear" => QUIET_DEFAULT,
        Some(TextOr::Text(text)) => {
            checker.complain(
                &place.key("resync"),
                format_args!("{text:?} is unknown, expected quiet, device-clear or {{ drain_ms = N }}"),
            );
            timeout
        }
        None => QUIET_DEFAULT,
    };
    if let Some(offline) = &written.offline {
        for (key, text) in [("probe", &offline.probe), ("max", &offline.max)] {
            checker.take(&place.key("offline").key(key), duration::parse_period(text));
        }
        if offline.after == 0 {
            checker.complain(&place.key("offline").key("after"), "0 lost replies, expected at least 1");
        }
    }
    Timing {
        timeout,
        gap: Duration::from_millis(written.gap_ms.unwrap_or(0)),
        retries: written.retries.unwrap_or(0).min(10),
        quiet,
    }
}

fn identify(checker: &mut Checker<'_>, context: &Context<'_>) -> Option<Identify> {
    let written = context.document.identify.as_ref()?;
    let place = Place::default().key("identify");
    let query =
        receive::query(checker, context, &place, written.send.as_deref(), written.read.as_ref(), written.rx.as_ref())?;
    let check = written.check.as_ref().map(|check| (check.mask.unwrap_or(u64::MAX), check.equals));
    if let Some((mask, equals)) = check
        && equals & !mask != 0
    {
        checker.complain(&place.key("check").key("equals"), "has bits outside of mask and can never match");
    }
    if check.is_some() && written.read.is_none() {
        checker.complain(&place.key("check"), "needs a register: expected read beside it");
    }
    Some(Identify { query })
}

fn not_driven(
    transport: &Transport,
    readings: &[super::definition::Reading],
    identify: Option<&Identify>,
) -> Option<String> {
    let stream = |kind: &TransportKind| matches!(kind, TransportKind::Serial | TransportKind::Tcp);
    if !transport.kinds.iter().any(stream) {
        let names: Vec<&str> = transport.kinds.iter().map(|kind| kind.as_str()).collect();
        return Some(format!("transport {} is not driven yet, expected serial or tcp", names.join(", ")));
    }
    let queries = readings.iter().map(|reading| (reading.id.as_str(), &reading.query));
    for (name, query) in queries.chain(identify.map(|identify| ("identify", &identify.query))) {
        if let Query::Text { receive, .. } = query {
            let mode = match receive.mode {
                ReceiveMode::Stream(_) => continue,
                ReceiveMode::Header => "header",
                ReceiveMode::Cobs => "cobs",
            };
            return Some(format!("framing {mode} of {name} is not driven yet, expected line, fixed or idle"));
        }
    }
    None
}

fn regex(checker: &mut Checker<'_>, place: &Place, text: &str) -> Option<Regex> {
    let compiled = regex::RegexBuilder::new(text).size_limit(1 << 20).build();
    checker.take(place, compiled.map_err(|error| pattern_error(text, &error)))
}

fn pattern_error(text: &str, error: &regex::Error) -> String {
    let reason = error.to_string();
    let reason = reason.lines().last().unwrap_or("it does not compile").trim_start_matches("error: ").to_owned();
    format!("pattern {text:?} is wrong: {reason}")
}

fn unit(checker: &mut Checker<'_>, place: &Place, text: &str) -> Unit {
    Unit::parse(text).unwrap_or_else(|| {
        checker.complain(
            place,
            format_args!("unit {text:?} is too long, expected at most {} bytes", rigwire_shared::unit::UNIT_MAX),
        );
        Unit::None
    })
}

/// An id is spelled as one, and belongs to one `noun` only.
fn check_id(checker: &mut Checker<'_>, place: &Place, noun: &str, id: &str, is_new: bool) {
    if !usable_name(id) {
        checker.complain(&place.key("id"), format_args!("{id:?} is not usable, expected letters, digits and _"));
    }
    if !is_new {
        checker.complain(&place.key("id"), format_args!("{id:?} is used twice, expected one {noun} of that id"));
    }
}

fn usable_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= 48 && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}
