//! A simulated network camera: a real HTTP server in a thread of its own, which streams moving test pictures and misbehaves on
//! request. Shares no parser with the driver.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc as blocking;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, anyhow};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

mod serve;

/// The thread answers within microseconds; longer means that it is gone.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CameraFault {
    /// Requests are taken and nothing is answered.
    Silent,
    /// Pictures are noise.
    Garbage,
    /// Pictures end in the middle.
    Truncated,
    /// One picture every two seconds.
    Slow,
    /// Pictures of more than 256 KiB.
    Huge,
    /// The connection ends in the middle of every tenth picture.
    Drop,
    /// Parts without a length, as some cameras send them.
    Unsized,
    /// The stream in chunks of HTTP, as some cameras send it.
    Chunked,
}

impl CameraFault {
    pub const ALL: [Self; 8] = [
        Self::Silent,
        Self::Garbage,
        Self::Truncated,
        Self::Slow,
        Self::Huge,
        Self::Drop,
        Self::Unsized,
        Self::Chunked,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::Garbage => "garbage",
            Self::Truncated => "truncated",
            Self::Slow => "slow",
            Self::Huge => "huge",
            Self::Drop => "drop",
            Self::Unsized => "unsized",
            Self::Chunked => "chunked",
        }
    }
}

impl FromStr for CameraFault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|fault| fault.as_str() == text).ok_or_else(|| {
            let known = Self::ALL.map(Self::as_str).join(", ");
            format!("fault {text:?} is unknown, expected one of {known}")
        })
    }
}

impl fmt::Display for CameraFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[derive(Debug, Clone)]
pub struct CameraOptions {
    pub listen: SocketAddr,
    pub frames_per_second: u8,
    pub width: u16,
    pub height: u16,
    /// Required of every request.
    pub credentials: Option<(String, String)>,
    pub faults: Vec<CameraFault>,
}

impl CameraOptions {
    /// 640 by 480 at 25 a second, without faults.
    pub fn new(listen: SocketAddr) -> Self {
        Self { listen, frames_per_second: 25, width: 640, height: 480, credentials: None, faults: Vec::new() }
    }
}

/// What the camera saw so far.
#[derive(Debug, Default)]
struct Counts {
    streams: AtomicU64,
    requests: AtomicU64,
    frames: AtomicU64,
}

#[derive(Debug)]
struct Shared {
    options: CameraOptions,
    faults: Mutex<Vec<CameraFault>>,
    counts: Counts,
}

impl Shared {
    fn has(&self, fault: CameraFault) -> bool {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner).contains(&fault)
    }
}

