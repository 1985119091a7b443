//! Reports and files of runs as files in directories, and files that clients leave. Part of the shell.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use rigwire_shared::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::executions;
use crate::api::neighbours::{self, PAGE_MAX, Query, report_file, report_url};
use crate::api::{reports, runs};
use crate::app::App;
use crate::artifact::url;
use crate::dialect::rfc3339;
use crate::error::ApiError;
use crate::event::RunStatus;
use crate::multipart;
use crate::report::Format;
use crate::stable_id::{self, Counted};
use crate::store::{ArtifactRow, Listing};

const UNKNOWN_TYPE: &str = "application/octet-stream";

/// With what the file is left.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct UploadTo {
    /// An execution that goes on, or a workflow whose newest one does.
    run: Option<String>,
}

/// A form with one file.
#[derive(Debug, JsonSchema)]
#[expect(dead_code, reason = "describes a body that is read by hand")]
pub(super) struct UploadForm {
    #[schemars(extend("format" = "binary"))]
    file: String,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Uploaded {
    success: bool,
    /// A name that was taken got a number.
    filename: String,
    size: u64,
    upload_id: Uuid,
    download_url: String,
    timestamp: String,
}

pub(super) async fn upload(
    State(app): State<App>,
    query: Query<UploadTo>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Json<Uploaded>, ApiError> {
    let Some(run) = neighbours::query(query)?.run else {
        let detail = "a file belongs to a run: expected ?run= with the id of an execution that goes on";
        return Err(ApiError::unprocessable("NO_RUN", detail));
    };
    let run = executions::find(&app, &run).await?;
    let (id, number) = (run.header.id, run.header.number);
    if run.status.is_final() {
        let detail = format!("run {number} is {} and takes no more files", run.status.as_str());
        return Err(ApiError::conflict("RUN_ENDED", detail));
    }
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let file = multipart::file(content_type, &body)
        .map_err(|error| ApiError::bad_request("INVALID_FORM", error.to_string()))?;
    let (name, media_type) = (file.name, file.media_type.unwrap_or(UNKNOWN_TYPE).to_owned());
    let bytes = file.bytes.to_vec();
    let kept = app.hub.ask(move |core, now| core.model.keep_artifact(id, &name, &media_type, bytes, now)).await?;
    let Some(path) = kept else {
        let detail = format!("run {number} takes no file of this size; its log says why");
        return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "ARTIFACT_TOO_LARGE", detail));
    };
    // Answered once it is in the record.
    let row = app.hub.store().artifact(path).await?;
    let row = row.ok_or_else(|| anyhow::anyhow!("the file that was just kept is not in the record"))?;
    Ok(Json(Uploaded {
        success: true,
        size: row.size,
        upload_id: stable_id::of_number(Counted::Artifact, row.id),
        download_url: url(&row.path),
        timestamp: rfc3339(row.at),
        filename: row.name,
    }))
}

/// Which files.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct ListFiles {
    /// `reports` (default), `uploads` or `assets`.
    directory: Option<String>,
    /// Of `uploads` and `assets`: an execution, or a workflow whose newest one is meant.
    subdirectory: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct FileList {
    files: Vec<FileInfo>,
    total: u64,
    directory: String,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct FileInfo {
    name: String,
    /// Null for a report: it is made when it is read.
    size: Option<u64>,
    modified: String,
    created: String,
    is_directory: bool,
    /// With its dot, if it has one.
    extension: String,
    mime_type: String,
    #[serde(rename = "downloadUrl")]
    download_url: String,
}

fn of_report(run: rigwire_shared::ids::RunId, format: Format, at: String) -> FileInfo {
    let name = report_url("", run, format);
    FileInfo {
        size: None,
        modified: at.clone(),
        created: at,
        is_directory: false,
        extension: format!(".{}", format.as_str()),
        mime_type: format.media_type().to_owned(),
        download_url: report_url("/reports/", run, format),
        name,
    }
}

fn of_file(row: &ArtifactRow) -> FileInfo {
    FileInfo {
        name: row.name.clone(),
        size: Some(row.size),
        modified: rfc3339(row.at),
        created: rfc3339(row.at),
        is_directory: false,
        extension: row.name.rsplit_once('.').map(|(_, ending)| format!(".{ending}")).unwrap_or_default(),
        mime_type: row.media_type.clone(),
        download_url: url(&row.path),
    }
}

enum Directory {
    Reports,
    Run(String),
}

fn directory(query: ListFiles) -> Result<Directory, ApiError> {
    let refused = |detail: String| Err(ApiError::unprocessable("INVALID_DIRECTORY", detail));
    match query.directory.as_deref().unwrap_or("reports") {
        "reports" => Ok(Directory::Reports),
        "uploads" | "assets" => match query.subdirectory.filter(|run| !run.is_empty()) {
            Some(run) => Ok(Directory::Run(run)),
            None => refused("files belong to runs: expected subdirectory with the id of one".to_owned()),
        },
        other => refused(format!("directory is {other:.80}, expected reports, uploads or assets")),
    }
}

async fn files_of(app: &App, run: &str) -> Result<Vec<ArtifactRow>, ApiError> {
    let run = executions::find(app, run).await?.header.id;
    let mut files = app.hub.store().run_artifacts(run, 0, crate::artifact::FILES_MAX).await?;
    files.retain(ArtifactRow::is_complete);
    Ok(files)
}

pub(super) async fn list(State(app): State<App>, query: Query<ListFiles>) -> Result<Json<FileList>, ApiError> {
    Ok(Json(match directory(neighbours::query(query)?)? {
        Directory::Reports => {
            let statuses = RunStatus::ALL.into_iter().filter(|status| status.is_final()).collect();
            let listing = Listing { statuses, limit: PAGE_MAX, ..Listing::default() };
            let (runs, total) = neighbours::page(&app, listing).await?;
            let files = runs.iter().map(|run| of_report(run.row.id, Format::Pdf, run.changed_at().to_owned()));
            FileList { files: files.collect(), total, directory: String::new() }
        }
        Directory::Run(run) => {
            let files = files_of(&app, &run).await?;
            let total = files.len() as u64;
            FileList { files: files.iter().take(PAGE_MAX).map(of_file).collect(), total, directory: run }
        }
    }))
}

pub(super) async fn info(
    State(app): State<App>,
    Path(name): Path<String>,
    query: Query<ListFiles>,
) -> Result<Json<FileInfo>, ApiError> {
    match directory(neighbours::query(query)?)? {
        Directory::Reports => {
            let (run, format) = report_file(&name)?;
            let run = runs::snapshot(&app, run).await?;
            let at = run.finished_at.unwrap_or_else(Timestamp::now);
            Ok(Json(of_report(run.header.id, format, rfc3339(at))))
        }
        Directory::Run(run) => {
            let files = files_of(&app, &run).await?;
            let found = files.iter().find(|row| row.name == name).map(of_file).map(Json);
            found.ok_or_else(|| ApiError::not_found("UNKNOWN_FILE", format!("File not found: {name:.100}")))
        }
    }
}

pub(super) async fn report(State(app): State<App>, Path(file): Path<String>) -> Result<Response, ApiError> {
    let (run, format) = report_file(&file)?;
    reports::document(&app, run, format).await
}
