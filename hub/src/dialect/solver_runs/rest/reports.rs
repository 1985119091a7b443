//! Reports as files that were generated: they are made when they are read. Part of the shell.

use std::collections::BTreeMap;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use rigwire_shared::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::runs::ListSolverRuns;
use crate::api::neighbours::{self, Query, report_file, report_url};
use crate::api::{reports, runs};
use crate::app::App;
use crate::dialect::rfc3339;
use crate::error::ApiError;
use crate::event::RunStatus;
use crate::report::Format;
use crate::store::Listing;

const PREFIX: &str = "/api/v2/reports/download/";

/// A report to make.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct GenerateReport {
    /// One run: UUID or number.
    run_ids: Vec<String>,
    /// `pdf`, `json`, or `all` for both.
    #[serde(default = "pdf")]
    format: String,
}

fn pdf() -> String {
    "pdf".to_owned()
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct GeneratedReport {
    status: &'static str,
    /// As it was asked for.
    format: String,
    /// Address of the first file.
    file_path: String,
    file_size_bytes: usize,
    /// Addresses of all, by format.
    files: BTreeMap<&'static str, String>,
    file_sizes: BTreeMap<&'static str, usize>,
    generated_at: String,
}

pub(super) async fn generate(
    State(app): State<App>,
    body: Bytes,
) -> Result<(StatusCode, Json<GeneratedReport>), ApiError> {
    let request: GenerateReport = neighbours::body(&body, "{\"run_ids\", \"format\"?, \"title\"?}")?;
    let formats = match request.format.as_str() {
        "pdf" => vec![Format::Pdf],
        "json" => vec![Format::Json],
        "all" => vec![Format::Pdf, Format::Json],
        other => {
            let detail = format!("there is no report as {other:.80}, expected pdf, json or all");
            return Err(ApiError::unprocessable("UNSUPPORTED_FORMAT", detail));
        }
    };
    let [id] = request.run_ids.as_slice() else {
        let detail = format!("run_ids names {} runs, expected one: a report is of one run", request.run_ids.len());
        return Err(ApiError::unprocessable("INVALID_REQUEST", detail));
    };
    let run = runs::snapshot(&app, id).await?.header.id;
    let (mut files, mut file_sizes) = (BTreeMap::new(), BTreeMap::new());
    let first = formats.first().copied().unwrap_or(Format::Pdf);
    for format in formats {
        let (_, bytes) = reports::render(&app, &run.to_string(), format).await?;
        files.insert(format.as_str(), report_url(PREFIX, run, format));
        file_sizes.insert(format.as_str(), bytes.len());
    }
    let report = GeneratedReport {
        status: "ok",
        format: request.format,
        file_path: files.get(first.as_str()).cloned().unwrap_or_default(),
        file_size_bytes: file_sizes.get(first.as_str()).copied().unwrap_or_default(),
        files,
        file_sizes,
        generated_at: rfc3339(Timestamp::now()),
    };
    Ok((StatusCode::CREATED, Json(report)))
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct SolverReports {
    reports: Vec<SolverReport>,
    total: u64,
}

#[derive(Debug, Serialize, JsonSchema)]
struct SolverReport {
    filename: String,
    format: &'static str,
    file_path: String,
    created_at: String,
}

pub(super) async fn list(
    State(app): State<App>,
    query: Query<ListSolverRuns>,
) -> Result<Json<SolverReports>, ApiError> {
    let (offset, limit) = neighbours::query(query)?.place();
    let statuses = RunStatus::ALL.into_iter().filter(|status| status.is_final()).collect();
    let (runs, total) = neighbours::page(&app, Listing { statuses, offset, limit, ..Listing::default() }).await?;
    let report = |run: &crate::store::Listed| SolverReport {
        filename: report_url("", run.row.id, Format::Pdf),
        format: Format::Pdf.as_str(),
        file_path: report_url(PREFIX, run.row.id, Format::Pdf),
        created_at: run.changed_at().to_owned(),
    };
    Ok(Json(SolverReports { reports: runs.iter().map(report).collect(), total }))
}

pub(super) async fn download(State(app): State<App>, Path(file): Path<String>) -> Result<Response, ApiError> {
    let (run, format) = report_file(&file)?;
    reports::document(&app, run, format).await
}
