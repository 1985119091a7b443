//! Lines as data: what they come to, what is wrong with them, and that no text breaks the reader.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rigwire_shared::agent::{DeviceKind, DeviceState};
use rigwire_shared::unit::Unit;
use rigwire_shared::{agent, ids};
use serde_json::json;

use super::*;

fn known() -> Known {
    let ramp = Procedure::from_toml(include_str!("../../procedures/demo-ramp.toml"), "demo-ramp.toml").unwrap();
    let single = json!({
        "name": "psu-ramp", "params": {"volts": {"type": "float", "unit": "V", "min": 0.0, "max": 12.0}},
        "roles": {"psu": {"class": "psu"}},
        "steps": [{"id": "set", "use": "instrument.action", "on": "psu", "with": {"action": "set_voltage", "v": "{{ volts }}"}},
            {"id": "settle", "use": "delay", "with": {"duration": "100ms"}}],
        "finally": [{"use": "instrument.safe_state", "on": "psu"}],
    });
    let single = Procedure::from_json(&single, "psu-ramp").unwrap();
    Known {
        devices: vec![supply(), meter(), phone(), device("host-1", "host", DeviceKind::Host)],
        names: vec!["demo-ramp".to_owned(), "psu-ramp".to_owned(), "broken".to_owned()],
        procedures: BTreeMap::from([
            ("demo-ramp".to_owned(), Ok(ramp)),
            ("psu-ramp".to_owned(), Ok(single)),
            ("broken".to_owned(), Err("broken.toml:1: what is this".to_owned())),
        ]),
    }
}

fn device(id: &str, class: &str, kind: DeviceKind) -> DeviceCard {
    DeviceCard {
        device: DeviceId::new(id).unwrap(),
        kind,
        class: class.to_owned(),
        profile: "test".to_owned(),
        tags: Vec::new(),
        state: DeviceState::Online,
        cause: "idle".to_owned(),
        identity: None,
        readings: Vec::new(),
        actions: Vec::new(),
        sdk: None,
    }
}

fn reading(id: &str, metric: &str) -> agent::ReadingCard {
    let metrics = vec![ids::MetricName::new(metric).unwrap()];
    agent::ReadingCard { id: id.to_owned(), metrics, unit: Unit::None, interval_ms: 500 }
}

fn action(id: &str, parameters: &[(&str, &str, &str, f64, f64)]) -> agent::ActionCard {
    let parameters = parameters.iter().map(|(name, kind, unit, min, max)| agent::ParameterCard {
        name: (*name).to_owned(),
        kind: (*kind).to_owned(),
        unit: Unit::parse(unit).unwrap(),
        min: (*kind == "float").then_some(*min),
        max: (*kind == "float").then_some(*max),
        values: if *kind == "enum" { vec!["0.2".to_owned(), "10".to_owned(), "slow".to_owned()] } else { Vec::new() },
    });
    agent::ActionCard { id: id.to_owned(), about: String::new(), hazard: None, parameters: parameters.collect() }
}

fn supply() -> DeviceCard {
    DeviceCard {
        readings: vec![reading("voltage", "voltage"), reading("current", "current")],
        actions: vec![
            action("set_voltage", &[("v", "float", "V", 0.0, 31.0)]),
            action("set_current_limit", &[("i", "float", "A", 0.0, 5.1)]),
            action("output", &[("on", "bool", "", 0.0, 0.0)]),
            action("ramp", &[("to", "float", "V", 0.0, 31.0), ("rate", "float", "", 0.0, 1.0)]),
        ],
        ..device("psu-1", "psu", DeviceKind::Instrument)
    }
}

fn meter() -> DeviceCard {
    DeviceCard {
        readings: vec![reading("value", "voltage")],
        actions: vec![action("set_nplc", &[("nplc", "enum", "", 0.0, 0.0)])],
        ..device("dmm-1", "dmm", DeviceKind::Instrument)
    }
}

fn phone() -> DeviceCard {
    device("pixel", "phone", DeviceKind::Android)
}

fn meant(text: &str) -> Result<Meaning, String> {
    parse(text).and_then(|line| compile(&line, &known())).map_err(|refusal| refusal.to_string())
}

fn plan(text: &str) -> Plan {
    match meant(text) {
        Ok(Meaning::Plan(plan)) => *plan,
        other => panic!("{text}: {other:?}"),
    }
}

/// Each step as `id needs > module on role {with}`.
fn steps(plan: &Plan) -> Vec<String> {
    let all = plan.procedure.all_steps().map(|(step, _)| {
        let needs: Vec<&str> = step.needs.iter().flatten().map(|need| need.as_str()).collect();
        let on = step.on.as_ref().map(|on| format!(" on {on}")).unwrap_or_default();
        let with = serde_json::to_string(&step.with).unwrap();
        format!("{} [{}] {}{on} {with}", step.id.as_ref().unwrap(), needs.join(" "), step.module)
    });
    all.collect()
}

