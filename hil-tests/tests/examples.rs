//! Every example of README.md and docs/ is carried out: procedures and workflows run, requests are answered, lines are planned,
//! programs are started. What kinds there are is in `examples.rs`; a kind that nothing here carries out does not compile.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, iter};

use anyhow::{Context, Result, bail};
use rigwire_hil_tests::dialects::of_type;
use rigwire_hil_tests::examples::{Block, Call, Example, blocks_of_all_pages};
use rigwire_hil_tests::process::binary;
use rigwire_hil_tests::rig::{Choice, Rig};
use rigwire_hil_tests::user;
use rigwire_hil_tests::wait::{self, PATIENCE};
use serde_json::{Value, json};
use tempfile::TempDir;

const FINAL: [&str; 3] = ["completed", "failed", "cancelled"];

#[test]
#[ignore = "needs mosquitto and python3: run ./hil-tests/run"]
fn every_example_of_the_pages_is_carried_out() -> Result<()> {
    let blocks = blocks_of_all_pages()?;
    let bench = Bench::start(&blocks)?;
    for block in &blocks {
        bench.carry_out(block).with_context(|| format!("{}:{}", block.page, block.line))?;
    }
    Ok(())
}

struct Bench {
    rig: Rig,
    folder: TempDir,
}

impl Bench {
    /// With a program for each one that the pages show, and one that prints each of the reports that they show.
    fn start(blocks: &[Block]) -> Result<Self> {
        let folder = TempDir::new()?;
        let mut programs = String::new();
        for block in blocks {
            let command = match block.example()? {
                Example::Program(text) => {
                    let file = folder.path().join(name_of(block));
                    fs::write(&file, text)?;
                    fs::set_permissions(&file, fs::Permissions::from_mode(0o755))?;
                    vec![text_of(&file)]
                }
                Example::Reports(text) => {
                    let file = folder.path().join(name_of(block));
                    fs::write(&file, text)?;
                    let script = "echo a,b > results.csv; cat \"$0\"";
                    vec!["/bin/sh".to_owned(), "-c".to_owned(), script.to_owned(), text_of(&file)]
                }
                Example::Procedure(_)
                | Example::AgentConfiguration(_)
                | Example::Workflow(_)
                | Example::Calls(_)
                | Example::Commands(_)
                | Example::Lines(_)
                | Example::Picture => continue,
            };
            programs.push_str(&program(&name_of(block), &command)?);
        }
        // The one that the pages' procedures name.
        let solver = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/programs/solver.py");
        programs.push_str(&program("solver", &["/usr/bin/python3".to_owned(), text_of(&solver)])?);
        let rig = Rig::start_with(Choice::Mosquitto, &programs)?;
        let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../hub/procedures/demo-ramp.toml");
        let bench = Self { rig, folder };
        bench.keep("demo-ramp", &fs::read_to_string(demo)?)?;
        Ok(bench)
    }

    fn carry_out(&self, block: &Block) -> Result<()> {
        match block.example()? {
            Example::Procedure(text) => self.procedure(&text),
            Example::AgentConfiguration(text) => self.agent_configuration(&text),
            Example::Workflow(workflow) => self.run_to_its_end(&json!({ "procedure": workflow })).map(drop),
            Example::Calls(calls) => self.calls(&calls),
            Example::Commands(commands) => commands.iter().try_for_each(|command| is_a_command(command)),
            Example::Lines(lines) => lines.iter().try_for_each(|line| self.line(line)),
            Example::Reports(text) => self.reports(&name_of(block), &text),
            Example::Program(_) => {
                let step = json!({ "id": "go", "use": "process.run", "with": { "program": name_of(block) } });
                let body = json!({ "procedure": { "name": "program", "steps": [step] } });
                let run = self.run_to_its_end(&body)?;
                let metrics = of_type(&self.rig.hub.run_events(&run)?, "metric").len();
                if metrics == 0 { bail!("the program reported nothing") } else { Ok(()) }
            }
            Example::Picture => Ok(()),
        }
    }

