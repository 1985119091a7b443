//! Words to sentences. Knows no device: whether there is a `dmm-1` is the compiler's question.

use super::help;
use super::quantity;
use super::refusal::{Refusal, Trouble};
use super::token::{Token, tokens};
use super::{Argument, Control, Line, Sentence, Word, Written};

/// Longest text of one command, in bytes.
const LENGTH_MAX: usize = 16 * 1024;

pub fn parse(text: &str) -> Result<Line, Refusal> {
    sentences(text).map(|sentences| Line { text: text.to_owned(), sentences }).map_err(|trouble| trouble.in_text(text))
}

fn sentences(text: &str) -> Result<Vec<(Sentence, usize)>, Trouble> {
    if text.len() > LENGTH_MAX {
        let message = format!("the command has {} bytes, expected at most {LENGTH_MAX}", text.len());
        return Err(Trouble::new(0, message));
    }
    let tokens = tokens(text)?;
    let mut sentences = Vec::new();
    for part in tokens.split(|token| matches!(token, Token::End(_))) {
        let end = match part.last() {
            Some(Token::Word(word)) => word_end(text, word),
            Some(Token::Equals(at) | Token::End(at)) => at + 1,
            None => continue,
        };
        let mut parser = Parser { tokens: part, end };
        let at = parser.place();
        sentences.push((parser.sentence()?, at));
    }
    if sentences.is_empty() {
        return Err(Trouble::new(0, "nothing was typed; help says what can be"));
    }
    Ok(sentences)
}

/// Where the text of a word ends: what follows is missing there.
fn word_end(text: &str, word: &Word) -> usize {
    let rest = &text[word.at..];
    let length = match rest.chars().next() {
        Some('\'') => word.text.len() + 2,
        Some('"') => {
            let mut escaped = false;
            let end = rest.char_indices().skip(1).find(|(_, c)| {
                let closes = *c == '"' && !escaped;
                escaped = *c == '\\' && !escaped;
                closes
            });
            end.map_or(rest.len(), |(offset, _)| offset + 1)
        }
        Some(_) | None => word.text.len(),
    };
    word.at + length
}

struct Parser<'a> {
    tokens: &'a [Token],
    end: usize,
}

