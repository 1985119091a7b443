//! What the REST neighbours of the protocols have in common: reading what clients send, finding runs and procedures by
//! whatever they call them, pages of lists, and the few things that are done to a run. Knows no protocol.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, State};
use rigwire_shared::ids::RunId;
use rigwire_shared::value::{Fields, Value};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json};
use uuid::Uuid;

use super::{json_object, runs};
use crate::app::App;
use crate::dialect::RunReference;
use crate::error::ApiError;
use crate::event::{RunSnapshot, RunStatus};
use crate::model::StartRun;
use crate::procedures::{ProcedureError, Procedures};
use crate::report::Format;
use crate::stable_id;
use crate::store::{Listed, Listing, RunRow};

/// Most that one page of a list holds.
pub(crate) const PAGE_MAX: usize = 500;

/// A query, or why it is none.
pub(crate) type Query<T> = Result<axum::extract::Query<T>, QueryRejection>;

pub(crate) fn query<T>(query: Query<T>) -> Result<T, ApiError> {
    query.map(|query| query.0).map_err(|error| ApiError::bad_request("INVALID_QUERY", error.body_text()))
}

/// The body in its type. `expected` shows the form.
pub(crate) fn body<T: DeserializeOwned>(bytes: &[u8], expected: &str) -> Result<T, ApiError> {
    serde_path_to_error::deserialize(json_object(bytes, expected)?).map_err(|error| {
        let path = error.path().to_string();
        let place = if path == "." { String::new() } else { format!("{path}: ") };
        ApiError::unprocessable("INVALID_REQUEST", format!("{place}{}; expected {expected}", error.into_inner()))
    })
}

/// Named values that a client sends, such as parameters of a run.
pub(crate) fn fields(what: &str, given: Option<Map<String, Json>>) -> Result<Fields, ApiError> {
    let Some(given) = given else { return Ok(Fields::new()) };
    match serde_json::from_value(Json::Object(given)) {
        Ok(Value::Map(fields)) => Ok(fields),
        Ok(_) => Err(ApiError::unprocessable("INVALID_REQUEST", format!("{what} is not an object"))),
        Err(error) => Err(ApiError::unprocessable("INVALID_REQUEST", format!("{what}: {error}"))),
    }
}

/// Named values as JSON.
pub(crate) fn object(fields: &[(String, Value)]) -> Map<String, Json> {
    fields.iter().map(|(name, value)| (name.clone(), serde_json::to_value(value).unwrap_or(Json::Null))).collect()
}

/// Statuses as a client spells them in a query, one or several with commas between. `words` are the protocol's own, each with what it means here.
pub(crate) fn statuses(given: Option<&str>, words: &[(&str, &[RunStatus])]) -> Result<Vec<RunStatus>, ApiError> {
    let Some(given) = given.filter(|given| !given.is_empty()) else { return Ok(Vec::new()) };
    let mut wanted = Vec::new();
    for given in given.split(',').map(str::trim) {
        let found = words.iter().find(|(word, _)| word.eq_ignore_ascii_case(given));
        let Some((_, meant)) = found else {
            let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            let given: String = given.chars().take(80).collect();
            let detail = format!("{given:?} is not a status, expected one of {}", known.join(", "));
            return Err(ApiError::unprocessable("UNKNOWN_STATUS", detail));
        };
        wanted.extend_from_slice(meant);
    }
    Ok(wanted)
}

/// Runs of a list as they are now, and how many there are in all.
pub(crate) async fn page(app: &App, listing: Listing) -> Result<(Vec<Listed>, u64), ApiError> {
    let listing = Listing { limit: listing.limit.clamp(1, PAGE_MAX), ..listing };
    let (mut found, total) = app.hub.store().listed(listing).await?;
    // The record has a run as of its last change of status; what moves is at hand in the model.
    let ids: Vec<_> = found.iter().filter(|run| !run.row.status.is_final()).map(|run| run.row.id).collect();
    let moving: Vec<RunRow> = app
        .hub
        .ask(move |core, _| {
            let at_hand = ids.into_iter().filter_map(|id| core.model.run(RunReference::Id(id)));
            at_hand.map(|run| RunRow::from(&run)).collect()
        })
        .await?;
    for run in &mut found {
        if let Some(fresh) = moving.iter().find(|fresh| fresh.id == run.row.id) {
            run.row.clone_from(fresh);
        }
    }
    Ok((found, total))
}

/// Runs file work on procedures off the async threads.
pub(crate) async fn procedures<T: Send + 'static>(
    app: &App,
    work: impl FnOnce(&Procedures) -> Result<T, ProcedureError> + Send + 'static,
) -> Result<T, ApiError> {
    let procedures = Arc::clone(&app.procedures);
    let done = tokio::task::spawn_blocking(move || work(&procedures)).await;
    Ok(done.map_err(anyhow::Error::from)??)
}

/// The name of a procedure that a client calls by it, or by the UUID that stands for it. A name that there is none of is
/// refused by whoever reads the procedure.
pub(crate) async fn procedure_name(app: &App, id: &str) -> Result<String, ApiError> {
    let Ok(uuid) = Uuid::try_parse(id) else { return Ok(id.to_owned()) };
    let names = procedures(app, |procedures| Ok(procedures.names()?)).await?;
    let found = names.iter().find(|name| stable_id::of_procedure(name) == uuid || *name == id);
    found.cloned().ok_or_else(|| ApiError::not_found("UNKNOWN_PROCEDURE", format!("no procedure has the id {uuid}")))
}

/// A run of a procedure that is there by name, under a name of its own.
pub(crate) async fn start_saved(
    app: &App,
    procedure: &str,
    params: Fields,
    name: Option<String>,
) -> Result<StartRun, ApiError> {
    let procedure = procedure_name(app, procedure).await?;
    let start = runs::saved(app, procedure, params).await?;
    Ok(StartRun { name: runs::run_name(name)?, ..start })
}

/// Cancels a run; the run as it then is.
pub(crate) async fn cancel(app: &App, id: &str) -> Result<RunSnapshot, ApiError> {
    runs::cancel(State(app.clone()), Path(id.to_owned())).await?;
    runs::snapshot(app, id).await
}

/// Pauses a run or lets it go on; the run as it then is.
pub(crate) async fn hold(app: &App, id: &str, pause: bool) -> Result<RunSnapshot, ApiError> {
    let (state, path) = (State(app.clone()), Path(id.to_owned()));
    if pause {
        runs::pause(state, path).await?;
    } else {
        runs::resume(state, path).await?;
    }
    runs::snapshot(app, id).await
}

/// The run and the form that a report's file name stands for, such as `17.pdf`.
pub(crate) fn report_file(name: &str) -> Result<(&str, Format), ApiError> {
    let parts = name.rsplit_once('.').and_then(|(run, ending)| Some((run, ending.parse().ok()?)));
    parts.ok_or_else(|| {
        let known: Vec<&str> = Format::ALL.iter().map(|format| format.as_str()).collect();
        let detail = format!(
            "there is no report {name:.100}: expected the id of a run with one of the endings {}",
            known.join(", ")
        );
        ApiError::not_found("UNKNOWN_REPORT", detail)
    })
}

pub(crate) fn report_url(prefix: &str, run: RunId, format: Format) -> String {
    format!("{prefix}{run}.{}", format.as_str())
}
