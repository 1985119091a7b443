//! Mistakes in procedures and parameters, each with the message that its author reads.

use rigwire::procedure::Procedure;
use rigwire_shared::value::Value;

const GOOD: &str = r#"name = "psu-ramp"
[params]
volts = { type = "float", unit = "V", min = 0.0, max = 12.0, default = 3.3 }
mode = { type = "enum", values = ["fast", "slow"], default = "fast" }
[roles]
psu = { class = "psu" }
[[steps]]
id = "set"
use = "instrument.action"
on = "psu"
with = { action = "set_voltage", v = "{{ volts }}" }
timeout = "5s"
retry = { times = 2, backoff = "500ms" }
[[steps]]
id = "read"
use = "instrument.read"
on = "psu"
expect = { voltage = { min = 3.2, max = 3.4 } }
phase = "solving"
[[finally]]
use = "instrument.safe_state"
on = "psu"
"#;

fn mistake(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from:?} is not in the procedure");
    Procedure::from_toml(&GOOD.replacen(from, to, 1), "psu-ramp.toml").unwrap_err().to_string()
}

#[test]
fn a_procedure_is_read_and_what_is_left_out_is_filled_in() {
    let procedure = Procedure::from_toml(GOOD, "psu-ramp.toml").unwrap();
    let needs: Vec<Vec<&str>> =
        procedure.steps.iter().map(|step| step.needs.iter().flatten().map(|id| id.as_str()).collect()).collect();
    assert_eq!(needs, [vec![], vec!["set"]]);
    assert_eq!(procedure.finally[0].id.as_ref().unwrap().as_str(), "finally-1");
    let json = serde_json::to_value(&procedure).unwrap();
    assert_eq!(json["steps"][0]["timeout"], "5s");
}

#[test]
fn mistakes_name_line_and_key() {
    for (from, to, expected) in [
        (
            "timeout = \"5s\"",
            "time-out = \"5s\"",
            "psu-ramp.toml:12: unknown field `time-out`, expected one of `id`, `use`, `on`, `with`, `timeout`, \
             `retry`, `continue_on_failure`, `expect`, `phase`, `when`, `needs`",
        ),
        (
            "timeout = \"5s\"",
            "timeout = \"soon\"",
            "psu-ramp.toml:12: \"soon\" is not a duration, expected a form such as \"500ms\" or \"5s\"",
        ),
        ("timeout = \"5s\"", "timeout = \"0s\"", "psu-ramp.toml:12: steps[0].timeout: is zero, expected at least 1ms"),
        (
            "use = \"instrument.read\"",
            "use = \"instrument.reed\"",
            "psu-ramp.toml:16: steps[1].use: there is no module instrument.reed; modules: instrument.read, \
             instrument.action, instrument.safe_state, process.run, delay, log, assert",
        ),
        ("on = \"psu\"", "on = \"supply\"", "psu-ramp.toml:10: steps[0].on: there is no role supply; roles: psu"),
        (
            "min = 3.2, max = 3.4",
            "min = 3.4, max = 3.2",
            "psu-ramp.toml:18: steps[1].expect.voltage: min 3.4 is above max 3.2",
        ),
        ("id = \"read\"", "id = \"set\"", "psu-ramp.toml:15: steps[1].id: set is the id of two steps"),
        (
            "phase = \"solving\"",
            "needs = [\"sett\"]",
            "psu-ramp.toml:19: steps[1].needs: there is no step sett; steps: read, set",
        ),
        (
            "phase = \"solving\"",
            "needs = [\"read\"]",
            "psu-ramp.toml:19: steps[1].needs: these steps wait for each other: read",
        ),
        (
            "\"{{ volts }}\"",
            "\"{{ volts\"",
            "psu-ramp.toml:11: steps[0].with.v: template \"{{ volts\": unexpected end of input, expected end of variable block",
        ),
        (
            "\"{{ volts }}\"",
            "\"{{ steps.gone.volts | rond(2) }}\"",
            "psu-ramp.toml:11: steps[0].with.v: template \"{{ steps.gone.volts | rond(2) }}\": filter rond is unknown",
        ),
        (
            "phase = \"solving\"",
            "when = \"steps.set is definite\"",
            "psu-ramp.toml:19: steps[1].when: template \"steps.set is definite\": test definite is unknown",
        ),
        ("action = \"set_voltage\", ", "", "psu-ramp.toml:11: steps[0].with: instrument.action needs action"),
        (
            "default = 3.3",
            "default = 33",
            "psu-ramp.toml:3: params.volts.default: 33 V is out of range, expected a number from 0 to 12 V",
        ),
        (
            "{ class = \"psu\" }",
            "{}",
            "psu-ramp.toml:6: roles.psu: says nothing, expected device, class, kind, tags or min_sdk",
        ),
        (
            "timeout = \"5s\"",
            "timeout = \"18446744073709551615s\"",
            "psu-ramp.toml:12: steps[0].timeout: is too long, expected at most 7days",
        ),
        (
            "times = 2",
            "times = 4294967295",
            "psu-ramp.toml:13: steps[0].retry.times: is 4294967295, expected at most 100",
        ),
        ("500ms", "99999days", "psu-ramp.toml:13: steps[0].retry.backoff: is too long, expected at most 1day"),
        ("max = 3.4", "max = nan", "psu-ramp.toml:18: steps[1].expect.voltage.max: is NaN, expected a finite number"),
        ("max = 12.0", "max = inf", "psu-ramp.toml:3: params.volts.max: is inf, expected a finite number"),
        (
            "psu = { class = \"psu\" }",
            "psu = { device = \"x\" }\nother = { device = \"x\" }",
            "psu-ramp.toml:6: roles.psu.device: x plays role other already",
        ),
        (
            "\"{{ volts }}\"",
            "\"{% set x = volts %}{{ x }}\"",
            "psu-ramp.toml:11: steps[0].with.v: template \"{% set x = volts %}{{ x }}\": {% is not allowed, expected {{ EXPRESSION }}",
        ),
    ] {
        assert_eq!(mistake(from, to), expected);
    }
}

