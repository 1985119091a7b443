//! Who looks at which device: a preview runs while somebody watches it, at the best quality that anyone asked for. Pure.

use std::collections::BTreeMap;

use rigwire_shared::command::PreviewQuality;
use rigwire_shared::ids::DeviceId;
use rigwire_shared::time::Timestamp;

/// What is wanted is repeated: an agent that hears nothing for three times as long shows nothing more. So no picture goes on its
/// way for a hub that was restarted, or when the word to stop was lost.
const REPEAT_EVERY_US: i64 = 20_000_000;

/// Frames per second that an agent is asked for. What it shows is no smaller for a low quality, only rarer.
pub const fn frames_per_second(quality: PreviewQuality) -> u8 {
    match quality {
        PreviewQuality::Low => 10,
        PreviewQuality::Medium => 12,
        PreviewQuality::High => 15,
    }
}

/// One watching socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Viewer(pub u64);

#[derive(Debug, Default)]
pub struct Previews {
    viewers: BTreeMap<DeviceId, BTreeMap<Viewer, PreviewQuality>>,
    /// When what is wanted is said again. `None` while nothing is.
    repeat: Option<Timestamp>,
}

/// What the device's agent must be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Start(PreviewQuality),
    Stop,
}

impl Previews {
    pub fn start(&mut self, device: &DeviceId, viewer: Viewer, quality: PreviewQuality, now: Timestamp) -> Change {
        self.repeat.get_or_insert(Timestamp(now.0 + REPEAT_EVERY_US));
        let viewers = self.viewers.entry(device.clone()).or_default();
        viewers.insert(viewer, quality);
        // Sent again even if nothing changed: an agent that cannot give a preview answers each time it is asked.
        Change::Start(best(viewers).unwrap_or(quality))
    }

    pub fn stop(&mut self, device: &DeviceId, viewer: Viewer) -> Option<Change> {
        let viewers = self.viewers.get_mut(device)?;
        let before = best(viewers);
        viewers.remove(&viewer)?;
        match best(viewers) {
            None => {
                self.viewers.remove(device);
                if self.viewers.is_empty() {
                    self.repeat = None;
                }
                Some(Change::Stop)
            }
            after if after == before => None,
            Some(quality) => Some(Change::Start(quality)),
        }
    }

    pub fn next_repeat(&self) -> Option<Timestamp> {
        self.repeat
    }

    /// Whether it is time to say again what is wanted.
    pub fn is_due(&mut self, now: Timestamp) -> bool {
        let due = self.repeat.is_some_and(|at| at <= now);
        if due {
            self.repeat = Some(Timestamp(now.0 + REPEAT_EVERY_US));
        }
        due
    }

    /// The clock was set: it is said again at once, and from then on.
    pub fn clock_set(&mut self, now: Timestamp) {
        self.repeat = self.repeat.map(|_| now);
    }

    /// Devices whose preview should run.
    pub fn wanted(&self) -> impl Iterator<Item = (&DeviceId, PreviewQuality)> {
        self.viewers.iter().filter_map(|(device, viewers)| Some((device, best(viewers)?)))
    }
}

fn best(viewers: &BTreeMap<Viewer, PreviewQuality>) -> Option<PreviewQuality> {
    viewers.values().copied().max_by_key(|quality| match quality {
        PreviewQuality::Low => 0,
        PreviewQuality::Medium => 1,
        PreviewQuality::High => 2,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preview_runs_while_someone_watches_at_the_best_quality_asked_for() {
        let mut previews = Previews::default();
        let phone = DeviceId::new("phone-1").unwrap();
        let (one, other) = (Viewer(1), Viewer(2));
        let now = Timestamp(0);
        assert_eq!(previews.start(&phone, one, PreviewQuality::Low, now), Change::Start(PreviewQuality::Low));
        assert_eq!(previews.start(&phone, other, PreviewQuality::High, now), Change::Start(PreviewQuality::High));
        assert_eq!(previews.stop(&phone, other), Some(Change::Start(PreviewQuality::Low)));
        assert_eq!(previews.stop(&phone, one), Some(Change::Stop));
        assert_eq!(previews.stop(&phone, one), None);
        assert_eq!((previews.wanted().count(), previews.next_repeat()), (0, None));
    }

    #[test]
    fn what_is_wanted_is_said_again_and_again() {
        let mut previews = Previews::default();
        let camera = DeviceId::new("cam-1").unwrap();
        assert!(!previews.is_due(Timestamp(i64::MAX)));
        previews.start(&camera, Viewer(1), PreviewQuality::Low, Timestamp(5));
        previews.start(&camera, Viewer(2), PreviewQuality::Low, Timestamp(7));
        let due = Timestamp(5 + REPEAT_EVERY_US);
        assert_eq!(previews.next_repeat(), Some(due));
        assert!(!previews.is_due(Timestamp(due.0 - 1)) && previews.is_due(due) && !previews.is_due(due));
        previews.clock_set(Timestamp(9));
        assert!(previews.is_due(Timestamp(9)));
        assert_eq!(previews.next_repeat(), Some(Timestamp(9 + REPEAT_EVERY_US)));
    }
}
