//! Files of runs within the model: each becomes an event of its run and, with it, a record of its bytes.

use rigwire_shared::event::{Artifact, Level};
use rigwire_shared::ids::{AgentId, RunId, StepId};
use rigwire_shared::time::Timestamp;

use super::{Model, Record};
use crate::artifact::{self, ARRIVING_MAX, Announced, Arrival, File, Hash, Incoming, Progress};
use crate::event::{RunEventBody, RunLog};
use crate::run::Run;

/// Part of the hub that speaks of files in a run's log.
const SOURCE: &str = "artifacts";

/// The type of a file whose own makes no sense.
const UNKNOWN_TYPE: &str = "application/octet-stream";

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
        if !self.is_open(id) {
            tracing::warn!(run = %id, "file {name} is not kept: the run has ended");
            return None;
        }
        let size = bytes.len() as u64;
        if let Err(problem) = self.artifact_fits(id, size) {
            self.artifact_trouble(id, Level::Warning, format!("file {name} is not kept: {problem}"), step, at);
            return None;
        }
        let name = self.artifact_name(id, &name);
        let path = artifact::path(id, &name);
        let media_type = fitting_type(media_type).to_owned();
        let body =
            RunEventBody::Artifact { name: name.clone(), media_type: media_type.clone(), path: path.clone(), size };
        self.emit(id, body, at);
        self.record(Record::Artifact(Box::new(File { run: id, name, media_type, bytes, at, step })));
        Some(path)
    }

    /// An agent says that a file will follow.
    pub(super) fn artifact_announced(&mut self, agent: &AgentId, artifact: Artifact, at: Timestamp) {
        let Artifact { run, attempt, name, media_type, sha256, size } = artifact;
        let by_attempt = attempt.and_then(|attempt| self.attempts.get(&attempt)).copied();
        let step = by_attempt.and_then(|(run, index)| Some(self.runs.get(&run)?.header.steps.get(index)?.id.clone()));
        let Some(run) = by_attempt.map(|(run, _)| run).or(run).filter(|run| self.is_open(*run)) else {
            tracing::warn!(%agent, "file {name:?} is not kept: it belongs to no run that is under way");
            return;
        };
        let announced = artifact::clean_name(&name);
        let known = self.arriving.announced(agent, &sha256);
        if known.is_some_and(|file| file.names.iter().any(|name| name.run == run && name.announced == announced)) {
            // Said again by an agent that does not know how far it got.
            return;
        }
        let refused = match known {
            Some(file) if file.size != size => {
                Some(format!("{} bytes of the same content were announced before", file.size))
            }
            Some(_) => self.artifact_fits(run, size).err(),
            None => self.artifact_fits(run, size).err().or_else(|| self.no_room_for_another(agent)),
        };
        if let Some(problem) = refused {
            self.artifact_trouble(run, Level::Warning, format!("file {announced} is not kept: {problem}"), step, at);
            return;
        }
        let name = self.artifact_name(run, &announced);
        let media_type = fitting_type(&media_type).to_owned();
        let file = Announced { run, step, announced, name, media_type, at };
        self.arriving.announce(agent, sha256, size, file.clone());
        self.arrival(Arrival::Announced { agent: agent.clone(), sha256, size, file });
        if size == 0 {
            self.artifact_chunk(agent, sha256, 0, Vec::new(), at);
        }
    }

    /// Some bytes of a file that was announced.
    pub(super) fn artifact_chunk(&mut self, agent: &AgentId, sha256: Hash, offset: u64, data: Vec<u8>, at: Timestamp) {
        let more = |offset, data| Arrival::Chunk { agent: agent.clone(), sha256, offset, data };
        match self.arriving.chunk(agent, sha256, offset, data) {
            Progress::Old => tracing::debug!(%agent, offset, "bytes of a file that is whole, or that nobody waits for"),
            Progress::Hole { names, from, to } => {
                let problem = format!("its bytes {from} to {to} did not arrive");
                self.tell_of_files(&names, Level::Warning, &problem, at);
            }
            Progress::More { offset, data } => self.arrival(more(offset, data)),
            Progress::Whole { offset, data, file } => {
                if !data.is_empty() {
                    self.arrival(more(offset, data));
                }
                self.arrival(Arrival::Whole { agent: agent.clone(), sha256, size: file.size });
                for Announced { run, name, media_type, .. } in file.names {
                    // One whose run ended in the meantime is kept and listed all the same.
                    let path = artifact::path(run, &name);
                    self.emit(run, RunEventBody::Artifact { name, media_type, path, size: file.size }, at);
                }
            }
            Progress::Wrong { file, cause } => self.refuse_file(file, cause, at),
        }
    }

    /// Files that an agent began to send before it started anew, for runs that have ended since, will not be finished.
    pub(super) fn forget_artifacts(&mut self, agent: &AgentId, at: Timestamp) {
        let runs = &self.runs;
        let open = |run: RunId| runs.get(&run).is_some_and(|run| run.finished().is_none());
        for file in self.arriving.forget(agent, open) {
            self.refuse_file(file, format!("agent {agent} started anew before all of it arrived"), at);
        }
    }

    fn refuse_file(&mut self, file: Incoming, cause: String, at: Timestamp) {
        self.tell_of_files(&file.names, Level::Error, &cause, at);
        self.arrival(Arrival::Refused { agent: file.agent, sha256: file.sha256, cause });
    }

    fn tell_of_files(&mut self, names: &[Announced], level: Level, problem: &str, at: Timestamp) {
        for file in names {
            let message = format!("file {} is not kept: {problem}", file.name);
            self.artifact_trouble(file.run, level, message, file.step.clone(), at);
        }
    }

    /// What became of a file that is not kept, for who reads the run's log.
    fn artifact_trouble(&mut self, run: RunId, level: Level, message: String, step: Option<StepId>, at: Timestamp) {
        if !self.is_open(run) {
            tracing::warn!(%run, "{message}");
        }
        let log = RunLog { level, message, device: None, module: None, step, source: SOURCE.to_owned() };
        self.emit(run, RunEventBody::Log(log), at);
    }

    fn arrival(&mut self, arrival: Arrival) {
        self.record(Record::Arrival(Box::new(arrival)));
    }

    fn is_open(&self, run: RunId) -> bool {
        self.runs.get(&run).is_some_and(|run| run.finished().is_none())
    }

    /// A file that a program reports: its event, under a name of its own, and itself. Or why it is too large. `trial` is the
    /// run with what was reported before it.
    pub(super) fn reported_artifact(
        &self,
        trial: &Run,
        name: &str,
        media_type: &str,
        data: &[u8],
        at: Timestamp,
    ) -> Result<(RunEventBody, File), String> {
        let (run, size) = (trial.header.id, data.len() as u64);
        self.fits(trial, size)?;
        let name = artifact::unique(name, |other| trial.artifacts().has(other) || self.awaits(run, other));
        let (media_type, path) = (media_type.to_owned(), artifact::path(run, &name));
        let body = RunEventBody::Artifact { name: name.clone(), media_type: media_type.clone(), path, size };
        Ok((body, File { run, name, media_type, bytes: data.to_vec(), at, step: None }))
    }

    /// Whether a run may leave another file, with those counted that are still to come.
    fn artifact_fits(&self, run: RunId, size: u64) -> Result<(), String> {
        self.runs.get(&run).map_or(Ok(()), |run| self.fits(run, size))
    }

    fn fits(&self, run: &Run, size: u64) -> Result<(), String> {
        let (mut files, mut bytes) = (run.artifacts().files(), run.artifacts().bytes());
        for (_, size) in self.arriving.awaited(run.header.id) {
            files += 1;
            bytes = bytes.saturating_add(size);
        }
        self.artifact_limits.refuse(files, bytes, size).map_or(Ok(()), Err)
    }

    /// Why an agent may not begin to send another file.
    fn no_room_for_another(&self, agent: &AgentId) -> Option<String> {
        let full = self.arriving.count_of(agent) >= ARRIVING_MAX;
        full.then(|| format!("{ARRIVING_MAX} files of agent {agent} are under way already"))
    }

    fn awaits(&self, run: RunId, name: &str) -> bool {
        self.arriving.awaited(run).any(|(awaited, _)| awaited == name)
    }

    fn artifact_name(&self, run: RunId, name: &str) -> String {
        let taken =
            |other: &str| self.runs.get(&run).is_some_and(|run| run.artifacts().has(other)) || self.awaits(run, other);
        artifact::unique(name, taken)
    }
}

fn fitting_type(media_type: &str) -> &str {
    if artifact::check_media_type(media_type).is_ok() { media_type } else { UNKNOWN_TYPE }
}
