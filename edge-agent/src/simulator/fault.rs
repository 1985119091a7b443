//! How a simulator misbehaves on request. Knows no instrument and no clock.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Commands work and nothing is answered.
    Silent,
    /// Every reply comes this much later.
    Late(Duration),
    /// So many bytes of noise come before every reply.
    Garbage(usize),
    /// Replies come byte by byte, this far apart.
    Split(Duration),
    /// The device vanishes in the middle of its next reply.
    Unplug,
    /// A reply of five bytes gets a sixth one.
    SixthByte,
    BadCrc,
    /// What is sent comes back before the reply.
    Echo,
    WrongUnit,
    Exception(u8),
}

const KNOWN: &str =
    "silent, late:DURATION, garbage:N, split:DURATION, unplug, sixth-byte, echo, bad-crc, wrong-unit or exception:N";

impl Fault {
    pub(crate) const fn is_for_modbus(self) -> bool {
        matches!(self, Self::BadCrc | Self::WrongUnit | Self::Exception(_))
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unknown = || format!("fault {text:?} is unknown, expected {KNOWN}");
        let number = |text: &str| text.parse::<u8>().map_err(|_| unknown());
        Ok(match text.split_once(':') {
            None => match text {
                "silent" => Self::Silent,
                "unplug" => Self::Unplug,
                "sixth-byte" => Self::SixthByte,
                "bad-crc" => Self::BadCrc,
                "echo" => Self::Echo,
                "wrong-unit" => Self::WrongUnit,
                _ => return Err(unknown()),
            },
            Some(("late", duration)) => Self::Late(crate::profile::duration::parse_period(duration)?),
            Some(("split", duration)) => Self::Split(crate::profile::duration::parse_period(duration)?),
            Some(("garbage", count)) => Self::Garbage(usize::from(number(count)?)),
            Some(("exception", code)) => Self::Exception(number(code)?),
            Some(_) => return Err(unknown()),
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent => f.write_str("silent"),
            Self::Late(delay) => write!(f, "late:{}ms", delay.as_millis()),
            Self::Garbage(count) => write!(f, "garbage:{count}"),
            Self::Split(pause) => write!(f, "split:{}ms", pause.as_millis()),
            Self::Unplug => f.write_str("unplug"),
            Self::SixthByte => f.write_str("sixth-byte"),
            Self::BadCrc => f.write_str("bad-crc"),
            Self::Echo => f.write_str("echo"),
            Self::WrongUnit => f.write_str("wrong-unit"),
            Self::Exception(code) => write!(f, "exception:{code}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_written_as_they_are_read() {
        for text in [
            "silent",
            "late:700ms",
            "garbage:3",
            "split:2ms",
            "unplug",
            "sixth-byte",
            "echo",
            "bad-crc",
            "wrong-unit",
            "exception:2",
        ] {
            assert_eq!(text.parse::<Fault>().map(|fault| fault.to_string()).as_deref(), Ok(text));
        }
        assert!("late".parse::<Fault>().unwrap_err().starts_with("fault \"late\" is unknown, expected silent, "));
    }
}
