//! Pictures of one camera for as long as somebody looks: opens it, picks what is shown, and opens it again when it breaks.

use std::time::Duration;

use tokio::time::Instant;

use super::source::{self, Source};
use super::url::CameraUrl;
use crate::driver::DriverError;
use crate::preview::Pace;
use crate::protocol::jpeg;
use crate::protocol::mjpeg::Part;

/// A camera that sends nothing for so long is asked anew.
const STALL: Duration = Duration::from_secs(3);
/// Without a good picture for so long, the camera counts as gone.
pub(super) const GIVE_UP: Duration = Duration::from_secs(6);
const RETRY_FIRST: Duration = Duration::from_millis(250);
const RETRY_MAX: Duration = Duration::from_secs(2);
/// Pictures in a row that are too large. A single one among others is left out.
const TOO_LARGE_MAX: u32 = 5;

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shot {
    pub(super) width: u16,
    pub(super) height: u16,
    pub(super) data: Vec<u8>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum ShowError {
    Lost(DriverError),
    /// The camera is there, and its pictures cannot be sent. They have so many bytes.
    TooLarge(u64),
}

#[derive(Debug)]
pub(super) struct Show {
    limit: usize,
    pace: Pace,
    source: Option<Source>,
    /// When there is no source: not opened before.
    open_at: Instant,
    failures: u32,
    too_large: u32,
    /// The last picture was none that can be shown.
    garbled: bool,
    /// When the source last said anything, and when there was a good picture.
    heard: Instant,
    good: Instant,
}

impl Show {
    pub(super) fn new(limit: usize, now: Instant) -> Self {
        Self {
            limit,
            pace: Pace::new(now),
            source: None,
            open_at: now,
            failures: 0,
            too_large: 0,
            garbled: false,
            heard: now,
            good: now,
        }
    }

    pub(super) fn set_rate(&mut self, frames_per_second: u8) {
        self.pace.set_rate(frames_per_second);
    }

    /// The next picture to show. Cancel-safe, but for a connection that is being made, which is made again.
    pub(super) async fn next(&mut self, url: &CameraUrl) -> Result<Shot, ShowError> {
        loop {
            let Some(source) = &mut self.source else {
                tokio::time::sleep_until(self.open_at).await;
                match open(url, self.limit).await {
                    Ok(source) => {
                        self.source = Some(source);
                        self.heard = Instant::now();
                    }
                    Err(error) => self.failed(error)?,
                }
                continue;
            };
            let part = tokio::time::timeout_at(self.heard + STALL, source.next_part(url)).await;
            let now = Instant::now();
            match part {
                Ok(Ok(Some(part))) => {
                    self.heard = now;
                    if let Some(shot) = self.picture(part, url, now)? {
                        return Ok(shot);
                    }
                }
                Ok(Ok(None)) => {
                    self.source = None;
                    // A picture that was none is not asked for again at once.
                    let soonest = if std::mem::take(&mut self.garbled) { now + RETRY_FIRST } else { now };
                    self.open_at = self.pace.due().max(soonest);
                }
                Ok(Err(error)) => self.failed(error)?,
                Err(_) => {
                    let cause = format!("{url}: no picture within {} s", STALL.as_secs());
                    self.failed(DriverError::Silent(cause))?;
                }
            }
        }
    }

    fn picture(&mut self, part: Part, url: &CameraUrl, now: Instant) -> Result<Option<Shot>, ShowError> {
        let mut data = match part {
            Part::TooLarge(size) => {
                self.too_large += 1;
                self.garbled = true;
                self.good = now;
                return if self.too_large >= TOO_LARGE_MAX { Err(ShowError::TooLarge(size)) } else { Ok(None) };
            }
            Part::Whole(data) => data,
        };
        if !self.pace.is_due(now) {
            return Ok(None);
        }
        match jpeg::examine(&data) {
            Ok(picture) => {
                self.pace.shown(now);
                self.good = now;
                self.failures = 0;
                self.too_large = 0;
                data.truncate(picture.length);
                Ok(Some(Shot { width: picture.width, height: picture.height, data }))
            }
            Err(error) if now >= self.good + GIVE_UP => {
                Err(ShowError::Lost(DriverError::Garbled(format!("{url} sends {error}"))))
            }
            Err(error) => {
                self.garbled = true;
                tracing::debug!(%url, "left out: {error}");
                Ok(None)
            }
        }
    }

    /// To be opened again after a while, unless that went on for too long.
    fn failed(&mut self, error: DriverError) -> Result<(), ShowError> {
        let now = Instant::now();
        self.source = None;
        let over = self.good + GIVE_UP;
        if now >= over || matches!(error, DriverError::WrongDevice(_)) {
            return Err(ShowError::Lost(error));
        }
        tracing::debug!(%error, "the preview broke and is tried again");
        let wait = RETRY_FIRST.saturating_mul(1 << self.failures.min(8)).min(RETRY_MAX);
        self.failures = self.failures.saturating_add(1);
        self.open_at = (now + wait).min(over);
        Ok(())
    }
}

async fn open(url: &CameraUrl, limit: usize) -> Result<Source, DriverError> {
    Source::ask(source::connect(url).await?, url, limit).await
}
