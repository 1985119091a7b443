//! What this protocol says of its sockets. Read by the descriptions of the interface alone.

use rigwire_shared::value::Value;
use schemars::JsonSchema;

use super::door::UpdatesQuery;
use super::envelope::{Envelope, OpenSequence};
use super::{beyond, message};
use crate::describe::Object;
use crate::describe::talk::{Talk, heard, told};

/// Between client and hub alone: not counted.
type Control<T> = Envelope<'static, T, Option<u64>>;

/// Counted, without holes, for each client id.
type Counted<T> = Envelope<'static, T, OpenSequence>;

pub(super) fn talk() -> Talk {
    Talk {
        summary: "Runs as suite executions, steps and tests as test executions.",
        manners: "First connected. Then nothing until the client subscribes: to a topic such as test:progress, test:completed, suite:progress, \
            suite:completed, logs, delta or events:tool_call, to suite:* or to *; beyond those, which * does not mean, to device:*, sample:<device>, \
            run:<type>, alarm:* or ledger. A filter compares fields of the payload with a value or with \
            any of a list. 100 topics at a time; the same topic again replaces its filter. sequence counts all data messages of a client id, \
            also over reconnects within the hour: a gap means that something wanted was lost. Types are read without regard to case.",
        query: Some(|generator| generator.subschema_for::<UpdatesQuery>()),
        messages: vec![
            told::<Control<message::Connected<'static>>>(
                "connected",
                "The socket is open; the id that the client has.",
            ),
            told::<Control<message::TopicOf<'static>>>("subscribed", "Done."),
            told::<Control<message::TopicOf<'static>>>("unsubscribed", "Done."),
            told::<Control<message::Nothing>>("pong", "The answer to a ping."),
            told::<Control<message::ErrorText<'static>>>("error", "What was not taken."),
            told::<Counted<message::TestProgress<'static>>>("test_progress", "How far a test is."),
            told::<Counted<message::TestCompleted<'static>>>("test_completed", "A test ended."),
            told::<Counted<message::SuiteProgress<'static>>>("suite_progress", "How far a suite is."),
            told::<Counted<message::SuiteCompleted<'static>>>("suite_completed", "A suite ended."),
            told::<Counted<message::LogEntry<'static>>>("log_entry", "A line of a log."),
            told::<Counted<message::AtpEvent<'static>>>("event", "Something that a program or the engine did."),
            told::<Counted<message::DeltaUpdate>>("delta_update", "What changed of a suite or a test."),
            told::<Counted<beyond::DeviceStateMessage<'static>>>("device_state", "Where a device stands."),
            told::<Counted<beyond::DeviceLeaseMessage<'static>>>(
                "device_lease",
                "A person's hold on a device changed.",
            ),
            told::<Counted<beyond::DeviceSafeMessage<'static>>>(
                "device_safe",
                "The safe state of a device was applied.",
            ),
            told::<Counted<beyond::DeviceInterlockMessage<'static>>>("device_interlock", "An interlock acted."),
            told::<Counted<beyond::SampleMessage<'static>>>(
                "sample",
                "A reading, at most four a second of each metric.",
            ),
            told::<Counted<beyond::RunEventMessage>>("run_event", "An event of a run, as the record has it."),
            told::<Counted<beyond::Alarm<'static>>>("alarm", "Something is wrong, or no longer."),
            told::<Counted<Object>>("ledger", "The ledger, once a second."),
            heard::<Request<Subscribe>>("subscribe", "Send what is said on this topic."),
            heard::<Request<Unsubscribe>>("unsubscribe", "Send no more of it."),
            heard::<Ping>("ping", "Is the hub there?"),
        ],
    }
}

#[derive(JsonSchema)]
pub struct Request<T> {
    pub r#type: String,
    pub payload: T,
}

#[derive(JsonSchema)]
pub struct Subscribe {
    #[schemars(length(min = 1, max = 128))]
    pub topic: String,
    /// At most 16 fields.
    pub filter: Option<Object>,
}

#[derive(JsonSchema)]
pub struct Unsubscribe {
    #[schemars(length(min = 1, max = 128))]
    pub topic: String,
}

#[derive(JsonSchema)]
pub struct Ping {
    pub r#type: String,
    pub payload: Option<Value>,
}
