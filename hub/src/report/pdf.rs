//! A report as PDF: A4 pages to print, sign and keep. Fonts are those that every reader has, so a file stays small.

use rigwire_shared::event::Level;

use self::document::{AMBER, About, BLUE, BLUSH, Color, GRAY, GREEN, INK, RED, SOFT};
use self::flow::{Cell, Flow, LEFT, Piece, Row, WIDTH};
use self::font::{Face, glyphs, wrapped};
use super::{Report, Step, plot, study, suite, words};
use crate::dialect::rfc3339;
use crate::event::{RunStatus, StepState};

mod chart;
mod document;
mod flow;
mod font;
mod section;

/// Plots in a document; more series are listed with what they come to.
const PLOTS_MAX: usize = 60;

pub(super) fn render(report: &Report) -> Vec<u8> {
    let header = &report.run.header;
    let mut flow = Flow::new();
    title(&mut flow, report);
    summary(&mut flow, report);
    for part in report.sections() {
        section::draw(&mut flow, &part);
    }
    steps(&mut flow, report);
    tests(&mut flow, report);
    series(&mut flow, report);
    iterations(&mut flow, report);
    devices(&mut flow, report);
    artifacts(&mut flow, report);
    log(&mut flow, report);
    record(&mut flow, report);
    let title = format!("Run {}: {}", header.number, header.name);
    let about = About { title, made_by: super::SOFTWARE, made_at: date(report) };
    flow.finish(&format!("Run {} · {}", header.number, header.name), &about)
}

fn title(flow: &mut Flow, report: &Report) {
    let header = &report.run.header;
    let y = flow.y;
    flow.page().rectangle((LEFT, y), (WIDTH, 3.0), BLUE);
    flow.skip(12.0);
    let kind = format!("REPORT OF {} RUN {}", header.kind.as_str().to_uppercase(), header.number);
    flow.paragraph(&kind, Face::Bold, 8.0, BLUE);
    flow.skip(2.0);
    flow.paragraph(&header.name, Face::Bold, 21.0, INK);
    flow.skip(19.0);
    let y = flow.y;
    let pill = flow.pill((LEFT, y), 10.0, report.run.status.as_str(), run_color(report.run.status));
    let outcome = words::outcome(report);
    let mut lines = wrapped(&outcome, Face::Regular, 10.0, WIDTH - pill - 8.0).into_iter();
    if let Some(first) = lines.next() {
        flow.page().text((LEFT + pill + 8.0, y), 10.0, INK, &first);
    }
    for line in lines {
        flow.need(13.0);
        flow.skip(13.0);
        let y = flow.y;
        flow.page().text((LEFT + pill + 8.0, y), 10.0, INK, &line);
    }
    flow.skip(2.0);
}

fn summary(flow: &mut Flow, report: &Report) {
    flow.heading("Summary", 60.0);
    facts(flow, &words::facts(report));
    if let Some(error) = report.finished.as_ref().and_then(|finished| finished.error.as_ref()) {
        error_box(flow, &error.code, &words::clipped(&error.message));
    }
    let metrics = report.finished.as_ref().map(|finished| finished.metrics.as_slice()).unwrap_or_default();
    if !metrics.is_empty() {
        flow.skip(4.0);
        let rows: Vec<Row> = metrics
            .iter()
            .map(|metric| {
                cells([Piece::plain(metric.name.as_str()), Piece::plain(words::quantity(metric.value, &metric.unit))])
            })
            .collect();
        flow.table(&["Last good value of", "Value"], &rows);
    }
}

/// Two facts beside each other.
fn facts(flow: &mut Flow, facts: &[(&str, String)]) {
    const LABEL: f32 = 58.0;
    let half = WIDTH / 2.0;
    for pair in facts.chunks(2) {
        let columns: Vec<_> =
            pair.iter().map(|(name, value)| (*name, wrapped(value, Face::Regular, 8.5, half - LABEL - 10.0))).collect();
        let height = columns.iter().map(|(_, lines)| lines.len()).max().unwrap_or_default();
        for index in 0..height {
            flow.need(12.0);
            flow.skip(12.0);
            let y = flow.y;
            let mut x = LEFT;
            for (name, lines) in &columns {
                if index == 0 {
                    flow.page().text((x, y), 8.5, SOFT, &glyphs(name, Face::Regular));
                }
                if let Some(line) = lines.get(index) {
                    flow.page().text((x + LABEL, y), 8.5, INK, line);
                }
                x += half;
            }
        }
        flow.skip(1.5);
    }
    flow.skip(4.0);
}

