//! Reports of sweeps, suites and studies: what each format makes of them, word for word, and what their pages say. Rewritten with
//! `UPDATE_EXPECT=1`.

use expect_test::expect_file;
use rigwire::report::{Format, Report};
use serde_json::{Value, json};

use crate::fixture::{header, metric, report_of, step, verdict};
use crate::golden::{json, text};
use crate::pdf::{assert_says, pdf};

pub(crate) const SWEEP: &str = r#"
name = "response"
[roles]
psu = { class = "psu" }
meter = { class = "dmm" }
[sweep]
label = "Harmonic response sweep"
of = "frequencies"
[[sweep.axes]]
name = "frequency"
from = 10.0
to = 100_000.0
points = 9
scale = "log"
unit = "Hz"
[[steps]]
id = "set"
use = "instrument.action"
on = "psu"
with = { action = "set", hertz = "{{ frequency }}" }
[[steps]]
id = "read"
use = "instrument.read"
on = "meter"
expect = { voltage = { min = 3.2, max = 3.4 } }
continue_on_failure = true
[[finally]]
id = "off"
use = "instrument.safe_state"
on = "psu"
"#;

fn running() -> Value {
    json!({"status": "running"})
}

fn completed(duration_s: f64) -> Value {
    json!({"status": "completed", "duration_s": duration_s, "outputs": {}, "screenshot": null})
}

fn finished(status: &str, message: &str, counts: (u32, u32, u32, u32)) -> Value {
    let (total, successful, failed, skipped) = counts;
    let error = json!({"code": "TESTS_FAILED", "message": message, "step": null, "device": null});
    json!({"type": "finished", "status": status, "error": if status == "failed" { error } else { Value::Null },
        "log_tail": null, "message": message, "duration_s": 12.5,
        "counts": {"total": total, "successful": successful, "failed": failed, "skipped": skipped}, "metrics": []})
}

/// Nine frequencies: at the third nothing good was read, the sixth is out of its limits and the seventh was tried twice.
fn sweep() -> Report {
    let steps = [
        ("set", "instrument.action", false),
        ("read", "instrument.read", false),
        ("off", "instrument.safe_state", true),
    ];
    let mut header = header(&steps);
    header["name"] = json!("response");
    header["kind"] = json!("protocol");
    let mut events = vec![
        (0, json!({"type": "created"})),
        (5, json!({"type": "status", "status": "running", "step": null, "message": null})),
    ];
    let volts = [3.25, 3.3, 3.31, 3.33, 3.38, 3.52, 3.39, 3.35, 3.24];
    for (index, volts) in volts.into_iter().enumerate() {
        let at = 100 + i64::try_from(index).unwrap() * 1000;
        let frequency = 10.0 * 10_f64.powf(f64::from(u32::try_from(index).unwrap()) / 2.0);
        let frequency = (frequency * 10.0).round() / 10.0;
        events.push((at, json!({"type": "point", "point": index + 1, "total": 9, "values": {"frequency": frequency}})));
        events.push((at + 10, step("set", 1, &running())));
        events.push((at + 90, step("set", 1, &completed(0.08))));
        events.push((at + 100, step("read", 1, &running())));
        let mut attempt = 1;
        if index == 6 {
            let error = json!({"status": "failed", "duration_s": 0.1, "error_code": "TIMEOUT",
                "error": "no answer within 100 ms", "will_retry": true});
            events.push((at + 200, step("read", 1, &error)));
            events.push((at + 300, step("read", 2, &running())));
            attempt = 2;
        }
        if index == 2 {
            events.push((at + 400, metric("voltage", &Value::Null, "overrange", "read")));
            let mut missing = verdict("read", 0.0, false);
            missing["value"] = Value::Null;
            events.push((at + 410, missing));
        } else {
            events.push((at + 400, metric("voltage", &json!(volts), "good", "read")));
            events.push((at + 410, verdict("read", volts, volts < 3.4)));
        }
        let outcome = if index == 2 || index == 5 {
            let told = if index == 2 { "no good value" } else { "3.52" };
            json!({"status": "failed", "duration_s": 0.32, "error_code": "EXPECTATION_FAILED",
                "error": format!("voltage is {told}, expected 3.2 to 3.4"), "will_retry": false})
        } else {
            completed(0.32)
        };
        events.push((at + 420, step("read", attempt, &outcome)));
    }
    events.extend([
        (9500, step("off", 1, &running())),
        (9600, step("off", 1, &completed(0.1))),
        (
            9610,
            json!({"type": "artifact", "name": "sweep.csv", "media_type": "text/csv",
            "path": "550e8400-e29b-41d4-a716-446655440000/sweep.csv", "size": 180}),
        ),
        (9620, finished("completed", "17 of 19 steps completed", (19, 17, 2, 0))),
    ]);
    report_of(Some(SWEEP), header, &events)
}

