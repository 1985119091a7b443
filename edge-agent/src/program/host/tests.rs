//! Real programs: started, read, stopped, and nothing left of them.
#![expect(clippy::wildcard_enum_match_arm, reason = "a test looks for one kind of event among all")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use rigwire_shared::event::{Log, RunReport};
use rigwire_shared::ids::AgentId;
use rigwire_shared::time::Timestamp;
use rigwire_shared::value::{Fields, Value};
use uuid::Uuid;

use super::super::{Pattern, User, leftover};
use super::*;
use crate::events::{self, Entry};

const WITHIN: Duration = Duration::from_secs(20);

struct Bench {
    orders: mpsc::Sender<Order>,
    entries: mpsc::Receiver<Entry>,
    told: Vec<EventBody>,
    spool: tempfile::TempDir,
    shutdown: CancellationToken,
    task: JoinSet<anyhow::Result<()>>,
}

/// As whom these tests run: a program runs as root only if it is said.
fn own_user() -> Option<User> {
    let own = rustix::process::geteuid().as_raw();
    let home = PathBuf::from("/");
    Some(User { name: "own".to_owned(), uid: own, gid: rustix::process::getegid().as_raw(), home })
}

fn program(name: &str, command: &[&str]) -> ProgramConfig {
    let command = command.iter().map(|word| (*word).to_owned()).collect();
    ProgramConfig { user: own_user(), grace: Duration::from_millis(200), ..ProgramConfig::new(name, command) }
}

