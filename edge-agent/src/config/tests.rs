//! Files, and the exact words for what is wrong with them.

use super::*;

const PSU: &str = "[[instrument]]\nid = \"psu-1\"\nprofile = \"korad.ka3005p\"\nport = \"/dev/ttyUSB7\"\n";

const CAMERA: &str = "[[camera]]\nid = \"cam-1\"\nurl = \"http://bench:p%40ss@cam/stream\"\n";

fn load(text: &str) -> Result<Config, Vec<String>> {
    load_with(text, &Options::default())
}

fn load_with(text: &str, options: &Options) -> Result<Config, Vec<String>> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("agent.toml");
    std::fs::write(&path, text).unwrap();
    let prefix = format!("{}/", directory.path().display());
    Config::load(Some(&path), options)
        .map_err(|error| error.problems.into_iter().map(|problem| problem.replace(&prefix, "")).collect())
}

#[test]
fn without_a_file_there_are_defaults_and_no_instruments() {
    let config = Config::load(None, &Options::default()).unwrap();
    assert_eq!(config.hub, BrokerAddress::new("127.0.0.1", 1883));
    assert_eq!((config.instruments.len(), config.spool_limit_mib, config.log.as_str()), (0, 256, "info"));
    assert!(!config.id.as_str().is_empty());
}

#[test]
fn an_option_wins_over_the_file() {
    let text = "id = \"a\"\nhub = \"mqtt://one\"\nlog = \"debug\"\nspool-limit-mib = 8\n";
    let options = Options { id: Some("b".into()), hub: Some("mqtt://two".into()), ..Options::default() };
    let config = load_with(text, &options).unwrap();
    assert_eq!((config.id.as_str(), config.hub.host(), config.log.as_str()), ("b", "two", "debug"));
    assert_eq!(config.spool_limit_mib, 8);
    let options = Options { id: Some("Bench 1".into()), ..Options::default() };
    let expected = "option --id: \"Bench 1\" is not an agent id: 'B' is not allowed in it, expected 1 to 64 of a to z, 0 to 9, _ and -";
    assert_eq!(load_with(text, &options).unwrap_err(), [expected]);
}

#[test]
fn an_instrument_takes_the_profiles_settings_and_the_files_overrides() {
    let extra = "mode = \"own\"\ntags = [\"left\"]\nserial-number = \"7\"\ngap-ms = 120\nbaud = 19200\nparity = \"even\"\nstop = 2\n";
    let config = load(&format!("{PSU}{extra}")).unwrap();
    let psu = &config.instruments[0];
    assert_eq!(
        (psu.mode, psu.gap, psu.serial_number.as_deref()),
        (Mode::Own, Some(Duration::from_millis(120)), Some("7"))
    );
    assert_eq!((psu.serial.baud, psu.serial.data, psu.serial.stop), (19200, 8, 2));
    let config = load(PSU).unwrap();
    assert_eq!((config.instruments[0].mode, config.instruments[0].serial.baud), (Mode::Observe, 9600));
}

#[test]
fn a_camera_is_its_address_and_the_password_is_not_shown() {
    let config = load(&format!("{PSU}{CAMERA}tags = [\"bench-a\"]\n")).unwrap();
    let camera = &config.cameras[0];
    assert_eq!((camera.id.as_str(), camera.tags.as_slice()), ("cam-1", &["bench-a".to_owned()][..]));
    assert_eq!(camera.url.credentials(), Some(("bench", "p@ss")));
    assert!(!format!("{config:?}").contains("p@ss"));
    assert!(load(&CAMERA.replace("http:", "rtsp:")).unwrap_err().iter().all(|problem| !problem.contains("p%40ss")));
}

