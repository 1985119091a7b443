//! Who looks at which device: a preview runs while somebody watches it, at the best quality that anyone asked for. Pure.

use std::collections::BTreeMap;

use rigwire_shared::command::PreviewQuality;
use rigwire_shared::ids::DeviceId;

/// Frames per second that an agent is asked for.
pub const FRAMES_PER_SECOND: u8 = 12;

/// One watching socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Viewer(pub u64);

#[derive(Debug, Default)]
pub struct Previews {
    viewers: BTreeMap<DeviceId, BTreeMap<Viewer, PreviewQuality>>,
}

/// What the device's agent must be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Start(PreviewQuality),
    Stop,
}

impl Previews {
    pub fn start(&mut self, device: &DeviceId, viewer: Viewer, quality: PreviewQuality) -> Change {
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
                Some(Change::Stop)
            }
            after if after == before => None,
            Some(quality) => Some(Change::Start(quality)),
        }
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
        assert_eq!(previews.start(&phone, one, PreviewQuality::Low), Change::Start(PreviewQuality::Low));
        assert_eq!(previews.start(&phone, other, PreviewQuality::High), Change::Start(PreviewQuality::High));
        assert_eq!(previews.stop(&phone, other), Some(Change::Start(PreviewQuality::Low)));
        assert_eq!(previews.stop(&phone, one), Some(Change::Stop));
        assert_eq!(previews.stop(&phone, one), None);
        assert_eq!(previews.wanted().count(), 0);
    }
}
