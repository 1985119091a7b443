//! Words beyond the published document, for the hub's own page and its like: devices, samples, alarms, every event of every
//! run, and the ledger. They come to nobody who has not asked for them by name. Knows no session.

use std::borrow::Cow;

use rigwire_shared::agent::DeviceState;
use rigwire_shared::event::{LimitChange, LimitState};
use rigwire_shared::time::Timestamp;
use rigwire_shared::value::Value;
use schemars::JsonSchema;
use serde::Serialize;

use crate::dialect::{Rendered, Text, rfc3339};
use crate::event::{
    AgentChange, DeviceEvent, DeviceSample, DeviceSnapshot, EventKind, LeaseChange, RunEvent, SafeState,
};
use crate::fanout::{Published, Whose};

use super::envelope;
use super::subscription::SAMPLE;

/// Messages of one event, in order.
pub fn render(published: &Published) -> Vec<Rendered> {
    let at = published.event.at;
    let of = Of { whose: published.whose.as_ref(), at };
    match &published.event.kind {
        EventKind::Run(event) => vec![run_event(event, published.event.sequence, at)],
        EventKind::Agent(change) => vec![agent_alarm(change, at)],
        EventKind::Device(event) => match event {
            DeviceEvent::State(device) => state(device, &of),
            DeviceEvent::Sample(taken) => vec![sample(taken, &of)],
            DeviceEvent::Lease(change) => vec![lease(change, &of)],
            DeviceEvent::Safe { device, cause, safe } => safe_state(device.as_str(), cause, safe, &of),
            DeviceEvent::Interlock { device, rule, action, safe } => {
                interlock(device.as_str(), rule, action, safe, &of)
            }
            DeviceEvent::Limit(change) => limit(change, &of).into_iter().collect(),
            DeviceEvent::Gap { device, agent, samples, cause } => {
                let device = device.as_ref().map(|device| device.as_str());
                let message = format!("{samples} samples were lost: {}", cause.as_str());
                let alarm = Alarm { agent: Some(agent.as_str()), samples: Some(*samples), ..Alarm::new("gap", device) };
                vec![of.alarm(alarm, &message)]
            }
            DeviceEvent::Frame(_) | DeviceEvent::PreviewUnavailable { .. } => Vec::new(),
        },
        EventKind::Chat(_) => Vec::new(),
    }
}

/// The ledger, as `GET /api/v1/ledger` has it.
pub(super) fn ledger(ledger: &serde_json::Value, at: Timestamp) -> Text {
    envelope::open("ledger", ledger, at)
}

/// Where and when something happened.
struct Of<'a> {
    whose: Option<&'a Whose>,
    at: Timestamp,
}

impl Of<'_> {
    fn agent(&self) -> Option<&str> {
        self.whose.map(|whose| whose.agent.as_str())
    }

    fn class(&self) -> Option<&str> {
        self.whose.map(|whose| whose.class.as_str())
    }

    fn fields(&self, device: Option<&str>, agent: Option<&str>) -> Vec<(&'static str, Value)> {
        let named = [("device", device), ("agent", agent.or(self.agent())), ("class", self.class())];
        named.into_iter().filter_map(|(name, value)| Some((name, text(value?)))).collect()
    }

    fn message<T: Serialize>(
        &self,
        topic: impl Into<Cow<'static, str>>,
        kind: &str,
        device: &str,
        payload: &T,
    ) -> Rendered {
        Rendered {
            text: envelope::open(kind, payload, self.at),
            topic: topic.into(),
            fields: self.fields(Some(device), None),
        }
    }

    fn alarm(&self, alarm: Alarm<'_>, message: &str) -> Rendered {
        let agent = alarm.agent.or(self.agent());
        let alarm = Alarm { agent, class: self.class(), message, ..alarm };
        let mut fields = self.fields(alarm.device, agent);
        fields.push(("alarm", text(alarm.alarm)));
        fields.push(("active", Value::Bool(alarm.active)));
        Rendered {
            text: envelope::open("alarm", &alarm, self.at),
            topic: Cow::Owned(format!("alarm:{}", alarm.alarm)),
            fields,
        }
    }
}

