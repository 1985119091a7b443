//! Texts with `{name:format}` and `{=expression:format}` in them: commands to send and replies of simulators.

use rigwire_shared::value::Value;

use super::expression::Expression;
use super::format::Format;

#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Text(String),
    Name(String, Format),
    Expression(Expression, Format),
}

impl Template {
    /// `{{` and `}}` stand for the braces themselves.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            literal.push_str(&rest[..at]);
            let tail = &rest[at..];
            if let Some(after) = tail.strip_prefix("{{") {
                literal.push('{');
                rest = after;
            } else if let Some(after) = tail.strip_prefix("}}") {
                literal.push('}');
                rest = after;
            } else if tail.starts_with('}') {
                return Err(format!("a lone }} in {text:?}, expected }}}} for the brace itself"));
            } else {
                let end = tail.find('}').ok_or_else(|| format!("a {{ without }} in {text:?}"))?;
                if !literal.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut literal)));
                }
                parts.push(placeholder(&tail[1..end])?);
                rest = &tail[end + 1..];
            }
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        Ok(Self { parts })
    }

    pub fn render(&self, lookup: &dyn Fn(&str) -> Option<Value>) -> Result<String, String> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(literal) => text.push_str(literal),
                Part::Name(name, format) => {
                    let value = lookup(name).ok_or_else(|| format!("{name} has no value"))?;
                    text.push_str(&format.write(&value).map_err(|error| format!("{name}: {error}"))?);
                }
                Part::Expression(expression, format) => {
                    let number = expression
                        .evaluate(&|name| lookup(name).and_then(|value| value.as_f64()))
                        .map_err(|error| error.to_string())?;
                    text.push_str(&format.write(&Value::Float(number))?);
                }
            }
        }
        Ok(text)
    }

    /// Names in plain placeholders, each with whether its format takes only numbers.
    pub fn names(&self) -> impl Iterator<Item = (&str, bool)> {
        self.parts.iter().filter_map(|part| match part {
            Part::Name(name, format) => Some((name.as_str(), format.is_numeric())),
            Part::Text(_) | Part::Expression(..) => None,
        })
    }

    /// Names inside expressions.
    pub fn expression_names(&self) -> Vec<&str> {
        self.parts
            .iter()
            .flat_map(|part| match part {
                Part::Expression(expression, _) => expression.variables(),
                Part::Text(_) | Part::Name(..) => Vec::new(),
            })
            .collect()
    }
}

fn placeholder(inside: &str) -> Result<Part, String> {
    let (name, format) = inside.split_once(':').unwrap_or((inside, ""));
    let format = Format::parse(format)?;
    if let Some(expression) = name.strip_prefix('=') {
        return Ok(Part::Expression(Expression::parse(expression).map_err(|error| error.to_string())?, format));
    }
    let usual = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if name.is_empty() || !usual {
        return Err(format!("placeholder {{{inside}}} has no usable name, expected letters, digits and _"));
    }
    Ok(Part::Name(name.to_owned(), format))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn render(text: &str) -> Result<String, String> {
        Template::parse(text)?.render(&|name| match name {
            "v" => Some(Value::Float(3.3)),
            "on" => Some(Value::Bool(true)),
            "idn" => Some(Value::Text("KORADKA3005PV2.0".into())),
            _ => None,
        })
    }

    #[test]
    fn placeholders_are_filled() {
        for (text, expected) in [
            ("VSET1:{v:05.2f}", "VSET1:03.30"),
            ("OUT{on:d}", "OUT1"),
            ("{idn}\u{1}", "KORADKA3005PV2.0\u{1}"),
            ("{=v*2:.1f} V", "6.6 V"),
            ("{{{v}}}", "{3.3}"),
            ("plain", "plain"),
        ] {
            assert_eq!(render(text).as_deref(), Ok(expected), "{text:?}");
        }
    }

    #[test]
    fn mistakes_are_refused() {
        for text in ["{v", "v}", "{}", "{v:zz}", "{=1+}", "{nobody}", "{idn:d}", "{a-b}"] {
            assert!(render(text).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[{}=:a-z0-9.+*é]{0,60}") {
            if let Ok(template) = Template::parse(&text) {
                let _outcome = template.render(&|_| Some(Value::Float(1.5)));
            }
        }
    }
}
