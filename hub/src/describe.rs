//! What a route says of itself: its sense, what it takes and what it answers, with the shapes taken from the types that are
//! really read and written. Knows no server.

use schemars::{JsonSchema, Schema, SchemaGenerator};

/// Makes the schema of a type when a description is asked for.
pub type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

const JSON: &str = "application/json";

#[derive(Debug, Clone)]
pub struct Operation {
    pub summary: &'static str,
    /// What the summary leaves out.
    pub detail: &'static str,
    /// Type whose fields are the parameters of the query.
    pub query: Option<SchemaOf>,
    pub body: Option<Body>,
    pub answers: Vec<Answer>,
    /// Refusals beyond those that any route has: each is an `Error`.
    pub refusals: Vec<u16>,
}

#[derive(Debug, Clone)]
pub struct Body {
    pub media_type: &'static str,
    pub schema: SchemaOf,
    pub required: bool,
}

#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub what: &'static str,
    pub content: Vec<Content>,
}

#[derive(Debug, Clone)]
pub struct Content {
    pub media_type: &'static str,
    /// `None`: bytes or text that have no schema.
    pub schema: Option<SchemaOf>,
}

impl Operation {
    pub const fn new(summary: &'static str) -> Self {
        Self { summary, detail: "", query: None, body: None, answers: Vec::new(), refusals: Vec::new() }
    }

    pub const fn detail(mut self, detail: &'static str) -> Self {
        self.detail = detail;
        self
    }

    pub const fn query<T: JsonSchema>(mut self) -> Self {
        self.query = Some(schema_of::<T>());
        self
    }

    pub const fn body<T: JsonSchema>(mut self) -> Self {
        self.body = Some(Body { media_type: JSON, schema: schema_of::<T>(), required: true });
        self
    }

    /// A body that may be left out.
    pub const fn optional_body<T: JsonSchema>(mut self) -> Self {
        self.body = Some(Body { media_type: JSON, schema: schema_of::<T>(), required: false });
        self
    }

    pub const fn body_as<T: JsonSchema>(mut self, media_type: &'static str) -> Self {
        self.body = Some(Body { media_type, schema: schema_of::<T>(), required: true });
        self
    }

    /// Answered as JSON.
    pub fn json<T: JsonSchema>(self, status: u16, what: &'static str) -> Self {
        self.answer(status, what, Content { media_type: JSON, schema: Some(schema_of::<T>()) })
    }

    /// Answered as bytes or text. Several media types of one status are calls of their own.
    pub fn raw(self, status: u16, media_type: &'static str, what: &'static str) -> Self {
        self.answer(status, what, Content { media_type, schema: None })
    }

    /// Answered without a body.
    pub fn empty(mut self, status: u16, what: &'static str) -> Self {
        self.answers.push(Answer { status, what, content: Vec::new() });
        self
    }

    pub fn refuses(mut self, statuses: &[u16]) -> Self {
        self.refusals.extend_from_slice(statuses);
        self
    }

    fn answer(mut self, status: u16, what: &'static str, content: Content) -> Self {
        match self.answers.iter_mut().find(|answer| answer.status == status) {
            Some(known) => known.content.push(content),
            None => self.answers.push(Answer { status, what, content: vec![content] }),
        }
        self
    }
}

const fn schema_of<T: JsonSchema>() -> SchemaOf {
    |generator| generator.subschema_for::<T>()
}