pub(crate) const SUITE: &str = r#"
name = "regression"
kind = "suite"
[[tests]]
id = "boot"
name = "Boots"
tags = ["smoke", "power"]
procedure = { name = "one", steps = [{ id = "say", use = "log", with = { message = "x" } }] }
[[tests]]
id = "link"
name = "Link comes up"
runs = 3
repeat = "until-passed"
procedure = { name = "two", steps = [{ id = "say", use = "log", with = { message = "x" } }] }
[[tests]]
id = "load"
name = "Holds under load"
runs = 3
critical = true
procedure = { name = "three", steps = [{ id = "say", use = "log", with = { message = "x" } }] }
[[tests]]
id = "sleep"
tags = ["power"]
procedure = { name = "four", steps = [{ id = "say", use = "log", with = { message = "x" } }] }
"#;

fn uuid(number: u64) -> String {
    format!("660e8400-e29b-41d4-a716-{number:012}")
}

/// One test that passes, one that is flaky and passes, one that is flaky and fails, and one that is skipped for it.
fn suite() -> Report {
    let mut header = header(&[]);
    header["name"] = json!("regression");
    header["kind"] = json!("suite");
    let tests =
        [("boot", "Boots", 1), ("link", "Link comes up", 3), ("load", "Holds under load", 3), ("sleep", "sleep", 1)];
    header["tests"] = (13..)
        .zip(tests)
        .map(|(number, (id, name, runs))| json!({"id": id, "name": name, "number": number, "runs": runs}))
        .collect();
    let mut events = vec![
        (0, json!({"type": "created"})),
        (5, json!({"type": "status", "status": "running", "step": null, "message": null})),
    ];
    let outcomes = [
        (0, 1, None, "completed", false),
        (1, 1, Some("no <link> after 5 s"), "running", false),
        (1, 2, None, "completed", true),
        (2, 1, None, "running", false),
        (2, 2, Some("voltage is 3.1, expected 3.2 to 3.4"), "running", true),
        (2, 3, Some("no answer"), "failed", true),
    ];
    let mut at = 100;
    for (number, (test, attempt, error, status, flaky)) in (17_u64..).zip(outcomes) {
        let (id, name, runs) = tests[test];
        let purpose = json!({"test": {"test": id, "attempt": attempt}});
        events.push((at, json!({"type": "child", "run": uuid(number), "number": number, "purpose": purpose})));
        let score = if error.is_none() { 0.9 } else { 0.0 };
        let success = match status {
            "completed" => json!(true),
            "failed" => json!(false),
            _ => Value::Null,
        };
        events.push((
            at + 1500,
            json!({"type": "test", "test": id, "name": name, "number": 13 + test, "status": status, "percent": 100.0,
            "current_run": attempt, "total_runs": runs, "success": success, "score": score, "duration_s": 1.5,
            "message": null, "error": error, "flaky": flaky, "attempt": {"attempt": attempt, "run": uuid(number),
            "passed": error.is_none(), "score": score, "duration_s": 1.5, "error": error}}),
        ));
        at += 2000;
    }
    events.push((
        at,
        json!({"type": "test", "test": "sleep", "name": "sleep", "number": 16, "status": "skipped", "percent": 100.0,
        "current_run": 0, "total_runs": 1, "success": null, "score": null, "duration_s": null,
        "message": "critical test load failed", "error": null}),
    ));
    events.push((at + 10, finished("failed", "1 of 4 tests failed, 2 flaky: Holds under load", (4, 2, 1, 1))));
    report_of(Some(SUITE), header, &events)
}

pub(crate) const FRONT: &str = r#"
name = "quiet-supply"
kind = "optimization"
[variables]
volts = { type = "float", min = 3.0, max = 12.0, unit = "V" }
filter = { type = "choice", values = ["none", "slow"] }
[objectives]
noise = { direction = "minimize", metric = "read.noise.mean" }
power = { direction = "maximize" }
[constraints]
current = { max = 1.5 }
[strategy]
name = "nsga-2"
budget = 24
population = 8
seed = 7
[[steps]]
id = "say"
use = "log"
with = { message = "{{ volts }} {{ filter }}" }
"#;

/// Trials along a front, some of them behind it, some beyond the limit; the tenth failed.
fn study(procedure: &str, iterations: u32) -> Report {
    let mut header = header(&[]);
    header["name"] = json!("quiet-supply");
    header["kind"] = json!("optimization");
    header["params"] = json!({});
    let mut events = vec![
        (0, json!({"type": "created"})),
        (5, json!({"type": "status", "status": "running", "step": null, "message": null})),
    ];
    for iteration in 1..=iterations {
        let (at, number) = (i64::from(iteration) * 100, u64::from(iteration) + 12);
        let spread = f64::from(iteration * 7 % 24) / 24.0;
        let behind = f64::from(iteration * 5 % 6) * 0.05;
        let parameters =
            json!({"volts": 3.0 + 9.0 * spread, "filter": if iteration % 2 == 0 { "slow" } else { "none" }});
        let purpose = json!({"iteration": {"iteration": iteration, "parameters": parameters}});
        events.push((at, json!({"type": "child", "run": uuid(number), "number": number, "purpose": purpose})));
        let metrics = json!({"read.noise.mean": 0.1 + spread * spread + behind, "power": 2.0 + 8.0 * spread,
            "current": 0.2 + 1.5 * spread});
        let failed = iteration == 10;
        events.push((
            at + 50,
            json!({"type": "iteration", "iteration": iteration, "run": uuid(number), "parameters": parameters,
            "metrics": if failed { json!({}) } else { metrics }, "feasible": !failed && 0.2 + 1.5 * spread <= 1.5,
            "pareto_updated": false, "error": failed.then_some("device psu-1 is gone")}),
        ));
    }
    if iterations > 10 {
        events.push((9000, finished("completed", "24 iterations: the budget is used up", (24, 23, 1, 0))));
    }
    report_of(Some(procedure), header, &events)
}

