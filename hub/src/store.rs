//! The record: what survives a restart. One thread writes in groups; effects that depend on a record are let go only after
//! the commit that holds it. SQLite in the data directory; the only file family that names rusqlite.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::{mpsc, oneshot};

use crate::event::RunSnapshot;
use crate::fanout::Published;
use crate::model::{Effect, Output, Record, Restored};
use artifact::Files;

mod arriving;
mod artifact;
mod chat;
mod executions;
mod lease;
mod listing;
mod read;
mod reported;
mod schema;
mod steps;
mod told;
mod write;

pub use artifact::ArtifactRow;
pub use executions::{Execution, ExecutionFilter, TestExecution, Totals};
pub use listing::{Listed, Listing, Tally};
pub use read::{EventRow, RunFilter, RunRow};
pub use steps::StepTimes;
pub use told::{Accounts, Gap, SERIES_MAX, Summary};

/// Jobs that wait for the writer. When full, the hub's owner waits and with it everything that it would take in.
const QUEUE: usize = 4096;

/// A group is committed as soon as somebody waits for it: a command, or a question. Acknowledgements can wait a little, so
/// that a stream of readings costs the disk some twenty commits a second and not one for each.
const GROUP_RECORDS: usize = 5000;
const GROUP_AGE: Duration = Duration::from_millis(50);

const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What the writer does, in order.
enum Job {
    Write {
        records: Vec<Written>,
        effects: Vec<Effect>,
    },
    /// Answered once everything before it is durable.
    Barrier(oneshot::Sender<()>),
    /// The last job: the thread ends after it.
    Stop,
}

enum Written {
    Event(Arc<Published>),
    Record(Box<Record>),
}

/// The hub's end of the record. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    jobs: SyncSender<Job>,
    /// Jobs that the writer has not taken up.
    waiting: Arc<AtomicU64>,
    reader: Arc<Mutex<Connection>>,
    stopping: Arc<AtomicBool>,
    artifacts: Arc<Path>,
}

/// The writer's thread, and the lock that keeps a second hub out of the directory.
pub struct Writer {
    thread: std::thread::JoinHandle<()>,
    _lock: std::fs::File,
}

impl Writer {
    /// Waits for the last commit, after `Store::stop`.
    pub fn join(self) {
        if self.thread.join().is_err() {
            tracing::error!("the store's thread panicked");
        }
    }
}

/// Opens or creates the record. `effects` receives, group by group, what may happen now that its records are durable.
pub fn open(directory: &Path, effects: mpsc::Sender<Vec<Effect>>) -> anyhow::Result<(Store, Writer, Restored)> {
    std::fs::create_dir_all(directory).with_context(|| format!("creating data directory {}", directory.display()))?;
    let lock = lock(directory)?;
    let path = directory.join("rigwire.db");
    let mut connection = Connection::open(&path).with_context(|| format!("opening {}", path.display()))?;
    schema::prepare(&mut connection).with_context(|| format!("preparing {}", path.display()))?;
    let restored = read::restore(&connection).with_context(|| format!("reading {}", path.display()))?;
    let mut files = Files::open(directory.join("artifacts"))?;
    let restored = Restored { arriving: arriving::restore(&connection, &mut files)?, ..restored };
    let artifacts: Arc<Path> = files.root().into();
    let reader = open_reader(&path)?;
    let (jobs, queue) = sync_channel(QUEUE);
    let stopping = Arc::new(AtomicBool::new(false));
    let give_up = Arc::clone(&stopping);
    let waiting = Arc::new(AtomicU64::default());
    let taken = Arc::clone(&waiting);
    let thread = std::thread::Builder::new()
        .name("store".to_owned())
        .spawn(move || write_all(&mut connection, &mut files, &Jobs { queue, taken }, &effects, &give_up))
        .context("starting the store's thread")?;
    let store = Store { jobs, waiting, reader: Arc::new(Mutex::new(reader)), stopping, artifacts };
    Ok((store, Writer { thread, _lock: lock }, restored))
}

fn open_reader(path: &PathBuf) -> anyhow::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let reader =
        Connection::open_with_flags(path, flags).with_context(|| format!("opening {} to read", path.display()))?;
    reader.busy_timeout(Duration::from_secs(5)).context("setting the reader's timeout")?;
    Ok(reader)
}

fn lock(directory: &Path) -> anyhow::Result<std::fs::File> {
    let path = directory.join("lock");
    let file = std::fs::File::create(&path).with_context(|| format!("creating {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => {
            anyhow::bail!("data directory {} is in use by another hub", directory.display())
        }
        Err(std::fs::TryLockError::Error(error)) => Err(error).with_context(|| format!("locking {}", path.display())),
    }
}

impl Store {
    /// Hands over what one message gave rise to: its records in one piece, so that none is there without the others, and
    /// its effects behind them. Fails only when the writer is gone.
    pub async fn write(&self, outputs: Vec<Output>) -> anyhow::Result<()> {
        let mut records = Vec::new();
        let mut effects = Vec::new();
        for output in outputs {
            match output {
                // Numbered events are recorded; frames and samples have no number.
                Output::Event(published) if published.event.sequence > 0 => records.push(Written::Event(published)),
                Output::Event(_) => {}
                Output::Record(record) => records.push(Written::Record(Box::new(record))),
                Output::Effect(effect) => effects.push(effect),
            }
        }
        if records.is_empty() && effects.is_empty() {
            return Ok(());
        }
        self.send(Job::Write { records, effects }).await
    }

