//! Files on their way from agents: announced, then chunk after chunk, whole once the hash is right. Knows no run's state
//! and no disk; what it hears twice changes nothing.

use std::collections::BTreeMap;

use rigwire_shared::ids::{AgentId, RunId, StepId};
use rigwire_shared::time::Timestamp;
use sha2::{Digest, Sha256};

/// Files of one agent that may be on their way at a time.
pub const ARRIVING_MAX: usize = 256;

pub type Hash = [u8; 32];

/// A name that a content goes by once it is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announced {
    pub run: RunId,
    pub step: Option<StepId>,
    /// As the agent called it, and as the run does: a name is given once.
    pub announced: String,
    pub name: String,
    pub media_type: String,
    pub at: Timestamp,
}

/// A content of which some has arrived: every byte before `received`.
#[derive(Debug, Clone)]
pub struct Incoming {
    pub agent: AgentId,
    pub sha256: Hash,
    pub size: u64,
    pub received: u64,
    pub digest: Sha256,
    pub names: Vec<Announced>,
    /// A chunk came whose predecessor had not: told once.
    pub told_hole: bool,
}

impl Incoming {
    pub fn new(agent: &AgentId, sha256: Hash, size: u64) -> Self {
        let digest = Sha256::new();
        Self { agent: agent.clone(), sha256, size, received: 0, digest, names: Vec::new(), told_hole: false }
    }
}

/// What the record is told, in order: each is durable before the agent may forget it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arrival {
    Announced {
        agent: AgentId,
        sha256: Hash,
        size: u64,
        file: Announced,
    },
    /// Bytes that were not there before, at the end of those that were.
    Chunk {
        agent: AgentId,
        sha256: Hash,
        offset: u64,
        data: Vec<u8>,
    },
    /// All of it is there, and is what was announced.
    Whole {
        agent: AgentId,
        sha256: Hash,
        size: u64,
    },
    /// It never will be.
    Refused {
        agent: AgentId,
        sha256: Hash,
        cause: String,
    },
}

/// What a chunk means.
#[derive(Debug)]
pub enum Progress {
    /// Nothing: no such file is expected, or all of it was there.
    Old,
    /// Bytes before it are missing: the first of them, and the first that came. Said once for each file.
    Hole {
        names: Vec<Announced>,
        from: u64,
        to: u64,
    },
    /// These bytes are new, from `offset` on.
    More {
        offset: u64,
        data: Vec<u8>,
    },
    Whole {
        offset: u64,
        data: Vec<u8>,
        file: Incoming,
    },
    Wrong {
        file: Incoming,
        cause: String,
    },
}

/// All files on their way.
#[derive(Debug, Default)]
pub struct Arriving {
    files: BTreeMap<(AgentId, Hash), Incoming>,
}

impl Arriving {
    pub fn restore(files: Vec<Incoming>) -> Self {
        Self { files: files.into_iter().map(|file| ((file.agent.clone(), file.sha256), file)).collect() }
    }

    pub fn announced(&self, agent: &AgentId, sha256: &Hash) -> Option<&Incoming> {
        self.files.get(&(agent.clone(), *sha256))
    }

    pub fn count_of(&self, agent: &AgentId) -> usize {
        self.files.values().filter(|file| file.agent == *agent).count()
    }

    /// Names, and bytes together, that a run is still waiting for.
    pub fn awaited(&self, run: RunId) -> impl Iterator<Item = (&str, u64)> {
        self.files
            .values()
            .flat_map(|file| file.names.iter().map(move |name| (name, file.size)))
            .filter(move |(name, _)| name.run == run)
            .map(|(name, size)| (name.name.as_str(), size))
    }

    /// Expects a file. One of no bytes is whole by itself, with the first chunk that is put to it, an empty one.
    pub fn announce(&mut self, agent: &AgentId, sha256: Hash, size: u64, name: Announced) {
        let file = self.files.entry((agent.clone(), sha256)).or_insert_with(|| Incoming::new(agent, sha256, size));
        file.names.push(name);
    }

    pub fn chunk(&mut self, agent: &AgentId, sha256: Hash, offset: u64, mut data: Vec<u8>) -> Progress {
        let key = (agent.clone(), sha256);
        let Some(file) = self.files.get_mut(&key) else { return Progress::Old };
        let end = offset.saturating_add(data.len() as u64);
        if end > file.size {
            let cause = format!("{end} bytes came of {} that were announced", file.size);
            return self.take(&key).map_or(Progress::Old, |file| Progress::Wrong { file, cause });
        }
        if offset > file.received {
            if std::mem::replace(&mut file.told_hole, true) {
                return Progress::Old;
            }
            return Progress::Hole { names: file.names.clone(), from: file.received, to: offset };
        }
        if end <= file.received && file.received < file.size {
            return Progress::Old;
        }
        let known = usize::try_from(file.received - offset).unwrap_or(usize::MAX).min(data.len());
        let (offset, data) = (file.received, data.split_off(known));
        file.digest.update(&data);
        file.received = end.max(file.received);
        if file.received < file.size {
            return Progress::More { offset, data };
        }
        let Some(file) = self.take(&key) else { return Progress::Old };
        let found = <[u8; 32]>::from(file.digest.clone().finalize());
        if found == file.sha256 {
            return Progress::Whole { offset, data, file };
        }
        let cause = format!("its content has the hash {}, {} was announced", hex(&found), hex(&file.sha256));
        Progress::Wrong { file, cause }
    }

