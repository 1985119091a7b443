//! A report as one HTML page: complete in itself, fit to print, all text escaped, no script.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::plot::{self, Axis, MarkKind, Plot};
use super::section::{Block, Look, Row, Section, Table, Tone};
use super::{Device, Report, Step, study, suite, words};
use crate::artifact::url;
use crate::event::{RunStatus, StepState};

const STYLE: &str = include_str!("html/style.css");

/// Plots on a page; more series are listed with what they come to.
const PLOTS_MAX: usize = 60;

/// Size of a plot in SVG units, and what its labels take.
const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 72.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 26.0;
const BOTTOM: f64 = 40.0;

/// A page being written. Everything that is not markup goes through `text`.
#[derive(Default)]
struct Page(String);

impl Page {
    fn markup(&mut self, markup: &str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    fn text(&mut self, text: &str) -> &mut Self {
        for c in text.chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                '\n' | '\t' => self.0.push(c),
                // Not allowed in HTML; a visible mark in their place.
                c if c.is_control() => self.0.push('\u{FFFD}'),
                c => self.0.push(c),
            }
        }
        self
    }

    fn cell(&mut self, text: &str) -> &mut Self {
        self.markup("<td>").text(text).markup("</td>")
    }

    fn number(&mut self, text: &str) -> &mut Self {
        self.markup("<td class=\"number\">").text(text).markup("</td>")
    }

    fn badge(&mut self, class: &str, text: &str) -> &mut Self {
        self.markup("<span class=\"badge ").markup(class).markup("\">").text(text).markup("</span>")
    }

    /// A table that scrolls by itself where it is wider than the page.
    fn table(&mut self, columns: &[&str]) -> &mut Self {
        self.markup("<div class=\"wide\"><table><thead><tr>");
        for column in columns {
            self.markup("<th scope=\"col\">").text(column).markup("</th>");
        }
        self.markup("</tr></thead>\n<tbody>\n")
    }

    fn end_table(&mut self) -> &mut Self {
        self.markup("</tbody></table></div>\n")
    }

    fn fact(&mut self, name: &str, value: &str) {
        self.markup("<div><dt>").text(name).markup("</dt><dd>").text(value).markup("</dd></div>\n");
    }

    fn note(&mut self, text: &str) {
        self.markup("<p class=\"note\">").text(text).markup("</p>\n");
    }
}

