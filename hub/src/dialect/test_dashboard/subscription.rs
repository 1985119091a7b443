//! Topics, wildcards and filters: whether a client wants a message. Knows no session.

use rigwire_shared::value::{Fields, Value};

use crate::dialect::reference::quote;
use crate::dialect::{Dialect, Interest, Rendered};
use crate::fanout::Published;

use super::beyond;

/// A client with more is refused the next one.
pub(super) const SUBSCRIPTIONS_MAX: usize = 100;

/// Topics beyond the published document.
pub(super) const RUN: &str = "run:";
pub(super) const DEVICE: &str = "device:";
pub(super) const ALARM: &str = "alarm:";
pub(super) const SAMPLE: &str = "sample:";
pub(super) const LEDGER: &str = "ledger";

const TOPIC_MAX: usize = 128;
const FILTER_FIELDS_MAX: usize = 16;
const FILTER_VALUES_MAX: usize = 200;

/// It is kept for as long as the client may come back.
const FILTER_BYTES_MAX: usize = 8 * 1024;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Topic {
    /// As the client spelt it, for answers.
    pub(super) asked: String,
    pattern: String,
}

impl Topic {
    pub(super) fn new(asked: &str) -> Result<Self, String> {
        if asked.len() > TOPIC_MAX {
            return Err(format!("Topic {:?} is too long: expected at most {TOPIC_MAX} bytes", quote(asked)));
        }
        Ok(Self { asked: asked.to_owned(), pattern: asked.trim().to_lowercase() })
    }

    /// `*` alone stands for the topics of the published document; those beyond it are asked for by their own names.
    fn matches(&self, topic: &str) -> bool {
        match self.pattern.strip_suffix('*') {
            Some("") => !is_beyond(topic),
            Some(start) if start.ends_with(':') => topic.starts_with(start),
            Some(_) | None => self.pattern == topic,
        }
    }

    fn starts_with(&self, prefix: &str) -> bool {
        self.pattern.starts_with(prefix)
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.pattern == other.pattern
    }
}

fn is_beyond(topic: &str) -> bool {
    topic == LEDGER || [RUN, DEVICE, ALARM, SAMPLE].iter().any(|prefix| topic.starts_with(prefix))
}

/// Fields that have to equal a value, or one of a list of values. Nothing to compare lets everything through.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Filter(Fields);

impl Filter {
    pub(super) fn new(filter: Option<&Value>) -> Result<Self, String> {
        let fields = match filter {
            None | Some(Value::Null) => return Ok(Self::default()),
            Some(Value::Map(fields)) => fields,
            Some(Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) | Value::List(_)) => {
                return Err("Invalid filter: expected an object of field names and values".to_owned());
            }
        };
        if fields.len() > FILTER_FIELDS_MAX {
            return Err(format!("Invalid filter: {} fields, at most {FILTER_FIELDS_MAX} are allowed", fields.len()));
        }
        for (name, value) in fields {
            if let Value::List(values) = value
                && values.len() > FILTER_VALUES_MAX
            {
                let count = values.len();
                let name = quote(name);
                return Err(format!("Invalid filter: {name:?} has {count} values, at most {FILTER_VALUES_MAX}"));
            }
        }
        let bytes = serde_json::to_vec(&Value::Map(fields.clone())).map_or(usize::MAX, |text| text.len());
        if bytes > FILTER_BYTES_MAX {
            return Err(format!("Invalid filter: {bytes} bytes, at most {FILTER_BYTES_MAX} are allowed"));
        }
        Ok(Self(fields.clone()))
    }

    fn matches(&self, fields: &[(&'static str, Value)]) -> bool {
        self.0.iter().all(|(name, wanted)| {
            let found = fields.iter().find(|(field, _)| field == name).map(|(_, value)| value);
            found.is_some_and(|found| match wanted {
                Value::List(any) => any.iter().any(|wanted| equal(found, wanted)),
                Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_) | Value::Map(_) => {
                    equal(found, wanted)
                }
            })
        })
    }
}

