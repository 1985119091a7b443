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
    is_complete: bool,
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
    pub(super) const fn new(limits: &Limits) -> Self {
        Self {
            interval: limits.progress_interval,
            repeat: limits.progress_repeat,
            sent_at: None,
            waiting: None,
            is_complete: false,
            under_way: None,
        }
    }

    /// The initial state was told.
    pub(super) fn begin(&mut self, under_way: UnderWay, now: Instant) {
        self.sent_at = Some(now);
        self.under_way = Some(under_way);
    }

    pub(super) const fn set_status(&mut self, status: RunStatus) {
        if let Some(under_way) = &mut self.under_way {
            under_way.status = status;
        }
    }

    /// Whether news is told at once. What is complete always is.
    pub(super) fn offer(&mut self, text: &Text, progress: &Progress, now: Instant) -> Telling {
        if let Some(under_way) = &mut self.under_way {
            under_way.progress.clone_from(progress);
        }
        let complete = progress.percent >= 100.0;
        if complete || self.sent_at.is_none_or(|at| at + self.interval <= now) {
            self.sent_at = Some(now);
            self.waiting = None;
            self.is_complete = complete;
            return Telling::Now;
        }
        match self.waiting.replace(text.clone()) {
            None => Telling::Later,
            Some(_) => Telling::Instead,
        }
    }

    /// Nothing is told after the end. Returns whether the run was told to be complete.
    pub(super) fn end(&mut self) -> bool {
        self.waiting = None;
        self.under_way = None;
        self.is_complete
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
