//! `[host]` and `[[program]]` as they are written, and every check of them. Starts nothing.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rigwire_shared::ids::AgentId;
use serde::Deserialize;
use toml::Spanned;

use super::file::{Check, Seen};
use super::{HostConfig, ProgramConfig, User};
use crate::program::{OWN_PREFIX, Pattern};

const MIB: u64 = 1024 * 1024;
const PARALLEL_MAX: u64 = 64;
const TIMEOUT_MAX_S: u64 = 7 * 24 * 3600;
/// Longer, and a cancelled run would seem to hang.
const GRACE_MAX_MS: u64 = 10_000;
const OUTPUT_MAX_MIB: u64 = 1024;
/// A file is read as a whole before it is sent.
const ARTIFACT_MAX_MIB: u64 = 64;
const NAME_MAX: usize = 64;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Host {
    id: Option<Spanned<String>>,
    #[serde(default)]
    tags: Vec<String>,
    max_parallel: Option<Spanned<u64>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Program {
    name: Spanned<String>,
    #[serde(default)]
    about: String,
    command: Spanned<Vec<String>>,
    #[serde(default)]
    args_allowed: Vec<Spanned<String>>,
    directory: Option<Spanned<PathBuf>>,
    #[serde(default)]
    environment: BTreeMap<Spanned<String>, Spanned<String>>,
    #[serde(default)]
    environment_allowed: Vec<Spanned<String>>,
    user: Option<Spanned<String>>,
    timeout_max_s: Option<Spanned<u64>>,
    grace_ms: Option<Spanned<u64>>,
    output_max_mib: Option<Spanned<u64>>,
    artifact_max_mib: Option<Spanned<u64>>,
    max_parallel: Option<Spanned<u64>>,
}

impl Check<'_> {
    pub(super) fn host(
        &mut self,
        host: Option<Host>,
        programs: Vec<Program>,
        directory: &Path,
        agent: &AgentId,
        seen: &mut Seen,
    ) -> HostConfig {
        let mut config = HostConfig::new(agent);
        let Host { id, tags, max_parallel } = host.unwrap_or_default();
        config.tags = tags;
        if let Some(id) = id.and_then(|id| self.device_id(&id, seen)) {
            config.id = id;
        }
        if let Some(most) = self.number(max_parallel.as_ref(), "max-parallel", 1, PARALLEL_MAX) {
            config.max_parallel = usize::try_from(most).unwrap_or(usize::MAX);
        }
        config.file = (!self.name.is_empty()).then(|| PathBuf::from(self.name));
        let mut names = HashMap::new();
        let programs = programs.into_iter().filter_map(|program| self.program(program, directory, &mut names));
        config.programs = programs.collect();
        config
    }

    fn program(
        &mut self,
        program: Program,
        directory: &Path,
        names: &mut HashMap<String, usize>,
    ) -> Option<ProgramConfig> {
        let name = self.program_name(&program.name, names);
        let command = self.command(&program.command);
        let (name, command) = (name?, command?);
        let mut config = ProgramConfig::new(&name, command);
        config.about = program.about;
        for pattern in &program.args_allowed {
            match Pattern::new(pattern.get_ref()) {
                Ok(allowed) => config.args_allowed.push(allowed),
                Err(message) => self.complain(&pattern.span(), "args-allowed", &message),
            }
        }
        config.directory = program.directory.map(|place| directory.join(place.into_inner()));
        config.environment = self.environment(program.environment);
        for name in &program.environment_allowed {
            if self.variable(name, "environment-allowed") {
                config.environment_allowed.push(name.get_ref().clone());
            }
        }
        config.user = program.user.and_then(|user| self.user(&user));
        let seconds = self.number(program.timeout_max_s.as_ref(), "timeout-max-s", 1, TIMEOUT_MAX_S);
        config.timeout_max = seconds.map_or(config.timeout_max, Duration::from_secs);
        let grace = self.number(program.grace_ms.as_ref(), "grace-ms", 0, GRACE_MAX_MS);
        config.grace = grace.map_or(config.grace, Duration::from_millis);
        let output = self.number(program.output_max_mib.as_ref(), "output-max-mib", 1, OUTPUT_MAX_MIB);
        config.output_max = output.map_or(config.output_max, |mib| mib * MIB);
        let artifact = self.number(program.artifact_max_mib.as_ref(), "artifact-max-mib", 1, ARTIFACT_MAX_MIB);
        config.artifact_max = artifact.map_or(config.artifact_max, |mib| mib * MIB);
        let most = self.number(program.max_parallel.as_ref(), "max-parallel", 1, PARALLEL_MAX);
        config.max_parallel = most.and_then(|most| usize::try_from(most).ok());
        Some(config)
    }

    fn program_name(&mut self, name: &Spanned<String>, names: &mut HashMap<String, usize>) -> Option<String> {
        let text = name.get_ref();
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if text.is_empty() || text.len() > NAME_MAX || !text.chars().all(fits) {
            let message =
                format!("{text:?} is not a program's name, expected 1 to {NAME_MAX} letters, digits and _ - .");
            self.complain(&name.span(), "name", &message);
            return None;
        }
        let line = self.line(name.span().start);
        if let Some(first) = names.insert(text.clone(), line) {
            let message =
                format!("{text:?} is the name of the program in line {first} too, expected one name for each");
            self.complain(&name.span(), "name", &message);
            return None;
        }
        Some(text.clone())
    }

    fn command(&mut self, command: &Spanned<Vec<String>>) -> Option<Vec<String>> {
        let words = command.get_ref();
        let problem = match words.first() {
            None => "is empty, expected the path of a program and its arguments".to_owned(),
            Some(path) if !Path::new(path).is_absolute() => {
                format!("begins with {path:?}, expected an absolute path such as \"/usr/bin/python3\"")
            }
            Some(_) if words.iter().any(|word| word.contains('\0')) => "holds a zero byte".to_owned(),
            Some(_) => return Some(words.clone()),
        };
        self.complain(&command.span(), "command", &problem);
        None
    }

    fn environment(&mut self, written: BTreeMap<Spanned<String>, Spanned<String>>) -> BTreeMap<String, String> {
        let mut environment = BTreeMap::new();
        for (name, value) in written {
            if value.get_ref().contains('\0') {
                self.complain(
                    &value.span(),
                    "environment",
                    &format!("the value of {} holds a zero byte", name.get_ref()),
                );
            } else if self.variable(&name, "environment") {
                environment.insert(name.into_inner(), value.into_inner());
            }
        }
        environment
    }

    fn variable(&mut self, name: &Spanned<String>, key: &str) -> bool {
        let text = name.get_ref();
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let problem = if text.is_empty() || !text.chars().all(fits) || text.starts_with(|c: char| c.is_ascii_digit()) {
            format!("{text:?} is not a variable's name, expected letters, digits and _")
        } else if text.starts_with(OWN_PREFIX) {
            format!("{text} belongs to the agent, expected a name that does not begin with {OWN_PREFIX}")
        } else {
            return true;
        };
        self.complain(&name.span(), key, &problem);
        false
    }

    fn user(&mut self, user: &Spanned<String>) -> Option<User> {
        let name = user.get_ref();
        let found = std::fs::read_to_string("/etc/passwd")
            .map_err(|error| format!("/etc/passwd cannot be read: {error}"))
            .and_then(|passwd| {
                let missing = || format!("there is no user {name:?} in /etc/passwd");
                User::find(&passwd, name).ok_or_else(missing)
            });
        found.map_err(|message| self.complain(&user.span(), "user", &message)).ok()
    }

    fn number(&mut self, value: Option<&Spanned<u64>>, key: &str, min: u64, max: u64) -> Option<u64> {
        let value = value?;
        let number = *value.get_ref();
        if (min..=max).contains(&number) {
            return Some(number);
        }
        self.complain(&value.span(), key, &format!("{number} is not possible, expected {min} to {max}"));
        None
    }
}