/// A running camera. Dropping it ends every connection and joins the thread.
#[derive(Debug)]
pub struct SimulatedCamera {
    address: SocketAddr,
    shared: Arc<Shared>,
    plugs: mpsc::Sender<Plug>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Plug {
    plugged: bool,
    answer: blocking::SyncSender<anyhow::Result<()>>,
}

impl SimulatedCamera {
    pub fn start(options: CameraOptions) -> anyhow::Result<Self> {
        let faults = Mutex::new(options.faults.clone());
        let shared = Arc::new(Shared { options, faults, counts: Counts::default() });
        // A request waits for its answer, so more than a few never queue up; when full the caller gets an error.
        let (plugs, receiver) = mpsc::channel(16);
        let (started, start) = blocking::sync_channel(1);
        let known = Arc::clone(&shared);
        let run = move || thread(known, receiver, &started);
        let thread = std::thread::Builder::new().name("camera".to_owned()).spawn(run).context("starting the camera")?;
        let address = start.recv().context("the camera ended while it started")??;
        Ok(Self { address, shared, plugs, thread: Some(thread) })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Of the stream; of single pictures with `/snapshot.jpg` in place of `/stream`.
    pub fn url(&self) -> String {
        format!("http://{}/stream", self.address)
    }

    /// Ends every connection, and takes none until it is plugged in again, at the same address.
    pub fn unplug(&self) -> anyhow::Result<()> {
        self.plug(false)
    }

    pub fn replug(&self) -> anyhow::Result<()> {
        self.plug(true)
    }

    pub fn set_faults(&self, faults: &[CameraFault]) {
        *self.shared.faults.lock().unwrap_or_else(PoisonError::into_inner) = faults.to_vec();
    }

    /// Streams that are open now.
    pub fn streams(&self) -> u64 {
        self.shared.counts.streams.load(Ordering::Relaxed)
    }

    /// Requests so far.
    pub fn requests(&self) -> u64 {
        self.shared.counts.requests.load(Ordering::Relaxed)
    }

    /// Pictures sent so far, by streams and as snapshots.
    pub fn frames(&self) -> u64 {
        self.shared.counts.frames.load(Ordering::Relaxed)
    }

    pub fn stop(self) {
        drop(self);
    }

    fn plug(&self, plugged: bool) -> anyhow::Result<()> {
        // One answer per request: never full.
        let (answer, answered) = blocking::sync_channel(1);
        self.plugs.try_send(Plug { plugged, answer }).map_err(|_| anyhow!("the camera does not take requests"))?;
        answered.recv_timeout(ANSWER_TIMEOUT).context("the camera does not answer")?
    }
}

impl Drop for SimulatedCamera {
    fn drop(&mut self) {
        // Closing the only sender ends the thread.
        let (closed, _) = mpsc::channel(1);
        self.plugs = closed;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the camera ended by a panic");
        }
    }
}

fn thread(
    shared: Arc<Shared>,
    plugs: mpsc::Receiver<Plug>,
    started: &blocking::SyncSender<anyhow::Result<SocketAddr>>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting a runtime");
    let opened = runtime.and_then(|runtime| {
        let listener = runtime.block_on(bind(shared.options.listen))?;
        let address = listener.local_addr().context("finding the camera's address")?;
        Ok((runtime, listener, address))
    });
    // Whoever started the camera waits for this one message.
    match opened {
        Ok((runtime, listener, address)) if started.send(Ok(address)).is_ok() => {
            runtime.block_on(run(&shared, listener, address, plugs));
        }
        Ok(_) => {}
        Err(error) => drop(started.send(Err(error))),
    }
}

async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("listening on {address}"))
}

async fn run(shared: &Arc<Shared>, listener: TcpListener, address: SocketAddr, mut plugs: mpsc::Receiver<Plug>) {
    let mut listener = Some(listener);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            plug = plugs.recv() => {
                let Some(Plug { plugged, answer }) = plug else { break };
                let done = match (plugged, &listener) {
                    (true, Some(_)) => Ok(()),
                    (true, None) => bind(address).await.map(|bound| listener = Some(bound)),
                    (false, _) => {
                        listener = None;
                        connections.shutdown().await;
                        Ok(())
                    }
                };
                // Whoever asked may have stopped waiting.
                answer.send(done).ok();
            }
            Some(accepted) = accept(listener.as_ref()) => {
                connections.spawn(serve::connection(Arc::clone(shared), accepted));
            }
            Some(_) = connections.join_next() => {}
        }
    }
    connections.shutdown().await;
}

async fn accept(listener: Option<&TcpListener>) -> Option<tokio::net::TcpStream> {
    match listener?.accept().await {
        Ok((stream, _)) => Some(stream),
        Err(error) => {
            tracing::warn!("the camera could not take a connection: {error}");
            // Most faults of this kind are for want of descriptors, and pass.
            tokio::time::sleep(Duration::from_millis(100)).await;
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_written_as_they_are_read() {
        for fault in CameraFault::ALL {
            assert_eq!(fault.to_string().parse(), Ok(fault));
        }
        let error = "late".parse::<CameraFault>().unwrap_err();
        assert!(error.starts_with("fault \"late\" is unknown, expected one of silent, garbage, "), "{error}");
    }
}
