//! The fenced examples of the pages that users read: what each is, so that a test can carry it out. One that is nothing of what is
//! known here is an error: nothing would ever run it. Starts nothing.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// A fenced block and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    pub page: String,
    pub line: usize,
    pub language: String,
    pub text: String,
}

/// What a block shows.
#[derive(Debug, Clone, PartialEq)]
pub enum Example {
    /// A procedure in TOML.
    Procedure(String),
    /// Part of an agent's configuration.
    AgentConfiguration(String),
    Workflow(Value),
    /// Requests to the hub, one after the other.
    Calls(Vec<Call>),
    /// Commands other than requests, as words.
    Commands(Vec<Vec<String>>),
    /// Lines of the language that can be typed.
    Lines(Vec<String>),
    /// What a program prints to be understood by the agent.
    Reports(String),
    /// A whole program that a step can start.
    Program(String),
    /// A diagram or a grammar: nothing to carry out.
    Picture,
}

/// One `curl`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    pub method: String,
    pub path: String,
    pub body: Option<String>,
}

/// README.md and every page of docs/, read when the test runs: a new page is among them.
pub fn blocks_of_all_pages() -> Result<Vec<Block>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut pages = vec![root.join("README.md")];
    for entry in fs::read_dir(root.join("docs")).context("reading docs/")? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "md") {
            pages.push(path);
        }
    }
    pages.sort();
    let mut found = Vec::new();
    for page in pages {
        let text = fs::read_to_string(&page).with_context(|| format!("reading {}", page.display()))?;
        let name = page.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        found.extend(blocks(&name, &text)?);
    }
    Ok(found)
}