fn shell(name: &str, script: &str) -> ProgramConfig {
    program(name, &["/bin/sh", "-c", script])
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

impl Bench {
    fn start(programs: Vec<ProgramConfig>) -> Self {
        Self::start_with(programs, |_| {})
    }

    fn start_with(programs: Vec<ProgramConfig>, change: impl FnOnce(&mut HostConfig)) -> Self {
        let mut config = HostConfig { programs, ..HostConfig::new(&AgentId::new("bench-1").unwrap()) };
        change(&mut config);
        let board = Board::new(rigwire_shared::ids::Epoch(1), vec![card(&config)]);
        let (events, entries) = events::channel();
        let (orders, receiver) = mpsc::channel(8);
        let link = HubLink { connected: true, since: Instant::now(), time: None };
        let (_, hub) = watch::channel(link);
        let (spool, shutdown, mut task) = (tempfile::tempdir().unwrap(), CancellationToken::new(), JoinSet::new());
        let spool_path = spool.path().to_path_buf();
        let orders_for = receiver;
        task.spawn(run(HostTask {
            config,
            spool: spool_path,
            events,
            board,
            orders: orders_for,
            hub,
            shutdown: shutdown.clone(),
        }));
        Self { orders, entries, told: Vec::new(), spool, shutdown, task }
    }

    async fn begin(&self, program: &str, with: Fields, timeout: Duration) -> AttemptId {
        let attempt = AttemptId(Uuid::new_v4());
        let mut all = vec![("program".to_owned(), text(program))];
        all.extend(with);
        let (run, module) = (RunId(Uuid::nil()), RUN.to_owned());
        let order = StepOrder { run, attempt, fence: Some(Fence(1)), module, with: all, timeout };
        self.orders.send(Order::Start(order)).await.unwrap();
        attempt
    }

    async fn cancel(&self, attempt: AttemptId) {
        let command = CommandId(Uuid::new_v4());
        self.orders.send(Order::Cancel { command, attempt, cause: "enough".to_owned() }).await.unwrap();
    }

    async fn until<T>(&mut self, missing: &str, find: impl Fn(&EventBody) -> Option<T>) -> T {
        let deadline = Instant::now() + WITHIN;
        let mut looked = 0;
        loop {
            while let Some(body) = self.told.get(looked) {
                looked += 1;
                if let Some(found) = find(body) {
                    return found;
                }
            }
            match tokio::time::timeout_at(deadline, self.entries.recv()).await {
                Ok(Some(entry)) => {
                    // The recorder's part: it is written.
                    entry.written.map(|written| written.send(()).ok());
                    self.told.push(entry.event.body);
                }
                Ok(None) | Err(_) => panic!("there was no {missing}: {:#?}", self.told),
            }
        }
    }

    async fn end(&mut self, attempt: AttemptId) -> StepOutcome {
        self.until("end of the step", |body| match body {
            EventBody::StepFinished(finished) if finished.attempt == attempt => Some(finished.outcome.clone()),
            _ => None,
        })
        .await
    }

    async fn perform(&mut self, program: &str, with: Fields) -> StepOutcome {
        let attempt = self.begin(program, with, Duration::from_secs(10)).await;
        self.end(attempt).await
    }

    async fn until_logged(&mut self, words: &str) -> String {
        self.until(words, |body| match body {
            EventBody::Log(log) if log.message.starts_with(words) => Some(log.message.clone()),
            _ => None,
        })
        .await
    }

    fn logs(&self) -> impl Iterator<Item = &Log> {
        self.told.iter().filter_map(|body| if let EventBody::Log(log) = body { Some(log) } else { None })
    }

    fn reports(&self) -> impl DoubleEndedIterator<Item = &RunReport> {
        self.told
            .iter()
            .filter_map(|body| if let EventBody::Report { report, .. } = body { Some(report) } else { None })
    }

    /// Names and contents of the files that were sent.
    fn files(&self) -> Vec<(String, String, String)> {
        let announced = self.told.iter().filter_map(|body| match body {
            EventBody::Artifact(artifact) => Some(artifact),
            _ => None,
        });
        announced
            .map(|artifact| {
                let mut content = Vec::new();
                for body in &self.told {
                    if let EventBody::ArtifactChunk { sha256, offset, data } = body
                        && *sha256 == artifact.sha256
                    {
                        assert_eq!(*offset, content.len() as u64);
                        content.extend_from_slice(data);
                    }
                }
                assert_eq!(content.len() as u64, artifact.size);
                (artifact.name.clone(), artifact.media_type.clone(), String::from_utf8(content).unwrap())
            })
            .collect()
    }

    fn directories(&self) -> usize {
        std::fs::read_dir(work::all(self.spool.path())).map_or(0, Iterator::count)
    }

    async fn stop(mut self) -> Vec<EventBody> {
        self.shutdown.cancel();
        let deadline = Instant::now() + WITHIN;
        loop {
            tokio::select! {
                entry = self.entries.recv() => match entry {
                    Some(entry) => self.told.push(entry.event.body),
                    None => break,
                },
                () = tokio::time::sleep_until(deadline) => panic!("the host did not stop: {:#?}", self.told),
            }
        }
        self.task.join_next().await.unwrap().unwrap().unwrap();
        self.told
    }
}

fn failure(outcome: StepOutcome) -> (String, String) {
    match outcome {
        StepOutcome::Failed { error } => (error.code, error.message),
        other @ (StepOutcome::Completed { .. } | StepOutcome::Cancelled { .. }) => panic!("{other:?}"),
    }
}

fn outputs(outcome: StepOutcome) -> Fields {
    match outcome {
        StepOutcome::Completed { outputs } => outputs,
        other @ (StepOutcome::Failed { .. } | StepOutcome::Cancelled { .. }) => panic!("{other:?}"),
    }
}

fn output<'a>(outputs: &'a Fields, name: &str) -> Option<&'a Value> {
    outputs.iter().find(|(known, _)| known == name).map(|(_, value)| value)
}

fn is_running(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z')))
}

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/programs").join(name)
}

