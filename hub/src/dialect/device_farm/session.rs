//! Manners of the device-farm dialect: initial state, devices, previews, rate limits, acknowledgements. Knows no socket.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use rigwire_shared::command::PreviewQuality;
use rigwire_shared::event::code;
use rigwire_shared::ids::{DeviceId, RunId};
use rigwire_shared::time::Timestamp;

use crate::access::Client;
use crate::dialect::outbox::Outbox;
use crate::dialect::{
    self, BadReference, Denial, Dialect, Interest, Moment, Output, Rendered, Request, RunReference, Text, View, Visits,
};
use crate::event::{
    DeviceEvent, DeviceSnapshot, EventKind, Finished, Progress, RunEvent, RunEventBody, RunSnapshot, RunStatus,
};
use crate::fanout::Published;

use super::ack::Acknowledgements;
use super::client::{self, ClientMessage};
use super::limits::{Limits, Rate};
use super::message::{self, Fault, MESSAGE_ID};
use super::progress::{Due, ProgressTeller, Telling, UnderWay};

const NORMAL: u16 = 1000;
const POLICY: u16 = 1008;

const PREVIEW_UNAVAILABLE: &str = "PREVIEW_UNAVAILABLE";

#[derive(Debug)]
pub struct Session {
    /// `None` on a socket for devices alone.
    execution: Option<Result<RunReference, BadReference>>,
    /// Number of the last event told; nothing of the run is told before the initial state.
    told: Option<u64>,
    limits: Limits,
    devices: HashMap<DeviceId, Watched>,
    progress: ProgressTeller,
    logs: HashMap<Option<DeviceId>, Rate>,
    /// The end of the run, while it is too soon after the progress before it.
    ending: Option<Ending>,
    visitor: Option<Visitor>,
    acknowledgements: Acknowledgements,
    errors_sent: u64,
    held_back: u64,
    /// When a message last went either way.
    last_activity: Option<Instant>,
    outbox: Outbox,
}

#[derive(Debug)]
struct Ending {
    at: Instant,
    messages: Vec<Rendered>,
}

/// Whose socket it is, and the execution that it follows or followed.
#[derive(Debug)]
struct Visitor {
    visits: Arc<Visits>,
    client: Client,
    run: Option<RunId>,
}

/// Why a device is watched, and what the client knows of it.
#[derive(Debug, Default)]
struct Watched {
    subscribed: bool,
    of_run: bool,
    preview: Option<Preview>,
    /// The last status known.
    told: Option<Told>,
}

#[derive(Debug, Clone)]
struct Told {
    word: &'static str,
    text: Text,
    last_seen: Timestamp,
}

impl Watched {
    const fn is_wanted(&self) -> bool {
        self.subscribed || self.of_run || self.preview.is_some()
    }
}

#[derive(Debug)]
struct Preview {
    quality: PreviewQuality,
    /// Asked for only once the device is known to be there.
    asked: bool,
    rate: Rate,
}

impl Session {
    /// A socket that follows one run.
    pub fn execution(reference: Result<RunReference, BadReference>) -> Self {
        Self::with_limits(Some(reference), Limits::default())
    }

    /// A socket without a run, for devices and previews.
    pub fn devices() -> Self {
        Self::with_limits(None, Limits::default())
    }

    pub fn with_limits(execution: Option<Result<RunReference, BadReference>>, limits: Limits) -> Self {
        Self {
            execution,
            told: None,
            limits,
            devices: HashMap::new(),
            progress: ProgressTeller::new(&limits),
            logs: HashMap::new(),
            ending: None,
            visitor: None,
            acknowledgements: Acknowledgements::new(limits.resend_after),
            errors_sent: 0,
            held_back: 0,
            last_activity: None,
            outbox: Outbox::default(),
        }
    }

    /// A client that may come back to what it followed.
    #[must_use]
    pub fn of_client(mut self, client: Client, visits: Arc<Visits>) -> Self {
        self.visitor = Some(Visitor { visits, client, run: None });
        self
    }

    fn send(&mut self, rendered: &Rendered, now: Moment) {
        let id = rendered.fields.iter().find(|(name, _)| *name == MESSAGE_ID).and_then(|(_, id)| id.as_str());
        if let Some(id) = id {
            self.acknowledgements.sent(id, &rendered.text, now.instant);
        }
        self.send_text(rendered.text.clone(), now);
    }