#[test]
fn what_is_wrong_is_named_with_its_line_and_key() {
    for (text, expected) in [
        (
            "hubb = \"mqtt://x\"\n".to_owned(),
            "agent.toml:1: hubb: unknown field `hubb`, expected one of `id`, `hub`, `hub-ca`, `spool`, `spool-limit-mib`, `log`, `profile-dirs`, `instrument`, `camera`, `host`, `program`",
        ),
        (
            format!("{PSU}bauds = 9600\n"),
            "agent.toml:5: bauds: unknown field `bauds`, expected one of `id`, `profile`, `port`, `mode`, `tags`, `serial-number`, `gap-ms`, `baud`, `data`, `parity`, `stop`",
        ),
        (
            format!("{PSU}mode = \"control\"\n"),
            "agent.toml:5: mode: unknown variant `control`, expected `observe` or `own`",
        ),
        (format!("{PSU}baud = \"fast\"\n"), "agent.toml:5: baud: invalid type: string \"fast\", expected u32"),
        (format!("{PSU}data = 9\n"), "agent.toml:5: data: 9 is not possible, expected 5 to 8"),
        (format!("{PSU}baud = 0\n"), "agent.toml:5: baud: 0 is no speed, expected a number such as 9600"),
        (
            "[[instrument]]\nid = \"a\"\nport = \"/dev/a\"\n".to_owned(),
            "agent.toml:1: instrument: missing field `profile`",
        ),
        ("spool-limit-mib = 0\n".to_owned(), "agent.toml:1: spool-limit-mib: 0 is too small, expected at least 1"),
        (
            "\nid = \"Bench\"\n".to_owned(),
            "agent.toml:2: id: \"Bench\" is not an agent id: 'B' is not allowed in it, expected 1 to 64 of a to z, 0 to 9, _ and -",
        ),
        (
            "hub = \"http://x\"\n".to_owned(),
            "agent.toml:1: hub: unknown scheme http, expected mqtt://host:1883 or mqtt://user:password@host:1883",
        ),
        (
            "log = \"a=b=c\"\n".to_owned(),
            "agent.toml:1: log: \"a=b=c\" is not a log filter, expected error, warn, info, debug, trace or target=level",
        ),
        (
            PSU.replace("psu-1", "psu 1"),
            "agent.toml:2: id: \"psu 1\" is not a device id: ' ' is not allowed in it, expected 1 to 64 letters, digits and _ - . :",
        ),
        (
            format!("{PSU}{}", PSU.replace("USB7", "USB8")),
            "agent.toml:6: id: \"psu-1\" is the id of the device in line 2 too, expected one id for each",
        ),
        (
            format!("{PSU}{}", PSU.replace("psu-1", "psu-2")),
            "agent.toml:8: port: \"/dev/ttyUSB7\" is the port of \"psu-1\" too, expected one instrument on each port",
        ),
        (
            PSU.replace("/dev/ttyUSB7", "COM3"),
            "agent.toml:4: port: \"COM3\" is not a port, expected a device such as \"/dev/ttyUSB0\" or \"tcp://host:port\"",
        ),
        (
            PSU.replace("/dev/ttyUSB7", "/dev/usbtmc0"),
            "agent.toml:4: port: \"/dev/usbtmc0\" is a USBTMC device, which is not driven yet, expected a serial device or tcp://host:port",
        ),
        (
            CAMERA.replace("http:", "rtsp:"),
            "agent.toml:3: url: scheme rtsp is for video, which is not read, expected http://host/stream or http://user:password@host:8080/stream",
        ),
        (
            format!("{CAMERA}rotate = 90\n"),
            "agent.toml:4: rotate: unknown field `rotate`, expected one of `id`, `url`, `tags`",
        ),
        (
            format!("{PSU}{}", CAMERA.replace("cam-1", "psu-1")),
            "agent.toml:6: id: \"psu-1\" is the id of the device in line 2 too, expected one id for each",
        ),
        (
            PSU.replace("ka3005p", "ka3005"),
            "agent.toml:3: profile: korad.ka3005: no such profile, did you mean korad.ka3005p?",
        ),
    ] {
        let found = load(&text).unwrap_err();
        assert_eq!(found, [expected], "{text}");
    }
}

const SOLVER: &str = "[[program]]\nname = \"solver\"\ncommand = [\"/opt/solver\", \"--fast\"]\n";

#[test]
fn programs_are_off_until_they_are_listed_and_have_limits() {
    let config = load("id = \"bench-1\"\n").unwrap();
    assert_eq!((config.host.id.as_str(), config.host.programs.len(), config.host.max_parallel), ("host-bench-1", 0, 4));
    let config = load(&format!("id = \"bench-1\"\n{SOLVER}")).unwrap();
    let solver = &config.host.programs[0];
    assert_eq!(solver.command, ["/opt/solver", "--fast"]);
    assert_eq!((solver.timeout_max, solver.grace), (Duration::from_secs(3600), Duration::from_millis(500)));
    assert_eq!((solver.output_max, solver.artifact_max, solver.max_parallel), (16 << 20, 16 << 20, None));
    assert!(solver.user.is_none() && solver.args_allowed.is_empty() && solver.environment_allowed.is_empty());
    let extra = "about = \"solves\"\nargs-allowed = [\"[0-9]+\"]\ndirectory = \"work\"\nenvironment = { A = \"1\" }\nenvironment-allowed = [\"B\"]\n\
                 user = \"root\"\ntimeout-max-s = 7\ngrace-ms = 0\noutput-max-mib = 2\nartifact-max-mib = 3\nmax-parallel = 1\n";
    let config = load(&format!("{SOLVER}{extra}[host]\nid = \"pi\"\ntags = [\"fast\"]\nmax-parallel = 2\n")).unwrap();
    let solver = &config.host.programs[0];
    assert_eq!(solver.user.as_ref().map(|user| (user.name.as_str(), user.uid)), Some(("root", 0)));
    assert_eq!((solver.timeout_max, solver.grace), (Duration::from_secs(7), Duration::ZERO));
    assert_eq!((solver.output_max, solver.artifact_max, solver.max_parallel), (2 << 20, 3 << 20, Some(1)));
    assert!(solver.directory.as_ref().is_some_and(|directory| directory.is_absolute() && directory.ends_with("work")));
    assert_eq!((config.host.id.as_str(), config.host.max_parallel), ("pi", 2));
    let card = crate::program::host::card(&config.host);
    assert_eq!((card.class.as_str(), card.tags), ("host", vec!["fast".to_owned(), "solver".to_owned()]));
    assert_eq!((card.actions[0].id.as_str(), card.actions[0].about.as_str()), ("solver", "solves"));
}

