//! Procedures, version 1: TOML or JSON to a checked plan. A mistake is reported with its place before anything moves.
//! Knows no device and no run.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use rigwire_shared::agent::DeviceKind;
use rigwire_shared::ids::{DeviceId, StepId};
use rigwire_shared::value::{Fields, Value};
use serde::{Deserialize, Serialize};

use crate::event::RunKind;
use crate::study::{Constraint, Objective, Strategy, Study, Variable, VariableKind};
use crate::sweep::Sweep;
use crate::workflow;

mod check;
mod keys;
mod locate;
pub mod parameter;
pub mod schema;
mod suite;

pub use parameter::{Parameter, ParameterKind};
pub use suite::{Repeat, Source, SuiteRules, Test};

/// A step without a timeout of its own gets this one.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Procedure {
    pub name: String,
    #[serde(default)]
    pub kind: RunKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, Parameter>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub roles: BTreeMap<String, Role>,
    /// How long a run may wait for its devices. Left out: until they are free or the run is cancelled.
    #[serde(default, with = "duration", skip_serializing_if = "Option::is_none")]
    pub wait: Option<Duration>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Step>,
    /// The steps are repeated for each of its points, then come the `finally` steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sweep: Option<Sweep>,
    /// Of a suite.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suite: Option<SuiteRules>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tests: Vec<Test>,
    /// Of an optimisation study: what each iteration carries out. Left out: somebody outside asks and tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub procedure: Option<Source>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<String, Variable>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub objectives: BTreeMap<String, Objective>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub constraints: BTreeMap<String, Constraint>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<Strategy>,
    /// Run whatever happened, in the order written, each bounded by its timeout.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub finally: Vec<Step>,
}

/// Which device may play a role. Every condition that is given must hold.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Role {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<DeviceKind>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_sdk: Option<u32>,
    #[serde(default, skip_serializing_if = "HoldFor::is_run")]
    pub hold: HoldFor,
}

/// For how long a run keeps a role's device to itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HoldFor {
    /// From its first step to its last.
    #[default]
    Run,
    /// While a step acts on it. Steps of other runs come in between.
    Step,
}

impl HoldFor {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde asks for")]
    fn is_run(&self) -> bool {
        *self == Self::Run
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if let Some(device) = &self.device {
            parts.push(format!("device {device}"));
        }
        if let Some(class) = &self.class {
            parts.push(format!("class {class}"));
        }
        if let Some(kind) = self.kind {
            parts.push(format!("kind {}", kind.as_str()));
        }
        if !self.tags.is_empty() {
            parts.push(format!("tags {}", self.tags.join(", ")));
        }
        if let Some(sdk) = self.min_sdk {
            parts.push(format!("SDK {sdk} or later"));
        }
        f.write_str(&parts.join(" and "))
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// May be left out of a `finally` step, which is then named `finally-1` and so on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<StepId>,
    /// Module id.
    #[serde(rename = "use")]
    pub module: String,
    /// Role that the step acts on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<String>,
    #[serde(default = "empty_table", skip_serializing_if = "is_empty_table")]
    pub with: Value,
    #[serde(default, with = "duration", skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub continue_on_failure: bool,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub expect: BTreeMap<String, Limits>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    /// An expression over parameters and outputs; the step is skipped where it is false, and what needs it goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// Steps that must have succeeded. Left out: the step before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needs: Option<Vec<StepId>>,
}

impl Step {
    pub fn fields(&self) -> &[(String, Value)] {
        match &self.with {
            Value::Map(fields) => fields,
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) | Value::List(_) => &[],
        }
    }
}

fn empty_table() -> Value {
    Value::Map(Fields::new())
}

fn is_empty_table(value: &Value) -> bool {
    matches!(value, Value::Map(fields) if fields.is_empty())
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// Further attempts after the first.
    pub times: u32,
    #[serde(default, with = "duration", skip_serializing_if = "Option::is_none")]
    pub backoff: Option<Duration>,
}

