//! Pages of ink and the file they make. Knows no report and no layout.

use pdf_writer::types::{LineCapStyle, LineJoinStyle, Predictor};
use pdf_writer::writers::ColorSpace;
use pdf_writer::{Content, Date, Filter, Finish, Name, Pdf, Rect, Ref, Str, TextStr};

use super::super::picture::{Ink, Picture};
use super::font::{Face, Glyph};

/// A4, in points.
pub(super) const PAGE_WIDTH: f32 = 595.28;
pub(super) const PAGE_HEIGHT: f32 = 841.89;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Color(pub(super) f32, pub(super) f32, pub(super) f32);

pub(super) const INK: Color = Color(0.11, 0.14, 0.19);
pub(super) const SOFT: Color = Color(0.36, 0.40, 0.46);
pub(super) const RULE: Color = Color(0.85, 0.87, 0.90);
pub(super) const BLUE: Color = Color(0.12, 0.37, 0.66);
pub(super) const GREEN: Color = Color(0.10, 0.50, 0.27);
pub(super) const RED: Color = Color(0.75, 0.16, 0.18);
pub(super) const AMBER: Color = Color(0.60, 0.38, 0.0);
pub(super) const GRAY: Color = Color(0.45, 0.49, 0.55);
pub(super) const WHITE: Color = Color(1.0, 1.0, 1.0);
pub(super) const BLUSH: Color = Color(0.99, 0.945, 0.945);

/// What is drawn on one page, in points from its lower left corner.
pub(super) struct Page(Content);

/// How a line is drawn.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pen {
    pub(super) color: Color,
    pub(super) width: f32,
    pub(super) dashed: bool,
}

impl Pen {
    pub(super) const fn new(color: Color, width: f32) -> Self {
        Self { color, width, dashed: false }
    }

    pub(super) const fn dashed(color: Color, width: f32) -> Self {
        Self { color, width, dashed: true }
    }
}

impl Page {
    pub(super) fn new() -> Self {
        Self(Content::new())
    }

    pub(super) fn text(&mut self, at: (f32, f32), size: f32, color: Color, glyphs: &[Glyph]) {
        if glyphs.is_empty() {
            return;
        }
        self.0.begin_text().set_fill_rgb(color.0, color.1, color.2).next_line(at.0, at.1);
        for run in glyphs.chunk_by(|one, next| one.face == next.face) {
            let Some(first) = run.first() else { continue };
            let codes: Vec<u8> = run.iter().map(|glyph| glyph.code).collect();
            self.0.set_font(Name(first.face.names().0), size).show(Str(&codes));
        }
        self.0.end_text();
    }

    pub(super) fn rectangle(&mut self, corner: (f32, f32), size: (f32, f32), color: Color) {
        self.0.set_fill_rgb(color.0, color.1, color.2).rect(corner.0, corner.1, size.0, size.1).fill_nonzero();
    }

    pub(super) fn line(&mut self, points: &[(f32, f32)], pen: Pen) {
        let Some(((x, y), rest)) = points.split_first() else { return };
        self.0.save_state().set_stroke_rgb(pen.color.0, pen.color.1, pen.color.2).set_line_width(pen.width);
        self.0.set_line_join(LineJoinStyle::RoundJoin);
        if pen.dashed {
            self.0.set_dash_pattern([4.0, 2.5], 0.0);
        }
        self.0.move_to(*x, *y);
        for (x, y) in rest {
            self.0.line_to(*x, *y);
        }
        self.0.stroke().restore_state();
    }

    pub(super) fn image(&mut self, index: usize, corner: (f32, f32), size: (f32, f32)) {
        self.0.save_state().transform([size.0, 0.0, 0.0, size.1, corner.0, corner.1]);
        self.0.x_object(Name(image_name(index).as_bytes())).restore_state();
    }

    /// A line with round ends as thick as `height`: a pill, or a dot where it has no length.
    pub(super) fn pill(&mut self, from: (f32, f32), length: f32, height: f32, color: Color) {
        self.0.save_state().set_stroke_rgb(color.0, color.1, color.2).set_line_width(height);
        self.0.set_line_cap(LineCapStyle::RoundCap).move_to(from.0, from.1).line_to(from.0 + length, from.1);
        self.0.stroke().restore_state();
    }
}

/// The name under which a page finds an image.
fn image_name(index: usize) -> String {
    format!("Im{index}")
}

/// A picture as a PDF holds it.
pub(super) struct Image {
    size: (i32, i32),
    ink: Ink,
    /// The bytes of a JPEG; the rows of a PNG are part of its ink.
    bytes: Vec<u8>,
}

impl Image {
    pub(super) fn new(picture: &Picture, ink: &Ink) -> Self {
        let side = |side: u32| i32::try_from(side).unwrap_or(i32::MAX);
        let bytes = match ink {
            Ink::Jpeg { .. } => picture.bytes.clone(),
            Ink::Png { rows, .. } => rows.clone(),
        };
        Self { size: (side(picture.width), side(picture.height)), ink: ink.clone(), bytes }
    }

