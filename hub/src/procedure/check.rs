//! What the types of a procedure cannot say: names that must exist, graphs without cycles, limits that can be met.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rigwire_shared::ids::StepId;
use rigwire_shared::value::Value;

use super::{HoldFor, Parameter, ParameterKind, Procedure, Role, Source, Step, suite};
use crate::event::RunKind;
use crate::module::{self, Where};
use crate::sweep::Sweep;
use crate::template;

/// Steps of one procedure, `finally` included: a run looks at all of them whenever something happens.
const STEPS_MAX: usize = 500;

/// Further attempts of a step. One that fails at once would otherwise keep the hub from everything else.
const RETRIES_MAX: u32 = 100;

const TIMEOUT_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
const BACKOFF_MAX: Duration = Duration::from_secs(24 * 3600);

/// What templates name besides parameters.
const RESERVED: [&str; 3] = ["params", "steps", "point"];

/// A mistake as (key, message).
type Found = Vec<(String, String)>;

pub(super) fn mistakes(procedure: &Procedure) -> Found {
    let mut found = Found::new();
    if procedure.name.is_empty()
        || procedure.name.len() > 64
        || !procedure.name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'))
    {
        let message = format!("{:?} is not a procedure name, expected 1 to 64 of a-z A-Z 0-9 _ - .", procedure.name);
        found.push(("name".to_owned(), message));
    }
    for (name, parameter) in &procedure.params {
        check_parameter(&format!("params.{name}"), parameter, &mut found);
    }
    let mut named = BTreeMap::new();
    for (name, role) in &procedure.roles {
        if (Role { hold: HoldFor::Run, ..role.clone() }) == Role::default() {
            let message = "says nothing, expected device, class, kind, tags or min_sdk".to_owned();
            found.push((format!("roles.{name}"), message));
        }
        // One device plays one role: such a run would wait for ever.
        if let Some(device) = &role.device
            && let Some(other) = named.insert(device, name)
        {
            found.push((format!("roles.{name}.device"), format!("{device} plays role {other} already")));
        }
    }
    let steps = procedure.steps.len() + procedure.finally.len();
    if steps > STEPS_MAX {
        found.push(("steps".to_owned(), format!("are {steps} with finally, expected at most {STEPS_MAX}")));
        return found;
    }
    check_kind(procedure, &mut found);
    let mut seen = BTreeSet::new();
    for (index, step) in procedure.steps.iter().enumerate() {
        check_step(procedure, step, &format!("steps[{index}]"), &mut seen, &mut found);
    }
    for (index, step) in procedure.finally.iter().enumerate() {
        let key = format!("finally[{index}]");
        check_step(procedure, step, &key, &mut seen, &mut found);
        if step.needs.is_some() {
            found.push((format!("{key}.needs"), "finally steps run in order, leave needs out".to_owned()));
        }
    }
    check_needs(procedure, &mut found);
    found
}

/// Each kind of run has parts of its own.
fn check_kind(procedure: &Procedure, found: &mut Found) {
    let mut misplaced = |key: &str, present: bool, belongs: &str| {
        if present {
            found.push((key.to_owned(), format!("belongs to {belongs} only")));
        }
    };
    let (suite, study) = (procedure.kind == RunKind::Suite, procedure.kind == RunKind::Optimization);
    let (of_suite, of_study, of_steps) =
        ("kind = \"suite\"", "kind = \"optimization\"", "procedures with steps of their own");
    misplaced("tests", !suite && !procedure.tests.is_empty(), of_suite);
    misplaced("suite", !suite && procedure.suite.is_some(), of_suite);
    for (key, present) in [
        ("procedure", procedure.procedure.is_some()),
        ("variables", !procedure.variables.is_empty()),
        ("objectives", !procedure.objectives.is_empty()),
        ("constraints", !procedure.constraints.is_empty()),
        ("strategy", procedure.strategy.is_some()),
    ] {
        misplaced(key, !study && present, of_study);
    }
    if suite || study {
        misplaced("steps", !procedure.steps.is_empty(), of_steps);
        misplaced("finally", !procedure.finally.is_empty(), of_steps);
        misplaced("sweep", procedure.sweep.is_some(), of_steps);
        misplaced("roles", !procedure.roles.is_empty(), of_steps);
        misplaced("wait", procedure.wait.is_some(), of_steps);
    } else if procedure.steps.is_empty() {
        found.push(("steps".to_owned(), "is empty, expected at least one step".to_owned()));
    }
    if suite {
        found.extend(suite::mistakes(procedure));
    }
    if study {
        check_study(procedure, found);
    }
    if let Some(sweep) = &procedure.sweep {
        check_sweep(procedure, sweep, found);
    }
}

