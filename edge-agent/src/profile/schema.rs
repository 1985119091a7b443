//! The TOML form of a profile, format 1, as it is written. Types and unknown keys are checked here, meaning is not.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use rigwire_shared::value::Value;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

pub(super) type Table<T> = BTreeMap<String, T>;

macro_rules! section {
    ($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident : $kind:ty),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(super) struct $name {
            $($(#[$field_meta])* pub(super) $field: $kind,)*
        }
    };
}

section! { Document {
    schema: u32,
    profile: Header,
    #[serde(default, rename = "match")] matches: Vec<Match>,
    transport: Transport,
    framing: Option<Framing>,
    #[serde(default)] timing: Timing,
    identify: Option<Identify>,
    #[serde(default)] mode: Modes,
    #[serde(default)] reading: Vec<Reading>,
    #[serde(default)] action: Vec<Action>,
    errors: Option<Errors>,
    safe_state: Option<SafeState>,
    release: Option<Release>,
    simulator: Option<Simulator>,
    #[serde(default)] vector: Vec<Vector>,
} }

section! { Header {
    id: String,
    vendor: String,
    model: String,
    class: String,
    version: String,
    #[serde(default)] aliases: Vec<String>,
    sources: Vec<String>,
    verified: Option<String>,
} }

section! { Match {
    idn: Option<String>,
    #[serde(default)] usb: Vec<String>,
    #[serde(default)] usb_hint: Vec<String>,
    usb_serial: Option<String>,
    id_path: Option<String>,
    #[serde(default)] config: bool,
    probe: Option<String>,
} }

section! { Transport {
    any_of: Vec<String>,
    serial: Option<Serial>,
    modbus: Option<Modbus>,
} }

section! { #[derive(Default)] Serial {
    baud: Option<u32>,
    data: Option<u8>,
    parity: Option<String>,
    stop: Option<u8>,
    flow: Option<String>,
    dtr: Option<String>,
    rts: Option<String>,
    rs485: Option<String>,
    low_latency: Option<bool>,
    boot_ms: Option<u64>,
} }

section! { Modbus {
    unit: Option<u8>,
    word_order: Option<String>,
    max_words: Option<u16>,
    max_gap: Option<u16>,
} }

section! { Framing {
    #[serde(default)] tx_end: String,
    rx: Option<Receive>,
} }

section! { #[derive(Default, Clone)] Receive {
    mode: Option<String>,
    end: Option<String>,
    len: Option<usize>,
    then_drain_ms: Option<u64>,
    gap_ms: Option<u64>,
    max: Option<usize>,
    echo: Option<String>,
} }

section! { #[derive(Default)] Timing {
    timeout_ms: Option<u64>,
    gap_ms: Option<u64>,
    retries: Option<u8>,
    resync: Option<TextOr<Drain>>,
    offline: Option<Offline>,
} }

section! { Drain { drain_ms: u64 } }

section! { Offline { after: u32, probe: String, max: String } }

section! { Identify {
    send: Option<String>,
    read: Option<Register>,
    rx: Option<Receive>,
    check: Option<Check>,
} }

section! { Check { mask: Option<u64>, equals: u64 } }