fn blocks(page: &str, text: &str) -> Result<Vec<Block>> {
    let mut found = Vec::new();
    let mut open: Option<Block> = None;
    for (index, line) in text.lines().enumerate() {
        match (&mut open, line.trim_start().strip_prefix("```")) {
            (None, Some(language)) => {
                open = Some(Block {
                    page: page.to_owned(),
                    line: index + 1,
                    language: language.trim().to_owned(),
                    text: String::new(),
                });
            }
            (Some(_), Some(_)) => found.extend(open.take()),
            (Some(block), None) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    if let Some(block) = open {
        bail!("{page}:{}: the example is never closed", block.line);
    }
    Ok(found)
}

impl Block {
    pub fn example(&self) -> Result<Example> {
        self.read().with_context(|| format!("{}:{}: an example that no test carries out", self.page, self.line))
    }

    fn read(&self) -> Result<Example> {
        let text = &self.text;
        let has = |part: &str| text.lines().any(|line| line.starts_with(part));
        Ok(match self.language.as_str() {
            "toml" if ["[[steps]]", "[[tests]]", "[strategy]"].into_iter().any(has) => Example::Procedure(text.clone()),
            "toml" if has("[[instrument]]") || has("[[program]]") => Example::AgentConfiguration(text.clone()),
            "toml" => bail!("neither a procedure nor an agent's configuration"),
            "json" if text.lines().all(|line| line.starts_with("{\"rigwire\"")) => Example::Reports(text.clone()),
            "json" => {
                let value: Value = serde_json::from_str(text).context("not JSON")?;
                if value.get("nodes").is_none() {
                    bail!("JSON that is no workflow");
                }
                Example::Workflow(value)
            }
            "commands" => Example::Lines(text.lines().map(str::to_owned).collect()),
            "text" if text.lines().all(|line| line.starts_with("::rigwire ")) => Example::Reports(text.clone()),
            // A grammar defines names; an example of anything has none at its beginning.
            "text" if text.lines().next().is_some_and(|line| line.contains(" = ")) => Example::Picture,
            "mermaid" => Example::Picture,
            "sh" | "python" if text.starts_with("#!") => Example::Program(text.clone()),
            "sh" => {
                let commands = words(text)?;
                if commands.iter().all(|command| command.first().is_some_and(|word| word == "curl")) {
                    Example::Calls(commands.iter().map(|command| call(command)).collect::<Result<_>>()?)
                } else {
                    Example::Commands(commands)
                }
            }
            other => bail!("language {other:?}"),
        })
    }
}

/// Commands of a shell, each as its words. Quotes and comments are understood; what needs a real shell is refused.
fn words(text: &str) -> Result<Vec<Vec<String>>> {
    let mut commands = Vec::new();
    let mut command: Vec<String> = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut rest = text.chars().peekable();
    while let Some(next) = rest.next() {
        match (quote, next) {
            (Some(open), next) if next == open => quote = None,
            (Some(_), next) => word.get_or_insert_default().push(next),
            (None, '\'' | '"') => {
                quote = Some(next);
                word.get_or_insert_default();
            }
            (None, '#') if word.is_none() => while rest.next_if(|next| *next != '\n').is_some() {},
            (None, '\\') if rest.next_if_eq(&'\n').is_some() => {}
            (None, next) if next.is_whitespace() => {
                command.extend(word.take());
                if next == '\n' && !command.is_empty() {
                    commands.push(std::mem::take(&mut command));
                }
            }
            (None, '$' | '|' | ';' | '>' | '<' | '`' | '\\') => bail!("{next} needs a shell"),
            (None, next) => word.get_or_insert_default().push(next),
        }
    }
    if quote.is_some() {
        bail!("a quote is never closed");
    }
    Ok(commands)
}

fn call(command: &[String]) -> Result<Call> {
    let (mut method, mut path, mut body) = (None, None, None);
    let mut arguments = command.iter().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().cloned().with_context(|| format!("{argument} of curl has no value"));
        match argument.as_str() {
            "-s" => {}
            "-X" => method = Some(value()?),
            "-d" => body = Some(value()?),
            other => {
                let known = other.strip_prefix("http://").unwrap_or(other).strip_prefix("127.0.0.1:8000");
                path =
                    Some(known.with_context(|| format!("{other} is neither known of curl nor the hub's"))?.to_owned());
            }
        }
    }
    let usual = if body.is_some() { "POST" } else { "GET" };
    Ok(Call {
        method: method.unwrap_or_else(|| usual.to_owned()),
        path: path.context("a curl without an address")?,
        body,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_example_of_every_page_is_one_that_a_test_carries_out() {
        let blocks = blocks_of_all_pages().unwrap();
        assert!(blocks.len() > 15, "{}", blocks.len());
        for block in blocks {
            block.example().unwrap_or_else(|error| panic!("{error:#}"));
        }
    }

    #[test]
    fn an_example_that_nothing_carries_out_is_refused() {
        for (language, text, expected) in [
            ("toml", "colour = 1\n", "page.md:1: an example that no test carries out: neither a procedure"),
            ("json", "{\"colour\": 1}\n", "JSON that is no workflow"),
            ("json", "{\n", "not JSON"),
            ("yaml", "a: 1\n", "language \"yaml\""),
            ("", "what is this\n", "language \"\""),
            ("text", "some output\n", "language \"text\""),
            ("sh", "curl -s 127.0.0.1:8000/ | jq .\n", "| needs a shell"),
            ("sh", "curl -s --fail 127.0.0.1:8000/\n", "--fail is neither known of curl"),
            ("sh", "curl -s http://example.com/\n", "nor the hub's"),
            ("sh", "curl -s '127.0.0.1:8000/\n", "a quote is never closed"),
        ] {
            let text = format!("```{language}\n{text}```\n");
            let blocks = blocks("page.md", &text).unwrap();
            let error = format!("{:#}", blocks[0].example().unwrap_err());
            assert!(error.contains(expected), "{expected:?} is not in {error}");
        }
        assert!(blocks("page.md", "```sh\nls\n").is_err());
    }

    #[test]
    fn requests_are_read_as_a_shell_would() {
        let text = "# first\ncurl -s 127.0.0.1:8000/api/v1/runs -d '{\"a\":\n 1}'   # said\ncurl -s -X DELETE \\\n '127.0.0.1:8000/x?y=z'\n";
        let block = Block { page: String::new(), line: 1, language: "sh".to_owned(), text: text.to_owned() };
        let call = |method: &str, path: &str, body: Option<&str>| Call {
            method: method.to_owned(),
            path: path.to_owned(),
            body: body.map(str::to_owned),
        };
        let calls = vec![call("POST", "/api/v1/runs", Some("{\"a\":\n 1}")), call("DELETE", "/x?y=z", None)];
        assert_eq!(block.example().unwrap(), Example::Calls(calls));
    }
}