fn check_study(procedure: &Procedure, found: &mut Found) {
    match procedure.study() {
        None => found.push(("strategy".to_owned(), "is missing, expected a table with name and budget".to_owned())),
        Some(study) => found.extend(study.mistakes()),
    }
    if let Some(inner) = procedure.procedure.as_ref().and_then(Source::inline) {
        found.extend(suite::inner_mistakes(inner, "procedure"));
    }
}

/// An axis may be one of the procedure's parameters, whose limits hold for it, too.
fn check_sweep(procedure: &Procedure, sweep: &Sweep, found: &mut Found) {
    let mistakes = sweep.mistakes();
    if !mistakes.is_empty() {
        found.extend(mistakes.into_iter().map(|(key, message)| (format!("sweep.{key}"), message)));
        return;
    }
    for (index, axis) in sweep.axes.list().iter().enumerate() {
        let key = format!("sweep.{}", sweep.axes.key(index));
        if RESERVED.contains(&axis.name.as_str()) {
            found.push((key, format!("{} has a meaning of its own in templates", axis.name)));
            continue;
        }
        let Some(parameter) = procedure.params.get(&axis.name) else { continue };
        let refused = (0..axis.len()).filter_map(|at| axis.value(at)).find_map(|value| parameter.accept(&value).err());
        if let Some(message) = refused {
            found.push((key, format!("parameter {}: {message}", axis.name)));
        }
    }
}

fn check_parameter(key: &str, parameter: &Parameter, found: &mut Found) {
    check_finite(key, parameter.min, parameter.max, found);
    if let (Some(min), Some(max)) = (parameter.min, parameter.max)
        && min > max
    {
        found.push((format!("{key}.min"), format!("min {min} is above max {max}")));
    }
    let is_enum = parameter.kind == ParameterKind::Enum;
    if is_enum == parameter.values.is_empty() {
        let message = if is_enum { "an enum lists what it may be" } else { "values belong to type = \"enum\" only" };
        found.push((format!("{key}.values"), message.to_owned()));
    }
    if let Some(Err(message)) = parameter.default.as_ref().map(|default| parameter.accept(default)) {
        found.push((format!("{key}.default"), message));
    }
}

/// Nothing is below or above a number that is none: everything would pass.
fn check_finite(key: &str, min: Option<f64>, max: Option<f64>, found: &mut Found) {
    for (name, limit) in [("min", min), ("max", max)] {
        if let Some(limit) = limit.filter(|limit| !limit.is_finite()) {
            found.push((format!("{key}.{name}"), format!("is {limit}, expected a finite number")));
        }
    }
}

