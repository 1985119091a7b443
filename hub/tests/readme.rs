//! What the README shows is what the programs take.
#![expect(clippy::unwrap_used, reason = "a test says what it looks for and panics otherwise")]

use rigwire::external::{StartExternal, parse_batch};
use rigwire::model::{Model, Restored};
use rigwire::procedure::Procedure;
use rigwire_agent::config::{Config, Options};
use rigwire_shared::time::Timestamp;

/// The fenced blocks of one language.
fn blocks(language: &str) -> Vec<String> {
    let readme = include_str!("../../README.md");
    let opening = format!("```{language}\n");
    readme.split(opening.as_str()).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

#[test]
fn its_procedures_are_good_to_the_reader_and_to_the_schema() {
    let mut schemas = boon::Schemas::new();
    let mut compiler = boon::Compiler::new();
    compiler.add_resource("schema.json", rigwire::procedure::schema::schema()).unwrap();
    let schema = compiler.compile("schema.json", &mut schemas).unwrap();
    let mut names = Vec::new();
    for text in blocks("toml").into_iter().filter(|block| block.contains("[[steps]]")) {
        names.push(Procedure::from_toml(&text, "README.md").unwrap().name);
        schemas.validate(&toml::from_str(&text).unwrap(), schema).unwrap_or_else(|error| panic!("{error:#}"));
    }
    assert_eq!(names, ["psu-check", "response", "quiet-supply"]);
}

#[test]
fn its_agent_configuration_is_one() {
    let configurations: Vec<String> =
        blocks("toml").into_iter().filter(|block| block.contains("[[instrument]]")).collect();
    assert_eq!(configurations.len(), 1);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("agent.toml");
    std::fs::write(&file, &configurations[0]).unwrap();
    let config = Config::load(Some(&file), &Options::default()).unwrap();
    assert_eq!(config.instruments.len(), 1);
}

#[test]
fn its_options_are_those_of_the_program() {
    let readme = include_str!("../../README.md");
    let command = <rigwire::commands::Arguments as clap::CommandFactory>::command();
    let serve = command.find_subcommand("serve").unwrap();
    for option in serve.get_opts().filter_map(clap::Arg::get_long) {
        assert!(readme.contains(&format!("`--{option}")) || readme.contains(&format!("or `--{option}")), "--{option}");
    }
}

#[test]
fn its_reports_of_a_program_are_taken() {
    let block = blocks("sh").into_iter().find(|block| block.contains("\"external\"")).unwrap();
    let bodies: Vec<&str> = block.split("-d '").skip(1).map(|rest| rest.split('\'').next().unwrap()).collect();
    let [start, events] = bodies.as_slice() else { panic!("{bodies:?}") };
    let start = StartExternal::from_json(serde_json::from_str(start).unwrap()).unwrap();
    let mut model = Model::new(Restored::default(), Box::new(uuid::Uuid::new_v4), Timestamp(1));
    let run = model.start_external(start, Timestamp(1));
    let receipt = model.report_external(run, &parse_batch(events.as_bytes()).unwrap(), Timestamp(2)).unwrap();
    assert_eq!(receipt.accepted, 3);
    assert_eq!(model.active_runs(), 0);
}

#[test]
fn the_page_about_programs_shows_what_works() {
    let page = include_str!("../../docs/programs.md");
    let blocks: Vec<&str> = page.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    let [configuration, procedure] = blocks.as_slice() else { panic!("{blocks:?}") };
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("agent.toml");
    std::fs::write(&file, configuration).unwrap();
    let config = Config::load(Some(&file), &Options::default()).unwrap();
    assert_eq!(config.host.programs[0].name, "solver");
    let procedure = Procedure::from_toml(procedure, "programs.md").unwrap();
    assert_eq!(procedure.steps.len(), 2);
    for example in [include_str!("../../examples/programs/solver.py"), include_str!("../../examples/programs/check.sh")]
    {
        assert!(page.contains(example), "{example}");
        assert!(example.lines().count() <= 20);
    }
}
/// The bench of the demonstration: its supply and its meter, as their profiles describe them.
fn bench() -> rigwire::command_line::Known {
    let devices = [("psu-1", "psu", "korad.ka3005p"), ("dmm-1", "dmm", "hp.34401a")].map(|(id, class, profile)| {
        let known = rigwire_agent::profile::Profile::bundled(profile).unwrap().unwrap();
        rigwire_shared::agent::DeviceCard {
            device: rigwire_shared::ids::DeviceId::new(id).unwrap(),
            kind: rigwire_shared::agent::DeviceKind::Instrument,
            class: class.to_owned(),
            profile: profile.to_owned(),
            tags: Vec::new(),
            state: rigwire_shared::agent::DeviceState::Online,
            cause: "idle".to_owned(),
            identity: None,
            readings: known.reading_cards(),
            actions: known.action_cards(),
            sdk: None,
        }
    });
    let ramp = Procedure::from_toml(include_str!("../procedures/demo-ramp.toml"), "demo-ramp.toml");
    rigwire::command_line::Known {
        devices: devices.into(),
        names: vec!["demo-ramp".to_owned()],
        procedures: [("demo-ramp".to_owned(), ramp.map_err(|invalid| invalid.to_string()))].into(),
    }
}

#[test]
fn the_lines_that_it_and_the_guide_show_are_taken() {
    use rigwire::command_line::{compile, parse};
    let guide = include_str!("../../docs/commands.md");
    let mut lines: Vec<String> = Vec::new();
    for text in [include_str!("../../README.md"), guide] {
        let posted = text.split("/api/v1/commands -d '").skip(1).map(|rest| rest.split('\'').next().unwrap());
        lines.extend(posted.map(|body| {
            let body: serde_json::Value = serde_json::from_str(body).unwrap();
            body["command"].as_str().unwrap().to_owned()
        }));
    }
    let block = guide.split("```commands\n").nth(1).unwrap().split("```").next().unwrap();
    lines.extend(block.lines().map(str::to_owned));
    assert_eq!(lines.len(), 13);
    for line in lines {
        let meant = parse(&line).and_then(|parsed| compile(&parsed, &bench()));
        assert!(meant.is_ok(), "{line}: {}", meant.unwrap_err());
    }
}

#[test]
fn the_workflow_that_the_guide_shows_is_one() {
    let guide = include_str!("../../docs/commands.md");
    let block = guide.split("```json\n").nth(1).unwrap().split("```").next().unwrap();
    let workflow = Procedure::from_json(&serde_json::from_str(block).unwrap(), "docs/commands.md").unwrap();
    assert_eq!((workflow.steps.len(), workflow.kind), (3, rigwire::event::RunKind::Workflow));
}
