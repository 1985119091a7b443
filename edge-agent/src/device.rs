//! One task per device: connect, identify, read, perform steps, make safe, reconnect. Knows no port and no network.

use std::collections::VecDeque;
use std::sync::OnceLock;
use std::time::Duration;

use rigwire_shared::agent::{ActionCard, DeviceCard, DeviceKind, DeviceState, Identity, ReadingCard};
use rigwire_shared::event::{DeviceChange, EventBody};
use rigwire_shared::ids::{AttemptId, CommandId, DeviceId, Fence, RunId};
use rigwire_shared::time::Timestamp;
use rigwire_shared::value::Fields;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock::HubTime;
use crate::driver::{Driver, DriverError};
use crate::events::Events;
use crate::inventory::Board;
use crate::lease::Lease;
use crate::step::ActiveStep;

pub(crate) mod connect;
mod lifecycle;
mod online;
mod orders;

use lifecycle::{Happening, Lifecycle};
use online::Polling;

/// How often a device that must be replaced is looked at, to see whether it was.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Makes connections to one device.
pub(crate) trait Opener: Send + Sync {
    type Driver: Driver;

    fn open(&mut self) -> impl Future<Output = Result<Self::Driver, OpenError>> + Send;

    /// Changes when something else is plugged in at the same place.
    fn fingerprint(&self) -> Option<u64>;

    /// How long the device needs after opening before it can answer.
    fn settle(&self) -> Duration;

    /// After how many silences in a row a connection that cannot tell it ended is made anew.
    fn reopen_after_silences(&self) -> Option<u32>;
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OpenError {
    /// Not plugged in, or not reachable.
    #[error("{0}")]
    Missing(String),
    /// There, and someone must act: held by another program, no permission, a profile that is not driven.
    #[error("{0}")]
    Unusable(String),
}

/// When the device is made safe without being asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct SafePolicy {
    pub(crate) on_abort: bool,
    pub(crate) on_shutdown: bool,
    pub(crate) on_lease_lost: bool,
    pub(crate) hub_lost_after: Option<Duration>,
}

#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) id: DeviceId,
    pub(crate) kind: DeviceKind,
    pub(crate) class: String,
    pub(crate) profile: String,
    pub(crate) tags: Vec<String>,
    pub(crate) location: String,
    pub(crate) readings: Vec<ReadingCard>,
    pub(crate) actions: Vec<ActionCard>,
    /// How often the instrument's error queue is read without a reason.
    pub(crate) errors_every: Option<Duration>,
    /// Empty unless this agent may change the state of the device.
    pub(crate) safe: SafePolicy,
}

impl Settings {
    pub(crate) fn card(&self) -> DeviceCard {
        DeviceCard {
            device: self.id.clone(),
            kind: self.kind,
            class: self.class.clone(),
            profile: self.profile.clone(),
            tags: self.tags.clone(),
            state: DeviceState::Absent,
            cause: "not looked for yet".to_owned(),
            identity: None,
            readings: self.readings.clone(),
            actions: self.actions.clone(),
            sdk: None,
        }
    }
}

/// What the hub asks of one device, checked for epoch and time already.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Order {
    Start(StepOrder),
    Cancel { command: CommandId, attempt: AttemptId, cause: String },
    Grant { command: CommandId, fence: Fence, until: Timestamp, holder: String },
    Release { command: CommandId, fence: Fence },
    MakeSafe { command: CommandId, cause: String },
}

