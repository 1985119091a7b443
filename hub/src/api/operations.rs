//! What each route of the hub's own interface says of itself: what it takes, answers and refuses.

use rigwire_shared::ids::DeviceId;

use super::{
    agents, artifacts, chat, commands, completeness, devices, external, health, ledger, logs, metrics, parts,
    procedures, reports, reservations, runs,
};
use crate::describe::Operation;
use crate::dialect::RunReference;
use crate::external::Batch;
use crate::procedure::Procedure;

/// Of one run: its id may be none, or nobody's.
fn of_run(summary: &'static str) -> Operation {
    Operation::new(summary).path::<RunReference>("id").refuses(&[400, 404])
}

fn of_device(summary: &'static str) -> Operation {
    Operation::new(summary).path::<DeviceId>("id").refuses(&[400, 404])
}

pub fn page() -> Operation {
    Operation::new("The page for people").raw(200, "text/html", "The page.")
}

pub fn library() -> Operation {
    Operation::new("The client library for boards of tests")
        .raw(200, "text/javascript", "The script, or the types of its words.")
        .raw(200, "text/plain", "")
        .empty(304, "It is what If-None-Match names.")
        .refuses(&[404])
}

pub fn openapi() -> Operation {
    Operation::new("This interface for programs: requests, as OpenAPI 3.1")
        .json::<crate::describe::Object>(200, "The document.")
}

pub fn asyncapi() -> Operation {
    Operation::new("The sockets for programs, as AsyncAPI 3.0").json::<crate::describe::Object>(200, "The document.")
}

pub fn docs() -> Operation {
    Operation::new("This interface for people").raw(200, "text/html", "The page.")
}

pub fn health() -> Operation {
    Operation::new("Whether the hub lives").json::<health::Health>(200, "It does.")
}

pub fn ready() -> Operation {
    Operation::new("Whether all its parts serve").json::<health::Health>(200, "They do.").refuses(&[503])
}

pub fn figures() -> Operation {
    Operation::new("Figures of the hub for Prometheus").raw(200, "text/plain", "In the text format, version 0.0.4.")
}

pub fn runs() -> Operation {
    Operation::new("Runs, newest first")
        .query::<runs::ListQuery>()
        .json::<runs::Runs>(200, "A page of runs.")
        .refuses(&[404])
}

