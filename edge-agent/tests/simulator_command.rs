//! `rigwire-agent simulate` as another program uses it: its first line, its orders, its end.

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

struct Simulator {
    child: Child,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Simulator {
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_rigwire-agent"))
            .arg("simulate")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("starting the simulator");
        let output = child.stdout.take().expect("a pipe");
        Self { child, answers: BufReader::new(output).lines() }
    }

    fn line(&mut self) -> String {
        self.answers.next().expect("one more line").expect("a readable line")
    }

    fn order(&mut self, order: &str) -> String {
        let mut input = self.child.stdin.as_ref().expect("a pipe");
        writeln!(input, "{order}").expect("writing an order");
        self.line()
    }

    fn terminate(&mut self) -> Option<i32> {
        let process = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw).expect("a process");
        rustix::process::kill_process(process, rustix::process::Signal::TERM).expect("sending SIGTERM");
        self.child.wait().expect("waiting for the simulator").code()
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        // A test that failed leaves it running; one that did not has waited for it.
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            self.child.kill().expect("ending the simulator");
            self.child.wait().expect("waiting for the simulator");
        }
    }
}

#[test]
fn the_first_line_is_the_port_and_every_order_has_an_answer() {
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("psu");
    let link = link.to_str().unwrap();
    let mut simulator =
        Simulator::start(&["korad.ka3005p", "--link", link, "--set", "vset=12", "--fault", "split:2ms"]);
    assert_eq!(simulator.line(), link);
    assert!(Path::new(link).exists());
    assert_eq!(simulator.order("get vset"), "12");
    assert_eq!(simulator.order("set vset=3.3"), "ok");
    assert_eq!(simulator.order("unplug"), "ok");
    assert!(Path::new(link).symlink_metadata().is_err());
    assert_eq!(simulator.order("replug"), format!("ok {link}"));
    assert_eq!(simulator.order("get vset"), "3.3");
    assert!(simulator.order("fault lost").starts_with("error: fault \"lost\" is unknown, expected silent, "));
    // The end of its input is not its end.
    drop(simulator.child.stdin.take());
    assert!(Path::new(link).exists());
    assert_eq!(simulator.terminate(), Some(0));
    assert!(Path::new(link).symlink_metadata().is_err(), "the link is left behind");
}

#[test]
fn what_reaches_the_instrument_is_traced_with_its_time() {
    let dir = tempfile::tempdir().unwrap();
    let trace = dir.path().join("trace");
    let mut simulator = Simulator::start(&["korad.ka3005p", "--trace", trace.to_str().unwrap()]);
    let port = simulator.line();
    let mut terminal = std::fs::OpenOptions::new().read(true).write(true).open(port).unwrap();
    terminal.write_all(b"OUT1").unwrap();
    while simulator.order("get out") != "1" {}
    let text = std::fs::read_to_string(trace).unwrap();
    let (time, received) = text.trim_end().split_once(' ').unwrap();
    assert_eq!(received, "OUT1");
    let age = rigwire_shared::time::Timestamp::now().0 - time.parse::<i64>().unwrap();
    assert!((0..20_000_000).contains(&age), "{age}");
}

#[test]
fn an_unknown_profile_ends_it_with_a_message() {
    let output = Command::new(env!("CARGO_BIN_EXE_rigwire-agent")).args(["simulate", "korad.ka3005"]).output().unwrap();
    assert!(!output.status.success());
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(message.contains("korad.ka3005: no such profile, did you mean korad.ka3005p?"), "{message}");
}
