//! Suites: which tests there are, how often each is repeated, what counts as passed, and when to stop. Knows no run.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use rigwire_shared::value::{Fields, Value};
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Invalid, Mistake, Procedure};
use crate::event::RunKind;
use crate::template;

/// Tests of one suite, and attempts at one test.
const TESTS_MAX: usize = 2000;
const RUNS_MAX: u32 = 1000;

/// Tests that are under way at once.
const PARALLEL_MAX: usize = 100;

/// A suite's test may be a suite, and so on: so deep.
const DEPTH_MAX: usize = 4;

/// Procedures within one, and their texts in bytes: the record keeps all of them with the run.
const PROCEDURES_MAX: usize = 10_000;
const TEXTS_MAX: usize = 32 * 1024 * 1024;

/// Runs under way at once that one may start, and those may start.
const AT_ONCE_MAX: usize = 1000;

/// How a suite as a whole is carried out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SuiteRules {
    /// Tests under way at once.
    #[serde(default = "one_test")]
    pub parallel: usize,
    /// After so many failed tests the rest is skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_after_failures: Option<u32>,
}

fn one_test() -> usize {
    1
}

impl Default for SuiteRules {
    fn default() -> Self {
        Self { parallel: 1, stop_after_failures: None }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Test {
    pub id: String,
    /// Left out: the id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// By name, or written out.
    pub procedure: Source,
    /// Parameters of the procedure; texts may be templates over the suite's own parameters.
    #[serde(default = "empty", skip_serializing_if = "is_empty")]
    pub params: Value,
    /// Attempts.
    #[serde(default = "one_run", skip_serializing_if = "is_one")]
    pub runs: u32,
    /// Attempts that must pass. Left out: all of them, or one where repeating ends with the first that passes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passes: Option<u32>,
    #[serde(default, skip_serializing_if = "Repeat::is_all")]
    pub repeat: Repeat,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// An expression over `metrics`, `steps`, `duration_s` and `passed` of an attempt. Left out: 1 for passed, 0 for failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<String>,
    /// When it fails, the rest of the suite is skipped.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub critical: bool,
}

fn one_run() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde asks for")]
fn is_one(runs: &u32) -> bool {
    *runs == 1
}

fn empty() -> Value {
    Value::Map(Fields::new())
}

fn is_empty(value: &Value) -> bool {
    matches!(value, Value::Map(fields) if fields.is_empty())
}

/// When repeating a test ends before all of its attempts were made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Repeat {
    #[default]
    All,
    UntilFailed,
    UntilPassed,
    /// As soon as no further attempt could change the outcome.
    UntilDecided,
}

impl Repeat {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde asks for")]
    fn is_all(&self) -> bool {
        *self == Self::All
    }
}

impl Test {
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.id)
    }

    pub fn passes(&self) -> u32 {
        let usual = if self.repeat == Repeat::UntilPassed { 1 } else { self.runs };
        self.passes.unwrap_or(usual)
    }

    pub fn params(&self) -> &[(String, Value)] {
        match &self.params {
            Value::Map(fields) => fields,
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) | Value::List(_) => &[],
        }
    }

    /// Whether one of the wanted tags is among its own. None wanted: every test is.
    pub fn is_wanted(&self, tags: &[String]) -> bool {
        tags.is_empty() || self.tags.iter().any(|tag| tags.contains(tag))
    }
}

/// A procedure within another: by name until the run starts, then written out, so that the record says what was run.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    Name(String),
    Inline(Box<Procedure>),
}

impl Source {
    /// What a run carries out. The error is for a run that was started without having its names resolved.
    pub fn written_out(&self) -> Result<Arc<Procedure>, String> {
        match self {
            Self::Name(name) => Err(format!("procedure {name} was not written out when the run started")),
            Self::Inline(procedure) => Ok(Arc::new((**procedure).clone())),
        }
    }

    pub fn inline(&self) -> Option<&Procedure> {
        match self {
            Self::Name(_) => None,
            Self::Inline(procedure) => Some(procedure),
        }
    }
}

impl Serialize for Source {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Name(name) => serializer.serialize_str(name),
            Self::Inline(procedure) => procedure.serialize(serializer),
        }
    }
}

/// By hand rather than untagged: so that a mistake in a procedure that is written out keeps its own message.
impl<'de> Deserialize<'de> for Source {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Written;
        impl<'de> Visitor<'de> for Written {
            type Value = Source;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a procedure or one written out")
            }
            fn visit_str<E>(self, name: &str) -> Result<Source, E> {
                Ok(Source::Name(name.to_owned()))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Source, A::Error> {
                Procedure::deserialize(MapAccessDeserializer::new(map)).map(Box::new).map(Source::Inline)
            }
        }
        deserializer.deserialize_any(Written)
    }
}

