//! One request and its reply on a stream: timeouts, gaps, and finding the line again after a reply was lost. Knows no
//! profile beyond framing, and no meaning of bytes.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use crate::driver::DriverError;
use crate::profile::definition::{Receive, ReceiveMode};
use crate::protocol::framing::{Decoder, start};

/// After bytes that nobody asked for, this much quiet is enough: no reply is outstanding.
const STRAY_QUIET: Duration = Duration::from_millis(20);
/// A device that never stops talking is given up after so many quiet times.
const NOISE_LIMIT: u32 = 8;
/// A device whose replies come later than so many timeouts counts as silent, and its replies as lost.
const FENCES_APART_MAX: u32 = 2;
/// A command that the line does not take in this time will never be taken.
const WRITE_TIMEOUT: Duration = Duration::from_secs(2);

/// Whether the next bytes on the line can be trusted to answer the next request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Doubt {
    None,
    /// Bytes came unasked while nothing was outstanding.
    Stray,
    /// A reply did not come, or came broken: it may still arrive.
    Lost,
}

/// A query with a reply that no reading has: once it is answered, nothing older is on its way.
#[derive(Clone)]
struct Fence {
    query: Vec<u8>,
    receive: Receive,
    answer: Vec<u8>,
}

pub(super) struct Link<S> {
    stream: S,
    name: String,
    gap: Duration,
    quiet: Duration,
    timeout: Duration,
    next_send: Instant,
    doubt: Doubt,
    fence: Option<Fence>,
    /// When the last fence was sent that got no clean answer.
    unanswered: Option<Instant>,
}

pub(super) struct Reply {
    pub(super) bytes: Vec<u8>,
    pub(super) round_trip: Duration,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Link<S> {
    pub(super) fn new(stream: S, name: String, gap: Duration, quiet: Duration, timeout: Duration) -> Self {
        Self {
            stream,
            name,
            gap,
            quiet,
            timeout,
            next_send: Instant::now(),
            doubt: Doubt::None,
            fence: None,
            unanswered: None,
        }
    }

    /// Throws away what was sent before this connection began.
    pub(super) async fn start(&mut self) -> Result<(), DriverError> {
        self.fence = None;
        self.doubt = Doubt::Stray;
        self.settle().await
    }

    pub(super) fn set_fence(&mut self, query: &[u8], receive: &Receive, answer: &[u8]) {
        self.fence = Some(Fence { query: query.to_vec(), receive: receive.clone(), answer: answer.to_vec() });
    }

    /// The reply could not be understood: what follows cannot be trusted either.
    pub(super) fn mistrust(&mut self) {
        self.doubt = Doubt::Lost;
    }

    /// Sends a request and waits for its reply. The future may be dropped: the line is then found again before the next.
    pub(super) async fn exchange(
        &mut self,
        request: &[u8],
        receive: &Receive,
        limit: Duration,
    ) -> Result<Reply, DriverError> {
        self.settle().await?;
        if self.discard().await? > 0 {
            self.doubt = Doubt::Stray;
            self.settle().await?;
        }
        self.doubt = Doubt::Lost;
        self.write(request).await?;
        let sent_at = Instant::now();
        let reply = self.receive(request, receive, sent_at + limit).await;
        self.next_send = Instant::now() + self.gap;
        let reply = reply?;
        self.doubt = Doubt::None;
        Ok(Reply { bytes: reply.0, round_trip: reply.1.duration_since(sent_at) })
    }

    /// Sends what has no reply. Does not wait for the line to be found again: a command to make safe must not.
    pub(super) async fn command(&mut self, bytes: &[u8]) -> Result<(), DriverError> {
        if self.discard().await? > 0 {
            self.doubt = self.doubt.max(Doubt::Stray);
        }
        self.write(bytes).await
    }

    /// Returns only when the connection ended. Cancel-safe.
    pub(super) async fn watch(&mut self) -> DriverError {
        loop {
            match self.read().await {
                Ok(_) => self.doubt = self.doubt.max(Doubt::Stray),
                Err(error) => return error,
            }
        }
    }

    /// Waits until nothing older can be taken for the next reply.
    async fn settle(&mut self) -> Result<(), DriverError> {
        match self.doubt {
            Doubt::None => return Ok(()),
            Doubt::Stray => {
                self.wait_for_quiet(STRAY_QUIET.max(self.gap)).await?;
            }
            Doubt::Lost => {
                let Some(fence) = self.fence.clone() else {
                    // Only time tells: a reply later than this would be taken for the next one.
                    self.wait_for_quiet(self.quiet.max(self.timeout)).await?;
                    self.doubt = Doubt::None;
                    return Ok(());
                };
                if !self.find_line(&fence).await? {
                    return Err(DriverError::Silent(format!("{} does not answer its identity query", self.name)));
                }
                self.unanswered = None;
            }
        }
        self.doubt = Doubt::None;
        Ok(())
    }

    async fn find_line(&mut self, fence: &Fence) -> Result<bool, DriverError> {
        let window = if self.unanswered.is_some() { self.quiet.max(self.timeout) } else { self.quiet };
        self.wait_for_quiet(window).await?;
        let earlier = self.unanswered.replace(Instant::now());
        let Some(earlier) = earlier else { return self.try_fence(fence).await };
        let apart = earlier.elapsed().min(self.timeout * FENCES_APART_MAX);
        // The answer may be that to the earlier fence; this one's would then follow as much later as it was sent.
        Ok(self.try_fence(fence).await? && self.wait_for_quiet(apart + self.timeout).await? == 0)
    }

    async fn try_fence(&mut self, fence: &Fence) -> Result<bool, DriverError> {
        self.write(&fence.query).await?;
        let deadline = Instant::now() + self.timeout;
        loop {
            let reply = self.receive(&fence.query, &fence.receive, deadline).await;
            self.next_send = Instant::now() + self.gap;
            match reply {
                Ok((bytes, _)) if bytes == fence.answer => return Ok(true),
                Ok(_) => {}
                Err(error @ DriverError::Disconnected(_)) => return Err(error),
                Err(_) => return Ok(false),
            }
        }
    }

    async fn receive(
        &mut self,
        request: &[u8],
        receive: &Receive,
        deadline: Instant,
    ) -> Result<(Vec<u8>, Instant), DriverError> {
        let ReceiveMode::Stream(framing) = &receive.mode else {
            return Err(DriverError::Invalid(format!("{}: this framing is not driven yet", self.name)));
        };
        let mut decoder = Decoder::new(framing.clone(), if receive.echo { request } else { b"" });
        let mut last_byte = Instant::now();
        loop {
            let until = if decoder.awaits_gap() { last_byte + receive.gap } else { deadline };
            let frame = match timeout_at(until, self.read()).await {
                Ok(bytes) => {
                    decoder.push(&bytes?);
                    last_byte = Instant::now();
                    decoder.next_frame()
                }
                Err(_) => match decoder.gap_passed() {
                    Some(frame) => Some(frame),
                    None => return Err(self.no_reply(request, &decoder)),
                },
            };
            match frame {
                None => {}
                Some(Ok(bytes)) => return Ok((bytes, last_byte)),
                Some(Err(error)) => return Err(DriverError::Garbled(format!("{}: {error}", self.name))),
            }
        }
    }

    fn no_reply(&self, request: &[u8], decoder: &Decoder) -> DriverError {
        let request = start(request.trim_ascii_end());
        match decoder.incomplete() {
            Some(part) => DriverError::Garbled(format!("{}: incomplete reply to {request}: {part}", self.name)),
            None => DriverError::Silent(format!("{} did not answer {request}", self.name)),
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), DriverError> {
        sleep_until(self.next_send).await;
        let written = timeout(WRITE_TIMEOUT, async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        });
        let outcome = match written.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(DriverError::Disconnected(format!("{}: writing failed: {error}", self.name))),
            Err(_) => Err(DriverError::Disconnected(format!("{} takes no more bytes", self.name))),
        };
        self.next_send = Instant::now() + self.gap;
        outcome
    }

