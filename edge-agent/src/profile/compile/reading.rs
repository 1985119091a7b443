//! The `[[reading]]` tables.

use std::collections::BTreeSet;
use std::time::Duration;

use rigwire_shared::ids::MetricName;
use rigwire_shared::quality::Quality;
use rigwire_shared::unit::Unit;

use super::super::definition::{Limits, Query, Reading, ReceiveMode, UnitRule};
use super::super::duration;
use super::super::error::{Checker, Place};
use super::super::schema::{self, Invalid, TextOr};
use super::{Context, check_id, parse, receive, unit};
use crate::protocol::framing::Framing;
use crate::protocol::parse::{BitSource, Parse};
use crate::protocol::quality::InvalidRule;

pub(super) fn readings(checker: &mut Checker<'_>, context: &Context<'_>) -> Vec<Reading> {
    let mut compiled: Vec<Reading> = Vec::new();
    let mut ids = BTreeSet::new();
    let mut metrics: BTreeSet<(String, bool)> = BTreeSet::new();
    for (index, written) in context.document.reading.iter().enumerate() {
        let place = Place::default().key("reading").index(index);
        check_id(checker, &place, "reading", &written.id, ids.insert(&written.id));
        let Some(reading) = reading(checker, context, &place, written) else { continue };
        for (mode, used) in [(false, reading.observe), (true, reading.own)] {
            for metric in reading.metrics.iter().filter(|_| used) {
                if !metrics.insert((metric.as_str().to_owned(), mode)) {
                    checker.complain(
                        &place.key("metric"),
                        format_args!(
                            "{:?} is used twice in one mode, expected one reading per metric",
                            metric.as_str()
                        ),
                    );
                }
            }
        }
        compiled.push(reading);
    }
    if context.document.reading.is_empty() {
        checker.complain(&Place::default(), "no [[reading]], expected at least one");
    }
    flags(checker, context, &compiled);
    compiled
}

fn reading(
    checker: &mut Checker<'_>,
    context: &Context<'_>,
    place: &Place,
    written: &schema::Reading,
) -> Option<Reading> {
    if written.doc.as_ref().is_some_and(|doc| doc.trim().is_empty()) {
        checker.complain(&place.key("doc"), "empty, expected a text or no doc");
    }
    let (observe, own) = modes(checker, &place.key("modes"), written.modes.as_deref());
    let every = match &written.every {
        Some(text) => Some(checker.take(&place.key("every"), duration::parse_period(text))?),
        None => None,
    };
    let query =
        receive::query(checker, context, place, written.send.as_deref(), written.read.as_ref(), written.rx.as_ref());
    let words = written.read.as_ref().and_then(|read| crate::protocol::words::NumberType::parse(&read.kind));
    let words = words.map(|number| (number, context.transport.order));
    let parse = parse::parse(checker, &place.key("parse"), written.parse.as_ref(), words);
    let metric = checker.take(
        &place.key("metric"),
        MetricName::new(&written.metric).map_err(|error| format!("{:?} is no metric name: {error}", written.metric)),
    );
    let unit = unit_rule(checker, &place.key("unit"), written.unit.as_ref(), parse.as_ref());
    let invalid =
        written.invalid.as_ref().map_or_else(Vec::new, |rules| invalid(checker, &place.key("invalid"), rules));
    let limits = written.limits.as_ref().and_then(|limits| self::limits(checker, &place.key("limits"), limits));
    let timeout = written.timeout_ms.map_or(context.timeout, Duration::from_millis);
    if timeout.is_zero() || timeout > Duration::from_secs(600) {
        checker.complain(&place.key("timeout_ms"), "out of range, expected 1 to 600000");
    }
    let (scale, offset) = (written.scale.unwrap_or(1.0), written.offset.unwrap_or(0.0));
    if !scale.is_finite() || scale == 0.0 || !offset.is_finite() {
        checker.complain(&place.key("scale"), "scale and offset must be finite and scale not 0");
    }
    let deadband = written.deadband.unwrap_or(0.0);
    if written.deadband.is_some() && !written.on_change {
        checker.complain(&place.key("deadband"), "without effect, expected on_change = true beside it");
    }
    let (query, parse, metric) = (query?, parse?, metric?);
    lengths(checker, place, &query, &parse);
    let metrics = metrics(checker, place, &metric, &parse)?;
    Some(Reading {
        id: written.id.clone(),
        observe,
        own,
        query,
        timeout,
        parse,
        metric,
        metrics,
        unit,
        scale,
        offset,
        every,
        on_change: written.on_change,
        deadband,
        invalid,
        limits,
    })
}

