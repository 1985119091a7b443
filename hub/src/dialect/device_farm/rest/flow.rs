//! Flows: what clients write made into a procedure, and a procedure put onto the devices that they name. Pure.

use std::collections::{BTreeMap, BTreeSet};

use rigwire_shared::agent::DeviceCard;
use rigwire_shared::ids::StepId;
use rigwire_shared::value::Value as Field;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::fleet::fits;
use crate::module::{self, Where};
use crate::procedure::{Procedure, Role, Step};
use crate::workflow::plain_name;

/// Role of the one device that a flow of a client's acts on.
const DEVICE: &str = "device";

/// Step that fails an execution whose every device failed.
const VERDICT: &str = "some-device";

/// Devices of one execution.
const DEVICES_MAX: usize = 64;

/// A flow to make.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct CreateFlow {
    pub(super) name: String,
    description: Option<String>,
    modules: Vec<FlowModule>,
}

/// A step of a flow.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(super) struct FlowModule {
    module_id: String,
    /// Steps follow each other by it; those with the same as they are written.
    #[serde(default)]
    sequence_order: i64,
    #[serde(default)]
    input_parameters: Map<String, Value>,
    #[serde(default)]
    continue_on_failure: bool,
    #[serde(default)]
    retry_count: u32,
}

/// On what a flow is executed.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct ExecuteFlow {
    pub(super) device_ids: Vec<String>,
}

/// The procedure of a flow, as its text, and its name.
pub(super) fn compile(flow: &CreateFlow) -> Result<(String, Value), String> {
    let name = plain_name(flow.name.trim());
    if flow.name.trim().is_empty() {
        return Err("name is empty".to_owned());
    }
    let mut modules: Vec<&FlowModule> = flow.modules.iter().collect();
    modules.sort_by_key(|module| module.sequence_order);
    let mut kinds = BTreeSet::new();
    let mut steps = Vec::new();
    for (index, wanted) in modules.iter().enumerate() {
        let id = &wanted.module_id;
        let known = module::find(id).ok_or_else(|| format!("there is no module {id:.80}; {}", module::known()))?;
        let mut step = json!({
            "id": format!("step-{}", index + 1), "use": id, "with": wanted.input_parameters,
            "continue_on_failure": wanted.continue_on_failure,
        });
        if wanted.retry_count > 0 {
            step["retry"] = json!({"times": wanted.retry_count});
        }
        // A program finds its host by itself.
        if known.runs == Where::Device && id != "process.run" {
            step["on"] = json!(DEVICE);
            kinds.insert(match category(id) {
                "adb" => "android",
                "thermal" => "thermal",
                _ => "instrument",
            });
        }
        steps.push(step);
    }
    let mut procedure = json!({"name": name, "kind": "execution", "steps": steps});
    if let Some(description) = &flow.description {
        procedure["description"] = json!(description);
    }
    match kinds.iter().collect::<Vec<_>>().as_slice() {
        [] => {}
        [kind] => procedure["roles"] = json!({DEVICE: {"kind": kind}}),
        kinds => {
            let kinds: Vec<&str> = kinds.iter().map(|kind| **kind).collect();
            return Err(format!("modules act on devices of several kinds: {}", kinds.join(", ")));
        }
    }
    Ok((name, procedure))
}

/// The part of a module's id before its dot.
pub(super) fn category(module: &str) -> &str {
    module.split_once('.').map_or("general", |(category, _)| category)
}

/// A procedure's steps as modules of a flow.
pub(super) fn modules(procedure: &Procedure) -> Vec<FlowModule> {
    let module = |(index, (step, _)): (usize, (&Step, bool))| FlowModule {
        module_id: step.module.clone(),
        sequence_order: i64::try_from(index).unwrap_or(i64::MAX),
        input_parameters: crate::api::neighbours::object(step.fields()),
        continue_on_failure: step.continue_on_failure,
        retry_count: step.retry.as_ref().map_or(0, |retry| retry.times),
    };
    procedure.all_steps().enumerate().map(module).collect()
}

