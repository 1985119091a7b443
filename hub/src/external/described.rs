//! What programs outside may send, as types for the descriptions of the interface. The reader is in `start.rs` and
//! `report.rs`; a test holds the two together. Read by nobody else.

use std::collections::BTreeMap;

use rigwire_shared::event::Level;
use rigwire_shared::ids::{DeviceId, MetricName, RunId, StepId};
use rigwire_shared::unit::Unit;
use rigwire_shared::value::Value;
use schemars::JsonSchema;

use crate::describe::Object;
use crate::event::{RunKind, RunStatus};

/// Announces a run that a program outside carries out and reports.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Announcement {
    #[schemars(extend("const" = true))]
    pub external: bool,
    pub kind: RunKind,
    #[schemars(length(min = 1, max = 200))]
    pub name: String,
    /// What it is about; nothing is held.
    #[schemars(length(max = 1000))]
    pub devices: Option<Vec<DeviceId>>,
    /// What the program calls itself.
    #[schemars(length(max = 200))]
    pub agent_name: Option<String>,
    /// Steps of a workflow.
    #[schemars(length(max = 2000))]
    pub nodes: Option<Vec<AnnouncedNode>>,
    pub edges: Option<Vec<AnnouncedEdge>>,
    /// Tests of a suite.
    #[schemars(length(max = 2000))]
    pub tests: Option<Vec<AnnouncedTest>>,
    /// A program that is silent for longer fails its run.
    #[schemars(range(min = 0.1, max = 2_592_000.0))]
    pub deadline_s: Option<f64>,
}

#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AnnouncedNode {
    pub id: StepId,
    pub r#type: Option<String>,
    pub module: Option<String>,
    pub label: Option<Value>,
    pub position: Option<Value>,
    pub data: Option<Object>,
}

#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AnnouncedEdge {
    pub id: Option<Value>,
    pub source: StepId,
    pub target: StepId,
    pub r#type: Option<Value>,
    pub label: Option<Value>,
}

#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AnnouncedTest {
    #[schemars(length(min = 1, max = 200))]
    pub id: String,
    #[schemars(length(max = 200))]
    pub name: Option<String>,
    #[schemars(range(min = 1, max = 1_000_000))]
    pub runs: Option<u32>,
}

/// Events in order, taken whole or not at all.
#[derive(JsonSchema)]
pub struct Batch(#[schemars(length(max = 1000))] pub Vec<ReportedEvent>);

#[derive(JsonSchema)]
pub struct ReportedEvent {
    /// An event whose id is known is passed over, so a batch may be sent again.
    #[schemars(length(min = 1, max = 200))]
    pub id: Option<String>,
    /// When it happened, as a time of RFC 3339; else it is now.
    pub at: Option<String>,
    #[serde(flatten)]
    pub body: ReportedBody,
}

#[derive(JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ReportedBody {
    Status {
        /// Not `pending`.
        status: RunStatus,
        step: Option<String>,
        /// Of a run that failed.
        error: Option<String>,
        /// Of a run that failed.
        log_tail: Option<String>,
        message: Option<String>,
        /// Of a run that ends: its summary.
        metrics: Option<BTreeMap<MetricName, f64>>,
    },
    Progress {
        #[schemars(range(min = 0.0, max = 100.0))]
        percent: f64,
        phase: Option<String>,
        message: Option<String>,
        step: Option<StepId>,
    },
    Log {
        level: Level,
        message: String,
        device: Option<DeviceId>,
        module: Option<String>,
        source: Option<String>,
    },
    Metric {
        name: MetricName,
        value: f64,
        unit: Option<Unit>,
        device: Option<DeviceId>,
    },
    Step {
        step: StepId,
        module: Option<String>,
        device: Option<DeviceId>,
        status: StepWord,
        #[schemars(range(min = 0.0, max = 100.0))]
        progress: Option<f64>,
        attempt: Option<u32>,
        /// Of a step that failed.
        will_retry: Option<bool>,
        /// Of a step that failed.
        error_code: Option<String>,
        error: Option<String>,
        duration_s: Option<f64>,
        /// Path of an artifact.
        screenshot: Option<String>,
    },
    Iteration {
        iteration: u64,
        parameters: Object,
        metrics: Object,
        feasible: bool,
        pareto_updated: Option<bool>,
        run: Option<RunId>,
    },
    Test {
        test: String,
        name: Option<String>,
        status: TestWord,
        #[schemars(range(min = 0.0, max = 100.0))]
        progress: Option<f64>,
        current_run: Option<u32>,
        total_runs: Option<u32>,
        success: Option<bool>,
        score: Option<f64>,
        duration_s: Option<f64>,
        message: Option<String>,
        error: Option<String>,
    },
    Tool {
        name: String,
        status: String,
        result: Option<Value>,
        error: Option<String>,
    },
    /// A free event, such as `tool_call` or `llm_request`.
    Event {
        event_type: String,
        payload: Value,
        sequence: Option<u64>,
        duration_ms: Option<f64>,
        test: Option<String>,
    },
    Wells {
        wells: BTreeMap<String, Wells>,
    },
    Artifact {
        name: String,
        media_type: String,
        /// The file's bytes in base64.
        data: String,
    },
}

#[derive(JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "ReportedStepStatus")]
pub enum StepWord {
    Running,
    Completed,
    Failed,
    Skipped,
}

#[derive(JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "ReportedTestStatus")]
pub enum TestWord {
    Running,
    Completed,
    Failed,
}

/// Masks such as `0x0f`; volumes in the order of the mask.
#[derive(JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Wells {
    pub liquid_mask: Option<String>,
    pub volumes: Option<Vec<f64>>,
    pub tip_mask: Option<String>,
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use schemars::schema_for;
    use serde_json::Value;

    use super::{Announcement, ReportedBody};
    use crate::external::{report, start};

    fn keys(schema: &Value) -> BTreeSet<String> {
        schema["properties"].as_object().unwrap().keys().cloned().collect()
    }

    #[test]
    fn described_fields_are_those_that_are_read() {
        let described = keys(schema_for!(Announcement).as_value());
        assert_eq!(described, start::FIELDS.map(str::to_owned).into());

        let bodies = schema_for!(ReportedBody).to_value();
        let described: BTreeMap<String, BTreeSet<String>> = bodies["oneOf"]
            .as_array()
            .unwrap()
            .iter()
            .map(|body| (body["properties"]["type"]["const"].as_str().unwrap().to_owned(), keys(body)))
            .collect();
        let read: BTreeMap<String, BTreeSet<String>> = report::KINDS
            .iter()
            .map(|(kind, fields, _)| {
                let fields = fields.iter().chain(&["type"]).map(|field| (*field).to_owned());
                ((*kind).to_owned(), fields.collect())
            })
            .collect();
        assert_eq!(described, read);
    }
}
