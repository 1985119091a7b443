//! What a caller may give to an action: checked here, before anything is sent. Knows no stream.

use rigwire_shared::unit::Unit;
use rigwire_shared::value::Value;

use crate::profile::definition::{Action, Parameter, ParameterKind};
use crate::profile::interpret::{same, shown};

/// Longest text parameter, in bytes.
const TEXT_MAX: usize = 64;

/// The parameters in the profile's order, or what is wrong with them.
pub(super) fn check(action: &Action, with: &[(String, Value)]) -> Result<Vec<(String, Value)>, String> {
    for (index, (name, _)) in with.iter().enumerate() {
        if !action.parameters.iter().any(|parameter| parameter.name == *name) {
            let names: Vec<&str> = action.parameters.iter().map(|parameter| parameter.name.as_str()).collect();
            let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            return Err(format!("action {} has no parameter {name}, expected {known}", action.id));
        }
        if with[..index].iter().any(|(earlier, _)| earlier == name) {
            return Err(format!("parameter {name} of action {} is given twice", action.id));
        }
    }
    action
        .parameters
        .iter()
        .map(|parameter| {
            let label = format!("parameter {} of action {}", parameter.name, action.id);
            let (_, value) = with
                .iter()
                .find(|(name, _)| *name == parameter.name)
                .ok_or_else(|| format!("{label} is missing, allowed {}", allowed(parameter)))?;
            let value = accept(parameter, value).map_err(|reason| format!("{label} is {reason}"))?;
            Ok((parameter.name.clone(), value))
        })
        .collect()
}

fn accept(parameter: &Parameter, value: &Value) -> Result<Value, String> {
    let refused = || {
        let unit = if value.as_f64().is_some() { spaced(&parameter.unit) } else { String::new() };
        let found = value.as_str().map_or_else(|| shown(value), |text| format!("{text:?}"));
        format!("{found}{unit}, allowed {}", allowed(parameter))
    };
    match &parameter.kind {
        ParameterKind::Float { min, max, step } => {
            let number = value.as_f64().filter(|number| number.is_finite()).ok_or_else(refused)?;
            in_range(number, *min, *max, *step).then_some(Value::Float(number)).ok_or_else(refused)
        }
        ParameterKind::Int { min, max, step } => {
            let number =
                value.as_f64().filter(|number| number.is_finite() && number.fract() == 0.0).ok_or_else(refused)?;
            let usable = number.abs() < 9e15 && in_range(number, *min, *max, *step);
            #[expect(clippy::cast_possible_truncation, reason = "whole and below 2^53")]
            usable.then_some(Value::Int(number as i64)).ok_or_else(refused)
        }
        ParameterKind::Bool => match value {
            Value::Bool(_) => Ok(value.clone()),
            Value::Int(number @ (0 | 1)) => Ok(Value::Bool(*number == 1)),
            Value::Null | Value::Int(_) | Value::Float(_) | Value::Text(_) | Value::List(_) | Value::Map(_) => {
                Err(refused())
            }
        },
        ParameterKind::Text => {
            // A line end inside would make two commands of one.
            let usable = |text: &str| {
                !text.is_empty() && text.len() <= TEXT_MAX && text.chars().all(|c| c.is_ascii_graphic() || c == ' ')
            };
            value.as_str().filter(|text| usable(text)).map(|_| value.clone()).ok_or_else(refused)
        }
        ParameterKind::Enum(values) => values
            .iter()
            .find(|known| same(value, known, 0.0) || value.as_str().is_some_and(|text| text == shown(known)))
            .cloned()
            .ok_or_else(refused),
    }
}

fn in_range(number: f64, min: Option<f64>, max: Option<f64>, step: Option<f64>) -> bool {
    let on_step = step.is_none_or(|step| {
        let steps = (number - min.unwrap_or(0.0)) / step;
        (steps - steps.round()).abs() < 1e-6 * steps.abs().max(1.0)
    });
    min.is_none_or(|min| number >= min) && max.is_none_or(|max| number <= max) && on_step
}

