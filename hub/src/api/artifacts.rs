//! Files of runs: which there are, and their bytes, whole or in part.

use std::io::SeekFrom;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use super::answer::Time;
use super::is_known;
use super::runs::snapshot;
use crate::app::App;
use crate::artifact::{Part, is_shown, part, url};
use crate::error::ApiError;
use crate::store::ArtifactRow;

const LIST_MAX: usize = 5000;

/// Bytes read at a time.
const CHUNK: usize = 64 * 1024;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ArtifactsQuery")]
pub struct ListQuery {
    /// `next` of the page before.
    #[serde(default)]
    after: u64,
    /// At most 5,000; 1,000 if left out.
    limit: Option<usize>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct Artifacts {
    artifacts: Vec<FileRow>,
    next: u64,
}

#[derive(Debug, Serialize, JsonSchema)]
struct FileRow {
    name: String,
    media_type: String,
    size: u64,
    path: String,
    sha256: String,
    created_at: Time,
    step: Option<String>,
    /// `complete`, `arriving` or `refused`.
    state: String,
    #[serde(flatten)]
    whole: Whole,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
enum Whole {
    /// Where it can be read.
    Yes { url: String },
    /// Bytes that arrived, and why the others did not, once that is known.
    No { received: u64, cause: Option<String> },
}

pub async fn list(
    State(app): State<App>,
    Path(id): Path<String>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<Artifacts>, ApiError> {
    let Query(query) = query.map_err(|error| ApiError::bad_request("INVALID_QUERY", error.body_text()))?;
    let run = snapshot(&app, &id).await?;
    let limit = query.limit.unwrap_or(1000).clamp(1, LIST_MAX);
    let found = app.hub.store().run_artifacts(run.header.id, query.after, limit).await?;
    let next = found.last().map_or(query.after, |row| row.id);
    let ended = run.status.is_final();
    Ok(Json(Artifacts { artifacts: found.iter().map(|file| row(file, ended)).collect(), next }))
}

fn row(file: &ArtifactRow, ended: bool) -> FileRow {
    FileRow {
        name: file.name.clone(),
        media_type: file.media_type.clone(),
        size: file.size,
        path: file.path.clone(),
        sha256: file.sha256.clone(),
        created_at: Time(file.at),
        step: file.step.clone(),
        state: file.state.clone(),
        whole: if file.is_complete() {
            Whole::Yes { url: url(&file.path) }
        } else {
            Whole::No { received: file.received, cause: missing(file, ended) }
        },
    }
}

/// Why a file is not complete, once it is known. `ended`: its run has.
pub(super) fn missing(file: &ArtifactRow, ended: bool) -> Option<String> {
    file.cause.clone().or_else(|| ended.then(|| "the run ended before all of it arrived".to_owned()))
}

pub async fn get(
    State(app): State<App>,
    Path(path): Path<String>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    // Looked up, never joined: what the record does not name is not there, whatever lies on the disk.
    let found = app.hub.store().artifact(path.clone()).await?;
    let file = found.ok_or_else(|| ApiError::not_found("UNKNOWN_ARTIFACT", format!("there is no artifact {path}")))?;
    if !file.is_complete() {
        let cause = file.cause.as_deref().map(|cause| format!(": {cause}")).unwrap_or_default();
        let detail = format!("{} of {} bytes of artifact {path} arrived{cause}", file.received, file.size);
        return Err(ApiError::not_found("INCOMPLETE_ARTIFACT", detail));
    }
    let tag = format!("\"{}\"", file.sha256);
    if is_known(&headers, &tag) {
        return Ok((StatusCode::NOT_MODIFIED, common(&tag)?).into_response());
    }
    // A range of another version of the file would be of no use; of a HEAD it has no meaning.
    let fits = header_text(&headers, header::IF_RANGE).is_none_or(|wanted| wanted.trim() == tag);
    let asked = header_text(&headers, header::RANGE).filter(|_| fits && method == Method::GET);
    let mut answer = common(&tag)?;
    let (status, first, length) = match asked.map_or(Part::Whole, |asked| part(asked, file.size)) {
        Part::Whole => (StatusCode::OK, 0, file.size),
        Part::Bytes { first, last } => {
            answer.insert(header::CONTENT_RANGE, value(&format!("bytes {first}-{last}/{}", file.size))?);
            (StatusCode::PARTIAL_CONTENT, first, last - first + 1)
        }
        Part::Unsatisfiable => {
            let detail = format!("artifact {path} has {} bytes", file.size);
            let refused = ApiError::new(StatusCode::RANGE_NOT_SATISFIABLE, "RANGE_NOT_SATISFIABLE", detail);
            let mut refused = refused.into_response();
            refused.headers_mut().insert(header::CONTENT_RANGE, value(&format!("bytes */{}", file.size))?);
            return Ok(refused);
        }
    };
    describe(&file, &mut answer)?;
    answer.insert(header::CONTENT_LENGTH, length.into());
    let content = open(&app, &file, first).await?;
    let body = Body::from_stream(ReaderStream::with_capacity(content.take(length), CHUNK));
    Ok((status, answer, body).into_response())
}

/// The file, at one of its bytes.
async fn open(app: &App, row: &ArtifactRow, first: u64) -> Result<tokio::fs::File, ApiError> {
    let lost = |error: std::io::Error| anyhow::Error::new(error).context(format!("reading artifact {}", row.path));
    let place = app.hub.store().artifact_place(row)?;
    let mut file = tokio::fs::File::open(place).await.map_err(lost)?;
    let length = file.metadata().await.map_err(lost)?.len();
    if length != row.size {
        let problem = format!("artifact {} has {length} bytes on the disk, {} in the record", row.path, row.size);
        return Err(anyhow::anyhow!(problem).into());
    }
    file.seek(SeekFrom::Start(first)).await.map_err(lost)?;
    Ok(file)
}

/// What every answer about a file says.
fn common(tag: &str) -> Result<HeaderMap, ApiError> {
    let mut headers = HeaderMap::new();
    headers.insert(header::ETAG, value(tag)?);
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    // A path is never given to another content.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, max-age=31536000, immutable"));
    Ok(headers)
}

/// What a browser must know to show the file, and what keeps it from running it under the hub's own address.
fn describe(file: &ArtifactRow, headers: &mut HeaderMap) -> Result<(), ApiError> {
    let shown = is_shown(&file.media_type);
    headers.insert(header::CONTENT_TYPE, value(&file.media_type)?);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_DISPOSITION, value(&disposition(&file.name, shown))?);
    // Viewers of PDF do not start in a sandbox; they run nothing of the hub's either.
    if !file.media_type.starts_with("application/pdf") {
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; sandbox"));
    }
    Ok(())
}

/// The name for old readers without what they would misread, then in full (RFC 6266).
fn disposition(name: &str, shown: bool) -> String {
    let kind = if shown { "inline" } else { "attachment" };
    let plain: String = name
        .chars()
        .map(|c| if (' '..='~').contains(&c) && !matches!(c, '"' | '\\' | '%') { c } else { '_' })
        .collect();
    let full = url(name);
    let full = full.strip_prefix("/api/v1/artifacts/").unwrap_or_default();
    format!("{kind}; filename=\"{plain}\"; filename*=UTF-8''{full}")
}

fn header_text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn value(text: &str) -> Result<HeaderValue, ApiError> {
    Ok(HeaderValue::try_from(text).map_err(anyhow::Error::from)?)
}
