//! Arithmetic that profiles and couplings may contain: + - * /, comparisons, min, max, variables. Knows no profile.

use std::fmt;

/// Deepest nesting, so that a file cannot exhaust the stack.
const DEPTH_MAX: usize = 32;
/// Longest text of one expression, in bytes.
const LENGTH_MAX: usize = 512;

#[derive(Debug, Clone, PartialEq)]
pub struct Expression(Node);

#[derive(Debug, Clone, PartialEq)]
enum Node {
    Number(f64),
    Variable(String),
    Negate(Box<Node>),
    Binary(Operator, Box<Node>, Box<Node>),
    Smallest(Vec<Node>),
    Largest(Vec<Node>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Equal,
    NotEqual,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpressionError {
    #[error("{found} at character {position} of expression {text:?}, expected {expected}")]
    Syntax { text: String, position: usize, found: String, expected: &'static str },
    #[error("expression of {0} bytes, at most {LENGTH_MAX} are allowed")]
    TooLong(usize),
    #[error("expression {0:?} is nested more than {DEPTH_MAX} levels deep")]
    TooDeep(String),
    #[error("unknown variable {0}")]
    UnknownVariable(String),
    #[error("the result {0} is not a finite number")]
    NotFinite(String),
}

impl Expression {
    pub fn parse(text: &str) -> Result<Self, ExpressionError> {
        if text.len() > LENGTH_MAX {
            return Err(ExpressionError::TooLong(text.len()));
        }
        let mut parser = Parser { text, position: 0, depth: 0 };
        let node = parser.comparison()?;
        parser.skip_spaces();
        if parser.position < text.len() {
            return Err(parser.unexpected("an operator or the end"));
        }
        Ok(Self(node))
    }

    /// A comparison is 1 where it holds and 0 where it does not.
    pub fn evaluate(&self, lookup: &dyn Fn(&str) -> Option<f64>) -> Result<f64, ExpressionError> {
        let result = evaluate(&self.0, lookup)?;
        if result.is_finite() { Ok(result) } else { Err(ExpressionError::NotFinite(result.to_string())) }
    }

    pub fn variables(&self) -> Vec<&str> {
        let mut names = Vec::new();
        collect(&self.0, &mut names);
        names
    }
}

fn evaluate(node: &Node, lookup: &dyn Fn(&str) -> Option<f64>) -> Result<f64, ExpressionError> {
    Ok(match node {
        Node::Number(number) => *number,
        Node::Variable(name) => lookup(name).ok_or_else(|| ExpressionError::UnknownVariable(name.clone()))?,
        Node::Negate(inner) => -evaluate(inner, lookup)?,
        Node::Binary(operator, left, right) => {
            let (left, right) = (evaluate(left, lookup)?, evaluate(right, lookup)?);
            match operator {
                Operator::Add => left + right,
                Operator::Subtract => left - right,
                Operator::Multiply => left * right,
                Operator::Divide => left / right,
                Operator::Less => f64::from(left < right),
                Operator::LessOrEqual => f64::from(left <= right),
                Operator::Greater => f64::from(left > right),
                Operator::GreaterOrEqual => f64::from(left >= right),
                Operator::Equal => f64::from((left - right).abs() < f64::EPSILON),
                Operator::NotEqual => f64::from((left - right).abs() >= f64::EPSILON),
            }
        }
        Node::Smallest(nodes) => fold(nodes, lookup, f64::min)?,
        Node::Largest(nodes) => fold(nodes, lookup, f64::max)?,
    })
}

fn fold(
    nodes: &[Node],
    lookup: &dyn Fn(&str) -> Option<f64>,
    choose: fn(f64, f64) -> f64,
) -> Result<f64, ExpressionError> {
    let mut result = f64::NAN;
    for node in nodes {
        result = choose(result, evaluate(node, lookup)?);
    }
    Ok(result)
}

fn collect<'a>(node: &'a Node, names: &mut Vec<&'a str>) {
    match node {
        Node::Number(_) => {}
        Node::Variable(name) => names.push(name),
        Node::Negate(inner) => collect(inner, names),
        Node::Binary(_, left, right) => {
            collect(left, names);
            collect(right, names);
        }
        Node::Smallest(nodes) | Node::Largest(nodes) => nodes.iter().for_each(|node| collect(node, names)),
    }
}

struct Parser<'a> {
    text: &'a str,
    position: usize,
    depth: usize,
}

impl Parser<'_> {
    fn comparison(&mut self) -> Result<Node, ExpressionError> {
        let left = self.sum()?;
        self.skip_spaces();
        for (sign, operator) in [
            ("<=", Operator::LessOrEqual),
            (">=", Operator::GreaterOrEqual),
            ("==", Operator::Equal),
            ("!=", Operator::NotEqual),
            ("<", Operator::Less),
            (">", Operator::Greater),
        ] {
            if self.take(sign) {
                return Ok(Node::Binary(operator, Box::new(left), Box::new(self.sum()?)));
            }
        }
        Ok(left)
    }

    fn sum(&mut self) -> Result<Node, ExpressionError> {
        let mut left = self.product()?;
        loop {
            let operator = match self.peek() {
                Some('+') => Operator::Add,
                Some('-') => Operator::Subtract,
                _ => return Ok(left),
            };
            self.position += 1;
            left = Node::Binary(operator, Box::new(left), Box::new(self.product()?));
        }
    }

