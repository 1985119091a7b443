//! A profile after checking: compiled, immutable, ready for a driver. Knows neither TOML nor ports.

use std::collections::BTreeMap;
use std::time::Duration;

use regex::Regex;
use rigwire_shared::ids::MetricName;
use rigwire_shared::unit::Unit;
use rigwire_shared::value::Value;

use crate::protocol::framing::Framing;
use crate::protocol::parse::Parse;
use crate::protocol::quality::InvalidRule;
use crate::protocol::template::Template;
use crate::protocol::words::{NumberType, WordOrder};
use crate::simulator::fault::Fault;

#[derive(Debug, Clone)]
pub(crate) struct Match {
    pub(crate) idn: Option<Regex>,
    pub(crate) usb: Vec<String>,
    pub(crate) usb_hint: Vec<String>,
    pub(crate) probe: Probe,
}

/// Whether an identity query may be sent to a port that nobody configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Probe {
    Never,
    #[default]
    OptIn,
    Safe,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransportKind {
    Serial,
    UsbTmc,
    Tcp,
    ModbusRtu,
    ModbusRtuOverTcp,
    ModbusTcp,
    Cobs,
}

#[derive(Debug, Clone)]
pub(crate) struct Transport {
    pub(crate) kinds: Vec<TransportKind>,
    pub(crate) tcp_port: Option<u16>,
    pub(crate) serial: SerialSettings,
    pub(crate) unit: u8,
    pub(crate) order: WordOrder,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SerialSettings {
    pub baud: u32,
    pub data: u8,
    pub parity: Parity,
    pub stop: u8,
    pub flow: Flow,
    /// `None` leaves the line as the system sets it.
    pub dtr: Option<bool>,
    pub rts: Option<bool>,
    pub low_latency: bool,
    /// How long a device that restarts when its port opens needs before the first request.
    pub boot_ms: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Parity {
    #[default]
    None,
    Even,
    Odd,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Flow {
    #[default]
    None,
    RtsCts,
    XonXoff,
}

#[derive(Debug, Clone)]
pub(crate) struct Timing {
    pub(crate) timeout: Duration,
    /// Kept after every command.
    pub(crate) gap: Duration,
    pub(crate) retries: u8,
    /// How long the line must be quiet before it is trusted again; never less than the timeout after a lost reply.
    pub(crate) quiet: Duration,
}

#[derive(Debug, Clone)]
pub(crate) struct Receive {
    pub(crate) mode: ReceiveMode,
    /// The pause that completes a reply, where one does.
    pub(crate) gap: Duration,
    pub(crate) echo: bool,
}

#[derive(Debug, Clone)]
pub(crate) enum ReceiveMode {
    Stream(Framing),
    Header,
    Cobs,
}

#[derive(Debug, Clone)]
pub(crate) enum Query {
    Text { send: Vec<u8>, receive: Receive },
    Register(Register),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Register {
    pub(crate) function: u8,
    pub(crate) address: u16,
    pub(crate) number: NumberType,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RegisterWrite {
    pub(crate) register: Register,
    pub(crate) value: Value,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Step {
    Send(Vec<u8>),
    Write(RegisterWrite),
}

#[derive(Debug, Clone)]
pub(crate) struct Identify {
    pub(crate) query: Query,
}

#[derive(Debug, Clone)]
pub(crate) struct Reading {
    pub(crate) id: String,
    pub(crate) observe: bool,
    pub(crate) own: bool,
    pub(crate) query: Query,
    pub(crate) timeout: Duration,
    pub(crate) parse: Parse,
    pub(crate) metric: MetricName,
    /// `metric` itself, or one name per field.
    pub(crate) metrics: Vec<MetricName>,
    pub(crate) unit: UnitRule,
    pub(crate) scale: f64,
    pub(crate) offset: f64,
    pub(crate) every: Option<Duration>,
    pub(crate) on_change: bool,
    pub(crate) deadband: f64,
    pub(crate) invalid: Vec<InvalidRule>,
    pub(crate) limits: Option<Limits>,
}

#[derive(Debug, Clone)]
pub(crate) enum UnitRule {
    Fixed(Unit),
    /// The reply's own unit, translated; one that is not in the list is no known quantity.
    FromReply(BTreeMap<String, Unit>),
}

/// Thresholds of a reading, with hysteresis and hold time.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    pub high: Option<f64>,
    pub high_clear: Option<f64>,
    pub low: Option<f64>,
    pub low_clear: Option<f64>,
    pub hold: Duration,
    pub stale_after: Option<Duration>,
    /// Largest change per second.
    pub rate: Option<f64>,
}

#[derive(Debug, Clone)]
pub(crate) struct Action {
    pub(crate) id: String,
    pub(crate) about: String,
    pub(crate) hazard: Option<String>,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) command: Command,
    /// Form of the answer, for devices that answer a command.
    pub(crate) expect: Option<(Regex, Receive)>,
    pub(crate) verify: Option<Verify>,
    pub(crate) skip_if_equal: bool,
    pub(crate) min_interval: Option<Duration>,
    pub(crate) lifetime: Option<u64>,
    pub(crate) timeout: Duration,
}

#[derive(Debug, Clone)]
pub(crate) enum Command {
    Send(Template),
    /// A register: checked, and refused by a driver that masters no Modbus.
    Write,
}

#[derive(Debug, Clone)]
pub(crate) struct Parameter {
    pub(crate) name: String,
    pub(crate) unit: Unit,
    pub(crate) kind: ParameterKind,
}

#[derive(Debug, Clone)]
pub(crate) enum ParameterKind {
    Float { min: Option<f64>, max: Option<f64>, step: Option<f64> },
    Int { min: Option<f64>, max: Option<f64>, step: Option<f64> },
    Bool,
    Text,
    Enum(Vec<Value>),
}

#[derive(Debug, Clone)]
pub(crate) struct Verify {
    pub(crate) source: VerifySource,
    pub(crate) equals: Equals,
    pub(crate) tolerance: f64,
}

#[derive(Debug, Clone)]
pub(crate) enum VerifySource {
    Query { query: Query, parse: Parse },
    Reading { reading: String, field: Option<String> },
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Equals {
    Parameter(String),
    Value(Value),
}

#[derive(Debug, Clone)]
pub(crate) struct ErrorQueue {
    pub(crate) send: Vec<u8>,
    pub(crate) receive: Receive,
    pub(crate) none: Regex,
    pub(crate) parse: Regex,
    pub(crate) after_action: bool,
    pub(crate) every: Option<Duration>,
    pub(crate) drain_max: u32,
}

/// When the safe state is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    Abort,
    LeaseLost,
    HubLost,
    Shutdown,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct SafeState {
    pub(crate) triggers: Vec<Trigger>,
    pub(crate) hub_lost_after: Option<Duration>,
    pub(crate) steps: Vec<Step>,
    pub(crate) verify: Option<Verify>,
}

/// The instrument as its own simulator plays it.
#[derive(Debug, Clone)]
pub struct SimulatorDefinition {
    pub(crate) command_end: Vec<u8>,
    pub(crate) reply_end: Vec<u8>,
    pub(crate) variables: BTreeMap<String, Variable>,
    pub(crate) rules: Vec<Rule>,
    pub(crate) faults: Vec<Fault>,
    /// Whether the simulated device is an image of registers, which no simulator serves yet.
    pub(crate) is_image: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Variable {
    Number(f64),
    Text(String),
    Queue(Vec<String>),
}

#[derive(Debug, Clone)]
pub(crate) struct Rule {
    pub(crate) on: regex::bytes::Regex,
    pub(crate) reply: Option<Template>,
    pub(crate) reply_byte: Option<crate::protocol::expression::Expression>,
    pub(crate) set: Vec<String>,
    pub(crate) push: Vec<(String, String)>,
    pub(crate) pop: Option<(String, String)>,
    pub(crate) delay: Duration,
}

/// A reply from a manual and what it means.
#[derive(Debug, Clone)]
pub(crate) struct Vector {
    pub(crate) reading: usize,
    pub(crate) line: usize,
    pub(crate) received: Vec<u8>,
    pub(crate) expect: Vec<(String, Value)>,
}