fn error_box(flow: &mut Flow, code: &str, message: &str) {
    let lines = wrapped(&format!("{code}: {message}"), Face::Regular, 9.0, WIDTH - 24.0);
    flow.skip(4.0);
    // By the line, so that one that is longer than a page is no worse than others.
    for line in lines {
        flow.need(13.0);
        flow.skip(13.0);
        let y = flow.y;
        flow.page().rectangle((LEFT, y - 4.0), (WIDTH, 13.2), BLUSH);
        flow.page().rectangle((LEFT, y - 4.0), (3.0, 13.2), RED);
        flow.page().text((LEFT + 12.0, y), 9.0, INK, &line);
    }
    flow.skip(6.0);
}

fn steps(flow: &mut Flow, report: &Report) {
    if report.steps.is_empty() {
        return;
    }
    flow.heading("Steps", 60.0);
    let mut rows = Vec::new();
    for step in &report.steps {
        rows.push(step_row(step));
        let remarks = words::remarks(step);
        if !remarks.is_empty() {
            rows.push(Row::Remark(remarks.into_iter().map(|told| Piece::plain(told).colored(SOFT)).collect()));
        }
    }
    flow.table(&["Step", "Module", "Device", "Result", "Measured", "Limits", "Duration"], &rows);
}

fn step_row(step: &Step) -> Row {
    let mut name = vec![Piece::bold(step.id.as_str())];
    if step.finally {
        name.push(Piece::plain("finally").colored(SOFT));
    }
    let verdicts = step.verdicts();
    let measured: Cell = if verdicts.is_empty() {
        vec![Piece::plain(words::fields(&step.outputs))]
    } else {
        verdicts
            .iter()
            .map(|judged| {
                let color = if judged.verdict.passed { GREEN } else { RED };
                let told = format!("{} {}", judged.verdict.metric, words::measured(judged));
                Piece::bold(told).colored(color)
            })
            .collect()
    };
    Row::Cells(vec![
        name,
        vec![Piece::plain(step.module.as_str())],
        vec![Piece::plain(step.device.as_deref().unwrap_or("-"))],
        vec![Piece::pill(step.state.as_str(), step_color(step.state))],
        measured,
        verdicts.iter().map(|judged| Piece::plain(words::limits(judged))).collect(),
        vec![Piece::plain(step.duration_s.map_or_else(|| "-".to_owned(), words::duration))],
    ])
}

fn tests(flow: &mut Flow, report: &Report) {
    if report.tests.is_empty() || suite::tests(report).is_some() {
        return;
    }
    flow.heading("Tests", 60.0);
    let rows: Vec<Row> = report
        .tests
        .iter()
        .map(|test| {
            let color = match test.success {
                Some(true) => GREEN,
                Some(false) => RED,
                None => GRAY,
            };
            cells([
                Piece::bold(words::test_name(test)),
                Piece::pill(words::test_result(test), color),
                Piece::plain(format!("{} of {}", test.current_run, test.total_runs)),
                Piece::plain(test.score.map_or_else(|| "-".to_owned(), words::number)),
                Piece::plain(test.duration_s.map_or_else(|| "-".to_owned(), words::duration)),
                Piece::plain(words::test_message(test)),
            ])
        })
        .collect();
    flow.table(&["Test", "Result", "Runs", "Score", "Duration", "Message"], &rows);
}

fn series(flow: &mut Flow, report: &Report) {
    if report.series.is_empty() {
        return;
    }
    flow.heading("Measurements", chart::HEIGHT + 30.0);
    for (index, series) in report.series.iter().enumerate() {
        let plot = if index < PLOTS_MAX { plot::plot(report, series) } else { None };
        flow.need(if plot.is_some() { chart::HEIGHT + 34.0 } else { 34.0 });
        flow.skip(3.0);
        flow.paragraph(&words::series_name(series), Face::Bold, 9.5, INK);
        flow.paragraph(&words::series_summary(series), Face::Regular, 8.5, SOFT);
        match plot {
            Some(plot) => chart::draw(flow, &plot),
            None if index < PLOTS_MAX => flow.note("There is no good number to draw."),
            None => {}
        }
        flow.skip(6.0);
    }
    if report.samples_left_out > 0 {
        flow.note(&format!("{} more samples are in the record and left out here.", report.samples_left_out));
    }
}

fn iterations(flow: &mut Flow, report: &Report) {
    let iterations = &report.iterations;
    if iterations.items.is_empty() || study::of(report).is_some() {
        return;
    }
    flow.heading("Iterations", 60.0);
    let rows: Vec<Row> = iterations
        .items
        .iter()
        .map(|iteration| {
            cells([
                Piece::bold(iteration.iteration.to_string()),
                Piece::plain(words::fields(&iteration.parameters)),
                Piece::plain(words::fields(&iteration.metrics)),
                Piece::plain(if iteration.feasible { "yes" } else { "no" }),
            ])
        })
        .collect();
    flow.table(&["Iteration", "Parameters", "Metrics", "Feasible"], &rows);
    if let Some(note) = words::left_out(iterations.left_out, "iterations", iterations.items.len()) {
        flow.note(&note);
    }
}

