//! TAP, the Test Anything Protocol, versions 12 to 14, line by line as a program prints it. Pure. Subtests count through the line
//! of the test that they belong to.

use rigwire_shared::event::TestOutcome;

use super::report::TestReport;

/// More tests than this in one plan are a mistake.
const TESTS_MAX: u64 = 1_000_000;

#[derive(Debug, Default)]
pub(crate) struct Tap {
    planned: Option<u64>,
    /// Why there is nothing to run, if the plan says so.
    skipped_all: bool,
    seen: u64,
    /// Told when it is known that nothing about it follows.
    pending: Option<TestReport>,
    in_yaml: bool,
    bail_out: Option<String>,
}

/// What a line was.
#[derive(Debug, PartialEq)]
pub(crate) struct Taken {
    /// A test that is complete.
    pub(crate) test: Option<TestReport>,
    /// The line says nothing that is not told by tests.
    pub(crate) is_tap: bool,
}

impl Tap {
    pub(crate) fn line(&mut self, line: &str) -> Taken {
        if self.in_yaml {
            match line.trim() {
                "..." => self.in_yaml = false,
                entry => self.yaml(entry),
            }
            return Taken { test: None, is_tap: true };
        }
        if self.pending.is_some() && line.starts_with(' ') && line.trim() == "---" {
            self.in_yaml = true;
            return Taken { test: None, is_tap: true };
        }
        let test = self.flush();
        // An indented line belongs to a subtest.
        let is_tap = match line.trim_end() {
            line if line.starts_with("TAP version ") => true,
            line if line.starts_with("1..") => self.plan(line),
            line if line.starts_with("Bail out!") => {
                let why = line.trim_start_matches("Bail out!").trim();
                self.bail_out = Some(if why.is_empty() { "no reason given".to_owned() } else { why.to_owned() });
                true
            }
            line => self.result(line),
        };
        Taken { test, is_tap }
    }

    /// The last test, when no line came for a while or none will come.
    pub(crate) fn flush(&mut self) -> Option<TestReport> {
        if self.in_yaml { None } else { self.pending.take() }
    }

    pub(crate) fn end(&mut self) -> Option<TestReport> {
        self.in_yaml = false;
        self.pending.take()
    }

    /// What is wrong with the whole, once nothing more will come.
    pub(crate) fn verdict(&self) -> Result<(), String> {
        match (&self.bail_out, self.planned) {
            (Some(why), _) => Err(format!("the tests bailed out: {why}")),
            (None, Some(planned)) if planned != self.seen && !self.skipped_all => {
                Err(format!("{} of {planned} planned tests ran", self.seen))
            }
            (None, None) => Err("there is no plan, expected a line such as 1..4".to_owned()),
            (None, Some(_)) => Ok(()),
        }
    }

    fn plan(&mut self, line: &str) -> bool {
        let (count, comment) = line.split_once('#').unwrap_or((line, ""));
        let Some(count) = count.trim().strip_prefix("1..").and_then(|count| count.trim().parse().ok()) else {
            return false;
        };
        self.planned = Some(count);
        self.skipped_all = directive(comment).is_some_and(|(word, _)| word == "SKIP");
        true
    }

    fn result(&mut self, line: &str) -> bool {
        let (passed, rest) = match (line.strip_prefix("not ok"), line.strip_prefix("ok")) {
            (Some(rest), _) => (false, rest),
            (None, Some(rest)) => (true, rest),
            (None, None) => return false,
        };
        if !(rest.is_empty() || rest.starts_with(' ')) || self.seen >= TESTS_MAX {
            return false;
        }
        self.seen += 1;
        let (text, comment) = split_comment(rest.trim());
        let (number, name) = match text.split_once(' ').unwrap_or((text, "")) {
            (number, name) if number.parse::<u64>().is_ok() => (number.to_owned(), name),
            _ => (self.seen.to_string(), text),
        };
        let name = name.trim().trim_start_matches("- ").replace("\\#", "#").trim().to_owned();
        let (outcome, message) = match directive(comment) {
            Some(("SKIP", why)) => (TestOutcome::Skipped, Some(why)),
            // A test that is known not to pass yet fails nothing.
            Some((_, why)) if !passed => (TestOutcome::Skipped, Some(format!("todo: {why}"))),
            Some(_) | None if passed => (TestOutcome::Passed, None),
            Some(_) | None => (TestOutcome::Failed, None),
        };
        self.pending = Some(TestReport {
            test: if name.is_empty() { number } else { name.clone() },
            name: if name.is_empty() { format!("test {}", self.seen) } else { name },
            outcome,
            duration_s: None,
            score: None,
            message: message.filter(|message| !message.is_empty()),
        });
        true
    }