impl Order {
    /// Whether what acts under this fencing number must end before the order is obeyed.
    fn ends(&self, acting: Option<Fence>) -> bool {
        match self {
            Self::Start(order) => order.fence > acting,
            Self::Grant { fence, .. } => Some(*fence) > acting,
            Self::Release { fence, .. } => Some(*fence) >= acting,
            Self::Cancel { .. } | Self::MakeSafe { .. } => false,
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StepOrder {
    pub(crate) run: RunId,
    pub(crate) attempt: AttemptId,
    pub(crate) fence: Option<Fence>,
    pub(crate) module: String,
    pub(crate) with: Fields,
    pub(crate) timeout: Duration,
}

/// Whether there is a connection to the broker, and since when; and what the hub's clock shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HubLink {
    pub(crate) connected: bool,
    pub(crate) since: Instant,
    /// `None` until the hub was heard.
    pub(crate) time: Option<HubTime>,
}

impl HubLink {
    /// The hub's time: leases and commands expire by its clock, and a small board may not know the date yet.
    pub(crate) fn hub_now(&self) -> Timestamp {
        self.time.map_or_else(Timestamp::now, |time| time.now(Instant::now()))
    }
}

pub(crate) struct DeviceTask<O> {
    pub(crate) settings: Settings,
    pub(crate) opener: O,
    pub(crate) events: Events,
    pub(crate) board: Board,
    pub(crate) orders: mpsc::Receiver<Order>,
    pub(crate) hub: watch::Receiver<HubLink>,
    pub(crate) shutdown: CancellationToken,
}

/// How a part of the work ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Connect again after this time; sooner when something else is plugged in, if asked to look.
    Retry {
        after: Duration,
        look: bool,
    },
    Stop,
}

struct Device {
    settings: Settings,
    events: Events,
    board: Board,
    orders: mpsc::Receiver<Order>,
    hub: watch::Receiver<HubLink>,
    shutdown: CancellationToken,
    lifecycle: Lifecycle,
    lease: Lease,
    step: Option<ActiveStep>,
    /// Came while a transaction was under way that they do not interrupt.
    deferred: VecDeque<Order>,
    polling: Polling,
    /// The loss of the hub was answered with the safe state already.
    hub_loss_handled: bool,
    /// Why the device should be safe and is not known to be: it could not be reached. Made up for when it is back.
    owes_safe: Option<String>,
    /// When the agent began to stop, as far as this task saw it.
    stopping: OnceLock<Instant>,
    reopen_after_silences: Option<u32>,
}

/// Runs until shutdown. Faults of the device are events, never an end.
pub(crate) async fn run<O: Opener>(task: DeviceTask<O>) -> anyhow::Result<()> {
    let DeviceTask { settings, mut opener, events, board, orders, hub, shutdown } = task;
    let mut device = Device {
        settings,
        events,
        board,
        orders,
        hub,
        shutdown,
        lifecycle: Lifecycle::new(),
        lease: Lease::default(),
        step: None,
        deferred: VecDeque::new(),
        polling: Polling::default(),
        hub_loss_handled: false,
        owes_safe: None,
        stopping: OnceLock::new(),
        reopen_after_silences: opener.reopen_after_silences(),
    };
    loop {
        let fingerprint = opener.fingerprint();
        let opened = tokio::select! {
            biased;
            () = device.shutdown.cancelled() => break,
            opened = opener.open() => opened,
        };
        let end = match opened {
            Ok(mut driver) => device.session(&mut driver, opener.settle()).await,
            Err(OpenError::Missing(cause)) => device.retry(Happening::Missing(cause)).await,
            Err(OpenError::Unusable(cause)) => device.retry(Happening::Unusable(cause)).await,
        };
        let End::Retry { after, look } = end else { break };
        let replaced = async {
            while opener.fingerprint() == fingerprint {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        if device.wait(after, replaced, look).await == End::Stop {
            break;
        }
    }
    Ok(())
}

impl Device {
    /// One connection, from opening to its end.
    async fn session<D: Driver>(&mut self, driver: &mut D, settle: Duration) -> End {
        self.happen(Happening::Opened).await;
        if self.wait(settle, std::future::pending(), false).await == End::Stop {
            return End::Stop;
        }
        loop {
            self.happen(Happening::Identifying).await;
            let result = tokio::select! {
                biased;
                () = self.shutdown.cancelled() => return End::Stop,
                result = driver.identify() => result,
            };
            let happening = match result {
                Ok(identity) => {
                    let identity = Identity { location: self.location(&identity), ..identity };
                    self.happen(Happening::Identified(identity)).await;
                    return self.online(driver).await;
                }
                Err(DriverError::Disconnected(cause)) => return self.retry(Happening::Ended(cause)).await,
                // Somebody must act in each case: another instrument, another profile or another setting.
                Err(DriverError::WrongDevice(cause) | DriverError::Invalid(cause) | DriverError::Refused(cause)) => {
                    return look(self.retry(Happening::WrongDevice(cause)).await);
                }
                Err(DriverError::Silent(cause) | DriverError::Garbled(cause)) => Happening::Unidentified(cause),
            };
            let wait = self.happen(happening).await;
            let mut ended = None;
            let watch = async { ended = Some(driver.watch().await) };
            if self.wait(wait, watch, true).await == End::Stop {
                return End::Stop;
            }
            if let Some(error) = ended {
                return self.retry(Happening::Ended(error.to_string())).await;
            }
        }
    }

    fn location(&self, identity: &Identity) -> String {
        if identity.location.is_empty() { self.settings.location.clone() } else { identity.location.clone() }
    }

    async fn retry(&mut self, happening: Happening) -> End {
        End::Retry { after: self.happen(happening).await, look: false }
    }

    /// Waits without a usable device: orders are answered, and `sooner` ends the wait when it is asked for.
    async fn wait(&mut self, after: Duration, sooner: impl Future<Output = ()> + Send, use_sooner: bool) -> End {
        while let Some(order) = self.deferred.pop_front() {
            self.refuse(order).await;
        }
        let until = Instant::now() + after;
        tokio::pin!(sooner);
        loop {
            tokio::select! {
                biased;
                () = self.shutdown.cancelled() => return End::Stop,
                order = self.orders.recv() => match order {
                    Some(order) => self.refuse(order).await,
                    None => return End::Stop,
                },
                () = &mut sooner, if use_sooner => break,
                () = tokio::time::sleep_until(until) => break,
            }
        }
        End::Retry { after: Duration::ZERO, look: false }
    }

    /// Takes note, tells the hub if that is news, and answers how long to wait before the next attempt.
    async fn happen(&mut self, happening: Happening) -> Duration {
        let notable = happening.is_notable();
        let reaction = self.lifecycle.handle(happening);
        if reaction.changed {
            let (state, cause, identity) = (self.lifecycle.state(), self.lifecycle.cause(), self.lifecycle.identity());
            let device = &self.settings.id;
            if notable {
                tracing::info!(%device, %state, "{device} is {state}: {cause}");
            } else {
                tracing::debug!(%device, %state, "{device} is {state}: {cause}");
            }
            self.board.update(&self.settings.id, state, cause, identity);
            let change = DeviceChange {
                device: self.settings.id.clone(),
                state,
                cause: cause.to_owned(),
                identity: identity.cloned(),
            };
            self.events.send(EventBody::Device(change)).await;
        }
        reaction.retry
    }
}

fn look(end: End) -> End {
    match end {
        End::Retry { after, .. } => End::Retry { after, look: true },
        End::Stop => End::Stop,
    }
}

#[cfg(test)]
mod tests;
