//! One line that a program printed, read as a report of it: `::rigwire KIND …`, or a JSON object whose first key is `rigwire`.
//! Pure. `docs/programs.md` is written for those who print such lines.

use rigwire_shared::event::{Level, TestOutcome};
use rigwire_shared::ids::MetricName;
use rigwire_shared::unit::{UNIT_MAX, Unit};
use rigwire_shared::value::Value;
use serde_json::Map;

/// What a report line begins with.
pub(crate) const MARK: &str = "::rigwire";
/// How one in JSON begins: spaces may stand between.
const JSON_KEY: &str = "rigwire";

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Report {
    Progress { percent: f32, phase: Option<String>, message: Option<String> },
    Phase { phase: String, message: Option<String> },
    Metric { name: MetricName, value: f64, unit: Unit },
    Log { level: Level, message: String },
    Artifact { path: String, name: Option<String>, media_type: Option<String> },
    Output { name: String, value: Value },
    Test(TestReport),
    Event { event_type: String, payload: Value },
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TestReport {
    pub(crate) test: String,
    pub(crate) name: String,
    pub(crate) outcome: TestOutcome,
    pub(crate) duration_s: Option<f64>,
    pub(crate) score: Option<f64>,
    pub(crate) message: Option<String>,
}

/// How the words of a text line become the keys of the same report in JSON.
struct Kind {
    name: &'static str,
    /// Words in their order.
    words: &'static [&'static str],
    /// Keys that may follow them as `key=value`.
    keys: &'static [&'static str],
    /// What the rest of the line is.
    rest: Option<&'static str>,
}

const KINDS: &[Kind] = &[
    Kind { name: "progress", words: &["percent"], keys: &["phase"], rest: Some("message") },
    Kind { name: "phase", words: &["phase"], keys: &[], rest: Some("message") },
    Kind { name: "metric", words: &["name", "value"], keys: &[], rest: Some("unit") },
    Kind { name: "log", words: &["level"], keys: &[], rest: Some("message") },
    Kind { name: "artifact", words: &["path"], keys: &["name", "type"], rest: None },
    Kind { name: "output", words: &["name"], keys: &[], rest: Some("value") },
    Kind { name: "test", words: &["test", "outcome"], keys: &["name", "duration", "score"], rest: Some("message") },
    Kind { name: "event", words: &["type"], keys: &[], rest: Some("payload") },
];

/// `None`: an ordinary line. An error says what is wrong with a line that means to be a report.
pub(crate) fn parse(line: &str) -> Option<Result<Report, String>> {
    if let Some(rest) = line.strip_prefix(MARK) {
        return rest.is_empty().then(|| Err(format!("names no kind, {}", known()))).or_else(|| {
            // `::rigwires` is another word.
            rest.starts_with([' ', '\t']).then(|| from_text(rest))
        });
    }
    let object = line.trim_start().strip_prefix('{')?.trim_start().strip_prefix('"')?;
    object.strip_prefix(JSON_KEY)?.strip_prefix('"')?;
    Some(from_json(line))
}

fn known() -> String {
    let names: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
    format!("expected one of {}", names.join(", "))
}

fn kind(name: &str) -> Result<&'static Kind, String> {
    KINDS.iter().find(|kind| kind.name == name).ok_or_else(|| format!("{name:?} is no kind of report, {}", known()))
}

fn from_json(line: &str) -> Result<Report, String> {
    let mut fields: Map<String, serde_json::Value> =
        serde_json::from_str(line).map_err(|error| format!("is not JSON: {error}"))?;
    let named = fields.remove(JSON_KEY);
    let kind = kind(named.as_ref().and_then(|name| name.as_str()).unwrap_or_default())?;
    let allowed = || kind.words.iter().chain(kind.keys).chain(kind.rest.iter());
    if let Some(unknown) = fields.keys().find(|key| !allowed().any(|allowed| allowed == key)) {
        let allowed: Vec<&str> = allowed().copied().collect();
        return Err(format!("{} has no {unknown:?}, expected {}", kind.name, allowed.join(", ")));
    }
    Fields { kind: kind.name, fields }.report()
}