pub(super) fn render(report: &Report) -> String {
    let header = &report.run.header;
    let mut page = Page::default();
    page.markup("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    page.markup("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>");
    page.text(&format!("Run {}: {}", header.number, header.name)).markup("</title>\n<style>\n").markup(STYLE);
    page.markup("</style>\n</head>\n<body>\n<main>\n");
    title(&mut page, report);
    summary(&mut page, report);
    for part in report.sections() {
        section(&mut page, &part);
    }
    steps(&mut page, report);
    tests(&mut page, report);
    series(&mut page, report);
    iterations(&mut page, report);
    devices(&mut page, report);
    artifacts(&mut page, report);
    log(&mut page, report);
    page.markup("<footer>\n<p class=\"");
    page.markup(if report.completeness.is_complete() { "complete" } else { "incomplete" }).markup("\">");
    page.text(&report.completeness.to_string()).markup("</p>\n<p>");
    page.text(&format!("Made {} by {}", words::time(report.generated_at), super::SOFTWARE));
    page.markup("</p>\n</footer>\n</main>\n</body>\n</html>\n");
    page.0
}

fn title(page: &mut Page, report: &Report) {
    let header = &report.run.header;
    page.markup("<header>\n<p class=\"kind\">");
    page.text(&format!("Report of {} run {}", header.kind.as_str(), header.number)).markup("</p>\n<h1>");
    page.text(&header.name).markup("</h1>\n<p class=\"outcome\">");
    page.badge(run_class(report.run.status), report.run.status.as_str()).markup(" ");
    page.text(&words::outcome(report)).markup("</p>\n</header>\n");
}

fn summary(page: &mut Page, report: &Report) {
    page.markup("<section>\n<h2>Summary</h2>\n<dl>\n");
    for (name, value) in words::facts(report) {
        page.fact(name, &value);
    }
    page.markup("</dl>\n");
    if let Some(error) = report.finished.as_ref().and_then(|finished| finished.error.as_ref()) {
        page.markup("<p class=\"error\"><strong>").text(&error.code).markup("</strong> ");
        page.text(&words::clipped(&error.message)).markup("</p>\n");
    }
    let metrics = report.finished.as_ref().map(|finished| finished.metrics.as_slice()).unwrap_or_default();
    if !metrics.is_empty() {
        page.table(&["Last good value of", "Value"]);
        for metric in metrics {
            page.markup("<tr>").cell(metric.name.as_str()).number(&words::quantity(metric.value, &metric.unit));
            page.markup("</tr>\n");
        }
        page.end_table();
    }
    page.markup("</section>\n");
}

fn steps(page: &mut Page, report: &Report) {
    if report.steps.is_empty() {
        return;
    }
    page.markup("<section>\n<h2>Steps</h2>\n");
    page.table(&["Step", "Module", "Device", "Result", "Measured", "Limits", "Duration"]);
    for step in &report.steps {
        step_row(page, step);
    }
    page.end_table().markup("</section>\n");
}

fn step_row(page: &mut Page, step: &Step) {
    page.markup("<tr><th scope=\"row\">").text(step.id.as_str());
    if step.finally {
        page.markup(" <small>finally</small>");
    }
    page.markup("</th>").cell(&step.module).cell(step.device.as_deref().unwrap_or("-"));
    page.markup("<td>").badge(step_class(step.state), step.state.as_str()).markup("</td>");
    let verdicts = step.verdicts();
    if verdicts.is_empty() {
        page.markup("<td colspan=\"2\">").text(&words::fields(&step.outputs)).markup("</td>");
    } else {
        page.markup("<td>");
        for judged in verdicts {
            page.markup("<div>").text(&format!("{} {} ", judged.verdict.metric, words::measured(judged)));
            page.badge(words::verdict(judged), words::verdict(judged)).markup("</div>");
        }
        page.markup("</td><td>");
        for judged in verdicts {
            page.markup("<div>").text(&words::limits(judged)).markup("</div>");
        }
        page.markup("</td>");
    }
    page.number(&step.duration_s.map_or_else(|| "-".to_owned(), words::duration)).markup("</tr>\n");
    let remarks = words::remarks(step);
    if !remarks.is_empty() {
        page.markup("<tr class=\"remark\"><td></td><td colspan=\"6\">");
        for told in remarks {
            page.markup("<div>").text(&told).markup("</div>");
        }
        page.markup("</td></tr>\n");
    }
}

fn tests(page: &mut Page, report: &Report) {
    if report.tests.is_empty() || suite::tests(report).is_some() {
        return;
    }
    page.markup("<section>\n<h2>Tests</h2>\n");
    page.table(&["Test", "Result", "Runs", "Score", "Duration", "Message"]);
    for test in &report.tests {
        let class = match test.success {
            Some(true) => "passed",
            Some(false) => "failed",
            None => "pending",
        };
        page.markup("<tr><th scope=\"row\">").text(words::test_name(test)).markup("</th><td>");
        page.badge(class, words::test_result(test)).markup("</td>");
        page.number(&format!("{} of {}", test.current_run, test.total_runs));
        page.number(&test.score.map_or_else(|| "-".to_owned(), words::number));
        page.number(&test.duration_s.map_or_else(|| "-".to_owned(), words::duration));
        page.cell(&words::test_message(test)).markup("</tr>\n");
    }
    page.end_table().markup("</section>\n");
}

fn series(page: &mut Page, report: &Report) {
    if report.series.is_empty() {
        return;
    }
    page.markup("<section>\n<h2>Measurements</h2>\n");
    for (index, series) in report.series.iter().enumerate() {
        page.markup("<figure>\n<figcaption><strong>").text(&words::series_name(series)).markup("</strong> ");
        page.text(&words::series_summary(series)).markup("</figcaption>\n");
        if index < PLOTS_MAX {
            match plot::plot(report, series) {
                Some(plot) => draw(page, &format!("{} over time", words::series_name(series)), &plot),
                None => page.note("There is no good number to draw."),
            }
        }
        page.markup("</figure>\n");
    }
    if report.samples_left_out > 0 {
        page.note(&format!("{} more samples are in the record and left out here.", report.samples_left_out));
    }
    page.markup("</section>\n");
}

fn draw(page: &mut Page, title: &str, plot: &Plot) {
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    let x = |place: f64| LEFT + place * (right - LEFT);
    let y = |place: f64| bottom - place * (bottom - TOP);
    page.markup(&format!(
        "<div class=\"wide\"><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" role=\"img\">\n<title>"
    ));
    page.text(title).markup("</title>\n");
    let mut line = |class: &str, from: (f64, f64), to: (f64, f64)| {
        page.markup(&format!(
            "<line class=\"{class}\" x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\"/>\n",
            from.0, from.1, to.0, to.1
        ));
    };
    for (place, _) in &plot.x.ticks {
        line("grid", (x(*place), TOP), (x(*place), bottom));
    }
    for (place, _) in &plot.y.ticks {
        line("grid", (LEFT, y(*place)), (right, y(*place)));
    }
    line("axis", (LEFT, bottom), (right, bottom));
    line("axis", (LEFT, TOP), (LEFT, bottom));
    for limit in &plot.limits {
        let class = if limit.passed { "limit" } else { "limit broken" };
        line(class, (x(limit.from), y(limit.at)), (x(limit.to), y(limit.at)));
    }
    for place in &plot.bad {
        line("bad", (x(*place), bottom), (x(*place), bottom - 8.0));
    }
    for points in &plot.lines {
        let points: Vec<String> = points.iter().map(|point| format!("{:.1},{:.1}", x(point.0), y(point.1))).collect();
        page.markup(&format!("<polyline class=\"measured\" points=\"{}\"/>\n", points.join(" ")));
    }
    if plot.dots {
        for point in plot.lines.iter().flatten() {
            page.markup(&format!("<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"2.2\"/>\n", x(point.0), y(point.1)));
        }
    }
    for mark in &plot.marks {
        page.markup(&dot(mark.kind, x(mark.x), y(mark.y)));
    }
    labels(page, &plot.x, "middle", |place| (x(place), bottom + 15.0));
    labels(page, &plot.y, "end", |place| (LEFT - 6.0, y(place) + 4.0));
    let mut label = |at: (f64, f64), anchor: &str, text: &str| {
        page.markup(&format!("<text class=\"label\" x=\"{}\" y=\"{}\" text-anchor=\"{anchor}\">", at.0, at.1));
        page.text(text).markup("</text>\n");
    };
    label((right, HEIGHT - 6.0), "end", &plot.x.label);
    label((4.0, 14.0), "start", &plot.y.label);
    if plot.kinds().next().is_some() {
        legend(page, plot, (right, 14.0));
        page.markup("</svg></div>\n");
        return;
    }
    match (plot.limits.is_empty(), plot.bad.is_empty()) {
        (true, true) => {}
        (false, true) => label((right, 14.0), "end", "dashed: limits"),
        (true, false) => label((right, 14.0), "end", "red marks: no good value"),
        (false, false) => label((right, 14.0), "end", "dashed: limits, red marks: no good value"),
    }
    page.markup("</svg></div>\n");
}

fn dot(kind: MarkKind, x: f64, y: f64) -> String {
    let (class, radius) = match kind {
        MarkKind::Infeasible => ("infeasible", 2.6),
        MarkKind::Feasible => ("feasible", 2.6),
        MarkKind::Front => ("front", 3.6),
        MarkKind::Best => ("best", 5.0),
    };
    format!("<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\"/>\n")
}

/// What the marks and the line are, from the right. Letters are as wide as they may be.
fn legend(page: &mut Page, plot: &Plot, at: (f64, f64)) {
    let mut x = at.0;
    let mut entry = |text: &str, mark: &dyn Fn(f64) -> String| {
        let letters = u32::try_from(text.len()).unwrap_or(u32::MAX);
        page.markup(&format!("<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"end\">", at.1)).text(text).markup("</text>\n");
        x -= f64::from(letters) * 6.2 + 9.0;
        page.markup(&mark(x));
        x -= 16.0;
    };
    for kind in plot.kinds().rev() {
        entry(kind.as_str(), &|x| dot(kind, x, at.1 - 4.0));
    }
    if let Some(meaning) = plot.line_is {
        let y = at.1 - 4.0;
        entry(meaning, &|x| {
            format!("<polyline class=\"measured\" points=\"{:.1},{y} {:.1},{y}\"/>\n", x - 10.0, x + 5.0)
        });
    }
}

fn section(page: &mut Page, section: &Section) {
    page.markup("<section>\n<h2>").text(section.title).markup("</h2>\n");
    for block in &section.blocks {
        match block {
            Block::Facts(facts) => {
                page.markup("<dl>\n");
                for (name, value) in facts {
                    page.fact(name, value);
                }
                page.markup("</dl>\n");
            }
            Block::Table(table) => plain_table(page, table),
            Block::Figure { name, about, plot } => {
                page.markup("<figure>\n<figcaption><strong>").text(name).markup("</strong> ");
                page.text(about).markup("</figcaption>\n");
                if let Some(plot) = plot {
                    draw(page, name, plot);
                }
                page.markup("</figure>\n");
            }
            Block::Title(text) => {
                page.markup("<h3>").text(text).markup("</h3>\n");
            }
            Block::Note(text) => page.note(text),
        }
    }
    page.markup("</section>\n");
}

fn plain_table(page: &mut Page, table: &Table) {
    let titles: Vec<&str> = table.titles.iter().map(String::as_str).collect();
    page.table(&titles);
    for Row { cells, remarks } in &table.rows {
        page.markup("<tr>");
        for (index, cell) in cells.iter().enumerate() {
            let number = cell.first().is_some_and(|piece| piece.look == Look::Number);
            page.markup(match (index, number) {
                (0, _) => "<th scope=\"row\">",
                (_, true) => "<td class=\"number\">",
                (_, false) => "<td>",
            });
            for (index, piece) in cell.iter().enumerate() {
                if index > 0 {
                    page.markup(" ");
                }
                match piece.look {
                    Look::Badge(tone) => page.badge(tone_class(tone), &piece.text),
                    Look::Strong if index > 0 => page.markup("<strong>").text(&piece.text).markup("</strong>"),
                    Look::Plain | Look::Strong | Look::Number => page.text(&piece.text),
                };
            }
            page.markup(if index == 0 { "</th>" } else { "</td>" });
        }
        page.markup("</tr>\n");
        if !remarks.is_empty() {
            let columns = cells.len().saturating_sub(1);
            page.markup(&format!("<tr class=\"remark\"><td></td><td colspan=\"{columns}\">"));
            for remark in remarks {
                page.markup("<div>").text(remark).markup("</div>");
            }
            page.markup("</td></tr>\n");
        }
    }
    page.end_table();
}

fn tone_class(tone: Tone) -> &'static str {
    match tone {
        Tone::Good => "passed",
        Tone::Bad => "failed",
        Tone::Warning => "cancelled",
        Tone::Neutral => "pending",
    }
}

