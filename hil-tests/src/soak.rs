//! Rounds of runs and mishaps, chosen by a seed: each round carries out one kind of run, something bad happens at some moment, and
//! what must be true whatever happened is checked from outside. A round can be repeated alone by its seed and number.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::rig::Choice;

mod bench;
mod carry;
pub mod chance;
pub mod check;
mod outside;
pub mod plan;
pub mod round;

use bench::Bench;
use carry::Story;
use check::Facts;
use round::Round;

#[derive(Debug, Clone)]
pub struct Settings {
    pub seed: u64,
    pub rounds: u64,
    /// This round alone.
    pub only: Option<u64>,
    pub broker: Choice,
    /// Stop beginning rounds after so long.
    pub within: Option<Duration>,
    /// Write the whole story of a round that passed, too, when it took longer.
    pub slow: Option<Duration>,
    /// Where the whole story of a round that failed is written.
    pub stories: PathBuf,
}

#[derive(Debug, Default)]
pub struct Summary {
    pub passed: u64,
    pub failed: Vec<u64>,
    /// How runs ended, with the cause where they failed: how often.
    pub ends: BTreeMap<String, u64>,
    pub runs: u64,
    pub events: u64,
    pub slowest: Duration,
}

/// Carries out the rounds and says each one's outcome on standard output.
pub fn run(settings: &Settings) -> Result<Summary> {
    let mut summary = Summary::default();
    let mut bench: Option<Bench> = None;
    let numbers = settings.only.map_or(1..=settings.rounds, |only| only..=only);
    let began = Instant::now();
    for number in numbers {
        if settings.within.is_some_and(|within| began.elapsed() > within) {
            println!("{} of {} rounds within {:?}", number - 1, settings.rounds, began.elapsed());
            break;
        }
        let round = Round::of(settings.seed, number);
        let mut at = match bench.take() {
            Some(bench) => bench,
            None => Bench::start(settings.broker).context("starting the bench")?,
        };
        let mut story = Story::new();
        let started = Instant::now();
        let outcome = carry::carry_out(&mut at, settings.seed, &round, &mut story);
        summary.slowest = summary.slowest.max(started.elapsed());
        let (facts, wrong) = match outcome {
            Ok((facts, wrong)) => (facts, wrong),
            Err(error) => (Facts::default(), vec![format!("{error:#}")]),
        };
        summary.note(&facts);
        let took = started.elapsed();
        let path = settings.stories.join(format!("soak-{}-{number}.txt", settings.seed));
        let write = || {
            let text = whole_story(settings.seed, &round, &wrong, &story, &facts, &at);
            std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
        };
        if wrong.is_empty() {
            summary.passed += 1;
            println!("ok      {round} ({} ms)", took.as_millis());
            if settings.slow.is_some_and(|slow| took > slow) {
                write()?;
                println!("        the whole story: {}", path.display());
            }
            bench = Some(at);
        } else {
            summary.failed.push(number);
            println!("FAILED  {round}");
            for wrong in &wrong {
                println!("        {}", wrong.chars().take(1500).collect::<String>());
            }
            write()?;
            println!("        the whole story: {}", path.display());
            println!("        again: hil-tests/soak --seed {} --only {number}", settings.seed);
            // The next round begins with a bench that nothing is wrong with.
            drop(at);
        }
    }
    Ok(summary)
}

impl Summary {
    fn note(&mut self, facts: &Facts) {
        for run in &facts.runs {
            self.runs += 1;
            self.events += u64::try_from(run.events.len()).unwrap_or_default();
            let mut end = run.row["status"].as_str().unwrap_or("open").to_owned();
            if let Some(code) = run.row["error"]["code"].as_str() {
                end = format!("{end} {code}");
            }
            *self.ends.entry(end).or_default() += 1;
        }
    }
}

fn whole_story(seed: u64, round: &Round, wrong: &[String], story: &Story, facts: &Facts, bench: &Bench) -> String {
    let mut text = format!("seed {seed}, {round}\n\nwrong\n");
    let mut section = |title: &str, lines: &mut dyn Iterator<Item = String>| {
        text.push_str(&format!("{title}\n"));
        for line in lines {
            text.push_str(&format!("    {line}\n"));
        }
    };
    section("", &mut wrong.iter().cloned());
    section("what was done", &mut story.lines.iter().cloned());
    for run in &facts.runs {
        section(&format!("run {}", run.row), &mut run.events.iter().map(ToString::to_string));
        section("its steps", &mut run.steps.iter().map(ToString::to_string));
    }
    section("what reached the supply", &mut facts.sets.iter().map(|(at, volts)| format!("{at} {volts}")));
    section("devices", &mut facts.devices.iter().map(ToString::to_string));
    for (title, process) in [("the hub", bench.rig.hub.process()), ("the agent", bench.rig.agent.process())] {
        let lines = process.map(|process| process.lines()).unwrap_or_default();
        section(&format!("what {title} said"), &mut lines.iter().map(|line| line.text.clone()));
    }
    text
}
