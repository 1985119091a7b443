//! REST neighbours of this protocol under `/api/v1`: thin views of the hub's runs, procedures, measurements and devices in
//! the words that its clients read. Part of the shell.

use axum::http::StatusCode;
use serde::Serialize;

use crate::access::Role::{Operator, Viewer};
use crate::describe::Operation;
use crate::routes::Routes;

mod definitions;
mod hardware;
mod outputs;
mod runs;

pub(super) fn routes(routes: Routes) -> Routes {
    routes
        .post(
            "/api/v1/protocols/runs/actions/start",
            Operator,
            runs::start,
            Operation::new("Start a protocol run")
                .detail(
                    "With `simulation_mode`, which is this protocol's default, the run takes only devices tagged \
                     `simulated` and is refused where there are none.",
                )
                .body::<runs::StartProtocolRun>()
                .json::<runs::StartedProtocolRun>(201, "The run is in the record")
                .refuses(&[400, 404, 413, 422, 429]),
        )
        .get("/api/v1/protocols/runs", Viewer, runs::list, listed())
        // Where a client of the protocol looks for what was.
        .get("/api/v1/protocols/runs/records", Viewer, runs::list, listed())
        .get("/api/v1/protocols/runs/records/{id}", Viewer, runs::get, one())
        .get(
            "/api/v1/protocols/runs/queue",
            Viewer,
            runs::queue,
            Operation::new("Protocol runs that have not ended, newest first")
                .json::<Vec<runs::QueuedProtocolRun>>(200, "All of them"),
        )
        .get("/api/v1/protocols/runs/{id}", Viewer, runs::get, one())
        .post("/api/v1/protocols/runs/{id}/cancel", Operator, runs::cancel, control("Cancel a protocol run"))
        .post("/api/v1/protocols/runs/{id}/pause", Operator, runs::pause, control("Pause a protocol run"))
        .post("/api/v1/protocols/runs/{id}/resume", Operator, runs::resume, control("Let a protocol run go on"))
        .post("/api/v1/execution/runs/{id}/cancel", Operator, runs::cancel_quietly, quiet("Cancel a protocol run"))
        .post("/api/v1/execution/runs/{id}/pause", Operator, runs::pause_quietly, quiet("Pause a protocol run"))
        .post("/api/v1/execution/runs/{id}/resume", Operator, runs::resume_quietly, quiet("Let a protocol run go on"))
        .get(
            "/api/v1/protocols/definitions",
            Viewer,
            definitions::list,
            Operation::new("Procedures as protocols that can be started")
                .json::<Vec<definitions::ProtocolDefinition>>(200, "Those without mistakes, by name"),
        )
        .get(
            "/api/v1/protocols/definitions/{id}",
            Viewer,
            definitions::get,
            Operation::new("A protocol by its id or its name")
                .json::<definitions::ProtocolDefinition>(200, "The protocol")
                .refuses(&[400, 404, 422]),
        )
        .get(
            "/api/v1/data-outputs/outputs",
            Viewer,
            outputs::list,
            Operation::new("What runs measured and left")
                .detail("Without `protocol_run_accession_id`: of the 20 newest runs.")
                .query::<outputs::ListDataOutputs>()
                .json::<Vec<outputs::DataOutput>>(200, "A page of outputs")
                .refuses(&[400, 404]),
        )
        .get(
            "/api/v1/data-outputs/outputs/{id}",
            Viewer,
            outputs::get,
            Operation::new("A series of a run's values, or a file of a run")
                .json::<outputs::DataOutput>(200, "The output")
                .refuses(&[400, 404]),
        )
        .get(
            "/api/v1/data-outputs/outputs/{id}/export",
            Viewer,
            outputs::export,
            Operation::new("Good values of a series, or a file as it is")
                .detail("A file is exported only in its own format.")
                .query::<outputs::ExportDataOutput>()
                .raw(200, "text/csv", "Columns `timestamp`, `value`, `unit`")
                .raw(200, "application/json", "An array of objects with `timestamp`, `value`, `unit`")
                .raw(206, "text/csv", "A range of a file")
                .empty(304, "A file that the client has")
                .refuses(&[400, 404, 416, 422]),
        )
        .get(
            "/api/v1/hardware/discover/serial",
            Viewer,
            hardware::serial,
            Operation::new("Devices that agents have on serial ports")
                .json::<Vec<hardware::DiscoveredDevice>>(200, "Configured or found"),
        )
        .get(
            "/api/v1/hardware/discover/usb",
            Viewer,
            hardware::usb,
            Operation::new("Devices that agents have on USB, serial ports apart")
                .json::<Vec<hardware::DiscoveredDevice>>(200, "Configured or found"),
        )
        .post(
            "/api/v1/hardware/register",
            Operator,
            hardware::register,
            Operation::new("Ask for a device by its name or port")
                .detail("A device is configured where it is plugged in. One that an agent has is confirmed; any other is refused.")
                .body::<hardware::RegisterDevice>()
                .json::<hardware::RegisteredDevice>(200, "An agent has it already")
                .refuses(&[400, 409, 413, 422]),
        )
}

fn listed() -> Operation {
    Operation::new("Protocol runs, newest first")
        .query::<runs::ListProtocolRuns>()
        .json::<Vec<runs::ProtocolRun>>(200, "A page of runs")
        .refuses(&[400, 422])
}

fn one() -> Operation {
    Operation::new("A protocol run as it stands").json::<runs::ProtocolRun>(200, "The run").refuses(&[400, 404])
}

fn control(summary: &'static str) -> Operation {
    Operation::new(summary).json::<Done>(200, "It is being done").refuses(&[400, 404, 409])
}

fn quiet(summary: &'static str) -> Operation {
    Operation::new(summary).empty(204, "It is being done").refuses(&[400, 404, 409])
}

/// Something was done to a run.
#[derive(Debug, Serialize, schemars::JsonSchema)]
struct Done {
    success: bool,
    message: String,
}

const QUIETLY: StatusCode = StatusCode::NO_CONTENT;
