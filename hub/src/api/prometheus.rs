//! Figures of the hub for Prometheus, in its text format.

use std::fmt::Write;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use crate::app::App;
use crate::dialect::Dialect;
use crate::error::ApiError;
use crate::event::RunStatus;
use crate::ledger::Account;

const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

pub async fn get(State(app): State<App>) -> Result<Response, ApiError> {
    let text = figures(&app).await?.text;
    Ok(([(header::CONTENT_TYPE, MEDIA_TYPE)], text).into_response())
}

async fn figures(app: &App) -> Result<Page, ApiError> {
    let hub = app.hub.figures().await?;
    let runs = app.hub.store().run_counts().await?;
    let mut page = Page::default();

    let accounts: Vec<(Dialect, Account, u64)> = Dialect::ALL
        .into_iter()
        .map(|dialect| (dialect, app.ledger.of(dialect), app.ledger.stages(dialect).sum()))
        .collect();
    let of = |value: fn(&Account) -> u64| {
        accounts.iter().map(move |(dialect, account, _)| (dialect.as_str(), value(account)))
    };
    let open = accounts.iter().map(|(dialect, _, open)| (dialect.as_str(), *open));
    page.family("rigwire_connections", "gauge", "Sockets that are open", "dialect", open);
    page.family("rigwire_connections_total", "counter", "Sockets that were opened", "dialect", of(|all| all.watchers));
    page.family("rigwire_messages_sent_total", "counter", "Messages to clients", "dialect", of(|all| all.messages));
    page.family("rigwire_messages_received_total", "counter", "Messages of clients", "dialect", of(|all| all.heard));
    let passed = of(|all| all.events.passed);
    page.family("rigwire_watcher_events_passed_total", "counter", "Events passed on to sessions", "dialect", passed);
    let coalesced = of(|all| all.events.coalesced);
    page.family(
        "rigwire_watcher_events_coalesced_total",
        "counter",
        "Events replaced by newer ones before a client took them",
        "dialect",
        coalesced,
    );
    page.head("rigwire_drops_total", "counter", "What clients were not given, by reason");
    for (dialect, account, _) in &accounts {
        for (reason, count) in [("slow_client", account.events.dropped), ("rate_limit", account.held_back)] {
            page.line("rigwire_drops_total", &[("dialect", dialect.as_str()), ("reason", reason)], count);
        }
    }

    page.single("rigwire_events_total", "counter", "Events that were told", hub.events);
    page.single("rigwire_record_events_total", "counter", "Numbered events in the record", hub.recorded);
    page.single("rigwire_record_queue", "gauge", "Jobs that wait for the record", app.hub.store().waiting());
    let by_status = RunStatus::ALL.map(|status| (status.as_str(), runs.get(status.as_str()).copied().unwrap_or(0)));
    page.family("rigwire_runs", "gauge", "Runs in the record", "status", by_status.into_iter());
    page.single("rigwire_agents", "gauge", "Agents that are known", hub.agents);
    page.single("rigwire_agents_online", "gauge", "Agents that are online", hub.agents_online);
    page.single("rigwire_devices", "gauge", "Devices that are known", hub.devices);
    page.single("rigwire_reported_events_total", "counter", "Events that agents reported", hub.reported);
    let lost = hub.lost.iter().map(|(cause, count)| (cause.as_str(), *count));
    page.family("rigwire_samples_lost_total", "counter", "Samples that agents lost", "cause", lost);
    page.single("rigwire_broker_connected", "gauge", "Whether the hub has its broker", u64::from(hub.broker_connected));
    page.single("rigwire_chat_questions_waiting", "gauge", "Questions that the responder has", hub.questions);
    Ok(page)
}

/// A page of figures under construction.
#[derive(Debug, Default)]
struct Page {
    text: String,
}

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        self.put(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    fn single(&mut self, name: &str, kind: &str, help: &str, value: u64) {
        self.head(name, kind, help);
        self.line(name, &[], value);
    }

    fn family<'a>(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        label: &str,
        values: impl Iterator<Item = (&'a str, u64)>,
    ) {
        self.head(name, kind, help);
        for (value, count) in values {
            self.line(name, &[(label, value)], count);
        }
    }

    /// Label values are words of our own: nothing in them is to be escaped.
    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: u64) {
        let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
        if labels.is_empty() {
            self.put(format_args!("{name} {value}\n"));
        } else {
            self.put(format_args!("{name}{{{}}} {value}\n", labels.join(",")));
        }
    }

    fn put(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        self.text.write_fmt(text).unwrap_or_default();
    }
}
