//! When progress of the one run that a socket follows is told: not too often, and again while there is no news. Knows no
//! message and no session.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::dialect::Text;
use crate::event::{Progress, RunHeader, RunStatus};

use super::limits::Limits;

#[derive(Debug)]
pub(super) struct ProgressTeller {
    interval: Duration,
    repeat: Duration,
    sent_at: Option<Instant>,
    /// The newest, kept back until the interval is over.
    waiting: Option<Text>,
    under_way: Option<UnderWay>,
}

/// A run as it was last heard of.
#[derive(Debug, Clone)]
pub(super) struct UnderWay {
    pub(super) run: Arc<RunHeader>,
    pub(super) status: RunStatus,
    pub(super) progress: Progress,
}

/// What has to be told now.
#[derive(Debug)]
pub(super) enum Due {
    Waiting(Text),
    Again(UnderWay),
}

/// What becomes of news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Telling {
    Now,
    Later,
    /// As `Later`, and older news that waited is never told.
    Instead,
}

impl ProgressTeller {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            interval: limits.progress_interval,
            // Repeated news is told no more often than new.
            repeat: limits.progress_repeat.max(limits.progress_interval),
            sent_at: None,
            waiting: None,
            under_way: None,
        }
    }

    /// The initial state was told.
    pub(super) fn begin(&mut self, under_way: UnderWay, now: Instant) {
        self.sent_at = Some(now);
        self.under_way = Some(under_way);
    }

    pub(super) const fn under_way(&self) -> Option<&UnderWay> {
        self.under_way.as_ref()
    }

    pub(super) fn set_progress(&mut self, progress: &Progress) {
        if let Some(under_way) = &mut self.under_way {
            under_way.progress.clone_from(progress);
        }
    }

    /// Returns whether that is another one.
    pub(super) fn set_status(&mut self, status: RunStatus) -> bool {
        let Some(under_way) = &mut self.under_way else { return false };
        std::mem::replace(&mut under_way.status, status) != status
    }

    /// Whether news is told at once.
    pub(super) fn offer(&mut self, text: &Text, now: Instant) -> Telling {
        if self.sent_at.is_none_or(|at| at + self.interval <= now) {
            self.sent_at = Some(now);
            self.waiting = None;
            return Telling::Now;
        }
        match self.waiting.replace(text.clone()) {
            None => Telling::Later,
            Some(_) => Telling::Instead,
        }
    }

    /// The last word follows, and nothing after it. Returns when it may be told, and whether news that waited never is.
    pub(super) fn end(&mut self, now: Instant) -> (Instant, bool) {
        self.under_way = None;
        let at = self.sent_at.map_or(now, |at| at + self.interval).max(now);
        (at, self.waiting.take().is_some())
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        let wait = match (&self.waiting, &self.under_way) {
            (Some(_), _) => self.interval,
            (None, Some(_)) => self.repeat,
            (None, None) => return None,
        };
        self.sent_at.map(|at| at + wait)
    }

    pub(super) fn due(&mut self, now: Instant) -> Option<Due> {
        if self.next_due().is_none_or(|due| due > now) {
            return None;
        }
        self.sent_at = Some(now);
        let waiting = self.waiting.take().map(Due::Waiting);
        waiting.or_else(|| self.under_way.clone().map(Due::Again))
    }
}
