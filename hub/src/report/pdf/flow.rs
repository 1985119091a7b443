//! Text and tables down one page after the other. Knows no report.

use super::super::picture::{Ink, Picture};
use super::document::{
    self, About, Bookmark, Color, GRAY, INK, Image, PAGE_HEIGHT, PAGE_WIDTH, Page, Pen, RULE, SOFT, WHITE,
};
use super::font::{Face, Glyph, glyphs, width, wrapped};

pub(super) const LEFT: f32 = 48.0;
pub(super) const WIDTH: f32 = PAGE_WIDTH - 2.0 * LEFT;
const TOP: f32 = PAGE_HEIGHT - 52.0;
const BOTTOM: f32 = 58.0;

/// Size of letters in tables and text, and from one line to the next.
const SIZE: f32 = 8.5;
const LEADING: f32 = 11.0;

/// Space beside and above the text of a cell.
const GAP: f32 = 9.0;
const PAD: f32 = 3.0;

/// What a column gets at most that needs no more; the last one takes the rest.
const MORE_MAX: f32 = 28.0;

/// A row that takes so many lines may begin on one page and end on the next.
const LINES_KEPT: usize = 12;

pub(super) struct Flow {
    pages: Vec<Page>,
    page: Page,
    /// Where the next thing begins.
    pub(super) y: f32,
    bookmarks: Vec<Bookmark>,
    images: Vec<Image>,
}

/// One paragraph of a cell.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    text: String,
    face: Face,
    color: Color,
    /// White on a pill of the color.
    pill: bool,
}

impl Piece {
    pub(super) fn plain(text: impl Into<String>) -> Self {
        Self { text: text.into(), face: Face::Regular, color: INK, pill: false }
    }

    pub(super) fn bold(text: impl Into<String>) -> Self {
        Self { face: Face::Bold, ..Self::plain(text) }
    }

    pub(super) fn pill(text: impl Into<String>, color: Color) -> Self {
        Self { face: Face::Bold, color, pill: true, ..Self::plain(text) }
    }

    pub(super) fn colored(self, color: Color) -> Self {
        Self { color, ..self }
    }

    /// Width on one line.
    fn natural(&self) -> f32 {
        let widest = self.text.split('\n').map(|line| width(&glyphs(line, self.face), SIZE)).fold(0.0, f32::max);
        // A little more, for what rounding takes.
        if self.pill { widest + 6.5 } else { widest + 0.5 }
    }
}

pub(super) type Cell = Vec<Piece>;

/// A row of a table; a remark is one cell over all columns but the first.
#[derive(Debug, Clone)]
pub(super) enum Row {
    Cells(Vec<Cell>),
    Remark(Cell),
}

/// A line of a cell, laid out.
struct Line {
    glyphs: Vec<Glyph>,
    color: Color,
    pill: bool,
}

impl Flow {
    pub(super) fn new() -> Self {
        Self { pages: Vec::new(), page: Page::new(), y: TOP, bookmarks: Vec::new(), images: Vec::new() }
    }

    pub(super) fn page(&mut self) -> &mut Page {
        &mut self.page
    }

    pub(super) fn next_page(&mut self) {
        self.pages.push(std::mem::replace(&mut self.page, Page::new()));
        self.y = TOP;
    }

    /// Goes on to the next page unless there is so much room on this one.
    pub(super) fn need(&mut self, height: f32) {
        if self.y - height < BOTTOM && self.y < TOP {
            self.next_page();
        }
    }

    pub(super) fn skip(&mut self, height: f32) {
        self.y -= height;
    }

    /// With room for what belongs below it.
    pub(super) fn heading(&mut self, title: &str, follows: f32) {
        self.need(40.0 + follows);
        if self.y < TOP {
            self.y -= 14.0;
        }
        self.bookmarks.push(Bookmark { title: title.to_owned(), page: self.pages.len(), top: self.y + 4.0 });
        self.y -= 12.0;
        self.page.text((LEFT, self.y), 12.5, INK, &glyphs(title, Face::Bold));
        self.y -= 5.0;
        self.page.line(&[(LEFT, self.y), (LEFT + WIDTH, self.y)], Pen::new(RULE, 0.8));
        self.y -= 5.0;
    }

    /// Text over the whole width, from `x` on.
    pub(super) fn paragraph(&mut self, text: &str, face: Face, size: f32, color: Color) {
        for line in wrapped(text, face, size, WIDTH) {
            self.need(size * 1.3);
            self.y -= size * 1.3;
            self.page.text((LEFT, self.y + size * 0.25), size, color, &line);
        }
    }

