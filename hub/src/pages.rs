//! What browsers load from the hub itself: the pages for people, and the client library of the test_dashboard protocol.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use sha2::{Digest, Sha256};

use crate::api::is_known;
use crate::error::ApiError;

const SCRIPT: &str = "text/javascript; charset=utf-8";
/// TypeScript has no media type of its own.
const TYPES: &str = "text/plain; charset=utf-8";

struct File {
    name: &'static str,
    media_type: &'static str,
    content: &'static str,
    tag: String,
}

impl File {
    fn new(name: &'static str, media_type: &'static str, content: &'static str) -> Self {
        let digest: [u8; 32] = Sha256::digest(content).into();
        let tag: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Self { name, media_type, content, tag: format!("\"{tag}\"") }
    }
}

static LIBRARY: LazyLock<[File; 4]> = LazyLock::new(|| {
    [
        File::new("websocket.js", SCRIPT, include_str!("../static/v2/js/websocket.js")),
        File::new("websocket.mjs", SCRIPT, include_str!("../static/v2/js/websocket.mjs")),
        File::new("websocket.d.ts", TYPES, include_str!("../static/v2/js/websocket.d.ts")),
        File::new("websocket.d.mts", TYPES, include_str!("../static/v2/js/websocket.d.mts")),
    ]
});

pub async fn dashboard() -> Html<&'static str> {
    Html(include_str!("../web/index.html"))
}

pub async fn docs() -> Html<&'static str> {
    Html(include_str!("../web/docs.html"))
}

pub async fn library(Path(name): Path<String>, headers: HeaderMap) -> Result<Response, ApiError> {
    let Some(file) = LIBRARY.iter().find(|file| file.name == name) else {
        return Err(ApiError::not_found("NOT_FOUND", format!("there is no /static/v2/js/{name}")));
    };
    let mut answer = HeaderMap::new();
    for (name, value) in [
        (header::ETAG, file.tag.as_str()),
        // Kept, and asked for each time: a newer hub has a newer library under the same name.
        (header::CACHE_CONTROL, "no-cache"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        answer.insert(name, HeaderValue::try_from(value).map_err(anyhow::Error::from)?);
    }
    if is_known(&headers, &file.tag) {
        return Ok((StatusCode::NOT_MODIFIED, answer).into_response());
    }
    answer.insert(header::CONTENT_TYPE, HeaderValue::from_static(file.media_type));
    Ok((answer, file.content).into_response())
}