    fn send_text(&mut self, text: Text, now: Moment) {
        self.last_activity = Some(now.instant);
        self.outbox.send_text(text);
    }

    fn send_error(&mut self, code: &str, text: &str, device: Option<&DeviceId>, now: Moment) {
        self.errors_sent += 1;
        let execution = self.execution.as_ref().map(|reference| match reference {
            Ok(reference) => reference.to_string(),
            Err(BadReference(text)) => text.clone(),
        });
        let message_id = format!("reply-{}", self.errors_sent);
        let execution = execution.as_deref();
        let rendered =
            message::error(&Fault { code, message: text, execution, device, message_id: &message_id, at: now.at });
        self.send(&rendered, now);
    }

    fn refuse(&mut self, code: &'static str, text: &str, now: Moment) {
        self.send_error(code, text, None, now);
        self.outbox.close(POLICY, code);
    }

    fn greet(&mut self, snapshot: &RunSnapshot, now: Moment) {
        self.told = Some(snapshot.last_event);
        let (run, kept) = (snapshot.header.id, self.limits.state_kept);
        if let Some(finished) = &snapshot.finished {
            let is_back = |visitor: &Visitor| visitor.visits.is_kept(&visitor.client, run, kept, now.instant);
            if self.visitor.as_ref().is_some_and(is_back) {
                return self.tell_what_was_missed(snapshot, finished, now);
            }
            let text = format!("execution {run} is {}", snapshot.status.as_str());
            return self.refuse("EXECUTION_NOT_ACTIVE", &text, now);
        }
        if let Some(visitor) = &mut self.visitor {
            visitor.visits.begin(&visitor.client, run, kept, now.instant);
            visitor.run = Some(run);
        }
        self.send(&message::progress(&snapshot.header, &snapshot.progress, snapshot.status, now.at), now);
        let run = Arc::clone(&snapshot.header);
        let under_way = UnderWay { run, status: snapshot.status, progress: snapshot.progress.clone() };
        self.progress.begin(under_way, now.instant);
        for device in &snapshot.devices {
            self.watch_for_run(&device.device);
            self.tell_status(device, now);
        }
    }

    /// The state of an execution that ended while its client was away. What led to it is not told again.
    fn tell_what_was_missed(&mut self, snapshot: &RunSnapshot, finished: &Finished, now: Moment) {
        let (run, percent) = (&*snapshot.header, snapshot.progress.percent);
        let at = snapshot.finished_at.unwrap_or(now.at);
        self.send(&message::final_progress(run, finished.status, percent, at), now);
        self.send(&message::execution_completed(run, snapshot.last_event, finished, at), now);
    }

    /// The devices of the run are followed without being asked, until the client unsubscribes.
    fn watch_for_run(&mut self, device: &DeviceId) {
        if let Some(watched) = self.watched(device) {
            watched.of_run = true;
        }
    }

    /// The entry of a device, watched from now on; `None` when there are too many.
    fn watched(&mut self, device: &DeviceId) -> Option<&mut Watched> {
        if !self.devices.contains_key(device) {
            if self.devices.len() >= self.limits.devices {
                return None;
            }
            self.outbox.ask(Request::Watch(Interest::Device(device.clone())));
        }
        Some(self.devices.entry(device.clone()).or_default())
    }

    fn forget_unless_wanted(&mut self, device: &DeviceId) {
        if self.devices.get(device).is_some_and(|watched| !watched.is_wanted()) {
            self.devices.remove(device);
            self.outbox.ask(Request::Unwatch(Interest::Device(device.clone())));
        }
    }

    fn tell_status(&mut self, snapshot: &DeviceSnapshot, now: Moment) {
        let Some(watched) = self.devices.get_mut(&snapshot.device) else { return };
        // A change that was under way to this client when the watch began is older than what the watch began with.
        if watched.told.as_ref().is_some_and(|told| told.last_seen > snapshot.last_seen) {
            return;
        }
        let word = snapshot.in_short();
        let known = watched.told.as_ref().is_some_and(|told| told.word == word);
        let rendered = message::device_status(snapshot);
        watched.told = Some(Told { word, text: rendered.text.clone(), last_seen: snapshot.last_seen });
        if !known && (watched.subscribed || watched.of_run) {
            self.send(&rendered, now);
        }
        self.start_waiting_preview(snapshot, now);
    }