/// The same procedure on these devices and no others.
pub(super) fn on_devices(mut procedure: Procedure, cards: &[DeviceCard]) -> Result<Procedure, String> {
    if cards.is_empty() {
        return Ok(procedure);
    }
    let name = procedure.name.clone();
    if !procedure.tests.is_empty() || procedure.study().is_some() {
        return Err(format!(
            "flow {name} runs procedures of their own, which choose their devices: send no device_ids"
        ));
    }
    if cards.len() > DEVICES_MAX {
        return Err(format!("device_ids are {}, expected at most {DEVICES_MAX}", cards.len()));
    }
    let used = procedure.used_roles();
    let roles: Vec<String> = used.into_iter().map(str::to_owned).collect();
    match roles.as_slice() {
        [] => Err(format!("flow {name} acts on no device: send no device_ids")),
        roles if roles.len() == cards.len() => {
            let places = assign(&procedure, roles, cards)?;
            for (role, card) in places {
                if let Some(role) = procedure.roles.get_mut(&role) {
                    role.device = Some(card.device.clone());
                }
            }
            Ok(procedure)
        }
        [role] => {
            if let Some(card) = cards.iter().find(|card| !plays(&procedure, role, card)) {
                return Err(does_not_fit(&procedure, role, card));
            }
            side_by_side(procedure, role, cards)
        }
        roles => Err(format!(
            "flow {name} has the roles {}, and device_ids are {}: expected one device for each, or none",
            roles.join(", "),
            cards.len()
        )),
    }
}

fn plays(procedure: &Procedure, role: &str, card: &DeviceCard) -> bool {
    procedure.roles.get(role).is_some_and(|role| fits(card, role))
}

fn does_not_fit(procedure: &Procedure, role: &str, card: &DeviceCard) -> String {
    let wanted = procedure.roles.get(role).map(Role::to_string).unwrap_or_default();
    format!("device {} does not fit role {role}, expected {wanted}", card.device)
}

/// Each role with a device that fits it and no other has: places are swapped until all have one.
fn assign(procedure: &Procedure, roles: &[String], cards: &[DeviceCard]) -> Result<Vec<(String, DeviceCard)>, String> {
    /// Finds a place for one device, moving others on if it must.
    fn place(card: usize, fits: &dyn Fn(usize, usize) -> bool, taken: &mut [Option<usize>], seen: &mut [bool]) -> bool {
        for role in 0..taken.len() {
            if !fits(role, card) || std::mem::replace(&mut seen[role], true) {
                continue;
            }
            let other = taken[role];
            if other.is_none_or(|other| place(other, fits, taken, seen)) {
                taken[role] = Some(card);
                return true;
            }
        }
        false
    }
    let fits = |role: usize, card: usize| plays(procedure, &roles[role], &cards[card]);
    let mut taken = vec![None; roles.len()];
    for (index, card) in cards.iter().enumerate() {
        if !place(index, &fits, &mut taken, &mut vec![false; roles.len()]) {
            return match roles {
                [role] => Err(does_not_fit(procedure, role, card)),
                _ => Err(format!("device {} fits no role that the others leave free", card.device)),
            };
        }
    }
    let places = roles.iter().zip(taken);
    Ok(places.filter_map(|(role, card)| Some((role.clone(), cards.get(card?)?.clone()))).collect())
}

