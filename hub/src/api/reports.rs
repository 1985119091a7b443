//! A run's report: everything about it in one document.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use rigwire_shared::time::Timestamp;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::Semaphore;

use super::runs;
use crate::app::App;
use crate::error::ApiError;
use crate::event::DeviceSnapshot;
use crate::report::{Artifact, Builder, Format, Picture, UnknownFormat, picture};

/// Reports that are made at a time. A report of a long run takes some ten megabytes and a second; more of them wait.
static MAKING: Semaphore = Semaphore::const_new(2);

/// Events that are read from the record at a time: others read it, too.
const EVENTS: usize = 5_000;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReportQuery {
    #[schemars(with = "Option<Format>")]
    format: Option<String>,
}

pub async fn get(
    State(app): State<App>,
    Path(id): Path<String>,
    query: Result<Query<ReportQuery>, QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(query) = query.map_err(|error| ApiError::bad_request("INVALID_QUERY", error.body_text()))?;
    let format = query.format.as_deref().map_or(Ok(Format::Pdf), str::parse)?;
    document(&app, &id, format).await
}

/// A run as a document.
pub(crate) async fn document(app: &App, id: &str, format: Format) -> Result<Response, ApiError> {
    let (headers, bytes) = render(app, id, format).await?;
    Ok((headers, bytes).into_response())
}

pub(crate) async fn render(app: &App, id: &str, format: Format) -> Result<(HeaderMap, Vec<u8>), ApiError> {
    let _turn = MAKING.acquire().await.map_err(anyhow::Error::from)?;
    let run = runs::snapshot(app, id).await?;
    let (id, end) = (run.header.id, run.last_event);
    let mut builder = Builder::new(run);
    let mut after = 0;
    while after < end {
        let events = app.hub.store().run_event_bodies(id, after, EVENTS).await?;
        let Some((last, ..)) = events.last() else { break };
        after = *last;
        for (number, at, body) in events {
            builder.take(number, at, body);
        }
    }
    let bound: Vec<_> = builder.bound().iter().map(|bound| bound.device.clone()).collect();
    let known: Vec<DeviceSnapshot> = app
        .hub
        .ask(move |core, _| bound.iter().filter_map(|device| Some(core.model.device(device)?.1)).collect())
        .await?;
    let mut report = builder.finish(&known, Timestamp::now());
    if matches!(format, Format::Html | Format::Pdf) {
        report.pictures = pictures(app, &report.artifacts.items).await?;
    }
    let (name, bytes) = tokio::task::spawn_blocking(move || (report.file_name(format), report.render(format)))
        .await
        .map_err(anyhow::Error::from)?;
    let disposition = if format.is_shown() { "inline" } else { "attachment" };
    let mut headers = HeaderMap::new();
    for (name, value) in [
        (header::CONTENT_TYPE, format.media_type().to_owned()),
        (header::CONTENT_DISPOSITION, format!("{disposition}; filename=\"{name}\"")),
        (header::CACHE_CONTROL, "no-store".to_owned()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
    ] {
        headers.insert(name, HeaderValue::try_from(value).map_err(anyhow::Error::from)?);
    }
    if format == Format::Html {
        // All text is escaped; should any not be, it still may do nothing.
        let policy = HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox");
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    Ok((headers, bytes))
}

/// The pictures that a report shows, the first so many. One that cannot be read is listed like all others.
async fn pictures(app: &App, artifacts: &[Artifact]) -> Result<Vec<Picture>, ApiError> {
    let mut pictures = Vec::new();
    let mut left = picture::ALL_BYTES_MAX;
    for artifact in artifacts.iter().filter(|artifact| picture::is_picture(&artifact.media_type)) {
        if pictures.len() >= picture::PICTURES_MAX || artifact.size > picture::BYTES_MAX.min(left) {
            continue;
        }
        let Some(row) = app.hub.store().artifact(artifact.path.clone()).await?.filter(|row| row.is_complete()) else {
            continue;
        };
        match tokio::fs::read(app.hub.store().artifact_place(&row)?).await {
            Ok(bytes) => {
                left = left.saturating_sub(bytes.len() as u64);
                pictures.extend(Picture::read(&artifact.name, &artifact.path, bytes));
            }
            Err(error) => tracing::error!("artifact {} cannot be read: {error}", artifact.path),
        }
    }
    Ok(pictures)
}

impl From<UnknownFormat> for ApiError {
    fn from(unknown: UnknownFormat) -> Self {
        Self::unprocessable("UNSUPPORTED_FORMAT", unknown.to_string())
    }
}