fn from_text(text: &str) -> Result<Report, String> {
    let (name, mut rest) = word(text)?;
    let kind = kind(&name)?;
    let mut fields = Map::new();
    for key in kind.words {
        if rest.trim_start().is_empty() {
            return Err(format!("{} has no {key}", kind.name));
        }
        let (value, after) = word(rest)?;
        fields.insert((*key).to_owned(), value.into());
        rest = after;
    }
    while let Some((key, value, after)) = pair(rest, kind.keys)? {
        fields.insert(key.to_owned(), value.into());
        rest = after;
    }
    let rest = rest.trim();
    match kind.rest {
        Some(key) if !rest.is_empty() => {
            let value = match key {
                // These two may be anything: what reads as JSON is, what does not is text.
                "value" | "payload" => serde_json::from_str(rest).unwrap_or_else(|_| rest.into()),
                _ => rest.into(),
            };
            fields.insert(key.to_owned(), value);
        }
        None if !rest.is_empty() => {
            let hint = kind.keys.iter().map(|key| format!("{key}=…")).collect::<Vec<_>>().join(" or ");
            return Err(format!("{} goes on with {rest:?}, expected {hint} or the end of the line", kind.name));
        }
        Some(_) | None => {}
    }
    Fields { kind: kind.name, fields }.report()
}

/// The next word, in quotes if it has spaces, and what follows it.
fn word(text: &str) -> Result<(String, &str), String> {
    let text = text.trim_start();
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([' ', '\t']).unwrap_or(text.len());
        let (word, rest) = text.split_at(end);
        return Ok((word.to_owned(), rest));
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((value, quoted.get(at + 1..).unwrap_or_default())),
            '\\' => value.extend(chars.next().map(|(_, escaped)| escaped)),
            c => value.push(c),
        }
    }
    Err(format!("the quotes of {text} do not end"))
}

/// One `key=value` with a known key, if the line goes on with one.
fn pair<'a>(text: &'a str, keys: &[&'static str]) -> Result<Option<(&'static str, String, &'a str)>, String> {
    let text = text.trim_start();
    for key in keys {
        if let Some(value) = text.strip_prefix(key).and_then(|rest| rest.strip_prefix('=')) {
            // A value that is left out is an empty one; the word after the space is not its.
            let (value, rest) = if value.starts_with([' ', '\t']) { (String::new(), value) } else { word(value)? };
            return Ok(Some((key, value, rest)));
        }
    }
    Ok(None)
}

struct Fields {
    kind: &'static str,
    fields: Map<String, serde_json::Value>,
}

impl Fields {
    fn report(mut self) -> Result<Report, String> {
        Ok(match self.kind {
            "progress" => {
                let percent = self.number("percent")?.unwrap_or_default();
                if !(0.0..=100.0).contains(&percent) {
                    return Err(format!("percent is {percent}, expected 0 to 100"));
                }
                #[expect(clippy::cast_possible_truncation, reason = "a percentage needs no more than an f32")]
                let percent = percent as f32;
                Report::Progress { percent, phase: self.text("phase")?, message: self.text("message")? }
            }
            "phase" => Report::Phase { phase: self.required("phase")?, message: self.text("message")? },
            "metric" => {
                let name = self.required("name")?;
                let name = MetricName::new(&name).map_err(|error| {
                    format!("{name:?} is not a metric's name: {error}, expected 1 to 64 letters, digits and _ - .")
                })?;
                let Some(value) = self.number("value")? else { return Err(format!("metric {name} has no value")) };
                let unit = self.text("unit")?.unwrap_or_default();
                let unit =
                    Unit::parse(&unit).ok_or_else(|| format!("unit {unit:?} is longer than {UNIT_MAX} bytes"))?;
                Report::Metric { name, value, unit }
            }
            "log" => {
                let word = self.required("level")?;
                let level = match word.as_str() {
                    "debug" => Level::Debug,
                    "info" => Level::Info,
                    "warning" => Level::Warning,
                    "error" => Level::Error,
                    _ => return Err(format!("level is {word:?}, expected debug, info, warning or error")),
                };
                Report::Log { level, message: self.text("message")?.unwrap_or_default() }
            }
            "artifact" => Report::Artifact {
                path: self.required("path")?,
                name: self.text("name")?,
                media_type: self.text("type")?,
            },
            "output" => {
                let name = self.required("name")?;
                Report::Output { name, value: self.value("value")? }
            }
            "test" => {
                let test = self.required("test")?;
                let word = self.required("outcome")?;
                let outcome = match word.as_str() {
                    "passed" => TestOutcome::Passed,
                    "failed" => TestOutcome::Failed,
                    "skipped" => TestOutcome::Skipped,
                    _ => return Err(format!("outcome is {word:?}, expected passed, failed or skipped")),
                };
                let name = self.text("name")?.unwrap_or_else(|| test.clone());
                let (duration_s, score) = (self.number("duration")?, self.number("score")?);
                Report::Test(TestReport { test, name, outcome, duration_s, score, message: self.text("message")? })
            }
            _ => Report::Event { event_type: self.required("type")?, payload: self.value("payload")? },
        })
    }