/// Limits of a measured value, both included. Every good sample must lie within; a value that is not good fails.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
}

/// Durations are written as people write them: `500ms`, `5s`, `1m 30s`.
mod duration {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    #[expect(clippy::ref_option, reason = "the shape that serde asks for")]
    pub(super) fn serialize<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        match duration {
            Some(duration) => serializer.collect_str(&humantime::format_duration(*duration)),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_duration(&text).map(Some).map_err(|_| {
            serde::de::Error::custom(format_args!(
                "{text:?} is not a duration, expected a form such as \"500ms\" or \"5s\""
            ))
        })
    }
}

/// One mistake in a procedure and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// From 1, when the text is TOML and the place could be found.
    pub line: Option<usize>,
    /// Such as `steps[1].expect.voltage`.
    pub key: String,
    pub message: String,
}

/// Everything that is wrong with a procedure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    pub source: String,
    pub mistakes: Vec<Mistake>,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.mistakes.iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            f.write_str(&self.source)?;
            if let Some(line) = mistake.line {
                write!(f, ":{line}")?;
            }
            f.write_str(": ")?;
            if !mistake.key.is_empty() {
                write!(f, "{}: ", mistake.key)?;
            }
            f.write_str(&mistake.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for Invalid {}

impl Invalid {
    /// With the lines of mistakes that were found after the text was read.
    pub fn located(mut self, text: &str) -> Self {
        for mistake in self.mistakes.iter_mut().filter(|mistake| mistake.line.is_none() && !mistake.key.is_empty()) {
            mistake.line = locate::line_of(text, &mistake.key);
        }
        self
    }
}

impl Procedure {
    /// `source` names the text in messages: a file name, or `procedure` for a request body.
    pub fn from_toml(text: &str, source: &str) -> Result<Self, Invalid> {
        // What is no TOML at all is reported below, with its place.
        if let Some(drawn) = toml::from_str::<serde_json::Value>(text).ok().filter(workflow::is_one) {
            return workflow::compile(&drawn, source, |path| locate::line_of(text, path));
        }
        let procedure: Self = toml::from_str(text).map_err(|error| Invalid {
            source: source.to_owned(),
            mistakes: vec![Mistake {
                line: error.span().map(|span| locate::line_at(text, span.start)),
                key: String::new(),
                message: one_line(error.message()),
            }],
        })?;
        procedure.checked(source, |path| locate::line_of(text, path))
    }

    pub fn from_json(value: &serde_json::Value, source: &str) -> Result<Self, Invalid> {
        if workflow::is_one(value) {
            return workflow::compile(value, source, |_| None);
        }
        let procedure: Self = serde_path_to_error::deserialize(value).map_err(|error| {
            let key = error.path().to_string();
            let key = if key == "." { String::new() } else { key };
            let message = one_line(&error.into_inner().to_string());
            Invalid { source: source.to_owned(), mistakes: vec![Mistake { line: None, key, message }] }
        })?;
        procedure.checked(source, |_| None)
    }

    fn checked(mut self, source: &str, line_of: impl Fn(&str) -> Option<usize>) -> Result<Self, Invalid> {
        self.complete();
        let mistakes: Vec<Mistake> = check::mistakes(&self)
            .into_iter()
            .map(|(key, message)| Mistake { line: line_of(&key), key, message })
            .collect();
        if mistakes.is_empty() { Ok(self) } else { Err(Invalid { source: source.to_owned(), mistakes }) }
    }

    /// Fills in what may be left out: names of `finally` steps, the step before as what a step needs, and a host for
    /// programs.
    fn complete(&mut self) {
        self.move_steps_of_a_study();
        for test in &mut self.tests {
            if let Source::Inline(inner) = &mut test.procedure {
                inner.complete();
            }
        }
        if let Some(Source::Inline(inner)) = &mut self.procedure {
            inner.complete();
        }
        self.find_hosts();
        for (index, step) in self.finally.iter_mut().enumerate() {
            if step.id.is_none() {
                step.id = StepId::new(&format!("finally-{}", index + 1)).ok();
            }
        }
        let mut before: Option<StepId> = None;
        for step in &mut self.steps {
            if step.needs.is_none() {
                step.needs = Some(before.iter().cloned().collect());
            }
            before.clone_from(&step.id);
        }
    }

    /// Steps of a study are what each of its iterations carries out: a procedure whose parameters include the variables.
    fn move_steps_of_a_study(&mut self) {
        if self.kind != RunKind::Optimization || self.steps.is_empty() || self.procedure.is_some() {
            return;
        }
        let mut params = self.params.clone();
        for (name, variable) in &self.variables {
            params.entry(name.clone()).or_insert_with(|| Parameter {
                kind: match variable.kind {
                    VariableKind::Float => ParameterKind::Float,
                    VariableKind::Int => ParameterKind::Int,
                    VariableKind::Choice => ParameterKind::Enum,
                },
                unit: variable.unit.clone(),
                min: variable.min,
                max: variable.max,
                values: variable.values.clone(),
                default: None,
                description: None,
            });
        }
        self.procedure = Some(Source::Inline(Box::new(Self {
            name: self.name.clone(),
            params,
            roles: std::mem::take(&mut self.roles),
            wait: self.wait.take(),
            steps: std::mem::take(&mut self.steps),
            sweep: self.sweep.take(),
            finally: std::mem::take(&mut self.finally),
            ..Self::default()
        })));
    }

    /// The study that it describes, if it does.
    pub fn study(&self) -> Option<Study> {
        Some(Study {
            variables: self.variables.clone(),
            objectives: self.objectives.clone(),
            constraints: self.constraints.clone(),
            strategy: self.strategy.clone()?,
        })
    }

    /// A program that names no role runs on any host that offers it.
    fn find_hosts(&mut self) {
        for step in self.steps.iter_mut().chain(&mut self.finally) {
            if step.module != "process.run" || step.on.is_some() {
                continue;
            }
            let program =
                step.fields().iter().find(|(name, _)| name == "program").and_then(|(_, value)| value.as_str());
            // A name that only the run knows cannot choose a host: the missing role is reported.
            let Some(program) = program.filter(|program| !program.contains("{{")) else { continue };
            let host = Role { kind: Some(DeviceKind::Host), tags: vec![program.to_owned()], ..Role::default() };
            let name = format!("host of {program}");
            self.roles.insert(name.clone(), host);
            step.on = Some(name);
        }
    }

    /// Values of all parameters: what was given, checked, and defaults for the rest.
    pub fn bind_params(&self, given: &[(String, Value)]) -> Result<Fields, String> {
        if let Some((name, _)) = given.iter().find(|(name, _)| !self.params.contains_key(name)) {
            let known: Vec<&str> = self.params.keys().map(String::as_str).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return Err(format!("procedure {} has no parameter {name}; its parameters: {known}", self.name));
        }
        self.params
            .iter()
            .map(|(name, parameter)| {
                let value = given.iter().find(|(given, _)| given == name).map(|(_, value)| value);
                let value = match (value, &parameter.default) {
                    (Some(value), _) => parameter.accept(value),
                    (None, Some(default)) => parameter.accept(default),
                    (None, None) => Err(format!("a value is required, {}", parameter.expectation())),
                };
                let value =
                    value.map_err(|message| format!("parameter {name} of procedure {}: {message}", self.name))?;
                Ok((name.clone(), value))
            })
            .collect()
    }

    pub fn all_steps(&self) -> impl Iterator<Item = (&Step, bool)> {
        self.steps.iter().map(|step| (step, false)).chain(self.finally.iter().map(|step| (step, true)))
    }

    /// Roles that some step acts on.
    pub fn used_roles(&self) -> BTreeSet<&str> {
        self.all_steps().filter_map(|(step, _)| step.on.as_deref()).collect()
    }
}

fn one_line(message: &str) -> String {
    message.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(", ")
}
