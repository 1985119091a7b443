//! What a device offers under the names that a line uses: its readings, actions, settings. Knows no procedure.

use std::time::Duration;

use rigwire_shared::agent::{ActionCard, DeviceCard, DeviceKind, ParameterCard};
use serde_json::{Map, Value, json};

use super::compile::{duration_text, parsed};
use super::nearest::nearest;
use super::refusal::Trouble;
use super::{Argument, Known, Word, Written, value};
use crate::procedure::DEFAULT_TIMEOUT;

const SAMPLES_MAX: u64 = 1_000_000;

pub(super) fn card<'a>(device: &Word, known: &'a Known) -> Result<&'a DeviceCard, Trouble> {
    let card = known.devices.iter().find(|card| card.device.as_str() == device.text).ok_or_else(|| {
        let ids = known.devices.iter().map(|card| card.device.as_str());
        let suggestion = nearest(&device.text, ids);
        let none = if known.devices.is_empty() { ": no agent has announced any" } else { "" };
        Trouble::new(device.at, format!("there is no device {}{none}", device.text)).suggest(suggestion)
    })?;
    if card.kind == DeviceKind::Host {
        let message = "is a computer: its programs are started by steps with process.run, as in run PROCEDURE";
        return Err(Trouble::new(device.at, format!("{} {message}", card.device)));
    }
    Ok(card)
}

type Reading = (Map<String, Value>, Option<Duration>, String);

pub(super) fn read(
    card: &DeviceCard,
    reading: Option<&Word>,
    count: Option<&Word>,
    every: Option<&Word>,
    during: Option<&Word>,
) -> Result<Reading, Trouble> {
    let mut with = Map::new();
    let id = reading.map(|reading| reading_id(card, reading)).transpose()?;
    if let Some(id) = id {
        with.insert("reading".to_owned(), json!(id));
    }
    let interval = every.map(|every| Ok((parsed(every)?, every.at))).transpose()?;
    let samples = match (count, interval, during) {
        (Some(count), _, None) => {
            let samples = count.text.parse::<u64>().ok().filter(|samples| (1..=SAMPLES_MAX).contains(samples));
            let message = || format!("{:?} is not a number of times, expected 1 to {SAMPLES_MAX}", count.text);
            samples.ok_or_else(|| Trouble::new(count.at, message()))?
        }
        (None, Some((every, at)), Some(during)) => {
            let lasts = parsed(during)?;
            if every.is_zero() || lasts < every {
                let message = "is no interval of that time, expected more than zero and no more than what follows for";
                return Err(Trouble::new(at, message));
            }
            let samples = u64::try_from(lasts.as_nanos() / every.as_nanos()).unwrap_or(u64::MAX);
            if samples > SAMPLES_MAX {
                return Err(Trouble::new(at, format!("these are {samples} samples, the most is {SAMPLES_MAX}")));
            }
            samples
        }
        (None, None, None) => 1,
        (Some(_), _, Some(during)) => {
            return Err(Trouble::new(during.at, "say how many times or for how long, not both"));
        }
        (None, None, Some(during)) => {
            let message = "say how often, too, as in read dmm-1 value every 1s for 10s";
            return Err(Trouble::new(during.at, message));
        }
        (None, Some((_, at)), None) => {
            let message = "say for how long or how many times, too, as in read dmm-1 value every 1s for 10s";
            return Err(Trouble::new(at, message));
        }
    };
    let what = id.map_or_else(|| "all readings".to_owned(), str::to_owned);
    let mut text = format!("reads {what} of {}", card.device);
    let mut timeout = None;
    if samples > 1 {
        with.insert("samples".to_owned(), json!(samples));
        text.push_str(&format!(", {samples} times"));
    }
    if let Some((every, _)) = interval {
        with.insert("every".to_owned(), json!(duration_text(every)));
        text.push_str(&format!(" every {}", duration_text(every)));
        let rounds = u32::try_from(samples).unwrap_or(u32::MAX);
        timeout = Some(every.saturating_mul(rounds).saturating_add(DEFAULT_TIMEOUT));
    }
    Ok((with, timeout, text))
}

/// A reading by its id, or by the one metric that only it gives.
fn reading_id<'a>(card: &'a DeviceCard, reading: &Word) -> Result<&'a str, Trouble> {
    if let Some(found) = card.readings.iter().find(|known| known.id == reading.text) {
        return Ok(&found.id);
    }
    let mut giving =
        card.readings.iter().filter(|known| known.metrics.iter().any(|metric| metric.as_str() == reading.text));
    if let (Some(found), None) = (giving.next(), giving.next()) {
        return Ok(&found.id);
    }
    let ids = card.readings.iter().map(|known| known.id.as_str());
    let known: Vec<&str> = ids.clone().collect();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    let message = format!("{} has no reading {}; its readings: {known}", card.device, reading.text);
    Err(Trouble::new(reading.at, message).suggest(nearest(&reading.text, ids)))
}

