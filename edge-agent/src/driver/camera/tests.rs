//! The driver against a simulated camera over real sockets.

use std::net::SocketAddr;

use super::*;
use crate::simulator::camera::{CameraFault, CameraOptions, SimulatedCamera};

const PATIENCE: Duration = Duration::from_secs(20);

struct Stage {
    simulated: SimulatedCamera,
    url: CameraUrl,
    wanted: watch::Sender<Option<Wanted>>,
    hub: watch::Sender<HubLink>,
    live: LiveSlots,
    camera: Camera,
}

fn options(faults: &[CameraFault]) -> CameraOptions {
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    CameraOptions { width: 64, height: 48, faults: faults.to_vec(), ..CameraOptions::new(listen) }
}

impl Stage {
    async fn new(options: CameraOptions, path: &str, credentials: &str) -> Self {
        let simulated = SimulatedCamera::start(options).unwrap();
        let url: CameraUrl = format!("http://{credentials}{}{path}", simulated.address()).parse().unwrap();
        let (wanted, wanted_watch) = watch::channel(None);
        let (hub, hub_watch) = watch::channel(HubLink { connected: true, since: Instant::now(), time: None });
        let live = LiveSlots::default();
        let eyes = Eyes { wanted: wanted_watch, hub: hub_watch, live: live.clone() };
        let first = connect(&url).await.unwrap();
        let camera = Camera::new(DeviceId::new("cam-1").unwrap(), url.clone(), first, eyes);
        Self { simulated, url, wanted, hub, live, camera }
    }

    async fn with(faults: &[CameraFault]) -> Self {
        Self::new(options(faults), "/stream", "").await
    }

    fn want(&self, frames_per_second: u8) {
        self.wanted.send_replace(Some(Wanted { frames_per_second, asked: Instant::now() }));
    }

    /// What is shown next, while the driver works.
    async fn shown(&mut self) -> Live {
        let shown = async {
            tokio::select! {
                biased;
                live = self.live.next() => live,
                error = self.camera.watch() => panic!("the camera ended: {error}"),
            }
        };
        tokio::time::timeout(PATIENCE, shown).await.expect("something to be shown")
    }

    async fn frames(&mut self, count: usize) {
        for _ in 0..count {
            let Live::Frame { width: 64, height: 48, data, .. } = self.shown().await else { panic!("no frame") };
            assert!(jpeg::examine(&data).is_ok_and(|picture| picture.length == data.len()));
        }
    }

    /// Until the camera has so many open streams, while the driver works.
    async fn streams(&mut self, count: u64) {
        let simulated = &self.simulated;
        let reached = async {
            while simulated.streams() != count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            done = tokio::time::timeout(PATIENCE, reached) => done.expect("another number of open streams"),
            error = self.camera.watch() => panic!("the camera ended: {error}"),
        }
    }

    /// How the driver ended, and what was said of the preview.
    async fn end(&mut self) -> (DriverError, Option<String>) {
        let error = tokio::time::timeout(PATIENCE, self.camera.watch()).await.expect("an end");
        let told = tokio::time::timeout(Duration::ZERO, self.live.next()).await.ok();
        let cause = told.and_then(|live| match live {
            Live::PreviewUnavailable { cause, .. } => Some(cause),
            Live::Frame { .. } => None,
        });
        (error, cause)
    }
}

#[test]
fn the_largest_picture_fits_into_a_message() {
    let live = Live::Frame {
        device: DeviceId::new(&"c".repeat(rigwire_shared::ids::NAME_MAX)).unwrap(),
        at: Timestamp(i64::MAX),
        width: u16::MAX,
        height: u16::MAX,
        media_type: "image/jpeg".to_owned(),
        data: vec![0; PICTURE_MAX],
    };
    assert!(rigwire_shared::wire::encode(&live).is_ok());
}

#[tokio::test]
async fn a_camera_is_known_by_its_pictures() {
    for (path, kind) in [("/stream", "stream"), ("/snapshot.jpg", "snapshots")] {
        let mut stage = Stage::new(options(&[]), path, "").await;
        let identity = stage.camera.identify().await.unwrap();
        assert_eq!(identity.model, "rigwire-camera");
        let property = |name: &str| identity.properties.iter().find(|(known, _)| known == name).unwrap().1.clone();
        assert_eq!((property("picture").as_str(), property("source").as_str()), ("64x48", kind));
        stage.streams(0).await;
    }
}

#[tokio::test]
async fn what_is_no_camera_or_wants_a_password_is_an_error_that_shows_none() {
    let closed = CameraOptions { credentials: Some(("bench".into(), "p@ss".into())), ..options(&[]) };
    let mut right = Stage::new(closed.clone(), "/stream", "bench:p%40ss@").await;
    assert!(right.camera.identify().await.is_ok());
    right.want(12);
    right.frames(1).await;
    let mut wrong = Stage::new(closed, "/stream", "bench:secret@").await;
    let DriverError::WrongDevice(cause) = wrong.camera.identify().await.unwrap_err() else { panic!("not refused") };
    let place = wrong.simulated.address();
    assert_eq!(cause, format!("http://bench:***@{place}/stream: the camera wants another user or password (HTTP 401)"));
    for (path, expected) in [
        ("/nothing", "the camera has nothing under this path (HTTP 404)"),
        ("/", "it answers with text/html, expected multipart/x-mixed-replace or image/jpeg"),
    ] {
        let mut stage = Stage::new(options(&[]), path, "").await;
        let DriverError::WrongDevice(cause) = stage.camera.identify().await.unwrap_err() else { panic!("{path}") };
        assert_eq!(cause, format!("{}: {expected}", stage.url));
    }
}

