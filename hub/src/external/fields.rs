//! Reads the fields of a JSON object one by one; what is wrong is named by its path. Knows no event.

use std::str::FromStr;

use rigwire_shared::value::{Fields, Value};
use serde_json::{Map, Value as Json};

/// Longest part of a producer's own text that a mistake repeats.
const QUOTE_MAX: usize = 60;

/// Where a producer went wrong, and what was expected there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct Mistake {
    pub path: String,
    pub problem: String,
}

impl Mistake {
    pub(super) fn new(path: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { path: path.into(), problem: problem.into() }
    }
}

/// An object whose every field is known.
pub(super) struct Object {
    path: String,
    fields: Map<String, Json>,
}

impl Object {
    pub(super) fn new(path: &str, value: Json) -> Result<Self, Mistake> {
        match value {
            Json::Object(fields) => Ok(Self { path: path.to_owned(), fields }),
            other @ (Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) | Json::Array(_)) => {
                let shown = if path.is_empty() { "the body" } else { path };
                Err(Mistake::new(shown, format!("{} is not an object", quoted(&other))))
            }
        }
    }

    /// Refuses every field that is not among these.
    pub(super) fn only(&self, what: &str, known: &[&[&str]]) -> Result<(), Mistake> {
        let known: Vec<&str> = known.concat();
        match self.fields.keys().find(|name| !known.contains(&name.as_str())) {
            None => Ok(()),
            Some(name) => {
                let name: String = name.chars().take(QUOTE_MAX).collect();
                let problem = format!("{what} has no such field, expected one of {}", known.join(", "));
                Err(Mistake::new(self.at(&name), problem))
            }
        }
    }

    pub(super) fn at(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    pub(super) fn wrong(&self, name: &str, problem: impl Into<String>) -> Mistake {
        Mistake::new(self.at(name), problem)
    }

    pub(super) fn required<T>(&self, name: &str, value: Option<T>, expected: &str) -> Result<T, Mistake> {
        value.ok_or_else(|| self.wrong(name, format!("is missing, expected {expected}")))
    }

    /// A field that is null is a field that is not there.
    fn take(&mut self, name: &str) -> Option<Json> {
        self.fields.remove(name).filter(|value| !value.is_null())
    }

    fn unfit(&self, name: &str, value: &Json, expected: &str) -> Mistake {
        self.wrong(name, format!("{} is not {expected}", quoted(value)))
    }

    pub(super) fn text(&mut self, name: &str, max: usize) -> Result<Option<String>, Mistake> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let Json::String(text) = value else { return Err(self.unfit(name, &value, "a text")) };
        let length = text.chars().count();
        if length > max {
            return Err(self.wrong(name, format!("has {length} characters, expected at most {max}")));
        }
        Ok(Some(text))
    }

    /// A text that must be there and say something.
    pub(super) fn name(&mut self, name: &str, max: usize) -> Result<String, Mistake> {
        let text = self.text(name, max)?;
        let text = self.required(name, text, "a text")?;
        if text.trim().is_empty() {
            return Err(self.wrong(name, "is empty, expected a text"));
        }
        Ok(text)
    }

    pub(super) fn number(&mut self, name: &str, min: f64, max: f64) -> Result<Option<f64>, Mistake> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let number = value.as_f64().ok_or_else(|| self.unfit(name, &value, "a number"))?;
        if number < min || number > max {
            let expected = match (min.is_finite(), max < 1e300) {
                (true, true) => format!("expected {min} to {max}"),
                (true, false) => format!("expected at least {min}"),
                (false, _) => format!("expected at most {max}"),
            };
            return Err(self.wrong(name, format!("{value} is out of range, {expected}")));
        }
        Ok(Some(number))
    }

    pub(super) fn integer(&mut self, name: &str, min: u64, max: u64) -> Result<Option<u64>, Mistake> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let expected = format!("expected {min} to {max}");
        match value.as_u64() {
            Some(number) if (min..=max).contains(&number) => Ok(Some(number)),
            Some(_) => Err(self.wrong(name, format!("{value} is out of range, {expected}"))),
            None if value.is_i64() => Err(self.wrong(name, format!("{value} is out of range, {expected}"))),
            None => Err(self.unfit(name, &value, "a whole number")),
        }
    }

    pub(super) fn small(&mut self, name: &str, min: u32) -> Result<Option<u32>, Mistake> {
        let number = self.integer(name, u64::from(min), 1_000_000)?;
        Ok(number.map(|number| u32::try_from(number).unwrap_or(u32::MAX)))
    }

    pub(super) fn boolean(&mut self, name: &str) -> Result<Option<bool>, Mistake> {
        let Some(value) = self.take(name) else { return Ok(None) };
        value.as_bool().map(Some).ok_or_else(|| self.unfit(name, &value, "true or false"))
    }

    pub(super) fn value(&mut self, name: &str) -> Result<Option<Value>, Mistake> {
        let Some(value) = self.take(name) else { return Ok(None) };
        serde_json::from_value(value).map(Some).map_err(|error| self.wrong(name, format!("holds {error}")))
    }

    pub(super) fn map(&mut self, name: &str) -> Result<Option<Fields>, Mistake> {
        let shown = self.fields.get(name).map(quoted).unwrap_or_default();
        match self.value(name)? {
            None => Ok(None),
            Some(Value::Map(fields)) => Ok(Some(fields)),
            Some(Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) | Value::List(_)) => {
                Err(self.wrong(name, format!("{shown} is not an object of names and values")))
            }
        }
    }

    pub(super) fn list(&mut self, name: &str, max: usize) -> Result<Vec<Json>, Mistake> {
        let Some(value) = self.take(name) else { return Ok(Vec::new()) };
        let Json::Array(items) = value else { return Err(self.unfit(name, &value, "a list")) };
        if items.len() > max {
            return Err(self.wrong(name, format!("has {} entries, expected at most {max}", items.len())));
        }
        Ok(items)
    }

    /// An id that checks its own spelling.
    pub(super) fn id<T: FromStr<Err: std::fmt::Display>>(&mut self, name: &str) -> Result<Option<T>, Mistake> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let text = value.as_str().ok_or_else(|| self.unfit(name, &value, "a text"))?;
        text.parse()
            .map(Some)
            .map_err(|error: T::Err| self.wrong(name, format!("{} is no id: {error}", quoted(&value))))
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(&mut self, name: &str, words: &[(&str, T)]) -> Result<Option<T>, Mistake> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let found = words.iter().find(|(word, _)| value.as_str() == Some(word));
        found.map(|(_, meant)| Some(*meant)).ok_or_else(|| {
            let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.wrong(name, format!("is {}, expected {}", quoted(&value), words.join(", ")))
        })
    }

    pub(super) fn required_word<T: Copy>(&mut self, name: &str, words: &[(&str, T)]) -> Result<T, Mistake> {
        let word = self.word(name, words)?;
        let expected: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        self.required(name, word, &expected.join(", "))
    }
}

/// A value as JSON, in part if it is long.
pub(super) fn quoted(value: &Json) -> String {
    let text = value.to_string();
    match text.char_indices().nth(QUOTE_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
