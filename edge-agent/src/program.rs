//! Programs of the user's own: which may run, what a step may ask of them, and what becomes of what they print. This file is the
//! check of a step against the configuration, and is pure; `host.rs` runs them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use regex::Regex;
use rigwire_shared::agent::{ActionCard, ParameterCard};
use rigwire_shared::event::{StepError, code};
use rigwire_shared::unit::Unit;
use rigwire_shared::value::{Fields, Value};

mod attempt;
pub(crate) mod host;
mod junit;
pub(crate) mod leftover;
mod line;
mod narrator;
mod pace;
mod process;
mod report;
mod tap;
mod work;

pub(crate) use process::check_user;

pub(crate) const RUN: &str = "process.run";

/// Stands for the step's own directory in arguments.
pub(crate) const WORK: &str = "{work}";
/// Names that the agent itself sets for every program.
pub(crate) const OWN_PREFIX: &str = "RIGWIRE_";

const ARGUMENTS_MAX: usize = 256;
const ARGUMENT_MAX: usize = 8 * 1024;

/// One `[[program]]` of the configuration.
#[derive(Debug, Clone)]
pub struct ProgramConfig {
    pub name: String,
    pub about: String,
    /// The program's path and the arguments that it always gets.
    pub command: Vec<String>,
    /// What an argument of a step must match as a whole: one of these. None: a step may pass no arguments.
    pub args_allowed: Vec<Pattern>,
    /// Left out: the step's own directory.
    pub directory: Option<PathBuf>,
    pub environment: BTreeMap<String, String>,
    /// Names that a step may set.
    pub environment_allowed: Vec<String>,
    pub user: Option<User>,
    pub timeout_max: Duration,
    /// Between SIGTERM and SIGKILL.
    pub grace: Duration,
    pub output_max: u64,
    pub artifact_max: u64,
    pub max_parallel: Option<usize>,
}

/// What an argument may be.
#[derive(Debug, Clone)]
pub struct Pattern {
    written: String,
    /// Of the whole argument.
    regex: Regex,
}

impl Pattern {
    pub fn new(written: &str) -> Result<Self, String> {
        // By itself first: one with unbalanced brackets could mean something else within others.
        let regex = Regex::new(written).and_then(|_| Regex::new(&format!(r"\A(?:{written})\z")));
        let regex = regex.map_err(|error| {
            let error = error.to_string();
            let why = error.lines().last().unwrap_or_default().trim().trim_start_matches("error: ");
            format!("{written:?} is not a pattern: {why}")
        })?;
        Ok(Self { written: written.to_owned(), regex })
    }
}

/// Whom a program runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
    pub home: PathBuf,
}

impl User {
    /// Looks a name up in the text of a passwd file.
    pub fn find(passwd: &str, name: &str) -> Option<Self> {
        passwd.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let [known, _, uid, gid, _, home, ..] = fields.as_slice() else { return None };
            let (uid, gid) = (uid.parse().ok()?, gid.parse().ok()?);
            (*known == name).then(|| Self { name: name.to_owned(), uid, gid, home: PathBuf::from(home) })
        })
    }
}

impl ProgramConfig {
    /// With the limits that hold unless the file says otherwise.
    pub fn new(name: &str, command: Vec<String>) -> Self {
        Self {
            name: name.to_owned(),
            about: String::new(),
            command,
            args_allowed: Vec::new(),
            directory: None,
            environment: BTreeMap::new(),
            environment_allowed: Vec::new(),
            user: None,
            timeout_max: Duration::from_secs(3600),
            grace: Duration::from_millis(500),
            output_max: 16 * 1024 * 1024,
            artifact_max: 16 * 1024 * 1024,
            max_parallel: None,
        }
    }

    pub(crate) fn card(&self) -> ActionCard {
        let parameter = |name: &str, values: Vec<String>| ParameterCard {
            name: name.to_owned(),
            kind: "text".to_owned(),
            unit: Unit::None,
            min: None,
            max: None,
            values,
        };
        let mut parameters = Vec::new();
        if !self.args_allowed.is_empty() {
            parameters.push(parameter("args", Vec::new()));
        }
        if !self.environment_allowed.is_empty() {
            parameters.push(parameter("environment", self.environment_allowed.clone()));
        }
        let about = if self.about.is_empty() { self.command.join(" ") } else { self.about.clone() };
        ActionCard { id: self.name.clone(), about, hazard: None, parameters }
    }
}

/// How results of tests are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Results {
    /// From what it prints.
    Tap,
    /// From a file that it leaves in the step's directory.
    Junit { file: String },
}

/// A step that may run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Launch {
    /// Place in the list of programs.
    pub(crate) program: usize,
    /// Beyond those that the program always gets.
    pub(crate) arguments: Vec<String>,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) results: Option<Results>,
    pub(crate) timeout: Duration,
}

