//! REST neighbours of this protocol: workflows, their executions, files, and statistics. Part of the shell.

use crate::access::Role::{Operator, Viewer};
use crate::describe::{Object, Operation};
use crate::routes::Routes;

mod executions;
mod files;
mod stats;
mod workflows;

pub(super) fn routes(routes: Routes) -> Routes {
    routes.with(of_executions).with(of_workflows).with(of_files).with(of_statistics)
}

fn of_executions(routes: Routes) -> Routes {
    routes
        .open(
            "/health",
            executions::health,
            Operation::new("Whether the hub lives").json::<executions::Health>(200, "It does"),
        )
        .post(
            "/api/workflow/execute",
            Operator,
            executions::execute,
            Operation::new("Execute a workflow")
                .detail("Without nodes: the procedure of the name `workflow_id`.")
                .body::<workflows::Workflow>()
                .json::<executions::ExecutedWorkflow>(200, "The execution is in the record")
                .refuses(&[400, 404, 413, 422, 429]),
        )
        .post(
            "/api/workflow/cancel/{id}",
            Operator,
            executions::cancel,
            Operation::new("Cancel an execution")
                .detail("The one that the body names, or the newest of the workflow.")
                .optional_body::<executions::CancelExecution>()
                .json::<workflows::Done>(200, "It is being cancelled")
                .refuses(&[400, 404, 409, 413, 422]),
        )
        .get(
            "/api/workflow/status/{id}",
            Viewer,
            executions::status,
            Operation::new("Where an execution stands")
                .detail("By the execution's id, or by the workflow's: then its newest.")
                .json::<executions::WorkflowExecution>(200, "Its state")
                .refuses(&[404]),
        )
        .get(
            "/api/workflow/list",
            Viewer,
            executions::list,
            Operation::new("Executions, newest first")
                .query::<executions::ListWorkflows>()
                .json::<executions::WorkflowList>(200, "A page of executions")
                .refuses(&[400, 422]),
        )
}

fn of_workflows(routes: Routes) -> Routes {
    routes
        .post(
            "/api/workflow/create",
            Operator,
            workflows::create,
            Operation::new("Keep a workflow without executing it")
                .body::<workflows::Workflow>()
                .json::<workflows::KeptWorkflow>(200, "It is kept as a procedure")
                .refuses(&[400, 409, 413, 422]),
        )
        .get(
            "/api/workflow/{id}",
            Viewer,
            workflows::get,
            Operation::new("An execution with its nodes and edges, or a workflow that was not executed yet")
                .json::<workflows::WorkflowDetail>(200, "The workflow")
                .refuses(&[400, 404, 422]),
        )
        .put(
            "/api/workflow/{id}",
            Operator,
            workflows::update,
            Operation::new("Keep a workflow anew")
                .body::<workflows::Workflow>()
                .json::<workflows::KeptWorkflow>(200, "It is kept")
                .refuses(&[400, 404, 413, 422]),
        )
        .delete(
            "/api/workflow/{id}",
            Operator,
            workflows::delete,
            Operation::new("Remove a workflow that was kept")
                .detail("Executions stay in the record, and go on.")
                .json::<workflows::Done>(200, "It is removed")
                .refuses(&[400, 404]),
        )
}

fn of_files(routes: Routes) -> Routes {
    routes
        .post(
            "/api/upload",
            Operator,
            files::upload,
            Operation::new("Leave a file with an execution that goes on")
                .detail("A form with one file, 1 MiB with all around it. A file belongs to a run: there is no other place.")
                .query::<files::UploadTo>()
                .body_as::<files::UploadForm>("multipart/form-data")
                .json::<files::Uploaded>(200, "It is in the record")
                .refuses(&[400, 404, 409, 413, 422]),
        )
        .get(
            "/api/files/list",
            Viewer,
            files::list,
            Operation::new("Reports of runs, or files of one run")
                .detail("`reports`: one for each run that has ended. `uploads`, `assets`: files of the run that `subdirectory` names.")
                .query::<files::ListFiles>()
                .json::<files::FileList>(200, "Up to 500")
                .refuses(&[400, 404, 422]),
        )
        .get(
            "/api/files/info/{file}",
            Viewer,
            files::info,
            Operation::new("One of them")
                .query::<files::ListFiles>()
                .json::<files::FileInfo>(200, "What is known of it")
                .refuses(&[400, 404, 422]),
        )
        .get(
            "/reports/{file}",
            Viewer,
            files::report,
            Operation::new("A run's report")
                .detail("The file's name is the run's id with the ending `pdf`, `html`, `json`, `junit` or `csv`.")
                .raw(200, "*/*", "The report")
                .refuses(&[400, 404]),
        )
}

fn of_statistics(routes: Routes) -> Routes {
    routes.get(
        "/stats",
        Viewer,
        stats::get,
        Operation::new("Statistics of the sockets, and of the hub behind them").json::<Object>(200, "The statistics"),
    )
}
