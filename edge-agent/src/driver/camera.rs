//! Drives one network camera: looks whether it is there, and shows its pictures while the hub wants to see them. Changes nothing
//! at the camera, and keeps no connection to it while nobody looks.

mod feed;
mod show;
mod source;
mod url;

use std::time::Duration;

use rigwire_shared::agent::{Identity, Live};
use rigwire_shared::event::{SafeOutcome, Sample};
use rigwire_shared::ids::DeviceId;
use rigwire_shared::time::Timestamp;
use rigwire_shared::value::{Fields, Value};
use rigwire_shared::wire::MESSAGE_MAX;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;

pub(crate) use source::connect;
pub use url::CameraUrl;

use super::{Driver, DriverError};
use crate::device::HubLink;
use crate::live::LiveSlots;
use crate::preview::Wanted;
use crate::protocol::jpeg;
use crate::protocol::mjpeg::Part;
use show::{Shot, Show, ShowError};
use source::Source;

/// What stands around a picture in its message: the device's id and some numbers.
const AROUND: usize = 256;
const PICTURE_MAX: usize = MESSAGE_MAX - AROUND;
const IDENTIFY_WITHIN: Duration = Duration::from_secs(5);
/// How often a camera that nobody looks at is looked for.
const LOOK_EVERY: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(crate) struct Camera {
    device: DeviceId,
    url: CameraUrl,
    /// The connection that showed that it is there, until it is used.
    first: Option<TcpStream>,
    eyes: Eyes,
    seen: Instant,
    show: Option<Show>,
    /// What was asked then cannot be had, and that was said.
    declined: Option<Instant>,
}

/// What the hub wants to see, and where it is shown.
#[derive(Debug, Clone)]
pub(crate) struct Eyes {
    pub(crate) wanted: watch::Receiver<Option<Wanted>>,
    pub(crate) hub: watch::Receiver<HubLink>,
    pub(crate) live: LiveSlots,
}

impl Camera {
    pub(crate) fn new(device: DeviceId, url: CameraUrl, first: TcpStream, eyes: Eyes) -> Self {
        let seen = Instant::now();
        Self { device, url, first: Some(first), eyes, seen, show: None, declined: None }
    }

    /// What is to be shown now, and until when unless it is asked for again.
    fn wanted(&mut self, now: Instant) -> Option<(Wanted, Instant)> {
        let link = *self.eyes.hub.borrow_and_update();
        let wanted = (*self.eyes.wanted.borrow_and_update())?;
        let until = wanted.until(&link);
        (now < until && self.declined != Some(wanted.asked)).then_some((wanted, until))
    }

    /// Nobody looks: waits until somebody wants to, and looks from time to time whether the camera is there.
    async fn idle(&mut self) -> Result<(), DriverError> {
        let url = &self.url;
        let look = async {
            tokio::time::sleep_until(self.seen + LOOK_EVERY).await;
            connect(url).await
        };
        tokio::select! {
            biased;
            () = news(&mut self.eyes.wanted) => {}
            () = news(&mut self.eyes.hub) => {}
            found = look => {
                found?;
                self.seen = Instant::now();
            }
        }
        Ok(())
    }

    async fn look(&mut self, wanted: Wanted, until: Instant) -> Result<(), DriverError> {
        let show = self.show.get_or_insert_with(|| {
            tracing::debug!(device = %self.device, "the preview begins");
            Show::new(PICTURE_MAX, Instant::now())
        });
        show.set_rate(wanted.frames_per_second);
        let shown = tokio::select! {
            biased;
            () = news(&mut self.eyes.wanted) => return Ok(()),
            () = news(&mut self.eyes.hub) => return Ok(()),
            () = tokio::time::sleep_until(until) => return Ok(()),
            shown = show.next(&self.url) => shown,
        };
        match shown {
            Ok(Shot { width, height, data }) => {
                let (device, at, media_type) = (self.device.clone(), Timestamp::now(), "image/jpeg".to_owned());
                self.eyes.live.put(Live::Frame { device, at, width, height, media_type, data });
                Ok(())
            }
            Err(ShowError::TooLarge(size)) => {
                self.decline(&wanted, format!("its pictures have {size} bytes, at most {PICTURE_MAX} can be sent"));
                Ok(())
            }
            Err(ShowError::Lost(error)) => {
                self.decline(&wanted, error.to_string());
                Err(error)
            }
        }
    }

