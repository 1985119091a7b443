//! What a profile tells the hub about itself: one card per reading and per action.

use rigwire_shared::agent::{ActionCard, ParameterCard, ReadingCard};
use rigwire_shared::unit::Unit;

use super::Profile;
use super::definition::{Action, Parameter, ParameterKind, Reading, UnitRule};
use super::interpret::shown;

impl Profile {
    pub fn reading_cards(&self) -> Vec<ReadingCard> {
        self.readings.iter().map(reading_card).collect()
    }

    pub fn action_cards(&self) -> Vec<ActionCard> {
        self.actions.iter().map(action_card).collect()
    }
}

fn reading_card(reading: &Reading) -> ReadingCard {
    ReadingCard {
        id: reading.id.clone(),
        metrics: reading.metrics.clone(),
        unit: match &reading.unit {
            UnitRule::Fixed(unit) => unit.clone(),
            UnitRule::FromReply(_) => Unit::None,
        },
        interval_ms: reading.every.map_or(0, |every| u32::try_from(every.as_millis()).unwrap_or(u32::MAX)),
    }
}

fn action_card(action: &Action) -> ActionCard {
    ActionCard {
        id: action.id.clone(),
        about: action.about.clone(),
        hazard: action.hazard.clone(),
        parameters: action.parameters.iter().map(parameter_card).collect(),
    }
}

fn parameter_card(parameter: &Parameter) -> ParameterCard {
    let (kind, min, max, values) = match &parameter.kind {
        ParameterKind::Float { min, max, .. } => ("float", *min, *max, Vec::new()),
        ParameterKind::Int { min, max, .. } => ("int", *min, *max, Vec::new()),
        ParameterKind::Bool => ("bool", None, None, Vec::new()),
        ParameterKind::Text => ("text", None, None, Vec::new()),
        ParameterKind::Enum(values) => ("enum", None, None, values.iter().map(shown).collect()),
    };
    ParameterCard {
        name: parameter.name.clone(),
        kind: kind.to_owned(),
        unit: parameter.unit.clone(),
        min,
        max,
        values,
    }
}