fn modes(checker: &mut Checker<'_>, place: &Place, written: Option<&[String]>) -> (bool, bool) {
    let Some(written) = written else { return (true, true) };
    for mode in written.iter().filter(|mode| !matches!(mode.as_str(), "observe" | "own")) {
        checker.complain(place, format_args!("{mode:?} is unknown, expected observe or own"));
    }
    if written.is_empty() {
        checker.complain(place, "empty, expected observe, own or both");
    }
    let has = |name: &str| written.iter().any(|mode| mode == name);
    (has("observe"), has("own"))
}

/// A parser that can never accept a reply of that length is a mistake.
fn lengths(checker: &mut Checker<'_>, place: &Place, query: &Query, parse: &Parse) {
    let Query::Text { receive, .. } = query else { return };
    let ReceiveMode::Stream(Framing::Fixed { len, .. }) = receive.mode else { return };
    let wanted = match parse {
        Parse::Bits { source: BitSource::Bytes, width, .. } => width / 8,
        Parse::Struct { len, .. } => *len,
        Parse::Text { .. }
        | Parse::Csv { .. }
        | Parse::Regex { .. }
        | Parse::Enum { .. }
        | Parse::Bits { .. }
        | Parse::Block { .. }
        | Parse::Words { .. } => return,
    };
    if wanted != len {
        checker.complain(&place.key("rx"), format_args!("len = {len} never fits what parse reads, expected {wanted}"));
    }
}

fn metrics(checker: &mut Checker<'_>, place: &Place, metric: &MetricName, parse: &Parse) -> Option<Vec<MetricName>> {
    let fields = parse.fields();
    if fields.is_empty() {
        return Some(vec![metric.clone()]);
    }
    let mut names = Vec::new();
    for field in fields {
        let full = format!("{metric}.{field}");
        let place = place.key("parse").key("fields").key(field);
        names.push(
            checker
                .take(&place, MetricName::new(&full).map_err(|error| format!("{full:?} is no metric name: {error}")))?,
        );
    }
    Some(names)
}

fn unit_rule(
    checker: &mut Checker<'_>,
    place: &Place,
    written: Option<&TextOr<schema::UnitFrom>>,
    parse: Option<&Parse>,
) -> UnitRule {
    match written {
        None => UnitRule::Fixed(Unit::None),
        Some(TextOr::Text(text)) => UnitRule::Fixed(unit(checker, place, text)),
        Some(TextOr::Table(from)) => {
            if from.from != "unit" {
                checker.complain(
                    &place.key("from"),
                    format_args!("{:?} is unknown, expected \"unit\", the group of the pattern", from.from),
                );
            }
            let has_group = match parse {
                Some(Parse::Regex { pattern, .. }) => pattern.capture_names().flatten().any(|name| name == "unit"),
                Some(_) => false,
                None => true,
            };
            if !has_group {
                checker.complain(&place.key("from"), "no such group, expected a pattern with (?P<unit>...)");
            }
            let map =
                from.map.iter().map(|(word, text)| (word.clone(), unit(checker, &place.key("map").key(word), text)));
            UnitRule::FromReply(map.collect())
        }
    }
}

