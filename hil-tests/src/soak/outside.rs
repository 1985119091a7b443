//! A program outside that reports a run of its own, or asks a study what to try and tells what came of it. It repeats what it
//! cannot know to have arrived, as a careful program would.

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::round::Kind;
use crate::rest::Rest;

const BATCHES: usize = 8;

#[derive(Debug, Default)]
pub(super) struct Outside {
    kind: Option<Kind>,
    /// Batches acknowledged, or iterations told.
    done: usize,
    /// Iterations of which the hub has said that they were told.
    told: Vec<u64>,
    /// An iteration that was asked for and is to be told of.
    asked: Option<u64>,
    /// Lines of log in acknowledged batches.
    pub(super) reported: Vec<String>,
    over: bool,
}

impl Outside {
    /// None of a kind of run that the hub carries out by itself.
    pub(super) fn of(kind: Kind) -> Option<Self> {
        matches!(kind, Kind::External | Kind::Told).then(|| Self { kind: Some(kind), ..Self::default() })
    }

    /// Does the next thing, if there is one left.
    pub(super) fn step(&mut self, rest: &Rest, run: &str) -> Result<()> {
        match self.kind {
            _ if self.over => Ok(()),
            Some(Kind::Told) => self.ask_or_tell(rest, run),
            _ => self.report(rest, run),
        }
    }

    /// What was acknowledged last is sent once more and must change nothing.
    pub(super) fn repeat(&mut self, rest: &Rest, run: &str) -> Result<()> {
        if self.kind != Some(Kind::External) || self.done == 0 || self.over {
            return Ok(());
        }
        let (status, answer) = rest.post(&format!("/api/v1/runs/{run}/events"), &batch(self.done - 1))?;
        if status == 409 || (status < 300 && answer["accepted"] == 0) {
            return Ok(());
        }
        bail!("a batch that was acknowledged was sent again and answered {status} {answer}")
    }

    fn report(&mut self, rest: &Rest, run: &str) -> Result<()> {
        let number = self.done;
        let (status, answer) = rest.post(&format!("/api/v1/runs/{run}/events"), &batch(number))?;
        if status == 409 {
            // The run was cancelled.
            self.over = true;
            return Ok(());
        }
        if status >= 300 || answer["accepted"] != batch(number).as_array().map_or(0, Vec::len) {
            bail!("batch {number} was answered {status} {answer}");
        }
        self.reported.push(format!("line {number}"));
        self.done += 1;
        self.over = self.done == BATCHES;
        Ok(())
    }

    /// One or the other, so that anything may happen in between.
    fn ask_or_tell(&mut self, rest: &Rest, run: &str) -> Result<()> {
        match self.asked.take() {
            Some(iteration) => self.tell(rest, run, iteration),
            None => self.ask(rest, run),
        }
    }

    fn ask(&mut self, rest: &Rest, run: &str) -> Result<()> {
        let (status, asked) = rest.post(&format!("/api/v1/runs/{run}/ask"), &json!({}))?;
        self.asked = match status {
            200 => asked["iteration"].as_u64(),
            // An answer to an earlier question may have been lost: then its iteration is outstanding.
            202 | 410 => self.outstanding(rest, run)?,
            // Paused, or over.
            404 | 409 => {
                self.over = status == 404 || asked["code"] == "RUN_ENDED";
                None
            }
            _ => bail!("asking what to try was answered {status} {asked}"),
        };
        Ok(())
    }

    fn tell(&mut self, rest: &Rest, run: &str, iteration: u64) -> Result<()> {
        let loss = 1.0 / f64::from(u32::try_from(iteration)?);
        let told = json!({ "iteration": iteration, "metrics": { "loss": loss } });
        // Twice: the second must change nothing.
        for _ in 0..2 {
            let (status, answer) = rest.post(&format!("/api/v1/runs/{run}/tell"), &told)?;
            if !matches!(status, 202 | 404 | 409) {
                bail!("telling {told} was answered {status} {answer}");
            }
            if status == 202 {
                self.told.push(iteration);
            }
        }
        self.done += 1;
        Ok(())
    }

    fn outstanding(&self, rest: &Rest, run: &str) -> Result<Option<u64>> {
        let answer = rest.expect(200, rest.get(&format!("/api/v1/runs/{run}/iterations")))?;
        let iterations = answer["iterations"].as_array().context("a study without iterations")?;
        let open = iterations.iter().find(|row| row["status"] == "running").and_then(|row| row["iteration"].as_u64());
        match open.filter(|open| self.told.contains(open)) {
            Some(forgotten) => bail!("iteration {forgotten} was told and acknowledged, and is outstanding: {answer}"),
            None => Ok(open),
        }
    }
}

fn batch(number: usize) -> Value {
    let percent = 100 * number / BATCHES;
    let mut events = vec![
        json!({ "id": format!("p{number}"), "type": "progress", "percent": percent, "message": format!("part {number}") }),
        json!({ "id": format!("l{number}"), "type": "log", "level": "info", "message": format!("line {number}") }),
        json!({ "id": format!("m{number}"), "type": "metric", "name": "residual", "value": 1.0, "unit": "" }),
    ];
    if number + 1 == BATCHES {
        events.push(json!({ "id": "end", "type": "status", "status": "completed" }));
    }
    Value::Array(events)
}
