//! The bundled profiles as they are, and each mistake with the message it earns.

use proptest::prelude::*;
use rigwire_shared::unit::Unit;

use super::*;

const KORAD: &str = include_str!("../../profiles/korad.ka3005p.toml");
const METER: &str = include_str!("../../profiles/keysight.34461a.toml");
const EUROTHERM: &str = include_str!("../../profiles/eurotherm.2400.toml");

#[test]
fn bundled_profiles_are_right_and_their_vectors_hold() {
    for id in Profile::bundled_ids() {
        let profile = Profile::bundled(id).unwrap().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(profile.id, id);
        assert!(profile.check_vectors().unwrap_or_else(|errors| panic!("{id}: {errors:?}")) > 0, "{id} has no vectors");
    }
}

#[test]
fn a_profile_tells_what_the_agent_needs() {
    let korad = Profile::parse("korad.toml", KORAD).unwrap();
    assert_eq!((korad.serial_settings().baud, korad.serial_settings().parity), (9600, Parity::None));
    assert!(korad.allows_transport(TransportKind::Serial) && !korad.allows_transport(TransportKind::Tcp));
    assert!(korad.safe_on(Trigger::Abort) && korad.safe_on(Trigger::HubLost) && korad.has_safe_state());
    assert_eq!(korad.hub_lost_after(), Some(Duration::from_secs(30)));
    assert_eq!(korad.is_driven(), Ok(()));
    assert_eq!(korad.probe(), Probe::OptIn);
    let status = korad.reading_cards().remove(3);
    assert_eq!(status.metrics.iter().map(MetricName::as_str).collect::<Vec<_>>(), ["status.mode", "status.output"]);
    let action = korad.action_cards().remove(0);
    assert_eq!((action.parameters[0].max, &action.parameters[0].unit), (Some(31.0), &Unit::Volt));

    let meter = Profile::parse("meter.toml", METER).unwrap();
    assert_eq!((meter.tcp_port(), meter.is_driven()), (Some(5025), Ok(())));
    assert_eq!(meter.action_cards()[0].parameters[0].values, ["0.02", "0.2", "1", "10", "100"]);
    assert!(!meter.has_safe_state() && !meter.safe_on(Trigger::Shutdown));

    let missing = Profile::parse("eurotherm.toml", EUROTHERM).unwrap().is_driven().unwrap_err();
    let expected = "profile eurotherm.2400: transport modbus-rtu, modbus-rtu-over-tcp, modbus-tcp is not driven yet, expected serial or tcp";
    assert_eq!(missing, expected);
}

/// The first message for a file in which `from` became `to`.
fn message(source: &str, from: &str, to: &str) -> String {
    assert!(source.contains(from), "{from:?} is not in the profile");
    match Profile::parse("x.toml", &source.replacen(from, to, 1)) {
        Ok(_) => format!("accepted {to:?}"),
        Err(error) => error.problems[0].to_string(),
    }
}

