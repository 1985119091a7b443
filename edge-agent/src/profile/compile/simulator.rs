//! The `[simulator]` table.

use std::collections::BTreeMap;
use std::time::Duration;

use rigwire_shared::value::Value;

use super::super::definition::{Rule, SimulatorDefinition, Variable};
use super::super::duration;
use super::super::error::{Checker, Place};
use super::super::schema;
use super::{Context, pattern_error, receive, usable_name};
use crate::protocol::expression::Expression;
use crate::protocol::template::Template;
use crate::simulator::fault::Fault;

pub(super) fn simulator(checker: &mut Checker<'_>, context: &Context<'_>) -> Option<SimulatorDefinition> {
    let written = context.document.simulator.as_ref()?;
    let place = Place::default().key("simulator");
    let is_modbus = context.transport.is_modbus();
    let mut variables = variables(checker, &place.key("vars"), &written.vars);
    if let Some(idn) = &written.idn {
        variables.insert("idn".to_owned(), Variable::Text(idn.clone()));
    }
    if is_modbus && !written.rules.is_empty() {
        checker.complain(&place.key("rules"), "not used on Modbus, expected an image of registers");
    }
    if !is_modbus && (!written.image.is_empty() || !written.model.is_empty()) {
        checker.complain(&place.key("image"), "image and model are for Modbus, expected rules");
    }
    image(checker, context, &place, written);
    let mut rules = Vec::new();
    for (index, rule) in written.rules.iter().enumerate() {
        rules.extend(self::rule(checker, &place.key("rules").index(index), rule, &variables));
    }
    let mut faults = Vec::new();
    for (index, text) in written.faults.iter().enumerate() {
        let place = place.key("faults").index(index);
        let Some(fault) = checker.take(&place, text.parse::<Fault>()) else { continue };
        if fault.is_for_modbus() && !is_modbus {
            checker.complain(&place, format_args!("{text} is a fault of Modbus lines"));
        }
        faults.push(fault);
    }
    let default = context.document.framing.as_ref().and_then(|framing| framing.rx.clone()).unwrap_or_default();
    let is_line = default.mode.as_deref().is_none_or(|mode| mode == "line");
    let reply_end = if is_line && !is_modbus { default.end.unwrap_or_else(|| "\n".to_owned()) } else { String::new() };
    Some(SimulatorDefinition {
        command_end: context.command_end.clone(),
        reply_end: reply_end.into_bytes(),
        variables,
        rules,
        faults,
        is_image: is_modbus,
    })
}

fn variables(checker: &mut Checker<'_>, place: &Place, written: &schema::Table<Value>) -> BTreeMap<String, Variable> {
    let mut variables = BTreeMap::new();
    for (name, value) in written {
        let place = place.key(name);
        if !usable_name(name) || matches!(name.as_str(), "idn" | "min" | "max") {
            checker.complain(&place, "not usable as a name, expected letters, digits and _, and not idn, min or max");
        }
        let variable = match value {
            Value::Int(_) | Value::Float(_) => value.as_f64().map(Variable::Number),
            Value::Bool(on) => Some(Variable::Number(f64::from(*on))),
            Value::Text(text) => Some(Variable::Text(text.clone())),
            Value::List(items) => {
                items.iter().map(|item| item.as_str().map(str::to_owned)).collect::<Option<_>>().map(Variable::Queue)
            }
            Value::Null | Value::Map(_) => None,
        };
        match variable {
            Some(variable) => _ = variables.insert(name.clone(), variable),
            None => checker.complain(&place, "expected a number, a text or a list of texts"),
        }
    }
    variables
}

