//! Text to words, `=` and the ends of sentences, each with its place. Knows no grammar.

use super::Word;
use super::refusal::Trouble;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Word(Word),
    Equals(usize),
    /// `;` or the end of a line.
    End(usize),
}

pub(super) fn tokens(text: &str) -> Result<Vec<Token>, Trouble> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let at = text.len() - rest.len();
        match first {
            ';' | '\n' => {
                tokens.push(Token::End(at));
                rest = &rest[1..];
            }
            '=' => {
                tokens.push(Token::Equals(at));
                rest = &rest[1..];
            }
            '"' => {
                let (word, length) = quoted(rest, at)?;
                tokens.push(Token::Word(word));
                rest = apart(text, &rest[length..])?;
            }
            '\'' => {
                let Some(length) = rest[1..].find('\'') else {
                    return Err(Trouble::new(at, "the quote ' is never closed"));
                };
                let word = Word { text: rest[1..=length].to_owned(), quoted: true, at };
                tokens.push(Token::Word(word));
                rest = apart(text, &rest[length + 2..])?;
            }
            c if c.is_whitespace() => rest = &rest[c.len_utf8()..],
            _ => {
                let length = rest.find(ends_word).unwrap_or(rest.len());
                let (word, after) = rest.split_at(length);
                if after.starts_with(['"', '\'']) {
                    return Err(Trouble::new(at + length, "a quote stands at the start of a word only"));
                }
                tokens.push(Token::Word(Word { text: word.to_owned(), quoted: false, at }));
                rest = after;
            }
        }
    }
    Ok(tokens)
}

/// Whether a bare word cannot hold this character.
pub(super) fn ends_word(c: char) -> bool {
    c.is_whitespace() || matches!(c, ';' | '=' | '"' | '\'')
}

/// A word in quotes stands apart from the next one: `"a"b` would be anyone's guess.
fn apart<'a>(text: &str, rest: &'a str) -> Result<&'a str, Trouble> {
    match rest.chars().next() {
        Some(c) if !c.is_whitespace() && !matches!(c, ';' | '=') => {
            Err(Trouble::new(text.len() - rest.len(), "expected a space after the quote"))
        }
        Some(_) | None => Ok(rest),
    }
}

/// A word in double quotes and the bytes it takes.
fn quoted(rest: &str, at: usize) -> Result<(Word, usize), Trouble> {
    let mut text = String::new();
    let mut characters = rest.char_indices().skip(1);
    while let Some((offset, c)) = characters.next() {
        match c {
            '"' => return Ok((Word { text, quoted: true, at }, offset + 1)),
            '\\' => match characters.next().map(|(_, escaped)| escaped) {
                Some('n') => text.push('\n'),
                Some('t') => text.push('\t'),
                Some('r') => text.push('\r'),
                Some(same @ ('"' | '\'' | '\\')) => text.push(same),
                Some('u') => {
                    let code: Option<String> = match characters.next() {
                        Some((_, '{')) => {
                            Some(characters.by_ref().map(|(_, c)| c).take_while(|c| *c != '}').take(8).collect())
                        }
                        Some(_) | None => None,
                    };
                    let character = code.and_then(|code| u32::from_str_radix(&code, 16).ok()).and_then(char::from_u32);
                    let wrong = || Trouble::new(at + offset, "expected a character's code such as \\u{b0}");
                    text.push(character.ok_or_else(wrong)?);
                }
                Some(_) | None => {
                    let message = "expected \\\" \\\\ \\n \\t \\r or \\u{…} after a backslash in quotes";
                    return Err(Trouble::new(at + offset, message));
                }
            },
            c => text.push(c),
        }
    }
    Err(Trouble::new(at, "the quote \" is never closed"))
}

/// What no duration holds, so that one is printed as it was read.
pub(super) fn ends_duration_word(c: char) -> bool {
    c != ' ' && ends_word(c)
}
