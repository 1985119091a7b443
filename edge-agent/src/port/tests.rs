//! Ports against real pseudo terminals and loopback sockets.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::symlink;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

const LINE: &SerialSettings = &SerialSettings {
    baud: 9600,
    data: 8,
    parity: Parity::None,
    stop: 1,
    flow: Flow::None,
    dtr: None,
    rts: None,
    low_latency: false,
    boot_ms: 0,
};

fn pty() -> (File, PathBuf) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
    (File::from(master), PathBuf::from(name))
}

#[test]
fn addresses_are_read_or_refused() {
    for (text, expected) in [
        ("/dev/ttyUSB0", Some("/dev/ttyUSB0")),
        ("tcp://meter:5025", Some("tcp://meter:5025")),
        ("tcp://[::1]:5025", Some("tcp://[::1]:5025")),
        ("ttyUSB0", None),
        ("tcp://meter", None),
        ("tcp://:5025", None),
        ("tcp://meter:0", None),
        ("udp://meter:5025", None),
        ("", None),
    ] {
        assert_eq!(text.parse::<PortAddress>().ok().map(|port| port.to_string()).as_deref(), expected, "{text:?}");
    }
}

#[tokio::test]
async fn bytes_from_before_the_opening_are_thrown_away_and_later_ones_arrive_through_a_link() {
    let (mut master, path) = pty();
    let directory = tempfile::tempdir().unwrap();
    let link = directory.path().join("meter");
    symlink(&path, &link).unwrap();
    // Somebody must hold the slave, or the terminal forgets what was written.
    let slave = File::options().read(true).write(true).open(&path).unwrap();
    master.write_all(b"stale\n").unwrap();
    let mut stream = PortAddress::Serial(link).open(LINE).await.unwrap();
    drop(slave);
    master.write_all(b"fresh\n").unwrap();
    let mut found = [0; 6];
    stream.read_exact(&mut found).await.unwrap();
    assert_eq!(&found, b"fresh\n");
    stream.write_all(b"*IDN?\n").await.unwrap();
    drop(master);
    assert_eq!(stream.read(&mut found).await.unwrap_or(0), 0, "the far end is gone");
}

#[tokio::test]
async fn a_held_port_names_its_holder() {
    let (_master, path) = pty();
    let _first = PortAddress::Serial(path.clone()).open(LINE).await.unwrap();
    let error = PortAddress::Serial(path.clone()).open(LINE).await.unwrap_err();
    let expected = format!("port {} is held by this program (pid {})", path.display(), std::process::id());
    assert_eq!(error, PortError::Unusable(expected));
}

#[tokio::test]
async fn what_is_missing_or_no_port_is_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("ttyUSB7");
    let plain = directory.path().join("plain");
    std::fs::write(&plain, "").unwrap();
    for (path, expected) in [
        (&missing, PortError::Missing(format!("port {} does not exist", missing.display()))),
        (&plain, PortError::Unusable(format!("port {} is not a serial device", plain.display()))),
    ] {
        assert_eq!(PortAddress::Serial(path.clone()).open(LINE).await.unwrap_err(), expected);
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let address = PortAddress::Tcp { host: "127.0.0.1".into(), port };
    address.open(LINE).await.unwrap();
    drop(listener);
    assert!(matches!(address.open(LINE).await, Err(PortError::Missing(_))));
}

#[test]
fn another_device_in_the_same_place_has_another_fingerprint() {
    let ((_a, first), (_b, second)) = (pty(), pty());
    let directory = tempfile::tempdir().unwrap();
    let link = directory.path().join("meter");
    let address = PortAddress::Serial(link.clone());
    assert_eq!(address.fingerprint(), None);
    symlink(&first, &link).unwrap();
    let before = address.fingerprint().unwrap();
    assert_eq!(address.fingerprint(), Some(before));
    std::fs::remove_file(&link).unwrap();
    symlink(&second, &link).unwrap();
    assert_ne!(address.fingerprint(), Some(before));
}
