//! Part of a report as blocks of text, tables and plots, which HTML and PDF each draw in their way. Knows no run and no ink.

use super::plot::Plot;

pub(super) struct Section {
    pub(super) title: &'static str,
    pub(super) blocks: Vec<Block>,
}

pub(super) enum Block {
    Facts(Vec<(&'static str, String)>),
    Table(Table),
    /// A plot under its name and a line about it. None: there is nothing to draw, and `about` says so.
    Figure {
        name: String,
        about: String,
        plot: Option<Box<Plot>>,
    },
    /// Over the table that follows.
    Title(&'static str),
    Note(String),
}

#[derive(Default)]
pub(super) struct Table {
    pub(super) titles: Vec<String>,
    pub(super) rows: Vec<Row>,
}

pub(super) struct Row {
    pub(super) cells: Vec<Vec<Piece>>,
    /// Lines below the row that belong to it.
    pub(super) remarks: Vec<String>,
}

pub(super) struct Piece {
    pub(super) text: String,
    pub(super) look: Look,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    Plain,
    Strong,
    Number,
    Badge(Tone),
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Good,
    Bad,
    Warning,
    Neutral,
}

impl Piece {
    pub(super) fn plain(text: impl Into<String>) -> Self {
        Self { text: text.into(), look: Look::Plain }
    }

    pub(super) fn strong(text: impl Into<String>) -> Self {
        Self { text: text.into(), look: Look::Strong }
    }

    pub(super) fn number(text: impl Into<String>) -> Self {
        Self { text: text.into(), look: Look::Number }
    }

    pub(super) fn badge(tone: Tone, text: impl Into<String>) -> Self {
        Self { text: text.into(), look: Look::Badge(tone) }
    }
}

impl Table {
    pub(super) fn new<'a>(titles: impl IntoIterator<Item = &'a str>) -> Self {
        Self { titles: titles.into_iter().map(str::to_owned).collect(), rows: Vec::new() }
    }

    pub(super) fn row(&mut self, cells: Vec<Vec<Piece>>) {
        self.rows.push(Row { cells, remarks: Vec::new() });
    }
}