fn allowed(parameter: &Parameter) -> String {
    let unit = spaced(&parameter.unit);
    match &parameter.kind {
        ParameterKind::Float { min, max, step } => range("any number", *min, *max, *step, &unit),
        ParameterKind::Int { min, max, step } => range("any whole number", *min, *max, *step, &unit),
        ParameterKind::Bool => "true or false".to_owned(),
        ParameterKind::Text => format!("a printable text of at most {TEXT_MAX} bytes"),
        ParameterKind::Enum(values) => values.iter().map(shown).collect::<Vec<_>>().join(", "),
    }
}

fn range(any: &str, min: Option<f64>, max: Option<f64>, step: Option<f64>, unit: &str) -> String {
    let range = match (min, max) {
        (Some(min), Some(max)) => format!("{min} to {max}{unit}"),
        (Some(min), None) => format!("{min}{unit} or more"),
        (None, Some(max)) => format!("{max}{unit} or less"),
        (None, None) => any.to_owned(),
    };
    step.map_or_else(|| range.clone(), |step| format!("{range} in steps of {step}{unit}"))
}

fn spaced(unit: &Unit) -> String {
    if unit.as_str().is_empty() { String::new() } else { format!(" {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Profile;

    fn checked(profile: &str, action: &str, with: &[(&str, Value)]) -> Result<Value, String> {
        let profile = Profile::bundled(profile).unwrap().unwrap();
        let action = profile.actions.iter().find(|known| known.id == action).unwrap();
        let with: Vec<(String, Value)> = with.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        check(action, &with).map(|mut values| values.remove(0).1)
    }

    #[test]
    fn parameters_are_checked_before_anything_is_sent() {
        const RANGE: &str = "allowed 0 to 31 V in steps of 0.01 V";
        let volts = |value| checked("korad.ka3005p", "set_voltage", &[("v", value)]);
        assert_eq!(volts(Value::Float(3.3)), Ok(Value::Float(3.3)));
        assert_eq!(volts(Value::Int(31)), Ok(Value::Float(31.0)));
        for (value, expected) in [
            (Value::Float(40.0), "40 V"),
            (Value::Float(-0.01), "-0.01 V"),
            (Value::Float(3.333), "3.333 V"),
            (Value::Float(f64::NAN), "NaN V"),
            (Value::Text("3.3".into()), "\"3.3\""),
            (Value::Null, "none"),
        ] {
            assert_eq!(volts(value), Err(format!("parameter v of action set_voltage is {expected}, {RANGE}")));
        }
        let missing = checked("korad.ka3005p", "set_voltage", &[]);
        assert_eq!(missing, Err(format!("parameter v of action set_voltage is missing, {RANGE}")));
        let unknown = checked("korad.ka3005p", "set_voltage", &[("u", Value::Int(1))]);
        assert_eq!(unknown, Err("action set_voltage has no parameter u, expected v".into()));
        let twice = checked("korad.ka3005p", "set_voltage", &[("v", Value::Int(1)), ("v", Value::Int(2))]);
        assert_eq!(twice, Err("parameter v of action set_voltage is given twice".into()));
    }

    #[test]
    fn switches_and_choices_are_checked() {
        let output = |value| checked("korad.ka3005p", "output", &[("on", value)]);
        assert_eq!(output(Value::Int(1)), Ok(Value::Bool(true)));
        assert_eq!(output(Value::Int(2)), Err("parameter on of action output is 2, allowed true or false".into()));
        let nplc = |value| checked("hp.34401a", "set_nplc", &[("nplc", value)]);
        assert_eq!(nplc(Value::Float(10.0)), Ok(Value::Int(10)));
        assert_eq!(nplc(Value::Text("0.2".into())), Ok(Value::Float(0.2)));
        assert_eq!(
            nplc(Value::Int(3)),
            Err("parameter nplc of action set_nplc is 3, allowed 0.02, 0.2, 1, 10, 100".into())
        );
    }
}
