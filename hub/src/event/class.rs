//! What may become of an event on its way to a client that is slow. Knows no queue.

use rigwire_shared::ids::{DeviceId, RunId, StepId};

use super::{DeviceEvent, Event, EventKind, RunEvent, RunEventBody, StepChange, StepEvent};

/// What a queue may do with a message that waits for a slow client.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Class {
    /// Never dropped: a client too slow for it is closed with a reason.
    Keep,
    /// Only the newest of this key matters.
    Latest(LatestKey),
    /// Oldest first, counted.
    Droppable,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LatestKey {
    Progress(RunId),
    StepProgress(RunId, StepId),
    Preview(DeviceId),
}

impl Event {
    pub fn class(&self) -> Class {
        match &self.kind {
            EventKind::Run(RunEvent { run, body, .. }) => match body {
                RunEventBody::Progress(_) => Class::Latest(LatestKey::Progress(run.id)),
                RunEventBody::Step(StepEvent { step, change: StepChange::Progress { .. }, .. }) => {
                    Class::Latest(LatestKey::StepProgress(run.id, step.clone()))
                }
                RunEventBody::Log(_)
                | RunEventBody::Metric(_)
                | RunEventBody::Custom(_)
                | RunEventBody::Wells { .. } => Class::Droppable,
                RunEventBody::Created
                | RunEventBody::CancelRequested { .. }
                | RunEventBody::Status { .. }
                | RunEventBody::Bound { .. }
                | RunEventBody::Point(_)
                | RunEventBody::Child(_)
                | RunEventBody::Step(_)
                | RunEventBody::Verdict(_)
                | RunEventBody::DeviceLost { .. }
                | RunEventBody::Iteration(_)
                | RunEventBody::Test(_)
                | RunEventBody::Tool { .. }
                | RunEventBody::Artifact { .. }
                | RunEventBody::Finished(_) => Class::Keep,
            },
            EventKind::Device(event) => match event {
                DeviceEvent::Frame(frame) => Class::Latest(LatestKey::Preview(frame.device.clone())),
                DeviceEvent::Sample(_) => Class::Droppable,
                DeviceEvent::State(_)
                | DeviceEvent::PreviewUnavailable { .. }
                | DeviceEvent::Limit(_)
                | DeviceEvent::Interlock { .. }
                | DeviceEvent::Safe { .. }
                | DeviceEvent::Gap { .. }
                | DeviceEvent::Lease(_) => Class::Keep,
            },
            EventKind::Agent(_) | EventKind::Chat(_) => Class::Keep,
        }
    }
}