#[tokio::test]
async fn the_python_example_solves_and_tells_how_it_goes() {
    let script = example("solver.py").display().to_string();
    let mut solver = program("solver", &["/usr/bin/python3", &script]);
    solver.args_allowed = vec![Pattern::new("[0-9]{1,4}").unwrap()];
    let mut bench = Bench::start(vec![solver]);
    let with = vec![("args".to_owned(), Value::List(vec![Value::Int(12)]))];
    let found = outputs(bench.perform("solver", with).await);
    assert_eq!(output(&found, "exit_code"), Some(&Value::Int(0)));
    assert!(output(&found, "duration").and_then(Value::as_f64).is_some_and(|seconds| seconds > 0.0));
    assert!(output(&found, "peak").and_then(Value::as_f64).is_some_and(|peak| peak > 3.0), "{found:?}");
    assert!(output(&found, "response").is_some());
    let metrics = bench.reports().filter(|report| matches!(report, RunReport::Metric { .. })).count();
    assert_eq!(metrics, 12);
    assert!(bench.reports().any(|report| matches!(report, RunReport::Phase { phase, .. } if phase == "meshing")));
    let last = bench.reports().rfind(|report| matches!(report, RunReport::Progress { .. }));
    let expected = RunReport::Progress {
        percent: 95.0,
        phase: Some("postprocessing".to_owned()),
        message: Some("Writing the table".to_owned()),
    };
    assert_eq!(last, Some(&expected));
    let files = bench.files();
    assert_eq!((files[0].0.as_str(), files[0].1.as_str()), ("sweep.csv", "text/csv"));
    assert_eq!(files[0].2.lines().count(), 13);
    assert_eq!(bench.directories(), 0, "the step's directory is gone");
    bench.stop().await;
}

#[tokio::test]
async fn the_shell_example_passes_or_fails_with_what_it_said() {
    let mut check = program("check", &[&example("check.sh").display().to_string()]);
    check.args_allowed = vec![Pattern::new("[0-9]+").unwrap()];
    let mut bench = Bench::start(vec![check]);
    let found = outputs(bench.perform("check", Vec::new()).await);
    assert_eq!(output(&found, "free"), output(&found, "free_mib").and_then(Value::as_f64).map(Value::Float).as_ref());
    assert!(bench.files()[0].2.starts_with("Filesystem"));
    let with = vec![("args".to_owned(), Value::List(vec![Value::Int(999_999_999)]))];
    let (code, message) = failure(bench.perform("check", with).await);
    assert_eq!(code, "PROCESS_FAILED");
    assert!(message.starts_with("program check exited with code 1; it last printed:\n"), "{message}");
    assert!(message.ends_with("MiB are free, expected 999999999"), "{message}");
    let failed = |report: &&RunReport| matches!(report, RunReport::Tested { test, outcome: rigwire_shared::event::TestOutcome::Failed, .. } if test == "disk.free");
    assert_eq!(bench.reports().filter(failed).count(), 1);
    bench.stop().await;
}

#[tokio::test]
async fn a_cancel_ends_the_whole_group_and_what_left_it() {
    // A child that ignores SIGTERM, and one that leaves group and session.
    let script = "sh -c 'trap \"\" TERM; while :; do sleep 0.05; done' & echo deaf $!; \
                  setsid sh -c 'trap \"\" TERM; echo away $$; while :; do sleep 0.05; done' & wait";
    let mut bench = Bench::start(vec![shell("family", script)]);
    let attempt = bench.begin("family", Vec::new(), WITHIN).await;
    let deaf = bench.until_logged("deaf ").await.split_off(5);
    let away = bench.until_logged("away ").await.split_off(5);
    assert!(is_running(&deaf) && is_running(&away));
    let asked = Instant::now();
    bench.cancel(attempt).await;
    assert_eq!(bench.end(attempt).await, StepOutcome::Cancelled { safe: None });
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    assert!(!is_running(&deaf) && !is_running(&away));
    bench.stop().await;
}

#[tokio::test]
async fn a_program_may_end_well_when_it_is_asked_to() {
    let script = "trap 'echo cleaned up; exit 0' TERM; echo ready; while :; do sleep 0.02; done";
    let mut bench = Bench::start(vec![shell("polite", script)]);
    let attempt = bench.begin("polite", Vec::new(), WITHIN).await;
    bench.until_logged("ready").await;
    bench.cancel(attempt).await;
    bench.until_logged("cleaned up").await;
    assert_eq!(bench.end(attempt).await, StepOutcome::Cancelled { safe: None });
    bench.stop().await;
}

