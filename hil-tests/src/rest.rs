//! The hub's REST surface as its clients see it: JSON in, a status and JSON out. Knows no route.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use ureq::Agent;
use ureq::http::Response;

pub struct Rest {
    base: String,
    agent: Agent,
}

impl Rest {
    pub fn new(port: u16) -> Self {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .timeout_global(Some(Duration::from_secs(20)))
            .build()
            .into();
        Self { base: format!("http://127.0.0.1:{port}"), agent }
    }

    pub fn get(&self, path: &str) -> Result<(u16, Value)> {
        read(self.agent.get(self.url(path)).call(), path)
    }

    pub fn get_text(&self, path: &str) -> Result<(u16, String)> {
        text(self.agent.get(self.url(path)).call(), path)
    }

    pub fn post(&self, path: &str, body: &Value) -> Result<(u16, Value)> {
        read(self.agent.post(self.url(path)).send_json(body), path)
    }

    pub fn put(&self, path: &str, body: &Value) -> Result<(u16, Value)> {
        read(self.agent.put(self.url(path)).send_json(body), path)
    }

    pub fn delete(&self, path: &str) -> Result<(u16, Value)> {
        read(self.agent.delete(self.url(path)).call(), path)
    }

    /// A body as it is, JSON or not.
    pub fn post_text(&self, path: &str, content_type: &str, body: &str) -> Result<(u16, Value)> {
        read(self.agent.post(self.url(path)).header("content-type", content_type).send(body), path)
    }

    /// The body of an answer that must have this status.
    pub fn expect(&self, status: u16, answer: Result<(u16, Value)>) -> Result<Value> {
        let (found, body) = answer?;
        if found != status {
            bail!("answer {found}, expected {status}: {body}");
        }
        Ok(body)
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }
}

fn read(answer: Result<Response<ureq::Body>, ureq::Error>, path: &str) -> Result<(u16, Value)> {
    let (status, text) = text(answer, path)?;
    if text.is_empty() {
        return Ok((status, Value::Null));
    }
    let body = serde_json::from_str(&text).with_context(|| format!("{path}: answer {status} is not JSON: {text}"))?;
    Ok((status, body))
}

fn text(answer: Result<Response<ureq::Body>, ureq::Error>, path: &str) -> Result<(u16, String)> {
    let mut answer = answer.with_context(|| format!("asking {path}"))?;
    let text = answer.body_mut().read_to_string().with_context(|| format!("reading the answer of {path}"))?;
    Ok((answer.status().as_u16(), text))
}
