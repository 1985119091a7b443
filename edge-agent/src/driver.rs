//! What a device task asks of a connected device. One value of a driver is one connection; reconnecting makes a new one.

use std::time::Instant;

use rigwire_shared::agent::Identity;
use rigwire_shared::event::{SafeOutcome, Sample};
use rigwire_shared::value::{Fields, Value};

pub mod camera;
pub mod instrument;

/// One variant per different reaction of the device task.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DriverError {
    /// The far end is gone: close at once, wait for it to return, identify again.
    #[error("{0}")]
    Disconnected(String),
    /// No answer in time: back off and try again on the same connection.
    #[error("{0}")]
    Silent(String),
    /// An answer that does not parse: the reading has no value this time.
    #[error("{0}")]
    Garbled(String),
    /// Present, and not what was configured: stop until someone acts.
    #[error("{0}")]
    WrongDevice(String),
    /// The caller asked for what this device cannot do: unknown reading, parameter out of range, wrong mode.
    #[error("{0}")]
    Invalid(String),
    /// The device answered that it will not, or read-back shows that it did not.
    #[error("{0}")]
    Refused(String),
}

/// Futures of this trait run to their end, each within the profile's own timeouts, except where noted.
pub trait Driver: Send {
    /// Queries and checks identity, then prepares the configured mode. Nothing else is called before it succeeds.
    fn identify(&mut self) -> impl Future<Output = Result<Identity, DriverError>> + Send;

    /// When the next periodic reading is due; `None` when nothing is read periodically.
    fn next_due(&self) -> Option<Instant>;

    /// Takes the most overdue periodic reading. A value that is not good comes back as a sample that says so.
    fn poll(&mut self) -> impl Future<Output = Result<Vec<Sample>, DriverError>> + Send;

    /// Id of the reading that the last poll took, also when it failed.
    fn polled(&self) -> Option<&str>;

    /// What was reported so far is no longer believed: even an unchanged value is news.
    fn forget_reported(&mut self);

    /// Takes one reading now, by its id.
    fn read(&mut self, reading: &str) -> impl Future<Output = Result<Vec<Sample>, DriverError>> + Send;

    /// Performs one action with read-back where the profile has one. Returns what the step may show as outputs.
    fn perform(
        &mut self,
        action: &str,
        with: &[(String, Value)],
    ) -> impl Future<Output = Result<Fields, DriverError>> + Send;

    /// Leaves the hardware harmless and says whether that was verified by reading back.
    fn make_safe(&mut self) -> impl Future<Output = SafeOutcome> + Send;

    /// Hands the front panel back. Best effort.
    fn release(&mut self) -> impl Future<Output = ()> + Send;

    /// Entries of the instrument's own error queue since the last call, as (code, text).
    fn drain_errors(&mut self) -> impl Future<Output = Result<Vec<(String, String)>, DriverError>> + Send;

    /// Keeps a read pending while nothing else happens, so that an unplug is seen at once. Cancel-safe: bytes that arrive
    /// are stray and thrown away. Returns only when the connection ended.
    fn watch(&mut self) -> impl Future<Output = DriverError> + Send;
}
