//! Files that runs leave: what they may be called, how large they may be, and which part of one a request asks for.
//! Pure: knows no record, no request and no clock.

use std::collections::BTreeSet;

use rigwire_shared::ids::{RunId, StepId};
use rigwire_shared::time::Timestamp;

mod arriving;
mod name;
mod range;

pub use arriving::{ARRIVING_MAX, Announced, Arrival, Arriving, Hash, Incoming, Progress, hex};
pub use name::{check_media_type, check_name, clean_name, is_shown, unique};
pub use range::{Part, part};

/// Files that one run may leave.
pub const FILES_MAX: usize = 10_000;

/// Bytes of one file, and of all files of one run together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub file: u64,
    pub run: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { file: 256 << 20, run: 1024 << 20 }
    }
}

impl Limits {
    /// Why a run that left so many files of so many bytes may not leave one more of this size.
    pub fn refuse(self, files: usize, bytes: u64, size: u64) -> Option<String> {
        let Self { file, run } = self;
        if size > file {
            return Some(format!("it has {size} bytes, a file may have {file}"));
        }
        if bytes.saturating_add(size) > run {
            return Some(format!(
                "it has {size} bytes, the run's files have {bytes} already and may have {run} together"
            ));
        }
        (files >= FILES_MAX).then(|| format!("the run has {FILES_MAX} files already, the most there may be"))
    }
}

/// What a run left so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kept {
    names: BTreeSet<String>,
    bytes: u64,
}

impl Kept {
    pub fn take(&mut self, name: &str, size: u64) {
        self.names.insert(name.to_owned());
        self.bytes = self.bytes.saturating_add(size);
    }

    pub fn files(&self) -> usize {
        self.names.len()
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub fn has(&self, name: &str) -> bool {
        self.names.contains(name)
    }
}

/// A file that is whole, on its way into the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    pub run: RunId,
    pub name: String,
    pub media_type: String,
    pub bytes: Vec<u8>,
    pub at: Timestamp,
    pub step: Option<StepId>,
}

/// Where a run's file is found, and what the record calls it: never a path in a file system.
pub fn path(run: RunId, name: &str) -> String {
    format!("{run}/{name}")
}

/// The address of a path: all that could mean something else in it is escaped.
pub fn url(path: &str) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 15)]);
    let mut url = String::from("/api/v1/artifacts/");
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'_' | b'.' | b'~') {
            url.push(char::from(byte));
        } else {
            url.extend(['%', digit(byte >> 4), digit(byte)]);
        }
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_much_is_said() {
        let limits = Limits { file: 10, run: 15 };
        for (files, bytes, size, problem) in [
            (0, 0, 10, None),
            (1, 6, 9, None),
            (0, 0, 11, Some("it has 11 bytes, a file may have 10")),
            (1, 6, 10, Some("it has 10 bytes, the run's files have 6 already and may have 15 together")),
            (FILES_MAX, 0, 0, Some("the run has 10000 files already, the most there may be")),
        ] {
            assert_eq!(limits.refuse(files, bytes, size).as_deref(), problem, "{files} {bytes} {size}");
        }
    }

    #[test]
    fn an_address_holds_no_character_that_means_something_else() {
        assert_eq!(url("r/a b?#%é.csv"), "/api/v1/artifacts/r/a%20b%3F%23%25%C3%A9.csv");
    }
}
