//! When the steps of a run began and ended, from its events.

use std::collections::BTreeMap;

use rigwire_shared::ids::{RunId, StepId};
use rigwire_shared::time::Timestamp;
use rusqlite::params;

use super::told::{numbered_body, parse};
use crate::event::{Iteration, RunEventBody, StepChange, StepEvent};

/// One step's last execution: in a sweep that of the last point.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StepTimes {
    pub began: Option<Timestamp>,
    pub ended: Option<Timestamp>,
    pub error_code: Option<String>,
    pub screenshot: Option<String>,
}

impl StepTimes {
    fn take(&mut self, event: StepEvent, at: Timestamp) {
        match event.change {
            StepChange::Dispatched { .. } | StepChange::Running => {
                // A retry belongs to the execution; what follows an end is another one.
                if self.ended.is_some() && event.attempt <= 1 {
                    *self = Self::default();
                }
                self.began.get_or_insert(at);
                self.ended = None;
            }
            StepChange::Progress { .. } => {}
            StepChange::Completed { screenshot, .. } => {
                *self = Self { began: self.began, ended: Some(at), error_code: None, screenshot };
            }
            StepChange::Failed { error_code, .. } => {
                self.error_code = Some(error_code);
                self.ended = Some(at);
            }
            StepChange::Cancelled { .. } | StepChange::Skipped { .. } => self.ended = Some(at),
        }
    }
}

impl super::Store {
    pub async fn step_times(&self, run: RunId) -> anyhow::Result<BTreeMap<StepId, StepTimes>> {
        self.barrier().await?;
        self.query(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT number, at, body FROM events WHERE run = ?1 AND type = 'step'
                 AND json_extract(body, '$.change.status') IS NOT 'progress' ORDER BY number",
            )?;
            let mut times = BTreeMap::<StepId, StepTimes>::new();
            for row in statement.query_map(params![run.to_string()], numbered_body)? {
                if let (_, at, RunEventBody::Step(event)) = parse(run, row?)? {
                    times.entry(event.step.clone()).or_default().take(event, at);
                }
            }
            Ok(times)
        })
        .await
    }

    /// Iterations of a study, in the order in which they ended, whoever carried them out.
    pub async fn iterations(&self, run: RunId, offset: usize, limit: usize) -> anyhow::Result<Vec<Iteration>> {
        self.barrier().await?;
        self.query(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT number, at, body FROM events WHERE run = ?1 AND type = 'iteration'
                 ORDER BY number LIMIT ?2 OFFSET ?3",
            )?;
            let signed = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
            let rows = statement.query_map(params![run.to_string(), signed(limit), signed(offset)], numbered_body)?;
            let mut found = Vec::new();
            for row in rows {
                if let (.., RunEventBody::Iteration(iteration)) = parse(run, row?)? {
                    found.push(iteration);
                }
            }
            Ok(found)
        })
        .await
    }
}