#[test]
fn what_is_wrong_with_a_program_is_named_with_its_line_and_key() {
    let with = |extra: &str| format!("{SOLVER}{extra}");
    for (text, expected) in [
        (
            SOLVER.replace("solver\"\n", "my solver\"\n"),
            "agent.toml:2: name: \"my solver\" is not a program's name, expected 1 to 64 letters, digits and _ - .",
        ),
        (
            SOLVER.replace("/opt", "opt"),
            "agent.toml:3: command: begins with \"opt/solver\", expected an absolute path such as \"/usr/bin/python3\"",
        ),
        (
            SOLVER.replace("\"/opt/solver\", \"--fast\"", ""),
            "agent.toml:3: command: is empty, expected the path of a program and its arguments",
        ),
        (
            with(SOLVER),
            "agent.toml:5: name: \"solver\" is the name of the program in line 2 too, expected one name for each",
        ),
        (with("args-allowed = [\"a\", \"(\"]\n"), "agent.toml:4: args-allowed: \"(\" is not a pattern: unclosed group"),
        (
            with("args-allowed = [\"a)|(b\"]\n"),
            "agent.toml:4: args-allowed: \"a)|(b\" is not a pattern: unopened group",
        ),
        (
            with("environment = { RIGWIRE_RUN = \"1\" }\n"),
            "agent.toml:4: environment: RIGWIRE_RUN belongs to the agent, expected a name that does not begin with RIGWIRE_",
        ),
        (
            with("environment-allowed = [\"A B\"]\n"),
            "agent.toml:4: environment-allowed: \"A B\" is not a variable's name, expected letters, digits and _",
        ),
        (with("user = \"no such one\"\n"), "agent.toml:4: user: there is no user \"no such one\" in /etc/passwd"),
        (with("timeout-max-s = 0\n"), "agent.toml:4: timeout-max-s: 0 is not possible, expected 1 to 604800"),
        (with("grace-ms = 20000\n"), "agent.toml:4: grace-ms: 20000 is not possible, expected 0 to 10000"),
        (with("[host]\nmax-parallel = 0\n"), "agent.toml:5: max-parallel: 0 is not possible, expected 1 to 64"),
        (
            format!("{PSU}[host]\nid = \"psu-1\"\n"),
            "agent.toml:6: id: \"psu-1\" is the id of the device in line 2 too, expected one id for each",
        ),
        (
            with("shell = true\n"),
            "agent.toml:4: shell: unknown field `shell`, expected one of `name`, `about`, `command`, `args-allowed`, `directory`, `environment`, `environment-allowed`, `user`, `timeout-max-s`, `grace-ms`, `output-max-mib`, `artifact-max-mib`, `max-parallel`",
        ),
    ] {
        assert_eq!(load(&text).unwrap_err(), [expected], "{text}");
    }
}

#[test]
fn everything_wrong_is_reported_at_once() {
    let text = format!("id = \"A\"\nhub = \"x\"\n{}", PSU.replace("psu-1", "psu 1").replace("/dev/ttyUSB7", "x"));
    assert_eq!(load(&text).unwrap_err().len(), 4);
}

#[test]
fn a_profile_that_is_broken_or_not_driven_says_so_itself() {
    let found = load(&PSU.replace("korad.ka3005p", "eurotherm.2400")).unwrap_err();
    assert!(found[0].starts_with("agent.toml:3: profile: profile eurotherm.2400: "), "{found:?}");
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("mine.toml"), "schema = 1\n[profile]\nid = 3\n").unwrap();
    let dirs = format!("profile-dirs = [\"{}\"]\n", directory.path().display());
    let found = load(&format!("{dirs}{}", PSU.replace("korad.ka3005p", "mine"))).unwrap_err();
    assert!(found[0].starts_with("agent.toml:4: profile: ") && found[0].contains("mine.toml:3: "), "{found:?}");
}

#[test]
fn the_example_is_a_configuration() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/agent.example.toml");
    let config = Config::load(Some(&path), &Options::default()).unwrap();
    assert!(!config.instruments.is_empty() && !config.cameras.is_empty() && !config.host.programs.is_empty());
}
