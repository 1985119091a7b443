//! A line written down again: what is printed reads as the same line. Knows no device.

use std::fmt;

use super::token::ends_word;
use super::{Argument, Line, Sentence, Word, Written};

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (sentence, _)) in self.sentences.iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            sentence.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Sentence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { device, reading, count, every, during } => {
                write!(f, "read {device}")?;
                if let Some(reading) = reading {
                    write!(f, " {reading}")?;
                }
                if let Some(count) = count {
                    write!(f, " {count} times")?;
                }
                if let Some(every) = every {
                    write!(f, " every {every}")?;
                }
                if let Some(during) = during {
                    write!(f, " for {during}")?;
                }
                Ok(())
            }
            Self::Set { device, name, value } => write!(f, "set {device} {name} {value}"),
            Self::Do { device, action, with } => {
                write!(f, "do {device} {action}")?;
                with.iter().try_for_each(|argument| write!(f, " {argument}"))
            }
            Self::Safe { device } => write!(f, "safe {device}"),
            Self::Wait { duration } => write!(f, "wait {duration}"),
            Self::Run { procedure, with } => {
                write!(f, "run {procedure}")?;
                with.iter().try_for_each(|argument| write!(f, " {argument}"))
            }
            Self::Adb { device, command, words } => {
                write!(f, "adb {device} {command}")?;
                words.iter().try_for_each(|word| write!(f, " {word}"))
            }
            Self::Log { message, level } => {
                write!(f, "log {message}")?;
                level.as_ref().map_or(Ok(()), |level| write!(f, " level={level}"))
            }
            Self::Help { about } => match about {
                Some(about) => write!(f, "help {about}"),
                None => f.write_str("help"),
            },
            Self::Devices => f.write_str("devices"),
            Self::Status { run } => match run {
                Some(run) => write!(f, "status {run}"),
                None => f.write_str("status"),
            },
            Self::Control { control, run } => write!(f, "{} {run}", control.as_str()),
        }
    }
}

impl fmt::Display for Argument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.name {
            write!(f, "{name}=")?;
        }
        self.value.fmt(f)
    }
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.word.fmt(f)?;
        self.unit.as_ref().map_or(Ok(()), |unit| write!(f, " {unit}"))
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.quoted {
            return f.write_str(&self.text);
        }
        f.write_str("\"")?;
        for c in self.text.chars() {
            match c {
                '"' | '\\' => write!(f, "\\{c}")?,
                c if c.is_control() || (c.is_whitespace() && c != ' ') => write!(f, "\\u{{{:x}}}", u32::from(c))?,
                c => write!(f, "{c}")?,
            }
        }
        f.write_str("\"")
    }
}

impl Word {
    /// For words that are made of several: in quotes where they would otherwise fall apart.
    pub(super) fn joined(words: &[Word]) -> Option<Self> {
        let [first, rest @ ..] = words else { return None };
        if rest.is_empty() {
            return Some(first.clone());
        }
        let texts: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
        let text = texts.join(" ");
        let quoted = text.contains(ends_word) || text.is_empty();
        Some(Self { text, quoted, at: first.at })
    }
}
