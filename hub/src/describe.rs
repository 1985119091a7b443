//! What a route says of itself: its sense, what it takes and what it answers, with the shapes taken from the types that are
//! really read and written. Knows no server.

use schemars::{JsonSchema, Schema, SchemaGenerator};

pub mod asyncapi;
pub mod openapi;
pub mod roles;
mod schema;
pub mod talk;

/// Makes the schema of a type when a description is asked for.
pub type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// Names and values of any kind.
pub type Object = serde_json::Map<String, serde_json::Value>;

const JSON: &str = "application/json";

#[derive(Debug, Clone)]
pub struct Operation {
    pub summary: &'static str,
    /// What the summary leaves out.
    pub detail: &'static str,
    /// Parameters of the path that are more than any text.
    pub path: Vec<(&'static str, SchemaOf)>,
    /// Type whose fields are the parameters of the query.
    pub query: Option<SchemaOf>,
    pub body: Option<Body>,
    pub answers: Vec<Answer>,
    /// Refusals beyond those that any route has: each is an `Error`.
    pub refusals: Vec<u16>,
}

#[derive(Debug, Clone)]
pub struct Body {
    /// In any of these forms.
    pub content: Vec<Content>,
    pub required: bool,
    /// JSON text.
    pub example: Option<&'static str>,
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
        Self {
            summary,
            detail: "",
            path: Vec::new(),
            query: None,
            body: None,
            answers: Vec::new(),
            refusals: Vec::new(),
        }
    }

    pub const fn detail(mut self, detail: &'static str) -> Self {
        self.detail = detail;
        self
    }

    pub const fn query<T: JsonSchema>(mut self) -> Self {
        self.query = Some(schema_of::<T>());
        self
    }

    /// What a parameter of the path is.
    pub fn path<T: JsonSchema>(mut self, name: &'static str) -> Self {
        self.path.push((name, schema_of::<T>()));
        self
    }

    pub fn body<T: JsonSchema>(self) -> Self {
        self.body_as::<T>(JSON)
    }

    /// A body that may be left out.
    pub fn optional_body<T: JsonSchema>(self) -> Self {
        let mut described = self.body::<T>();
        if let Some(body) = &mut described.body {
            body.required = false;
        }
        described
    }

    /// Several media types are calls of their own.
    pub fn body_as<T: JsonSchema>(mut self, media_type: &'static str) -> Self {
        let content = Content { media_type, schema: Some(schema_of::<T>()) };
        self.body.get_or_insert(Body { content: Vec::new(), required: true, example: None }).content.push(content);
        self
    }

    /// A JSON body that does something harmless.
    pub const fn example(mut self, example: &'static str) -> Self {
        if let Some(body) = &mut self.body {
            body.example = Some(example);
        }
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
