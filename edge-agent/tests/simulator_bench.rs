//! A bench of simulated instruments on real pseudo terminals, seen from outside: files, links, plain reads and writes.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rigwire_agent::profile::Profile;
use rigwire_agent::simulator::bench::{Bench, BenchInstrument, Coupling};

const PATIENCE: Duration = Duration::from_secs(10);

fn instrument(name: &str, profile: &str, link: Option<PathBuf>) -> BenchInstrument {
    BenchInstrument {
        name: name.into(),
        profile: Profile::find(profile, &[]).expect("a bundled profile"),
        link,
        faults: vec![],
    }
}

fn coupling() -> Coupling {
    Coupling {
        from: "psu".into(),
        expression: "out*min(vset,iset*load_ohm)".into(),
        to: "dmm".into(),
        variable: "v".into(),
    }
}

fn open(path: &Path) -> File {
    File::options().read(true).write(true).open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Reads in a thread, because a read of a silent port has no end.
fn read_until(port: &File, end: &str) -> String {
    let mut port = port.try_clone().expect("a second handle of the port");
    // One reply fits; when full the reading thread waits.
    let (sender, receiver) = mpsc::sync_channel(16);
    let reader = std::thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok(count) = port.read(&mut buffer) {
            if count == 0 || sender.send(buffer[..count].to_vec()).is_err() {
                break;
            }
            // The one reply that was asked for: a further read would wait for ever.
            if buffer[..count].ends_with(b"\n") {
                break;
            }
        }
    });
    let mut text = String::new();
    let deadline = Instant::now() + PATIENCE;
    while !text.ends_with(end) {
        let left = deadline.saturating_duration_since(Instant::now());
        let bytes = receiver.recv_timeout(left).unwrap_or_else(|_| panic!("no {end:?} after {text:?}"));
        text.push_str(&String::from_utf8_lossy(&bytes));
    }
    drop(receiver);
    reader.join().expect("the reading thread");
    text
}

fn measured(port: &mut File) -> String {
    port.write_all(b"READ?\n").expect("writing to the meter");
    read_until(port, "\n").trim_end().to_owned()
}

#[test]
fn what_the_supply_gives_the_meter_measures() {
    let dir = tempfile::tempdir().unwrap();
    let (psu, dmm) = (dir.path().join("psu"), dir.path().join("dmm"));
    let instruments =
        vec![instrument("psu", "korad.ka3005p", Some(psu.clone())), instrument("dmm", "hp.34401a", Some(dmm.clone()))];
    let bench = Bench::start(instruments, vec![coupling()]).unwrap();
    assert_eq!(bench.path("psu").unwrap(), psu);
    let (mut supply, mut meter) = (open(&psu), open(&dmm));
    assert_eq!(measured(&mut meter), "+0.00000000E+00");
    supply.write_all(b"VSET1:03.30OUT1").unwrap();
    let deadline = Instant::now() + PATIENCE;
    let mut last = measured(&mut meter);
    while last != "+3.30000000E+00" {
        assert!(Instant::now() < deadline, "the meter still shows {last}");
        last = measured(&mut meter);
    }
    // The load takes 1 A at most: the supply limits and the meter follows.
    bench.set("psu", "load_ohm", "2").unwrap();
    assert_eq!(measured(&mut meter), "+2.00000000E+00");
    assert_eq!(bench.get("dmm", "v").unwrap(), "2");
    bench.stop();
    for link in [psu, dmm] {
        assert!(link.symlink_metadata().is_err(), "{} is left behind", link.display());
    }
}

#[test]
fn a_pulled_cable_ends_reads_and_a_new_one_has_the_same_name() {
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("dmm");
    let bench = Bench::start(vec![instrument("dmm", "hp.34401a", Some(link.clone()))], vec![]).unwrap();
    let mut port = open(&link);
    let before = std::fs::read_link(&link).unwrap();
    bench.unplug("dmm").unwrap();
    assert!(link.symlink_metadata().is_err(), "the device node outlives its device");
    let mut byte = [0];
    assert!(matches!(port.read(&mut byte), Ok(0) | Err(_)));
    bench.replug("dmm").unwrap();
    assert_ne!(std::fs::read_link(&link).unwrap(), before, "the old terminal is still held open by this test");
    assert_eq!(measured(&mut open(&link)), "+1.23450000E+00");
}

#[test]
fn mistakes_are_named_before_anything_starts() {
    let error = |instruments, couplings| format!("{:#}", Bench::start(instruments, couplings).unwrap_err());
    let psu = || instrument("psu", "korad.ka3005p", None);
    assert_eq!(error(vec![psu(), psu()], vec![]), "the bench has two instruments named psu, expected different names");
    assert_eq!(error(vec![psu()], vec![coupling()]), "a coupling names dmm, which is not on the bench");
    let dmm = || instrument("dmm", "hp.34401a", None);
    let wrong = Coupling { expression: "volts".into(), ..coupling() };
    let expected = "coupling of psu to dmm: the simulator of korad.ka3005p has no variable volts, expected idn, iset, load_ohm, out, vset";
    assert_eq!(error(vec![psu(), dmm()], vec![wrong]), expected);
    let image = error(vec![instrument("oven", "eurotherm.2400", None)], vec![]);
    assert_eq!(image, "profile eurotherm.2400: its simulator is a register image, which is not played yet");

    let dir = tempfile::tempdir().unwrap();
    let taken = dir.path().join("taken");
    std::fs::write(&taken, "precious").unwrap();
    let error = error(vec![instrument("psu", "korad.ka3005p", Some(taken.clone()))], vec![]);
    assert_eq!(error, format!("{} exists and is no symbolic link, expected a free name", taken.display()));
    assert_eq!(std::fs::read_to_string(&taken).unwrap(), "precious");
    let bench = Bench::start(vec![psu()], vec![]).unwrap();
    assert_eq!(
        bench.unplug("dmm").unwrap_err().to_string(),
        "the bench has no instrument dmm, expected one of [\"psu\"]"
    );
}
