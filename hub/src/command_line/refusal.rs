//! Why a line is not taken, where in it, and what may have been meant. Knows no grammar.

use std::fmt;

/// Longest part of a line that a refusal shows, in characters.
const SHOWN: usize = 120;

/// A mistake and its place in bytes, before it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) at: usize,
    pub(super) message: String,
    pub(super) suggestion: Option<String>,
}

impl Trouble {
    pub(super) fn new(at: usize, message: impl Into<String>) -> Self {
        Self { at, message: message.into(), suggestion: None }
    }

    pub(super) fn suggest(mut self, suggestion: Option<String>) -> Self {
        self.suggestion = suggestion;
        self
    }

    pub(super) fn in_text(self, text: &str) -> Refusal {
        let at = (0..=self.at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        let (before, _) = text.split_at(at);
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = text[start..].lines().next().unwrap_or_default();
        let column = text[start..at].chars().count();
        Refusal {
            line: before.matches('\n').count() + 1,
            lines: text.trim_end().lines().count(),
            column: column + 1,
            message: self.message,
            caret: caret(line, column),
            suggestion: self.suggestion,
        }
    }
}

/// A mistake in a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// From 1; `lines` in all.
    pub line: usize,
    lines: usize,
    /// In characters, from 1.
    pub column: usize,
    pub message: String,
    /// The line, and under it a `^` below the column.
    pub caret: String,
    /// The nearest word that would be right.
    pub suggestion: Option<String>,
}

impl Refusal {
    /// The mistake, and the line with its place marked.
    pub fn shown(&self) -> String {
        format!("{self}\n{}", self.caret)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.lines > 1 {
            write!(f, "line {}, ", self.line)?;
        }
        write!(f, "column {}: {}", self.column, self.message)?;
        match &self.suggestion {
            Some(suggestion) => write!(f, "; did you mean {suggestion}?"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Refusal {}

/// The line, or the part of a long one around the column, with a mark under it.
fn caret(line: &str, column: usize) -> String {
    let characters: Vec<char> = line.chars().map(|c| if c.is_control() && c != '\t' { ' ' } else { c }).collect();
    let first = if characters.len() <= SHOWN { 0 } else { column.saturating_sub(SHOWN / 2) };
    let shown: String = characters.iter().skip(first).take(SHOWN).collect();
    let mark: String =
        characters.iter().skip(first).take(column - first).map(|c| if *c == '\t' { '\t' } else { ' ' }).collect();
    // A mark behind the end of the line: something is missing there.
    let missing = column.saturating_sub(characters.len().max(first));
    format!("{shown}\n{mark}{}^", " ".repeat(missing.min(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_stands_under_the_column() {
        let refusal = Trouble::new(5, "there is no device dmm1").suggest(Some("dmm-1".to_owned())).in_text("read dmm1");
        assert_eq!(refusal.to_string(), "column 6: there is no device dmm1; did you mean dmm-1?");
        assert_eq!(refusal.caret, "read dmm1\n     ^");
        let second = Trouble::new(10, "what?").in_text("devices\nµ x");
        assert_eq!((second.to_string().as_str(), second.caret.as_str()), ("line 2, column 2: what?", "µ x\n ^"));
        let end = Trouble::new(4, "what?").in_text("read");
        assert_eq!(end.caret, "read\n    ^");
    }

    #[test]
    fn of_a_long_line_the_part_around_the_column_is_shown() {
        let long = "x ".repeat(500);
        let refusal = Trouble::new(600, "what?").in_text(&long);
        let (shown, mark) = refusal.caret.split_once('\n').unwrap();
        assert_eq!((shown.chars().count(), mark.chars().count()), (SHOWN, SHOWN / 2 + 1));
    }
}
