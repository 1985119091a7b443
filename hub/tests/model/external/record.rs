//! Runs of their own for tests and iterations, files, and what is known of external runs after a restart.

use super::*;

#[test]
fn tests_and_iterations_are_runs_of_their_own() {
    let mut world = World::new();
    let suite_run = world.start(suite());
    world
        .report(
            suite_run,
            json!([
                {"type": "test", "test": "t1", "status": "running", "current_run": 1, "progress": 60},
                {"type": "test", "test": "t1", "status": "running", "current_run": 2, "progress": 0, "message": "again"},
                {"type": "test", "test": "t2", "status": "failed", "error": "no charge", "duration_s": 2.5, "score": 0.25},
            ]),
        )
        .unwrap();
    let refused = json!([{"type": "iteration", "iteration": 1, "parameters": {}, "metrics": {}, "feasible": true},
        {"type": "progress", "percent": 50}, {"type": "progress", "percent": 40}]);
    world.report(suite_run, refused).unwrap_err();
    let parts = world.parts();
    let [(boots, told), (charges, failed)] = parts.as_slice() else { panic!("{parts:?}") };
    let header = world.run(suite_run).header;
    assert_eq!((boots.kind, boots.name.as_str(), boots.parent), (RunKind::Execution, "Boots", Some(suite_run)));
    let numbers = [header.number, header.tests[0].number, header.tests[1].number, boots.number, charges.number];
    assert!(numbers.is_sorted_by(|one, next| one < next), "no number is used twice: {numbers:?}");
    let percents: Vec<f64> = told
        .iter()
        .filter_map(|body| if let RunEventBody::Progress(progress) = body { Some(progress.percent) } else { None })
        .collect();
    assert_eq!(percents, [20.0, 100.0 / 3.0]);
    assert_eq!(end_of(failed), (RunStatus::Failed, "no charge".to_owned(), 2.5));
    assert_eq!(world.model.run(RunReference::Number(boots.number)).unwrap().status, RunStatus::Running);
    assert_eq!(world.model.active_runs(), 1, "parts take nobody's place");
    // The producer may say more of a part; its run ends with the whole.
    let boots = boots.id;
    world.report(boots, json!([{"type": "log", "level": "info", "message": "beep"}])).unwrap();
    world.report(suite_run, json!([{"type": "status", "status": "completed"}])).unwrap();
    let parts = world.parts();
    assert_eq!(end_of(&parts[0].1).0, RunStatus::Cancelled);
    assert_eq!(end_of(&parts[0].1).1, "its run is completed");

    let study = world.start(json!({"kind": "optimization", "name": "shape"}));
    let iteration = |number: u64, run: Option<RunId>| {
        json!({"type": "iteration", "iteration": number, "parameters": {"t": 2.5}, "metrics": {"mass": 3, "m m": 1},
            "feasible": true, "run": run.map(|run| run.to_string())})
    };
    world.report(study, json!([iteration(1, None), iteration(1, None), iteration(2, Some(suite_run))])).unwrap();
    let parts = world.parts();
    assert_eq!(parts.len(), 3, "told twice it is one run, and one that has a run gets none");
    let (header, told) = &parts[2];
    assert_eq!((header.kind, header.name.as_str()), (RunKind::Solve, "shape: iteration 1"));
    assert_eq!(header.params, vec![("t".to_owned(), rigwire_shared::value::Value::Float(2.5))]);
    assert_eq!(end_of(told).0, RunStatus::Completed);
    let named: Vec<Option<RunId>> = world
        .bodies()
        .into_iter()
        .filter_map(|body| if let RunEventBody::Iteration(told) = body { Some(told.run) } else { None })
        .collect();
    assert_eq!(named, [Some(header.id), Some(header.id), Some(suite_run)]);
}