#[tokio::test]
async fn what_a_program_started_has_the_grace_too_although_the_program_itself_ended_at_once() {
    let child = "trap 'sleep 0.3; echo saved; exit' TERM; echo ready; while :; do sleep 0.05; done";
    let mut script = shell("parent", &format!("({child}) & wait"));
    script.grace = WITHIN;
    let mut bench = Bench::start(vec![script]);
    let attempt = bench.begin("parent", Vec::new(), WITHIN).await;
    bench.until_logged("ready").await;
    let asked = Instant::now();
    bench.cancel(attempt).await;
    assert_eq!(bench.end(attempt).await, StepOutcome::Cancelled { safe: None });
    assert!(asked.elapsed() < WITHIN / 2, "the grace is not waited out: {:?}", asked.elapsed());
    assert!(bench.logs().any(|log| log.message == "saved"), "{:#?}", bench.told);
    bench.stop().await;
}

#[tokio::test]
async fn what_a_program_leaves_running_ends_with_it() {
    let script = "sleep 100 & echo child $!; exit 0";
    let mut bench = Bench::start(vec![shell("parent", script)]);
    let found = outputs(bench.perform("parent", Vec::new()).await);
    assert_eq!(output(&found, "exit_code"), Some(&Value::Int(0)));
    let child = bench.until_logged("child ").await.split_off(6);
    assert!(!is_running(&child));
    let told = bench.until_logged("sleep was left running").await;
    assert_eq!(told, "sleep was left running and was ended with the program");
    bench.stop().await;
}

#[tokio::test]
async fn a_program_that_goes_on_too_long_or_prints_too_much_fails() {
    let mut loud = shell("loud", "while :; do echo 0123456789012345678901234567890123456789; done");
    loud.output_max = 100_000;
    let slow = shell("slow", "echo solving; sleep 100");
    let mut bench = Bench::start(vec![loud, slow]);
    let attempt = bench.begin("slow", Vec::new(), Duration::from_millis(300)).await;
    let (code, message) = failure(bench.end(attempt).await);
    let expected = "program slow did not end within 300ms and was stopped; it last printed:\nsolving";
    assert_eq!((code.as_str(), message.as_str()), ("MODULE_TIMEOUT", expected));
    let (code, message) = failure(bench.perform("loud", Vec::new()).await);
    assert_eq!(code, "OUTPUT_LIMIT");
    assert!(message.starts_with("program loud printed more than 100000 bytes and was stopped"), "{message}");
    let shown = bench.logs().filter(|log| log.source == "loud").count();
    assert!((1000..1100).contains(&shown), "{shown} lines in the log");
    bench.stop().await;
}

#[tokio::test]
async fn ends_are_told_for_what_they_are() {
    let mut elsewhere = shell("elsewhere", "true");
    elsewhere.directory = Some(PathBuf::from("/nonexistent/place"));
    let programs = vec![
        shell("bad", "echo one; echo two >&2; exit 3"),
        shell("shot", "kill -SEGV $$"),
        program("missing", &["/nonexistent/program"]),
        elsewhere,
    ];
    let mut bench = Bench::start(programs);
    for (name, expected) in [
        ("shot", "program shot was ended by signal 11 (SIGSEGV)"),
        ("missing", "program missing: /nonexistent/program cannot be started: No such file or directory (os error 2)"),
        ("elsewhere", "program elsewhere: directory /nonexistent/place of program elsewhere is not there"),
    ] {
        let (code, message) = failure(bench.perform(name, Vec::new()).await);
        assert_eq!(code, "PROCESS_FAILED");
        assert!(message.starts_with(expected), "{message}");
    }
    let (_, message) = failure(bench.perform("bad", Vec::new()).await);
    assert!(message.starts_with("program bad exited with code 3; it last printed:\n"), "{message}");
    assert!(message.contains("one") && message.contains("two"), "{message}");
    let (code, message) = failure(bench.perform("rm", Vec::new()).await);
    assert_eq!(code, "INVALID_PARAMETER");
    assert!(message.starts_with("program \"rm\" may not run here"), "{message}");
    assert_eq!(bench.directories(), 0);
    bench.stop().await;
}