/// The same with one objective, driven from outside.
fn one_objective() -> String {
    let (head, _) = FRONT.split_once("[[steps]]").unwrap();
    head.replace("power = { direction = \"maximize\" }\n", "")
        .replace("nsga-2", "random")
        .replace("population = 8\n", "")
}

#[test]
fn a_sweep() {
    let report = sweep();
    expect_file!["golden/sweep.html"].assert_eq(&text(&report, Format::Html));
    expect_file!["golden/sweep.junit.xml"].assert_eq(&text(&report, Format::Junit));
    expect_file!["golden/sweep.csv"].assert_eq(&text(&report, Format::Csv).replace("\r\n", "\n"));
    expect_file!["golden/sweep.json"].assert_eq(&json(&report));
    assert_says(
        &pdf(&report),
        &[
            "Harmonic response sweep\n",
            "7 of 9 frequencies, 2 failed\n",
            "frequency [Hz]\n",
            "voltage over frequency\n",
            "lowest 3.24 V at frequency 100000 Hz; highest 3.52 V at frequency 3162.3 Hz\n",
            "read: voltage is 3.52, expected 3.2 to 3.4\n",
            "no good value\n",
            "point 7, attempt 1: failed, tried again after 0.1 s: no answer within 100 ms",
        ],
    );
    assert_eq!(report.limits_met(), (7, 9), "of all points, not of the last alone");
}

#[test]
fn a_suite() {
    let report = suite();
    expect_file!["golden/suite.html"].assert_eq(&text(&report, Format::Html));
    expect_file!["golden/suite.junit.xml"].assert_eq(&text(&report, Format::Junit));
    expect_file!["golden/suite.csv"].assert_eq(&text(&report, Format::Csv).replace("\r\n", "\n"));
    expect_file!["golden/suite.json"].assert_eq(&json(&report));
    assert_says(
        &pdf(&report),
        &[
            "2 of 4\n",
            "flaky\n",
            "1 of 2 passed\n",
            "attempt 1: failed after 1.5 s, score 0, run 18: no <link> after 5 s",
            "critical test load failed\n",
        ],
    );
}

#[test]
fn a_study_of_two_objectives() {
    let report = study(FRONT, 24);
    expect_file!["golden/front.html"].assert_eq(&text(&report, Format::Html));
    expect_file!["golden/front.junit.xml"].assert_eq(&text(&report, Format::Junit));
    expect_file!["golden/front.csv"].assert_eq(&text(&report, Format::Csv).replace("\r\n", "\n"));
    expect_file!["golden/front.json"].assert_eq(&json(&report));
    assert_says(
        &pdf(&report),
        &[
            "nsga-2, seed 7\n",
            "power against noise\n",
            "noise (less is better)\n",
            "on the front\n",
            "breaks a constraint\n",
            "device psu-1 is gone\n",
            "at most 1.5\n",
        ],
    );
}

#[test]
fn a_study_of_one_objective_that_goes_on() {
    let report = study(&one_objective(), 8);
    expect_file!["golden/convergence.html"].assert_eq(&text(&report, Format::Html));
    expect_file!["golden/convergence.json"].assert_eq(&json(&report));
    let pdf = pdf(&report);
    assert_says(&pdf, &["from outside, by ask and tell\n", "noise over the iterations\n", "best so far\n", "best\n"]);
    assert!(!pdf.text.contains("on the front"), "one objective has a best, and no front:\n{}", pdf.text);
}

#[test]
fn nothing_of_it_yet_is_a_report_too() {
    for (kind, procedure) in [("protocol", SWEEP), ("suite", SUITE), ("optimization", FRONT)] {
        let mut header = header(&[]);
        header["kind"] = json!(kind);
        if kind == "suite" {
            header["tests"] = json!([{"id": "boot", "name": "Boots", "number": 13, "runs": 1}]);
        }
        let report = report_of(Some(procedure), header, &[(0, json!({"type": "created"}))]);
        for format in Format::ALL {
            assert!(!report.render(format).is_empty());
        }
        assert!(text(&report, Format::Html).contains("pending</span> waits for its devices"));
    }
}
