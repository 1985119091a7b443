//! A responder behind HTTP: one request for each question, on a connection of its own. The only file that asks
//! by hyper.

use std::fmt;
use std::str::FromStr;

use axum::http::{Request, StatusCode, Uri, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::answer::{ANSWER_MAX, parse};
use crate::model::chat::Question;

const EXPECTED: &str = "expected none, mqtt, or a URL such as http://127.0.0.1:9000/ask";

/// Where a webhook listens. The password of its URL goes to it and nowhere else.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    host: String,
    port: u16,
    path: String,
    /// As the header `Authorization` says it.
    credentials: Option<String>,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.get(..8).is_some_and(|start| start.eq_ignore_ascii_case("https://")) {
            return Err("https:// is not spoken to a responder: let it listen on this machine, or put a proxy in \
                        between, and give its URL as http://host:port/path"
                .to_owned());
        }
        let uri: Uri = text.parse().map_err(|_| EXPECTED.to_owned())?;
        let (Some("http"), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(EXPECTED.to_owned());
        };
        if authority.host().is_empty() {
            return Err(EXPECTED.to_owned());
        }
        let credentials = authority.as_str().rsplit_once('@').map(|(user, _)| user);
        let credentials = credentials.map(|user| format!("Basic {}", STANDARD.encode(unescape(user))));
        Ok(Self {
            host: authority.host().to_owned(),
            port: authority.port_u16().unwrap_or(80),
            path: uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
            credentials,
        })
    }
}

/// Without who may ask, and without the query, which may hold a key.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.split('?').next().unwrap_or_default();
        write!(f, "http://{}:{}{path}", self.host, self.port)
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The answer's content, or why there is none.
pub(super) async fn post(target: &Target, question: &Question) -> Result<String, String> {
    let body = serde_json::to_vec(question).map_err(|error| format!("the question could not be written: {error}"))?;
    let mut request = Request::post(&target.path)
        .header(header::HOST, format!("{}:{}", target.host, target.port))
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "application/json");
    if let Some(credentials) = &target.credentials {
        request = request.header(header::AUTHORIZATION, credentials);
    }
    let request =
        request.body(Full::new(Bytes::from(body))).map_err(|error| format!("no request to {target}: {error}"))?;
    // Brackets belong to URLs only.
    let host = target.host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((host, target.port)).await;
    let stream = stream.map_err(|error| format!("{target} is not reached: {error}"))?;
    let broke = |error: hyper::Error| format!("{target} broke off: {error}");
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broke)?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(broke)?;
        let status = response.status();
        if !status.is_success() {
            return Err(refused(status));
        }
        let body = Limited::new(response.into_body(), ANSWER_MAX).collect().await;
        let body = body.map_err(|error| {
            if error.is::<LengthLimitError>() {
                format!("its answer is longer than {ANSWER_MAX} bytes, the most there may be")
            } else {
                format!("{target} broke off: {error}")
            }
        })?;
        parse(&body.to_bytes()).content
    };
    // The connection moves while it is polled; its end is seen by the exchange.
    let driven = async {
        if let Err(error) = connection.await {
            tracing::debug!("connection to the chat's responder: {error}");
        }
        std::future::pending().await
    };
    tokio::select! {
        answer = exchange => answer,
        answer = driven => answer,
    }
}

fn refused(status: StatusCode) -> String {
    format!("it answered with status {status}, expected 200 and {{\"content\": \"…\"}}")
}

/// `%40` is `@`: what else stands in for a byte is one.
fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        let code = rest.get(at + 1..at + 3).and_then(|code| u8::from_str_radix(code, 16).ok());
        bytes.push(code.unwrap_or(b'%'));
        rest = &rest[at + if code.is_some() { 3 } else { 1 }..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_what_is_secret_in_it() {
        let target: Target = "http://me:pa%40ss@example:9000/ask?key=hush".parse().unwrap();
        assert_eq!(target.to_string(), "http://example:9000/ask");
        assert_eq!(format!("{target:?}"), "http://example:9000/ask");
        assert_eq!(target.path, "/ask?key=hush");
        assert_eq!(target.credentials.as_deref(), Some("Basic bWU6cGFAc3M="));
        let plain: Target = "http://[::1]".parse().unwrap();
        assert_eq!((plain.host.as_str(), plain.port, plain.path.as_str()), ("[::1]", 80, "/"));
    }

    #[test]
    fn what_is_no_url_is_refused_without_being_repeated() {
        for text in ["", "mqtts", "http://", "ftp://me:hush@example/", "me:hush@example:80", "http://me:hush@:80:80/ a"]
        {
            let error = text.parse::<Target>().unwrap_err();
            assert_eq!(error, EXPECTED, "{text}");
        }
        let error = "https://me:hush@example/ask".parse::<Target>().unwrap_err();
        assert!(error.starts_with("https:// is not spoken to a responder") && !error.contains("hush"), "{error}");
    }
}
