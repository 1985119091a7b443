//! One axis of a sweep, and the two ways in which axes are written. Knows no other axis.

use std::fmt;

use rigwire_shared::value::Value;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::POINTS_MAX;
use crate::scale::{self, Scale};

/// Values that are listed, or numbers from one end to the other, both included.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Axis {
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub values: Option<Vec<Value>>,
    /// A whole number stays one, so that a parameter of type `int` takes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub points: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<Value>,
    #[serde(default, skip_serializing_if = "Scale::is_linear")]
    pub scale: Scale,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
}

/// An axis in a table of axes by name, where the name is the key. Serde cannot say "all but one field", so it is said twice.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    values: Option<Vec<Value>>,
    from: Option<Value>,
    to: Option<Value>,
    points: Option<usize>,
    step: Option<Value>,
    #[serde(default)]
    scale: Scale,
    unit: Option<String>,
}

impl Named {
    fn into_axis(self, name: String) -> Axis {
        let Self { values, from, to, points, step, scale, unit } = self;
        Axis { name, values, from, to, points, step, scale, unit }
    }
}

/// Both ends and what divides the range between them.
struct Range {
    from: f64,
    to: f64,
    /// Whether both ends, and the step if there is one, are written as whole numbers.
    whole: bool,
    division: Division,
}

enum Division {
    Points(usize),
    Step(f64),
}

