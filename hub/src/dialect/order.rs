//! What a client wants done beyond watching: a line planned, a run started or stopped; and what the hub answers. Knows no
//! dialect.

use std::fmt;

use rigwire_shared::ids::RunId;
use rigwire_shared::value::Fields;

use super::RunReference;
use crate::command_line::{Control, Plan, Refusal};
use crate::model::StartRun;

/// Answered by `View::Answered` with the same correlation id, in the order asked.
#[derive(Clone, PartialEq)]
pub struct Order {
    pub correlation_id: Option<String>,
    /// Number of the chat's message that this comes of: the chat hears what becomes of it.
    pub question: Option<u64>,
    pub wish: Wish,
}

#[derive(Clone, PartialEq)]
pub enum Wish {
    /// Say what a line comes to; nothing is done yet.
    Plan {
        line: String,
        /// For the procedure that the line runs.
        params: Fields,
        /// What the client calls what comes of it.
        workflow: Option<String>,
    },
    /// Say something in the chat, and what comes of it if it is a line.
    Say {
        content: String,
        sender: Option<String>,
    },
    Start(Box<StartRun>),
    /// A procedure that the hub has by name.
    StartSaved {
        procedure: String,
        params: Fields,
    },
    Control {
        control: Control,
        run: RunReference,
    },
}

/// A plan is long; for a log its name says enough.
impl fmt::Debug for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.wish {
            Wish::Plan { line, params, workflow } => {
                write!(f, "Plan({line:?}")?;
                if !params.is_empty() {
                    write!(f, ", {} params", params.len())?;
                }
                if let Some(workflow) = workflow {
                    write!(f, ", as {workflow:?}")?;
                }
            }
            Wish::Say { content, sender: Some(sender) } => write!(f, "Say({content:?} by {sender:?}")?,
            Wish::Say { content, sender: None } => write!(f, "Say({content:?}")?,
            Wish::Start(start) => {
                write!(
                    f,
                    "Start({:?}, {} steps",
                    start.name.as_deref().unwrap_or_default(),
                    start.procedure.steps.len()
                )?;
            }
            Wish::StartSaved { procedure, params } => write!(f, "StartSaved({procedure:?}, {} params", params.len())?,
            Wish::Control { control, run } => write!(f, "Control({} {run}", control.as_str())?,
        }
        if let Some(question) = self.question {
            write!(f, ", of message {question}")?;
        }
        match &self.correlation_id {
            Some(id) => write!(f, ", for {id:?})"),
            None => f.write_str(")"),
        }
    }
}

#[derive(Debug, Clone)]
pub struct Answer {
    pub correlation_id: Option<String>,
    /// As in the order; of what was to be said, the number that it got. Its answers come as messages of the chat.
    pub question: Option<u64>,
    pub outcome: Outcome,
}

#[derive(Debug, Clone)]
pub enum Outcome {
    Planned {
        line: String,
        workflow: Option<String>,
        took_ms: f64,
        meant: Result<Meant, Refusal>,
    },
    Started {
        run: RunId,
        number: u64,
        name: String,
    },
    Said(String),
    /// What was said is with the responder, whose answer comes by itself.
    PassedOn,
    /// The hub could not or would not.
    Refused {
        code: &'static str,
        message: String,
    },
}

/// What a line comes to, its questions answered.
#[derive(Debug, Clone)]
pub enum Meant {
    Plan(Box<Plan>),
    Control {
        control: Control,
        run: RunReference,
    },
    Said {
        text: String,
        /// The same for programs.
        data: serde_json::Value,
    },
}

impl Outcome {
    /// For people, as far as it is theirs to read.
    pub fn in_words(&self) -> String {
        match self {
            Self::Started { run, number, name } => format!("Started run {number} ({run}): {name}"),
            Self::Said(text) => text.clone(),
            Self::Refused { message, .. } => message.clone(),
            Self::Planned { line, .. } => line.clone(),
            Self::PassedOn => String::new(),
        }
    }
}