    pub(super) fn note(&mut self, text: &str) {
        self.skip(3.0);
        self.paragraph(text, Face::Regular, 8.0, SOFT);
    }

    /// A picture with its name above it, no wider than the page and no higher than half of it.
    #[expect(clippy::cast_precision_loss, reason = "a number of dots")]
    pub(super) fn picture(&mut self, picture: &Picture, ink: &Ink) {
        const DOT: f32 = 0.75;
        let (width, height) = (picture.width as f32, picture.height as f32);
        let scale = DOT.min(WIDTH / width).min(PAGE_HEIGHT / 2.0 / height);
        let (width, height) = (width * scale, height * scale);
        self.skip(8.0);
        self.need(height + 20.0);
        self.paragraph(&picture.name, Face::Bold, 8.5, INK);
        self.skip(height + 3.0);
        self.page.image(self.images.len(), (LEFT, self.y), (width, height));
        self.images.push(Image::new(picture, ink));
    }

    /// A pill with its text in white, its left end at `x`; returns how wide it is.
    pub(super) fn pill(&mut self, at: (f32, f32), size: f32, text: &str, color: Color) -> f32 {
        pill(&mut self.page, at, size, &glyphs(text, Face::Bold), color)
    }

    /// A titled table; its titles are repeated on each page. Columns are as wide as what they hold, if they can be.
    pub(super) fn table(&mut self, titles: &[&str], rows: &[Row]) {
        let widths = widths(titles, rows);
        self.need(2.0 * (LEADING + 2.0 * PAD));
        self.titles(titles, &widths);
        for (index, row) in rows.iter().enumerate() {
            self.row(titles, &widths, row);
            // A remark belongs to what is above it.
            if !matches!(rows.get(index + 1), Some(Row::Remark(_))) {
                self.rule(RULE);
            }
        }
        self.y -= 2.0;
    }

    fn titles(&mut self, titles: &[&str], widths: &[f32]) {
        if titles.iter().all(|title| title.is_empty()) {
            return;
        }
        self.y -= PAD + LEADING;
        let mut x = LEFT;
        for (title, width) in titles.iter().zip(widths) {
            self.page.text((x, self.y + 3.0), 8.0, SOFT, &glyphs(title, Face::Bold));
            x += width + GAP;
        }
        self.rule(GRAY);
    }

    fn rule(&mut self, color: Color) {
        self.page.line(&[(LEFT, self.y), (LEFT + WIDTH, self.y)], Pen::new(color, 0.5));
    }

    fn row(&mut self, titles: &[&str], widths: &[f32], row: &Row) {
        let places: Vec<(f32, f32, &Cell)> = match row {
            Row::Cells(cells) => {
                let mut x = LEFT;
                let mut places = Vec::new();
                for (cell, width) in cells.iter().zip(widths) {
                    places.push((x, *width, cell));
                    x += width + GAP;
                }
                places
            }
            Row::Remark(cell) => {
                let indent = widths.first().copied().unwrap_or_default().min(90.0) + GAP;
                vec![(LEFT + indent, WIDTH - indent, cell)]
            }
        };
        let columns: Vec<(f32, Vec<Line>)> =
            places.into_iter().map(|(x, width, cell)| (x, lines(cell, width))).collect();
        let height = columns.iter().map(|(_, lines)| lines.len()).max().unwrap_or_default();
        let mut done = 0;
        while done < height {
            let left = height - done;
            let fits = self.lines_that_fit();
            let shown = if left <= fits { left } else { fits };
            let is_page_fresh = self.y >= TOP - 2.0 * LEADING - 2.0 * PAD;
            if shown == 0 || (shown < left && left <= LINES_KEPT && !is_page_fresh) {
                self.next_page();
                self.titles(titles, widths);
                continue;
            }
            self.y -= PAD;
            for (x, lines) in &columns {
                for (index, line) in lines.iter().skip(done).take(shown).enumerate() {
                    #[expect(clippy::cast_precision_loss, reason = "lines of one page")]
                    let y = self.y - LEADING * (index as f32 + 1.0) + 3.0;
                    if line.pill {
                        pill(&mut self.page, (*x, y), SIZE - 1.0, &line.glyphs, line.color);
                    } else {
                        self.page.text((*x, y), SIZE, line.color, &line.glyphs);
                    }
                }
            }
            #[expect(clippy::cast_precision_loss, reason = "lines of one page")]
            let used = LEADING * shown as f32;
            self.y -= used + PAD;
            done += shown;
        }
    }