fn state(device: &DeviceSnapshot, of: &Of<'_>) -> Vec<Rendered> {
    let payload = DeviceStateMessage {
        device: device.device.as_str(),
        agent: device.agent.as_str(),
        class: &device.class,
        kind: device.kind.as_str(),
        state: device.state.as_str(),
        cause: &device.cause,
        held_by: device.held_by.map(|run| run.to_string()),
        last_seen: rfc3339(device.last_seen),
    };
    let whose = Whose { agent: device.agent.clone(), class: device.class.clone() };
    let of = Of { whose: Some(&whose), at: of.at };
    let mut state = of.message("device:state", "device_state", payload.device, &payload);
    state.fields.push(("state", text(payload.state)));
    let mut messages = vec![state];
    if let (DeviceState::Gone, Some(run)) = (device.state, device.held_by) {
        let message = format!("{} is gone while run {run} holds it: {}", device.device.as_str(), device.cause);
        let alarm = Alarm { run: Some(run.to_string()), ..Alarm::new("device_gone", Some(payload.device)) };
        messages.push(of.alarm(alarm, &message));
    }
    messages
}

fn sample(sample: &DeviceSample, of: &Of<'_>) -> Rendered {
    let payload = SampleMessage {
        device: sample.device.as_str(),
        agent: of.agent(),
        class: of.class(),
        metric: sample.metric.as_str(),
        value: &sample.value,
        unit: sample.unit.as_str(),
        quality: sample.quality.as_str(),
    };
    let mut message = of.message(format!("{SAMPLE}{}", payload.device), "sample", payload.device, &payload);
    message.fields.push(("metric", text(payload.metric)));
    message.fields.push(("quality", text(payload.quality)));
    message
}

fn lease(change: &LeaseChange, of: &Of<'_>) -> Rendered {
    let payload = DeviceLeaseMessage {
        device: change.device.as_str(),
        agent: of.agent(),
        class: of.class(),
        change: &change.change,
        holder: &change.holder,
        reason: change.reason.as_deref(),
        until: change.until.map(rfc3339),
        cause: &change.cause,
    };
    let mut message = of.message("device:lease", "device_lease", payload.device, &payload);
    message.fields.push(("holder", text(payload.holder)));
    message.fields.push(("change", text(payload.change)));
    message
}

fn safe_state(device: &str, cause: &str, safe: &SafeState, of: &Of<'_>) -> Vec<Rendered> {
    let payload = DeviceSafeMessage {
        device,
        agent: of.agent(),
        class: of.class(),
        cause,
        outcome: &safe.outcome,
        detail: safe.detail.as_deref(),
    };
    let mut message = of.message("device:safe", "device_safe", device, &payload);
    message.fields.push(("outcome", text(&safe.outcome)));
    let mut messages = vec![message];
    if !is_safe(safe) {
        messages.push(unsafe_alarm(device, cause, safe, of));
    }
    messages
}

fn interlock(device: &str, rule: &str, action: &str, safe: &SafeState, of: &Of<'_>) -> Vec<Rendered> {
    let payload = DeviceInterlockMessage {
        device,
        agent: of.agent(),
        class: of.class(),
        rule,
        action,
        outcome: &safe.outcome,
        detail: safe.detail.as_deref(),
    };
    let message = of.message("device:interlock", "device_interlock", device, &payload);
    let alarm = Alarm { outcome: Some(&safe.outcome), ..Alarm::new("interlock", Some(device)) };
    let mut messages = vec![message, of.alarm(alarm, &format!("interlock {rule} of {device} acted: {action}"))];
    if !is_safe(safe) {
        messages.push(unsafe_alarm(device, rule, safe, of));
    }
    messages
}

/// Whether the hardware is known to be harmless.
fn is_safe(safe: &SafeState) -> bool {
    matches!(safe.outcome.as_str(), "verified" | "not-needed")
}

fn unsafe_alarm(device: &str, cause: &str, safe: &SafeState, of: &Of<'_>) -> Rendered {
    let detail = safe.detail.as_deref().map(|detail| format!(" ({detail})")).unwrap_or_default();
    let message = format!("safe state of {device} after {cause}: {}{detail}", safe.outcome);
    of.alarm(Alarm { outcome: Some(&safe.outcome), ..Alarm::new("safe_state", Some(device)) }, &message)
}