    /// Gives up the files of an agent that nobody waits for any more.
    pub fn forget(&mut self, agent: &AgentId, waits: impl Fn(RunId) -> bool) -> Vec<Incoming> {
        let given_up = |file: &Incoming| file.agent == *agent && !file.names.iter().any(|name| waits(name.run));
        let keys: Vec<_> = self.files.iter().filter(|(_, file)| given_up(file)).map(|(key, _)| key.clone()).collect();
        keys.iter().filter_map(|key| self.take(key)).collect()
    }

    fn take(&mut self, key: &(AgentId, Hash)) -> Option<Incoming> {
        self.files.remove(key)
    }
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn agent() -> AgentId {
        AgentId::new("bench").unwrap()
    }

    fn name(name: &str) -> Announced {
        let (announced, name, media_type) = (name.to_owned(), name.to_owned(), "text/plain".to_owned());
        let (run, at) = (RunId(uuid::Uuid::nil()), Timestamp(0));
        Announced { run, step: None, announced, name, media_type, at }
    }

    fn expecting(content: &[u8]) -> (Arriving, Hash) {
        let sha256 = Sha256::digest(content).into();
        let mut arriving = Arriving::default();
        arriving.announce(&agent(), sha256, content.len() as u64, name("x"));
        (arriving, sha256)
    }

    #[test]
    fn what_is_not_as_announced_is_refused() {
        let (mut arriving, sha256) = expecting(b"0123456789");
        let found = arriving.chunk(&agent(), sha256, 0, b"0123456780".to_vec());
        let Progress::Wrong { file, cause } = found else { panic!("{found:?}") };
        assert!(file.names[0].name == "x" && cause.starts_with("its content has the hash "), "{cause}");
        assert!(matches!(arriving.chunk(&agent(), sha256, 0, b"0".to_vec()), Progress::Old), "it is expected no more");

        let (mut arriving, sha256) = expecting(b"0123456789");
        let found = arriving.chunk(&agent(), sha256, 5, b"567890".to_vec());
        let Progress::Wrong { cause, .. } = found else { panic!("{found:?}") };
        assert_eq!(cause, "11 bytes came of 10 that were announced");
        let (mut arriving, sha256) = expecting(b"0123456789");
        assert!(matches!(arriving.chunk(&agent(), sha256, u64::MAX, vec![0; 3]), Progress::Wrong { .. }));
    }

    #[test]
    fn a_hole_is_told_once_and_can_be_filled() {
        let (mut arriving, sha256) = expecting(b"0123456789");
        let found = arriving.chunk(&agent(), sha256, 4, b"45".to_vec());
        assert!(matches!(found, Progress::Hole { from: 0, to: 4, .. }), "{found:?}");
        assert!(matches!(arriving.chunk(&agent(), sha256, 6, b"67".to_vec()), Progress::Old));
        let found = arriving.chunk(&agent(), sha256, 0, b"0123456789".to_vec());
        assert!(matches!(found, Progress::Whole { .. }), "{found:?}");
    }

    #[test]
    fn of_another_agent_nothing_is_taken() {
        let (mut arriving, sha256) = expecting(b"0123456789");
        let other = AgentId::new("other").unwrap();
        assert!(matches!(arriving.chunk(&other, sha256, 0, b"0123456789".to_vec()), Progress::Old));
        assert!(arriving.forget(&other, |_| false).is_empty());
        assert!(arriving.forget(&agent(), |_| true).is_empty());
        assert_eq!(arriving.forget(&agent(), |_| false).len(), 1);
    }

    #[test]
    fn a_file_without_bytes_is_whole_at_once() {
        let (mut arriving, sha256) = expecting(b"");
        let found = arriving.chunk(&agent(), sha256, 0, Vec::new());
        assert!(matches!(found, Progress::Whole { .. }), "{found:?}");
    }

    proptest! {
        /// Some bytes of what came before are sent again with each chunk, and whole chunks, too.
        #[test]
        fn however_often_chunks_come_the_content_is_the_same(
            content in prop::collection::vec(any::<u8>(), 1..300),
            chunks in prop::collection::vec((1..40_usize, 0..40_usize, 0..3_usize), 1..100),
        ) {
            let (mut arriving, sha256) = expecting(&content);
            let mut kept: Vec<u8> = Vec::new();
            let mut whole = 0;
            let mut sent = 0;
            let rest = std::iter::repeat((7, 0, 0));
            for (length, back, again) in chunks.into_iter().chain(rest) {
                let from = usize::saturating_sub(sent, back);
                let to = (sent + length).min(content.len());
                for _ in 0..=again {
                    match arriving.chunk(&agent(), sha256, from as u64, content[from..to].to_vec()) {
                        Progress::Old => {}
                        Progress::More { offset, data } => {
                            prop_assert_eq!(offset, kept.len() as u64);
                            kept.extend(data);
                        }
                        Progress::Whole { offset, data, .. } => {
                            prop_assert_eq!(offset, kept.len() as u64);
                            kept.extend(data);
                            whole += 1;
                        }
                        found @ (Progress::Hole { .. } | Progress::Wrong { .. }) => {
                            return Err(TestCaseError::fail(format!("{found:?}")));
                        }
                    }
                }
                sent = to;
                if sent == content.len() {
                    break;
                }
            }
            prop_assert_eq!((whole, kept), (1, content));
        }
    }
}
