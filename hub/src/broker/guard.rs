//! Lets users into the embedded broker by their tokens, keeps them to their topics, and puts out whose token is no longer good.

use std::collections::HashMap;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mqtt5::broker::auth::{AuthProvider, AuthResult};
use mqtt5::error::Result;
use mqtt5::packet::connect::ConnectPacket;
use mqtt5::protocol::v5::reason_codes::ReasonCode;
use rigwire_shared::ids::AgentId;
use rigwire_shared::time::Timestamp;
use uuid::Uuid;

use super::rules::{HUB, User};
use crate::access::Role;
use crate::access::book::BrokerUser;
use crate::access::keeper::Keeper;

/// Refusals are told at most so often; those between at level debug.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Of a user's name, as it may be anything.
const NAME_SHOWN: usize = 64;

/// Clients that are put out when their token is revoked.
const BEARERS_MAX: usize = 20_000;

pub struct Guard {
    keeper: Arc<Keeper>,
    /// Passwords made at this start: of the hub's own client and of the agent in this process.
    own: Mutex<HashMap<String, (User, String)>>,
    /// Who was let in by a token: client id, and who has it now.
    bearers: Mutex<HashMap<String, User>>,
    told: Mutex<Option<Instant>>,
}

impl Guard {
    pub fn new(keeper: Arc<Keeper>) -> Self {
        Self { keeper, own: Mutex::default(), bearers: Mutex::default(), told: Mutex::default() }
    }

    /// User and password for the hub's own client.
    pub fn admit_hub(&self) -> (String, String) {
        self.admit(HUB.to_owned(), User::Hub)
    }

    /// User and password for an agent in this process.
    pub fn admit_agent(&self, agent: &AgentId) -> (String, String) {
        self.admit(agent.to_string(), User::Agent { agent: agent.clone(), token: None })
    }

    fn admit(&self, name: String, user: User) -> (String, String) {
        let password = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        let mut own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        own.insert(name.clone(), (user, password.clone()));
        (name, password)
    }

    /// Client ids of those whose token is no longer good; told once.
    pub(super) fn to_put_out(&self, now: Timestamp) -> Vec<String> {
        let mut bearers = self.bearers.lock().unwrap_or_else(PoisonError::into_inner);
        bearers.extract_if(|_, user| !self.is_good(user, now)).map(|(client_id, _)| client_id).collect()
    }

    fn is_good(&self, user: &User, now: Timestamp) -> bool {
        user.token().is_none_or(|token| self.keeper.is_good(token, now))
    }

    fn who(&self, connect: &ConnectPacket, now: Timestamp) -> std::result::Result<User, String> {
        let Some(name) = connect.username.as_deref() else { return Err("it gives no user and password".to_owned()) };
        let password = connect.password.as_deref().unwrap_or_default();
        let user = match self.own_user(name, password) {
            Some(user) => user,
            None => self.bearer(name, password, now)?,
        };
        if !user.may_be_called(&connect.client_id) {
            return Err("its client id is not one that this user may have".to_owned());
        }
        if let Some(will) = &connect.will
            && !user.may_publish(&will.topic)
        {
            return Err("its last will is for a topic that this user may not write".to_owned());
        }
        Ok(user)
    }

    fn own_user(&self, name: &str, password: &[u8]) -> Option<User> {
        let own = self.own.lock().unwrap_or_else(PoisonError::into_inner);
        let (user, expected) = own.get(name)?;
        same(expected.as_bytes(), password).then(|| user.clone())
    }

    fn bearer(&self, name: &str, password: &[u8], now: Timestamp) -> std::result::Result<User, String> {
        let text = std::str::from_utf8(password).unwrap_or_default();
        let Some(found) = self.keeper.broker_user(text, now) else { return Err("no tokens are asked for".to_owned()) };
        match found.map_err(|refused| refused.to_string())? {
            BrokerUser::Agent { agent, token } if agent.as_str() == name => {
                Ok(User::Agent { agent, token: Some(token.to_string()) })
            }
            BrokerUser::Agent { agent, .. } => Err(format!("the token is of agent {agent}, and its user name is not")),
            BrokerUser::Person(person) if person.role >= Role::Operator => {
                let token = person.token.as_deref().unwrap_or_default().to_owned();
                Ok(User::Person { token })
            }
            BrokerUser::Person(person) => Err(format!("a token of a {} lets nobody into the broker", person.role)),
        }
    }

    fn tell(&self, connect: &ConnectPacket, peer: SocketAddr, why: &str) {
        let user: String = connect.username.as_deref().unwrap_or_default().chars().take(NAME_SHOWN).collect();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
            *told = Some(Instant::now());
            tracing::warn!(?user, %peer, "the broker refuses a client: {why}");
        } else {
            tracing::debug!(?user, %peer, "the broker refuses a client: {why}");
        }
    }

    fn may_publish(&self, user: Option<&str>, topic: &str) -> bool {
        let Some(user) = user.and_then(User::parse) else { return false };
        user.may_publish(topic) && (self.is_good(&user, Timestamp::now()) || user.may_part_with(topic))
    }

    fn may_subscribe(&self, user: Option<&str>, filter: &str) -> bool {
        let Some(user) = user.and_then(User::parse) else { return false };
        user.may_subscribe(filter) && self.is_good(&user, Timestamp::now())
    }
}

type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

impl AuthProvider for Guard {
    fn authenticate<'a>(&'a self, connect: &'a ConnectPacket, peer: SocketAddr) -> Answer<'a, Result<AuthResult>> {
        let result = match self.who(connect, Timestamp::now()) {
            Ok(user) => {
                if user.token().is_some() {
                    let mut bearers = self.bearers.lock().unwrap_or_else(PoisonError::into_inner);
                    // Programs may come under ever new names: those of before are forgotten, and asked for at each message.
                    if bearers.len() >= BEARERS_MAX {
                        bearers.retain(|_, user| matches!(user, User::Agent { .. }));
                    }
                    bearers.insert(connect.client_id.clone(), user.clone());
                }
                AuthResult::success_with_user(user.text())
            }
            Err(why) => {
                self.tell(connect, peer, &why);
                AuthResult::fail(ReasonCode::BadUsernameOrPassword)
            }
        };
        Box::pin(std::future::ready(Ok(result)))
    }

    fn authorize_publish<'a>(&'a self, _: &str, user: Option<&'a str>, topic: &'a str) -> Answer<'a, bool> {
        Box::pin(std::future::ready(self.may_publish(user, topic)))
    }

    fn authorize_subscribe<'a>(&'a self, _: &str, user: Option<&'a str>, filter: &'a str) -> Answer<'a, bool> {
        Box::pin(std::future::ready(self.may_subscribe(user, filter)))
    }
}

/// In a time that does not depend on where they differ.
fn same(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len() && left.iter().zip(right).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}