    async fn read(&mut self) -> Result<Vec<u8>, DriverError> {
        let mut buffer = [0; 512];
        match self.stream.read(&mut buffer).await {
            // A port whose device is gone reads nothing for ever.
            Ok(0) => Err(DriverError::Disconnected(format!("{}: the connection was closed", self.name))),
            Ok(count) => Ok(buffer[..count].to_vec()),
            Err(error) => Err(DriverError::Disconnected(format!("{}: reading failed: {error}", self.name))),
        }
    }

    /// Throws away until nothing came for `window`; how many bytes that were.
    async fn wait_for_quiet(&mut self, window: Duration) -> Result<usize, DriverError> {
        let give_up = Instant::now() + window * NOISE_LIMIT;
        let mut count: usize = 0;
        while let Ok(bytes) = timeout(window, self.read()).await {
            count = count.saturating_add(bytes?.len());
            if Instant::now() >= give_up {
                return Err(DriverError::Garbled(format!("{} never stops sending: {count} bytes unasked", self.name)));
            }
        }
        Ok(count)
    }

    /// Throws away what is already here, without waiting.
    async fn discard(&mut self) -> Result<usize, DriverError> {
        let mut count: usize = 0;
        // A device that sends faster than this reads is found out by the quiet that follows.
        for _ in 0..64 {
            let mut bytes = [0; 512];
            let mut buffer = ReadBuf::new(&mut bytes);
            let found = poll_fn(|context| {
                Poll::Ready(match Pin::new(&mut self.stream).poll_read(context, &mut buffer) {
                    Poll::Ready(result) => Some(result),
                    Poll::Pending => None,
                })
            });
            match found.await {
                None => break,
                Some(Ok(())) if buffer.filled().is_empty() => {
                    return Err(DriverError::Disconnected(format!("{}: the connection was closed", self.name)));
                }
                Some(Ok(())) => count += buffer.filled().len(),
                Some(Err(error)) => {
                    return Err(DriverError::Disconnected(format!("{}: reading failed: {error}", self.name)));
                }
            }
        }
        Ok(count)
    }
}