    fn start_waiting_preview(&mut self, snapshot: &DeviceSnapshot, now: Moment) {
        let device = &snapshot.device;
        let Some(preview) = self.devices.get_mut(device).and_then(|watched| watched.preview.as_mut()) else { return };
        if !snapshot.state.is_present() {
            let cause = format!("the device is {}: {}", snapshot.state, snapshot.cause);
            self.end_preview(device, &cause, now);
        } else if !preview.asked {
            preview.asked = true;
            let quality = preview.quality;
            self.outbox.ask(Request::StartPreview { device: device.clone(), quality });
        }
    }

    fn subscribe(&mut self, device: &DeviceId, now: Moment) {
        let Some(watched) = self.watched(device) else { return self.refuse_device(device, now) };
        watched.subscribed = true;
        if let Some(told) = watched.told.clone() {
            self.send_text(told.text, now);
        }
    }

    fn refuse_device(&mut self, device: &DeviceId, now: Moment) {
        let text = format!("device {device} is one too many: at most {} on one socket", self.limits.devices);
        self.send_error("TOO_MANY_DEVICES", &text, Some(device), now);
    }

    fn unsubscribe(&mut self, device: &DeviceId) {
        if let Some(watched) = self.devices.get_mut(device) {
            watched.subscribed = false;
            watched.of_run = false;
        }
        self.forget_unless_wanted(device);
    }

    fn start_preview(&mut self, device: &DeviceId, quality: PreviewQuality, now: Moment) {
        let running = self.devices.iter().filter(|(id, watched)| *id != device && watched.preview.is_some()).count();
        if running >= self.limits.previews {
            let text = format!("device {device}: this socket has as many previews as it may have, which is {running}");
            return self.send_error(PREVIEW_UNAVAILABLE, &text, Some(device), now);
        }
        let frames_per_second = self.limits.preview_frames_per_second;
        let Some(watched) = self.watched(device) else { return self.refuse_device(device, now) };
        let word = watched.told.as_ref().map(|told| told.word);
        if let Some(word @ ("disconnected" | "error")) = word {
            let text = format!("device {device} gives no preview: its status is {word}");
            return self.send_error(PREVIEW_UNAVAILABLE, &text, Some(device), now);
        }
        let rate = watched.preview.take().map_or_else(|| Rate::new(frames_per_second), |preview| preview.rate);
        watched.preview = Some(Preview { quality, asked: word.is_some(), rate });
        if word.is_some() {
            self.outbox.ask(Request::StartPreview { device: device.clone(), quality });
        }
    }

    fn stop_preview(&mut self, device: &DeviceId) {
        let preview = self.devices.get_mut(device).and_then(|watched| watched.preview.take());
        if preview.is_some_and(|preview| preview.asked) {
            self.outbox.ask(Request::StopPreview { device: device.clone() });
        }
        self.forget_unless_wanted(device);
    }

    fn end_preview(&mut self, device: &DeviceId, cause: &str, now: Moment) {
        if self.devices.get(device).is_some_and(|watched| watched.preview.is_some()) {
            let text = format!("device {device} gives no preview: {cause}");
            self.send_error(PREVIEW_UNAVAILABLE, &text, Some(device), now);
            self.stop_preview(device);
        }
    }

    fn handle_unknown_device(&mut self, device: &DeviceId, now: Moment) {
        let Some(watched) = self.devices.remove(device) else { return };
        if watched.preview.is_some() {
            let text = format!("device {device} gives no preview: it is not known");
            self.send_error(PREVIEW_UNAVAILABLE, &text, Some(device), now);
        }
        if watched.subscribed {
            self.send_error(code::DEVICE_UNKNOWN, &format!("device {device} is not known"), Some(device), now);
        }
    }

