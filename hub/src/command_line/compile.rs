//! Sentences to one procedure: every name is looked up and every value checked before anything moves. Knows no run.

use std::collections::BTreeSet;
use std::time::Duration;

use rigwire_shared::agent::{ActionCard, DeviceCard};
use rigwire_shared::ids::DeviceId;
use rigwire_shared::value::{Fields, Value as Field};
use serde_json::{Map, Value, json};

use super::device::{action_of, action_with, card, read, setting};
use super::nearest::nearest;
use super::plan::{Plan, PlannedStep};
use super::refusal::{Refusal, Trouble};
use super::{Argument, Known, Line, Meaning, Sentence, Word, Written, adb, help, value};
use crate::dialect::RunReference;
use crate::module;
use crate::procedure::{Parameter, Procedure};

/// What a procedure made of a line is called.
pub(super) const NAME: &str = "command-line";

/// Characters of a run's name.
const NAME_MAX: usize = 200;

pub fn compile(line: &Line, known: &Known) -> Result<Meaning, Refusal> {
    meaning(line, known).map_err(|trouble| trouble.in_text(&line.text))
}

fn meaning(line: &Line, known: &Known) -> Result<Meaning, Trouble> {
    if let [(sentence, _)] = line.sentences.as_slice() {
        match sentence {
            Sentence::Help { about } => {
                let text = help::help(about.as_ref().map(|about| about.text.as_str()));
                let about = about.as_ref().map(|about| (about.text.as_str(), about.at)).unwrap_or_default();
                return text.map(Meaning::Help).ok_or_else(|| help::unknown(about.0, about.1));
            }
            Sentence::Devices => return Ok(Meaning::Devices),
            Sentence::Status { run } => return Ok(Meaning::Status(run.as_ref().map(reference).transpose()?)),
            Sentence::Control { control, run } => {
                return Ok(Meaning::Control { control: *control, run: reference(run)? });
            }
            Sentence::Run { procedure, with } => return alone(line, procedure, with, known),
            Sentence::Read { .. }
            | Sentence::Set { .. }
            | Sentence::Do { .. }
            | Sentence::Safe { .. }
            | Sentence::Wait { .. }
            | Sentence::Adb { .. }
            | Sentence::Log { .. } => {}
        }
    }
    let mut builder = Builder::new(known, named_devices(line, known)?);
    for (index, (sentence, at)) in line.sentences.iter().enumerate() {
        builder.sentence(sentence, *at, index + 1)?;
    }
    builder.finish(line)
}

fn reference(run: &Word) -> Result<RunReference, Trouble> {
    run.text.parse().map_err(|_| {
        let message = format!("{:?} is not a run, expected its number or UUID", run.text);
        Trouble::new(run.at, message)
    })
}

/// A procedure by itself keeps its kind and name.
fn alone(line: &Line, name: &Word, with: &[Argument], known: &Known) -> Result<Meaning, Trouble> {
    let procedure = procedure(name, known)?;
    let (params, own_name) = bind(procedure, name, with)?;
    let steps = procedure.all_steps().map(|(step, _)| {
        let role = step.on.as_deref();
        let device = role.and_then(|role| procedure.roles.get(role)).and_then(|role| role.device.clone());
        let on = role.map(|role| format!(" on {}", device.as_ref().map_or(role, |device| device.as_str())));
        let id = step.id.as_ref().map(|id| id.as_str().to_owned()).unwrap_or_default();
        let text = format!("{id}: {}{}", step.module, on.unwrap_or_default());
        PlannedStep { id, module: step.module.clone(), device, text }
    });
    Ok(Meaning::Plan(Box::new(Plan {
        params,
        name: own_name.unwrap_or_else(|| procedure.name.clone()),
        sentences: line.sentences.len(),
        steps: steps.collect(),
        devices: Plan::devices(procedure, known),
        procedure: procedure.clone(),
    })))
}

pub(super) fn procedure<'a>(name: &Word, known: &'a Known) -> Result<&'a Procedure, Trouble> {
    match known.procedures.get(&name.text) {
        Some(Ok(procedure)) => Ok(procedure),
        Some(Err(message)) if known.names.contains(&name.text) => Err(Trouble::new(name.at, message.clone())),
        Some(Err(_)) | None => {
            let names = known.names.iter().map(String::as_str);
            let suggestion = nearest(&name.text, names);
            Err(Trouble::new(name.at, format!("there is no procedure {}", name.text)).suggest(suggestion))
        }
    }
}

