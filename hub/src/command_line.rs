//! Lines that people type, such as `set psu-1 voltage 3.3; read dmm-1 value every 1s for 10s`: read, checked against what is
//! there, and made into one procedure. Knows no run, no socket and no client.

use std::collections::BTreeMap;

use rigwire_shared::agent::DeviceCard;
use rigwire_shared::ids::DeviceId;
use rigwire_shared::value::{Fields, Value};

use crate::dialect::RunReference;
use crate::procedure::Procedure;

mod adb;
mod answer;
mod compile;
mod device;
mod help;
mod inline;
mod nearest;
mod parse;
mod plan;
mod print;
mod quantity;
mod refusal;
mod token;
mod value;

pub use answer::{devices, status};
pub use compile::compile;
pub use help::help;
pub use nearest::nearest;
pub use parse::parse;
pub use plan::{Plan, PlannedDevice, PlannedStep, Stage};
pub use refusal::Refusal;
use refusal::Trouble;

/// What was typed, as sentences, each with its place in the text.
#[derive(Debug, Clone)]
pub struct Line {
    text: String,
    sentences: Vec<(Sentence, usize)>,
}

/// Two lines are the same when they say the same, wherever in the text they say it.
impl PartialEq for Line {
    fn eq(&self, other: &Self) -> bool {
        let sentences = self.sentences.iter().map(|(sentence, _)| sentence);
        sentences.eq(other.sentences.iter().map(|(sentence, _)| sentence))
    }
}

impl Line {
    /// With parameters that were given beside the text, for the one procedure that it runs. What the text says itself counts.
    pub fn with_params(mut self, params: &Fields) -> Result<Self, Refusal> {
        if params.is_empty() {
            return Ok(self);
        }
        let at = self.text.len();
        let mut runs = self.sentences.iter_mut().filter_map(|(sentence, _)| match sentence {
            Sentence::Run { with, .. } => Some(with),
            Sentence::Read { .. }
            | Sentence::Set { .. }
            | Sentence::Do { .. }
            | Sentence::Safe { .. }
            | Sentence::Wait { .. }
            | Sentence::Adb { .. }
            | Sentence::Log { .. }
            | Sentence::Help { .. }
            | Sentence::Devices
            | Sentence::Status { .. }
            | Sentence::Control { .. } => None,
        });
        let (Some(with), None) = (runs.next(), runs.next()) else {
            let message = "params are for the procedure that a line runs, expected one sentence such as run NAME";
            return Err(Trouble::new(0, message).in_text(&self.text));
        };
        for (name, value) in params {
            if with.iter().any(|argument| argument.name.as_ref().is_some_and(|known| known.text == *name)) {
                continue;
            }
            let (text, quoted) = match value {
                Value::Text(text) => (text.clone(), true),
                Value::Int(number) => (number.to_string(), false),
                Value::Float(number) => (number.to_string(), false),
                Value::Bool(on) => (on.to_string(), false),
                Value::Null | Value::List(_) | Value::Map(_) => {
                    let message = format!("params.{name} is no number, text, true or false");
                    return Err(Trouble::new(at, message).in_text(&self.text));
                }
            };
            let name = Some(Word { text: name.clone(), quoted: false, at });
            with.push(Argument { name, value: Written { word: Word { text, quoted, at }, unit: None } });
        }
        Ok(self)
    }

    /// Procedures that the line names: whoever compiles it must know them.
    pub fn procedures(&self) -> Vec<&str> {
        let named = self.sentences.iter().filter_map(|(sentence, _)| match sentence {
            Sentence::Run { procedure, .. } => Some(procedure.text.as_str()),
            Sentence::Read { .. }
            | Sentence::Set { .. }
            | Sentence::Do { .. }
            | Sentence::Safe { .. }
            | Sentence::Wait { .. }
            | Sentence::Adb { .. }
            | Sentence::Log { .. }
            | Sentence::Help { .. }
            | Sentence::Devices
            | Sentence::Status { .. }
            | Sentence::Control { .. } => None,
        });
        named.collect()
    }
}

/// One word and where it stands, in bytes from the start of the text.
#[derive(Debug, Clone)]
struct Word {
    text: String,
    /// A word in quotes is never a keyword nor a number.
    quoted: bool,
    at: usize,
}

impl PartialEq for Word {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text && self.quoted == other.quoted
    }
}

/// A value as written: `3.3`, `3.3V`, `1 kHz`, `on`, `"some text"`.
#[derive(Debug, Clone, PartialEq)]
struct Written {
    word: Word,
    /// A unit that stands apart from its number.
    unit: Option<Word>,
}

/// `on`, or `v=3.3`.
#[derive(Debug, Clone, PartialEq)]
struct Argument {
    name: Option<Word>,
    value: Written,
}

#[derive(Debug, Clone, PartialEq)]
enum Sentence {
    Read { device: Word, reading: Option<Word>, count: Option<Word>, every: Option<Word>, during: Option<Word> },
    Set { device: Word, name: Word, value: Written },
    Do { device: Word, action: Word, with: Vec<Argument> },
    Safe { device: Word },
    Wait { duration: Word },
    Run { procedure: Word, with: Vec<Argument> },
    Adb { device: Word, command: Word, words: Vec<Word> },
    Log { message: Word, level: Option<Word> },
    Help { about: Option<Word> },
    Devices,
    Status { run: Option<Word> },
    Control { control: Control, run: Word },
}

/// What a line may do to a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    Cancel,
    Pause,
    Resume,
}

impl Control {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::Pause => "pause",
            Self::Resume => "resume",
        }
    }
}

/// What there is to talk about.
#[derive(Debug, Clone, Default)]
pub struct Known {
    pub devices: Vec<DeviceCard>,
    /// Names of all procedures.
    pub names: Vec<String>,
    /// Those that the line names, or what is wrong with them.
    pub procedures: BTreeMap<String, Result<Procedure, String>>,
}

impl Known {
    fn device(&self, id: &DeviceId) -> Option<&DeviceCard> {
        self.devices.iter().find(|card| card.device == *id)
    }
}

/// What a line comes to.
#[derive(Debug, Clone, PartialEq)]
pub enum Meaning {
    /// Something to run.
    Plan(Box<Plan>),
    Control {
        control: Control,
        run: RunReference,
    },
    Help(String),
    Devices,
    Status(Option<RunReference>),
}

#[cfg(test)]
mod tests;
