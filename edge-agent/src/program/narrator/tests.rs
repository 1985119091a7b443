//! Lines in, events out.
#![expect(clippy::wildcard_enum_match_arm, reason = "a test looks for one kind of event among all")]

use proptest::prelude::*;
use rigwire_shared::ids::MetricName;
use rigwire_shared::unit::Unit;
use uuid::Uuid;

use super::super::line::Lines;
use super::*;

fn narrator(tap: bool, now: Instant) -> Narrator {
    let about = About {
        run: RunId(Uuid::nil()),
        attempt: AttemptId(Uuid::nil()),
        device: DeviceId::new("host-1").unwrap(),
        program: "solver".to_owned(),
    };
    Narrator::new(about, tap, now)
}

fn line(text: &str) -> Line {
    Line { text: text.to_owned(), cut: 0 }
}

fn shown(said: &[Said]) -> Vec<String> {
    said.iter()
        .map(|said| match said {
            Said::Event(EventBody::Log(log)) => format!("{} {}: {}", log.level.as_str(), log.source, log.message),
            Said::Event(EventBody::Report { report, .. }) => match report {
                RunReport::Progress { percent, phase, message } => format!(
                    "progress {percent} {} {}",
                    phase.as_deref().unwrap_or("-"),
                    message.as_deref().unwrap_or("-")
                ),
                RunReport::Tested { test, outcome, .. } => format!("test {test} {outcome:?}"),
                RunReport::Phase { phase, .. } => format!("phase {phase}"),
                other => format!("{other:?}"),
            },
            other => format!("{other:?}"),
        })
        .collect()
}

fn tell(narrator: &mut Narrator, text: &str, now: Instant) -> Vec<String> {
    shown(&narrator.line(line(text), Stream::Output, now))
}

#[test]
fn each_line_becomes_what_it_means() {
    let now = Instant::now();
    let mut narrator = narrator(false, now);
    assert_eq!(tell(&mut narrator, "reading mesh", now), ["info solver: reading mesh"]);
    assert_eq!(tell(&mut narrator, "  ", now), [""; 0]);
    assert_eq!(shown(&narrator.line(line("odd"), Stream::Error, now)), ["info solver (stderr): odd"]);
    assert_eq!(tell(&mut narrator, "::rigwire log error no licence", now), ["error solver: no licence"]);
    assert_eq!(
        tell(&mut narrator, "::rigwire metric x nan", now),
        ["warning solver: a report line value is no finite number: ::rigwire metric x nan"]
    );
    let over = Line { text: "::rigwire log info x".to_owned(), cut: 9 };
    assert_eq!(
        shown(&narrator.line(over, Stream::Output, now)),
        ["warning solver: a report line is longer than a line may be, by 9 bytes: ::rigwire log info x"]
    );
    let long = Line { text: "x".repeat(50), cut: 7 };
    let expected = format!("info solver: {}… (7 more bytes)", "x".repeat(50));
    assert_eq!(shown(&narrator.line(long, Stream::Output, now)), [expected]);
    assert_eq!(narrator.tail().lines().count(), 6, "{}", narrator.tail());
}

#[test]
fn progress_is_told_at_most_five_times_a_second_and_the_last_word_counts() {
    let now = Instant::now();
    let mut narrator = narrator(false, now);
    assert_eq!(tell(&mut narrator, "::rigwire progress 1 phase=a one", now), ["progress 1 a one"]);
    assert_eq!(tell(&mut narrator, "::rigwire progress 2 phase=b two", now), [""; 0]);
    assert_eq!(tell(&mut narrator, "::rigwire progress 3 three", now), [""; 0]);
    assert_eq!(shown(&narrator.tick(now + PROGRESS_EVERY / 2)), [""; 0]);
    assert_eq!(shown(&narrator.tick(now + PROGRESS_EVERY)), ["progress 3 b three"]);
    assert_eq!(tell(&mut narrator, "::rigwire progress 100", now + PROGRESS_EVERY), [""; 0]);
    assert_eq!(shown(&narrator.end(now + PROGRESS_EVERY)), ["progress 100 - -"]);
}

#[test]
fn a_flood_of_lines_is_counted_and_a_flood_of_reports_waits() {
    let now = Instant::now();
    let mut narrator = narrator(false, now);
    let told = (0..1500).filter(|_| !tell(&mut narrator, "chatter", now).is_empty()).count();
    assert_eq!(told, 1000);
    assert_eq!(shown(&narrator.end(now)), ["warning solver: 500 lines are not shown: more than 50 a second"]);
    for _ in 0..1000 {
        tell(&mut narrator, "::rigwire metric x 1", now);
    }
    assert_eq!(narrator.wait_until(), None);
    assert_eq!(tell(&mut narrator, "::rigwire metric x 1", now).len(), 1);
    assert_eq!(narrator.wait_until(), Some(now + Duration::from_millis(5)));
}