section! { #[derive(Default)] Modes { #[serde(default)] observe: Mode, #[serde(default)] own: Mode } }

section! { #[derive(Default)] Mode { #[serde(default)] init: Vec<TextOr<Write>> } }

section! { Register {
    #[serde(rename = "fn")] function: u8,
    addr: u16,
    #[serde(rename = "type")] kind: String,
} }

section! { Write { write: WriteRegister } }

section! { WriteRegister {
    #[serde(rename = "fn")] function: u8,
    addr: u16,
    #[serde(rename = "type")] kind: String,
    value: Value,
} }

section! { Reading {
    id: String,
    doc: Option<String>,
    modes: Option<Vec<String>>,
    send: Option<String>,
    read: Option<Register>,
    rx: Option<Receive>,
    parse: Option<Parse>,
    metric: String,
    unit: Option<TextOr<UnitFrom>>,
    scale: Option<f64>,
    offset: Option<f64>,
    every: Option<String>,
    #[serde(default)] on_change: bool,
    deadband: Option<f64>,
    invalid: Option<Invalid>,
    limits: Option<Limits>,
    timeout_ms: Option<u64>,
} }

section! { UnitFrom { from: String, map: Table<String> } }

section! { Parse {
    kind: String,
    decimal: Option<String>,
    strip: Option<String>,
    index: Option<usize>,
    separator: Option<String>,
    re: Option<String>,
    value: Option<String>,
    map: Option<Table<String>>,
    width: Option<usize>,
    from: Option<String>,
    len: Option<usize>,
    #[serde(rename = "type")] number: Option<String>,
    order: Option<String>,
    fields: Option<Table<Field>>,
} }

section! { Field {
    bit: Option<usize>,
    bits: Option<[usize; 2]>,
    map: Option<Table<String>>,
    offset: Option<usize>,
    #[serde(rename = "type")] number: Option<String>,
    scale: Option<f64>,
} }

section! { InvalidRule {
    raw: Option<u64>,
    width: Option<usize>,
    abs_ge: Option<f64>,
    nan: Option<bool>,
    status: Option<String>,
    #[serde(rename = "as")] quality: Option<String>,
} }

section! { Limits {
    high: Option<f64>,
    high_clear: Option<f64>,
    low: Option<f64>,
    low_clear: Option<f64>,
    #[serde(rename = "for")] hold: Option<String>,
    stale_after: Option<String>,
    rate: Option<f64>,
} }

section! { Action {
    id: String,
    doc: Option<String>,
    #[serde(default)] params: Vec<Parameter>,
    send: Option<String>,
    write: Option<WriteRegister>,
    rx: Option<Receive>,
    expect: Option<String>,
    verify: Option<Verify>,
    hazard: Option<String>,
    write_limit: Option<WriteLimit>,
    timeout_ms: Option<u64>,
} }

section! { Parameter {
    name: String,
    #[serde(rename = "type")] kind: String,
    unit: Option<String>,
    min: Option<f64>,
    max: Option<f64>,
    step: Option<f64>,
    values: Option<Vec<Value>>,
} }

section! { Verify {
    send: Option<String>,
    read: Option<Register>,
    rx: Option<Receive>,
    parse: Option<Parse>,
    reading: Option<String>,
    field: Option<String>,
    equals: Value,
    tol: Option<f64>,
} }

section! { WriteLimit {
    #[serde(default)] skip_if_equal: bool,
    min_interval: Option<String>,
    lifetime: Option<u64>,
} }

section! { Errors {
    send: Option<String>,
    rx: Option<Receive>,
    none: Option<String>,
    parse: Option<String>,
    when: Option<Vec<String>>,
    drain_max: Option<u32>,
    #[serde(default)] none_available: bool,
} }

section! { SafeState {
    on: Vec<String>,
    #[serde(default)] steps: Vec<TextOr<Write>>,
    verify: Option<Verify>,
    unreachable: Option<String>,
    watchdog: Option<Watchdog>,
} }

section! { Watchdog {
    #[serde(default)] steps: Vec<TextOr<Write>>,
    timeout: String,
} }

section! { Release { #[serde(default)] steps: Vec<TextOr<Write>> } }

section! { Simulator {
    idn: Option<String>,
    unit: Option<u8>,
    #[serde(default)] vars: Table<Value>,
    #[serde(default)] rules: Vec<Rule>,
    #[serde(default)] image: Vec<ImageCell>,
    #[serde(default)] model: Vec<Model>,
    #[serde(default)] faults: Vec<String>,
} }

section! { Rule {
    on: String,
    reply: Option<String>,
    reply_byte: Option<String>,
    #[serde(default)] set: Vec<String>,
    push: Option<Table<String>>,
    pop: Option<String>,
    empty: Option<String>,
    delay_ms: Option<u64>,
} }

section! { ImageCell {
    addr: u16,
    #[serde(rename = "type")] kind: String,
    value: Value,
} }

section! { Model {
    kind: String,
    from: Option<u16>,
    to: u16,
    tau: Option<String>,
    rate: Option<f64>,
} }

section! { Vector {
    reading: String,
    rx: Option<String>,
    rx_hex: Option<String>,
    expect: Table<Value>,
} }

/// Either a text or a table.
#[derive(Debug)]
pub(super) enum TextOr<T> {
    Text(String),
    Table(T),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for TextOr<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Either<T> {
            type Value = TextOr<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a table")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<TextOr<T>, E> {
                Ok(TextOr::Text(text.to_owned()))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<TextOr<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(TextOr::Table)
            }
        }
        deserializer.deserialize_any(Either(PhantomData))
    }
}

/// A named set of rules, one rule, or a list of rules.
#[derive(Debug)]
pub(super) enum Invalid {
    Named(String),
    Rules(Vec<InvalidRule>),
}

impl<'de> Deserialize<'de> for Invalid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Invalid;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"scpi\", a rule or a list of rules")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Invalid, E> {
                Ok(Invalid::Named(text.to_owned()))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Invalid, A::Error> {
                InvalidRule::deserialize(MapAccessDeserializer::new(map)).map(|rule| Invalid::Rules(vec![rule]))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, sequence: A) -> Result<Invalid, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(sequence)).map(Invalid::Rules)
            }
        }
        deserializer.deserialize_any(Any)
    }
}
