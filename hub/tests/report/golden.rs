//! What each format makes of two runs, word for word. Rewritten with `UPDATE_EXPECT=1`.

use expect_test::expect_file;
use rigwire::report::{Format, Report};

use crate::fixture::{broken, ramp};

pub(crate) fn text(report: &Report, format: Format) -> String {
    String::from_utf8(report.render(format)).unwrap()
}

/// On lines of its own, so that a difference can be read.
pub(crate) fn json(report: &Report) -> String {
    let value: serde_json::Value = serde_json::from_slice(&report.render(Format::Json)).unwrap();
    serde_json::to_string_pretty(&value).unwrap()
}

#[test]
fn a_run_that_went_well() {
    let report = ramp();
    expect_file!["golden/ramp.html"].assert_eq(&text(&report, Format::Html));
    expect_file!["golden/ramp.junit.xml"].assert_eq(&text(&report, Format::Junit));
    expect_file!["golden/ramp.csv"].assert_eq(&text(&report, Format::Csv).replace("\r\n", "\n"));
    expect_file!["golden/ramp.json"].assert_eq(&json(&report));
}

#[test]
fn a_run_that_failed() {
    let report = broken();
    expect_file!["golden/broken.html"].assert_eq(&text(&report, Format::Html));
    expect_file!["golden/broken.junit.xml"].assert_eq(&text(&report, Format::Junit));
    expect_file!["golden/broken.csv"].assert_eq(&text(&report, Format::Csv).replace("\r\n", "\n"));
    expect_file!["golden/broken.json"].assert_eq(&json(&report));
}

#[test]
fn file_names_are_plain() {
    assert_eq!(ramp().file_name(Format::Pdf), "run-12-psu-ramp.pdf");
    assert_eq!(broken().file_name(Format::Junit), "run-12-2-3-b-pr-fung-b.xml");
}