    /// Two of the keys that programs write into the block after a test.
    fn yaml(&mut self, entry: &str) {
        let Some((test, (key, value))) = self.pending.as_mut().zip(entry.split_once(':')) else { return };
        let value = value.trim().trim_matches(['"', '\'']);
        match key.trim() {
            "duration_ms" => test.duration_s = value.parse::<f64>().ok().map(|ms| ms / 1000.0),
            "message" if !value.is_empty() => test.message = Some(value.to_owned()),
            _ => {}
        }
    }
}

/// A test's text and what stands behind a `#` that is not escaped.
fn split_comment(text: &str) -> (&str, &str) {
    let at = text.match_indices('#').map(|(at, _)| at).find(|at| !text.get(..*at).is_some_and(|so| so.ends_with('\\')));
    match at.and_then(|at| text.split_at_checked(at)) {
        Some((text, comment)) => (text.trim(), comment.trim_start_matches('#')),
        None => (text, ""),
    }
}

fn directive(comment: &str) -> Option<(&'static str, String)> {
    let comment = comment.trim();
    let (word, rest) = comment.split_once([' ', ':']).unwrap_or((comment, ""));
    let word = match word.to_ascii_uppercase().as_str() {
        // "SKIPPED" and the like are in use, too.
        skip if skip.starts_with("SKIP") => "SKIP",
        "TODO" => "TODO",
        _ => return None,
    };
    Some((word, rest.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(text: &str) -> (Vec<String>, Vec<String>, Result<(), String>) {
        let mut tap = Tap::default();
        let (mut tests, mut other) = (Vec::new(), Vec::new());
        for line in text.lines() {
            let taken = tap.line(line);
            tests.extend(taken.test);
            if !taken.is_tap {
                other.push(line.to_owned());
            }
        }
        tests.extend(tap.end());
        let shown = tests.iter().map(|test| {
            let extra = [test.duration_s.map(|s| format!("{s} s")), test.message.clone()].into_iter().flatten();
            let extra: String = extra.map(|part| format!(" | {part}")).collect();
            format!("{} {:?}{extra}", test.test, test.outcome)
        });
        (shown.collect(), other, tap.verdict())
    }

    #[test]
    fn a_whole_run_is_read() {
        let text = "TAP version 14\n1..6\nok 1 - boots\n  ---\n  duration_ms: 1500\n  message: \"late: but well\"\n  ...\n\
                    # a remark\nnot ok 2 - holds \\#1 in place\nok 3 - reads # SKIP no meter\nnot ok 4 - flies # TODO wings\n\
                    # Subtest: inner\n    ok 1 - deep\n    1..1\nok 5 - inner\nok\n";
        let (tests, other, verdict) = all(text);
        assert_eq!(
            tests,
            [
                "boots Passed | 1.5 s | late: but well",
                "holds #1 in place Failed",
                "reads Skipped | no meter",
                "flies Skipped | todo: wings",
                "inner Passed",
                "6 Passed"
            ]
        );
        assert_eq!(other, ["# a remark", "# Subtest: inner", "    ok 1 - deep", "    1..1"]);
        assert_eq!(verdict, Ok(()));
    }

    #[test]
    fn what_is_missing_is_told() {
        for (text, expected) in [
            ("1..3\nok 1\n", Err("1 of 3 planned tests ran")),
            ("ok 1\n1..1\n", Ok(())),
            ("1..0 # SKIP no hardware\n", Ok(())),
            ("ok 1\n", Err("there is no plan, expected a line such as 1..4")),
            ("1..2\nok 1\nBail out! the supply is gone\n", Err("the tests bailed out: the supply is gone")),
            ("okay\nnothing\n1..x\n", Err("there is no plan, expected a line such as 1..4")),
        ] {
            assert_eq!(all(text).2, expected.map_err(str::to_owned), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(ok |not ok|1\\.\\.|#|  ---\n|\\\\|[ -~é]|\n){0,60}") {
            all(&text).2.ok();
        }
    }
}
