//! What every handler receives.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::access::doorman::Doorman;
use crate::access::keeper::Keeper;
use crate::access::origin::Origins;
use crate::continuity::Continuity;
use crate::dialect::{Limits, Visits};
use crate::hub::Hub;
use crate::ledger::Ledger;
use crate::procedures::Procedures;
use crate::responder::Responder;
use crate::websocket;

/// How this server is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    Plain,
    Tls,
}

impl Scheme {
    pub const fn of_requests(self) -> &'static str {
        match self {
            Self::Plain => "http",
            Self::Tls => "https",
        }
    }

    pub const fn of_sockets(self) -> &'static str {
        match self {
            Self::Plain => "ws",
            Self::Tls => "wss",
        }
    }
}

#[derive(Clone)]
pub struct App {
    pub hub: Hub,
    /// Where this server listens.
    pub address: SocketAddr,
    pub scheme: Scheme,
    pub procedures: Arc<Procedures>,
    pub continuity: Arc<Continuity>,
    pub ledger: Arc<Ledger>,
    pub keeper: Arc<Keeper>,
    pub origins: Arc<Origins>,
    pub doorman: Doorman,
    pub limits: Limits,
    pub socket_limits: websocket::Limits,
    pub visits: Arc<Visits>,
    pub responder: Responder,
    /// Cancelled when the hub stops.
    pub shutdown: CancellationToken,
    /// Open sockets, waited for when the hub stops.
    pub sockets: TaskTracker,
}
