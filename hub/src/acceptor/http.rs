//! One HTTP connection: requests to the router, and sockets that begin as requests.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::ConnectInfo;
use axum::http::{Request, StatusCode};
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

use super::line::{Line, Phases};
use super::tls::{Begun, begin};
use super::{Arrival, Full, Place, Refusal};
use crate::settings::limits::Requests;
use crate::tls::Tls;

/// How long someone who is refused may take to read why.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(2);

/// hyper parses a head where it arrives, and wants room for that.
const BUFFER_MIN: usize = 8 * 1024;

/// For those who forgot the s.
const SPEAKS_TLS: &str = "this port speaks TLS: the URL begins with https:// or wss://\n";

#[derive(Clone)]
pub struct Http {
    pub router: Router,
    pub tls: Option<Arc<Tls>>,
    pub handshake: Duration,
    pub limits: Requests,
    pub stop: CancellationToken,
}

impl Http {
    pub async fn take(self, Arrival { stream, peer, place }: Arrival) {
        let Some(tls) = &self.tls else { return self.serve_or_refuse(stream, peer, place).await };
        let acceptor = tls.acceptor();
        let begun = tokio::select! {
            () = self.stop.cancelled() => return,
            begun = begin(&acceptor, stream, self.handshake) => begun,
        };
        match begun {
            Begun::Tls(stream) => self.serve_or_refuse(stream, peer, place).await,
            Begun::Plain(stream) => answer_and_close(StatusCode::BAD_REQUEST, "text/plain", SPEAKS_TLS, stream).await,
            Begun::Failed(why) => tracing::debug!(%peer, "an HTTP client was not let in: {why}"),
        }
    }

    async fn serve_or_refuse<S>(self, stream: S, peer: SocketAddr, place: Result<Place, Refusal>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        match place {
            Ok(place) => self.serve(stream, peer, place).await,
            Err(refusal) => refuse(refusal.full, stream).await,
        }
    }

    /// Until the far end leaves, takes too long, or the hub stops. What is being answered then is answered.
    async fn serve<S>(self, stream: S, peer: SocketAddr, place: Place)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let phases = Phases::new(self.limits.head, self.limits.keep_alive, self.limits.stall);
        let line = Line::new(stream, phases.clone(), place);
        let router = TowerToHyperService::new(self.router);
        let seen = phases.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            seen.request_begins(!request.body().is_end_stream());
            request.extensions_mut().insert(ConnectInfo(peer));
            let phases = seen.clone();
            let request = request.map(|body| Body::new(Asked { body, phases }));
            let (answer, phases) = (router.call(request), seen.clone());
            async move {
                let response = answer.await?;
                if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                    phases.becomes_socket();
                    return Ok::<_, std::convert::Infallible>(response);
                }
                Ok(response.map(|body| Body::new(Answering { body, phases })))
            }
        });
        let connection = http1::Builder::new()
            .max_headers(self.limits.headers)
            .max_header_size(self.limits.head_bytes)
            .max_buf_size(self.limits.head_bytes.max(BUFFER_MIN))
            .header_read_timeout(None)
            .serve_connection(TokioIo::new(line), service)
            .with_upgrades();
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.stop.cancelled() => {
                if !phases.is_owed_an_answer() {
                    return;
                }
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%peer, "an HTTP connection ended: {}", anyhow::Error::new(error));
        }
    }
}

/// The body of a request; once it is there, or nobody wants it, the far end owes nothing.
struct Asked {
    body: Incoming,
    phases: Phases,
}

impl HttpBody for Asked {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = self.get_mut();
        let frame = Pin::new(&mut this.body).poll_frame(context);
        if matches!(frame, Poll::Ready(None | Some(Err(_)))) || this.body.is_end_stream() {
            this.phases.body_ended();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.phases.body_ended();
    }
}

/// The body of an answer; when hyper lets go of it, the connection is free for the next request.
struct Answering {
    body: Body,
    phases: Phases,
}

impl HttpBody for Answering {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.phases.request_ended();
    }
}

/// Says why there is no place, and closes.
async fn refuse(full: Full, stream: impl AsyncRead + AsyncWrite + Unpin) {
    let (status, code) = match full {
        Full::InTotal(_) => (StatusCode::SERVICE_UNAVAILABLE, "TOO_MANY_CONNECTIONS"),
        Full::OfAddress(_) => (StatusCode::TOO_MANY_REQUESTS, "TOO_MANY_CONNECTIONS_OF_ADDRESS"),
    };
    let body = json!({"detail": full.to_string(), "code": code}).to_string();
    answer_and_close(status, "application/json", &body, stream).await;
}

/// Answers whatever is asked. What was asked is read to its end, so that the answer is not lost in a reset.
async fn answer_and_close(
    status: StatusCode,
    content_type: &str,
    body: &str,
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
) {
    let text = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    let answer = async {
        stream.write_all(text.as_bytes()).await?;
        stream.shutdown().await?;
        let mut ignored = [0; 1024];
        while stream.read(&mut ignored).await? > 0 {}
        Ok::<(), std::io::Error>(())
    };
    match tokio::time::timeout(REFUSAL_TIMEOUT, answer).await {
        Ok(Ok(())) | Err(_) => {}
        Ok(Err(error)) => tracing::debug!("a refused connection broke: {error}"),
    }
}
