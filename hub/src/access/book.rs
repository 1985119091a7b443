//! The book of tokens: a file in the data directory that `rigwire token` writes and a running hub reads. Holds the key that
//! signs and what was given to whom, never a token itself.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rigwire_shared::ids::AgentId;
use rigwire_shared::time::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::token::{self, Claims};
use super::{Bearer, Principal, Refused, Role};

const FILE: &str = "tokens.json";
const KEY_BYTES: usize = 32;
const PRIVATE: u32 = 0o600;

/// Longest name of a token.
const NAME_MAX: usize = 64;

/// Entries in one book.
const TOKENS_MAX: usize = 10_000;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    pub id: String,
    pub name: String,
    pub bearer: Bearer,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
}

impl Entry {
    /// `viewer`, `operator`, `admin` or `agent`.
    pub const fn role(&self) -> &'static str {
        match &self.bearer {
            Bearer::Role(role) => role.as_str(),
            Bearer::Agent(_) => "agent",
        }
    }

    pub fn state(&self, now: Timestamp) -> &'static str {
        match (self.revoked_at, self.expires_at) {
            (Some(_), _) => "revoked",
            (None, Some(end)) if end <= now => "expired",
            (None, Some(_) | None) => "valid",
        }
    }
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Book {
    key: String,
    tokens: Vec<Entry>,
}

/// The key stays out of every log.
impl std::fmt::Debug for Book {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Book").field("tokens", &self.tokens.len()).finish_non_exhaustive()
    }
}

impl Book {
    fn new() -> Self {
        let mut key = [0; KEY_BYTES];
        for half in key.chunks_exact_mut(16) {
            // Version 4 leaves 122 of 128 bits to the system's random numbers.
            half.copy_from_slice(Uuid::new_v4().as_bytes());
        }
        Self { key: STANDARD.encode(key), tokens: Vec::new() }
    }

    pub fn entries(&self) -> &[Entry] {
        &self.tokens
    }

    fn key(&self) -> &[u8] {
        self.key.as_bytes()
    }

    /// A new token: its entry and its text, which is nowhere else.
    pub fn add(
        &mut self,
        name: &str,
        bearer: Bearer,
        now: Timestamp,
        expires_at: Option<Timestamp>,
    ) -> anyhow::Result<(Entry, String)> {
        let name = name.trim();
        anyhow::ensure!(
            !name.is_empty() && name.len() <= NAME_MAX && !name.chars().any(char::is_control),
            "the name is {name:?}, expected 1 to {NAME_MAX} characters on one line"
        );
        if let Some(known) = self.tokens.iter().find(|entry| entry.name == name && entry.state(now) == "valid") {
            anyhow::bail!(
                "there is a token named {name:?} already, {}: revoke it first, or choose another name",
                known.id
            );
        }
        anyhow::ensure!(self.tokens.len() < TOKENS_MAX, "there are {TOKENS_MAX} tokens, the most there may be");
        let id = Uuid::new_v4().simple().to_string()[..12].to_owned();
        let entry = Entry { id, name: name.to_owned(), bearer, created_at: now, expires_at, revoked_at: None };
        let claims = Claims {
            jti: entry.id.clone(),
            sub: entry.name.clone(),
            role: entry.role().to_owned(),
            iat: token::seconds(now),
            exp: expires_at.map(token::seconds),
        };
        let text = token::sign(&claims, self.key())?;
        self.tokens.push(entry.clone());
        Ok((entry, text))
    }