fn labels(page: &mut Page, axis: &Axis, anchor: &str, at: impl Fn(f64) -> (f64, f64)) {
    for (place, text) in &axis.ticks {
        let (x, y) = at(*place);
        page.markup(&format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">")).text(text);
        page.markup("</text>\n");
    }
}

fn iterations(page: &mut Page, report: &Report) {
    let iterations = &report.iterations;
    if iterations.items.is_empty() || study::of(report).is_some() {
        return;
    }
    page.markup("<section>\n<h2>Iterations</h2>\n");
    page.table(&["Iteration", "Parameters", "Metrics", "Feasible"]);
    for iteration in &iterations.items {
        page.markup("<tr>").number(&iteration.iteration.to_string()).cell(&words::fields(&iteration.parameters));
        page.cell(&words::fields(&iteration.metrics)).cell(if iteration.feasible { "yes" } else { "no" });
        page.markup("</tr>\n");
    }
    page.end_table();
    if let Some(note) = words::left_out(iterations.left_out, "iterations", iterations.items.len()) {
        page.note(&note);
    }
    page.markup("</section>\n");
}

fn devices(page: &mut Page, report: &Report) {
    if report.devices.is_empty() {
        return;
    }
    page.markup("<section>\n<h2>Devices</h2>\n");
    page.table(&["Role", "Device", "Agent", "Instrument", "Serial", "Firmware", "Profile", "Place"]);
    for device in &report.devices {
        device_row(page, device);
    }
    page.end_table();
    page.note(words::DEVICES_NOTE);
    page.markup("</section>\n");
}

