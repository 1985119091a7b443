//! Templates in a step's `with`: `{{ volts }}` or `set to {{ steps.read.voltage.mean }}`. A text that is one expression keeps
//! the expression's type; within other text it becomes text.

use minijinja::{Environment, ErrorKind, UndefinedBehavior};
use rigwire_shared::value::{Fields, Value};

/// Bounds what an expression from a procedure may cost.
const FUEL: u64 = 20_000;

/// Longest text with a template in it, in bytes.
const LENGTH_MAX: usize = 1000;

fn environment() -> Environment<'static> {
    let mut environment = Environment::empty();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.add_filter("round", minijinja::filters::round);
    environment.add_filter("abs", minijinja::filters::abs);
    environment.add_filter("int", minijinja::filters::int);
    environment.add_filter("float", minijinja::filters::float);
    environment.add_filter("default", minijinja::filters::default);
    environment.add_filter("min", minijinja::filters::min);
    environment.add_filter("max", minijinja::filters::max);
    environment.add_filter("length", minijinja::filters::length);
    // A step that was skipped has no outputs, which a later one may ask.
    environment.add_test("defined", minijinja::tests::is_defined);
    environment.add_test("undefined", minijinja::tests::is_undefined);
    environment.add_test("none", minijinja::tests::is_none);
    environment.add_test("number", minijinja::tests::is_number);
    environment.add_test("string", minijinja::tests::is_string);
    environment
}

/// One in which what is not there is nothing, however deep it is asked for.
fn forgiving() -> Environment<'static> {
    let mut environment = environment();
    environment.set_undefined_behavior(UndefinedBehavior::Chainable);
    environment
}

/// Names of filters and tests are only looked up where an expression comes to them: tried here over nothing at all, so that a
/// misspelt one is found before anything moves. One behind a condition that nothing decides is found when it is come to.
fn names_are_known(outcome: Result<(), minijinja::Error>) -> Result<(), minijinja::Error> {
    match outcome {
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::UnknownFilter | ErrorKind::UnknownTest | ErrorKind::UnknownFunction
            ) =>
        {
            Err(error)
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Whether the templates in a value are written correctly.
pub fn check(value: &Value) -> Result<(), String> {
    let environment = forgiving();
    each_text(value, &mut |text| {
        // Statements can loop and double what they hold; an expression says what a step needs.
        if text.contains("{%") {
            return Err(format!("template {}: {{% is not allowed, expected {{{{ EXPRESSION }}}}", start_of(text)));
        }
        if text.contains("{{") && text.len() > LENGTH_MAX {
            let length = text.len();
            return Err(format!("template {}: has {length} bytes, expected at most {LENGTH_MAX}", start_of(text)));
        }
        let outcome = match sole_expression(text) {
            Some(expression) => environment
                .compile_expression(expression)
                .and_then(|expression| names_are_known(expression.eval(()).map(drop))),
            None => {
                environment.template_from_str(text).and_then(|template| names_are_known(template.render(()).map(drop)))
            }
        };
        outcome.map_err(|error| describe(text, &error))
    })
}

/// Whether an expression without braces is written correctly.
pub fn check_expression(expression: &str) -> Result<(), String> {
    if expression.len() > LENGTH_MAX {
        let length = expression.len();
        return Err(format!("expression {}: has {length} bytes, expected at most {LENGTH_MAX}", start_of(expression)));
    }
    forgiving()
        .compile_expression(expression)
        .and_then(|expression| names_are_known(expression.eval(()).map(drop)))
        .map_err(|error| describe(expression, &error))
}

/// The value with its templates replaced.
pub fn fill(value: &Value, context: &minijinja::Value) -> Result<Value, String> {
    Ok(match value {
        Value::Text(text) if text.contains("{{") => fill_text(text, context).map_err(|error| describe(text, &error))?,
        Value::List(items) => {
            Value::List(items.iter().map(|item| fill(item, context)).collect::<Result<Vec<_>, String>>()?)
        }
        Value::Map(fields) => Value::Map(
            fields
                .iter()
                .map(|(name, value)| Ok((name.clone(), fill(value, context)?)))
                .collect::<Result<Fields, String>>()?,
        ),
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) => value.clone(),
    })
}

/// The value of an expression without braces, as `assert` takes it.
pub fn evaluate(expression: &str, context: &minijinja::Value) -> Result<Value, String> {
    let environment = environment();
    environment
        .compile_expression(expression)
        .and_then(|compiled| compiled.eval(context))
        .map_err(|error| describe(expression, &error))
        .and_then(|value| to_value(&value))
}

fn fill_text(text: &str, context: &minijinja::Value) -> Result<Value, minijinja::Error> {
    let environment = environment();
    match sole_expression(text) {
        Some(expression) => {
            let value = environment.compile_expression(expression)?.eval(context)?;
            if value.is_undefined() {
                return Err(minijinja::ErrorKind::UndefinedError.into());
            }
            to_value(&value).map_err(|message| minijinja::Error::new(minijinja::ErrorKind::BadSerialization, message))
        }
        None => environment.render_str(text, context).map(Value::Text),
    }
}

/// `{{ volts }}` is `volts`; a text with anything around or between braces is not one expression.
fn sole_expression(text: &str) -> Option<&str> {
    let inner = text.trim().strip_prefix("{{")?.strip_suffix("}}")?;
    (!inner.contains("{{") && !inner.contains("}}") && !inner.contains("{%")).then(|| inner.trim())
}

fn to_value(value: &minijinja::Value) -> Result<Value, String> {
    serde_json::to_value(value)
        .and_then(serde_json::from_value)
        .map_err(|error| format!("the result cannot be passed on: {error}"))
}

fn each_text(value: &Value, visit: &mut dyn FnMut(&str) -> Result<(), String>) -> Result<(), String> {
    match value {
        Value::Text(text) => visit(text),
        Value::List(items) => items.iter().try_for_each(|item| each_text(item, visit)),
        Value::Map(fields) => fields.iter().try_for_each(|(_, value)| each_text(value, visit)),
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) => Ok(()),
    }
}

fn start_of(text: &str) -> String {
    const SHOWN: usize = 40;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

fn describe(text: &str, error: &minijinja::Error) -> String {
    let detail = error.detail().map(str::to_owned).unwrap_or_else(|| error.kind().to_string());
    format!("template {text:?}: {detail}")
}
