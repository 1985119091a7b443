//! What this protocol says of its sockets. Read by the descriptions of the interface alone.

use rigwire_shared::value::Value;
use schemars::JsonSchema;

use super::dsl::{DslProgress, DslResult};
use super::message::{self, Envelope};
use crate::describe::Object;
use crate::describe::talk::{Talk, heard, told};

type Told<T> = Envelope<'static, T>;

pub(super) fn talk() -> Talk {
    Talk {
        summary: "All runs as workflows, and commands.",
        manners: "First a chatMessage. Until the client subscribes it gets all but eventStream; then what it named, in any of three spellings: \
            TASK_STARTED, task.started or workflowStart. Answers have the id of what they answer as correlation_id. A DSL_COMMAND is answered \
            with its plan (dslProgress, dslResult), then carried out; so is a line in a CHAT_MESSAGE, which all clients hear. 100 sockets at a time. A client that pinged once is \
            closed with 1008 after 90 s without another ping, and one with more than 10 errors within a minute.",
        query: None,
        messages: vec![
            told::<Told<message::ChatMessage<'static>>>("chatMessage", "A text for people."),
            told::<Told<message::Pong<'static>>>("PONG", "The answer to a PING."),
            told::<Told<message::Error<'static>>>("error", "What was not taken or could not be done."),
            told::<Told<DslProgress<'static>>>("dslProgress", "A stage of how a command's plan comes about."),
            told::<Told<DslResult<'static>>>("dslResult", "A command's plan, or what is wrong with it."),
            told::<Told<message::WorkflowStart<'static>>>(
                "workflowStart",
                "A run begins, with its steps as nodes and edges.",
            ),
            told::<Told<message::WorkflowProgress<'static>>>("workflowProgress", "How far it is."),
            told::<Told<message::NodeStatusUpdate<'static>>>("nodeStatusUpdate", "How a step stands."),
            told::<Told<message::ToolResult<'static>>>("tool_result", "What a step or tool gave."),
            told::<Told<message::WorkflowLog<'static>>>("workflowLog", "A line of the run's log."),
            told::<Told<message::WorkflowComplete<'static>>>("workflowComplete", "It completed."),
            told::<Told<message::WorkflowError<'static>>>("workflowError", "It failed or was cancelled."),
            told::<Told<message::EventStream<'static>>>("eventStream", "Anything else that happened in a run."),
            heard::<Asked<Option<Value>>>("PING", "Is the hub there?"),
            heard::<Asked<EventTypes>>("SUBSCRIBE_EVENTS", "Send these."),
            heard::<Asked<EventTypes>>("UNSUBSCRIBE_EVENTS", "Send no more of these."),
            heard::<Asked<DslCommand>>("DSL_COMMAND", "Carry out a typed line; needs an operator."),
            heard::<Asked<Chat>>(
                "CHAT_MESSAGE",
                "Say something to all; a typed line is carried out, the rest is for the responder. Needs an operator.",
            ),
            heard::<Asked<Workflow>>(
                "EXECUTE_WORKFLOW",
                "Carry out a drawn workflow or a saved procedure; needs an operator.",
            ),
        ],
    }
}

#[derive(JsonSchema)]
pub struct Asked<T> {
    pub r#type: String,
    pub payload: T,
    /// Comes back as correlation_id.
    pub id: Option<String>,
    pub correlation_id: Option<String>,
}

#[derive(JsonSchema)]
pub struct EventTypes {
    #[schemars(length(max = 200))]
    pub event_types: Vec<String>,
}

#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DslCommand {
    pub command: String,
    /// What comes of it is told under this id.
    pub workflow_id: Option<String>,
    /// For the one procedure that the line runs.
    pub params: Option<Object>,
}

#[derive(JsonSchema)]
pub struct Chat {
    pub content: String,
    /// Who speaks, where a token does not say.
    pub sender: Option<String>,
}

/// The workflow, or an object with it as `workflow`.
#[derive(JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Workflow {
    /// Of a procedure that the hub has, where no nodes are given.
    pub workflow_id: Option<String>,
    pub nodes: Option<Vec<Object>>,
    pub edges: Option<Vec<Object>>,
    pub params: Option<Object>,
    pub workflow: Option<Object>,
}