/// Reads a step's parameters. `file` is where programs are listed, for the message.
pub(crate) fn launch(
    with: &Fields,
    timeout: Duration,
    programs: &[ProgramConfig],
    file: Option<&Path>,
) -> Result<Launch, StepError> {
    if let Some((name, _)) =
        with.iter().find(|(name, _)| !["program", "args", "environment", "results", "file"].contains(&name.as_str()))
    {
        let expected = "expected program, args, environment, results or file";
        return Err(invalid(format!("parameter {name} of {RUN} is unknown, {expected}")));
    }
    let get = |key: &str| with.iter().find(|(name, _)| name == key).map(|(_, value)| value);
    let name = get("program").ok_or_else(|| invalid(format!("parameter program of {RUN} is missing")))?;
    let found = name.as_str().and_then(|name| programs.iter().position(|program| program.name == name));
    let Some((index, program)) = found.and_then(|index| Some((index, programs.get(index)?))) else {
        let known: Vec<&str> = programs.iter().map(|program| program.name.as_str()).collect();
        return Err(invalid(format!(
            "program {} may not run here: it is not among {}; whoever runs the agent may list it as [[program]] in {}",
            json(name),
            known.join(", "),
            place(file)
        )));
    };
    let arguments = arguments(program, get("args"), file)?;
    let environment = environment(program, get("environment"), file)?;
    let results = results(get("results"), get("file"))?;
    if timeout > program.timeout_max {
        let (asked, most) = (humantime::format_duration(timeout), humantime::format_duration(program.timeout_max));
        let place = place(file);
        let message = format!(
            "the step's timeout {asked} is longer than timeout-max-s of program {} in {place}: {most}",
            program.name
        );
        return Err(invalid(message));
    }
    Ok(Launch { program: index, arguments, environment, results, timeout })
}

/// Why nothing runs where no program is listed.
pub(crate) fn off(file: Option<&Path>) -> StepError {
    let message = format!(
        "{RUN} is off at this agent: whoever runs it may list what may run as [[program]] with name and command in {}",
        place(file)
    );
    StepError { code: code::MODULE_UNKNOWN.to_owned(), message }
}

fn place(file: Option<&Path>) -> String {
    file.map_or_else(
        || "the agent's configuration file (--config, or --agent-config of rigwire up)".to_owned(),
        |file| file.display().to_string(),
    )
}

fn arguments(program: &ProgramConfig, value: Option<&Value>, file: Option<&Path>) -> Result<Vec<String>, StepError> {
    let Some(value) = value else { return Ok(Vec::new()) };
    let wrong = || invalid(format!("parameter args of {RUN} is {}, expected a list of texts and numbers", json(value)));
    let Value::List(items) = value else { return Err(wrong()) };
    let arguments: Vec<String> = items.iter().map(plain).collect::<Option<_>>().ok_or_else(wrong)?;
    if arguments.len() > ARGUMENTS_MAX {
        let message =
            format!("parameter args of {RUN} has {} items, expected at most {ARGUMENTS_MAX}", arguments.len());
        return Err(invalid(message));
    }
    for argument in &arguments {
        check_text(argument)?;
        if !program.args_allowed.iter().any(|allowed| allowed.regex.is_match(argument)) {
            let allowed: Vec<&str> = program.args_allowed.iter().map(|allowed| allowed.written.as_str()).collect();
            let allowed = if allowed.is_empty() { "none".to_owned() } else { allowed.join(" or ") };
            let (name, place) = (&program.name, place(file));
            let message =
                format!("argument {argument:?} is not allowed: args-allowed of program {name} in {place}: {allowed}");
            return Err(invalid(message));
        }
    }
    Ok(arguments)
}

fn environment(
    program: &ProgramConfig,
    value: Option<&Value>,
    file: Option<&Path>,
) -> Result<Vec<(String, String)>, StepError> {
    let Some(value) = value else { return Ok(Vec::new()) };
    let wrong = || invalid(format!("parameter environment of {RUN} is {}, expected a table of texts", json(value)));
    let Value::Map(fields) = value else { return Err(wrong()) };
    let mut environment = Vec::new();
    for (name, value) in fields {
        if !program.environment_allowed.contains(name) {
            let allowed = &program.environment_allowed;
            let allowed = if allowed.is_empty() { "none".to_owned() } else { allowed.join(", ") };
            let message = format!(
                "variable {name} may not be set: environment-allowed of program {} in {}: {allowed}",
                program.name,
                place(file)
            );
            return Err(invalid(message));
        }
        let value = plain(value).ok_or_else(wrong)?;
        check_text(&value)?;
        environment.push((name.clone(), value));
    }
    Ok(environment)
}

fn results(results: Option<&Value>, file: Option<&Value>) -> Result<Option<Results>, StepError> {
    let file = match file {
        None => None,
        Some(Value::Text(name)) if !name.is_empty() => Some(name.clone()),
        Some(other) => {
            let message = format!("parameter file of {RUN} is {}, expected the name of a file", json(other));
            return Err(invalid(message));
        }
    };
    match (results.map(|word| word.as_str().unwrap_or_default()), file) {
        (None, None) => Ok(None),
        (Some("tap"), None) => Ok(Some(Results::Tap)),
        (Some("junit"), Some(file)) => Ok(Some(Results::Junit { file })),
        (Some("junit"), None) => Err(invalid(format!("results = \"junit\" of {RUN} needs file, its name in {WORK}"))),
        (None | Some("tap"), Some(_)) => {
            Err(invalid(format!("parameter file of {RUN} belongs to results = \"junit\" only")))
        }
        (Some(_), _) => {
            let shown = results.map(json).unwrap_or_default();
            Err(invalid(format!("parameter results of {RUN} is {shown}, expected \"tap\" or \"junit\"")))
        }
    }
}

