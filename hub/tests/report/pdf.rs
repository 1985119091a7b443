//! PDF files, read back: a small reader of the parts that reports use. Knows nothing of how they are written.

use rigwire::report::{Format, Report};
use serde_json::json;

use crate::fixture::{broken, header, metric, ramp, report, step};

/// What a reader finds in a file.
pub(crate) struct Pdf {
    pages: usize,
    /// Text of all pages, a line per piece.
    pub(crate) text: String,
}

fn read(bytes: &[u8]) -> Pdf {
    assert!(bytes.starts_with(b"%PDF-1.") && bytes.trim_ascii_end().ends_with(b"%%EOF"));
    check_table(bytes);
    let file = latin(bytes);
    let mut text = String::new();
    let mut rest = file.as_str();
    while let Some((_, stream)) = rest.split_once("\nstream\n") {
        let (content, after) = stream.split_once("\nendstream").expect("a stream that ends");
        text.push_str(&shown(content));
        rest = after;
    }
    Pdf { pages: file.matches("/Type /Page\n").count(), text }
}

fn latin(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

/// Every object is where the table at the end says.
fn check_table(bytes: &[u8]) {
    let end = latin(bytes);
    let start: usize = end.rsplit("startxref\n").next().unwrap().lines().next().unwrap().parse().unwrap();
    let table = latin(&bytes[start..]);
    let mut lines = table.lines();
    assert_eq!(lines.next(), Some("xref"));
    let count: usize = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    for (number, entry) in lines.take(count).enumerate().skip(1) {
        let place: usize = entry[..10].parse().unwrap();
        let object = format!("{number} 0 obj");
        assert!(bytes[place..].starts_with(object.as_bytes()), "object {number} is not at {place}");
    }
}

/// The strings that a page shows: `(...) Tj`, or as hexadecimal digits.
fn shown(content: &str) -> String {
    let mut text = String::new();
    for line in content.lines() {
        let Some(string) = line.strip_suffix(" Tj") else {
            if line == "ET" {
                text.push('\n');
            }
            continue;
        };
        if let Some(digits) = string.strip_prefix('<').and_then(|string| string.strip_suffix('>')) {
            let digits: Vec<char> = digits.chars().collect();
            for pair in digits.chunks(2) {
                let code = u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap();
                text.push(char::from(code));
            }
            continue;
        }
        let inner = string.strip_prefix('(').and_then(|string| string.strip_suffix(')')).expect(line);
        let mut characters = inner.chars();
        while let Some(c) = characters.next() {
            text.push(if c == '\\' { characters.next().unwrap() } else { c });
        }
    }
    text
}

pub(crate) fn pdf(report: &Report) -> Pdf {
    let bytes = report.render(Format::Pdf);
    // For looking at the pages.
    if let Some(directory) = std::env::var_os("REPORT_PAGES") {
        let name = format!("{}-{}.pdf", report.file_name(Format::Pdf), bytes.len());
        std::fs::write(std::path::Path::new(&directory).join(name), &bytes).unwrap();
    }
    read(&bytes)
}

pub(crate) fn assert_says(pdf: &Pdf, expected: &[&str]) {
    for expected in expected {
        assert!(pdf.text.contains(expected), "no {expected:?} in:\n{}", pdf.text);
    }
}

#[test]
fn everything_about_a_run_is_on_its_pages() {
    let pdf = pdf(&ramp());
    assert_eq!(pdf.pages, 2);
    assert_says(
        &pdf,
        &[
            "REPORT OF EXECUTION RUN 12\n",
            "psu-ramp\n",
            "3 of 3 steps completed\n",
            "voltage 3.3035 V\n",
            "3.2 to 3.4 V\n",
            "attempt 1: failed, tried again after 0.52 s: voltage is 3.52, expected 3.2 to 3.4",
            "13 samples, 1 of them without a good number, min 3.29 V, mean 3.32208 V, max 3.52 V",
            "time since the start / s\n",
            "voltage / V\n",
            "30057214\n",
            "V2.0\n",
            "not known any more\n",
            "30 of 30 events in the record\n",
            "Rigwire 0.1.0\n",
            "Page 1 of 2\n",
            "Page 2 of 2\n",
        ],
    );
}

#[test]
fn a_failed_run_shows_what_failed_and_what_is_missing() {
    let pdf = pdf(&broken());
    assert_says(
        &pdf,
        &[
            "DEVICE_GONE: psu-1 is gone\n",
            "\"cable\" <pulled> & [U+0007] so\n",
            "<b>Pr\u{fc}fung</b> [U+6E29][U+5EA6]",
            "no such user\n",
            "12 of 13 events in the record; missing: 4\n",
            "There is no good number to draw.\n",
        ],
    );
}

#[test]
fn many_samples_and_steps_make_a_file_of_bounded_size() {
    let ids: Vec<String> = (0..150).map(|index| format!("step-{index}")).collect();
    let steps: Vec<(&str, &str, bool)> = ids.iter().map(|id| (id.as_str(), "instrument.read", false)).collect();
    let mut events = vec![
        (0, json!({"type": "created"})),
        (1, json!({"type": "status", "status": "running", "step": null, "message": null})),
        (2, step("step-0", 1, &json!({"status": "running"}))),
    ];
    for index in 0..5000 {
        let value = 3.3 + 0.05 * (f64::from(index) / 250.0).sin() + if index == 2500 { 0.3 } else { 0.0 };
        events.push((10 + i64::from(index) * 20, metric("voltage", &json!(value), "good", "step-0")));
    }
    for index in 0..150 {
        let log = json!({"type": "log", "level": "info", "message": format!("line {index} {}", "x".repeat(300)),
            "device": null, "module": null, "step": null, "source": "engine"});
        events.push((110_000 + index, log));
    }
    let report = report(header(&steps), &events);
    let bytes = report.render(Format::Pdf);
    assert!(bytes.len() < 400_000, "{} bytes", bytes.len());
    let pdf = pdf(&report);
    assert!((8..=20).contains(&pdf.pages), "{} pages", pdf.pages);
    // Titles of a table are repeated on every page that it goes on to.
    assert!(pdf.text.matches("Module\n").count() >= 3, "{}", pdf.text);
    assert_says(&pdf, &["step-149\n", "The last 100 lines; 50 came before them.\n", "; the run goes on\n", "max 3.57"]);
}