#[test]
fn files_are_taken_with_their_batch_or_not_at_all() {
    let mut world = World::new();
    world.model.set_artifact_limits(rigwire::artifact::Limits { file: 4, run: 8 });
    let run = world.start(solve());
    let file =
        |name: &str, data: &str| json!({"type": "artifact", "name": name, "media_type": "text/csv", "data": data});
    let mut first = json!([file("x.csv", "YSxi"), file("x.csv", "YQ==")]);
    first[0]["id"] = json!("1");
    first[1]["id"] = json!("2");
    assert_eq!(world.report(run, first.clone()).map(|receipt| receipt.accepted), Ok(2));
    assert_eq!(world.report(run, first).map(|receipt| receipt.accepted), Ok(0));
    for (batch, problem) in [
        (json!([file("y", "YQ=="), file("y", "YWJjZGU=")]), "events[1].data: it has 5 bytes, a file may have 4"),
        (
            json!([file("y", "YWJj"), file("z", "YWJj")]),
            "events[1].data: it has 3 bytes, the run's files have 7 already and may have 8 together",
        ),
        (
            json!([file("y", "YQ=="), {"type": "status", "status": "completed"}, file("z", "")]),
            "events[2]: the run is completed already",
        ),
    ] {
        assert_eq!(world.report(run, batch).map_err(|refused| refused.to_string()), Err(problem.to_owned()));
    }
    let told: Vec<(String, u64)> = world
        .bodies()
        .into_iter()
        .filter_map(|body| match body {
            RunEventBody::Artifact { path, size, .. } => Some((path.clone(), *size)),
            _ => None,
        })
        .collect();
    assert_eq!(told, [(format!("{run}/x.csv"), 3), (format!("{run}/x-2.csv"), 1)]);
}

fn open(directory: &std::path::Path) -> (Model, Store, store::Writer) {
    let (sender, _effects) = mpsc::channel(64);
    let (store, writer, restored) = store::open(directory, sender).unwrap();
    (Model::new(restored, Box::new(Uuid::new_v4), Timestamp::now()), store, writer)
}

#[tokio::test]
async fn a_run_goes_on_after_a_restart_and_knows_what_was_reported() {
    let directory = tempfile::tempdir().unwrap();
    let (mut model, store, writer) = open(directory.path());
    let mut body = suite();
    body["deadline_s"] = json!(60);
    let run = model.start_external(announced(body).unwrap(), Timestamp::now());
    let batch = json!([
        {"id": "a", "type": "progress", "percent": 30},
        {"id": "b", "type": "test", "test": "t1", "status": "completed"},
        {"id": "c", "type": "test", "test": "t2", "status": "running"},
    ]);
    let batch = parse_batch(batch.to_string().as_bytes()).unwrap();
    let seq = model.report_external(run, &batch, Timestamp::now()).unwrap().seq;
    store.write(model.take_outputs()).await.unwrap();
    store.stop().await;
    tokio::task::spawn_blocking(move || writer.join()).await.unwrap();

    let (mut model, store, writer) = open(directory.path());
    let now = Timestamp::now();
    assert_eq!(model.report_external(run, &batch, now), Ok(Receipt { accepted: 0, seq }));
    for (event, expected) in [
        (json!({"type": "progress", "percent": 29}), "events[0].percent: 29 is less than 30"),
        (json!({"type": "test", "test": "t1", "status": "failed"}), "events[0].status: test t1 is completed already"),
    ] {
        let batch = parse_batch(json!([event]).to_string().as_bytes()).unwrap();
        let told = model.report_external(run, &batch, now).unwrap_err().to_string();
        assert!(told.starts_with(expected), "{told}");
    }
    let parts = |model: &mut Model| -> Vec<(Option<RunId>, RunStatus)> {
        (1..=20)
            .filter_map(|number| model.run(RunReference::Number(number)))
            .map(|run| (run.header.parent, run.status))
            .collect()
    };
    // The run of the test that ended is in the record only; the other goes on, and ends with the whole.
    assert_eq!(parts(&mut model), [(None, RunStatus::Running), (Some(run), RunStatus::Running)]);
    let wake = model.next_wake().expect("the deadline holds").0;
    assert!((1_000_000..=60_000_000).contains(&(wake - now.0)), "{}", wake - now.0);
    model.tick(Timestamp(wake));
    assert_eq!(model.run(RunReference::Id(run)).unwrap().status, RunStatus::Failed);
    assert_eq!(parts(&mut model), [(None, RunStatus::Failed), (Some(run), RunStatus::Cancelled)]);
    store.write(model.take_outputs()).await.unwrap();
    assert!(store.has_reported(run, vec!["a".to_owned(), "b".to_owned()]).await.unwrap());
    assert!(!store.has_reported(run, vec!["a".to_owned(), "z".to_owned()]).await.unwrap());
    store.stop().await;
    tokio::task::spawn_blocking(move || writer.join()).await.unwrap();
}
