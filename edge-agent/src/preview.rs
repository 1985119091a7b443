//! What the hub wants to see, until when, and at which pace it is shown. A pure core: no clock, no camera.

use std::time::Duration;

use tokio::time::Instant;

use crate::device::HubLink;

/// The hub repeats what it wants three times within this. One that no longer does watches no longer.
const LASTS: Duration = Duration::from_secs(60);
/// What is asked for by a hub whose broker is away ends sooner: when it is back, it asks again.
const LASTS_UNCONNECTED: Duration = Duration::from_secs(5);
const FRAMES_PER_SECOND_MAX: u8 = 15;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) frames_per_second: u8,
    pub(crate) asked: Instant,
}

impl Wanted {
    pub(crate) fn until(&self, link: &HubLink) -> Instant {
        let lasts = self.asked + LASTS;
        if link.connected { lasts } else { lasts.min(link.since + LASTS_UNCONNECTED) }
    }
}

/// Which of a camera's frames are shown. One that comes a little early is, and one that is late leaves the next its time, so
/// that the asked rate is reached whatever the camera's own is, and is not exceeded.
#[derive(Debug)]
pub(crate) struct Pace {
    interval: Duration,
    due: Instant,
}

impl Pace {
    pub(crate) fn new(now: Instant) -> Self {
        Self { interval: interval(FRAMES_PER_SECOND_MAX), due: now }
    }

    pub(crate) fn set_rate(&mut self, frames_per_second: u8) {
        self.interval = interval(frames_per_second);
    }

    /// When the next frame should be asked for.
    pub(crate) fn due(&self) -> Instant {
        self.due
    }

    pub(crate) fn is_due(&self, now: Instant) -> bool {
        now + self.interval / 4 >= self.due
    }

    pub(crate) fn shown(&mut self, now: Instant) {
        self.due = (self.due + self.interval).max(now + self.interval / 2);
    }
}

fn interval(frames_per_second: u8) -> Duration {
    Duration::from_secs(1) / u32::from(frames_per_second.clamp(1, FRAMES_PER_SECOND_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wanted_ends_when_it_is_not_repeated_and_soon_after_the_hub_is_gone() {
        let asked = Instant::now();
        let wanted = Wanted { frames_per_second: 12, asked };
        let link = |connected, since| HubLink { connected, since, time: None };
        let later = asked + Duration::from_secs(20);
        assert_eq!(wanted.until(&link(true, later)), asked + LASTS);
        assert_eq!(wanted.until(&link(false, later)), later + LASTS_UNCONNECTED);
        assert_eq!(wanted.until(&link(false, asked + LASTS)), asked + LASTS);
    }

    /// How many of ten seconds' frames are shown, and the most in any second.
    fn shown(asked: u8, frames_ms: impl Iterator<Item = u64>) -> (usize, usize) {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        pace.set_rate(asked);
        let mut shown: Vec<u64> = Vec::new();
        for at in frames_ms.take_while(|at| *at < 10_000) {
            let now = start + Duration::from_millis(at);
            if pace.is_due(now) {
                pace.shown(now);
                shown.push(at);
            }
        }
        let most = shown.iter().map(|first| shown.iter().filter(|at| (*first..*first + 1000).contains(at)).count());
        (shown.len(), most.max().unwrap_or(0))
    }

    #[test]
    fn the_asked_rate_is_reached_whatever_the_cameras_own_is() {
        for (own, asked, expected) in [
            (10, 12, 100),
            (12, 12, 120),
            (15, 12, 120),
            (25, 12, 120),
            (30, 12, 120),
            (30, 15, 150),
            (30, 5, 50),
            (15, 10, 100),
        ] {
            let (count, most) = shown(asked, (0..).map(|frame| frame * 1000 / own));
            assert!(count.abs_diff(expected) <= 1, "{count} of {expected} at {asked} of {own} a second");
            assert!(most <= usize::from(asked) + 1, "{most} in one second at {asked} of {own}");
            // The same with frames that are up to 9 ms late, in a pattern.
            let (count, most) = shown(asked, (0..).map(|frame| frame * 1000 / own + frame * 7 % 10));
            assert!(count.abs_diff(expected) <= 6, "{count} of {expected} at {asked} of {own} a second, unsteady");
            assert!(most <= usize::from(asked) + 1, "{most} in one second at {asked} of {own}, unsteady");
        }
    }

    #[test]
    fn after_a_pause_there_is_no_burst() {
        let pause = (0..10).map(|frame| frame * 33).chain((0..300).map(|frame| 5000 + frame * 5));
        let (_, most) = shown(12, pause);
        assert!(most <= 13, "{most}");
    }
}