#[test]
fn results_are_the_last_values_and_what_was_set() {
    let now = Instant::now();
    let mut narrator = narrator(false, now);
    for text in [
        "::rigwire metric x 1",
        "::rigwire output verdict \"good\"",
        "::rigwire metric x 2.5 mm",
        "::rigwire test a passed",
        "::rigwire test a failed",
        "::rigwire test b skipped",
    ] {
        tell(&mut narrator, text, now);
    }
    let tests =
        [("passed", 1), ("failed", 1), ("skipped", 1)].map(|(name, count)| (name.to_owned(), Value::Int(count)));
    let expected = vec![
        ("x".to_owned(), Value::Float(2.5)),
        ("verdict".to_owned(), Value::Text("good".to_owned())),
        ("tests".to_owned(), Value::Map(tests.into())),
    ];
    assert_eq!(narrator.results(), expected);
    assert_eq!(narrator.tests_verdict(), Err("1 of 3 tests failed: a".to_owned()));
    assert_eq!(
        tell(&mut narrator, "::rigwire output exit_code 0", now),
        ["warning solver: exit_code is a result of every program and cannot be set"]
    );
    let large = format!("::rigwire output large {}", "x".repeat(OUTPUTS_MAX));
    assert_eq!(tell(&mut narrator, &large, now).len(), 1);
    assert_eq!(narrator.results(), expected);
}

#[test]
fn two_tests_of_one_name_stay_two() {
    let now = Instant::now();
    let mut narrator = narrator(true, now);
    let mut told = Vec::new();
    for text in ["1..3", "ok 1 - boots", "not ok 2 - boots", "hello", "ok 3 - halts"] {
        told.extend(tell(&mut narrator, text, now));
    }
    told.extend(shown(&narrator.end(now)));
    assert_eq!(told, ["test boots Passed", "test boots (2) Failed", "info solver: hello", "test halts Passed"]);
    assert_eq!(narrator.tests_verdict(), Err("1 of 3 tests failed: boots".to_owned()));
}

proptest! {
    /// Whatever is printed, in whatever pieces: no panic, numbers that are numbers, messages that fit.
    #[test]
    fn arbitrary_output_is_told_in_bounds(
        parts in proptest::collection::vec(prop_oneof![
            Just(b"::rigwire ".to_vec()),
            "(progress|metric|test|output|event|artifact|log|phase)( [ -~]{0,9}){0,4}".prop_map(String::into_bytes),
            Just(b"\n".to_vec()),
            proptest::collection::vec(any::<u8>(), 0..40),
        ], 0..60),
        tap: bool,
    ) {
        let now = Instant::now();
        let bytes = parts.concat();
        let tell_all = |chunk: usize| {
            let mut narrator = narrator(tap, now);
            let mut lines = Lines::default();
            let mut said = Vec::new();
            for piece in bytes.chunks(chunk) {
                for line in lines.push(piece) {
                    said.extend(narrator.line(line, Stream::Output, now));
                }
            }
            said.extend(lines.end().into_iter().flat_map(|line| narrator.line(line, Stream::Output, now)).collect::<Vec<_>>());
            said.extend(narrator.end(now));
            (said, narrator.results(), narrator.tail())
        };
        let (said, results, tail) = tell_all(usize::MAX >> 1);
        prop_assert_eq!(&(said.clone(), results, tail), &tell_all(3));
        for said in &said {
            match said {
                Said::Event(EventBody::Report { report: RunReport::Metric { value, .. }, .. }) => prop_assert!(value.is_finite()),
                Said::Event(EventBody::Log(log)) => prop_assert!(log.message.len() <= MESSAGE_MAX + 3),
                _ => {}
            }
        }
    }
}

#[test]
fn a_metric_keeps_its_unit() {
    let now = Instant::now();
    let said = narrator(false, now).line(line("::rigwire metric x 1 mm"), Stream::Output, now);
    let Some(Said::Event(EventBody::Report { report, .. })) = said.first() else { panic!("{said:?}") };
    let unit = Unit::parse("mm").unwrap();
    assert_eq!(*report, RunReport::Metric { name: MetricName::new("x").unwrap(), value: 1.0, unit });
}