/// Values of a procedure's parameters, and the name that the run is given. A parameter called `name` comes first.
pub(super) fn bind(procedure: &Procedure, name: &Word, with: &[Argument]) -> Result<(Fields, Option<String>), Trouble> {
    let mut given = Vec::new();
    let mut own_name = None;
    for argument in with {
        let Some(key) = &argument.name else { continue };
        match procedure.params.get(&key.text) {
            Some(parameter) => {
                let value = parameter_value(&argument.value, key, parameter)?;
                given.push((key.text.clone(), value));
            }
            None if key.text == "name" => own_name = Some(run_name(&argument.value)?),
            None => {
                let names = procedure.params.keys().map(String::as_str);
                let known: Vec<&str> = names.clone().collect();
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                let message =
                    format!("procedure {} has no parameter {}; its parameters: {known}", procedure.name, key.text);
                return Err(Trouble::new(key.at, message).suggest(nearest(&key.text, names)));
            }
        }
    }
    let params = procedure.bind_params(&given).map_err(|message| Trouble::new(name.at, message))?;
    Ok((params, own_name))
}

fn parameter_value(written: &Written, key: &Word, parameter: &Parameter) -> Result<Field, Trouble> {
    value::for_parameter(written, parameter)
        .map_err(|message| Trouble::new(written.word.at, format!("parameter {}: {message}", key.text)))
}

fn run_name(written: &Written) -> Result<String, Trouble> {
    let text = written.word.text.trim();
    let length = text.chars().count();
    if (1..=NAME_MAX).contains(&length) {
        return Ok(text.to_owned());
    }
    let message = format!("name has {length} characters, expected 1 to {NAME_MAX}");
    Err(Trouble::new(written.word.at, message))
}

/// Devices that the line names itself: a procedure within it plays on them where they fit.
fn named_devices(line: &Line, known: &Known) -> Result<Vec<DeviceId>, Trouble> {
    let mut named = Vec::new();
    for (sentence, _) in &line.sentences {
        let device = match sentence {
            Sentence::Read { device, .. }
            | Sentence::Set { device, .. }
            | Sentence::Do { device, .. }
            | Sentence::Safe { device }
            | Sentence::Adb { device, .. } => device,
            Sentence::Wait { .. }
            | Sentence::Run { .. }
            | Sentence::Log { .. }
            | Sentence::Help { .. }
            | Sentence::Devices
            | Sentence::Status { .. }
            | Sentence::Control { .. } => continue,
        };
        let card = card(device, known)?;
        if !named.contains(&card.device) {
            named.push(card.device.clone());
        }
    }
    Ok(named)
}

/// Steps under construction, in the form that a procedure's JSON has.
pub(super) struct Builder<'a> {
    pub(super) known: &'a Known,
    pub(super) named: Vec<DeviceId>,
    pub(super) params: Map<String, Value>,
    pub(super) roles: Map<String, Value>,
    pub(super) wait: Option<Duration>,
    pub(super) steps: Vec<Value>,
    pub(super) finally: Vec<Value>,
    pub(super) ids: BTreeSet<String>,
    /// What the next step waits for.
    pub(super) tail: Vec<String>,
    /// Where the sentence of each step stands.
    pub(super) places: Vec<usize>,
    pub(super) planned: Vec<PlannedStep>,
    pub(super) planned_finally: Vec<PlannedStep>,
    pub(super) name: Option<String>,
}

impl<'a> Builder<'a> {
    fn new(known: &'a Known, named: Vec<DeviceId>) -> Self {
        Self {
            known,
            named,
            params: Map::new(),
            roles: Map::new(),
            wait: None,
            steps: Vec::new(),
            finally: Vec::new(),
            ids: BTreeSet::new(),
            tail: Vec::new(),
            places: Vec::new(),
            planned: Vec::new(),
            planned_finally: Vec::new(),
            name: None,
        }
    }