    fn keep(&self, name: &str, text: &str) -> Result<()> {
        let folder = self.rig.hub.data().join("procedures");
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(format!("{name}.toml")), text).context("keeping a procedure")
    }

    /// Run by its name, with what it says itself. One that is long, or needs what no simulator plays, is stopped once it has begun.
    fn procedure(&self, text: &str) -> Result<()> {
        let line = text.lines().find_map(|line| line.strip_prefix("name = \""));
        let name = line.and_then(|rest| rest.split('"').next()).context("a procedure without a name")?;
        self.keep(name, text)?;
        let id = self.begin(&json!({ "procedure": name }))?;
        let hub = &self.rig.hub;
        let run = wait::until("the run's end, a first iteration, or a wait for devices", PATIENCE, || {
            let text = |error: anyhow::Error| format!("{error:#}");
            let run = hub.run(&id).map_err(text)?;
            let ended = FINAL.iter().any(|status| run["status"] == *status);
            let iterated =
                of_type(&hub.run_events(&id).map_err(text)?, "iteration").iter().any(|one| one["error"].is_null());
            let waits = run["waiting"]["reason"].to_string().contains("generator");
            let asked = run["status"] == "running" && self.is_driven_from_outside(&id).map_err(text)?;
            if ended || iterated || waits || asked { Ok(run) } else { Err(format!("it is {run}")) }
        })?;
        if run["status"] == "completed" {
            return Ok(());
        }
        hub.rest.expect(202, hub.rest.post(&format!("/api/v1/runs/{id}/cancel"), &json!({})))?;
        let run = hub.wait_run(&id, &FINAL)?;
        if run["status"] == "cancelled" { Ok(()) } else { bail!("it is {run}") }
    }

    /// Read by the program itself, with the lines that it is said to be among.
    fn agent_configuration(&self, text: &str) -> Result<()> {
        let file = self.folder.path().join("example.toml");
        // The pages name files of a machine that this one is not.
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/programs");
        fs::write(&file, text.replace("/opt/rigwire", &text_of(&here)))?;
        let answer = Command::new(binary("rigwire-agent")?).arg("check").arg("--config").arg(&file).output()?;
        if answer.status.success() {
            Ok(())
        } else {
            bail!("rigwire-agent check: {}", String::from_utf8_lossy(&answer.stderr))
        }
    }

    fn calls(&self, calls: &[Call]) -> Result<()> {
        let rest = &self.rig.hub.rest;
        let mut started: Option<String> = None;
        for call in calls {
            // A page calls the run that it has just started number 1.
            let path = match &started {
                Some(id) => call.path.replace("/runs/1/", &format!("/runs/{id}/")),
                None => call.path.clone(),
            };
            let body: Value = call.body.as_deref().map_or(Ok(Value::Null), serde_json::from_str)?;
            let (status, answer) = match call.method.as_str() {
                "GET" => rest.get(&path)?,
                "POST" => rest.post(&path, &body)?,
                "PUT" => rest.put(&path, &body)?,
                "DELETE" => rest.delete(&path)?,
                other => bail!("there is no method {other}"),
            };
            if !(200..300).contains(&status) {
                bail!("{} {path} is answered {status} {answer}", call.method);
            }
            if status == 201
                && let Some(id) = answer["id"].as_str()
            {
                started = Some(id.to_owned());
                if body["external"] != true && !self.is_driven_from_outside(id)? {
                    self.completes(id)?;
                }
            }
        }
        Ok(())
    }

    /// Lines that ask are answered, and lines that act are planned. Run 42 is nobody's.
    fn line(&self, line: &str) -> Result<()> {
        let rest = &self.rig.hub.rest;
        let (status, answer) = rest.post("/api/v1/commands", &json!({ "command": line, "plan_only": true }))?;
        let nobody =
            line.ends_with(" 42") && answer["detail"].to_string().contains("42") && (400..500).contains(&status);
        if status == 200 || nobody { Ok(()) } else { bail!("{line} is answered {status} {answer}") }
    }

    /// None of the lines is taken for something else, or complained of.
    fn reports(&self, program: &str, text: &str) -> Result<()> {
        let step = json!({ "id": "go", "use": "process.run", "with": { "program": program } });
        let id = self.begin(&json!({ "procedure": { "name": "reports", "steps": [step] } }))?;
        let run = self.rig.hub.wait_run(&id, &FINAL)?;
        let events = self.rig.hub.run_events(&id)?;
        let told = |kind: &str| of_type(&events, kind).len();
        let shown = |kind: &str| {
            let forms = [format!("::rigwire {kind} "), format!("{{\"rigwire\": \"{kind}\"")];
            text.lines().filter(|line| forms.iter().any(|form| line.starts_with(form))).count()
        };
        let complaints = of_type(&events, "log").iter().filter(|log| log["level"] == "warning").count();
        let warnings = text.lines().filter(|line| line.starts_with("::rigwire log warning")).count();
        for (kind, found) in [("metric", told("metric")), ("artifact", told("artifact")), ("event", told("event"))] {
            if found != shown(kind) {
                bail!("{} lines say {kind}, and {found} were told: {run} {events:#?}", shown(kind));
            }
        }
        if complaints == warnings { Ok(()) } else { bail!("{complaints} complaints: {events:#?}") }
    }

    /// A study that waits to be asked.
    fn is_driven_from_outside(&self, id: &str) -> Result<bool> {
        let (status, answer) = self.rig.hub.rest.get(&format!("/api/v1/runs/{id}/iterations"))?;
        Ok(status == 200 && answer["driven_from_outside"] == true)
    }

    fn begin(&self, body: &Value) -> Result<String> {
        let rest = &self.rig.hub.rest;
        let run = rest.expect(201, rest.post("/api/v1/runs", body))?;
        Ok(run["id"].as_str().context("a run without an id")?.to_owned())
    }

    fn run_to_its_end(&self, body: &Value) -> Result<String> {
        let id = self.begin(body)?;
        self.completes(&id)?;
        Ok(id)
    }

    fn completes(&self, id: &str) -> Result<()> {
        let run = self.rig.hub.wait_run(id, &FINAL)?;
        if run["status"] == "completed" { Ok(()) } else { bail!("the run is {run}") }
    }
}