/// Numbers are equal by value, however they are written.
fn equal(found: &Value, wanted: &Value) -> bool {
    match (found.as_f64(), wanted.as_f64()) {
        (Some(found), Some(wanted)) => found.to_bits() == wanted.to_bits(),
        _ => found == wanted,
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct Subscriptions(Vec<(Topic, Filter)>);

impl Subscriptions {
    /// Subscribing to the same topic again replaces its filter.
    pub(super) fn add(&mut self, topic: Topic, filter: Filter) -> Result<(), String> {
        if let Some(slot) = self.0.iter_mut().find(|(known, _)| known.is_same(&topic)) {
            *slot = (topic, filter);
            return Ok(());
        }
        if self.0.len() >= SUBSCRIPTIONS_MAX {
            let asked = quote(&topic.asked);
            return Err(format!("Topic {asked:?} is one too many: at most {SUBSCRIPTIONS_MAX} per client"));
        }
        self.0.push((topic, filter));
        Ok(())
    }

    pub(super) fn remove(&mut self, topic: &Topic) {
        self.0.retain(|(known, _)| !known.is_same(topic));
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those of another socket that are not among these.
    pub(super) fn extend(&mut self, others: &Self) {
        for (topic, filter) in &others.0 {
            if !self.0.iter().any(|(known, _)| known.is_same(topic)) {
                self.0.push((topic.clone(), filter.clone()));
            }
        }
    }

    /// Whether any topic may be of the published document.
    pub(super) fn want_published(&self) -> bool {
        self.0.iter().any(|(topic, _)| !is_beyond(&topic.pattern))
    }

    pub(super) fn want_beyond(&self) -> bool {
        self.0.iter().any(|(topic, _)| is_beyond(&topic.pattern))
    }

    pub(super) fn want_ledger(&self) -> bool {
        self.0.iter().any(|(topic, _)| topic.pattern == LEDGER)
    }

    pub(super) fn need(&self, interest: &Interest) -> bool {
        self.0.iter().any(|(topic, _)| match interest {
            Interest::Runs => !is_beyond(&topic.pattern) || topic.starts_with(RUN),
            Interest::Devices => topic.starts_with(DEVICE) || topic.starts_with(ALARM),
            Interest::Samples => topic.starts_with(SAMPLE),
            Interest::Chat => false,
            Interest::Run(_) | Interest::Device(_) => false,
        })
    }

    /// How many messages the client would have been given for this event. A sample that is passed over is none: a newer one
    /// of its metric takes its place.
    pub(super) fn messages(&self, published: &Published) -> u64 {
        let mut wanted = 0;
        if self.want_published() {
            let messages = published.rendered(Dialect::TestDashboard).iter();
            wanted += messages.filter(|message| self.wants(message)).count() as u64;
        }
        if self.want_beyond() {
            let messages = published.beyond(beyond::render).iter().filter(|message| !message.topic.starts_with(SAMPLE));
            wanted += messages.filter(|message| self.wants(message)).count() as u64;
        }
        wanted
    }

    pub(super) fn wants(&self, message: &Rendered) -> bool {
        self.0.iter().any(|(topic, filter)| topic.matches(&message.topic) && filter.matches(&message.fields))
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.0.iter().map(|(topic, _)| topic.asked.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use crate::dialect::Text;

    use super::*;

    #[test]
    fn topics_match_exactly_or_by_wildcard() {
        for (asked, topic, expected) in [
            ("test:progress", "test:progress", true),
            (" Test:Progress ", "test:progress", true),
            ("test:progress", "test:completed", false),
            ("test:*", "test:completed", true),
            ("test:*", "suite:completed", false),
            ("*", "logs", true),
            ("*", "device:state", false),
            ("*", "sample:psu-1", false),
            ("*", "run:log", false),
            ("*", "alarm:limit", false),
            ("*", "ledger", false),
            ("device:*", "device:state", true),
            ("sample:psu-1", "sample:psu-2", false),
            ("lo*", "logs", false),
            ("anything at all", "logs", false),
        ] {
            assert_eq!(Topic::new(asked).unwrap().matches(topic), expected, "{asked:?} {topic:?}");
        }
    }

    #[test]
    fn filters_compare_fields() {
        for (filter, expected) in [
            ("null", true),
            ("{}", true),
            (r#"{"suite_execution_id":123}"#, true),
            (r#"{"suite_execution_id":123.0}"#, true),
            (r#"{"suite_execution_id":"123"}"#, false),
            (r#"{"suite_execution_id":124}"#, false),
            (r#"{"suite_execution_id":[7,123]}"#, true),
            (r#"{"suite_execution_id":[]}"#, false),
            (r#"{"suite_execution_id":123,"level":"info"}"#, true),
            (r#"{"suite_execution_id":123,"level":"error"}"#, false),
            (r#"{"test_id":"test-001"}"#, false),
        ] {
            let filter_value: Value = serde_json::from_str(filter).unwrap();
            let subscribed = Filter::new(Some(&filter_value)).unwrap();
            assert_eq!(subscribed.matches(&message().fields), expected, "{filter}");
        }
    }

    #[test]
    fn a_filter_has_a_size() {
        let of = |length| Value::Map(vec![("level".to_owned(), Value::Text("x".repeat(length)))]);
        let around = r#"{"level":""}"#.len();
        assert!(Filter::new(Some(&of(FILTER_BYTES_MAX - around))).is_ok());
        let error = Filter::new(Some(&of(FILTER_BYTES_MAX - around + 1))).unwrap_err();
        assert_eq!(error, "Invalid filter: 8193 bytes, at most 8192 are allowed");
    }

    #[test]
    fn subscriptions_are_bounded_and_replace_their_filter() {
        let mut subscriptions = Subscriptions::default();
        for number in 0..SUBSCRIPTIONS_MAX {
            subscriptions.add(Topic::new(&number.to_string()).unwrap(), Filter::default()).unwrap();
        }
        assert!(subscriptions.add(Topic::new("logs").unwrap(), Filter::default()).is_err());
        subscriptions.remove(&Topic::new("7").unwrap());
        let none = Filter(vec![("level".to_owned(), Value::Text("error".to_owned()))]);
        subscriptions.add(Topic::new("logs").unwrap(), none).unwrap();
        assert!(!subscriptions.wants(&message()));
        subscriptions.add(Topic::new("LOGS").unwrap(), Filter::default()).unwrap();
        assert!(subscriptions.wants(&message()));
    }

    fn message() -> Rendered {
        Rendered {
            text: Text::from_string("{}".to_owned()),
            topic: Cow::Borrowed("logs"),
            fields: vec![("suite_execution_id", Value::Int(123)), ("level", Value::Text("info".to_owned()))],
        }
    }
}
