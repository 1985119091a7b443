//! One socket: bytes to and from a dialect's session. Shared by all dialects; knows none of them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use axum::response::Response;
use futures_util::{SinkExt, StreamExt};
use rigwire_shared::ids::DeviceId;
use rigwire_shared::time::Timestamp;
use tokio::sync::watch;

use crate::access::{Principal, Refused};
use crate::app::App;
use crate::continuity::Visit;
use crate::dialect::{Denial, Moment, Output, Request, Session, Text, View};
use crate::fanout::{Queue, Taken};
use crate::hub::{Hub, Stopping};
use crate::interpreter;
use crate::ledger::{Ledger, Stage, Watcher};
use crate::limit::limits;
use crate::preview::Viewer;
use crate::routes::Door;

/// tungstenite clears its whole read buffer at every wake; its default of 128 KiB costs more than everything else together.
const READ_BUFFER: usize = 2 * 1024;
const WRITE_BUFFER: usize = 16 * 1024;

/// Events written before a flush, when so many wait.
const BATCH: usize = 256;

/// A client that takes nothing for so long is gone.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);

limits! {
    /// Of every socket, whatever its protocol.
    pub struct Limits {
        /// Largest message that a client may send.
        pub message_kib: usize = 1024, within 1..=65_536;
        /// A ping goes out when so long nothing came; twice that without a sign of life ends the connection.
        pub ping_after: Duration = Duration::from_secs(30), within Duration::from_secs(1)..=Duration::from_secs(3600);
    }
}

/// How long the far end may take to answer a close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// A frame may be so many times as long as a message: it is read to its end, so that the client, which writes all of it first,
/// gets the close that says why. Longer ones are cut off where they begin, and the close may be lost in a reset.
const FRAME_ROOM: usize = 4;

const GOING_AWAY: u16 = 1001;
const UNSUPPORTED: u16 = 1003;
const POLICY: u16 = 1008;
const TOO_BIG: u16 = 1009;
const TRY_AGAIN_LATER: u16 = 1013;

/// Names sockets for as long as the hub runs.
static NEXT_VIEWER: AtomicU64 = AtomicU64::new(1);

pub fn upgrade(door: Door, session: impl Session + 'static) -> Response {
    upgrade_as(door, session, None)
}

/// The socket of a client that may come again.
pub fn upgrade_as<S: Session + 'static>(
    Door { upgrade, app, caller }: Door,
    session: S,
    mut visit: Option<Visit>,
) -> Response {
    let dialect = session.dialect();
    // A page cannot read why a handshake was refused, so everyone is let in as far as to hear it.
    let place = match &caller.who {
        Ok(_) => app.doorman.enter(dialect, (dialect.room().admission)(&app.limits), caller.client()),
        Err(refused) => Err(Denial::Unauthorized(refused.to_string())),
    };
    // From before it is let in: what changes meanwhile counts, too.
    let tokens = app.keeper.changes();
    let shutdown = app.shutdown.clone();
    let tracker = app.sockets.clone();
    let ledger = Arc::clone(&app.ledger);
    upgrade
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_message_size(app.socket_limits.message_kib * 1024)
        .max_frame_size(app.socket_limits.message_kib * 1024 * FRAME_ROOM)
        .on_upgrade(move |socket| {
            tracker.track_future(async move {
                let queue = Arc::new(Queue::default());
                let viewer = NEXT_VIEWER.fetch_add(1, Ordering::Relaxed);
                if let Some(visit) = &mut visit {
                    visit.begin(&app.hub, &queue).await;
                }
                let watcher = ledger.enter(viewer, session.dialect(), Timestamp::now(), Arc::clone(&queue));
                let mut connection = Connection {
                    socket,
                    session,
                    who: caller.who,
                    tokens,
                    viewer: Viewer(viewer),
                    hub: app.hub.clone(),
                    app,
                    previews: BTreeSet::new(),
                    queue,
                    ledger,
                    watcher,
                    unflushed: false,
                };
                // Also while the client takes nothing or the record is waited for: a message is either written whole into the
                // socket's buffer or not at all, so giving up in between leaves room for a close.
                let why = tokio::select! {
                    biased;
                    () = shutdown.cancelled() => closing(GOING_AWAY, "the hub is stopping"),
                    why = connection.serve(place.as_ref().err()) => why,
                };
                connection.session.leave(moment());
                // Counts end with the hub.
                if let Some(visit) = visit
                    && !shutdown.is_cancelled()
                {
                    visit.end(&connection.hub, &connection.queue).await;
                }
                connection.finish(why).await;
                drop(place);
            })
        })
}

struct Connection<S> {
    socket: WebSocket,
    session: S,
    who: Result<Principal, Refused>,
    /// Says when the book of tokens may say something else of `who`.
    tokens: watch::Receiver<u64>,
    hub: Hub,
    app: App,
    viewer: Viewer,
    /// Previews that this socket started and has not stopped.
    previews: BTreeSet<DeviceId>,
    queue: Arc<Queue>,
    ledger: Arc<Ledger>,
    watcher: Arc<Watcher>,
    unflushed: bool,
}

