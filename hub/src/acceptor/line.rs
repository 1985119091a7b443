//! The bytes of one connection, with the patience that its present phase allows: for a head, between requests, or any.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::Place;

/// What a connection is at. Shared by the bytes, which see a head begin, and the service, which sees it complete.
#[derive(Debug, Clone)]
pub(super) struct Phases {
    now: Arc<Mutex<Now>>,
    head: Duration,
    keep_alive: Duration,
    stall: Duration,
}

#[derive(Debug)]
struct Now {
    phase: Phase,
    /// Who waits for bytes without a deadline, to be told when there is one.
    reader: Option<Waker>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Of a request there is nothing, or not all, of the head.
    Head {
        until: Instant,
    },
    Idle {
        until: Instant,
    },
    /// The body of a request is on its way.
    Body {
        until: Instant,
    },
    /// A request is answered.
    Request,
    /// A socket, which has a patience of its own.
    Socket,
}

impl Phases {
    pub(super) fn new(head: Duration, keep_alive: Duration, stall: Duration) -> Self {
        // A connection is made in order to ask something.
        let phase = Phase::Head { until: Instant::now() + head };
        Self { now: Arc::new(Mutex::new(Now { phase, reader: None })), head, keep_alive, stall }
    }

    pub(super) fn request_begins(&self, has_body: bool) {
        self.set(if has_body { Phase::Body { until: Instant::now() + self.stall } } else { Phase::Request });
    }

    /// All of the body is there, or nobody wants more of it.
    pub(super) fn body_ended(&self) {
        if matches!(self.get(), Phase::Body { .. }) {
            self.set(Phase::Request);
        }
    }

    pub(super) fn request_ended(&self) {
        self.set(Phase::Idle { until: Instant::now() + self.keep_alive });
    }

    pub(super) fn becomes_socket(&self) {
        self.set(Phase::Socket);
    }

    /// Whether someone waits for an answer.
    pub(super) fn is_owed_an_answer(&self) -> bool {
        matches!(self.get(), Phase::Body { .. } | Phase::Request)
    }

    fn bytes_arrived(&self) {
        match self.get() {
            Phase::Idle { .. } => self.set(Phase::Head { until: Instant::now() + self.head }),
            Phase::Body { .. } => self.set(Phase::Body { until: Instant::now() + self.stall }),
            Phase::Head { .. } | Phase::Request | Phase::Socket => {}
        }
    }

    /// Until when whoever waits for bytes may wait. Without an answer they are woken when there is one.
    fn deadline(&self, reader: &Waker) -> Option<Instant> {
        let mut now = self.lock();
        match now.phase {
            Phase::Head { until } | Phase::Idle { until } | Phase::Body { until } => Some(until),
            Phase::Request => {
                now.reader.get_or_insert_with(|| reader.clone()).clone_from(reader);
                None
            }
            Phase::Socket => None,
        }
    }

    fn get(&self) -> Phase {
        self.lock().phase
    }

    fn set(&self, phase: Phase) {
        let mut now = self.lock();
        now.phase = phase;
        if let Some(reader) = now.reader.take() {
            drop(now);
            reader.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Holds the connection's place for as long as there are bytes, also beneath a socket.
pub(super) struct Line<S> {
    stream: S,
    phases: Phases,
    timer: Pin<Box<Sleep>>,
    /// Runs while the far end takes nothing.
    unread: Option<Pin<Box<Sleep>>>,
    _place: Place,
}

impl<S> Line<S> {
    pub(super) fn new(stream: S, phases: Phases, place: Place) -> Self {
        let timer = Box::pin(tokio::time::sleep_until(Instant::now()));
        Self { stream, phases, timer, unread: None, _place: place }
    }

    /// What came of writing; an error once the far end took nothing for too long.
    fn written<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.unread = None;
            return written;
        }
        let stall = self.phases.stall;
        let timer = self.unread.get_or_insert_with(|| Box::pin(tokio::time::sleep(stall)));
        ready!(timer.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Line<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        if let Poll::Ready(read) = Pin::new(&mut this.stream).poll_read(context, buffer) {
            if buffer.filled().len() > before {
                this.phases.bytes_arrived();
            }
            return Poll::Ready(read);
        }
        let Some(deadline) = this.phases.deadline(context.waker()) else { return Poll::Pending };
        if this.timer.deadline() != deadline {
            this.timer.as_mut().reset(deadline);
        }
        ready!(this.timer.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Line<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(context, bytes);
        this.written(context, written)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.stream).poll_flush(context);
        this.written(context, flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(context, slices);
        this.written(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
