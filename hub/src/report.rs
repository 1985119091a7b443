//! The report of one run: everything about it in one value, built from its events, and a renderer per format.
//! Pure: knows no record, no request and no clock.

use std::collections::HashMap;
use std::str::FromStr;

use rigwire_shared::ids::{RunId, StepId};
use rigwire_shared::quality::Quality;
use rigwire_shared::time::Timestamp;
use rigwire_shared::unit::Unit;
use rigwire_shared::value::{Fields, Value};

use crate::event::{
    BoundDevice, DeviceSnapshot, Finished, Iteration, RunLog, RunSnapshot, SafeState, StepState, TestEvent, Verdict,
};

pub use build::Builder;
pub use completeness::Completeness;
pub use picture::Picture;
pub use sweep::{Point, Sweep};

mod build;
mod completeness;
mod csv;
mod graph;
mod html;
mod json;
mod junit;
pub mod pdf;
pub mod picture;
pub mod plot;
mod section;
mod study;
mod suite;
mod sweep;
mod words;

/// What made a report, as the report says it.
pub const SOFTWARE: &str = concat!("Rigwire ", env!("CARGO_PKG_VERSION"));

#[derive(Debug, Clone, Copy, PartialEq, Eq, schemars::JsonSchema)]
#[schemars(rename_all = "lowercase", rename = "ReportFormat")]
pub enum Format {
    Pdf,
    Html,
    Json,
    Junit,
    Csv,
}

impl Format {
    pub const ALL: [Self; 5] = [Self::Pdf, Self::Html, Self::Json, Self::Junit, Self::Csv];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pdf => "pdf",
            Self::Html => "html",
            Self::Json => "json",
            Self::Junit => "junit",
            Self::Csv => "csv",
        }
    }

    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Pdf => "application/pdf",
            Self::Html => "text/html; charset=utf-8",
            Self::Json => "application/json",
            Self::Junit => "application/xml; charset=utf-8",
            Self::Csv => "text/csv; charset=utf-8; header=present",
        }
    }

    /// Of the file that a browser saves.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Pdf => "pdf",
            Self::Html => "html",
            Self::Json => "json",
            Self::Junit => "xml",
            Self::Csv => "csv",
        }
    }

    /// Whether a browser can show it by itself; the others are saved.
    pub const fn is_shown(self) -> bool {
        match self {
            Self::Pdf | Self::Html | Self::Json => true,
            Self::Junit | Self::Csv => false,
        }
    }
}

/// A report was asked for in a format that there is not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no report of format {0:?}; formats: pdf, html, json, junit, csv")]
pub struct UnknownFormat(String);

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, UnknownFormat> {
        Self::ALL.into_iter().find(|format| format.as_str() == text).ok_or_else(|| UnknownFormat(text.to_owned()))
    }
}

/// A run as its report tells it, up to the event that `run` includes.
#[derive(Debug, Clone)]
pub struct Report {
    pub run: RunSnapshot,
    /// Of a run that ended.
    pub finished: Option<Finished>,
    pub cancelled_because: Option<String>,
    pub steps: Vec<Step>,
    pub series: Vec<Series>,
    /// Samples that were more than a report holds.
    pub samples_left_out: u64,
    /// Of a run that repeats its steps.
    pub sweep: Option<Sweep>,
    /// Numbers of runs that this one started.
    pub numbers: HashMap<RunId, u64>,
    pub devices: Vec<Device>,
    pub tests: Vec<TestEvent>,
    pub iterations: Capped<Iteration>,
    pub artifacts: Capped<Artifact>,
    /// Those of them that are shown.
    pub pictures: Vec<Picture>,
    /// The last lines.
    pub log: Vec<LogLine>,
    /// Lines before those.
    pub log_left_out: u64,
    pub completeness: Completeness,
    pub generated_at: Timestamp,
}

#[derive(Debug, Clone)]
pub struct Step {
    pub id: StepId,
    pub module: String,
    pub device: Option<String>,
    pub finally: bool,
    pub state: StepState,
    /// In order; empty for a step that was never begun.
    pub attempts: Vec<Attempt>,
    /// Why it was skipped or how it failed.
    pub error: Option<String>,
    pub error_code: Option<String>,
    pub duration_s: Option<f64>,
    pub outputs: Fields,
    pub screenshot: Option<String>,
}

