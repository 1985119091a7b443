//! A sweep: the points through which a run repeats its steps, from axes that are crossed or zipped. Knows no run and no device.

use std::collections::BTreeMap;

use rigwire_shared::value::Fields;
use serde::{Deserialize, Serialize};

mod axis;
pub mod table;

pub(crate) use axis::is_name;
pub use axis::{Axes, Axis};

/// Points of one sweep: each runs all steps, so more is a mistake rather than a plan.
pub const POINTS_MAX: usize = 100_000;

/// What a point is called where the sweep does not say.
const OF: &str = "points";

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sweep {
    /// What the sweep is called, such as `Harmonic response sweep`. Left out: the procedure's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// What its points are called, such as `frequencies`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    #[serde(default, skip_serializing_if = "Mode::is_cartesian")]
    pub mode: Mode,
    pub axes: Axes,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Every value of each axis with every value of the others, the last axis fastest.
    #[default]
    Cartesian,
    /// The first values of all axes, then the second ones, and so on.
    Zip,
}

impl Mode {
    const fn is_cartesian(&self) -> bool {
        matches!(self, Self::Cartesian)
    }
}

impl Sweep {
    /// What is wrong, as (key below `sweep`, message).
    pub fn mistakes(&self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        for (key, text) in [("label", &self.label), ("of", &self.of)] {
            if let Some(text) = text
                && (text.trim().is_empty() || text.chars().count() > 200)
            {
                found.push((key.to_owned(), "is empty or too long, expected 1 to 200 characters".to_owned()));
            }
        }
        let axes = self.axes.list();
        if axes.is_empty() {
            found.push(("axes".to_owned(), "is empty, expected at least one axis".to_owned()));
        }
        let mut names = BTreeMap::new();
        for (index, axis) in axes.iter().enumerate() {
            let place = self.axes.key(index);
            found.extend(axis.mistakes().into_iter().map(|(key, message)| {
                let key = if key.is_empty() { place.clone() } else { format!("{place}.{key}") };
                (key, message)
            }));
            if names.insert(axis.name.as_str(), index).is_some() {
                found.push((format!("{place}.name"), format!("{} is the name of two axes", axis.name)));
            }
        }
        // The lengths of axes that are themselves wrong say nothing.
        if found.is_empty() {
            found.extend(self.size_mistake().map(|message| ("axes".to_owned(), message)));
        }
        found
    }

    fn size_mistake(&self) -> Option<String> {
        let axes = self.axes.list();
        let lengths: Vec<String> = axes.iter().map(|axis| format!("{} {}", axis.name, axis.len())).collect();
        if self.mode == Mode::Zip && axes.windows(2).any(|pair| pair[0].len() != pair[1].len()) {
            return Some(format!("have different lengths and cannot be zipped: {}", lengths.join(", ")));
        }
        let points = self.len();
        (points > POINTS_MAX).then(|| {
            let points = if points == usize::MAX { "too many".to_owned() } else { points.to_string() };
            format!("make {points} points ({}), expected at most {POINTS_MAX}", lengths.join(" × "))
        })
    }

