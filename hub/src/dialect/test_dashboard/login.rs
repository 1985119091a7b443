//! For clients that have a form to log in with: the name of a token and the token itself give the token back. Shell.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, Uri, header};
use axum::response::{IntoResponse, Response};
use rigwire_shared::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::access::{Refused, gate};
use crate::app::App;
use crate::describe::Operation;
use crate::error::ApiError;
use crate::routes::{Routes, Verb};

/// What a hub that asks for no token gives out: it is never looked at.
const NONE_NEEDED: &str = "no-token-needed";

const FORM: &str = "application/x-www-form-urlencoded";

pub(super) fn routes(routes: Routes) -> Routes {
    let described = || {
        Operation::new("Log in with the name of a token and the token as password")
            .detail("As a form or as JSON. A hub without tokens takes any name.")
            .body_as::<Login>(FORM)
            .body_as::<Login>("application/json")
            .json::<Token>(200, "The token, to be sent as Authorization: Bearer")
            .refuses(&[401, 422, 503])
    };
    routes.add(Verb::Post, "/api/auth/token", None, log_in, described()).add(
        Verb::Post,
        "/api/v1/auth/login",
        None,
        log_in,
        described(),
    )
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Login {
    username: String,
    password: String,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Token {
    access_token: String,
    token_type: &'static str,
}

async fn log_in(State(app): State<App>, headers: HeaderMap, body: Bytes) -> Result<Json<Token>, Response> {
    let login = read(&headers, &body).map_err(IntoResponse::into_response)?;
    let bearer = |access_token| Json(Token { access_token, token_type: "bearer" });
    if !app.keeper.needs_tokens() {
        return Ok(bearer(NONE_NEEDED.to_owned()));
    }
    match app.keeper.principal(Some(&login.password), Timestamp::now()) {
        Ok(principal) if *principal.name == *login.username => Ok(bearer(login.password)),
        Ok(_) => Err(gate::unauthorized(&Refused::Invalid)),
        Err(refused) => Err(gate::unauthorized(&refused)),
    }
}

fn read(headers: &HeaderMap, body: &[u8]) -> Result<Login, ApiError> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let invalid = |why: String| {
        ApiError::unprocessable(
            "INVALID_REQUEST",
            format!("{why}; expected username and password, as a form or as JSON"),
        )
    };
    if kind.starts_with("application/json") {
        return serde_json::from_slice(body).map_err(|error| invalid(error.to_string()));
    }
    // A form is written like a query.
    let form = std::str::from_utf8(body).map_err(|error| invalid(error.to_string()))?;
    let form: Uri = format!("/?{}", form.trim()).parse().map_err(|error| invalid(format!("no form: {error}")))?;
    Query::try_from_uri(&form).map(|Query(login)| login).map_err(|error| invalid(error.body_text()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_a_form_or_json() {
        for (kind, body, expected) in [
            (FORM, "username=a%40b&password=x+y", Some(("a@b", "x y"))),
            (FORM, "password=x&username=a&grant_type=password", Some(("a", "x"))),
            ("application/json; charset=utf-8", r#"{"username":"a","password":"x"}"#, Some(("a", "x"))),
            ("application/json", "username=a&password=x", None),
            (FORM, "username=a", None),
            ("", "", None),
            (FORM, "user name\u{7f}", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, kind.parse().unwrap());
            let read = read(&headers, body.as_bytes()).ok();
            let read = read.as_ref().map(|login| (login.username.as_str(), login.password.as_str()));
            assert_eq!(read, expected, "{kind} {body}");
        }
    }
}
