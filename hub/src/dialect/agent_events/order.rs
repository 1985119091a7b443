//! What this protocol's clients want done, read from their messages. Knows no session.

use std::sync::Arc;

use rigwire_shared::value::{Fields, Value};
use serde_json::{Map, Value as Json, json};

use crate::dialect::Wish;
use crate::dialect::reference::quote;
use crate::model::StartRun;
use crate::procedure::Procedure;
use crate::workflow;

/// Characters of a run's name.
const NAME_MAX: usize = 200;

/// Names of secrets that a refusal shows.
const SECRETS_SHOWN: usize = 5;

/// Why a message is no order: what the client should have sent, or what is wrong with the workflow in it.
#[derive(Debug, PartialEq)]
pub(super) enum Mistake {
    Format(String),
    Workflow(String),
}

/// A `DSL_COMMAND`: a line, what a procedure in it is given, and what the client calls it.
pub(super) fn line(message: &Value) -> Result<Wish, Mistake> {
    let line = text(message, "command")?.to_owned();
    let payload = message.get("payload").unwrap_or(&Value::Null);
    refuse_secrets(payload)?;
    let workflow = payload.get("workflowId").and_then(Value::as_str).and_then(workflow_id);
    Ok(Wish::Plan { line, params: params(payload.get("params"))?, workflow })
}

/// Whatever is kept is shown somewhere one day, so what must not be shown is not kept. Nor is it repeated here.
fn refuse_secrets(payload: &Value) -> Result<(), Mistake> {
    let Some(secrets) = payload.get("secrets").filter(|secrets| !is_empty(secrets)) else { return Ok(()) };
    let names = match secrets {
        Value::Map(fields) => {
            let shown = fields.iter().take(SECRETS_SHOWN).map(|(name, _)| format!("{}: ***", quote(name)));
            format!(" ({})", shown.collect::<Vec<_>>().join(", "))
        }
        Value::Null | Value::List(_) | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) => {
            String::new()
        }
    };
    Err(Mistake::Workflow(format!("secrets are not taken{names}: put them where the devices are")))
}

fn params(given: Option<&Value>) -> Result<Fields, Mistake> {
    match given {
        None | Some(Value::Null) => Ok(Fields::new()),
        Some(Value::Map(fields)) => Ok(fields.clone()),
        Some(_) => Err(Mistake::Workflow("params is not an object of names and values".to_owned())),
    }
}

fn workflow_id(id: &str) -> Option<String> {
    (!id.trim().is_empty()).then(|| id.chars().take(NAME_MAX).collect())
}

pub(super) fn text<'a>(message: &'a Value, key: &str) -> Result<&'a str, Mistake> {
    let text = message.get("payload").and_then(|payload| payload.get(key)).and_then(Value::as_str);
    text.ok_or_else(|| Mistake::Format(format!("Invalid message format: expected payload.{key} as text")))
}

/// The text of a `CHAT_MESSAGE`, and who says that they say it.
pub(super) fn said(message: &Value) -> Result<(&str, Option<&str>), Mistake> {
    let content = text(message, "content")?;
    match message.get("payload").and_then(|payload| payload.get("sender")) {
        None | Some(Value::Null) => Ok((content, None)),
        Some(Value::Text(sender)) => Ok((content, Some(sender))),
        Some(_) => Err(Mistake::Format("Invalid message format: expected payload.sender as text".to_owned())),
    }
}

/// `EXECUTE_WORKFLOW` in both of its shapes: `payload.workflow {id, nodes, edges}`, or the same in the payload itself.
pub(super) fn execute(message: &Value) -> Result<Wish, Mistake> {
    let payload = message.get("payload").unwrap_or(&Value::Null);
    let workflow = payload.get("workflow").unwrap_or(payload);
    if !matches!(workflow, Value::Map(_)) {
        return Err(Mistake::Format(
            "Invalid message format: expected payload as an object with nodes and edges".into(),
        ));
    }
    refuse_secrets(payload)?;
    let id = workflow.get("id").or(workflow.get("workflowId")).or(payload.get("workflowId")).and_then(Value::as_str);
    let params = params(payload.get("params").or(workflow.get("params")))?;
    match (workflow.get("nodes").filter(|nodes| !is_empty(nodes)), id) {
        (Some(nodes), id) => {
            let name = workflow.get("metadata").and_then(|metadata| metadata.get("name")).and_then(Value::as_str);
            let edges = workflow.get("edges").cloned().unwrap_or(Value::List(Vec::new()));
            start(&json(nodes), &json(&edges), id, name, &params)
        }
        (None, Some(id)) if !id.is_empty() => Ok(Wish::StartSaved { procedure: id.to_owned(), params }),
        (None, Some(_) | None) => Err(Mistake::Workflow("No nodes in workflow".to_owned())),
    }
}

