//! The `[[action]]` tables: parameters, commands and read-backs.

use std::collections::BTreeSet;
use std::time::Duration;

use rigwire_shared::unit::Unit;
use rigwire_shared::value::Value;

use super::super::definition::{Action, Command, Equals, Parameter, ParameterKind, Verify, VerifySource};
use super::super::duration;
use super::super::error::{Checker, Place};
use super::super::schema;
use super::{Context, check_id, parse, receive, regex, unit, usable_name};
use crate::protocol::template::Template;

pub(super) fn actions(checker: &mut Checker<'_>, context: &Context<'_>) -> Vec<Action> {
    let mut ids = BTreeSet::new();
    let mut compiled = Vec::new();
    for (index, written) in context.document.action.iter().enumerate() {
        let place = Place::default().key("action").index(index);
        check_id(checker, &place, "action", &written.id, ids.insert(&written.id));
        compiled.extend(action(checker, context, &place, written));
    }
    compiled
}

fn action(checker: &mut Checker<'_>, context: &Context<'_>, place: &Place, written: &schema::Action) -> Option<Action> {
    let parameters = parameters(checker, &place.key("params"), &written.params);
    let command = command(checker, context, place, written, &parameters);
    let expect = match &written.expect {
        Some(text) => {
            let pattern = regex(checker, &place.key("expect"), text);
            let receive = receive::receive(checker, context, &place.key("rx"), written.rx.as_ref());
            pattern.zip(receive)
        }
        None => {
            if written.rx.is_some() {
                checker.complain(
                    &place.key("rx"),
                    "without effect, expected the form of the answer as expect = \"...\" beside it",
                );
            }
            None
        }
    };
    let verify = written
        .verify
        .as_ref()
        .and_then(|written| verify(checker, context, &place.key("verify"), written, &parameters));
    let limit = written.write_limit.as_ref();
    let min_interval = limit.and_then(|limit| limit.min_interval.as_ref());
    let min_interval = min_interval
        .and_then(|text| checker.take(&place.key("write_limit").key("min_interval"), duration::parse(text)));
    if min_interval.is_some_and(|interval| interval > Duration::from_secs(60)) {
        checker.complain(&place.key("write_limit").key("min_interval"), "longer than 60s");
    }
    if limit.is_some_and(|limit| limit.lifetime == Some(0)) {
        checker.complain(&place.key("write_limit").key("lifetime"), "0 writes, expected at least 1");
    }
    if written.timeout_ms.is_some_and(|timeout| !(1..=600_000).contains(&timeout)) {
        checker.complain(&place.key("timeout_ms"), "out of range, expected 1 to 600000");
    }
    Some(Action {
        id: written.id.clone(),
        about: written.doc.clone().unwrap_or_else(|| written.id.replace('_', " ")),
        hazard: written.hazard.clone(),
        parameters,
        command: command?,
        expect,
        verify,
        skip_if_equal: limit.is_some_and(|limit| limit.skip_if_equal),
        min_interval,
        lifetime: limit.and_then(|limit| limit.lifetime),
        timeout: written.timeout_ms.map_or(context.timeout, Duration::from_millis),
    })
}

fn parameters(checker: &mut Checker<'_>, place: &Place, written: &[schema::Parameter]) -> Vec<Parameter> {
    let mut compiled: Vec<Parameter> = Vec::new();
    for (index, parameter) in written.iter().enumerate() {
        let place = place.index(index);
        if !usable_name(&parameter.name) || parameter.name == "action" {
            checker.complain(
                &place.key("name"),
                format_args!("{:?} is not usable, expected letters, digits and _, and not action", parameter.name),
            );
        }
        if compiled.iter().any(|other| other.name == parameter.name) {
            checker.complain(&place.key("name"), format_args!("{:?} is used twice", parameter.name));
        }
        let (min, max, step) = (parameter.min, parameter.max, parameter.step);
        let kind = match parameter.kind.as_str() {
            "float" => ParameterKind::Float { min, max, step },
            "int" => ParameterKind::Int { min, max, step },
            "bool" => ParameterKind::Bool,
            "text" => ParameterKind::Text,
            "enum" => ParameterKind::Enum(parameter.values.clone().unwrap_or_default()),
            other => {
                checker.complain(
                    &place.key("type"),
                    format_args!("{other:?} is unknown, expected float, int, bool, text or enum"),
                );
                continue;
            }
        };
        let is_number = matches!(kind, ParameterKind::Float { .. } | ParameterKind::Int { .. });
        if !is_number && (min.is_some() || max.is_some() || step.is_some()) {
            checker.complain(&place, "min, max and step are for float and int");
        }
        if let Some((min, max)) = min.zip(max)
            && min > max
        {
            checker.complain(&place.key("min"), format_args!("{min} is above max {max}"));
        }
        if step.is_some_and(|step| step <= 0.0) {
            checker.complain(&place.key("step"), "expected more than 0");
        }
        match (&kind, &parameter.values) {
            (ParameterKind::Enum(values), _) => {
                let usable = |value: &Value| value.as_f64().is_some() || value.as_str().is_some_and(is_printable);
                if values.is_empty() || !values.iter().all(usable) {
                    checker.complain(&place, "expected values = [...] of numbers or printable texts");
                }
            }
            (_, Some(_)) => checker.complain(&place.key("values"), "only for type enum"),
            (_, None) => {}
        }
        let unit = parameter.unit.as_ref().map_or(Unit::None, |text| unit(checker, &place.key("unit"), text));
        compiled.push(Parameter { name: parameter.name.clone(), unit, kind });
    }
    compiled
}