    fn write(&self, pdf: &mut Pdf, id: Ref) {
        let mut object = pdf.image_xobject(id, &self.bytes);
        object.width(self.size.0).height(self.size.1);
        match &self.ink {
            Ink::Jpeg { colors } => {
                object.filter(Filter::DctDecode);
                object.bits_per_component(8);
                color_space(object.color_space(), *colors);
            }
            Ink::Png { colors, bits, palette, .. } => {
                object.filter(Filter::FlateDecode);
                object.bits_per_component(i32::from(*bits));
                let mut rows = object.decode_parms();
                rows.predictor(Predictor::PngOptimum).colors(i32::from(*colors));
                rows.bits_per_component(i32::from(*bits)).columns(self.size.0);
                rows.finish();
                if palette.is_empty() {
                    color_space(object.color_space(), *colors);
                } else {
                    let last = i32::try_from(palette.len() / 3).unwrap_or(i32::MAX) - 1;
                    object.color_space().indexed(Name(b"DeviceRGB"), last, palette);
                }
            }
        }
    }
}

fn color_space(space: ColorSpace<'_>, colors: u8) {
    if colors == 1 { space.device_gray() } else { space.device_rgb() }
}

/// A heading that readers list beside the pages.
pub(super) struct Bookmark {
    pub(super) title: String,
    pub(super) page: usize,
    pub(super) top: f32,
}

/// What readers show about the file.
pub(super) struct About {
    pub(super) title: String,
    pub(super) made_by: &'static str,
    /// Year, month, day, hour, minute and second, UTC.
    pub(super) made_at: Option<(u16, [u8; 5])>,
}

pub(super) fn write(pages: Vec<Page>, bookmarks: &[Bookmark], images: &[Image], about: &About) -> Vec<u8> {
    let mut next = 0;
    let mut new = || {
        next += 1;
        Ref::new(next)
    };
    let (catalog, tree, info, outline) = (new(), new(), new(), new());
    let fonts = Face::ALL.map(|face| (face, new()));
    let numbered: Vec<(Ref, Ref, Page)> = pages.into_iter().map(|page| (new(), new(), page)).collect();
    let items: Vec<(Ref, &Bookmark)> = bookmarks.iter().map(|bookmark| (new(), bookmark)).collect();
    let images: Vec<(Ref, &Image)> = images.iter().map(|image| (new(), image)).collect();
    let page_refs: Vec<Ref> = numbered.iter().map(|(page, ..)| *page).collect();

    let mut pdf = Pdf::new();
    let mut root = pdf.catalog(catalog);
    root.pages(tree).lang(TextStr("en"));
    root.viewer_preferences().display_doc_title(true);
    if !items.is_empty() {
        root.outlines(outline);
    }
    root.finish();
    let mut kids = pdf.pages(tree);
    kids.kids(page_refs.iter().copied()).count(count(page_refs.len()));
    kids.media_box(Rect::new(0.0, 0.0, PAGE_WIDTH, PAGE_HEIGHT));
    let mut resources = kids.resources();
    let mut names = resources.fonts();
    for (face, font) in &fonts {
        names.pair(Name(face.names().0), *font);
    }
    names.finish();
    if !images.is_empty() {
        let mut names = resources.x_objects();
        for (index, (id, _)) in images.iter().enumerate() {
            names.pair(Name(image_name(index).as_bytes()), *id);
        }
        names.finish();
    }
    resources.finish();
    kids.finish();
    for (face, font) in fonts {
        let mut font = pdf.type1_font(font);
        font.base_font(Name(face.names().1));
        if face != Face::Symbol {
            font.encoding_predefined(Name(b"WinAnsiEncoding"));
        }
    }
    for (page, content, Page(ink)) in numbered {
        pdf.page(page).parent(tree).contents(content);
        pdf.stream(content, &ink.finish());
    }
    for (id, image) in images {
        image.write(&mut pdf, id);
    }
    write_bookmarks(&mut pdf, outline, &items, &page_refs);
    let mut details = pdf.document_info(info);
    details.title(TextStr(&about.title)).creator(TextStr(about.made_by)).producer(TextStr(about.made_by));
    if let Some((year, [month, day, hour, minute, second])) = about.made_at {
        let date = Date::new(year).month(month).day(day).hour(hour).minute(minute).second(second);
        details.creation_date(date.utc_offset_hour(0));
    }
    details.finish();
    pdf.finish()
}

fn write_bookmarks(pdf: &mut Pdf, outline: Ref, items: &[(Ref, &Bookmark)], pages: &[Ref]) {
    let (Some((first, _)), Some((last, _))) = (items.first(), items.last()) else { return };
    pdf.outline(outline).first(*first).last(*last).count(count(items.len()));
    for (index, (item, bookmark)) in items.iter().enumerate() {
        let mut entry = pdf.outline_item(*item);
        entry.title(TextStr(&bookmark.title)).parent(outline);
        if let Some((previous, _)) = index.checked_sub(1).and_then(|index| items.get(index)) {
            entry.prev(*previous);
        }
        if let Some((next, _)) = items.get(index + 1) {
            entry.next(*next);
        }
        if let Some(page) = pages.get(bookmark.page) {
            entry.dest().page(*page).xyz(0.0, bookmark.top, None);
        }
    }
}

fn count(items: usize) -> i32 {
    i32::try_from(items).unwrap_or(i32::MAX)
}