    fn decline(&mut self, wanted: &Wanted, cause: String) {
        tracing::info!(device = %self.device, "no preview: {cause}");
        self.declined = Some(wanted.asked);
        self.end_show();
        self.eyes.live.put(Live::PreviewUnavailable { device: self.device.clone(), cause });
    }

    fn end_show(&mut self) {
        if self.show.take().is_some() {
            tracing::debug!(device = %self.device, "the preview ends");
            self.seen = Instant::now();
        }
    }

    async fn first_picture(&mut self) -> Result<(Source, Part), DriverError> {
        let stream = match self.first.take() {
            Some(stream) => stream,
            None => connect(&self.url).await?,
        };
        let mut source = Source::ask(stream, &self.url, PICTURE_MAX).await?;
        loop {
            let part = source.next_part(&self.url).await?;
            let cause = match &part {
                Some(Part::Whole(bytes)) => jpeg::examine(bytes).err(),
                Some(Part::TooLarge(_)) => None,
                None => return Err(DriverError::Garbled(format!("{} sends no whole picture", self.url))),
            };
            match (part, cause) {
                (Some(part), None) => return Ok((source, part)),
                (_, cause) => tracing::debug!(device = %self.device, ?cause, "left out"),
            }
        }
    }
}

/// Returns when there is some. The sender lives as long as the agent.
async fn news<T>(receiver: &mut watch::Receiver<T>) {
    if receiver.changed().await.is_err() {
        std::future::pending().await
    }
}

impl Driver for Camera {
    async fn identify(&mut self) -> Result<Identity, DriverError> {
        let url = self.url.clone();
        let (source, part) = tokio::time::timeout(IDENTIFY_WITHIN, self.first_picture()).await.map_err(|_| {
            DriverError::Silent(format!("{url} sent no whole picture within {} s", IDENTIFY_WITHIN.as_secs()))
        })??;
        self.seen = Instant::now();
        let size = match part {
            Part::Whole(bytes) => jpeg::examine(&bytes)
                .map(|picture| format!("{}x{}", picture.width, picture.height))
                .map_err(|error| DriverError::Garbled(format!("{url} sends {error}")))?,
            Part::TooLarge(size) => format!("{size} bytes, too large to be shown"),
        };
        let kind = if source.is_stream() { "stream" } else { "snapshots" };
        Ok(Identity {
            model: source.server().unwrap_or_default().to_owned(),
            location: url.to_string(),
            properties: vec![("picture".to_owned(), size), ("source".to_owned(), kind.to_owned())],
            ..Identity::default()
        })
    }

    fn next_due(&self) -> Option<std::time::Instant> {
        None
    }

    async fn poll(&mut self) -> Result<Vec<Sample>, DriverError> {
        Ok(Vec::new())
    }

    fn polled(&self) -> Option<&str> {
        None
    }

    fn forget_reported(&mut self) {}

    async fn read(&mut self, reading: &str) -> Result<Vec<Sample>, DriverError> {
        Err(DriverError::Invalid(format!("camera {} has no reading {reading}, it has previews only", self.device)))
    }

    async fn perform(&mut self, action: &str, _with: &[(String, Value)]) -> Result<Fields, DriverError> {
        Err(DriverError::Invalid(format!("camera {} has no action {action}, it has previews only", self.device)))
    }

    async fn make_safe(&mut self) -> SafeOutcome {
        SafeOutcome::NotNeeded
    }

    async fn release(&mut self) {}

    async fn drain_errors(&mut self) -> Result<Vec<(String, String)>, DriverError> {
        Ok(Vec::new())
    }

    async fn watch(&mut self) -> DriverError {
        loop {
            let done = match self.wanted(Instant::now()) {
                Some((wanted, until)) => self.look(wanted, until).await,
                None => {
                    self.end_show();
                    self.idle().await
                }
            };
            if let Err(error) = done {
                return error;
            }
        }
    }
}

#[cfg(test)]
mod tests;