fn check_text(text: &str) -> Result<(), StepError> {
    if text.contains('\0') || text.len() > ARGUMENT_MAX {
        let message = format!("{text:.40?} of {RUN} holds a zero byte or more than {ARGUMENT_MAX} bytes");
        return Err(invalid(message));
    }
    Ok(())
}

fn plain(value: &Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(text.clone()),
        Value::Int(_) | Value::Float(_) | Value::Bool(_) => Some(json(value)),
        Value::Null | Value::List(_) | Value::Map(_) => None,
    }
}

fn json(value: &Value) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

pub(crate) fn invalid(message: String) -> StepError {
    StepError { code: code::INVALID_PARAMETER.to_owned(), message }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn solver() -> ProgramConfig {
        ProgramConfig {
            args_allowed: ["--cases=[0-9]+", "[a-z]+|[a-z]+[.]inp"].map(|text| Pattern::new(text).unwrap()).into(),
            environment_allowed: vec!["THREADS".to_owned()],
            ..ProgramConfig::new("solver", vec!["/opt/solver".to_owned()])
        }
    }

    fn check(with: &str) -> Result<Launch, String> {
        let Value::Map(with) = serde_json::from_str(with).unwrap() else { panic!("{with}") };
        let programs = [ProgramConfig::new("other", Vec::new()), solver()];
        launch(&with, Duration::from_secs(9), &programs, Some(Path::new("agent.toml"))).map_err(|error| error.message)
    }

    #[test]
    fn a_step_gets_what_is_allowed() {
        let launch = check(r#"{"program": "solver", "args": ["--cases=21", "beam.inp"], "environment": {"THREADS": 4}, "results": "junit", "file": "r.xml"}"#).unwrap();
        assert_eq!(launch.arguments, ["--cases=21", "beam.inp"]);
        assert_eq!(launch.environment, [("THREADS".to_owned(), "4".to_owned())]);
        assert_eq!(launch.results, Some(Results::Junit { file: "r.xml".to_owned() }));
        assert_eq!((launch.program, launch.timeout), (1, Duration::from_secs(9)));
    }

    #[test]
    fn what_a_step_may_not_ask_is_refused_by_name() {
        for (with, expected) in [
            ("{}", "parameter program of process.run is missing"),
            (
                r#"{"program": "rm"}"#,
                "program \"rm\" may not run here: it is not among other, solver; whoever runs the agent may list it as [[program]] in agent.toml",
            ),
            (
                r#"{"program": "solver", "args": ["--cases=21; rm"]}"#,
                "argument \"--cases=21; rm\" is not allowed: args-allowed of program solver in agent.toml: --cases=[0-9]+ or [a-z]+|[a-z]+[.]inp",
            ),
            (
                r#"{"program": "other", "args": ["x"]}"#,
                "argument \"x\" is not allowed: args-allowed of program other in agent.toml: none",
            ),
            (
                r#"{"program": "solver", "args": "--cases=1"}"#,
                "parameter args of process.run is \"--cases=1\", expected a list of texts and numbers",
            ),
            (
                r#"{"program": "solver", "environment": {"LD_PRELOAD": "x"}}"#,
                "variable LD_PRELOAD may not be set: environment-allowed of program solver in agent.toml: THREADS",
            ),
            (
                r#"{"program": "solver", "results": "xml"}"#,
                "parameter results of process.run is \"xml\", expected \"tap\" or \"junit\"",
            ),
            (
                r#"{"program": "solver", "results": "junit"}"#,
                "results = \"junit\" of process.run needs file, its name in {work}",
            ),
            (
                r#"{"program": "solver", "file": "x"}"#,
                "parameter file of process.run belongs to results = \"junit\" only",
            ),
            (
                r#"{"program": "solver", "user": "root"}"#,
                "parameter user of process.run is unknown, expected program, args, environment, results or file",
            ),
        ] {
            assert_eq!(check(with), Err(expected.to_owned()), "{with}");
        }
        let with = vec![("program".to_owned(), Value::Text("solver".to_owned()))];
        let error = launch(&with, Duration::from_secs(7200), &[solver()], None).unwrap_err();
        assert_eq!(
            error.message,
            "the step's timeout 2h is longer than timeout-max-s of program solver in the agent's configuration file (--config, or --agent-config of rigwire up): 1h"
        );
    }

    #[test]
    fn users_are_found_in_passwd() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\n# broken\nlab:x:1001:100:,,,:/home/lab:/bin/sh\n";
        let lab = User { name: "lab".into(), uid: 1001, gid: 100, home: "/home/lab".into() };
        assert_eq!(User::find(passwd, "lab"), Some(lab));
        assert_eq!(User::find(passwd, "la"), None);
    }
}