    fn sentence(&mut self, sentence: &Sentence, at: usize, number: usize) -> Result<(), Trouble> {
        match sentence {
            Sentence::Read { device, reading, count, every, during } => {
                let card = card(device, self.known)?;
                let (with, timeout, text) =
                    read(card, reading.as_ref(), count.as_ref(), every.as_ref(), during.as_ref())?;
                let step = self.on(card, "instrument.read", with);
                self.push(at, &format!("read-{number}"), step, timeout, text);
            }
            Sentence::Set { device, name, value } => {
                let card = card(device, self.known)?;
                let (action, parameter) = setting(card, name)?;
                let with = action_with(action, &[(parameter, value)])?;
                let text = format!("sets {} of {} to {value} ({})", name.text, card.device, action.id);
                let step = self.on(card, "instrument.action", with);
                self.push(at, &format!("set-{number}"), step, None, hazard(text, action));
            }
            Sentence::Do { device, action, with } => {
                let card = card(device, self.known)?;
                let (action, with) = action_of(card, action, with)?;
                let text = format!("performs {} of {}", action.id, card.device);
                let step = self.on(card, "instrument.action", with);
                self.push(at, &format!("do-{number}"), step, None, hazard(text, action));
            }
            Sentence::Safe { device } => {
                let card = card(device, self.known)?;
                let step = self.on(card, "instrument.safe_state", Map::new());
                self.push(at, &format!("safe-{number}"), step, None, format!("makes {} safe", card.device));
            }
            Sentence::Wait { duration } => {
                let lasts = parsed(duration)?;
                let text = duration_text(lasts);
                let step = json!({"use": "delay", "with": {"duration": text}});
                self.push(at, &format!("wait-{number}"), step, None, format!("waits {text}"));
            }
            Sentence::Log { message, level } => {
                let mut with = json!({"message": message.text});
                if let Some(level) = level {
                    let levels = ["debug", "info", "warning", "error"];
                    if !levels.contains(&level.text.as_str()) {
                        let message = format!("{:?} is not a level, expected {}", level.text, levels.join(", "));
                        return Err(Trouble::new(level.at, message).suggest(nearest(&level.text, levels)));
                    }
                    with["level"] = json!(level.text);
                }
                let step = json!({"use": "log", "with": with});
                self.push(at, &format!("log-{number}"), step, None, format!("logs {:?}", message.text));
            }
            Sentence::Adb { device, command, words } => {
                let card = card(device, self.known)?;
                let (module, with) = adb::step(command, words)?;
                if module::find(&module).is_none() {
                    let message = format!("this hub has no module {module}; {}", module::known());
                    return Err(Trouble::new(command.at, message));
                }
                let text = format!("{} on {}", module, card.device);
                let step = self.on(card, &module, with);
                self.push(at, &format!("adb-{number}"), step, None, text);
            }
            Sentence::Run { procedure: name, with } => {
                let found = procedure(name, self.known)?;
                let (params, own_name) = bind(found, name, with)?;
                self.name = own_name.or(self.name.take());
                self.inline(found, &params, name, number)?;
            }
            Sentence::Help { .. } | Sentence::Devices | Sentence::Status { .. } | Sentence::Control { .. } => {
                let message = "this is answered at once and stands alone: send it as a line of its own";
                return Err(Trouble::new(at, message));
            }
        }
        Ok(())
    }

    fn on(&mut self, card: &DeviceCard, module: &str, with: Map<String, Value>) -> Value {
        let id = card.device.as_str();
        self.roles.entry(id.to_owned()).or_insert_with(|| json!({"device": id}));
        json!({"use": module, "on": id, "with": with})
    }

    fn push(&mut self, at: usize, wanted: &str, mut step: Value, timeout: Option<Duration>, text: String) {
        let id = self.free_id(wanted);
        let device = step["on"].as_str().and_then(|id| DeviceId::new(id).ok());
        let module = step["use"].as_str().unwrap_or_default().to_owned();
        self.planned.push(PlannedStep { id: id.clone(), module, device, text });
        if let Some(timeout) = timeout {
            step["timeout"] = json!(duration_text(timeout));
        }
        step["needs"] = json!(self.tail);
        step["id"] = json!(id);
        self.steps.push(step);
        self.places.push(at);
        self.tail = vec![id];
    }

    /// The id, or another that is like it, not used yet.
    pub(super) fn free_id(&mut self, wanted: &str) -> String {
        let mut id = wanted.to_owned();
        let mut number = 2;
        while !self.ids.insert(id.clone()) {
            id = format!("{wanted}-{number}");
            number += 1;
        }
        id
    }

    fn finish(self, line: &Line) -> Result<Meaning, Trouble> {
        let mut body = json!({
            "name": NAME, "kind": "execution", "params": self.params, "roles": self.roles,
            "steps": self.steps, "finally": self.finally,
        });
        if let Some(wait) = self.wait {
            body["wait"] = json!(duration_text(wait));
        }
        let start = line.sentences.first().map_or(0, |(_, at)| *at);
        let procedure = Procedure::from_json(&body, NAME).map_err(|invalid| {
            let Some(mistake) = invalid.mistakes.first() else { return Trouble::new(start, invalid.to_string()) };
            let index = mistake.key.strip_prefix("steps[").and_then(|rest| rest.split(']').next()?.parse().ok());
            let at = index.and_then(|index: usize| self.places.get(index)).copied().unwrap_or(start);
            Trouble::new(at, mistake.message.clone())
        })?;
        let params = procedure.bind_params(&[]).map_err(|message| Trouble::new(start, message))?;
        let typed: String = line.to_string().chars().take(NAME_MAX).collect();
        let mut steps = self.planned;
        steps.extend(self.planned_finally);
        Ok(Meaning::Plan(Box::new(Plan {
            params,
            name: self.name.unwrap_or(typed),
            sentences: line.sentences.len(),
            steps,
            devices: Plan::devices(&procedure, self.known),
            procedure,
        })))
    }
}

pub(super) fn duration_text(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

pub(super) fn parsed(duration: &Word) -> Result<Duration, Trouble> {
    humantime::parse_duration(&duration.text)
        .map_err(|error| Trouble::new(duration.at, format!("{:?} is not a duration: {error}", duration.text)))
}

fn hazard(text: String, action: &ActionCard) -> String {
    match &action.hazard {
        Some(hazard) => format!("{text}, hazard: {hazard}"),
        None => text,
    }
}
