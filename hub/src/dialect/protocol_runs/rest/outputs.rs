//! What runs measured and left, as data outputs: each series of values, and each file. Part of the shell.

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, Method, header};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use rigwire_shared::ids::RunId;
use rigwire_shared::unit::Unit;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::api::artifacts;
use crate::api::neighbours::{self, PAGE_MAX, Query};
use crate::api::runs::snapshot;
use crate::app::App;
use crate::csv;
use crate::dialect::rfc3339;
use crate::error::ApiError;
use crate::stable_id::{self, Counted};
use crate::store::{ArtifactRow, Listing, Summary};

const LIST_DEFAULT: usize = 100;

/// Runs whose outputs are listed when none is named.
const NEWEST: usize = 20;

/// Files of one run that are listed.
const FILES: usize = 10_000;

/// Values read from the record at a time.
const PAGE: usize = 2000;

#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum DataType {
    GenericMeasurement,
    TemperatureReading,
    CameraSnapshot,
    RawDataFile,
}

/// A series of a run's values, or a file of a run.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct DataOutput {
    accession_id: Uuid,
    protocol_run_accession_id: Uuid,
    data_type: DataType,
    /// Name of the metric or of the file.
    data_key: String,
    /// Always `global`: no place on a deck is known.
    spatial_context: &'static str,
    data_units: Option<String>,
    /// The last good value.
    data_value_numeric: Option<f64>,
    /// A summary of the good values.
    data_value_json: Option<Map<String, Value>>,
    file_path: Option<String>,
    file_size_bytes: Option<u64>,
    /// Of the last good value, or of the file.
    measurement_timestamp: Option<String>,
    /// Id of the device.
    machine_accession_id: Option<String>,
}

fn series(run: RunId, summary: &Summary) -> DataOutput {
    let is_temperature = summary.unit == Unit::Celsius.as_str();
    let of_values = json!({
        "count": summary.count, "good": summary.good, "min": summary.min, "max": summary.max, "mean": summary.mean,
    });
    DataOutput {
        accession_id: stable_id::of_number(Counted::Series, summary.first),
        protocol_run_accession_id: run.0,
        data_type: if is_temperature { DataType::TemperatureReading } else { DataType::GenericMeasurement },
        data_key: summary.name.clone(),
        spatial_context: "global",
        data_units: (!summary.unit.is_empty()).then(|| summary.unit.clone()),
        data_value_numeric: summary.last,
        data_value_json: if let Value::Object(values) = of_values { Some(values) } else { None },
        file_path: None,
        file_size_bytes: None,
        measurement_timestamp: summary.last_at.map(rfc3339),
        machine_accession_id: summary.device.clone(),
    }
}

fn file(run: RunId, row: &ArtifactRow) -> DataOutput {
    let is_picture = row.media_type.starts_with("image/");
    DataOutput {
        accession_id: stable_id::of_number(Counted::Artifact, row.id),
        protocol_run_accession_id: run.0,
        data_type: if is_picture { DataType::CameraSnapshot } else { DataType::RawDataFile },
        data_key: row.name.clone(),
        spatial_context: "global",
        data_units: None,
        data_value_numeric: None,
        data_value_json: None,
        file_path: Some(crate::artifact::url(&row.path)),
        file_size_bytes: Some(row.size),
        measurement_timestamp: Some(rfc3339(row.at)),
        machine_accession_id: None,
    }
}

/// Which outputs.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct ListDataOutputs {
    /// UUID or number of a run.
    protocol_run_accession_id: Option<String>,
    limit: Option<usize>,
    offset: Option<usize>,
}

pub(super) async fn list(
    State(app): State<App>,
    query: Query<ListDataOutputs>,
) -> Result<Json<Vec<DataOutput>>, ApiError> {
    let query = neighbours::query(query)?;
    let runs: Vec<RunId> = match &query.protocol_run_accession_id {
        Some(id) => vec![snapshot(&app, id).await?.header.id],
        None => {
            let (runs, _) = neighbours::page(&app, Listing { limit: NEWEST, ..Listing::default() }).await?;
            runs.iter().map(|run| run.row.id).collect()
        }
    };
    let (offset, limit) = (query.offset.unwrap_or_default(), query.limit.unwrap_or(LIST_DEFAULT).clamp(1, PAGE_MAX));
    let mut outputs = Vec::new();
    for run in runs {
        if outputs.len() >= offset.saturating_add(limit) {
            break;
        }
        let (summaries, _) = app.hub.store().run_summaries(run, None).await?;
        outputs.extend(summaries.iter().map(|summary| series(run, summary)));
        let files = app.hub.store().run_artifacts(run, 0, FILES).await?;
        outputs.extend(files.iter().filter(|row| row.is_complete()).map(|row| file(run, row)));
    }
    Ok(Json(outputs.into_iter().skip(offset).take(limit).collect()))
}