impl Parser<'_> {
    fn place(&self) -> usize {
        match self.tokens.first() {
            Some(Token::Word(word)) => word.at,
            Some(Token::Equals(at) | Token::End(at)) => *at,
            None => self.end,
        }
    }

    fn peek(&self) -> Option<&Word> {
        self.peek_at(0)
    }

    fn peek_at(&self, index: usize) -> Option<&Word> {
        match self.tokens.get(index) {
            Some(Token::Word(word)) => Some(word),
            Some(Token::Equals(_) | Token::End(_)) | None => None,
        }
    }

    fn is_keyword(&self, index: usize, keyword: &str) -> bool {
        self.peek_at(index).is_some_and(|word| !word.quoted && word.text == keyword)
    }

    fn skip(&mut self) {
        self.tokens = self.tokens.get(1..).unwrap_or_default();
    }

    fn word(&mut self, what: &str) -> Result<Word, Trouble> {
        let Some(word) = self.peek().cloned() else {
            return Err(Trouble::new(self.place(), format!("expected {what}")));
        };
        self.skip();
        Ok(word)
    }

    fn optional(&mut self) -> Option<Word> {
        let word = self.peek().cloned();
        if word.is_some() {
            self.skip();
        }
        word
    }

    fn sentence(&mut self) -> Result<Sentence, Trouble> {
        let verb = self.word("a verb such as read, set or run")?;
        let sentence = match verb.text.as_str() {
            _ if verb.quoted => return Err(help::unknown(&verb.text, verb.at)),
            "read" => self.read()?,
            "set" => {
                let device = self.word("a device, as in set psu-1 voltage 3.3")?;
                let name = self.word("what to set, as in set psu-1 voltage 3.3")?;
                Sentence::Set { device, name, value: self.value("a value")? }
            }
            "do" => {
                let device = self.word("a device, as in do psu-1 output on")?;
                let action = self.word("an action of the device")?;
                Sentence::Do { device, action, with: self.arguments()? }
            }
            "safe" => Sentence::Safe { device: self.word("a device, as in safe psu-1")? },
            "wait" => Sentence::Wait { duration: self.duration()? },
            "run" => self.run()?,
            "adb" => self.adb()?,
            "log" => self.log()?,
            "help" => Sentence::Help { about: self.optional() },
            "devices" => Sentence::Devices,
            "status" => Sentence::Status { run: self.optional() },
            "cancel" => self.control(Control::Cancel)?,
            "pause" => self.control(Control::Pause)?,
            "resume" => self.control(Control::Resume)?,
            other => return Err(help::unknown(other, verb.at)),
        };
        if self.tokens.is_empty() {
            return Ok(sentence);
        }
        let usage = help::find(&verb.text).map(|verb| verb.usage).unwrap_or_default();
        Err(Trouble::new(self.place(), format!("did not expect this; usage: {usage}")))
    }

    fn control(&mut self, control: Control) -> Result<Sentence, Trouble> {
        let run = self.word(&format!("a run's number, as in {} 42", control.as_str()))?;
        Ok(Sentence::Control { control, run })
    }

    fn read(&mut self) -> Result<Sentence, Trouble> {
        let device = self.word("a device, as in read dmm-1 value")?;
        let (mut reading, mut count, mut every, mut during) = (None, None, None, None);
        if self.peek().is_some() && !self.ends_duration() {
            reading = self.optional();
        }
        while let Some(word) = self.peek().cloned() {
            let slot = if self.is_keyword(1, "times") && !word.quoted {
                self.skip();
                self.skip();
                if count.is_none() {
                    count = Some(word);
                    continue;
                }
                None
            } else if self.is_keyword(0, "every") {
                Some(&mut every)
            } else if self.is_keyword(0, "for") {
                Some(&mut during)
            } else {
                return Err(Trouble::new(word.at, "expected COUNT times, every DURATION or for DURATION"));
            };
            match slot {
                Some(slot @ None) => {
                    self.skip();
                    *slot = Some(self.duration()?);
                }
                Some(Some(_)) | None => return Err(Trouble::new(word.at, format!("{} is said twice", word.text))),
            }
        }
        Ok(Sentence::Read { device, reading, count, every, during })
    }

    /// Whether the next word begins something else than more of a duration.
    fn ends_duration(&self) -> bool {
        self.is_keyword(0, "every") || self.is_keyword(0, "for") || self.is_keyword(1, "times")
    }

    /// `2s`, `1m 30s`, `500 ms`.
    fn duration(&mut self) -> Result<Word, Trouble> {
        let at = self.place();
        let mut words = Vec::new();
        while let Some(word) = self.peek().filter(|_| !self.ends_duration()) {
            words.extend(word.text.split_whitespace().map(str::to_owned));
            self.skip();
        }
        let text = words.join(" ");
        if humantime::parse_duration(&text).is_ok() && !text.contains(super::token::ends_duration_word) {
            return Ok(Word { text, quoted: false, at });
        }
        if text.is_empty() {
            return Err(Trouble::new(at, "expected a duration such as 500ms, 2s or 1m 30s"));
        }
        // A bare number lacks its unit: seconds are likely.
        let suggestion = quantity::is_number(&text).then(|| format!("{text}s"));
        let message = format!("{text:?} is not a duration, expected a form such as 500ms, 2s or 1m 30s");
        Err(Trouble::new(at, message).suggest(suggestion))
    }

    fn value(&mut self, what: &str) -> Result<Written, Trouble> {
        let word = self.word(what)?;
        let numeric = !word.quoted && quantity::is_number(&word.text);
        let named_next = matches!(self.tokens.get(1), Some(Token::Equals(_)));
        let unit = self.peek().filter(|next| numeric && !next.quoted && !named_next && quantity::is_unit(&next.text));
        let unit = unit.cloned();
        if unit.is_some() {
            self.skip();
        }
        Ok(Written { word, unit })
    }

    fn arguments(&mut self) -> Result<Vec<Argument>, Trouble> {
        let mut arguments: Vec<Argument> = Vec::new();
        while !self.tokens.is_empty() {
            let name = if matches!(self.tokens.get(1), Some(Token::Equals(_))) {
                let name = self.word("a name before =")?;
                self.skip();
                Some(name)
            } else {
                None
            };
            let earlier = arguments.iter().filter_map(|argument| argument.name.as_ref());
            if let Some(name) = &name
                && earlier.into_iter().any(|earlier| earlier.text == name.text)
            {
                return Err(Trouble::new(name.at, format!("{} is said twice", name.text)));
            }
            arguments.push(Argument { name, value: self.value("a value")? });
        }
        Ok(arguments)
    }

    fn run(&mut self) -> Result<Sentence, Trouble> {
        let procedure = self.word("a procedure, as in run psu-ramp volts=5")?;
        let with = self.arguments()?;
        if let Some(nameless) = with.iter().find(|argument| argument.name.is_none()) {
            let message = "expected NAME=VALUE: a procedure's parameters are given by name";
            return Err(Trouble::new(nameless.value.word.at, message));
        }
        Ok(Sentence::Run { procedure, with })
    }

    fn adb(&mut self) -> Result<Sentence, Trouble> {
        let device = self.word("a device, as in adb pixel shell \"getprop\"")?;
        let command =
            self.word("what to do: shell, install, push, pull, tap, swipe, key, text, screenshot or logcat")?;
        let words = self.words("put the words of a command with = into quotes")?;
        Ok(Sentence::Adb { device, command, words })
    }

    fn log(&mut self) -> Result<Sentence, Trouble> {
        let mut words = Vec::new();
        while self.peek().is_some()
            && !(self.is_keyword(0, "level") && matches!(self.tokens.get(1), Some(Token::Equals(_))))
        {
            words.extend(self.optional());
        }
        let Some(message) = Word::joined(&words) else {
            return Err(Trouble::new(self.place(), "expected a text, as in log \"ready\""));
        };
        let level = if self.is_keyword(0, "level") {
            self.skip();
            self.skip();
            Some(self.word("debug, info, warning or error")?)
        } else {
            None
        };
        if let Some(Token::Equals(at)) = self.tokens.first() {
            return Err(Trouble::new(*at, "put a text with = into quotes"));
        }
        Ok(Sentence::Log { message, level })
    }

    fn words(&mut self, advice: &str) -> Result<Vec<Word>, Trouble> {
        let mut words = Vec::new();
        while let Some(word) = self.optional() {
            words.push(word);
        }
        match self.tokens.first() {
            Some(Token::Equals(at)) => Err(Trouble::new(*at, advice)),
            Some(Token::Word(_) | Token::End(_)) | None => Ok(words),
        }
    }
}
