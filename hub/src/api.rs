//! The native REST interface, a file per noun.

pub mod agents;
pub mod answer;
pub mod artifacts;
pub mod chat;
pub mod commands;
pub mod completeness;
pub mod devices;
pub mod external;
pub mod health;
pub mod ledger;
pub mod logs;
pub mod metrics;
pub(crate) mod neighbours;
pub mod operations;
pub mod parts;
pub mod procedures;
pub mod prometheus;
pub mod reports;
pub mod reservations;
pub mod runs;

use axum::http::{HeaderMap, header};

use crate::dialect::RunReference;
use crate::error::ApiError;

/// A run's id from a URL: UUID or number.
fn reference(text: &str) -> Result<RunReference, ApiError> {
    text.parse().map_err(|error| ApiError::bad_request("INVALID_RUN_ID", format!("{error}")))
}

/// The body as JSON, or what is wrong with it and where.
fn json_body(body: &[u8]) -> Result<serde_json::Value, ApiError> {
    serde_json::from_slice(body)
        .map_err(|error| ApiError::bad_request("INVALID_JSON", format!("the body is not JSON: {error}")))
}

/// The body as a JSON object. A list is none, though serde would take its entries for the fields of a type.
fn json_object(body: &[u8], expected: &str) -> Result<serde_json::Value, ApiError> {
    let value = json_body(body)?;
    if value.is_object() {
        return Ok(value);
    }
    Err(ApiError::unprocessable("INVALID_REQUEST", format!("the body is not an object; expected {expected}")))
}

/// Whether the client has the content of this tag already; weak tags count, too.
pub(crate) fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let names = |tags: &str| {
        tags.split(',').map(str::trim).any(|one| one == "*" || one.strip_prefix("W/").unwrap_or(one) == tag)
    };
    headers.get(header::IF_NONE_MATCH).and_then(|tags| tags.to_str().ok()).is_some_and(names)
}
