//! External runs within the model: announced, reported on batch by batch, each batch wholly or not at all.

use std::collections::HashSet;
use std::sync::Arc;

use rigwire_shared::ids::RunId;
use rigwire_shared::time::Timestamp;

use super::parts::Told;
use super::{Model, Record};
use crate::event::{RunEventBody, RunHeader, RunStatus, StepCard, TestCard};
use crate::external::{Mistake, Report, Reported, StartExternal};
use crate::run::Run;

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// Events that were new.
    pub accepted: usize,
    /// Number of the run's last event.
    pub seq: u64,
}

/// Why a batch is refused; nothing of it is taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    #[error("run {0} is not at hand")]
    Unknown(RunId),
    #[error("run {0} is carried out by the hub; only external runs take events")]
    NotExternal(RunId),
    #[error("run {0} is {status} already", status = .1.as_str())]
    Ended(RunId, RunStatus),
    #[error(transparent)]
    Contradiction(Mistake),
    #[error(transparent)]
    TooLarge(Mistake),
}

impl Model {
    pub fn start_external(&mut self, request: StartExternal, now: Timestamp) -> RunId {
        let id = RunId(self.uuid());
        let number = self.number();
        let mut steps = Vec::new();
        for node in request.nodes {
            steps.push(StepCard {
                id: node.id,
                uuid: self.uuid(),
                number: self.number(),
                module: node.module,
                data: node.data,
                needs: node.needs,
                finally: false,
                phase: None,
            });
        }
        let tests = request.tests.into_iter();
        let tests = tests
            .map(|test| TestCard { id: test.id, name: test.name, number: self.number(), runs: test.runs })
            .collect();
        let header = Arc::new(RunHeader {
            id,
            number,
            parent: None,
            kind: request.kind,
            name: request.name,
            workflow: None,
            agent_name: request.agent_name,
            params: request.params,
            external: true,
            holder: None,
            created_at: now,
            steps,
            tests,
        });
        self.record(Record::NextNumber(self.next_number));
        self.begin_external(header, now);
        self.advance(id, now);
        id
    }

    /// Takes a batch of a producer's events, all of them or none. Those whose id is known are passed over.
    pub fn report_external(&mut self, id: RunId, batch: &[Reported], now: Timestamp) -> Result<Receipt, ReportError> {
        let run = self.runs.get(&id).ok_or(ReportError::Unknown(id))?;
        if !run.header.external {
            return Err(ReportError::NotExternal(id));
        }
        let mut told: HashSet<&str> = HashSet::new();
        let is_new = |reported: &&Reported| match reported.id.as_deref() {
            Some(known) => !run.has_seen(known),
            None => true,
        };
        let fresh: Vec<(usize, &Reported)> = batch
            .iter()
            .enumerate()
            .filter(|(_, reported)| is_new(reported))
            .filter(|(_, reported)| reported.id.as_deref().is_none_or(|own| told.insert(own)))
            .collect();
        if let Some(finished) = run.finished() {
            return match fresh.is_empty() {
                true => Ok(Receipt { accepted: 0, seq: run.last_event() }),
                false => Err(ReportError::Ended(id, finished.status)),
            };
        }
        // Tried out on a copy first: an event in the middle may contradict those before it.
        let mut trial = run.clone();
        let mut next_number = self.next_number;
        let mut bodies: Vec<Told> = Vec::new();
        let mut files = Vec::new();
        for (index, reported) in &fresh {
            let path = format!("events[{index}]");
            let found = trial.report(reported, &path, &mut next_number, now).map_err(ReportError::Contradiction)?;
            let at = reported.at.unwrap_or(now);
            if let Report::Artifact { name, media_type, data } = &reported.report {
                let (body, file) = self
                    .reported_artifact(&trial, name, media_type, data, at)
                    .map_err(|problem| ReportError::TooLarge(Mistake { path: format!("{path}.data"), problem }))?;
                trial.apply(&body, at);
                bodies.push(Told::Of(body, at));
                files.push(file);
                continue;
            }
            for body in found {
                self.tell_part(&mut trial, body, at, &mut next_number, &mut bodies);
            }
            trial.note_percent(&reported.report);
            if let Some(progress) = trial.news_of_parts(at).map(RunEventBody::Progress) {
                trial.apply(&progress, at);
                bodies.push(Told::Of(progress, at));
            }
        }
        if next_number != self.next_number {
            self.next_number = next_number;
            self.record(Record::NextNumber(next_number));
        }
        let ids: Vec<String> = fresh.iter().filter_map(|(_, reported)| reported.id.clone()).collect();
        if let Some(run) = self.runs.get_mut(&id) {
            for own in &ids {
                run.remember(own);
            }
        }
        if !ids.is_empty() {
            self.record(Record::Reported { run: id, ids });
        }
        for file in files {
            self.record(Record::Artifact(Box::new(file)));
        }
        for told in bodies {
            self.carry_out_told(id, told);
        }
        if let Some(run) = self.runs.get_mut(&id) {
            for (_, reported) in &fresh {
                run.note_percent(&reported.report);
            }
            run.note_producer(now);
        }
        self.advance(id, now);
        let seq = self.runs.get(&id).map_or(0, Run::last_event);
        Ok(Receipt { accepted: fresh.len(), seq })
    }

    /// A batch that came over the broker and was refused: nobody can be told but the log.
    pub fn refused_report(&mut self, run: RunId, why: &dyn std::fmt::Display) {
        self.reports_refused += 1;
        tracing::warn!(%run, refused = self.reports_refused, "a batch of events over the broker is refused: {why}");
    }

    /// Batches refused so far that came over the broker.
    pub fn reports_refused(&self) -> u64 {
        self.reports_refused
    }
}