/// The steps once for each device: what fails on one holds up no other, and the whole fails only if all do.
fn side_by_side(procedure: Procedure, role: &str, cards: &[DeviceCard]) -> Result<Procedure, String> {
    let name = &procedure.name;
    let alone = |what: &str| format!("flow {name} has {what}: execute it on one device at a time");
    if procedure.sweep.is_some() {
        return Err(alone("a sweep"));
    }
    for (step, _) in procedure.all_steps() {
        if step.when.is_some() {
            return Err(alone("a step with a condition"));
        }
        if step.fields().iter().any(|(_, value)| names_a_step(value)) {
            return Err(alone("a step that uses what another gave"));
        }
    }
    let fatal = fatal_before(&procedure.steps);
    let wanted = procedure.roles.get(role).cloned().unwrap_or_default();
    let mut roles: BTreeMap<String, Role> = procedure
        .roles
        .iter()
        .filter(|(other, _)| *other != role)
        .map(|(name, role)| (name.clone(), role.clone()))
        .collect();
    let (mut steps, mut finally, mut succeeded) = (Vec::new(), Vec::new(), Vec::new());
    for (index, card) in cards.iter().enumerate() {
        let copy = |id: &StepId| {
            StepId::new(&format!("{id}-{}", index + 1))
                .map_err(|error| format!("step {id} cannot be had for each device: {error}"))
        };
        let place = card.device.as_str().to_owned();
        roles.insert(place.clone(), Role { device: Some(card.device.clone()), ..wanted.clone() });
        let on = |step: &Step| step.on.as_ref().map(|on| if on == role { place.clone() } else { on.clone() });
        for (step, before) in procedure.steps.iter().zip(&fatal) {
            let needs = step.needs.iter().flatten().map(copy).collect::<Result<Vec<_>, _>>()?;
            let done = before.iter().map(|id| copy(id).map(|id| is_done(&id))).collect::<Result<Vec<_>, _>>()?;
            steps.push(Step {
                id: step.id.as_ref().map(copy).transpose()?,
                on: on(step),
                needs: Some(needs),
                continue_on_failure: true,
                when: (!done.is_empty()).then(|| done.join(" and ")),
                ..step.clone()
            });
        }
        for step in &procedure.finally {
            finally.push(Step { id: step.id.as_ref().map(copy).transpose()?, on: on(step), ..step.clone() });
        }
        let must = procedure.steps.iter().filter(|step| !step.continue_on_failure).filter_map(|step| step.id.as_ref());
        let must = must.map(|id| copy(id).map(|id| is_done(&id))).collect::<Result<Vec<_>, _>>()?;
        succeeded.push(must);
    }
    if succeeded.iter().all(|must| !must.is_empty()) {
        let some: Vec<String> = succeeded.iter().map(|must| format!("({})", must.join(" and "))).collect();
        steps.push(Step {
            id: StepId::new(VERDICT).ok(),
            module: "assert".to_owned(),
            on: None,
            with: Field::Map(vec![
                ("that".to_owned(), Field::Text(some.join(" or "))),
                ("message".to_owned(), Field::Text("every device failed".to_owned())),
            ]),
            timeout: None,
            retry: None,
            continue_on_failure: false,
            expect: BTreeMap::new(),
            phase: None,
            when: None,
            needs: Some(steps.iter().filter_map(|step| step.id.clone()).collect()),
        });
    }
    Ok(Procedure { roles, steps, finally, ..procedure })
}

fn is_done(step: &StepId) -> String {
    format!("steps[\"{step}\"] is defined")
}

/// For each step those before it, near or far, whose failure ends what follows.
fn fatal_before(steps: &[Step]) -> Vec<BTreeSet<StepId>> {
    let mut known = BTreeMap::<StepId, BTreeSet<StepId>>::new();
    let mut all = Vec::new();
    for step in steps {
        let mut before = BTreeSet::new();
        for need in step.needs.iter().flatten() {
            before.extend(known.get(need).cloned().unwrap_or_default());
            if steps.iter().any(|other| other.id.as_ref() == Some(need) && !other.continue_on_failure) {
                before.insert(need.clone());
            }
        }
        if let Some(id) = &step.id {
            known.insert(id.clone(), before.clone());
        }
        all.push(before);
    }
    all
}