/// A workflow to start at once. Values of parameters are declared by their own types.
pub(super) fn start(
    nodes: &Json,
    edges: &Json,
    id: Option<&str>,
    name: Option<&str>,
    params: &Fields,
) -> Result<Wish, Mistake> {
    let params = workflow::declare(params).map_err(Mistake::Workflow)?;
    let mut body = Map::new();
    body.insert("name".to_owned(), json!(workflow::plain_name(id.unwrap_or_default())));
    body.insert("nodes".to_owned(), nodes.clone());
    body.insert("edges".to_owned(), edges.clone());
    body.insert("params".to_owned(), params);
    let wrong = |message: String| Mistake::Workflow(message);
    let procedure = Procedure::from_json(&Json::Object(body), "workflow").map_err(|error| wrong(error.to_string()))?;
    let params = procedure.bind_params(&[]).map_err(wrong)?;
    let name = name.or(id).filter(|name| !name.trim().is_empty());
    let name = name.map(|name| name.chars().take(NAME_MAX).collect());
    let workflow = id.and_then(workflow_id);
    Ok(Wish::Start(Box::new(StartRun { name, workflow, ..StartRun::new(Arc::new(procedure), params) })))
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::List(items) => items.is_empty(),
        Value::Map(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) => false,
    }
}

fn json(value: &Value) -> Json {
    serde_json::to_value(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Wish, Mistake> {
        execute(&serde_json::from_str(text).unwrap())
    }

    #[test]
    fn both_shapes_of_a_workflow_are_read() {
        let nodes = r#"[{"id":"a","type":"log","data":{"message":"{{ word }}"}},{"id":"b","type":"delay","data":{"duration":"1s"}}]"#;
        let edges = r#"[{"source":"a","target":"b"}]"#;
        for payload in [
            format!(
                r#"{{"workflowId":"wf-1","nodes":{nodes},"edges":{edges},"params":{{"word":"hi"}},"startTime":1}}"#
            ),
            format!(r#"{{"workflow":{{"id":"wf-1","nodes":{nodes},"edges":{edges}}},"params":{{"word":"hi"}}}}"#),
        ] {
            let wish = read(&format!(r#"{{"type":"EXECUTE_WORKFLOW","payload":{payload}}}"#))
                .unwrap_or_else(|error| panic!("{error:?}"));
            let Wish::Start(start) = wish else { panic!("{payload}") };
            assert_eq!((start.procedure.name.as_str(), start.name.as_deref()), ("wf-1", Some("wf-1")));
            assert_eq!(start.procedure.steps[1].needs.as_ref().unwrap()[0].as_str(), "a");
            assert_eq!(start.params, [("word".to_owned(), Value::Text("hi".to_owned()))]);
        }
        let saved = read(r#"{"payload":{"workflowId":"psu-ramp","nodes":[],"params":{"volts":5}}}"#).ok();
        let params = vec![("volts".to_owned(), Value::Int(5))];
        assert!(saved == Some(Wish::StartSaved { procedure: "psu-ramp".to_owned(), params }));
    }

    #[test]
    fn what_is_no_workflow_is_refused() {
        for (text, expected) in [
            (r#"{"payload":{"nodes":[]}}"#, "No nodes in workflow"),
            (r#"{"payload":{"workflowId":"","nodes":[]}}"#, "No nodes in workflow"),
            (
                r#"{"payload":{"workflowId":"x","secrets":{"key":"1"}}}"#,
                "secrets are not taken (key: ***): put them where the devices are",
            ),
            (r#"{"payload":{"workflowId":"x","params":[1]}}"#, "params is not an object"),
            (
                r#"{"payload":{"nodes":[{"id":"a","type":"dance"}]}}"#,
                "workflow: nodes[0].type: node a: there is no node type",
            ),
            (r#"{"payload":{"nodes":{"a":1}}}"#, "workflow: nodes: expected a list"),
        ] {
            let Err(Mistake::Workflow(message)) = read(text) else { panic!("{text}") };
            assert!(message.starts_with(expected), "{message}");
        }
        assert!(matches!(read(r#"{"payload":7}"#), Err(Mistake::Format(_))));
        assert!(matches!(read("{}"), Err(Mistake::Format(_))));
    }
}