    fn product(&mut self) -> Result<Node, ExpressionError> {
        let mut left = self.factor()?;
        loop {
            let operator = match self.peek() {
                Some('*') => Operator::Multiply,
                Some('/') => Operator::Divide,
                _ => return Ok(left),
            };
            self.position += 1;
            left = Node::Binary(operator, Box::new(left), Box::new(self.factor()?));
        }
    }

    fn factor(&mut self) -> Result<Node, ExpressionError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(ExpressionError::TooDeep(self.text.to_owned()));
        }
        let node = match self.peek() {
            Some('-') => {
                self.position += 1;
                Node::Negate(Box::new(self.factor()?))
            }
            Some('(') => {
                self.position += 1;
                let inner = self.comparison()?;
                self.expect(")", "a closing parenthesis")?;
                inner
            }
            Some(c) if c.is_ascii_digit() || c == '.' => self.number()?,
            Some(c) if c.is_ascii_alphabetic() || c == '_' => self.name()?,
            _ => return Err(self.unexpected("a number, a variable or a parenthesis")),
        };
        self.depth -= 1;
        Ok(node)
    }

    fn number(&mut self) -> Result<Node, ExpressionError> {
        let start = self.position;
        let bytes = self.text.as_bytes();
        while let Some(byte) = bytes.get(self.position) {
            let exponent_sign = matches!(byte, b'+' | b'-') && matches!(bytes[self.position - 1], b'e' | b'E');
            if !(byte.is_ascii_digit()
                || matches!(byte, b'.' | b'e' | b'E')
                || (exponent_sign && self.position > start))
            {
                break;
            }
            self.position += 1;
        }
        match self.text[start..self.position].parse() {
            Ok(number) => Ok(Node::Number(number)),
            Err(_) => {
                self.position = start;
                Err(self.unexpected("a number"))
            }
        }
    }

    fn name(&mut self) -> Result<Node, ExpressionError> {
        let rest = &self.text[self.position..];
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
        let name = rest[..end].to_owned();
        self.position += end;
        if self.peek() != Some('(') {
            return Ok(Node::Variable(name));
        }
        if name != "min" && name != "max" {
            return Err(self.unexpected("an operator: the only functions are min and max"));
        }
        self.position += 1;
        let mut arguments = vec![self.comparison()?];
        while self.peek() == Some(',') {
            self.position += 1;
            arguments.push(self.comparison()?);
        }
        self.expect(")", "a comma or a closing parenthesis")?;
        Ok(if name == "min" { Node::Smallest(arguments) } else { Node::Largest(arguments) })
    }

    fn skip_spaces(&mut self) {
        let rest = &self.text[self.position..];
        self.position += rest.len() - rest.trim_start().len();
    }

    fn peek(&mut self) -> Option<char> {
        self.skip_spaces();
        self.text[self.position..].chars().next()
    }

    fn take(&mut self, sign: &str) -> bool {
        let found = self.text[self.position..].starts_with(sign);
        if found {
            self.position += sign.len();
        }
        found
    }

    fn expect(&mut self, sign: &str, expected: &'static str) -> Result<(), ExpressionError> {
        self.skip_spaces();
        if self.take(sign) { Ok(()) } else { Err(self.unexpected(expected)) }
    }

    fn unexpected(&self, expected: &'static str) -> ExpressionError {
        let found =
            self.text[self.position..].chars().next().map_or_else(|| "the end".to_owned(), |c| format!("{c:?}"));
        ExpressionError::Syntax { text: self.text.to_owned(), position: self.position + 1, found, expected }
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expression of {}", self.variables().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value(text: &str) -> Result<f64, String> {
        let lookup = |name: &str| match name {
            "vset" => Some(5.0),
            "iset" => Some(1.0),
            "load_ohm" => Some(10.0),
            "out" => Some(1.0),
            _ => None,
        };
        Expression::parse(text).and_then(|parsed| parsed.evaluate(&lookup)).map_err(|error| error.to_string())
    }

    #[test]
    fn expressions_evaluate() {
        for (text, expected) in [
            ("1+2*3", 7.0),
            ("(1+2)*3", 9.0),
            ("8/2/2", 2.0),
            ("-3 - -4", 1.0),
            ("1e3+1.5E-1", 1000.15),
            ("out*min(vset,iset*load_ohm)", 5.0),
            ("max(1, 2, vset)", 5.0),
            ("(vset/load_ohm<=iset)*1 + 16 + out*64", 81.0),
            ("2 < 1", 0.0),
            ("2 != 1", 1.0),
        ] {
            assert_eq!(value(text), Ok(expected), "{text:?}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (text, expected) in [
            ("1 +", "the end at character 4 of expression \"1 +\", expected a number, a variable or a parenthesis"),
            (
                "sqrt(2)",
                "'(' at character 5 of expression \"sqrt(2)\", expected an operator: the only functions are min and max",
            ),
            ("1 2", "'2' at character 3 of expression \"1 2\", expected an operator or the end"),
            ("bolts", "unknown variable bolts"),
            ("1/0", "the result inf is not a finite number"),
        ] {
            assert_eq!(value(text), Err(expected.to_owned()), "{text:?}");
        }
        assert!(Expression::parse(&"(".repeat(400)).is_err());
        assert!(Expression::parse(&"-".repeat(400)).is_err());
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,80}") {
            if let Ok(parsed) = Expression::parse(&text) {
                let _outcome = parsed.evaluate(&|_| Some(1.0));
            }
        }

        #[test]
        fn no_arithmetic_text_panics(text in "[-+*/<>=!(),.0-9a-e minx]{0,60}") {
            if let Ok(parsed) = Expression::parse(&text) {
                let _outcome = parsed.evaluate(&|_| Some(1.0));
            }
        }
    }
}
