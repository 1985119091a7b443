//! The table of routes: the path of each, who may use it and what it says of itself. The server's router, the table of roles
//! and the descriptions for programs are made from this one list.

use axum::Router;
use axum::extract::{FromRequestParts, Request, State, WebSocketUpgrade};
use axum::handler::Handler;
use axum::http::request::Parts;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, on};

use crate::access::{Caller, Role, gate};
use crate::app::App;
use crate::describe::Operation;
use crate::dialect::Dialect;
use crate::error::ApiError;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    Get,
    Post,
    Put,
    Delete,
}

impl Verb {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        }
    }

    const fn filter(self) -> MethodFilter {
        match self {
            Self::Get => MethodFilter::GET,
            Self::Post => MethodFilter::POST,
            Self::Put => MethodFilter::PUT,
            Self::Delete => MethodFilter::DELETE,
        }
    }
}

#[derive(Debug, Clone)]
pub struct Entry {
    pub verb: Verb,
    /// With parameters in braces.
    pub path: &'static str,
    /// `None`: open to everyone, tokens or not.
    pub role: Option<Role>,
    /// The protocol that it belongs to; `None` for the hub's own interface.
    pub room: Option<Dialect>,
    pub kind: Kind,
}

#[derive(Debug, Clone)]
pub enum Kind {
    Request(Operation),
    /// The session answers to a missing token itself, in its protocol's own form.
    Socket(Dialect),
}

#[derive(Debug, Default)]
pub struct Routes {
    router: Router<App>,
    entries: Vec<Entry>,
    /// Whose routes are being added.
    room: Option<Dialect>,
}

impl Routes {
    /// Open to everyone.
    pub fn open<H, T>(self, path: &'static str, handler: H, operation: Operation) -> Self
    where
        H: Handler<T, App>,
        T: 'static,
    {
        self.add(Verb::Get, path, None, handler, operation)
    }

    pub fn get<H, T>(self, path: &'static str, role: Role, handler: H, operation: Operation) -> Self
    where
        H: Handler<T, App>,
        T: 'static,
    {
        self.add(Verb::Get, path, Some(role), handler, operation)
    }

    pub fn post<H, T>(self, path: &'static str, role: Role, handler: H, operation: Operation) -> Self
    where
        H: Handler<T, App>,
        T: 'static,
    {
        self.add(Verb::Post, path, Some(role), handler, operation)
    }

    pub fn put<H, T>(self, path: &'static str, role: Role, handler: H, operation: Operation) -> Self
    where
        H: Handler<T, App>,
        T: 'static,
    {
        self.add(Verb::Put, path, Some(role), handler, operation)
    }

    pub fn delete<H, T>(self, path: &'static str, role: Role, handler: H, operation: Operation) -> Self
    where
        H: Handler<T, App>,
        T: 'static,
    {
        self.add(Verb::Delete, path, Some(role), handler, operation)
    }

    pub fn add<H, T>(
        mut self,
        verb: Verb,
        path: &'static str,
        role: Option<Role>,
        handler: H,
        operation: Operation,
    ) -> Self
    where
        H: Handler<T, App>,
        T: 'static,
    {
        let mut method = on(verb.filter(), handler);
        if let Some(role) = role {
            method = method.route_layer(from_fn(move |request: Request, next: Next| gate::admit(role, request, next)));
        }
        self.router = self.router.route(path, method);
        self.entries.push(Entry { verb, path, role, room: self.room, kind: Kind::Request(operation) });
        self
    }

    /// A socket of a protocol. Whoever may look may open it; what it may do beyond that is asked when it does it.
    pub fn socket<H, T>(mut self, path: &'static str, dialect: Dialect, handler: H) -> Self
    where
        H: Handler<T, App>,
        T: 'static,
    {
        self.router = self.router.route(path, on(MethodFilter::GET, handler));
        self.entries.push(Entry {
            verb: Verb::Get,
            path,
            role: Some(Role::Viewer),
            room: self.room,
            kind: Kind::Socket(dialect),
        });
        self
    }

    /// What another list holds, too.
    #[must_use]
    pub fn with(self, more: fn(Self) -> Self) -> Self {
        more(self)
    }

    /// What belongs to a protocol.
    #[must_use]
    pub fn room(mut self, dialect: Dialect) -> Self {
        self.room = Some(dialect);
        let mut routes = (dialect.room().routes)(self);
        routes.room = None;
        routes
    }

    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub fn into_router(self) -> Router<App> {
        self.router
    }
}

/// A client that asks for a socket.
pub struct Door {
    pub upgrade: WebSocketUpgrade,
    pub app: App,
    pub caller: Caller,
}

impl FromRequestParts<App> for Door {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Response> {
        let caller = Caller::from_request_parts(parts, app).await.map_err(ApiError::into_response)?;
        let upgrade = WebSocketUpgrade::from_request_parts(parts, app).await.map_err(IntoResponse::into_response)?;
        let State(app) = State::<App>::from_request_parts(parts, app).await.map_err(IntoResponse::into_response)?;
        Ok(Self { upgrade, app, caller })
    }
}