fn device_row(page: &mut Page, device: &Device) {
    page.markup("<tr><th scope=\"row\">").text(&device.bound.role).markup("</th>");
    page.cell(device.bound.device.as_str()).cell(device.bound.agent.as_str());
    for word in words::identity(device) {
        page.cell(&word);
    }
    page.markup("</tr>\n");
}

fn artifacts(page: &mut Page, report: &Report) {
    let artifacts = &report.artifacts;
    if artifacts.items.is_empty() {
        return;
    }
    page.markup("<section>\n<h2>Artifacts</h2>\n");
    page.table(&["Name", "Type", "Size", "Path"]);
    for artifact in &artifacts.items {
        page.markup("<tr><td><a href=\"").text(&url(&artifact.path)).markup("\">").text(&artifact.name);
        page.markup("</a></td>").cell(&artifact.media_type);
        page.number(&words::bytes(artifact.size)).cell(&artifact.path).markup("</tr>\n");
    }
    page.end_table();
    for picture in &report.pictures {
        page.markup("<figure class=\"picture\">\n<figcaption>").text(&picture.name).markup("</figcaption>\n");
        let (width, height) = (picture.width, picture.height);
        let start = format!("<img width=\"{width}\" height=\"{height}\" src=\"data:{};base64,", picture.media_type);
        page.markup(&start).markup(&BASE64.encode(&picture.bytes)).markup("\" alt=\"").text(&picture.name);
        page.markup("\">\n</figure>\n");
    }
    if let Some(note) = words::left_out(artifacts.left_out, "artifacts", artifacts.items.len()) {
        page.note(&note);
    }
    page.markup("</section>\n");
}

