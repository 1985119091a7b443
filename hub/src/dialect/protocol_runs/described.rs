//! What this protocol says of its sockets. Read by the descriptions of the interface alone.

use super::message::Message;
use crate::describe::talk::{Talk, told};

type Any = Message<'static>;

pub(super) fn talk() -> Talk {
    Talk {
        summary: "Progress of one run, for as long as it lasts.",
        manners: "First a full round: status, progress and what is known besides. Then what happens, each as it happens. After the last \
            message the hub closes with 1000. What is no run's id is closed with 1003, an unknown one with an error and 4404. \
            Clients say nothing.",
        query: None,
        messages: vec![
            told::<Any>("status", "The run's status and step."),
            told::<Any>("progress", "Percent done."),
            told::<Any>("log", "A line of the run's log."),
            told::<Any>("telemetry", "A measured value; once more under the metric's own name."),
            told::<Any>("well_state_update", "State of wells, by resource."),
            told::<Any>("complete", "The run completed."),
            told::<Any>("error", "The run failed, or the client is not served."),
        ],
    }
}