/// The action that sets `name`, and its parameter for it: `set_NAME`, `NAME`, `set` with that parameter, or the only action
/// that takes nothing but it.
pub(super) fn setting<'a>(card: &'a DeviceCard, name: &Word) -> Result<(&'a ActionCard, &'a ParameterCard), Trouble> {
    let wanted = plain(&name.text);
    let sole = |action: &'a ActionCard| match action.parameters.as_slice() {
        [parameter] => Some((action, parameter)),
        _ => None,
    };
    let named = |id: String| card.actions.iter().find(|action| plain(&action.id) == id).and_then(sole);
    if let Some(found) = named(format!("set-{wanted}")).or_else(|| named(wanted.clone())) {
        return Ok(found);
    }
    let taking: Vec<(&ActionCard, &ParameterCard)> =
        card.actions.iter().filter_map(sole).filter(|(_, parameter)| plain(&parameter.name) == wanted).collect();
    let preferred = taking.iter().find(|(action, _)| plain(&action.id) == "set");
    match (preferred, taking.as_slice()) {
        (Some(found), _) | (None, [found]) => return Ok(*found),
        (None, []) => {}
        (None, several) => {
            let ids: Vec<&str> = several.iter().map(|(action, _)| action.id.as_str()).collect();
            let message = format!(
                "{} actions of {} set {}: say which with do: {}",
                ids.len(),
                card.device,
                name.text,
                ids.join(", ")
            );
            return Err(Trouble::new(name.at, message));
        }
    }
    let settable: Vec<&str> = card
        .actions
        .iter()
        .filter_map(sole)
        .map(|(action, _)| action.id.strip_prefix("set_").or(action.id.strip_prefix("set-")).unwrap_or(&action.id))
        .collect();
    let known = if settable.is_empty() { "nothing".to_owned() } else { settable.join(", ") };
    let message = format!("{} has nothing called {} to set; it sets: {known}", card.device, name.text);
    let suggestion = nearest(&name.text, settable.iter().copied());
    Err(Trouble::new(name.at, message).suggest(suggestion))
}

fn plain(name: &str) -> String {
    name.to_ascii_lowercase().replace('_', "-")
}

pub(super) fn action_of<'a>(
    card: &'a DeviceCard,
    name: &Word,
    with: &[Argument],
) -> Result<(&'a ActionCard, Map<String, Value>), Trouble> {
    let Some(action) = card.actions.iter().find(|action| action.id == name.text) else {
        let ids = card.actions.iter().map(|action| action.id.as_str());
        let known: Vec<&str> = ids.clone().collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        let message = format!("{} has no action {}; its actions: {known}", card.device, name.text);
        return Err(Trouble::new(name.at, message).suggest(nearest(&name.text, ids)));
    };
    let mut given: Vec<(&ParameterCard, &Written)> = Vec::new();
    for argument in with {
        let parameter = match &argument.name {
            Some(key) => {
                let names = action.parameters.iter().map(|parameter| parameter.name.as_str());
                action.parameters.iter().find(|parameter| parameter.name == key.text).ok_or_else(|| {
                    let message =
                        format!("action {} has no parameter {}; it takes: {}", action.id, key.text, takes(action));
                    Trouble::new(key.at, message).suggest(nearest(&key.text, names))
                })?
            }
            None => match action.parameters.as_slice() {
                [parameter] => parameter,
                _ => {
                    let message = format!("action {} takes: {}; say which as NAME=VALUE", action.id, takes(action));
                    return Err(Trouble::new(argument.value.word.at, message));
                }
            },
        };
        if given.iter().any(|(earlier, _)| earlier.name == parameter.name) {
            let message = format!("{} is said twice", parameter.name);
            return Err(Trouble::new(argument.value.word.at, message));
        }
        given.push((parameter, &argument.value));
    }
    let missing =
        action.parameters.iter().find(|parameter| given.iter().all(|(given, _)| given.name != parameter.name));
    if let Some(missing) = missing {
        let message = format!("action {} needs {}; it takes: {}", action.id, missing.name, takes(action));
        return Err(Trouble::new(name.at, message));
    }
    Ok((action, action_with(action, &given)?))
}

pub(super) fn action_with(
    action: &ActionCard,
    given: &[(&ParameterCard, &Written)],
) -> Result<Map<String, Value>, Trouble> {
    let mut with = Map::new();
    with.insert("action".to_owned(), json!(action.id));
    for (parameter, written) in given {
        let accepted = value::for_action(written, parameter).map_err(|message| {
            Trouble::new(written.word.at, format!("{} of action {} {message}", parameter.name, action.id))
        })?;
        let accepted = serde_json::to_value(&accepted).unwrap_or_default();
        with.insert(parameter.name.clone(), accepted);
    }
    Ok(with)
}

fn takes(action: &ActionCard) -> String {
    let names: Vec<&str> = action.parameters.iter().map(|parameter| parameter.name.as_str()).collect();
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}