fn devices(flow: &mut Flow, report: &Report) {
    if report.devices.is_empty() {
        return;
    }
    flow.heading("Devices", 60.0);
    let rows: Vec<Row> = report
        .devices
        .iter()
        .map(|device| {
            let [instrument, serial, firmware, profile, place] = words::identity(device).map(Piece::plain);
            cells([
                Piece::bold(device.bound.role.as_str()),
                Piece::plain(device.bound.device.as_str()),
                Piece::plain(device.bound.agent.as_str()),
                instrument,
                serial,
                firmware,
                profile,
                place,
            ])
        })
        .collect();
    flow.table(&["Role", "Device", "Agent", "Instrument", "Serial", "Firmware", "Profile", "Place"], &rows);
    flow.note(words::DEVICES_NOTE);
}

fn artifacts(flow: &mut Flow, report: &Report) {
    let artifacts = &report.artifacts;
    if artifacts.items.is_empty() {
        return;
    }
    flow.heading("Artifacts", 60.0);
    let rows: Vec<Row> = artifacts
        .items
        .iter()
        .map(|artifact| {
            cells([
                Piece::bold(artifact.name.as_str()),
                Piece::plain(artifact.media_type.as_str()),
                Piece::plain(words::bytes(artifact.size)),
                Piece::plain(artifact.path.as_str()),
            ])
        })
        .collect();
    flow.table(&["Name", "Type", "Size", "Path"], &rows);
    if let Some(note) = words::left_out(artifacts.left_out, "artifacts", artifacts.items.len()) {
        flow.note(&note);
    }
    for picture in &report.pictures {
        if let Some(ink) = &picture.ink {
            flow.picture(picture, ink);
        }
    }
}

fn log(flow: &mut Flow, report: &Report) {
    if report.log.is_empty() {
        return;
    }
    flow.heading("Log", 60.0);
    if report.log_left_out > 0 {
        flow.note(&format!("The last {} lines; {} came before them.", report.log.len(), report.log_left_out));
    }
    let rows: Vec<Row> = report
        .log
        .iter()
        .map(|line| {
            let color = match line.log.level {
                Level::Debug => GRAY,
                Level::Info => INK,
                Level::Warning => AMBER,
                Level::Error => RED,
            };
            cells([
                Piece::plain(words::clock(line.at)).colored(SOFT),
                Piece::plain(line.log.level.as_str()).colored(color),
                Piece::plain(line.log.source.as_str()).colored(SOFT),
                Piece::plain(words::clipped(&line.log.message)).colored(color),
            ])
        })
        .collect();
    flow.table(&["Time", "Level", "Source", "Message"], &rows);
}

fn record(flow: &mut Flow, report: &Report) {
    flow.heading("Record", 40.0);
    let complete = report.completeness.is_complete();
    flow.skip(2.0);
    flow.paragraph(&report.completeness.to_string(), Face::Bold, 9.5, if complete { GREEN } else { RED });
    flow.skip(2.0);
    let made = format!("Made {} by {}", words::time(report.generated_at), super::SOFTWARE);
    flow.paragraph(&made, Face::Regular, 8.5, SOFT);
}

fn cells<const COUNT: usize>(pieces: [Piece; COUNT]) -> Row {
    Row::Cells(pieces.into_iter().map(|piece| vec![piece]).collect())
}

/// The parts of `2026-03-01T10:30:00.000Z`.
fn date(report: &Report) -> Option<(u16, [u8; 5])> {
    let text = rfc3339(report.generated_at);
    let part = |range: std::ops::Range<usize>| text.get(range)?.parse::<u16>().ok();
    let small = |from: usize| u8::try_from(part(from..from + 2)?).ok();
    Some((part(0..4)?, [small(5)?, small(8)?, small(11)?, small(14)?, small(17)?]))
}

fn run_color(status: RunStatus) -> Color {
    match status {
        RunStatus::Completed => GREEN,
        RunStatus::Failed => RED,
        RunStatus::Cancelled => AMBER,
        RunStatus::Pending | RunStatus::Running | RunStatus::Paused => GRAY,
    }
}

fn step_color(state: StepState) -> Color {
    match state {
        StepState::Completed => GREEN,
        StepState::Failed => RED,
        StepState::Cancelled => AMBER,
        StepState::Pending | StepState::Running | StepState::Skipped => GRAY,
    }
}
