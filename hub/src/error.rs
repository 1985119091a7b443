//! What a request can fail with, as status and JSON: `{"detail": "...", "code": "..."}`.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;

use crate::hub::Stopping;
use crate::router::BODY_MAX;

/// Longest text of the framework's own that is passed on.
const DETAIL_MAX: usize = 16 * 1024;

/// What every refusal says.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Error")]
pub struct Refusal<'a> {
    /// For people: what is wrong, and what was expected.
    detail: &'a str,
    /// For programs.
    code: &'a str,
}

#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    code: &'static str,
    detail: String,
}

impl ApiError {
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into() }
    }

    pub fn code(&self) -> &'static str {
        self.code
    }

    pub fn detail(&self) -> &str {
        &self.detail
    }

    pub fn bad_request(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    pub fn not_found(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, detail)
    }

    pub fn conflict(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, detail)
    }

    pub fn unprocessable(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        if self.status == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::error!("request failed: {}", self.detail);
        }
        (self.status, Json(Refusal { detail: &self.detail, code: self.code })).into_response()
    }
}

impl From<Stopping> for ApiError {
    fn from(stopping: Stopping) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "STOPPING", stopping.to_string())
    }
}

/// What the framework refuses by itself, in the form of all other errors: a body too long, a path that is no text, a
/// plain request for a socket.
pub async fn in_json(response: Response) -> Response {
    let status = response.status();
    let is_json = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    if is_json || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let (parts, body) = response.into_parts();
    let text = axum::body::to_bytes(body, DETAIL_MAX).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let reason = status.canonical_reason().unwrap_or("request refused");
    let detail = if status == StatusCode::PAYLOAD_TOO_LARGE {
        format!("the body is too long, expected at most {BODY_MAX} bytes")
    } else if text.trim().is_empty() {
        reason.to_lowercase()
    } else {
        text.trim().to_owned()
    };
    let code = match status {
        StatusCode::PAYLOAD_TOO_LARGE => "BODY_TOO_LARGE",
        StatusCode::UPGRADE_REQUIRED => "UPGRADE_REQUIRED",
        StatusCode::METHOD_NOT_ALLOWED => "METHOD_NOT_ALLOWED",
        _ if status.is_server_error() => "INTERNAL",
        _ => "BAD_REQUEST",
    };
    let mut response = ApiError::new(status, code, detail).into_response();
    for (name, value) in parts.headers {
        if let Some(name) = name.filter(|name| *name != header::CONTENT_TYPE && *name != header::CONTENT_LENGTH) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// The record or the file system failed: an operator must act, the client can only try again.
impl From<anyhow::Error> for ApiError {
    fn from(error: anyhow::Error) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL", format!("{error:#}"))
    }
}