/// What is wrong with a suite's own part, as (key, message).
pub(super) fn mistakes(procedure: &Procedure) -> Vec<(String, String)> {
    let mut found = Vec::new();
    if let Some(rules) = &procedure.suite {
        if rules.parallel == 0 || rules.parallel > PARALLEL_MAX {
            found.push(("suite.parallel".to_owned(), format!("is {}, expected 1 to {PARALLEL_MAX}", rules.parallel)));
        }
        if rules.stop_after_failures == Some(0) {
            found.push(("suite.stop_after_failures".to_owned(), "is 0, expected at least 1".to_owned()));
        }
    }
    if procedure.tests.is_empty() {
        found.push(("tests".to_owned(), "is empty, expected at least one test".to_owned()));
    }
    if procedure.tests.len() > TESTS_MAX {
        found.push(("tests".to_owned(), format!("are {}, expected at most {TESTS_MAX}", procedure.tests.len())));
        return found;
    }
    let mut seen = BTreeSet::new();
    for (index, test) in procedure.tests.iter().enumerate() {
        let key = format!("tests[{index}]");
        if test.id.trim().is_empty() || test.id.chars().count() > 200 {
            found.push((format!("{key}.id"), "is empty or too long, expected 1 to 200 characters".to_owned()));
        }
        if !seen.insert(&test.id) {
            found.push((format!("{key}.id"), format!("{} is the id of two tests", test.id)));
        }
        if test.runs == 0 || test.runs > RUNS_MAX {
            found.push((format!("{key}.runs"), format!("is {}, expected 1 to {RUNS_MAX}", test.runs)));
        }
        if let Some(passes) = test.passes.filter(|passes| *passes == 0 || *passes > test.runs) {
            found.push((format!("{key}.passes"), format!("is {passes}, expected 1 to {} as in runs", test.runs)));
        }
        if !matches!(test.params, Value::Map(_)) {
            found.push((format!("{key}.params"), "is not a table of names and values".to_owned()));
        }
        for (name, value) in test.params() {
            if let Err(message) = template::check(value) {
                found.push((format!("{key}.params.{name}"), message));
            }
        }
        if let Some(Err(message)) = test.score.as_deref().map(template::check_expression) {
            found.push((format!("{key}.score"), message));
        }
        if let Source::Inline(inner) = &test.procedure {
            found.extend(inner_mistakes(inner, &format!("{key}.procedure")));
        }
    }
    found
}

pub(super) fn inner_mistakes(inner: &Procedure, key: &str) -> Vec<(String, String)> {
    super::check::mistakes(inner).into_iter().map(|(inner, message)| (format!("{key}.{inner}"), message)).collect()
}

/// What was written out so far.
#[derive(Default)]
struct Written {
    procedures: usize,
    bytes: usize,
}

impl Written {
    fn take(&mut self, procedure: &Procedure) {
        self.procedures = self.procedures.saturating_add(1);
        // What is within it is counted in its turn, too: twice is near enough for a limit.
        self.bytes = self.bytes.saturating_add(serde_json::to_string(procedure).map_or(0, |text| text.len()));
    }

    fn too_much(&self) -> Option<String> {
        if self.procedures > PROCEDURES_MAX {
            return Some(format!(
                "there are more than {PROCEDURES_MAX} procedures within each other, the most there may be"
            ));
        }
        (self.bytes > TEXTS_MAX).then(|| {
            format!("the procedures within each other are longer than {TEXTS_MAX} bytes, the most there may be")
        })
    }
}

impl Procedure {
    /// Writes out every procedure that it names, and checks what can only be checked then. `find` gives the text's meaning or
    /// why there is none.
    pub fn resolve(&mut self, source: &str, find: &dyn Fn(&str) -> Result<Self, String>) -> Result<(), Invalid> {
        let mut mistakes = Vec::new();
        let mut written = Written::default();
        self.write_out(find, DEPTH_MAX, "", &mut written, &mut mistakes);
        if let Some(message) = written.too_much() {
            mistakes = vec![Mistake { line: None, key: String::new(), message }];
        }
        let at_once = self.runs_at_once();
        if mistakes.is_empty() && at_once > AT_ONCE_MAX {
            let key = if self.kind == RunKind::Suite { "suite.parallel" } else { "strategy.parallelism" };
            let message = format!("up to {at_once} runs at once with those within, expected at most {AT_ONCE_MAX}");
            mistakes.push(Mistake { line: None, key: key.to_owned(), message });
        }
        if mistakes.is_empty() { Ok(()) } else { Err(Invalid { source: source.to_owned(), mistakes }) }
    }