fn rule(
    checker: &mut Checker<'_>,
    place: &Place,
    written: &schema::Rule,
    variables: &BTreeMap<String, Variable>,
) -> Option<Rule> {
    let on = regex::bytes::RegexBuilder::new(&written.on).size_limit(1 << 20).build();
    let on = checker.take(&place.key("on"), on.map_err(|error| pattern_error(&written.on, &error)));
    let is_queue = |name: &str| matches!(variables.get(name), Some(Variable::Queue(_)));
    let is_number = |name: &str| matches!(variables.get(name), Some(Variable::Number(_)));
    let is_printed = |name: &str| matches!(variables.get(name), Some(Variable::Number(_) | Variable::Text(_)));
    let groups: Vec<String> =
        on.iter().flat_map(|on| on.capture_names().flatten().map(str::to_owned).collect::<Vec<_>>()).collect();
    let reply = written.reply.as_ref().and_then(|text| checker.take(&place.key("reply"), Template::parse(text)));
    if let Some(template) = &reply {
        for (name, numeric) in template.names() {
            let known = if numeric { is_number(name) } else { is_printed(name) };
            if !known {
                checker.complain(&place.key("reply"), format_args!("{name} is no such variable of the simulator"));
            }
        }
        for name in template.expression_names().into_iter().filter(|name| !is_number(name)) {
            checker.complain(&place.key("reply"), format_args!("{name} is no number of the simulator"));
        }
    }
    let reply_byte = written.reply_byte.as_ref().and_then(|text| {
        let expression = text
            .strip_prefix('=')
            .ok_or_else(|| format!("{text:?} is no expression, expected a form such as \"=out*64\""));
        let parsed = expression.and_then(|text| Expression::parse(text).map_err(|error| error.to_string()));
        checker.take(&place.key("reply_byte"), parsed)
    });
    for name in reply_byte.iter().flat_map(Expression::variables).filter(|name| !is_number(name)) {
        checker.complain(&place.key("reply_byte"), format_args!("{name} is no number of the simulator"));
    }
    for name in &written.set {
        if !is_printed(name) {
            checker.complain(&place.key("set"), format_args!("{name} is no variable of the simulator"));
        } else if on.is_some() && !groups.contains(name) {
            checker.complain(
                &place.key("set"),
                format_args!("{name} is no group of the pattern, expected (?P<{name}>...)"),
            );
        }
    }
    let queues = written.push.iter().flat_map(|push| push.keys()).chain(&written.pop);
    for name in queues.filter(|name| !is_queue(name)) {
        checker.complain(place, format_args!("{name} is no list of the simulator, expected vars = {{ {name} = [] }}"));
    }
    let kinds = [written.reply.is_some(), written.reply_byte.is_some(), written.pop.is_some()];
    if kinds.into_iter().filter(|given| *given).count() > 1 {
        checker.complain(place, "more than one of reply, reply_byte and pop");
    }
    if written.empty.is_some() != written.pop.is_some() {
        checker.complain(place, "pop and empty belong together");
    }
    let delay = written.delay_ms.unwrap_or(0);
    if delay > 60_000 {
        checker.complain(&place.key("delay_ms"), "out of range, expected at most 60000");
    }
    Some(Rule {
        on: on?,
        reply,
        reply_byte,
        set: written.set.clone(),
        push: written.push.clone().unwrap_or_default().into_iter().collect(),
        pop: written.pop.clone().zip(written.empty.clone()),
        delay: Duration::from_millis(delay),
    })
}

fn image(checker: &mut Checker<'_>, context: &Context<'_>, place: &Place, written: &schema::Simulator) {
    if written.unit.is_some_and(|unit| unit == 0 || unit > 247) {
        checker.complain(&place.key("unit"), "no unit address, expected 1 to 247");
    }
    if written.unit.is_some() && !context.transport.is_modbus() {
        checker.complain(&place.key("unit"), "only for Modbus");
    }
    let mut starts = BTreeMap::new();
    for (index, cell) in written.image.iter().enumerate() {
        let place = place.key("image").index(index);
        let Some(number) = receive::register_type(checker, &place.key("type"), &cell.kind) else { continue };
        if cell.value.as_f64().is_none() {
            checker.complain(&place.key("value"), "not a number");
        }
        if starts.insert(cell.addr, number).is_some() {
            checker.complain(&place.key("addr"), format_args!("{} is used twice", cell.addr));
        }
    }
    for (index, model) in written.model.iter().enumerate() {
        let place = place.key("model").index(index);
        if let Some(tau) = &model.tau {
            checker.take(&place.key("tau"), duration::parse_period(tau));
        }
        let missing = match model.kind.as_str() {
            "lag" => (model.from.is_none() || model.tau.is_none()).then_some("from and tau"),
            "copy" => model.from.is_none().then_some("from"),
            "ramp" => model.rate.is_none().then_some("rate"),
            other => {
                checker.complain(&place.key("kind"), format_args!("{other:?} is unknown, expected lag, copy or ramp"));
                None
            }
        };
        if let Some(missing) = missing {
            checker.complain(&place, format_args!("kind {:?} needs {missing}", model.kind));
        }
        for (key, address) in [("from", model.from), ("to", Some(model.to))] {
            if let Some(address) = address.filter(|address| !starts.contains_key(address)) {
                checker.complain(&place.key(key), format_args!("{address} is no address of image"));
            }
        }
    }
}