    /// By id, or by the name of the one valid token that has it.
    pub fn revoke(&mut self, named: &str, now: Timestamp) -> anyhow::Result<Entry> {
        let by_id = self.tokens.iter_mut().find(|entry| entry.id == named).map(|entry| entry.id.clone());
        let id = by_id.or_else(|| {
            self.tokens
                .iter()
                .find(|entry| entry.name == named && entry.state(now) == "valid")
                .map(|entry| entry.id.clone())
        });
        let entry = self.tokens.iter_mut().find(|entry| Some(&entry.id) == id.as_ref());
        let entry = entry.with_context(|| format!("there is no token with the id or name {named:?}"))?;
        anyhow::ensure!(entry.revoked_at.is_none(), "token {} of {:?} was revoked already", entry.id, entry.name);
        entry.revoked_at = Some(now);
        Ok(entry.clone())
    }

    fn entry(&self, text: &str, now: Timestamp) -> Result<&Entry, Refused> {
        let claims = token::read(text, self.key(), now)?;
        let entry = self.tokens.iter().find(|entry| entry.id == claims.jti).ok_or(Refused::Invalid)?;
        if entry.revoked_at.is_some() {
            return Err(Refused::Revoked);
        }
        // The book has the last word: what a token says of itself is for people.
        match entry.expires_at {
            Some(end) if end <= now => Err(Refused::Expired(end)),
            Some(_) | None => Ok(entry),
        }
    }

    /// Who shows this token.
    pub fn principal(&self, text: &str, now: Timestamp) -> Result<Principal, Refused> {
        let entry = self.entry(text, now)?;
        match &entry.bearer {
            Bearer::Agent(agent) => Err(Refused::OfAnAgent(agent.clone())),
            Bearer::Role(role) => Ok(principal(entry, *role)),
        }
    }

    /// Whom this password lets into the broker.
    pub fn broker_user(&self, text: &str, now: Timestamp) -> Result<BrokerUser, Refused> {
        let entry = self.entry(text, now)?;
        Ok(match &entry.bearer {
            Bearer::Agent(agent) => BrokerUser::Agent { agent: agent.clone(), token: entry.id.as_str().into() },
            Bearer::Role(role) => BrokerUser::Person(principal(entry, *role)),
        })
    }

    /// Whether a token that was good before still is.
    pub fn is_good(&self, id: &str, now: Timestamp) -> bool {
        self.tokens.iter().any(|entry| entry.id == id && entry.state(now) == "valid")
    }
}

fn principal(entry: &Entry, role: Role) -> Principal {
    Principal {
        name: entry.name.as_str().into(),
        role,
        token: Some(entry.id.as_str().into()),
        expires_at: entry.expires_at,
    }
}

/// Someone at the door of the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BrokerUser {
    Agent { agent: AgentId, token: Arc<str> },
    Person(Principal),
}

pub fn path(data: &Path) -> PathBuf {
    data.join(FILE)
}

/// The book as it is; an absent one is empty and gets its key when it is first written.
pub fn read(data: &Path) -> anyhow::Result<Option<Book>> {
    let path = path(data);
    let mut text = String::new();
    match File::open(&path) {
        Ok(mut file) => file.read_to_string(&mut text).with_context(|| format!("reading {}", path.display()))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
    };
    let book: Book = serde_json::from_str(&text).map_err(|error| {
        anyhow::anyhow!("{}:{}: {error}: expected the book of tokens", path.display(), error.line())
    })?;
    let key = STANDARD.decode(&book.key).unwrap_or_default();
    anyhow::ensure!(key.len() == KEY_BYTES, "{}: key is not {KEY_BYTES} bytes in base64", path.display());
    Ok(Some(book))
}