fn is_printable(text: &str) -> bool {
    !text.is_empty() && text.len() <= 64 && text.chars().all(|c| c.is_ascii_graphic() || c == ' ')
}

fn command(
    checker: &mut Checker<'_>,
    context: &Context<'_>,
    place: &Place,
    written: &schema::Action,
    parameters: &[Parameter],
) -> Option<Command> {
    match (&written.send, &written.write) {
        (Some(send), None) => {
            let place = place.key("send");
            receive::stream_only(checker, context, &place)?;
            receive::command(checker, context, &place, send)?;
            let template = checker.take(&place, Template::parse(send))?;
            check_template(checker, &place, &template, parameters);
            Some(Command::Send(template))
        }
        (None, Some(write)) => {
            let place = place.key("write");
            let write = receive::write(checker, context, &place, write)?;
            if let Some(name) = write.value.as_str()
                && !parameters.iter().any(|parameter| parameter.name == name)
            {
                checker.complain(&place.key("value"), format_args!("{name} is no parameter of this action"));
            }
            Some(Command::Write)
        }
        (Some(_), Some(_)) => {
            checker.complain(place, "send and write together, expected one of them");
            None
        }
        (None, None) => {
            checker.complain(place, "neither send nor write, expected one of them");
            None
        }
    }
}

fn check_template(checker: &mut Checker<'_>, place: &Place, template: &Template, parameters: &[Parameter]) {
    for (name, numeric) in template.names() {
        let Some(parameter) = parameters.iter().find(|parameter| parameter.name == name) else {
            let names: Vec<&str> = parameters.iter().map(|parameter| parameter.name.as_str()).collect();
            let known =
                if names.is_empty() { "no placeholder: the action has no params".to_owned() } else { names.join(", ") };
            checker.complain(place, format_args!("placeholder {{{name}}} is no parameter, expected {known}"));
            continue;
        };
        let is_text = match &parameter.kind {
            ParameterKind::Text => true,
            ParameterKind::Enum(values) => values.iter().any(|value| value.as_str().is_some()),
            ParameterKind::Float { .. } | ParameterKind::Int { .. } | ParameterKind::Bool => false,
        };
        if numeric && is_text {
            checker.complain(
                place,
                format_args!("placeholder {{{name}}} has a format for numbers and the parameter is a text"),
            );
        }
    }
    for name in template.expression_names() {
        if !parameters.iter().any(|parameter| parameter.name == name) {
            checker.complain(place, format_args!("{name} in an expression is no parameter"));
        }
    }
}

/// Also used by the safe state, which has no parameters.
pub(super) fn verify(
    checker: &mut Checker<'_>,
    context: &Context<'_>,
    place: &Place,
    written: &schema::Verify,
    parameters: &[Parameter],
) -> Option<Verify> {
    let equals = match &written.equals {
        Value::Text(name) if parameters.iter().any(|parameter| parameter.name == *name) => {
            Equals::Parameter(name.clone())
        }
        Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) => Equals::Value(written.equals.clone()),
        Value::Null | Value::List(_) | Value::Map(_) => {
            checker.complain(
                &place.key("equals"),
                "not usable, expected a parameter's name, a number, a text or true or false",
            );
            return None;
        }
    };
    let tolerance = written.tol.unwrap_or(0.0);
    if !(tolerance >= 0.0 && tolerance.is_finite()) {
        checker.complain(&place.key("tol"), "expected 0 or more");
    }
    let source = match &written.reading {
        Some(name) => {
            if written.send.is_some() || written.read.is_some() || written.parse.is_some() || written.rx.is_some() {
                checker.complain(place, "reading beside send, read, rx or parse, expected one way of reading back");
            }
            let Some(reading) = context.document.reading.iter().find(|reading| reading.id == *name) else {
                checker.complain(&place.key("reading"), format_args!("{name} is no reading of this profile"));
                return None;
            };
            let fields = reading.parse.as_ref().and_then(|parse| parse.fields.as_ref());
            match (&written.field, fields) {
                (Some(field), Some(fields)) if fields.contains_key(field) => {}
                (None, None) => {}
                (Some(field), Some(fields)) => {
                    let names: Vec<&str> = fields.keys().map(String::as_str).collect();
                    checker.complain(
                        &place.key("field"),
                        format_args!("{field} is no field of reading {name}, expected {}", names.join(", ")),
                    );
                }
                (Some(_), None) => checker.complain(&place.key("field"), format_args!("reading {name} has no fields")),
                (None, Some(_)) => {
                    checker.complain(place, format_args!("field is missing: reading {name} has several"))
                }
            }
            VerifySource::Reading { reading: name.clone(), field: written.field.clone() }
        }
        None => {
            if written.field.is_some() {
                checker.complain(&place.key("field"), "without effect, expected reading beside it");
            }
            let query = receive::query(
                checker,
                context,
                place,
                written.send.as_deref(),
                written.read.as_ref(),
                written.rx.as_ref(),
            );
            let words = written.read.as_ref().and_then(|read| crate::protocol::words::NumberType::parse(&read.kind));
            let words = words.map(|number| (number, context.transport.order));
            let parse = parse::parse(checker, &place.key("parse"), written.parse.as_ref(), words);
            if parse.as_ref().is_some_and(|parse| !parse.fields().is_empty()) {
                checker.complain(&place.key("parse"), "yields several fields, expected a single value");
            }
            VerifySource::Query { query: query?, parse: parse? }
        }
    };
    Some(Verify { source, equals, tolerance })
}
