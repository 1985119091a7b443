//! Runs with any text and any number in them: no format fails, and each can still be read.

use proptest::prelude::*;
use rigwire::report::Format;
use rigwire_shared::value::Value;
use serde_json::json;

use crate::campaigns::{FRONT, SUITE, SWEEP};
use crate::fixture::{header, metric, report, report_of, step};

fn words() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[\u{0}-\u{ff}]{0,40}",
        "[a-z]{0,3000}",
        "(]]>|<!--|</script>|&#0;|\"|'|=1\\+1|\r\n|\u{202e}|\u{fffe}|\u{1f600}|\u{301}){0,20}",
    ]
}

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![any::<f64>(), -10.0..10.0, Just(f64::MAX), Just(f64::MIN), Just(0.0), Just(5e-324)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn any_run_has_a_report(
        texts in prop::collection::vec(words(), 6),
        numbers in prop::collection::vec(number(), 0..40),
        times in prop::collection::vec(any::<i32>(), 40),
        quality in prop::sample::select(vec!["good", "suspect", "no-data"]),
    ) {
        let mut header = header(&[("read", "instrument.read", false)]);
        header["name"] = json!(texts[0]);
        header["params"] = json!({texts[1].clone(): texts[2]});
        let mut events = vec![(0, step("read", 1, &json!({"status": "running"})))];
        for (value, at) in numbers.iter().zip(&times) {
            events.push((i64::from(*at) * 1000, metric("voltage", &json!(value), quality, "read")));
            events.push((0, json!({"type": "verdict", "step": "read", "metric": "voltage", "value": value,
                "min": value, "max": null, "passed": true})));
        }
        events.push((5, metric("voltage", &json!(texts[5]), "good", "read")));
        events.push((6, json!({"type": "log", "level": "error", "message": texts[3], "device": null, "module": null,
            "step": null, "source": texts[4]})));
        events.push((7, step("read", 1, &json!({"status": "failed", "duration_s": numbers.first(), "error_code": "X",
            "error": texts[4], "will_retry": false}).as_object().map(|change| {
                let mut change = change.clone();
                change.insert("duration_s".to_owned(), json!(1.0));
                json!(change)
            }).unwrap_or_default())));
        let report = report(header, &events);
        for format in Format::ALL {
            let bytes = report.render(format);
            prop_assert!(!bytes.is_empty());
            match format {
                Format::Pdf => prop_assert!(bytes.starts_with(b"%PDF-1.")),
                Format::Html => {
                    let text = String::from_utf8(bytes).unwrap();
                    prop_assert!(!text.contains("<script") && !text.contains("<!--"));
                    prop_assert!(!text.contains("NaN") && !text.contains("inf,"), "{text}");
                }
                Format::Json => {
                    prop_assert!(serde_json::from_slice::<Value>(&bytes).is_ok());
                }
                Format::Junit => check_xml(&String::from_utf8(bytes).unwrap())?,
                Format::Csv => check_csv(&String::from_utf8(bytes).unwrap())?,
            }
        }
    }
}

/// Every tag is closed in its turn, and nothing is there that XML 1.0 does not allow.
fn check_xml(text: &str) -> Result<(), TestCaseError> {
    let is_allowed = |c: char| matches!(c, '\t' | '\n' | ' '..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..);
    prop_assert!(text.chars().all(is_allowed));
    let mut open = Vec::new();
    for part in text.split('<').skip(2) {
        let (tag, content) = part.split_once('>').expect("a tag that ends");
        prop_assert!(!content.contains('>') && !content.replace("&amp;", "").contains("&#0"), "{content:?}");
        prop_assert_eq!(tag.matches('"').count() % 2, 0, "{}", tag);
        if let Some(name) = tag.strip_prefix('/') {
            prop_assert_eq!(open.pop(), Some(name));
        } else if !tag.ends_with('/') {
            open.push(tag.split(' ').next().unwrap_or_default());
        }
    }
    prop_assert!(open.is_empty(), "{:?}", open);
    Ok(())
}