/// A program of the workspace takes these words, or a script is there.
fn is_a_command(command: &[String]) -> Result<()> {
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    match words.as_slice() {
        ["cargo", "run", "--release", "--", arguments @ ..] => asks_for_help("rigwire", arguments),
        [program @ ("rigwire" | "rigwire-agent"), arguments @ ..] => asks_for_help(program, arguments),
        [script] if script.starts_with("./") => {
            let path: PathBuf = root.join(script.trim_start_matches("./"));
            let mode = fs::metadata(&path).with_context(|| format!("{script} is not there"))?.permissions().mode();
            if mode & 0o100 != 0 { Ok(()) } else { bail!("{script} cannot be executed") }
        }
        other => bail!("no test carries out {other:?}"),
    }
}

/// Words that the program does not know are refused before its help is shown.
fn asks_for_help(program: &str, arguments: &[&str]) -> Result<()> {
    let answer = Command::new(binary(program)?).args(arguments.iter().chain(iter::once(&"--help"))).output()?;
    if answer.status.success() {
        Ok(())
    } else {
        bail!("{program} {arguments:?}: {}", String::from_utf8_lossy(&answer.stderr))
    }
}

fn program(name: &str, command: &[String]) -> Result<String> {
    let own = user::own()?;
    let command = json!(command);
    Ok(format!(
        "\n[[program]]\nname = {name:?}\ncommand = {command}\nuser = {own:?}\nargs-allowed = [\"[0-9]{{1,4}}\"]\n"
    ))
}

fn name_of(block: &Block) -> String {
    format!("{}-{}", block.page.trim_end_matches(".md").to_lowercase(), block.line)
}

fn text_of(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