    fn write_out(
        &mut self,
        find: &dyn Fn(&str) -> Result<Self, String>,
        depth: usize,
        key: &str,
        written: &mut Written,
        mistakes: &mut Vec<Mistake>,
    ) {
        let mut wrong = |key: String, message: String| mistakes.push(Mistake { line: None, key, message });
        let places = self.tests.iter_mut().enumerate().map(|(index, test)| {
            let given = test.params().to_vec();
            (format!("{key}tests[{index}]."), &mut test.procedure, given)
        });
        let varied: Vec<String> = self.variables.keys().chain(self.params.keys()).cloned().collect();
        let places = places.map(|(place, source, given)| (place, source, Some(given)));
        let places = places.chain(self.procedure.iter_mut().map(|source| (key.to_owned(), source, None)));
        let mut inner = Vec::new();
        for (place, source, given) in places {
            if depth == 0 {
                let message = format!("suites and studies within each other, expected at most {DEPTH_MAX} deep");
                wrong(format!("{place}procedure"), message);
                return;
            }
            if let Source::Name(name) = source {
                match find(name) {
                    Ok(found) => *source = Source::Inline(Box::new(found)),
                    Err(message) => {
                        wrong(format!("{place}procedure"), message);
                        continue;
                    }
                }
            }
            if let Source::Inline(procedure) = source {
                written.take(procedure);
                if written.too_much().is_some() {
                    return;
                }
                let checked = match &given {
                    Some(given) => procedure.accepts(given).map_err(|message| ("params", message)),
                    None => procedure
                        .can_be_varied(&varied, self.variables.keys())
                        .map_err(|message| ("variables", message)),
                };
                if let Err((key, message)) = checked {
                    wrong(format!("{place}{key}"), message);
                }
                inner.push((place, procedure));
            }
        }
        for (place, procedure) in inner {
            if written.too_much().is_some() {
                return;
            }
            procedure.write_out(find, depth - 1, &format!("{place}procedure."), written, mistakes);
        }
    }

    /// Runs that one of it has under way at the most, besides itself.
    fn runs_at_once(&self) -> usize {
        let within = |source: &Source| source.inline().map_or(1, |inner| inner.runs_at_once().max(1));
        match self.kind {
            RunKind::Suite => {
                let most = self.tests.iter().map(|test| within(&test.procedure)).max().unwrap_or_default();
                let parallel = self.suite.as_ref().map_or(1, |rules| rules.parallel);
                parallel.min(self.tests.len()).saturating_mul(most)
            }
            RunKind::Optimization => {
                let parallelism = self.strategy.as_ref().map_or(1, |strategy| strategy.parallelism);
                self.procedure.as_ref().map_or(0, |source| parallelism.saturating_mul(within(source)))
            }
            RunKind::Protocol | RunKind::Execution | RunKind::Workflow | RunKind::Solve => 0,
        }
    }

    /// Whether a study's iterations can be started: its variables are parameters, and nothing else must be given.
    fn can_be_varied<'a>(
        &self,
        given: &[String],
        mut variables: impl Iterator<Item = &'a String>,
    ) -> Result<(), String> {
        if let Some(unknown) = variables.find(|name| !self.params.contains_key(*name)) {
            let known: Vec<&str> = self.params.keys().map(String::as_str).collect();
            return Err(format!(
                "procedure {} has no parameter {unknown}; its parameters: {}",
                self.name,
                known.join(", ")
            ));
        }
        let mut rest = self.clone();
        rest.params.retain(|name, _| !given.contains(name));
        rest.bind_params(&[]).map(|_| ())
    }

    /// Whether a run could be started with these, as far as can be said before templates are filled.
    fn accepts(&self, given: &[(String, Value)]) -> Result<(), String> {
        let is_open = |value: &Value| value.as_str().is_some_and(|text| text.contains("{{"));
        let (open, known): (Vec<_>, Vec<_>) = given.iter().cloned().partition(|(_, value)| is_open(value));
        let mut rest = self.clone();
        for (name, _) in open {
            if rest.params.remove(&name).is_none() {
                return Err(format!("procedure {} has no parameter {name}", self.name));
            }
        }
        rest.bind_params(&known).map(|_| ())
    }
}
