//! REST neighbours of this protocol under `/api/v2`: procedures as simulations, their runs, studies over them, and reports.
//! Part of the shell.

use crate::access::Role::{Operator, Viewer};
use crate::describe::Operation;
use crate::routes::Routes;

mod optimizations;
mod reports;
mod runs;
mod study;

pub(super) fn routes(routes: Routes) -> Routes {
    routes.with(of_runs).with(of_optimizations).with(of_reports)
}

fn of_runs(routes: Routes) -> Routes {
    routes
        .post(
            "/api/v2/simulations/{id}/runs",
            Operator,
            runs::create,
            Operation::new("Start a run of a simulation")
                .detail("A simulation is a procedure: its name, or the UUID that stands for it.")
                .body::<runs::CreateSolverRun>()
                .json::<runs::SolverRun>(201, "The run is in the record")
                .refuses(&[400, 404, 413, 422, 429]),
        )
        .get(
            "/api/v2/simulations/{id}/runs",
            Viewer,
            runs::list,
            Operation::new("Runs of a simulation, newest first")
                .query::<runs::ListSolverRuns>()
                .json::<Vec<runs::SolverRun>>(200, "A page of runs")
                .refuses(&[400, 404]),
        )
        .get(
            "/api/v2/runs/{id}",
            Viewer,
            runs::get,
            Operation::new("A run with its log, metrics and files")
                .json::<runs::SolverRunDetail>(200, "The run")
                .refuses(&[400, 404]),
        )
        .post(
            "/api/v2/runs/{id}/cancel",
            Operator,
            runs::cancel,
            Operation::new("Cancel a run")
                .json::<runs::SolverRun>(200, "The run, which is being cancelled")
                .refuses(&[400, 404, 409]),
        )
        .get(
            "/api/v2/runs/{id}/metrics",
            Viewer,
            runs::metrics,
            Operation::new("The last good value of each metric of a run")
                .json::<Vec<runs::SolverMetric>>(200, "All of them")
                .refuses(&[400, 404]),
        )
        .get(
            "/api/v2/runs/{id}/artifacts",
            Viewer,
            runs::artifacts,
            Operation::new("Files of a run")
                .query::<runs::ListSolverRuns>()
                .json::<Vec<runs::SolverArtifact>>(200, "A page of files")
                .refuses(&[400, 404]),
        )
        .get(
            "/api/v2/runs/{id}/artifacts/{artifact}/download",
            Viewer,
            runs::download,
            Operation::new("A file of a run")
                .raw(200, "*/*", "The file")
                .raw(206, "*/*", "A range of it")
                .empty(304, "The client has it")
                .refuses(&[400, 404, 416]),
        )
}

fn of_optimizations(routes: Routes) -> Routes {
    routes
        .post(
            "/api/v2/simulations/{id}/optimize",
            Operator,
            optimizations::create,
            Operation::new("Start a study over a simulation")
                .detail(
                    "Strategies: `parametric_sweep` (a grid), `genetic` (NSGA-II), and the hub's own `grid`, `random`, \
                     `latin-hypercube`, `nelder-mead`, `nsga-2`. Any other is refused by name.",
                )
                .body::<study::CreateOptimization>()
                .json::<optimizations::OptimizationStudy>(201, "The study is in the record")
                .refuses(&[400, 404, 413, 422, 429]),
        )
        .get(
            "/api/v2/optimizations/{id}",
            Viewer,
            optimizations::get,
            Operation::new("A study as it stands")
                .json::<optimizations::OptimizationStudy>(200, "The study")
                .refuses(&[400, 404]),
        )
        .get(
            "/api/v2/optimizations/{id}/iterations",
            Viewer,
            optimizations::iterations,
            Operation::new("Iterations that have ended, in that order")
                .query::<runs::ListSolverRuns>()
                .json::<Vec<optimizations::SolverIteration>>(200, "A page of iterations")
                .refuses(&[400, 404]),
        )
        .get(
            "/api/v2/optimizations/{id}/pareto",
            Viewer,
            optimizations::pareto,
            Operation::new("Iterations that no other beats")
                .detail("Empty for a study that a program reports: only its program knows its objectives.")
                .json::<Vec<optimizations::SolverIteration>>(200, "The front")
                .refuses(&[400, 404]),
        )
        .post("/api/v2/optimizations/{id}/pause", Operator, optimizations::pause, control("Pause a study"))
        .post("/api/v2/optimizations/{id}/resume", Operator, optimizations::resume, control("Let a study go on"))
}

fn control(summary: &'static str) -> Operation {
    Operation::new(summary)
        .json::<optimizations::OptimizationStudy>(200, "The study as it now is")
        .refuses(&[400, 404, 409])
}

fn of_reports(routes: Routes) -> Routes {
    routes
        .post(
            "/api/v2/reports/generate",
            Operator,
            reports::generate,
            Operation::new("Make a report of a run")
                .detail("Of one run, as `pdf` or `json`, or `all` for both. Files are made when they are read.")
                .body::<reports::GenerateReport>()
                .json::<reports::GeneratedReport>(201, "Where it is")
                .refuses(&[400, 404, 413, 422]),
        )
        .get(
            "/api/v2/reports/list",
            Viewer,
            reports::list,
            Operation::new("Reports of runs that have ended, newest first")
                .query::<runs::ListSolverRuns>()
                .json::<reports::SolverReports>(200, "A page of reports")
                .refuses(&[400]),
        )
        .get(
            "/api/v2/reports/download/{file}",
            Viewer,
            reports::download,
            Operation::new("A run's report")
                .detail("The file's name is the run's id with the ending `pdf`, `html`, `json`, `junit` or `csv`.")
                .raw(200, "*/*", "The report")
                .refuses(&[400, 404]),
        )
}