#[tokio::test]
async fn a_program_sees_only_what_it_is_given() {
    let mut show = shell("show", "env | sort; id -u; pwd; echo \"arguments: $*\"; readlink /proc/$$/fd/0");
    show.command.push("show".to_owned());
    show.environment = [("GIVEN".to_owned(), "by config".to_owned())].into();
    show.environment_allowed = vec!["CASE".to_owned()];
    show.args_allowed = vec![Pattern::new("out=[{}a-z/.]+").unwrap()];
    let mut bench = Bench::start(vec![show]);
    let with = vec![
        ("environment".to_owned(), Value::Map(vec![("CASE".to_owned(), Value::Int(7))])),
        ("args".to_owned(), Value::List(vec![text("out={work}/a.b")])),
    ];
    outputs(bench.perform("show", with).await);
    let lines: Vec<&str> = bench.logs().map(|log| log.message.as_str()).collect();
    let names: Vec<&str> = lines.iter().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
    for name in &names {
        let known = ["CASE", "GIVEN", "HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "PWD", "PYTHONUNBUFFERED"];
        let known = known.contains(name) || ["RIGWIRE_ATTEMPT", "RIGWIRE_RUN", "RIGWIRE_WORK"].contains(name);
        assert!(
            known || ["TZ", "USER", "_", "OLDPWD", "SHLVL", "arguments: out"].contains(name),
            "{name} in {lines:?}"
        );
    }
    assert!(lines.contains(&"CASE=7") && lines.contains(&"GIVEN=by config"), "{lines:?}");
    assert!(lines.contains(&"/dev/null"), "{lines:?}");
    let work = lines.iter().find_map(|line| line.strip_prefix("RIGWIRE_WORK=")).unwrap();
    assert!(lines.contains(&work), "it starts in its own directory: {lines:?}");
    assert!(lines.contains(&format!("arguments: out={work}/a.b").as_str()), "{lines:?}");
    bench.stop().await;
}

#[tokio::test]
async fn whom_a_program_runs_as_is_kept_or_refused() {
    let mut nobody = shell("nobody", "id -u; id -G; touch $RIGWIRE_WORK/mine && echo wrote; echo $HOME $USER");
    nobody.user = Some(User { name: "nobody".to_owned(), uid: 65534, gid: 65534, home: PathBuf::from("/nonexistent") });
    let mut unsaid = shell("unsaid", "id -u");
    unsaid.user = None;
    let is_root = rustix::process::geteuid().is_root();
    let mut bench = Bench::start(vec![nobody, unsaid]);
    // Others may not look into a directory of temporary files: this one stands for a spool in /var/lib.
    if is_root {
        std::fs::set_permissions(bench.spool.path(), std::os::unix::fs::PermissionsExt::from_mode(0o711)).unwrap();
        outputs(bench.perform("nobody", Vec::new()).await);
        let lines: Vec<&str> = bench.logs().map(|log| log.message.as_str()).collect();
        assert_eq!(lines, ["65534", "65534", "wrote", "/nonexistent nobody"]);
        let (_, message) = failure(bench.perform("unsaid", Vec::new()).await);
        assert!(
            message.starts_with("program unsaid in the agent's configuration file")
                && message.contains("has no user and would run as root"),
            "{message}"
        );
    } else {
        let (_, message) = failure(bench.perform("nobody", Vec::new()).await);
        assert!(message.contains("is to run as user nobody, for which the agent lacks the rights"), "{message}");
        outputs(bench.perform("unsaid", Vec::new()).await);
    }
    bench.stop().await;
}

#[tokio::test]
async fn results_of_tests_are_read_from_tap_and_from_junit() {
    let tap = shell("tap", "echo 1..3; echo 'ok 1 - boots'; echo 'not ok 2 - halts'; echo 'ok 3 # SKIP no meter'");
    let xml = "<testsuite><testcase classname=\"t\" name=\"a\" time=\"0.5\"/><testcase name=\"b\"><failure message=\"no\"/></testcase></testsuite>";
    let junit = shell("junit", &format!("echo '{xml}' > $RIGWIRE_WORK/r.xml; exit 1"));
    let good = shell("good", "echo '<testsuite><testcase name=\"a\"/></testsuite>' > $RIGWIRE_WORK/r.xml");
    let none = shell("none", "true");
    let mut bench = Bench::start(vec![tap, junit, good, none]);
    let with = |results: &str, file: Option<&str>| {
        let mut with = vec![("results".to_owned(), text(results))];
        with.extend(file.map(|file| ("file".to_owned(), text(file))));
        with
    };
    let (code, message) = failure(bench.perform("tap", with("tap", None)).await);
    assert_eq!((code.as_str(), message.as_str()), ("EXPECTATION_FAILED", "1 of 3 tests failed: halts"));
    let (code, message) = failure(bench.perform("junit", with("junit", Some("r.xml"))).await);
    assert_eq!((code.as_str(), message.as_str()), ("EXPECTATION_FAILED", "1 of 2 tests failed: b"));
    let found = outputs(bench.perform("good", with("junit", Some("{work}/r.xml"))).await);
    assert_eq!(output(&found, "tests").and_then(|tests| tests.get("passed")), Some(&Value::Int(1)));
    let (code, message) = failure(bench.perform("none", with("junit", Some("r.xml"))).await);
    let expected = "program none left no results: r.xml cannot be read: No such file or directory (os error 2)";
    assert_eq!((code.as_str(), message.as_str()), ("PROCESS_FAILED", expected));
    let tests = bench.reports().filter(|report| matches!(report, RunReport::Tested { .. })).count();
    assert_eq!(tests, 6);
    bench.stop().await;
}

#[tokio::test]
async fn artifacts_are_sent_whole_and_never_from_elsewhere() {
    let script = "head -c 200000 /dev/zero | tr '\\0' x > big.bin; echo ::rigwire artifact big.bin name=renamed.txt; \
                  ln -s /etc/passwd link; echo ::rigwire artifact link; echo ::rigwire artifact ../../secret; \
                  mkfifo pipe; echo ::rigwire artifact pipe; echo ::rigwire artifact big.bin name=a/b; \
                  echo ::rigwire artifact huge.bin";
    let mut files = shell("files", &format!("head -c 2000000 /dev/zero > huge.bin; {script}"));
    files.artifact_max = 1_000_000;
    let mut bench = Bench::start(vec![files]);
    outputs(bench.perform("files", Vec::new()).await);
    let sent = bench.files();
    assert_eq!(sent.len(), 1);
    assert_eq!((sent[0].0.as_str(), sent[0].1.as_str(), sent[0].2.len()), ("renamed.txt", "text/plain", 200_000));
    let warnings: Vec<&str> = bench.logs().map(|log| log.message.as_str()).collect();
    assert_eq!(
        warnings,
        [
            "an artifact was left out: link leads out of the step's own directory",
            "an artifact was left out: ../../secret is not a file in the step's own directory",
            "an artifact was left out: pipe is not a regular file",
            "an artifact was left out: \"a/b\" is no name for it, expected 1 to 200 bytes without slashes",
            "an artifact was left out: huge.bin has more than 1000000 bytes",
        ]
    );
    bench.stop().await;
}

#[tokio::test]
async fn so_many_run_at_once_and_others_wait_their_turn() {
    let wait = "echo up; while [ ! -e /proc/$PPID/nothing ]; do sleep 0.02; done";
    let mut single = shell("single", wait);
    single.max_parallel = Some(1);
    let mut bench = Bench::start_with(vec![single, shell("other", wait)], |config| config.max_parallel = 2);
    let first = bench.begin("single", Vec::new(), WITHIN).await;
    let second = bench.begin("single", Vec::new(), WITHIN).await;
    let short = bench.begin("single", Vec::new(), Duration::from_millis(300)).await;
    let other = bench.begin("other", Vec::new(), WITHIN).await;
    let begun = |wanted: AttemptId| {
        move |body: &EventBody| {
            matches!(body, EventBody::StepStarted { attempt, .. } if *attempt == wanted).then_some(())
        }
    };
    bench.until("start of the first", begun(first)).await;
    bench.until("start of the other program", begun(other)).await;
    let (code, message) = failure(bench.end(short).await);
    let expected = "no place for another program became free on host-bench-1 within 300ms";
    assert_eq!((code.as_str(), message.as_str()), ("DEVICE_BUSY", expected));
    assert!(!bench.told.iter().any(|body| begun(second)(body).is_some()), "one at a time");
    let busy =
        |body: &EventBody| matches!(body, EventBody::Device(change) if change.cause == "2 programs run").then_some(());
    bench.until("state with two programs", busy).await;
    bench.cancel(first).await;
    bench.until("start of the second", begun(second)).await;
    bench.cancel(second).await;
    bench.cancel(other).await;
    assert_eq!(bench.end(other).await, StepOutcome::Cancelled { safe: None });
    bench.stop().await;
}

#[tokio::test]
async fn an_orderly_stop_leaves_nothing_running() {
    let mut bench = Bench::start(vec![shell("deaf", "trap '' TERM; echo pid $$; while :; do sleep 0.05; done")]);
    let attempt = bench.begin("deaf", Vec::new(), WITHIN).await;
    let pid = bench.until_logged("pid ").await.split_off(4);
    let asked = Instant::now();
    let told = bench.stop().await;
    assert!(asked.elapsed() < Duration::from_millis(1200), "{:?}", asked.elapsed());
    assert!(!is_running(&pid));
    let ended = |body: &EventBody| matches!(body, EventBody::StepFinished(finished) if finished.attempt == attempt && finished.outcome == StepOutcome::Cancelled { safe: None });
    assert!(told.iter().any(ended));
}

#[tokio::test]
async fn a_task_that_is_dropped_leaves_no_program_and_a_start_finds_what_a_killed_agent_left() {
    let script = "setsid sh -c 'echo pid $$; while :; do sleep 0.05; done' & wait";
    let mut bench = Bench::start(vec![shell("away", script)]);
    bench.begin("away", Vec::new(), WITHIN).await;
    let pid = bench.until_logged("pid ").await.split_off(4);
    // What SIGKILL does to an agent, as far as its programs are concerned: nobody ends them.
    bench.task.shutdown().await;
    assert!(is_running(&pid), "it left the group and outlives whoever watched it");
    assert_eq!(bench.directories(), 1);
    let cleared = leftover::clear(bench.spool.path()).unwrap();
    assert_eq!(cleared.len(), 1, "{cleared:?}");
    assert!(cleared[0].starts_with("sh"), "{cleared:?}");
    assert!(!is_running(&pid));
    assert_eq!(bench.directories(), 0);
    assert_eq!(leftover::clear(bench.spool.path()).unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn directories_that_may_not_be_written_are_removed_and_what_cannot_be_keeps_no_agent_from_starting() {
    // As Go's module cache leaves them.
    let mut bench = Bench::start(vec![shell("modules", "mkdir -p a/b && echo x > a/b/c && chmod 500 a/b a")]);
    outputs(bench.perform("modules", Vec::new()).await);
    assert_eq!(bench.directories(), 0);
    // Nothing that an attempt makes, and nothing that can be removed like one.
    let odd = work::all(bench.spool.path()).join(Uuid::nil().to_string());
    std::fs::write(&odd, "").unwrap();
    assert_eq!(leftover::clear(bench.spool.path()).unwrap(), Vec::<String>::new());
    bench.stop().await;
}

#[tokio::test]
async fn a_lease_of_a_person_keeps_others_out() {
    let mut bench = Bench::start(vec![shell("quick", "true")]);
    let until = Timestamp(Timestamp::now().0 + 60_000_000);
    let (command, holder) = (CommandId(Uuid::nil()), "alice".to_owned());
    bench.orders.send(Order::Grant { command, fence: Fence(9), until, holder }).await.unwrap();
    let (code, message) = failure(bench.perform("quick", Vec::new()).await);
    assert_eq!((code.as_str(), message.as_str()), ("LEASE_LOST", "host-bench-1 is leased to alice"));
    bench.orders.send(Order::Release { command, fence: Fence(9) }).await.unwrap();
    outputs(bench.perform("quick", Vec::new()).await);
    bench.stop().await;
}