    async fn send(&self, job: Job) -> anyhow::Result<()> {
        let stopped = || anyhow::anyhow!("the store has stopped");
        // Counted first, so that the writer never takes more than there are.
        self.waiting.fetch_add(1, Ordering::Relaxed);
        match self.jobs.try_send(job) {
            Ok(()) => Ok(()),
            Err(TrySendError::Disconnected(_)) => Err(stopped()),
            Err(TrySendError::Full(job)) => {
                let jobs = self.jobs.clone();
                tokio::task::spawn_blocking(move || jobs.send(job)).await?.map_err(|_| stopped())
            }
        }
    }

    /// Jobs that wait for the writer.
    pub fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Returns once everything written before is durable.
    pub async fn barrier(&self) -> anyhow::Result<()> {
        let (done, wait) = oneshot::channel();
        self.send(Job::Barrier(done)).await?;
        wait.await.context("the store stopped before the record was durable")
    }

    /// Ends the writer once everything written before is durable; a record that cannot be written is given up.
    pub async fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        if self.send(Job::Stop).await.is_err() {
            tracing::debug!("the store has stopped already");
        }
    }

    /// Runs a query on the reader's connection, off the async threads.
    async fn query<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> anyhow::Result<T> + Send + 'static,
    ) -> anyhow::Result<T> {
        let reader = Arc::clone(&self.reader);
        tokio::task::spawn_blocking(move || query(&reader.lock().unwrap_or_else(PoisonError::into_inner)))
            .await
            .context("a query of the record panicked")?
    }

    pub async fn runs(&self, filter: RunFilter) -> anyhow::Result<Vec<RunRow>> {
        self.barrier().await?;
        self.query(move |connection| read::runs(connection, &filter)).await
    }

    /// A run from the record, with its state as its events add up to it.
    pub async fn run(&self, reference: crate::dialect::RunReference) -> anyhow::Result<Option<RunSnapshot>> {
        self.barrier().await?;
        self.query(move |connection| read::run(connection, reference)).await
    }

    pub async fn run_events(
        &self,
        run: rigwire_shared::ids::RunId,
        after: u64,
        limit: usize,
    ) -> anyhow::Result<Vec<EventRow>> {
        self.barrier().await?;
        self.query(move |connection| read::run_events(connection, run, after, limit)).await
    }
}

/// The writer's end of the queue.
struct Jobs {
    queue: Receiver<Job>,
    taken: Arc<AtomicU64>,
}

impl Jobs {
    fn recv(&self) -> Option<Job> {
        self.queue.recv().ok().inspect(|_| self.note())
    }

    fn recv_timeout(&self, left: Duration) -> Option<Job> {
        self.queue.recv_timeout(left).ok().inspect(|_| self.note())
    }

    fn note(&self) {
        self.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The writer's thread: takes jobs until the hub drops its ends, committing in groups.
fn write_all(
    connection: &mut Connection,
    files: &mut Files,
    jobs: &Jobs,
    effects: &mpsc::Sender<Vec<Effect>>,
    stopping: &AtomicBool,
) {
    while let Some(first) = jobs.recv() {
        let began = Instant::now();
        let mut group = vec![first];
        let mut records = count(&group[0]);
        let mut urgent = is_urgent(&group[0]);
        while records < GROUP_RECORDS {
            let left = if urgent { Duration::ZERO } else { GROUP_AGE.saturating_sub(began.elapsed()) };
            let Some(next) = jobs.recv_timeout(left) else { break };
            records += count(&next);
            urgent |= is_urgent(&next);
            group.push(next);
        }
        // A full disk is mended by someone; until then nothing that waits here is lost, acknowledged or acted on.
        while let Err(error) = commit(connection, files, &group) {
            if stopping.load(Ordering::Relaxed) {
                // Nothing of it was acknowledged: agents send it again to the next hub.
                tracing::error!("the record cannot be written, given up: {error:#}");
                return;
            }
            tracing::error!("the record cannot be written, trying again in {RETRY_AFTER:?}: {error:#}");
            std::thread::sleep(RETRY_AFTER);
        }
        let mut free = Vec::new();
        let mut last = false;
        for job in group {
            match job {
                Job::Write { effects, .. } => free.extend(effects),
                // Whoever waits may have given up.
                Job::Barrier(done) => drop(done.send(())),
                Job::Stop => last = true,
            }
        }
        if !free.is_empty() && effects.blocking_send(free).is_err() {
            tracing::debug!("nobody carries out effects any more");
        }
        if last {
            return;
        }
    }
}

/// Whether somebody waits for the commit.
fn is_urgent(job: &Job) -> bool {
    match job {
        Job::Write { effects, .. } => effects.iter().any(|effect| match effect {
            Effect::Command { .. } | Effect::Question(_) => true,
            Effect::Ack { .. } => false,
        }),
        Job::Barrier(_) | Job::Stop => true,
    }
}

fn count(job: &Job) -> usize {
    match job {
        Job::Write { records, .. } => records.len(),
        Job::Barrier(_) | Job::Stop => 0,
    }
}

fn commit(connection: &mut Connection, files: &mut Files, group: &[Job]) -> anyhow::Result<()> {
    if group.iter().all(|job| count(job) == 0) {
        return Ok(());
    }
    let transaction = connection.transaction()?;
    for job in group {
        let Job::Write { records, .. } = job else { continue };
        for written in records {
            match written {
                Written::Event(published) => write::event(&transaction, &published.event)?,
                Written::Record(record) => write::record(&transaction, files, record)?,
            }
        }
    }
    // What the commit names is on the disk before it.
    files.sync()?;
    transaction.commit()?;
    Ok(())
}
