//! The one task that writes the spool: events in, batches out to whatever connection there is. Knows no MQTT.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::time::Duration;

use anyhow::Context as _;
use rigwire_shared::command::Ack;
use rigwire_shared::event::{AgentEvent, EventBody, Level, Log, Started};
use rigwire_shared::time::Timestamp;
use rigwire_shared::wire::{self, BATCH_MAX, MESSAGE_MAX};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::events::Entry;
use crate::outbox::{Orders, Outbox};
use crate::spool::{Content, Damage, Spool, SpooledBatch};

/// Most events that are taken from the channel at once; a batch is what was waiting.
const TAKE_MAX: usize = 512;
/// How long what the hub does not have may stay in memory only.
const SYNC_EVERY: Duration = Duration::from_secs(1);
/// How long the last events may take to leave at an orderly stop. They are in the spool in any case.
const LAST_WORDS: Duration = Duration::from_millis(300);
const RETRY_WRITE: Duration = Duration::from_secs(1);
/// Header of a message around the events of a batch.
const HEADER_MAX: usize = 64;

/// What a connection tells the recorder.
#[derive(Debug)]
pub(crate) enum Link {
    /// Batches go here until `Down`, or until the receiver is dropped.
    Up(mpsc::Sender<SpooledBatch>),
    Down,
    Acknowledged(Ack),
}

pub(crate) struct Recorder {
    pub(crate) spool: Spool,
    pub(crate) events: mpsc::Receiver<Entry>,
    pub(crate) link: mpsc::Receiver<Link>,
}

