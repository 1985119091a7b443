//! Reservations: a person takes a device, keeps it for longer, and gives it back. Who holds what, and until when.

use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use rigwire_shared::ids::{DeviceId, Fence, RunId};
use rigwire_shared::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::answer::Time;
use super::json_object;
use crate::app::App;
use crate::dialect::rfc3339;
use crate::error::ApiError;
use crate::lease::{Claim, Claimed, RESERVATION_MAX, after};
use crate::model::{LeaseRow, ReserveError};

const HOLDER_MAX: usize = 100;
const REASON_MAX: usize = 500;

const RESERVATION: &str = r#"{"holder", "reason"?, "until" or "for", "next"?}"#;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reserve {
    /// 1 to 100 characters.
    holder: String,
    #[serde(default)]
    reason: Option<String>,
    /// When it ends, as a time in UTC; or `for` says it.
    #[serde(default)]
    until: Option<String>,
    /// How long it lasts, such as `2h`; at most 30 days.
    #[serde(default, rename = "for")]
    duration: Option<String>,
    /// Wait for the run that is on the device, ahead of all others.
    #[serde(default)]
    next: bool,
}

pub async fn reserve(State(app): State<App>, Path(id): Path<String>, body: Bytes) -> Result<Response, ApiError> {
    let device = device_id(&id)?;
    let request: Reserve = serde_json::from_value(json_object(&body, RESERVATION)?)
        .map_err(|error| invalid(format!("the body is no reservation: {error}; expected {RESERVATION}")))?;
    let who = holder(&request.holder)?;
    let reason = request.reason.map(|reason| text("reason", &reason, REASON_MAX)).transpose()?;
    let end = end(request.until.as_deref(), request.duration.as_deref())?;
    let next = request.next;
    let outcome = app.hub.ask(move |core, now| {
        let until = end.at(now)?;
        Ok::<_, ApiError>(core.model.reserve(&device, Claim { holder: who, reason, until, next }, now)?)
    });
    let reserved = outcome.await??;
    // Answered once it is in the record: no crash can lose it from then on.
    app.hub.store().barrier().await?;
    let status = match reserved.claimed {
        Claimed::Taken => StatusCode::CREATED,
        Claimed::Prolonged => StatusCode::OK,
        Claimed::Waits(_) => StatusCode::ACCEPTED,
    };
    Ok((status, Json(Lease::from(&reserved.lease))).into_response())
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReturnQuery {
    /// Who gives it back.
    #[schemars(with = "String")]
    holder: Option<String>,
    /// Also when somebody else has it.
    #[serde(default)]
    force: bool,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct GivenBack {
    device: String,
    returned: Returned,
}

/// Whose reservation it was, and until when.
#[derive(Debug, Serialize, JsonSchema)]
struct Returned {
    holder: String,
    until: Time,
}

pub async fn give_back(
    State(app): State<App>,
    Path(id): Path<String>,
    query: Result<Query<ReturnQuery>, QueryRejection>,
) -> Result<Json<GivenBack>, ApiError> {
    let Query(query) = query.map_err(|error| ApiError::bad_request("INVALID_QUERY", error.body_text()))?;
    let device = device_id(&id)?;
    let Some(who) = query.holder else {
        return Err(ApiError::bad_request("INVALID_QUERY", "holder is missing, expected ?holder=NAME"));
    };
    let who = holder(&who)?;
    let outcome = app.hub.ask(move |core, now| core.model.return_device(&device, &who, query.force, now));
    let returned = outcome.await??;
    app.hub.store().barrier().await?;
    let returned = Returned { holder: returned.holder, until: Time(returned.until) };
    Ok(Json(GivenBack { device: id, returned }))
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Leases {
    leases: Vec<Lease>,
}

pub async fn list(State(app): State<App>) -> Result<Json<Leases>, ApiError> {
    let leases = app.hub.ask(|core, _| core.model.leases()).await?;
    Ok(Json(Leases { leases: leases.iter().map(Lease::from).collect() }))
}

/// A lease as it is shown, here and with its device.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Lease {
    device: DeviceId,
    kind: HolderKind,
    holder: String,
    run: Option<RunId>,
    reason: Option<String>,
    since: Time,
    /// Null for a run: until it ends.
    until: Option<Time>,
    fence: Option<Fence>,
    /// For the run that is on the device.
    waiting: bool,
}

#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum HolderKind {
    Run,
    Person,
}

impl Lease {
    pub(super) const fn is_waiting(&self) -> bool {
        self.waiting
    }
}

impl From<&LeaseRow> for Lease {
    fn from(lease: &LeaseRow) -> Self {
        Self {
            device: lease.device.clone(),
            kind: if lease.run.is_some() { HolderKind::Run } else { HolderKind::Person },
            holder: lease.holder.clone(),
            run: lease.run,
            reason: lease.reason.clone(),
            since: Time(lease.since),
            until: lease.until.map(Time),
            fence: lease.fence,
            waiting: lease.fence.is_none(),
        }
    }
}

/// The name of a person, checked.
pub(super) fn holder(name: &str) -> Result<String, ApiError> {
    text("holder", name, HOLDER_MAX)
}

fn text(key: &str, text: &str, max: usize) -> Result<String, ApiError> {
    let text = text.trim();
    let length = text.chars().count();
    if length == 0 || length > max {
        return Err(invalid(format!("{key} has {length} characters, expected 1 to {max}")));
    }
    if text.chars().any(char::is_control) {
        return Err(invalid(format!("{key} holds a control character")));
    }
    Ok(text.to_owned())
}

/// When a reservation ends.
enum End {
    At(Timestamp, String),
    After(Duration, String),
}

fn end(until: Option<&str>, duration: Option<&str>) -> Result<End, ApiError> {
    match (until, duration) {
        (Some(text), None) => {
            let at = humantime::parse_rfc3339(text).ok();
            let at = at.and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
            let at = at.and_then(|since| i64::try_from(since.as_micros()).ok());
            let at = at.ok_or_else(|| {
                invalid(format!("until is {text:?}, expected a time in UTC such as \"2030-01-31T14:30:00Z\""))
            })?;
            Ok(End::At(Timestamp(at), text.to_owned()))
        }
        (None, Some(text)) => match humantime::parse_duration(text) {
            Ok(duration) => Ok(End::After(duration, text.to_owned())),
            Err(_) => Err(invalid(format!("for is {text:?}, expected a duration such as \"2h\" or \"30m\""))),
        },
        (Some(_), Some(_)) => Err(invalid("until and for are both given, expected one of them".to_owned())),
        (None, None) => Err(invalid("until and for are both missing: say when the reservation ends".to_owned())),
    }
}

impl End {
    fn at(&self, now: Timestamp) -> Result<Timestamp, ApiError> {
        let (until, said) = match self {
            Self::At(until, text) => (*until, format!("until is {text}")),
            Self::After(duration, text) => (after(now, *duration), format!("for is {text}")),
        };
        if until <= now {
            return Err(invalid(format!("{said}, which is over: it is {} now", rfc3339(now))));
        }
        if until > after(now, RESERVATION_MAX) {
            return Err(invalid(format!("{said}, expected at most 30 days from now")));
        }
        Ok(until)
    }
}

pub(super) fn device_id(id: &str) -> Result<DeviceId, ApiError> {
    DeviceId::new(id)
        .map_err(|error| ApiError::bad_request("INVALID_DEVICE_ID", format!("{id:?} is not a device id: {error}")))
}

fn invalid(detail: String) -> ApiError {
    ApiError::unprocessable("INVALID_REQUEST", detail)
}

impl From<ReserveError> for ApiError {
    fn from(error: ReserveError) -> Self {
        let detail = error.to_string();
        match error {
            ReserveError::Unknown(_) => Self::not_found("UNKNOWN_DEVICE", detail),
            ReserveError::Nobody(_) => Self::not_found("NOT_RESERVED", detail),
            ReserveError::NotReserved(..) => Self::conflict("NOT_RESERVED", detail),
            ReserveError::Run(..) | ReserveError::Person(..) => Self::conflict("DEVICE_HELD", detail),
        }
    }
}
