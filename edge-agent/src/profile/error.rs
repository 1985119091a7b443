//! What is wrong with a profile file, and on which line. Knows TOML's positions and nothing about instruments.

use std::fmt;
use std::ops::Range;

use toml::de::{DeTable, DeValue};

/// Everything found wrong in one file, each as `file:line: key: what is wrong, what would be right`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfileError {
    pub problems: Vec<Problem>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    pub file: String,
    /// Counts from 1; 0 when no line is to blame.
    pub line: usize,
    pub key: String,
    pub message: String,
}

impl ProfileError {
    pub(crate) fn whole_file(file: &str, message: impl fmt::Display) -> Self {
        let problem = Problem { file: file.to_owned(), line: 0, key: String::new(), message: message.to_string() };
        Self { problems: vec![problem] }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.message)
    }
}

impl fmt::Display for ProfileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ProfileError {}

/// A key of the file: `reading[1].parse.re`.
#[derive(Debug, Clone, Default)]
pub(super) struct Place(Vec<Segment>);

#[derive(Debug, Clone)]
enum Segment {
    Key(String),
    Index(usize),
}

impl Place {
    pub(super) fn key(&self, key: &str) -> Self {
        let mut segments = self.0.clone();
        segments.push(Segment::Key(key.to_owned()));
        Self(segments)
    }

    pub(super) fn index(&self, index: usize) -> Self {
        let mut segments = self.0.clone();
        segments.push(Segment::Index(index));
        Self(segments)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Key(key) if position == 0 => f.write_str(key)?,
                Segment::Key(key) => write!(f, ".{key}")?,
                Segment::Index(index) => write!(f, "[{}]", index + 1)?,
            }
        }
        Ok(())
    }
}

/// Collects what is wrong while a file is checked, so that one look shows all of it.
pub(super) struct Checker<'a> {
    file: &'a str,
    source: &'a str,
    table: &'a DeTable<'a>,
    problems: Vec<Problem>,
}

impl<'a> Checker<'a> {
    pub(super) fn new(file: &'a str, source: &'a str, table: &'a DeTable<'a>) -> Self {
        Self { file, source, table, problems: Vec::new() }
    }

    pub(super) fn complain(&mut self, place: &Place, message: impl fmt::Display) {
        self.problems.push(Problem {
            file: self.file.to_owned(),
            line: self.line(place),
            key: place.to_string(),
            message: message.to_string(),
        });
    }

    /// The value, or a complaint and `None`.
    pub(super) fn take<T, E: fmt::Display>(&mut self, place: &Place, result: Result<T, E>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.complain(place, error);
                None
            }
        }
    }

    pub(super) fn line(&self, place: &Place) -> usize {
        line_of(self.source, locate(self.table, &place.0))
    }

    pub(super) fn finish(mut self) -> Result<(), ProfileError> {
        if self.problems.is_empty() {
            return Ok(());
        }
        self.problems.sort();
        self.problems.dedup();
        Err(ProfileError { problems: self.problems })
    }
}

/// An error of the TOML reader, with the key that its position belongs to.
pub(super) fn from_toml(file: &str, source: &str, error: &toml::de::Error) -> ProfileError {
    let span = error.span();
    let key = match (&span, DeTable::parse(source)) {
        (Some(span), Ok(table)) => key_at(table.get_ref(), span.start),
        _ => String::new(),
    };
    let problem = Problem {
        file: file.to_owned(),
        line: line_of(source, span.map(|span| span.start)),
        key,
        message: error.message().lines().collect::<Vec<_>>().join(", "),
    };
    ProfileError { problems: vec![problem] }
}

fn line_of(source: &str, offset: Option<usize>) -> usize {
    offset.map_or(0, |offset| source.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1)
}

/// Where the deepest part of the path that exists begins.
fn locate(table: &DeTable<'_>, path: &[Segment]) -> Option<usize> {
    let mut found = None;
    let mut table = Some(table);
    let mut array = None;
    for segment in path {
        let value = match segment {
            Segment::Key(key) => {
                let Some((name, value)) = table.and_then(|table| table.iter().find(|(name, _)| name.get_ref() == key))
                else {
                    break;
                };
                found = Some(name.span().start);
                value
            }
            Segment::Index(index) => {
                let Some(value) = array.and_then(|array: &toml::de::DeArray<'_>| array.get(*index)) else { break };
                found = Some(value.span().start);
                value
            }
        };
        table = value.get_ref().as_table();
        array = value.get_ref().as_array();
    }
    found
}

/// The key whose name or value covers the position most tightly.
fn key_at(table: &DeTable<'_>, offset: usize) -> String {
    let mut best: Option<(usize, String)> = None;
    walk(table, &Place::default(), offset, &mut best);
    best.map(|(_, key)| key).unwrap_or_default()
}

fn walk(table: &DeTable<'_>, place: &Place, offset: usize, best: &mut Option<(usize, String)>) {
    for (name, value) in table {
        let here = place.key(name.get_ref());
        offer(&name.span(), &here, offset, best);
        visit(value, &here, offset, best);
    }
}

fn visit(value: &toml::Spanned<DeValue<'_>>, place: &Place, offset: usize, best: &mut Option<(usize, String)>) {
    offer(&value.span(), place, offset, best);
    if let Some(inner) = value.get_ref().as_table() {
        walk(inner, place, offset, best);
    } else if let Some(items) = value.get_ref().as_array() {
        for (index, item) in items.iter().enumerate() {
            visit(item, &place.index(index), offset, best);
        }
    }
}

fn offer(span: &Range<usize>, place: &Place, offset: usize, best: &mut Option<(usize, String)>) {
    if span.contains(&offset) && best.as_ref().is_none_or(|(length, _)| span.len() <= *length) {
        *best = Some((span.len(), place.to_string()));
    }
}