impl Step {
    /// What the last attempt measured against its limits.
    pub fn verdicts(&self) -> &[Judged] {
        self.attempts.last().map(|attempt| attempt.verdicts.as_slice()).unwrap_or_default()
    }
}

#[derive(Debug, Clone)]
pub struct Attempt {
    pub number: u32,
    /// Point of a sweep that it belongs to, from 1; 0 outside of one.
    pub point: u32,
    pub began: Timestamp,
    pub ended: Option<Timestamp>,
    pub state: StepState,
    pub duration_s: Option<f64>,
    pub error_code: Option<String>,
    pub error: Option<String>,
    pub will_retry: bool,
    pub safe: Option<SafeState>,
    pub verdicts: Vec<Judged>,
}

/// A verdict, and the unit of what it is about where a sample of that step told it.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    pub verdict: Verdict,
    pub unit: Unit,
}

/// Samples of one metric of one device, in the order they were taken into the record.
#[derive(Debug, Clone)]
pub struct Series {
    pub metric: String,
    pub unit: Unit,
    pub device: Option<String>,
    pub samples: Vec<Sample>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    pub at: Timestamp,
    pub value: Value,
    pub quality: Quality,
    /// Index into the report's steps, and which attempt of it.
    pub step: Option<(usize, u32)>,
    /// Of a sweep, from 1; 0 outside of one.
    pub point: u32,
}

impl Sample {
    /// The value, if it may be shown as a number without a word about its quality.
    pub fn good_number(&self) -> Option<f64> {
        if self.quality == Quality::Good { self.value.as_f64().filter(|number| number.is_finite()) } else { None }
    }
}

/// A device that the run held. What is known of it is as of when the report was made.
#[derive(Debug, Clone)]
pub struct Device {
    pub bound: BoundDevice,
    pub known: Option<DeviceSnapshot>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    pub name: String,
    pub media_type: String,
    pub path: String,
    pub size: u64,
}

#[derive(Debug, Clone)]
pub struct LogLine {
    pub at: Timestamp,
    pub log: RunLog,
}

/// The first of what may be many, and how many more there were.
#[derive(Debug, Clone)]
pub struct Capped<T> {
    pub items: Vec<T>,
    pub left_out: u64,
}

impl<T> Default for Capped<T> {
    fn default() -> Self {
        Self { items: Vec::new(), left_out: 0 }
    }
}

impl<T> Capped<T> {
    fn push(&mut self, item: T, most: usize) {
        if self.items.len() < most {
            self.items.push(item);
        } else {
            self.left_out += 1;
        }
    }
}

impl Report {
    pub fn render(&self, format: Format) -> Vec<u8> {
        match format {
            Format::Pdf => pdf::render(self),
            Format::Html => html::render(self).into_bytes(),
            Format::Json => json::render(self),
            Format::Junit => junit::render(self).into_bytes(),
            Format::Csv => csv::render(self).into_bytes(),
        }
    }

    /// A name for the file, of letters, digits and dashes only.
    pub fn file_name(&self, format: Format) -> String {
        const SLUG_MAX: usize = 40;
        let mut slug = String::new();
        for c in self.run.header.name.chars() {
            if c.is_ascii_alphanumeric() {
                slug.push(c.to_ascii_lowercase());
            } else if !slug.is_empty() && !slug.ends_with('-') {
                slug.push('-');
            }
            if slug.len() >= SLUG_MAX {
                break;
            }
        }
        let slug = slug.trim_end_matches('-');
        let dash = if slug.is_empty() { "" } else { "-" };
        format!("run-{}{dash}{slug}.{}", self.run.header.number, format.extension())
    }

    /// How many measured limits were met, of how many, by the last attempt of each step.
    pub fn limits_met(&self) -> (usize, usize) {
        let of_sweep = self.sweep.as_ref().map(Sweep::limits_met).unwrap_or_default();
        let once = self.steps.iter().filter(|step| self.sweep.is_none() || step.finally);
        let judged = || once.clone().flat_map(Step::verdicts);
        let (met, all) = (judged().filter(|judged| judged.verdict.passed).count(), judged().count());
        (of_sweep.0 + met, of_sweep.1 + all)
    }

    /// Parts of the report that only some kinds of runs have.
    fn sections(&self) -> impl Iterator<Item = section::Section> {
        [sweep::section(self), suite::section(self), study::section(self)].into_iter().flatten()
    }
}