/// Changes the book. Two programs that do so at once come one after the other; a reader sees the old or the new one, whole.
pub fn change<T>(data: &Path, change: impl FnOnce(&mut Book) -> anyhow::Result<T>) -> anyhow::Result<T> {
    std::fs::create_dir_all(data).with_context(|| format!("making {}", data.display()))?;
    let lock_path = data.join("tokens.lock");
    let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(PRIVATE).open(&lock_path);
    let lock = lock.with_context(|| format!("opening {}", lock_path.display()))?;
    lock.lock().with_context(|| format!("locking {}", lock_path.display()))?;
    let mut book = read(data)?.unwrap_or_else(Book::new);
    let outcome = change(&mut book)?;
    let text = serde_json::to_string_pretty(&book)?;
    let (target, fresh) = (path(data), data.join("tokens.json.new"));
    let write = || {
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(PRIVATE).open(&fresh)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&fresh, &target)?;
        File::open(data)?.sync_all()
    };
    write().with_context(|| format!("writing {}", target.display()))?;
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000_000_000);

    fn later(seconds: i64) -> Timestamp {
        Timestamp(NOW.0 + seconds * 1_000_000)
    }

    #[test]
    fn a_token_is_known_until_it_is_revoked_or_over() {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path();
        let (entry, alice) =
            change(data, |book| book.add("alice", Bearer::Role(Role::Operator), NOW, Some(later(60)))).unwrap();
        let agent = AgentId::new("bench-1").unwrap();
        let (bench_entry, bench) =
            change(data, |book| book.add("bench-1", Bearer::Agent(agent.clone()), NOW, None)).unwrap();
        let book = read(data).unwrap().unwrap();
        let known = book.principal(&alice, NOW).unwrap();
        assert_eq!((&*known.name, known.role), ("alice", Role::Operator));
        assert_eq!(book.principal(&alice, later(60)), Err(Refused::Expired(later(60))));
        assert_eq!(book.principal(&bench, NOW), Err(Refused::OfAnAgent(agent.clone())));
        assert_eq!(
            book.broker_user(&bench, NOW),
            Ok(BrokerUser::Agent { agent, token: bench_entry.id.as_str().into() })
        );
        assert_eq!(book.principal("", NOW), Err(Refused::Invalid));
        assert!(book.is_good(&entry.id, NOW) && !book.is_good(&entry.id, later(60)));

        change(data, |book| book.revoke("alice", later(1))).unwrap();
        let book = read(data).unwrap().unwrap();
        assert_eq!(book.principal(&alice, later(2)), Err(Refused::Revoked));
        let again = change(data, |book| book.revoke(&entry.id, later(2))).unwrap_err();
        assert_eq!(again.to_string(), format!("token {} of \"alice\" was revoked already", entry.id));
    }

    #[test]
    fn the_book_is_private_and_holds_no_token() {
        let directory = tempfile::tempdir().unwrap();
        let (_, token) =
            change(directory.path(), |book| book.add("alice", Bearer::Role(Role::Viewer), NOW, None)).unwrap();
        let file = path(directory.path());
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, PRIVATE);
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(token.split('.').all(|part| !text.contains(part)), "{text}");
    }

    #[test]
    fn mistakes_are_named() {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path();
        let add = |name: &str| {
            change(data, |book| book.add(name, Bearer::Role(Role::Viewer), NOW, None).map(|(entry, _)| entry.id))
        };
        assert!(add(" ").unwrap_err().to_string().starts_with("the name is \"\""));
        add("alice").unwrap();
        assert!(add("alice").unwrap_err().to_string().starts_with("there is a token named \"alice\" already"));
        let unknown = change(data, |book| book.revoke("bob", NOW)).unwrap_err();
        assert_eq!(unknown.to_string(), "there is no token with the id or name \"bob\"");
        std::fs::write(path(data), "{\n\"key\": 3}").unwrap();
        assert!(format!("{:#}", read(data).unwrap_err()).contains("tokens.json:2: invalid type"));
    }

    #[test]
    fn two_who_write_at_once_both_have_their_token() {
        let directory = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let data = directory.path();
                scope.spawn(move || {
                    for number in 0..10 {
                        let name = format!("{thread}-{number}");
                        change(data, |book| book.add(&name, Bearer::Role(Role::Viewer), NOW, None)).unwrap();
                    }
                });
            }
        });
        assert_eq!(read(directory.path()).unwrap().unwrap().entries().len(), 40);
    }
}