fn names_a_step(value: &Field) -> bool {
    match value {
        Field::Text(text) => text.contains("steps"),
        Field::List(items) => items.iter().any(names_a_step),
        Field::Map(fields) => fields.iter().any(|(_, value)| names_a_step(value)),
        Field::Null | Field::Bool(_) | Field::Int(_) | Field::Float(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use rigwire_shared::agent::{DeviceKind, DeviceState};
    use rigwire_shared::ids::DeviceId;

    use super::*;

    fn card(device: &str, class: &str) -> DeviceCard {
        DeviceCard {
            device: DeviceId::new(device).unwrap(),
            kind: DeviceKind::Android,
            class: class.to_owned(),
            profile: String::new(),
            tags: Vec::new(),
            state: DeviceState::Online,
            cause: String::new(),
            identity: None,
            readings: Vec::new(),
            actions: Vec::new(),
            sdk: None,
        }
    }

    fn read(body: Value) -> Procedure {
        Procedure::from_json(&body, "flow").unwrap()
    }

    fn flow(more: Value) -> Procedure {
        let safe = |id: &str| json!({"id": id, "use": "instrument.safe_state", "on": "it"});
        let mut body = json!({
            "name": "f", "roles": {"it": {"class": "phone"}},
            "steps": [safe("a"), safe("b"), safe("c")], "finally": [{"use": "instrument.safe_state", "on": "it"}],
        });
        body["steps"][1]["continue_on_failure"] = json!(true);
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        read(body)
    }

    #[test]
    fn a_procedure_side_by_side_is_one_and_whole() {
        let made = on_devices(flow(json!({})), &[card("p1", "phone"), card("p2", "phone")]).unwrap();
        let steps: Vec<_> = made.steps.iter().map(|step| step.id.as_ref().unwrap().as_str()).collect();
        assert_eq!(steps, ["a-1", "b-1", "c-1", "a-2", "b-2", "c-2", "some-device"]);
        assert_eq!(made.steps[0].when, None);
        // What may fail holds nothing up, not even through another that may.
        assert_eq!(made.steps[2].when.as_deref(), Some("steps[\"a-1\"] is defined"));
        assert_eq!(made.steps[5].on.as_deref(), Some("p2"));
        let that = "(steps[\"a-1\"] is defined and steps[\"c-1\"] is defined) or (steps[\"a-2\"] is defined and steps[\"c-2\"] is defined)";
        assert_eq!(made.steps[6].fields()[0], ("that".to_owned(), Field::Text(that.to_owned())));
        assert_eq!(made.finally.len(), 2);
        // Read again it has no mistakes.
        let written = serde_json::to_value(&made).unwrap();
        assert_eq!(serde_json::to_value(read(written.clone())).unwrap(), written);
    }

    #[test]
    fn each_device_has_a_role_that_it_fits() {
        let roles = json!({"any": {"kind": "android"}, "tablet": {"class": "tablet"}});
        let steps = json!([
            {"id": "a", "use": "instrument.safe_state", "on": "any"},
            {"id": "b", "use": "instrument.safe_state", "on": "tablet"},
        ]);
        let both = || read(json!({"name": "f", "roles": roles, "steps": steps}));
        for cards in [[card("t", "tablet"), card("p", "phone")], [card("p", "phone"), card("t", "tablet")]] {
            let made = on_devices(both(), &cards).unwrap();
            assert_eq!(made.roles["tablet"].device, Some(DeviceId::new("t").unwrap()));
            assert_eq!(made.roles["any"].device, Some(DeviceId::new("p").unwrap()));
        }
        for (procedure, cards, problem) in [
            (both(), vec![card("p", "phone"), card("q", "phone")], "device q fits no role"),
            (both(), vec![card("p", "phone")], "has the roles any, tablet, and device_ids are 1"),
            (flow(json!({})), vec![card("t", "tablet")], "device t does not fit role it, expected class phone"),
            (flow(json!({})), vec![card("p", "phone"), card("t", "tablet")], "device t does not fit role it"),
            (
                read(json!({"name": "f", "steps": [{"id": "a", "use": "log", "with": {"message": "x"}}]})),
                vec![card("p", "phone")],
                "acts on no device",
            ),
        ] {
            let found = on_devices(procedure, &cards).unwrap_err();
            assert!(found.contains(problem), "{found}");
        }
    }

    #[test]
    fn what_cannot_be_done_side_by_side_is_said() {
        let step = |more: Value| {
            let mut step = json!({"id": "a", "use": "instrument.action", "on": "it", "with": {"action": "x"}});
            step.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            json!({"steps": [step]})
        };
        let axis = json!({"name": "v", "values": [1.0, 2.0]});
        for (more, problem) in [
            (step(json!({"when": "true"})), "a step with a condition"),
            (step(json!({"with": {"action": "x", "v": "{{ steps.b.v }}"}})), "uses what another gave"),
            (json!({"sweep": {"axes": [axis]}}), "a sweep"),
        ] {
            let found = on_devices(flow(more), &[card("p1", "phone"), card("p2", "phone")]).unwrap_err();
            assert!(found.contains(problem), "{found}");
        }
    }
}
