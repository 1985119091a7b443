//! Every request passes here: who makes it, and whether a page of a browser may.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use rigwire_shared::time::Timestamp;

use super::{Caller, Principal, Refused, Role};
use crate::acceptor::of_one_host;
use crate::app::App;
use crate::error::ApiError;

/// What a listed page may send and read.
const METHODS: &str = "GET, HEAD, POST, PUT, DELETE, OPTIONS";
const REQUEST_HEADERS: &str = "authorization, content-type, range, if-none-match, if-range, last-event-id";
const RESPONSE_HEADERS: &str = "content-disposition, content-range, etag, location";
const MAX_AGE: &str = "600";

/// Puts the `Caller` into the request, and answers for pages from elsewhere.
pub async fn pass(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let headers = request.headers();
    let origin = text(headers, header::ORIGIN).map(str::to_owned);
    if let Some(origin) = &origin {
        let listed = app.origins.is_listed(origin);
        if listed && request.method() == Method::OPTIONS {
            return preflight(origin);
        }
        let changes = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
        let is_socket = headers.contains_key(header::UPGRADE);
        let allowed = app.origins.allow(origin, text(headers, header::HOST), !app.keeper.needs_tokens());
        if (changes || is_socket) && !allowed {
            let detail = format!("a page of {origin:?} may not use this hub: list it in cors-origins if it shall");
            return ApiError::new(StatusCode::FORBIDDEN, "FORBIDDEN_ORIGIN", detail).into_response();
        }
    }
    let token = bearer(headers).map(str::to_owned);
    // Nothing behind the gate sees the token of a URL, so nothing behind it can log one.
    let in_url = request.uri().query().and_then(take_token);
    let token = match in_url {
        Some((in_url, rest)) => {
            *request.uri_mut() = without_token(request.uri(), &rest);
            token.or(Some(in_url))
        }
        None => token,
    };
    let address =
        request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(address)| of_one_host(address.ip()));
    let address = address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let who = app.keeper.principal(token.as_deref(), Timestamp::now());
    request.extensions_mut().insert(Caller { who, address });
    let mut response = next.run(request).await;
    if let Some(origin) = origin.filter(|origin| app.origins.is_listed(origin)) {
        share(response.headers_mut(), &origin);
    }
    response
}

/// What a route asks of its caller.
pub async fn admit(needed: Role, request: Request, next: Next) -> Response {
    match request.extensions().get::<Caller>().map(|caller| caller.who.clone()) {
        Some(Ok(principal)) => match permit(&principal, needed) {
            Ok(()) => next.run(request).await,
            Err(error) => error.into_response(),
        },
        Some(Err(refused)) => unauthorized(&refused),
        None => unauthorized(&Refused::Unreadable),
    }
}

pub fn permit(principal: &Principal, needed: Role) -> Result<(), ApiError> {
    if principal.role >= needed {
        return Ok(());
    }
    let detail = format!("{:?} is {}, and this needs {needed}", principal.name, principal.role);
    Err(ApiError::new(StatusCode::FORBIDDEN, "FORBIDDEN", detail))
}

pub fn unauthorized(refused: &Refused) -> Response {
    if *refused == Refused::Unreadable {
        return ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "TOKENS_UNREADABLE", refused.to_string())
            .into_response();
    }
    let mut response = ApiError::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", refused.to_string()).into_response();
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let caller = parts.extensions.get::<Self>().cloned();
        caller.ok_or_else(|| anyhow::anyhow!("a request that did not pass the gate").into())
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = text(headers, header::AUTHORIZATION)?.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

/// The token of a query, and the query without it. Letters, digits, `-`, `_` and `.` are all that a token is made of, so
/// nothing in it is escaped.
fn take_token(query: &str) -> Option<(String, String)> {
    let (tokens, rest): (Vec<&str>, Vec<&str>) = query.split('&').partition(|pair| pair.starts_with("token="));
    let token = tokens.first()?.strip_prefix("token=")?;
    Some((token.to_owned(), rest.join("&")))
}

fn without_token(uri: &Uri, query: &str) -> Uri {
    let path = uri.path();
    let path_and_query = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
    let mut parts = uri.clone().into_parts();
    // Part of a URI that was one.
    parts.path_and_query = path_and_query.parse().ok();
    Uri::from_parts(parts).unwrap_or_else(|_| Uri::from_static("/"))
}

fn preflight(origin: &str) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    share(headers, origin);
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(REQUEST_HEADERS));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(MAX_AGE));
    response
}

/// The origin itself, never `*`: pages send credentials.
fn share(headers: &mut HeaderMap, origin: &str) {
    let Ok(origin) = HeaderValue::try_from(origin) else { return };
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(RESPONSE_HEADERS));
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_taken_out_of_the_url() {
        for (uri, token, rest) in [
            ("/a?token=t.u-v_w", Some("t.u-v_w"), "/a"),
            ("/a?x=1&token=t&y=2", Some("t"), "/a?x=1&y=2"),
            ("http://host:1/a?token=t&token=u", Some("t"), "http://host:1/a"),
            ("/a?token=", Some(""), "/a"),
            ("/a?tokens=t", None, "/a?tokens=t"),
            ("/a", None, "/a"),
        ] {
            let parsed: Uri = uri.parse().unwrap();
            let taken = parsed.query().and_then(take_token);
            assert_eq!(taken.as_ref().map(|(token, _)| token.as_str()), token, "{uri}");
            let left = taken.map_or_else(|| parsed.clone(), |(_, rest)| without_token(&parsed, &rest));
            assert_eq!(left.to_string(), rest, "{uri}");
        }
    }
}
