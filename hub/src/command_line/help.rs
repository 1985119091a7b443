//! The verbs and what they take. Knows no device.

use super::nearest::nearest;
use super::refusal::Trouble;

pub(super) struct Verb {
    pub(super) name: &'static str,
    pub(super) usage: &'static str,
    about: &'static str,
    example: &'static str,
}

pub(super) const VERBS: &[Verb] = &[
    Verb {
        name: "read",
        usage: "read DEVICE [READING] [COUNT times] [every DURATION] [for DURATION]",
        about: "takes readings of a device: one, so many, or for so long; all its readings when none is named",
        example: "read dmm-1 value every 1s for 10s",
    },
    Verb {
        name: "set",
        usage: "set DEVICE NAME VALUE",
        about: "changes a setting of a device, checked against its limits before anything moves",
        example: "set psu-1 voltage 3.3V",
    },
    Verb {
        name: "do",
        usage: "do DEVICE ACTION [VALUE | NAME=VALUE ...]",
        about: "performs an action of a device",
        example: "do psu-1 output on=true",
    },
    Verb {
        name: "safe",
        usage: "safe DEVICE",
        about: "leaves a device harmless and reads that back",
        example: "safe psu-1",
    },
    Verb { name: "wait", usage: "wait DURATION", about: "waits before the next sentence", example: "wait 2s" },
    Verb {
        name: "run",
        usage: "run PROCEDURE [NAME=VALUE ...] [name=\"...\"]",
        about: "runs a saved procedure, by itself or as a part of what is typed",
        example: "run psu-ramp volts=5 name=\"night run\"",
    },
    Verb {
        name: "adb",
        usage: "adb DEVICE shell|install|push|pull|tap|swipe|key|text|screenshot|logcat ...",
        about: "does something on an Android device",
        example: "adb pixel shell \"getprop ro.build.id\"",
    },
    Verb {
        name: "log",
        usage: "log TEXT [level=debug|info|warning|error]",
        about: "writes a line into the run's log",
        example: "log \"ready\"",
    },
    Verb { name: "help", usage: "help [VERB]", about: "says what can be typed", example: "help read" },
    Verb { name: "devices", usage: "devices", about: "lists the devices and how they stand", example: "devices" },
    Verb {
        name: "status",
        usage: "status [RUN]",
        about: "says what runs, or how one run stands",
        example: "status 42",
    },
    Verb { name: "cancel", usage: "cancel RUN", about: "ends a run early", example: "cancel 42" },
    Verb { name: "pause", usage: "pause RUN", about: "holds a run before its next step", example: "pause 42" },
    Verb { name: "resume", usage: "resume RUN", about: "lets a paused run go on", example: "resume 42" },
];

pub(super) fn find(name: &str) -> Option<&'static Verb> {
    VERBS.iter().find(|verb| verb.name == name)
}

pub(super) fn unknown(name: &str, at: usize) -> Trouble {
    let names = VERBS.iter().map(|verb| verb.name);
    let suggestion = nearest(name, names.clone());
    let message = match suggestion {
        Some(_) => format!("{name:?} is not a verb"),
        None => format!("{name:?} is not a verb; verbs: {}", names.collect::<Vec<_>>().join(", ")),
    };
    Trouble::new(at, message).suggest(suggestion)
}

/// All verbs, or one of them; `None` when it is no verb.
pub fn help(about: Option<&str>) -> Option<String> {
    let Some(name) = about else {
        let lines: Vec<String> = VERBS.iter().map(|verb| format!("{}\n    {}", verb.usage, verb.about)).collect();
        let last = "Sentences are separated by ; and run one after the other.";
        return Some(format!("{}\n{last}", lines.join("\n")));
    };
    find(name).map(|verb| format!("{}\n    {}\nFor example: {}", verb.usage, verb.about, verb.example))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_example_is_one() {
        for verb in VERBS {
            let line = crate::command_line::parse(verb.example);
            assert!(line.is_ok_and(|line| line.to_string() == verb.example), "{}", verb.example);
            assert!(help(Some(verb.name)).is_some_and(|text| text.starts_with(verb.name)));
        }
        assert_eq!(help(Some("dance")), None);
    }
}