    /// How many points there are; the largest number there is, when there are more.
    pub fn len(&self) -> usize {
        let lengths = self.axes.list().iter().map(Axis::len);
        match self.mode {
            Mode::Cartesian => lengths.reduce(usize::saturating_mul),
            Mode::Zip => lengths.min(),
        }
        .unwrap_or(0)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The values of point `index`, from 0, in the order of the axes.
    pub fn point(&self, index: usize) -> Option<Fields> {
        if index >= self.len() {
            return None;
        }
        let axes = self.axes.list();
        let mut rest = index;
        let mut point = Fields::with_capacity(axes.len());
        for axis in axes.iter().rev() {
            let at = match self.mode {
                Mode::Zip => index,
                Mode::Cartesian => {
                    let at = rest % axis.len();
                    rest /= axis.len();
                    at
                }
            };
            point.push((axis.name.clone(), axis.value(at)?));
        }
        point.reverse();
        Some(point)
    }

    /// What its points are called.
    pub fn of(&self) -> &str {
        self.of.as_deref().unwrap_or(OF)
    }

    /// Such as `Harmonic response sweep: 9/21 frequencies`. `procedure` stands in where the sweep has no label.
    pub fn message(&self, procedure: &str, done: usize) -> String {
        let label = self.label.as_deref().unwrap_or(procedure);
        format!("{label}: {done}/{} {}", self.len(), self.of())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rigwire_shared::value::Value;

    use super::*;

    fn sweep(text: &str) -> Sweep {
        toml::from_str(text).unwrap()
    }

    fn points(sweep: &Sweep) -> String {
        let points: Vec<String> = (0..sweep.len())
            .map(|index| {
                let point = sweep.point(index).unwrap();
                let values: Vec<String> =
                    point.iter().map(|(_, value)| serde_json::to_string(value).unwrap()).collect();
                values.join(" ")
            })
            .collect();
        points.join(", ")
    }

    #[test]
    fn axes_make_points() {
        for (text, expected) in [
            ("axes = [{ name = \"f\", from = 1, to = 3, step = 1 }]", "1, 2, 3"),
            ("axes = [{ name = \"f\", from = 0, to = 0.3, step = 0.1 }]", "0.0, 0.1, 0.2, 0.3"),
            ("axes = [{ name = \"f\", from = 0, to = 10, points = 3 }]", "0, 5, 10"),
            ("axes = [{ name = \"f\", from = 0, to = 5, points = 3 }]", "0.0, 2.5, 5.0"),
            ("axes = [{ name = \"f\", from = 1, to = 1000, points = 4, scale = \"log\" }]", "1, 10, 100, 1000"),
            ("axes = [{ name = \"f\", from = 100.0, to = 1.0, points = 3, scale = \"log\" }]", "100.0, 10.0, 1.0"),
            (
                "axes = [{ name = \"a\", values = [\"x\", \"y\"] }, { name = \"b\", values = [1, 2.5] }]",
                "\"x\" 1, \"x\" 2.5, \"y\" 1, \"y\" 2.5",
            ),
            (
                "mode = \"zip\"\naxes = [{ name = \"a\", values = [\"x\", \"y\"] }, { name = \"b\", values = [1, 2] }]",
                "\"x\" 1, \"y\" 2",
            ),
            ("[[axes]]\nname = \"b\"\nvalues = [1]\n[[axes]]\nname = \"a\"\nvalues = [2]", "1 2"),
            ("[axes.a]\nvalues = [1]\n[axes.b]\nvalues = [2, 3]", "1 2, 1 3"),
        ] {
            let sweep = sweep(text);
            assert_eq!(sweep.mistakes(), [], "{text}");
            assert_eq!(points(&sweep), expected, "{text}");
            assert_eq!(sweep.point(sweep.len()), None);
            let again: Sweep = serde_json::from_value(serde_json::to_value(&sweep).unwrap()).unwrap();
            assert_eq!(again, sweep, "{text}");
        }
    }

    #[test]
    fn mistakes_name_their_key() {
        for (text, expected) in [
            ("axes = []", "axes: is empty, expected at least one axis"),
            (
                "label = \" \"\naxes = [{ name = \"f\", values = [1] }]",
                "label: is empty or too long, expected 1 to 200 characters",
            ),
            (
                "axes = [{ name = \"f\" }]",
                "axes[0]: has no values, expected values = [..], or from and to with points or step",
            ),
            ("axes = [{ name = \"f\", from = 1, to = 2 }]", "axes[0]: has neither points nor step"),
            (
                "axes = [{ name = \"f\", from = 1, to = 2, points = 3, step = 1 }]",
                "axes[0].step: stands beside points, expected one of the two",
            ),
            ("axes = [{ name = \"f\", from = 1, points = 3 }]", "axes[0].to: is missing beside from"),
            ("axes = [{ name = \"f\", to = 1, points = 3 }]", "axes[0].from: is missing beside to"),
            (
                "axes = [{ name = \"f\", values = [1], points = 3 }]",
                "axes[0].points: belongs to from and to, and here are values",
            ),
            (
                "axes = [{ name = \"f\", values = [1, true] }]",
                "axes[0].values[1]: is true, expected a finite number or a text",
            ),
            (
                "axes = [{ name = \"f\", values = [nan] }]",
                "axes[0].values[0]: is NaN, expected a finite number or a text",
            ),
            ("axes = [{ name = \"f\", values = [] }]", "axes[0].values: is empty, expected at least one value"),
            (
                "axes = [{ name = \"f\", from = inf, to = 1, points = 2 }]",
                "axes[0].from: is inf, expected a finite number",
            ),
            (
                "axes = [{ name = \"f\", from = \"a\", to = 1, points = 2 }]",
                "axes[0].from: is \"a\", expected a finite number",
            ),
            (
                "axes = [{ name = \"f\", from = 1, to = 2, points = 1 }]",
                "axes[0].points: is 1, expected at least 2 to include both ends",
            ),
            (
                "axes = [{ name = \"f\", from = 1, to = 2, points = 200000 }]",
                "axes[0].points: is 200000, expected at most 100000",
            ),
            (
                "axes = [{ name = \"f\", from = 1, to = 2, step = -1 }]",
                "axes[0].step: -1 does not lead from 1 to 2, expected a number above 0",
            ),
            (
                "axes = [{ name = \"f\", from = 2, to = 1, step = 1 }]",
                "axes[0].step: 1 does not lead from 2 to 1, expected a number below 0",
            ),
            (
                "axes = [{ name = \"f\", from = 0, to = 1, step = 1e-9 }]",
                "axes[0].step: makes 1000000001 points, expected at most 100000",
            ),
            (
                "axes = [{ name = \"f\", from = 0, to = 1, points = 3, scale = \"log\" }]",
                "axes[0].from: is 0, expected a number above 0 on a log scale",
            ),
            (
                "axes = [{ name = \"f\", from = 1, to = 9, step = 1, scale = \"log\" }]",
                "axes[0].step: belongs to a linear scale, expected points",
            ),
            (
                "axes = [{ name = \"f g\", values = [1] }]",
                "axes[0].name: \"f g\" is not a name, expected 1 to 64 of a-z A-Z 0-9 _ that begin with a letter",
            ),
            (
                "axes = [{ name = \"f\", values = [1] }, { name = \"f\", values = [1] }]",
                "axes[1].name: f is the name of two axes",
            ),
            ("[axes.f]\nfrom = 1\nto = 2\npoints = 0", "axes.f.points: is 0, expected at least 2 to include both ends"),
            (
                "mode = \"zip\"\naxes = [{ name = \"a\", values = [1, 2] }, { name = \"b\", values = [1] }]",
                "axes: have different lengths and cannot be zipped: a 2, b 1",
            ),
            (
                "axes = [{ name = \"a\", from = 1, to = 2, points = 1000 }, { name = \"b\", from = 1, to = 2, points = 101 }]",
                "axes: make 101000 points (a 1000 × b 101), expected at most 100000",
            ),
        ] {
            let told: Vec<String> =
                sweep(text).mistakes().into_iter().map(|(key, message)| format!("{key}: {message}")).collect();
            assert_eq!(told, [expected], "{text}");
        }
    }

    #[test]
    fn what_is_no_sweep_is_refused_with_its_line() {
        for (text, line, expected) in [
            ("mode = \"zipped\"\naxes = []", 1, "unknown variant `zipped`, expected `cartesian` or `zip`"),
            ("[[axes]]\nname = \"f\"\nstop = 3", 3, "unknown field `stop`"),
            ("[axes.f]\nfrom = 3\nname = \"f\"", 3, "unknown field `name`"),
            ("axes = 3", 1, "expected a list of axes or a table of them by name"),
            ("[[axes]]\nvalues = [1]", 1, "missing field `name`"),
        ] {
            let error = toml::from_str::<Sweep>(text).unwrap_err();
            assert!(error.message().contains(expected), "{text}: {error}");
            let at = text[..error.span().unwrap().start].matches('\n').count() + 1;
            assert_eq!(at, line, "{text}: {error}");
        }
    }

    #[test]
    fn progress_is_told_in_words() {
        let text = "axes = [{ name = \"f\", from = 1, to = 21, step = 1 }]";
        assert_eq!(sweep(text).message("fixture", 9), "fixture: 9/21 points");
        let text = format!("label = \"Harmonic response sweep\"\nof = \"frequencies\"\n{text}");
        assert_eq!(sweep(&text).message("fixture", 9), "Harmonic response sweep: 9/21 frequencies");
    }

    proptest! {
        #[test]
        fn every_point_lies_within_its_axes_and_none_is_met_twice(
            ranges in prop::collection::vec((-1e6..1e6f64, 1e-3..1e6f64, 2..12usize, any::<bool>()), 1..4),
        ) {
            let axes: Vec<serde_json::Value> = ranges
                .iter()
                .enumerate()
                .map(|(index, (from, width, points, log))| {
                    let from = if *log { from.abs() + 1e-3 } else { *from };
                    let scale = if *log { "log" } else { "linear" };
                    serde_json::json!({"name": format!("x{index}"), "from": from, "to": from + width, "points": points, "scale": scale})
                })
                .collect();
            let sweep: Sweep = serde_json::from_value(serde_json::json!({"axes": axes})).unwrap();
            prop_assert_eq!(sweep.mistakes(), []);
            prop_assert_eq!(sweep.len(), ranges.iter().map(|range| range.2).product::<usize>());
            let mut seen = std::collections::BTreeSet::new();
            for index in 0..sweep.len() {
                let point = sweep.point(index).unwrap();
                for ((_, value), axis) in point.iter().zip(&axes) {
                    let number = value.as_f64().unwrap();
                    prop_assert!(number >= axis["from"].as_f64().unwrap() && number <= axis["to"].as_f64().unwrap());
                }
                prop_assert!(seen.insert(format!("{point:?}")), "{:?} is met twice", point);
            }
            let last = sweep.point(sweep.len() - 1).unwrap();
            for ((_, value), axis) in last.iter().zip(&axes) {
                prop_assert_eq!(value.as_f64(), axis["to"].as_f64());
            }
            prop_assert!(matches!(last[0].1, Value::Float(_)));
        }
    }
}
