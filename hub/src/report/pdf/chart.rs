//! A plot drawn on a page.

use super::document::{AMBER, BLUE, Color, GRAY, GREEN, INK, Page, Pen, RED, RULE, SOFT};
use super::flow::{Flow, LEFT, WIDTH};
use super::font::{Face, glyphs, width};
use crate::report::plot::{MarkKind, Plot};

pub(super) const HEIGHT: f32 = 168.0;

const SIZE: f32 = 7.5;

/// Of what is not good enough to count.
const PALE: Color = Color(0.7, 0.74, 0.78);

/// What the labels take beside the area that is drawn in.
const BESIDE: f32 = 46.0;
const BELOW: f32 = 26.0;
const ABOVE: f32 = 16.0;

/// Where the area lies on the page.
struct Area {
    left: f32,
    bottom: f32,
    width: f32,
    height: f32,
}

impl Area {
    fn x(&self, place: f64) -> f32 {
        self.left + fraction(place) * self.width
    }

    fn y(&self, place: f64) -> f32 {
        self.bottom + fraction(place) * self.height
    }
}

#[expect(clippy::cast_possible_truncation, reason = "from 0 to 1, to less than a point")]
fn fraction(place: f64) -> f32 {
    place as f32
}

pub(super) fn draw(flow: &mut Flow, plot: &Plot) {
    flow.need(HEIGHT);
    flow.skip(HEIGHT);
    let area = Area {
        left: LEFT + BESIDE,
        bottom: flow.y + BELOW,
        width: WIDTH - BESIDE - 6.0,
        height: HEIGHT - BELOW - ABOVE,
    };
    let page = flow.page();
    let (right, top) = (area.left + area.width, area.bottom + area.height);
    for (place, text) in &plot.x.ticks {
        let x = area.x(*place);
        page.line(&[(x, area.bottom), (x, top)], Pen::new(RULE, 0.4));
        let text = glyphs(text, Face::Regular);
        page.text((x - width(&text, SIZE) / 2.0, area.bottom - 10.0), SIZE, SOFT, &text);
    }
    for (place, text) in &plot.y.ticks {
        let y = area.y(*place);
        page.line(&[(area.left, y), (right, y)], Pen::new(RULE, 0.4));
        let text = glyphs(text, Face::Regular);
        page.text((area.left - 5.0 - width(&text, SIZE), y - 2.6), SIZE, SOFT, &text);
    }
    page.line(&[(area.left, top), (area.left, area.bottom), (right, area.bottom)], Pen::new(GRAY, 0.7));
    for limit in &plot.limits {
        let color = if limit.passed { GREEN } else { RED };
        let y = area.y(limit.at);
        page.line(&[(area.x(limit.from), y), (area.x(limit.to), y)], Pen::dashed(color, 0.9));
    }
    for place in &plot.bad {
        let x = area.x(*place);
        page.line(&[(x, area.bottom), (x, area.bottom + 6.0)], Pen::new(RED, 1.0));
    }
    for line in &plot.lines {
        let points: Vec<(f32, f32)> = line.iter().map(|point| (area.x(point.0), area.y(point.1))).collect();
        page.line(&points, Pen::new(BLUE, 1.0));
    }
    if plot.dots {
        for point in plot.lines.iter().flatten() {
            page.pill((area.x(point.0), area.y(point.1)), 0.0, 3.2, BLUE);
        }
    }
    for mark in &plot.marks {
        dot(page, (area.x(mark.x), area.y(mark.y)), mark.kind);
    }
    label(page, (area.left, top + 6.0), INK, &plot.y.label);
    let x_label = glyphs(&plot.x.label, Face::Regular);
    page.text((right - width(&x_label, SIZE), area.bottom - 21.0), SIZE, INK, &x_label);
    legend(page, (right, top + 6.0), plot);
}

fn label(page: &mut Page, at: (f32, f32), color: Color, text: &str) {
    page.text(at, SIZE, color, &glyphs(text, Face::Regular));
}

fn dot(page: &mut Page, at: (f32, f32), kind: MarkKind) {
    let (size, color) = match kind {
        MarkKind::Infeasible => (3.2, PALE),
        MarkKind::Feasible => (3.2, BLUE),
        MarkKind::Front => (4.4, GREEN),
        MarkKind::Best => (6.0, AMBER),
    };
    page.pill(at, 0.0, size, color);
}

/// Says what the dashes and the marks are, from the right.
fn legend(page: &mut Page, at: (f32, f32), plot: &Plot) {
    let mut x = at.0;
    for kind in plot.kinds().rev() {
        let text = glyphs(kind.as_str(), Face::Regular);
        x -= width(&text, SIZE);
        page.text((x, at.1), SIZE, SOFT, &text);
        dot(page, (x - 6.0, at.1 + 2.5), kind);
        x -= 18.0;
    }
    if let Some(meaning) = plot.line_is {
        let text = glyphs(meaning, Face::Regular);
        x -= width(&text, SIZE);
        page.text((x, at.1), SIZE, SOFT, &text);
        page.line(&[(x - 19.0, at.1 + 2.5), (x - 5.0, at.1 + 2.5)], Pen::new(BLUE, 1.0));
        x -= 31.0;
    }
    let entries = [
        (plot.limits.iter().any(|limit| limit.passed), "limits", Pen::dashed(GREEN, 0.9)),
        (plot.limits.iter().any(|limit| !limit.passed), "limits not met", Pen::dashed(RED, 0.9)),
        (!plot.bad.is_empty(), "no good value", Pen::new(RED, 1.0)),
    ];
    for (_, text, pen) in entries.into_iter().filter(|(is_there, ..)| *is_there) {
        let text = glyphs(text, Face::Regular);
        x -= width(&text, SIZE);
        page.text((x, at.1), SIZE, SOFT, &text);
        x -= 5.0;
        let y = at.1 + 2.5;
        if pen.dashed {
            page.line(&[(x - 17.0, y), (x, y)], pen);
            x -= 17.0;
        } else {
            page.line(&[(x - 2.0, y - 3.0), (x - 2.0, y + 3.0)], pen);
            x -= 4.0;
        }
        x -= 12.0;
    }
}