    fn required(&mut self, key: &str) -> Result<String, String> {
        self.text(key)?.filter(|text| !text.is_empty()).ok_or_else(|| format!("{} has no {key}", self.kind))
    }

    fn text(&mut self, key: &str) -> Result<Option<String>, String> {
        match self.fields.remove(key) {
            None | Some(serde_json::Value::Null) => Ok(None),
            Some(serde_json::Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(format!("{key} is {other}, expected a text")),
        }
    }

    /// A finite number, or its spelling.
    fn number(&mut self, key: &str) -> Result<Option<f64>, String> {
        let number = match self.fields.remove(key) {
            None => return Ok(None),
            Some(serde_json::Value::Number(number)) => number.as_f64(),
            Some(serde_json::Value::String(text)) => {
                let number = text.parse().map_err(|_| format!("{key} is {text:?}, expected a number"))?;
                Some(number)
            }
            Some(other) => return Err(format!("{key} is {other}, expected a number")),
        };
        match number.filter(|number| f64::is_finite(*number)) {
            Some(number) => Ok(Some(number)),
            None => Err(format!("{key} is no finite number")),
        }
    }

    fn value(&mut self, key: &str) -> Result<Value, String> {
        let value = self.fields.remove(key).unwrap_or_default();
        serde_json::from_value(value).map_err(|error| format!("{key}: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn progress(percent: f32, phase: Option<&str>, message: Option<&str>) -> Report {
        Report::Progress { percent, phase: phase.map(str::to_owned), message: message.map(str::to_owned) }
    }

    fn metric(value: f64, unit: &str) -> Report {
        Report::Metric { name: MetricName::new("deflection").unwrap(), value, unit: Unit::parse(unit).unwrap() }
    }

    #[test]
    fn reports_are_read_in_both_forms() {
        for (text, json, expected) in [
            (
                "::rigwire progress 45 phase=solving Harmonic sweep: 9/21",
                r#"{"rigwire": "progress", "percent": 45, "phase": "solving", "message": "Harmonic sweep: 9/21"}"#,
                progress(45.0, Some("solving"), Some("Harmonic sweep: 9/21")),
            ),
            ("::rigwire\tprogress  7.5", r#"{"rigwire":"progress","percent":7.5}"#, progress(7.5, None, None)),
            (
                "::rigwire progress 1 a = b",
                r#"{"rigwire":"progress","percent":"1","message":"a = b"}"#,
                progress(1.0, None, Some("a = b")),
            ),
            (
                "::rigwire phase meshing Coarse grid",
                r#"{"rigwire":"phase","phase":"meshing","message":"Coarse grid"}"#,
                Report::Phase { phase: "meshing".into(), message: Some("Coarse grid".into()) },
            ),
            (
                "::rigwire metric deflection 3.1e-4 m",
                r#" { "rigwire":"metric","name":"deflection","value":3.1e-4,"unit":"m"}"#,
                metric(3.1e-4, "m"),
            ),
            (
                "::rigwire log warning The mesh is coarse",
                r#"{"rigwire":"log","level":"warning","message":"The mesh is coarse"}"#,
                Report::Log { level: Level::Warning, message: "The mesh is coarse".into() },
            ),
            (
                r#"::rigwire artifact "my results.csv" type=text/csv"#,
                r#"{"rigwire":"artifact","path":"my results.csv","type":"text/csv"}"#,
                Report::Artifact { path: "my results.csv".into(), name: None, media_type: Some("text/csv".into()) },
            ),
            (
                "::rigwire output modes [1, 2.5]",
                r#"{"rigwire":"output","name":"modes","value":[1,2.5]}"#,
                Report::Output { name: "modes".into(), value: Value::List(vec![Value::Int(1), Value::Float(2.5)]) },
            ),
            (
                "::rigwire output verdict looks good",
                r#"{"rigwire":"output","name":"verdict","value":"looks good"}"#,
                Report::Output { name: "verdict".into(), value: Value::Text("looks good".into()) },
            ),
            (
                r#"::rigwire test t.1 failed name="it \"boots\"" duration=1.5 score=0.25 no prompt"#,
                r#"{"rigwire":"test","test":"t.1","outcome":"failed","name":"it \"boots\"","duration":1.5,"score":0.25,"message":"no prompt"}"#,
                Report::Test(TestReport {
                    test: "t.1".into(),
                    name: "it \"boots\"".into(),
                    outcome: TestOutcome::Failed,
                    duration_s: Some(1.5),
                    score: Some(0.25),
                    message: Some("no prompt".into()),
                }),
            ),
            (
                r#"::rigwire event tool_call {"tool": "cut"}"#,
                r#"{"rigwire":"event","type":"tool_call","payload":{"tool":"cut"}}"#,
                Report::Event {
                    event_type: "tool_call".into(),
                    payload: Value::Map(vec![("tool".into(), Value::Text("cut".into()))]),
                },
            ),
        ] {
            assert_eq!(parse(text), Some(Ok(expected.clone())), "{text}");
            assert_eq!(parse(json), Some(Ok(expected)), "{json}");
        }
    }

    #[test]
    fn what_the_documentation_shows_is_read() {
        let text = include_str!("../../../docs/programs.md");
        let block = |language: &str| {
            let opening = format!("```{language}\n");
            let block = text.split(opening.as_str()).nth(1).and_then(|rest| rest.split("```").next());
            block.unwrap().lines().map(|line| parse(line).expect(line).expect(line)).collect::<Vec<_>>()
        };
        let (text, json) = (block("text"), block("json"));
        assert_eq!((text.len(), json.len()), (KINDS.len(), 3));
        assert_eq!(text[0], json[0]);
    }

    #[test]
    fn ordinary_lines_stay_what_they_are() {
        for line in [
            "",
            "progress 45",
            " ::rigwire progress 45",
            "::rigwires",
            "{}",
            "{\"level\": \"rigwire\"}",
            "{\"rigwires\": 1}",
        ] {
            assert_eq!(parse(line), None, "{line}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_report_is_named() {
        for (line, expected) in [
            ("::rigwire", "names no kind, expected one of progress, phase, metric, log, artifact, output, test, event"),
            (
                "::rigwire prgress 4",
                "\"prgress\" is no kind of report, expected one of progress, phase, metric, log, artifact, output, test, event",
            ),
            ("::rigwire progress", "progress has no percent"),
            ("::rigwire progress half", "percent is \"half\", expected a number"),
            ("::rigwire progress 101", "percent is 101, expected 0 to 100"),
            ("::rigwire metric deflection NaN", "value is no finite number"),
            ("::rigwire metric deflection inf mm", "value is no finite number"),
            ("::rigwire metric deflection 1e999 mm", "value is no finite number"),
            (
                "::rigwire metric max/def 1",
                "\"max/def\" is not a metric's name: '/' is not allowed in it, expected 1 to 64 letters, digits and _ - .",
            ),
            (
                "::rigwire metric deflection 1 millimetres of steel",
                "unit \"millimetres of steel\" is longer than 16 bytes",
            ),
            ("::rigwire log loud x", "level is \"loud\", expected debug, info, warning or error"),
            ("::rigwire artifact a b", "artifact goes on with \"b\", expected name=… or type=… or the end of the line"),
            ("::rigwire artifact \"a b", "the quotes of \"a b do not end"),
            ("::rigwire test t good", "outcome is \"good\", expected passed, failed or skipped"),
            ("{\"rigwire\": \"metric\", \"name\": \"x\"}", "metric x has no value"),
            (
                "{\"rigwire\": \"metric\", \"name\": \"x\", \"value\": NaN}",
                "is not JSON: expected value at line 1 column 45",
            ),
            ("{\"rigwire\": \"phase\", \"name\": \"x\"}", "phase has no \"name\", expected phase, message"),
            ("{\"rigwire\": \"phase\", \"phase\": 3}", "phase is 3, expected a text"),
        ] {
            assert_eq!(parse(line), Some(Err(expected.to_owned())), "{line}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(rest in ".*", kind in 0usize..9) {
            let name = KINDS.get(kind).map_or("", |kind| kind.name);
            parse(&rest);
            parse(&format!("::rigwire {name} {rest}"));
            parse(&format!("{{\"rigwire\": \"{name}\", {rest}}}"));
        }

        #[test]
        fn numbers_that_are_read_are_finite(value in any::<f64>()) {
            match parse(&format!("::rigwire metric x {value}")) {
                Some(Ok(Report::Metric { value: read, .. })) => prop_assert!(read == value && value.is_finite()),
                Some(Err(_)) => prop_assert!(!value.is_finite()),
                other => prop_assert!(false, "{other:?}"),
            }
        }
    }
}
