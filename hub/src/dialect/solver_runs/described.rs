//! What this protocol says of its sockets. Read by the descriptions of the interface alone.

use schemars::JsonSchema;

use super::message;
use crate::describe::talk::{Talk, heard, told};

pub(super) fn talk() -> Talk {
    Talk {
        summary: "A run of a solver, or a study.",
        manners: "First the last progress, or how it ended. Then what happens. The socket stays open after the end. An unknown id is told as \
            an error and closed with 4404. The same messages name run_id or optimization_id, as the path does; metric_update comes for \
            runs only.",
        query: None,
        messages: vec![
            told::<message::ProgressUpdate<'static>>("progress", "How far it is, and in which phase."),
            told::<message::MetricUpdate<'static>>("metric_update", "A measured value."),
            told::<message::OptimizationIteration<'static>>(
                "optimization_iteration",
                "An iteration of the study ended.",
            ),
            told::<message::Completed<'static>>("completed", "It completed, with a summary of its metrics."),
            told::<message::Error<'static>>("error", "It failed, or the client is not served."),
            told::<message::Cancelled<'static>>("cancelled", "It was cancelled."),
            told::<message::Pong>("pong", "The answer to a ping."),
            heard::<Ping>("ping", "Is the hub there?"),
        ],
    }
}

#[derive(JsonSchema)]
pub struct Ping {
    pub r#type: String,
}
