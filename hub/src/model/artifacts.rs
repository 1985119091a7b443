//! Files of runs within the model: each becomes an event of its run and, with it, a record of its bytes.

use rigwire_shared::event::Level;
use rigwire_shared::ids::{RunId, StepId};
use rigwire_shared::time::Timestamp;

use super::{Model, Record};
use crate::artifact::{self, File};
use crate::event::{RunEventBody, RunLog};

/// Part of the hub that speaks of files in a run's log.
const SOURCE: &str = "artifacts";

impl Model {
    pub fn set_artifact_limits(&mut self, limits: artifact::Limits) {
        self.artifact_limits = limits;
    }

    /// Keeps a file of a run that goes on, under this name or one like it. Its path, unless it is too large, which the
    /// run's log then says.
    pub fn keep_artifact(
        &mut self,
        run: RunId,
        name: &str,
        media_type: &str,
        bytes: Vec<u8>,
        at: Timestamp,
    ) -> Option<String> {
        self.keep_artifact_of_step(run, None, name, media_type, bytes, at)
    }

    /// The same for a file that one of the run's steps left.
    pub fn keep_artifact_of_step(
        &mut self,
        id: RunId,
        step: Option<StepId>,
        name: &str,
        media_type: &str,
        bytes: Vec<u8>,
        at: Timestamp,
    ) -> Option<String> {
        let name = artifact::clean_name(name);
        let media_type = match artifact::check_media_type(media_type) {
            Ok(()) => media_type,
            Err(_) => "application/octet-stream",
        };
        let Some(run) = self.runs.get(&id).filter(|run| run.finished().is_none()) else {
            tracing::warn!(run = %id, "file {name} is not kept: the run has ended");
            return None;
        };
        let size = bytes.len() as u64;
        if let Some(problem) = self.artifact_limits.refuse(run.artifacts(), size) {
            self.artifact_trouble(id, Level::Warning, format!("file {name} is not kept: {problem}"), step, at);
            return None;
        }
        let name = artifact::unique(&name, |other| run.artifacts().has(other));
        let path = artifact::path(id, &name);
        let body =
            RunEventBody::Artifact { name: name.clone(), media_type: media_type.to_owned(), path: path.clone(), size };
        self.emit(id, body, at);
        let file = File { run: id, name, media_type: media_type.to_owned(), bytes, at, step };
        self.record(Record::Artifact(Box::new(file)));
        Some(path)
    }

    /// What became of a file that is not kept, for who reads the run's log.
    fn artifact_trouble(&mut self, run: RunId, level: Level, message: String, step: Option<StepId>, at: Timestamp) {
        let log = RunLog { level, message, device: None, module: None, step, source: SOURCE.to_owned() };
        self.emit(run, RunEventBody::Log(log), at);
    }
}
