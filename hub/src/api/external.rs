//! External runs: announce one, and report its events.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;

use super::runs::snapshot;
use crate::app::App;
use crate::error::ApiError;
use crate::external::{BadBatch, Mistake, StartExternal, parse_batch};
use crate::model::{Receipt, ReportError};

/// A request for an external run, from its body.
pub(super) fn request(body: serde_json::Value) -> Result<StartExternal, ApiError> {
    StartExternal::from_json(body)
        .map_err(|mistake: Mistake| ApiError::unprocessable("INVALID_REQUEST", mistake.to_string()))
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Accepted {
    /// Events of the batch that were not known before.
    accepted: usize,
    /// Number of the run's last event.
    seq: u64,
}

pub async fn events(State(app): State<App>, Path(id): Path<String>, body: Bytes) -> Result<Response, ApiError> {
    let run = snapshot(&app, &id).await?;
    let id = run.header.id;
    let batch = Arc::new(parse_batch(&body)?);
    let taken = Arc::clone(&batch);
    let outcome = app.hub.ask(move |core, now| core.model.report_external(id, &taken, now)).await?;
    let receipt = match outcome {
        // A run that is in the record only has ended; a batch that is sent again is known all the same.
        Err(ReportError::Unknown(_)) if run.header.external => {
            let ids: Option<Vec<String>> = batch.iter().map(|event| event.id.clone()).collect();
            let known = match ids {
                Some(ids) => app.hub.store().has_reported(id, ids).await?,
                None => false,
            };
            if !known {
                return Err(ReportError::Ended(id, run.status).into());
            }
            Receipt { accepted: 0, seq: run.last_event }
        }
        Err(ReportError::Unknown(_)) => return Err(ReportError::NotExternal(id).into()),
        outcome => outcome?,
    };
    // Answered once it is in the record: the producer may forget it.
    app.hub.store().barrier().await?;
    Ok((StatusCode::ACCEPTED, Json(Accepted { accepted: receipt.accepted, seq: receipt.seq })).into_response())
}

impl From<BadBatch> for ApiError {
    fn from(error: BadBatch) -> Self {
        let detail = error.to_string();
        match error {
            BadBatch::TooLarge(_) => Self::new(StatusCode::PAYLOAD_TOO_LARGE, "BODY_TOO_LARGE", detail),
            BadBatch::NotJson(_) => Self::bad_request("INVALID_JSON", detail),
            BadBatch::NotArray | BadBatch::Mistake(_) => Self::unprocessable("INVALID_EVENT", detail),
            BadBatch::TooMany(_) => Self::unprocessable("TOO_MANY_EVENTS", detail),
        }
    }
}

impl From<ReportError> for ApiError {
    fn from(error: ReportError) -> Self {
        let detail = error.to_string();
        match error {
            ReportError::Unknown(_) => Self::not_found("UNKNOWN_RUN", detail),
            ReportError::NotExternal(_) => Self::conflict("NOT_EXTERNAL", detail),
            ReportError::Ended(..) => Self::conflict("RUN_ENDED", detail),
            ReportError::TooLarge(_) => Self::new(StatusCode::PAYLOAD_TOO_LARGE, "ARTIFACT_TOO_LARGE", detail),
            ReportError::Contradiction(_) => Self::conflict("CONTRADICTION", detail),
        }
    }
}
