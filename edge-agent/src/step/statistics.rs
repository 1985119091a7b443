//! What the samples of a step amount to, per metric. Only good numbers count; all others are counted.

use rigwire_shared::event::Sample;
use rigwire_shared::ids::MetricName;
use rigwire_shared::quality::Quality;
use rigwire_shared::unit::Unit;
use rigwire_shared::value::{Fields, Value};

#[derive(Debug, Default)]
pub(super) struct Statistics {
    /// In the order of first appearance; a step has few metrics.
    metrics: Vec<Metric>,
}

#[derive(Debug)]
struct Metric {
    name: MetricName,
    unit: Unit,
    good: i64,
    bad: i64,
    numbers: Option<Numbers>,
}

#[derive(Debug, Clone, Copy)]
struct Numbers {
    last: f64,
    /// Updated in place: a sum would lose digits over a million samples.
    mean: f64,
    count: f64,
    min: f64,
    max: f64,
}

impl Statistics {
    pub(super) fn add(&mut self, sample: &Sample) {
        let known = self.metrics.iter().position(|metric| metric.name == sample.metric);
        let index = known.unwrap_or_else(|| {
            let (name, unit) = (sample.metric.clone(), sample.unit.clone());
            self.metrics.push(Metric { name, unit, good: 0, bad: 0, numbers: None });
            self.metrics.len() - 1
        });
        let metric = &mut self.metrics[index];
        if sample.quality != Quality::Good {
            metric.bad += 1;
            return;
        }
        metric.good += 1;
        if let Some(value) = sample.value.as_f64() {
            metric.unit = sample.unit.clone();
            let old =
                metric.numbers.unwrap_or(Numbers { last: value, mean: value, count: 0.0, min: value, max: value });
            let count = old.count + 1.0;
            metric.numbers = Some(Numbers {
                last: value,
                mean: old.mean + (value - old.mean) / count,
                count,
                min: old.min.min(value),
                max: old.max.max(value),
            });
        }
    }

    pub(super) fn outputs(&self) -> Fields {
        self.metrics.iter().map(|metric| (metric.name.as_str().to_owned(), Value::Map(metric.fields()))).collect()
    }
}

impl Metric {
    fn fields(&self) -> Fields {
        let number =
            |pick: fn(&Numbers) -> f64| self.numbers.as_ref().map_or(Value::Null, |all| Value::Float(pick(all)));
        let fields = [
            ("last", number(|all| all.last)),
            ("mean", number(|all| all.mean)),
            ("min", number(|all| all.min)),
            ("max", number(|all| all.max)),
            ("good", Value::Int(self.good)),
            ("bad", Value::Int(self.bad)),
            ("unit", Value::Text(self.unit.as_str().to_owned())),
        ];
        fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}