fn check_step(procedure: &Procedure, step: &Step, key: &str, seen: &mut BTreeSet<StepId>, found: &mut Found) {
    match &step.id {
        None => found.push((key.to_owned(), "has no id".to_owned())),
        Some(id) => {
            if !seen.insert(id.clone()) {
                found.push((format!("{key}.id"), format!("{id} is the id of two steps")));
            }
        }
    }
    if !matches!(step.with, Value::Map(_)) {
        found.push((format!("{key}.with"), "is not a table of names and values".to_owned()));
    }
    match module::find(&step.module) {
        None => {
            let message = format!("there is no module {}; {}", step.module, module::known());
            found.push((format!("{key}.use"), message));
        }
        Some(module) => {
            if module.runs == Where::Device && step.on.is_none() {
                let message = format!("{} acts on a device, expected on = \"ROLE\"", module.id);
                found.push((key.to_owned(), message));
            }
            if module.runs == Where::Hub && step.on.is_some() {
                found.push((format!("{key}.on"), format!("{} acts on no device", module.id)));
            }
            for problem in module.check(step.fields()) {
                found.push((format!("{key}.with{}", problem.key), problem.message));
            }
        }
    }
    if let Some(role) = &step.on
        && !procedure.roles.contains_key(role)
    {
        let known: Vec<&str> = procedure.roles.keys().map(String::as_str).collect();
        let message = format!("there is no role {role}; roles: {}", known.join(", "));
        found.push((format!("{key}.on"), message));
    }
    if let Some(Err(message)) = step.when.as_deref().map(template::check_expression) {
        found.push((format!("{key}.when"), message));
    }
    if step.timeout.is_some_and(|timeout| timeout.is_zero()) {
        found.push((format!("{key}.timeout"), "is zero, expected at least 1ms".to_owned()));
    }
    if step.timeout.is_some_and(|timeout| timeout > TIMEOUT_MAX) {
        let most = humantime::format_duration(TIMEOUT_MAX);
        found.push((format!("{key}.timeout"), format!("is too long, expected at most {most}")));
    }
    if let Some(retry) = &step.retry {
        if retry.times > RETRIES_MAX {
            let message = format!("is {}, expected at most {RETRIES_MAX}", retry.times);
            found.push((format!("{key}.retry.times"), message));
        }
        if retry.backoff.is_some_and(|backoff| backoff > BACKOFF_MAX) {
            let most = humantime::format_duration(BACKOFF_MAX);
            found.push((format!("{key}.retry.backoff"), format!("is too long, expected at most {most}")));
        }
    }
    for (metric, limits) in &step.expect {
        let key = format!("{key}.expect.{metric}");
        check_finite(&key, limits.min, limits.max, found);
        match (limits.min, limits.max) {
            (None, None) => found.push((key, "has neither min nor max".to_owned())),
            (Some(min), Some(max)) if min > max => found.push((key, format!("min {min} is above max {max}"))),
            (Some(_) | None, Some(_)) | (Some(_), None) => {}
        }
    }
    for (name, value) in step.fields() {
        let checked = match value {
            Value::Text(text) if step.module == "assert" && name == "that" && !text.contains("{{") => {
                template::check_expression(text)
            }
            Value::Null
            | Value::Bool(_)
            | Value::Int(_)
            | Value::Float(_)
            | Value::Text(_)
            | Value::List(_)
            | Value::Map(_) => template::check(value),
        };
        if let Err(message) = checked {
            found.push((format!("{key}.with.{name}"), message));
        }
    }
}

/// Names in `needs` exist, and no step waits for itself.
fn check_needs(procedure: &Procedure, found: &mut Found) {
    let graph: BTreeMap<&StepId, &[StepId]> = procedure
        .steps
        .iter()
        .filter_map(|step| Some((step.id.as_ref()?, step.needs.as_deref().unwrap_or_default())))
        .collect();
    // Two steps of one name are a mistake of their own; whose needs are meant cannot be said.
    if graph.len() < procedure.steps.len() {
        return;
    }
    for (index, step) in procedure.steps.iter().enumerate() {
        for need in step.needs.iter().flatten() {
            if !graph.contains_key(need) {
                let known: Vec<&str> = graph.keys().map(|id| id.as_str()).collect();
                let message = format!("there is no step {need}; steps: {}", known.join(", "));
                found.push((format!("steps[{index}].needs"), message));
            }
        }
    }
    // Takes away every step whose needs are met until nothing changes; what is left waits for itself.
    let mut left: BTreeMap<&StepId, Vec<&StepId>> =
        graph.iter().map(|(id, needs)| (*id, needs.iter().filter(|need| graph.contains_key(need)).collect())).collect();
    while let Some(id) =
        left.iter().find(|(_, needs)| needs.iter().all(|need| !left.contains_key(*need))).map(|(id, _)| *id)
    {
        left.remove(id);
    }
    if !left.is_empty() {
        let names: Vec<&str> = left.keys().map(|id| id.as_str()).collect();
        let message = format!("these steps wait for each other: {}", names.join(", "));
        let index = procedure.steps.iter().position(|step| step.id.as_ref().is_some_and(|id| left.contains_key(id)));
        found.push((format!("steps[{}].needs", index.unwrap_or_default()), message));
    }
}