#[test]
fn a_sequence_is_one_procedure() {
    let plan = plan("read dmm-1 value every 1s for 10s; set psu-1 voltage 3.3; wait 2s; log \"ready\"; safe psu-1");
    assert_eq!(
        steps(&plan),
        [
            r#"read-1 [] instrument.read on dmm-1 {"every":"1s","reading":"value","samples":10}"#,
            r#"set-2 [read-1] instrument.action on psu-1 {"action":"set_voltage","v":3.3}"#,
            r#"wait-3 [set-2] delay {"duration":"2s"}"#,
            r#"log-4 [wait-3] log {"message":"ready"}"#,
            r#"safe-5 [log-4] instrument.safe_state on psu-1 {}"#,
        ]
    );
    assert_eq!(plan.procedure.steps[0].timeout, Some(std::time::Duration::from_secs(70)));
    assert_eq!(
        plan.name,
        "read dmm-1 value every 1s for 10s; set psu-1 voltage 3.3; wait 2s; log \"ready\"; safe psu-1"
    );
    let stages: Vec<&str> = plan.stages().iter().map(|stage| stage.stage).collect();
    assert_eq!(stages, ["analyzing", "discovering", "matching", "generating", "complete"]);
}

#[test]
fn values_are_what_the_device_takes() {
    for (text, with) in [
        ("set psu-1 voltage 3300mV", r#"{"action":"set_voltage","v":3.3}"#),
        ("set psu-1 current_limit 500 mA", r#"{"action":"set_current_limit","i":0.5}"#),
        ("set psu-1 current-limit 1", r#"{"action":"set_current_limit","i":1.0}"#),
        ("set psu-1 v 2", r#"{"action":"set_voltage","v":2.0}"#),
        ("set psu-1 output on", r#"{"action":"output","on":true}"#),
        ("do psu-1 output off", r#"{"action":"output","on":false}"#),
        ("do psu-1 ramp rate=0.5 to = 1500 mV", r#"{"action":"ramp","rate":0.5,"to":1.5}"#),
        ("set dmm-1 nplc 10.0", r#"{"action":"set_nplc","nplc":"10"}"#),
        ("set dmm-1 nplc slow", r#"{"action":"set_nplc","nplc":"slow"}"#),
        (
            "set psu-1 voltage \"{{ steps['read-1'].voltage.mean }}\"",
            "{\"action\":\"set_voltage\",\"v\":\"{{ steps['read-1'].voltage.mean }}\"}",
        ),
        ("read dmm-1 voltage", r#"{"reading":"value"}"#),
        ("read dmm-1", "{}"),
        ("read dmm-1 value 5 times", r#"{"reading":"value","samples":5}"#),
        ("read dmm-1 3 times every 1m 30s", r#"{"every":"1m 30s","samples":3}"#),
        ("log ready now level=warning", r#"{"level":"warning","message":"ready now"}"#),
    ] {
        let plan = plan(text);
        assert_eq!(serde_json::to_string(&plan.procedure.steps[0].with).unwrap(), with, "{text}");
    }
}

#[test]
fn what_is_wrong_is_said_with_its_place_and_what_is_near() {
    for (text, expected) in [
        ("", "column 1: nothing was typed; help says what can be"),
        (" ; ;", "column 1: nothing was typed; help says what can be"),
        ("raed dmm-1", "column 1: \"raed\" is not a verb; did you mean read?"),
        ("read dmm1", "column 6: there is no device dmm1; did you mean dmm-1?"),
        ("do host-1 solver", "column 4: host-1 is a computer: its programs are started by steps with process.run"),
        ("log x; safe host-1", "column 13: host-1 is a computer"),
        ("read dmm-1 valeu", "column 12: dmm-1 has no reading valeu; its readings: value; did you mean value?"),
        ("read", "column 5: expected a device, as in read dmm-1 value"),
        ("wait 2s; read ", "column 14: expected a device, as in read dmm-1 value"),
        (
            "read dmm-1 value every 1s",
            "column 24: say for how long or how many times, too, as in read dmm-1 value every 1s for 10s",
        ),
        ("read dmm-1 value for 1s", "column 22: say how often, too, as in read dmm-1 value every 1s for 10s"),
        (
            "read dmm-1 value every 2s for 1s",
            "column 24: is no interval of that time, expected more than zero and no more than what follows for",
        ),
        ("read dmm-1 value every 1s every 2s for 3s", "column 27: every is said twice"),
        ("read dmm-1 value every 1ns for 1s", "column 24: these are 1000000000 samples, the most is 1000000"),
        ("read dmm-1 0 times", "column 12: \"0\" is not a number of times, expected 1 to 1000000"),
        ("read dmm-1 value often", "column 18: expected COUNT times, every DURATION or for DURATION"),
        ("set psu-1 voltage 40", "column 19: v of action set_voltage is 40 V, allowed 0 to 31 V"),
        ("set psu-1 voltage 3A", "column 19: v of action set_voltage is in V, found A"),
        ("set psu-1 voltage high", "column 19: v of action set_voltage is \"high\", expected a number V"),
        (
            "set psu-1 voltgae 3",
            "column 11: psu-1 has nothing called voltgae to set; it sets: voltage, current_limit, output; did you mean voltage?",
        ),
        ("set psu-1 output maybe", "column 18: on of action output is \"maybe\", allowed on or off"),
        ("set dmm-1 nplc 3", "column 16: nplc of action set_nplc is \"3\", allowed 0.2, 10, slow"),
        ("set psu-1 voltage", "column 18: expected a value"),
        ("set psu-1 voltage 3 4", "column 21: did not expect this; usage: set DEVICE NAME VALUE"),
        (
            "do psu-1 outptu on",
            "column 10: psu-1 has no action outptu; its actions: set_voltage, set_current_limit, output, ramp; did you mean output?",
        ),
        ("do psu-1 ramp to=1", "column 10: action ramp needs rate; it takes: to, rate"),
        ("do psu-1 ramp 1 2", "column 15: action ramp takes: to, rate; say which as NAME=VALUE"),
        (
            "do psu-1 ramp too=1 rate=1",
            "column 15: action ramp has no parameter too; it takes: to, rate; did you mean to?",
        ),
        ("wait 2", "column 6: \"2\" is not a duration, expected a form such as 500ms, 2s or 1m 30s; did you mean 2s?"),
        ("wait", "column 5: expected a duration such as 500ms, 2s or 1m 30s"),
        ("run psu-rmap", "column 5: there is no procedure psu-rmap; did you mean psu-ramp?"),
        ("run broken", "column 5: broken.toml:1: what is this"),
        (
            "run psu-ramp",
            "column 5: parameter volts of procedure psu-ramp: a value is required, expected a number from 0 to 12 V",
        ),
        (
            "run psu-ramp volt=5",
            "column 14: procedure psu-ramp has no parameter volt; its parameters: volts; did you mean volts?",
        ),
        (
            "run psu-ramp volts=13000mV",
            "column 20: parameter volts: 13.0 V is out of range, expected a number from 0 to 12 V",
        ),
        ("run psu-ramp volts=1 volts=2", "column 22: volts is said twice"),
        ("run psu-ramp 5", "column 14: expected NAME=VALUE: a procedure's parameters are given by name"),
        (
            "run demo-ramp; run demo-ramp",
            "column 20: procedure demo-ramp cannot be part of a sequence: its steps speak of each other, and",
        ),
        (
            "run psu-ramp volts=1; run psu-ramp volts=2",
            "column 27: procedure psu-ramp cannot be part of a sequence: another procedure of the line has a parameter volts, and there it is 1.0",
        ),
        ("log \"x\" level=loud", "column 15: \"loud\" is not a level"),
        ("log \"never ends", "column 5: the quote \" is never closed"),
        ("log \"\\x\"", "column 6: expected \\\" \\\\ \\n \\t \\r or \\u{…} after a backslash in quotes"),
        ("status; wait 1s", "column 1: this is answered at once and stands alone"),
        ("status forty-two", "column 8: \"forty-two\" is not a run, expected its number or UUID"),
        ("cancel", "column 7: expected a run's number, as in cancel 42"),
        ("help dacne", "column 6: \"dacne\" is not a verb"),
        ("wait 1s\nread dmm1", "line 2, column 6: there is no device dmm1; did you mean dmm-1?"),
        ("log \"{{ unclosed\"", "column 1: template \"{{ unclosed\""),
    ] {
        let message = meant(text).unwrap_err();
        assert!(message.starts_with(expected), "{text}\n{message}\n{expected}");
    }
}

#[test]
fn questions_and_orders_are_no_runs() {
    assert!(matches!(meant("help"), Ok(Meaning::Help(text)) if text.contains("read DEVICE")));
    assert!(matches!(meant("help read"), Ok(Meaning::Help(text)) if text.starts_with("read DEVICE")));
    assert_eq!(meant("devices;"), Ok(Meaning::Devices));
    assert_eq!(meant("status"), Ok(Meaning::Status(None)));
    assert_eq!(meant("status 42"), Ok(Meaning::Status(Some(RunReference::Number(42)))));
    let control = Meaning::Control { control: Control::Pause, run: RunReference::Number(42) };
    assert_eq!(meant("pause 42"), Ok(control));
}

#[test]
fn a_procedure_alone_is_itself_and_in_a_sequence_a_part_of_it() {
    let alone = plan("run psu-ramp volts=5V name=\"night run\"");
    assert_eq!((alone.procedure.name.as_str(), alone.name.as_str()), ("psu-ramp", "night run"));
    assert_eq!(alone.params, [("volts".to_owned(), rigwire_shared::value::Value::Float(5.0))]);

    let part = plan("wait 1s; run psu-ramp volts=5; read psu-1 voltage");
    assert_eq!(
        steps(&part),
        [
            r#"wait-1 [] delay {"duration":"1s"}"#,
            r#"set [wait-1] instrument.action on psu-1 {"action":"set_voltage","v":"{{ volts }}"}"#,
            r#"settle [set] delay {"duration":"100ms"}"#,
            r#"read-3 [settle] instrument.read on psu-1 {"reading":"voltage"}"#,
            r#"finally-1 [] instrument.safe_state on psu-1 {}"#,
        ]
    );
    assert_eq!(part.params, [("volts".to_owned(), rigwire_shared::value::Value::Float(5.0))]);
    // Without a device of the line that fits, the role stays what it was.
    let free = plan("wait 1s; run psu-ramp volts=5");
    assert_eq!(free.procedure.roles["psu"].class.as_deref(), Some("psu"));
    // The same twice: its steps get other names.
    let twice = plan("run psu-ramp volts=5; run psu-ramp volts=5");
    assert_eq!(
        steps(&twice)[2..4],
        [
            r#"set-2 [settle] instrument.action on psu {"action":"set_voltage","v":"{{ volts }}"}"#,
            r#"settle-2 [set-2] delay {"duration":"100ms"}"#
        ]
    );
}

#[test]
fn quotes_and_escapes_are_read() {
    for (text, message) in [
        (r#"log "a \"b\" \\ \u{b0}\n""#, "a \"b\" \\ °\n"),
        (r"log 'as \is; = fine'", r"as \is; = fine"),
        ("log plain", "plain"),
    ] {
        let plan = plan(text);
        let said = plan.procedure.steps[0].with.get("message").and_then(|value| value.as_str().map(str::to_owned));
        assert_eq!(said.as_deref(), Some(message), "{text}");
    }
}

fn a_word() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("dmm-1".to_owned()),
        Just("psu-1".to_owned()),
        Just("value".to_owned()),
        Just("voltage".to_owned()),
        Just("3.3".to_owned()),
        Just("500 mA".to_owned()),
        Just("1 kHz".to_owned()),
        Just("every".to_owned()),
        Just("for".to_owned()),
        Just("times".to_owned()),
        Just("2s".to_owned()),
        Just("1m 30s".to_owned()),
        Just("=".to_owned()),
        Just("level=info".to_owned()),
        "\"[a-z\\\\\"= ;µ\\n]{0,6}\"",
        "'[a-z\"= ;\\\\\\t]{0,6}'",
        "[a-z0-9.%+-]{1,5}",
    ]
}

fn a_line() -> impl Strategy<Value = String> {
    let verb = prop::sample::select(help::VERBS.iter().map(|verb| verb.name).collect::<Vec<_>>());
    let sentence =
        (verb, prop::collection::vec(a_word(), 0..6)).prop_map(|(verb, words)| format!("{verb} {}", words.join(" ")));
    prop::collection::vec(sentence, 1..4).prop_map(|sentences| sentences.join(";"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_text_breaks_the_reader(text in prop_oneof!["\\PC{0,60}", "(?s).{0,60}", a_line()]) {
        let known = known();
        match parse(&text).and_then(|line| compile(&line, &known)) {
            Ok(_) => {}
            Err(refusal) => {
                prop_assert!(refusal.column >= 1 && refusal.line >= 1);
                prop_assert!(refusal.caret.ends_with('^'), "{}", refusal.caret);
                prop_assert!(!refusal.message.is_empty());
            }
        }
    }

    #[test]
    fn what_is_printed_reads_as_the_same(text in a_line()) {
        if let Ok(line) = parse(&text) {
            let printed = line.to_string();
            let again = parse(&printed).map_err(|refusal| TestCaseError::fail(format!("{printed:?}: {refusal}")))?;
            prop_assert_eq!(&line, &again, "{}", printed);
            prop_assert_eq!(again.to_string(), printed);
        }
    }
}
