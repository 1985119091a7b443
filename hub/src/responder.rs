//! Whoever outside answers what is said in the chat and is no command line: over the broker, or by a webhook, whose questions
//! are carried from here. What fails is the model's to say.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::hub::Hub;
use crate::model::chat::{PATIENCE_DEFAULT, Question, WAITING_MAX, Way};

pub mod answer;
pub mod webhook;

use webhook::Target;

#[derive(Debug, Clone)]
pub struct Settings {
    pub choice: Choice,
    /// How long an answer may take.
    pub patience: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { choice: Choice::None, patience: PATIENCE_DEFAULT }
    }
}

#[derive(Debug, Clone)]
pub enum Choice {
    None,
    Broker,
    Webhook(Target),
}

impl Choice {
    pub const fn way(&self) -> Way {
        match self {
            Self::None => Way::None,
            Self::Broker => Way::Broker,
            Self::Webhook(_) => Way::Webhook,
        }
    }
}

impl FromStr for Choice {
    type Err = String;

    /// What is wrong is told without the text, which may hold a password.
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self::None),
            "mqtt" => Ok(Self::Broker),
            url => url.parse().map(Self::Webhook),
        }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Broker => f.write_str("mqtt"),
            Self::Webhook(target) => target.fmt(f),
        }
    }
}

/// The way to the task that carries questions. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Responder {
    questions: mpsc::Sender<Box<Question>>,
}

impl Responder {
    /// The model lets no more than `WAITING_MAX` questions wait at once, so there is room for each.
    pub fn new() -> (Self, mpsc::Receiver<Box<Question>>) {
        let (questions, waiting) = mpsc::channel(WAITING_MAX);
        (Self { questions }, waiting)
    }

    /// Never waits.
    pub async fn carry(&self, hub: &Hub, question: Box<Question>) {
        let id = question.id;
        if self.questions.try_send(question).is_err() {
            tell(hub, id, Err("its questions are carried no further".to_owned())).await;
        }
    }
}

/// Carries questions to a webhook, several at a time, until told to stop.
pub async fn run(
    target: Target,
    patience: Duration,
    hub: Hub,
    mut questions: mpsc::Receiver<Box<Question>>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    tracing::info!("what is no command line in the chat goes to {target}");
    let mut asking = JoinSet::new();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            Some(question) = questions.recv(), if asking.len() < WAITING_MAX => {
                asking.spawn(ask(target.clone(), patience, hub.clone(), question));
            }
            Some(ended) = asking.join_next(), if !asking.is_empty() => {
                if let Err(error) = ended {
                    tracing::error!("asking the chat's responder panicked: {error}");
                }
            }
        }
    }
    // What was under way is said to be unanswered at the next start.
    asking.shutdown().await;
    Ok(())
}

async fn ask(target: Target, patience: Duration, hub: Hub, question: Box<Question>) {
    let asked = async {
        // Nobody hears of a question that could still be lost.
        hub.store().barrier().await.map_err(|error| format!("{error:#}"))?;
        webhook::post(&target, &question).await
    };
    let answer = match tokio::time::timeout(patience, asked).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("no answer came within {}", humantime::format_duration(patience))),
    };
    tell(&hub, question.id, answer).await;
}

async fn tell(hub: &Hub, question: u64, answer: Result<String, String>) {
    let told = hub.ask(move |core, now| core.model.answer_chat(Some(question), answer, now)).await;
    match told {
        Ok(true) => {}
        Ok(false) => tracing::debug!(question, "an answer came when nobody waited for it any more"),
        Err(_) => tracing::debug!(question, "the hub stopped before an answer came"),
    }
}
