//! Carries out what clients order: lines are planned against what the hub knows at that moment, runs are started and stopped.
//! The one place where the pure language meets the hub; REST and sockets come here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use rigwire_shared::value::Fields;
use serde_json::json;

use crate::access::{Principal, Role, gate};
use crate::api::{devices, runs};
use crate::app::App;
use crate::command_line::{self, Control, Known, Line, Meaning, Refusal};
use crate::dialect::{Answer, Meant, Order, Outcome, RunReference, Wish};
use crate::error::ApiError;
use crate::event::RunSnapshot;
use crate::model::StartRun;
use crate::procedure::Procedure;
use crate::procedures::ProcedureError;
use crate::store::RunRow;

use chat::ComesTo;

pub mod chat;

/// A socket's order, whatever comes of it.
pub async fn answer(app: &App, who: Option<&Principal>, order: Order) -> Answer {
    let began = Instant::now();
    if let Err(error) = may(who, &order.wish) {
        let outcome = Outcome::Refused { code: error.code(), message: error.detail().to_owned() };
        return Answer { correlation_id: order.correlation_id, question: order.question, outcome };
    }
    let mut question = order.question;
    let outcome =
        match order.wish {
            Wish::Plan { line, params, workflow } => plan_with(app, &line, &params)
                .await
                .map(|meant| Outcome::Planned { line, workflow, took_ms: took_ms(began), meant }),
            Wish::Say { content, sender } => {
                let author = chat::author(who, sender);
                match chat::say(app, author, content, order.correlation_id.clone()).await {
                    Ok(heard) => {
                        question = Some(heard.message.number);
                        heard.comes_to.map(|comes_to| match comes_to {
                            ComesTo::Line(meant) => Outcome::Planned {
                                line: heard.message.content,
                                workflow: None,
                                took_ms: took_ms(began),
                                meant,
                            },
                            ComesTo::PassedOn => Outcome::PassedOn,
                        })
                    }
                    Err(error) => Err(error),
                }
            }
            Wish::Start(start) => runs::begin(app, *start).await.map(|run| started(&run)),
            Wish::StartSaved { procedure, params } => match runs::saved(app, procedure.clone(), params).await {
                Ok(start) => {
                    let start = StartRun { workflow: Some(procedure), ..start };
                    runs::begin(app, start).await.map(|run| started(&run))
                }
                Err(error) => Err(error),
            },
            Wish::Control { control, run } => self::control(app, control, run).await.map(Outcome::Said),
        };
    let outcome =
        outcome.unwrap_or_else(|error| Outcome::Refused { code: error.code(), message: error.detail().to_owned() });
    if let Some(question) = order.question {
        chat::tell(app, question, order.correlation_id.clone(), &outcome).await;
    }
    Answer { correlation_id: order.correlation_id, question, outcome }
}

fn took_ms(began: Instant) -> f64 {
    (began.elapsed().as_secs_f64() * 1e6).round() / 1e3
}

/// Whoever may look may have a line explained; only operators have it carried out, or speak in their chat.
fn may(who: Option<&Principal>, wish: &Wish) -> Result<(), ApiError> {
    let needed = match wish {
        Wish::Plan { .. } => Role::Viewer,
        Wish::Say { .. } | Wish::Start(_) | Wish::StartSaved { .. } | Wish::Control { .. } => Role::Operator,
    };
    who.map_or_else(
        || Err(ApiError::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "a token is needed")),
        |who| gate::permit(who, needed),
    )
}

fn started(run: &RunSnapshot) -> Outcome {
    Outcome::Started { run: run.header.id, number: run.header.number, name: run.header.name.clone() }
}

/// What a line comes to. Questions are answered, nothing else is done.
pub async fn plan(app: &App, text: &str) -> Result<Result<Meant, Refusal>, ApiError> {
    plan_with(app, text, &Fields::new()).await
}

/// The same with parameters for the procedure that the line runs.
async fn plan_with(app: &App, text: &str, params: &Fields) -> Result<Result<Meant, Refusal>, ApiError> {
    let line = match command_line::parse(text).and_then(|line| line.with_params(params)) {
        Ok(line) => line,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let known = known(app, &line).await?;
    let meaning = match command_line::compile(&line, &known) {
        Ok(meaning) => meaning,
        Err(refusal) => return Ok(Err(refusal)),
    };
    Ok(Ok(match meaning {
        Meaning::Plan(plan) => Meant::Plan(plan),
        Meaning::Control { control, run } => Meant::Control { control, run },
        Meaning::Help(text) => Meant::Said { text, data: serde_json::Value::Null },
        Meaning::Devices => {
            let (text, rows) = app
                .hub
                .ask(|core, _| {
                    let all: Vec<_> = core.model.devices().collect();
                    let text = command_line::devices(all.iter().map(|(card, device)| (*card, device)));
                    let rows: Vec<_> =
                        all.iter().map(|(card, device)| devices::row(&core.model, card, device)).collect();
                    (text, rows)
                })
                .await?;
            Meant::Said { text, data: json!({"devices": rows}) }
        }
        Meaning::Status(None) => said(&app.hub.ask(|core, _| core.model.active_snapshots()).await?),
        Meaning::Status(Some(run)) => said(&[runs::snapshot(app, &run.to_string()).await?]),
    }))
}

fn said(runs: &[RunSnapshot]) -> Meant {
    let rows: Vec<RunRow> = runs.iter().map(RunRow::from).collect();
    Meant::Said { text: command_line::status(runs), data: json!({"runs": rows}) }
}

async fn known(app: &App, line: &Line) -> Result<Known, ApiError> {
    let named: Vec<String> = line.procedures().into_iter().map(str::to_owned).collect();
    let store = Arc::clone(&app.procedures);
    let read = tokio::task::spawn_blocking(move || -> anyhow::Result<_> {
        let names = store.names()?;
        let mut procedures = BTreeMap::<String, Result<Procedure, String>>::new();
        for name in named {
            let procedure = match store.get(&name) {
                Ok(procedure) => Ok(procedure),
                Err(ProcedureError::Other(error)) => return Err(error),
                Err(error) => Err(error.to_string()),
            };
            procedures.insert(name, procedure);
        }
        Ok((names, procedures))
    });
    let (names, procedures) = read.await.map_err(anyhow::Error::from)??;
    let devices = app.hub.ask(|core, _| core.model.devices().map(|(card, _)| card.clone()).collect()).await?;
    Ok(Known { devices, names, procedures })
}

/// Carries out a plan.
pub async fn start(app: &App, plan: command_line::Plan, holder: Option<String>) -> Result<RunSnapshot, ApiError> {
    let command_line::Plan { procedure, params, name, .. } = plan;
    runs::begin(app, StartRun { name: Some(name), holder, ..StartRun::new(Arc::new(procedure), params) }).await
}

/// Cancels, pauses or resumes a run, and says so.
pub async fn control(app: &App, control: Control, run: RunReference) -> Result<String, ApiError> {
    let (state, path) = (State(app.clone()), Path(run.to_string()));
    let done = match control {
        Control::Cancel => runs::cancel(state, path).await.map(|_| "is being cancelled"),
        Control::Pause => runs::pause(state, path).await.map(|_| "pauses before its next step"),
        Control::Resume => runs::resume(state, path).await.map(|_| "goes on"),
    };
    done.map(|done| format!("run {run} {done}"))
}
