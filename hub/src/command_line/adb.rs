//! What `adb DEVICE …` says as a module and its parameters. Knows no device.

use serde_json::{Map, Value, json};

use super::nearest::nearest;
use super::quantity;
use super::refusal::Trouble;
use super::{Word, compile::duration_text};

const COMMANDS: &[(&str, &str)] = &[
    ("shell", "shell COMMAND"),
    ("install", "install PATH"),
    ("push", "push FROM TO"),
    ("pull", "pull FROM"),
    ("tap", "tap X Y"),
    ("swipe", "swipe X1 Y1 X2 Y2 [DURATION]"),
    ("key", "key KEY"),
    ("text", "text TEXT"),
    ("screenshot", "screenshot"),
    ("logcat", "logcat"),
];

pub(super) fn step(command: &Word, words: &[Word]) -> Result<(String, Map<String, Value>), Trouble> {
    let Some((name, usage)) = COMMANDS.iter().find(|(name, _)| *name == command.text) else {
        let names = COMMANDS.iter().map(|(name, _)| *name);
        let known: Vec<&str> = names.clone().collect();
        let message = format!("there is no adb {}; there are {}", command.text, known.join(", "));
        return Err(Trouble::new(command.at, message).suggest(nearest(&command.text, names)));
    };
    let wrong = || Trouble::new(words.first().map_or(command.at, |word| word.at), format!("usage: adb DEVICE {usage}"));
    let texts: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
    let with = match (*name, texts.as_slice()) {
        ("shell", [_, ..]) => json!({"command": texts.join(" ")}),
        ("text", [_, ..]) => json!({"text": texts.join(" ")}),
        ("install", [path]) => json!({"path": path}),
        ("push", [from, to]) => json!({"from": from, "to": to}),
        ("pull", [from]) => json!({"from": from}),
        ("key", [key]) => json!({"key": key}),
        ("tap", [x, y]) => json!({"x": pixel(x, words)?, "y": pixel(y, words)?}),
        ("swipe", [x1, y1, x2, y2]) => {
            json!({"x1": pixel(x1, words)?, "y1": pixel(y1, words)?, "x2": pixel(x2, words)?, "y2": pixel(y2, words)?})
        }
        ("swipe", [x1, y1, x2, y2, duration]) => {
            let parsed = humantime::parse_duration(duration).map_err(|_| wrong())?;
            json!({"x1": pixel(x1, words)?, "y1": pixel(y1, words)?, "x2": pixel(x2, words)?, "y2": pixel(y2, words)?,
                "duration": duration_text(parsed)})
        }
        ("screenshot" | "logcat", []) => json!({}),
        _ => return Err(wrong()),
    };
    let Value::Object(with) = with else { return Err(wrong()) };
    Ok((format!("adb.{name}"), with))
}

fn pixel(text: &str, words: &[Word]) -> Result<u32, Trouble> {
    let at = words.iter().find(|word| word.text == text).map_or(0, |word| word.at);
    let number = quantity::is_number(text).then(|| text.parse().ok()).flatten();
    number.ok_or_else(|| Trouble::new(at, format!("{text:?} is not a position, expected a whole number of pixels")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(words: &str) -> Result<(String, Value), String> {
        let words: Vec<Word> =
            words.split(' ').map(|text| Word { text: text.to_owned(), quoted: false, at: 0 }).collect();
        let (command, rest) = words.split_first().unwrap();
        step(command, rest).map(|(module, with)| (module, Value::Object(with))).map_err(|trouble| trouble.message)
    }

    #[test]
    fn commands_become_modules() {
        for (words, module, with) in [
            ("shell getprop ro.build.id", "adb.shell", json!({"command": "getprop ro.build.id"})),
            ("tap 500 800", "adb.tap", json!({"x": 500, "y": 800})),
            ("swipe 1 2 3 4 300ms", "adb.swipe", json!({"x1": 1, "y1": 2, "x2": 3, "y2": 4, "duration": "300ms"})),
            ("screenshot", "adb.screenshot", json!({})),
        ] {
            assert_eq!(said(words), Ok((module.to_owned(), with)), "{words}");
        }
        assert_eq!(said("tap 500"), Err("usage: adb DEVICE tap X Y".to_owned()));
        assert_eq!(
            said("tap here there"),
            Err("\"here\" is not a position, expected a whole number of pixels".to_owned())
        );
        assert!(said("tpa 1 2").is_err_and(|message| message.starts_with("there is no adb tpa")));
    }
}
