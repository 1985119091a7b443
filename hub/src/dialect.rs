//! The five published protocols. Each is a room of its own: words (an event becomes messages, rendered once for all its
//! watchers), manners (a session without sockets: greeting, subscriptions, limits, close) and the paths that lead to it.
//! Adding a sixth touches one folder and its entry in the list below.
//! Knows no socket, no clock and no axum.

use std::borrow::Cow;
use std::time::Instant;

use bytes::Bytes;
use rigwire_shared::command::PreviewQuality;
use rigwire_shared::ids::{DeviceId, RunId};
use rigwire_shared::time::Timestamp;
use rigwire_shared::value::Value;
use serde::{Deserialize, Serialize};

use crate::event::{DeviceSnapshot, Event, RunSnapshot};
use crate::fanout::Published;

pub use order::{Answer, Meant, Order, Outcome, Wish};
pub use reference::BadReference;
pub use room::{Admission, Denial, Room};
pub use visits::Visits;

pub mod agent_events;
pub mod device_farm;
mod order;
mod outbox;
pub mod protocol_runs;
mod reference;
mod room;
pub mod solver_runs;
pub mod test_dashboard;
mod visits;

/// The list of protocols: the folder of each holds its `ROOM`, and everything that concerns all of them goes through that.
macro_rules! dialects {
    ($($dialect:ident => $folder:ident),+ $(,)?) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Dialect {
            $($dialect),+
        }

        /// The numbers of each protocol.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
        pub struct Limits {
            $(pub $folder: $folder::Limits),+
        }

        impl Dialect {
            pub const ALL: [Self; [$(Self::$dialect),+].len()] = [$(Self::$dialect),+];

            pub const fn room(self) -> &'static Room {
                match self {
                    $(Self::$dialect => &$folder::ROOM),+
                }
            }
        }
    };
}

dialects! {
    ProtocolRuns => protocol_runs,
    DeviceFarm => device_farm,
    AgentEvents => agent_events,
    SolverRuns => solver_runs,
    TestDashboard => test_dashboard,
}

impl Dialect {
    pub const fn as_str(self) -> &'static str {
        self.room().name
    }

    pub const fn index(self) -> usize {
        self as usize
    }

    /// The words of this dialect for one event: none, one or several messages, in order.
    pub fn render(self, event: &Event) -> Vec<Rendered> {
        (self.room().render)(event)
    }
}

/// JSON on one line, encoded once and shared by every client that gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text(Bytes);

impl Text {
    /// Messages are structs of plain fields, so encoding cannot fail; a non-finite number becomes null.
    pub fn json<T: Serialize>(message: &T) -> Self {
        Self(Bytes::from(serde_json::to_vec(message).unwrap_or_else(|_| b"null".to_vec())))
    }

    pub fn from_string(text: String) -> Self {
        Self(Bytes::from(text))
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    pub fn bytes(&self) -> Bytes {
        self.0.clone()
    }
}

/// One message of a dialect, with what a session needs to decide whether its client wants it.
#[derive(Debug, Clone)]
pub struct Rendered {
    pub text: Text,
    /// What a subscription names: a message type, or a topic such as `test:progress`.
    pub topic: Cow<'static, str>,
    /// Fields that a subscription's filter may compare.
    pub fields: Vec<(&'static str, Value)>,
}

impl Rendered {
    pub fn new<T: Serialize>(topic: &'static str, message: &T) -> Self {
        Self { text: Text::json(message), topic: Cow::Borrowed(topic), fields: Vec::new() }
    }
}

/// What a session wants done.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    Send(Text),
    Do(Request),
    /// After everything sent before it.
    Close {
        code: u16,
        reason: Cow<'static, str>,
    },
}

/// Requests to the hub. `Watch` is answered by `Session::handle_view`, in order with the events that follow it.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    Watch(Interest),
    Unwatch(Interest),
    /// Frames arrive as events of the device, which the session watches. The shell stops what a socket leaves running.
    StartPreview {
        device: DeviceId,
        quality: PreviewQuality,
    },
    StopPreview {
        device: DeviceId,
    },
    /// Answered by `View::Answered`.
    Order(Order),
    /// Answered by `View::Ledger`.
    Ledger,
}

/// What a client's socket is told of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Interest {
    Run(RunReference),
    /// State, samples and frames of one device.
    Device(DeviceId),
    /// Every run.
    Runs,
    /// Every device and agent, without samples and frames.
    Devices,
    /// What every device measures.
    Samples,
    /// The operators' shared chat.
    Chat,
}

impl Interest {
    /// Those that name nothing in particular.
    pub const WIDE: [Self; 3] = [Self::Runs, Self::Devices, Self::Samples];
}

/// A run by either of its ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RunReference {
    Id(RunId),
    Number(u64),
}

/// What is known about an interest at the moment its watch begins.
#[derive(Debug, Clone)]
pub enum View {
    Run(Box<RunSnapshot>),
    UnknownRun(RunReference),
    Device(Box<DeviceSnapshot>),
    UnknownDevice(DeviceId),
    /// Nothing is told of what is watched without a name.
    Wide,
    /// The ledger as it stands.
    Ledger(Box<serde_json::Value>),
    Answered(Box<Answer>),
}

/// Subscriptions, limits and lifecycle of one client, without its socket. The shell calls `open` once, then the others as
/// things happen, and drains `next_output` after each call. After `Close` nothing more is called.
pub trait Session: Send {
    fn dialect(&self) -> Dialect;
    /// The socket is open. Greets, or asks to watch what the URL names.
    fn open(&mut self, now: Moment);
    /// Called instead of `open`: the client is not let in, and hears why in its protocol's own form before the close.
    fn deny(&mut self, denial: &Denial, now: Moment);
    fn handle_view(&mut self, view: View, now: Moment);
    fn handle_text(&mut self, text: &str, now: Moment);
    fn handle_event(&mut self, published: &Published, now: Moment);
    /// So many messages were dropped because this client is slow, as its judge told them. Told before the event that follows.
    fn note_lost(&mut self, _count: u64) {}
    fn handle_timeout(&mut self, now: Moment);
    fn poll_timeout(&self) -> Option<Instant>;
    fn next_output(&mut self) -> Option<Output>;
    /// The socket is gone, whoever ended it.
    fn leave(&mut self, _now: Moment) {}
    /// Messages that the protocol's own rate limits kept from this client so far.
    fn held_back(&self) -> u64 {
        0
    }
    /// Errors that this client was answered so far, where the protocol counts them.
    fn errors(&self) -> u64 {
        0
    }
    /// What the client asked for, as it spelt it.
    fn subscriptions(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Both clocks: one to measure with, one to write down.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    pub instant: Instant,
    pub at: Timestamp,
}

/// UTC with milliseconds and `Z`, as every dialect writes it.
pub fn rfc3339(at: Timestamp) -> String {
    const END_OF_9999_US: u64 = 253_402_300_799_999_999;
    let micros = u64::try_from(at.0).unwrap_or(0).min(END_OF_9999_US);
    let since_epoch = std::time::Duration::from_micros(micros);
    humantime::format_rfc3339_millis(std::time::UNIX_EPOCH + since_epoch).to_string()
}
