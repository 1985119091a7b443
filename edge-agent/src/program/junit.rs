//! The results file that test runners write, JUnit's XML in the dialects that are in use. Pure. No document type is followed.

use rigwire_shared::event::TestOutcome;
use roxmltree::{Document, Node, ParsingOptions};

use super::report::TestReport;

/// Elements, attributes and texts that are read at most.
const NODES_MAX: u32 = 1_000_000;
/// Each is an event of its run.
const TESTS_MAX: usize = 100_000;

/// All tests of a file in its order, or why it is none.
pub(crate) fn parse(bytes: &[u8]) -> Result<Vec<TestReport>, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
    let text = text.trim_start_matches('\u{feff}');
    let options = ParsingOptions { nodes_limit: NODES_MAX, ..ParsingOptions::default() };
    let document = Document::parse_with_options(text, options).map_err(|error| error.to_string())?;
    let root = document.root_element();
    if !["testsuites", "testsuite"].contains(&root.tag_name().name()) {
        let found = root.tag_name().name();
        return Err(format!("its root is <{found}>, expected <testsuites> or <testsuite>"));
    }
    let tests = || root.descendants().filter(|node| node.has_tag_name("testcase"));
    let count = tests().count();
    if count > TESTS_MAX {
        return Err(format!("it has {count} tests, expected at most {TESTS_MAX}"));
    }
    Ok(tests().map(test).collect())
}

fn test(node: Node<'_, '_>) -> TestReport {
    let attribute = |name: &str| node.attribute(name).filter(|value| !value.is_empty());
    let name = attribute("name").unwrap_or("unnamed");
    let test = match attribute("classname") {
        Some(class) => format!("{class}::{name}"),
        None => name.to_owned(),
    };
    let child = |wanted: &[&str]| node.children().find(|child| wanted.contains(&child.tag_name().name()));
    let (outcome, told) = match (child(&["failure", "error"]), child(&["skipped"])) {
        (Some(failure), _) => (TestOutcome::Failed, Some(failure)),
        (None, Some(skipped)) => (TestOutcome::Skipped, Some(skipped)),
        (None, None) => (TestOutcome::Passed, None),
    };
    let seconds = attribute("time").and_then(|time| time.replace(',', "").parse::<f64>().ok());
    TestReport {
        test,
        name: name.to_owned(),
        outcome,
        duration_s: seconds.filter(|seconds| seconds.is_finite() && *seconds >= 0.0),
        score: None,
        message: told.and_then(message),
    }
}

/// The attribute is the short form; where it is missing, the text tells.
fn message(node: Node<'_, '_>) -> Option<String> {
    let text = || node.descendants().filter_map(|part| part.is_text().then(|| part.text()).flatten()).collect();
    let message: String = node.attribute("message").map_or_else(text, str::to_owned);
    let message = message.trim();
    (!message.is_empty()).then(|| message.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_file_as_pytest_writes_it() {
        let text = r#"<?xml version="1.0" encoding="utf-8"?><testsuites><testsuite name="pytest" tests="4">
            <testcase classname="tests.test_psu" name="test_on[3.3]" time="0.250" />
            <testcase classname="tests.test_psu" name="test_off" time="1.5"><failure message="assert 1 == 2">trace</failure></testcase>
            <testcase name="alone" time="odd"><error>  boom &amp; gone
            </error><system-out>not this</system-out></testcase>
            <testcase classname="tests" name="later"><skipped type="pytest.skip" message="no meter">x</skipped></testcase>
        </testsuite></testsuites>"#;
        let found: Vec<_> = parse(text.as_bytes())
            .unwrap()
            .into_iter()
            .map(|test| (test.test, test.outcome, test.duration_s, test.message.unwrap_or_default()))
            .collect();
        let expected = [
            ("tests.test_psu::test_on[3.3]", TestOutcome::Passed, Some(0.25), ""),
            ("tests.test_psu::test_off", TestOutcome::Failed, Some(1.5), "assert 1 == 2"),
            ("alone", TestOutcome::Failed, None, "boom & gone"),
            ("tests::later", TestOutcome::Skipped, None, "no meter"),
        ];
        let expected: Vec<_> = expected.map(|(id, outcome, s, m)| (id.to_owned(), outcome, s, m.to_owned())).into();
        assert_eq!(found, expected);
    }

    #[test]
    fn what_is_no_results_file_is_refused() {
        for (text, expected) in [
            ("", "the document does not have a root node"),
            ("<html/>", "its root is <html>, expected <testsuites> or <testsuite>"),
            ("<testsuite>", "the root node was opened but never closed"),
            ("<!DOCTYPE x [<!ENTITY a \"aaaa\">]><testsuite>&a;</testsuite>", "XML with DTD detected"),
        ] {
            let error = parse(text.as_bytes()).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
        assert_eq!(parse(b"\xff<testsuite/>").unwrap_err(), "it is not UTF-8");
    }

    #[test]
    fn there_are_so_many_tests_at_most() {
        let with = |count: usize| parse(format!("<testsuite>{}</testsuite>", "<testcase/>".repeat(count)).as_bytes());
        assert_eq!(with(TESTS_MAX).unwrap().len(), TESTS_MAX);
        assert_eq!(with(TESTS_MAX + 1).unwrap_err(), "it has 100001 tests, expected at most 100000");
    }

    #[test]
    fn depth_is_no_danger() {
        let deep = 200_000;
        let text = format!("<testsuite>{}{}</testsuite>", "<testsuite>".repeat(deep), "</testsuite>".repeat(deep));
        // Read or refused, not a stack that overflows.
        parse(text.as_bytes()).ok();
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "(<testcase|<failure|</|>|/>|[ -~])*") {
            parse(&bytes).ok();
            parse(format!("<testsuite>{text}</testsuite>").as_bytes()).ok();
        }
    }
}
