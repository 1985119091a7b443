//! Samples on their way to one client: of each metric the newest, a few times a second. Knows no session.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use rigwire_shared::ids::{DeviceId, MetricName};

use crate::dialect::Text;

/// Between two samples of one metric: no page shows more.
pub(super) const SAMPLE_EVERY: Duration = Duration::from_millis(250);

/// Metrics of devices that one client follows; samples of further ones are held back.
pub(super) const SERIES_MAX: usize = 1000;

#[derive(Debug, Default)]
pub(super) struct Samples {
    series: HashMap<(DeviceId, MetricName), Series>,
    /// When the first of those that wait may go.
    due: Option<Instant>,
    held_back: u64,
}

#[derive(Debug)]
struct Series {
    free_at: Instant,
    waiting: Option<Text>,
}

impl Samples {
    /// The sample, if it may go at once.
    pub(super) fn offer(&mut self, device: &DeviceId, metric: &MetricName, text: &Text, now: Instant) -> Option<Text> {
        let key = (device.clone(), metric.clone());
        match self.series.get_mut(&key) {
            Some(series) if now < series.free_at => {
                let due = series.free_at;
                self.held_back += u64::from(series.waiting.replace(text.clone()).is_some());
                self.due = Some(self.due.map_or(due, |known| known.min(due)));
                return None;
            }
            Some(series) => {
                series.free_at = now + SAMPLE_EVERY;
                self.held_back += u64::from(series.waiting.take().is_some());
                return Some(text.clone());
            }
            None => {}
        }
        if self.series.len() >= SERIES_MAX {
            self.series.retain(|_, series| series.waiting.is_some() || now < series.free_at);
        }
        if self.series.len() >= SERIES_MAX {
            self.held_back += 1;
            return None;
        }
        self.series.insert(key, Series { free_at: now + SAMPLE_EVERY, waiting: None });
        Some(text.clone())
    }

    /// Samples that have waited long enough.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<Text> {
        if self.due.is_none_or(|due| now < due) {
            return Vec::new();
        }
        let mut taken = Vec::new();
        self.due = None;
        for series in self.series.values_mut() {
            if series.waiting.is_none() {
                continue;
            }
            if series.free_at <= now {
                taken.extend(series.waiting.take());
                series.free_at = now + SAMPLE_EVERY;
            } else {
                self.due = Some(self.due.map_or(series.free_at, |due| due.min(series.free_at)));
            }
        }
        taken
    }

    pub(super) const fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Replaced by newer ones, or of one metric too many.
    pub(super) const fn held_back(&self) -> u64 {
        self.held_back
    }

    /// What waits may not be wanted any more.
    pub(super) fn forget(&mut self) {
        self.series.clear();
        self.due = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(number: u32) -> Text {
        Text::from_string(number.to_string())
    }

    #[test]
    fn of_each_metric_the_newest_goes_four_times_a_second() {
        let mut samples = Samples::default();
        let (device, volts, amps) =
            (DeviceId::new("psu-1").unwrap(), MetricName::new("voltage").unwrap(), MetricName::new("current").unwrap());
        let start = Instant::now();
        let mut sent = Vec::new();
        for number in 0..1000 {
            let now = start + Duration::from_millis(u64::from(number));
            sent.extend(samples.take_due(now));
            sent.extend(samples.offer(&device, &volts, &text(number), now));
        }
        assert_eq!(sent, [text(0), text(249), text(499), text(749)], "each the newest of its time");
        assert_eq!(samples.offer(&device, &amps, &text(7), start), Some(text(7)), "another metric does not wait");
        assert_eq!(samples.due(), Some(start + 4 * SAMPLE_EVERY));
        assert_eq!(samples.take_due(start + 4 * SAMPLE_EVERY), [text(999)]);
        assert_eq!(samples.held_back(), 1000 - 5);
        assert_eq!(samples.due(), None);
    }

    #[test]
    fn metrics_of_one_client_are_bounded() {
        let mut samples = Samples::default();
        let metric = MetricName::new("voltage").unwrap();
        let start = Instant::now();
        let device = |number: usize| DeviceId::new(&format!("d-{number}")).unwrap();
        for number in 0..SERIES_MAX {
            assert!(samples.offer(&device(number), &metric, &text(0), start).is_some());
        }
        assert!(samples.offer(&device(SERIES_MAX), &metric, &text(0), start).is_none(), "one past it");
        assert_eq!(samples.held_back(), 1);
        assert!(samples.offer(&device(SERIES_MAX), &metric, &text(0), start + SAMPLE_EVERY).is_some(), "others rest");
    }
}
