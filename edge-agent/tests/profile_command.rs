//! `rigwire-agent profile` as a contributor uses it: what it prints, and how it ends.

use std::path::Path;
use std::process::Command;

fn profile(arguments: &[&str]) -> (bool, String) {
    let command = Command::new(env!("CARGO_BIN_EXE_rigwire-agent")).arg("profile").args(arguments).output();
    let output = command.expect("starting the program");
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn bundled_files_are_right() {
    let (ended_well, output) = profile(&["check", "profiles/korad.ka3005p.toml", "profiles/eurotherm.2400.toml"]);
    let expected = "profiles/korad.ka3005p.toml: ok, 4 readings, 3 actions, 1 vectors\n\
        profiles/eurotherm.2400.toml: ok, 4 readings, 1 actions, 2 vectors; profile eurotherm.2400: transport \
        modbus-rtu, modbus-rtu-over-tcp, modbus-tcp is not driven yet, expected serial or tcp\n";
    assert_eq!((ended_well, output.as_str()), (true, expected));
    let (ended_well, output) = profile(&["list"]);
    assert!(ended_well && output.lines().count() == 4 && output.contains("hp.34401a"), "{output}");
}

#[test]
fn a_mistake_is_printed_with_file_line_and_key() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mine.toml");
    let source = std::fs::read_to_string("profiles/korad.ka3005p.toml").unwrap();
    std::fs::write(&path, source.replace("VSET1:{v:05.2f}", "VSET1:{w:05.2f}")).unwrap();
    let name = path.to_str().unwrap();
    let expected = format!("{name}:72: action[1].send: placeholder {{w}} is no parameter, expected v\n");
    assert_eq!(profile(&["check", name]), (false, expected.clone()));
    assert_eq!(profile(&["test", name]), (false, expected));
    let (ended_well, output) = profile(&["check", "profiles/korad.ka3005p.toml", "missing.toml"]);
    assert!(!ended_well && output.lines().count() == 2, "{output}");
    assert!(output.contains("missing.toml: No such file or directory"), "{output}");
    assert!(Path::new(name).exists());
}

#[test]
fn a_profile_without_a_driver_says_what_was_not_run() {
    let (ended_well, output) = profile(&["test", "eurotherm.2400"]);
    assert!(ended_well, "{output}");
    assert!(output.contains("eurotherm.2400: 2 vectors hold\neurotherm.2400: not run: readings, "), "{output}");
    assert!(output.ends_with("eurotherm.2400: passed\n"), "{output}");
}