    fn handle_run_event(&mut self, event: &RunEvent, messages: &[Rendered], now: Moment) {
        if self.told.is_none_or(|told| event.number <= told) {
            return;
        }
        self.told = Some(event.number);
        if let RunEventBody::Bound { devices, .. } = &event.body {
            for bound in devices {
                self.watch_for_run(&bound.device);
            }
        }
        for message in messages {
            match &event.body {
                RunEventBody::Progress(progress) => self.tell_news(message, progress, now),
                RunEventBody::Log(line) => self.send_log(message, line.device.as_ref(), now),
                RunEventBody::Finished(finished) => self.end(event, finished, message, now),
                RunEventBody::Created
                | RunEventBody::CancelRequested { .. }
                | RunEventBody::Status { .. }
                | RunEventBody::Bound { .. }
                | RunEventBody::Point(_)
                | RunEventBody::Child(_)
                | RunEventBody::Metric(_)
                | RunEventBody::Step(_)
                | RunEventBody::Verdict(_)
                | RunEventBody::DeviceLost { .. }
                | RunEventBody::Iteration(_)
                | RunEventBody::Test(_)
                | RunEventBody::Tool { .. }
                | RunEventBody::Custom(_)
                | RunEventBody::Wells { .. }
                | RunEventBody::Artifact { .. } => self.send(message, now),
            }
        }
        if let RunEventBody::Status { status, .. } = &event.body
            && self.progress.set_status(*status)
        {
            self.tell_state(now);
        }
    }

    /// Progress of a run that has another status than `running`, which is what the message that all share says.
    fn tell_state(&mut self, now: Moment) {
        let under_way = self.progress.under_way();
        let message = under_way.map(|known| message::progress(&known.run, &known.progress, known.status, now.at));
        if let Some(message) = message {
            self.send_progress(&message, now);
        }
    }

    fn tell_news(&mut self, message: &Rendered, progress: &Progress, now: Moment) {
        self.progress.set_progress(progress);
        match self.progress.under_way().map(|known| known.status) {
            Some(RunStatus::Running) | None => self.send_progress(message, now),
            Some(
                RunStatus::Pending
                | RunStatus::Paused
                | RunStatus::Completed
                | RunStatus::Failed
                | RunStatus::Cancelled,
            ) => self.tell_state(now),
        }
    }

    fn send_progress(&mut self, message: &Rendered, now: Moment) {
        match self.progress.offer(&message.text, now.instant) {
            Telling::Now => self.send(message, now),
            Telling::Later => {}
            Telling::Instead => self.held_back += 1,
        }
    }

    /// The last progress obeys its limit like any other, and the end comes after it.
    fn end(&mut self, event: &RunEvent, finished: &Finished, completed: &Rendered, now: Moment) {
        let percent = self.progress.under_way().map_or(0.0, |known| known.progress.percent);
        let (at, replaced) = self.progress.end(now.instant);
        self.held_back += u64::from(replaced);
        let last = message::final_progress(&event.run, finished.status, percent, now.at);
        self.ending = Some(Ending { at, messages: vec![last, completed.clone()] });
        self.tell_end(now);
    }

    fn tell_end(&mut self, now: Moment) {
        if let Some(ending) = self.ending.take_if(|ending| ending.at <= now.instant) {
            for message in &ending.messages {
                self.send(message, now);
            }
        }
    }

    fn send_log(&mut self, message: &Rendered, device: Option<&DeviceId>, now: Moment) {
        if self.logs.len() > self.limits.devices {
            self.logs.retain(|_, rate| !rate.is_idle(now.instant));
        }
        let limit = self.limits.logs_per_second;
        let rate = self.logs.entry(device.cloned()).or_insert_with(|| Rate::new(limit));
        if rate.allow(now.instant) {
            self.send(message, now);
        } else {
            self.held_back += 1;
        }
    }

    fn send_frame(&mut self, device: &DeviceId, messages: &[Rendered], now: Moment) {
        let preview = self.devices.get_mut(device).and_then(|watched| watched.preview.as_mut());
        let Some(preview) = preview.filter(|preview| preview.asked) else { return };
        if preview.rate.allow(now.instant) {
            for message in messages {
                self.send(message, now);
            }
        } else {
            self.held_back += 1;
        }
    }

    fn inactive_at(&self) -> Option<Instant> {
        self.last_activity.map(|at| at + self.limits.inactivity)
    }
}

impl dialect::Session for Session {
    fn dialect(&self) -> Dialect {
        Dialect::DeviceFarm
    }