fn log(page: &mut Page, report: &Report) {
    if report.log.is_empty() {
        return;
    }
    page.markup("<section>\n<h2>Log</h2>\n");
    if report.log_left_out > 0 {
        page.note(&format!("The last {} lines; {} came before them.", report.log.len(), report.log_left_out));
    }
    page.markup("<div class=\"wide log\"><table><tbody>\n");
    for line in &report.log {
        page.markup("<tr class=\"").markup(line.log.level.as_str()).markup("\">").cell(&words::clock(line.at));
        page.cell(line.log.level.as_str()).cell(&line.log.source).cell(&words::clipped(&line.log.message));
        page.markup("</tr>\n");
    }
    page.markup("</tbody></table></div>\n</section>\n");
}

fn run_class(status: RunStatus) -> &'static str {
    match status {
        RunStatus::Completed => "passed",
        RunStatus::Failed => "failed",
        RunStatus::Cancelled => "cancelled",
        RunStatus::Pending | RunStatus::Running | RunStatus::Paused => "pending",
    }
}

fn step_class(state: StepState) -> &'static str {
    match state {
        StepState::Completed => "passed",
        StepState::Failed => "failed",
        StepState::Cancelled => "cancelled",
        StepState::Pending | StepState::Running | StepState::Skipped => "pending",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_never_markup() {
        let mut page = Page::default();
        page.text("<script>'x' & \"y\"\u{0}\n");
        assert_eq!(page.0, "&lt;script&gt;&#39;x&#39; &amp; &quot;y&quot;\u{FFFD}\n");
    }
}
