//! A section of a report on the pages. Knows no run.

use super::document::{AMBER, Color, GRAY, GREEN, INK, RED, SOFT};
use super::flow::{Flow, Piece, Row};
use super::font::Face;
use super::{chart, facts};
use crate::report::section::{self, Block, Look, Section, Table, Tone};

pub(super) fn draw(flow: &mut Flow, section: &Section) {
    flow.heading(section.title, 60.0);
    for block in &section.blocks {
        match block {
            Block::Facts(list) => facts(flow, list),
            Block::Table(table) => draw_table(flow, table),
            Block::Figure { name, about, plot } => {
                flow.need(if plot.is_some() { chart::HEIGHT + 34.0 } else { 34.0 });
                flow.skip(3.0);
                flow.paragraph(name, Face::Bold, 9.5, INK);
                flow.paragraph(about, Face::Regular, 8.5, SOFT);
                if let Some(plot) = plot {
                    chart::draw(flow, plot);
                }
                flow.skip(6.0);
            }
            Block::Title(text) => {
                // With room for the titles and a row of the table.
                flow.need(56.0);
                flow.skip(6.0);
                flow.paragraph(text, Face::Bold, 9.5, INK);
            }
            Block::Note(text) => flow.note(text),
        }
    }
}

fn draw_table(flow: &mut Flow, table: &Table) {
    let titles: Vec<&str> = table.titles.iter().map(String::as_str).collect();
    let mut rows = Vec::new();
    for row in &table.rows {
        rows.push(Row::Cells(row.cells.iter().map(|cell| cell.iter().map(piece).collect()).collect()));
        if !row.remarks.is_empty() {
            let remarks = row.remarks.iter().map(|remark| Piece::plain(remark.as_str()).colored(SOFT));
            rows.push(Row::Remark(remarks.collect()));
        }
    }
    flow.table(&titles, &rows);
}

fn piece(piece: &section::Piece) -> Piece {
    let text = piece.text.as_str();
    match piece.look {
        Look::Plain | Look::Number => Piece::plain(text),
        Look::Strong => Piece::bold(text),
        Look::Badge(tone) => Piece::pill(text, color(tone)),
    }
}

fn color(tone: Tone) -> Color {
    match tone {
        Tone::Good => GREEN,
        Tone::Bad => RED,
        Tone::Warning => AMBER,
        Tone::Neutral => GRAY,
    }
}