enum Found {
    Series(RunId, Summary),
    File(RunId, ArtifactRow),
}

async fn find(app: &App, id: &str) -> Result<Found, ApiError> {
    let store = app.hub.store();
    if let Some(number) = stable_id::number(Counted::Artifact, id)
        && let Some(row) = store.artifact_numbered(number).await?.filter(ArtifactRow::is_complete)
        && let Ok(run) = row.run.parse()
    {
        return Ok(Found::File(RunId(run), row));
    }
    if let Some(first) = stable_id::number(Counted::Series, id)
        && let Some((run, summary)) = store.series(first).await?
    {
        return Ok(Found::Series(run, summary));
    }
    Err(ApiError::not_found("UNKNOWN_OUTPUT", format!("there is no output {id:.80}")))
}

pub(super) async fn get(State(app): State<App>, Path(id): Path<String>) -> Result<Json<DataOutput>, ApiError> {
    Ok(Json(match find(&app, &id).await? {
        Found::Series(run, summary) => series(run, &summary),
        Found::File(run, row) => file(run, &row),
    }))
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum ExportFormat {
    #[default]
    Csv,
    Json,
}

/// In which form.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct ExportDataOutput {
    format: Option<ExportFormat>,
}

pub(super) async fn export(
    State(app): State<App>,
    Path(id): Path<String>,
    query: Query<ExportDataOutput>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let format = neighbours::query(query)?.format.unwrap_or_default();
    let media_type = match format {
        ExportFormat::Csv => "text/csv",
        ExportFormat::Json => "application/json",
    };
    match find(&app, &id).await? {
        Found::Series(run, summary) => Ok(values(app, run, summary, format)),
        Found::File(_, row) if row.media_type.starts_with(media_type) => {
            artifacts::get(State(app), Path(row.path), method, headers).await
        }
        Found::File(_, row) => {
            let detail = format!("file {} is {}, not {media_type}; it is at {}", row.name, row.media_type, row.path);
            Err(ApiError::unprocessable("UNSUPPORTED_FORMAT", detail))
        }
    }
}

/// The good values of a series, read from the record while they are sent.
fn values(app: App, run: RunId, summary: Summary, format: ExportFormat) -> Response {
    let (head, tail, media_type, ending) = match format {
        ExportFormat::Csv => ("timestamp,value,unit\r\n", "", "text/csv; charset=utf-8", "csv"),
        ExportFormat::Json => ("[", "]", "application/json", "json"),
    };
    let name = format!("attachment; filename=\"{run}-{}.{ending}\"", summary.name);
    let pages = stream::try_unfold((0, true), move |(after, first)| {
        let (app, summary) = (app.clone(), summary.clone());
        async move {
            let page = app.hub.store().run_metrics(run, after, Some(summary.name.clone()), PAGE).await?;
            let Some((last, ..)) = page.last() else { return Ok(None) };
            let (last, mut first, mut text) = (*last, first, String::new());
            for (_, at, metric) in &page {
                let device = metric.device.as_ref().map(rigwire_shared::ids::DeviceId::as_str);
                let is_of = metric.unit.as_str() == summary.unit && device == summary.device.as_deref();
                let Some(value) = metric.good_number().filter(|_| is_of) else { continue };
                match format {
                    ExportFormat::Csv => {
                        csv::row(&mut text, &[rfc3339(*at), csv::number(Some(value)), csv::word(&summary.unit)]);
                    }
                    ExportFormat::Json => {
                        text.push_str(if first { "" } else { "," });
                        let row = json!({"timestamp": rfc3339(*at), "value": value, "unit": summary.unit});
                        text.push_str(&row.to_string());
                    }
                }
                first = false;
            }
            Ok::<_, anyhow::Error>(Some((Bytes::from(text), (last, first))))
        }
    });
    let around = |text: &'static str| stream::once(async move { Ok(Bytes::from_static(text.as_bytes())) });
    let content: [(HeaderName, String); 4] = [
        (header::CONTENT_TYPE, media_type.to_owned()),
        (header::CONTENT_DISPOSITION, name),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    (content, Body::from_stream(around(head).chain(pages).chain(around(tail)))).into_response()
}