/// As RFC 4180 has it: seven cells in each row, and none that a spreadsheet takes for a formula.
fn check_csv(text: &str) -> Result<(), TestCaseError> {
    let mut rows: Vec<Vec<String>> = vec![vec![String::new()]];
    let mut quoted = false;
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        let row = rows.last_mut().unwrap();
        match c {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                row.last_mut().unwrap().push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(String::new()),
            '\r' if !quoted => {
                prop_assert_eq!(characters.next(), Some('\n'));
                rows.push(vec![String::new()]);
            }
            c => row.last_mut().unwrap().push(c),
        }
    }
    prop_assert!(!quoted);
    prop_assert_eq!(rows.pop(), Some(vec![String::new()]));
    for row in rows {
        prop_assert_eq!(row.len(), 7, "{:?}", row);
        for cell in row {
            let risky = cell.starts_with(['=', '+', '-', '@']) && cell.parse::<f64>().is_err();
            prop_assert!(!risky, "{cell:?}");
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn any_sweep_suite_or_study_has_one(
        texts in prop::collection::vec(words(), 4),
        numbers in prop::collection::vec((number(), number()), 0..40),
        good in any::<bool>(),
    ) {
        let mut sweep = vec![(0, json!({"type": "status", "status": "running", "step": null, "message": null}))];
        let mut study = sweep.clone();
        let mut suite = sweep.clone();
        for (index, (one, other)) in (1..).zip(&numbers) {
            let at = i64::from(index) * 100;
            let text = &texts[usize::try_from(index).unwrap() % texts.len()];
            let value = if index % 5 == 4 { json!(text) } else { json!(one) };
            sweep.push((at, json!({"type": "point", "point": index, "total": 9, "values": {"frequency": if good { json!(one) } else { value }}})));
            sweep.push((at, metric("voltage", &json!(other), "good", "read")));
            sweep.push((at, step("read", 1, &json!({"status": "failed", "duration_s": one, "error_code": text, "error": text, "will_retry": good}))));
            let run = format!("660e8400-e29b-41d4-a716-{index:012}");
            let parameters = json!({"volts": one, texts[0].clone(): text});
            study.push((at, json!({"type": "child", "run": run, "number": index, "purpose": {"iteration": {"iteration": index, "parameters": parameters}}})));
            study.push((at, json!({"type": "iteration", "iteration": index, "run": run, "parameters": parameters,
                "metrics": {"read.noise.mean": one, "power": other, "current": 1.0, texts[1].clone(): text},
                "feasible": good, "pareto_updated": good, "error": if good { None } else { Some(text) }})));
            suite.push((at, json!({"type": "test", "test": "link", "name": text, "number": 13, "status": "running", "percent": one,
                "current_run": index, "total_runs": 3, "success": null, "score": other, "duration_s": one, "message": text,
                "error": text, "flaky": good, "attempt": {"attempt": index, "run": run, "passed": index % 3 == 0, "score": other,
                "duration_s": if one.is_finite() { *one } else { 0.0 }, "error": text}})));
        }
        for (procedure, kind, events) in [(SWEEP, "protocol", sweep), (FRONT, "optimization", study), (SUITE, "suite", suite)] {
            let mut header = header(&[("read", "instrument.read", false)]);
            header["kind"] = json!(kind);
            if kind != "protocol" {
                header["steps"] = json!([]);
            }
            if kind == "suite" {
                header["tests"] = json!([{"id": "link", "name": texts[2], "number": 13, "runs": 3}]);
            }
            let report = report_of(Some(procedure), header, &events);
            for format in [Format::Html, Format::Junit, Format::Csv] {
                let text = String::from_utf8(report.render(format)).unwrap();
                prop_assert!(!text.contains("<script") && !text.contains("NaN"), "{kind}");
            }
            serde_json::from_slice::<serde_json::Value>(&report.render(Format::Json)).unwrap();
            prop_assert!(report.render(Format::Pdf).starts_with(b"%PDF"));
        }
    }
}
