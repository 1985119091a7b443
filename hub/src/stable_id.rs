//! UUIDs for what the hub knows by a name or a number, for protocols whose clients want a UUID: the same for ever, without a
//! list of them. Pure.

use sha2::{Digest, Sha256};
use uuid::{Builder, Uuid};

/// What a number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// Files of runs.
    Artifact,
    /// A series of a run's measured values, by the place of its first one in the record.
    Series,
}

impl Counted {
    /// Eight bytes that say so, without the four bits that are the UUID's version.
    const fn mark(self) -> [u8; 8] {
        match self {
            Self::Artifact => *b"file\0\0\x80\0",
            Self::Series => *b"seri\0\0\x80\0",
        }
    }
}

/// Numbers above this have no UUID: two bits of it say what sort of UUID it is.
const NUMBER_MAX: u64 = (1 << 62) - 1;

pub fn of_procedure(name: &str) -> Uuid {
    of_text("procedure", name)
}

/// Of a metric of a run, of one device or of none.
pub fn of_metric(run: Uuid, name: &str, device: Option<&str>) -> Uuid {
    of_text("metric", &format!("{run} {name} {}", device.unwrap_or_default()))
}

/// Version 8, since the hash is SHA-256 (RFC 9562).
fn of_text(sort: &str, text: &str) -> Uuid {
    let hash = Sha256::new().chain_update(format!("rigwire {sort} {text}")).finalize();
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(hash).for_each(|(byte, hashed)| *byte = hashed);
    Builder::from_custom_bytes(bytes).into_uuid()
}

pub fn of_number(counted: Counted, number: u64) -> Uuid {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&counted.mark());
    bytes[8..].copy_from_slice(&number.min(NUMBER_MAX).to_be_bytes());
    Builder::from_custom_bytes(bytes).into_uuid()
}

/// What a client names by the number itself or by its UUID.
pub fn number(counted: Counted, text: &str) -> Option<u64> {
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let id = Uuid::try_parse(text).ok()?;
    let (_, low) = id.as_u64_pair();
    let number = low & NUMBER_MAX;
    (of_number(counted, number) == id).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_comes_back_from_its_uuid() {
        for counted in [Counted::Artifact, Counted::Series] {
            for value in [0, 1, 42, u64::from(u32::MAX), NUMBER_MAX] {
                let id = of_number(counted, value);
                assert_eq!((id.get_version_num(), number(counted, &id.to_string())), (8, Some(value)), "{value}");
            }
        }
        let file = of_number(Counted::Artifact, 7).to_string();
        for (text, expected) in [
            ("7", Some(7)),
            ("", None),
            ("-7", None),
            ("x", None),
            (file.as_str(), None),
            ("00000000-0000-4000-8000-000000000007", None),
        ] {
            assert_eq!(number(Counted::Series, text), expected, "{text}");
        }
    }

    #[test]
    fn a_name_has_one_uuid_for_ever() {
        assert_eq!(of_procedure("psu-check").to_string(), "0573e000-c1ae-80a9-b442-b42dd6912117");
        assert_ne!(of_procedure("psu-check"), of_procedure("psu-check2"));
    }
}