#[tokio::test]
async fn pictures_come_while_they_are_wanted_at_the_asked_pace_and_the_stream_is_closed_after() {
    let mut stage = Stage::with(&[]).await;
    stage.camera.identify().await.unwrap();
    stage.streams(0).await;
    stage.want(10);
    stage.frames(1).await;
    let began = Instant::now();
    stage.want(10);
    stage.frames(20).await;
    let took = began.elapsed();
    assert!(
        (Duration::from_millis(1800)..Duration::from_millis(2600)).contains(&took),
        "{took:?} for 20 at 10 a second"
    );
    assert_eq!((stage.simulated.requests(), stage.simulated.streams()), (2, 1), "one to identify, one to show");
    stage.wanted.send_replace(None);
    stage.streams(0).await;
    let sent = stage.simulated.frames();
    stage.want(10);
    stage.frames(1).await;
    assert!(stage.simulated.frames() < sent + 20, "the camera went on while nobody looked");
    // The hub has been away for too long.
    let since = Instant::now().checked_sub(Duration::from_secs(10)).unwrap();
    stage.hub.send_replace(HubLink { connected: false, since, time: None });
    stage.streams(0).await;
}

#[tokio::test]
async fn snapshots_are_polled_at_the_asked_pace() {
    let mut stage = Stage::new(options(&[]), "/snapshot.jpg", "").await;
    stage.want(10);
    stage.frames(1).await;
    let began = Instant::now();
    stage.frames(10).await;
    assert!((900..1500).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    assert!(stage.simulated.requests() <= 13, "{} requests for 11 pictures", stage.simulated.requests());
}

#[tokio::test]
async fn cameras_of_other_manners_and_with_hiccups_are_shown_too() {
    for fault in [CameraFault::Unsized, CameraFault::Chunked, CameraFault::Drop] {
        let mut stage = Stage::with(&[fault]).await;
        stage.camera.identify().await.unwrap();
        stage.want(15);
        stage.frames(16).await;
        let reopened = stage.simulated.requests() > 2;
        assert_eq!(reopened, fault == CameraFault::Drop, "{fault}");
    }
}

#[tokio::test]
async fn pictures_that_are_too_large_are_refused_with_their_size_and_the_camera_stays() {
    let mut stage = Stage::with(&[CameraFault::Huge]).await;
    let identity = stage.camera.identify().await.unwrap();
    assert!(identity.properties[0].1.ends_with(" bytes, too large to be shown"), "{identity:?}");
    stage.want(12);
    let Live::PreviewUnavailable { cause, .. } = stage.shown().await else { panic!("a frame") };
    let size = cause.strip_prefix("its pictures have ").and_then(|rest| rest.split_once(' '));
    let (size, rest) = size.unwrap_or_else(|| panic!("{cause}"));
    assert!(size.parse::<usize>().unwrap() > 300_000, "{cause}");
    assert_eq!(rest, "bytes, at most 261888 can be sent");
    stage.streams(0).await;
    stage.simulated.set_faults(&[]);
    stage.want(12);
    stage.frames(2).await;
}

#[tokio::test]
async fn a_camera_that_gives_no_good_picture_any_more_is_lost_with_the_cause() {
    let lost = async |fault: CameraFault| {
        let mut stage = Stage::with(&[]).await;
        stage.want(12);
        stage.frames(2).await;
        stage.simulated.set_faults(&[fault]);
        if fault == CameraFault::Silent {
            // A stream that runs goes on; the next is not answered.
            stage.simulated.unplug().unwrap();
            stage.simulated.replug().unwrap();
        }
        let began = Instant::now();
        let (error, told) = stage.end().await;
        assert!(began.elapsed() < Duration::from_secs(10), "{fault}: {:?}", began.elapsed());
        assert_eq!(told.as_deref(), Some(error.to_string().as_str()), "{fault}");
        error.to_string()
    };
    let unplugged = async {
        let mut stage = Stage::with(&[]).await;
        stage.want(12);
        stage.frames(2).await;
        stage.simulated.unplug().unwrap();
        let (error, told) = stage.end().await;
        assert_eq!(told.as_deref(), Some(error.to_string().as_str()));
        error.to_string()
    };
    let (garbage, truncated, silent, unplugged) =
        tokio::join!(lost(CameraFault::Garbage), lost(CameraFault::Truncated), lost(CameraFault::Silent), unplugged);
    assert!(garbage.contains("bytes that are no JPEG picture"), "{garbage}");
    assert!(truncated.contains("a JPEG picture that is cut off after"), "{truncated}");
    assert!(silent.ends_with("/stream: no picture within 3 s"), "{silent}");
    assert!(unplugged.contains("cannot be reached"), "{unplugged}");
}

#[tokio::test]
async fn a_camera_that_nobody_looks_at_is_missed_when_it_goes() {
    let mut stage = Stage::with(&[]).await;
    stage.camera.identify().await.unwrap();
    stage.simulated.unplug().unwrap();
    let (error, told) = stage.end().await;
    assert!(error.to_string().contains("cannot be reached"), "{error}");
    assert_eq!(told, None);
}

#[tokio::test]
async fn a_silent_camera_is_not_identified() {
    let mut stage = Stage::with(&[CameraFault::Silent]).await;
    let error = stage.camera.identify().await.unwrap_err();
    assert_eq!(error, DriverError::Silent(format!("{} sent no whole picture within 5 s", stage.url)));
}