fn limit(change: &LimitChange, of: &Of<'_>) -> Option<Rendered> {
    let device = change.device.as_str();
    let metric = change.metric.as_str();
    let (active, what) = match change.state {
        LimitState::Active => (true, "is past its limit"),
        LimitState::Stale => (true, "has no fresh value to judge"),
        LimitState::Ok => (false, "is within its limit"),
        // On the way there or back: neither begins nor ends an alarm.
        LimitState::Pending | LimitState::Clearing => return None,
    };
    let alarm = Alarm {
        active,
        metric: Some(metric),
        value: change.value,
        threshold: change.threshold,
        ..Alarm::new("limit", Some(device))
    };
    let mut alarm = of.alarm(alarm, &format!("{metric} of {device} {what}"));
    alarm.fields.push(("metric", text(metric)));
    Some(alarm)
}

fn agent_alarm(change: &AgentChange, at: Timestamp) -> Rendered {
    let agent = change.agent.as_str();
    let verb = if change.online { "is there" } else { "is gone" };
    let alarm = Alarm { active: !change.online, agent: Some(agent), ..Alarm::new("agent_gone", None) };
    Of { whose: None, at }.alarm(alarm, &format!("agent {agent} {verb}: {}", change.cause))
}

fn run_event(event: &RunEvent, sequence: u64, at: Timestamp) -> Rendered {
    let run = &event.run;
    let payload = RunEventMessage {
        run: run.id.to_string(),
        run_number: run.number,
        seq: event.number,
        sequence,
        at: rfc3339(at),
        // As the record has it: a type, and the fields that belong to it.
        body: serde_json::to_value(&event.body).unwrap_or_default(),
    };
    let kind = event.body.type_name();
    let fields = vec![
        ("run", text(&payload.run)),
        ("run_number", Value::Int(i64::try_from(run.number).unwrap_or(i64::MAX))),
        ("kind", text(run.kind.as_str())),
        ("name", text(&run.name)),
        ("type", text(kind)),
    ];
    Rendered { text: envelope::open("run_event", &payload, at), topic: Cow::Owned(format!("run:{kind}")), fields }
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

/// Topic `device:state`.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct DeviceStateMessage<'a> {
    device: &'a str,
    agent: &'a str,
    class: &'a str,
    kind: &'a str,
    state: &'a str,
    cause: &'a str,
    /// The run that holds it.
    held_by: Option<String>,
    last_seen: String,
}

/// Topic `sample:<device>`.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct SampleMessage<'a> {
    device: &'a str,
    agent: Option<&'a str>,
    class: Option<&'a str>,
    metric: &'a str,
    /// Null unless the quality says that there is a value to show.
    value: &'a Value,
    unit: &'a str,
    quality: &'a str,
}

/// Topic `device:lease`.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct DeviceLeaseMessage<'a> {
    device: &'a str,
    agent: Option<&'a str>,
    class: Option<&'a str>,
    /// `granted`, `prolonged`, `waiting`, `returned`, `expired` or `lost`.
    change: &'a str,
    holder: &'a str,
    reason: Option<&'a str>,
    until: Option<String>,
    cause: &'a str,
}

/// Topic `device:safe`.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct DeviceSafeMessage<'a> {
    device: &'a str,
    agent: Option<&'a str>,
    class: Option<&'a str>,
    cause: &'a str,
    /// `verified`, `unverified`, `refused`, `unreachable` or `not-needed`.
    outcome: &'a str,
    detail: Option<&'a str>,
}

/// Topic `device:interlock`.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct DeviceInterlockMessage<'a> {
    device: &'a str,
    agent: Option<&'a str>,
    class: Option<&'a str>,
    rule: &'a str,
    action: &'a str,
    outcome: &'a str,
    detail: Option<&'a str>,
}

/// Topic `run:<type>`: an event as `GET /api/v1/runs/{id}/events` has it, and whose it is.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct RunEventMessage {
    run: String,
    run_number: u64,
    seq: u64,
    sequence: u64,
    at: String,
    #[serde(flatten)]
    body: serde_json::Value,
}

/// Topic `alarm:<alarm>`.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Alarm<'a> {
    /// `limit`, `interlock`, `safe_state`, `device_gone`, `gap` or `agent_gone`.
    alarm: &'a str,
    /// False when what was wrong is over.
    active: bool,
    message: &'a str,
    device: Option<&'a str>,
    agent: Option<&'a str>,
    class: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metric: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    threshold: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    samples: Option<u64>,
}

impl<'a> Alarm<'a> {
    const fn new(alarm: &'a str, device: Option<&'a str>) -> Self {
        Self {
            alarm,
            active: true,
            message: "",
            device,
            agent: None,
            class: None,
            metric: None,
            value: None,
            threshold: None,
            outcome: None,
            run: None,
            samples: None,
        }
    }
}
