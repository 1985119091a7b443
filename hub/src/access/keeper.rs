//! The door itself: whether tokens are needed, and what the book says of one at this moment. A change of the book is noticed at
//! the next request, and by open sockets within a second.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rigwire_shared::time::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::book::{self, Book, BrokerUser};
use super::{Principal, Refused};

/// How often the book is looked at for those who came in before it changed.
const LOOK_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub struct Keeper {
    /// `None`: everyone is let in.
    tokens: Option<Tokens>,
    changes: watch::Sender<u64>,
}

#[derive(Debug)]
struct Tokens {
    data: PathBuf,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    looked: bool,
    /// Size and time of the file that was read.
    version: Option<(u64, SystemTime)>,
    book: Option<Book>,
    unreadable: bool,
}

impl Keeper {
    pub fn open_to_all() -> Self {
        Self { tokens: None, changes: watch::Sender::new(0) }
    }

    /// Lets in who has a token of the book in this directory.
    pub fn with_tokens(data: PathBuf) -> Self {
        Self { tokens: Some(Tokens { data, known: Mutex::default() }), changes: watch::Sender::new(0) }
    }

    pub const fn needs_tokens(&self) -> bool {
        self.tokens.is_some()
    }

    pub fn principal(&self, token: Option<&str>, now: Timestamp) -> Result<Principal, Refused> {
        let Some(tokens) = &self.tokens else { return Ok(Principal::anyone()) };
        let token = token.ok_or(Refused::Missing)?;
        tokens.ask(|book| book.principal(token, now))?
    }

    /// Whom a password lets into the broker; `None` where none is needed.
    pub fn broker_user(&self, password: &str, now: Timestamp) -> Option<Result<BrokerUser, Refused>> {
        let tokens = self.tokens.as_ref()?;
        Some(tokens.ask(|book| book.broker_user(password, now)).and_then(|found| found))
    }

    /// Whether a token that let someone in still would. A book that cannot be read puts nobody out.
    pub fn is_good(&self, token: &str, now: Timestamp) -> bool {
        self.tokens.as_ref().is_none_or(|tokens| match tokens.ask(|book| book.is_good(token, now)) {
            Ok(good) => good,
            Err(refused) => refused == Refused::Unreadable,
        })
    }

    /// Whether someone who was let in may stay.
    pub fn may_stay(&self, principal: &Principal, now: Timestamp) -> bool {
        match (&self.tokens, &principal.token) {
            (Some(_), _) if principal.expires_at.is_some_and(|end| end <= now) => false,
            (Some(_), Some(id)) => self.is_good(id, now),
            (Some(_), None) => false,
            (None, _) => true,
        }
    }

    /// Wakes whoever was let in when the book may say something else of them.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Looks for changes until told to stop.
    pub async fn run(&self, stop: CancellationToken) -> anyhow::Result<()> {
        let Some(tokens) = &self.tokens else {
            stop.cancelled().await;
            return Ok(());
        };
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut seen = tokens.version();
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                _ = look.tick() => {}
            }
            let version = tokens.version();
            if version != seen {
                seen = version;
                self.changes.send_modify(|count| *count += 1);
            }
        }
    }
}

impl Tokens {
    fn version(&self) -> Option<(u64, SystemTime)> {
        let file = std::fs::metadata(book::path(&self.data)).ok()?;
        Some((file.len(), file.modified().ok()?))
    }

    /// Reads the book again if it changed. A book that cannot be read lets nobody in, and is complained of once.
    fn ask<T>(&self, question: impl FnOnce(&Book) -> T) -> Result<T, Refused> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let version = self.version();
        if !known.looked || known.version != version {
            let was_unreadable = known.unreadable;
            *known = match book::read(&self.data) {
                Ok(book) => Known { looked: true, version, book, unreadable: false },
                Err(error) => {
                    if !was_unreadable {
                        tracing::error!("nobody can be let in: {error:#}");
                    }
                    Known { looked: true, version, book: None, unreadable: true }
                }
            };
        }
        if known.unreadable {
            return Err(Refused::Unreadable);
        }
        known.book.as_ref().map(question).ok_or(Refused::Invalid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{Bearer, Role};

    const NOW: Timestamp = Timestamp(1_000_000_000_000);

    #[test]
    fn what_the_book_says_now_counts() {
        let directory = tempfile::tempdir().unwrap();
        let keeper = Keeper::with_tokens(directory.path().to_owned());
        assert_eq!(keeper.principal(None, NOW), Err(Refused::Missing));
        assert_eq!(keeper.principal(Some("x"), NOW), Err(Refused::Invalid), "an absent book knows nobody");
        let (_, token) =
            book::change(directory.path(), |book| book.add("alice", Bearer::Role(Role::Admin), NOW, None)).unwrap();
        let alice = keeper.principal(Some(&token), NOW).unwrap();
        assert!(keeper.may_stay(&alice, NOW));
        book::change(directory.path(), |book| book.revoke("alice", NOW)).unwrap();
        assert_eq!(keeper.principal(Some(&token), NOW), Err(Refused::Revoked));
        assert!(!keeper.may_stay(&alice, NOW));
        std::fs::write(book::path(directory.path()), "broken").unwrap();
        assert_eq!(keeper.principal(Some(&token), NOW), Err(Refused::Unreadable));
        let bob = Principal { token: Some("another".into()), expires_at: Some(NOW), ..alice.clone() };
        assert!(keeper.may_stay(&alice, NOW), "who is in is not thrown out because of a broken file");
        assert!(!keeper.may_stay(&bob, NOW), "unless the time is over");
        std::fs::remove_file(book::path(directory.path())).unwrap();
        assert!(!keeper.may_stay(&alice, NOW), "without a book there are no tokens");
    }

    #[test]
    fn without_tokens_everyone_is_let_in() {
        let keeper = Keeper::open_to_all();
        assert_eq!(keeper.principal(None, NOW).unwrap().role, Role::Admin);
        assert_eq!(keeper.broker_user("x", NOW), None);
    }
}