/// Why a connection is over.
enum Ended {
    /// We close it, with a code.
    Closing { code: u16, reason: Utf8Bytes },
    /// The far end closed it, or it broke.
    Gone,
}

fn closing(code: u16, reason: &'static str) -> Ended {
    Ended::Closing { code, reason: Utf8Bytes::from_static(reason) }
}

fn moment() -> Moment {
    Moment { instant: Instant::now(), at: Timestamp::now() }
}

impl<S: Session> Connection<S> {
    async fn serve(&mut self, denial: Option<&Denial>) -> Ended {
        match denial {
            None => self.session.open(moment()),
            Some(denial) => self.session.deny(denial, moment()),
        }
        if let Err(ended) = self.carry_out().await {
            return ended;
        }
        self.watcher.note_stage(Stage::Connected);
        let expires = self.who.as_ref().ok().and_then(|who| who.expires_at);
        let mut heard = Instant::now();
        let mut pinged = false;
        loop {
            if let Err(ended) = self.flush().await {
                return ended;
            }
            let ping_after = self.app.socket_limits.ping_after;
            let silence = if pinged { heard + 2 * ping_after } else { heard + ping_after };
            let deadline = self.session.poll_timeout().map_or(silence, |timeout| timeout.min(silence));
            // A client that never pauses is not left alone with its token, its deadlines and its silence.
            if self.tokens.has_changed().unwrap_or_default() || expires.is_some_and(|end| end <= Timestamp::now()) {
                self.tokens.mark_unchanged();
                if let Err(ended) = self.check_token() {
                    return ended;
                }
            }
            if deadline < silence && deadline <= Instant::now() {
                self.session.handle_timeout(moment());
                if let Err(ended) = self.carry_out().await {
                    return ended;
                }
                continue;
            }
            let step = tokio::select! {
                biased;
                received = self.socket.next() => {
                    heard = Instant::now();
                    pinged = false;
                    self.receive(received).await
                }
                () = self.queue.arrival() => self.deliver().await,
                _ = self.tokens.changed() => self.check_token(),
                () = until(expires) => self.check_token(),
                () = tokio::time::sleep_until(deadline.into()) => {
                    if deadline < silence {
                        self.session.handle_timeout(moment());
                        self.carry_out().await
                    } else if pinged {
                        Err(Ended::Gone)
                    } else {
                        pinged = true;
                        self.write(Message::Ping(bytes::Bytes::new())).await
                    }
                }
            };
            if let Err(ended) = step {
                return ended;
            }
        }
    }

    /// Who was let in by a token that is good no longer has to go.
    fn check_token(&self) -> Result<(), Ended> {
        match &self.who {
            Ok(who) if self.app.keeper.may_stay(who, Timestamp::now()) => Ok(()),
            Ok(_) | Err(_) => Err(closing(POLICY, "UNAUTHORIZED")),
        }
    }

    async fn receive(&mut self, received: Option<Result<Message, axum::Error>>) -> Result<(), Ended> {
        match received {
            Some(Ok(Message::Text(text))) => {
                self.watcher.note_heard();
                self.session.handle_text(&text, moment());
                self.carry_out().await
            }
            Some(Ok(Message::Binary(_))) => Err(closing(UNSUPPORTED, "expected text messages")),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => Ok(()),
            Some(Ok(Message::Close(_))) | None => Err(Ended::Gone),
            Some(Err(error)) if error.to_string().contains("too long") => {
                let reason = format!("message longer than {} KiB", self.app.socket_limits.message_kib);
                Err(Ended::Closing { code: TOO_BIG, reason: Utf8Bytes::from(reason) })
            }
            Some(Err(error)) => {
                tracing::debug!("socket broke: {error}");
                Err(Ended::Gone)
            }
        }
    }

    /// Passes waiting events to the session, a batch at a time so that the client's own messages are heard in between.
    async fn deliver(&mut self) -> Result<(), Ended> {
        for _ in 0..BATCH {
            match self.queue.take() {
                Taken::Event { published, lost } => {
                    let now = moment();
                    if lost > 0 {
                        self.session.note_lost(lost);
                    }
                    self.ledger.note_passed(&published, self.session.dialect());
                    self.session.handle_event(&published, now);
                    self.carry_out().await?;
                    self.watcher.note_held_back(self.session.held_back());
                }
                Taken::Nothing => return Ok(()),
                Taken::Overflowed => return Err(closing(TRY_AGAIN_LATER, "too slow for messages that must arrive")),
            }
        }
        self.queue.look_again();
        Ok(())
    }

