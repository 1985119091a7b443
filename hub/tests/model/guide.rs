//! The examples of the guide to procedures, each taken by the reader, by the schema, and carried out with agents that do as asked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rigwire::event::RunStatus;
use rigwire::model::StartRun;
use rigwire::procedure::Procedure;
use rigwire::run::{Asked, Parts};
use rigwire_shared::ids::AttemptId;
use rigwire_shared::value::{Fields, Value};

use crate::support::{World, measured};

fn examples() -> Vec<(usize, String)> {
    let guide = include_str!("../../../docs/procedures.md");
    let mut examples = Vec::new();
    let mut rest = guide.lines().enumerate();
    while let Some((at, line)) = rest.next() {
        if line == "```toml" {
            let block: Vec<&str> = rest.by_ref().map(|(_, line)| line).take_while(|line| *line != "```").collect();
            examples.push((at + 1, block.join("\n")));
        }
    }
    examples
}

/// What the step's device gives.
fn outputs(module: &str) -> Fields {
    match module {
        "instrument.read" => measured("voltage", 3.29, 3.31, 0),
        _ => Fields::new(),
    }
}

#[test]
fn every_example_is_good_and_does_what_it_says() {
    let mut schemas = boon::Schemas::new();
    let mut compiler = boon::Compiler::new();
    compiler.add_resource("schema.json", rigwire::procedure::schema::schema()).unwrap();
    let schema = compiler.compile("schema.json", &mut schemas).unwrap();
    let mut known: BTreeMap<String, Procedure> = BTreeMap::new();
    let mut ends = Vec::new();
    for (line, text) in examples() {
        let mut procedure =
            Procedure::from_toml(&text, "procedures.md").unwrap_or_else(|error| panic!("example at {line}: {error}"));
        schemas.validate(&toml::from_str(&text).unwrap(), schema).unwrap_or_else(|error| panic!("{line}: {error:#}"));
        known.insert(procedure.name.clone(), procedure.clone());
        let find = |name: &str| known.get(name).cloned().ok_or_else(|| format!("the guide has no {name}"));
        procedure.resolve("procedures.md", &find).unwrap_or_else(|error| panic!("example at {line}: {error}"));
        let name = procedure.name.clone();
        let params = procedure.bind_params(&[]).unwrap();
        ends.push(carried_out(&name, StartRun::new(Arc::new(procedure), params)));
    }
    assert_eq!(
        ends,
        [
            "bring-up: 7 of 7 steps completed",
            "ramp: 7 of 7 steps completed",
            "regression: 3 of 3 tests passed",
            "trim: 8 iterations, 8 on the front, best is iteration 1: the budget of 8 trials is used",
            "by-hand: 20 iterations, 1 on the front, best is iteration 1: the budget of 20 trials is used",
        ]
    );
}

fn carried_out(name: &str, start: StartRun) -> String {
    let mut world = World::new();
    let run = world.model.start_run(start, world.now);
    world.settle();
    let mut ended = BTreeSet::new();
    for _ in 0..1000 {
        if let Some(finished) = world.run(run).finished {
            assert_eq!(finished.status, RunStatus::Completed, "{name}: {} {:#?}", finished.message, finished.error);
            return format!("{name}: {}", finished.message);
        }
        let driven = matches!(world.run(run).parts, Some(Parts::Study(study)) if study.driven_from_outside);
        if driven {
            if let Asked::Try { iteration, .. } = world.model.ask_study(run, world.now).unwrap() {
                let told = rigwire::model::Told::Metrics(
                    [("error".to_owned(), f64::from(u32::try_from(iteration).unwrap()))].into(),
                );
                world.model.tell_study(run, iteration, &told, world.now).unwrap();
            }
            world.settle();
        } else if !answer(&mut world, &mut ended) {
            world.advance(1000);
        }
    }
    panic!("{name} does not end: {:#?}", world.run(run).progress);
}

/// Ends one step that was asked for and has not ended, if there is one.
fn answer(world: &mut World, ended: &mut BTreeSet<AttemptId>) -> bool {
    let Some(asked) = world.asked_all().find(|asked| !ended.contains(&asked.attempt)).cloned() else { return false };
    let outcome = rigwire_shared::event::StepOutcome::Completed { outputs: outputs(&asked.module) };
    ended.insert(asked.attempt);
    let metrics = (asked.module == "instrument.read").then(|| voltage(&asked));
    let end = crate::support::finished(asked.attempt, asked.run, outcome);
    world.report(metrics.into_iter().chain([end]).collect());
    true
}

fn voltage(asked: &rigwire_shared::command::StartStep) -> rigwire_shared::event::EventBody {
    rigwire_shared::event::EventBody::Sample(rigwire_shared::event::Sample {
        device: asked.device.clone().unwrap(),
        metric: rigwire_shared::ids::MetricName::new("voltage").unwrap(),
        value: Value::Float(3.3),
        unit: rigwire_shared::unit::Unit::Volt,
        quality: rigwire_shared::quality::Quality::Good,
        attempt: Some(asked.attempt),
        round_trip_us: None,
    })
}