impl Axis {
    pub fn len(&self) -> usize {
        if let Some(values) = &self.values {
            return values.len();
        }
        match self.range() {
            Some(Range { division: Division::Points(points), .. }) => points,
            Some(Range { from, to, division: Division::Step(step), .. }) => {
                scale::steps(from, to, step).map_or(0, |steps| usize::try_from(steps).unwrap_or(usize::MAX))
            }
            None => 0,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Value `index`, from 0.
    pub fn value(&self, index: usize) -> Option<Value> {
        if let Some(values) = &self.values {
            return values.get(index).cloned();
        }
        if index >= self.len() {
            return None;
        }
        let range = self.range()?;
        let number = match range.division {
            Division::Points(points) => self.scale.spaced(range.from, range.to, points, index),
            Division::Step(step) => scale::stepped(range.from, range.to, step, u64::try_from(index).ok()?),
        };
        Some(if range.whole && self.all_whole(&range) { whole(number) } else { Value::Float(number) })
    }

    /// Whether every number on the way is a whole one, too: an axis is of one type.
    fn all_whole(&self, range: &Range) -> bool {
        let last = match range.division {
            Division::Step(_) => return true,
            Division::Points(points) => points.saturating_sub(1),
        };
        match self.scale {
            Scale::Linear => last == 0 || ((range.to - range.from) % scale::whole(last)) == 0.0,
            // From the smaller end, equal factors are whole when the first one is.
            Scale::Log => {
                let (low, high) = (range.from.min(range.to), range.from.max(range.to));
                let second = self.scale.spaced(low, high, last.saturating_add(1), 1);
                last == 0 || (second % low == 0.0 && (second / low).powf(scale::whole(last)) * low == high)
            }
        }
    }

    fn range(&self) -> Option<Range> {
        let (from, to) = (finite(self.from.as_ref()?)?, finite(self.to.as_ref()?)?);
        let written = [self.from.as_ref(), self.to.as_ref(), self.step.as_ref()];
        let whole = written.into_iter().flatten().all(|value| value.as_i64().is_some());
        let division = match (self.points, &self.step) {
            (Some(points), None) => Division::Points(points),
            (None, Some(step)) => Division::Step(finite(step)?),
            (Some(_), Some(_)) | (None, None) => return None,
        };
        Some(Range { from, to, whole, division })
    }

    /// What is wrong, as (key below the axis, message).
    pub(super) fn mistakes(&self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        let mut tell = |key: &str, message: String| found.push((key.to_owned(), message));
        if !is_name(&self.name) {
            let told = "expected 1 to 64 of a-z A-Z 0-9 _ that begin with a letter";
            tell("name", format!("{:?} is not a name, {told}", self.name));
        }
        let ranged = [
            ("from", self.from.is_some()),
            ("to", self.to.is_some()),
            ("points", self.points.is_some()),
            ("step", self.step.is_some()),
        ];
        if let Some(values) = &self.values {
            for (key, _) in ranged.iter().filter(|(_, given)| *given) {
                tell(key, "belongs to from and to, and here are values".to_owned());
            }
            if values.is_empty() {
                tell("values", "is empty, expected at least one value".to_owned());
            }
            if values.len() > POINTS_MAX {
                tell("values", format!("are {}, expected at most {POINTS_MAX}", values.len()));
            }
            for (index, value) in values.iter().enumerate() {
                if value.as_str().is_none() && finite(value).is_none() {
                    let message = format!("is {}, expected a finite number or a text", written(value));
                    tell(&format!("values[{index}]"), message);
                }
            }
            return found;
        }
        match (&self.from, &self.to) {
            (None, None) => {
                tell("", "has no values, expected values = [..], or from and to with points or step".to_owned());
            }
            (Some(_), None) => tell("to", "is missing beside from".to_owned()),
            (None, Some(_)) => tell("from", "is missing beside to".to_owned()),
            (Some(from), Some(to)) => {
                for (key, message) in self.range_mistakes(from, to) {
                    tell(key, message);
                }
            }
        }
        found
    }

    fn range_mistakes(&self, from: &Value, to: &Value) -> Vec<(&'static str, String)> {
        let mut found = Vec::new();
        for (key, value) in [("from", Some(from)), ("to", Some(to)), ("step", self.step.as_ref())] {
            let Some(value) = value else { continue };
            match finite(value) {
                None => found.push((key, format!("is {}, expected a finite number", written(value)))),
                Some(number) if self.scale == Scale::Log && key != "step" && number <= 0.0 => {
                    found.push((key, format!("is {number}, expected a number above 0 on a log scale")));
                }
                Some(_) => {}
            }
        }
        match (self.points, &self.step) {
            (None, None) => found.push(("", "has neither points nor step".to_owned())),
            (Some(_), Some(_)) => found.push(("step", "stands beside points, expected one of the two".to_owned())),
            (Some(points), None) => {
                if points > POINTS_MAX {
                    found.push(("points", format!("is {points}, expected at most {POINTS_MAX}")));
                }
                if points < 2 && (points == 0 || from != to) {
                    found.push(("points", format!("is {points}, expected at least 2 to include both ends")));
                }
            }
            (None, Some(_)) if self.scale == Scale::Log => {
                found.push(("step", "belongs to a linear scale, expected points".to_owned()));
            }
            (None, Some(step)) => {
                if let (Some(from), Some(to), Some(step)) = (finite(from), finite(to), finite(step)) {
                    found.extend(step_mistake(from, to, step).map(|message| ("step", message)));
                }
            }
        }
        found
    }
}

fn step_mistake(from: f64, to: f64, step: f64) -> Option<String> {
    match scale::steps(from, to, step) {
        Some(points) if points > POINTS_MAX as u64 => {
            Some(format!("makes {points} points, expected at most {POINTS_MAX}"))
        }
        Some(_) => None,
        None => {
            let side = if to > from { "above" } else { "below" };
            Some(format!("{step} does not lead from {from} to {to}, expected a number {side} 0"))
        }
    }
}

fn finite(value: &Value) -> Option<f64> {
    value.as_f64().filter(|number| number.is_finite())
}

fn whole(number: f64) -> Value {
    #[expect(clippy::cast_possible_truncation, reason = "written as whole numbers, and between two of them")]
    let whole = number.round() as i64;
    Value::Int(whole)
}

fn written(value: &Value) -> String {
    match value {
        Value::Float(number) => number.to_string(),
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Text(_) | Value::List(_) | Value::Map(_) => {
            serde_json::to_string(value).unwrap_or_else(|_| "a value".to_owned())
        }
    }
}

/// A name that an expression can spell.
pub(crate) fn is_name(name: &str) -> bool {
    name.len() <= 64
        && name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Axes in their order, however they were written: `[[sweep.axes]]` with names, or `[sweep.axes.NAME]`.
#[derive(Debug, Clone)]
pub struct Axes {
    list: Vec<Axis>,
    /// Only for where a mistake is: the two ways hold the same axes.
    by_name: bool,
}

impl Axes {
    pub const fn new(list: Vec<Axis>) -> Self {
        Self { list, by_name: false }
    }

    pub fn list(&self) -> &[Axis] {
        &self.list
    }

    /// Where axis `index` was written.
    pub(crate) fn key(&self, index: usize) -> String {
        match self.list.get(index) {
            Some(axis) if self.by_name => format!("axes.{}", axis.name),
            Some(_) | None => format!("axes[{index}]"),
        }
    }
}

impl PartialEq for Axes {
    fn eq(&self, other: &Self) -> bool {
        self.list == other.list
    }
}

/// Always the list: a table would lose the order in some readers.
impl Serialize for Axes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.list.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Axes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Written;
        impl<'de> Visitor<'de> for Written {
            type Value = Axes;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of axes or a table of them by name")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Axes, A::Error> {
                let mut list = Vec::new();
                while let Some(axis) = sequence.next_element()? {
                    list.push(axis);
                }
                Ok(Axes { list, by_name: false })
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Axes, A::Error> {
                let mut list = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    list.push(map.next_value::<Named>()?.into_axis(name));
                }
                Ok(Axes { list, by_name: true })
            }
        }
        deserializer.deserialize_any(Written)
    }
}
