//! What a run's record says happened, and what each protocol told of it: the same story in five languages. Each protocol tells
//! what it has words for; nothing of that may be missing, doubled, out of order or different.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::dialects::{AGENT_EVENTS, DEVICE_FARM, PROTOCOL_RUNS, SOLVER_RUNS, TEST_DASHBOARD, of_type};

/// A run as its record has it.
pub struct Story<'a> {
    pub run: &'a Value,
    pub events: &'a [Value],
}

/// One side of a comparison: a word for what it is about, and what was told, in order.
type Facts = Vec<String>;

impl Story<'_> {
    /// Compares the messages that one protocol sent about this run with the record.
    pub fn check(&self, protocol: &str, messages: &[Value]) -> Result<()> {
        let (expected, told) = match protocol {
            PROTOCOL_RUNS => self.protocol_runs(messages),
            DEVICE_FARM => self.device_farm(messages),
            AGENT_EVENTS => self.agent_events(messages),
            SOLVER_RUNS => self.solver_runs(messages),
            TEST_DASHBOARD => self.test_dashboard(messages),
            other => anyhow::bail!("no protocol is called {other}"),
        };
        for ((what, expected), told) in expected.iter().zip(&told) {
            ensure!(expected == told, "{protocol}: {what}: the record has {expected:#?}, told was {told:#?}");
        }
        Ok(())
    }

    fn protocol_runs(&self, messages: &[Value]) -> (Vec<(&'static str, Facts)>, Vec<Facts>) {
        let status = self.status().to_uppercase();
        let terminal = match self.status() {
            "completed" => vec!["complete".to_owned()],
            "failed" => vec!["error".to_owned()],
            _ => Vec::new(),
        };
        let last_status = of_type(messages, "status").last().map(|message| text(message, "/payload/status"));
        let endings = messages.iter().filter(|message| matches!(message["type"].as_str(), Some("complete" | "error")));
        // These clients hear of failed steps in the log: one line each, beside those of the record.
        let failed = of_type(self.events, "step").iter().filter(|event| event["change"]["status"] == "failed").count();
        let (logs, told) = (self.logs(), facts(&of_type(messages, "log"), &["/payload/message"]));
        let (told, added): (Facts, Facts) = told.into_iter().partition(|line| logs.contains(line));
        (
            vec![
                ("logs", logs),
                ("lines about failed steps", vec![failed.to_string()]),
                ("measured values", self.metrics()),
                ("last status", vec![status]),
                ("terminal message", terminal),
                ("progress", Vec::new()),
            ],
            vec![
                told,
                vec![added.len().to_string()],
                facts(&of_type(messages, "telemetry"), &["/payload/metric", "/payload/value"]),
                last_status.into_iter().collect(),
                endings.map(|message| text(message, "/type")).collect(),
                backwards(&of_type(messages, "progress"), "/payload/progress"),
            ],
        )
    }

    fn device_farm(&self, messages: &[Value]) -> (Vec<(&'static str, Facts)>, Vec<Facts>) {
        let steps: Facts = messages
            .iter()
            .filter_map(|message| match message["type"].as_str()? {
                "step_completed" if message["status"] == "completed" => {
                    Some(format!("{} completed", text(message, "/module_id")))
                }
                "step_failed" => {
                    Some(format!("{} failed, again: {}", text(message, "/module_id"), text(message, "/will_retry")))
                }
                _ => None,
            })
            .collect();
        let module = |event: &Value| match event.pointer("/change/status").and_then(Value::as_str)? {
            "completed" => Some(format!("{} completed", text(event, "/module"))),
            "failed" => {
                Some(format!("{} failed, again: {}", text(event, "/module"), text(event, "/change/will_retry")))
            }
            _ => None,
        };
        let expected = of_type(self.events, "step").into_iter().filter_map(module).collect();
        (
            vec![
                ("logs", self.logs()),
                ("steps", expected),
                ("ending", vec![self.status().to_owned()]),
                ("progress", Vec::new()),
            ],
            vec![
                facts(&of_type(messages, "log_entry"), &["/message"]),
                steps,
                facts(&of_type(messages, "execution_completed"), &["/status"]),
                backwards(&of_type(messages, "execution_progress"), "/progress_percentage"),
            ],
        )
    }

    fn agent_events(&self, messages: &[Value]) -> (Vec<(&'static str, Facts)>, Vec<Facts>) {
        // The protocol's clients read of retries in the log, so it says more than the record's log.
        let logs = self.logs();
        let told = of_type(messages, "workflowLog");
        let told = facts(&told, &["/payload/message"]).into_iter().filter(|line| logs.contains(line)).collect();
        let nodes = |event: &Value| match event.pointer("/change/status").and_then(Value::as_str)? {
            "running" => Some(format!("{} running", text(event, "/step"))),
            "completed" => Some(format!("{} success", text(event, "/step"))),
            "failed" if event["change"]["will_retry"] == false => Some(format!("{} error", text(event, "/step"))),
            "cancelled" | "skipped" => Some(format!("{} idle", text(event, "/step"))),
            _ => None,
        };
        let ending = if self.status() == "completed" { "workflowComplete" } else { "workflowError" };
        let endings = messages
            .iter()
            .filter(|message| matches!(message["type"].as_str(), Some("workflowComplete" | "workflowError")));
        (
            vec![
                ("logs", logs),
                ("nodes", of_type(self.events, "step").into_iter().filter_map(nodes).collect()),
                ("begin", vec!["1".to_owned()]),
                ("ending", vec![ending.to_owned()]),
                ("progress", Vec::new()),
            ],
            vec![
                told,
                facts(&of_type(messages, "nodeStatusUpdate"), &["/payload/nodeId", "/payload/status"]),
                vec![of_type(messages, "workflowStart").len().to_string()],
                endings.map(|message| text(message, "/type")).collect(),
                backwards(&of_type(messages, "workflowProgress"), "/payload/progress"),
            ],
        )
    }

    fn solver_runs(&self, messages: &[Value]) -> (Vec<(&'static str, Facts)>, Vec<Facts>) {
        let ending = match self.status() {
            "completed" => "completed",
            "failed" => "error",
            _ => "cancelled",
        };
        let endings = messages
            .iter()
            .filter(|message| matches!(message["type"].as_str(), Some("completed" | "error" | "cancelled")));
        let of_a_study = self.run["kind"] == "optimization";
        // The socket of a study has no messages for single values.
        let metrics = if of_a_study { Vec::new() } else { self.metrics() };
        (
            vec![
                ("measured values", metrics),
                ("iterations", self.iterations()),
                ("ending", vec![ending.to_owned()]),
                ("progress", Vec::new()),
            ],
            vec![
                facts(&of_type(messages, "metric_update"), &["/metric_name", "/value"]),
                facts(&of_type(messages, "optimization_iteration"), &["/iteration", "/feasible"]),
                endings.map(|message| text(message, "/type")).collect(),
                backwards(&of_type(messages, "progress"), "/percent"),
            ],
        )
    }

    fn test_dashboard(&self, messages: &[Value]) -> (Vec<(&'static str, Facts)>, Vec<Facts>) {
        let announced = of_type(self.events, "test");
        let steps = |event: &Value| match event.pointer("/change/status").and_then(Value::as_str)? {
            "completed" => Some(format!("{} true", text(event, "/step"))),
            "failed" if event["change"]["will_retry"] == false => Some(format!("{} false", text(event, "/step"))),
            "cancelled" => Some(format!("{} false", text(event, "/step"))),
            _ => None,
        };
        let tests = |event: &Value| match event["status"].as_str()? {
            "completed" => Some(format!("{} true", text(event, "/test"))),
            "failed" => Some(format!("{} false", text(event, "/test"))),
            _ => None,
        };
        let expected: Facts = if announced.is_empty() {
            of_type(self.events, "step").into_iter().filter_map(steps).collect()
        } else {
            announced.into_iter().filter_map(tests).collect()
        };
        let iterations: Vec<&Value> = of_type(messages, "event")
            .into_iter()
            .filter(|message| !message["payload"]["payload"]["iteration"].is_null())
            .collect();
        (
            vec![
                ("logs", self.logs()),
                ("tests", expected),
                ("iterations", self.iterations()),
                ("ending", vec!["1".to_owned()]),
                ("progress", Vec::new()),
            ],
            vec![
                facts(&of_type(messages, "log_entry"), &["/payload/message"]),
                facts(&of_type(messages, "test_completed"), &["/payload/test_id", "/payload/success"]),
                facts(&iterations, &["/payload/payload/iteration", "/payload/payload/feasible"]),
                vec![of_type(messages, "suite_completed").len().to_string()],
                backwards(&of_type(messages, "suite_progress"), "/payload/progress_percent"),
            ],
        )
    }

    fn status(&self) -> &str {
        self.run["status"].as_str().unwrap_or_default()
    }

    fn logs(&self) -> Facts {
        facts(&of_type(self.events, "log"), &["/message"])
    }

    /// Only what was measured well is told where a protocol has no word for quality.
    fn metrics(&self) -> Facts {
        let good: Vec<&Value> =
            of_type(self.events, "metric").into_iter().filter(|event| event["quality"] == "good").collect();
        facts(&good, &["/name", "/value"])
    }

    fn iterations(&self) -> Facts {
        facts(&of_type(self.events, "iteration"), &["/iteration", "/feasible"])
    }
}

/// The messages of an outside client must have come in the order of their own numbers.
pub fn in_sequence(messages: &[Value]) -> Result<()> {
    let numbers: Vec<u64> = messages.iter().filter_map(|message| message["sequence"].as_u64()).collect();
    let broken = numbers.windows(2).find(|pair| pair[1] != pair[0] + 1);
    ensure!(broken.is_none(), "the sequence goes from {broken:?}");
    numbers.first().context("no message has a number").map(drop)
}

fn facts(messages: &[&Value], pointers: &[&str]) -> Facts {
    let words = |message: &Value| pointers.iter().map(|pointer| text(message, pointer)).collect::<Vec<_>>().join(" ");
    messages.iter().map(|message| words(message)).collect()
}

fn text(message: &Value, pointer: &str) -> String {
    match message.pointer(pointer) {
        Some(Value::String(text)) => text.clone(),
        // 3 and 3.0 are one value, whichever way a message writes it.
        Some(Value::Number(number)) => number.as_f64().map_or_else(|| number.to_string(), |number| number.to_string()),
        Some(other) => other.to_string(),
        None => json!(null).to_string(),
    }
}

/// Where a percentage falls or leaves its range; nothing, if all is well.
fn backwards(messages: &[&Value], pointer: &str) -> Facts {
    let numbers: Vec<f64> = messages.iter().filter_map(|message| message.pointer(pointer)?.as_f64()).collect();
    let falls = numbers.windows(2).filter(|pair| pair[1] < pair[0]).map(|pair| format!("{} to {}", pair[0], pair[1]));
    let strays = numbers.iter().filter(|number| !(0.0..=100.0).contains(*number)).map(f64::to_string);
    falls.chain(strays).collect()
}