#[test]
fn mistakes_are_named_with_their_line() {
    let mut wrong = Vec::new();
    for (source, from, to, expected) in [
        (KORAD, "schema = 1", "schema = 2", "x.toml:1: schema: 2 is unknown, expected 1"),
        (
            KORAD,
            "gap_ms     = 80",
            "gap_sm     = 80",
            "x.toml:26: timing.gap_sm: unknown field `gap_sm`, expected one of `timeout_ms`, `gap_ms`, `retries`, `resync`, `offline`",
        ),
        (
            KORAD,
            "len = 5 }",
            "length = 5 }",
            "x.toml:36: reading[1].rx.length: unknown field `length`, expected one of `mode`, `end`, `len`, `then_drain_ms`, `gap_ms`, `max`, `echo`",
        ),
        (
            KORAD,
            "sources = [\"libsigrok src/hardware/korad-kaxxxxp\", \"sigrok wiki Korad_KAxxxxP_series\"]\n",
            "",
            "x.toml:2: profile: missing field `sources`",
        ),
        (
            KORAD,
            "[\"libsigrok src/hardware/korad-kaxxxxp\", \"sigrok wiki Korad_KAxxxxP_series\"]",
            "[]",
            "x.toml:9: profile.sources: no source, expected where each command was checked",
        ),
        (
            KORAD,
            "unit = \"V\"",
            "unit = \"volts of direct current\"",
            "x.toml:39: reading[1].unit: unit \"volts of direct current\" is too long, expected at most 16 bytes",
        ),
        (
            KORAD,
            "id = \"current\"",
            "id = \"voltage\"",
            "x.toml:43: reading[2].id: \"voltage\" is used twice, expected one reading of that id",
        ),
        (
            KORAD,
            "metric = \"current\"",
            "metric = \"voltage\"",
            "x.toml:47: reading[2].metric: \"voltage\" is used twice in one mode, expected one reading per metric",
        ),
        (
            KORAD,
            "id = \"set_current_limit\"",
            "id = \"set_voltage\"",
            "x.toml:76: action[2].id: \"set_voltage\" is used twice, expected one action of that id",
        ),
        (
            KORAD,
            "{ reading = \"status\", field = \"output\", equals = \"on\" }",
            "{ reading = \"state\", field = \"output\", equals = \"on\" }",
            "x.toml:86: action[3].verify.reading: state is no reading of this profile",
        ),
        (
            KORAD,
            "{ reading = \"status\", field = \"output\", equals = 0 }",
            "{ reading = \"status\", field = \"outputs\", equals = 0 }",
            "x.toml:94: safe_state.verify.field: outputs is no field of reading status, expected mode, output",
        ),
        (
            KORAD,
            "reading = \"status\"\nrx",
            "reading = \"state\"\nrx",
            "x.toml:114: vector[1].reading: state is no reading of this profile",
        ),
        (
            KORAD,
            "S*3005D?P?",
            "S*(3005D?P?",
            "x.toml:14: match[1].idn: pattern \"^(?:KORAD|RND 320-|TENMA |VELLEMAN)\\\\s?\\\\S*(3005D?P?\\\\S*\" is wrong: unclosed group",
        ),
        (
            METER,
            "(?P<value>",
            "(?P<number>",
            "x.toml:42: reading[1].parse.re: pattern without a group named value, expected (?P<value>...)",
        ),
        (
            KORAD,
            "VSET1:{v:05.2f}",
            "VSET1:{u:05.2f}",
            "x.toml:72: action[1].send: placeholder {u} is no parameter, expected v",
        ),
        (
            KORAD,
            "VSET1:{v:05.2f}",
            "VSET1:{v:05.2q}",
            "x.toml:72: action[1].send: format \"05.2q\" is unknown, expected the form [+][0][width][.precision] and f, e, E, d, x or X",
        ),
        (
            KORAD,
            "min = 0.0, max = 31.0",
            "min = 40.0, max = 31.0",
            "x.toml:71: action[1].params[1].min: 40 is above max 31",
        ),
        (
            KORAD,
            "rx = { len = 5 }\nparse",
            "parse",
            "x.toml:33: reading[1].rx: fixed framing without a length, expected rx = { len = N }",
        ),
        (KORAD, "len = 1 }", "len = 2 }", "x.toml:63: reading[4].rx: len = 2 never fits what parse reads, expected 1"),
        (
            KORAD,
            "send = \"VOUT1?\"",
            "read = { fn = 3, addr = 1, type = \"f32\" }",
            "x.toml:35: reading[1].read: a register on a transport that is not Modbus, expected send",
        ),
        (
            EUROTHERM,
            "read = { fn = 3, addr = 0x8002, type = \"f32\" }",
            "send = \"PV?\"\nparse = { kind = \"float\" }",
            "x.toml:31: reading[1].send: a text on a Modbus transport, expected read or write of a register",
        ),
        (
            EUROTHERM,
            "status.sensor_break",
            "status.broken",
            "x.toml:35: reading[1].invalid: reading status has no field broken",
        ),
        (
            EUROTHERM,
            "status.sensor_break",
            "state.sensor_break",
            "x.toml:35: reading[1].invalid: reading state does not exist",
        ),
        (
            EUROTHERM,
            "high_clear = 175.0",
            "high_clear = 185.0",
            "x.toml:36: reading[1].limits.high_clear: above high, expected at most high",
        ),
        (
            EUROTHERM,
            "for = \"5s\"",
            "for = \"5 apples\"",
            "x.toml:36: reading[1].limits.for: duration \"5 apples\" is wrong, expected a number with ms, s, m or h such as \"500ms\"",
        ),
        (
            KORAD,
            "every = \"500ms\"",
            "every = \"500\"",
            "x.toml:40: reading[1].every: duration \"500\" is wrong, expected a number with ms, s, m or h such as \"500ms\"",
        ),
        (
            KORAD,
            "\"lease-lost\"",
            "\"lease-gone\"",
            "x.toml:92: safe_state.on[2]: \"lease-gone\" is unknown, expected abort, lease-lost, hub-lost:DURATION or shutdown",
        ),
        (
            KORAD,
            "set = [\"vset\"]",
            "set = [\"volts\"]",
            "x.toml:102: simulator.rules[2].set: volts is no variable of the simulator",
        ),
        (
            KORAD,
            "\"sixth-byte\"",
            "\"seventh-byte\"",
            "x.toml:111: simulator.faults[6]: fault \"seventh-byte\" is unknown, expected silent, late:DURATION, garbage:N, split:DURATION, unplug, sixth-byte, echo, bad-crc, wrong-unit or exception:N",
        ),
        (
            METER,
            "init = []",
            "init = [\"*RST\"]",
            "x.toml:33: mode.observe.init: not empty: observing never changes state, expected []",
        ),
    ] {
        let found = message(source, from, to);
        if found != expected {
            wrong.push(format!("{found}\n  expected {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn broken_toml_has_a_line() {
    let error = Profile::parse("x.toml", "schema = 1\n[profile\n").unwrap_err();
    assert_eq!(error.problems[0].line, 2, "{error}");
    assert!(Profile::parse("x.toml", "").is_err());
}

#[test]
fn all_mistakes_are_shown_at_once() {
    let source = KORAD.replace("max = 31.0", "max = -1.0").replace("\"shutdown\"", "\"lunch\"");
    let error = Profile::parse("x.toml", &source).unwrap_err();
    assert_eq!(error.problems.len(), 2, "{error}");
    assert_eq!(error.to_string().lines().count(), 2);
}

#[test]
fn profiles_are_found_by_name_and_path() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bench.psu.toml");
    std::fs::write(&path, KORAD.replace("korad.ka3005p", "bench.psu")).unwrap();
    let dirs = [dir.path().to_owned()];
    assert_eq!(Profile::find("bench.psu", &dirs).unwrap().id, "bench.psu");
    assert_eq!(Profile::find(path.to_str().unwrap(), &[]).unwrap().id, "bench.psu");
    assert_eq!(Profile::find("hp.34401a", &dirs).unwrap().id, "hp.34401a");
    let missing = Profile::find("korad.ka3005", &dirs).unwrap_err().to_string();
    assert_eq!(missing, "korad.ka3005: no such profile, did you mean korad.ka3005p?");
    let missing = Profile::find("toaster", &[]).unwrap_err().to_string();
    assert_eq!(
        missing,
        "toaster: no such profile, known are eurotherm.2400, hp.34401a, keysight.34461a, korad.ka3005p"
    );
}

#[test]
fn vectors_that_do_not_hold_are_named() {
    let source = KORAD.replace("mode = \"cv\", output = 1", "mode = \"cc\", output = 1");
    let errors = Profile::parse("x.toml", &source).unwrap().check_vectors().unwrap_err();
    assert_eq!(errors, ["line 113: vector of status: mode is cv, expected cc"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Files come from outside: whatever is in them, the answer is a profile or a message.
    #[test]
    fn no_file_panics(
        which in 0_usize..3,
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), "[-0-9a-z\"{}=.,\\[\\]\n]{0,6}", 0_usize..6), 1..4),
    ) {
        let mut text: Vec<char> = [KORAD, METER, EUROTHERM][which].chars().collect();
        for (at, new, removed) in changes {
            let at = at.index(text.len());
            let end = (at + removed).min(text.len());
            text.splice(at..end, new.chars());
        }
        let source: String = text.into_iter().collect();
        match Profile::parse("x.toml", &source) {
            Ok(profile) => drop(profile.check_vectors()),
            Err(error) => prop_assert!(error.problems.iter().all(|problem| !problem.message.is_empty())),
        }
    }

    /// A wrong number anywhere is a message, not an overflow.
    #[test]
    fn no_number_panics(which in 0_usize..3, at in any::<proptest::sample::Index>(), number in prop_oneof![
        Just("0"), Just("-1"), Just("9223372036854775807"), Just("65535"), Just("1e308"), Just("nan"), Just("255"),
    ]) {
        let source = [KORAD, METER, EUROTHERM][which];
        let digits: Vec<(usize, &str)> = source.match_indices(|c: char| c.is_ascii_digit()).collect();
        let (start, _) = digits[at.index(digits.len())];
        let end = start + source[start..].find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(0);
        let changed = format!("{}{number}{}", &source[..start], &source[end..]);
        if let Ok(profile) = Profile::parse("x.toml", &changed) {
            drop(profile.check_vectors());
        }
    }
}
