//! REST neighbours of this protocol under `/api/v1`: procedures as flows, modules, runs as executions, and figures. Devices
//! and reports are the hub's own. Part of the shell.

use crate::access::Role::{Operator, Viewer};
use crate::api::devices;
use crate::describe::Operation;
use crate::routes::Routes;

mod executions;
mod figures;
mod flow;
mod flows;

pub(super) fn routes(routes: Routes) -> Routes {
    routes.with(of_flows).with(of_executions)
}

fn of_flows(routes: Routes) -> Routes {
    routes
        // As its clients spell it.
        .get("/api/v1/devices/", Viewer, devices::list, Operation::new("Devices of all agents").json::<devices::Devices>(200, "The same as without the slash"))
        .get(
            "/api/v1/modules",
            Viewer,
            flows::modules,
            Operation::new("Modules that a flow may use")
                .query::<flows::ListModules>()
                .json::<Vec<flows::FarmModule>>(200, "All of them, or those of a category")
                .refuses(&[400]),
        )
        .get(
            "/api/v1/flows",
            Viewer,
            flows::list,
            Operation::new("Flows: procedures without mistakes, by name")
                .query::<flows::ListFlows>()
                .json::<Vec<flows::Flow>>(200, "All of them; each is `public`")
                .refuses(&[400]),
        )
        .post(
            "/api/v1/flows",
            Operator,
            flows::create,
            Operation::new("Make a flow of modules")
                .detail("It is kept as a procedure. Its visibility is `public`, whatever was asked for.")
                .body::<flow::CreateFlow>()
                .json::<flows::Flow>(201, "The flow")
                .refuses(&[400, 409, 413, 422]),
        )
        .get(
            "/api/v1/flows/{id}",
            Viewer,
            flows::get,
            Operation::new("A flow by its id or its name")
                .json::<flows::Flow>(200, "The flow")
                .refuses(&[400, 404, 422]),
        )
        .post(
            "/api/v1/flows/{id}/execute",
            Operator,
            flows::execute,
            Operation::new("Execute a flow on devices")
                .detail(
                    "One device: it plays the flow's role. As many devices as roles: each plays one that it fits. More devices \
                     than the one role: all carry out the steps side by side, and the execution fails if every device did. \
                     None: the hub chooses as for any run.",
                )
                .body::<flow::ExecuteFlow>()
                .json::<executions::Execution>(202, "The execution is in the record")
                .refuses(&[400, 404, 413, 422, 429]),
        )
}

fn of_executions(routes: Routes) -> Routes {
    let one = |operation: Operation| operation.refuses(&[400, 404]);
    routes
        .get(
            "/api/v1/executions",
            Viewer,
            executions::list,
            Operation::new("Executions, newest first")
                .query::<executions::ListExecutions>()
                .json::<executions::ListedExecutions>(200, "A list; with `offset` a page")
                .refuses(&[400, 404, 422]),
        )
        .get(
            "/api/v1/executions/stats/summary",
            Viewer,
            figures::stats,
            Operation::new("All executions in few numbers").json::<figures::ExecutionStats>(200, "The figures"),
        )
        .get(
            "/api/v1/executions/{id}",
            Viewer,
            executions::get,
            one(Operation::new("An execution with its steps").json::<executions::ExecutionDetail>(200, "The execution")),
        )
        .get(
            "/api/v1/executions/{id}/status",
            Viewer,
            executions::status,
            one(Operation::new("Where an execution stands").json::<executions::ExecutionState>(200, "Its state")),
        )
        .post(
            "/api/v1/executions/{id}/cancel",
            Operator,
            executions::cancel,
            Operation::new("Cancel an execution")
                .json::<executions::Execution>(200, "The execution, which is being cancelled")
                .refuses(&[400, 404, 409]),
        )
        .get(
            "/api/v1/executions/{id}/logs",
            Viewer,
            executions::logs,
            one(Operation::new("Log of an execution, from its beginning")
                .query::<executions::ListLogs>()
                .json::<executions::ExecutionLogs>(200, "A page of lines")),
        )
        .get(
            "/api/v1/executions/{id}/artifacts",
            Viewer,
            executions::artifacts,
            one(Operation::new("Files of an execution").json::<executions::ExecutionArtifacts>(200, "The first 1,000")),
        )
        .get(
            "/api/v1/reports/summary",
            Viewer,
            figures::summary,
            Operation::new("Executions of some time in few numbers")
                .query::<figures::SummaryPeriod>()
                .json::<figures::ReportSummary>(200, "The figures")
                .refuses(&[400, 422]),
        )
}