    fn lines_that_fit(&self) -> usize {
        let room = ((self.y - BOTTOM - 2.0 * PAD) / LEADING).floor().clamp(0.0, 100.0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 100")]
        let lines = room as usize;
        lines
    }

    /// Ends the last page, puts `foot` and its number on each of them and makes the file.
    pub(super) fn finish(mut self, foot: &str, about: &About) -> Vec<u8> {
        self.next_page();
        let count = self.pages.len();
        for (index, page) in self.pages.iter_mut().enumerate() {
            let number = glyphs(&format!("Page {} of {count}", index + 1), Face::Regular);
            let end = LEFT + WIDTH - width(&number, 8.0);
            page.line(&[(LEFT, 44.0), (LEFT + WIDTH, 44.0)], Pen::new(RULE, 0.5));
            page.text((end, 32.0), 8.0, SOFT, &number);
            let foot = wrapped(foot, Face::Regular, 8.0, WIDTH - 90.0);
            page.text((LEFT, 32.0), 8.0, SOFT, foot.first().map(Vec::as_slice).unwrap_or_default());
        }
        document::write(self.pages, &self.bookmarks, &self.images, about)
    }
}

fn pill(page: &mut Page, at: (f32, f32), size: f32, text: &[Glyph], color: Color) -> f32 {
    let long = width(text, size);
    // A line of that thickness with round ends, which stick out by half of it.
    let height = size + 2.5;
    page.pill((at.0 + height / 2.0, at.1 + size * 0.35), (long - height + 6.0).max(0.0), height, color);
    page.text((at.0 + 3.0, at.1), size, WHITE, text);
    long + 6.0
}

fn lines(cell: &Cell, width: f32) -> Vec<Line> {
    let mut lines = Vec::new();
    for piece in cell {
        let width = if piece.pill { width - 6.0 } else { width };
        for glyphs in wrapped(&piece.text, piece.face, SIZE, width) {
            lines.push(Line { glyphs, color: piece.color, pill: piece.pill });
        }
    }
    lines
}

/// Narrow columns get what they want; the others share what is left.
fn widths(titles: &[&str], rows: &[Row]) -> Vec<f32> {
    let mut wanted: Vec<f32> = titles.iter().map(|title| width(&glyphs(title, Face::Bold), 8.0)).collect();
    for row in rows {
        let Row::Cells(cells) = row else { continue };
        for (cell, wanted) in cells.iter().zip(&mut wanted) {
            // As much of it as could ever be on a line is enough to know.
            *wanted = cell.iter().map(Piece::natural).fold(*wanted, f32::max).min(WIDTH);
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "a few columns")]
    let mut left = WIDTH - GAP * wanted.len().saturating_sub(1) as f32;
    let mut widths = vec![0.0; wanted.len()];
    let mut open: Vec<usize> = (0..wanted.len()).collect();
    loop {
        #[expect(clippy::cast_precision_loss, reason = "a few columns")]
        let share = left / open.len().max(1) as f32;
        let before = open.len();
        open.retain(|index| {
            let (Some(wanted), Some(width)) = (wanted.get(*index), widths.get_mut(*index)) else { return false };
            let fits = *wanted <= share;
            if fits {
                *width = *wanted;
                left -= *wanted;
            }
            !fits
        });
        if open.is_empty() {
            // Nothing is too wide: some of what is left over goes to each, so that columns stay near each other.
            #[expect(clippy::cast_precision_loss, reason = "a few columns")]
            let more = (left.max(0.0) / widths.len().max(1) as f32).min(MORE_MAX);
            for width in &mut widths {
                *width += more;
                left -= more;
            }
            if let Some(last) = widths.last_mut() {
                *last += left.max(0.0);
            }
            return widths;
        }
        if open.len() == before {
            for index in open {
                if let Some(width) = widths.get_mut(index) {
                    *width = share;
                }
            }
            return widths;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_fill_the_page_and_no_more() {
        let cells = |texts: &[&str]| Row::Cells(texts.iter().map(|text| vec![Piece::plain(*text)]).collect());
        let long = "a long text ".repeat(100);
        for rows in
            [vec![], vec![cells(&["a", "b", "c"])], vec![cells(&["a", &long, "c"])], vec![cells(&[long.as_str(); 3])]]
        {
            let widths = widths(&["one", "two", "three"], &rows);
            let sum: f32 = widths.iter().sum::<f32>() + 2.0 * GAP;
            assert!((sum - WIDTH).abs() < 0.5, "{widths:?}");
            assert!(widths.iter().all(|width| *width > 10.0), "{widths:?}");
        }
    }
}