    fn open(&mut self, now: Moment) {
        self.last_activity = Some(now.instant);
        match &self.execution {
            Some(Ok(reference)) => self.outbox.ask(Request::Watch(Interest::Run(*reference))),
            Some(Err(bad)) => {
                let text = bad.to_string();
                self.refuse("INVALID_EXECUTION_ID", &text, now);
            }
            None => {}
        }
    }

    fn deny(&mut self, denial: &Denial, now: Moment) {
        self.send_error(denial.code(), &denial.explanation(), None, now);
        self.outbox.close(denial.close_code(), denial.reason());
    }

    fn handle_view(&mut self, view: View, now: Moment) {
        match view {
            View::Run(snapshot) => self.greet(&snapshot, now),
            View::UnknownRun(reference) => {
                self.refuse("INVALID_EXECUTION_ID", &format!("execution {reference} was not found"), now);
            }
            View::Device(snapshot) => self.tell_status(&snapshot, now),
            View::UnknownDevice(device) => self.handle_unknown_device(&device, now),
            View::Wide | View::Answered(_) | View::Ledger(_) => {}
        }
    }

    fn handle_text(&mut self, text: &str, now: Moment) {
        self.last_activity = Some(now.instant);
        for message in client::read(text) {
            match message {
                Ok(ClientMessage::SubscribeDevice(device)) => self.subscribe(&device, now),
                Ok(ClientMessage::UnsubscribeDevice(device)) => self.unsubscribe(&device),
                Ok(ClientMessage::StartPreview(device, quality)) => self.start_preview(&device, quality, now),
                Ok(ClientMessage::StopPreview(device)) => self.stop_preview(&device),
                Ok(ClientMessage::Ack(id)) => self.acknowledgements.acknowledge(&id, now.instant),
                Err(refusal) => self.send_error(refusal.code, &refusal.message, None, now),
            }
        }
    }

    fn handle_event(&mut self, published: &Published, now: Moment) {
        match &published.event.kind {
            EventKind::Run(event) => self.handle_run_event(event, published.rendered(Dialect::DeviceFarm), now),
            EventKind::Device(DeviceEvent::State(snapshot)) => self.tell_status(snapshot, now),
            EventKind::Device(DeviceEvent::Frame(frame)) => {
                if self.devices.get(&frame.device).is_some_and(|watched| watched.preview.is_some()) {
                    self.send_frame(&frame.device, published.rendered(Dialect::DeviceFarm), now);
                }
            }
            EventKind::Device(DeviceEvent::PreviewUnavailable { device, cause }) => {
                self.end_preview(device, cause, now);
            }
            EventKind::Device(
                DeviceEvent::Sample(_)
                | DeviceEvent::Limit(_)
                | DeviceEvent::Interlock { .. }
                | DeviceEvent::Safe { .. }
                | DeviceEvent::Gap { .. }
                | DeviceEvent::Lease(_),
            )
            | EventKind::Agent(_)
            | EventKind::Chat(_) => {}
        }
    }

    fn handle_timeout(&mut self, now: Moment) {
        match self.progress.due(now.instant) {
            Some(Due::Waiting(text)) => self.send_text(text, now),
            Some(Due::Again(UnderWay { run, status, progress })) => {
                self.send(&message::progress(&run, &progress, status, now.at), now);
            }
            None => {}
        }
        self.tell_end(now);
        for text in self.acknowledgements.due(now.instant) {
            self.send_text(text, now);
        }
        if self.inactive_at().is_some_and(|at| at <= now.instant) {
            self.outbox.close(NORMAL, "nothing was sent or received for too long");
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        if self.outbox.is_closed() {
            return None;
        }
        let end = self.ending.as_ref().map(|ending| ending.at);
        [self.progress.next_due(), end, self.acknowledgements.next_due(), self.inactive_at()]
            .into_iter()
            .flatten()
            .min()
    }

    fn next_output(&mut self) -> Option<Output> {
        self.outbox.next()
    }

    fn leave(&mut self, now: Moment) {
        if let Some(Visitor { visits, client, run: Some(run) }) = &self.visitor {
            visits.end(client, *run, now.instant);
        }
    }

    fn held_back(&self) -> u64 {
        self.held_back
    }

    fn subscriptions(&self) -> Vec<String> {
        let mut names: Vec<String> = self.devices.keys().map(|device| format!("device:{device}")).collect();
        names.sort();
        names
    }
}
