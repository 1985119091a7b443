//! What this protocol says of its sockets. Read by the descriptions of the interface alone.

use rigwire_shared::ids::DeviceId;
use schemars::JsonSchema;

use super::message;
use crate::describe::talk::{Talk, heard, told};

pub(super) fn talk() -> Talk {
    Talk {
        summary: "An execution and its devices.",
        manners: "First the execution's progress and the status of each of its devices; on the socket for devices alone nothing. \
            Progress comes at most once a second and is repeated every 2 s; of logs 100 a second and device, of preview frames 15 a second; \
            5 previews and 1,000 devices at a time; 10 sockets of one client. Messages with ack_required are sent again, up to three times, \
            10 s after they were left without an ack by a client that acknowledges at all. An execution that is unknown or over is told as an \
            error and closed with 1008, an hour of silence with 1000. A client may send several messages as one list, at most 100.",
        query: None,
        messages: vec![
            told::<message::ExecutionProgress<'static>>("execution_progress", "How far it is."),
            told::<message::DeviceStatus<'static>>("device_status", "How a device stands."),
            told::<message::StepCompleted<'static>>("step_completed", "A step completed."),
            told::<message::StepFailed<'static>>("step_failed", "A step failed, and whether it is tried again."),
            told::<message::LogEntry<'static>>("log_entry", "A line of the execution's log."),
            told::<message::PreviewFrame<'static>>(
                "preview_frame",
                "A picture of a device's screen or camera, in base64.",
            ),
            told::<message::ExecutionCompleted<'static>>("execution_completed", "It ended; status says how."),
            told::<message::ErrorMessage<'static>>("error", "What went wrong, or what was not taken."),
            heard::<OfDevice>("subscribe_device", "Tell of this device."),
            heard::<OfDevice>("unsubscribe_device", "Tell no more of it."),
            heard::<StartPreview>("start_preview", "Send pictures of it."),
            heard::<OfDevice>("stop_preview", "Send no more pictures of it."),
            heard::<Ack>("ack", "A message arrived."),
        ],
    }
}

#[derive(JsonSchema)]
pub struct OfDevice {
    pub r#type: String,
    pub device_id: DeviceId,
}

#[derive(JsonSchema)]
pub struct StartPreview {
    pub r#type: String,
    pub device_id: DeviceId,
    /// Medium if left out.
    pub quality: Option<Quality>,
}

#[derive(JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Quality {
    Low,
    Medium,
    High,
}

#[derive(JsonSchema)]
pub struct Ack {
    pub r#type: String,
    pub message_id: String,
}