/// The first events of an epoch: that it began, and what was found broken.
pub(crate) fn begin(spool: &mut Spool, host: &str, damage: &Damage) -> anyhow::Result<()> {
    let started = Started {
        epoch: spool.epoch(),
        previous: spool.previous_epoch(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        host: host.to_owned(),
    };
    let mut bodies = vec![EventBody::Started(started)];
    if *damage != Damage::default() {
        let message = format!(
            "the spool was damaged: {} bytes in {} were unreadable, {} batches are lost",
            damage.bytes,
            damage.files.join(", "),
            damage.batches
        );
        tracing::error!("{message}");
        bodies.push(EventBody::Log(Log {
            level: Level::Error,
            message,
            device: None,
            run: None,
            attempt: None,
            source: "spool".to_owned(),
        }));
    }
    let events: Vec<_> = bodies.into_iter().map(|body| AgentEvent { at: Timestamp::now(), body }).collect();
    for (content, bytes) in pack(events) {
        spool.append(content, &bytes).context("writing the first batch to the spool")?;
    }
    Ok(())
}

/// Runs until every sender of events is gone and what they said is in the spool.
pub(crate) async fn run(recorder: Recorder, shutdown: CancellationToken) -> anyhow::Result<()> {
    let Recorder { mut spool, mut events, mut link } = recorder;
    let mut outbox = Outbox::new(spool.ends().1);
    let mut sender: Option<mpsc::Sender<SpooledBatch>> = None;
    let mut next: Option<SpooledBatch> = None;
    let mut taken = Vec::with_capacity(TAKE_MAX);
    let mut sync = tokio::time::interval(SYNC_EVERY);
    sync.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // At most one: a slow disk is not asked again before it answered.
    let mut syncing: JoinSet<io::Result<()>> = JoinSet::new();
    let mut last_words: Option<tokio::time::Instant> = None;
    let mut unwritten = Unwritten::default();
    let mut stranger_told = false;
    loop {
        if next.is_none() && outbox.may_send() {
            next = read_next(&mut spool);
        }
        if last_words.is_some() && (next.is_none() || !outbox.is_connected()) {
            break;
        }
        let resend_at = outbox.deadline().map(tokio::time::Instant::from_std);
        tokio::select! {
            biased;
            Some(told) = link.recv() => {
                let orders = match told {
                    Link::Up(new) => {
                        sender = Some(new);
                        outbox.connected()
                    }
                    Link::Down => {
                        sender = None;
                        next = None;
                        outbox.disconnected();
                        Orders::default()
                    }
                    Link::Acknowledged(ack) => {
                        if ack.durable > spool.ends().0 {
                            if !std::mem::replace(&mut stranger_told, true) {
                                tracing::error!(durable = ?ack.durable, "the hub acknowledges what this agent never wrote; is another agent using its id?");
                            }
                            continue;
                        }
                        outbox.acknowledged(&ack, tokio::time::Instant::now().into_std())
                    }
                };
                obey(&mut spool, &mut next, &orders);
            }
            permit = reserve(sender.clone()), if next.is_some() => {
                match permit {
                    Ok(permit) => {
                        if let Some(batch) = next.take() {
                            outbox.sent(batch.position, tokio::time::Instant::now().into_std());
                            permit.send(batch);
                        }
                    }
                    Err(_) => {
                        sender = None;
                        next = None;
                        outbox.disconnected();
                    }
                }
            }
            () = shutdown.cancelled(), if unwritten.is_waiting() => unwritten.give_up(),
            () = at(unwritten.retry_at) => unwritten.write(&mut spool),
            count = events.recv_many(&mut taken, TAKE_MAX), if last_words.is_none() && !unwritten.is_waiting() => {
                if count == 0 {
                    last_words = Some(tokio::time::Instant::now() + LAST_WORDS);
                    continue;
                }
                unwritten.take(&mut taken);
                unwritten.write(&mut spool);
                if spool.is_over_limit() {
                    spool = make_room(spool).await?;
                }
            }
            () = at(resend_at) => {
                let orders = outbox.waited(tokio::time::Instant::now().into_std());
                obey(&mut spool, &mut next, &orders);
            }
            _ = sync.tick(), if syncing.is_empty() => {
                if let Err(error) = spool.save_acknowledged() {
                    tracing::warn!(%error, "cannot remember how far the hub is");
                }
                start_sync(&mut spool, &mut syncing);
            }
            Some(synced) = syncing.join_next() => report_sync(synced.context("the spool's sync task")?),
            () = at(last_words) => break,
        }
    }
    spool.save_acknowledged().context("remembering how far the hub is")?;
    start_sync(&mut spool, &mut syncing);
    while let Some(synced) = syncing.join_next().await {
        report_sync(synced.context("the spool's sync task")?);
    }
    Ok(())
}

/// Room for one batch: what is not sent now can still be rewound.
async fn reserve(
    sender: Option<mpsc::Sender<SpooledBatch>>,
) -> Result<mpsc::OwnedPermit<SpooledBatch>, mpsc::error::SendError<()>> {
    match sender {
        Some(sender) => sender.reserve_owned().await,
        None => std::future::pending().await,
    }
}

async fn at(instant: Option<tokio::time::Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

fn read_next(spool: &mut Spool) -> Option<SpooledBatch> {
    match spool.next_unsent(Timestamp::now()) {
        Ok(batch) => batch,
        Err(error) => {
            tracing::error!(%error, "the spool cannot be read");
            None
        }
    }
}

fn obey(spool: &mut Spool, next: &mut Option<SpooledBatch>, orders: &Orders) {
    if let Some(position) = orders.trim
        && let Err(error) = spool.acknowledge(position)
    {
        tracing::warn!(%error, "the spool cannot be trimmed");
    }
    if let Some(after) = orders.rewind {
        *next = None;
        spool.rewind(after.0);
    }
}

/// What was taken from the channel and is not in the spool yet. While the disk refuses, nothing more is taken: the channel
/// fills and its senders see to it. Sending and acknowledgements go on, which is what makes room.
#[derive(Default)]
struct Unwritten {
    batches: VecDeque<(Content, Vec<u8>)>,
    waiting: Vec<oneshot::Sender<()>>,
    retry_at: Option<tokio::time::Instant>,
}

impl Unwritten {
    fn is_waiting(&self) -> bool {
        !self.batches.is_empty()
    }

    fn take(&mut self, taken: &mut Vec<Entry>) {
        let waiting = &mut self.waiting;
        let events = taken.drain(..).map(|entry| {
            waiting.extend(entry.written);
            entry.event
        });
        self.batches.extend(pack(events.collect()));
    }

    fn write(&mut self, spool: &mut Spool) {
        while let Some((content, bytes)) = self.batches.front() {
            if let Err(error) = spool.append(*content, bytes) {
                if self.retry_at.is_none() {
                    tracing::error!(%error, "the spool cannot be written; trying again every second");
                }
                self.retry_at = Some(tokio::time::Instant::now() + RETRY_WRITE);
                return;
            }
            self.batches.pop_front();
        }
        if self.retry_at.take().is_some() {
            tracing::info!("the spool is written again");
        }
        for written in self.waiting.drain(..) {
            // Whoever asked may have stopped waiting.
            written.send(()).ok();
        }
    }

    /// Whoever waits hears that it will never be written.
    fn give_up(&mut self) {
        let batches = self.batches.len();
        tracing::error!(batches, "events were lost: the spool could not be written before the agent stopped");
        *self = Self::default();
    }
}

/// Bodies of batches, in order, each of samples only or of events only.
fn pack(events: Vec<AgentEvent>) -> Vec<(Content, Vec<u8>)> {
    let mut batches = Vec::new();
    for part in events.chunk_by(|a, b| a.body.may_be_dropped() == b.body.may_be_dropped()) {
        pack_part(part, &mut batches);
    }
    batches
}

fn pack_part(part: &[AgentEvent], batches: &mut Vec<(Content, Vec<u8>)>) {
    let Some(first) = part.first() else { return };
    let encoded = wire::encode_events(part);
    match encoded {
        Ok(bytes) if bytes.len() <= BATCH_MAX || (part.len() == 1 && bytes.len() + HEADER_MAX <= MESSAGE_MAX) => {
            let content =
                if first.body.may_be_dropped() { Content::Samples(part.len() as u64) } else { Content::Events };
            batches.push((content, bytes));
        }
        Ok(_) | Err(_) if part.len() > 1 => {
            let (left, right) = part.split_at(part.len() / 2);
            pack_part(left, batches);
            pack_part(right, batches);
        }
        Ok(bytes) => {
            let size = bytes.len();
            batches.extend(replacement(
                first,
                &format!("an event of {size} bytes is too large for a message and is lost"),
            ));
        }
        Err(error) => batches.extend(replacement(first, &format!("an event cannot be encoded and is lost: {error}"))),
    }
}

/// Says in the record that something is missing there.
fn replacement(lost: &AgentEvent, message: &str) -> Option<(Content, Vec<u8>)> {
    tracing::error!("{message}");
    let log = Log {
        level: Level::Error,
        message: message.to_owned(),
        device: None,
        run: None,
        attempt: None,
        source: "spool".to_owned(),
    };
    let bytes = wire::encode_events(&[AgentEvent { at: lost.at, body: EventBody::Log(log) }]).ok()?;
    Some((Content::Events, bytes))
}

/// The spool goes to a thread that may block and comes back.
async fn make_room(mut spool: Spool) -> anyhow::Result<Spool> {
    let (spool, given_up) = tokio::task::spawn_blocking(move || {
        let given_up = spool.make_room();
        (spool, given_up)
    })
    .await
    .context("the spool's rewriting task")?;
    match given_up {
        Ok(samples) => tracing::warn!(samples, bytes = spool.bytes(), "the spool is full: the oldest samples gave way"),
        Err(error) => tracing::error!(%error, "the spool is full and cannot be rewritten"),
    }
    Ok(spool)
}

fn start_sync(spool: &mut Spool, syncing: &mut JoinSet<io::Result<()>>) {
    match spool.take_unsynced() {
        Ok(files) if files.is_empty() => {}
        Ok(files) => {
            syncing.spawn_blocking(move || files.iter().try_for_each(File::sync_data));
        }
        Err(error) => tracing::warn!(%error, "the spool cannot be forced to the disk"),
    }
}

fn report_sync(synced: io::Result<()>) {
    if let Err(error) = synced {
        tracing::warn!(%error, "the spool cannot be forced to the disk");
    }
}

#[cfg(test)]
mod tests;