fn invalid(checker: &mut Checker<'_>, place: &Place, written: &Invalid) -> Vec<InvalidRule> {
    let rules = match written {
        Invalid::Named(name) if name == "scpi" => return vec![InvalidRule::Scpi],
        Invalid::Named(name) => {
            checker.complain(place, format_args!("{name:?} is unknown, expected scpi or a rule"));
            return Vec::new();
        }
        Invalid::Rules(rules) => rules,
    };
    let mut compiled = Vec::new();
    for (index, rule) in rules.iter().enumerate() {
        let place = if rules.len() == 1 { place.clone() } else { place.index(index) };
        let quality = match rule.quality.as_deref() {
            Some("overrange") => Quality::Overrange,
            Some("underrange") => Quality::Underrange,
            Some("fault") => Quality::Fault,
            Some("no-data") | None => Quality::NoData,
            Some(other) => {
                checker.complain(
                    &place.key("as"),
                    format_args!("{other:?} is unknown, expected overrange, underrange, no-data or fault"),
                );
                continue;
            }
        };
        compiled.push(match (rule.raw, rule.abs_ge, rule.nan, &rule.status) {
            (Some(bits), None, None, None) => {
                let Some(width) = rule.width.filter(|width| (1..=64).contains(width)) else {
                    checker.complain(&place, "raw without width, expected the number of bits, such as width = 16");
                    continue;
                };
                if width < 64 && bits >> width != 0 {
                    checker.complain(&place.key("raw"), format_args!("{bits} has more than {width} bits"));
                }
                InvalidRule::Raw { bits, width, quality }
            }
            (None, Some(limit), None, None) => InvalidRule::AbsoluteAtLeast { limit, quality },
            (None, None, Some(true), None) => InvalidRule::Nan { quality },
            (None, None, None, Some(status)) => {
                let Some((reading, field)) = status.split_once('.') else {
                    checker.complain(
                        &place.key("status"),
                        format_args!("{status:?} names no field, expected reading.field"),
                    );
                    continue;
                };
                InvalidRule::Status { reading: reading.to_owned(), field: field.to_owned(), quality }
            }
            _ => {
                checker.complain(&place, "expected exactly one of raw, abs_ge, nan = true and status");
                continue;
            }
        });
    }
    compiled
}

/// Flags must exist in the reading that they name.
fn flags(checker: &mut Checker<'_>, context: &Context<'_>, compiled: &[Reading]) {
    for (index, written) in context.document.reading.iter().enumerate() {
        let place = Place::default().key("reading").index(index).key("invalid");
        let Some(reading) = compiled.iter().find(|reading| reading.id == written.id) else { continue };
        for rule in &reading.invalid {
            let InvalidRule::Status { reading: name, field, .. } = rule else { continue };
            if *name == written.id {
                checker.complain(&place, "its own flag, expected the flag of another reading");
            }
            let is_flag = |source: &Reading| source.parse.fields().contains(&field.as_str());
            if !context.document.reading.iter().any(|other| other.id == *name) {
                checker.complain(&place, format_args!("reading {name} does not exist"));
            } else if compiled.iter().find(|other| other.id == *name).is_some_and(|source| !is_flag(source)) {
                checker.complain(&place, format_args!("reading {name} has no field {field}"));
            }
        }
    }
}

fn limits(checker: &mut Checker<'_>, place: &Place, written: &schema::Limits) -> Option<Limits> {
    let hold = written.hold.as_deref().unwrap_or("0s");
    let hold = checker.take(&place.key("for"), duration::parse(hold))?;
    let stale_after = match &written.stale_after {
        Some(text) => Some(checker.take(&place.key("stale_after"), duration::parse_period(text))?),
        None => None,
    };
    let above = |a: Option<f64>, b: Option<f64>| a.zip(b).is_some_and(|(a, b)| a > b);
    if above(written.high_clear, written.high) {
        checker.complain(&place.key("high_clear"), "above high, expected at most high");
    }
    if above(written.low, written.low_clear) {
        checker.complain(&place.key("low_clear"), "below low, expected at least low");
    }
    if above(written.low, written.high) {
        checker.complain(&place.key("low"), "above high, expected below it");
    }
    if written.high_clear.is_some() && written.high.is_none() || written.low_clear.is_some() && written.low.is_none() {
        checker.complain(place, "a clear threshold without the one that sets");
    }
    if written.high.is_none() && written.low.is_none() && written.rate.is_none() && stale_after.is_none() {
        checker.complain(place, "empty, expected high, low, rate or stale_after");
    }
    let default_clear = |limit: f64, direction: f64| limit - direction * (limit.abs() * 0.01).max(1.0);
    Some(Limits {
        high: written.high,
        high_clear: written.high_clear.or(written.high.map(|high| default_clear(high, 1.0))),
        low: written.low,
        low_clear: written.low_clear.or(written.low.map(|low| default_clear(low, -1.0))),
        hold,
        stale_after,
        rate: written.rate,
    })
}