#[test]
fn what_a_procedure_may_cost_is_bounded() {
    let long = format!("\"{{{{ {} }}}}\"", "volts + ".repeat(200) + "1");
    let error = mistake("\"{{ volts }}\"", &long);
    assert!(error.ends_with("has 1607 bytes, expected at most 1000"), "{error}");
    let steps: Vec<_> = (0..501)
        .map(|index| serde_json::json!({"id": format!("s{index}"), "use": "log", "with": {"message": "x"}}))
        .collect();
    let error = Procedure::from_json(&serde_json::json!({"name": "long", "steps": steps}), "procedure").unwrap_err();
    assert_eq!(error.to_string(), "procedure: steps: are 501 with finally, expected at most 500");
}

#[test]
fn parameters_are_checked_against_their_type_and_range() {
    let procedure = Procedure::from_toml(GOOD, "psu-ramp.toml").unwrap();
    let bind = |name: &str, value: Value| procedure.bind_params(&[(name.to_owned(), value)]);
    let bound = bind("volts", Value::Int(5)).unwrap();
    assert_eq!(bound, [("mode".to_owned(), Value::Text("fast".to_owned())), ("volts".to_owned(), Value::Float(5.0))]);
    for (name, value, expected) in [
        (
            "volts",
            Value::Float(40.0),
            "parameter volts of procedure psu-ramp: 40.0 V is out of range, expected a number from 0 to 12 V",
        ),
        (
            "volts",
            Value::Text("five".to_owned()),
            "parameter volts of procedure psu-ramp: \"five\" is not allowed, expected a number from 0 to 12 V",
        ),
        (
            "mode",
            Value::Text("sloow".to_owned()),
            "parameter mode of procedure psu-ramp: \"sloow\" is not allowed, expected one of \"fast\", \"slow\"",
        ),
        ("volt", Value::Float(1.0), "procedure psu-ramp has no parameter volt; its parameters: mode, volts"),
    ] {
        assert_eq!(bind(name, value).unwrap_err(), expected);
    }
}

#[test]
fn json_is_read_like_toml() {
    let json = serde_json::json!({
        "name": "inline",
        "steps": [{"id": "wait", "use": "delay", "with": {"duration": "1s"}}],
        "stpes": [],
    });
    assert_eq!(
        Procedure::from_json(&json, "procedure").unwrap_err().to_string(),
        "procedure: stpes: unknown field `stpes`, expected one of `name`, `kind`, `description`, `params`, `roles`, `wait`, `steps`, `sweep`, `suite`, `tests`, `procedure`, `variables`, `objectives`, `constraints`, `strategy`, `finally`"
    );
}

#[test]
fn a_mistake_in_json_names_its_key() {
    let step = |step: serde_json::Value| serde_json::json!({"name": "inline", "steps": [{"id": "a", "use": "log", "with": {"message": "x"}}, step]});
    let inner = serde_json::json!({"name": "p", "steps": [{"id": "s", "use": "delay", "with": {}, "timeout": 5}]});
    for (json, expected) in [
        (
            step(serde_json::json!({"id": "b", "use": "log", "retry": {"times": "two"}})),
            "steps[1].retry.times: invalid type: string \"two\"",
        ),
        (
            step(serde_json::json!({"id": "b", "use": "log", "timeout": "soon"})),
            "steps[1].timeout: \"soon\" is not a duration",
        ),
        (
            serde_json::json!({"name": "s", "kind": "suite", "tests": [{"id": "a", "procedure": inner}]}),
            "tests[0].procedure.steps[0].timeout: invalid type: integer",
        ),
    ] {
        let error = Procedure::from_json(&json, "procedure").unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn the_demonstration_is_a_good_procedure() {
    Procedure::from_toml(include_str!("../../procedures/demo-ramp.toml"), "demo-ramp.toml").unwrap();
}