    async fn carry_out(&mut self) -> Result<(), Ended> {
        while let Some(output) = self.session.next_output() {
            match output {
                Output::Send(text) => {
                    self.write(message(&text)).await?;
                    self.watcher.note_message();
                }
                Output::Do(Request::Watch(interest)) => {
                    let view = self.hub.watch(interest, &self.queue).await;
                    let view = view.map_err(|_| closing(GOING_AWAY, "the hub is stopping"))?;
                    self.session.handle_view(view, moment());
                }
                Output::Do(Request::Unwatch(interest)) => {
                    let done = self.hub.unwatch(interest, &self.queue).await;
                    done.map_err(|_| closing(GOING_AWAY, "the hub is stopping"))?;
                }
                Output::Do(Request::StartPreview { device, quality }) => {
                    self.previews.insert(device.clone());
                    let viewer = self.viewer;
                    let asked =
                        self.hub.ask(move |core, now| core.model.start_preview(&device, viewer, quality, now)).await;
                    asked.map_err(|_| closing(GOING_AWAY, "the hub is stopping"))?;
                }
                Output::Do(Request::StopPreview { device }) => {
                    self.previews.remove(&device);
                    let stopped = stop_preview(&self.hub, self.viewer, device).await;
                    stopped.map_err(|_| closing(GOING_AWAY, "the hub is stopping"))?;
                }
                Output::Do(Request::Order(order)) => {
                    // A plan is seen before it is carried out, also by a client behind a slow line.
                    self.flush().await?;
                    self.check_token()?;
                    let answer = interpreter::answer(&self.app, self.who.as_ref().ok(), order).await;
                    self.session.handle_view(View::Answered(Box::new(answer)), moment());
                }
                Output::Do(Request::Ledger) => {
                    let ledger = crate::api::ledger::read(&self.app).await;
                    let ledger = ledger.map_err(|_| closing(GOING_AWAY, "the hub is stopping"))?;
                    let ledger = serde_json::to_value(&ledger).unwrap_or_default();
                    self.session.handle_view(View::Ledger(Box::new(ledger)), moment());
                }
                Output::Close { code, reason } => {
                    self.watcher.note_errors(self.session.errors());
                    return Err(Ended::Closing { code, reason: Utf8Bytes::from(reason.into_owned()) });
                }
            }
        }
        self.watcher.note_errors(self.session.errors());
        Ok(())
    }

    async fn write(&mut self, message: Message) -> Result<(), Ended> {
        self.unflushed = true;
        bounded(self.socket.feed(message)).await
    }

    async fn flush(&mut self) -> Result<(), Ended> {
        if !std::mem::take(&mut self.unflushed) {
            return Ok(());
        }
        bounded(SinkExt::<Message>::flush(&mut self.socket)).await
    }

    async fn finish(mut self, ended: Ended) {
        self.watcher.note_stage(Stage::Disconnecting);
        for device in std::mem::take(&mut self.previews) {
            if stop_preview(&self.hub, self.viewer, device).await.is_err() {
                break;
            }
        }
        self.watcher.note_held_back(self.session.held_back());
        let account = self.ledger.leave(&self.watcher);
        tracing::debug!(
            dialect = self.session.dialect().as_str(),
            received = account.events.received,
            dropped = account.events.dropped,
            coalesced = account.events.coalesced,
            unsent = account.events.left,
            held_back = account.held_back,
            "a watcher left"
        );
        let Ended::Closing { code, reason } = ended else { return };
        let close = async {
            self.socket.send(Message::Close(Some(CloseFrame { code, reason }))).await?;
            // What the client still sends is read to its own close, so that ours is not lost in a reset.
            while let Some(Ok(received)) = self.socket.next().await {
                if matches!(received, Message::Close(_)) {
                    break;
                }
            }
            Ok::<(), axum::Error>(())
        };
        match tokio::time::timeout(CLOSE_TIMEOUT, close).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!("socket broke while closing: {error}"),
            Err(_) => tracing::debug!("client did not answer the close"),
        }
    }
}

async fn stop_preview(hub: &Hub, viewer: Viewer, device: DeviceId) -> Result<(), Stopping> {
    hub.ask(move |core, now| core.model.stop_preview(&device, viewer, now)).await
}

async fn bounded(write: impl Future<Output = Result<(), axum::Error>>) -> Result<(), Ended> {
    match tokio::time::timeout(SEND_TIMEOUT, write).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(Ended::Gone),
    }
}

/// Returns at this time, or never. It is asked anew at every turn, so a clock that is set counts.
async fn until(end: Option<Timestamp>) {
    match end {
        Some(end) => {
            let left = end.0.saturating_sub(Timestamp::now().0).max(0).unsigned_abs();
            tokio::time::sleep(Duration::from_micros(left)).await;
        }
        None => std::future::pending().await,
    }
}

fn message(text: &Text) -> Message {
    Message::Text(Utf8Bytes::try_from(text.bytes()).unwrap_or_default())
}