pub fn start_run() -> Operation {
    Operation::new("Start a run")
        .detail("Of a procedure by name or written out, or one that a program outside reports. It waits until its devices are free.")
        .body::<runs::StartBody>()
        .example(r#"{"external": true, "kind": "solve", "name": "nightly", "deadline_s": 600}"#)
        .json::<runs::Started>(201, "The run is in the record.")
        .refuses(&[404, 422, 429])
}

pub fn run() -> Operation {
    of_run("A run as it stands").json::<runs::RunNow>(200, "The run.")
}

fn change_run(summary: &'static str) -> Operation {
    of_run(summary).json::<runs::Changed>(202, "It is being done.").refuses(&[409])
}

pub fn cancel_run() -> Operation {
    change_run("Cancel a run").detail("What runs is stopped, and its last steps are carried out.")
}

pub fn pause_run() -> Operation {
    change_run("Pause a run before its next step")
}

pub fn resume_run() -> Operation {
    change_run("Let a paused run go on")
}

pub fn run_events() -> Operation {
    of_run("Events of a run, in order").query::<runs::EventsQuery>().json::<runs::Events>(200, "A page of events.")
}

pub fn report_events() -> Operation {
    of_run("Report what happens in a run of a program outside")
        .detail("A batch is taken whole or not at all. One that is sent again is known by the ids of its events.")
        .body::<Batch>()
        .example(r#"[{"id": "1", "type": "progress", "percent": 40, "message": "Meshing"}]"#)
        .json::<external::Accepted>(202, "They are in the record.")
        .refuses(&[409, 413, 422])
}

pub fn run_steps() -> Operation {
    of_run("Steps of a run").json::<runs::Steps>(200, "All steps, in the order written.")
}

pub fn run_tests() -> Operation {
    of_run("Tests of a suite, with their attempts").json::<parts::Tests>(200, "All tests.").refuses(&[409])
}

pub fn run_iterations() -> Operation {
    of_run("Iterations of a study").json::<parts::Iterations>(200, "All iterations so far.").refuses(&[409])
}

pub fn ask() -> Operation {
    of_run("What a study wants tried next")
        .json::<parts::Trial>(200, "The next trial.")
        .json::<parts::Later>(202, "Others must be told first.")
        .refuses(&[409, 410])
}

pub fn tell() -> Operation {
    of_run("What came of a trial")
        .body::<parts::Tell>()
        .example(r#"{"iteration": 1, "metrics": {"voltage": 0.2, "current": 0.9}}"#)
        .json::<parts::ToldOf>(202, "It is in the record.")
        .refuses(&[409, 422])
}

pub fn run_artifacts() -> Operation {
    of_run("Files of a run").query::<artifacts::ListQuery>().json::<artifacts::Artifacts>(200, "A page of files.")
}

pub fn run_logs() -> Operation {
    of_run("Log of a run")
        .query::<logs::LogsQuery>()
        .json::<logs::Logs>(200, "A page of lines, or with format=text all of them as text.")
        .raw(200, "text/plain", "")
}

pub fn run_metrics() -> Operation {
    of_run("Measured values of a run")
        .query::<metrics::MetricsQuery>()
        .json::<metrics::Metrics>(200, "Summaries of all series, and a page of values.")
}

pub fn run_completeness() -> Operation {
    of_run("Whether all of a run is in the record").json::<completeness::Completeness>(200, "What is there.")
}

pub fn ledger() -> Operation {
    Operation::new("What arrived, what was passed on, and what was not").json::<ledger::Ledger>(200, "The ledger.")
}

pub fn artifact() -> Operation {
    Operation::new("A file of a run")
        .detail("Its ETag never changes; ranges of bytes may be asked for.")
        .raw(200, "*/*", "The file.")
        .raw(206, "*/*", "The part of it that the Range asked for.")
        .empty(304, "It is what If-None-Match names.")
        .refuses(&[404, 416])
}

pub fn command() -> Operation {
    Operation::new("Carry out a typed line, or show its plan")
        .body::<commands::Command>()
        .example(r#"{"command": "devices", "plan_only": true}"#)
        .json::<commands::Told>(200, "A question was answered, or only the plan was wanted.")
        .json::<runs::Started>(201, "A run was started; it has the plan.")
        .json::<commands::Said>(202, "A run was told to cancel, pause or resume.")
        .json::<commands::CommandRefused>(422, "The line or the request is not taken.")
        .refuses(&[404, 409, 429])
}

pub fn chat() -> Operation {
    Operation::new("What was said in the operators' chat")
        .query::<chat::ChatQuery>()
        .json::<chat::ChatPage>(200, "A page of messages.")
        .refuses(&[400])
}

pub fn chat_message() -> Operation {
    Operation::new("Say something in the operators' chat")
        .detail("A command line is carried out; the rest is for the responder, if there is one.")
        .body::<chat::Speech>()
        .example(r#"{"content": "devices", "sender": "alice"}"#)
        .json::<chat::Spoken>(201, "It was said.")
        .refuses(&[413, 422])
}

pub fn report() -> Operation {
    of_run("A run as a document")
        .query::<reports::ReportQuery>()
        .raw(200, "application/pdf", "The document; pdf if no format is named.")
        .raw(200, "text/html", "")
        .json::<crate::describe::Object>(200, "")
        .raw(200, "application/xml", "")
        .raw(200, "text/csv", "")
        .refuses(&[422])
}

pub fn devices() -> Operation {
    Operation::new("Devices of all agents").json::<devices::Devices>(200, "All devices, present or not.")
}

pub fn device() -> Operation {
    of_device("A device as it stands").json::<devices::DeviceRow>(200, "The device.")
}

pub fn reserve() -> Operation {
    of_device("Reserve a device for a person")
        .body::<reservations::Reserve>()
        .example(r#"{"holder": "alice", "for": "2h", "reason": "soldering"}"#)
        .json::<reservations::Lease>(200, "It was the same person's already, and has a new end.")
        .json::<reservations::Lease>(201, "It is reserved.")
        .json::<reservations::Lease>(202, "It will be, when the run that is on it ends.")
        .refuses(&[409, 422])
}

pub fn give_back() -> Operation {
    of_device("Give a reserved device back")
        .query::<reservations::ReturnQuery>()
        .json::<reservations::GivenBack>(200, "It is free.")
        .refuses(&[409, 422])
}

pub fn leases() -> Operation {
    Operation::new("Who holds which device").json::<reservations::Leases>(200, "All leases and reservations.")
}

pub fn agents() -> Operation {
    Operation::new("Agents").json::<agents::Agents>(200, "All agents that were ever seen.")
}

pub fn procedures() -> Operation {
    Operation::new("Procedures by name").json::<procedures::Known>(200, "All of them, broken ones with what is wrong.")
}

pub fn procedure_schema() -> Operation {
    Operation::new("What a procedure may say, as JSON Schema").raw(200, "application/schema+json", "The schema.")
}

fn of_procedure(summary: &'static str) -> Operation {
    Operation::new(summary).path::<procedures::Name>("name").refuses(&[400, 422])
}

pub fn procedure() -> Operation {
    of_procedure("A procedure").json::<Procedure>(200, "As it is read.").refuses(&[404])
}

pub fn put_procedure() -> Operation {
    of_procedure("Store a procedure")
        .body::<Procedure>()
        .body_as::<String>("application/toml")
        .example(r#"{"name": "hello", "steps": [{"id": "say", "use": "log", "with": {"message": "hello"}}]}"#)
        .json::<Procedure>(200, "It is kept.")
}

pub fn delete_procedure() -> Operation {
    of_procedure("Remove a procedure").empty(204, "It is gone.").refuses(&[404])
}
